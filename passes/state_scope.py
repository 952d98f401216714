"""What every state holds while a graph is replayed without state ops."""

from __future__ import annotations

from collections.abc import Iterable

from ..ir import Builder, GraphError, Loc, Operand, StateVar, at

Leaves = tuple[Operand, ...]


class StateScope:
    """What states hold at one point of a region.

    What a scope does not know it asks the scope around it; what is written in it stays in it.
    """

    def __init__(self, around: StateScope) -> None:
        self.around = around
        self.values: dict[StateVar, Leaves] = {}

    def read(self, state: StateVar, loc: Loc | None = None) -> Leaves:
        """Return the present value of a state, one operand for each of its leaves."""
        if state not in self.values:
            return self.around.read(state, loc)
        return self.values[state]


class EntryScope(StateScope):
    """The scope of the whole graph: a state is read, at the start, when it is first asked for."""

    def __init__(self, states: Iterable[StateVar]) -> None:
        super().__init__(self)
        self.reads, self.states = Builder(), set(states)

    def read(self, state: StateVar, loc: Loc | None = None) -> Leaves:
        """Return the present value of a state.

        Raises
        ------
        GraphError
            If the graph has no such state.
        """
        if state not in self.values:
            if state not in self.states:
                raise GraphError(f"state @{state.name} is touched{at(loc)}, where it has no value")
            hints = [state.hint] * len(state.types)
            attrs = {"state": state}
            self.values[state] = self.reads.emit("state.read", (), attrs, loc=loc, hints=hints)
        return self.values[state]
