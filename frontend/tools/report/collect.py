"""Everything that the page shows, as plain data."""

from __future__ import annotations

import itertools
import linecache
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from ....backends import backend_named, native
from ....ir import Effect, Graph, GraphError, Loc, Node, StateVar, walk
from ....passes import (
    CAPTURE,
    DEFAULT_BACKEND,
    DEFAULTS,
    Choice,
    Pass,
    Refusal,
    distribute_loops,
    distribution,
    kernels,
    outline_kernels,
)
from ...errors import BrainIRError
from ...export import annotated_text, node_title
from ...program import Program, optimise
from ..costs import statistics, statistics_of_executable
from ..residuals import computed_again, residuals
from ..timings import Timings
from .alignment import aligned_texts
from .drawn import Drawn
from .tracks import carried_results, state_of, state_tracks

Data = dict[str, Any]


class Collector:
    """Gathers functions that share files, locations and lines of text."""

    def __init__(self, measure_xla: bool = True) -> None:
        self._measure_xla = measure_xla
        self._files: dict[str, int] = {}
        self._places: dict[tuple[int, int, str], int] = {}
        self._lines: dict[str, int] = {}
        self.functions: list[Data] = []

    def data(self, title: str, error: str | None, place: Loc | None = None) -> Data:
        """Return what the page is made of."""
        version = sys.modules[__name__.partition(".")[0]].__version__
        failed = self.place(place)
        return {
            "title": title,
            "error": error,
            "failed": failed,
            "versions": f"brainir {version}, jax {jax.__version__}, {jax.default_backend()}",
            "files": [{"path": path, "lines": _source(path)} for path in self._files],
            "places": [list(place) for place in self._places],
            "lines": list(self._lines),
            "functions": self.functions,
        }

    def add(self, program: Program, timings: Timings | None = None) -> None:
        """Add a function: run its passes, one by one, and compile it."""
        function = _Function(self, program, timings)
        self.functions.append(function.data(self._measure_xla))

    def place(self, loc: Loc | None) -> int:
        """Return the number of a place in the source, -1 if there is none."""
        if loc is None:
            return -1
        file = self._files.setdefault(loc.file, len(self._files))
        return self._places.setdefault((file, loc.line, loc.function), len(self._places))

    def line(self, text: str) -> int:
        """Return the number of a line of text."""
        return self._lines.setdefault(text, len(self._lines))


def _source(path: str) -> list[str]:
    return [line.rstrip("\n") for line in linecache.getlines(path)]


