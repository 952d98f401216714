"""The shapes that profiles may have. Distances and scales have a unit of length, or neither has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp

from ..random.parameters import POSITIVE, check, to_unit
from ..typing import ArrayLike
from .profiles import DistanceProfile, in_scale

__all__ = [
    "BimodalProfile",
    "DoGProfile",
    "ExponentialProfile",
    "GaussianProfile",
    "LinearProfile",
    "LogisticProfile",
    "MexicanHatProfile",
    "PowerLawProfile",
    "SigmoidProfile",
    "StepProfile",
]


def _number(scale: ArrayLike) -> Any:
    return u.get_mantissa(scale)


def _bell(distances: ArrayLike, sigma: ArrayLike, center: ArrayLike = 0.0) -> jax.Array:
    d = in_scale(distances, sigma) - _number(to_unit(center, u.get_unit(sigma)))
    return jnp.exp(-((d / _number(sigma)) ** 2) / 2)


def _falling(distances: ArrayLike, midpoint: ArrayLike, slope: ArrayLike) -> jax.Array:
    by = slope
    if isinstance(slope, u.Quantity):
        by = slope.in_unit(u.get_unit(midpoint).reverse()).mantissa
    return jax.nn.sigmoid(_number(by) * (_number(midpoint) - in_scale(distances, midpoint)))


class _Shape(DistanceProfile):
    """A shape that ends at its `max_distance`, if it has one."""

    max_distance: Any = None

    def probability(self, distances: ArrayLike) -> jax.Array:
        """Return the value at distances, 0 beyond `max_distance`."""
        value = self._shape(distances)
        if self.max_distance is None:
            return value
        within = in_scale(distances, self.max_distance) <= _number(self.max_distance)
        return jnp.where(within, value, 0.0)

    def _shape(self, distances: ArrayLike) -> jax.Array:
        raise NotImplementedError

    def _require_positive(self, *names: str) -> None:
        for name in (*names, "max_distance"):
            value = getattr(self, name)
            if value is not None:
                check(u.get_mantissa(value), name, POSITIVE)


@dataclass(frozen=True, eq=False, repr=False)
class GaussianProfile(_Shape):
    """A bell: exp(-d^2 / (2 sigma^2)).

    Raises
    ------
    ValueError
        If a width or a greatest distance is not positive.
    brainunit.UnitMismatchError
        On use, if only one of distance and scale has a unit of length.

    Examples
    --------
    >>> import brainunit as u
    >>> from brainir.init import GaussianProfile
    >>> float(GaussianProfile(50.0 * u.um)(0.0 * u.um))
    1.0
    """

    sigma: ArrayLike
    max_distance: ArrayLike | None = None

    def __post_init__(self):
        self._require_positive("sigma")

    def _shape(self, distances):
        d = in_scale(distances, self.sigma)
        return jnp.exp(-((d / _number(self.sigma)) ** 2) / 2)


@dataclass(frozen=True, eq=False, repr=False)
class ExponentialProfile(_Shape):
    """A decay: exp(-d / decay_constant).

    Raises
    ------
    ValueError
        If a width or a greatest distance is not positive.
    brainunit.UnitMismatchError
        On use, if only one of distance and scale has a unit of length.

    Examples
    --------
    >>> import brainunit as u
    >>> from brainir.init import ExponentialProfile
    >>> float(ExponentialProfile(50.0 * u.um)(0.0 * u.um))
    1.0
    """

    decay_constant: ArrayLike
    max_distance: ArrayLike | None = None

    def __post_init__(self):
        self._require_positive("decay_constant")

    def _shape(self, distances):
        d = in_scale(distances, self.decay_constant)
        return jnp.exp(-d / _number(self.decay_constant))


@dataclass(frozen=True, eq=False, repr=False)
class PowerLawProfile(_Shape):
    """A power: (d / min_distance)^-exponent, and 1 for what is nearer than `min_distance`.

    Without `min_distance` that is one of the unit of the distances.

    Raises
    ------
    ValueError
        If a width or a greatest distance is not positive.
    brainunit.UnitMismatchError
        On use, if only one of distance and scale has a unit of length.

    Examples
    --------
    >>> import brainunit as u
    >>> from brainir.init import PowerLawProfile
    >>> float(PowerLawProfile(2.0, 10.0 * u.um)(20.0 * u.um))
    0.25
    """

    exponent: float
    min_distance: ArrayLike | None = None
    max_distance: ArrayLike | None = None

    def __post_init__(self):
        self._require_positive("exponent", "min_distance")

    def _shape(self, distances):
        least = self.min_distance
        if least is None:
            least = u.Quantity(1.0, unit=u.get_unit(distances))
        d = in_scale(distances, least)
        return jnp.maximum(d / _number(least), 1.0) ** -self.exponent


@dataclass(frozen=True, eq=False, repr=False)
class LinearProfile(_Shape):
    """A straight line from 1 at the distance 0 to 0 at `max_distance` and beyond.

    Raises
    ------
    ValueError
        If a width or a greatest distance is not positive.
    brainunit.UnitMismatchError
        On use, if only one of distance and scale has a unit of length.

    Examples
    --------
    >>> import brainunit as u
    >>> from brainir.init import LinearProfile
    >>> float(LinearProfile(100.0 * u.um)(75.0 * u.um))
    0.25
    """

    max_distance: ArrayLike

    def __post_init__(self):
        self._require_positive()

    def _shape(self, distances):
        d = in_scale(distances, self.max_distance)
        return jnp.maximum(1 - d / _number(self.max_distance), 0.0)


@dataclass(frozen=True, eq=False, repr=False)
class StepProfile(_Shape):
    """One value up to `threshold` (included), another one beyond.

    Raises
    ------
    ValueError
        If a width or a greatest distance is not positive.
    brainunit.UnitMismatchError
        On use, if only one of distance and scale has a unit of length.

    Examples
    --------
    >>> import brainunit as u
    >>> from brainir.init import StepProfile
    >>> float(StepProfile(10.0 * u.um, 0.5)(10.0 * u.um))
    0.5
    """

    threshold: ArrayLike
    inside_prob: float = 1.0
    outside_prob: float = 0.0

    def __post_init__(self):
        self._require_positive("threshold")

    def _shape(self, distances):
        d = in_scale(distances, self.threshold)
        values = jnp.asarray([self.outside_prob, self.inside_prob], d.dtype)
        return jnp.where(d <= _number(self.threshold), values[1], values[0])


@dataclass(frozen=True, eq=False, repr=False)
class SigmoidProfile(_Shape):
    """A smooth step down: 1 / (1 + exp(slope (d - midpoint))).

    `slope` is per unit of `midpoint`, or has the inverse of a unit of length itself.

    Raises
    ------
    ValueError
        If a width or a greatest distance is not positive.
    brainunit.UnitMismatchError
        On use, if only one of distance and scale has a unit of length.

    Examples
    --------
    >>> import brainunit as u
    >>> from brainir.init import SigmoidProfile
    >>> float(SigmoidProfile(50.0 * u.um)(50.0 * u.um))
    0.5
    """

    midpoint: ArrayLike
    slope: ArrayLike = 0.05
    max_distance: ArrayLike | None = None

    def __post_init__(self):
        self._require_positive()

    def _shape(self, distances):
        return _falling(distances, self.midpoint, self.slope)


@dataclass(frozen=True, eq=False, repr=False)
class LogisticProfile(_Shape):
    """A smooth step down: 1 / (1 + exp(growth_rate (d - midpoint))).

    As :class:`SigmoidProfile`, with its steepness first.

    Raises
    ------
    ValueError
        If a width or a greatest distance is not positive.
    brainunit.UnitMismatchError
        On use, if only one of distance and scale has a unit of length.

    Examples
    --------
    >>> import brainunit as u
    >>> from brainir.init import LogisticProfile
    >>> float(LogisticProfile(0.1, 50.0 * u.um)(50.0 * u.um))
    0.5
    """

    growth_rate: ArrayLike
    midpoint: ArrayLike
    max_distance: ArrayLike | None = None

    def __post_init__(self):
        self._require_positive()

    def _shape(self, distances):
        return _falling(distances, self.midpoint, self.growth_rate)


@dataclass(frozen=True, eq=False, repr=False)
class MexicanHatProfile(_Shape):
    """A Ricker wavelet where it is positive: amplitude (1 - d^2/sigma^2) exp(-d^2 / (2 sigma^2)).

    Raises
    ------
    ValueError
        If a width or a greatest distance is not positive.
    brainunit.UnitMismatchError
        On use, if only one of distance and scale has a unit of length.

    Examples
    --------
    >>> import brainunit as u
    >>> from brainir.init import MexicanHatProfile
    >>> float(MexicanHatProfile(50.0 * u.um)(50.0 * u.um))
    0.0
    """

    sigma: ArrayLike
    amplitude: float = 1.0
    max_distance: ArrayLike | None = None

    def __post_init__(self):
        self._require_positive("sigma")

    def _shape(self, distances):
        ratio = (in_scale(distances, self.sigma) / _number(self.sigma)) ** 2
        return jnp.maximum(self.amplitude * (1 - ratio) * jnp.exp(-ratio / 2), 0.0)


@dataclass(frozen=True, eq=False, repr=False)
class DoGProfile(_Shape):
    """The difference of two bells, of a center and its surround, where it is positive.

    Raises
    ------
    ValueError
        If a width or a greatest distance is not positive.
    brainunit.UnitMismatchError
        On use, if only one of distance and scale has a unit of length.

    Examples
    --------
    >>> import brainunit as u
    >>> from brainir.init import DoGProfile
    >>> float(DoGProfile(30.0 * u.um, 80.0 * u.um)(0.0 * u.um))
    0.5
    """

    sigma_center: ArrayLike
    sigma_surround: ArrayLike
    amplitude_center: float = 1.0
    amplitude_surround: float = 0.5
    max_distance: ArrayLike | None = None

    def __post_init__(self):
        self._require_positive("sigma_center", "sigma_surround")

    def _shape(self, distances):
        center = self.amplitude_center * _bell(distances, self.sigma_center)
        surround = self.amplitude_surround * _bell(distances, self.sigma_surround)
        return jnp.maximum(center - surround, 0.0)


@dataclass(frozen=True, eq=False, repr=False)
class BimodalProfile(_Shape):
    """The sum of two bells, around two distances; it may exceed 1 where they overlap.

    Raises
    ------
    ValueError
        If a width or a greatest distance is not positive.
    brainunit.UnitMismatchError
        On use, if only one of distance and scale has a unit of length.

    Examples
    --------
    >>> import brainunit as u
    >>> from brainir.init import BimodalProfile
    >>> float(BimodalProfile(20.0 * u.um, 30.0 * u.um, center2=1.0 * u.mm)(0.0 * u.um))
    1.0
    """

    sigma1: ArrayLike
    sigma2: ArrayLike
    center1: ArrayLike = 0.0
    center2: ArrayLike = 0.0
    amplitude1: float = 1.0
    amplitude2: float = 1.0
    max_distance: ArrayLike | None = None

    def __post_init__(self):
        self._require_positive("sigma1", "sigma2")

    def _shape(self, distances):
        first = self.amplitude1 * _bell(distances, self.sigma1, self.center1)
        return first + self.amplitude2 * _bell(distances, self.sigma2, self.center2)
