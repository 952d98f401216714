"""A graph as the page draws it: items in nested regions, edges between them, tracks of states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ....ir import (
    Effect,
    Graph,
    Loc,
    Node,
    Operand,
    Printer,
    StateVar,
    Value,
    node_cost,
    runs,
    walk,
)
from ...export import node_title, region_title
from .tracks import bound_operands, state_of, state_tracks

Item = dict[str, Any]


class Drawn:
    """One stage of one function, as plain data.

    Attributes
    ----------
    items : list of dict
        ``k`` kind (op, param, const, state, result), ``l`` label, ``r`` region; where it is known
        ``t`` types, ``f`` flops and ``b`` bytes of one run, ``x`` how often it runs if not once,
        ``c`` source location, ``n`` line of the text, ``s`` state, ``v`` what it gives, ``w`` the
        label of one with regions. Numbers that may be 0 count from 1.
    regions : list of dict
        ``p`` the region around it, ``o`` the item that owns it, ``l`` label. The first is all.
    edges : list of list
        From which item to which, the value, and the state whose track it is, or -1.
    """

    def __init__(
        self,
        graph: Graph,
        states: Mapping[str, int],
        place: Callable[[Loc | None], int],
    ) -> None:
        self.items: list[Item] = []
        self.regions: list[dict[str, Any]] = [{"p": -1, "o": -1, "l": graph.name}]
        self.edges: list[list[Any]] = []
        self.item_of: dict[Node, int] = {}
        printer = Printer(graph)
        self._name, self._line_of = printer.operand, printer.line_of
        self._place, self._numbers = place, states
        self._tracks = state_tracks(graph)
        self._runs = runs(graph)
        self._makers: dict[Value, int] = {}
        self._last: dict[tuple[int, StateVar], int] = {}
        self._inputs(graph)
        self._params(graph, 0, {})
        self._nodes(graph, 0)
        self._results(graph, 0, "return", {})
        self._outputs(graph)

    def data(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {"items": self.items, "regions": self.regions, "edges": self.edges}

    # --- parts ------------------------------------------------------------------------------------

    def _add(self, kind: str, label: str, region: int, **more: Any) -> int:
        kept = {name: value for name, value in more.items() if value not in (None, -1, 0, "")}
        self.items.append({"k": kind, "l": label, "r": region, **kept})
        return len(self.items) - 1

    def _edge(self, operand: Operand, end: int, state: StateVar | None = None) -> None:
        if isinstance(operand, Value) and operand in self._makers:
            number = self._number(state or self._tracks.get(operand))
            self.edges.append([self._makers[operand], end, self._name(operand), number])

    def _number(self, state: StateVar | None) -> int:
        return -1 if state is None else self._numbers.get(state.name, -1)

    def _inputs(self, graph: Graph) -> None:
        touched = {state_of(node) for node in walk(graph)}
        for state in graph.states:
            if state in touched:
                types = ", ".join(map(str, state.types))
                look = {"t": types, "s": self._number(state) + 1}
                self._last[0, state] = self._add("state", f"@{state.name}", 0, **look)
        for const in graph.consts:
            look = {"t": str(const.value.type)}
            self._makers[const.value] = self._add("const", self._name(const.value), 0, **look)

    def _params(self, graph: Graph, region: int, bound: Mapping[Value, Operand]) -> None:
        for param in graph.params:
            state = self._number(self._tracks.get(param)) + 1
            name = self._name(param)
            item = self._add("param", name, region, t=str(param.type), s=state)
            if param in bound:
                self._edge(bound[param], item, self._tracks.get(param))
            self._makers[param] = item

    def _nodes(self, graph: Graph, region: int) -> None:
        for node in graph.nodes:
            cost, state = node_cost(node), state_of(node)
            item = self._add(
                "op",
                node.op.name,
                region,
                t=", ".join(str(value.type) for value in node.results),
                f=cost.flops,
                b=cost.bytes,
                c=self._place(node.loc) + 1,
                n=self._line_of[node] + 1,
                s=self._number(state) + 1,
                v=", ".join(map(self._name, node.results)),
            )
            self.item_of[node] = item
            if self._runs[node] != 1:
                self.items[item]["x"] = self._runs[node]
            if node.regions:
                self.items[item]["w"] = node_title(node)
            if state is not None:
                self._touch(state, item, region)
            self._within(node, item, region)
            self._makers.update(dict.fromkeys(node.results, item))

    def _within(self, node: Node, item: int, region: int) -> None:
        """Add the regions of a node, and the edges into it that do not end in a region."""
        bound: dict[Operand, None] = {}
        for i, body in enumerate(node.regions):
            pairs = dict(bound_operands(node, i))
            bound.update(dict.fromkeys(pairs.values()))
            self.regions.append({"p": region, "o": item, "l": region_title(node, i)})
            inner = len(self.regions) - 1
            for state in _touched(body):
                self._touch(state, item, region)
            self._params(body, inner, pairs)
            self._nodes(body, inner)
            ends = dict(enumerate(node.results))
            self._results(body, inner, "yield", ends)
        written = state_of(node) if Effect.WRITE in node.op.effects else None
        for operand in node.operands:
            if operand not in bound:
                self._edge(operand, item, written)

    def _results(self, graph: Graph, region: int, word: str, outside: Mapping[int, Value]) -> None:
        for i, result in enumerate(graph.results):
            outer = outside.get(i)
            track = self._tracks.get(outer) if outer is not None else None
            if track is None and isinstance(result, Value):
                track = self._tracks.get(result)
            look = {"t": str(result.type), "s": self._number(track) + 1}
            label = f"{word} {i}" if track is None else f"{word} @{track.name}"
            self._edge(result, self._add("result", label, region, **look), track)

    def _touch(self, state: StateVar, item: int, region: int) -> None:
        """Continue the track of a state that is still read and written by name."""
        last = self._last.get((region, state))
        if last is not None and last != item:
            self.edges.append([last, item, f"@{state.name}", self._number(state)])
        self._last[region, state] = item

    def _outputs(self, graph: Graph) -> None:
        written = {state_of(node) for node in walk(graph) if Effect.WRITE in node.op.effects}
        for state in graph.states:
            if state in written:
                number = self._number(state)
                item = self._add("state", f"@{state.name} after", 0, s=number + 1)
                self._touch(state, item, 0)


def _touched(graph: Graph) -> dict[StateVar, None]:
    """Return the states that a region reads or writes by name, without those it creates."""
    found = {state_of(node): None for node in walk(graph)}
    created = {state_of(node) for node in walk(graph) if Effect.NEW in node.op.effects}
    return {state: None for state in found if state is not None and state not in created}
