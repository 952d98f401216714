"""The special functions that numpy lacks, in double precision.

They give the ops a meaning without a library; the formulas are the classical ones of the *NIST
Handbook of Mathematical Functions*, chapters 5 (gamma), 7 (erf), 10 (Bessel) and 25 (zeta).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .rules import Array

_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)
"""Bernoulli numbers of even order, from the second."""

_SHIFT = 12
"""From where on the asymptotic series of the gamma family are good to all digits."""


def special(function: Callable[..., Array]) -> Callable[..., Array]:
    """Return a meaning that computes in double precision and rounds to the operand's dtype."""

    def meaning(x: Array, **attrs: Any) -> Array:
        return np.asarray(function(x.astype(np.float64), **attrs)).astype(x.dtype)

    return meaning


def _each(function: Callable[[float], float]) -> Callable[[Array], Array]:
    elements = np.frompyfunc(function, 1, 1)

    def vectorised(x: Array) -> Array:
        return np.asarray(elements(x), np.float64)

    return vectorised


erf = _each(math.erf)
erfc = _each(math.erfc)


def _lgamma(x: float) -> float:
    try:
        return math.lgamma(x)
    except (ValueError, OverflowError):
        return math.inf  # a pole, or a value too large


lgamma = _each(_lgamma)


def erf_inv(x: Array) -> Array:
    """Return the inverse of erf: a rough start (Winitzki's), then Halley's steps."""
    inside = np.where(np.abs(x) < 1, np.abs(x), 0.5)
    logarithm = np.log1p(-inside * inside)
    middle = 2 / (math.pi * 0.147) + logarithm / 2
    y: Array = np.sqrt(np.sqrt(middle * middle - logarithm / 0.147) - middle)
    for _ in range(3):
        # In the tail, the difference of the complements keeps its digits.
        excess = np.where(inside > 0.5, (1 - inside) - erfc(y), erf(y) - inside)
        step = excess * (math.sqrt(math.pi) / 2) * np.exp(y * y)
        y = y - step / (1 + y * step)
    y = np.copysign(np.where(inside == 0, 0.0, y), x)
    y = np.where(np.abs(x) == 1, np.copysign(np.inf, x), y)
    return np.where(np.abs(x) <= 1, y, np.nan)


def digamma(x: Array) -> Array:
    """Return the logarithmic derivative of gamma: reflected, shifted up, then the series."""
    pole = (x <= 0) & (x == np.floor(x))
    reflected = x < 0
    at = np.where(reflected, 1 - x, np.where(pole, 1.0, x))
    total: Array = np.zeros_like(at)
    for _ in range(_SHIFT):
        small = at < _SHIFT
        total = total - np.where(small, 1 / at, 0.0)
        at = np.where(small, at + 1, at)
    total = total + np.log(at) - 0.5 / at
    for k, number in enumerate(_BERNOULLI, 1):
        total = total - number / (2 * k) * at ** (-2.0 * k)
    turn = np.where(reflected & ~pole, x - np.round(x), 0.25)
    total = total - np.where(reflected, math.pi / np.tan(math.pi * turn), 0.0)
    return np.where(pole, np.where(x == 0, np.copysign(np.inf, -x), np.nan), total)


def polygamma(x: Array, order: int) -> Array:
    """Return a derivative of digamma, for arguments above -36: Euler and Maclaurin's summation."""
    s = order + 1
    at = np.where(x > -3 * _SHIFT, x, np.nan)
    total: Array = np.zeros_like(at)
    for _ in range(4 * _SHIFT):
        small = at < _SHIFT
        total = total + np.where(small, at**-s, 0.0)
        at = np.where(small, at + 1, at)
    total = total + at ** (1 - s) / (s - 1) + 0.5 * at**-s
    for k, number in enumerate(_BERNOULLI, 1):
        rising = math.prod(range(s, s + 2 * k - 1)) / math.factorial(2 * k)
        total = total + number * rising * at ** (1.0 - s - 2 * k)
    return (-1) ** s * math.factorial(order) * total


def bessel(order: int) -> Callable[[Array], Array]:
    """Return the modified Bessel function I of an order, scaled by exp(-|x|).

    Small arguments: its integral by the trapezoidal rule, which converges geometrically for a
    periodic integrand. Large ones: the asymptotic series.
    """
    cosines = np.cos(np.arange(128) * (2 * math.pi / 128))
    weights = np.cos(order * np.arange(128) * (2 * math.pi / 128)) / 128
    half: Callable[[Array], Array] = np.sinh if order % 2 else np.cosh  # of the exponential
    border = 40.0

    def scaled(x: Array) -> Array:
        size = np.abs(x)
        near = np.minimum(size, border)
        small = np.exp(-near) * (half(near[..., None] * cosines) @ weights)
        far = np.maximum(size, border)
        large = _asymptotic(far, 4 * order * order) / np.sqrt(2 * math.pi * far)
        value: Array = np.where(size < border, small, large)
        value = np.where(np.isnan(x), np.nan, value)
        return np.sign(x) * value if order % 2 else value

    return scaled


def _asymptotic(x: Array, mu: int) -> Array:
    term, total = np.ones_like(x), np.ones_like(x)
    for k in range(1, 16):
        term = term * (((2 * k - 1) ** 2 - mu) / (8 * k)) / x
        total = total + term
    return total
