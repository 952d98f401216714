"""What brainevent's primitives compute, said with our ops, so that kernels can hold them.

Until then each stays the primitive that it is: its derivatives, its lanes, and what runs it outside
of kernels are its library's own. Only their names and parameters are known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from ..capture import meanings
from .connections import Connections


def _numbers(spikes: Any, like: Any) -> Any:
    """Return spikes as ones and zeros: what is not positive does not count."""
    fired = spikes if spikes.dtype == bool else spikes > 0
    return fired.astype(like.dtype)


def _product(vector: Any, weights: Any, connections: Connections, transpose: bool) -> Any:
    """Return a product with a vector, or with each of some, the first axis numbering neurons."""
    weights = weights.reshape(-1) if weights.size > 1 else weights.reshape(())
    product = connections.to_columns if transpose else connections.to_rows
    return jnp.moveaxis(product(jnp.moveaxis(vector, 0, -1), weights), -1, 0)


def _of_fixed_number(
    weights: Any, indices: Any, spikes: Any, *, shape: tuple[int, int], transpose: bool, **_: Any
) -> list[Any]:
    """Say a product of spikes with a matrix of which each row has as many connections."""
    height, each = indices.shape
    begins = jnp.arange(height + 1, dtype=indices.dtype) * each
    connections = Connections(indices.reshape(-1), begins, *shape, "column")
    rows = jnp.broadcast_to(jnp.arange(height, dtype=indices.dtype)[:, None], indices.shape)
    connections.rows = rows.reshape(-1)  # of equal length: nothing to find by their beginnings
    return [_product(_numbers(spikes, weights), weights, connections, transpose)]


def _of_rows(binary: bool) -> Callable[..., list[Any]]:
    """Return what says a product with a matrix in rows, of spikes or of other numbers."""

    def meaning(
        weights: Any,
        indices: Any,
        indptr: Any,
        vector: Any,
        *rest: Any,
        shape: tuple[int, int],
        transpose: bool,
        **_: Any,
    ) -> list[Any]:
        connections = Connections(indices, indptr, *shape, "column")
        values = _numbers(vector, weights) if binary else vector
        # Work space for GPUs comes back as it went in.
        return [_product(values, weights, connections, transpose), *rest]

    return meaning


KNOWN: Mapping[str, Callable[..., list[Any]]] = {
    "ell_binary_matvec": _of_fixed_number,
    "binary_fcnmm": _of_fixed_number,
    "binary_csrmv": _of_rows(binary=True),
    "binary_csrmm": _of_rows(binary=True),
    "csrmv": _of_rows(binary=False),
    "csrmm": _of_rows(binary=False),
}
"""By the names of primitives, those of a matrix and those of some vectors at a time, too."""

meanings.update(KNOWN)
