"""Which entries of a row are set, as a list: so that what is rare costs what it is worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from ...ir import Type
from .machine import LONG, Number, stored_type
from .sources import Buffer
from .writer import Writer

BYTES = 64
"""So many bytes of a row are compared with zero at once."""


def write_list(writer: Writer, row: Buffer, start: Sequence[Number]) -> tuple[Buffer, Number]:
    """Write the places along the last axis of an array where it is not zero, in their order.

    ``start`` is the index along all other axes.

    Returns
    -------
    list : Buffer
        Places, as i32.
    count : Number
        How many there are.
    """
    return _Listing(writer, row, start).write()


class _Listing:
    def __init__(self, writer: Writer, row: Buffer, start: Sequence[Number]) -> None:
        self.writer, self.row, self.start = writer, row, start
        self.machine, self.length = writer.machine, row.type.shape[-1]
        self.places = writer.temporary(Type("int32", (self.length,)))
        self.count = writer.slot(LONG)

    def write(self) -> tuple[Buffer, Number]:
        machine, build = self.machine, self.machine.builder
        build.store(ir.Constant(LONG, 0), self.count)
        together = BYTES // self.row.type.itemsize
        whole = self.length // together if self.row.strides[-1] == 1 else 0
        alone = self.length - whole * together
        if whole:
            with self.writer.counted(whole, small=True) as counter:
                first = machine("mul", counter.number, machine.index(together))
                self._note_bits(first, self._bits(first, together))
        if alone:
            with self.writer.counted(alone, small=True) as counter:
                self._note(machine("add", counter.number, machine.index(whole * together)))
        return self.places, Number(build.load(self.count, typ=LONG), "int64")

    def _note(self, place: Number) -> None:
        """Write down a place, which stays there if an entry is set."""
        machine, build = self.machine, self.machine.builder
        entry = self.row.at((*self.start, place))
        is_set = machine("ne", entry, machine.constant(0, entry.dtype))
        self._keep(place, build.zext(is_set.value, LONG))

    def _keep(self, place: Number, more: Any) -> None:
        build = self.machine.builder
        count = build.load(self.count, typ=LONG)
        self.places.store((Number(count, "int64"),), self.machine.convert(place, "int32"))
        build.store(build.add(count, more), self.count)

    def _bits(self, first: Number, together: int) -> Any:
        """Return a bit for each of some entries, the first one lowest: whether it is set."""
        build, type = self.machine.builder, self.row.type
        kind = ir.VectorType(stored_type(type.dtype), together)
        address = self.row.address((*self.start, first))
        entries = build.load(address, typ=kind, align=type.itemsize)
        zeros = ir.Constant(kind, None)
        compare = build.fcmp_unordered if type.is_float else build.icmp_unsigned
        return build.zext(build.bitcast(compare("!=", entries, zeros), ir.IntType(together)), LONG)

    def _note_bits(self, first: Number, bits: Any) -> None:
        """Write down the places of bits, as long as there are some."""
        build, function = self.machine.builder, self.writer.function
        before = build.block
        head, inside, end = (function.append_basic_block() for _ in range(3))
        build.branch(head)
        build.position_at_end(head)
        left = build.phi(LONG)
        left.add_incoming(bits, before)
        build.cbranch(build.icmp_unsigned("!=", left, ir.Constant(LONG, 0)), inside, end)
        build.position_at_end(inside)
        lowest = Number(build.cttz(left, ir.Constant(ir.IntType(1), 1)), "int64")
        self._keep(self.machine("add", first, lowest), ir.Constant(LONG, 1))
        rest = build.and_(left, build.sub(left, ir.Constant(LONG, 1)))
        left.add_incoming(rest, build.block)
        build.branch(head)
        build.position_at_end(end)
