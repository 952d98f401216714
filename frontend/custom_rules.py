"""Rules of custom derivatives, as ``jax.jvp`` and ``jax.vjp`` make them of the recorded call.

So the rules that a user gave to ``jax.custom_jvp`` or ``jax.custom_vjp`` become regions, whatever
form JAX keeps them in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from ..backends import shape_struct
from ..ir import Graph, Type

Function = Callable[..., Any]
Derive = Callable[[Function, Sequence[Type]], Graph]
"""Builds a region of what a function does with arrays of given types."""


def _differentiable(types: Sequence[Type]) -> list[int]:
    return [i for i, t in enumerate(types) if t.is_differentiable]


def restricted(function: Function, arrays: Sequence[Any], positions: Sequence[int]) -> Function:
    """Return a function of just the arguments at some positions; the others stand still."""

    def chosen(*values: Any) -> Any:
        full = list(arrays)
        for i, value in zip(positions, values, strict=True):
            full[i] = value
        return function(*full)

    return chosen


def jvp_rule(derive: Derive, function: Function, types: Sequence[Type]) -> list[Graph]:
    """Return the region from arguments and tangents to results and tangents."""
    active = _differentiable(types)

    def rule(*args: Any) -> Any:
        primals, tangents = args[: len(types)], args[len(types) :]
        outs, pushed = jax.jvp(
            restricted(function, primals, active),
            tuple(primals[i] for i in active),
            tuple(tangents[i] for i in active),
        )
        return [*outs, *(_own_type(out, t) for out, t in zip(outs, pushed, strict=True))]

    return [derive(rule, [*types, *types])]


def vjp_rules(derive: Derive, function: Function, types: Sequence[Type]) -> list[Graph]:
    """Return the regions from arguments to results and residuals, and from there to cotangents.

    A cotangent gets the dtype of its argument, as JAX gives it one where nobody looks at it.
    """
    active = _differentiable(types)
    tree: Any = None
    outs = 0

    def forward(*primals: Any) -> Any:
        nonlocal tree, outs
        results, vjp = jax.vjp(restricted(function, primals, active), *(primals[i] for i in active))
        residuals, tree = jax.tree.flatten(vjp)
        outs = len(results)
        return [*results, *residuals]

    first = derive(forward, types)
    residuals = len(first.results) - outs

    def backward(*args: Any) -> Any:
        vjp = jax.tree.unflatten(tree, args[:residuals])
        found = dict(zip(active, vjp(tuple(map(_as_jax_has_it, args[residuals:]))), strict=True))
        return [
            jax.numpy.astype(found[i], shape_struct(t).dtype)
            if i in found
            else jax.numpy.zeros(t.shape, shape_struct(t).dtype)
            for i, t in enumerate(types)
        ]

    order = [*first.results[outs:], *first.results[:outs]]
    return [first, derive(backward, [r.type for r in order])]


def _own_type(primal: Any, derivative: Any) -> Any:
    """Replace JAX's float0 derivative of an integer by zeros of the integer's own type."""
    if jax.typeof(derivative).dtype == jax.dtypes.float0:
        return jax.numpy.zeros_like(primal)
    return derivative


def _as_jax_has_it(cotangent: Any) -> Any:
    """The other way round."""
    if jax.numpy.issubdtype(jax.typeof(cotangent).dtype, jax.numpy.inexact):
        return cotangent
    return np.zeros(np.shape(cotangent), jax.dtypes.float0)
