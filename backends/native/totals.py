"""Writing totals: sums, products and extremes along axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from llvmlite import ir

from ...ir import Node, Scalar, Type, highest, lowest
from .blocks import Block, inputs_of
from .machine import FLOATS, Machine, Number, llvm_type
from .sources import Buffer, Register, Source
from .writer import Writer, spread

Combine = Callable[[Machine, Number, Number], Number]


def combining(word: str) -> Combine:
    """Return what takes one more element into a total; floats are added in any order."""

    def combine(machine: Machine, total: Number, element: Number) -> Number:
        if element.dtype in FLOATS and word in ("add", "mul"):
            build = machine.builder
            instruction = build.fadd if word == "add" else build.fmul
            value = instruction(total.value, element.value, flags=("reassoc", "contract"))
            return Number(value, element.dtype)
        return machine(word, total, element)

    return combine


def _ones(type: Type) -> Scalar:
    return True if type.dtype == "bool" else int(np.invert(np.zeros((), type.dtype)))


REDUCTIONS: Mapping[str, tuple[str, Callable[[Type], Scalar]]] = {
    "sum": ("add", lambda type: 0),
    "prod": ("mul", lambda type: 1),
    "max": ("max", lowest),
    "min": ("min", highest),
    "and": ("and", _ones),
    "or": ("or", lambda type: 0),
    "xor": ("xor", lambda type: 0),
}
"""How totals are made, and of what they start."""


def write_reduction(block: Block, node: Node) -> None:
    """Write sums along axes: one after the other, or side by side where neighbours are kept."""
    writer, machine = block.writer, block.writer.machine
    word, neutral = REDUCTIONS[node.op.name.removeprefix("reduce_")]
    (operand,), result = node.operands, node.result
    source, shape = writer.source(operand), operand.type.shape
    axes = [axis for axis in node.attrs["axes"] if shape[axis] != 1]
    kept = [axis for axis in range(len(shape)) if axis not in axes and shape[axis] != 1]
    start = machine.constant(neutral(operand.type), operand.type.dtype)
    combine = combining(word)

    def element_index(along: Mapping[int, Number]) -> list[Number]:
        return [along.get(axis, machine.index(0)) for axis in range(len(shape))]

    def element(along: Mapping[int, Number]) -> Number:
        return source.at(element_index(along))

    def total(fixed: Mapping[int, Number]) -> Number:
        lengths = [shape[axis] for axis in axes]
        if len(axes) == 1 and (row := _row(source, axes[0], word)) is not None:
            return _total_of_row(machine, word, row, element_index(fixed), lengths[0])

        def add(index: Sequence[Number], so_far: Sequence[Number]) -> Sequence[Number]:
            now = element({**fixed, **dict(zip(axes, index, strict=True))})
            return [combine(machine, so_far[0], now)]

        return accumulate(writer, lengths, [start], add)[0]

    if result.type.size == 1:
        writer.sources[result] = Register(total({}), result.type)
        return
    home = block.place_for(result, block.roots(inputs_of(node)))
    lengths = [shape[axis] for axis in kept]

    def place(index: Sequence[Number]) -> list[Number]:
        return spread(machine, index, result.type.shape)

    if not axes or max(kept) < max(axes):
        with writer.nest(lengths) as index:
            home.store(place(index), total(dict(zip(kept, index, strict=True))))
    else:
        with writer.nest(lengths) as index:
            home.store(place(index), start)
        with writer.each([shape[axis] for axis in axes]) as along:
            fixed = dict(zip(axes, along, strict=True))
            with writer.nest(lengths) as index:
                now = element({**fixed, **dict(zip(kept, index, strict=True))})
                home.store(place(index), combine(machine, home.at(place(index)), now))
    writer.sources[result] = home


SHORT = 64
"""Rows of at most so many elements are added up as one vector: loops take as long to begin."""


def _row(source: Source, axis: int, word: str) -> Buffer | None:
    """Return an array of which a row along an axis can be a vector."""
    if not isinstance(source, Buffer) or source.strides[axis] != 1 or word not in ("add", "mul"):
        return None
    short = 1 < source.type.shape[axis] <= SHORT
    return source if short and source.type.dtype != "bool" else None


def _total_of_row(
    machine: Machine, word: str, row: Buffer, first: Sequence[Number], length: int
) -> Number:
    """Return the total of the elements of a row from an index on."""
    build, dtype = machine.builder, row.type.dtype
    kind = llvm_type(dtype)
    vector = ir.VectorType(kind, length)
    elements = build.load(row.address(first), typ=vector, align=row.type.itemsize)
    given, flags = [elements], ()
    if dtype in FLOATS:
        given.insert(0, ir.Constant(kind, -0.0 if word == "add" else 1.0))
        word, flags = f"f{word}", ("reassoc",)
    name = f"llvm.vector.reduce.{word}.v{length}{kind.intrinsic_name}"
    function = build.module.globals.get(name)
    if function is None:
        type = ir.FunctionType(kind, [value.type for value in given])
        function = ir.Function(build.module, type, name)
    return Number(build.call(function, given, fastmath=flags), dtype)


def accumulate(
    writer: Writer,
    lengths: Sequence[int],
    starts: Sequence[Number],
    add: Callable[[Sequence[Number], Sequence[Number]], Sequence[Number]],
    before: tuple[Number, ...] = (),
) -> Sequence[Number]:
    """Write loops along axes that go through all elements with some totals; return those."""
    if not lengths:
        return add(before, starts)
    with writer.counted(lengths[0], independent=len(lengths) == 1) as counter:
        going = [counter.carry(start) for start in starts]
        so_far = [carry.number for carry in going]
        totals = accumulate(writer, lengths[1:], so_far, add, (*before, counter.number))
        for carry, total in zip(going, totals, strict=True):
            carry.becomes(total)
    return totals
