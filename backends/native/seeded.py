"""Writing products with connections that are drawn from a seed."""

from __future__ import annotations

from collections.abc import Callable

from ...ir import Node, Type, row_keys, target_gap
from .blocks import Block
from .machine import Number
from .sparse import add_to, at_hand, each_that_sends, zeroed
from .writer import Writer

DRAWN = 16
"""Gaps that are drawn together, by instructions that each serve several of them."""


def write_to_columns(block: Block, node: Node) -> None:
    """Write ``vector @ matrix``."""
    vector, seed = node.operands
    values, number = at_hand(block.writer, vector), block.writer.number(seed)
    follow = _following(block.writer, number, node.result.type.shape[-1], node)
    with zeroed(block, node) as home, block.writer.each(vector.type.shape[:-1]) as lane:

        def send(row: Number, value: Number) -> None:
            follow(row, lambda column: add_to(block.writer, home, (*lane, column), value))

        each_that_sends(block.writer, values, lane, send)


def write_to_rows(block: Block, node: Node) -> None:
    """Write ``matrix @ vector``."""
    vector, seed = node.operands
    values, number = at_hand(block.writer, vector), block.writer.number(seed)
    follow = _following(block.writer, number, vector.type.shape[-1], node)
    shape = node.result.type.shape
    with zeroed(block, node) as home, block.writer.each(shape) as (*lane, row):

        def receive(column: Number) -> None:
            add_to(block.writer, home, (*lane, row), values.at((*lane, column)))

        follow(row, receive)


def _following(
    writer: Writer, seed: Number, columns: int, node: Node
) -> Callable[[Number, Callable[[Number], None]], None]:
    """Return what writes a loop over the columns that a row is connected with."""
    machine = writer.machine
    gaps = writer.temporary(Type("int32", (DRAWN,)))
    # The next column, and how many gaps have been drawn; they do not stay in memory.
    state = writer.temporary(Type("int64", (2,)))
    column, drawn = [machine.index(0)], [machine.index(1)]
    end, one = machine.index(columns), machine.index(1)

    def follow(row: Number, visit: Callable[[Number], None]) -> None:
        keys = row_keys(machine, seed, row)
        state.store(column, machine.index(-1))
        state.store(drawn, machine.index(0))
        build = machine.builder
        head, after = (writer.function.append_basic_block() for _ in range(2))
        build.branch(head)
        build.position_at_end(head)
        before = state.at(drawn)
        with writer.nest([DRAWN]) as (i,):
            number = machine("add", before, i)
            gaps.store((i,), target_gap(machine, keys, number, node.attrs["probability"]))
        state.store(drawn, machine("add", before, machine.index(DRAWN)))
        with writer.each([DRAWN]) as (i,):
            last = machine("min", state.at(column), end)
            step = machine("add", machine.convert(gaps.at((i,)), "int64"), one)
            here = machine("add", last, step)
            state.store(column, here)
            with writer.when(machine("lt", here, end)):
                visit(here)
        build.cbranch(machine("lt", state.at(column), end).value, head, after)
        build.position_at_end(after)

    return follow


SEEDED = {
    "seeded_to_columns": write_to_columns,
    "seeded_to_rows": write_to_rows,
}
"""What writes products with connections from a seed, by name."""
