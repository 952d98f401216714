"""Control flow by its parts: what a loop carries, what branches yield.

A view takes a node apart into pieces that each hold all names of one thing, so that passes speak of
carries and slices rather than of positions. `rebuilt` gives a view with other pieces; `emit` builds
its node, and `node` makes one whose results are values that are there already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self, cast

from .builder import Builder
from .graph import Graph, Node
from .op import get_op
from .types import Loc, Operand, Value

Operands = tuple[Operand, ...]
Regions = tuple[Graph, ...]


class View:
    """A node of one op, taken apart; each of its kinds says of what pieces it is."""

    __slots__ = ()

    @classmethod
    def of(
        cls,
        node: Node,
        operands: Sequence[Operand] | None = None,
        regions: Sequence[Graph] | None = None,
    ) -> Self:
        """Take a node apart; operands and regions may be others, as in a replay."""
        given = node.operands if operands is None else tuple(operands)
        return cls._of(node, given, node.regions if regions is None else tuple(regions))

    @classmethod
    def _of(cls, node: Node, operands: Operands, regions: Regions) -> Self:
        raise NotImplementedError(f"{cls.__name__} does not say of what pieces it is")

    def rebuilt(self, **changes: Any) -> Self:
        """Return a view in which some pieces are others."""
        return replace(cast(Any, self), **changes)


class Carry(NamedTuple):
    """What goes from step to step: before, in, and after a step, and after the last one.

    Examples
    --------
    >>> from brainir.ir import Loop, parse
    >>> graph = parse('''graph @decay(%V: f32[]) -> (f32[]) {
    ...   %end = for_loop carry(%v = %V) {length=10} do {
    ...     %next = mul %v, 0.9:f32
    ...     yield %next
    ...   }
    ...   return %end
    ... }''')
    >>> (carry,) = Loop.of(graph.nodes[0]).carries
    >>> [value.hint for value in carry]
    ['V', 'v', 'next', 'end']
    """

    initial: Operand
    param: Value
    next: Operand
    last: Value | None = None


class Slice(NamedTuple):
    """What a loop runs over: an array, and the parameter that is its slice of one step.

    Examples
    --------
    >>> from brainir.ir import Loop, parse
    >>> graph = parse('''graph @negated(%xs: f32[3]) -> (f32[3]) {
    ...   %ys = for_loop over(%x = %xs) {length=3} do {
    ...     %y = neg %x
    ...     yield %y
    ...   }
    ...   return %ys
    ... }''')
    >>> (piece,) = Loop.of(graph.nodes[0]).slices
    >>> str(piece.array.type), str(piece.param.type)
    ('f32[3]', 'f32[]')
    """

    array: Operand
    param: Value


class Stack(NamedTuple):
    """What a loop collects: what a step yields, and the array of all steps.

    Examples
    --------
    >>> from brainir.ir import Loop, parse
    >>> graph = parse('''graph @negated(%xs: f32[3]) -> (f32[3]) {
    ...   %ys = for_loop over(%x = %xs) {length=3} do {
    ...     %y = neg %x
    ...     yield %y
    ...   }
    ...   return %ys
    ... }''')
    >>> (piece,) = Loop.of(graph.nodes[0]).stacks
    >>> str(piece.each.type), str(piece.result.type)
    ('f32[]', 'f32[3]')
    """

    each: Operand
    result: Value | None = None


def hint_of(value: Value | None, otherwise: Operand) -> str:
    """Return how a result is to be called: as before, or as what is yielded."""
    if value is not None:
        return value.hint
    return otherwise.hint if isinstance(otherwise, Value) else ""


def there(results: Sequence[Value | None]) -> tuple[Value, ...]:
    """Return results that all pieces must have by now."""
    assert None not in results, "a piece that was added has no result yet: emit the view instead"
    return tuple(r for r in results if r is not None)


@dataclass(frozen=True, slots=True)
class Loop(View):
    """A ``for_loop``.

    Attributes
    ----------
    carries, slices, stacks : tuple
        Its pieces, in the order of operands, parameters, yields and results.
    nodes : tuple of Node
        Those of a step.
    length, reverse, unroll, base
        How many steps, whether the last index comes first, how many are unrolled at a time, and how
        many make a group of which the reverse keeps only the start; None for no groups.
    name : str
        Of the function that a step was.
    loc : Loc or None
        Where it stands.

    Examples
    --------
    >>> from brainir.ir import Builder, Loop, parse
    >>> graph = parse('''graph @f(%xs: f32[3]) -> (f32[3], f32[3]) {
    ...   %ys, %zs = for_loop over(%x = %xs) {length=3} do {
    ...     %y = neg %x
    ...     yield %x, %y
    ...   }
    ...   return %ys, %zs
    ... }''')
    >>> loop, build = Loop.of(graph.nodes[0]), Builder()
    >>> last, stacks = loop.rebuilt(stacks=loop.stacks[1:], reverse=True).emit(build)
    >>> print(build.graph(graph.params, stacks, "fewer"))
    graph @fewer(%xs: f32[3]) -> (f32[3]) {
      %zs = for_loop over(%x = %xs) {length=3, reverse=true} : f32[3] do {
        %y = neg %x : f32[]
        yield %y
      }
      return %zs
    }
    """

    carries: tuple[Carry, ...]
    slices: tuple[Slice, ...]
    stacks: tuple[Stack, ...]
    nodes: tuple[Node, ...]
    length: int
    reverse: bool = False
    unroll: int = 1
    base: int | None = None
    name: str = ""
    loc: Loc | None = None

    @classmethod
    def _of(cls, node: Node, operands: Operands, regions: Regions) -> Loop:
        (body,), count = regions, node.attrs["carries"]
        params, yields, results = body.params, body.results, node.results
        carries = zip(operands[:count], params, yields, results, strict=False)
        return cls(
            tuple(Carry(*names) for names in carries),
            tuple(Slice(*names) for names in zip(operands[count:], params[count:], strict=True)),
            tuple(Stack(*names) for names in zip(yields[count:], results[count:], strict=True)),
            body.nodes,
            node.attrs["length"],
            node.attrs["reverse"],
            node.attrs["unroll"],
            node.attrs["base"],
            body.name,
            node.loc,
        )

    @property
    def attrs(self) -> dict[str, Any]:
        """The attributes of its node."""
        return {
            "carries": len(self.carries),
            "length": self.length,
            "reverse": self.reverse,
            "unroll": self.unroll,
            "base": self.base,
        }

    @property
    def operands(self) -> tuple[Operand, ...]:
        """The operands of its node."""
        return (*(c.initial for c in self.carries), *(s.array for s in self.slices))

    @property
    def body(self) -> Graph:
        """The region of its node."""
        params = (*(c.param for c in self.carries), *(s.param for s in self.slices))
        results = (*(c.next for c in self.carries), *(s.each for s in self.stacks))
        return Graph(self.name, params, self.nodes, results)

    @property
    def first(self) -> int:
        """The index of the step that runs first."""
        return self.length - 1 if self.reverse else 0

    def emit(self, builder: Builder) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
        """Build the loop; return what carries are left with, and the stacks."""
        hints = [
            *(hint_of(c.last, c.param) for c in self.carries),
            *(hint_of(s.result, s.each) for s in self.stacks),
        ]
        results = builder.emit(
            "for_loop", self.operands, self.attrs, [self.body], loc=self.loc, hints=hints
        )
        return results[: len(self.carries)], results[len(self.carries) :]

    def node(self) -> Node:
        """Return a node whose results are those that the pieces name."""
        results = there([*(c.last for c in self.carries), *(s.result for s in self.stacks)])
        op = get_op("for_loop")
        return Node(op, self.operands, self.attrs, (self.body,), results, self.loc)


class Round(NamedTuple):
    """A carry of a ``while``: the condition sees it by a parameter of its own.

    Examples
    --------
    >>> from brainir.ir import While, parse
    >>> graph = parse('''graph @count(%start: i32[]) -> (i32[]) {
    ...   %end = while carry(%n = %start) do {
    ...     %more = lt %n, 3:i32
    ...     yield %more
    ...   } and (%k: i32[]) {
    ...     %next = add %k, 1:i32
    ...     yield %next
    ...   }
    ...   return %end
    ... }''')
    >>> (carry,) = While.of(graph.nodes[0]).carries
    >>> [value.hint for value in carry]
    ['start', 'n', 'k', 'next', 'end']
    """

    initial: Operand
    seen: Value
    param: Value
    next: Operand
    last: Value | None = None


@dataclass(frozen=True, slots=True)
class While(View):
    """A ``while``.

    Attributes
    ----------
    carries : tuple of Round
        Its only pieces.
    test : Operand
        What the condition yields.
    condition, nodes : tuple of Node
        Those of the condition and of a step.
    names : tuple of str
        Of the functions that condition and step were.
    loc : Loc or None
        Where it stands.

    Examples
    --------
    >>> from brainir.ir import While, parse
    >>> graph = parse('''graph @count(%start: i32[]) -> (i32[]) {
    ...   %end = while carry(%n = %start) do {
    ...     %more = lt %n, 3:i32
    ...     yield %more
    ...   } and (%k: i32[]) {
    ...     %next = add %k, 1:i32
    ...     yield %next
    ...   }
    ...   return %end
    ... }''')
    >>> loop = While.of(graph.nodes[0])
    >>> loop.test.hint, loop.condition[0].op, loop.nodes[0].op
    ('more', <op lt>, <op add>)
    """

    carries: tuple[Round, ...]
    test: Operand
    condition: tuple[Node, ...]
    nodes: tuple[Node, ...]
    names: tuple[str, str] = ("", "")
    loc: Loc | None = None

    @classmethod
    def _of(cls, node: Node, operands: Operands, regions: Regions) -> While:
        condition, body = regions
        carries = zip(
            operands, condition.params, body.params, body.results, node.results, strict=True
        )
        return cls(
            tuple(Round(*names) for names in carries),
            condition.results[0],
            condition.nodes,
            body.nodes,
            (condition.name, body.name),
            node.loc,
        )

    @property
    def regions(self) -> tuple[Graph, Graph]:
        """The regions of its node."""
        seen, params = (c.seen for c in self.carries), (c.param for c in self.carries)
        following = (c.next for c in self.carries)
        return (
            Graph(self.names[0], tuple(seen), self.condition, (self.test,)),
            Graph(self.names[1], tuple(params), self.nodes, tuple(following)),
        )

    def emit(self, builder: Builder) -> tuple[Value, ...]:
        """Build the loop and return what carries are left with."""
        hints = [hint_of(c.last, c.param) for c in self.carries]
        initial = [c.initial for c in self.carries]
        return builder.emit("while", initial, {}, self.regions, loc=self.loc, hints=hints)

    def node(self) -> Node:
        """Return a node whose results are those that the pieces name."""
        results = there([c.last for c in self.carries])
        initial = tuple(c.initial for c in self.carries)
        return Node(get_op("while"), initial, {}, self.regions, results, self.loc)


class Choice(NamedTuple):
    """What branches yield, one operand for each of them, and the result that it becomes.

    Examples
    --------
    >>> from brainir.ir import Branches, parse
    >>> graph = parse('''graph @rectified(%x: f32[], %high: bool[]) -> (f32[]) {
    ...   %y = cond %high do {
    ...     yield 0.0:f32
    ...   } and {
    ...     yield %x
    ...   }
    ...   return %y
    ... }''')
    >>> (choice,) = Branches.of(graph.nodes[0]).choices
    >>> choice.yields[0].value, choice.yields[1].hint, choice.result.hint
    (0.0, 'x', 'y')
    """

    yields: tuple[Operand, ...]
    result: Value | None = None


class Branch(NamedTuple):
    """The nodes of one branch, and the name of the function that it was.

    Examples
    --------
    >>> from brainir.ir import Branches, parse
    >>> graph = parse('''graph @rectified(%x: f32[], %high: bool[]) -> (f32[]) {
    ...   %y = cond %high do @low {
    ...     yield 0.0:f32
    ...   } and @high {
    ...     yield %x
    ...   }
    ...   return %y
    ... }''')
    >>> [(branch.name, len(branch.nodes)) for branch in Branches.of(graph.nodes[0]).branches]
    [('low', 0), ('high', 0)]
    """

    nodes: tuple[Node, ...]
    name: str = ""


@dataclass(frozen=True, slots=True)
class Branches(View):
    """A ``cond``.

    Attributes
    ----------
    index : Operand
        Which branch runs.
    branches : tuple of Branch
        What each computes.
    choices : tuple of Choice
        Its pieces.
    loc : Loc or None
        Where it stands.

    Examples
    --------
    >>> from brainir.ir import Branches, Builder, Choice, parse
    >>> graph = parse('''graph @rectified(%x: f32[], %high: bool[]) -> (f32[]) {
    ...   %y = cond %high do {
    ...     yield 0.0:f32
    ...   } and {
    ...     yield %x
    ...   }
    ...   return %y
    ... }''')
    >>> node, build = Branches.of(graph.nodes[0]), Builder()
    >>> another = Choice(yields=(node.index, node.index))
    >>> results = node.rebuilt(choices=(*node.choices, another)).emit(build)
    >>> [str(result.type) for result in results]
    ['f32[]', 'bool[]']
    """

    index: Operand
    branches: tuple[Branch, ...]
    choices: tuple[Choice, ...]
    loc: Loc | None = None

    @classmethod
    def _of(cls, node: Node, operands: Operands, regions: Regions) -> Branches:
        (index,) = operands
        columns = zip(*(region.results for region in regions), strict=True)
        choices = zip(columns, node.results, strict=True) if node.results else ()
        return cls(
            index,
            tuple(Branch(region.nodes, region.name) for region in regions),
            tuple(Choice(*names) for names in choices),
            node.loc,
        )

    @property
    def regions(self) -> tuple[Graph, ...]:
        """The regions of its node."""
        return tuple(
            Graph(branch.name, (), branch.nodes, tuple(c.yields[i] for c in self.choices))
            for i, branch in enumerate(self.branches)
        )

    def emit(self, builder: Builder) -> tuple[Value, ...]:
        """Build the node and return its results."""
        hints = [hint_of(c.result, c.yields[0]) for c in self.choices]
        return builder.emit("cond", [self.index], {}, self.regions, loc=self.loc, hints=hints)

    def node(self) -> Node:
        """Return a node whose results are those that the pieces name."""
        results = there([c.result for c in self.choices])
        return Node(get_op("cond"), (self.index,), {}, self.regions, results, self.loc)
