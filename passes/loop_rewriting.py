"""Building something else for the loops of a graph, those inside of others first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..ir import (
    Builder,
    Graph,
    Loop,
    Node,
    Operand,
    Replacements,
    copy_node,
    replay_graph,
    replay_region,
)

LoopRewrite = Callable[[Builder, Loop, Node], "Sequence[Operand] | None"]
"""``rewrite(builder, loop, old)``: build something else for a loop, whose inner ones are rewritten
already, and return what stands for its results; None: keep it. ``old`` is the node that it was."""


def rewrite_loops(graph: Graph, rewrite: LoopRewrite) -> Graph:
    """Return a graph with something else in place of some of its ``for_loop``.

    What is built has the location of the loop, unless it has one of its own.
    """

    def rewritten(
        builder: Builder, node: Node, operands: tuple[Operand, ...], mapping: Replacements
    ) -> Sequence[Operand] | None:
        if node.op.name != "for_loop":
            return None
        body = replay_region(node.regions[0], mapping, rewritten)
        around, builder.loc = builder.loc, node.loc
        results = rewrite(builder, Loop.of(node, operands, [body]), node)
        builder.loc = around
        return copy_node(builder, node, operands, [body]) if results is None else results

    return replay_graph(graph, rewritten)
