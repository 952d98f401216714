"""Loops in blocks of steps: a loop over blocks, with a loop over the steps of one inside."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..ir import Builder, Carry, Loop, Operand, Slice, Stack, Value, fresh, replay_region
from .lanes import part

Results = tuple[Sequence[Operand], Sequence[Operand]]
"""What carries are left with, and the stacks."""

Block = Callable[[Builder, Loop, bool], Results]
"""Builds the steps of one block, which is a loop; and is told whether it is the one left over."""


def in_blocks(builder: Builder, loop: Loop, size: int, block: Block) -> Results:
    """Build a loop over blocks of so many steps, in the order that they had.

    What is left over after the last whole block is a block of its own.
    """
    whole = loop.length - loop.length % size
    initial = [carry.initial for carry in loop.carries]
    pieces = [_whole, _left_over] if whole < loop.length else [_whole]
    stacks: list[Sequence[Operand]] = []
    for piece in pieces[::-1] if loop.reverse else pieces:
        initial, ys = piece(builder, loop, initial, size, block)
        stacks.append(ys)
    if len(pieces) == 1:
        return initial, stacks[0]
    pairs = zip(*(stacks[::-1] if loop.reverse else stacks), strict=True)
    return initial, [builder("concatenate", *pair, dimension=0) for pair in pairs]


def _whole(
    builder: Builder, loop: Loop, initial: Sequence[Operand], size: int, block: Block
) -> Results:
    """Loop over the whole blocks."""
    count = loop.length // size
    whole = count * size
    arrays: list[Operand] = []
    for piece in loop.slices:
        array = piece.array if whole == loop.length else part(builder, piece.array, 0, whole)
        arrays.append(builder("reshape", array, shape=(count, size, *array.type.shape[1:])))
    params = fresh(carry.param for carry in loop.carries)
    slices = [Value(p.param.type.stacked(size), p.param.hint) for p in loop.slices]
    inside = Builder(loop.loc)
    lasts, ys = block(inside, _steps(loop, params, slices, size), False)
    outer = Loop(
        tuple(map(Carry, initial, params, lasts, (carry.last for carry in loop.carries))),
        tuple(map(Slice, arrays, slices)),
        tuple(Stack(y, old.result) for y, old in zip(ys, loop.stacks, strict=True)),
        tuple(inside.nodes),
        count,
        loop.reverse,
        name=loop.name,
        loc=loop.loc,
    )
    found, stacked = outer.emit(builder)
    return found, [builder("reshape", y, shape=(whole, *y.type.shape[2:])) for y in stacked]


def _left_over(
    builder: Builder, loop: Loop, initial: Sequence[Operand], size: int, block: Block
) -> Results:
    """Build the steps that make no whole block."""
    count = loop.length % size
    arrays = [part(builder, p.array, loop.length - count, loop.length) for p in loop.slices]
    return block(builder, _steps(loop, initial, arrays, count), True)


def _steps(loop: Loop, initial: Sequence[Operand], arrays: Sequence[Operand], length: int) -> Loop:
    """Return a copy of a loop over other arrays."""
    body, count = replay_region(loop.body, {}), len(loop.carries)
    lasts = [carry.last for carry in loop.carries]
    return loop.rebuilt(
        carries=tuple(map(Carry, initial, body.params, body.results, lasts)),
        slices=tuple(map(Slice, arrays, body.params[count:])),
        stacks=tuple(map(Stack, body.results[count:], (s.result for s in loop.stacks))),
        nodes=body.nodes,
        length=length,
    )
