"""What one run of a node costs, and how often it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .graph import Graph, Node
from .op import Cost


def node_cost(node: Node) -> Cost:
    """Return what one run of a node costs, without its regions.

    Examples
    --------
    >>> from brainir.ir import parse
    >>> graph = parse('''graph @twice(%x: f32[8]) -> (f32[8]) {
    ...   %y = add %x, %x
    ...   return %y
    ... }''')
    >>> node_cost(graph.nodes[0]).flops
    8
    """
    return node.cost


def runs(graph: Graph, unknown: int = 1) -> dict[Node, int]:
    """Return how often each node runs, those in regions included.

    A `while` counts as a loop of ``unknown`` steps. Of a `cond` only the most expensive branch
    counts, and of a custom derivative only the function itself: all else runs 0 times.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> loop = brainir.transform.jit(lambda x: brainir.transform.for_loop(jnp.sin, x))
    >>> [(node.op.name, n) for node, n in runs(loop.trace(jnp.ones(5)).graph("capture")).items()]
    [('for_loop', 1), ('sin', 5)]
    """
    found: dict[Node, int] = {}
    works: dict[Graph, tuple[int, int]] = {}
    _weigh(graph, works, unknown)
    stack = [(graph, 1)]
    while stack:
        body, times = stack.pop()
        for node in body.nodes:
            found[node] = times
            counted = _counted(node, works)
            for region in node.regions:
                repeats = times * _repeats(node, unknown)
                stack.append((region, repeats if region in counted else 0))
    return found


def _weigh(graph: Graph, works: dict[Graph, tuple[int, int]], unknown: int) -> None:
    """Find out the flops and bytes of one run of a graph and of the regions in it."""
    flops = traffic = 0
    for node in graph.nodes:
        for region in node.regions:
            _weigh(region, works, unknown)
        cost, times = node_cost(node), _repeats(node, unknown)
        inside = [works[region] for region in _counted(node, works)]
        flops += cost.flops + times * sum(work[0] for work in inside)
        traffic += cost.bytes + times * sum(work[1] for work in inside)
    works[graph] = flops, traffic


def _counted(node: Node, works: Mapping[Graph, tuple[int, int]]) -> Sequence[Graph]:
    """Return the regions of a node that count: those that run, of branches the one with most."""
    if node.op.wiring is None:
        return ()
    wiring = node.op.wiring(node)
    if wiring.chosen:
        return [max(node.regions, key=lambda region: works[region])]
    return node.regions[: len(node.regions) - wiring.rules]


def _repeats(node: Node, unknown: int) -> int:
    """Return how often the regions of a node run, or a number that stands for what is unknown."""
    times = node.op.wiring(node).times if node.op.wiring is not None else 1
    return unknown if times is None else times
