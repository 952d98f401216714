"""What all distributions do with their parameters: shapes, units, dtypes."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from .. import environ
from ..typing import ArrayLike, DTypeLike, SeedOrKey, Size

__all__ = [
    "Generator",
    "bare",
    "check_probability",
    "fit",
    "in_one_unit",
    "integer_type",
    "real_type",
    "to_unit",
    "with_unit",
]


class Generator:
    """Something that has random keys to give."""

    def take_key(self, key: SeedOrKey | None = None) -> jax.Array:
        """Return `key` as a typed key, or, without one, a fresh key of the generator."""
        raise NotImplementedError(f"{type(self).__name__} has no keys to give")


def fit(size: Size | None, *parameters: Any) -> tuple[int, ...]:
    """Return the shape of a sample: `size`, or what the parameters broadcast to.

    Raises
    ------
    ValueError
        If the parameters do not broadcast to `size`.
    """
    natural = np.broadcast_shapes(*(np.shape(p) for p in parameters))
    if size is None:
        return natural
    sizes = size if isinstance(size, Sequence) else (size,)
    shape = tuple(operator.index(n) for n in sizes)
    if len(natural) > len(shape) or any(
        n not in (1, m) for n, m in zip(reversed(natural), reversed(shape), strict=False)
    ):
        raise ValueError(f"parameters of shape {natural} do not broadcast to the size {shape}")
    return shape


def in_one_unit(*values: ArrayLike | None) -> tuple[u.Unit, list[Any]]:
    """Return the first unit among the values, and all of them as numbers in it; None stays None."""
    units = (v.unit for v in values if isinstance(v, u.Quantity) and not v.unit.is_unitless)
    unit = next(units, u.UNITLESS)
    return unit, [None if value is None else to_unit(value, unit) for value in values]


def to_unit(value: ArrayLike, unit: u.Unit) -> Any:
    """Return the number that a value is in a unit; a plain 0 goes with any unit.

    Raises
    ------
    brainunit.UnitMismatchError
        If the dimensions differ.
    """
    if isinstance(value, u.Quantity):
        return value.in_unit(unit).mantissa
    if unit.is_unitless or (type(value) in (int, float) and value == 0):
        return value
    raise u.UnitMismatchError(
        f"the parameter {value!r} has no unit where others have {unit}", u.UNITLESS, unit
    )


def with_unit(sample: jax.Array, unit: u.Unit) -> Any:
    """Return the sample as a quantity, or as it is for the unit 1."""
    return sample if unit.is_unitless else u.Quantity(sample, unit=unit)


def bare(value: ArrayLike, name: str, dtype: DTypeLike) -> jax.Array:
    """Return a parameter that takes no unit as an array.

    Raises
    ------
    ValueError
        If it has a unit.
    """
    if isinstance(value, u.Quantity):
        if not value.unit.dim.is_dimensionless:
            raise ValueError(f"the parameter {name!r} takes no unit, got one in {value.unit}")
        value = value.to_decimal()
    return jnp.asarray(value, dtype)


def check_probability(p: jax.Array) -> None:
    """Refuse a probability outside of 0 to 1, where its value is known.

    Raises
    ------
    ValueError
        If it is.
    """
    if not isinstance(p, Tracer) and not bool(((p >= 0) & (p <= 1)).all()):
        raise ValueError(f"a probability must lie between 0 and 1, got {p}")


def real_type(dtype: DTypeLike | None, like: ArrayLike | None = None) -> DTypeLike:
    """Return `dtype`, or that of the real array `like`, or the default for real numbers."""
    return _type_or_default(dtype, like, jnp.floating, environ.dftype)


def integer_type(dtype: DTypeLike | None, like: ArrayLike | None = None) -> DTypeLike:
    """Return `dtype`, or that of the integer array `like`, or the default for integers."""
    return _type_or_default(dtype, like, jnp.integer, environ.ditype)


def _type_or_default(dtype: DTypeLike | None, like: Any, family: Any, default: Any) -> DTypeLike:
    if dtype is not None:
        return dtype
    own = getattr(u.get_mantissa(like), "dtype", None)
    if own is None or not jnp.issubdtype(own, family):
        return default()
    return jax.dtypes.canonicalize_dtype(own)
