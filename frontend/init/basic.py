"""Initialisers that draw every element by itself, from one distribution, or take one value."""

from __future__ import annotations

from dataclasses import dataclass

import brainunit as u
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from .. import environ
from ..random import DEFAULT
from ..random.parameters import in_one_unit, with_unit
from ..typing import ArrayLike
from .base import Initialization, to_size

__all__ = [
    "Beta",
    "Constant",
    "Exponential",
    "Gamma",
    "LogNormal",
    "Normal",
    "TruncatedNormal",
    "Uniform",
    "Weibull",
    "ZeroInit",
]


def _require(relation: np.ufunc, left: ArrayLike | None, right: ArrayLike, message: str) -> None:
    """Raise ValueError unless the relation holds for all elements, where they are known."""
    _, parts = in_one_unit(left, right)
    known = not any(part is None or isinstance(part, Tracer) for part in parts)
    if known and not np.all(relation(*map(np.asarray, parts))):
        raise ValueError(f"{message}, got {left} and {right}")


@dataclass(frozen=True, eq=False, repr=False)
class Constant(Initialization):
    """The same value everywhere, or an array that broadcasts to the size.

    The unit is that of the value, and so is the dtype; Python numbers take the default dtype.

    Raises
    ------
    ValueError
        If the value is None, or does not broadcast to the size.

    Examples
    --------
    >>> import brainunit as u
    >>> from brainir.init import Constant
    >>> rest = Constant(-65.0 * u.mV)
    >>> rest, rest((2,))
    (Constant(value=-65. mV), Quantity([-65. -65.], "mV"))
    """

    value: ArrayLike

    def __post_init__(self):
        if self.value is None:
            raise ValueError("Constant needs a value, got None")

    def __call__(self, size, *, rng=DEFAULT, dtype=None):
        size = to_size(size)
        number = u.get_mantissa(self.value)
        if dtype is None:
            defaults = {int: environ.ditype, float: environ.dftype}
            dtype = defaults[type(number)]() if type(number) in defaults else None
        array = jnp.asarray(number, dtype)
        try:
            array = jnp.broadcast_to(array, size)
        except ValueError as error:
            raise ValueError(f"{self} does not broadcast to the size {size}") from error
        return with_unit(array, u.get_unit(self.value))


@dataclass(frozen=True, eq=False, repr=False)
class ZeroInit(Initialization):
    """Zeros, with a unit.

    Examples
    --------
    >>> import brainunit as u
    >>> from brainir.init import ZeroInit
    >>> ZeroInit(u.mV)((2,))
    Quantity([0. 0.], "mV")
    """

    unit: u.Unit = u.UNITLESS

    def __call__(self, size, *, rng=DEFAULT, dtype=None):
        return with_unit(jnp.zeros(to_size(size), dtype or environ.dftype()), self.unit)


@dataclass(frozen=True, eq=False, repr=False)
class Uniform(Initialization):
    """Evenly between two bounds.

    Raises
    ------
    ValueError
        If `low` is not below `high`.

    Examples
    --------
    >>> import brainunit as u
    >>> from brainir.init import Uniform
    >>> Uniform(-70.0 * u.mV, -50.0 * u.mV)((2, 3)).shape
    (2, 3)
    """

    low: ArrayLike
    high: ArrayLike

    def __post_init__(self):
        _require(np.less, self.low, self.high, "low must be below high")

    def __call__(self, size, *, rng=DEFAULT, dtype=None):
        return rng.uniform(self.low, self.high, to_size(size), dtype=dtype)


@dataclass(frozen=True, eq=False, repr=False)
class Normal(Initialization):
    """Normal numbers of that mean and standard deviation.

    Raises
    ------
    ValueError
        If `std` is negative.

    Examples
    --------
    >>> from brainir.init import Normal
    >>> Normal(0.0, 0.1), Normal(0.0, 0.1)(3).shape
    (Normal(mean=0.0, std=0.1), (3,))
    """

    mean: ArrayLike
    std: ArrayLike

    def __post_init__(self):
        _require(np.greater_equal, self.std, 0, "std must not be negative")

    def __call__(self, size, *, rng=DEFAULT, dtype=None):
        return rng.normal(self.mean, self.std, to_size(size), dtype=dtype)


@dataclass(frozen=True, eq=False, repr=False)
class LogNormal(Initialization):
    r"""Numbers whose logarithm is normal, and which themselves have that mean and deviation.

    The normal distribution has :math:`\sigma^2 = \log(1 + (std / mean)^2)` and
    :math:`\mu = \log(mean) - \sigma^2 / 2`.

    Raises
    ------
    ValueError
        If `mean` is not positive or `std` is negative.

    Examples
    --------
    >>> import brainunit as u
    >>> from brainir.init import LogNormal
    >>> LogNormal(1.0 * u.nS, 0.5 * u.nS)((4,)).unit
    Unit("nS")
    """

    mean: ArrayLike
    std: ArrayLike

    def __post_init__(self):
        _require(np.greater, self.mean, 0, "mean must be positive")
        _require(np.greater_equal, self.std, 0, "std must not be negative")

    def __call__(self, size, *, rng=DEFAULT, dtype=None):
        dtype = dtype or environ.dftype()
        unit, parts = in_one_unit(self.mean, self.std)
        mean, std = (jnp.asarray(part, dtype) for part in parts)
        variance = jnp.log1p((std / mean) ** 2)
        mu = jnp.log(mean) - variance / 2
        return with_unit(rng.lognormal(mu, jnp.sqrt(variance), to_size(size), dtype=dtype), unit)


