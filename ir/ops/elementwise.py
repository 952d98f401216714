"""Elementwise maths: one row of a table for each op.

The operands of an elementwise op have one dtype and one shape, apart from what is broadcast
implicitly: rank 0, and axes of length 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from math import inf, log, pi, sqrt
from typing import Any

import numpy as np

from ..builder import Builder
from ..derivative import ZERO, Cotangents, Derivative, Linear, Rules
from ..element import ITSELF, NO_ELEMENT, ElementRule, Elements, Pointwise, by_word
from ..graph import Node
from ..op import PURE, CostRule, define
from ..types import Operand, Type
from . import special_functions
from .formula import Partial, Term, partials
from .rules import (
    Array,
    batch_elementwise,
    cheap,
    common_shape,
    free,
    lax_call,
    require,
    same_dtype,
)

Meaning = Callable[..., Array]


REAL_PART = {"complex64": "float32", "complex128": "float64"}
"""The dtype of the parts of complex numbers."""


def kind(type: Type) -> str:
    """Return one letter for what elements are: b(ool) i(nt) u(nsigned) f(loat) c(omplex) k(ey)."""
    return _kind(type.dtype)


@cache
def _kind(dtype: str) -> str:
    type = Type(dtype)
    if type.is_integer:
        return type.dtype[0]
    return "k" if type.is_key else "b" if type.dtype == "bool" else "c" if type.is_complex else "f"


def infer_elementwise(domain: str, dtype: str | None = None) -> Callable[..., Type]:
    """Return the inference of an elementwise op, from the kinds of elements that it takes.

    ``dtype`` is that of the result if it is not that of the operands.
    """

    def infer(*types: Type) -> Type:
        common = same_dtype(types)
        require(kind(types[0]) in domain, f"not defined on {common}")
        return Type(dtype or common, common_shape(types))

    return infer


def elementwise(
    name: str,
    doc: str,
    domain: str,
    numpy: Meaning,
    derivative: Derivative,
    *,
    dtype: str | None = None,
    lax: str | None = None,
    cost: CostRule = cheap,
    element: ElementRule | None = None,
) -> None:
    """Define an elementwise op without attributes.

    ``lax`` is its name there, if it differs; ``element`` is given where its name is not a word that
    machines have.
    """
    define(
        name,
        doc,
        infer=infer_elementwise(domain, dtype),
        numpy=numpy,
        lax=lax_call(lax or name),
        batch=batch_elementwise(name),
        derivative=derivative,
        effects=PURE,
        cost=cost,
        element=element or by_word(name),
    )


def function(
    name: str,
    doc: str,
    domain: str,
    numpy: Meaning,
    formula: Callable[[Term, Term], Partial],
    **extra: Any,
) -> None:
    """Define a function of one operand by a formula of its slope, of the result and the operand."""
    elementwise(name, doc, domain, numpy, partials(formula), **extra)


# --- functions of one operand -------------------------------------------------------------------


def _exp2(x: Array) -> Array:
    return np.exp(x * np.log(2).astype(x.dtype)) if x.dtype.kind == "c" else np.exp2(x)


def _rsqrt(x: Array) -> Array:
    return np.reciprocal(np.sqrt(x))


def _logistic(x: Array) -> Array:
    return np.reciprocal(np.add(np.exp(np.negative(x)), np.ones((), x.dtype)))


def _sign(x: Array) -> Array:
    if x.dtype.kind == "c":
        return np.where(x == 0, x, x / np.where(x == 0, 1, np.abs(x))).astype(x.dtype)
    # A zero keeps its sign, and nan stays nan.
    return np.where((x == 0) | (x != x), x, np.sign(x)).astype(x.dtype)


def _element_of_square(e: Elements, x: Any) -> Any:
    return e("mul", x, x)


def _inverse_root(x: Term) -> Term:
    return x.apply("rsqrt")


function("exp", "Exponential.", "fc", np.exp, lambda y, x: y)
function("exp2", "Two to the power of x.", "fc", _exp2, lambda y, x: log(2) * y)
function("log", "Natural logarithm.", "fc", np.log, lambda y, x: 1 / x)
function("log1p", "Logarithm of 1 + x.", "fc", np.log1p, lambda y, x: 1 / (x + 1))
function("expm1", "Exponential of x, minus 1.", "fc", np.expm1, lambda y, x: y + 1)
function("sin", "Sine.", "fc", np.sin, lambda y, x: x.apply("cos"))
function("cos", "Cosine.", "fc", np.cos, lambda y, x: -x.apply("sin"))
function("tan", "Tangent.", "fc", np.tan, lambda y, x: y * y + 1)
function("asin", "Arc sine.", "fc", np.arcsin, lambda y, x: _inverse_root((1 - x) * (x + 1)))
function("acos", "Arc cosine.", "fc", np.arccos, lambda y, x: -_inverse_root((1 - x) * (x + 1)))
function("atan", "Arc tangent.", "fc", np.arctan, lambda y, x: 1 / (x * x + 1))
function("sinh", "Hyperbolic sine.", "fc", np.sinh, lambda y, x: x.apply("cosh"))
function("cosh", "Hyperbolic cosine.", "fc", np.cosh, lambda y, x: x.apply("sinh"))
function("tanh", "Hyperbolic tangent.", "fc", np.tanh, lambda y, x: (1 - y) * (y + 1))
function("asinh", "Inverse of sinh.", "fc", np.arcsinh, lambda y, x: _inverse_root(x * x + 1))
function(
    "acosh",
    "Inverse of cosh.",
    "fc",
    np.arccosh,
    lambda y, x: _inverse_root(x - 1) * _inverse_root(x + 1),  # their product has two branches
)
function("atanh", "Inverse of tanh.", "fc", np.arctanh, lambda y, x: 1 / ((1 - x) * (x + 1)))
function("logistic", "1 / (1 + exp(-x)).", "fc", _logistic, lambda y, x: y * (1 - y))
function("sqrt", "Square root.", "fc", np.sqrt, lambda y, x: 0.5 / y)
function("rsqrt", "Reciprocal of the square root.", "fc", _rsqrt, lambda y, x: -0.5 * (y / x))
function("cbrt", "Cube root.", "f", np.cbrt, lambda y, x: (1 / 3) / (y * y))
function(
    "square",
    "x times x.",
    "iufc",
    np.square,
    lambda y, x: 2 * x,
    element=Pointwise(_element_of_square),
)


# --- special functions --------------------------------------------------------------------------

_SLOPE = 2 / sqrt(pi)
"""The slope of erf at 0."""

_RARE = NO_ELEMENT("it is a series of many terms")


def _special(
    name: str,
    doc: str,
    meaning: Meaning,
    formula: Callable[[Term, Term], Partial],
    element: ElementRule | None = None,
) -> None:
    function(name, doc, "f", special_functions.special(meaning), formula, element=element)


_special(
    "erf", "Error function.", special_functions.erf, lambda y, x: _SLOPE * (-x * x).apply("exp")
)
_special(
    "erfc", "1 - erf(x).", special_functions.erfc, lambda y, x: -_SLOPE * (-x * x).apply("exp")
)
_special(
    "erf_inv",
    "Inverse of erf.",
    special_functions.erf_inv,
    lambda y, x: (y * y).apply("exp") / _SLOPE,
)
_special(
    "lgamma",
    "Logarithm of |gamma(x)|.",
    special_functions.lgamma,
    lambda y, x: x.apply("digamma"),
    _RARE,
)
_special(
    "digamma",
    "Derivative of log(gamma(x)).",
    special_functions.digamma,
    lambda y, x: x.apply("polygamma", order=1),
    _RARE,
)
_special(
    "bessel_i0e",
    "Modified Bessel function of order 0, times exp(-|x|).",
    special_functions.bessel(0),
    lambda y, x: x.apply("bessel_i1e") - x.apply("sign") * y,
    _RARE,
)


def _slope_of_i1e(y: Term, x: Term) -> Term:
    zero = x.where("eq", 0)  # where y / x is 1/2
    return x.apply("bessel_i0e") - y * x.apply("sign") - (y / (x + zero) + 0.5 * zero)


_special(
    "bessel_i1e",
    "Modified Bessel function of order 1, times exp(-|x|).",
    special_functions.bessel(1),
    _slope_of_i1e,
    _RARE,
)


def infer_with_attrs(check: Callable[..., object], domain: str) -> Callable[..., Type]:
    """Return the inference of a unary op; ``check(type, **attrs)`` sees to its attributes."""
    plain = infer_elementwise(domain)

    def infer(x: Type, **attrs: Any) -> Type:
        check(x, **attrs)
        return plain(x)

    return infer


def _check_order(x: Type, *, order: int) -> None:
    require(order >= 1, "the order of a polygamma function is 1 or more")


def _lax_polygamma(jax: Any, x: Any, order: int) -> Any:
    return jax.lax.polygamma(jax.lax.full_like(x, order), x)


def _slope_of_polygamma(y: Term, x: Term, order: int) -> Term:
    return x.apply("polygamma", order=order + 1)


define(
    "polygamma",
    "Derivative of digamma, `order` times; order 1 is the trigamma function.",
    infer=infer_with_attrs(_check_order, "f"),
    numpy=special_functions.special(special_functions.polygamma),
    lax=_lax_polygamma,
    batch=batch_elementwise("polygamma"),
    derivative=partials(_slope_of_polygamma),
    effects=PURE,
    cost=cheap,
    element=_RARE,
)


def _integer_pow(x: Array, y: int) -> Array:
    return np.power(x, np.array(y, x.dtype))


def _check_power(x: Type, *, y: int) -> None:
    require(y >= 0 or not x.is_integer, f"an integer cannot be raised to the power of {y}")


def _element_of_power(e: Elements, x: Any, y: int) -> Any:
    """Multiply squares of squares, as the bits of the power say."""
    total, factor = None, x
    for bit in reversed(f"{abs(y):b}"):
        if bit == "1":
            total = factor if total is None else e("mul", total, factor)
        factor = e("mul", factor, factor)
    one = e.constant(1, x.dtype)
    if total is None:
        return one
    return e("div", one, total) if y < 0 else total


def _slope_of_power(result: Term, x: Term, *, y: int) -> Term | int | None:
    if y in (0, 1):
        return 1 if y else None
    return y * (x if y == 2 else x.apply("integer_pow", y=y - 1))


define(
    "integer_pow",
    "x to the power of the integer `y`.",
    infer=infer_with_attrs(_check_power, "iufc"),
    numpy=_integer_pow,
    lax=lax_call("integer_pow", "y"),
    batch=batch_elementwise("integer_pow"),
    derivative=partials(_slope_of_power),
    effects=PURE,
    cost=cheap,
    element=Pointwise(_element_of_power),
)


# --- absolute value -----------------------------------------------------------------------------


def _infer_abs(x: Type) -> Type:
    plain = infer_elementwise("ifc")(x)
    return plain.with_dtype(REAL_PART.get(x.dtype, x.dtype))


def _direction(node: Node, b: Builder) -> Operand:
    """Return the slope of a real |x|, one of its two at 0; of a complex |x|, conj(x) / |x|."""
    (x,), size = node.operands, Term(b, node.result)
    if not x.type.is_complex:
        positive = b("ge", x, Term(b, x).number(0).operand)
        return b("select_n", positive, b.full(x.type, -1.0), b.full(x.type, 1.0))
    size = size + size.where("eq", 0)
    return b("mul", b("conj", x), b("complex", (1 / size).operand, b.zeros(node.result.type)))


def _reverse_abs(b: Builder, node: Node, cotangents: Cotangents) -> Sequence[Operand | None]:
    (x,), (cotangent,) = node.operands, cotangents
    assert cotangent is not None
    if x.type.is_complex:
        cotangent = b("complex", cotangent, b.zeros(cotangent.type))
    return (b("mul", cotangent, _direction(node, b)),)


def _forward_abs(b: Builder, node: Node, tangents: Cotangents) -> Sequence[Operand | None]:
    (tangent,) = tangents
    assert tangent is not None
    product = b("mul", tangent, _direction(node, b))
    return (b("real", product) if tangent.type.is_complex else product,)


define(
    "abs",
    "Absolute value.",
    infer=_infer_abs,
    numpy=np.abs,
    lax=lax_call("abs"),
    batch=batch_elementwise("abs"),
    derivative=Rules(_reverse_abs, _forward_abs),
    effects=PURE,
    cost=cheap,
    element=by_word("abs"),
)


# --- sign, rounding and the like ----------------------------------------------------------------


def _round(x: Array, rounding_method: int) -> Array:
    if rounding_method == 1:
        return np.rint(x)
    whole = np.trunc(x)
    away = np.abs(x - whole) >= np.array(0.5, x.dtype)
    one = np.copysign(np.ones((), x.dtype), x)
    return np.copysign(np.where(away, whole + one, whole).astype(x.dtype), x)


def _check_rounding(x: Type, *, rounding_method: int) -> None:
    require(rounding_method in (0, 1), "rounding_method is 0 (halves away from 0) or 1 (to even)")


def _negated(b: Builder, cotangent: Operand, x: Operand) -> tuple[Operand]:
    return (b("neg", cotangent),)


def _identity(x: Array) -> Array:
    return x


def _lax_round(jax: Any, x: Any, rounding_method: int) -> Any:
    return jax.lax.round(x, jax.lax.RoundingMethod(rounding_method))


def _element_of_sign(e: Elements, x: Any) -> Any:
    zero, one = (e.constant(number, x.dtype) for number in (0, 1))
    if Type(x.dtype).is_float:
        other = e("or", e("eq", x, zero), e("ne", x, x))
        return e("select", other, x, e("copysign", one, x))
    size = e("select", e("eq", x, zero), zero, one)
    return e("select", e("lt", x, zero), e("neg", size), size)


def _element_of_is_finite(e: Elements, x: Any) -> Any:
    return e("lt", e("abs", x), e.constant(inf, x.dtype))


def _element_of_round(e: Elements, x: Any, rounding_method: int) -> Any:
    if rounding_method == 1:
        return e("round", x)
    whole = e("trunc", x)
    away = e("ge", e("abs", e("sub", x, whole)), e.constant(0.5, x.dtype))
    one = e("copysign", e.constant(1, x.dtype), x)
    return e("copysign", e("select", away, e("add", whole, one), whole), x)


elementwise("neg", "Minus x.", "iufc", np.negative, Linear(_negated))
elementwise(
    "sign",
    "-1, 0 or 1; of a complex number, its direction.",
    "iufc",
    _sign,
    ZERO,
    element=Pointwise(_element_of_sign),
)
elementwise("floor", "Largest whole number not above x.", "f", np.floor, ZERO)
elementwise("ceil", "Smallest whole number not below x.", "f", np.ceil, ZERO)
elementwise(
    "is_finite",
    "Whether x is neither infinite nor nan.",
    "f",
    np.isfinite,
    ZERO,
    dtype="bool",
    element=Pointwise(_element_of_is_finite),
)
elementwise(
    "stop_gradient",
    "x, which counts as constant.",
    "biufck",
    _identity,
    ZERO,
    cost=free,
    element=ITSELF,
)

define(
    "round",
    "Nearest whole number; rounding_method=0 takes halves away from zero, 1 to even.",
    infer=infer_with_attrs(_check_rounding, "f"),
    numpy=_round,
    lax=_lax_round,
    batch=batch_elementwise("round"),
    derivative=ZERO,
    effects=PURE,
    cost=cheap,
    element=Pointwise(_element_of_round),
)
