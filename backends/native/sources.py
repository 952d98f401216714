"""Where elements come from while a kernel is written: registers, memory, or other elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from ...ir import Indexed, Node, Type
from .machine import Number

if TYPE_CHECKING:
    from .writer import Writer


def strides_of(shape: Sequence[int]) -> tuple[int, ...]:
    """Return how many elements lie between neighbours along each axis, row by row."""
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the lengths of the axes along which there is something to go."""
    return tuple(n for n in shape if n != 1)


@dataclass(frozen=True, slots=True, eq=False)
class Register:
    """A single element, whatever the rank of its type."""

    number: Number
    type: Type

    roots: frozenset[object] = frozenset()

    def at(self, index: Sequence[Number]) -> Number:
        """Return the element."""
        return self.number

    def read(self, number: Number) -> Number:
        """Return the element."""
        return self.number


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """An array in memory.

    Attributes
    ----------
    writer : Writer
        What writes the instructions.
    pointer : ir.Value
        Of the first element.
    type : Type
        Of the array.
    strides : tuple of int
        How many elements lie between neighbours along each axis.
    memory : object
        What is the same for all arrays that may share memory.
    """

    writer: Writer
    pointer: Any
    type: Type
    strides: tuple[int, ...]
    memory: object

    @property
    def roots(self) -> frozenset[object]:
        """The memory that its elements are read from."""
        return frozenset((self.memory,))

    @property
    def is_dense(self) -> bool:
        """Whether its elements lie one after the other, row by row."""
        pairs = zip(self.strides, strides_of(self.type.shape), self.type.shape, strict=True)
        return all(mine == dense for mine, dense, n in pairs if n != 1)

    def is_same(self, source: Source) -> bool:
        """Return whether a source is this array."""
        return isinstance(source, Buffer) and (source.pointer, source.strides) == (
            self.pointer,
            self.strides,
        )

    def at(self, index: Sequence[Number]) -> Number:
        """Read the element at an index."""
        return self.writer.read(self, self._offset(index))

    def address(self, index: Sequence[Number]) -> Any:
        """Return where the element at an index is."""
        offset = self._offset(index).value
        return self.writer.machine.address(self.pointer, self.type.dtype, offset)

    def store(self, index: Sequence[Number], element: Number) -> None:
        """Write the element at an index."""
        self.writer.write(self, self._offset(index), element)

    def read(self, number: Number) -> Number:
        """Read the element of a number, counted row by row; the array is dense."""
        self.writer.check(number, self.type.size)
        return self.writer.read(self, number)

    def write(self, number: Number, element: Number) -> None:
        """Write the element of a number, counted row by row; the array is dense."""
        self.writer.check(number, self.type.size)
        self.writer.write(self, number, element)

    def row(self, number: Number) -> Buffer:
        """Return the part with an index along the first axis."""
        self.writer.check(number, self.type.shape[0])
        first, *strides = self.strides
        type = self.type.with_shape(*self.type.shape[1:])
        offset = self.writer.machine("mul", number, self.writer.machine.index(first))
        pointer = self.writer.machine.address(self.pointer, self.type.dtype, offset.value)
        return Buffer(self.writer, pointer, type, tuple(strides), self.memory)

    def turned(self, permutation: Sequence[int]) -> Buffer:
        """Return the array of which this one is the transpose by a permutation."""
        return self.permuted([tuple(permutation).index(a) for a in range(len(permutation))])

    def permuted(self, permutation: Sequence[int]) -> Buffer:
        """Return the transpose by a permutation."""
        type = self.type.with_shape(*(self.type.shape[axis] for axis in permutation))
        strides = tuple(self.strides[axis] for axis in permutation)
        return Buffer(self.writer, self.pointer, type, strides, self.memory)

    def reshaped(self, type: Type) -> Buffer:
        """Return the same elements, row by row, as an array of another shape; it is dense."""
        return Buffer(self.writer, self.pointer, type, strides_of(type.shape), self.memory)

    def with_axes(self, type: Type) -> Buffer:
        """Return the same array with other axes of length 1."""
        pairs = zip(self.strides, self.type.shape, strict=True)
        wide = iter([stride for stride, length in pairs if length != 1])
        strides = tuple(0 if length == 1 else next(wide) for length in type.shape)
        return Buffer(self.writer, self.pointer, type, strides, self.memory)

    def _offset(self, index: Sequence[Number]) -> Number:
        machine, total = self.writer.machine, None
        for i, stride, length in zip(index, self.strides, self.type.shape, strict=True):
            self.writer.check(i, length)
            if length == 1:
                continue
            term = i if stride == 1 else machine("mul", i, machine.index(stride))
            total = term if total is None else machine("add", total, term)
        return machine.index(0) if total is None else total


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A part of an array that is not in memory: what has an index along the first axis."""

    array: Source
    number: Number
    type: Type

    @property
    def roots(self) -> frozenset[object]:
        """The memory that its elements are read from."""
        return self.array.roots

    def at(self, index: Sequence[Number]) -> Number:
        """Return the element at an index."""
        return self.array.at((self.number, *index))


@dataclass(frozen=True, slots=True)
class At:
    """Which element a rule is asked for: its index, the type of the result, and which result."""

    index: Sequence[Number]
    type: Type
    number: int


@dataclass(frozen=True, slots=True, eq=False)
class Lazy:
    """A result whose elements are looked up in other arrays whenever they are asked for.

    ``weight`` counts the reads that an element takes.
    """

    writer: Writer
    node: Node
    number: int
    operands: tuple[Source, ...]

    @property
    def type(self) -> Type:
        """Of the result."""
        return self.node.results[self.number].type

    @property
    def roots(self) -> frozenset[object]:
        """The memory that its elements are read from."""
        return frozenset[object]().union(*(operand.roots for operand in self.operands))

    @property
    def weight(self) -> int:
        """How many reads an element takes."""
        return sum(o.weight if isinstance(o, Lazy) else 1 for o in self.operands)

    def at(self, index: Sequence[Number]) -> Number:
        """Return the element at an index."""
        rule = self.node.op.element
        assert isinstance(rule, Indexed)
        at = At(tuple(index), self.type, self.number)
        return rule.rule(self.writer.machine, at, *self.operands, **self.node.attrs)


Source = Register | Buffer | Row | Lazy
