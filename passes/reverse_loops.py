"""Reverse mode of loops.

A `for_loop` becomes a forward loop that also yields residuals, and a loop in the other direction.
The carries of that one are the cotangents of the carries, and sums that collect the cotangents of
captured values; it runs over the cotangents of the yields and the residuals, and yields the
cotangents of the slices.
"""

from __future__ import annotations

from ..ir import Builder, Carry, Loop, Node, Operand, Slice, Stack, Value, mapped
from .errors import ReverseOfWhile
from .loop_residuals import ForwardStep, LoopResiduals
from .reverse import Cotangents, Reverse
from .splicing import live_nodes, outside_values, rename


def refuse_while(reverse: Reverse, node: Node, cotangents: Cotangents) -> list[Node]:
    """Refuse to reverse a `while`."""
    raise ReverseOfWhile(node.loc)


def reverse_for_loop(reverse: Reverse, node: Node, cotangents: Cotangents) -> list[Node]:
    """Reverse a `for_loop`, as the module describes."""
    loop = Loop.of(node)
    step = _ReverseStep(reverse, loop, cotangents)
    results = step.results
    backward = live_nodes(step.inner.builder.nodes, results)
    forward = ForwardStep(loop.rebuilt(nodes=tuple(step.forward)))
    stored = LoopResiduals(forward, reverse.builder, outside_values(backward, results))

    def now(operand: Operand) -> Operand:
        return mapped([operand], stored.now)[0]

    again = loop.rebuilt(
        carries=(
            *(carry._replace(next=now(carry.next)) for carry in step.carries),
            *stored.carries,
        ),
        slices=(*step.slices, *stored.slices),
        stacks=tuple(Stack(now(stack.each)) for stack in step.stacks),
        nodes=(*stored.nodes, *rename(backward, stored.now)),
        reverse=not loop.reverse,
        name="",
    )
    gradients, arrays = again.emit(reverse.builder)
    reverse.add_all(step.carried_for, gradients[: len(step.carries)])
    reverse.add_all(step.stacked_for, arrays)
    return stored.forward()


class _ReverseStep:
    """The reverse of one step: what it takes, what it gives back, and for whom.

    Attributes
    ----------
    carries : list of Carry
        Cotangents of carries, and what those of captured values have come to.
    slices : list of Slice
        Cotangents of what the step yields.
    stacks : list of Stack
        Cotangents of slices of what the loop runs stored.
    carried_for, stacked_for : list of Operand
        Of what carries and stacks are the cotangents once the loop has run.
    forward : list of Node
        The nodes of the forward step.
    """

    def __init__(self, outer: Reverse, loop: Loop, cotangents: Cotangents) -> None:
        self.inner, self.slices = outer.inner(), list[Slice]()
        carries = [carry for carry in loop.carries if carry.param in outer.active]
        given = dict(zip(_results(loop), cotangents, strict=True))
        seeds = [self._carry(outer, carry, given[carry.last]) for carry in carries]
        for stack in loop.stacks:
            self._slice(outer, stack, given[stack.result])
        self.forward = self.inner.walk(loop.nodes)

        pairs = zip(carries, seeds, strict=True)
        self.carries = [
            seed._replace(next=self.inner.take_or_zeros(carry.param)) for carry, seed in pairs
        ]
        found = [(piece.array, self.inner.take(piece.param)) for piece in loop.slices]
        self.stacks = [Stack(cotangent) for _, cotangent in found if cotangent is not None]
        self.stacked_for = [array for array, cotangent in found if cotangent is not None]
        captured = self.inner.cotangents
        self.carries += [self._sum(outer, *pair) for pair in captured.items()]
        self.carried_for: list[Operand] = [*(carry.initial for carry in carries), *captured]

    @property
    def results(self) -> list[Operand]:
        """All that the step yields."""
        return [*(carry.next for carry in self.carries), *(stack.each for stack in self.stacks)]

    def _carry(self, outer: Reverse, carry: Carry, cotangent: Operand | None) -> Carry:
        """Take a cotangent of what a step leaves in a carry."""
        seed = Value(carry.param.type)
        self.inner.add(carry.next, seed)
        initial = outer.builder.zeros(seed.type) if cotangent is None else cotangent
        return Carry(initial, seed, seed)

    def _slice(self, outer: Reverse, stack: Stack, cotangent: Operand | None) -> None:
        """Take a cotangent of what a step yields."""
        if cotangent is None:
            return
        same = _same_for_all_steps(outer.builder, self.inner.builder, cotangent)
        if same is None:
            same = Value(stack.each.type)
            self.slices.append(Slice(cotangent, same))
        self.inner.add(stack.each, same)

    def _sum(self, outer: Reverse, captured: Value, cotangent: Operand) -> Carry:
        """Add up the cotangents of a captured value."""
        total = Value(captured.type)
        more = self.inner.builder("add", total, cotangent)
        return Carry(outer.builder.zeros(total.type), total, more)


def _results(loop: Loop) -> list[Value | None]:
    return [*(carry.last for carry in loop.carries), *(stack.result for stack in loop.stacks)]


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
