"""The pass `group_steps`: loops whose reverse is to keep little run in groups of steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..ir import (
    Argument,
    Builder,
    Call,
    Graph,
    Loop,
    Node,
    Operand,
    Value,
    Yield,
    get_op,
    walk,
)
from .blocks import Results, in_blocks
from .loop_rewriting import rewrite_loops


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

    def rewrite(builder: Builder, loop: Loop, _: Node) -> Sequence[Operand] | None:
        if loop.base is None:
            return None
        lasts, stacks = in_groups(builder, loop, loop.base)
        return (*lasts, *stacks)

    asked = any(node.attrs.get("base") is not None for node in walk(graph))
    return rewrite_loops(graph, rewrite) if asked else graph


def in_groups(builder: Builder, loop: Loop, base: int) -> Results:
    """Build a loop in groups of so many steps, groups of so many groups, and so on."""
    return _Grouping(base).run(builder, loop.rebuilt(base=None))


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
        return in_blocks(builder, loop, size, self._group)

    def _group(self, builder: Builder, loop: Loop, left_over: bool) -> Results:
        """Build a checkpoint around the steps of a group."""
        pieces = (*loop.carries, *loop.slices)
        params = [Value(o.type, p.param.hint) for o, p in zip(loop.operands, pieces, strict=True)]
        inside, count = Builder(loop.loc), len(loop.carries)
        starts, arrays = params[:count], params[count:]
        carries = (c._replace(initial=p) for c, p in zip(loop.carries, starts, strict=True))
        slices = (s._replace(array=p) for s, p in zip(loop.slices, arrays, strict=True))
        own = loop.rebuilt(carries=tuple(carries), slices=tuple(slices))
        left, ys = self.run(inside, own)
        wanted = (*(c.last for c in loop.carries), *(stack.result for stack in loop.stacks))
        call = Call(
            get_op("checkpoint"),
            {"prevent_cse": left_over},
            tuple(map(Argument, loop.operands, params)),
            tuple(map(Yield, (*left, *ys), wanted)),
            tuple(inside.nodes),
            loc=loop.loc,
        )
        results = call.emit(builder)
        return results[:count], results[count:]