@dataclass(frozen=True, eq=False, repr=False)
class Gamma(Initialization):
    """Gamma numbers, of mean ``shape * scale``.

    Raises
    ------
    ValueError
        If `shape` or `scale` is not positive.

    Examples
    --------
    >>> from brainir.init import Gamma
    >>> Gamma(2.0, 3.0)((2,)).shape
    (2,)
    """

    shape: ArrayLike
    scale: ArrayLike

    def __post_init__(self):
        _require(np.greater, self.shape, 0, "shape must be positive")
        _require(np.greater, self.scale, 0, "scale must be positive")

    def __call__(self, size, *, rng=DEFAULT, dtype=None):
        return rng.gamma(self.shape, self.scale, to_size(size), dtype=dtype)


@dataclass(frozen=True, eq=False, repr=False)
class Exponential(Initialization):
    """Exponential numbers of mean `scale`.

    Raises
    ------
    ValueError
        If `scale` is not positive.

    Examples
    --------
    >>> import brainunit as u
    >>> from brainir.init import Exponential
    >>> Exponential(20.0 * u.ms)((2,)).unit
    Unit("ms")
    """

    scale: ArrayLike

    def __post_init__(self):
        _require(np.greater, self.scale, 0, "scale must be positive")

    def __call__(self, size, *, rng=DEFAULT, dtype=None):
        return rng.exponential(self.scale, to_size(size), dtype=dtype)


@dataclass(frozen=True, eq=False, repr=False)
class TruncatedNormal(Initialization):
    """Normal numbers of that mean and standard deviation, restricted to an interval.

    Without `low` or `high` that side is open.

    Raises
    ------
    ValueError
        If `std` is negative or `low` is not below `high`.

    Examples
    --------
    >>> from brainir.init import TruncatedNormal
    >>> bool((TruncatedNormal(0.0, 1.0, low=0.0)((10,)) >= 0).all())
    True
    """

    mean: ArrayLike
    std: ArrayLike
    low: ArrayLike | None = None
    high: ArrayLike | None = None

    def __post_init__(self):
        _require(np.greater_equal, self.std, 0, "std must not be negative")
        if self.high is not None:
            _require(np.less, self.low, self.high, "low must be below high")

    def __call__(self, size, *, rng=DEFAULT, dtype=None):
        unit, (mean, std, low, high) = in_one_unit(self.mean, self.std, self.low, self.high)
        low = -np.inf if low is None else low
        high = np.inf if high is None else high
        sample = rng.truncated_normal(low, high, to_size(size), mean, std, dtype=dtype)
        return with_unit(sample, unit)


@dataclass(frozen=True, eq=False, repr=False)
class Beta(Initialization):
    """Beta numbers, stretched from the interval 0 to 1 to another one.

    Raises
    ------
    ValueError
        If `alpha` or `beta` is not positive or `low` is not below `high`.

    Examples
    --------
    >>> from brainir.init import Beta
    >>> bool((Beta(2.0, 3.0, 1.0, 4.0)((10,)) >= 1).all())
    True
    """

    alpha: ArrayLike
    beta: ArrayLike
    low: ArrayLike = 0.0
    high: ArrayLike = 1.0

    def __post_init__(self):
        _require(np.greater, self.alpha, 0, "alpha must be positive")
        _require(np.greater, self.beta, 0, "beta must be positive")
        _require(np.less, self.low, self.high, "low must be below high")

    def __call__(self, size, *, rng=DEFAULT, dtype=None):
        dtype = dtype or environ.dftype()
        unit, parts = in_one_unit(self.low, self.high)
        low, high = (jnp.asarray(part, dtype) for part in parts)
        sample = rng.beta(self.alpha, self.beta, to_size(size), dtype=dtype)
        return with_unit(low + (high - low) * sample, unit)


@dataclass(frozen=True, eq=False, repr=False)
class Weibull(Initialization):
    """Weibull numbers of that shape, times a scale.

    Raises
    ------
    ValueError
        If `shape` or `scale` is not positive.

    Examples
    --------
    >>> from brainir.init import Weibull
    >>> Weibull(2.0, 3.0)((2,)).shape
    (2,)
    """

    shape: ArrayLike
    scale: ArrayLike

    def __post_init__(self):
        _require(np.greater, self.shape, 0, "shape must be positive")
        _require(np.greater, self.scale, 0, "scale must be positive")

    def __call__(self, size, *, rng=DEFAULT, dtype=None):
        dtype = dtype or environ.dftype()
        unit, [scale] = in_one_unit(self.scale)
        sample = rng.weibull(self.shape, to_size(size), dtype=dtype)
        return with_unit(jnp.asarray(scale, dtype) * sample, unit)
