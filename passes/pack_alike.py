"""The pass `pack_alike`: what loops carry and compute alike becomes one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from ..ir import (
    Builder,
    Carry,
    Graph,
    Loop,
    Operand,
    Slice,
    Stack,
    Type,
    captures,
)
from .dead_code import dead_code
from .lane_groups import Merged, merge_lanes
from .lane_plan import Around, Cell
from .loop_rewriting import rewrite_loops

LEAST = 4
"""From so many on, one array in place of many is worth a few slices of it."""

LARGEST = 4096
"""Larger arrays, in bytes, gain nothing by standing in one: each of them is work enough."""


def pack_alike(graph: Graph, least: int = LEAST, largest: int = LARGEST) -> Graph:
    """Merge what a loop computes alike from many small carries: one operation in place of many.

    Parameters
    ----------
    graph : Graph
        Without transformations.
    least : int
        How many have to be alike; 0 for never.
    largest : int
        The bytes that one of them may have.

    Carries are alike if they are carried on alike, however deep what they are made of; from what it
    is made, other carries, slices, or numbers, need not be. Where some are used by themselves,
    inside the loop, they stay apart, unless they are few. What enters is stacked before the loop,
    and what leaves is unstacked after it.

    Notes
    -----
    *before*::

        graph @f(%u: f32[], %v: f32[], %x: f32[], %y: f32[]) -> (f32[], f32[], f32[], f32[]) {
          %a, %b, %c, %d = for_loop carry(%e = %u, %f = %v, %g = %x, %h = %y) {length=9} do {
            %k = mul %e, 0.5:f32 : f32[]
            %l = mul %f, 0.5:f32 : f32[]
            %m = mul %g, 0.5:f32 : f32[]
            %n = mul %h, 0.25:f32 : f32[]
            yield %k, %l, %m, %n
          }
          return %a, %b, %c, %d
        }

    *after*::

        graph @f(%u: f32[], %v: f32[], %x: f32[], %y: f32[]) -> (f32[], f32[], f32[], f32[]) {
          %0 = stack %u, %v, %x, %y {axis=0} : f32[4]
          %e1 = for_loop carry(%e = %0) {length=9} : f32[4] do {
            %1 = stack 0.5:f32, 0.5:f32, 0.5:f32, 0.25:f32 {axis=0} : f32[4]
            %k = mul %e, %1 : f32[4]
            yield %k
          }
          %2, %3, %4, %5 = unstack %e1 {axis=0} : f32[], f32[], f32[], f32[]
          return %2, %3, %4, %5
        }

    Examples
    --------
    >>> from brainir.ir import parse, walk
    >>> from brainir.passes import pack_alike
    >>> graph = parse('''graph @f(%u: f32[], %v: f32[]) -> (f32[], f32[]) {
    ...   %m, %n = for_loop carry(%a = %u, %b = %v) {length=9} do {
    ...     %c = tanh %a
    ...     %d = tanh %b
    ...     yield %c, %d
    ...   }
    ...   return %m, %n
    ... }''')
    >>> [node.op.name for node in walk(pack_alike(graph, least=2))]
    ['stack', 'for_loop', 'tanh', 'unstack']
    """
    if not least:
        return graph

    return dead_code(
        rewrite_loops(graph, lambda builder, loop, _: _packed(builder, loop, least, largest))
    )


def _packed(builder: Builder, loop: Loop, least: int, largest: int) -> list[Operand] | None:
    """Build a loop with what can be packed, and return its results; None if nothing can be."""

    def stacked(values: Sequence[Operand]) -> Operand:
        return builder("stack", *values, axis=0)

    seen = {value for value in captures(loop.body) if is_small(value.type, largest)}
    around = Around(seen, stacked)
    results = loop.body.results
    merged = merge_lanes(loop.nodes, results, _cells(loop, largest), least, around)
    if merged is None:
        return None
    new = _with_packs(builder, loop, merged)
    ends = _packed(builder, new, least, largest)
    if ends is None:
        lasts, stacks = new.emit(builder)
        ends = [*lasts, *stacks]
    return _unpacked(builder, merged, ends, len(loop.carries), len(new.carries))


def _with_packs(builder: Builder, loop: Loop, merged: Merged) -> Loop:
    """Return a loop over packs, which stand last among its pieces."""
    count = len(loop.carries)
    left = [(i, result) for i, result in enumerate(merged.results) if result is not None]
    inside = {cell.param for pack in merged.packs for cell in pack.cells}
    outside = dict(zip(loop.body.params, loop.operands, strict=True))
    carries = [loop.carries[i]._replace(next=result) for i, result in left if i < count]
    stacks = [loop.stacks[i - count]._replace(each=result) for i, result in left if i >= count]
    slices = [piece for piece in loop.slices if piece.param not in inside]
    for pack in merged.packs:
        entering = [outside[cell.param] for cell in pack.cells if cell.param is not None]
        if pack.param is None:
            stacks.append(Stack(there(pack.result)))
        elif pack.result is None:
            slices.append(Slice(builder("stack", *entering, axis=1), pack.param))
        else:
            carries.append(Carry(builder("stack", *entering, axis=0), pack.param, pack.result))
    return loop.rebuilt(
        carries=tuple(carries), slices=tuple(slices), stacks=tuple(stacks), nodes=merged.nodes
    )


def _unpacked(
    builder: Builder, merged: Merged, ends: Sequence[Operand], carries: int, changed: int
) -> list[Operand]:
    """Return the results of a loop from those of one with packs."""
    results: dict[int, Operand] = {}
    lasts, stacks = iter(ends[:changed]), iter(ends[changed:])
    for i, result in enumerate(merged.results):
        if result is not None:
            results[i] = next(lasts if i < carries else stacks)
    for pack in merged.packs:
        if pack.result is not None:
            axis, among = (1, stacks) if pack.param is None else (0, lasts)
            lanes = builder.emit("unstack", [next(among)], {"axis": axis})
            places = (there(cell.result) for cell in pack.cells)
            results.update(zip(places, lanes, strict=True))
    return [results[i] for i in range(len(merged.results))]


def _cells(loop: Loop, largest: int) -> list[Cell]:
    """Return what a loop may have packed: carries, slices, and stacks."""
    count, body = len(loop.carries), loop.body
    cells = [
        *(Cell(carry.param, i) for i, carry in enumerate(loop.carries)),
        *(Cell(piece.param, None) for piece in loop.slices),
        *(Cell(None, i) for i in range(count, len(body.results))),
    ]
    typed = ((c, body.results[there(c.result)] if c.param is None else c.param) for c in cells)
    return [cell for cell, value in typed if is_small(value.type, largest)]


def is_small(type: Type, largest: int) -> bool:
    """Whether an array may be packed."""
    return not type.is_key and type.nbytes <= largest


T = TypeVar("T")


def there(value: T | None) -> T:
    """Return what must be there."""
    assert value is not None
    return value
