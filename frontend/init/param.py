"""Parameters of models: whatever the user gives, made into a value of the right size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from ..capture import Cell
from ..state import State
from ..typing import ArrayLike, Size
from .base import to_size

__all__ = ["param"]


def param(
    init: Callable[..., Any] | ArrayLike | State | None,
    sizes: Size,
    batch_size: int | None = None,
    allow_none: bool = True,
    allow_scalar: bool = True,
    **kwargs: Any,
) -> Any:
    """Make a parameter of that size from a number, an array, an initialiser or a State.

    Parameters
    ----------
    init
        None and scalars, with a unit or without, are returned as they are. An array must broadcast
        to `sizes`; with a batch it is repeated, unless it has that axis already. A callable is
        called with the size. A State gets its own value treated so, and is returned itself.
    sizes
        The size, without the batch.
    batch_size
        The length of a batch axis in front of all others; none by default.
    allow_none, allow_scalar
        Whether `init` may be None, or a scalar.
    **kwargs
        Handed to a callable.

    Raises
    ------
    ValueError
        If None is not allowed, an array does not fit, or a size is negative or a bool.
    TypeError
        If `init` is none of these, such as a list or a string.

    Examples
    --------
    >>> import brainunit as u
    >>> from brainir.init import Constant, param
    >>> param(5.0 * u.ms, 3)
    Quantity(5., "ms")
    >>> param(Constant(0.0 * u.mV), 3, batch_size=2).shape
    (2, 3)
    """
    size = to_size(sizes)
    batch = () if batch_size is None else to_size(batch_size)
    if init is None:
        if allow_none:
            return None
        raise ValueError("a parameter is needed here, got None")
    if isinstance(init, Cell):
        init.value = param(init.value, size, batch_size, allow_none, allow_scalar, **kwargs)
        return init
    if callable(init):
        return init((*batch, *size), **kwargs)
    if not isinstance(
        u.get_mantissa(init), int | float | complex | np.generic | np.ndarray | jax.Array
    ):
        raise TypeError(
            "a parameter is a number, an array, a quantity, an initialiser or a State; "
            f"got {init!r} of type {type(init).__name__}"
        )
    if np.ndim(u.get_mantissa(init)) == 0:
        if allow_scalar:
            return init
        raise TypeError(f"a scalar is not enough here, an array of size {size} is needed")
    return _fit_array(init, size, batch)


def _fit_array(array: Any, size: tuple[int, ...], batch: tuple[int, ...]) -> Any:
    """Return the array if it broadcasts to the size, repeated along the batch axis if any."""
    mantissa, unit = u.get_mantissa(array), u.get_unit(array)
    shape = np.shape(mantissa)
    has_batch = bool(batch) and len(shape) == len(size) + 1
    if has_batch and shape[0] != batch[0]:
        raise ValueError(f"a parameter of shape {shape} has a batch of {shape[0]}, not {batch[0]}")
    own = shape[1:] if has_batch else shape
    fits = len(own) <= len(size) and all(
        n in (1, m) for n, m in zip(reversed(own), reversed(size), strict=False)
    )
    if not fits:
        raise ValueError(f"a parameter of shape {shape} does not broadcast to the size {size}")
    if not batch or has_batch:
        return array
    repeated = jnp.broadcast_to(jnp.asarray(mantissa), (*batch, *size))
    return u.maybe_decimal(u.Quantity(repeated, unit=unit))


State.make_value = staticmethod(param)
