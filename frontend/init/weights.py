"""Initialisers of weights, which look at how many inputs and outputs a matrix joins.

The last two axes of a size are the inputs and the outputs, and the axes in front of them the extent
of a convolution's kernel. A vector has as many inputs as outputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import brainunit as u
import jax.numpy as jnp

from .. import environ
from ..random import DEFAULT
from ..random.parameters import with_unit
from .base import Initialization, to_size

__all__ = [
    "DeltaOrthogonal",
    "Identity",
    "KaimingNormal",
    "KaimingUniform",
    "LecunNormal",
    "LecunUniform",
    "Orthogonal",
    "VarianceScaling",
    "XavierNormal",
    "XavierUniform",
]

Mode = Literal["fan_in", "fan_out", "fan_avg"]
Distribution = Literal["uniform", "normal", "truncated_normal"]
Nonlinearity = Literal["relu", "leaky_relu"]

DEVIATION_WITHIN_TWO = 0.87962566103423978
"""The standard deviation of a standard normal distribution restricted to the interval -2 to 2."""


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def _fan(size: tuple[int, ...], mode: Mode) -> float:
    fan_in, fan_out = size[-2:] if len(size) > 1 else (math.prod(size), math.prod(size))
    kernel = math.prod(size[:-2])
    fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
    return max(1.0, kernel * fans[mode])


@dataclass(frozen=True, eq=False, repr=False)
class VarianceScaling(Initialization):
    """Numbers of mean 0 and variance ``scale / fan``.

    Parameters
    ----------
    scale
        A positive number.
    mode
        What `fan` is: the number of inputs, of outputs, or the mean of both.
    distribution
        ``"uniform"``, ``"normal"`` or ``"truncated_normal"`` (at two standard deviations).
    unit
        The unit of the numbers.

    Raises
    ------
    ValueError
        If `scale` is not positive, or `mode` or `distribution` is unknown.

    Examples
    --------
    >>> from brainir.init import VarianceScaling
    >>> VarianceScaling(2.0, "fan_avg", "uniform")((3, 4)).shape
    (3, 4)
    """

    scale: float = 1.0
    mode: Mode = "fan_in"
    distribution: Distribution = "normal"
    unit: u.Unit = u.UNITLESS

    def __post_init__(self):
        if isinstance(self.scale, u.Quantity) or not self.scale > 0:
            raise ValueError(
                f"scale must be a positive number, got {self.scale}; a unit goes to unit="
            )
        _check_choice("mode", self.mode, get_args(Mode))
        _check_choice("distribution", self.distribution, get_args(Distribution))

    def __call__(self, size, *, rng=DEFAULT, dtype=None):
        size = to_size(size)
        deviation = math.sqrt(self.scale / _fan(size, self.mode))
        if self.distribution == "uniform":
            bound = math.sqrt(3.0) * deviation
            sample = rng.uniform(-bound, bound, size, dtype=dtype)
        elif self.distribution == "normal":
            sample = rng.normal(None, deviation, size, dtype=dtype)
        else:
            standard = rng.truncated_normal(-2.0, 2.0, size, dtype=dtype)
            sample = standard * (deviation / DEVIATION_WITHIN_TWO)
        return with_unit(sample, self.unit)


@dataclass(frozen=True, eq=False, repr=False)
class _Kaiming(Initialization):
    scale: float | None = None
    mode: Mode = "fan_in"
    nonlinearity: Nonlinearity = "relu"
    negative_slope: float = 0.01
    unit: u.Unit = u.UNITLESS
    distribution: ClassVar[Distribution]

    def __post_init__(self):
        _check_choice("nonlinearity", self.nonlinearity, get_args(Nonlinearity))
        self._scaling()

    def _scaling(self) -> VarianceScaling:
        slope = self.negative_slope if self.nonlinearity == "leaky_relu" else 0.0
        scale = 2.0 / (1.0 + slope**2) if self.scale is None else self.scale
        return VarianceScaling(scale, self.mode, self.distribution, self.unit)

    def __call__(self, size, *, rng=DEFAULT, dtype=None):
        return self._scaling()(size, rng=rng, dtype=dtype)


class KaimingUniform(_Kaiming):
    """Uniform numbers that keep the variance of signals through rectifiers.

    The variance is ``scale / fan``, where `scale` is by default 2 for ``"relu"`` and
    ``2 / (1 + negative_slope**2)`` for ``"leaky_relu"``; see :class:`VarianceScaling` for the rest.
    Source: He et al. 2015, *Delving deep into rectifiers*.

    Examples
    --------
    >>> from brainir.init import KaimingUniform
    >>> KaimingUniform()((3, 4)).shape
    (3, 4)
    """

    distribution = "uniform"


class KaimingNormal(_Kaiming):
    """Normal numbers that keep the variance of signals through rectifiers.

    As :class:`KaimingUniform` otherwise.

    Examples
    --------
    >>> from brainir.init import KaimingNormal
    >>> KaimingNormal(nonlinearity="leaky_relu")((3, 4)).shape
    (3, 4)
    """

    distribution = "normal"


@dataclass(frozen=True, eq=False, repr=False)
class _FixedMode(Initialization):
    scale: float = 1.0
    unit: u.Unit = u.UNITLESS
    mode: ClassVar[Mode]
    distribution: ClassVar[Distribution]

    def __post_init__(self):
        self._scaling()

    def _scaling(self) -> VarianceScaling:
        return VarianceScaling(self.scale, self.mode, self.distribution, self.unit)

    def __call__(self, size, *, rng=DEFAULT, dtype=None):
        return self._scaling()(size, rng=rng, dtype=dtype)


class XavierUniform(_FixedMode):
    """Uniform numbers of variance ``scale`` over the mean of inputs and outputs.

    Source: Glorot & Bengio 2010, *Understanding the difficulty of training deep feedforward neural
    networks*.

    Examples
    --------
    >>> from brainir.init import XavierUniform
    >>> XavierUniform()((3, 4)).shape
    (3, 4)
    """

    mode = "fan_avg"
    distribution = "uniform"


class XavierNormal(_FixedMode):
    """Normal numbers of variance ``scale`` over the mean of inputs and outputs.

    Source: as :class:`XavierUniform`.

    Examples
    --------
    >>> import brainunit as u
    >>> from brainir.init import XavierNormal
    >>> XavierNormal(unit=u.nS)((3, 4)).unit
    Unit("nS")
    """

    mode = "fan_avg"
    distribution = "normal"


class LecunUniform(_FixedMode):
    """Uniform numbers of variance ``scale`` over the number of inputs.

    Source: LeCun et al. 1998, *Efficient BackProp*.

    Examples
    --------
    >>> from brainir.init import LecunUniform
    >>> LecunUniform()((3, 4)).shape
    (3, 4)
    """

    mode = "fan_in"
    distribution = "uniform"


class LecunNormal(_FixedMode):
    """Normal numbers of variance ``scale`` over the number of inputs.

    Source: as :class:`LecunUniform`.

    Examples
    --------
    >>> from brainir.init import LecunNormal
    >>> LecunNormal()((3, 4)).shape
    (3, 4)
    """

    mode = "fan_in"
    distribution = "normal"


@dataclass(frozen=True, eq=False, repr=False)
class Orthogonal(Initialization):
    """A matrix with orthonormal rows, or columns if it has more rows than columns, times a scale.

    All axes but the last together make the rows. Source: Saxe, McClelland & Ganguli 2014, *Exact
    solutions to the nonlinear dynamics of learning in deep linear neural networks*.

    Raises
    ------
    ValueError
        For a size of fewer than two axes.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir.init import Orthogonal
    >>> w = Orthogonal()((3, 3))
    >>> bool(jnp.allclose(w @ w.T, jnp.eye(3), atol=1e-5))
    True
    """

    scale: float = 1.0
    unit: u.Unit = u.UNITLESS

    def __call__(self, size, *, rng=DEFAULT, dtype=None):
        size = to_size(size)
        if len(size) < 2:
            raise ValueError(f"an orthogonal matrix has at least two axes, got the size {size}")
        rows, columns = math.prod(size[:-1]), size[-1]
        gaussian = rng.normal(size=(max(rows, columns), min(rows, columns)), dtype=dtype)
        q, r = jnp.linalg.qr(gaussian)
        q = q * jnp.where(jnp.diagonal(r) < 0, -1, 1).astype(q.dtype)
        q = q if rows >= columns else q.T
        return with_unit(self.scale * q.reshape(size), self.unit)


@dataclass(frozen=True, eq=False, repr=False)
class DeltaOrthogonal(Initialization):
    """An orthogonal matrix at the middle of a convolution's kernel, and zeros around it.

    The convolution then keeps the norm of a signal, whatever its extent. The size is that of the
    weights of a convolution: the kernel's extent, the inputs, the outputs. Source: Xiao et al.
    2018, *Dynamical isometry and a mean field theory of CNNs*.

    Raises
    ------
    ValueError
        For a size of fewer than three axes, or of more inputs than outputs.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir.init import DeltaOrthogonal
    >>> w = DeltaOrthogonal()((3, 3, 4, 4))
    >>> bool(jnp.allclose(w[1, 1] @ w[1, 1].T, jnp.eye(4), atol=1e-5))
    True
    """

    scale: float = 1.0
    unit: u.Unit = u.UNITLESS

    def __call__(self, size, *, rng=DEFAULT, dtype=None):
        size = to_size(size)
        if len(size) < 3 or size[-2] > size[-1]:
            raise ValueError(
                "DeltaOrthogonal needs a size of the kernel's extent, the inputs, and at least as "
                f"many outputs, got {size}"
            )
        middle = tuple((extent - 1) // 2 for extent in size[:-2])
        matrix = Orthogonal(self.scale)(size[-2:], rng=rng, dtype=dtype)
        return with_unit(jnp.zeros(size, matrix.dtype).at[middle].set(matrix), self.unit)


@dataclass(frozen=True, eq=False, repr=False)
class Identity(Initialization):
    """The identity matrix times a scale, repeated along all axes but the last two.

    A vector is filled with the scale: the weights of a one-to-one connection.

    Examples
    --------
    >>> from brainir.init import Identity
    >>> Identity(2.0)((2, 3)).tolist()
    [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]
    """

    scale: float = 1.0
    unit: u.Unit = u.UNITLESS

    def __call__(self, size, *, rng=DEFAULT, dtype=None):
        size = to_size(size)
        dtype = dtype or environ.dftype()
        one = jnp.eye(*size[-2:], dtype=dtype) if len(size) > 1 else jnp.ones((), dtype)
        return with_unit(jnp.broadcast_to(self.scale * one, size), self.unit)
