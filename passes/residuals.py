"""What a reverse run needs of the forward run, and which of it to store: a minimum cut.

The values that the reverse run needs are computed from what the region starts with. Between the
two, every set of values that separates them would do: those are stored, and what comes after them
is computed again. The cheapest set in bytes is a minimum cut of the dependence graph, in which

- cutting a value costs its bytes, so that a spike stored as a bool costs one byte;
- what heavy ops, random ops and loops produce is a source, since it is not computed twice;
- what is at hand anyway, such as values from outside of the region, costs nothing.

Among the cheapest cuts the latest one is taken, as it leaves the least to compute again. To store
less and compute again is the idea of T. Chen et al., *Training deep nets with sublinear memory
cost*, 2016; to find what to store as a cut, that of PyTorch's ahead-of-time partitioner. Its weak
side: any number of cheap ops counts as nothing, so a long chain of exponentials is run again to
save one array.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Generic, TypeVar

import networkx as nx
from networkx.algorithms.flow import boykov_kolmogorov

from ..ir import Node, Operand, Value, Weight, is_pure
from .splicing import outside_values

LIMIT = 3000
"""Number of values above which a part of the network is not cut but stored where it is needed."""


def repeatable(node: Node) -> bool:
    """Whether running a node once more is cheaper than storing its results."""
    return not node.regions and is_pure(node) and node.cost.weight < Weight.HEAVY


# --- the residuals of a region that runs once ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Residuals:
    """What a reverse run starts from, and the forward nodes that it runs again."""

    inputs: tuple[Value, ...]
    again: tuple[Node, ...]


def choose_residuals(
    forward: Sequence[Node], backward: Sequence[Node], results: Iterable[Operand]
) -> Residuals:
    """Choose what the forward nodes of a region without parameters hand to those of its reverse.

    ``results`` are what the reverse yields. Values defined elsewhere are always at hand.
    """
    producers = {result: node for node in forward for result in node.results}
    needed = [v for v in outside_values(backward, results) if v in producers]

    def inputs(value: Value) -> list[Value] | None:
        node = producers[value]
        return [v for v in values(node) if v in producers] if repeatable(node) else None

    saved = minimum_cut(needed, inputs, lambda value: value.type.nbytes)
    used: dict[Value, None] = {}
    again: set[Node] = set()
    stack = needed[::-1]
    while stack:
        value = stack.pop()
        node = producers[value]
        if value in saved:
            used[value] = None
        elif node not in again:
            again.add(node)
            stack += [v for v in reversed(values(node)) if v in producers]
    return Residuals(tuple(used), tuple(node for node in forward if node in again))


def values(node: Node) -> list[Value]:
    """Return the operands of a node that are no literals."""
    return [operand for operand in node.operands if isinstance(operand, Value)]


# --- the cut --------------------------------------------------------------------------------------

V = TypeVar("V", bound=Hashable)


def minimum_cut(
    needed: Sequence[V], inputs: Callable[[V], Sequence[V] | None], size: Callable[[V], float]
) -> set[V]:
    """Return what to store: the fewest bytes, and of the sets with so many the latest.

    Parameters
    ----------
    needed
        What must be had in the end.
    inputs
        What a vertex is computed from, without what is at hand; None if it must not be computed.
    size
        The bytes of a vertex; infinitely many if it must not be stored.
    """
    made_of: dict[V, Sequence[V]] = {}
    sources: set[V] = set()
    stack = list(needed)
    while stack:
        vertex = stack.pop()
        if vertex in made_of:
            continue
        found = inputs(vertex)
        if found is None:
            sources.add(vertex)
        made_of[vertex] = found or ()
        stack += made_of[vertex]
    network = _Network(made_of, sources, needed, {vertex: size(vertex) for vertex in made_of})
    network.contract()
    return network.cut()


class _Network(Generic[V]):
    """A flow network; what depends on no source is left out of it.

    Attributes
    ----------
    before, after : dict of vertex to the keys of another dict
        The edges, both ways.
    sources, needed : set of vertices
        Where flow enters and leaves.
    size : mapping of vertex to float
        What it costs to cut a vertex.
    """

    def __init__(
        self,
        made_of: Mapping[V, Sequence[V]],
        sources: set[V],
        needed: Sequence[V],
        size: Mapping[V, float],
    ) -> None:
        after: dict[V, dict[V, None]] = {v: {} for v in made_of}
        for vertex, used in made_of.items():
            for v in used:
                after[v][vertex] = None
        reached = _closure(sources, after)
        self.after = {v: after[v] for v in made_of if v in reached}
        self.before = {v: dict.fromkeys(u for u in made_of[v] if u in reached) for v in self.after}
        self.sources = sources
        self.needed = {v for v in needed if v in reached}
        self.size = size

    def contract(self) -> None:
        """Merge vertices of which one is never worse to cut than the other.

        What is made from one other only, and is not smaller than it, need not be cut; nor need what
        is used for one other only, which is not bigger. Most of a network goes that way.
        """
        stack = list(self.after)
        while stack:
            vertex = stack.pop()
            if vertex not in self.after:
                continue
            if len(self.after[vertex]) == 1 and vertex not in self.needed:
                (user,) = self.after[vertex]
                if self.size[user] <= self.size[vertex]:
                    stack += self._merge(vertex, user)
                    continue
            if len(self.before[vertex]) == 1 and vertex not in self.sources:
                (used,) = self.before[vertex]
                more = self.size[vertex] - self.size[used]
                shared = len(self.after[used]) > 1 or used in self.needed
                if more > 0 or (shared and more == 0):
                    stack += self._merge(vertex, used)

    def _merge(self, gone: V, kept: V) -> list[V]:
        """Merge a vertex into a neighbour; return the vertices whose surroundings changed."""
        for mine, theirs in ((self.before, self.after), (self.after, self.before)):
            for other in mine.pop(gone):
                del theirs[other][gone]
                if other != kept:
                    theirs[other][kept] = None
                    mine[kept][other] = None
        for role in (self.sources, self.needed):
            if gone in role:
                role.remove(gone)
                role.add(kept)
        return [kept, *self.before[kept], *self.after[kept]]

    def cut(self) -> set[V]:
        """Return a cheapest set of vertices between the sources and what is needed."""
        saved: set[V] = set()
        seen: set[V] = set()
        for vertex in self.after:
            if vertex not in seen:
                part = _closure([vertex], self.before, self.after)
                seen |= part
                saved |= self._cut_part(part)
        return saved

    def _cut_part(self, part: set[V]) -> set[V]:
        if len(part) == 1 or len(part) > LIMIT:
            return part & self.needed
        graph = nx.DiGraph()
        for vertex in part:
            cost = {} if self.size[vertex] == inf else {"capacity": self.size[vertex]}
            graph.add_edge((vertex, "in"), (vertex, "out"), **cost)
            graph.add_edges_from(((vertex, "out"), (user, "in")) for user in self.after[vertex])
        graph.add_edges_from(("source", (vertex, "in")) for vertex in part & self.sources)
        graph.add_edges_from(((vertex, "out"), "sink") for vertex in part & self.needed)
        _, (before, _) = nx.minimum_cut(graph, "source", "sink", flow_func=boykov_kolmogorov)
        return {v for v in part if (v, "in") in before and (v, "out") not in before}


def _closure(starts: Iterable[V], *neighbours: Mapping[V, Mapping[V, None]]) -> set[V]:
    found = set(starts)
    stack = list(found)
    while stack:
        vertex = stack.pop()
        for maps in neighbours:
            new = [v for v in maps[vertex] if v not in found]
            found.update(new)
            stack += new
    return found
