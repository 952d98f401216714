"""Expanding transformations, innermost first, whatever they are nested in.

Each transformation has an *expander*: ``expander(builder, node, operands)`` builds what the node
means and returns what stands for its results. The regions of the node are copies made for the
expander alone, without states and without any transformation, and its operands are those given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..ir import (
    Builder,
    Graph,
    Node,
    Operand,
    Replacements,
    Rewrite,
    copy_node,
    replay_graph,
    replay_region,
    walk,
)

Expander = Callable[[Builder, Node, tuple[Operand, ...]], Sequence[Operand]]

_expanders: dict[tuple[str, bool], Expander] = {}

_DERIVATIVES = ("grad", "jvp")


def expands(name: str, differentiated: bool = False) -> Callable[[Expander], Expander]:
    """Register a function as the expander of the transformation of that name.

    If ``differentiated``, it is for those that stand inside a derivative that is yet to be
    expanded, and goes before one that is not.
    """

    def register(expander: Expander) -> Expander:
        _expanders[name, differentiated] = expander
        return expander

    return register


def expand(graph: Graph, name: str, differentiated: bool = False) -> Graph:
    """Expand all nodes of one transformation, and first those of any other inside them.

    ``differentiated`` says that derivatives of the whole graph may be asked for later.
    """
    if not has_op(graph, name):
        return graph
    return replay_graph(graph, _rewriting(name, differentiated))


def _rewriting(name: str | None, differentiated: bool) -> Rewrite:
    """Return what expands one transformation, or all if that is None."""

    def rewrite(
        builder: Builder, node: Node, operands: tuple[Operand, ...], mapping: Replacements
    ) -> Sequence[Operand] | None:
        within = differentiated or node.op.name in _DERIVATIVES
        expander = _expanders.get((node.op.name, differentiated))
        expander = expander or _expanders.get((node.op.name, False))
        if expander is None or name not in (None, node.op.name):
            if within == differentiated:
                return None
            regions = [replay_region(r, mapping, _rewriting(name, within)) for r in node.regions]
            return copy_node(builder, node, operands, regions)
        inside = _rewriting(None, within)
        regions = tuple(replay_region(region, mapping, inside) for region in node.regions)
        closed = Node(node.op, operands, node.attrs, regions, node.results, node.loc)
        around, builder.loc = builder.loc, node.loc
        results = expander(builder, closed, operands)
        builder.loc = around
        return results

    return rewrite


def has_op(graph: Graph, *names: str) -> bool:
    """Whether a graph contains a node of one of these ops, at any depth."""
    return any(node.op.name in names for node in walk(graph))
