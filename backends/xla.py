"""Compiles graphs with XLA, through `jax.jit`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from ..ir import Graph, node_cost, runs, surely_ends, walk
from . import native, processor
from .arrays import shape_struct
from .lax import emit
from .protocol import Around, Cost, Executable, Flat, Memory

PLATFORMS = ("cpu", "cuda", "tpu")

OPTIONS = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}
"""What XLA is asked for, where JAX lets us: not in what somebody else's transformation traces.

By default, XLA's CPU compiler sets the arrays that loops fill aside at the start of a program, so
that one loop after the other takes the memory of all of them.
"""

NO_KERNELS: Mapping[str, Mapping[str, Any]] = {
    "outline-kernels": {"rate": 0.0},
    "sort-out-zeros": {"rate": 0.0},
}
"""What to ask of passes where there is no machine code of our own."""

STEP = 8e-6
"""The seconds that a step of a loop takes on a GPU at least: each launches its kernels anew."""

MESSAGE = 5e-5
"""The seconds that a sum over devices takes: 60 microseconds for 64 KiB over four devices, as which
a CPU of two cores was made to look."""

LONG = 200_000
"""So many runs of nodes, those in loops counted each time, may take a second: XLA takes from tenths
of a microsecond to several microseconds for each."""

UNKNOWN = 10_000
"""How many steps a `while` may well have. To wait for another thread takes longer than many a loop
of few nodes, which seldom takes a second."""

LONG_WORK = 1e9
"""So much arithmetic and traffic, in operations and bytes, may take a second on a CPU."""

COUNTED = 2048
"""So much arithmetic is not cheap for XLA's CPU client, which draws the line at 1000."""


class XlaExecutable(Executable):
    """A graph that XLA compiles when it is first called.

    ``function`` and ``inside`` are what `jax.jit` returned, with options for XLA and without.
    """

    def lower(self, *given: Any) -> jax.stages.Lowered:
        """Lower to StableHLO; ``.compile()`` of it tells cost and memory as XLA sees them."""
        if given:
            return self.function.lower(*given)  # pyright: ignore[reportFunctionMemberAccess]
        return self._lowered

    def cost(self) -> Cost:
        """Return what XLA says of the work, after fusion, every loop as if it ran once."""
        said = self._compiled.cost_analysis() or {}
        return Cost(said.get("flops"), said.get("transcendentals"), said.get("bytes accessed"))

    def memory(self) -> Memory:
        """Return what XLA says of the memory."""
        said = self._compiled.memory_analysis()
        parts = ("argument", "output", "temp", "generated_code")
        return Memory(*(getattr(said, f"{part}_size_in_bytes", None) for part in parts))

    @functools.cached_property
    def _lowered(self) -> jax.stages.Lowered:
        return self.function.lower(*_structs(self.graph))  # pyright: ignore[reportFunctionMemberAccess]

    @functools.cached_property
    def _compiled(self) -> jax.stages.Compiled:
        return self._lowered.compile()


class Xla:
    """The backend that compiles: graphs become `jax.lax` calls, of which XLA makes programs."""

    name, title, traceable, donates = "xla", "XLA", True, True

    def advice(self) -> Mapping[str, Mapping[str, Any]]:
        """Tell what this processor gains by taking products out of loops, and by kernels.

        Elsewhere, leave loops as they are. Where each step costs launches of programs, and memory
        is fast, they had better stay whole: on an H200, three loops in place of one took two to
        four times as long.
        """
        if jax.default_backend() != "cpu":
            return {
                "distribute-loops": {"memory": 0},
                "turn-matrices": {"rows": 0},
                "parallel-scan": {"step": STEP},
                **NO_KERNELS,
            }
        # Programs that several devices share are divided by XLA, which cannot divide a kernel.
        devices = jax.device_count()
        if devices > 1:
            # All of them wait for a message, in which time each would have done its part.
            message = devices * MESSAGE
            return {"distribute-loops": {**processor.advice(), "message": message}, **NO_KERNELS}
        known = processor.kernels()
        kernels = dict.fromkeys(NO_KERNELS, known) if native.AVAILABLE else NO_KERNELS
        return {"distribute-loops": processor.advice(), **kernels}

    def compile(
        self,
        graph: Graph,
        *,
        donate: Sequence[int | str] = (),
        options: Mapping[str, Any] | None = None,
        around: Around | None = None,
    ) -> XlaExecutable:
        """Return an executable of a graph; see `Backend.compile` and `compile`."""

        long = _is_long(graph)

        def function(outermost: bool) -> Callable[..., Any]:
            flat = emit(graph, outermost and native.AVAILABLE)
            if outermost and long and _seems_cheap(graph):
                flat = _in_a_thread(flat)
            return flat if around is None else around(flat)

        asked = dict(OPTIONS if options is None else options)
        donated = {
            "donate_argnums": tuple(i for i in donate if not isinstance(i, str)),
            "donate_argnames": tuple(name for name in donate if isinstance(name, str)),
        }
        return XlaExecutable(
            self,
            graph,
            jax.jit(function(True), **donated, compiler_options=asked or None),
            # JAX takes options for XLA in the outermost jit only; and what somebody else traces, to
            # differentiate, check or export it, is to be the loops themselves.
            jax.jit(function(False), **donated),
            long,
        )


