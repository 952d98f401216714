"""The initialisers that layers start with.

They are those of ``brainir.init``, except that normal numbers are cut off at two standard
deviations.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..init import (
    Constant,
    Exponential,
    Gamma,
    Identity,
    Orthogonal,
    TruncatedNormal,
    Uniform,
    VarianceScaling,
    ZeroInit,
    param,
)
from ..init import Normal as _Normal
from ..init.weights import Distribution, Mode
from ..typing import ArrayLike

__all__ = [
    "Constant",
    "Exponential",
    "Gamma",
    "Identity",
    "KaimingNormal",
    "KaimingUniform",
    "LecunNormal",
    "LecunUniform",
    "Normal",
    "Orthogonal",
    "TruncatedNormal",
    "Uniform",
    "VarianceScaling",
    "XavierNormal",
    "XavierUniform",
    "ZeroInit",
    "param",
]


@dataclass(frozen=True, eq=False, repr=False)
class Normal(_Normal):
    """Normal numbers, by default of mean 0 and standard deviation 1."""

    mean: ArrayLike = 0.0
    std: ArrayLike = 1.0


@dataclass(frozen=True, eq=False, repr=False)
class KaimingNormal(VarianceScaling):
    """Normal numbers of variance 2 over the number of inputs, cut off at two deviations.

    Source: He et al. 2015, *Delving deep into rectifiers*.

    Examples
    --------
    >>> from brainir.nn.init import KaimingNormal
    >>> KaimingNormal()((3, 4)).shape
    (3, 4)
    """

    scale: float = 2.0
    mode: Mode = "fan_in"
    distribution: Distribution = "truncated_normal"


@dataclass(frozen=True, eq=False, repr=False)
class KaimingUniform(KaimingNormal):
    """Uniform numbers of variance 2 over the number of inputs."""

    distribution: Distribution = "uniform"


@dataclass(frozen=True, eq=False, repr=False)
class LecunNormal(KaimingNormal):
    """Normal numbers of variance 1 over the number of inputs, cut off at two deviations."""

    scale: float = 1.0


@dataclass(frozen=True, eq=False, repr=False)
class LecunUniform(LecunNormal):
    """Uniform numbers of variance 1 over the number of inputs."""

    distribution: Distribution = "uniform"


@dataclass(frozen=True, eq=False, repr=False)
class XavierNormal(LecunNormal):
    """Normal numbers of variance 1 over the mean of inputs and outputs, cut off likewise."""

    mode: Mode = "fan_avg"


@dataclass(frozen=True, eq=False, repr=False)
class XavierUniform(XavierNormal):
    """Uniform numbers of variance 1 over the mean of inputs and outputs."""

    distribution: Distribution = "uniform"
