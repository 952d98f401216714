"""Functions of angles: of what an angle has more than a multiple of a quarter turn.

That many quarter turns are x times 2 / pi, of which only the remainder by 4 matters. So 2 / pi
times a power of two is replaced by its own remainder, from a table, and the product with it is kept
in several numbers. One way serves small and huge angles.
"""

from __future__ import annotations

import functools
from fractions import Fraction
from math import factorial
from typing import Any

from llvmlite import ir

from .maths import Maths

STEP = 16
"""There is an entry of the table for that many exponents."""


def sin(m: Maths, x: Any) -> Any:
    """Sine or cosine of the rest, by the quarter."""
    quarter, rest, low = _reduced(m, x)
    result = _signed(m, quarter, _choice(m, quarter, *_both(m, rest, low)))
    return m.select(m.same(x, m.number(0)), x, result)


def cos(m: Maths, x: Any) -> Any:
    """The sine of the next quarter."""
    quarter, rest, low = _reduced(m, x)
    quarter = m.build.add(quarter, m.integer(1))
    return _signed(m, quarter, _choice(m, quarter, *_both(m, rest, low)))


def tan(m: Maths, x: Any) -> Any:
    """sin / cos of the rest, or - cos / sin."""
    quarter, rest, low = _reduced(m, x)
    sine, cosine = _both(m, rest, low)
    over = _choice(m, quarter, sine, cosine)
    under = _choice(m, quarter, cosine, m.neg(sine))
    return m.select(m.same(x, m.number(0)), x, m.div(over, under))


def _choice(m: Maths, quarter: Any, even: Any, odd: Any) -> Any:
    """Return one for the first and third quarter, another for the second and fourth."""
    bit = m.build.trunc(quarter, ir.IntType(1))
    return m.select(bit, odd, even)


def _signed(m: Maths, quarter: Any, x: Any) -> Any:
    """Return -x in the third and fourth quarter."""
    bit = m.build.and_(quarter, m.integer(2))
    return m.of_bits(m.build.xor(m.bits_of(x), m.build.shl(bit, m.integer(62))))


def _reduced(m: Maths, x: Any) -> tuple[Any, Any, Any]:
    """Return how many quarters x is, modulo 4, and what is left of it, as the sum of two."""
    build, mask = m.build, m.integer(0x7FF)
    exponent = build.sub(build.and_(build.lshr(m.bits_of(x), m.integer(52)), mask), m.integer(1023))
    exponent = build.select(build.icmp_signed("<", exponent, m.integer(0)), m.integer(0), exponent)
    entry = build.and_(build.lshr(exponent, m.integer(4)), m.integer(_entries(m) - 1))
    near = m.mul(x, m.power_of_two(build.neg(build.shl(entry, m.integer(4)))))
    quarter, turns, turns_low = (_few_digits if m.short else _many_digits)(m, near, entry)
    high, low = m.in_two(_exact_pi() / 2)
    rest, rest_low = m.product_in_two(turns, high)
    rest_low = m.fma(turns, low, m.fma(turns_low, high, rest_low))
    small = m.less(m.size(x), m.number(0.7))
    return quarter, m.select(small, x, rest), m.select(small, m.number(0), rest_low)


def _few_digits(m: Maths, near: Any, entry: Any) -> tuple[Any, Any, Any]:
    """Return the product with an entry as a whole number and the sum of two, for 24 digits."""
    product, lost = m.product_in_two(near, _looked_up(m, 0, entry))
    quarter, part = _parted(m, product)
    return quarter, m.add(part, m.fma(near, _looked_up(m, 1, entry), lost)), m.number(0)


