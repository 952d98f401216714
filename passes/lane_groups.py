"""Merging what is alike: one node over an axis of lanes in place of one node for each lane.

Where lanes enter, and where their results leave, they stand in one array, a *pack*. `merge_lanes`
looks for what can be merged so that hardly any lane has to be taken out of an array again, since
each is a slice, which costs a compiler as much as the work that is saved.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..ir import (
    Builder,
    Graph,
    Literal,
    Node,
    Operand,
    Value,
    is_pure,
    mapped,
    move_axis,
    repeat,
    replay,
    replay_region,
)
from .alike import Row, Rows, given
from .batching import Batching
from .lane_dependence import lane_dependent
from .lane_sums import sums_over_stacks
from .lanes import part, take

FEW = 8
"""How many lanes may be taken out of packs one by one, if they are at most a quarter of all."""

TERMS = 4
"""From so many alike terms on, a sum may be written as one over a stack."""

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
class Pack:
    """Cells that became one array, with one parameter and one result in place of all of theirs."""

    cells: tuple[Cell, ...]
    param: Value | None
    result: Operand | None


@dataclass(frozen=True, slots=True)
class Merged:
    """Nodes in which lanes were merged, what stands for the results, and the packs."""

    nodes: tuple[Node, ...]
    results: tuple[Operand | None, ...]
    packs: tuple[Pack, ...]


@dataclass(frozen=True, slots=True)
class Around:
    """Small values that a region sees, and what puts a row of them into one array around it."""

    values: Collection[Value]
    stack: Callable[[Sequence[Operand]], Operand]


def merge_lanes(
    nodes: Sequence[Node],
    results: Sequence[Operand | None],
    cells: Iterable[Cell],
    least: int,
    around: Around | None = None,
) -> Merged | None:
    """Merge lanes of one number, at ``least`` so many, or return None if there are none.

    Parameters
    ----------
    nodes, results
        Those of a graph or region; results may be missing.
    cells : iterable of Cell
        What may be packed, in the order that lanes are to have.
    least : int
        How many lanes are worth it.
    around : Around, optional
        What else may be packed.

    Returns
    -------
    Merged or None
        In place of results that were packed there is None.
    """
    cells = tuple(cells)
    merged = _merge(nodes, results, cells, least, around, frozenset())
    sums = sums_over_stacks(nodes, results, max(least, TERMS))
    if sums is None:
        return merged
    other = _merge(sums.nodes, results, cells, least, around, sums.stacks)
    return other if _count(other) > _count(merged) else merged


def _count(merged: Merged | None) -> int:
    """Return how many results were packed."""
    return 0 if merged is None else sum(result is None for result in merged.results)


def _merge(
    nodes: Sequence[Node],
    results: Sequence[Operand | None],
    cells: Sequence[Cell],
    least: int,
    around: Around | None,
    unordered: Collection[Node],
) -> Merged | None:
    """Merge lanes; of ``unordered`` stacks it does not matter in which order they are."""
    rows = Rows(nodes)
    alike: dict[Hashable, list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.result is not None:
            type = None if cell.param is None else cell.param.type
            alike[rows.form(_result(results, cell)), type].append(cell)
    sizes: dict[int, list[tuple[Cell, ...]]] = defaultdict(list)
    for found in alike.values():
        if len(found) >= least:
            sizes[len(found)].append(tuple(found))
    readable = {cell.param for cell in cells if cell.result is None and cell.param is not None}
    for seeds in sizes.values():
        skipped = set[Seed]()
        while left := [seed for seed in seeds if seed not in skipped]:
            plan = _Plan(nodes, results, rows, left, readable, around, unordered, skipped)
            if not plan.failed:
                return plan.build()
            skipped |= plan.failed
    return None


Seed = tuple[Cell, ...] | Node
"""Where merging starts: cells that come out, or a `stack` of what lanes have computed."""


class Origin(NamedTuple):
    """Where an operand of a row comes from: a lane of something, or itself."""

    source: Hashable
    lane: int | None


class Piece(NamedTuple):
    """Neighbours in a row that are neighbours in one source, too, or one operand several times.

    They may be neighbours the other way round: then ``step`` is -1.
    """

    source: Hashable
    start: int | None
    count: int
    step: int = 1

    def goes_on(self, origin: Origin) -> Piece | None:
        """Return a piece with one more at its end, if it fits."""
        if origin.source != self.source or (origin.lane is None) != (self.start is None):
            return None
        if self.start is None or origin.lane is None:
            return self._replace(count=self.count + 1)
        steps = (self.step,) if self.count > 1 else (1, -1)
        for step in steps:
            if origin.lane == self.start + step * self.count:
                return self._replace(count=self.count + 1, step=step)
        return None


class _Plan:
    """What is merged if the results of some cells are to be; ``failed`` are seeds that cannot.

    So are stacks of what was computed from what is merged, but for those that are ``skipped``.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        results: Sequence[Operand | None],
        rows: Rows,
        seeds: Sequence[tuple[Cell, ...]],
        readable: set[Value],
        around: Around | None,
        unordered: Collection[Node],
        skipped: Collection[Seed],
    ) -> None:
        self.nodes, self.results, self.known = nodes, results, rows
        self.readable, self.around, self.unordered = readable, around, unordered
        self.seeds: dict[tuple[Cell, ...], Row] = {}
        self.size = len(seeds[0])
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
            self.seeds[ordered] = tuple(_result(results, cell) for cell in ordered)
            self._follow(self.seeds[ordered], ordered)
        for node in nodes:
            if node.op.name == "stack" and len(node.operands) == self.size and node not in skipped:
                lanes = [self._lane_of(operand) for operand in node.operands]
                if sorted(lanes) == [*range(self.size)]:
                    self._follow(self.gathered(node), node)
        self.order: list[Node] = []
        self.failed = self._failures()

    def _pack(self, cells: tuple[Cell, ...]) -> None:
        places = ((cell.param, (cells, i)) for i, cell in enumerate(cells))
        self.packed.update((param, place) for param, place in places if param is not None)

    def _in_order(self, cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
        """Return cells that only come out in the order of the lanes that they come from."""
        origins = [self.origin(_result(self.results, cell)) for cell in cells]
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
        return any(self.members.get(node, (group, lane)) != (group, lane)
                   for lane, node in enumerate(group))

    def _pack_what_is_read(self, row: Row) -> None:
        outside = () if self.around is None else self.around.values
        for allowed, packs in ((self.readable, self.read), (outside, self.seen_around)):
            new = [x for x in row if isinstance(x, Value) and x in allowed and x not in self.packed]
            if len(new) == len(set(new)) == len(row):
                packs.append(tuple(Cell(x, None) for x in new))
                self._pack(packs[-1])

    # --- whether it is worth it -------------------------------------------------------------------

    def _failures(self) -> set[Seed]:
        bad: set[Seed] = {s for row, s in self.leaves.items() if self.is_scattered(row)}
        taken = self._taken()
        if not bad and len(taken) > min(FEW, self.size // 4):
            counts = Counter(self._owner(value) for value in taken)
            bad = {counts.most_common(1)[0][0]}
        if not bad and not self._ordered():
            bad = set(self.seeds)
        return bad

    def _taken(self) -> set[Value]:
        """Return the values of lanes that are used by themselves."""
        used: set[Operand] = {row[0] for row in self._all_rows() if len(set(row)) == 1}
        for node in self.nodes:
            if node not in self.members and not self.is_gathered(node):
                used.update(given(node))
        packed = {cell.result for seed in self.seeds for cell in seed}
        used.update(x for i, x in enumerate(self.results) if i not in packed and x is not None)
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
        if node not in self.unordered:
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
            maker = self.known.makers.get(operand)
            if maker is not None and maker.node in self.members:
                group, lane = self.members[maker.node]
                return Origin(group[0].results[maker.index], lane)
            place = self.known.place(operand)
            if place is not None:
                return Origin((place.source, place.axis), place.index)
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

    # --- the order --------------------------------------------------------------------------------

    def _ordered(self) -> bool:
        """Put nodes in an order in which each group comes at once; tell whether there is one.

        As far as possible it is the order that they have. Of a group, its first node stands for all.
        """
        first = {node: self.members[node][0][0] if node in self.members else node
                 for node in self.nodes}
        places = {node: i for i, node in enumerate(self.nodes)}
        users: dict[Node, set[Node]] = defaultdict(set)
        effects = [node for node in self.nodes if not is_pure(node)]
        for before, after in zip(effects, effects[1:], strict=False):
            users[before].add(after)
        for node in self.nodes:
            for operand in given(node):
                maker = self.known.maker(operand)
                if maker is not None and first[maker.node] is not first[node]:
                    users[first[maker.node]].add(first[node])
        missing = Counter(user for after in users.values() for user in after)
        units = dict.fromkeys(first.values())
        ready = [places[node] for node in units if not missing[node]]
        heapq.heapify(ready)
        while ready:
            node = self.nodes[heapq.heappop(ready)]
            self.order.append(node)
            for user in users[node]:
                missing[user] -= 1
                if not missing[user]:
                    heapq.heappush(ready, places[user])
        return len(self.order) == len(units)

    def packs(self) -> Iterator[tuple[Cell, ...]]:
        """Yield what becomes one array."""
        yield from self.seeds
        yield from self.read

    def build(self) -> Merged:
        """Build the nodes."""
        return _Building(self).merged()


def _result(results: Sequence[Operand | None], cell: Cell) -> Operand:
    found = None if cell.result is None else results[cell.result]
    assert found is not None
    return found


class _Building:
    """One replay of the nodes of a plan."""

    def __init__(self, plan: _Plan) -> None:
        self.plan, self.builder = plan, Builder()
        self.mapping: dict[Value, Operand] = {}
        self.lanes: dict[Value, Operand] = {}
        self.batching = Batching(plan.size, set(), self.lanes)
        self.rows: dict[Row, Operand] = {}
        self.params: dict[Hashable, Operand] = {
            cells: Value(cells[0].param.type.stacked(len(cells)), cells[0].param.hint)
            for cells in plan.packs()
            if cells[0].param is not None
        }
        for cells in plan.seen_around:
            self.params[cells] = plan.around.stack([cell.param for cell in cells])

    def merged(self) -> Merged:
        """Build all nodes, and what stands for the results."""
        plan, builder = self.plan, self.builder
        for node in plan.order:
            builder.loc = node.loc
            if node in plan.members:
                self._group(plan.members[node][0])
            elif plan.is_gathered(node):
                array = self._joined(plan.pieces(plan.gathered(node)))
                self.mapping[node.result] = move_axis(builder, array, 0, node.attrs["axis"])
            else:
                self._take(given(node))
                replay([node], builder, self.mapping)
        ends = {seed: self._in_lanes(row) for seed, row in plan.seeds.items()}
        packed = {cell.result for seed in plan.seeds for cell in seed}
        left = [
            None if x is None or i in packed else self._now(x) for i, x in enumerate(plan.results)
        ]
        packs = [Pack(cells, self.params.get(cells), ends.get(cells)) for cells in plan.packs()]
        return Merged(tuple(builder.nodes), tuple(left), tuple(packs))

    def _now(self, operand: Operand) -> Operand:
        """Return what stands for an operand by itself; a lane is taken out of its pack."""
        self._take([operand])
        return mapped([operand], self.mapping)[0]

    def _take(self, operands: Iterable[Operand]) -> None:
        for operand in operands:
            if isinstance(operand, Value) and self.plan.is_lane(operand):
                origin = self.plan.origin(operand)
                assert origin.lane is not None
                if operand not in self.mapping:
                    array = self._source(origin.source)
                    self.mapping[operand] = take(self.builder, array, origin.lane)

    def _group(self, nodes: tuple[Node, ...]) -> None:
        """Build alike nodes as one, with lanes where its operands have them."""
        first, builder = nodes[0], self.builder
        stand_ins: dict[Value, Operand] = {}
        operands: list[Operand] = []
        for old, row in zip(given(first), zip(*map(given, nodes), strict=True), strict=True):
            if len(set(row)) == 1:
                operands.append(self._now(old))
            else:
                operands.append(Value(old.type, old.hint if isinstance(old, Value) else ""))
                self.lanes[operands[-1]] = self._in_lanes(row)
                self.batching.dependent.add(operands[-1])
            if isinstance(old, Value):
                stand_ins[old] = operands[-1]
        regions = tuple(replay_region(region, stand_ins) for region in first.regions)
        given_now = tuple(operands[: len(first.operands)])
        node = Node(first.op, given_now, first.attrs, regions, first.results, first.loc)
        one = Graph("", (), (node,), ())
        differing = [x for x in operands if x in self.batching.dependent]
        self.batching.dependent |= lane_dependent(one, differing)
        self.batching.nodes(builder, [node])

    def _in_lanes(self, row: Row) -> Operand:
        """Return a row as an array with the lanes in front."""
        if len(set(row)) == 1:
            return repeat(self.builder, self._now(row[0]), len(row))
        if row not in self.rows:
            self.rows[row] = self._joined(self.plan.pieces(row))
        return self.rows[row]

    def _joined(self, pieces: Sequence[Piece]) -> Operand:
        arrays = [self._piece(piece) for piece in pieces]
        return arrays[0] if len(arrays) == 1 else self.builder("concatenate", *arrays, dimension=0)

    def _piece(self, piece: Piece) -> Operand:
        source, start, count, step = piece
        if start is not None:
            array, first = self._source(source), min(start, start + step * (count - 1))
            if (first, count) != (0, array.type.shape[0]):
                array = part(self.builder, array, first, first + count)
            return array if step > 0 else self.builder("rev", array, dimensions=(0,))
        if isinstance(source, tuple):
            return self.builder("stack", *source, axis=0)
        return repeat(self.builder, self._now(source), count)

    def _source(self, source: Any) -> Operand:
        """Return an array that has lanes of a row in front."""
        if source in self.params:
            return self.params[source]
        if isinstance(source, Value):
            return self.batching.lanes(self.builder, source)
        array, axis = source
        return move_axis(self.builder, self._now(array), axis, 0)
