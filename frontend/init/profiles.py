"""Profiles: how a connection depends on the distance that it spans, and how profiles combine."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp

from .. import environ
from ..typing import ArrayLike

__all__ = ["ApplyProfile", "ClipProfile", "ComposedProfile", "DistanceProfile", "PipeProfile"]
__all__ += ["in_scale"]


def in_scale(distances: ArrayLike, scale: ArrayLike) -> jax.Array:
    """Return distances as numbers in the unit of a scale.

    Raises
    ------
    brainunit.UnitMismatchError
        If only one of them has a unit, or the dimensions differ.
    """
    number = u.Quantity(distances).in_unit(u.get_unit(scale)).mantissa
    return jnp.asarray(number, environ.dftype())


class DistanceProfile:
    """A function of the distance, for connection probabilities and for weights.

    A new one is a frozen dataclass that overrides :meth:`probability`. Profiles combine with
    ``+ - * /`` among each other and with numbers; ``profile | function`` (or :meth:`apply`) maps
    the values.

    Examples
    --------
    >>> import brainunit as u
    >>> from brainir.init import GaussianProfile
    >>> near = 0.5 * GaussianProfile(50.0 * u.um)
    >>> float(near(0.0 * u.um))
    0.5
    """

    def probability(self, distances: ArrayLike) -> jax.Array:
        """Return the probability of a connection, of the shape of `distances`, without a unit.

        >>> import brainunit as u
        >>> from brainir.init import LinearProfile
        >>> float(LinearProfile(100.0 * u.um).probability(0.05 * u.mm))
        0.5
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what it is at a distance")

    def weight_scaling(self, distances: ArrayLike) -> jax.Array:
        """Return the factor of a weight, by default the same as :meth:`probability`.

        >>> import brainunit as u
        >>> from brainir.init import StepProfile
        >>> float(StepProfile(10.0 * u.um, 0.5).weight_scaling(3.0 * u.um))
        0.5
        """
        return self.probability(distances)

    def __call__(self, distances: ArrayLike) -> jax.Array:
        return self.probability(distances)

    def __add__(self, other: DistanceProfile | ArrayLike) -> DistanceProfile:
        return ComposedProfile(self, other, operator.add, "+")

    def __radd__(self, other: ArrayLike) -> DistanceProfile:
        return ComposedProfile(other, self, operator.add, "+")

    def __sub__(self, other: DistanceProfile | ArrayLike) -> DistanceProfile:
        return ComposedProfile(self, other, operator.sub, "-")

    def __rsub__(self, other: ArrayLike) -> DistanceProfile:
        return ComposedProfile(other, self, operator.sub, "-")

    def __mul__(self, other: DistanceProfile | ArrayLike) -> DistanceProfile:
        return ComposedProfile(self, other, operator.mul, "*")

    def __rmul__(self, other: ArrayLike) -> DistanceProfile:
        return ComposedProfile(other, self, operator.mul, "*")

    def __truediv__(self, other: DistanceProfile | ArrayLike) -> DistanceProfile:
        return ComposedProfile(self, other, operator.truediv, "/")

    def __rtruediv__(self, other: ArrayLike) -> DistanceProfile:
        return ComposedProfile(other, self, operator.truediv, "/")

    def __or__(self, func: Callable[[Any], Any]) -> DistanceProfile:
        return PipeProfile(self, func)

    def clip(self, min_val: float | None = None, max_val: float | None = None) -> DistanceProfile:
        """Return a profile whose values are kept between two bounds.

        >>> import brainunit as u
        >>> from brainir.init import LinearProfile
        >>> float(LinearProfile(100.0 * u.um).clip(0.0, 0.25)(0.0 * u.um))
        0.25
        """
        return ClipProfile(self, min_val, max_val)

    def apply(self, func: Callable[[Any], Any]) -> DistanceProfile:
        """Return a profile whose values are mapped by a function, like ``|``.

        >>> import brainunit as u
        >>> from brainir.init import LinearProfile
        >>> float(LinearProfile(100.0 * u.um).apply(lambda p: p**2)(50.0 * u.um))
        0.25
        """
        return ApplyProfile(self, func)

    def __repr__(self) -> str:
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # pyright: ignore[reportArgumentType]
        given = ", ".join(f"{name}={value}" for name, value in values.items() if value is not None)
        return f"{type(self).__name__}({given})"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ComposedProfile(DistanceProfile):
    """Two operands, of which at least one is a profile, joined by an operator.

    Examples
    --------
    >>> import operator
    >>> import brainunit as u
    >>> from brainir.init import ComposedProfile, LinearProfile
    >>> twice = ComposedProfile(2.0, LinearProfile(100.0 * u.um), operator.mul, "*")
    >>> twice, float(twice(50.0 * u.um))
    ((2.0 * LinearProfile(max_distance=100. um)), 1.0)
    """

    left: DistanceProfile | ArrayLike
    right: DistanceProfile | ArrayLike
    op: Callable[[Any, Any], Any]
    op_symbol: str

    def probability(self, distances):
        """Return the values of the operands, joined."""
        return self._joined(lambda profile: profile.probability(distances))

    def weight_scaling(self, distances):
        """Return the factors of the operands, joined."""
        return self._joined(lambda profile: profile.weight_scaling(distances))

    def _joined(self, at: Callable[[DistanceProfile], jax.Array]) -> jax.Array:
        operands = (self.left, self.right)
        return self.op(*(at(o) if isinstance(o, DistanceProfile) else o for o in operands))

    def __repr__(self) -> str:
        return f"({self.left} {self.op_symbol} {self.right})"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ApplyProfile(DistanceProfile):
    """The values of another profile, mapped by a function.

    Examples
    --------
    >>> import brainunit as u
    >>> from brainir.init import ApplyProfile, LinearProfile
    >>> float(ApplyProfile(LinearProfile(100.0 * u.um), lambda p: 1 - p)(0.0 * u.um))
    0.0
    """

    base: DistanceProfile
    func: Callable[[Any], Any]

    def __post_init__(self):
        if isinstance(self.func, DistanceProfile) or not callable(self.func):
            raise TypeError(
                f"a profile is mapped by a function of its values, got {self.func!r}; profiles "
                "are joined with + - * /"
            )

    def probability(self, distances):
        """Return the values of the other profile, mapped."""
        return self.func(self.base.probability(distances))

    def weight_scaling(self, distances):
        """Return the factors of the other profile, mapped."""
        return self.func(self.base.weight_scaling(distances))

    def __repr__(self) -> str:
        return f"{self.base}.apply({getattr(self.func, '__name__', self.func)})"


