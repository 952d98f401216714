"""All steps of a loop at once: a replay of its nodes with the steps on a leading axis."""

from __future__ import annotations

from collections.abc import Iterable

from ..ir import Builder, Node, Operand, Value, repeat
from .batching import Batching
from .loop_stages import Dependences


class AtOnce:
    """Builds nodes of a step for all steps of its loop.

    ``batching`` knows the array over all steps of every value that is there so far.
    """

    def __init__(self, builder: Builder, step: Dependences) -> None:
        self.builder, self.step = builder, step
        self.loop, self.length = step.loop, step.loop.length
        over: dict[Value, Operand] = {piece.param: piece.array for piece in self.loop.slices}
        self.batching = Batching(self.length, step.varying, over)

    def whole(self, operand: Operand) -> Operand:
        """Return an array over all steps."""
        if isinstance(operand, Value) and operand in self.step.varying:
            return self.batching.now(operand)
        return repeat(self.builder, self.batching.now(operand), self.length)

    def at_once(self, nodes: Iterable[Node], wanted: Iterable[Operand] = ()) -> None:
        """Build nodes for all steps at once, with the light ones that are needed."""
        needed = self.step.with_light(wanted, nodes)
        new = [node for node in needed if node.results[0] not in self.batching.mapping]
        self.batching.nodes(self.builder, new)
