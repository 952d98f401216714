"""Which values a derivative passes through.

What depends on what is a directed graph over the values of a region and all regions inside it;
a loop-carried dependence is just an edge back to a parameter of the body. So no fixpoint needs to
be iterated: reachability is all there is to it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product

from ..ir import ZERO, GraphError, Linear, Node, Operand, Value, captures

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
        if not node.op.has_regions:
            yield from product(_differentiable_operands(node), node.results)
        elif node.op.name == "custom_derivative":
            # Its rule says how results depend on operands; what is inside says nothing. That they
            # depend on what the function closes over must be known, for there is no rule for it.
            yield from product((*node.operands, *captures(node.regions[0])), node.results)
        else:
            yield from _links(node)
            for region in node.regions:
                yield from _edges(region.nodes)


def _differentiable_operands(node: Node) -> Sequence[Operand]:
    derivative = node.op.derivative
    if derivative is ZERO:
        return ()
    if isinstance(derivative, Linear) and derivative.positions is not None:
        return [node.operands[i] for i in derivative.positions]
    return node.operands


def _links(node: Node) -> Iterator[Edge]:
    """Yield how values enter, go round in and leave the regions of a node."""
    name, regions = node.op.name, node.regions
    if name in ("for_loop", "while"):
        body = regions[-1]
        carries = node.attrs.get("carries", len(body.params))
        # The parameter stands for the carry at all times: before, between and after the steps.
        yield from zip(node.operands, body.params, strict=True)
        yield from zip(body.results[:carries], body.params, strict=False)
        yield from zip(body.params[:carries], node.results, strict=False)
        yield from zip(body.results[carries:], node.results[carries:], strict=True)
    elif name == "cond":
        for region in regions:
            yield from zip(region.results, node.results, strict=True)
    elif name in ("call", "checkpoint"):
        yield from zip(node.operands, regions[0].params, strict=True)
        yield from zip(regions[0].results, node.results, strict=True)
    else:
        raise GraphError(f"{name} must be expanded before what is around it can be differentiated")
