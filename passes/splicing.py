"""Taking regions apart: renaming values, splicing a region in, leaving out what nothing uses.

Other than a replay, this keeps nodes and values: a transformation that consumes a region may use
them as they are, each once, and rename what it must. So what was found out about them, such as
which values are active, still holds. In the end all is replayed into a `Builder`, which checks it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..ir import Graph, Node, Operand, Value, captures, fresh, get_op, is_pure, mapped


def live_nodes(nodes: Sequence[Node], results: Iterable[Operand]) -> list[Node]:
    """Return the nodes that the results need, or that have effects."""
    used = {r for r in results if isinstance(r, Value)}
    kept: list[Node] = []
    for node in reversed(nodes):
        if not used.isdisjoint(node.results) or not is_pure(node):
            kept.append(node)
            used.update(inputs_of(node))
    return kept[::-1]


def inputs_of(node: Node) -> list[Value]:
    """Return the values that a node uses: its operands, and what its regions capture."""
    operands = [o for o in node.operands if isinstance(o, Value)]
    return [*operands, *captures(*node.regions)] if node.regions else operands


def outside_values(nodes: Sequence[Node], results: Iterable[Operand] = ()) -> tuple[Value, ...]:
    """Return the values that nodes and results use but that the nodes do not define."""
    return captures(Graph("", (), tuple(nodes), tuple(results)))


def rename(nodes: Iterable[Node], names: Mapping[Value, Operand]) -> list[Node]:
    """Return nodes in which values are replaced, where they are used and where they are defined."""
    return [
        Node(
            node.op,
            mapped(node.operands, names),
            node.attrs,
            tuple(_rename_region(region, names) for region in node.regions),
            tuple(_as_value(names.get(result, result)) for result in node.results),
            node.loc,
        )
        for node in nodes
    ]


def _rename_region(region: Graph, names: Mapping[Value, Operand]) -> Graph:
    results = mapped(region.results, names)
    return region.with_(nodes=tuple(rename(region.nodes, names)), results=results)


def _as_value(operand: Operand) -> Value:
    assert isinstance(operand, Value), "a result cannot be renamed to a literal"
    return operand


def run_again(nodes: Sequence[Node], names: dict[Value, Operand]) -> list[Node]:
    """Return copies of nodes without regions, with results of their own, which ``names`` learns."""
    for node in nodes:
        names.update(zip(node.results, fresh(node.results), strict=True))
    return rename(nodes, names)


def splice(
    region: Graph, arguments: Sequence[Operand], results: Sequence[Value]
) -> tuple[list[Node], tuple[Operand, ...]]:
    """Return the nodes of a region for use in place, and what it yields beyond ``results``.

    ``arguments`` stand for the parameters, and ``results`` become copies of the first yields.
    """
    names = dict(zip(region.params, arguments, strict=True))
    nodes = rename(region.nodes, names)
    yields = mapped(region.results, names)
    copy = get_op("copy")
    nodes += [Node(copy, (y,), {}, (), (r,)) for y, r in zip(yields, results, strict=False)]
    return nodes, yields[len(results) :]
