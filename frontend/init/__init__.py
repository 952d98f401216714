"""Initialisers of parameters and states, and :func:`param`, which applies them."""

from .base import Initialization
from .basic import (
    Beta,
    Constant,
    Exponential,
    Gamma,
    LogNormal,
    Normal,
    TruncatedNormal,
    Uniform,
    Weibull,
    ZeroInit,
)
from .param import param
from .weights import (
    Identity,
    KaimingNormal,
    KaimingUniform,
    LecunNormal,
    LecunUniform,
    Orthogonal,
    VarianceScaling,
    XavierNormal,
    XavierUniform,
)

__all__ = [
    "Beta",
    "Constant",
    "Exponential",
    "Gamma",
    "Identity",
    "Initialization",
    "KaimingNormal",
    "KaimingUniform",
    "LecunNormal",
    "LecunUniform",
    "LogNormal",
    "Normal",
    "Orthogonal",
    "TruncatedNormal",
    "Uniform",
    "VarianceScaling",
    "Weibull",
    "XavierNormal",
    "XavierUniform",
    "ZeroInit",
    "param",
]
