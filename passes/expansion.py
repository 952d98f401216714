"""Expanding transformations, innermost first, whatever they are nested in.

Each transformation has an *expander*: ``expander(builder, node, operands)`` builds what the node
means and returns what stands for its results. The regions of the node are copies made for the
expander alone, without states and without any transformation, and its operands are those given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..ir import Builder, Graph, Node, Operand, Value, replay_graph, replay_region, walk

Expander = Callable[[Builder, Node, tuple[Operand, ...]], Sequence[Operand]]

_expanders: dict[str, Expander] = {}


def expands(name: str) -> Callable[[Expander], Expander]:
    """Register a function as the expander of the transformation of that name."""

    def register(expander: Expander) -> Expander:
        _expanders[name] = expander
        return expander

    return register


def expand(graph: Graph, name: str) -> Graph:
    """Expand all nodes of one transformation, and first those of any other inside them."""
    if not has_op(graph, name):
        return graph

    def outside(
        builder: Builder, node: Node, operands: tuple[Operand, ...], mapping: dict[Value, Operand]
    ) -> Sequence[Operand] | None:
        return inside(builder, node, operands, mapping) if node.op.name == name else None

    def inside(
        builder: Builder, node: Node, operands: tuple[Operand, ...], mapping: dict[Value, Operand]
    ) -> Sequence[Operand] | None:
        expander = _expanders.get(node.op.name)
        if expander is None:
            return None
        regions = tuple(replay_region(region, mapping, inside) for region in node.regions)
        closed = Node(node.op, operands, node.attrs, regions, node.results, node.loc)
        around, builder.loc = builder.loc, node.loc
        results = expander(builder, closed, operands)
        builder.loc = around
        return results

    return replay_graph(graph, outside)


def has_op(graph: Graph, *names: str) -> bool:
    """Whether a graph contains a node of one of these ops, at any depth."""
    return any(node.op.name in names for node in walk(graph))
