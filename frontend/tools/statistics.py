"""What a graph costs: work, traffic, and what it keeps, by op and by loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from ...backends import xla
from ...ir import Graph, Node, Value, walk


@dataclass(frozen=True, slots=True)
class OpStatistics:
    """All nodes of one op; ``flops`` and ``bytes`` count every time that they run."""

    op: str
    nodes: int
    flops: int
    bytes: int


@dataclass(frozen=True, slots=True)
class LoopStatistics:
    """One ``for_loop``.

    Attributes
    ----------
    name, place : str
        The function that is its body, and where it was called.
    length, nodes : int
        Steps, and nodes of the body.
    carried, stacked, residuals : int
        Bytes that go from step to step, that all steps together yield, and of these, what is only kept
        for a loop in the other direction: what the gradient costs in memory.
    """

    name: str
    place: str
    length: int
    nodes: int
    carried: int
    stacked: int
    residuals: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a graph costs, see `statistics`.

    Attributes
    ----------
    name : str
        The graph.
    nodes : int
        With those inside regions.
    flops, bytes : int
        Arithmetic, and memory traffic if nothing is fused. A loop counts as often as it runs, a `while`
        as if it ran once, a `cond` with its most expensive branch.
    bounded : bool
        Whether these numbers are the whole: there is no `while`.
    states, state_bytes, consts, const_bytes, residual_bytes : int
        How many, and what they hold.
    ops : tuple of OpStatistics
        The most expensive first.
    loops : tuple of LoopStatistics
        In the order of the graph.
    """

    name: str
    nodes: int
    flops: int
    bytes: int
    bounded: bool
    states: int
    state_bytes: int
    consts: int
    const_bytes: int
    residual_bytes: int
    ops: tuple[OpStatistics, ...]
    loops: tuple[LoopStatistics, ...]

    def data(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return asdict(self)


def statistics(graph: Graph) -> Statistics:
    """Return what a graph costs, at any stage of the pipeline.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> step = lambda x: brainir.transform.for_loop(lambda a: jnp.sin(a) * a, x)
    >>> found = brainir.tools.statistics(brainir.transform.jit(step).trace(jnp.ones((5, 3))).graph())
    >>> found.nodes, found.flops, found.loops[0].length, found.loops[0].stacked
    (3, 30, 5, 60)
    """
    nodes = list(walk(graph))
    work = _work(graph)
    counts = Counter(node.op.name for node in nodes)
    ops = [OpStatistics(name, count, *work.get(name, (0, 0))) for name, count in counts.items()]
    state_bytes = [type.nbytes for state in graph.states for type in state.types]
    const_bytes = [const.value.type.nbytes for const in graph.consts]
    loops = tuple(_loops(graph, nodes))
    return Statistics(
        graph.name,
        len(nodes),
        sum(op.flops for op in ops),
        sum(op.bytes for op in ops),
        "while" not in counts,
        len(graph.states),
        sum(state_bytes),
        len(const_bytes),
        sum(const_bytes),
        sum(loop.residuals for loop in loops),
        tuple(sorted(ops, key=lambda op: (-op.flops, -op.bytes, op.op))),
        loops,
    )


# --- work

Work = dict[str, tuple[int, int]]
"""Flops and bytes by op."""


def _work(graph: Graph) -> Work:
    total: Work = {}
    for node in graph.nodes:
        types = tuple(o.type for o in node.operands), tuple(r.type for r in node.results)
        cost = node.op.cost(*types, node.attrs)
        _add(total, {node.op.name: (cost.flops, cost.bytes)}, 1)
        bodies = [_work(region) for region in node.regions]
        if node.op.name == "cond":
            bodies = [max(bodies, key=lambda work: tuple(map(sum, zip(*work.values())))or (0, 0))]
        elif node.op.name == "custom_derivative":
            bodies = bodies[:1]
        for body in bodies:
            _add(total, body, _times(node))
    return total


def _add(total: Work, work: Work, times: int) -> None:
    for name, (flops, traffic) in work.items():
        before = total.get(name, (0, 0))
        total[name] = before[0] + times * flops, before[1] + times * traffic


def _times(node: Node) -> int:
    return node.attrs.get("length", 1)
