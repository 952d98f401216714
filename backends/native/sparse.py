"""Writing products with sparse matrices: along the connections of rows, one row after the other.

Rows of zeros are passed over. What rows hold, and where they lead, is only known when a kernel
runs: what would be outside of an array is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ...ir import Node, Operand
from .blocks import Block, inputs_of
from .machine import Number
from .sources import Buffer, Register, Source
from .totals import accumulate
from .writer import Writer

TOGETHER = 32
"""Rows that are looked at together: if all of them hold zeros, none is looked at alone."""

Index = Sequence[Number]


def write_to_columns(block: Block, node: Node) -> None:
    """Write ``vector @ matrix``."""
    vector, weights, *where = node.operands
    rows = _Rows(block.writer, where)
    values, each = at_hand(block.writer, vector), at_hand(block.writer, weights)
    with zeroed(block, node) as home, block.writer.each(vector.type.shape[:-1]) as lane:
        columns = node.result.type.shape[-1]

        def send(row: Number, value: Number) -> None:
            with rows.connections(row, columns) as (k, column):
                carried = block.writer.machine("mul", value, rows.weight(each, k))
                add_to(block.writer, home, (*lane, column), carried)

        each_that_sends(block.writer, values, lane, send)


def write_to_connections(block: Block, node: Node) -> None:
    """Write products of the values at both ends of connections."""
    left, right, *where = node.operands
    rows = _Rows(block.writer, where)
    values, others = at_hand(block.writer, left), at_hand(block.writer, right)
    with zeroed(block, node) as home, block.writer.each(left.type.shape[:-1]) as lane:

        def meet(row: Number, value: Number) -> None:
            with rows.connections(row, right.type.shape[-1]) as (k, column):
                product = block.writer.machine("mul", value, others.at((*lane, column)))
                add_to(block.writer, home, (k,), product)

        each_that_sends(block.writer, values, lane, meet)


def write_to_rows(block: Block, node: Node) -> None:
    """Write ``matrix @ vector``."""
    vector, weights, *where = node.operands
    rows = _Rows(block.writer, where)
    values, each = at_hand(block.writer, vector), at_hand(block.writer, weights)
    with (
        zeroed(block, node) as home,
        block.writer.each(node.result.type.shape) as (*lane, row),
        rows.connections(row, vector.type.shape[-1]) as (k, column),
    ):
        value = values.at((*lane, column))
        carried = block.writer.machine("mul", value, rows.weight(each, k))
        add_to(block.writer, home, (*lane, row), carried)


@contextmanager
def zeroed(block: Block, node: Node) -> Iterator[Buffer]:
    """Give memory of zeros, which then is the result."""
    writer, type = block.writer, node.result.type
    if type.size == 1:
        home = writer.temporary(type)
    else:
        home = block.place_for(node.result, block.roots(inputs_of(node)))
    zero = writer.machine.constant(0, type.dtype)
    with writer.nest(type.shape) as index:
        home.store(index, zero)
    yield home
    alone = [writer.machine.index(0)] * type.rank
    writer.sources[node.result] = Register(home.at(alone), type) if type.size == 1 else home


def at_hand(writer: Writer, operand: Operand) -> Source:
    """Return where elements that are read at any place come from."""
    source = writer.source(operand)
    return source if isinstance(source, Register) else writer.settled(source)


def add_to(writer: Writer, home: Buffer, index: Index, term: Number) -> None:
    """Write that a term is added to an element."""
    home.store(index, writer.machine("add", home.at(index), term))


class _Rows:
    """The rows of a sparse matrix."""

    def __init__(self, writer: Writer, where: Sequence[Operand]) -> None:
        self.writer, self.machine = writer, writer.machine
        self.indices, self.indptr = (writer.source(operand) for operand in where[:2])
        self.count = where[0].type.size

    def weight(self, weights: Source, k: Number) -> Number:
        """Return the weight of a connection; a single one is that of all."""
        return weights.at((k,) if weights.type.rank else ())

    @contextmanager
    def connections(self, row: Number, columns: int) -> Iterator[tuple[Number, Number]]:
        """Write a loop over the connections of a row, their numbers and columns."""
        writer, machine = self.writer, self.machine
        zero, all_of_them = machine.index(0), machine.index(self.count)
        after = machine("add", row, machine.index(1))
        first = machine("max", self._place(self.indptr, row), zero)
        end = machine("min", self._place(self.indptr, after), all_of_them)
        with writer.when(machine("lt", first, end)):
            length = machine("sub", end, first)
            with writer.counted(length) as counter:
                k = machine("add", first, counter.number)
                column = self._place(self.indices, k)
                above = machine("ge", column, zero)
                inside = machine("and", above, machine("lt", column, machine.index(columns)))
                with writer.when(inside):
                    yield k, column

    def _place(self, source: Source, number: Number) -> Number:
        return self.machine.convert(source.at((number,)), "int64")


def each_that_sends(
    writer: Writer,
    values: Source,
    lane: Index,
    visit: Callable[[Number, Number], None],
) -> None:
    """Write loops over the rows whose values, of one lane, are not zero."""
    machine, height = writer.machine, values.type.shape[-1]
    zero = machine.constant(0, values.type.dtype)

    def look(row: Number) -> None:
        value = values.at((*lane, row))
        with writer.when(machine("ne", value, zero)):
            visit(row, value)

    def also(first: Number) -> Callable[[Index, Number], Number]:
        def combine(along: Index, so_far: Number) -> Number:
            value = values.at((*lane, machine("add", first, along[0])))
            return machine("or", so_far, machine("ne", value, zero))

        return combine

    whole = height // TOGETHER
    if whole:
        with writer.each([whole]) as (group,):
            first = machine("mul", group, machine.index(TOGETHER))
            nothing = machine.constant(False, "bool")
            some = accumulate(writer, [TOGETHER], nothing, also(first))
            with writer.when(some), writer.each([TOGETHER]) as (along,):
                look(machine("add", first, along))
    if height % TOGETHER:
        with writer.each([height % TOGETHER]) as (along,):
            look(machine("add", machine.index(whole * TOGETHER), along))


SPARSE = {
    "csr_to_columns": write_to_columns,
    "csr_to_rows": write_to_rows,
    "csr_to_connections": write_to_connections,
}
"""What writes products with sparse matrices, by name."""
