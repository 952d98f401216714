"""What `grad`, `jvp` and `vmap` mean, by JAX's own transformations: something to compare with.

The compiler never uses this. The reference backend can run a graph with gradients in it once they
have this meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from ...backends import lax, to_jax, to_numpy
from ...ir import (
    Builder,
    Graph,
    Node,
    Op,
    Operand,
    Value,
    captures,
    fresh,
    get_op,
    mapped,
    replay_graph,
    replay_region,
    walk,
)

DERIVATIVES = ("grad", "jvp")

Arrays = tuple[Any, ...]


def has_derivatives(graph: Graph) -> bool:
    """Whether a graph has a `grad` or `jvp` in it, which the reference backend cannot run."""
    return any(node.op.name in DERIVATIVES for node in walk(graph))


def with_jax_derivatives(graph: Graph) -> Graph:
    """Return a graph whose `grad` and `jvp` nodes can be run, by ``jax.vjp`` and ``jax.jvp``.

    States must have been hoisted.
    """
    return replay_graph(graph, _outermost) if has_derivatives(graph) else graph


def _outermost(
    builder: Builder, node: Node, operands: tuple[Operand, ...], mapping: dict[Value, Operand]
) -> Sequence[Operand] | None:
    """Give a derivative a meaning in numpy, for which its region must not capture anything."""
    if node.op.name not in DERIVATIVES:
        return None
    (region,) = node.regions
    captured = captures(region)
    held = fresh(captured)
    closed = replay_region(region, dict(zip(captured, held, strict=True)), _inside)
    closed = closed.with_(params=(*closed.params, *held))
    count = len(region.params)
    given = (*operands[:count], *mapped(captured, mapping), *operands[count:])
    return builder.emit(_run_by_jax(node, closed, given), given, node.attrs, [closed])


def _run_by_jax(node: Node, region: Graph, operands: Sequence[Operand]) -> Op:
    """Return an op whose meaning in numpy is that of one node in JAX."""
    inner, params = Builder(node.loc), [Value(operand.type) for operand in operands]
    results = inner.emit(_OPS[node.op.name], params, node.attrs, [region])
    function = lax.jitted(inner.graph(params, results, node.op.name))

    def numpy(run: Any, *arrays: Any, **_: Any) -> tuple[Any, ...]:
        return tuple(map(to_numpy, function(*map(to_jax, arrays))))

    return replace(node.op, numpy=numpy)


def _inside(
    builder: Builder, node: Node, operands: tuple[Operand, ...], mapping: dict[Value, Operand]
) -> Sequence[Operand] | None:
    """Let JAX do every transformation inside a region that it differentiates."""
    if node.op.name not in _OPS:
        return None
    regions = [replay_region(region, mapping, _inside) for region in node.regions]
    return builder.emit(_OPS[node.op.name], operands, node.attrs, regions)


def _grad(
    jax: Any,
    run: Any,
    *arrays: Any,
    regions: Sequence[Graph],
    wrt: Sequence[int],
    losses: int,
    lanes: int | None,
    **_: Any,
) -> tuple[Any, ...]:
    arrays, seeds = _split(arrays, regions[0])

    def function(*chosen: Any) -> tuple[Any, Any]:
        results = run(regions[0], *_replaced(arrays, wrt, chosen))
        return results[:losses], results

    found, pull, results = jax.vjp(function, *(arrays[i] for i in wrt), has_aux=True)

    def gradients(*seeds: Any) -> list[Any]:
        return [_known(g, arrays[i]) for g, i in zip(pull(seeds), wrt, strict=True)]

    ones = map(jax.numpy.ones_like, found)
    slopes = gradients(*ones) if lanes is None else jax.vmap(gradients, axis_size=lanes)(*seeds)
    return (*slopes, *results)


def _jvp(
    jax: Any,
    run: Any,
    *arrays: Any,
    regions: Sequence[Graph],
    wrt: Sequence[int],
    lanes: int | None,
    **_: Any,
) -> tuple[Any, ...]:
    primals, directions = _split(arrays, regions[0])
    starts = [primals[i] for i in wrt]

    def function(*chosen: Any) -> tuple[Any, ...]:
        return run(regions[0], *_replaced(primals, wrt, chosen))

    def push(*tangents: Any) -> tuple[Any, Any]:
        results, pushed = jax.jvp(function, starts, list(map(_tangent, starts, tangents)))
        return results, tuple(map(_known, pushed, results))

    if lanes is not None:
        push = jax.vmap(push, out_axes=(None, 0), axis_size=lanes)
    results, pushed = push(*directions)
    return (*results, *pushed)


def _split(arrays: Arrays, region: Graph) -> tuple[Arrays, Arrays]:
    """Return the arguments of a region, and the directions that come after them."""
    return arrays[: len(region.params)], arrays[len(region.params) :]


def _vmap(
    jax: Any,
    run: Any,
    *arrays: Any,
    regions: Sequence[Graph],
    size: int,
    in_axes: Sequence[int | None],
    out_axes: Sequence[int | None],
    **attrs: Any,
) -> tuple[Any, ...]:
    def function(*lanes: Any) -> tuple[Any, ...]:
        return run(regions[0], *lanes)

    mapped_function = jax.vmap(function, tuple(in_axes), tuple(out_axes), axis_size=size)
    return mapped_function(*arrays)


def _select(jax: Any, which: Any, *cases: Any) -> Any:
    """Keep the index in range, since JAX has no derivative of what is selected by any other."""
    if which.dtype != np.bool_:
        which = jax.numpy.clip(which, 0, len(cases) - 1)
    return jax.lax.select_n(which, *cases)


def _replaced(arrays: Sequence[Any], positions: Sequence[int], new: Sequence[Any]) -> list[Any]:
    full = list(arrays)
    for i, array in zip(positions, new, strict=True):
        full[i] = array
    return full


def _tangent(primal: Any, tangent: Any) -> Any:
    """Return a tangent of the type that JAX has for it: nothing at all, for an integer."""
    if jax.numpy.issubdtype(primal.dtype, jax.numpy.inexact):
        return tangent
    return np.zeros(primal.shape, jax.dtypes.float0)


def _known(derivative: Any, primal: Any) -> Any:
    """Return a derivative of the type of its primal: zeros for what has none, a key for a key."""
    if jax.numpy.issubdtype(primal.dtype, jax.numpy.inexact):
        return derivative
    if jax.numpy.issubdtype(primal.dtype, jax.dtypes.prng_key):
        return primal
    return jax.numpy.zeros_like(primal)


_RULES = {"grad": _grad, "jvp": _jvp, "vmap": _vmap, "select_n": _select}

_OPS = {name: replace(get_op(name), lax=rule) for name, rule in _RULES.items()}
"""Ops that only exist here: those of the same names, with a meaning that JAX can differentiate."""
