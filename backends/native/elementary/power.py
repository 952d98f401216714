"""Powers: exponentials of products with a logarithm that has more digits than its kind."""

from __future__ import annotations

from fractions import Fraction
from math import inf, nan
from typing import Any

from .exponential import minus_one, reduced, scaled
from .logarithm import split
from .maths import LOG_2, Maths


def rsqrt(m: Maths, x: Any) -> Any:
    """1 / sqrt(x)."""
    return m.div(m.number(1), m.intrinsic("sqrt", x))


def power(m: Maths, x: Any, y: Any) -> Any:
    """x**y = exp(y log |x|), negative where x is and y is odd."""
    size, one, zero = m.size(x), m.number(1), m.number(0)
    # A larger y has no other result, unless it is infinite, times a logarithm of 0.
    large = m.number(1e300)
    y_near = m.intrinsic("copysign", m.select(m.less(large, m.size(y)), large, m.size(y)), y)
    result = _exp_of_product(m, y_near, *_log_in_two(m, size))
    at_zero = m.same(size, zero)
    vanishes = m.build.xor(m.less(y, zero), at_zero)
    at_edge = m.build.or_(at_zero, m.same(size, m.number(inf)))
    result = m.select(at_edge, m.select(vanishes, zero, m.number(inf)), result)
    whole = m.same(m.intrinsic("rint", y), y)
    half = m.mul(y, m.number(0.5))
    odd = m.build.and_(whole, m.build.fcmp_unordered("!=", m.intrinsic("rint", half), half))
    result = m.select(odd, m.intrinsic("copysign", result, x), result)
    inside = m.build.and_(m.less(x, zero), m.less(m.number(-inf), x))
    unknown = m.build.or_(
        m.build.and_(inside, m.build.not_(whole)), m.build.fcmp_unordered("uno", x, y)
    )
    result = m.select(unknown, m.number(nan), result)
    return m.select(m.build.or_(m.same(y, zero), m.same(x, one)), one, result)


def _log_in_two(m: Maths, x: Any) -> tuple[Any, Any]:
    """Return log(x) of a positive x as the sum of two numbers.

    It is k log 2 + 2 s + s z (2/3 + 2/5 z + ...) with z = s**2, of which all but the terms from 2/5
    on are sums of two, unless few digits are enough.
    """
    near, k = split(m, x)
    f = m.sub(near, m.number(1))
    terms = 7 if m.short else 13
    under, under_low = m.ordered_sum(m.number(2), f)
    s = m.div(f, under)
    z = m.mul(s, s)
    series = [Fraction(2, 2 * n + 1) for n in range(2, terms + 1)]
    rest = m.mul(z, m.polynomial(z, series))
    high, low = m.halves(LOG_2, 20)
    if m.short:
        third = m.add(m.number(Fraction(2, 3)), rest)
        small = m.fma(m.mul(s, z), third, m.mul(k, low))
        return m.fma(k, high, m.add(m.add(s, s), small)), m.number(0)
    s_low = m.div(m.sub(m.fma(m.neg(s), under, f), m.mul(s, under_low)), under)
    z_low = m.fma(m.add(s, s), s_low, m.fma(s, s, m.neg(z)))
    third, third_low = m.in_two(Fraction(2, 3))
    c, c_low = m.ordered_sum(third, rest)
    c_low = m.add(c_low, third_low)
    sz, sz_low = m.product_in_two(s, z)
    sz_low = m.fma(s, z_low, m.fma(s_low, z, sz_low))
    t, t_low = m.product_in_two(sz, c)
    t_low = m.fma(sz, c_low, m.fma(sz_low, c, t_low))
    total, lost = m.ordered_sum(m.add(s, s), t)
    lost = m.add(lost, m.add(m.add(s_low, s_low), t_low))
    k_high, k_lost = m.sum_in_two(m.mul(k, high), total)
    k_low, k_low_lost = m.product_in_two(k, low)
    lost = m.add(lost, m.add(k_lost, k_low_lost))
    total, last = m.sum_in_two(k_high, k_low)
    return m.ordered_sum(total, m.add(last, lost))


def _exp_of_product(m: Maths, y: Any, log: Any, log_low: Any) -> Any:
    """Return exp(y (log + log_low))."""
    product, lost = m.product_in_two(y, log)
    lost = m.fma(y, log_low, lost)
    bound = m.number(800)
    beyond = m.less(bound, m.size(product))
    product = m.select(beyond, m.intrinsic("copysign", bound, product), product)
    lost = m.select(beyond, m.number(0), lost)
    n, r = reduced(m, product)
    return scaled(m, m.add(m.number(1), minus_one(m, m.add(r, lost))), n)
