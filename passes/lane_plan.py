"""What can be merged lane by lane, and whether that is worth it.

A plan starts at what comes out alike, and follows the rows of operands backwards, see `alike`. It
fails where a row would have to be put together from too many pieces, or too many lanes be taken out
of a pack again: each is a slice, which costs a compiler as much as the work that is saved.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from ..ir import Literal, Node, Operand, Value, is_pure
from .alike import Row, Rows, given

FEW = 8
"""How many lanes may be taken out of packs one by one, if they are at most a quarter of all."""

DEPTH = 20
"""How many nodes away from a lane is looked for it."""

PIECES = 16
"""Of how many pieces a row may be put together, if they are at most half of it."""


class Cell(NamedTuple):
    """What goes in at a parameter and comes out as a result: a state, or what a loop carries.

    A cell that only goes in has no ``result``, one that only comes out no ``param``.
    """

    param: Value | None
    result: int | None


@dataclass(frozen=True, slots=True)
class Around:
    """Small values that a region sees, and what puts a row of them into one array around it."""

    values: Collection[Value]
    stack: Callable[[Sequence[Operand]], Operand]


class Line:
    """A straight line of nodes, and what of it may be merged.

    Attributes
    ----------
    nodes, results
        Those of a graph or region; results may be missing.
    cells : tuple of Cell
        What may be packed, in the order that lanes are to have.
    least : int
        How many lanes are worth it.
    around : Around or None
        What else may be packed.
    unordered : collection of Node
        Stacks of which it does not matter in which order they are.
    known : Rows
        What is known of the values.
    readable : set of Value
        What only goes in.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        results: Sequence[Operand | None],
        cells: Sequence[Cell],
        least: int,
        around: Around | None,
        unordered: Collection[Node] = (),
    ) -> None:
        self.nodes, self.results, self.cells, self.least = nodes, results, cells, least
        self.around, self.unordered = around, unordered
        self.known = Rows(nodes)
        self.readable = {c.param for c in cells if c.result is None and c.param is not None}

    def result(self, cell: Cell) -> Operand:
        """Return what comes out of a cell."""
        found = None if cell.result is None else self.results[cell.result]
        assert found is not None
        return found

    def stacked_around(self, cells: Sequence[Cell]) -> Operand:
        """Return values from around as one array."""
        assert self.around is not None
        return self.around.stack([cell.param for cell in cells if cell.param is not None])

    def alike(self) -> list[list[tuple[Cell, ...]]]:
        """Return the cells that come out alike, by how many they are."""
        found: dict[Hashable, list[Cell]] = defaultdict(list)
        for cell in self.cells:
            if cell.result is not None:
                type = None if cell.param is None else cell.param.type
                found[self.known.form(self.result(cell)), type].append(cell)
        sizes: dict[int, list[tuple[Cell, ...]]] = defaultdict(list)
        for cells in found.values():
            if len(cells) >= self.least:
                sizes[len(cells)].append(tuple(cells))
        return [*sizes.values()]


Seed = tuple[Cell, ...] | Node
"""Where merging starts: cells that come out, or a `stack` of what lanes have computed."""


class Axis(NamedTuple):
    """An axis of an array, along which it has lanes."""

    array: Value
    axis: int


Source = tuple[Cell, ...] | Value | Axis
"""What has lanes: a pack, the result of a group (that of its first node), an array."""


class Origin(NamedTuple):
    """Where an operand of a row comes from: a lane of a source, or just itself."""

    source: Source | Operand
    lane: int | None


class Piece(NamedTuple):
    """Neighbours in a row that are neighbours in one source, too, or one operand several times.

    They may be neighbours the other way round: then ``step`` is -1.
    """

    source: Source | Operand | Row
    start: int | None
    length: int
    step: int = 1

    def goes_on(self, origin: Origin) -> Piece | None:
        """Return a piece with one more at its end, if it fits."""
        if origin.source != self.source or (origin.lane is None) != (self.start is None):
            return None
        if self.start is None or origin.lane is None:
            return self._replace(length=self.length + 1)
        steps = (self.step,) if self.length > 1 else (1, -1)
        for step in steps:
            if origin.lane == self.start + step * self.length:
                return self._replace(length=self.length + 1, step=step)
        return None


