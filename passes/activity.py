"""Which values a derivative passes through.

What depends on what is a directed graph over the values of a region and all regions inside it;
a loop-carried dependence is just an edge back to a parameter of the body. So no fixpoint needs to
be iterated: reachability is all there is to it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product

from ..ir import ZERO, Linear, Node, Operand, Value, captures, sources, targets

Edge = tuple[Operand, Operand]


def dependent_values(nodes: Sequence[Node], sources: Iterable[Operand]) -> set[Value]:
    """Return the values that change, in first order, when the sources do."""
    return _reachable(_neighbours(_edges(nodes)), sources)


def active_values(
    nodes: Sequence[Node], sources: Iterable[Operand], targets: Iterable[Operand]
) -> set[Value]:
    """Return the values that depend on the sources, and that the targets depend on."""
    edges = list(_edges(nodes))
    onward = _reachable(_neighbours(edges), sources)
    return onward & _reachable(_neighbours((b, a) for a, b in edges), targets)


def _reachable(neighbours: Mapping[Value, list[Value]], starts: Iterable[Operand]) -> set[Value]:
    found = {v for v in starts if isinstance(v, Value) and _smooth(v)}
    stack = list(found)
    while stack:
        for value in neighbours.get(stack.pop(), ()):
            if value not in found:
                found.add(value)
                stack.append(value)
    return found


def _neighbours(edges: Iterable[Edge]) -> dict[Value, list[Value]]:
    neighbours: dict[Value, list[Value]] = defaultdict(list)
    for a, b in edges:
        if isinstance(a, Value) and isinstance(b, Value) and _smooth(a) and _smooth(b):
            neighbours[a].append(b)
    return neighbours


def _smooth(operand: Operand) -> bool:
    return operand.type.is_differentiable


def _edges(nodes: Sequence[Node]) -> Iterator[Edge]:
    for node in nodes:
        if node.op.wiring is None:
            yield from product(_differentiable_operands(node), node.results)
            continue
        wiring = node.op.wiring(node)
        if wiring.mixed:
            # Its rule says how results depend on operands; what is inside says nothing. That they
            # depend on what the function closes over must be known, for there is no rule for it.
            running = node.regions[: len(node.regions) - wiring.rules]
            yield from product((*node.operands, *captures(*running)), node.results)
            continue
        for strand in wiring.strands:
            # The first target stands for the others: the parameter of a carry for what it is at
            # all times, before, between and after the steps.
            first, *others = targets(node, strand.targets)
            yield from ((one, first) for one in sources(node, strand.sources))
            yield from ((first, other) for other in others)
        for region in node.regions:
            yield from _edges(region.nodes)


def _differentiable_operands(node: Node) -> Sequence[Operand]:
    derivative = node.op.derivative
    if derivative is ZERO:
        return ()
    if isinstance(derivative, Linear) and derivative.positions is not None:
        return [node.operands[i] for i in derivative.positions]
    return node.operands
