"""Writing control flow: loops over steps, loops that ask whether to go on, and branches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llvmlite import ir

from ...ir import Branches, Loop, Node, Operand, Value, While
from .blocks import Block, Lower, inputs_of
from .machine import LONG, Number
from .sources import Buffer, Register, Row, Source
from .tiles import Tile, gains
from .writer import Carried

Targets = dict[Value, list[Buffer]]


def write_inside(
    block: Block, nodes: Sequence[Node], arrays: Sequence[tuple[Operand, Buffer]], used: Any
) -> None:
    """Write the nodes of a region, and bring some of its arrays to memory."""
    targets: Targets = {}
    moves: list[tuple[Operand, Buffer]] = []
    for operand, buffer in arrays:
        if isinstance(operand, Value):
            targets.setdefault(operand, []).append(buffer)
        else:
            moves.append((operand, buffer))
    Block(block.writer, nodes, targets, used, block.lowerings).run()
    for operand, buffer in moves:
        block.writer.copy(block.writer.source(operand), buffer)


def carried_array(block: Block, node: Node, initial: Operand, last: Value | None) -> Buffer:
    """Return memory for an array that a loop carries, with its initial value in it."""
    assert last is not None
    memory = block.place_for(last, block.roots(inputs_of(node)))
    block.writer.copy(block.writer.source(initial), memory)
    block.writer.sources[last] = memory
    return memory


def write_for_loop(block: Block, node: Node) -> None:
    """Write a loop over steps: single elements stay in registers, arrays in memory of their own."""
    writer, loop = block.writer, Loop.of(node)
    single = [c for c in loop.carries if c.param.type.size == 1]
    arrays = [c for c in loop.carries if c.param.type.size != 1]
    starts = [writer.number(c.initial) for c in single]
    for c in arrays:
        writer.sources[c.param] = carried_array(block, node, c.initial, c.last)
    stacks: list[Buffer] = []
    for s in loop.stacks:
        assert s.result is not None
        stacks.append(block.place_for(s.result, ()))
        writer.sources[s.result] = stacks[-1]
    slices = [tiled(block, writer.source(s.array), loop) for s in loop.slices]
    stacked = [tiled(block, stack, loop) for stack in stacks]
    with writer.counted(loop.length) as counter:
        carried = [counter.carry(start) for start in starts]
        for c, going in zip(single, carried, strict=True):
            writer.sources[c.param] = Register(going.number, c.param.type)
        at = counter.number
        if loop.reverse:
            at = writer.machine("sub", writer.machine.index(loop.length - 1), at)
        for s, array in zip(loop.slices, slices, strict=True):
            if isinstance(array, Tile):
                array.fill(counter.number)
                writer.sources[s.param] = array.row(counter.number)
            else:
                writer.sources[s.param] = slice_of(array, at, s.param)
        rows = [s.row(counter.number if isinstance(s, Tile) else at) for s in stacked]
        targets = [(c.next, memory_of(writer.sources[c.param])) for c in arrays]
        targets += [(s.each, row) for s, row in zip(loop.stacks, rows, strict=True)]
        write_inside(block, loop.nodes, targets, [c.next for c in single])
        for stack in stacked:
            if isinstance(stack, Tile):
                stack.flush(counter.number)
        following = [writer.number(c.next) for c in single]
        becomes(carried, following)
    for c, number in zip(single, following, strict=True):
        assert c.last is not None
        writer.sources[c.last] = Register(number, c.last.type)


def tiled(block: Block, array: Any, loop: Loop) -> Any:
    """Return a tile of an array where that is better, else the array."""
    if isinstance(array, Buffer) and gains(array):
        return Tile.of(block.writer, array, loop.reverse)
    return array


def slice_of(array: Source, at: Number, param: Value) -> Source:
    """Return the part of an array that a step takes; a single element is read at once."""
    if isinstance(array, Buffer):
        row: Source = array.row(at)
    else:
        row = Row(array, at, param.type)
    if param.type.size == 1:
        zero = Number(ir.Constant(LONG, 0), "int64")
        return Register(row.at([zero] * param.type.rank), param.type)
    return row


def memory_of(source: Source) -> Buffer:
    """Return an array that is in memory."""
    assert isinstance(source, Buffer)
    return source


def becomes(carried: Sequence[Carried], following: Sequence[Number]) -> None:
    """Say what numbers are in the next step."""
    for going, number in zip(carried, following, strict=True):
        going.becomes(number)


def write_while(block: Block, node: Node) -> None:
    """Write a loop that asks before each step whether to go on."""
    writer, loop = block.writer, While.of(node)
    build, function = writer.machine.builder, writer.function
    single = [c for c in loop.carries if c.param.type.size == 1]
    arrays = [c for c in loop.carries if c.param.type.size != 1]
    starts = [writer.number(c.initial) for c in single]
    for c in arrays:
        memory = carried_array(block, node, c.initial, c.last)
        writer.sources[c.param] = writer.sources[c.seen] = memory
    before, head = build.block, function.append_basic_block()
    build.branch(head)
    build.position_at_end(head)
    phis = [build.phi(start.value.type) for start in starts]
    for c, phi, start in zip(single, phis, starts, strict=True):
        phi.add_incoming(start.value, before)
        register = Register(Number(phi, start.dtype), c.param.type)
        assert c.last is not None
        for value in (c.seen, c.param, c.last):
            writer.sources[value] = register
    write_inside(block, loop.condition, [], [loop.test])
    step, end = (function.append_basic_block() for _ in range(2))
    build.cbranch(writer.number(loop.test).value, step, end)
    build.position_at_end(step)
    targets = [(c.next, memory_of(writer.sources[c.param])) for c in arrays]
    write_inside(block, loop.nodes, targets, [c.next for c in single])
    for c, phi in zip(single, phis, strict=True):
        phi.add_incoming(writer.number(c.next).value, build.block)
    build.branch(head)
    build.position_at_end(end)


def write_cond(block: Block, node: Node) -> None:
    """Write branches, of which only the one that is asked for runs."""
    writer, branches = block.writer, Branches.of(node)
    machine, build = writer.machine, writer.machine.builder
    taken = block.roots(inputs_of(node))
    results = [c.result for c in branches.choices if c.result is not None]
    homes = {result: block.place_for(result, taken) for result in results if result.type.size != 1}
    index = writer.number(branches.index)
    if index.dtype != "bool":
        last = machine.constant(len(branches.branches) - 1, index.dtype)
        index = machine("max", machine("min", index, last), machine.constant(0, index.dtype))
    blocks = [writer.function.append_basic_block() for _ in branches.branches]
    end = writer.function.append_basic_block()
    switch = build.switch(index.value, blocks[-1])
    for number, start in enumerate(blocks[:-1]):
        switch.add_case(machine.constant(number, index.dtype).value, start)
    incoming: dict[Value, list[tuple[Any, Any]]] = {result: [] for result in results}
    for number, (branch, start) in enumerate(zip(branches.branches, blocks, strict=True)):
        build.position_at_end(start)
        yields = [(c.yields[number], c.result) for c in branches.choices if c.result is not None]
        arrays = [(value, homes[result]) for value, result in yields if result in homes]
        single = [(value, result) for value, result in yields if result not in homes]
        write_inside(block, branch.nodes, arrays, [value for value, _ in single])
        for value, result in single:
            incoming[result].append((writer.number(value).value, build.block))
        build.branch(end)
    build.position_at_end(end)
    for result in results:
        if result in homes:
            writer.sources[result] = homes[result]
            continue
        phi = build.phi(incoming[result][0][0].type)
        for value, start in incoming[result]:
            phi.add_incoming(value, start)
        writer.sources[result] = Register(Number(phi, result.type.dtype), result.type)


CONTROL: Mapping[str, Lower] = {
    "for_loop": write_for_loop,
    "while": write_while,
    "cond": write_cond,
}
"""What writes control flow, by the name of the op."""
