"""Writing what is made as a whole: sums along axes, products of matrices, updates in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ...ir import Node, Scalar, Type, Windows, corners, numpy_dtype
from .blocks import Block, Lower, inputs_of
from .loops import CONTROL
from .machine import FLOATS, Machine, Number
from .sources import Buffer, Register, Source, squeezed
from .writer import Writer, spread

Combine = Callable[[Machine, Number, Number], Number]


# --- sums along axes ------------------------------------------------------------------------------


def _combining(word: str) -> Combine:
    """Return what takes one more element into a total; floats are added in any order."""

    def combine(machine: Machine, total: Number, element: Number) -> Number:
        if element.dtype in FLOATS and word in ("add", "mul"):
            build = machine.builder
            instruction = build.fadd if word == "add" else build.fmul
            value = instruction(total.value, element.value, flags=("reassoc", "contract"))
            return Number(value, element.dtype)
        return machine(word, total, element)

    return combine


def _lowest(type: Type) -> Scalar:
    if type.dtype == "bool":
        return False
    return -np.inf if type.is_float else int(np.iinfo(numpy_dtype(type.dtype)).min)


def _highest(type: Type) -> Scalar:
    if type.dtype == "bool":
        return True
    return np.inf if type.is_float else int(np.iinfo(numpy_dtype(type.dtype)).max)


def _ones(type: Type) -> Scalar:
    return True if type.dtype == "bool" else int(np.invert(np.zeros((), type.dtype)))


REDUCTIONS: Mapping[str, tuple[str, Callable[[Type], Scalar]]] = {
    "sum": ("add", lambda type: 0),
    "prod": ("mul", lambda type: 1),
    "max": ("max", _lowest),
    "min": ("min", _highest),
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
    combine = _combining(word)

    def element(along: Mapping[int, Number]) -> Number:
        return source.at([along.get(axis, machine.index(0)) for axis in range(len(shape))])

    def total(fixed: Mapping[int, Number]) -> Number:
        lengths = [shape[axis] for axis in axes]

        def add(index: Sequence[Number], so_far: Number) -> Number:
            return combine(
                machine, so_far, element({**fixed, **dict(zip(axes, index, strict=True))})
            )

        return accumulate(writer, lengths, start, add)

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


def accumulate(
    writer: Writer,
    lengths: Sequence[int],
    start: Number,
    add: Callable[[Sequence[Number], Number], Number],
    before: tuple[Number, ...] = (),
) -> Number:
    """Write loops along axes that go through all elements with a total; return it."""
    if not lengths:
        return add(before, start)
    with writer.counted(lengths[0], independent=len(lengths) == 1) as counter:
        going = counter.carry(start)
        total = accumulate(writer, lengths[1:], going.number, add, (*before, counter.number))
        going.becomes(total)
    return total


# --- products -------------------------------------------------------------------------------------


def write_product(block: Block, node: Node) -> None:
    """Write sums of products: by rows of the right operand, or along the axis that is summed."""
    writer, machine = block.writer, block.writer.machine
    (left, right), ((left_sum, right_sum), (left_batch, right_batch)) = (
        node.operands,
        node.attrs["dimension_numbers"],
    )
    a, b = (_at_hand(writer, writer.source(operand)) for operand in (left, right))
    dtype = node.result.type.dtype
    left_free = [d for d in range(left.type.rank) if d not in (*left_sum, *left_batch)]
    right_free = [d for d in range(right.type.rank) if d not in (*right_sum, *right_batch)]
    outer = [left.type.shape[d] for d in (*left_batch, *left_free)]
    inner = [right.type.shape[d] for d in right_free]
    summed = [left.type.shape[d] for d in left_sum]

    def factor(source: Source, axes: Sequence[int], index: Sequence[Number]) -> Number:
        place = [machine.index(0)] * len(axes)
        for axis, i in zip(axes, index, strict=True):
            place[axis] = i
        return machine.convert(source.at(place), dtype)

    def of_left(fixed: Sequence[Number], along: Sequence[Number]) -> Number:
        return factor(a, (*left_batch, *left_free, *left_sum), (*fixed, *along))

    def of_right(
        fixed: Sequence[Number], free: Sequence[Number], along: Sequence[Number]
    ) -> Number:
        batch = fixed[: len(left_batch)]
        return factor(b, (*right_batch, *right_free, *right_sum), (*batch, *free, *along))

    zero, add = machine.constant(0, dtype), _combining("add")
    by_rows = _neighbours(b, right.type, right_free) and node.result.type.size > 1

    def dot(fixed: Sequence[Number], free: Sequence[Number]) -> Number:
        def one_more(along: Sequence[Number], total: Number) -> Number:
            product = machine("mul", of_left(fixed, along), of_right(fixed, free, along))
            return add(machine, total, product)

        return accumulate(writer, summed, zero, one_more)

    if node.result.type.size == 1:
        ones = [machine.index(0)]
        number = dot(ones * len(outer), ones * len(inner))
        writer.sources[node.result] = Register(number, node.result.type)
        return
    home = block.place_for(node.result, block.roots(inputs_of(node)))
    with writer.each(outer) as fixed:
        if not by_rows:
            with writer.each(inner) as free:
                home.store((*fixed, *free), dot(fixed, free))
        else:
            with writer.nest(inner) as free:
                home.store((*fixed, *free), zero)
            with writer.each(summed) as along:
                scale = of_left(fixed, along)
                rare = left in writer.spikes
                fires = machine("ne", scale, zero) if rare else machine.constant(True, "bool")
                with writer.when(fires), writer.nest(inner) as free:
                    product = machine("mul", scale, of_right(fixed, free, along))
                    home.store((*fixed, *free), machine("add", home.at((*fixed, *free)), product))
    writer.sources[node.result] = home


def _at_hand(writer: Writer, source: Source) -> Source:
    """Return a source of which elements are read often: not one that looks them up elsewhere."""
    return source if isinstance(source, Register) else writer.settled(source)


def _neighbours(source: Source, type: Type, axes: Sequence[int]) -> bool:
    """Return whether neighbours in memory lie along one of some axes."""
    if not isinstance(source, Buffer):
        return True
    wide = [axis for axis in range(type.rank) if type.shape[axis] != 1]
    return not wide or min(wide, key=lambda axis: source.strides[axis]) in axes


# --- updates --------------------------------------------------------------------------------------


def _copied(block: Block, node: Node, keep: Sequence[Source]) -> tuple[Buffer, list[Source]]:
    """Return memory with the first operand in it, and other operands that stay as they are."""
    writer, array = block.writer, block.writer.source(node.operands[0])
    own = array.roots if isinstance(array, Buffer) and array.is_dense else frozenset[object]()
    others = block.roots(v for v in inputs_of(node) if v is not node.operands[0])
    home = block.place_for(node.result, {*(array.roots - own), *(others - own)})
    kept = [_fresh(writer, source) if home.memory in source.roots else source for source in keep]
    if not home.is_same(array):
        writer.copy(array, home)
    writer.sources[node.result] = home
    return home, kept


def _fresh(writer: Writer, source: Source) -> Buffer:
    memory = writer.temporary(source.type)
    writer.copy(source, memory)
    return memory


def write_update(block: Block, node: Node) -> None:
    """Write a box into an array: in place, if nobody needs what was there."""
    writer, machine = block.writer, block.writer.machine
    array, update, *starts = node.operands
    shape = update.type.shape
    corner = corners(machine, array.type.shape, shape, [writer.number(s) for s in starts])
    home, (source,) = _copied(block, node, [writer.source(update)])
    with writer.nest(squeezed(shape)) as index:
        place = spread(machine, index, shape)
        target = [machine("add", c, i) for c, i in zip(corner, place, strict=True)]
        home.store(target, source.at(place))


_SCATTERED = {"scatter": None, "scatter-add": "add", "scatter-mul": "mul"}
_SCATTERED |= {"scatter-min": "min", "scatter-max": "max"}


def write_scatter(block: Block, node: Node) -> None:
    """Write windows into an array, one after the other; what lies outside is dropped or moved."""
    writer, machine = block.writer, block.writer.machine
    array, index, updates = node.operands
    windows, word = Windows.of(node.attrs), _SCATTERED[node.op.name]
    sizes = windows.sizes(array.type.shape, updates.type.shape)
    keep = [writer.source(index), writer.source(updates)]
    home, (places, source) = _copied(block, node, keep)
    shape = updates.type.shape
    with writer.each(squeezed(shape)) as along:
        at = spread(machine, along, shape)
        place, inside = windows.place(machine, array.type.shape, places, sizes, at)
        now = source.at(at)
        if word is not None:
            now = machine(word, home.at(place), now)
        if windows.mode != "clip":
            now = machine("select", inside, now, home.at(place))
        home.store(place, now)


WHOLES: dict[str, Lower] = {
    **CONTROL,
    **{f"reduce_{name}": write_reduction for name in REDUCTIONS},
    "dot_general": write_product,
    "dynamic_update_slice": write_update,
    **dict.fromkeys(_SCATTERED, write_scatter),
}
"""What writes ops that are made as a whole, by name."""
