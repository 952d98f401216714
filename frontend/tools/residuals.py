"""Where the memory of a gradient goes: what loops stack up for loops in the other direction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...ir import Graph, Loop, Node, Value, Weight, node_cost, walk


@dataclass(frozen=True, slots=True)
class Residual:
    """A value that every step of a loop keeps for the gradient.

    Attributes
    ----------
    loop : Node
        The loop that stacks it.
    value, stacked : Value
        What one step yields, and what all steps together give.
    maker : Node or None
        What computes it in the loop; None if it comes from outside the step.
    """

    loop: Node
    value: Value
    stacked: Value
    maker: Node | None

    @property
    def title(self) -> str:
        """What the value is: the op that makes it, or where it comes from."""
        if self.maker is not None:
            return self.maker.op.name
        params = self.loop.regions[0].params
        if self.value not in params:
            return "value from outside"
        carried = params.index(self.value) < self.loop.attrs["carries"]
        return "value at the start of the step" if carried else "input of the step"


def residuals(graph: Graph) -> list[Residual]:
    """Return all residuals of a graph, the largest first."""
    nodes = list(walk(graph))
    users: dict[Value, list[Node]] = {}
    for node in nodes:
        for operand in node.operands:
            if isinstance(operand, Value):
                users.setdefault(operand, []).append(node)
    names = _names_of_kernels(nodes)
    found: list[Residual] = []
    for loop in nodes:
        if loop.op.name != "for_loop":
            continue
        view = Loop.of(loop)
        makers = {result: node for node in view.nodes for result in node.results}
        for end, stacked in view.stacks:
            assert stacked is not None
            if isinstance(end, Value) and _is_read_back(stacked, users, names, view.reverse):
                found.append(Residual(loop, end, stacked, makers.get(end)))
    return sorted(found, key=lambda item: -item.stacked.type.nbytes)


@dataclass(frozen=True, slots=True)
class Again:
    """Steps of a loop that a gradient computes again, a group of them at a time.

    Attributes
    ----------
    loop : Node
        What runs the steps of a group again.
    groups : int
        How many groups there are, of each of which the start is kept.
    steps : int
        How many steps a group has.
    bytes : int
        What the steps of a group keep while it is at work.
    """

    loop: Node
    groups: int
    steps: int
    bytes: int


def computed_again(graph: Graph) -> list[Again]:
    """Return what is computed again: loops inside of a loop over groups that goes the other way.

    There, the steps of a group run once more, and then their reverse.
    """
    around: dict[Node, Loop] = {}
    for outer in walk(graph):  # an inner one comes later, and is nearer to what it holds
        if outer.op.name == "for_loop":
            around.update(dict.fromkeys(walk(outer.regions[0]), Loop.of(outer)))
    kept: Counter[Node] = Counter()
    for item in residuals(graph):
        kept[item.loop] += item.stacked.type.nbytes
    return [
        Again(node, around[node].length, loop.length, size)
        for node, size in kept.items()
        if node in around and around[node].reverse != (loop := Loop.of(node)).reverse
    ]


def _names_of_kernels(nodes: Sequence[Node]) -> Mapping[Value, Sequence[Value]]:
    """Return under which names values enter and leave kernels."""
    names: dict[Value, list[Value]] = {}
    for node in nodes:
        if node.op.name == "kernel":
            (region,) = node.regions
            pairs = [*zip(node.operands, region.params, strict=True)]
            pairs += zip(region.results, node.results, strict=True)
            for here, there in pairs:
                if isinstance(here, Value):
                    names.setdefault(here, []).append(there)
    return names


def _is_read_back(
    value: Value,
    users: Mapping[Value, Sequence[Node]],
    names: Mapping[Value, Sequence[Value]],
    reverse: bool,
) -> bool:
    """Whether a loop in the other direction goes over a value, however it is laid out."""
    stack, seen = [value], {value}
    while stack:
        value = stack.pop()
        stack += names.get(value, ())
        for node in users.get(value, ()):
            if node.op.name == "for_loop":
                loop = Loop.of(node)
                if loop.reverse != reverse and any(s.array is value for s in loop.slices):
                    return True
            elif not node.regions and node_cost(node).weight == Weight.FREE:
                stack += [result for result in node.results if result not in seen]
                seen.update(node.results)
    return False
