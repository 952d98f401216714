"""Merging what is alike: one node over an axis of lanes in place of one node for each lane.

Where lanes enter, and where their results leave, they stand in one array, a *pack*. What is merged
is a plan, see `lane_plan`; how, is the rule for lanes that each op has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from ..ir import (
    Builder,
    Graph,
    Node,
    Operand,
    Value,
    mapped,
    move_axis,
    repeat,
    replay,
    replay_region,
)
from .alike import Row, given
from .batching import Batching
from .lane_dependence import lane_dependent
from .lane_plan import Around, Axis, Cell, Line, Piece, Plan, Seed, Source
from .lane_sums import sums_over_stacks
from .lanes import part, take

TERMS = 4
"""From so many alike terms on, a sum may be written as one over a stack."""


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
    merged = _merge(Line(nodes, results, cells, least, around))
    sums = sums_over_stacks(nodes, results, max(least, TERMS))
    if sums is None:
        return merged
    other = _merge(Line(sums.nodes, results, cells, least, around, sums.stacks))
    return other if _count(other) > _count(merged) else merged


def _count(merged: Merged | None) -> int:
    """Return how many results were packed."""
    return 0 if merged is None else sum(result is None for result in merged.results)


def _merge(line: Line) -> Merged | None:
    for seeds in (*line.alike(), []):  # at last, what only goes in
        skipped = set[Seed]()
        while True:
            gone = {cell for seed in skipped if not isinstance(seed, Node) for cell in seed}
            left = [seed for seed in seeds if gone.isdisjoint(seed)]
            plan = Plan(line, left, skipped)
            if not plan.failed:
                if any(plan.packs()):
                    return _Building(plan).merged()
                break
            skipped |= plan.failed
    return None


class _Building:
    """One replay of the nodes of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.builder = plan, Builder()
        self.mapping: dict[Value, Operand] = {}
        self.lanes: dict[Value, Operand] = {}
        self.batching = Batching(plan.size, set(), self.lanes)
        self.rows: dict[Row, Operand] = {}
        self.params: dict[tuple[Cell, ...], Value] = {}
        for cells in plan.packs():
            if (one := cells[0].param) is not None:
                self.params[cells] = Value(one.type.stacked(len(cells)), one.hint)
        self.around = {cells: plan.line.stacked_around(cells) for cells in plan.seen_around}

    def merged(self) -> Merged:
        """Build all nodes, and what stands for the results."""
        plan, builder = self.plan, self.builder
        assert plan.order is not None, "a plan that has not failed has an order"
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
            None if x is None or i in packed else self._now(x)
            for i, x in enumerate(plan.line.results)
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
                    array = self._source(cast(Source, origin.source))
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
                lane = Value(old.type, old.hint if isinstance(old, Value) else "")
                operands.append(lane)
                self.lanes[lane] = self._in_lanes(row)
                self.batching.dependent.add(lane)
            if isinstance(old, Value):
                stand_ins[old] = operands[-1]
        regions = tuple(replay_region(region, stand_ins) for region in first.regions)
        given_now = tuple(operands[: len(first.operands)])
        node = Node(first.op, given_now, first.attrs, regions, first.results, first.loc)
        one = Graph("", (), (node,), ())
        differing = [x for x in operands if x in self.lanes and isinstance(x, Value)]
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
        source, start, length, step = piece
        if start is not None:
            array, first = (
                self._source(cast(Source, source)),
                min(start, start + step * (length - 1)),
            )
            if (first, length) != (0, array.type.shape[0]):
                array = part(self.builder, array, first, first + length)
            return array if step > 0 else self.builder("rev", array, dimensions=(0,))
        if isinstance(source, tuple):  # literals
            return self.builder("stack", *cast(Row, source), axis=0)
        return repeat(self.builder, self._now(source), length)

    def _source(self, source: Source) -> Operand:
        """Return an array that has lanes of a row in front."""
        if isinstance(source, Value):
            return self.batching.lanes(self.builder, source)
        if isinstance(source, Axis):
            return move_axis(self.builder, self._now(source.array), source.axis, 0)
        return self.around[source] if source in self.around else self.params[source]
