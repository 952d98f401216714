"""Exponentials, and what is made of them: a power of two times the exponential of a small rest."""

from __future__ import annotations

from math import factorial
from typing import Any

from .maths import LOG_2, Maths


def reduced(m: Maths, x: Any) -> tuple[Any, Any]:
    """Return n and r with x = n log 2 + r, for an x of which the exponential is no overflow.

    n is an integer; of nan it is any, and r is nan.
    """
    n, whole = rounded(m, m.fma, x, m.number(float(1 / LOG_2)))
    high, low = m.halves(LOG_2, 12 if m.single else 20)
    minus = m.neg(n)
    return whole, m.fma(minus, low, m.fma(minus, high, x))


def rounded(m: Maths, add: Any, *terms: Any) -> tuple[Any, Any]:
    """Return a sum rounded to a whole number, and the integer that it is.

    With a large number added, the last bits are those of the integer.
    """
    large = 1.5 * 2.0**m.mantissa
    moved = add(*terms, m.number(large))
    return m.sub(moved, m.number(large)), m.build.sub(m.bits_of(moved), m.bits_of(m.number(large)))


def clamped(m: Maths, x: Any, low: float, high: float) -> Any:
    """Return x within bounds, nan as it is."""
    x = m.select(m.less(x, m.number(low)), m.number(low), x)
    return m.select(m.less(m.number(high), x), m.number(high), x)


def minus_one(m: Maths, r: Any) -> Any:
    """Return exp(r) - 1 of a small r."""
    terms = (10 if not m.single else 8) if m.short else 14
    rest = m.polynomial(r, [1 / factorial(k) for k in range(2, terms)])
    return m.fma(m.mul(r, r), rest, r)


def scaled(m: Maths, x: Any, n: Any) -> Any:
    """Return x times 2 to the power of n, in two steps, as the power may be no normal number."""
    half = m.build.ashr(n, m.integer(1))
    rest = m.build.sub(n, half)
    return m.mul(m.mul(x, m.power_of_two(half)), m.power_of_two(rest))


def exp(m: Maths, x: Any, halved: bool = False) -> Any:
    bounds = (-105.0, 90.0) if m.single else (-750.0, 711.0)
    n, r = reduced(m, clamped(m, x, *bounds))
    n = m.build.sub(n, m.integer(1)) if halved else n
    return scaled(m, m.add(m.number(1), minus_one(m, r)), n)


def exp2(m: Maths, x: Any) -> Any:
    bounds = (-151.0, 129.0) if m.single else (-1076.0, 1025.0)
    near = clamped(m, x, *bounds)
    n, whole = rounded(m, m.add, near)
    r = m.mul(m.sub(near, n), m.number(float(LOG_2)))
    return scaled(m, m.add(m.number(1), minus_one(m, r)), whole)


def expm1(m: Maths, x: Any) -> Any:
    """2**n (exp(r) - 1) + (2**n - 1), halved first so that 2**n is no overflow."""
    near = clamped(m, x, -50.0, 89.0 if m.single else 710.0)
    n, r = reduced(m, near)
    half = m.power_of_two(m.build.sub(n, m.integer(1)))
    offset = m.sub(half, m.number(0.5))
    result = m.mul(m.fma(half, minus_one(m, r), offset), m.number(2))
    # Half of the least numbers is none; where x is that small, x**2 is not felt.
    itself = m.less(m.size(x), m.number(2.0 ** -(m.mantissa + 2)))
    return m.select(itself, x, result)


def nan_of(m: Maths, x: Any, result: Any) -> Any:
    """Return a result, but nan where x is."""
    return m.select(m.build.fcmp_unordered("!=", x, x), x, result)


def logistic(m: Maths, x: Any) -> Any:
    """1 / (1 + exp(-x)), or exp(x) / (1 + exp(x)) of a negative x, as exp(-x) may be infinite."""
    e = exp(m, m.neg(m.size(x)))
    over = m.select(m.less(x, m.number(0)), e, m.number(1))
    return m.div(over, m.add(m.number(1), e))


def tanh(m: Maths, x: Any) -> Any:
    """1 - 2 / (exp(2 x) + 1), or by expm1(-2 x) where that is near 0."""
    size = m.size(x)
    large = m.less(m.number(1), size)
    twice = m.add(size, size)
    e = expm1(m, m.select(large, twice, m.neg(twice)))
    top = m.select(large, m.number(2), m.neg(e))
    under, lost = m.ordered_sum(m.number(2), e)
    part = m.div(top, under)
    # What the sum and the quotient have lost; 1 / (2 + e) is half of 1 + part.
    rest = m.fma(m.neg(part), lost, m.fma(m.neg(part), under, top))
    half = m.number(0.5)
    near = m.fma(rest, m.fma(half, part, half), part)
    result = m.select(large, m.sub(m.number(1), part), near)
    return m.intrinsic("copysign", result, x)


def sinh(m: Maths, x: Any) -> Any:
    """(e + e / (e + 1)) / 2 with e = exp(|x|) - 1, or exp(|x|) / 2 where that is large."""
    size = m.size(x)
    e = expm1(m, size)
    small = m.add(e, m.div(e, m.add(e, m.number(1))))
    large = m.less(m.number(20.0), size)
    result = m.select(large, exp(m, size, halved=True), m.mul(small, m.number(0.5)))
    return m.intrinsic("copysign", result, x)


def cosh(m: Maths, x: Any) -> Any:
    size = m.size(x)
    half = exp(m, size, halved=True)
    low = m.div(m.number(0.25), half)
    return m.add(half, low)
