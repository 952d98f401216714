"""How long what a script compiles takes when the script runs: whole, and loop by loop."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp

from ...backends import Around, Backend, Cost, Executable, Memory, literal_array
from ...ir import (
    Graph,
    Literal,
    Node,
    Operand,
    Value,
    Weight,
    captures,
    node_cost,
    runs,
    touched_by,
    walk,
)

REPEATED = 5
"""So often a part of a program is run to find how long it takes, at most."""

MOST = 64
"""Into so many parts a program is cut, at most: each is compiled by itself."""

LONG_ENOUGH = 0.5
"""After so many seconds a part of a program is not run once more."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a program, and the seconds that it takes when it is compiled and run by itself.

    It is one loop, branch or product, or all that stands between two of those. Its ``flops`` are
    those of all its runs.
    """

    nodes: tuple[Node, ...]
    seconds: float
    flops: int

    @property
    def alone(self) -> bool:
        """Whether it is a loop, a branch or a product."""
        return len(self.nodes) == 1 and _is_heavy(self.nodes[0])

    @property
    def main(self) -> Node:
        """The node that it is, or of several the one with the most arithmetic."""
        return max(self.nodes, key=lambda node: (_has_regions(node), node_cost(node).flops))


@dataclass(slots=True, eq=False)
class Timings:
    """How long the calls of a program took.

    Attributes
    ----------
    first : float or None
        The seconds of the call that compiled it; None before it.
    later : list of float
        Those of the other calls, until their results were there; without those that compiled it
        once more, for other shapes or settings.
    parts : tuple of Part
        What the parts of it took, in their order, on what the first call was given.
    why : str
        Why nothing is known of parts, if so.
    """

    first: float | None = None
    later: list[float] = field(default_factory=list)
    parts: tuple[Part, ...] = ()
    why: str = ""

    @property
    def usual(self) -> float | None:
        """The median of the later calls."""
        return median(self.later) if self.later else None


class Timed:
    """A backend that has another one do its work, and notes how long calls take.

    Parameters
    ----------
    backend : Backend
        The other one.
    timings : Timings
        Where it notes that.
    """

    traceable = False  # so that it is told what runs while somebody else's JAX traces

    def __init__(self, backend: Backend, timings: Timings) -> None:
        self.backend, self.timings = backend, timings
        self.name, self.title, self.donates = backend.name, backend.title, backend.donates

    def advice(self) -> Mapping[str, Mapping[str, Any]]:
        """Tell passes what the other one does."""
        return self.backend.advice()

    def compile(
        self,
        graph: Graph,
        *,
        donate: Sequence[int | str] = (),
        options: Mapping[str, Any] | None = None,
        around: Around | None = None,
    ) -> Executable:
        """Return an executable of which each call is timed."""
        made = self.backend.compile(graph, donate=donate, options=options, around=around)
        return TimedExecutable(self, made, around or (lambda flat: flat))


class TimedExecutable(Executable):
    """An executable that notes how long its calls take."""

    def __init__(self, timed: Timed, made: Executable, around: Around) -> None:
        super().__init__(timed, made.graph, self._run, made.inside, made.long)
        self._made, self._around, self._timings, self._called = made, around, timed.timings, False

    def lower(self, *given: Any) -> jax.stages.Lowered:
        return self._made.lower(*given)

    def cost(self) -> Cost:
        return self._made.cost()

    def memory(self) -> Memory:
        return self._made.memory()

    def _run(self, *given: Any, **named: Any) -> Any:
        # Before, since what is donated is gone after it.
        parts, why = ((), "") if self._called else self._measured(given, named)
        start = time.perf_counter()
        results = jax.block_until_ready(self._made.function(*given, **named))
        seconds = time.perf_counter() - start
        timings = self._timings
        if self._called:
            timings.later.append(seconds)
        elif timings.first is None:
            timings.first, timings.parts, timings.why = seconds, parts, why
        self._called = True
        return results

    def _measured(
        self, given: Sequence[Any], named: Mapping[str, Any]
    ) -> tuple[tuple[Part, ...], str]:
        """Return how long the parts take on what a call is given, or why that is not known."""
        if self._timings.first is not None:
            return (), ""
        if touched_by(self.graph).io:
            return (), "it talks to the host, which would hear everything twice"
        found: list[Part] = []
        flat = _by_parts(self.graph, self._made.backend, found.append)
        try:
            self._around(flat)(*given, **named)
        except Exception as error:  # the call itself says what is wrong with what it is given
            return (), f"its parts could not be run one by one: {type(error).__name__}: {error}"
        return tuple(found), ""


def _by_parts(
    graph: Graph, backend: Backend, note: Callable[[Part], None]
) -> Callable[..., list[Any]]:
    """Return a function of the arrays that a graph takes, which runs and times part by part."""

    def flat(*arrays: Any) -> list[Any]:
        taken = (*graph.params, *(const.value for const in graph.consts))
        values: dict[Operand, Any] = {
            value: array if isinstance(array, jax.Array) else jnp.asarray(array, value.type.dtype)
            for value, array in zip(taken, arrays, strict=True)
        }
        counts = runs(graph)
        for piece in _pieces(graph):
            run = functools.partial(backend.compile(piece).function, *map(values.get, piece.params))
            results = jax.block_until_ready(run())
            seconds = _seconds(run)
            values.update(zip(piece.results, results, strict=True))
            flops = sum(counts[node] * node_cost(node).flops for node in walk(piece))
            note(Part(piece.nodes, seconds, flops))
        return [
            literal_array(operand) if isinstance(operand, Literal) else values[operand]
            for operand in graph.results
        ]

    return flat


def _pieces(graph: Graph) -> Iterator[Graph]:
    """Cut a graph into graphs that follow one upon the other.

    Raises
    ------
    ValueError
        If there are more than are of use.
    """
    groups = _groups(graph.nodes, _is_heavy)
    if len(groups) > MOST:
        groups = _groups(graph.nodes, _has_regions)
    if len(groups) > MOST:
        raise ValueError(f"there are {len(groups)}, more than {MOST}")
    needed = {operand for operand in graph.results if isinstance(operand, Value)}
    found: list[Graph] = []
    for nodes in reversed(groups):
        made = [value for node in nodes for value in node.results if value in needed]
        bare = Graph(graph.name, (), nodes, tuple(made))
        params = captures(bare)
        needed.update(params)
        found.append(bare.with_(params=params))
    return reversed(found)


def _groups(nodes: Sequence[Node], stands_alone: Callable[[Node], bool]) -> list[tuple[Node, ...]]:
    """Return nodes that stand alone, each by itself, and those between them."""
    numbered = itertools.groupby(nodes, lambda node: node if stands_alone(node) else None)
    return [tuple(group) for _, group in numbered]


def _is_heavy(node: Node) -> bool:
    return _has_regions(node) or node_cost(node).weight is Weight.HEAVY


def _has_regions(node: Node) -> bool:
    return bool(node.regions)


def _seconds(run: Callable[[], Any]) -> float:
    """Return how long something takes that was done before."""
    found: list[float] = []
    while len(found) < REPEATED and sum(found) < LONG_ENOUGH:
        start = time.perf_counter()
        jax.block_until_ready(run())
        found.append(time.perf_counter() - start)
    return min(found)
