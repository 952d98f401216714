"""What a graph costs: work, traffic, and what it keeps, by op and by loop."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ...backends import Cost, Executable, backend_named
from ...ir import Graph, Loc, Loop, Node, node_cost, runs, walk
from ...passes import Options
from ..options import in_force
from ..validation.pure import to_pure
from .residuals import residuals


@dataclass(frozen=True, slots=True)
class OpStatistics:
    """All nodes of one op; ``flops`` and ``bytes`` count every time that they run.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> step = brainir.transform.jit(lambda x: jnp.sin(x) * x + x)
    >>> found = brainir.tools.statistics(step.trace(jnp.ones(100)).graph())
    >>> [(op.op, op.nodes, op.flops) for op in found.ops]
    [('add', 1, 100), ('mul', 1, 100), ('sin', 1, 100)]
    """

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

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> @brainir.transform.jit
    ... def run(x):
    ...     return brainir.transform.for_loop(lambda a: jnp.sin(a) * a, x)
    >>> (loop,) = brainir.tools.statistics(run.trace(jnp.ones((50, 4))).graph()).loops
    >>> loop.length, loop.nodes, loop.stacked
    (50, 2, 800)
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

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> V = brainir.HiddenState(jnp.zeros(100), name="V")
    >>> def step(x):
    ...     V.value = 0.9 * V.value + x
    >>> found = brainir.tools.statistics(brainir.transform.jit(step).trace(jnp.ones(100)).graph())
    >>> found.states, found.state_bytes, found.flops
    (1, 400, 200)
    >>> sorted(found.data())[:3]
    ['bounded', 'bytes', 'const_bytes']
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
    >>> graph = brainir.transform.jit(step).trace(jnp.ones((5, 3))).graph()
    >>> found = brainir.tools.statistics(graph)
    >>> found.nodes, found.flops, found.loops[0].length, found.loops[0].stacked
    (4, 30, 5, 60)
    """
    counts: Counter[str] = Counter()
    flops: Counter[str] = Counter()
    traffic: Counter[str] = Counter()
    for node, times in runs(graph).items():
        name, cost = node.op.name, node_cost(node)
        counts[name] += 1
        flops[name] += times * cost.flops
        traffic[name] += times * cost.bytes
    ops = [OpStatistics(op, count, flops[op], traffic[op]) for op, count in counts.items()]
    state_bytes = [type.nbytes for state in graph.states for type in state.types]
    const_bytes = [const.value.type.nbytes for const in graph.consts]
    loops = tuple(_loops(graph))
    return Statistics(
        graph.name,
        counts.total(),
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


# --- loops ----------------------------------------------------------------------------------------


def _loops(graph: Graph) -> Iterator[LoopStatistics]:
    kept: Counter[Node] = Counter()
    for residual in residuals(graph):
        kept[residual.loop] += residual.stacked.type.nbytes
    for loop in walk(graph):
        if loop.op.name != "for_loop":
            continue
        view = Loop.of(loop)
        yield LoopStatistics(
            view.name,
            _place(loop.loc),
            view.length,
            sum(1 for _ in walk(view.body)),
            sum(carry.param.type.nbytes for carry in view.carries),
            sum(stack.each.type.stacked(view.length).nbytes for stack in view.stacks),
            kept[loop],
        )


def _place(loc: Loc | None) -> str:
    return "" if loc is None else f"{os.path.basename(loc.file)}:{loc.line} {loc.function}".strip()


# --- what XLA says --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class XlaStatistics:
    """What XLA, or another backend, says of a graph; None where it does not say.

    Attributes
    ----------
    flops, transcendentals, bytes : float or None
        Arithmetic, functions such as `sin` or `exp` beside it, and traffic between memory and fused
        kernels; loops count as if they ran once.
    arguments, results, temporaries, code : int or None
        Bytes of memory.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> graph = brainir.transform.jit(lambda x: x + 1).trace(jnp.ones(100)).graph()
    >>> asked = brainir.Options(backend="reference")
    >>> found = brainir.tools.xla_statistics(graph, asked)
    >>> found.arguments, found.results, found.flops
    (400, 400, None)
    """

    flops: float | None
    transcendentals: float | None
    bytes: float | None
    arguments: int | None
    results: int | None
    temporaries: int | None
    code: int | None

    def data(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return asdict(self)


def xla_statistics(graph: Graph, options: Options | None = None) -> XlaStatistics:
    """Compile a graph, at any stage of the pipeline, and ask XLA what it costs.

    With options, or some in force, it is compiled as they say: another backend tells what it can.

    Parameters
    ----------
    graph : Graph
        At any stage.
    options : Options, optional
        What it is compiled with, over those in force.

    Raises
    ------
    GraphError
        If a pass refuses the graph.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> graph = brainir.transform.jit(lambda x: x + 1).trace(jnp.ones(100)).graph()
    >>> found = brainir.tools.xla_statistics(graph)
    >>> found.arguments, found.results
    (400, 400)
    """
    options = options or in_force.options
    executable = backend_named(options.backend).compile(to_pure(graph, options).graph)
    return statistics_of_executable(executable)


def statistics_of_executable(executable: Executable) -> XlaStatistics:
    """Return what a backend says of something that it has compiled."""
    cost = Cost()
    with contextlib.suppress(NotImplementedError):
        cost = executable.cost()
    return XlaStatistics(**asdict(cost), **asdict(executable.memory()))
