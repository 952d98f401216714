"""How many steps of a loop make a group, so that its reverse keeps no more than it may.

A loop of ``T`` steps in groups of ``K`` keeps what each group starts with, and runs one group at a
time again: ``T/K`` times its carries, and ``K`` times what a step keeps, which is least for ``K``
near the square root of ``T`` times the one over the other. With groups of groups, it is less, and
each level runs the steps once more. This is the scheme of T. Chen et al., *Training deep nets with
sublinear memory cost*, 2016; levels are as in A. Griewank, *Achieving logarithmic growth of
temporal and spatial complexity in reverse automatic differentiation*, 1992.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..ir import Builder, Graph, Loop, Node, Operand, Replacements, replay_region
from .group_steps import in_groups

Budget = int | float
"""Bytes, or a part, at most 1, of what would be kept without a budget."""


LEVELS, RESTS = 2, 0.25
"""How deep groups nest at most, since each level takes the time of a forward run; and the part of
all that is kept without groups that copies for a rest count as."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a loop keeps for its reverse.

    Attributes
    ----------
    length : int
        Its steps.
    step, start : int
        The bytes that it keeps of each step, and those that it carries.
    """

    length: int
    step: int
    start: int

    @property
    def whole(self) -> int:
        """The bytes that it keeps without groups."""
        return self.length * self.step

    def in_groups(self, base: int) -> int:
        """Return the bytes that are kept at most in groups of so many; see `group_steps`."""
        if base >= self.length:
            return self.whole
        size, levels = self._outermost(base)
        outermost = -(-self.length // size)
        return (outermost + (levels - 1) * base) * self.start + base * self.step

    def _outermost(self, base: int) -> tuple[int, int]:
        """Return how many steps the largest groups have, and how many levels there are."""
        size, levels = base, 1
        while size * base < self.length:
            size, levels = size * base, levels + 1
        return size, levels

    def base(self, most: float) -> int | None:
        """Return the largest groups that keep so many bytes at most, or else the fewest bytes.

        Steps that make no whole group are a loop of their own, which costs copies of arrays. None
        where nothing is to be done, or to be gained.
        """
        if self.whole <= most:
            return None

        def bytes_of(base: int) -> float:
            rest = self.length % self._outermost(base)[0]
            return self.in_groups(base) + (RESTS * self.whole if rest else 0)

        every = range(self.length - 1, 1, -1)
        sizes = [size for size in every if self._outermost(size)[1] <= LEVELS]
        fitting = (size for size in sizes if bytes_of(size) <= most)
        best = next(fitting, None) or min(sizes, key=bytes_of, default=self.length)
        return best if bytes_of(best) < self.whole else None


def kept_for_reverse(body: Graph, region: Graph) -> dict[Node, Kept]:
    """Return what the loops of a region keep in what it becomes with its gradients.

    Only the loops that stand in it directly count; what is inside of one is kept by it.
    """
    loops = [node for node in body.nodes if node.op.name == "for_loop"]
    after = [node for node in region.nodes if node.op.name == "for_loop"][: len(loops)]
    found: dict[Node, Kept] = {}
    for old, new in zip(loops, after, strict=False):
        before, now = Loop.of(old), Loop.of(new)
        stacked = sum(s.each.type.nbytes for s in now.stacks)
        stacked -= sum(s.each.type.nbytes for s in before.stacks)
        carried = sum(c.param.type.nbytes for c in before.carries)
        if before.length == now.length:
            found[old] = Kept(now.length, max(stacked, 0), carried)
    return found


def within_memory(body: Graph, region: Graph, budget: Budget) -> Graph:
    """Return a region whose loops run in groups, so that their reverse keeps what it may.

    ``region`` is what it becomes with its gradients. Loops share a budget as they share what is
    kept. A budget that cannot be kept to is kept to as well as can be.
    """
    kept = kept_for_reverse(body, region)
    total = sum(item.whole for item in kept.values())
    share = budget if isinstance(budget, float) else budget / max(total, 1)
    bases = {node: item.base(share * item.whole) for node, item in kept.items()}
    if not any(bases.values()):
        return body

    def rewrite(
        builder: Builder, node: Node, operands: tuple[Operand, ...], mapping: Replacements
    ) -> Sequence[Operand] | None:
        base = bases.get(node)
        if base is None:
            return None
        around, builder.loc = builder.loc, node.loc
        loop = Loop.of(node, operands, [replay_region(node.regions[0], mapping)])
        lasts, stacks = in_groups(builder, loop, base)
        builder.loc = around
        return (*lasts, *stacks)

    return replay_region(body, {}, rewrite)
