"""What is made as a whole, by op: control flow, totals, products, updates in place."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir import Node, Windows, corners
from .blocks import Block, Lower, inputs_of
from .loops import CONTROL
from .products import write_product
from .running import RUNNING
from .seeded import SEEDED
from .sources import Buffer, Source, squeezed
from .sparse import SPARSE
from .totals import REDUCTIONS, write_reduction
from .writer import Writer, spread


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
    **RUNNING,
    **SPARSE,
    **SEEDED,
}
"""What writes ops that are made as a whole, by name."""
