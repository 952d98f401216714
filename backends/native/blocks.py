"""Writing the nodes of a region: single elements one by one, arrays in loops over many nodes.

What is elementwise of one shape becomes one loop over its elements, as far as it can be computed at
once; a value that only that loop uses is never in memory. What lays elements out, such as a slice
or a broadcast, is no work at all: its elements are looked up where they are used. All else has
loops of its own (see `lowerings`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import Any

from ...ir import Indexed, Node, Operand, Pointwise, Value, captures
from .machine import Number
from .sources import Buffer, Lazy, Register, Source, squeezed
from .writer import Writer, spread

READS = 8
"""An array of which an element takes more reads than this is made once, in memory."""

IN_PLACE = (
    "dynamic_update_slice",
    *(f"scatter{word}" for word in ("", "-add", "-mul", "-min", "-max")),
)
"""What writes into a part of its first operand."""

Lower = Callable[["Block", Node], None]
Targets = Mapping[Value, Sequence[Buffer]]


class Block:
    """The nodes of one region that are being written.

    Parameters
    ----------
    writer : Writer
        What writes them; its sources hold what the region takes and captures.
    nodes : sequence of Node
        In order.
    targets : mapping of Value to sequence of Buffer
        Where arrays are to be in the end. What is there before may be read until then.
    used : iterable of Operand
        What else is needed in the end: single elements.
    lowerings : mapping of str to callable
        What writes ops that are made as a whole, by name.
    """

    def __init__(
        self,
        writer: Writer,
        nodes: Sequence[Node],
        targets: Targets,
        used: Iterable[Operand],
        lowerings: Mapping[str, Lower],
    ) -> None:
        self.writer, self.lowerings = writer, lowerings
        self._pending = dict.fromkeys(nodes)
        self._inputs = {node: inputs_of(node) for node in nodes}
        self._users: dict[Value, list[Node]] = {}
        for node, values in self._inputs.items():
            for value in values:
                self._users.setdefault(value, []).append(node)
        self._results = {*targets, *(o for o in used if isinstance(o, Value))}
        self._targets = {value: list(buffers) for value, buffers in targets.items()}
        self._through_transposes(nodes)
        self._through_updates(nodes)
        self._moves: list[tuple[Value, Buffer]] = []

    def run(self) -> None:
        """Write all nodes, and bring arrays to where they are to be."""
        while self._pending:
            for node in [*self._pending]:
                alone = is_view(node) or not is_member(node)
                if alone and self._is_ready(node) and not self._waits(node):
                    self._write(node)
            if self._pending:
                self._write_next()
        self._move()

    def _write_next(self) -> None:
        """Write one loop over elements; else an update that can wait no longer."""
        ready = [node for node in self._pending if self._is_ready(node)]
        member = next((node for node in ready if is_member(node)), None)
        if member is None:
            self._write(ready[0])
        else:
            self._write_group(member)

    def _waits(self, node: Node) -> bool:
        """Return whether an update lets those go first who read what it is to write over."""
        if node.op.name not in IN_PLACE:
            return False
        written = self.roots([v for v in node.operands[:1] if isinstance(v, Value)])
        others = (v for other in self._pending if other is not node for v in self._inputs[other])
        return not written.isdisjoint(self.roots(others))

    def _through_transposes(self, nodes: Sequence[Node]) -> None:
        """Have an array that is transposed for a target written there at once."""
        for node in reversed(nodes):
            buffers = self._targets.get(node.results[0]) if node.results else None
            if not buffers or node.op.name != "transpose" or node.results[0].type.size == 1:
                continue
            (operand,) = node.operands
            if not isinstance(operand, Value) or node.results[0] in self._users:
                continue
            turned = [buffer.turned(node.attrs["permutation"]) for buffer in buffers]
            self._targets[operand] = [*self._targets.get(operand, ()), *turned]
            self._results.add(operand)
            del self._targets[node.results[0]], self._pending[node]

    def _through_updates(self, nodes: Sequence[Node]) -> None:
        """Have what an update takes made where its result is to be, if nobody else needs it."""
        made: set[Operand] = {result for node in nodes for result in node.results}
        for node in reversed(nodes):
            if node.op.name not in IN_PLACE or node.results[0] not in self._targets:
                continue
            array = node.operands[0]
            if not isinstance(array, Value):
                continue
            if array in made and array not in self._results and self._users[array] == [node]:
                self._targets[array] = [*self._targets[node.results[0]]]

    # --- what is there ----------------------------------------------------------------------------

    def _is_ready(self, node: Node) -> bool:
        return all(value in self.writer.sources for value in self._inputs[node])

    def roots(self, values: Iterable[Value]) -> set[object]:
        """Return the memory that values are read from, as far as they are there."""
        sources = (self.writer.sources.get(value) for value in values)
        return {root for source in sources if source is not None for root in source.roots}

    def place_for(self, value: Value, taken: Iterable[object]) -> Buffer:
        """Return memory in which a value is to be made: a target, if nothing reads what is there.

        ``taken`` is memory that is read while it is made.
        """
        home, *others = self.places_for(value, taken)
        self._move_in_the_end(value, others)
        return home

    def places_for(self, value: Value, taken: Iterable[object]) -> list[Buffer]:
        """Return all memory that a value can be written to when it is made; see `place_for`.

        The first is where it is read from; targets that are not among these get a copy in the end.
        """
        targets = self._targets.pop(value, [])
        if not targets:
            return [self.writer.temporary(value.type)]
        waiting = (value for node in self._pending for value in self._inputs[node])
        read = {*taken, *self.roots(waiting), *self.roots(self._results)}
        free = [target for target in targets if target.memory not in read]
        self._move_in_the_end(value, [target for target in targets if target not in free])
        return free or [self.writer.temporary(value.type)]

    def _move_in_the_end(self, value: Value, targets: Iterable[Buffer]) -> None:
        # What only an update takes may be made where its result is to be, and nowhere else.
        if value in self._results:
            self._moves += [(value, target) for target in targets]

    # --- nodes by themselves ----------------------------------------------------------------------

    def _write(self, node: Node) -> None:
        rule = node.op.element
        del self._pending[node]
        if node.op.name in IN_PLACE:
            self._move_before(node)
        if isinstance(rule, Pointwise):
            elements = [self.writer.number(operand) for operand in node.operands]
            made = rule.rule(self.writer.machine, *elements, **node.attrs)
            self._define_numbers(node, made if isinstance(made, tuple) else (made,))
        elif (there := self._in_memory(node)) is not None:
            self.writer.sources[node.result] = there
        elif isinstance(rule, Indexed):
            operands = tuple(map(self.writer.source, node.operands))
            for number, result in enumerate(node.results):
                lazy = Lazy(self.writer, node, number, operands)
                self.writer.sources[result] = self._looked_up(lazy)
        else:
            self.lowerings[node.op.name](self, node)

    def _move_before(self, update: Node) -> None:
        """Bring to its place now what would be looked up in an array that is written over."""
        array = self.writer.source(update.operands[0])
        for value in [v for v in self._targets if v in self._results]:
            source = self.writer.sources.get(value)
            if source is not None and not source.roots.isdisjoint(array.roots):
                home = self.place_for(value, source.roots)
                if not home.is_same(source):
                    self.writer.copy(source, home)
                self.writer.sources[value] = home

    def _in_memory(self, node: Node) -> Buffer | None:
        """Return the result of a node that only says how an array in memory lies, else None."""
        laid_out = node.op.name in ("transpose", "reshape") and node.result.type.size > 1
        if not (is_view(node) or laid_out):
            return None
        there = self.writer.source(node.operands[0])
        if not isinstance(there, Buffer):
            return None
        if node.op.name == "transpose":
            return there.permuted(node.attrs["permutation"])
        if not is_view(node):
            return there.reshaped(node.result.type) if there.is_dense else None
        return there.with_axes(node.result.type)

    def _define_numbers(self, node: Node, numbers: Sequence[Number]) -> None:
        for result, number in zip(node.results, numbers, strict=True):
            self.writer.sources[result] = Register(number, result.type)

    def _looked_up(self, lazy: Lazy) -> Source:
        if lazy.type.size == 1:
            zeros = [self.writer.machine.index(0)] * lazy.type.rank
            return Register(lazy.at(zeros), lazy.type)
        return self.writer.settled(lazy) if lazy.weight > READS else lazy

    # --- loops over elements ----------------------------------------------------------------------

    def _write_group(self, first: Node) -> None:
        """Write one loop for all that can be computed now of the shape of a node."""
        group = self._group(first)
        for node in group:
            del self._pending[node]
        elsewhere = self._read_elsewhere(group)
        homes = {
            value: self.places_for(value, elsewhere)
            for node in group
            for value in node.results
            if value in self._results or not {*self._users.get(value, ())} <= {*group}
        }
        shape = squeezed(group[0].results[0].type.shape)
        loop = _Group(self.writer, group, homes, shape)
        loop.write()
        self.writer.sources.update({value: places[0] for value, places in homes.items()})

    def _read_elsewhere(self, group: Sequence[Node]) -> set[object]:
        """Return the memory that a loop reads at other places than those that it is at."""
        shape = squeezed(group[0].results[0].type.shape)
        found: set[object] = set()
        for operand in {operand for node in group for operand in node.operands}:
            source = self.writer.sources.get(operand) if isinstance(operand, Value) else None
            in_step = isinstance(source, Buffer) and source.is_dense
            if source is not None and not (in_step and squeezed(source.type.shape) == shape):
                found |= source.roots
        return found

    def _group(self, first: Node) -> list[Node]:
        shape = squeezed(first.results[0].type.shape)
        made: set[Value] = set()
        group: list[Node] = []
        for node in self._pending:
            if not is_member(node) or squeezed(node.results[0].type.shape) != shape:
                continue
            if all(self._has(value, shape, made) for value in self._inputs[node]):
                group.append(node)
                made.update(node.results)
        return group

    def _has(self, value: Value, shape: Sequence[int], made: set[Value]) -> bool:
        there = value in self.writer.sources
        return there or (value in made and squeezed(value.type.shape) == tuple(shape))

    # --- the end ----------------------------------------------------------------------------------

    def _move(self) -> None:
        """Bring arrays to their targets; what one target holds may be the source of another."""
        writer = self.writer
        moves = [(writer.sources[value], target) for value, target in self._moves]
        for value, targets in self._targets.items():
            if value in self._results:
                moves += [(writer.source(value), target) for target in targets]
        held = {target.memory for _, target in moves}
        settled: list[tuple[Source, Buffer]] = []
        for source, target in moves:
            if target.is_same(source):
                continue
            if source.roots & held:
                kept = writer.temporary(source.type)
                writer.copy(source, kept)
                source = kept
            settled.append((source, target))
        for source, target in settled:
            writer.copy(source, target)


class _Group:
    """One loop over the elements of arrays of one shape, but for axes of length 1."""

    def __init__(
        self,
        writer: Writer,
        nodes: Sequence[Node],
        homes: Mapping[Value, Sequence[Buffer]],
        shape: tuple[int, ...],
    ) -> None:
        self.writer, self.nodes, self.homes, self.shape = writer, nodes, homes, shape
        self._made: dict[Value, Number] = {}

    def write(self) -> None:
        """Write it: as one loop if all arrays are dense, or as a loop for each axis."""
        if self._is_flat():
            with self.writer.counted(prod(self.shape), independent=True) as counter:
                self._write_nodes([counter.number], flat=True)
        else:
            with self.writer.nest(self.shape) as index:
                self._write_nodes(index, flat=False)

    def _is_flat(self) -> bool:
        places = [place for places in self.homes.values() for place in places]
        if len(self.shape) == 1 or not all(place.is_dense for place in places):
            return False
        made = {result for node in self.nodes for result in node.results}
        outside = (o for node in self.nodes for o in node.operands if o not in made)
        return all(self._is_dense(self.writer.source(operand)) for operand in outside)

    def _is_dense(self, source: Source) -> bool:
        if isinstance(source, Register):
            return True
        dense = isinstance(source, Buffer) and source.is_dense
        return dense and squeezed(source.type.shape) == self.shape

    def _write_nodes(self, index: Sequence[Number], flat: bool) -> None:
        machine = self.writer.machine
        for node in self.nodes:
            elements = [self._element(operand, node, index, flat) for operand in node.operands]
            rule = node.op.element
            made: Any = elements[0]
            if isinstance(rule, Pointwise):
                made = rule.rule(machine, *elements, **node.attrs)
            for result, number in zip(
                node.results, made if isinstance(made, tuple) else (made,), strict=True
            ):
                self._made[result] = number
        for value, places in self.homes.items():
            for place in places:
                if flat:
                    place.write(index[0], self._made[value])
                else:
                    place.store(spread(machine, index, value.type.shape), self._made[value])

    def _element(self, operand: Operand, node: Node, index: Sequence[Number], flat: bool) -> Number:
        if isinstance(operand, Value) and operand in self._made:
            return self._made[operand]
        source = self.writer.source(operand)
        if isinstance(source, Register):
            return source.number
        if flat:
            assert isinstance(source, Buffer)
            return source.read(index[0])
        # Elementwise ops repeat axes of length 1; what only adds or drops such axes keeps the rest.
        if squeezed(operand.type.shape) == self.shape:
            return source.at(spread(self.writer.machine, index, operand.type.shape))
        whole = spread(self.writer.machine, index, node.results[0].type.shape)
        zero = self.writer.machine.index(0)
        place = [zero if n == 1 else i for n, i in zip(operand.type.shape, whole, strict=True)]
        return source.at(place)


def is_member(node: Node) -> bool:
    """Return whether a node belongs into a loop over elements.

    That is elementwise work on arrays, and what adds or drops axes of length 1 of one.
    """
    if not node.results or node.results[0].type.size == 1:
        return False
    if isinstance(node.op.element, Pointwise):
        return True
    if node.op.name not in _AXES:
        return False
    (operand,) = node.operands
    return squeezed(operand.type.shape) == squeezed(node.result.type.shape)


def is_view(node: Node) -> bool:
    """Return whether a node adds or drops axes of length 1 of an array."""
    return is_member(node) and not isinstance(node.op.element, Pointwise)


_AXES = ("reshape", "squeeze", "expand_dims", "broadcast_in_dim")


def inputs_of(node: Node) -> list[Value]:
    """Return the values that a node needs: its operands, and what its regions capture."""
    operands = [operand for operand in node.operands if isinstance(operand, Value)]
    return list(dict.fromkeys((*operands, *captures(*node.regions))))
