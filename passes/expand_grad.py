"""The pass `expand_grad`: reverse mode, written out."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import Builder, Graph, Node, Operand, inline
from .activity import active_values
from .expansion import expand, expands
from .reverse import Reversal, Reverse
from .reverse_branches import reverse_cond
from .reverse_loops import refuse_while, reverse_for_loop
from .reverse_rules import reverse_call, reverse_checkpoint, reverse_custom_derivative
from .surgery import live_nodes

REVERSALS: dict[str, Reversal] = {
    "for_loop": reverse_for_loop,
    "while": refuse_while,
    "cond": reverse_cond,
    "call": reverse_call,
    "checkpoint": reverse_checkpoint,
    "custom_derivative": reverse_custom_derivative,
}
"""How each op that has regions is reversed."""


def expand_grad(graph: Graph) -> Graph:
    """Replace every `grad` by its region and the reverse of it."""
    return expand(graph, "grad")


@expands("grad")
def expand_grad_node(
    builder: Builder, node: Node, operands: tuple[Operand, ...]
) -> Sequence[Operand]:
    """Build what a `grad` node means, and return what stands for its results."""
    return inline(builder, gradient_region(node), operands)


def gradient_region(node: Node) -> Graph:
    """Return a region that yields the gradients of a `grad` node, and then what its own region does."""
    (region,) = node.regions
    wrt = [region.params[i] for i in node.attrs["wrt"]]
    losses = region.results[: node.attrs["losses"]]
    reverse = Reverse(active_values(region.nodes, wrt, losses), REVERSALS)
    for loss in losses:
        reverse.add(loss, reverse.builder.ones(loss.type))
    forward = reverse.walk(region.nodes)
    gradients = [reverse.take_or_zeros(param) for param in wrt]
    results = (*gradients, *region.results)
    nodes = live_nodes([*forward, *reverse.builder.nodes], results)
    return region.with_(nodes=tuple(nodes), results=results)
