"""Forward mode: a walk over the nodes of a region, with the tangents of its values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet

from ..ir import (
    Argument,
    Branches,
    Builder,
    Call,
    Carry,
    Choice,
    Graph,
    Loop,
    Node,
    NotDifferentiable,
    Operand,
    Round,
    Slice,
    Stack,
    Value,
    While,
    Yield,
    at,
    captures,
)
from .errors import DerivativeOfClosedOver, ForwardOfCustomVjp
from .surgery import splice


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

    def set(self, values: Iterable[Value | None], tangents: Iterable[Operand | None]) -> None:
        """Note tangents of values, of which only differentiable ones have any."""
        for value, tangent in zip(values, tangents, strict=True):
            if tangent is not None and value is not None and value in self.varied:
                self.tangents[value] = tangent

    def walk(self, nodes: Sequence[Node]) -> None:
        """Build nodes and their tangents."""
        for node in nodes:
            self.builder.loc = node.loc
            if self.varied.isdisjoint(node.results):
                self.builder.nodes.append(node)
            elif node.op.has_regions:
                _rule(node)(self, node)
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


def _forward_loop(forward: Forward, node: Node) -> None:
    """Carry the tangents of carries along, and go over those of slices."""
    loop = Loop.of(node)
    carried = [carry for carry in loop.carries if carry.param in forward.varied]
    over = [piece for piece in loop.slices if forward.get(piece.array) is not None]
    moved = {piece.param: Value(piece.param.type) for piece in (*carried, *over)}
    inner = forward.region(node.regions[0], [moved.get(p) for p in node.regions[0].params])
    yielded = [stack for stack in loop.stacks if inner.get(stack.each) is not None]
    carries = [
        Carry(
            forward.get_or_zeros(carry.initial),
            moved[carry.param],
            inner.get_or_zeros(carry.next),
            Value(carry.param.type),
        )
        for carry in carried
    ]
    slices = [Slice(forward.get_or_zeros(p.array), moved[p.param]) for p in over]
    stacks = [
        Stack(inner.get_or_zeros(stack.each), Value(stack.each.type.stacked(loop.length)))
        for stack in yielded
    ]
    more = loop.rebuilt(
        carries=(*loop.carries, *carries),
        slices=(*loop.slices, *slices),
        stacks=(*loop.stacks, *stacks),
        nodes=tuple(inner.builder.nodes),
    )
    forward.builder.nodes.append(more.node())
    forward.set((c.last for c in carried), (c.last for c in carries))
    forward.set((stack.result for stack in yielded), (stack.result for stack in stacks))


def _forward_while(forward: Forward, node: Node) -> None:
    """Carry the tangents of carries along."""
    loop = While.of(node)
    carried = [carry for carry in loop.carries if carry.param in forward.varied]
    moved = {carry.param: Value(carry.param.type) for carry in carried}
    inner = forward.region(node.regions[1], [moved.get(carry.param) for carry in loop.carries])
    carries = [
        Round(
            forward.get_or_zeros(carry.initial),
            Value(carry.param.type),
            moved[carry.param],
            inner.get_or_zeros(carry.next),
            Value(carry.param.type),
        )
        for carry in carried
    ]
    more = loop.rebuilt(carries=(*loop.carries, *carries), nodes=tuple(inner.builder.nodes))
    forward.builder.nodes.append(more.node())
    forward.set((c.last for c in carried), (c.last for c in carries))


def _forward_cond(forward: Forward, node: Node) -> None:
    """Yield tangents from each branch."""
    view = Branches.of(node)
    walks = [forward.region(region, []) for region in node.regions]
    moved = [
        choice
        for choice in view.choices
        if any(walk.get(y) is not None for walk, y in zip(walks, choice.yields, strict=True))
    ]
    choices = []
    for yields, result in moved:
        pairs = zip(walks, yields, strict=True)
        tangents = tuple(walk.get_or_zeros(y) for walk, y in pairs)
        assert result is not None
        choices.append(Choice(tangents, Value(result.type)))
    branches = tuple(
        branch._replace(nodes=tuple(walk.builder.nodes))
        for branch, walk in zip(view.branches, walks, strict=True)
    )
    more = view.rebuilt(branches=branches, choices=(*view.choices, *choices))
    forward.builder.nodes.append(more.node())
    forward.set((c.result for c in moved), (c.result for c in choices))


def _forward_call(forward: Forward, node: Node) -> None:
    """Pass the tangents of arguments along, and yield those of the results."""
    view, arguments = Call.of(node), list[Argument]()
    given: list[Value | None] = []
    for argument in view.arguments:
        tangent = forward.get(argument.operand)
        given.append(None if tangent is None else Value(tangent.type))
        if tangent is not None and given[-1] is not None:
            arguments.append(Argument(tangent, given[-1]))
    inner = forward.region(node.regions[0], given)
    moved = [y for y in view.yields if inner.get(y.inside) is not None]
    yields = [Yield(inner.get_or_zeros(y.inside), Value(y.inside.type)) for y in moved]
    more = view.rebuilt(
        arguments=(*view.arguments, *arguments),
        yields=(*view.yields, *yields),
        nodes=tuple(inner.builder.nodes),
    )
    forward.builder.nodes.append(more.node())
    forward.set((y.result for y in moved), (y.result for y in yields))


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


def _rule(node: Node) -> Callable[[Forward, Node], None]:
    if node.op.name not in _RULES:
        raise NotDifferentiable(
            f"{node.op.name}{at(node.loc)} has no rule for forward mode: expand it before the "
            "derivative, or give it a rule in brainir/passes/forward.py"
        )
    return _RULES[node.op.name]


_RULES = {
    "for_loop": _forward_loop,
    "while": _forward_while,
    "cond": _forward_cond,
    "call": _forward_call,
    "checkpoint": _forward_call,
    "custom_derivative": _forward_custom_derivative,
}
