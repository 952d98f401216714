"""What is known of the values of a graph while it is built: which nodes they come from."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ..ir import Literal, Node, Operand, Value

_NO_MINUS_0 = frozenset(("abs", "exp", "exp2", "iota", "logistic", "square"))
"""Ops that never give a zero with a minus sign."""

_MOVES = frozenset(
    [
        *("broadcast_in_dim", "copy", "expand_dims", "reshape", "rev", "select_n", "slice"),
        *("squeeze", "stop_gradient", "transpose"),
    ]
)
"""Ops that give nothing but elements of their operands."""

DEPTH = 8
"""How many nodes back one looks for the sign of a zero."""


class KnownValues:
    """Remembers which node every new value comes from."""

    def __init__(self) -> None:
        self._nodes: dict[Value, Node] = {}

    def learn(self, nodes: Iterable[Node]) -> None:
        """Remember the results of nodes."""
        for node in nodes:
            for result in node.results:
                self._nodes[result] = node

    def node(self, operand: Operand, *ops: str) -> Node | None:
        """Return the node that an operand comes from, if it is of one of those ops."""
        node = self._nodes.get(operand) if isinstance(operand, Value) else None
        return node if node is not None and node.op.name in ops else None

    def constant(self, operand: Operand) -> Literal | None:
        """Return the literal that every element of an operand equals, if there is one."""
        if isinstance(operand, Literal):
            return operand
        node = self.node(operand, "broadcast_in_dim")
        if node is not None and isinstance(node.operands[0], Literal):
            return node.operands[0]
        return None

    def equals(self, operand: Operand, number: float) -> bool:
        """Whether every element is that real number, and has its sign if it is a zero."""
        literal = self.constant(operand)
        if literal is None or isinstance(literal.value, complex):
            return False
        if literal.type.is_float and math.copysign(1, literal.value) != math.copysign(1, number):
            return False
        return literal.value == number

    def may_be_minus_0(self, operand: Operand, depth: int = DEPTH) -> bool:
        """Whether an element may be a zero with a minus sign, for all that is known."""
        if not (operand.type.is_float or operand.type.is_complex):
            return False
        if isinstance(operand, Literal):
            return isinstance(operand.value, complex) or str(operand.value) == "-0.0"
        node = self._nodes.get(operand)
        if node is None or depth == 0 or operand.type.is_complex:
            return True
        if node.op.name in _NO_MINUS_0:
            return False
        if node.op.name == "convert_element_type":
            return self.may_be_minus_0(node.operands[0], depth - 1)
        return node.op.name not in _MOVES or any(
            self.may_be_minus_0(operand, depth - 1) for operand in node.operands
        )
