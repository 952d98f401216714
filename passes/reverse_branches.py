"""Reverse mode of `cond`: the branch that ran is the one to reverse.

Every branch yields its residuals in slots, which branches share by type; a slot that a branch does
not use is zeros. The reverse is a `cond` on the same index, which captures the slots.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from ..ir import Branch, Branches, Builder, Choice, Graph, Node, Operand, Type, Value, mapped
from .residuals import Residuals, choose_residuals
from .reverse import Cotangents, Reverse
from .splicing import live_nodes, rename, run_again


def reverse_cond(reverse: Reverse, node: Node, cotangents: Cotangents) -> list[Node]:
    """Reverse a `cond`, as the module describes."""
    view = Branches.of(node)
    branches = [_ReverseBranch(reverse, region, cotangents) for region in node.regions]
    targets = list(dict.fromkeys(v for branch in branches for v in branch.inner.cotangents))
    slots = _Slots()
    residuals = [branch.finish(targets) for branch in branches]
    names = [slots.assign(r.inputs) for r in residuals]
    pairs = list(zip(branches, residuals, names, strict=True))
    backward = [branch.reversed_from(found, slot_of) for branch, found, slot_of in pairs]
    again = view.rebuilt(
        branches=tuple(Branch(tuple(nodes)) for nodes, _ in backward),
        choices=tuple(map(Choice, zip(*(results for _, results in backward), strict=True))),
    )
    reverse.add_all(targets, again.emit(reverse.builder))
    filled = [branch.filling(slots.all, slot_of) for branch, _, slot_of in pairs]
    columns = zip(*(extra for _, extra in filled), strict=True)
    forward = view.rebuilt(
        branches=tuple(
            old._replace(nodes=nodes) for old, (nodes, _) in zip(view.branches, filled, strict=True)
        ),
        choices=(*view.choices, *map(Choice, columns, slots.all)),
    )
    return [forward.node()]


class _Slots:
    """Results of the forward `cond` through which branches hand over residuals."""

    def __init__(self) -> None:
        self.by_type: dict[Type, list[Value]] = defaultdict(list)

    @property
    def all(self) -> list[Value]:
        """All slots, in a fixed order once all are assigned."""
        return [slot for slots in self.by_type.values() for slot in slots]

    def assign(self, values: Iterable[Value]) -> dict[Value, Operand]:
        """Return a slot for each value of one branch."""
        used: Counter[Type] = Counter()
        slot_of: dict[Value, Operand] = {}
        for value in values:
            slots = self.by_type[value.type]
            if used[value.type] == len(slots):
                slots.append(Value(value.type))
            slot_of[value] = slots[used[value.type]]
            used[value.type] += 1
        return slot_of


class _ReverseBranch:
    """The reverse of one branch."""

    def __init__(self, outer: Reverse, region: Graph, cotangents: Cotangents) -> None:
        self.region, self.inner = region, outer.inner()
        self.inner.add_all(region.results, cotangents)
        self.forward = self.inner.walk(region.nodes)

    def finish(self, targets: Sequence[Value]) -> Residuals:
        """Fix what the reverse gives, and choose what it needs."""
        self.results = [self.inner.take_or_zeros(v) for v in targets]
        self.backward = live_nodes(self.inner.builder.nodes, self.results)
        return choose_residuals(self.forward, self.backward, self.results)

    def filling(
        self, slots: Sequence[Value], slot_of: dict[Value, Operand]
    ) -> tuple[tuple[Node, ...], Sequence[Operand]]:
        """Return the nodes of the forward branch, and what fills the slots."""
        filled = {slot: value for value, slot in slot_of.items()}
        builder = Builder()
        extra = [filled[slot] if slot in filled else builder.zeros(slot.type) for slot in slots]
        return (*self.forward, *builder.nodes), extra

    def reversed_from(
        self, residuals: Residuals, names: dict[Value, Operand]
    ) -> tuple[Sequence[Node], Sequence[Operand]]:
        """Return the reverse of the branch, which reads the slots: its nodes and its yields."""
        nodes = (*run_again(residuals.again, names), *rename(self.backward, names))
        return nodes, mapped(self.results, names)
