"""What all distributions do with their parameters: shapes, units, dtypes, ranges, docstrings."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from .. import environ
from ..typing import ArrayLike, DTypeLike, SeedOrKey, Size

__all__ = [
    "ABOVE_ONE",
    "BELOW_ONE",
    "NOT_NEGATIVE",
    "POSITIVE",
    "PROBABILITY",
    "Generator",
    "Range",
    "bare",
    "check",
    "explained",
    "fit",
    "in_one_unit",
    "integer_type",
    "real_type",
    "to_unit",
    "with_unit",
]

C = TypeVar("C", bound=type)


class Range(NamedTuple):
    """Which values a parameter may have, in words and as a test of an array."""

    words: str
    holds: Callable[[np.ndarray], Any]


POSITIVE = Range("positive", lambda x: x > 0)
NOT_NEGATIVE = Range("0 or more", lambda x: x >= 0)
PROBABILITY = Range("between 0 and 1", lambda x: (x >= 0) & (x <= 1))
BELOW_ONE = Range("0 or more and below 1", lambda x: (x >= 0) & (x < 1))
ABOVE_ONE = Range("above 1", lambda x: x > 1)


class Generator:
    """Something that has random keys to give."""

    def take_key(self, key: SeedOrKey | None = None) -> jax.Array:
        """Return `key` as a typed key, or, without one, a fresh key of the generator."""
        raise NotImplementedError(f"{type(self).__name__} has no keys to give")

    def draw_with(
        self,
        draw: Callable[..., jax.Array],
        parameters: Mapping[str, tuple[ArrayLike, Range | None]],
        size: Size | None,
        key: SeedOrKey | None,
        dtype: DTypeLike | None,
    ) -> jax.Array:
        """Draw real numbers from a distribution none of whose parameters takes a unit."""
        dtype = real_type(dtype)
        arrays = [bare(value, name, dtype, must) for name, (value, must) in parameters.items()]
        shape = fit(size, *arrays)
        return draw(self.take_key(key), *arrays, shape, dtype)


SECTIONS = {
    "size": """\
size : int or tuple of int, optional
    The shape of the sample, to which the parameters must broadcast; by default theirs.""",
    "key": """\
key : int or key, optional
    A key or seed to use instead of the generator's own, which then stays as it is.""",
    "dtype": """\
dtype : dtype, optional
    The type of the sample; by default ``environ.{default}()``.""",
    "check_valid": """\
check_valid : bool, optional
    Whether to look at the values of parameters, as far as they are known.""",
}

RAISES = """\
Raises
------
ValueError
    For parameters that do not fit the size, are out of their range as far as their values are
    known when the code is traced, or have a unit where none is taken.
brainunit.UnitMismatchError
    For units that do not go together.
TypeError
    If `key` is neither a seed nor a key."""


def explained(default: str) -> Callable[[C], C]:
    """Return a decorator that says in the docstring of every draw what all draws have in common."""

    def explain(cls: C) -> C:
        for name, method in vars(cls).items():
            if name.startswith("_") or not inspect.isfunction(method):
                continue
            taken = inspect.signature(method).parameters
            doc = inspect.getdoc(method)
            if "key" in taken and doc is not None and "Raises\n------" not in doc:
                method.__doc__ = _explained(doc, [*taken], default)
        return cls

    return explain


def _explained(doc: str, taken: Sequence[str], default: str) -> str:
    text, prompt, example = doc.partition(">>> ")
    entries = [words for name, words in SECTIONS.items() if name in taken]
    parameters = "\n".join(["Parameters", "----------", *entries]).format(default=default)
    return f"{text}{parameters}\n\n{RAISES}\n\nExamples\n--------\n{prompt}{example}"


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


def bare(value: ArrayLike, name: str, dtype: DTypeLike, must: Range | None = None) -> jax.Array:
    """Return a parameter that takes no unit as an array.

    Raises
    ------
    ValueError
        If it has a unit, or its value is known and not in the range that it must be in.
    """
    if isinstance(value, u.Quantity):
        if not value.unit.dim.is_dimensionless:
            raise ValueError(f"the parameter {name!r} takes no unit, got one in {value.unit}")
        value = value.to_decimal()
    check(value, name, must)
    return jnp.asarray(value, dtype)


def check(value: Any, name: str, must: Range | None) -> None:
    """Refuse a parameter outside of its range, where its value is known.

    Raises
    ------
    ValueError
        If it is.
    """
    if must is None or any(isinstance(part, Tracer) for part in jax.tree.leaves(value)):
        return
    if not np.all(must.holds(np.asarray(value))):
        raise ValueError(f"the parameter {name!r} must be {must.words}, got {value}")


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
