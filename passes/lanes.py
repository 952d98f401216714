"""Small pieces of graph that have to do with a leading axis."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import Builder, Literal, Operand, Type, Value


def part(builder: Builder, array: Operand, start: int, stop: int) -> Value:
    """Return a range of the leading axis."""
    rest = array.type.shape[1:]
    zeros, ones = (0,) * len(rest), (1,) * len(rest)
    return builder("slice", array, start=(start, *zeros), limit=(stop, *rest), strides=(1, *ones))


def take(builder: Builder, array: Operand, index: int) -> Value:
    """Return one element of the leading axis."""
    return builder("squeeze", part(builder, array, index, index + 1), dimensions=(0,))


def choose(builder: Builder, which: Operand, cases: Sequence[Operand], hint: str) -> Operand:
    """Return, for each lane, the case that it chooses: false, true, or by an index in range.

    ``which`` and all cases have the lanes on their leading axis.
    """
    if all(case is cases[0] for case in cases):
        return cases[0]
    shape = cases[0].type.shape
    if which.type.shape != shape:
        which = builder("broadcast_in_dim", which, shape=shape, dims=(0,))
    (chosen,) = builder.emit("select_n", (which, *cases), hints=[hint])
    return chosen


def first_failure(builder: Builder, stacks: Sequence[Operand]) -> tuple[Operand, ...]:
    """Return what the first lane left in a state of the kind ``check`` in which a check failed.

    That is where the first leaf is not zero; if there is none, what any lane left will do.
    """
    failed = builder("sign", stacks[0])
    lane = builder("argmax", failed, axes=(0,), index_dtype="int32")
    zero = Literal(0, Type("int32"))
    picked: list[Operand] = []
    for stack in stacks:
        rest = stack.type.shape[1:]
        corner = (stack, lane, *(zero for _ in rest))
        row = builder("dynamic_slice", *corner, slice_sizes=(1, *rest))
        picked.append(builder("squeeze", row, dimensions=(0,)))
    return tuple(picked)
