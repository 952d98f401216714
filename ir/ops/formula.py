"""Derivative rules as formulas: arithmetic on operands that builds nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..builder import Builder
from ..derivative import Partials
from ..types import Literal, Operand, Scalar, Type


def constant(like: Operand, value: Scalar) -> Literal:
    """Return a rank-0 literal of the dtype of an operand."""
    return Literal(complex(value) if like.type.is_complex else value, Type(like.type.dtype))


@dataclass(frozen=True, slots=True)
class Term:
    """An operand whose arithmetic builds nodes; plain numbers become literals of its dtype."""

    builder: Builder
    operand: Operand

    def apply(self, op: str, *others: Term | Scalar, **attrs: Any) -> Term:
        """Build an op on this term and others."""
        terms = [t if isinstance(t, Term) else self.number(t) for t in (self, *others)]
        return Term(self.builder, self.builder(op, *(t.operand for t in terms), **attrs))

    def number(self, value: Scalar) -> Term:
        """Return a number of the dtype of this term."""
        return Term(self.builder, constant(self.operand, value))

    def where(self, comparison: str, other: Term | Scalar) -> Term:
        """Return one where a comparison with another term holds, and zero elsewhere."""
        holds = self.apply(comparison, other)
        return holds.apply("convert_element_type", new_dtype=self.operand.type.dtype)

    def __add__(self, other: Term | Scalar) -> Term:
        return self.apply("add", other)

    def __radd__(self, other: Scalar) -> Term:
        return self.apply("add", other)

    def __sub__(self, other: Term | Scalar) -> Term:
        return self.apply("sub", other)

    def __rsub__(self, other: Scalar) -> Term:
        return self.number(other).apply("sub", self)

    def __mul__(self, other: Term | Scalar) -> Term:
        return self.apply("mul", other)

    def __rmul__(self, other: Scalar) -> Term:
        return self.apply("mul", other)

    def __truediv__(self, other: Term | Scalar) -> Term:
        return self.apply("div", other)

    def __rtruediv__(self, other: Scalar) -> Term:
        return self.number(other).apply("div", self)

    def __neg__(self) -> Term:
        return self.apply("neg")


Partial = Term | Scalar | None


def partials(formula: Callable[..., Partial | tuple[Partial, ...]]) -> Partials:
    """Return a derivative from a formula of the partial derivatives.

    ``formula(result, *operands, **attrs)`` works on terms and gives one partial for each operand:
    a term, a number, or None for zero. For one operand it need not be a tuple.
    """

    def rule(
        builder: Builder, result: Operand, *operands: Operand, **attrs: Any
    ) -> tuple[Operand | None, ...]:
        given = formula(*(Term(builder, operand) for operand in (result, *operands)), **attrs)
        return tuple(
            partial.operand
            if isinstance(partial, Term)
            else None
            if partial is None
            else constant(result, partial)
            for partial in (given if isinstance(given, tuple) else (given,))
        )

    return Partials(rule)
