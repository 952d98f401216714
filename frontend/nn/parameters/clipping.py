"""Gradients kept short."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

__all__ = ["clip_grad_norm"]


def clip_grad_norm(
    grad: Any,
    max_norm: Any,
    norm_type: float | str | None = 2.0,
    return_norm: bool = False,
) -> Any:
    r"""Scale gradients down so that all of them together are no longer than `max_norm`.

    .. math:: g' = g \cdot \min(1,\ m / \|g\|_p)

    Source: Pascanu, Mikolov & Bengio 2013, *On the difficulty of training recurrent neural
    networks*.

    Parameters
    ----------
    grad : pytree of arrays or Quantities
        The gradients. The norm is that of all their numbers, whatever their units are.
    max_norm : float
        The longest that they may be.
    norm_type : float, "inf", "-inf" or None
        The order ``p`` of the norm, at least 1; None stands for 2, "inf" for the largest absolute
        number, "-inf" for the smallest.
    return_norm : bool
        Whether to return the norm, too.

    Returns
    -------
    pytree, or tuple of a pytree and an array
        The gradients, each with its unit, and the norm that they had before if it is asked for.

    Raises
    ------
    ValueError
        If `max_norm` is negative, or `norm_type` is not the order of a norm.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir.nn import clip_grad_norm
    >>> grads = {"weight": jnp.array([3.0, 4.0])}
    >>> clipped, norm = clip_grad_norm(grads, 1.0, return_norm=True)
    >>> float(norm), [round(x, 4) for x in clipped["weight"].tolist()]
    (5.0, [0.6, 0.8])
    """
    if not isinstance(max_norm, Tracer) and max_norm < 0:
        raise ValueError(f"max_norm cannot be negative, got {max_norm}")
    norm = _norm(jax.tree.leaves(grad), _order(norm_type))
    too_long = norm > max_norm
    factor = jnp.where(too_long, max_norm / jnp.where(too_long, norm, 1), 1)

    def shortened(leaf: Any) -> jax.Array:
        leaf = jnp.asarray(leaf)
        real = leaf if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf.astype(factor.dtype)
        return (real * factor.astype(jnp.finfo(real.dtype).dtype)).astype(real.dtype)

    clipped = jax.tree.map(shortened, grad)
    return (clipped, norm) if return_norm else clipped


def _order(norm_type: float | str | None) -> float:
    order = 2.0 if norm_type is None else norm_type
    try:
        number = float(order)
    except (TypeError, ValueError):
        number = math.nan
    if not (number >= 1 or number == -math.inf):
        raise ValueError(
            f"norm_type must be a number of at least 1, 'inf' or '-inf', not {order!r}"
        )
    return number


def _norm(leaves: list[Any], order: float) -> jax.Array:
    """Return the norm of the numbers of some arrays, as if they stood in one vector."""
    arrays = [array for array in map(jnp.asarray, leaves) if array.size]
    inexact = [array.dtype for array in arrays if jnp.issubdtype(array.dtype, jnp.inexact)]
    wide = any(jnp.finfo(dtype).bits == 64 for dtype in inexact)
    dtype = jnp.float64 if wide else jnp.float32
    if not arrays:
        return jnp.zeros((), dtype)
    together = jnp.concatenate([jnp.abs(array).astype(dtype).ravel() for array in arrays])
    if order == math.inf:
        return jnp.max(together)
    if order == -math.inf:
        return jnp.min(together)
    return jnp.linalg.norm(together, ord=order)