class Plan:
    """What is merged if the results of some cells are to be.

    So are stacks of what was computed from what is merged, but for those that are ``skipped``.

    Attributes
    ----------
    order : list of Node or None
        The nodes in an order in which each group comes at once, by its first; None if none is.
    failed : set
        The seeds that cannot be had, without which one may try again.
    """

    def __init__(
        self, line: Line, seeds: Sequence[tuple[Cell, ...]], skipped: Collection[Seed] = ()
    ) -> None:
        self.line, self.known = line, line.known
        self.seeds: dict[tuple[Cell, ...], Row] = {}
        self.size = len(seeds[0]) if seeds else 0
        self.members: dict[Node, tuple[tuple[Node, ...], int]] = {}
        self.packed: dict[Value, tuple[tuple[Cell, ...], int]] = {}
        self.read: list[tuple[Cell, ...]] = []
        self.seen_around: list[tuple[Cell, ...]] = []
        self.leaves: dict[Row, Seed] = {}
        self.owners: dict[tuple[Node, ...], Seed] = {}
        self.seen: set[Row] = set()
        for seed in seeds:
            self._pack(seed)
        for seed in sorted(seeds, key=lambda cells: cells[0].param is None):
            ordered = seed if seed[0].param is not None else self._in_order(seed)
            self.seeds[ordered] = tuple(line.result(cell) for cell in ordered)
            self._follow(self.seeds[ordered], ordered)
        for node in line.nodes:
            if node.op.name == "stack" and node not in skipped:
                self._follow_stack(node)
        merged = {node: group[0] for node, (group, _) in self.members.items()}
        self.order = in_order(self.known, line.nodes, merged)
        self.failed = self._failures()

    def _follow_stack(self, node: Node) -> None:
        """Merge what a `stack` is of if it comes from lanes; pack it if it only goes in."""
        lanes = [self._lane_of(operand) for operand in node.operands]
        if len(lanes) == self.size and sorted(lanes) == [*range(self.size)]:
            self._follow(self.gathered(node), node)
        elif self._pack_what_is_read(node.operands):
            self.leaves.setdefault(node.operands, node)

    def _pack(self, cells: tuple[Cell, ...]) -> None:
        places = ((cell.param, (cells, i)) for i, cell in enumerate(cells))
        self.packed.update((param, place) for param, place in places if param is not None)

    def _in_order(self, cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
        """Return cells that only come out in the order of the lanes that they come from."""
        origins = [self.origin(self.line.result(cell)) for cell in cells]
        if len({origin.source for origin in origins}) > 1 or None in {o.lane for o in origins}:
            return cells
        pairs = sorted(zip(origins, cells, strict=True), key=lambda pair: pair[0].lane or 0)
        return tuple(cell for _, cell in pairs)

    # --- what is alike ----------------------------------------------------------------------------

    def _follow(self, row: Row, seed: Seed) -> None:
        """Find the groups that a row depends on."""
        waiting = [row]
        while waiting:
            row = waiting.pop()
            if row in self.seen or len(set(row)) == 1:
                continue
            self.seen.add(row)
            group = None if self.known.in_one(row) else self.known.alike(row)
            if group is None or self._is_taken(group):
                self.leaves.setdefault(row, seed)
                self._pack_what_is_read(row)
                continue
            self.owners.setdefault(group, seed)
            self.members.update((node, (group, lane)) for lane, node in enumerate(group))
            waiting.extend(zip(*map(given, group), strict=True))

    def _is_taken(self, group: tuple[Node, ...]) -> bool:
        """Whether some of the nodes are lanes of another group."""
        return any(
            self.members.get(node, (group, lane)) != (group, lane)
            for lane, node in enumerate(group)
        )

    def _pack_what_is_read(self, row: Row) -> bool:
        """Pack a row of what only goes in, or is seen around; tell whether it is one."""
        outside = () if self.line.around is None else self.line.around.values
        for allowed, packs in ((self.line.readable, self.read), (outside, self.seen_around)):
            new = [x for x in row if isinstance(x, Value) and x in allowed and x not in self.packed]
            if len(new) == len(set(new)) == len(row) >= self.line.least:
                packs.append(tuple(Cell(x, None) for x in new))
                self._pack(packs[-1])
                return True
        return False

    # --- whether it is worth it -------------------------------------------------------------------

    def _failures(self) -> set[Seed]:
        bad: set[Seed] = {s for row, s in self.leaves.items() if self.is_scattered(row)}
        taken = self._taken()
        most = max((len(cells) for cells in self.packs()), default=0)
        if not bad and len(taken) > min(FEW, most // 4):
            counts = Counter(self._owner(value) for value in taken)
            bad = {counts.most_common(1)[0][0]}
        return bad if bad or self.order is not None else set(self.seeds)

    def _taken(self) -> set[Value]:
        """Return the values of lanes that are used by themselves."""
        used: set[Operand] = {row[0] for row in self._all_rows() if len(set(row)) == 1}
        for node in self.line.nodes:
            if node not in self.members and not self.is_gathered(node):
                used.update(given(node))
        packed = {cell.result for seed in self.seeds for cell in seed}
        used.update(x for i, x in enumerate(self.line.results) if i not in packed and x is not None)
        return {x for x in used if isinstance(x, Value) and self.is_lane(x)}

    def _all_rows(self) -> Iterator[Row]:
        yield from self.seeds.values()
        for group in self.owners:
            yield from zip(*map(given, group), strict=True)

    def is_gathered(self, node: Node) -> bool:
        """Whether a node only puts together what stands together already."""
        if node.op.name != "stack":
            return False
        return not self.is_scattered(self.gathered(node))

    def gathered(self, node: Node) -> Row:
        """Return what a `stack` is of, in a good order if any is right."""
        if node not in self.line.unordered:
            return node.operands
        lanes = map(self._lane_of, node.operands)
        pairs = sorted(zip(lanes, node.operands, strict=True), key=lambda pair: pair[0])
        return tuple(operand for _, operand in pairs)

    def is_lane(self, value: Operand) -> bool:
        """Whether a value is one of those that are packed or merged."""
        maker = self.known.maker(value)
        return value in self.packed or (maker is not None and maker.node in self.members)

    def _owner(self, value: Value) -> Seed:
        if value in self.packed:
            cells, _ = self.packed[value]
            if cells in self.seeds:
                return cells
            return next(seed for row, seed in self.leaves.items() if value in row)
        return self.owners[self.members[self.known.makers[value].node][0]]

    def _lane_of(self, operand: Operand) -> int:
        """Return from which lane an operand was computed; -1 if that is not found."""
        for _ in range(DEPTH):
            origin, maker = self.origin(operand), self.known.maker(operand)
            if origin.lane is not None:
                return origin.lane
            taken = () if maker is None else given(maker.node)
            inner = [x for x in taken if self.known.maker(x) is not None or self.is_lane(x)]
            if not inner:
                break
            operand = inner[0]
        return -1

    # --- rows -------------------------------------------------------------------------------------

    def origin(self, operand: Operand) -> Origin:
        """Return where an operand comes from."""
        if isinstance(operand, Value):
            if operand in self.packed:
                return Origin(*self.packed[operand])
            maker = self.known.maker(operand)
            if maker is not None and maker.node in self.members:
                group, lane = self.members[maker.node]
                return Origin(group[0].results[maker.number], lane)
            place = self.known.place(operand)
            if place is not None:
                return Origin(Axis(place.source, place.axis), place.at)
        return Origin(operand, None)

    def pieces(self, row: Row) -> list[Piece]:
        """Return of what a row can be put together; literals are one piece."""
        if all(isinstance(operand, Literal) for operand in row):
            return [Piece(row, None, 1)]
        pieces: list[Piece] = []
        for origin in map(self.origin, row):
            longer = pieces[-1].goes_on(origin) if pieces else None
            if longer is None:
                pieces.append(Piece(*origin, 1))
            else:
                pieces[-1] = longer
        return pieces

    def is_scattered(self, row: Row) -> bool:
        """Whether a row is made of too many pieces."""
        return len(self.pieces(row)) > min(PIECES, len(row) // 2)

    def packs(self) -> Iterator[tuple[Cell, ...]]:
        """Yield what becomes one array."""
        yield from self.seeds
        yield from self.read


def in_order(known: Rows, nodes: Sequence[Node], merged: Mapping[Node, Node]) -> list[Node] | None:
    """Return nodes in an order in which what is merged comes at once; None if there is none.

    As far as possible it is the order that they have.

    Parameters
    ----------
    known : Rows
        What makes their operands.
    nodes : sequence of Node
        In an order.
    merged : mapping of Node to Node
        Which node stands for which others.
    """
    places = {node: i for i, node in enumerate(nodes)}
    users: dict[Node, set[Node]] = defaultdict(set)
    for before, after in pairwise(node for node in nodes if not is_pure(node)):
        users[before].add(after)
    for node in nodes:
        unit = merged.get(node, node)
        for operand in given(node):
            maker = known.maker(operand)
            if maker is not None and (before := merged.get(maker.node, maker.node)) is not unit:
                users[before].add(unit)
    missing = Counter(user for after in users.values() for user in after)
    units = dict.fromkeys(merged.get(node, node) for node in nodes)
    ready = [places[node] for node in units if not missing[node]]
    heapq.heapify(ready)
    order: list[Node] = []
    while ready:
        node = nodes[heapq.heappop(ready)]
        order.append(node)
        for user in users[node]:
            missing[user] -= 1
            if not missing[user]:
                heapq.heappush(ready, places[user])
    return order if len(order) == len(units) else None
