"""Reverse mode in two parts: the function now, and its reverse once cotangents are known."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import Graph, Node, Value
from .expand_grad import with_gradients
from .hoist_invariant import hoist_invariant
from .splicing import inputs_of, live_nodes, outside_values


def pullback(graph: Graph, wrt: Sequence[int], losses: Sequence[int]) -> tuple[Graph, Graph]:
    """Return a function that keeps what its reverse needs, and that reverse.

    Parameters
    ----------
    graph : Graph
        A pure graph without transformations.
    wrt, losses : sequence of int
        The parameters that are differentiated by, and the results that are differentiated.

    Returns
    -------
    Graph
        Takes what the graph does, and yields its results, and then all that is kept.
    Graph
        Takes what was kept and a cotangent for each of ``losses``, and yields gradients.

    Raises
    ------
    ReverseOfWhile, NotDifferentiable
        As `expand_grad`.

    Examples
    --------
    >>> from brainir.ir import parse, print_graph
    >>> sine = parse('''
    ... graph @f(%x: f32[]) -> (f32[]) {
    ...   %y = sin %x : f32[]
    ...   return %y
    ... }''')
    >>> for part in pullback(sine, [0], [0]):
    ...     print(print_graph(part))
    graph @f(%x: f32[]) -> (f32[], f32[]) {
      %y = sin %x : f32[]
      %0 = cos %x : f32[]
      return %y, %0
    }
    graph @f(%0: f32[], %1: f32[]) -> (f32[]) {
      %2 = mul %1, %0 : f32[]
      return %2
    }
    """
    body = hoist_invariant(graph, differentiable=True)
    parameters = [body.params[i] for i in dict.fromkeys(wrt)]
    region = with_gradients(body, parameters, losses, seeded=True)
    count = len(graph.params)
    seeds = region.params[count:]
    gradients, results = region.results[: len(parameters)], region.results[len(parameters) :]
    first, second = _split(region.nodes, seeds)
    second = live_nodes(second, gradients)
    kept = tuple(v for v in outside_values(second, gradients) if v not in seeds)
    first = live_nodes(first, (*results, *kept))
    function = region.with_(
        params=region.params[:count],
        nodes=tuple(first),
        results=(*results, *kept),
        param_units=(),
        result_units=(),
    )
    found = dict(zip(parameters, gradients, strict=True))
    yields = tuple(found[body.params[i]] for i in wrt)
    return function, Graph(graph.name, (*kept, *seeds), tuple(second), yields)


def _split(nodes: Sequence[Node], seeds: Sequence[Value]) -> tuple[list[Node], list[Node]]:
    """Return the nodes that do not depend on seeds, and those that do."""
    first, second, later = list[Node](), list[Node](), set(seeds)
    for node in nodes:
        if later.isdisjoint(inputs_of(node)):
            first.append(node)
        else:
            second.append(node)
            later.update(node.results)
    return first, second
