"""Inputs at which a comparison in a graph is decided otherwise, or only just.

A pass may be right on one side of ``x > 0`` and wrong on the other, or just where both sides are
equal: what a branch was guarded against may reach it there. So the floating-point inputs are moved
until the comparisons of a graph have met both sides and equality, as far as that is simple:

- an input that is itself compared with a number is set to that number, and across it;
- all inputs are set to zero, negated, doubled and disturbed, and what lies between is searched for
  equality by bisection.

The number of runs is bounded, and the same each time. What is left out are points where rounding
may decide a comparison, since compiled code rounds otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...backends import describe, reference
from ...ir import (
    Builder,
    Graph,
    Literal,
    Node,
    Operand,
    StateVar,
    Value,
    inline,
    replay_graph,
    replay_region,
    touched_by,
    touched_by_node,
    walk,
)
from .checking import FAULTS, held, is_float, nudged
from .jax_derivatives import DERIVATIVES, with_jax_derivatives
from .running import Array, Inputs

COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")

POINTS = 8
"""How many points are tried at most."""

RUNS = 40
"""How often the graph is run at most to find them."""

WORK = 2_000_000
"""How many nodes those runs may evaluate together; a graph of long loops gets fewer runs."""

SITES = 6
"""At how many comparisons inputs are set to what they are compared with."""

NUMBERS = 100_000
"""Of how many compared numbers a run keeps track."""

NEAR = 1e-3
"""How far apart, relative to their size, numbers are that rounding might make equal or not."""


@dataclass(frozen=True, slots=True)
class Edge:
    """Inputs that a comparison decides otherwise.

    Attributes
    ----------
    inputs : Inputs
        What to run on.
    text : str
        What a person is told of it.
    ties : frozenset of float
        Inputs of these values are equal to what they are compared with.
    """

    inputs: Inputs
    text: str
    ties: frozenset[float]


def find_edges(inputs: Inputs) -> list[Edge]:
    """Return inputs of a graph at which its comparisons of floating-point numbers are met anew.

    Parameters
    ----------
    inputs : Inputs
        A graph that the reference backend can run, and what is known to be fine.
    """
    nodes = list(walk(inputs.graph))
    if touched_by(inputs.graph).io or not any(map(_is_comparison, nodes)):
        return []
    if any(node.op.name == "while" for node in nodes):
        return []  # on other inputs it may go round for ever
    return _Search(inputs).run()


def _is_comparison(node: Node) -> bool:
    return node.op.name in COMPARISONS and node.operands[0].type.is_float


# --- what is compared -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Meeting:
    """One comparison, as it was made once in a run."""

    site: Node
    left: Array
    right: Array

    @property
    def sides(self) -> Array:
        """-1, 0 or 1 for less, equal, greater; 2 where there is no order."""
        with np.errstate(all="ignore"):
            sign = np.sign(_wide(self.left) - _wide(self.right))
            sign = np.where(self.left == self.right, 0, sign)  # infinities, too
        return np.where(np.isnan(sign), 2, sign).astype(np.int8)


def _wide(array: Array) -> Array:
    return np.asarray(array).astype(np.float64)


class _Watched:
    """A graph that tells what it compares as it runs."""

    def __init__(self, graph: Graph) -> None:
        self._seen: list[Meeting] = []
        self._left = 0
        watched = replay_graph(graph, self._rewrite)
        self._graph = with_jax_derivatives(watched)

    def run(self, inputs: Inputs) -> list[Meeting] | None:
        """Return what is compared, in order; None if the graph fails."""
        self._seen, self._left = [], NUMBERS
        graph = self._graph.with_(consts=inputs.graph.consts)
        try:
            reference.evaluate(graph, inputs.arguments, inputs.states)
        except FAULTS:
            return None
        return self._seen

    def _rewrite(
        self,
        builder: Builder,
        node: Node,
        operands: tuple[Operand, ...],
        mapping: dict[Value, Operand],
    ) -> Sequence[Operand] | None:
        if node.op.name in DERIVATIVES:  # JAX runs these, so the same is run beside them
            beside = replay_region(node.regions[0], mapping, self._rewrite)
            inline(builder, beside, operands[: len(beside.params)])
            return None
        if not _is_comparison(node):
            return None

        def compare(left: Array, right: Array, **attrs: Any) -> Any:
            self._left -= max(np.size(left), np.size(right))
            if self._left >= 0:
                self._seen.append(Meeting(node, np.asarray(left), np.asarray(right)))
            return node.op.numpy(left, right, **attrs)

        return builder.emit(replace(node.op, numpy=compare), operands, node.attrs, loc=node.loc)


MOVES = frozenset(
    "reshape broadcast_in_dim slice dynamic_slice gather transpose squeeze rev concatenate copy "
    "select_n stop_gradient optimization_barrier stack unstack split tile neg abs max min".split()
)
"""Ops whose results are operands as they are, or their negatives: nothing is rounded."""


def _unrounded(graph: Graph) -> set[Value]:
    """Return the values of a graph that no arithmetic has touched."""
    exact = {*graph.params, *(const.value for const in graph.consts)}
    written: set[StateVar] = set()
    ever = set(touched_by(graph).writes)
    for node in graph.nodes:
        _spread(node, exact, written)
        for inner in (n for region in node.regions for n in walk(region)):
            _spread(inner, exact, ever)  # what it writes may come round again
        written.update(touched_by_node(node).writes)
    return exact


def _spread(node: Node, exact: set[Value], written: AbstractSet[StateVar]) -> None:
    """Tell whether the results of a node are unrounded, and so the parameters of its regions."""
    name = node.op.name
    if name == "state.read" and node.attrs["state"] not in written:
        exact.update(node.results)
    if name in MOVES and all(isinstance(o, Literal) or o in exact for o in node.operands):
        exact.update(node.results)
    for region in node.regions:
        if name in ("for_loop", "vmap", "map", "call", "checkpoint", *DERIVATIVES):
            skip = node.attrs["carries"] if name == "for_loop" else 0
            pairs = list(zip(region.params, node.operands, strict=False))[skip:]
            exact.update(p for p, o in pairs if isinstance(o, Literal) or o in exact)


# --- moving inputs --------------------------------------------------------------------------------

Arrays = tuple[Array, ...]
Moves = dict[tuple[int, int], float]
"""By array and element: what it is to become."""


class _Search:
    """Looks for inputs at which comparisons come out otherwise."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self._watched = _Watched(inputs.graph)
        self._start = tuple(_movable(inputs))
        self._budget = min(RUNS, max(4, WORK // max(1, _work(inputs.graph))))
        self._met: set[tuple[Node, int]] = set()
        self._found: list[Edge] = []
        self._exact = _unrounded(inputs.graph)

    def run(self) -> list[Edge]:
        """Return the edges."""
        first = self._record(self._start)
        if first is None or not self._start:
            return []
        self._met = _sides(first)
        self._set_to_what_they_meet(first)
        self._disturb(first)
        return self._found

    def _record(self, arrays: Arrays) -> list[Meeting] | None:
        return self._run_once(_moved(self._inputs, arrays))

    def _run_once(self, inputs: Inputs) -> list[Meeting] | None:
        if self._budget <= 0:
            return None
        self._budget -= 1
        return self._watched.run(inputs)

    def _offer(self, arrays: Arrays, always: bool = False) -> list[Meeting] | None:
        """Run on other inputs, and keep them if they meet what was not met before."""
        if len(self._found) >= POINTS or all(map(_same, arrays, self._start)):
            return None
        meetings = self._record(arrays)
        if meetings is None:
            return None
        new = _sides(meetings) - self._met
        if (new or always) and self._is_firm(arrays, meetings):
            self._met |= new
            self._found.append(self._edge(arrays, meetings, new))
        return meetings

    def _edge(
        self, arrays: Arrays, meetings: Sequence[Meeting], new: set[tuple[Node, int]]
    ) -> Edge:
        site, side = min(new, key=lambda pair: (abs(pair[1]), pair[1])) if new else (None, 0)
        words = {-1: "less than", 0: "equal to", 1: "greater than", 2: "not comparable with"}
        text = "inputs moved to where comparisons are met in several ways"
        if site is not None:
            text = f"inputs moved to where the first operand is {words[side]} the second"
            text += f" in {describe(site)}"
        return Edge(_moved(self._inputs, arrays), text, self._ties(meetings))

    # --- an input that is itself compared ---------------------------------------------------------

    def _set_to_what_they_meet(self, meetings: Sequence[Meeting]) -> None:
        cells = _cells(self._start)
        by_site: dict[Node, Moves] = {}
        for meeting in meetings:
            _match(meeting, cells, by_site.setdefault(meeting.site, {}))
        for site, moves in list(by_site.items())[:SITES]:
            if not moves:
                continue
            half = dict(list(moves.items())[::2])
            if (site, 0) not in self._met:
                self._offer(self._with(half))
                self._offer(self._with(moves), always=len(moves) > 1)
            if not {(site, -1), (site, 1)} <= self._met:
                self._offer(self._with(_across(self._start, moves)))

    def _with(self, moves: Moves) -> Arrays:
        arrays = [np.array(array) for array in self._start]
        for (which, place), value in moves.items():
            arrays[which].flat[place] = value
        return tuple(arrays)

    # --- everything at once -----------------------------------------------------------------------

    def _disturb(self, first: Sequence[Meeting]) -> None:
        source = np.random.default_rng(0)
        ways: list[Arrays] = [
            tuple(np.zeros_like(a) for a in self._start),
            tuple(np.negative(a) for a in self._start),
            tuple(np.asarray(a + a) for a in self._start),
            tuple(_noisy(a, source) for a in self._start),
        ]
        for arrays in ways:
            meetings = self._offer(arrays)
            if meetings is not None:
                self._bisect(first, arrays, meetings)

    def _bisect(self, first: Sequence[Meeting], end: Arrays, last: Sequence[Meeting]) -> None:
        """Look for equality between two points, where one comparison has changed sides."""
        for place, (a, b) in enumerate(zip(first, last, strict=False)):
            if a.site is not b.site or (a.site, 0) in self._met or a.sides.shape != b.sides.shape:
                continue
            crossed = np.flatnonzero((a.sides * b.sides == -1).reshape(-1))
            if crossed.size:
                self._between(end, place, int(crossed[0]), _gap(a, crossed[0]), _gap(b, crossed[0]))
                return

    def _between(self, end: Arrays, place: int, element: int, low: float, high: float) -> None:
        start, stop = 0.0, 1.0
        for _ in range(8):
            part = start + (stop - start) * (low / (low - high))  # right at once if it is linear
            if not start < part < stop:
                part = (start + stop) / 2
            arrays = tuple(_mixed(a, b, part) for a, b in zip(self._start, end, strict=True))
            meetings = self._offer(arrays)
            if meetings is None or place >= len(meetings):
                return
            gap = _gap(meetings[place], element)
            if not np.isfinite(gap) or gap == 0:
                return
            if gap * low > 0:
                start, low = part, gap
            else:
                stop, high = part, gap

    # --- what rounding may decide -----------------------------------------------------------------

    def _is_firm(self, arrays: Arrays, meetings: Sequence[Meeting]) -> bool:
        """Whether all comparisons come out the same however numbers are rounded."""
        for meeting in meetings:
            if not self._is_exact(meeting.site):
                left, right = _wide(meeting.left), _wide(meeting.right)
                with np.errstate(all="ignore"):
                    near = np.abs(left - right) <= NEAR * np.maximum(np.abs(left), np.abs(right))
                if (near & ((left != 0) | (right != 0))).any():
                    return False
        ties = self._ties(meetings)
        inputs = _moved(self._inputs, arrays)
        for seed in range(2):
            found = self._run_once(held(nudged(nudged(inputs, seed), seed), inputs, ties))
            if found is None or not _alike(found, meetings):
                return False
        return True

    def _is_exact(self, site: Node) -> bool:
        return all(isinstance(o, Literal) or o in self._exact for o in site.operands)

    def _ties(self, meetings: Sequence[Meeting]) -> frozenset[float]:
        values: set[float] = set()
        for meeting in meetings:
            if self._is_exact(meeting.site):
                equal = np.broadcast_to(_wide(meeting.left), meeting.sides.shape)
                values.update(np.unique(equal[meeting.sides == 0])[:100].tolist())
        return frozenset(values)


def _sides(meetings: Iterable[Meeting]) -> set[tuple[Node, int]]:
    return {(m.site, int(side)) for m in meetings for side in np.unique(m.sides)}


def _alike(found: Sequence[Meeting], expected: Sequence[Meeting]) -> bool:
    return len(found) == len(expected) and all(
        a.site is b.site and np.array_equal(a.sides, b.sides)
        for a, b in zip(found, expected, strict=True)
    )


def _gap(meeting: Meeting, element: int) -> float:
    return float((_wide(meeting.left) - _wide(meeting.right)).reshape(-1)[element])


def _movable(inputs: Inputs) -> Iterator[Array]:
    """Yield the floating-point inputs, those of states after the arguments."""
    every = (*inputs.arguments, *(leaf for leaves in inputs.states.values() for leaf in leaves))
    return (array for array in every if is_float(array))


def _moved(inputs: Inputs, arrays: Arrays) -> Inputs:
    """Return inputs with other arrays in place of those that can be moved."""
    new = iter(arrays)

    def next_or(array: Array) -> Array:
        return next(new) if is_float(array) else array

    arguments = tuple(map(next_or, inputs.arguments))
    states = {state: tuple(map(next_or, leaves)) for state, leaves in inputs.states.items()}
    return Inputs(inputs.graph, arguments, states)


def _same(a: Array, b: Array) -> bool:
    return a.tobytes() == b.tobytes()


def _cells(arrays: Arrays) -> dict[float, list[tuple[int, int]]]:
    """Return where each number stands among inputs."""
    cells: dict[float, list[tuple[int, int]]] = {}
    for which, array in enumerate(arrays):
        for place, value in enumerate(_wide(array).reshape(-1)[:NUMBERS].tolist()):
            cells.setdefault(value, []).append((which, place))
    return cells


def _match(
    meeting: Meeting, cells: Mapping[float, Sequence[tuple[int, int]]], moves: Moves
) -> None:
    """Note which inputs are compared, and with what."""
    left, right = np.broadcast_arrays(_wide(meeting.left), _wide(meeting.right))
    for a, b in zip(left.reshape(-1).tolist(), right.reshape(-1).tolist(), strict=True):
        for mine, other in ((a, b), (b, a)):
            if mine in cells and np.isfinite(other):
                for cell in cells[mine]:
                    moves.setdefault(cell, other)
                break


def _across(start: Arrays, moves: Moves) -> Moves:
    """Return moves to the other side, as far from it as now; from the edge itself, by one."""
    across: Moves = {}
    for (which, place), value in moves.items():
        now = float(start[which].flat[place])
        across[which, place] = 2 * value - now if value != now else value + 1
    return across


def _noisy(array: Array, source: np.random.Generator) -> Array:
    scale = float(np.max(np.abs(_wide(array)), initial=0.0)) or 1.0
    noise = source.standard_normal(array.shape) * (scale if np.isfinite(scale) else 1.0)
    return np.asarray(_wide(array) + noise).astype(array.dtype)


def _mixed(a: Array, b: Array, part: float) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray((1 - part) * _wide(a) + part * _wide(b)).astype(a.dtype)


def _work(graph: Graph) -> int:
    """Return about how many nodes a run evaluates."""
    total = 0
    for node in graph.nodes:
        times = {"for_loop": "length", "vmap": "size", "map": "length"}.get(node.op.name)
        steps = node.attrs.get(times, 1) if times else 1
        total += 1 + steps * sum(map(_work, node.regions))
    return total