class PipeProfile(ApplyProfile):
    """What ``profile | function`` makes: an :class:`ApplyProfile` that is printed so.

    Raises
    ------
    TypeError
        If the right side is itself a profile, or cannot be called.

    Examples
    --------
    >>> import brainunit as u
    >>> import jax.numpy as jnp
    >>> from brainir.init import LinearProfile
    >>> LinearProfile(100.0 * u.um) | jnp.sqrt
    (LinearProfile(max_distance=100. um) | sqrt)
    """

    def __repr__(self) -> str:
        return f"({self.base} | {getattr(self.func, '__name__', self.func)})"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ClipProfile(DistanceProfile):
    """The values of another profile, kept between two bounds, of which either may be None.

    Examples
    --------
    >>> import brainunit as u
    >>> from brainir.init import ClipProfile, LinearProfile
    >>> float(ClipProfile(LinearProfile(100.0 * u.um), 0.5, None)(90.0 * u.um))
    0.5
    """

    base: DistanceProfile
    min_val: float | None
    max_val: float | None

    def probability(self, distances):
        """Return the values of the other profile, within the bounds."""
        return jnp.clip(self.base.probability(distances), self.min_val, self.max_val)

    def weight_scaling(self, distances):
        """Return the factors of the other profile, within the bounds."""
        return jnp.clip(self.base.weight_scaling(distances), self.min_val, self.max_val)

    def __repr__(self) -> str:
        return f"{self.base}.clip({self.min_val}, {self.max_val})"
