"""What a backend is: something that makes executables of graphs.

A backend is one file with one class, and one line of `brainir.backends.BACKENDS`. All that runs a
graph (compiled functions, transformations outside `jit`, loaded functions, validation, the command
line) goes through what stands here, and asks a backend what it can do rather than who it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax

from ..ir import Graph, GraphError
from .arrays import to_jax

Flat = Callable[..., Sequence[Any]]
"""Takes the arguments of a graph and then its consts, and gives its results: JAX arrays."""

Around = Callable[[Flat], Callable[..., Any]]
"""``around(flat)`` is a function of arguments in containers that calls ``flat`` once."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What running a graph once costs, as its backend sees it; None where it does not say.

    Attributes
    ----------
    flops, transcendentals, bytes : float or None
        Arithmetic, functions such as `sin` or `exp` beside it, and traffic to and from memory.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> from brainir.backends import backend_named
    >>> graph = brainir.transform.jit(lambda x: x + 1).trace(jnp.ones(1000)).graph("purify")
    >>> backend_named("xla").compile(graph).cost().flops >= 1000
    True
    """

    flops: float | None = None
    transcendentals: float | None = None
    bytes: float | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """The bytes that an executable needs, as its backend sees them; None where it does not say.

    Attributes
    ----------
    arguments, results, temporaries, code : int or None
        What is given, what comes out, what is needed in between, and the program itself.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> from brainir.backends import backend_named
    >>> graph = brainir.transform.jit(lambda x: x + 1).trace(jnp.ones(1000)).graph("purify")
    >>> memory = backend_named("reference").compile(graph).memory()
    >>> memory.arguments, memory.results
    (4000, 4000)
    """

    arguments: int | None = None
    results: int | None = None
    temporaries: int | None = None
    code: int | None = None


class Executable:
    """A graph that can be run.

    A backend that knows no more than how to run it can use this class; others derive from it.

    Parameters
    ----------
    backend : Backend
        What has made it.
    graph : Graph
        Free of state and of transformations.
    function : callable
        See below.
    inside : callable, optional
        See below; by default it says that the backend cannot do that.
    long : bool
        See below.

    Attributes
    ----------
    backend, graph : Backend, Graph
        What has made it, and what is run.
    function : callable
        Takes the arguments of the graph and then its consts; the shortest way to run it. If it was
        compiled with ``around``, it takes what that takes.
    inside : callable
        The same while JAX traces something else (``jax.jit`` or ``jax.grad`` of the user's own),
        for which arguments may be tracers.
    long : bool
        Whether ``function`` returns before all is done and that may take a second or more, so that
        whoever calls it had better wait where a signal is heard, before States get new values.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> from brainir.backends import backend_named
    >>> graph = brainir.transform.jit(lambda x: x + 1).trace(jnp.ones(3)).graph("purify")
    >>> run = backend_named("reference").compile(graph)
    >>> run(jnp.zeros(3))
    (Array([1., 1., 1.], dtype=float32),)
    """

    def __init__(
        self,
        backend: Backend,
        graph: Graph,
        function: Callable[..., Any],
        inside: Callable[..., Any] | None = None,
        long: bool = False,
    ) -> None:
        self.backend, self.graph, self.function, self.long = backend, graph, function, long
        self.inside = self._refuse_trace if inside is None else inside

    def __call__(self, *arguments: Any) -> tuple[Any, ...]:
        """Run the graph on the data of its own consts and return its results.

        Raises
        ------
        GraphError
            If a const of the graph has no data.
        """
        return tuple(self.function(*arguments, *self._data()))

    def traced(self, *arguments: Any) -> tuple[Any, ...]:
        """Run the graph like a call does, while JAX traces something else."""
        return tuple(self.inside(*arguments, *self._data()))

    def lower(self, *given: Any) -> jax.stages.Lowered:
        """Return the program as what comes next takes it, in the words of `jax.stages`.

        Without ``given``, arrays or their types, it is for those of the graph.
        """
        raise NotImplementedError(self._refusal("does not lower graphs: it runs them as they are"))

    def cost(self) -> Cost:
        """Return what a run costs."""
        raise NotImplementedError(self._refusal("does not say what a run costs"))

    def memory(self) -> Memory:
        """Return what memory a run needs: by default what arguments and results hold."""
        graph = self.graph
        values = (*graph.params, *(const.value for const in graph.consts))
        return Memory(
            sum(value.type.nbytes for value in values),
            sum(result.type.nbytes for result in graph.results),
        )

    def _data(self) -> list[jax.Array]:
        data: list[Any] = [const.data for const in self.graph.consts]
        if any(array is None for array in data):
            raise GraphError(f"@{self.graph.name} has consts without data, so it cannot be run")
        return [array if isinstance(array, jax.Array) else to_jax(array) for array in data]

    def _refuse_trace(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError(
            self._refusal(
                "cannot run inside a JAX transformation of your own (jax.jit, jax.grad, jax.vmap, "
                "...), which needs a program that it can trace; use the one of "
                "brainir.transform, or run it on another backend"
            )
        )

    def _refusal(self, reason: str) -> str:
        return f"@{self.graph.name}: the backend {self.backend.name!r} {reason}"


class Backend(Protocol):
    """Makes executables of graphs.

    Attributes
    ----------
    name : str
        What it is called in `brainir.Options` and in `brainir.backends.BACKENDS`.
    title : str
        What people call it.
    traceable : bool
        Whether its executables can be called while JAX traces something else, so that
        ``executable.inside`` works.
    donates : bool
        Whether results may take over the memory of arguments that are donated. Otherwise arguments
        stay as they are, which is always right.

    Examples
    --------
    A backend that runs graphs with numpy and counts how often it does:

    >>> import numpy as np
    >>> from brainir.backends import BACKENDS, Executable, reference, to_jax
    >>> class Counting:
    ...     name, title, traceable, donates = "counting", "Counting", False, False
    ...     calls = 0
    ...     def advice(self):
    ...         return {}
    ...     def compile(self, graph, *, donate=(), options=None, around=None):
    ...         flat = reference.compile(graph).function
    ...         def counted(*arrays):
    ...             self.calls += 1
    ...             return flat(*arrays)
    ...         return Executable(self, graph, counted if around is None else around(counted))
    >>> backend = BACKENDS["counting"] = Counting()
    >>> import brainir
    >>> with brainir.options(backend="counting"):
    ...     brainir.transform.jit(lambda x: x + x)(2.0), backend.calls
    (Array(4., dtype=float32), 1)
    >>> del BACKENDS["counting"]
    """

    name: str
    title: str
    traceable: bool
    donates: bool

    def advice(self) -> Mapping[str, Mapping[str, Any]]:
        """Return options of passes that suit the device it runs on; empty for their own defaults.

        They are by the names of passes, as in ``brainir.Options(passes=...)``. What a user asks for
        goes before them.
        """
        ...

    def compile(
        self,
        graph: Graph,
        *,
        donate: Sequence[int | str] = (),
        options: Mapping[str, Any] | None = None,
        around: Around | None = None,
    ) -> Executable:
        """Return an executable of a graph; what takes time may wait for its first call.

        Parameters
        ----------
        graph : Graph
            Free of state and of transformations.
        donate : sequence of int or str
            Which arguments of the executable's function, by position or by name, the results may
            take the memory of.
        options : mapping, optional
            What is asked of this backend alone; None for its own defaults.
        around : callable, optional
            ``around(flat)`` gives the function that is called in place of ``flat``: it takes
            containers, checks them, and calls ``flat`` with the arrays in them. A backend that
            traces calls it once for each structure and types of arguments, another one at each
            call, with JAX arrays.
        """
        ...
