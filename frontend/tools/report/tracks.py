"""Which values of a graph hold a state: its track from where it is read to where it is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ....ir import (
    Effect,
    Graph,
    Node,
    Operand,
    StateVar,
    Strand,
    Value,
    source,
    sources,
    target,
    targets,
    walk,
)

_ON_STATE = {Effect.READ, Effect.WRITE, Effect.NEW}


def state_of(node: Node) -> StateVar | None:
    """Return the state that a node reads, writes or creates, if it does."""
    state = node.attrs.get("state")
    return state if isinstance(state, StateVar) else None


def entering_states(graph: Graph) -> tuple[StateVar, ...]:
    """Return the states whose leaves the last parameters of a graph are; none before `purify`."""
    touched = any(node.op.effects & _ON_STATE for node in walk(graph))
    return () if touched else graph.states


def state_tracks(graph: Graph) -> dict[Value, StateVar]:
    """Return what holds a state: what is read, what loops carry of it, and what is written."""
    tracks = _Tracks(graph)
    for value, state in _ends(graph.params, entering_states(graph)):
        tracks.mark(value, state)
    for node in walk(graph):
        state = state_of(node)
        if state is not None and Effect.READ in node.op.effects:
            for value in node.results:
                tracks.mark(value, state)
    for node in walk(graph):
        state = state_of(node)
        if state is not None and Effect.WRITE in node.op.effects:
            for value in node.operands:
                tracks.mark(value, state)
    for value, state in _ends(graph.results, graph.writes):
        tracks.mark(value, state)
    return tracks.found


def bound_operands(node: Node, region: int) -> Iterator[tuple[Value, Operand]]:
    """Yield the parameters of one of a node's regions with the operands that enter by them."""
    for strand in strands_of(node):
        outside = [place for place in strand.sources if place.region is None]
        for place in strand.targets:
            if place.region == region and outside:
                yield target(node, place), source(node, outside[0])


def carried_results(node: Node) -> list[Value]:
    """Return the results of a node that went from step to step."""
    places = (p for strand in strands_of(node) if strand.goes_round for p in strand.targets)
    return [target(node, place) for place in places if place.region is None]


def strands_of(node: Node) -> Sequence[Strand]:
    """Return all strands of a node, none if it has no regions."""
    return node.op.wiring(node).strands if node.op.wiring is not None else ()


def _ends(
    operands: Sequence[Operand], states: Sequence[StateVar]
) -> Iterator[tuple[Operand, StateVar]]:
    """Yield the last operands with the states that they are leaves of."""
    leaves = [state for state in states for _ in state.types]
    yield from zip(operands[len(operands) - len(leaves) :], leaves, strict=True)


class _Tracks:
    def __init__(self, graph: Graph) -> None:
        self.found: dict[Value, StateVar] = {}
        self._same = _same_values(graph)

    def mark(self, operand: Operand, state: StateVar) -> None:
        """Mark a value, and all that is the same value at other steps or in other regions."""
        stack = [operand]
        while stack:
            value = stack.pop()
            if isinstance(value, Value) and value not in self.found:
                self.found[value] = state
                stack.extend(self._same.get(value, ()))


def _same_values(graph: Graph) -> Mapping[Value, Sequence[Value]]:
    """Return where values go at the edges of regions: into them, and back through their results."""
    same: dict[Value, list[Value]] = {}
    for node in walk(graph):
        for strand in strands_of(node):
            if not strand.whole:
                continue
            ends = targets(node, strand.targets)
            # What comes in from outside need not be what comes in later, or goes out.
            inside = [p for p in strand.sources if p.region is not None]
            together = [v for v in (*sources(node, inside), *ends) if isinstance(v, Value)]
            if inside:
                for value in together:
                    same.setdefault(value, []).extend(together)
            for operand in sources(node, [p for p in strand.sources if p.region is None]):
                if isinstance(operand, Value):
                    same.setdefault(operand, []).extend(ends)
    return same
