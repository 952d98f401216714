"""Which values inside a vmap differ from lane to lane.

Dependence is reachability: there is an edge from every value to those that are computed from it,
round loops and into and out of regions. So loops need no iteration to a fixpoint, and the analysis
takes time in proportion to the graph, however deep its loops are nested.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..ir import Graph, Node, Operand, Type, Value, captures, walk

Edges = dict[Value, list[Value]]


def lane_dependent(region: Graph, lanes: Iterable[Value]) -> set[Value]:
    """Return the values of a region, at any depth, that depend on lane values.

    Parameters
    ----------
    region : Graph
        Without state ops. It may contain loops, branches, calls and transformations.
    lanes : iterable of Value
        Values that differ from lane to lane, usually parameters of the region.

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
    for node in walk(region):
        _FLOW.get(node.op.name, _flow_through)(edges, node)
    reached: set[Value] = set()
    waiting = list(lanes)
    while waiting:
        value = waiting.pop()
        if value not in reached:
            reached.add(value)
            waiting.extend(edges.get(value, ()))
    return reached


def _all(edges: Edges, sources: Iterable[Operand], targets: Iterable[Value]) -> None:
    # By way of one value in between, so that m sources and n targets make m + n edges.
    between = Value(Type("bool"))
    edges[between] = list(targets)
    for source in sources:
        if isinstance(source, Value):
            edges.setdefault(source, []).append(between)


def _each(edges: Edges, sources: Iterable[Operand], targets: Iterable[Value]) -> None:
    for source, target in zip(sources, targets, strict=False):
        if isinstance(source, Value):
            edges.setdefault(source, []).append(target)


def _flow_through(edges: Edges, node: Node) -> None:
    """All operands (and captures, of an op whose regions are not looked into) reach all results."""
    _all(edges, (*node.operands, *captures(*node.regions)), node.results)


def _flow_for_loop(edges: Edges, node: Node) -> None:
    (body,) = node.regions
    carries = node.attrs["carries"]
    _each(edges, node.operands, body.params)
    _each(edges, node.operands[:carries], node.results)
    _each(edges, body.results[:carries], body.params)
    _each(edges, body.results, node.results)


def _flow_while(edges: Edges, node: Node) -> None:
    condition, body = node.regions
    for source in (node.operands, body.results):
        _each(edges, source, condition.params)
        _each(edges, source, body.params)
        _each(edges, source, node.results)
    # How many steps a lane takes shows in everything that the steps change.
    _all(edges, condition.results, (*condition.params, *body.params, *node.results))


def _flow_cond(edges: Edges, node: Node) -> None:
    _all(edges, node.operands, node.results)
    for branch in node.regions:
        _each(edges, branch.results, node.results)


def _flow_call(edges: Edges, node: Node) -> None:
    (body,) = node.regions
    _each(edges, node.operands, body.params)
    _each(edges, body.results, node.results)


def _flow_custom(edges: Edges, node: Node) -> None:
    """One lane-dependent operand makes every result so, as its rules may mix them in any way."""
    _flow_through(edges, node)
    _each(edges, node.operands, node.regions[0].params)


def _flow_derivative(edges: Edges, node: Node) -> None:
    """A derivative depends on all that the region does, a plain result on what it comes from."""
    (body,) = node.regions
    outs = len(body.results)
    first = len(node.results) - outs if node.op.name == "grad" else 0
    plain = node.results[first : first + outs]
    derivatives = (*node.results[:first], *node.results[first + outs :])
    _all(edges, (*node.operands, *captures(body)), derivatives)
    _each(edges, node.operands, body.params)
    _each(edges, body.results, plain)


_FLOW = {
    "for_loop": _flow_for_loop,
    "while": _flow_while,
    "cond": _flow_cond,
    "call": _flow_call,
    "checkpoint": _flow_call,
    "vmap": _flow_call,
    "custom_derivative": _flow_custom,
    "grad": _flow_derivative,
    "jvp": _flow_derivative,
}
