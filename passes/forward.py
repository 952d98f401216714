"""Forward mode: a walk over the nodes of a region, with the tangents of its values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import TypeVar

from ..ir import Builder, Graph, Node, Operand, Value, captures, fresh
from .errors import DerivativeOfClosedOver, ForwardOfCustomVjp
from .surgery import splice

T = TypeVar("T", bound=Operand)


class Forward:
    """The nodes of one region, each followed by those of its tangents.

    Attributes
    ----------
    varied : set of Value
        The values that may have a tangent; see `dependent_values`.
    tangents : dict of Value to Operand
        Those found so far, of this region and of all around it and in it; what is left out is zero.
    builder : Builder
        Gets the nodes.
    """

    def __init__(self, varied: AbstractSet[Value], tangents: dict[Value, Operand]) -> None:
        self.varied, self.tangents, self.builder = varied, tangents, Builder()

    def get(self, operand: Operand) -> Operand | None:
        """Return the tangent of an operand, None for zero."""
        return self.tangents.get(operand) if isinstance(operand, Value) else None

    def get_or_zeros(self, operand: Operand) -> Operand:
        """Return the tangent of an operand; a random key, which has no zero, stands for itself."""
        tangent = self.get(operand)
        if tangent is not None:
            return tangent
        return operand if operand.type.is_key else self.builder.zeros(operand.type)

    def set(self, values: Iterable[Value], tangents: Iterable[Operand | None]) -> None:
        """Note tangents of values, of which only differentiable ones have any."""
        for value, tangent in zip(values, tangents, strict=True):
            if tangent is not None and value in self.varied:
                self.tangents[value] = tangent

    def walk(self, nodes: Sequence[Node]) -> None:
        """Build nodes and their tangents."""
        for node in nodes:
            self.builder.loc = node.loc
            if self.varied.isdisjoint(node.results):
                self.builder.nodes.append(node)
            elif node.op.has_regions:
                _RULES[node.op.name](self, node)
            else:
                assert node.op.derivative is not None
                self.builder.nodes.append(node)
                tangents = tuple(map(self.get, node.operands))
                self.set(node.results, node.op.derivative.jvp(self.builder, node, tangents))

    def region(self, region: Graph, given: Sequence[Operand | None]) -> Forward:
        """Return the walk over a region whose parameters have the given tangents."""
        inner = Forward(self.varied, self.tangents)
        inner.set(region.params, given)
        inner.walk(region.nodes)
        return inner

    def replace(
        self,
        node: Node,
        operands: Sequence[Operand],
        regions: Sequence[Graph],
        results: Sequence[Value],
        **attrs: int,
    ) -> None:
        """Append a node like another one, of which more is asked."""
        attrs = {**node.attrs, **attrs}
        new = Node(node.op, tuple(operands), attrs, tuple(regions), tuple(results), node.loc)
        self.builder.nodes.append(new)

    def close(self, region: Graph, params: Sequence[Value], results: Sequence[Operand]) -> Graph:
        """Return the region that was walked over, with other parameters and results."""
        return region.with_(
            params=tuple(params), nodes=tuple(self.builder.nodes), results=tuple(results)
        )


def _forward_loop(forward: Forward, node: Node) -> None:
    """Carry the tangents of carries along, and go over those of slices; a `while` has none."""
    body = node.regions[-1]
    count = node.attrs.get("carries", len(body.params))
    carried = [i for i, param in enumerate(body.params[:count]) if param in forward.varied]
    over = [i for i in range(count, len(body.params)) if forward.get(node.operands[i]) is not None]
    moved = {i: Value(body.params[i].type) for i in (*carried, *over)}
    inner = forward.region(body, [moved.get(i) for i in range(len(body.params))])
    yielded = [i for i in range(count, len(body.results)) if inner.get(body.results[i]) is not None]
    leaving = [inner.get_or_zeros(body.results[i]) for i in (*carried, *yielded)]

    def extended(kept: Sequence[T], carries: Sequence[T], rest: Sequence[T]) -> tuple[T, ...]:
        return (*kept[:count], *carries, *kept[count:], *rest)

    starts = [forward.get_or_zeros(node.operands[i]) for i in (*carried, *over)]
    split = len(carried)
    params = list(moved.values())
    tangents = fresh(node.results[i] for i in (*carried, *yielded))
    region = inner.close(
        body,
        extended(body.params, params[:split], params[split:]),
        extended(body.results, leaving[:split], leaving[split:]),
    )
    regions = [_with_more_params(r, params) for r in node.regions[:-1]]
    forward.replace(
        node,
        extended(node.operands, starts[:split], starts[split:]),
        [*regions, region],
        extended(node.results, tangents[:split], tangents[split:]),
        **({"carries": count + split} if "carries" in node.attrs else {}),
    )
    forward.set([node.results[i] for i in (*carried, *yielded)], tangents)


def _with_more_params(region: Graph, params: Sequence[Value]) -> Graph:
    """Return the condition of a loop that has more carries now."""
    return region.with_(params=(*region.params, *fresh(params)))


def _forward_cond(forward: Forward, node: Node) -> None:
    """Yield tangents from each branch."""
    walks = [forward.region(region, []) for region in node.regions]
    pairs = list(zip(walks, node.regions, strict=True))
    moved = [
        i
        for i in range(len(node.results))
        if any(walk.get(region.results[i]) is not None for walk, region in pairs)
    ]
    regions = []
    for walk, region in pairs:
        tangents = [walk.get_or_zeros(region.results[i]) for i in moved]
        regions.append(walk.close(region, (), (*region.results, *tangents)))
    found = fresh(node.results[i] for i in moved)
    forward.replace(node, node.operands, regions, (*node.results, *found))
    forward.set([node.results[i] for i in moved], found)


def _forward_call(forward: Forward, node: Node) -> None:
    """Pass the tangents of arguments along, and yield those of the results."""
    (region,) = node.regions
    given = [forward.get(operand) for operand in node.operands]
    params = [None if tangent is None else Value(tangent.type) for tangent in given]
    inner = forward.region(region, params)
    moved = [i for i, r in enumerate(region.results) if inner.get(r) is not None]
    results = [inner.get_or_zeros(region.results[i]) for i in moved]
    found = fresh(node.results[i] for i in moved)
    closed = inner.close(
        region,
        (*region.params, *(p for p in params if p is not None)),
        (*region.results, *results),
    )
    operands = (*node.operands, *(t for t in given if t is not None))
    forward.replace(node, operands, [closed], (*node.results, *found))
    forward.set([node.results[i] for i in moved], found)


def _forward_custom_derivative(forward: Forward, node: Node) -> None:
    """Run the rule that came with a function in its place."""
    if node.attrs["mode"] == "vjp":
        raise ForwardOfCustomVjp(node.loc)
    if any(forward.get(value) is not None for value in captures(node.regions[0])):
        raise DerivativeOfClosedOver(node.loc)
    tangents = [forward.get_or_zeros(operand) for operand in node.operands]
    nodes, pushed = splice(node.regions[1], (*node.operands, *tangents), node.results)
    forward.builder.nodes += nodes
    forward.set(node.results, pushed)


_RULES = {
    "for_loop": _forward_loop,
    "while": _forward_loop,
    "cond": _forward_cond,
    "call": _forward_call,
    "checkpoint": _forward_call,
    "custom_derivative": _forward_custom_derivative,
}
