"""Writing sums of products: by rows of the right operand, or along the axis that is summed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...ir import Node
from .blocks import Block, inputs_of
from .events import write_list
from .machine import Number
from .sources import Buffer, Register, Source
from .totals import accumulate, combining

TOGETHER, FEW = 8, 4
"""Rows that are added to a result at a time, so that it is read and written less often; and of
those of spikes."""

DOTS = 4
"""Elements of a result that are summed at a time, so that none of them waits for its own terms."""

Index = Sequence[Number]


def write_product(block: Block, node: Node) -> None:
    """Write a sum of products, of which the left operand may be spikes."""
    product = _Product(block, node)
    writer, result = block.writer, node.result
    if result.type.size == 1:
        one = writer.machine.index(0)
        (number,) = product.dots([one] * len(product.outer), [[one] * len(product.inner)])
        writer.sources[result] = Register(number, result.type)
        return
    home = block.place_for(result, block.roots(inputs_of(node)))
    with writer.each(product.outer) as fixed:
        if product.has_rows:
            product.write_by_rows(home, fixed)
        else:
            product.write_by_dots(home, fixed)
    writer.sources[result] = home


class _Product:
    """A product: its operands at hand, and which of their axes are which.

    Attributes
    ----------
    outer, inner, summed : list of int
        The lengths of axes: of batches and of the left operand, of the right one, and of those that
        are summed.
    has_rows : bool
        Whether neighbours in the right operand belong to neighbours in the result.
    """

    def __init__(self, block: Block, node: Node) -> None:
        self.writer = block.writer
        left, right = node.operands
        (left_sum, right_sum), (left_batch, right_batch) = node.attrs["dimension_numbers"]
        if right.type.rank == len(right_sum) + len(right_batch):
            # A matrix times a vector is the vector times the matrix.
            left, right, left_sum, right_sum = right, left, right_sum, left_sum
            left_batch, right_batch = right_batch, left_batch
        left_free = [d for d in range(left.type.rank) if d not in (*left_sum, *left_batch)]
        right_free = [d for d in range(right.type.rank) if d not in (*right_sum, *right_batch)]
        self.left, self.right = (self._at_hand(operand) for operand in (left, right))
        self.left_axes = (*left_batch, *left_free, *left_sum)
        self.right_axes = (*right_batch, *right_free, *right_sum)
        self.batches, self.dtype = len(left_batch), node.result.type.dtype
        self.outer = [left.type.shape[d] for d in (*left_batch, *left_free)]
        self.inner = [right.type.shape[d] for d in right_free]
        self.summed = [left.type.shape[d] for d in left_sum]
        self.rare = bool(left_sum) and self.writer.is_rare(left)
        self.has_rows = _neighbours(self.right, right_free)
        self.zero = self.writer.machine.constant(0, self.dtype)

    def _at_hand(self, operand: object) -> Source:
        """Return where elements that are read often come from: not a look into another array."""
        source = self.writer.source(operand)  # pyright: ignore[reportArgumentType]
        return source if isinstance(source, Register) else self.writer.settled(source)

    def _element(self, source: Source, axes: Sequence[int], index: Index) -> Number:
        place = [self.writer.machine.index(0)] * len(axes)
        for axis, i in zip(axes, index, strict=True):
            place[axis] = i
        return self.writer.machine.convert(source.at(place), self.dtype)

    def _of_left(self, fixed: Index, along: Index) -> Number:
        return self._element(self.left, self.left_axes, (*fixed, *along))

    def _of_right(self, fixed: Index, free: Index, along: Index) -> Number:
        index = (*fixed[: self.batches], *free, *along)
        return self._element(self.right, self.right_axes, index)

    def dots(self, fixed: Index, places: Sequence[Index]) -> Sequence[Number]:
        """Return some elements of a row of the result."""
        add = combining("add")

        def one_more(along: Index, totals: Sequence[Number]) -> Sequence[Number]:
            machine = self.writer.machine
            scale = self._of_left(fixed, along)
            factors = [self._of_right(fixed, free, along) for free in places]
            terms = [machine("mul", scale, factor) for factor in factors]
            return [add(machine, *pair) for pair in zip(totals, terms, strict=True)]

        return accumulate(self.writer, self.summed, [self.zero] * len(places), one_more)

    def write_by_dots(self, home: Buffer, fixed: Index) -> None:
        """Write the elements of a row of the result, some at a time, each along what is summed."""
        *others, last = self.inner or [1]
        with self.writer.each(others) as before:

            def write(numbers: Sequence[Number]) -> None:
                places = [(*before, i) if self.inner else () for i in numbers]
                for free, total in zip(places, self.dots(fixed, places), strict=True):
                    home.store((*fixed, *free), total)

            self._by_groups(last, DOTS, write)

    def _by_groups(self, length: int, together: int, write: Callable[[Index], None]) -> None:
        """Write something for all numbers below a length, so many at a time, and for the rest."""
        writer, machine = self.writer, self.writer.machine
        whole = length // together
        if whole:
            with writer.each([whole]) as (group,):
                first = machine("mul", group, machine.index(together))
                write([machine("add", first, machine.index(k)) for k in range(together)])
        if length % together:
            write([machine.index(k) for k in range(whole * together, length)])

    def write_by_rows(self, home: Buffer, fixed: Index) -> None:
        """Write the elements of a row of the result: rows of the right operand, each times one."""
        writer = self.writer
        with writer.nest(self.inner) as free:
            home.store((*fixed, *free), self.zero)
        *others, last = self.summed or [1]
        with writer.each(others) as before:
            if self.rare:
                self._write_rare(home, fixed, before)
                return
            self._by_groups(last, TOGETHER, lambda rows: self._add_rows(home, fixed, before, rows))

    def _write_rare(self, home: Buffer, fixed: Index, before: Index) -> None:
        """Add the rows of the right operand that entries of the left one are set for."""
        writer, machine = self.writer, self.writer.machine
        row = writer.settled(self.left).permuted(self.left_axes)
        places, count = write_list(writer, row, (*fixed, *before))

        def add_from(first: Number, rows: int) -> None:
            numbers = [machine("add", first, machine.index(k)) for k in range(rows)]
            chosen = [machine.convert(places.at((k,)), "int64") for k in numbers]
            self._add_rows(home, fixed, before, chosen)

        few = machine.index(FEW)
        whole = machine("div", count, few)
        with writer.up_to(whole) as group:
            add_from(machine("mul", group, few), FEW)
        done = machine("mul", whole, few)
        with writer.up_to(machine("sub", count, done)) as k:
            add_from(machine("add", done, k), 1)

    def _along(self, before: Index, i: Number) -> Index:
        return (*before, i) if self.summed else ()

    def _add_rows(self, home: Buffer, fixed: Index, before: Index, rows: Index) -> None:
        writer, machine = self.writer, self.writer.machine
        places = [self._along(before, i) for i in rows]
        scales = [self._of_left(fixed, along) for along in places]
        with writer.nest(self.inner) as free:
            total = home.at((*fixed, *free))
            for scale, along in zip(scales, places, strict=True):
                term = machine("mul", scale, self._of_right(fixed, free, along))
                total = machine("add", total, term)
            home.store((*fixed, *free), total)


def _neighbours(source: Source, axes: Sequence[int]) -> bool:
    """Return whether neighbours in memory lie along one of some axes."""
    if not isinstance(source, Buffer):
        return True
    wide = [axis for axis, length in enumerate(source.type.shape) if length != 1]
    return not wide or min(wide, key=lambda axis: source.strides[axis]) in axes
