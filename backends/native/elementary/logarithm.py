"""Logarithms: of a number between the root of 1/2 and that of 2, and a multiple of log 2."""

from __future__ import annotations

from typing import Any

import numpy as np

from .maths import LOG_2, Maths


def normal(m: Maths, x: Any) -> tuple[Any, Any]:
    """Return u and k with x = 2**k u, for a u that is normal."""
    steps = m.mantissa + 2
    small = m.less(x, m.number(float(np.finfo(m.dtype).tiny)))
    u = m.select(small, m.mul(x, m.number(2.0**steps)), x)
    return u, m.select(small, m.number(-steps), m.number(0))


def reduced(m: Maths, u: Any) -> tuple[Any, Any]:
    """Return a number between the root of 1/2 and that of 2, and j with u = 2**j times it."""
    bits = m.bits_of(u)
    root = int(np.array(np.sqrt(0.5), m.dtype).view(np.int32 if m.single else np.int64))
    j = m.build.ashr(m.build.sub(bits, m.integer(root)), m.integer(m.mantissa))
    return m.of_bits(m.build.sub(bits, m.build.shl(j, m.integer(m.mantissa)))), j


def split(m: Maths, x: Any) -> tuple[Any, Any]:
    """Return a number between the root of 1/2 and that of 2, and k with x = 2**k times it."""
    u, k = normal(m, x)
    near, j = reduced(m, u)
    return near, m.add(m.build.sitofp(j, m.kind), k)


def log_of(m: Maths, u: Any, exact: Any | None, k: Any, correction: Any) -> Any:
    """Return log(u) + k log 2 + correction for a normal u, by s = f / (2 + f) of 1 + f = u / 2**j.

    Where j and k are 0, ``exact`` stands for f.
    """
    near, j = reduced(m, u)
    f = m.sub(near, m.number(1))
    if exact is not None:
        f = m.select(m.build.icmp_signed("==", j, m.integer(0)), exact, f)
    k = m.add(m.build.sitofp(j, m.kind), k)
    s = m.div(f, m.add(f, m.number(2)))
    z = m.mul(s, s)
    terms = 6 if m.single else 13
    series = m.polynomial(z, [2 / (2 * n + 1) for n in range(1, terms)])
    half = m.mul(m.mul(f, f), m.number(0.5))
    high, low = m.halves(LOG_2, 12 if m.single else 20)
    rest = m.fma(s, m.fma(z, series, half), m.fma(k, low, correction))
    return m.fma(k, high, m.sub(f, m.sub(half, rest)))


def edges(m: Maths, x: Any, least: float, result: Any) -> Any:
    """Return a logarithm, with what it is at its least argument, below it, and far away."""
    border = m.number(least)
    infinite = m.build.fcmp_ordered("==", x, m.number(np.inf))
    result = m.select(infinite, x, result)
    at = m.build.fcmp_ordered("==", x, border)
    result = m.select(at, m.number(-np.inf), result)
    return m.select(m.build.fcmp_unordered("<", x, border), m.number(np.nan), result)


def log(m: Maths, x: Any) -> Any:
    u, k = normal(m, x)
    return edges(m, x, 0.0, log_of(m, u, None, k, m.number(0)))


def log1p(m: Maths, x: Any) -> Any:
    """log(1 + x), corrected by what the sum has lost."""
    u = m.add(m.number(1), x)
    large = m.less(m.number(1), x)
    lost = m.select(
        large,
        m.sub(m.number(1), m.sub(u, x)),
        m.sub(x, m.sub(u, m.number(1))),
    )
    _, j = reduced(m, u)
    exact = m.build.icmp_signed("==", j, m.integer(0))
    correction = m.select(exact, m.number(0), m.div(lost, u))
    result = edges(m, x, -1.0, log_of(m, u, x, m.number(0), correction))
    return m.select(m.build.fcmp_ordered("==", x, m.number(0)), x, result)
