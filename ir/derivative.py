"""How an op is differentiated: one natural form, from which both modes follow.

- `Partials` for elementwise ops: the partial derivative of the result by each operand.
- `Linear` for ops that are linear in some operands: the transpose.
- `Rules` where neither fits: a pair of functions.
- `ZERO` for ops that are constant almost everywhere, `NOT_DIFFERENTIABLE` for the rest.

Every form answers two questions. ``vjp(builder, node, cotangents, wanted)`` gives the cotangents of
the operands, ``jvp(builder, node, tangents)`` the tangents of the results. ``node`` is the forward
node, whose operands and results may be used freely; None stands for a zero. ``wanted`` says which
operands' cotangents somebody uses, and the others may be left out; all are wanted without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from .builder import Builder
from .graph import Node
from .op import GraphError
from .types import Operand, Type, at

Cotangents = tuple[Operand | None, ...]
Wanted = Sequence[bool] | None


class Derivative(Protocol):
    """What every form of derivative can do."""

    def vjp(
        self, builder: Builder, node: Node, cotangents: Cotangents, wanted: Wanted = None
    ) -> Cotangents:
        """Build the cotangents of the operands, from those of the results."""
        ...

    def jvp(self, builder: Builder, node: Node, tangents: Cotangents) -> Cotangents:
        """Build the tangents of the results, from those of the operands."""
        ...


def unbroadcast(builder: Builder, cotangent: Operand, type: Type) -> Operand:
    """Sum a cotangent down to an operand that was broadcast implicitly (rank 0, axes of 1)."""
    shape = cotangent.type.shape
    if type.shape == shape:
        return cotangent
    if not type.shape:
        return builder("reduce_sum", cotangent, axes=tuple(range(len(shape))))
    axes = tuple(i for i, (n, m) in enumerate(zip(type.shape, shape, strict=True)) if n != m)
    total = builder("reduce_sum", cotangent, axes=axes)
    return builder("reshape", total, shape=type.shape)


def spread(builder: Builder, operand: Operand, type: Type) -> Operand:
    """Broadcast an operand of rank 0, or with axes of 1, to the shape of a type."""
    if operand.type.shape == type.shape:
        return operand
    dims = tuple(range(operand.type.rank))
    return builder("broadcast_in_dim", operand, shape=type.shape, dims=dims)


def add_all(builder: Builder, terms: Sequence[Operand | None]) -> Operand | None:
    """Sum the terms that are not zero."""
    total: Operand | None = None
    for term in terms:
        if term is not None:
            total = term if total is None else builder("add", total, term)
    return total


@dataclass(frozen=True, slots=True)
class Partials:
    """Elementwise: a rule gives one partial derivative for each operand.

    It is called as ``rule(builder, result, *operands, **attrs)``. A partial is an operand of the
    graph, or None where the derivative is zero.

    Examples
    --------
    >>> from brainir.ir import Builder, Partials, parse
    >>> square = Partials(lambda builder, result, x: [builder("add", x, x)])
    >>> graph = parse('''graph @f(%x: f32[3], %ct: f32[3]) -> (f32[3]) {
    ...   %y = square %x
    ...   return %y
    ... }''')
    >>> build, (x, ct) = Builder(), graph.params
    >>> print(build.graph([x, ct], square.vjp(build, graph.nodes[0], (ct,)), "backwards"))
    graph @backwards(%x: f32[3], %ct: f32[3]) -> (f32[3]) {
      %0 = add %x, %x : f32[3]
      %1 = mul %ct, %0 : f32[3]
      return %1
    }
    """

    rule: Callable[..., Sequence[Operand | None]]

    def _partials(self, builder: Builder, node: Node) -> Sequence[Operand | None]:
        return self.rule(builder, node.result, *node.operands, **node.attrs)

    def vjp(
        self, builder: Builder, node: Node, cotangents: Cotangents, wanted: Wanted = None
    ) -> Cotangents:
        """Multiply the cotangent by each partial."""
        (cotangent,) = cotangents
        if cotangent is None:
            return (None,) * len(node.operands)
        return tuple(
            None
            if partial is None or not operand.type.is_differentiable
            else unbroadcast(builder, builder("mul", cotangent, partial), operand.type)
            for operand, partial in zip(node.operands, self._partials(builder, node), strict=True)
        )

    def jvp(self, builder: Builder, node: Node, tangents: Cotangents) -> Cotangents:
        """Sum the products of partials and tangents."""
        if all(t is None for t in tangents):
            return (None,)
        terms = [
            None
            if tangent is None or partial is None
            else spread(builder, builder("mul", partial, tangent), node.result.type)
            for tangent, partial in zip(tangents, self._partials(builder, node), strict=True)
        ]
        return (add_all(builder, terms),)


@dataclass(frozen=True, slots=True)
class Linear:
    """Linear in the operands at ``positions`` (all of them if None).

    ``transpose(builder, cotangent, *operands, **attrs)`` gives the cotangent of every operand, None
    for those it is not linear in. ``jointly`` says whether the op is linear in them together (a
    sum, a concatenation) or in each while the others stand still (a contraction).

    Examples
    --------
    >>> from brainir.ir import Builder, Linear, parse
    >>> negated = Linear(lambda builder, cotangent, x: [builder("neg", cotangent)])
    >>> graph = parse('''graph @f(%x: f32[3], %ct: f32[3]) -> (f32[3]) {
    ...   %y = neg %x
    ...   return %y
    ... }''')
    >>> build, (x, ct) = Builder(), graph.params
    >>> print(build.graph([ct], negated.vjp(build, graph.nodes[0], (ct,)), "backwards"))
    graph @backwards(%ct: f32[3]) -> (f32[3]) {
      %0 = neg %ct : f32[3]
      return %0
    }
    """

    transpose: Callable[..., Sequence[Operand | None]]
    positions: tuple[int, ...] | None = None
    jointly: bool = True

    def vjp(
        self, builder: Builder, node: Node, cotangents: Cotangents, wanted: Wanted = None
    ) -> Cotangents:
        """Apply the transpose."""
        (cotangent,) = cotangents
        if cotangent is None:
            return (None,) * len(node.operands)
        return tuple(self.transpose(builder, cotangent, *node.operands, **node.attrs))

    def jvp(self, builder: Builder, node: Node, tangents: Cotangents) -> Cotangents:
        """Apply the op to the tangents."""
        positions = range(len(tangents)) if self.positions is None else self.positions
        live = [p for p in positions if tangents[p] is not None]
        if not live:
            return (None,)
        if not self.jointly:
            return (add_all(builder, [self._at(builder, node, tangents, [p]) for p in live]),)
        return (self._at(builder, node, tangents, list(positions)),)

    def _at(
        self, builder: Builder, node: Node, tangents: Cotangents, positions: list[int]
    ) -> Operand:
        operands = list(node.operands)
        for p in positions:
            tangent = tangents[p]
            operands[p] = builder.zeros(operands[p].type) if tangent is None else tangent
        (result,) = builder.emit(node.op, operands, node.attrs, loc=node.loc)
        return result


@dataclass(frozen=True, slots=True)
class Rules:
    """Both modes by hand.

    ``reverse(builder, node, cotangents)`` and ``forward(builder, node, tangents)`` are as `vjp` and
    `jvp`. A ``selective`` reverse takes ``wanted`` besides.

    Examples
    --------
    >>> from brainir.ir import Builder, Rules, parse
    >>> negated = Rules(
    ...     reverse=lambda builder, node, cotangents: [builder("neg", cotangents[0])],
    ...     forward=lambda builder, node, tangents: [builder("neg", tangents[0])],
    ... )
    >>> graph = parse('''graph @f(%x: f32[3], %ct: f32[3]) -> (f32[3]) {
    ...   %y = neg %x
    ...   return %y
    ... }''')
    >>> build, (x, ct) = Builder(), graph.params
    >>> (gradient,) = negated.vjp(build, graph.nodes[0], (ct,))
    >>> build.nodes[0].op, negated.vjp(build, graph.nodes[0], (None,))
    (<op neg>, (None,))
    """

    reverse: Callable[..., Sequence[Operand | None]]
    forward: Callable[[Builder, Node, Cotangents], Sequence[Operand | None]]
    selective: bool = False

    def vjp(
        self, builder: Builder, node: Node, cotangents: Cotangents, wanted: Wanted = None
    ) -> Cotangents:
        """Apply the reverse rule unless every cotangent is zero."""
        if all(c is None for c in cotangents):
            return (None,) * len(node.operands)
        if not self.selective:
            return tuple(self.reverse(builder, node, cotangents))
        every = (True,) * len(node.operands)
        return tuple(self.reverse(builder, node, cotangents, every if wanted is None else wanted))

    def jvp(self, builder: Builder, node: Node, tangents: Cotangents) -> Cotangents:
        """Apply the forward rule unless every tangent is zero."""
        if all(t is None for t in tangents):
            return (None,) * len(node.results)
        return tuple(self.forward(builder, node, tangents))


@dataclass(frozen=True, slots=True)
class Zero:
    """Constant almost everywhere: comparisons, rounding, integers, shapes of things."""

    def vjp(
        self, builder: Builder, node: Node, cotangents: Cotangents, wanted: Wanted = None
    ) -> Cotangents:
        """Return zeros."""
        return (None,) * len(node.operands)

    def jvp(self, builder: Builder, node: Node, tangents: Cotangents) -> Cotangents:
        """Return zeros."""
        return (None,) * len(node.results)


class NotDifferentiable(GraphError):
    """A derivative was asked of an op that has none.

    Examples
    --------
    >>> from brainir.ir import Builder, parse
    >>> graph = parse('''graph @f(%x: f32[], %y: f32[]) -> (f32[]) {
    ...   %z = nextafter %x, %y
    ...   return %z
    ... }''')
    >>> (node,) = graph.nodes
    >>> node.op.derivative.jvp(Builder(), node, graph.params)
    Traceback (most recent call last):
        ...
    brainir.ir.derivative.NotDifferentiable: nextafter has no derivative: it steps from ...
    """


@dataclass(frozen=True, slots=True)
class NOT_DIFFERENTIABLE:
    """A derivative that must not be asked for, and why.

    Raises
    ------
    NotDifferentiable
        By `vjp` and `jvp`, unless the derivative is zero because nothing depends on it.

    Examples
    --------
    >>> from brainir.ir import NOT_DIFFERENTIABLE, Builder, parse
    >>> graph = parse('''graph @f(%x: f32[3]) -> (f32[3]) {
    ...   %y = neg %x
    ...   return %y
    ... }''')
    >>> (node,), refused = graph.nodes, NOT_DIFFERENTIABLE("it measures")
    >>> refused.jvp(Builder(), node, (None,))
    (None,)
    >>> refused.jvp(Builder(), node, graph.params)
    Traceback (most recent call last):
        ...
    brainir.ir.derivative.NotDifferentiable: neg has no derivative: it measures
    """

    why: str

    def _refuse(self, node: Node) -> NotDifferentiable:
        return NotDifferentiable(f"{node.op.name} has no derivative{at(node.loc)}: {self.why}")

    def vjp(
        self, builder: Builder, node: Node, cotangents: Cotangents, wanted: Wanted = None
    ) -> Cotangents:
        """Refuse, unless nothing depends on it."""
        if all(c is None for c in cotangents):
            return (None,) * len(node.operands)
        raise self._refuse(node)

    def jvp(self, builder: Builder, node: Node, tangents: Cotangents) -> Cotangents:
        """Refuse, unless it depends on nothing."""
        if all(t is None for t in tangents):
            return (None,) * len(node.results)
        raise self._refuse(node)


ZERO = Zero()
"""The derivative of an op whose results do not change with its operands."""
