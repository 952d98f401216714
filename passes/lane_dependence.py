"""Which values inside a vmap differ from lane to lane.

Dependence is reachability: there is an edge from every value to those that are computed from it,
round loops and into and out of regions. So loops need no iteration to a fixpoint, and the analysis
takes time in proportion to the graph, however deep its loops are nested.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..ir import Graph, Node, Operand, Type, Value, captures, sources, targets, walk

Edges = dict[Value, list[Value]]


def lane_dependent(
    region: Graph, lanes: Iterable[Value], axis_name: str | None = None
) -> set[Value]:
    """Return the values of a region, at any depth, that depend on lane values.

    Parameters
    ----------
    region : Graph
        Without state ops. It may contain loops, branches, calls and transformations.
    lanes : iterable of Value
        Values that differ from lane to lane, usually parameters of the region.
    axis_name : str, optional
        What the lanes are called where they meet.

    Examples
    --------
    >>> from brainir.ir import Builder, Type, Value
    >>> x, y, build = Value(Type("float32")), Value(Type("float32")), Builder()
    >>> total, other = build("add", x, y), build("mul", y, y)
    >>> dependent = lane_dependent(build.graph([x, y], [total, other]), [x])
    >>> total in dependent, other in dependent
    (True, False)
    """
    edges: Edges = {}
    waiting = list(lanes)
    for node in walk(region):
        if meets(node, axis_name):
            waiting.extend(node.results if node.op.name == "lane_index" else ())
        elif node.op.wiring is None:
            _join(edges, node.operands, node.results)
        else:
            _follow_wiring(edges, node)
    reached: set[Value] = set()
    while waiting:
        value = waiting.pop()
        if value not in reached:
            reached.add(value)
            waiting.extend(edges.get(value, ()))
    return reached


def meets(node: Node, axis_name: str | None) -> bool:
    """Whether the lanes of that name meet in a node; what they gather is the same for all."""
    named = node.op.name in ("gather_lanes", "sum_lanes", "lane_index")
    return named and node.attrs["axis_name"] == axis_name


def _follow_wiring(edges: Edges, node: Node) -> None:
    """Let values go along strands, and what decides on steps or branches show in all they change.

    Everything shows in the results of rules that nobody looks into.
    """
    assert node.op.wiring is not None
    wiring = node.op.wiring(node)
    for strand in wiring.strands:
        _join(edges, sources(node, strand.sources), targets(node, strand.targets))
    if wiring.gates:
        changed = [target for strand in wiring.strands for target in strand.targets]
        _join(edges, sources(node, wiring.gates), targets(node, changed))
    if wiring.mixed:
        taken = (*node.operands, *captures(*node.regions))
        _join(edges, taken, targets(node, wiring.mixed))


def _join(edges: Edges, ones: Iterable[Operand], others: Iterable[Value]) -> None:
    """Let each of some values reach each of others."""
    # By way of one value in between, so that m sources and n targets make m + n edges.
    between = Value(Type("bool"))
    edges[between] = list(others)
    for one in ones:
        if isinstance(one, Value):
            edges.setdefault(one, []).append(between)
