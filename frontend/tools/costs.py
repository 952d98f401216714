"""What a graph costs: work, traffic, and what it keeps, by op and by loop."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...backends import xla
from ...ir import Cost, Graph, Loc, Node, Operand, Value, Weight, walk
from .pure import to_pure


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
        Bytes that go from step to step, that all steps together yield, and of these, what a loop
        in the other direction reads: what the gradient costs in memory.
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
        Arithmetic, and memory traffic if nothing is fused. A loop counts as often as it runs, a
        `while` as if it ran once, a `cond` with its most expensive branch.
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


def node_cost(node: Node) -> Cost:
    """Return what one run of a node costs, without its regions."""
    operands = tuple(operand.type for operand in node.operands)
    return node.op.cost(operands, tuple(result.type for result in node.results), node.attrs)


def statistics(graph: Graph) -> Statistics:
    """Return what a graph costs, at any stage of the pipeline.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> step = lambda x: brainir.transform.for_loop(lambda a: jnp.sin(a) * a, x)
    >>> graph = brainir.transform.jit(step).trace(jnp.ones((5, 3))).graph()
    >>> found = brainir.tools.statistics(graph)
    >>> found.nodes, found.flops, found.loops[0].length, found.loops[0].stacked
    (3, 30, 5, 60)
    """
    nodes = list(walk(graph))
    work = _work(graph)
    counts = Counter(node.op.name for node in nodes)
    ops = [OpStatistics(name, count, *work.get(name, (0, 0))) for name, count in counts.items()]
    state_bytes = [type.nbytes for state in graph.states for type in state.types]
    const_bytes = [const.value.type.nbytes for const in graph.consts]
    loops = tuple(_loops(nodes))
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


# --- work -----------------------------------------------------------------------------------------

Work = dict[str, tuple[int, int]]
"""Flops and bytes by op."""


def _work(graph: Graph) -> Work:
    total: Work = {}
    for node in graph.nodes:
        cost = node_cost(node)
        _add(total, {node.op.name: (cost.flops, cost.bytes)}, 1)
        bodies = [_work(region) for region in node.regions]
        if node.op.name == "cond":
            bodies = [max(bodies, key=_sum)]
        elif node.op.name == "custom_derivative":
            bodies = bodies[:1]  # the others are only there for derivatives
        for body in bodies:
            _add(total, body, _times(node))
    return total


def _sum(work: Work) -> tuple[int, int]:
    return sum(flops for flops, _ in work.values()), sum(traffic for _, traffic in work.values())


def _add(total: Work, work: Work, times: int) -> None:
    for name, (flops, traffic) in work.items():
        before = total.get(name, (0, 0))
        total[name] = before[0] + times * flops, before[1] + times * traffic


def _times(node: Node) -> int:
    """Return how often the regions of a node run."""
    if node.op.name in ("for_loop", "map"):
        return node.attrs["length"]
    return node.attrs["size"] if node.op.name == "vmap" else 1


# --- loops ----------------------------------------------------------------------------------------


def _loops(nodes: Sequence[Node]) -> Iterator[LoopStatistics]:
    loops = [node for node in nodes if node.op.name == "for_loop"]
    producers = {result: node for node in nodes for result in node.results}
    readers: dict[Value, set[bool]] = {}
    for loop in loops:
        for operand in loop.operands[loop.attrs["carries"] :]:
            for source in _sources(operand, producers):
                readers.setdefault(source, set()).add(loop.attrs["reverse"])
    for loop in loops:
        (body,), carries = loop.regions, loop.attrs["carries"]
        stacked = loop.results[carries:]
        other = not loop.attrs["reverse"]
        yield LoopStatistics(
            body.name,
            _place(loop.loc),
            loop.attrs["length"],
            sum(1 for _ in walk(body)),
            sum(value.type.nbytes for value in loop.results[:carries]),
            sum(value.type.nbytes for value in stacked),
            sum(v.type.nbytes for v in stacked if other in readers.get(v, ())),
        )


def _place(loc: Loc | None) -> str:
    return "" if loc is None else f"{os.path.basename(loc.file)}:{loc.line} {loc.function}".strip()


def _sources(operand: Operand, producers: Mapping[Value, Node]) -> Iterator[Value]:
    """Yield the arrays that an array is made of, when it is only laid out in another way."""
    stack = [operand]
    while stack:
        value = stack.pop()
        if isinstance(value, Value):
            yield value
            node = producers.get(value)
            if node is not None and not node.regions and node_cost(node).weight == Weight.FREE:
                stack += node.operands


# --- what XLA says --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class XlaStatistics:
    """What XLA says of a graph that it has compiled; None where it does not say.

    Attributes
    ----------
    flops, bytes : float or None
        Arithmetic, and traffic between memory and fused kernels; loops count as if they ran once.
    arguments, results, temporaries, code : int or None
        Bytes of memory.
    """

    flops: float | None
    bytes: float | None
    arguments: int | None
    results: int | None
    temporaries: int | None
    code: int | None

    def data(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return asdict(self)


def xla_statistics(graph: Graph) -> XlaStatistics:
    """Compile a graph, at any stage of the pipeline, and ask XLA what it costs."""
    compiled = xla.compile(to_pure(graph).graph).lower().compile()
    cost, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    return XlaStatistics(
        cost.get("flops"),
        cost.get("bytes accessed"),
        getattr(memory, "argument_size_in_bytes", None),
        getattr(memory, "output_size_in_bytes", None),
        getattr(memory, "temp_size_in_bytes", None),
        getattr(memory, "generated_code_size_in_bytes", None),
    )
