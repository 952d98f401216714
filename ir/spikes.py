"""Which values are zeros and ones that a comparison made: spikes, of which most are zeros."""

from __future__ import annotations

from .graph import Graph, Node, walk
from .types import Operand, Value
from .views import Loop

_LAYOUTS = ("reshape", "squeeze", "expand_dims", "broadcast_in_dim", "transpose", "copy")


def spikes(graph: Graph) -> set[Value]:
    """Return the values of a graph, at any depth, that comparisons made into numbers.

    What a loop carries counts if each step makes it so; its initial value may be another.

    Examples
    --------
    >>> from brainir.ir import parse, spikes
    >>> graph = parse('''graph @f(%V: f32[8]) -> (f32[8]) {
    ...   %fired = gt %V, 1.0:f32
    ...   %s = convert_element_type %fired {new_dtype=f32}
    ...   return %s
    ... }''')
    >>> [value.hint for value in spikes(graph)]
    ['s']
    """
    found: set[Value] = set()
    nodes, before = list(walk(graph)), -1
    while len(found) != before:
        before = len(found)
        for node in nodes:
            found.update(_made(node, found))
    return found


def _made(node: Node, found: set[Value]) -> list[Value]:
    if node.op.name == "for_loop":
        return [
            value
            for carry in Loop.of(node).carries
            if _is_in(carry.next, found)
            for value in (carry.param, carry.last)
            if value is not None
        ]
    if node.op.name == "convert_element_type" and node.operands[0].type.dtype == "bool":
        return list(node.results)
    laid_out = node.op.name in _LAYOUTS and _is_in(node.operands[0], found)
    return list(node.results) if laid_out else []


def _is_in(operand: Operand, found: set[Value]) -> bool:
    return isinstance(operand, Value) and operand in found
