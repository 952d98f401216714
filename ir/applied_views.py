"""Regions that are applied to what a node is given, by their parts; see `brainir.ir.views`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from .builder import Builder
from .graph import Graph, Node
from .op import Op
from .types import Loc, Operand, Value
from .views import Operands, Regions, View, hint_of, there


class Applied(View):
    """A node whose first region takes what the node is given, and yields what the node gives."""

    __slots__ = ()

    arguments: tuple[Any, ...]
    yields: tuple[Any, ...]
    nodes: tuple[Node, ...]
    name: str

    @property
    def body(self) -> Graph:
        """The region of its node."""
        params = tuple(a.param for a in self.arguments)
        return Graph(self.name, params, self.nodes, tuple(y.inside for y in self.yields))


class Argument(NamedTuple):
    """What a call is given, and the parameter that stands for it inside.

    Examples
    --------
    >>> from brainir.ir import Call, parse
    >>> graph = parse('''graph @f(%x: f32[3]) -> (f32[3]) {
    ...   %y = call (%inside = %x) do @step {
    ...     yield %inside
    ...   }
    ...   return %y
    ... }''')
    >>> (argument,) = Call.of(graph.nodes[0]).arguments
    >>> argument.operand.hint, argument.param.hint
    ('x', 'inside')
    """

    operand: Operand
    param: Value


class Yield(NamedTuple):
    """What a call gives, and what it is outside.

    Examples
    --------
    >>> from brainir.ir import Call, parse
    >>> graph = parse('''graph @f(%x: f32[3]) -> (f32[3]) {
    ...   %y = call (%a = %x) do @step {
    ...     %b = neg %a
    ...     yield %b
    ...   }
    ...   return %y
    ... }''')
    >>> (given,) = Call.of(graph.nodes[0]).yields
    >>> given.inside.hint, given.result.hint
    ('b', 'y')
    """

    inside: Operand
    result: Value | None = None


@dataclass(frozen=True, slots=True)
class Call(Applied):
    """A node that runs its only region once: a ``call`` or a ``checkpoint``.

    Attributes
    ----------
    op, attrs
        Of the node.
    arguments : tuple of Argument
    yields : tuple of Yield
        Its pieces.
    nodes : tuple of Node
        What it computes.
    name : str
        Of the function that it was.
    loc : Loc or None
        Where it stands.

    Examples
    --------
    >>> from brainir.ir import Builder, Call, get_op, parse
    >>> graph = parse('''graph @f(%x: f32[3]) -> (f32[3]) {
    ...   %y = call (%a = %x) do @step {
    ...     %b = neg %a
    ...     yield %b
    ...   }
    ...   return %y
    ... }''')
    >>> call, build = Call.of(graph.nodes[0]), Builder()
    >>> results = call.rebuilt(op=get_op("checkpoint"), attrs={"prevent_cse": True}).emit(build)
    >>> build.nodes[0].op, call.name, [node.op.name for node in call.nodes]
    (<op checkpoint>, 'step', ['neg'])
    """

    op: Op
    attrs: Mapping[str, Any]
    arguments: tuple[Argument, ...]
    yields: tuple[Yield, ...]
    nodes: tuple[Node, ...]
    name: str = ""
    loc: Loc | None = None

    @classmethod
    def _of(cls, node: Node, operands: Operands, regions: Regions) -> Call:
        (body,) = regions
        return cls(
            node.op,
            node.attrs,
            tuple(Argument(*names) for names in zip(operands, body.params, strict=True)),
            tuple(Yield(*names) for names in zip(body.results, node.results, strict=True)),
            body.nodes,
            body.name,
            node.loc,
        )

    def emit(self, builder: Builder) -> tuple[Value, ...]:
        """Build the node and return its results."""
        hints = [hint_of(y.result, y.inside) for y in self.yields]
        operands = [a.operand for a in self.arguments]
        return builder.emit(self.op, operands, self.attrs, [self.body], loc=self.loc, hints=hints)

    def node(self) -> Node:
        """Return a node whose results are those that the pieces name."""
        operands = tuple(a.operand for a in self.arguments)
        results = there([y.result for y in self.yields])
        return Node(self.op, operands, self.attrs, (self.body,), results, self.loc)


class Lane(NamedTuple):
    """What lanes are given: an array, the axis of the lanes (None: shared), and what one sees.

    Examples
    --------
    >>> from brainir.ir import Lanes, parse
    >>> graph = parse('''graph @f(%x: f32[8,3]) -> (f32[8,3]) {
    ...   %y = vmap (%a: f32[3] = %x) {size=8, in_axes=(0,), out_axes=(0,)} do {
    ...     %b = neg %a
    ...     yield %b
    ...   }
    ...   return %y
    ... }''')
    >>> (lane,) = Lanes.of(graph.nodes[0]).arguments
    >>> str(lane.array.type), lane.axis, str(lane.param.type)
    ('f32[8,3]', 0, 'f32[3]')
    """

    array: Operand
    axis: int | None
    param: Value


class Gathered(NamedTuple):
    """What lanes give: what one yields, the axis of the lanes (None: the same for all), and all.

    Examples
    --------
    >>> from brainir.ir import Lanes, parse
    >>> graph = parse('''graph @f(%x: f32[8,3]) -> (f32[3,8]) {
    ...   %y = vmap (%a: f32[3] = %x) {size=8, in_axes=(0,), out_axes=(1,)} do {
    ...     %b = neg %a
    ...     yield %b
    ...   }
    ...   return %y
    ... }''')
    >>> (given,) = Lanes.of(graph.nodes[0]).yields
    >>> str(given.inside.type), given.axis, str(given.result.type)
    ('f32[3]', 1, 'f32[3,8]')
    """

    inside: Operand
    axis: int | None
    result: Value | None = None


@dataclass(frozen=True, slots=True)
class Lanes(Applied):
    """A ``vmap``.

    Attributes
    ----------
    arguments : tuple of Lane
    yields : tuple of Gathered
        Its pieces.
    nodes : tuple of Node
        What a lane computes.
    attrs : mapping
        Of the node; those that stand in the pieces are made of these.
    name : str
        Of the function that it was.
    loc : Loc or None
        Where it stands.

    Examples
    --------
    >>> from brainir.ir import Builder, Lanes, parse
    >>> graph = parse('''graph @f(%x: f32[8,3]) -> (f32[8,3]) {
    ...   %y = vmap (%a: f32[3] = %x) {size=8, in_axes=(0,), out_axes=(0,)} do {
    ...     %b = neg %a
    ...     yield %b
    ...   }
    ...   return %y
    ... }''')
    >>> lanes = Lanes.of(graph.nodes[0])
    >>> moved = tuple(given._replace(axis=1) for given in lanes.yields)
    >>> (result,) = lanes.rebuilt(yields=moved).emit(Builder())
    >>> lanes.size, str(result.type)
    (8, 'f32[3,8]')
    """

    arguments: tuple[Lane, ...]
    yields: tuple[Gathered, ...]
    nodes: tuple[Node, ...]
    attrs: Mapping[str, Any]
    name: str = ""
    loc: Loc | None = None

    @classmethod
    def _of(cls, node: Node, operands: Operands, regions: Regions) -> Lanes:
        (body,), attrs = regions, node.attrs
        given = zip(operands, attrs["in_axes"], body.params, strict=True)
        gathered = zip(body.results, attrs["out_axes"], node.results, strict=True)
        return cls(
            tuple(Lane(*names) for names in given),
            tuple(Gathered(*names) for names in gathered),
            body.nodes,
            attrs,
            body.name,
            node.loc,
        )

    @property
    def size(self) -> int:
        """How many lanes there are."""
        return self.attrs["size"]

    def emit(self, builder: Builder) -> tuple[Value, ...]:
        """Build the node and return its results."""
        axes = {
            "size": self.size,
            "in_axes": tuple(a.axis for a in self.arguments),
            "out_axes": tuple(y.axis for y in self.yields),
        }
        hints = [hint_of(y.result, y.inside) for y in self.yields]
        operands, attrs = [a.array for a in self.arguments], {**axes, **self.attrs, **axes}
        return builder.emit("vmap", operands, attrs, [self.body], loc=self.loc, hints=hints)
