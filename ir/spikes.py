"""Which values are spikes: zeros where a test does not hold, as most of them are expected to be.

That is what a comparison made into numbers, or a choice between zero and other numbers; a part of
it, laid out in any way; and products with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from .graph import Graph, Node, walk
from .types import Literal, Operand, Value
from .views import Loop

_LAYOUTS = (
    *("reshape", "squeeze", "expand_dims", "broadcast_in_dim", "transpose", "copy", "rev"),
    *("slice", "dynamic_slice", "gather", "split", "convert_element_type"),
)
"""What gives some elements of its first operand, or all."""

Makers = Mapping[Operand, Node]

_UPDATES = {"dynamic_update_slice": 1, "scatter": 2}
"""What writes into its first operand, and which operand it writes."""


def spikes(graph: Graph) -> set[Value]:
    """Return the numbers of a graph, at any depth, that are spikes; booleans are so anyway.

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
    nodes = list(walk(graph))
    made: Makers = {result: node for node in nodes for result in node.results}
    found, before = set[Value](), -1
    while len(found) != before:
        before = len(found)
        for node in nodes:
            found.update(_made(node, found, made))
    return found


def is_spikes(operand: Operand, found: Set[Value]) -> bool:
    """Return whether an operand is spikes, given the numbers that are.

    Examples
    --------
    >>> from brainir.ir import Type, Value, is_spikes
    >>> is_spikes(Value(Type("bool", (8,))), set()), is_spikes(Value(Type("float32")), set())
    (True, False)
    """
    return operand.type.dtype == "bool" or operand in found


def _made(node: Node, found: set[Value], made: Makers) -> list[Value]:
    """Return those of a node's results that are spikes if the values found are."""
    name, operands = node.op.name, node.operands
    if name == "for_loop":
        return [
            value
            for carry in Loop.of(node).carries
            if is_spikes(carry.next, found)
            for value in (carry.param, carry.last)
            if value is not None
        ]
    return list(node.results) if _is_made(node, name, operands, found, made) else []


def _is_made(
    node: Node, name: str, operands: tuple[Operand, ...], found: set[Value], made: Makers
) -> bool:
    if name in _LAYOUTS:
        return is_spikes(operands[0], found)
    if name in _UPDATES:
        # Of a buffer that goes from step to step, all is written some time.
        written = is_spikes(operands[_UPDATES[name]], found)
        return written and (operands[0] not in made or is_spikes(operands[0], found))
    if name == "concatenate":
        return all(is_spikes(operand, found) for operand in operands)
    if name == "mul":
        shape = node.result.type.shape
        return any(is_spikes(o, found) and o.type.shape == shape for o in operands)
    if name == "select_n":
        choices = operands[1:]
        zeros = [is_spikes(o, found) or _is_zero(o, made) for o in choices]
        known = (zero or _is_known(o, made) for zero, o in zip(zeros, choices, strict=True))
        return any(zeros) and all(known)
    return False


def _is_zero(operand: Operand, made: Makers) -> bool:
    node = made.get(operand)
    if node is not None and node.op.name == "broadcast_in_dim":
        return _is_zero(node.operands[0], made)
    return isinstance(operand, Literal) and operand.value == 0


def _is_known(operand: Operand, made: Makers) -> bool:
    """Return whether all elements are numbers that are known, or nan."""
    node = made.get(operand)
    if node is None:
        return isinstance(operand, Literal)
    if node.op.name == "broadcast_in_dim":
        return _is_known(node.operands[0], made)
    if node.op.name != "select_n":
        return False
    test, *choices = node.operands
    is_nan = _compared_with_itself(test, made)
    return all(_is_known(o, made) or (i == 1 and o == is_nan) for i, o in enumerate(choices))


def _compared_with_itself(test: Operand, made: Makers) -> Operand | None:
    """Return what a test says to be nan, if it does that."""
    node = made.get(test)
    if node is None or node.op.name != "ne" or node.operands[0] != node.operands[1]:
        return None
    return node.operands[0]
