"""Reverse mode of loops.

A `for_loop` becomes a forward loop that also yields residuals, and a loop in the other direction.
The carries of that one are the cotangents of the carries, and sums that collect the cotangents of
captured values; it runs over the cotangents of the yields and the residuals, and yields the
cotangents of the slices.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import (
    Builder,
    Graph,
    Node,
    Operand,
    Value,
    mapped,
)
from .errors import ReverseOfWhile
from .loop_residuals import HandOver, Step
from .reverse import Cotangents, Reverse
from .surgery import live_nodes, outside_values, rename


def refuse_while(reverse: Reverse, node: Node, cotangents: Cotangents) -> list[Node]:
    """Refuse to reverse a `while`."""
    raise ReverseOfWhile(node.loc)


def reverse_for_loop(reverse: Reverse, node: Node, cotangents: Cotangents) -> list[Node]:
    """Reverse a `for_loop`, as the module describes."""
    (body,) = node.regions
    step = _ReverseStep(reverse, node, body, cotangents)
    backward = live_nodes(step.inner.builder.nodes, step.results)
    forward = Step(node, body, step.forward)
    over = HandOver(forward, reverse.builder, outside_values(backward, step.results))

    zeros = [reverse.builder.zeros(total.type) for total in step.sums]
    params = (*step.carried, *step.sums, *over.held, *step.slices, *over.slices)
    operands = (*step.starts, *zeros, *over.ends, *step.arrays, *over.arrays)
    results = mapped(step.results, over.now)
    split, carries = len(step.starts) + len(zeros), len(over.held)
    region = Graph(
        "",
        params,
        (*over.nodes, *rename(backward, over.now)),
        (*results[:split], *over.next, *results[split:]),
    )
    attrs = {**node.attrs, "carries": split + carries, "reverse": not node.attrs["reverse"]}
    gradients = reverse.builder.emit(node.op, operands, attrs, [region])
    reverse.add_all(step.targets, (*gradients[:split], *gradients[split + carries :]))
    return over.forward()


class _ReverseStep:
    """The reverse of one step: what it takes, what it gives back, and for whom.

    Attributes
    ----------
    carried, sums, slices : list of Value
        Its parameters: cotangents of carries, of captured values so far, of what the step yields.
    starts, arrays : list of Operand
        What the first of these start from, and what the last are slices of.
    results, targets : list of Operand
        Cotangents of carries, captured values and slices of the loop's input; and of what they
        are the cotangents once the loop has run.
    forward : list of Node
        The nodes of the forward step.
    """

    def __init__(self, outer: Reverse, node: Node, body: Graph, cotangents: Cotangents) -> None:
        self.inner, self.count = outer.inner(), node.attrs["carries"]
        self.carried: list[Value] = []
        self.slices: list[Value] = []
        self.starts: list[Operand] = []
        self.arrays: list[Operand] = []
        carries = [i for i in range(self.count) if body.params[i] in outer.active]
        self._seed(outer, body, carries, cotangents)
        self.forward = self.inner.walk(body.nodes)

        leaving = [self.inner.take_or_zeros(body.params[i]) for i in carries]
        pairs = zip(body.params[self.count :], node.operands[self.count :], strict=True)
        over = [(self.inner.take(param), array) for param, array in pairs]
        over = [(cotangent, array) for cotangent, array in over if cotangent is not None]
        captured = self.inner.cotangents
        self.sums = [Value(value.type) for value in captured]
        totals = map(self.inner.builder, ["add"] * len(captured), self.sums, captured.values())
        self.results: list[Operand] = [*leaving, *totals, *(c for c, _ in over)]
        self.targets: list[Operand] = [
            *(node.operands[i] for i in carries),
            *captured,
            *(array for _, array in over),
        ]

    def _seed(
        self, outer: Reverse, body: Graph, carries: Sequence[int], cotangents: Cotangents
    ) -> None:
        for i in carries:
            cotangent = cotangents[i]
            carry = Value(body.params[i].type)
            self.carried.append(carry)
            self.starts.append(outer.builder.zeros(carry.type) if cotangent is None else cotangent)
            self.inner.add(body.results[i], carry)
        for result, cotangent in zip(
            body.results[self.count :], cotangents[self.count :], strict=True
        ):
            if cotangent is None:
                continue
            same = _same_for_all_steps(outer.builder, self.inner.builder, cotangent)
            if same is None:
                same = Value(result.type)
                self.slices.append(same)
                self.arrays.append(cotangent)
            self.inner.add(result, same)


def _same_for_all_steps(outer: Builder, inner: Builder, array: Operand) -> Operand | None:
    """Return what every slice of an array is, if it is known to be one; as in the sum over a loop.

    So the array need not be made, and read slice by slice.
    """
    for node in reversed(outer.nodes):
        if array in node.results:
            dims, shape = node.attrs.get("dims"), array.type.shape
            if node.op.name != "broadcast_in_dim" or dims is None or 0 in dims:
                return None
            operand = node.operands[0]
            if operand.type.shape == shape[1:]:
                return operand
            shifted = tuple(d - 1 for d in dims)
            return inner("broadcast_in_dim", operand, shape=shape[1:], dims=shifted)
    return None
