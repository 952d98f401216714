"""`unvmap`: what all lanes around have, from inside one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.interpreters import batching, mlir

from ..capture import all_lanes, new_primitive
from . import plain


def _kept(x: Any) -> list[Any]:
    return [x]


def _primitive(name: str, join: Callable[[Any], Any]) -> Any:
    """Return a primitive that gives its operand back, joined over lanes of plain ``jax.vmap``."""
    primitive = new_primitive(f"unvmap_{name}", _kept)
    primitive.def_impl(_kept)
    mlir.register_lowering(primitive, mlir.lower_fun(_kept, multiple_results=True))

    def batch(args: Any, axes: Any) -> Any:
        (x,), (axis,) = args, axes
        return primitive.bind(join(jnp.moveaxis(x, axis, 0))), [None]

    batching.primitive_batchers[primitive] = batch
    return primitive


_REDUCTIONS: dict[str, Callable[..., Any]] = {"any": jnp.any, "all": jnp.all, "max": jnp.max}

_PRIMITIVES = {
    **{op: _primitive(op, lambda x, join=join: join(x, 0)) for op, join in _REDUCTIONS.items()},
    "none": _primitive("none", lambda x: x),
}


def unvmap(x: Any, op: str = "any") -> jax.Array:
    """Return what an array is in all lanes around, of ours and of ``jax.vmap``, taken together.

    Parameters
    ----------
    x : array
        What it is in this lane.
    op : {"any", "all", "max", "none"}
        How to take all elements in all lanes together; "none" gives the whole array, with an axis
        in front for each mapping around, the outermost first. What comes out has no derivative.

    Returns
    -------
    array
        The same for all lanes: a scalar, unless ``op`` is "none".

    Raises
    ------
    ValueError
        If ``op`` is none of the four, or the number of lanes is not known yet: give ``axis_size``.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> def lane(x):
    ...     return brainir.transform.unvmap(x > 1), brainir.transform.unvmap(x, "max")
    >>> brainir.transform.vmap(lane, out_axes=None)(jnp.arange(3.0))
    (Array(True, dtype=bool), Array(2., dtype=float32))
    """
    if op not in _PRIMITIVES:
        raise ValueError(f"op of unvmap is {', '.join(map(repr, _PRIMITIVES))}, not {op!r}")
    plain.meet()
    everything = all_lanes(jnp.asarray(x))
    if op in _REDUCTIONS:
        everything = _REDUCTIONS[op](everything)
    (result,) = _PRIMITIVES[op].bind(everything)
    return result
