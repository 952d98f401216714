"""The pass `group_steps`: loops whose reverse is to keep little run in groups of steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..ir import (
    Argument,
    Builder,
    Call,
    Carry,
    Graph,
    Loop,
    Node,
    Operand,
    Replacements,
    Slice,
    Stack,
    Value,
    Yield,
    fresh,
    get_op,
    replay_graph,
    replay_region,
    walk,
)
from .lanes import part


def group_steps(graph: Graph) -> Graph:
    """Nest every `for_loop` that has a ``base``: groups of ``base`` steps, groups of groups, ...

    Each group is a `checkpoint`, so a reverse pass keeps what a group starts from and computes the
    steps of one group at a time again. What is left over after the last whole group is a group of
    its own. Steps run in the order that they had.

    Notes
    -----
    *before*::

        graph @f(%x: f32[4]) -> (f32[], f32[4]) {
          %last, %y = for_loop carry(%a = 0.0:f32) over(%b = %x) {
            length=4, reverse=false, unroll=1, base=2
          } : f32[], f32[4] do {
            %c = add %a, %b : f32[]
            yield %c, %a
          }
          return %last, %y
        }

    *after*::

        graph @f(%x: f32[4]) -> (f32[], f32[4]) {
          %0 = reshape %x {shape=(2, 2)} : f32[2,2]
          %last, %y = for_loop carry(%a = 0.0:f32) over(%b = %0) {
            length=2, reverse=false, unroll=1
          } : f32[], f32[2,2] do {
            %last1, %y1 = checkpoint (%a1 = %a, %b1 = %b) {prevent_cse=false} : f32[], f32[2] do {
              %last2, %y2 = for_loop carry(%a2 = %a1) over(%b2 = %b1) {
                length=2, reverse=false, unroll=1
              } : f32[], f32[2] do {
                %c = add %a2, %b2 : f32[]
                yield %c, %a2
              }
              yield %last2, %y2
            }
            yield %last1, %y1
          }
          %1 = reshape %y {shape=(4,)} : f32[4]
          return %last, %1
        }

    Examples
    --------
    >>> from brainir.ir import parse, walk
    >>> from brainir.passes import group_steps
    >>> graph = parse('''graph @decay(%V: f32[]) -> (f32[]) {
    ...   %end = for_loop carry(%v = %V) {length=16, base=4} do {
    ...     %next = mul %v, 0.9:f32
    ...     yield %next
    ...   }
    ...   return %end
    ... }''')
    >>> [node.op.name for node in walk(group_steps(graph))]
    ['for_loop', 'checkpoint', 'for_loop', 'mul']
    """

    def rewrite(
        builder: Builder, node: Node, operands: tuple[Operand, ...], mapping: Replacements
    ) -> Sequence[Operand] | None:
        if node.op.name != "for_loop" or node.attrs["base"] is None:
            return None
        body = replay_region(node.regions[0], mapping, rewrite)
        loop = Loop.of(node, operands, [body])
        around, builder.loc = builder.loc, node.loc
        lasts, stacks = _Grouping(node.attrs["base"]).run(builder, loop.rebuilt(base=None))
        builder.loc = around
        return (*lasts, *stacks)

    asked = any(node.attrs.get("base") is not None for node in walk(graph))
    return replay_graph(graph, rewrite) if asked else graph


Results = tuple[Sequence[Operand], Sequence[Operand]]
"""What carries are left with, and the stacks."""


@dataclass(frozen=True, slots=True)
class _Grouping:
    """How many steps, or groups, make a group."""

    base: int

    def run(self, builder: Builder, loop: Loop) -> Results:
        """Build a loop in groups, if it has more steps than one group has."""
        if loop.length <= self.base:
            return loop.emit(builder)
        size = self.base
        while size * self.base < loop.length:
            size *= self.base
        whole = loop.length - loop.length % size
        initial = [carry.initial for carry in loop.carries]
        pieces = [self._groups, self._left_over] if whole < loop.length else [self._groups]
        stacks: list[Sequence[Operand]] = []
        for piece in pieces[::-1] if loop.reverse else pieces:
            initial, ys = piece(builder, loop, initial, size, whole)
            stacks.append(ys)
        if len(pieces) == 1:
            return initial, stacks[0]
        pairs = zip(*(stacks[::-1] if loop.reverse else stacks), strict=True)
        return initial, [builder("concatenate", *pair, dimension=0) for pair in pairs]

    def _groups(
        self, builder: Builder, loop: Loop, initial: Sequence[Operand], size: int, whole: int
    ) -> tuple[list[Operand], Sequence[Operand]]:
        """Loop over the whole groups."""
        count = whole // size
        arrays: list[Operand] = []
        for piece in loop.slices:
            array = piece.array if whole == loop.length else part(builder, piece.array, 0, whole)
            shape = (count, size, *array.type.shape[1:])
            arrays.append(builder("reshape", array, shape=shape))
        params = fresh(carry.param for carry in loop.carries)
        slices = [Value(p.param.type.stacked(size), p.param.hint) for p in loop.slices]
        inside = Builder(loop.loc)
        lasts, ys = self._group(inside, loop, params, slices, size, False)
        last = [carry.last for carry in loop.carries]
        outer = Loop(
            tuple(map(Carry, initial, params, lasts, last)),
            tuple(map(Slice, arrays, slices)),
            tuple(Stack(y, old.result) for y, old in zip(ys, loop.stacks, strict=True)),
            tuple(inside.nodes),
            count,
            loop.reverse,
            name=loop.name,
            loc=loop.loc,
        )
        found, stacked = outer.emit(builder)
        return [*found], [builder("reshape", y, shape=(whole, *y.type.shape[2:])) for y in stacked]

    def _left_over(
        self, builder: Builder, loop: Loop, initial: Sequence[Operand], size: int, whole: int
    ) -> tuple[list[Operand], Sequence[Operand]]:
        """Run the steps that make no whole group."""
        arrays = [part(builder, piece.array, whole, loop.length) for piece in loop.slices]
        lasts, ys = self._group(builder, loop, initial, arrays, loop.length - whole, True)
        return [*lasts], ys

    def _group(
        self,
        builder: Builder,
        loop: Loop,
        initial: Sequence[Operand],
        arrays: Sequence[Operand],
        length: int,
        prevent_cse: bool,
    ) -> Results:
        """Build a checkpoint around so many steps."""
        body, count = replay_region(loop.body, {}), len(loop.carries)
        hints = [piece.param.hint for piece in (*loop.carries, *loop.slices)]
        given = (*initial, *arrays)
        params = [Value(o.type, hint) for o, hint in zip(given, hints, strict=True)]
        carries = zip(params[:count], body.params, body.results, strict=False)
        lasts = [carry.last for carry in loop.carries]
        inside = Builder(loop.loc)
        own = loop.rebuilt(
            carries=tuple(Carry(*names, last) for names, last in zip(carries, lasts, strict=True)),
            slices=tuple(map(Slice, params[count:], body.params[count:])),
            stacks=tuple(map(Stack, body.results[count:], (s.result for s in loop.stacks))),
            nodes=body.nodes,
            length=length,
        )
        left, ys = self.run(inside, own)
        wanted = (*lasts, *(stack.result for stack in loop.stacks))
        call = Call(
            get_op("checkpoint"),
            {"prevent_cse": prevent_cse},
            tuple(map(Argument, given, params)),
            tuple(map(Yield, (*left, *ys), wanted)),
            tuple(inside.nodes),
            loc=loop.loc,
        )
        results = call.emit(builder)
        return results[:count], results[count:]
