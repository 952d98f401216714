"""Compiles graphs with XLA, through `jax.jit`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.export

from ..ir import Graph, GraphError
from .arrays import shape_struct, to_jax
from .lax import emit

PLATFORMS = ("cpu", "cuda", "tpu")

OPTIONS = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}
"""What XLA is asked for, where JAX lets us: not in what somebody else's transformation traces.

By default, XLA's CPU compiler sets the arrays that loops fill aside at the start of a program, so
that one loop after the other takes the memory of all of them.
"""


@dataclass(frozen=True, slots=True)
class Executable:
    """A graph that XLA compiles when it is first called.

    Attributes
    ----------
    graph : Graph
        Free of state and of transformations.
    function : callable
        What `jax.jit` returned. It takes the arguments of the graph and then its consts; the
        shortest way to run the graph is to call it directly.
    """

    graph: Graph
    function: Callable[..., tuple[jax.Array, ...]]

    def __call__(self, *arguments: Any) -> tuple[jax.Array, ...]:
        """Run the graph on the data of its own consts and return its results.

        Raises
        ------
        GraphError
            If a const of the graph has no data.
        """
        if any(const.data is None for const in self.graph.consts):
            raise GraphError(f"@{self.graph.name} has consts without data, so it cannot be run")
        return self.function(*arguments, *(_as_jax(const.data) for const in self.graph.consts))

    def lower(self) -> jax.stages.Lowered:
        """Lower to StableHLO; ``.compile()`` of it tells cost and memory as XLA sees them."""
        return self.function.lower(*_structs(self.graph))  # pyright: ignore[reportFunctionMemberAccess]


def compile(
    graph: Graph, *, donate: Sequence[int] = (), options: Mapping[str, Any] = OPTIONS
) -> Executable:
    """Return an executable of a graph.

    Parameters
    ----------
    graph : Graph
        Free of state and of transformations.
    donate : sequence of int
        Parameters whose memory the results may take over.
    options : mapping, optional
        Options for XLA, as `jax.jit` takes them. None may be given to what is called while JAX
        traces something else.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir.ir import Builder, Type, Value
    >>> x, build = Value(Type("float32", (3,))), Builder()
    >>> twice = compile(build.graph([x], [build("add", x, x)], "twice"))
    >>> twice(jnp.ones(3))
    (Array([2., 2., 2.], dtype=float32),)
    """
    function = jax.jit(
        emit(graph),
        donate_argnums=tuple(donate),
        compiler_options=dict(options) or None,
    )
    return Executable(graph, function)


def export(graph: Graph, platforms: Sequence[str] = PLATFORMS) -> jax.export.Exported:
    """Lower a graph for platforms that need not be at hand; its consts follow its parameters."""
    exporter = jax.export.export(jax.jit(emit(graph)), platforms=tuple(platforms))
    return exporter(*_structs(graph))


def _structs(graph: Graph) -> list[jax.ShapeDtypeStruct]:
    values = (*graph.params, *(const.value for const in graph.consts))
    return [shape_struct(value.type) for value in values]


def _as_jax(data: Any) -> jax.Array:
    return data if isinstance(data, jax.Array) else to_jax(data)
