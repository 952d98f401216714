"""Reverse mode: a walk back over the nodes of a region, with the cotangents of its values.

The walk reads the forward nodes and builds nodes that refer to forward values. Where both end up in
one scope nothing else is to be done. A region that runs many times, or perhaps not, hands what its
reverse needs over as residuals: a `Reversal` of such a node replaces the forward node by one that
yields more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from ..ir import Builder, GraphError, Node, NotDifferentiable, Operand, Value, at

Cotangents = Sequence[Operand | None]

Reversal = Callable[["Reverse", Node, Cotangents], Sequence[Node]]
"""``reversal(reverse, node, cotangents)`` builds the reverse of a node with regions, some of whose
results have cotangents, and returns the forward nodes to run in its place."""


class Reverse:
    """The reverse of one region, as far as it is built.

    Attributes
    ----------
    active : set of Value
        The values whose cotangents are wanted; see `active_values`.
    reversals : mapping of str to Reversal
        How nodes with regions are reversed, by the names of their ops.
    builder : Builder
        Gets the nodes of the reverse.
    cotangents : dict of Value to Operand
        What has come together so far, None being left out.
    """

    def __init__(
        self,
        active: AbstractSet[Value],
        reversals: Mapping[str, Reversal],
        builder: Builder | None = None,
    ) -> None:
        self.active, self.reversals = active, reversals
        self.builder = Builder() if builder is None else builder
        self.cotangents: dict[Value, Operand] = {}

    def inner(
        self, active: AbstractSet[Value] | None = None, builder: Builder | None = None
    ) -> Reverse:
        """Return a new reverse with the same rules, for a region inside this one."""
        return Reverse(self.active if active is None else active, self.reversals, builder)

    def add(self, operand: Operand, cotangent: Operand | None) -> None:
        """Add to the cotangent of an operand, if it is active."""
        if cotangent is None or not isinstance(operand, Value) or operand not in self.active:
            return
        if cotangent.type != operand.type:
            raise GraphError(f"a cotangent of {operand.type} has the type {cotangent.type}")
        present = self.cotangents.get(operand)
        self.cotangents[operand] = (
            cotangent if present is None else self.builder("add", present, cotangent)
        )

    def add_all(self, operands: Sequence[Operand], cotangents: Cotangents) -> None:
        """Add to the cotangents of operands."""
        for operand, cotangent in zip(operands, cotangents, strict=True):
            self.add(operand, cotangent)

    def take(self, operand: Operand) -> Operand | None:
        """Return what a cotangent has come to, and forget it."""
        return self.cotangents.pop(operand, None) if isinstance(operand, Value) else None

    def take_or_zeros(self, value: Value) -> Operand:
        """Return what a cotangent has come to, and forget it; zeros if nothing came."""
        cotangent = self.take(value)
        return self.builder.zeros(value.type) if cotangent is None else cotangent

    def walk(self, nodes: Sequence[Node]) -> list[Node]:
        """Build the reverse of nodes, and return the forward nodes to run in their place."""
        forward: list[Sequence[Node]] = []
        for node in reversed(nodes):
            self.builder.loc = node.loc
            cotangents = tuple(self.take(result) for result in node.results)
            if all(c is None for c in cotangents):
                forward.append([node])
            elif node.op.has_regions:
                forward.append(self._reversal(node)(self, node, cotangents))
            else:
                rule = node.op.derivative
                assert rule is not None
                wanted = [operand in self.active for operand in node.operands]
                self.add_all(node.operands, rule.vjp(self.builder, node, cotangents, wanted))
                forward.append([node])
        return [node for piece in reversed(forward) for node in piece]

    def _reversal(self, node: Node) -> Reversal:
        if node.op.name not in self.reversals:
            raise NotDifferentiable(
                f"{node.op.name}{at(node.loc)} has no rule for reverse mode: expand it before the "
                "derivative, or give it a rule in brainir/passes/expand_grad.py"
            )
        return self.reversals[node.op.name]