def _is_long(graph: Graph) -> bool:
    """Whether a run may take a second."""
    on_cpu = jax.default_backend() == "cpu"
    # Elsewhere to wait is to keep the next call from being prepared: too much for a mere chance.
    times = runs(graph, UNKNOWN if on_cpu else 1)
    if sum(times.values()) >= LONG:
        return True
    if not on_cpu:
        return False
    costs = ((node_cost(node), n) for node, n in times.items())
    return sum(n * (cost.flops + cost.bytes) for cost, n in costs) >= LONG_WORK


def _seems_cheap(graph: Graph) -> bool:
    """Whether XLA may not see what takes long: machine code of ours, or how often a loop runs."""
    return any(n.op.name == "kernel" or not surely_ends(n) for n in walk(graph))


def _in_a_thread(flat: Flat) -> Flat:
    """Return the same function, which XLA's CPU client runs in a thread of its own.

    What it takes for cheap it runs in the thread that calls, which hears of no signal then. So here
    is work that it counts, of some microseconds. It chooses between an argument and zeros: always
    the argument, but XLA cannot know.
    """

    def function(*arrays: Any) -> Sequence[Any]:
        numbers = [i for i, x in enumerate(arrays) if x.size and jnp.issubdtype(x.dtype, np.number)]
        if not numbers:
            return flat(*arrays)
        i = min(numbers, key=lambda i: arrays[i].size)
        one = jnp.real(arrays[i].ravel()[0]).astype(np.float32)
        total = jnp.cos(one * jnp.arange(COUNTED, dtype=np.float32)).sum()
        chosen = jnp.where(total > COUNTED, jnp.zeros_like(arrays[i]), arrays[i])
        return flat(*arrays[:i], chosen, *arrays[i + 1 :])

    return function


def compile(
    graph: Graph, *, donate: Sequence[int] = (), options: Mapping[str, Any] | None = None
) -> XlaExecutable:
    """Return an executable of a graph.

    Parameters
    ----------
    graph : Graph
        Free of state and of transformations.
    donate : sequence of int
        Parameters whose memory the results may take over.
    options : mapping, optional
        Options for XLA, as `jax.jit` takes them; `OPTIONS` by default.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir.ir import Builder, Type, Value
    >>> x, build = Value(Type("float32", (3,))), Builder()
    >>> twice = compile(build.graph([x], [build("add", x, x)], "twice"))
    >>> twice(jnp.ones(3))
    (Array([2., 2., 2.], dtype=float32),)
    """
    return Xla().compile(graph, donate=donate, options=options)


def export(graph: Graph, platforms: Sequence[str] = PLATFORMS) -> jax.export.Exported:
    """Lower a graph for platforms that need not be at hand; its consts follow its parameters."""
    exporter = jax.export.export(jax.jit(emit(graph)), platforms=tuple(platforms))
    return exporter(*_structs(graph))


def _structs(graph: Graph) -> list[jax.ShapeDtypeStruct]:
    values = (*graph.params, *(const.value for const in graph.consts))
    return [shape_struct(value.type) for value in values]