class _Function:
    def __init__(self, collector: Collector, program: Program, timings: Timings | None) -> None:
        self._collector, self._program, self._timings = collector, program, timings
        self._graphs: list[tuple[str, Graph, float]] = [(CAPTURE, program.graph, 0.0)]
        self._problem: str | None = None
        self._numbers: dict[str, int] = {}
        self._split: list[tuple[Node, Choice]] = []
        self._kernels: list[tuple[Node, Refusal | None]] = []
        try:
            optimise(program, observers=[self._observe])
        except (GraphError, BrainIRError, ValueError, NotImplementedError) as error:
            self._problem = str(error)

    def _observe(self, step: Pass, before: Graph, after: Graph, seconds: float) -> None:
        self._graphs.append((step.name, after, seconds))
        if step.function is distribute_loops:
            self._split = distribution(before, **step.options)
        if step.function is outline_kernels:
            self._kernels = kernels(before, **step.options)

    def data(self, measure_xla: bool) -> Data:
        """Return everything that is known of the function."""
        captured = self._program.graph
        for graph in (captured, self._graphs[-1][1]):
            for state in graph.states:
                self._numbers.setdefault(state.name, len(self._numbers))
        stages, last = self._stages()
        tables, asked = None, self._program.options
        costs = statistics(last).data()
        costs.pop("ops")
        if measure_xla and self._problem is None:
            tables = measure(last, self._program.options.backend)
        return {
            "name": captured.name,
            "title": captured.name,
            "takes": ", ".join(str(param.type) for param in captured.params),
            "options": "" if asked == DEFAULTS else str(asked),
            "problem": self._problem,
            "stages": stages,
            "states": self._states(),
            "costs": costs,
            "residuals": self._residuals(last),
            "again": self._again(last),
            "split": [self._loop(node, choice) for node, choice in self._split],
            "kernels": [self._kernel(node, refusal) for node, refusal in self._kernels],
            "code": self._code(last),
            "xla": tables,
            "timed": self._timed(last),
        }

    def _stages(self) -> tuple[list[Data], Graph]:
        """Return the stages, and the last graph that is drawn: what follows looks the same."""
        shown, stages = self._program.graph, list[Data]()
        texts: list[list[str]] = []
        for name, graph, seconds in self._graphs:
            text = annotated_text(graph).split("\n")
            stage: Data = {"name": name, "seconds": seconds, "nodes": sum(1 for _ in walk(graph))}
            if texts and text == texts[-1]:
                stage["same"] = True  # as the stage before
            else:
                drawn = Drawn(graph, self._numbers, self._collector.place)
                stage["graph"] = drawn.data()
                stage["text"] = [self._collector.line(line) for line in text]
                stage["diff"] = aligned_texts(texts[-1], text) if texts else []
                stage["whole"] = aligned_texts(texts[0], text) if texts else []
                self._last, shown = drawn, graph
            texts.append(text)
            stages.append(stage)
        return stages, shown

    def _states(self) -> list[Data]:
        captured, last = self._graphs[0][1], self._graphs[-1][1]
        tracks = state_tracks(last)
        carried: dict[str, dict[str, None]] = {}
        for node in walk(last):
            for value in carried_results(node):
                if value in tracks:
                    carried.setdefault(tracks[value].name, {})[node_title(node)] = None
        looped = {state for node in captured.nodes for r in node.regions for state in _used(r)}
        rows: list[Data] = []
        for state in sorted(self._all_states(), key=lambda state: self._numbers[state.name]):
            loops = list(carried.get(state.name, ()))
            rows.append(
                {
                    "name": state.name,
                    "kind": state.kind,
                    "types": [str(type) for type in state.types],
                    "bytes": sum(type.nbytes for type in state.types),
                    "unit": state.unit,
                    "read": _count(captured, state, Effect.READ),
                    "written": _count(captured, state, Effect.WRITE),
                    "carried": loops,
                    "hoisted": state in looped and not loops,
                }
            )
        return rows

    def _all_states(self) -> list[StateVar]:
        found = {state.name: state for _, graph, _ in self._graphs for state in graph.states}
        found.update((state.name, state) for state in self._graphs[0][1].states)
        return [state for name, state in found.items() if name in self._numbers]

    def _loop(self, node: Node, choice: Choice) -> Data:
        return {
            "loop": node_title(node),
            "place": self._collector.place(node.loc),
            "products": choice.products,
            "sums": choice.sums,
            "length": node.attrs["length"],
            "block": choice.block,
            "gain": choice.gain,
            "why": choice.why,
        }

    def _kernel(self, node: Node, refusal: Refusal | None) -> Data:
        return {
            "loop": node_title(node),
            "place": self._collector.place(node.loc),
            "kernel": refusal is None,
            "why": "" if refusal is None else str(refusal),
        }

    def _code(self, graph: Graph) -> list[str]:
        """Return the code of all kernels, or why there is none."""
        if not native.AVAILABLE:
            return []
        found = [node.regions[0] for node in walk(graph) if node.op.name == "kernel"]
        texts: list[str] = []
        for region in found:
            try:
                texts.append(native.code(region))
            except Exception as error:  # such a loop runs with XLA
                texts.append(f"; it runs with XLA, because of {type(error).__name__}: {error}")
        return texts

    def _timed(self, graph: Graph) -> Data | None:
        """Return how long it took when the script ran; the boxes of its parts say it, too."""
        timings = self._timings
        if timings is None or timings.first is None:
            return None
        rows: list[Data] = []
        rest = iter(graph.nodes)  # which stand in the order of the parts
        for part in timings.parts:
            main = part.main
            row: Data = {
                "title": node_title(main) if main.regions else main.op.name,
                "others": len(part.nodes) - 1,
                "place": self._collector.place(main.loc),
                "seconds": part.seconds,
                "flops": part.flops,
            }
            alike = (n for n in rest if (n.op, n.loc) == (main.op, main.loc))
            if part.alone and (node := next(alike, None)) is not None:
                row["item"] = self._last.item_of[node]
                self._last.items[row["item"]]["m"] = round(part.seconds * 1e6, 1)
            rows.append(row)
        return {
            "first": timings.first,
            "later": len(timings.later),
            "usual": timings.usual,
            "total": sum(timings.later),
            "why": timings.why,
            "parts": rows,
        }

    def _residuals(self, graph: Graph) -> list[Data]:
        rows: list[Data] = []
        tracks = state_tracks(graph)
        for item in residuals(graph):
            state = tracks.get(item.value)
            shown = item.maker or item.loop
            rows.append(
                {
                    "loop": node_title(item.loop),
                    "op": item.title if state is None else f"@{state.name}: {item.title}",
                    "type": str(item.stacked.type),
                    "bytes": item.stacked.type.nbytes,
                    "item": self._last.item_of[shown],
                    "place": self._collector.place(shown.loc),
                }
            )
        return rows

    def _again(self, graph: Graph) -> list[Data]:
        return [
            {
                "loop": node_title(item.loop),
                "groups": item.groups,
                "steps": item.steps,
                "bytes": item.bytes,
                "item": self._last.item_of[item.loop],
                "place": self._collector.place(item.loop.loc),
            }
            for item in computed_again(graph)
        ]


def _used(graph: Graph) -> set[StateVar]:
    return {state for node in walk(graph) if (state := state_of(node)) is not None}


def _count(graph: Graph, state: StateVar, effect: Effect) -> int:
    touching = (node for node in walk(graph) if effect in node.op.effects)
    return sum(1 for node in touching if state_of(node) is state)


def measure(graph: Graph, backend: str = DEFAULT_BACKEND) -> Data | None:
    """Return how long a graph without states takes to lower and to compile, and what XLA says.

    Nothing of a backend that does not lower graphs.
    """
    start = time.perf_counter()
    executable = backend_named(backend).compile(graph)
    try:
        executable.lower()
    except NotImplementedError:
        return None
    middle = time.perf_counter()
    said = statistics_of_executable(executable).data()
    stop = time.perf_counter()
    return {"lower": middle - start, "compile": stop - middle, **said}


def report_data(
    path: str,
    programs: Sequence[Program],
    error: str | None = None,
    measure_xla: bool = True,
    place: Loc | None = None,
    timings: Sequence[Timings] = (),
) -> Data:
    """Return what the report of a script shows, as plain data; how it failed, and where."""
    collector = Collector(measure_xla)
    for program, timed in itertools.zip_longest(programs, timings):
        collector.add(program, timed)
    _tell_apart(collector.functions)
    return collector.data(Path(path).name, error, place)


def _tell_apart(functions: Sequence[Data]) -> None:
    """Say in the titles of functions of one name what they take."""
    counts = Counter(function["name"] for function in functions)
    for function in functions:
        if counts[function["name"]] > 1:
            function["title"] += f"({function['takes']})"
