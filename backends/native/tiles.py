"""Arrays in which a loop goes along the nearest axis: some steps at a time are turned in between.

In the result of a `vmap` of a loop, the steps of a lane are neighbours. A step would write one
element into as many lines of the cache as there are lanes. So steps write into a *tile*, row by
row, and a full tile is turned, in registers, so that each lane gets a whole line at once. What a
loop reads goes the other way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from .machine import LONG, POINTER, Number
from .sources import Buffer, squeezed
from .writer import Writer, spread

STEPS = 16
"""Steps in a tile, and lanes that are turned at once: a line of the cache has 16 numbers."""


def gains(array: Buffer) -> bool:
    """Return whether an array of steps is better read and written by tiles."""
    lanes = squeezed(array.type.shape[1:])
    steps = array.type.shape[0]
    return bool(lanes) and steps >= STEPS and array.strides[0] == 1 and _lane(array) != 1


def _lane(array: Buffer) -> int:
    """Return how far apart neighbours of one step are."""
    pairs = zip(array.strides[1:], array.type.shape[1:], strict=True)
    return [stride for stride, length in pairs if length != 1][-1]


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """Some steps of an array, row by row.

    Attributes
    ----------
    array : Buffer
        Its first axis runs over steps, which are neighbours in memory.
    rows : Buffer
        The tile.
    reverse : bool
        Whether the last step is the first that runs.
    """

    array: Buffer
    rows: Buffer
    reverse: bool

    @classmethod
    def of(cls, writer: Writer, array: Buffer, reverse: bool) -> Tile:
        """Return a tile of an array, with memory of its own."""
        type = array.type.with_shape(STEPS, *array.type.shape[1:])
        return cls(array, writer.temporary(type), reverse)

    @property
    def left_over(self) -> int:
        """How many steps the last tile has, if it is not a whole one."""
        return self.array.type.shape[0] % STEPS

    def row(self, step: Number) -> Buffer:
        """Return the row of a step, by the number in which steps run."""
        machine = self.rows.writer.machine
        return self.rows.row(machine("and", step, machine.index(STEPS - 1)))

    def fill(self, step: Number) -> None:
        """Read the next steps, where a tile begins."""
        machine = self.rows.writer.machine
        inside = machine("and", step, machine.index(STEPS - 1))
        with self.rows.writer.when(machine("eq", inside, machine.index(0))):
            self._turn(step, self._read_whole, self._read_one)

    def flush(self, step: Number) -> None:
        """Write the steps that ran, where a tile ends."""
        machine = self.rows.writer.machine
        inside = machine("and", step, machine.index(STEPS - 1))
        last = machine("eq", step, machine.index(self.array.type.shape[0] - 1))
        ends = machine("or", last, machine("eq", inside, machine.index(STEPS - 1)))
        with self.rows.writer.when(ends):
            self._turn(machine("sub", step, inside), self._write_whole, self._write_one)

    # --- turning ----------------------------------------------------------------------------------

    def _turn(self, first: Number, whole: Any, one: Any) -> None:
        """Go through the lanes of a tile: many at once if it is a whole one."""
        writer = self.rows.writer
        machine, length = writer.machine, self.array.type.shape[0]
        fits = machine("le", first, machine.index(length - STEPS))
        with writer.when(fits):
            self._each_lane(first, STEPS, whole, one)
        if self.left_over:
            with writer.when(machine("not", fits)):
                self._each_lane(first, self.left_over, None, one)

    def _each_lane(self, first: Number, steps: int, whole: Any, one: Any) -> None:
        writer = self.rows.writer
        machine = writer.machine
        *outer, lanes = squeezed(self.array.type.shape[1:])
        together = lanes // STEPS if whole else 0
        with writer.each(outer) as index:
            if together:
                with writer.counted(together) as counter:
                    lane = machine("mul", counter.number, machine.index(STEPS))
                    whole(first, (*index, lane))
            if lanes > together * STEPS:
                with writer.counted(lanes - together * STEPS, small=True) as counter:
                    lane = machine("add", counter.number, machine.index(together * STEPS))
                    with writer.counted(steps, small=True) as step:
                        one(first, step.number, (*index, lane))

    def _place(self, index: Sequence[Number]) -> list[Number]:
        return spread(self.rows.writer.machine, index, self.array.type.shape[1:])

    def _time(self, first: Number, step: Number) -> Number:
        """Return the index of a step of a tile, by the number of its first one."""
        machine = self.rows.writer.machine
        number = machine("add", first, step)
        if self.reverse:
            return machine("sub", machine.index(self.array.type.shape[0] - 1), number)
        return number

    def _read_one(self, first: Number, step: Number, index: Sequence[Number]) -> None:
        place = self._place(index)
        element = self.array.at((self._time(first, step), *place))
        self.rows.store((step, *place), element)

    def _write_one(self, first: Number, step: Number, index: Sequence[Number]) -> None:
        place = self._place(index)
        element = self.rows.at((step, *place))
        self.array.store((self._time(first, step), *place), element)

    def _read_whole(self, first: Number, index: Sequence[Number]) -> None:
        self._square(self._lanes(first, index), self._rows(index))

    def _write_whole(self, first: Number, index: Sequence[Number]) -> None:
        self._square(self._rows(index), self._lanes(first, index))

    def _square(self, source: tuple[Any, int], target: tuple[Any, int]) -> None:
        """Turn a square: from where lines begin to where they are to be, and how far apart."""
        build, size = self.rows.writer.machine.builder, self.array.type.itemsize
        ends = [ir.Constant(LONG, lines * size) for _, lines in (source, target)]
        build.call(turning(build.module, size), [source[0], ends[0], target[0], ends[1]])

    def _lanes(self, first: Number, index: Sequence[Number]) -> tuple[Any, int]:
        """Return where the steps of the first lane begin, and how far it is to the next one."""
        earliest = self.rows.writer.machine.index(STEPS - 1 if self.reverse else 0)
        begin = self.array.address((self._time(first, earliest), *self._place(index)))
        return begin, _lane(self.array)

    def _rows(self, index: Sequence[Number]) -> tuple[Any, int]:
        """Return where the row of the earliest step begins, and how far it is to the next one."""
        row = self.rows.writer.machine.index(STEPS - 1 if self.reverse else 0)
        begin = self.rows.address((row, *self._place(index)))
        return begin, -self.rows.strides[0] if self.reverse else self.rows.strides[0]


def turning(module: ir.Module, size: int) -> ir.Function:
    """Return the function that turns a square of elements of so many bytes.

    It takes where the first line begins and how many bytes it is to the next one, and the same of
    where columns are to be written as lines.
    """
    name = f"turn.{size}"
    if name in module.globals:
        return module.globals[name]
    kind = ir.FunctionType(ir.VoidType(), [POINTER, LONG, POINTER, LONG])
    function = ir.Function(module, kind, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    build: Any = ir.IRBuilder(function.append_basic_block())
    source, apart, target, target_apart = function.args
    line = ir.VectorType(ir.IntType(8 * size), STEPS)

    def place(begin: Any, step: Any, number: int) -> Any:
        offset = build.mul(step, ir.Constant(LONG, number))
        return build.gep(begin, [offset], source_etype=ir.IntType(8))

    lines = [build.load(place(source, apart, i), typ=line, align=size) for i in range(STEPS)]
    for number, column in enumerate(_turned(build, lines)):
        build.store(column, place(target, target_apart, number), align=size)
    build.ret_void()
    return function


def _turned(build: Any, lines: Sequence[Any]) -> list[Any]:
    """Return the columns of a square of which vectors are the lines.

    Halves change places across the diagonal, then quarters in these, and so on.
    """
    square, size = list(lines), STEPS // 2
    while size:
        first = _mask([j if not j & size else STEPS + j - size for j in range(STEPS)])
        second = _mask([j + size if not j & size else STEPS + j for j in range(STEPS)])
        for i in (i for i in range(STEPS) if not i & size):
            above, below = square[i], square[i + size]
            square[i] = build.shuffle_vector(above, below, first)
            square[i + size] = build.shuffle_vector(above, below, second)
        size //= 2
    return square


def _mask(places: Sequence[int]) -> Any:
    number = ir.IntType(32)
    return ir.Constant(ir.VectorType(number, STEPS), [ir.Constant(number, p) for p in places])
