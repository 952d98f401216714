"""Functions of floats in kernels: without a branch, so that one instruction serves many elements.

Each is a sum or a quotient of few terms after its argument was brought near zero. Coefficients are
those of the Taylor series, which on these short ranges are as good as any. Errors are at most two
and a half units in the last place, tested against a wider type. What has no function of its own
here is a call of the C library, for one element at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import factorial
from typing import Any

import numpy as np
from llvmlite import ir

LOG_2 = Fraction("0.693147180559945309417232121458176568075500134360255")


def define(module: ir.Module, name: str, kind: Any) -> ir.Function:
    """Return the function of that name in a module, for elements of a kind.

    Parameters
    ----------
    module : ir.Module
        Which gets the function unless it has it.
    name : str
        The word for it, such as ``exp``.
    kind : ir.FloatType or ir.DoubleType
        Of operands and result.

    Examples
    --------
    >>> from llvmlite import ir
    >>> from brainir.backends.native.elementary import define
    >>> define(ir.Module(), "exp", ir.FloatType()).name
    'exp.float'
    """
    write = FUNCTIONS.get(name)
    if write is None:
        return _called(module, name, kind)
    full = f"{name}.{kind}"
    if full in module.globals:
        return module.globals[full]
    count = 2 if name in TWO else 1
    function = ir.Function(module, ir.FunctionType(kind, [kind] * count), full)
    function.linkage = "internal"
    function.attributes.add("alwaysinline")
    function.attributes.add("nounwind")
    maths = _Maths(module, ir.IRBuilder(function.append_basic_block()), kind)
    maths.build.ret(write(maths, *function.args))
    return function


def _called(module: ir.Module, name: str, kind: Any) -> ir.Function:
    """Return the function of the C library."""
    symbol = name + ("f" if isinstance(kind, ir.FloatType) else "")
    if symbol in module.globals:
        return module.globals[symbol]
    count = 2 if name in TWO else 1
    function = ir.Function(module, ir.FunctionType(kind, [kind] * count), symbol)
    function.attributes.add("nounwind")
    return function


class _Maths:
    """Writes arithmetic on elements of one kind."""

    def __init__(self, module: ir.Module, build: ir.IRBuilder, kind: Any) -> None:
        self.module, self.build, self.kind = module, build, kind
        self.single = isinstance(kind, ir.FloatType)
        self.bits = ir.IntType(32 if self.single else 64)
        self.mantissa, self.bias = (23, 127) if self.single else (52, 1023)
        self.dtype: Any = np.float32 if self.single else np.float64

    def number(self, value: float) -> Any:
        """Return a constant."""
        return ir.Constant(self.kind, float(self.dtype(value)))

    def integer(self, value: int) -> Any:
        """Return a constant of as many bits."""
        return ir.Constant(self.bits, value)

    def intrinsic(self, name: str, *values: Any) -> Any:
        """Return what LLVM has a word for."""
        function = self.module.declare_intrinsic(
            f"llvm.{name}", [self.kind], ir.FunctionType(self.kind, [v.type for v in values])
        )
        return self.build.call(function, values)

    def fma(self, x: Any, y: Any, z: Any) -> Any:
        """Return x y + z, rounded once."""
        return self.intrinsic("fma", x, y, z)

    def less(self, x: Any, y: Any) -> Any:
        """Return whether x < y."""
        return self.build.fcmp_ordered("<", x, y)

    def polynomial(self, x: Any, coefficients: Sequence[float]) -> Any:
        """Return the sum of powers of x, the lowest first."""
        total = self.number(coefficients[-1])
        for coefficient in coefficients[-2::-1]:
            total = self.fma(total, x, self.number(coefficient))
        return total

    def halves(self, value: Fraction, cut: int) -> tuple[Any, Any]:
        """Return a constant as the sum of one with few digits and a small one."""
        word: Any = np.uint32 if self.single else np.uint64
        short = np.array(float(value), self.dtype).view(word) & ~word((1 << cut) - 1)
        first = float(short.view(self.dtype))
        return self.number(first), self.number(float(value - Fraction(first)))

    def power_of_two(self, n: Any) -> Any:
        """Return 2 to the power of an integer, of those of normal numbers."""
        shifted = self.build.add(n, self.integer(self.bias))
        bits = self.build.shl(shifted, self.integer(self.mantissa))
        return self.build.bitcast(bits, self.kind)

    def function(self, name: str, *values: Any) -> Any:
        """Return another function of this file."""
        return self.build.call(define(self.module, name, self.kind), values)


# --- exponentials ---------------------------------------------------------------------------------


def _reduced(m: _Maths, x: Any) -> tuple[Any, Any]:
    """Return n and r with x = n log 2 + r, for an x of which the exponential is no overflow."""
    n = m.intrinsic("rint", m.build.fmul(x, m.number(float(1 / LOG_2))))
    high, low = m.halves(LOG_2, 12 if m.single else 20)
    minus = m.build.fneg(n)
    return n, m.fma(minus, low, m.fma(minus, high, x))


def _clamped(m: _Maths, x: Any, low: float, high: float) -> Any:
    """Return x within bounds, nan as it is."""
    x = m.build.select(m.less(x, m.number(low)), m.number(low), x)
    return m.build.select(m.less(m.number(high), x), m.number(high), x)


def _minus_one(m: _Maths, r: Any) -> Any:
    """Return exp(r) - 1 of a small r."""
    terms = 8 if m.single else 14
    rest = m.polynomial(r, [1 / factorial(k) for k in range(2, terms)])
    return m.fma(m.build.fmul(r, r), rest, r)


def _scaled(m: _Maths, x: Any, n: Any) -> Any:
    """Return x times 2 to the power of n, in two steps, as the power may be no normal number."""
    n = m.build.fptosi(n, m.bits)
    half = m.build.ashr(n, m.integer(1))
    rest = m.build.sub(n, half)
    return m.build.fmul(m.build.fmul(x, m.power_of_two(half)), m.power_of_two(rest))


def _exp(m: _Maths, x: Any, halved: bool = False) -> Any:
    bounds = (-105.0, 90.0) if m.single else (-750.0, 711.0)
    n, r = _reduced(m, _clamped(m, x, *bounds))
    n = m.build.fsub(n, m.number(1)) if halved else n
    result = _scaled(m, m.build.fadd(m.number(1), _minus_one(m, r)), _safe(m, n))
    return _nan_of(m, x, result)


def _exp2(m: _Maths, x: Any) -> Any:
    bounds = (-151.0, 129.0) if m.single else (-1076.0, 1025.0)
    near = _clamped(m, x, *bounds)
    n = m.intrinsic("rint", near)
    r = m.build.fmul(m.build.fsub(near, n), m.number(float(LOG_2)))
    result = _scaled(m, m.build.fadd(m.number(1), _minus_one(m, r)), _safe(m, n))
    return _nan_of(m, x, result)


def _expm1(m: _Maths, x: Any) -> Any:
    """2**n (exp(r) - 1) + (2**n - 1), halved first so that 2**n is no overflow."""
    near = _clamped(m, x, -50.0, 89.0 if m.single else 710.0)
    n, r = _reduced(m, near)
    whole = m.build.fptosi(_safe(m, n), m.bits)
    half = m.power_of_two(m.build.sub(whole, m.integer(1)))
    offset = m.build.fsub(half, m.number(0.5))
    result = m.build.fmul(m.fma(half, _minus_one(m, r), offset), m.number(2))
    zero = m.build.fcmp_ordered("==", x, m.number(0))
    return _nan_of(m, x, m.build.select(zero, x, result))


def _safe(m: _Maths, n: Any) -> Any:
    """Return n, but 0 for nan, which no integer stands for."""
    return m.build.select(m.build.fcmp_ordered("==", n, n), n, m.number(0))


def _nan_of(m: _Maths, x: Any, result: Any) -> Any:
    """Return a result, but nan where x is."""
    return m.build.select(m.build.fcmp_unordered("!=", x, x), x, result)


def _logistic(m: _Maths, x: Any) -> Any:
    return m.build.fdiv(m.number(1), m.build.fadd(m.number(1), m.function("exp", m.build.fneg(x))))


def _tanh(m: _Maths, x: Any) -> Any:
    """1 - 2 / (exp(2 x) + 1), or by expm1(-2 x) where that is near 0."""
    size = m.intrinsic("fabs", x)
    large = m.less(m.number(1), size)
    twice = m.build.fadd(size, size)
    e = m.function("expm1", m.build.select(large, twice, m.build.fneg(twice)))
    top = m.build.select(large, m.number(2), m.build.fneg(e))
    part = m.build.fdiv(top, m.build.fadd(e, m.number(2)))
    result = m.build.select(large, m.build.fsub(m.number(1), part), part)
    return m.intrinsic("copysign", result, x)


def _sinh(m: _Maths, x: Any) -> Any:
    """(e + e / (e + 1)) / 2 with e = exp(|x|) - 1, or exp(|x|) / 2 where that is large."""
    size = m.intrinsic("fabs", x)
    e = m.function("expm1", size)
    small = m.build.fadd(e, m.build.fdiv(e, m.build.fadd(e, m.number(1))))
    large = m.less(m.number(20.0), size)
    result = m.build.select(large, _exp(m, size, halved=True), m.build.fmul(small, m.number(0.5)))
    return m.intrinsic("copysign", result, x)


def _cosh(m: _Maths, x: Any) -> Any:
    size = m.intrinsic("fabs", x)
    half = _exp(m, size, halved=True)
    low = m.build.fdiv(m.number(0.25), half)
    return m.build.fadd(half, low)


# --- logarithms -----------------------------------------------------------------------------------


def _log_of(m: _Maths, u: Any, exact: Any | None, k: Any, correction: Any) -> Any:
    """Return log(u) + k log 2 + correction for a normal u, by s = f / (2 + f) of 1 + f = u / 2**j.

    Where j and k are 0, ``exact`` stands for f.
    """
    build = m.build
    bits = build.bitcast(u, m.bits)
    root = int(np.array(np.sqrt(0.5), m.dtype).view(np.int32 if m.single else np.int64))
    shifted = build.sub(bits, m.integer(root))
    j = build.ashr(shifted, m.integer(m.mantissa))
    near = build.bitcast(build.sub(bits, build.shl(j, m.integer(m.mantissa))), m.kind)
    f = build.fsub(near, m.number(1))
    if exact is not None:
        f = build.select(build.icmp_signed("==", j, m.integer(0)), exact, f)
    k = build.fadd(build.sitofp(j, m.kind), k)
    s = build.fdiv(f, build.fadd(f, m.number(2)))
    z = build.fmul(s, s)
    terms = 6 if m.single else 13
    series = m.polynomial(z, [2 / (2 * n + 1) for n in range(1, terms)])
    half = build.fmul(build.fmul(f, f), m.number(0.5))
    high, low = m.halves(LOG_2, 12 if m.single else 20)
    rest = m.fma(s, m.fma(z, series, half), m.fma(k, low, correction))
    return m.fma(k, high, build.fsub(f, build.fsub(half, rest)))


def _edges(m: _Maths, x: Any, least: float, result: Any) -> Any:
    """Return a logarithm, with what it is at its least argument, below it, and far away."""
    build, border = m.build, m.number(least)
    infinite = build.fcmp_ordered("==", x, m.number(np.inf))
    result = build.select(infinite, x, result)
    at = build.fcmp_ordered("==", x, border)
    result = build.select(at, m.number(-np.inf), result)
    return build.select(build.fcmp_unordered("<", x, border), m.number(np.nan), result)


def _log(m: _Maths, x: Any) -> Any:
    tiny = float(np.finfo(m.dtype).tiny)
    steps = m.mantissa + 2
    small = m.less(x, m.number(tiny))
    u = m.build.select(small, m.build.fmul(x, m.number(2.0**steps)), x)
    k = m.build.select(small, m.number(-steps), m.number(0))
    return _edges(m, x, 0.0, _log_of(m, u, None, k, m.number(0)))


def _log1p(m: _Maths, x: Any) -> Any:
    """log(1 + x), corrected by what the sum has lost."""
    build = m.build
    u = build.fadd(m.number(1), x)
    large = m.less(m.number(1), x)
    lost = build.select(
        large,
        build.fsub(m.number(1), build.fsub(u, x)),
        build.fsub(x, build.fsub(u, m.number(1))),
    )
    bits = build.bitcast(u, m.bits)
    root = int(np.array(np.sqrt(0.5), m.dtype).view(np.int32 if m.single else np.int64))
    j = build.ashr(build.sub(bits, m.integer(root)), m.integer(m.mantissa))
    exact = build.icmp_signed("==", j, m.integer(0))
    correction = build.select(exact, m.number(0), build.fdiv(lost, u))
    result = _edges(m, x, -1.0, _log_of(m, u, x, m.number(0), correction))
    return build.select(build.fcmp_ordered("==", x, m.number(0)), x, result)


# --- powers ---------------------------------------------------------------------------------------


def _rsqrt(m: _Maths, x: Any) -> Any:
    return m.build.fdiv(m.number(1), m.intrinsic("sqrt", x))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": _exp,
    "exp2": _exp2,
    "expm1": _expm1,
    "logistic": _logistic,
    "tanh": _tanh,
    "sinh": _sinh,
    "cosh": _cosh,
    "log": _log,
    "log1p": _log1p,
    "rsqrt": _rsqrt,
}
"""What has a function of its own."""

TWO = ("pow", "atan2")
"""Functions of two operands."""
