"""Packing states: what compiled functions keep in one array between their calls."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..ir import Graph, Node, Operand, StateVar, Value
from .dead_code import dead_code
from .lane_groups import Pack, merge_lanes
from .lane_plan import Cell
from .pack_alike import LARGEST, LEAST, is_small, there


@dataclass(frozen=True, slots=True)
class PackedStates:
    """A graph in which states are packed.

    Attributes
    ----------
    graph : Graph
        Its last states are packs, each of one array that has its members in front; before them
        come the states that are left, in the order that they had. So it is with its writes.
    packs : dict of StateVar to tuple of StateVar
        The members of each.

    Examples
    --------
    >>> from brainir.ir import parse
    >>> from brainir.passes import pack_states
    >>> graph = parse('''graph @step(%u: f32[], %v: f32[]) -> (f32[], f32[])
    ...   states(@u: f32[] hidden, @v: f32[] hidden)
    ...   writes(@u, @v) {
    ...   return %v, %u
    ... }''')
    >>> packed = pack_states(graph, least=2)
    >>> [[state.name for state in members] for members in packed.packs.values()]
    [['u', 'v']]
    """

    graph: Graph
    packs: dict[StateVar, tuple[StateVar, ...]]


def pack_states(
    graph: Graph,
    least: int = LEAST,
    largest: int = LARGEST,
    apart: Collection[StateVar] = (),
) -> PackedStates:
    """Give states that are small, and are computed alike, one array in place of many.

    Whoever calls the graph again and again, and keeps packs as they are between calls, hands over
    one array in place of many. This is no pass: the new graph takes and gives other arrays.

    Parameters
    ----------
    graph : Graph
        In which states have become arrays, see `purify`.
    least, largest : int
        As for `pack_alike`.
    apart : collection of StateVar
        Those that are to stand by themselves.

    Examples
    --------
    >>> from brainir.ir import parse
    >>> from brainir.passes import pack_states
    >>> graph = parse('''graph @step(%x: f32[], %u: f32[], %v: f32[]) -> (f32[], f32[])
    ...   states(@u: f32[] hidden, @v: f32[] hidden)
    ...   writes(@u, @v) {
    ...   %a = add %u, %x
    ...   %b = add %v, %x
    ...   return %a, %b
    ... }''')
    >>> print(pack_states(graph, least=2).graph)
    graph @step(%x: f32[], %u: f32[2]) -> (f32[2])
      states(@"u ...": f32[2] pack)
      writes(@"u ...") {
      %a = add %u, %x : f32[2]
      return %a
    }
    """
    entries = _arrays(graph.states, graph.params)
    ends = {state: place for place, state in _places(graph)}
    owners = {entries[s][0]: s for s in graph.states if _may_be_packed(s, largest, apart)}
    cells = [Cell(value, ends.get(state)) for value, state in owners.items()]
    nodes, results, packs = graph.nodes, [*graph.results], list[tuple[Pack, int]]()
    while least and (merged := merge_lanes(nodes, results, cells, least)):
        nodes, results = merged.nodes, [*merged.results]
        for pack in merged.packs:
            packs.append((pack, len(results)))
            results.append(pack.result)
        gone = {cell for pack in merged.packs for cell in pack.cells}
        cells = [cell for cell in cells if cell not in gone]
    return _assembled(graph, nodes, results, packs, owners) if packs else PackedStates(graph, {})


def _assembled(
    graph: Graph,
    nodes: Sequence[Node],
    results: Sequence[Operand | None],
    packs: Sequence[tuple[Pack, int]],
    owners: Mapping[Value, StateVar],
) -> PackedStates:
    """Return a graph of the nodes, with packs for their members."""
    members: dict[StateVar, tuple[StateVar, ...]] = {}
    params, written = list[Value](), dict[StateVar, Operand]()
    for pack, place in packs:
        inside = tuple(owners[there(cell.param)] for cell in pack.cells)
        param, result = there(pack.param), results[place]
        state = StateVar(f"{inside[0].name} ...", (param.type,), "pack", inside[0].unit)
        members[state] = inside
        params.append(param)
        if result is not None:
            written[state] = result
    gone = {state for inside in members.values() for state in inside}
    kept = tuple(state for state in graph.states if state not in gone)
    writes = tuple(state for state in graph.writes if state not in gone)
    entries = _arrays(graph.states, graph.params)
    args = len(graph.params) - sum(map(len, entries.values()))
    packed = graph.with_(
        params=(*graph.params[:args], *(x for s in kept for x in entries[s]), *params),
        nodes=tuple(nodes),
        results=(*(x for x in results[: len(graph.results)] if x is not None), *written.values()),
        states=(*kept, *members),
        writes=(*writes, *written),
        param_units=(),
        result_units=(),
    )
    return PackedStates(dead_code(packed), members)


def _may_be_packed(state: StateVar, largest: int, apart: Collection[StateVar]) -> bool:
    if len(state.types) != 1 or state.kind == "check" or state in apart:
        return False
    return is_small(state.types[0], largest)


def _arrays(states: Sequence[StateVar], arrays: Sequence[Value]) -> dict[StateVar, Sequence[Value]]:
    """Return the arrays of each state, which are the last ones."""
    found: dict[StateVar, Sequence[Value]] = {}
    stop = len(arrays)
    for state in reversed(states):
        start = stop - len(state.types)
        found[state] = arrays[start:stop]
        stop = start
    return found


def _places(graph: Graph) -> Iterator[tuple[int, StateVar]]:
    """Yield the number of the first result of each state that is written."""
    place = len(graph.results) - sum(len(state.types) for state in graph.writes)
    for state in graph.writes:
        yield place, state
        place += len(state.types)
