"""Carries that are affine in themselves: what a step multiplies them with, and what it adds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..ir import Builder, Literal, Node, Operand, Type, Value
from .identities import simpler
from .known_values import KnownValues

Number = int | Operand
"""0, 1 or -1, or an operand: so nothing is built for what is not there."""


class Form(NamedTuple):
    """``factor * carry + term``."""

    factor: Number
    term: Number


class AffineForms:
    """Writes values of a step as forms of a carry.

    Parameters
    ----------
    carry : Value
        What the step is given of it.
    makers : mapping of Value to Node
        What makes values that depend on the carry; all others do not.

    Attributes
    ----------
    builder : Builder
        Gets the nodes that make factors and terms; none of them takes the carry.
    """

    def __init__(self, carry: Value, makers: Mapping[Value, Node]) -> None:
        self.builder = Builder()
        self._type, self._makers, self._known = carry.type, makers, KnownValues()
        self._forms: dict[Value, Form | None] = {carry: Form(1, 0)}
        self._rules: dict[str, Callable[..., Form | None]] = {
            "add": self._add,
            "sub": lambda x, y: self._add(x, self._neg(y)),
            "neg": self._neg,
            "mul": self._mul,
            "div": self._div,
            "copy": lambda x: x,
        }

    def form(self, operand: Operand) -> Form | None:
        """Return the form of an operand; None if it is not affine."""
        if isinstance(operand, Literal):
            return Form(0, operand)
        if operand not in self._forms:
            node = self._makers.get(operand)
            self._forms[operand] = Form(0, operand) if node is None else self._of(node)
        return self._forms[operand]

    def _of(self, node: Node) -> Form | None:
        if len(node.results) != 1 or node.result.type != self._type:
            return None
        forms = [self.form(operand) for operand in node.operands]
        if node.op.name == "select_n":
            return self._select(node.operands[0], forms)
        rule = self._rules.get(node.op.name)
        if rule is None or None in forms:
            return None
        self.builder.loc = node.loc
        return rule(*forms)

    # --- rules for ops ----------------------------------------------------------------------------

    def _add(self, x: Form, y: Form) -> Form:
        return Form(self._sum(x.factor, y.factor), self._sum(x.term, y.term))

    def _neg(self, x: Form) -> Form:
        return Form(self._product(-1, x.factor), self._product(-1, x.term))

    def _mul(self, x: Form, y: Form) -> Form | None:
        if x.factor != 0:
            x, y = y, x
        if x.factor != 0:
            return None
        return Form(self._product(x.term, y.factor), self._product(x.term, y.term))

    def _div(self, x: Form, y: Form) -> Form | None:
        if y.factor != 0 or not (self._type.is_float or self._type.is_complex):
            return None
        return Form(*(self._quotient(part, y.term) for part in x))

    def _select(self, which: Operand, forms: list[Form | None]) -> Form | None:
        asked, cases = forms[0], forms[1:]
        if asked is None or asked.factor != 0 or None in cases:
            return None
        parts: list[Number] = []
        for column in zip(*(case for case in cases if case is not None), strict=True):
            same = all(part == column[0] for part in column)
            arrays = [self._full(part) for part in column]
            parts.append(column[0] if same else self.builder("select_n", which, *arrays))
        return Form(*parts)

    # --- numbers ----------------------------------------------------------------------------------

    def operand(self, number: Number) -> Operand:
        """Return a number as an operand."""
        if isinstance(number, int):
            return Literal(_scalar(number, self._type), Type(self._type.dtype))
        return number

    def _full(self, number: Number) -> Operand:
        operand = self.operand(number)
        if operand.type.shape == self._type.shape:
            return operand
        return self.builder("broadcast_in_dim", operand, shape=self._type.shape, dims=())

    def _sum(self, x: Number, y: Number) -> Number:
        if isinstance(x, int) and x == 0:
            return y
        if isinstance(y, int) and y == 0:
            return x
        return self._built("add", x, y)

    def _product(self, x: Number, y: Number) -> Number:
        for one, other in ((x, y), (y, x)):
            if isinstance(one, int) and one == 0:
                return 0
            if isinstance(one, int) and one == 1:
                return other
        return self._built("mul", x, y)

    def _quotient(self, x: Number, y: Number) -> Number:
        if isinstance(x, int) and x == 0:
            return 0
        return self._built("div", x, y)

    def _built(self, op: str, *numbers: Number) -> Operand:
        """Build an op, or return the number that it gives."""
        operands, trial = [self.operand(number) for number in numbers], Builder()
        result = trial(op, *operands)
        found = simpler(self.builder, self._known, trial.nodes[0], operands)
        if found is not None:
            return found
        self.builder.extend(trial.nodes)
        return result


def _scalar(number: int, type: Type) -> complex | float | int:
    if type.is_complex:
        return complex(number)
    return float(number) if type.is_float else number
