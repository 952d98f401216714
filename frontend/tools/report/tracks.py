"""Which values of a graph hold a state: its track from where it is read to where it is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ....ir import Effect, Graph, Node, Operand, StateVar, Value, walk


@dataclass(frozen=True, slots=True)
class Interface:
    """Which states' leaves the last parameters and the last results of a pure graph are."""

    entering: tuple[StateVar, ...] = ()
    leaving: tuple[StateVar, ...] = ()


def state_of(node: Node) -> StateVar | None:
    """Return the state that a node reads, writes or creates, if it does."""
    state = node.attrs.get("state")
    return state if isinstance(state, StateVar) else None


def state_tracks(graph: Graph, interface: Interface) -> dict[Value, StateVar]:
    """Return what holds a state: what is read, what loops carry of it, and what is written."""
    tracks = _Tracks(graph)
    for value, state in _ends(graph.params, interface.entering):
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
    for value, state in _ends(graph.results, interface.leaving):
        tracks.mark(value, state)
    return tracks.found


def bound_operands(node: Node, region: Graph) -> Iterator[tuple[Value, Operand]]:
    """Yield the parameters of a region with the operands that they are bound to."""
    count = len(region.params)
    if count <= len(node.operands):
        yield from zip(region.params, node.operands[len(node.operands) - count :], strict=True)


def carried_count(node: Node) -> int:
    """Return how many of a loop's first operands go from step to step."""
    if node.op.name == "while":
        return len(node.results)
    carries = node.attrs.get("carries", 0)
    return carries if isinstance(carries, int) else 0


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

    def join(one: Operand, other: Operand) -> None:
        if isinstance(one, Value) and isinstance(other, Value):
            same.setdefault(one, []).append(other)
            same.setdefault(other, []).append(one)

    for node in walk(graph):
        carries = carried_count(node)
        for region in node.regions:
            for param, operand in list(bound_operands(node, region))[: carries or None]:
                if isinstance(operand, Value):
                    same.setdefault(operand, []).append(param)
        if carries:
            body = node.regions[-1]
            joined = zip(body.params, body.results, node.results, strict=False)
            for param, end, result in list(joined)[:carries]:
                join(param, end)
                join(end, result)
        elif node.op.name == "cond":
            for region in node.regions:
                for end, result in zip(region.results, node.results, strict=False):
                    join(end, result)
    return same