def _many_digits(m: Maths, near: Any, entry: Any) -> tuple[Any, Any, Any]:
    """Return the same for 53 digits: the product may begin with as many that do not matter."""
    large, lost = m.product_in_two(near, _looked_up(m, 0, entry))
    large = m.fma(m.number(-4), m.intrinsic("rint", m.mul(large, m.number(0.25))), large)
    second, second_lost = m.product_in_two(near, _looked_up(m, 1, entry))
    third, third_lost = m.product_in_two(near, _looked_up(m, 2, entry))
    total, a = m.sum_in_two(lost, second)
    total, b = m.sum_in_two(large, total)
    quarter, part = _parted(m, total)
    ab, ab_lost = m.sum_in_two(a, b)
    small, small_lost = m.sum_in_two(second_lost, third)
    small, both_lost = m.sum_in_two(small, ab)
    part, part_lost = m.sum_in_two(part, small)
    last = m.fma(near, _looked_up(m, 3, entry), third_lost)
    last = m.add(last, m.add(ab_lost, m.add(small_lost, both_lost)))
    return quarter, *m.ordered_sum(part, m.add(part_lost, last))


def _parted(m: Maths, x: Any) -> tuple[Any, Any]:
    """Return an integer that ends with the bits of the nearest one of x, and x less that."""
    shift = m.number(1.5 * 2.0**52)
    shifted = m.add(x, shift)
    return m.bits_of(shifted), m.sub(x, m.sub(shifted, shift))


def _both(m: Maths, r: Any, low: Any) -> tuple[Any, Any]:
    """Return sine and cosine of r + low, for an r between -pi / 4 and pi / 4."""
    z = m.mul(r, r)
    terms = 5 if m.short else 9
    sines = [Fraction((-1) ** n, factorial(2 * n + 1)) for n in range(1, terms)]
    cosines = [Fraction((-1) ** n, factorial(2 * n)) for n in range(2, terms + 1)]
    half = m.mul(z, m.number(0.5))
    cube = m.mul(m.mul(r, z), m.polynomial(z, sines))
    sine = m.add(r, m.add(cube, m.fma(m.neg(half), low, low)))
    one = m.number(1)
    near = m.sub(one, half)
    lost = m.sub(m.sub(one, near), half)
    small = m.fma(m.mul(z, z), m.polynomial(z, cosines), m.mul(m.neg(r), low))
    return sine, m.add(near, m.add(lost, small))


# --- the table ------------------------------------------------------------------------------------


def _entries(m: Maths) -> int:
    """Return how many entries serve all exponents, a power of two."""
    return (128 if m.short else 1024) // STEP


def _looked_up(m: Maths, part: int, entry: Any) -> Any:
    """Return one of the numbers of which an entry is the sum."""
    count = _entries(m)
    name = f"quarters.{count}.{part}"
    table: Any = m.module.globals.get(name)
    kind = ir.ArrayType(m.kind, count)
    if table is None:
        table = ir.GlobalVariable(m.module, kind, name)
        table.linkage, table.global_constant = "internal", True
        table.initializer = ir.Constant(kind, [_parts(e, m.short)[part] for e in range(count)])
    address = m.build.gep(table, [m.integer(0), entry], inbounds=True, source_etype=kind)
    return m.build.load(address, typ=m.kind)


@functools.cache
def _parts(entry: int, short: bool) -> tuple[float, ...]:
    """Return 2 / pi times a power of two, less what gives a multiple of 4, as the sum of four.

    It is multiplied by a number from 1 to 2**STEP, the last digit of which is known.
    """
    turns, period = 2 ** (STEP * entry) * 2 / _exact_pi(), 4 << (23 if short else 52)
    rest = turns - period * round(turns / period)
    parts: list[float] = []
    for _ in range(4):
        parts.append(float(rest))
        rest -= Fraction(parts[-1])
    return tuple(parts)


@functools.cache
def _exact_pi(bits: int = 1300) -> Fraction:
    """Return pi to that many bits, as 16 atan(1 / 5) - 4 atan(1 / 239)."""

    def atan_of_inverse(n: int) -> int:
        power = total = (1 << bits + 32) // n
        for k in range(3, bits, 2):
            power //= -n * n
            total += power // k
        return total

    return Fraction(16 * atan_of_inverse(5) - 4 * atan_of_inverse(239), 1 << bits + 32)
