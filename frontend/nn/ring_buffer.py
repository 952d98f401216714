"""What a delay computes: steps of time, and the reading and writing of a ring buffer."""

from __future__ import annotations

from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from .. import environ

__all__ = [
    "between",
    "check_range",
    "filled",
    "in_steps",
    "is_quantity",
    "read",
    "type_of",
    "whole_steps",
    "write",
]

ROUNDING = 1e-3
"""So many steps above a whole number of steps are put down to rounding: 0.7 ms is 7 of 0.1 ms."""


# --- time -----------------------------------------------------------------------------------------


def in_steps(time: Any) -> Any:
    """Return a duration in steps of ``dt``, as a number or array without unit."""
    dt = environ.get_dt()
    ratio = time / dt
    if isinstance(ratio, u.Quantity) and not ratio.is_unitless:
        raise ValueError(f"a delay of {time!r} is not a time like dt, {dt!r}")
    return ratio.to_decimal() if isinstance(ratio, u.Quantity) else ratio


def whole_steps(time: Any) -> np.ndarray:
    """Return a delay, which must be known, in whole steps of ``dt``, rounded up."""
    with jax.ensure_compile_time_eval():
        steps = np.asarray(in_steps(time), np.float64)
    if (steps < -ROUNDING).any() or not np.isfinite(steps).all():
        raise ValueError(f"a delay cannot be negative or infinite, as {time!r} is")
    return np.maximum(np.ceil(steps - np.maximum(ROUNDING, 1e-6 * steps)), 0).astype(np.int32)


def check_range(age: Any, slots: int) -> None:
    """Refuse ages that are known, and of which the buffer has no value."""
    if isinstance(age, Tracer):
        return
    ages = np.asarray(age)
    if ages.size and (ages.min() < -ROUNDING or ages.max() > slots - 1 + ROUNDING):
        worst = ages.min() if ages.min() < 0 else ages.max()
        raise ValueError(
            f"a value of {worst} steps ago is asked for, and the delay keeps those of 0 to "
            f"{slots - 1}; register the delay before init_state makes the buffer"
        )


# --- arrays ---------------------------------------------------------------------------------------


def is_quantity(value: object) -> bool:
    return isinstance(value, u.Quantity)


def type_of(leaf: Any) -> jax.ShapeDtypeStruct:
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return leaf
    array = leaf if hasattr(leaf, "dtype") else jnp.asarray(leaf)
    return jax.ShapeDtypeStruct(array.shape, array.dtype)


def filled(init: Any, layout: tuple[int, Any, Any], dtype: Any, unit: u.Unit | None) -> Any:
    """Make the first history of one array, of so many slots, batch axes, and axes of its own."""
    slots, batch, own = layout
    shape = (slots, *batch, *own)
    made = init(shape, dtype=dtype) if callable(init) else (0 if init is None else init)
    if isinstance(made, u.Quantity):
        made = made.to_decimal(unit if unit is not None else u.UNITLESS)
    array = jnp.asarray(made).astype(dtype)
    if batch and array.ndim == 1 + len(own):  # a history without the batch
        array = jnp.expand_dims(array, range(1, 1 + len(batch)))
    array = jnp.broadcast_to(array, shape)
    return array if unit is None else u.Quantity(array, unit=unit)


def write(history: Any, current: Any, pointer: jax.Array) -> Any:
    """Store a value in a slot of one array, or Quantity."""
    if isinstance(history, u.Quantity):
        mantissa = u.Quantity(current).to_decimal(history.unit)
        return u.Quantity(write(history.mantissa, mantissa, pointer), unit=history.unit)
    if isinstance(current, u.Quantity):
        current = current.to_decimal(u.UNITLESS)
    array = jnp.asarray(current)
    if array.shape != history.shape[1:]:
        raise ValueError(f"a delay of shape {history.shape[1:]} was given shape {array.shape}")
    return jax.lax.dynamic_update_index_in_dim(
        history, array.astype(history.dtype), pointer, 0, allow_negative_indices=False
    )


def read(history: jax.Array, slot: jax.Array, indices: tuple[Any, ...], batch: int) -> jax.Array:
    """Return values of one array at slots, and at indices behind the batch axes."""
    if not indices:
        # One slot is read twice: XLA makes a slice of a gather of one row, joins it with the slice
        # that the update writes, and then copies the whole history at each step to be safe.
        rows = jnp.stack([slot, slot]) if slot.ndim == 0 else slot
        found = history.at[rows].get(mode="promise_in_bounds", wrap_negative_indices=False)
        return found[0] if slot.ndim == 0 else found
    taken = history[(slot, *[slice(None)] * batch, *indices)]
    arrays = [index for index in (slot, *indices) if not isinstance(index, slice)]
    matched = np.broadcast_shapes(*map(np.shape, arrays))
    if batch and matched:  # numpy puts matched axes first where a slice stands between indices
        return jnp.moveaxis(taken, range(len(matched), len(matched) + batch), range(batch))
    return taken


def between(newer: jax.Array, older: jax.Array, part: jax.Array) -> jax.Array:
    """Return what lies on the line between two values, `part` of the way to the older one."""
    if not jnp.issubdtype(newer.dtype, jnp.inexact):
        newer, older = newer.astype(part.dtype), older.astype(part.dtype)
    return newer + (older - newer) * part.astype(newer.dtype)
