"""Emits graphs as `jax.lax` calls, for JAX to trace."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import jax
import jax.extend.core.primitives  # the rules of ops reach it through `jax`
import jax.extend.random

from ..ir import (
    Effect,
    Graph,
    GraphError,
    Literal,
    Node,
    Operand,
    Value,
    captures,
    fingerprint,
    is_pure,
    walk,
)
from .arrays import describe, literal_array


def emit(graph: Graph, native: bool = False) -> Callable[..., tuple[Any, ...]]:
    """Return a function that computes a graph under a JAX trace.

    The function takes one array for each parameter of the graph and then one for each of its
    consts, so no executable has large arrays baked into it. It is meant to be called under
    `jax.jit`, `jax.vmap`, `jax.make_jaxpr` and the like. With ``native``, its kernels are machine
    code where they end up on a CPU of this process.

    Loops and branches that are alike but for what they take, as those of the layers of a net are,
    are traced and lowered once, as a function that is called from each of their places. XLA puts it
    back into all of these.

    Raises
    ------
    GraphError
        When called, if states are left (see the pass `purify`), or transformations that a pass
        should have expanded.
    """
    return _emit_within("", graph, native)


def _emit_within(scope: str, graph: Graph, native: bool) -> Callable[..., tuple[Any, ...]]:
    inputs = (*graph.params, *(const.value for const in graph.consts))
    functions = _functions(graph, native)

    def function(*arrays: Any) -> tuple[Any, ...]:
        if len(arrays) != len(inputs):
            raise GraphError(
                f"@{graph.name} takes {len(graph.params)} arrays and {len(graph.consts)} consts, "
                f"not {len(arrays)} in all"
            )
        return _Emitter(functions, scope, native).run_nodes(graph, inputs, arrays)

    function.__name__ = function.__qualname__ = graph.name or "graph"
    return function


def jitted(graph: Graph) -> Callable[..., tuple[Any, ...]]:
    """Return `emit` of a graph under `jax.jit`: a call that JAX may trace, batch and differentiate.

    This is for what becomes a part of something that JAX traces. To run a graph, compile it with
    one of `brainir.backends.BACKENDS`.
    """
    return jax.jit(emit(graph))


Functions = Mapping[Node, tuple[Callable[..., tuple[Any, ...]], tuple[Value, ...]]]
"""What computes a node of which there are several, and the values that it is to be given."""


def _functions(graph: Graph, native: bool) -> Functions:
    """Return a function for every node with regions that others are like.

    It is under `jax.jit`: when JAX meets it again, nothing of it is traced or lowered again. The
    names of its parts are in it, so those are alike, too.
    """
    alike: defaultdict[Any, list[Graph]] = defaultdict(list)
    for node in walk(graph):
        if node.regions and is_pure(node):
            alone = Graph(node.op.name, (), (node,), node.results)
            alone = alone.with_(params=captures(alone))
            alike[fingerprint(alone), *map(_scope, walk(alone))].append(alone)
    functions: dict[Node, Any] = {}
    for first, *others in alike.values():
        if others:
            function = jax.jit(_emit_within(_scope(first.nodes[0]), first, native))
            functions.update((one.nodes[0], (function, one.params)) for one in (first, *others))
    return functions


def _scope(node: Node) -> str:
    return node.loc.scope if node.loc else ""


class _Emitter:
    """Emits one graph in one environment, through which regions see what they capture."""

    def __init__(self, functions: Functions, scope: str, native: bool) -> None:
        self.native_kernels = native
        self.environment: dict[Value, Any] = {}
        self.functions, self.scope = functions, scope

    def __call__(self, region: Graph, *arrays: Any) -> tuple[Any, ...]:
        """Emit a region; this is the `run` that region ops are given."""
        return self.run_nodes(region, region.params, arrays)

    def native(self, region: Graph, dense: bool, *arrays: Any) -> Sequence[Any]:
        """Emit a call of a region as machine code, if that is asked for."""
        if not self.native_kernels:
            return self(region, *arrays)
        from .native.call import call  # only who has llvmlite gets here

        return call(region, dense, emit(region), *arrays)

    def captured(self, *regions: Graph) -> dict[Value, Any]:
        """Return what regions see of the environment."""
        return {value: self.environment[value] for value in captures(*regions)}

    def given(self, captured: Mapping[Value, Any], region: Graph, *arrays: Any) -> tuple[Any, ...]:
        """Emit a region in an environment in which some values are others."""
        outside = self.captured(region)
        self.environment.update(captured)
        try:
            return self(region, *arrays)
        finally:
            self.environment.update(outside)

    def run_nodes(
        self, graph: Graph, inputs: Sequence[Value], arrays: Sequence[Any]
    ) -> tuple[Any, ...]:
        """Emit the nodes of a graph and return its results.

        JAX keeps the functions that it traces, and with them this emitter; so nothing of a trace
        stays behind in it.
        """
        environment = self.environment
        environment.update(zip(inputs, arrays, strict=True))
        try:
            for node in graph.nodes:
                try:
                    results = self._emit_named(node)
                except Exception as error:
                    error.add_note(f"while emitting {describe(node)}")
                    raise
                if isinstance(results, (tuple, list)):
                    environment.update(zip(node.results, results, strict=True))
                else:
                    environment[node.results[0]] = results
            return tuple(map(self._look_up, graph.results))
        finally:
            for value in (*inputs, *(v for node in graph.nodes for v in node.results)):
                environment.pop(value, None)

    def _look_up(self, operand: Operand) -> Any:
        if isinstance(operand, Literal):
            return jax.numpy.asarray(literal_array(operand))
        return self.environment[operand]

    def _emit_named(self, node: Node) -> Any:
        """Emit a node under the name of its part of the computation, as far as none is there."""
        scope, around = _scope(node), self.scope
        if scope == around:
            return self._emit(node)
        self.scope = scope
        try:
            with jax.named_scope(scope.removeprefix(f"{around}/")) if scope else nullcontext():
                return self._emit(node)
        finally:
            self.scope = around

    def _emit(self, node: Node) -> Any:
        environment = self.environment
        if node in self.functions:
            function, inputs = self.functions[node]
            return function(*(environment[value] for value in inputs))
        arrays = [
            literal_array(operand) if isinstance(operand, Literal) else environment[operand]
            for operand in node.operands
        ]
        op = node.op
        if op.has_regions:
            return op.lax(jax, self, *arrays, regions=node.regions, **node.attrs)
        if op.effects and op.effects != {Effect.IO}:
            raise GraphError(
                f"{op.name} @{node.attrs['state'].name} cannot be emitted; the pass purify turns "
                "states into parameters and results"
            )
        return op.lax(jax, *arrays, **node.attrs)
