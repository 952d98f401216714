"""Writing what goes along an axis: running totals, and places of extremes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ...ir import Node
from .blocks import Block, Lower, inputs_of
from .machine import FLOATS, Machine, Number
from .writer import spread

Combine = Callable[[Machine, Number, Number], Number]


def _by_word(word: str) -> Combine:
    return lambda machine, total, element: machine(word, total, element)


def _log_of_sum(machine: Machine, total: Number, element: Number) -> Number:
    """Return ``log(exp(total) + exp(element))``, of which the larger one is taken out."""
    largest, smallest = machine("max", total, element), machine("min", total, element)
    less = machine("log1p", machine("exp", machine("sub", smallest, largest)))
    # Of two infinities alike the difference is nan, and the sum is the first of them.
    added = machine("add", largest, less)
    infinite = machine("eq", machine("abs", largest), machine.constant(np.inf, total.dtype))
    return machine("select", infinite, largest, added)


_RUNNING: Mapping[str, Combine] = {
    "cumsum": _by_word("add"),
    "cumprod": _by_word("mul"),
    "cummax": _by_word("max"),
    "cummin": _by_word("min"),
    "cumlogsumexp": _log_of_sum,
}
"""How one more element is taken into a total."""


def write_running(block: Block, node: Node) -> None:
    """Write totals of all elements up to each, one after the other, for neighbours side by side."""
    writer, machine = block.writer, block.writer.machine
    (operand,), combine = node.operands, _RUNNING[node.op.name]
    axis, shape = node.attrs["axis"], operand.type.shape
    source = writer.source(operand)
    home = block.place_for(node.result, block.roots(inputs_of(node)))
    inner = [1 if i <= axis else length for i, length in enumerate(shape)]
    outer = [length if i < axis else 1 for i, length in enumerate(shape)]
    last = machine.index(shape[axis] - 1)

    def step(before: list[Number], along: Number, first: bool) -> None:
        """Write the totals at one place along the axis, from those at the place before it."""
        following = along if first else machine("add", along, machine.index(1))

        def at(place: Number, rest: list[Number]) -> list[Number]:
            place = machine("sub", last, place) if node.attrs["reverse"] else place
            return [*before[:axis], place, *rest[axis + 1 :]]

        with writer.nest([length for length in inner if length != 1]) as index:
            rest = spread(machine, index, inner)
            element = source.at(at(following, rest))
            if not first:
                element = combine(machine, home.at(at(along, rest)), element)
            home.store(at(following, rest), element)

    with writer.each(outer) as before:
        step([*before], machine.index(0), first=True)
        if shape[axis] > 1:
            with writer.counted(shape[axis] - 1) as counter:
                step([*before], counter.number, first=False)
    writer.sources[node.result] = home


def _rank(machine: Machine, element: Number, is_max: bool) -> Number:
    """Return an integer that is the larger, the more extreme an element is; of nan the largest.

    Integers are compared in a cycle each, where floats, of which nan is less than none, take many.
    """
    if element.dtype not in FLOATS:
        return element if is_max else machine("not", element)
    width = 32 if element.dtype == "float32" else 64
    dtype = f"int{width}"
    most = machine.constant(2 ** (width - 1) - 1, dtype)
    # Zeros are alike, whatever their sign. Of negative numbers, the larger has the smaller bits.
    bits = machine.bitcast(machine("add", element, machine.constant(0.0, element.dtype)), dtype)
    is_negative = machine("lt", bits, machine.constant(0, dtype))
    rank = machine("select", is_negative, machine("xor", bits, most), bits)
    rank = rank if is_max else machine("not", rank)
    return machine("select", machine("ne", element, element), most, rank)


def write_place(block: Block, node: Node) -> None:
    """Write at which index along an axis the first of the extreme elements is; nan is extreme."""
    writer, machine = block.writer, block.writer.machine
    (operand,), ((axis,), dtype) = node.operands, (node.attrs["axes"], node.attrs["index_dtype"])
    source, shape = writer.source(operand), operand.type.shape
    is_max = node.op.name == "argmax"
    home = block.place_for(node.result, block.roots(inputs_of(node)))
    with writer.each(node.result.type.shape) as kept:

        def rank(place: Number) -> Number:
            return _rank(machine, source.at([*kept[:axis], place, *kept[axis:]]), is_max)

        best, where = rank(machine.index(0)), machine.index(0)
        if shape[axis] > 1:
            with writer.counted(shape[axis] - 1) as counter:
                so_far, found = counter.carry(best), counter.carry(where)
                place = machine("add", counter.number, machine.index(1))
                mine = rank(place)
                better = machine("gt", mine, so_far.number)
                best = machine("select", better, mine, so_far.number)
                where = machine("select", better, place, found.number)
                so_far.becomes(best)
                found.becomes(where)
        home.store(kept, machine.convert(where, dtype))
    writer.sources[node.result] = home


RUNNING: dict[str, Lower] = {
    **dict.fromkeys(_RUNNING, write_running),
    "argmax": write_place,
    "argmin": write_place,
}
"""What writes them, by name."""
