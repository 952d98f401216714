"""Writing one function of machine code: its memory, and its loops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from ...ir import Literal, Operand, Type, Value, is_spikes
from .machine import BYTE, LONG, POINTER, Machine, Number
from .sources import Buffer, Register, Source, squeezed, strides_of

ON_STACK = 2**12
"""Temporary arrays of at most so many bytes are on the stack, as long as ..."""
STACK = 2**15
"""... these are so many in all; a thread of XLA has much more."""

ALIGNED = 64
"""Bytes at multiples of which arrays begin."""

SHORT = 64
"""Bytes that are copied where they are, in an instruction or two."""

LONG_STEP, CALLED = 100, 20
"""From so many instructions on, each call counted as some, a processor does not see the next step
of a loop before it is done with one, so that two are written in turns."""


class Writer:
    """One kernel that is being written.

    Attributes
    ----------
    machine : Machine
        Writes instructions where the writing is.
    sources : dict of Value to Source
        Where the elements of values that are there already come from.
    spikes : set of Value or None
        Numbers of which most are expected to be zero, and zeros of which are left out of products;
        None if products are to be dense.
    scratch : int
        The bytes of memory that the kernel needs beside its arguments.
    """

    def __init__(
        self,
        module: ir.Module,
        params: Sequence[Value],
        results: Sequence[Type],
        checked: bool = False,
    ) -> None:
        count = len(params) + len(results) + 1
        self.function = ir.Function(
            module, ir.FunctionType(ir.VoidType(), [POINTER] * count), "run"
        )
        self.function.linkage = "internal"
        for argument in self.function.args:
            argument.add_attribute("noalias")
        self._entry = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.machine = Machine(ir.IRBuilder(self.function.append_basic_block("body")))
        self.sources: dict[Value, Source] = {}
        self.spikes: set[Value] | None = None
        self.scratch, self._stack = 0, 0
        self._group: Any = None
        self._outside: Any = None
        if checked:
            self._outside = ir.GlobalVariable(module, LONG, OUTSIDE)
            self._outside.initializer = ir.Constant(LONG, 0)
        self._loops = 0
        pointers = iter(self.function.args)
        for param in params:
            self.sources[param] = self._argument(next(pointers), param.type)
        self.results = [self.buffer(next(pointers), type) for type in results]

    def _argument(self, pointer: Any, type: Type) -> Source:
        buffer = self.buffer(pointer, type)
        return Register(buffer.read(self.machine.index(0)), type) if type.size == 1 else buffer

    def finish(self) -> None:
        """End the function."""
        self.machine.builder.ret_void()
        self._entry.branch(self.function.blocks[1])

    # --- values and memory ------------------------------------------------------------------------

    def source(self, operand: Operand) -> Source:
        """Return where the elements of an operand come from."""
        if isinstance(operand, Literal):
            return Register(self.machine.constant(operand.value, operand.type.dtype), operand.type)
        return self.sources[operand]

    def number(self, operand: Operand) -> Number:
        """Return an operand of a single element."""
        source = self.source(operand)
        return source.at([self.machine.index(0)] * source.type.rank)

    def is_rare(self, operand: Operand) -> bool:
        """Return whether zeros of an operand are left out of products."""
        return self.spikes is not None and is_spikes(operand, self.spikes)

    def buffer(self, pointer: Any, type: Type) -> Buffer:
        """Return the dense array that begins at a pointer."""
        return Buffer(self, pointer, type, strides_of(type.shape), object())

    def temporary(self, type: Type) -> Buffer:
        """Return memory for an array, which is kept to the end."""
        size = -(-type.nbytes // ALIGNED) * ALIGNED
        if size <= ON_STACK and self._stack + size <= STACK:
            self._stack += size
            memory: Any = self._entry.alloca(ir.ArrayType(BYTE, size))
            memory.align = ALIGNED
            memory.type = POINTER  # llvmlite would have it know of what
            return self.buffer(memory, type)
        offset = ir.Constant(LONG, self.scratch)
        pointer = self._entry.gep(self.function.args[-1], [offset], True, source_etype=BYTE)
        self.scratch += size
        return self.buffer(pointer, type)

    def slot(self, kind: Any) -> Any:
        """Return the address of a number that changes."""
        return self._entry.alloca(kind)

    def check(self, index: Number, length: int) -> None:
        """Count an index outside of an array, if the kernel is to be checked."""
        if self._outside is None:
            return
        build = self.machine.builder
        outside = build.icmp_unsigned(">=", index.value, ir.Constant(LONG, length))
        count = build.load(self._outside, typ=LONG)
        build.store(build.add(count, build.zext(outside, LONG)), self._outside)

    def read(self, buffer: Buffer, offset: Number) -> Number:
        """Read an element of an array."""
        address = self.machine.address(buffer.pointer, buffer.type.dtype, offset.value)
        number, read = self.machine.load(address, buffer.type.dtype)
        self._mark(read)
        return number

    def write(self, buffer: Buffer, offset: Number, element: Number) -> None:
        """Write an element of an array."""
        address = self.machine.address(buffer.pointer, buffer.type.dtype, offset.value)
        self._mark(self.machine.store(element, address))

    def _mark(self, access: Any) -> None:
        if self._group is not None:
            access.set_metadata("llvm.access.group", self._group)

    # --- loops ------------------------------------------------------------------------------------

    @contextmanager
    def counted(
        self, length: int | Number, independent: bool = False, small: bool = False
    ) -> Iterator[Counter]:
        """Write a loop of so many steps, of which there is at least one.

        Steps that are ``independent`` read nothing that others write, so that some of them may be
        one instruction. A ``small`` loop stays as it is: what takes no time is to take none to
        compile, either.
        """
        build = self.machine.builder
        counter = Counter(self, build.block, self.function.append_basic_block())
        around = self._group
        if independent:
            self._loops += 1
            self._group = metadata(build.module, f"{GROUP} {self._loops}")
        self.machine.alone = self._group is None
        yield counter
        following = build.add(counter.phi, ir.Constant(LONG, 1), flags=("nuw", "nsw"))
        times = length.value if isinstance(length, Number) else ir.Constant(LONG, length)
        more = build.icmp_unsigned("<", following, times)
        end = self.function.append_basic_block()
        branch = build.cbranch(more, counter.head, end)
        if independent or small:
            branch.set_metadata("llvm.loop", self._loop_mark(independent, counter.head))
        self._group, self.machine.alone = around, around is None
        counter.close(build.block, following)
        build.position_at_end(end)

    def _is_long(self, head: Any) -> bool:
        """Whether the steps of a loop that was just written are, which begin with a block."""
        blocks = self.function.blocks
        written = (i for block in blocks[blocks.index(head) :] for i in block.instructions)
        return sum(CALLED if i.opname == "call" else 1 for i in written) >= LONG_STEP

    def _loop_mark(self, independent: bool, head: Any) -> Any:
        """Return what tells LLVM of a loop that begins with a block, see `counted`."""
        module = self.machine.builder.module

        def number(name: str, value: int) -> Any:
            said = ir.MetaDataString(module, f"llvm.loop.{name}")
            return module.add_metadata([said, ir.Constant(ir.IntType(32), value)])

        self._loops += 1
        told: list[Any] = [ir.MetaDataString(module, f"{LOOP} {self._loops}")]
        if independent:
            accesses = ir.MetaDataString(module, "llvm.loop.parallel_accesses")
            told.append(module.add_metadata([accesses, self._group]))
            if self._is_long(head):
                told.append(number("interleave.count", 2))
        else:
            told.append(metadata(module, "llvm.loop.unroll.disable"))
            told.append(number("vectorize.width", 1))
        return module.add_metadata(told)

    @contextmanager
    def nest(self, lengths: Sequence[int]) -> Iterator[list[Number]]:
        """Write loops over an index along axes of some lengths; its steps are independent."""
        if not lengths:
            yield []
            return
        first, *rest = lengths
        with self.counted(first, independent=not rest) as counter, self.nest(rest) as index:
            yield [counter.number, *index]

    @contextmanager
    def each(self, lengths: Sequence[int]) -> Iterator[list[Number]]:
        """Write loops over an index along axes of some lengths, one step after the other."""
        if not lengths:
            yield []
            return
        first, *rest = lengths
        if first == 1:
            with self.each(rest) as index:
                yield [self.machine.index(0), *index]
            return
        with self.counted(first) as counter, self.each(rest) as index:
            yield [counter.number, *index]

    @contextmanager
    def up_to(self, count: Number) -> Iterator[Number]:
        """Write a loop of a number of steps that is known when it runs, perhaps of none."""
        some = self.machine("gt", count, self.machine.index(0))
        with self.when(some), self.counted(count) as counter:
            yield counter.number

    @contextmanager
    def when(self, test: Number) -> Iterator[None]:
        """Write what runs only where a test holds."""
        build = self.machine.builder
        inside, after = (self.function.append_basic_block() for _ in range(2))
        build.cbranch(test.value, inside, after)
        build.position_at_end(inside)
        yield
        build.branch(after)
        build.position_at_end(after)

    def copy(self, source: Source, target: Buffer) -> None:
        """Copy an array of one shape into memory."""
        dense = target.is_dense and (not isinstance(source, Buffer) or source.is_dense)
        if dense and isinstance(source, Buffer) and source.type.nbytes > SHORT:
            self._mark(self.machine.copy(target.pointer, source.pointer, source.type.nbytes))
            return
        if dense and isinstance(source, Register | Buffer) and source.type.size > 1:
            with self.counted(target.type.size, independent=True) as counter:
                target.write(counter.number, source.read(counter.number))
            return
        shape = target.type.shape
        with self.nest(squeezed(shape)) as index:
            place = spread(self.machine, index, shape)
            target.store(place, source.at(place))

    def settled(self, source: Source) -> Buffer:
        """Return a source as an array in memory, to which it is copied if it is not one."""
        if isinstance(source, Buffer):
            return source
        memory = self.temporary(source.type)
        self.copy(source, memory)
        return memory


class Counter:
    """The steps of a loop, and what goes from one to the next."""

    def __init__(self, writer: Writer, before: Any, head: Any) -> None:
        build = writer.machine.builder
        build.branch(head)
        build.position_at_end(head)
        self.head, self._before, self._writer = head, before, writer
        self.phi = build.phi(LONG)
        self.phi.add_incoming(ir.Constant(LONG, 0), before)
        self.number = Number(self.phi, "int64")
        self._carried: list[tuple[Any, Number]] = []

    def carry(self, initial: Number) -> Carried:
        """Return a number that goes from step to step; its next value is to be said."""
        phi = self._writer.machine.builder.phi(initial.value.type)
        phi.add_incoming(initial.value, self._before)
        return Carried(Number(phi, initial.dtype), self)

    def becomes(self, carried: Carried, following: Number) -> None:
        """Say what a number is in the next step."""
        self._carried.append((carried.number.value, following))

    def close(self, last: Any, following: Any) -> None:
        """Say where the steps end."""
        self.phi.add_incoming(following, last)
        for phi, number in self._carried:
            phi.add_incoming(number.value, last)


class Carried:
    """A number that goes from step to step of a loop."""

    def __init__(self, number: Number, counter: Counter) -> None:
        self.number, self._counter = number, counter

    def becomes(self, following: Number) -> None:
        """Say what it is in the next step."""
        self._counter.becomes(self, following)


OUTSIDE = "accesses_outside"
"""The variable of a checked kernel that counts accesses outside of arrays."""

GROUP, LOOP = "brainir access group", "brainir loop"
"""What marks metadata that is to be distinct, which `finished` makes so."""


def metadata(module: ir.Module, text: str) -> Any:
    """Return a piece of metadata that holds a text."""
    return module.add_metadata([ir.MetaDataString(module, text)])


def spread(machine: Machine, index: Sequence[Number], shape: Sequence[int]) -> list[Number]:
    """Return an index along the axes of a shape that are not of length 1, with zeros for these."""
    rest = iter(index)
    return [machine.index(0) if n == 1 else next(rest) for n in shape]
