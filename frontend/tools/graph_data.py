"""Graphs as plain data, for other programs to read."""

from __future__ import annotations

from typing import Any

from ...ir import Graph, Loc, Node, Printer, StateVar, Type, node_cost
from ..export import source_line


def graph_data(graph: Graph) -> dict[str, Any]:
    """Return a graph as dicts, lists, strings and numbers, such as `json` writes.

    Values are called as in the text form. ``flops`` and ``bytes`` of a node are of one run of it,
    without its regions.

    Examples
    --------
    >>> from brainir.ir import parse
    >>> graph = parse("graph @twice(%x: f32[3]) -> (f32[3]) { %y = add %x, %x\\n return %y }")
    >>> graph_data(graph)["nodes"][0]["operands"]
    ['%x', '%x']
    """
    return _Describer(graph).run()


class _Describer:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._name = Printer(graph).operand

    def run(self) -> dict[str, Any]:
        graph = self._graph
        return {
            "name": graph.name,
            "params": self._typed(graph.params, graph.param_units),
            "states": [_state(state) for state in graph.states],
            "consts": self._typed([const.value for const in graph.consts]),
            "nodes": [self._node(node) for node in graph.nodes],
            "results": self._typed(graph.results, graph.result_units),
        }

    def _typed(self, operands: Any, units: Any = ()) -> list[dict[str, Any]]:
        units = units or (None,) * len(operands)
        return [
            {"value": self._name(operand), "type": str(operand.type), "unit": unit}
            for operand, unit in zip(operands, units, strict=True)
        ]

    def _node(self, node: Node) -> dict[str, Any]:
        cost = node_cost(node)
        return {
            "op": node.op.name,
            "operands": [self._name(operand) for operand in node.operands],
            "attrs": {name: _attribute(value) for name, value in node.attrs.items()},
            "results": self._typed(node.results),
            "regions": [self._region(region) for region in node.regions],
            "flops": cost.flops,
            "bytes": cost.bytes,
            "loc": _place(node.loc),
        }

    def _region(self, region: Graph) -> dict[str, Any]:
        return {
            "name": region.name,
            "params": self._typed(region.params),
            "nodes": [self._node(node) for node in region.nodes],
            "results": self._typed(region.results),
        }


def _state(state: StateVar) -> dict[str, Any]:
    types = [str(type) for type in state.types]
    return {"name": state.name, "types": types, "kind": state.kind, "unit": state.unit}


def _attribute(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_attribute(item) for item in value]
    if isinstance(value, StateVar):
        return f"@{value.name}"
    if isinstance(value, Type):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value) if isinstance(value, complex) else f"<{type(value).__name__}>"


def _place(loc: Loc | None) -> dict[str, Any] | None:
    if loc is None:
        return None
    return {
        "file": loc.file,
        "line": loc.line,
        "function": loc.function,
        "source": source_line(loc),
    }
