"""What a reverse run needs of the forward run, and which of it to store: a minimum cut.

The values that the reverse run needs are computed from what the step starts with. Between the two,
every set of values that separates them would do: those are stored, and what comes after them is
computed again. The cheapest set in bytes is a minimum cut of the step's dependence graph, in which

- cutting a value costs its bytes, so that a spike stored as a bool costs one byte;
- what heavy ops, random ops and loops produce is a source, since it is not computed twice;
- what is at hand anyway (slices of the loop's inputs, values from outside) costs nothing.

Among the cheapest cuts the latest one is taken, as it leaves the least to compute again. The idea is
that of T. Chen et al., *Training deep nets with sublinear memory cost*, 2016, as a cut, which is how
PyTorch's ahead-of-time partitioner puts it. Its weak side: any number of cheap ops counts as
nothing, so a long chain of exponentials is run again to save one array.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import networkx as nx
from networkx.algorithms.flow import boykov_kolmogorov

from ..ir import Node, Operand, Value, Weight, is_pure
from .surgery import outside_values

LIMIT = 3000
"""Number of values above which a part of the network is not cut but stored where it is needed."""


@dataclass(frozen=True, slots=True)
class Residuals:
    """What a reverse run starts from, and the forward nodes that it runs again."""

    inputs: tuple[Value, ...]
    again: tuple[Node, ...]


def choose_residuals(
    forward: Sequence[Node],
    params: Sequence[Value],
    free: AbstractSet[Value],
    backward: Sequence[Node],
    results: Iterable[Operand],
) -> Residuals:
    """Choose what the forward nodes of a region hand to the nodes of its reverse.

    Parameters
    ----------
    forward, params
        The nodes and parameters of the region; values defined elsewhere are always at hand.
    free
        Parameters and results of forward nodes that the reverse has at no cost.
    backward, results
        The nodes of the reverse and what they yield.
    """
    producers: dict[Value, Node | None] = dict.fromkeys(params)
    producers.update((result, node) for node in forward for result in node.results)
    needed = [v for v in outside_values(backward, results) if v in producers]
    saved = minimum_cut(producers, free, needed) | free
    return _with_saved(saved, producers, forward, needed)


def _with_saved(
    saved: AbstractSet[Value],
    producers: Mapping[Value, Node | None],
    forward: Sequence[Node],
    needed: Sequence[Value],
) -> Residuals:
    """Collect what leads from saved values to needed ones."""
    inputs: dict[Value, None] = {}
    again: set[Node] = set()
    stack = list(reversed(needed))
    while stack:
        value = stack.pop()
        node = producers[value]
        if value in saved or node is None or not repeatable(node):
            inputs.setdefault(value)
        elif node not in again:
            again.add(node)
            stack.extend(v for v in reversed(_values(node)) if v in producers)
    return Residuals(tuple(inputs), tuple(node for node in forward if node in again))


def weight(node: Node) -> Weight:
    """Return how running a node compares with storing what it gives."""
    operands = tuple(o.type for o in node.operands)
    results = tuple(r.type for r in node.results)
    return node.op.cost(operands, results, node.attrs).weight


def repeatable(node: Node) -> bool:
    """Whether running a node once more is cheaper than storing its results."""
    return not node.regions and is_pure(node) and weight(node) < Weight.HEAVY


def _values(node: Node) -> list[Value]:
    return [o for o in node.operands if isinstance(o, Value)]


# --- the cut --------------------------------------------------------------------------------------


def minimum_cut(
    producers: Mapping[Value, Node | None], free: AbstractSet[Value], needed: Sequence[Value]
) -> set[Value]:
    """Return the values to store: the fewest bytes, and among the sets of so many the latest.

    ``producers`` maps each value of the region to the node that makes it, None for a parameter.
    What depends on nothing but free values is not stored.
    """
    inputs: dict[Value, list[Value]] = {}
    sources: set[Value] = set()
    stack = [v for v in needed if v not in free]
    while stack:
        value = stack.pop()
        if value in inputs:
            continue
        node = producers[value]
        if node is None or not repeatable(node):
            sources.add(value)
            inputs[value] = []
        else:
            inputs[value] = [v for v in _values(node) if v in producers and v not in free]
            stack.extend(inputs[value])
    network = _Network(inputs, sources, needed)
    network.contract()
    return network.cut()


class _Network:
    """A flow network whose vertices are values; what depends on no source is left out of it.

    Attributes
    ----------
    before, after : dict of value to set of values
        The edges, both ways.
    sources, needed : set of values
        Where flow enters and leaves.
    """

    def __init__(
        self, inputs: Mapping[Value, list[Value]], sources: set[Value], needed: Sequence[Value]
    ) -> None:
        self.after: dict[Value, dict[Value, None]] = {v: {} for v in inputs}
        for value, used in inputs.items():
            for v in used:
                self.after[v][value] = None
        reached = _closure(sources, self.after)
        self.after = {v: self.after[v] for v in inputs if v in reached}
        self.before = {v: dict.fromkeys(u for u in inputs[v] if u in reached) for v in self.after}
        self.sources = sources
        self.needed = {v for v in needed if v in reached}

    def contract(self) -> None:
        """Merge vertices of which one is never worse to cut than the other.

        A value made from one other only, and not smaller than it, need not be cut; nor need one that
        is used for one other only, which is not bigger. Most of a network goes that way.
        """
        stack = list(self.after)
        while stack:
            value = stack.pop()
            if value not in self.after:
                continue
            size = value.type.nbytes
            if len(self.after[value]) == 1 and value not in self.needed:
                (user,) = self.after[value]
                if user.type.nbytes <= size:
                    stack += self._merge(value, user)
                    continue
            if len(self.before[value]) == 1 and value not in self.sources:
                (used,) = self.before[value]
                if used.type.nbytes <= size:
                    stack += self._merge(value, used)

    def _merge(self, gone: Value, kept: Value) -> list[Value]:
        """Merge a vertex into a neighbour; return the vertices whose surroundings changed."""
        for mine, theirs in ((self.before, self.after), (self.after, self.before)):
            for other in mine.pop(gone):
                del theirs[other][gone]
                if other is not kept:
                    theirs[other][kept] = None
                    mine[kept][other] = None
        for role in (self.sources, self.needed):
            if gone in role:
                role.remove(gone)
                role.add(kept)
        return [kept, *self.before[kept], *self.after[kept]]

    def cut(self) -> set[Value]:
        """Return a cheapest set of vertices between the sources and what is needed."""
        saved: set[Value] = set()
        seen: set[Value] = set()
        for value in self.after:
            if value not in seen:
                part = _closure([value], self.before, self.after)
                seen |= part
                saved |= self._cut_part(part)
        return saved

    def _cut_part(self, part: set[Value]) -> set[Value]:
        if len(part) == 1 or len(part) > LIMIT:
            return part & self.needed
        graph = nx.DiGraph()
        for value in part:
            graph.add_edge((value, "in"), (value, "out"), capacity=value.type.nbytes)
            graph.add_edges_from(((value, "out"), (user, "in")) for user in self.after[value])
        graph.add_edges_from(("source", (value, "in")) for value in part & self.sources)
        graph.add_edges_from(((value, "out"), "sink") for value in part & self.needed)
        _, (before, _) = nx.minimum_cut(graph, "source", "sink", flow_func=boykov_kolmogorov)
        return {v for v in part if (v, "in") in before and (v, "out") not in before}


def _closure(
    starts: Iterable[Value], *neighbours: Mapping[Value, Mapping[Value, None]]
) -> set[Value]:
    found = set(starts)
    stack = list(found)
    while stack:
        value = stack.pop()
        for maps in neighbours:
            new = [v for v in maps[value] if v not in found]
            found.update(new)
            stack += new
    return found
