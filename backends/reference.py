"""The reference backend: numpy, node by node. What it computes is what a graph means.

Random keys are structured elements (see `brainir.ir.dtypes`). JAX arrays are taken as arguments and
numpy arrays are given back; `to_jax` turns keys among them into JAX's own. The backend `Reference`
does that, so that whole programs can run on it: with every value within reach of a debugger, and
without waiting for a compiler.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ..ir import (
    Const,
    Effect,
    Graph,
    GraphError,
    Literal,
    Node,
    Operand,
    StateVar,
    Type,
    Value,
    numpy_dtype,
    type_of_array,
)
from .arrays import describe, literal_array, to_jax, to_numpy
from .protocol import Around, Executable

Array = np.ndarray[Any, Any]
Arrays = tuple[Array, ...]
Store = Mapping[StateVar, Sequence[Any]]
"""The arrays that each state holds, one for each of its types."""


def run(graph: Graph, *arguments: Any, states: Store | None = None) -> Arrays:
    """Return the results of a graph; see `evaluate`."""
    return evaluate(graph, arguments, states)[0]


Watch = Callable[[Node, Arrays, Arrays], None]
"""Told of a node without regions that ran: what it took, and what it gave."""


def evaluate(
    graph: Graph,
    arguments: Sequence[Any],
    states: Store | None = None,
    watch: Watch | None = None,
) -> tuple[Arrays, dict[StateVar, Arrays]]:
    """Run a graph in any form, and return its results and the final value of every state.

    Parameters
    ----------
    graph : Graph
        At any stage of the pipeline, as long as its ops have a meaning of their own: all but
        `grad` and `jvp`.
    arguments : sequence of arrays
        One for each parameter of the graph.
    states : mapping of StateVar to sequence of arrays, optional
        What the states of the graph hold at first. It is not changed.
    watch : callable, optional
        Told of every node without regions, also of those in regions, right after it ran.

    Raises
    ------
    GraphError
        If arrays and types do not agree. Whatever a node raises carries a note that names the
        node and its place in the user's source.

    Examples
    --------
    >>> from brainir.ir import Builder, Type, Value
    >>> x, build = Value(Type("float32", (3,))), Builder()
    >>> twice = build.graph([x], [build("add", x, x)], "twice")
    >>> run(twice, np.arange(3, dtype=np.float32))
    (array([0., 2., 4.], dtype=float32),)
    """
    evaluator = _Evaluator(watch)
    for state, arrays in (states or {}).items():
        evaluator.store[state] = tuple(map(to_numpy, arrays))
    for const in graph.consts:
        if const.data is None:
            raise GraphError(f"a const {const.value.type} of @{graph.name} has no data")
        evaluator.bind([const.value], [to_numpy(const.data)], "const")
    with np.errstate(all="ignore"):
        results = evaluator(graph, *map(to_numpy, arguments))
    created = evaluator.created
    return results, {s: arrays for s, arrays in evaluator.store.items() if s not in created}


class Reference:
    """The backend that runs graphs with numpy, node by node, as soon as they are called."""

    name, title, traceable, donates = "reference", "numpy", False, False

    def advice(self) -> Mapping[str, Mapping[str, Any]]:
        """Ask nothing of the passes."""
        return {}

    def compile(
        self,
        graph: Graph,
        *,
        donate: Sequence[int | str] = (),
        options: Mapping[str, Any] | None = None,
        around: Around | None = None,
    ) -> Executable:
        """Return an executable of a graph; see `Backend.compile`. Nothing is donated."""
        if options:
            raise ValueError(f"the reference backend has no options; it was given {dict(options)}")
        count = len(graph.params)

        def flat(*given: Any) -> tuple[jax.Array, ...]:
            arrays = tuple(map(_as_jax, given))
            pairs = zip(graph.consts, arrays[count:], strict=True)
            closed = graph.with_(consts=tuple(Const(c.value, data) for c, data in pairs))
            return tuple(map(to_jax, run(closed, *arrays[:count])))

        if around is None:
            return Executable(self, graph, flat)
        wrapped = around(flat)

        def function(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = jax.tree.map(_as_jax, (args, kwargs))
            return wrapped(*args, **kwargs)

        return Executable(self, graph, function)


def compile(graph: Graph) -> Executable:
    """Return an executable of a graph, which takes and gives JAX arrays.

    Examples
    --------
    >>> from brainir.ir import Builder, Type, Value
    >>> x, build = Value(Type("float32", (3,))), Builder()
    >>> twice = compile(build.graph([x], [build("add", x, x)], "twice"))
    >>> twice(np.ones(3, np.float32))
    (Array([2., 2., 2.], dtype=float32),)
    >>> twice.memory().arguments
    12
    """
    return Reference().compile(graph)


def _as_jax(leaf: Any) -> Any:
    """Return a number or array as `jax.jit` sees it."""
    return leaf if isinstance(leaf, jax.Array) else jax.numpy.asarray(leaf)


class _Evaluator:
    """Evaluates a graph and its regions in one environment, through which regions see captures."""

    def __init__(self, watch: Watch | None = None) -> None:
        self.watch = watch
        self.environment: dict[Value, Array] = {}
        self.store: dict[StateVar, Arrays] = {}
        self.created: set[StateVar] = set()

    def __call__(self, graph: Graph, *arguments: Any) -> Arrays:
        """Evaluate a graph or region; this is the `run` that region ops are given."""
        self.bind(graph.params, arguments, "argument")
        for node in graph.nodes:
            try:
                self.bind(node.results, self._evaluate(node), "result")
            except Exception as error:
                error.add_note(f"while running {describe(node)}")
                raise
            if self.watch is not None and not node.op.has_regions:
                self.watch(
                    node, *(tuple(map(self._look_up, v)) for v in (node.operands, node.results))
                )
        return tuple(map(self._look_up, graph.results))

    def empty(self, type: Type) -> Array:
        """Return an array without elements."""
        return np.empty(type.shape, numpy_dtype(type.dtype))

    def bind(self, values: Sequence[Value], arrays: Sequence[Any], what: str) -> None:
        """Make arrays known under values, whose types they must have."""
        if len(values) != len(arrays):
            raise GraphError(f"expected {len(values)} {what}s, got {len(arrays)}")
        for i, (value, array) in enumerate(zip(values, map(np.asarray, arrays), strict=True)):
            if type_of_array(array) != value.type:
                raise GraphError(f"{what} {i} should be {value.type}, not {type_of_array(array)}")
            self.environment[value] = array

    def _look_up(self, operand: Operand) -> Array:
        return literal_array(operand) if isinstance(operand, Literal) else self.environment[operand]

    def _evaluate(self, node: Node) -> Sequence[Any]:
        arrays = tuple(map(self._look_up, node.operands))
        effects = node.op.effects
        if Effect.READ in effects:
            return self._read(node.attrs["state"])
        if Effect.WRITE in effects or Effect.NEW in effects:
            state: StateVar = node.attrs["state"]
            self.store[state] = arrays
            if Effect.NEW in effects:
                self.created.add(state)
            return ()
        if node.op.has_regions:
            results = node.op.numpy(self, *arrays, regions=node.regions, **node.attrs)
        else:
            results = node.op.numpy(*arrays, **node.attrs)
        return results if isinstance(results, tuple) else (results,)

    def _read(self, state: StateVar) -> Arrays:
        if state not in self.store:
            raise GraphError(f"state @{state.name} has no value; give it one through `states`")
        return self.store[state]
