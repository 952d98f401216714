"""Transforms whose values stay between two bounds, or on one side of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ...random.parameters import with_unit
from .transforms import Transform, inverse_softplus

__all__ = [
    "ClipT",
    "ExpT",
    "LogT",
    "NegSoftplusT",
    "NegativeT",
    "PositiveT",
    "ReluT",
    "ScaledSigmoidT",
    "SigmoidT",
    "SoftplusT",
    "SoftsignT",
    "TanhT",
]


def _bare(value: Any, unit: u.Unit) -> Any:
    """Return the numbers of a value in a unit; another dimension is an error."""
    return u.Quantity(value).to_decimal(unit)


def _logit(p: Any) -> Any:
    return jnp.log(p) - jnp.log1p(-p)


# --- values between two bounds --------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Between(Transform):
    """Values between two bounds: a map to the interval from 0 to 1, stretched."""

    lower: Any
    upper: Any

    def __post_init__(self) -> None:
        gap = u.get_mantissa(self.width)
        if not isinstance(gap, Tracer) and not np.all(np.asarray(gap) > 0):
            raise ValueError(
                f"{type(self).__name__} needs lower < upper, got {self.lower} and {self.upper}"
            )

    @property
    def width(self) -> Any:
        """The distance of the bounds."""
        return self.upper - self.lower

    @property
    def unit(self) -> u.Unit:
        """The unit of the values."""
        return u.get_unit(self.lower)

    def forward(self, x: Any) -> Any:
        return self.lower + self.width * self._to_share(x)

    def inverse(self, y: Any) -> Any:
        return self._from_share(_bare((y - self.lower) / self.width, u.UNITLESS))

    def _to_share(self, x: Any) -> Any:
        raise NotImplementedError

    def _from_share(self, share: Any) -> Any:
        raise NotImplementedError


class SigmoidT(_Between):
    r"""Values between two bounds, by the logistic function.

    .. math:: y = l + (h - l)\,\sigma(x)

    Parameters
    ----------
    lower, upper : float, array or Quantity
        The bounds, in one dimension.

    Raises
    ------
    ValueError
        If a lower bound is not below the upper one.

    Examples
    --------
    >>> import brainunit as u
    >>> from brainir.nn import SigmoidT
    >>> SigmoidT(0.0 * u.mV, 10.0 * u.mV).forward(0.0)
    Quantity(5., "mV")
    """

    def _to_share(self, x: Any) -> Any:
        return jax.nn.sigmoid(x)

    def _from_share(self, share: Any) -> Any:
        return _logit(share)


@dataclass(frozen=True, eq=False)
class ScaledSigmoidT(_Between):
    r"""Values between two bounds, by a logistic function of another steepness.

    .. math:: y = l + (h - l)\,\sigma(\beta x)

    Parameters
    ----------
    lower, upper : float, array or Quantity
        The bounds, in one dimension.
    beta : float
        The steepness.

    Raises
    ------
    ValueError
        If a lower bound is not below the upper one.

    Examples
    --------
    >>> from brainir.nn import ScaledSigmoidT
    >>> float(ScaledSigmoidT(0.0, 1.0, beta=100.0).forward(1.0))
    1.0
    """

    beta: float = 1.0

    def _to_share(self, x: Any) -> Any:
        return jax.nn.sigmoid(self.beta * x)

    def _from_share(self, share: Any) -> Any:
        return _logit(share) / self.beta


class TanhT(_Between):
    r"""Values between two bounds, by the hyperbolic tangent.

    .. math:: y = l + (h - l)\,(\tanh x + 1) / 2

    Parameters and errors are those of :class:`SigmoidT`.

    Examples
    --------
    >>> from brainir.nn import TanhT
    >>> float(TanhT(-1.0, 1.0).forward(0.0))
    0.0
    """

    def _to_share(self, x: Any) -> Any:
        return (jnp.tanh(x) + 1) / 2

    def _from_share(self, share: Any) -> Any:
        return jnp.arctanh(2 * share - 1)


class SoftsignT(_Between):
    r"""Values between two bounds, by the soft sign.

    .. math:: y = l + (h - l)\,\left(\frac{x}{1 + |x|} + 1\right) / 2

    Parameters and errors are those of :class:`SigmoidT`.

    Examples
    --------
    >>> from brainir.nn import SoftsignT
    >>> float(SoftsignT(-1.0, 1.0).forward(1.0))
    0.5
    """

    def _to_share(self, x: Any) -> Any:
        return (jax.nn.soft_sign(x) + 1) / 2

    def _from_share(self, share: Any) -> Any:
        signed = 2 * share - 1
        return signed / (1 - jnp.abs(signed))


class ClipT(_Between):
    """Values between two bounds, by cutting off what lies outside.

    Not one-to-one: ``inverse`` gives the value itself, and there is no gradient outside.

    Examples
    --------
    >>> from brainir.nn import ClipT
    >>> float(ClipT(-1.0, 1.0).forward(3.0))
    1.0
    """

    def forward(self, x: Any) -> Any:
        return u.math.clip(x, self.lower, self.upper)

    def inverse(self, y: Any) -> Any:
        return y


# --- values on one side of a bound ----------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class SoftplusT(Transform):
    r"""Values above a bound.

    .. math:: y = l + \log(1 + e^x)

    Parameters
    ----------
    lower : float, array or Quantity
        The bound.

    Examples
    --------
    >>> import brainunit as u
    >>> from brainir.nn import SoftplusT
    >>> transform = SoftplusT(1.0 * u.ms)
    >>> round(float(transform.inverse(transform.forward(2.0))), 4)
    2.0
    """

    lower: Any

    @property
    def unit(self) -> u.Unit:
        """The unit of the values."""
        return u.get_unit(self.lower)

    def forward(self, x: Any) -> Any:
        return self.lower + with_unit(jax.nn.softplus(x), self.unit)

    def inverse(self, y: Any) -> Any:
        return inverse_softplus(_bare(y - self.lower, self.unit))


@dataclass(frozen=True, eq=False)
class NegSoftplusT(Transform):
    r"""Values below a bound.

    .. math:: y = h - \log(1 + e^{-x})

    Parameters
    ----------
    upper : float, array or Quantity
        The bound.

    Examples
    --------
    >>> from brainir.nn import NegSoftplusT
    >>> float(NegSoftplusT(0.0).forward(0.0)) < 0.0
    True
    """

    upper: Any

    @property
    def unit(self) -> u.Unit:
        """The unit of the values."""
        return u.get_unit(self.upper)

    def forward(self, x: Any) -> Any:
        return self.upper - with_unit(jax.nn.softplus(-x), self.unit)

    def inverse(self, y: Any) -> Any:
        return -inverse_softplus(_bare(self.upper - y, self.unit))


@dataclass(frozen=True, eq=False)
class ExpT(Transform):
    r"""Values above a bound, by the exponential.

    .. math:: y = l + e^x

    Parameters
    ----------
    lower : float, array or Quantity
        The bound.

    Examples
    --------
    >>> from brainir.nn import ExpT
    >>> float(ExpT(1.0).forward(0.0))
    2.0
    """

    lower: Any

    @property
    def unit(self) -> u.Unit:
        """The unit of the values."""
        return u.get_unit(self.lower)

    def forward(self, x: Any) -> Any:
        return self.lower + with_unit(jnp.exp(x), self.unit)

    def inverse(self, y: Any) -> Any:
        return jnp.log(_bare(y - self.lower, self.unit))


class LogT(ExpT):
    """Values above a bound whose logarithm is free: :class:`ExpT` under another name.

    Examples
    --------
    >>> from brainir.nn import LogT
    >>> float(LogT(1.0).inverse(2.0))
    0.0
    """


class PositiveT(ExpT):
    """Values above 0, by the exponential.

    Examples
    --------
    >>> from brainir.nn import PositiveT
    >>> float(PositiveT().forward(0.0))
    1.0
    """

    def __init__(self) -> None:
        super().__init__(0.0)


class NegativeT(NegSoftplusT):
    """Values below 0: :class:`NegSoftplusT` with the bound 0.

    Examples
    --------
    >>> from brainir.nn import NegativeT
    >>> float(NegativeT().forward(0.0)) < 0.0
    True
    """

    def __init__(self) -> None:
        super().__init__(0.0)


@dataclass(frozen=True, eq=False)
class ReluT(Transform):
    """Values from a bound upwards, by the rectifier.

    Not one-to-one: numbers below 0 all give the bound, and have no gradient.

    Parameters
    ----------
    lower_bound : float, array or Quantity
        The bound.

    Examples
    --------
    >>> from brainir.nn import ReluT
    >>> float(ReluT(0.5).forward(-3.0))
    0.5
    """

    lower_bound: Any = 0.0

    def forward(self, x: Any) -> Any:
        return self.lower_bound + with_unit(jax.nn.relu(x), u.get_unit(self.lower_bound))

    def inverse(self, y: Any) -> Any:
        return _bare(y - self.lower_bound, u.get_unit(self.lower_bound))
