"""Elementwise ops of several operands: arithmetic, comparison, bits and selection.

Integers are those of XLA: arithmetic wraps, division truncates towards zero, dividing by zero gives
-1 (all bits set) and leaves the dividend as the remainder, and shifting by more bits than there are
shifts everything out.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..builder import Builder
from ..derivative import (
    NOT_DIFFERENTIABLE,
    ZERO,
    Cotangents,
    Linear,
    Rules,
    add_all,
    spread,
    unbroadcast,
)
from ..element import NO_ELEMENT, Elements, Pointwise, by_word
from ..graph import Node
from ..op import PURE, GraphError, define
from ..types import Operand, Type
from .elementwise import elementwise, kind
from .formula import Term, partials
from .rules import (
    Array,
    batch_elementwise,
    cheap,
    common_shape,
    lax_call,
    require,
    same_dtype,
    shown,
)

# --- arithmetic -----------------------------------------------------------------------------------


def _is_integer(x: Array) -> bool:
    return x.dtype.kind in "iu"


def _quotient(x: Array, y: Array) -> Array:
    if not _is_integer(x):
        return np.true_divide(x, y)
    divisor = np.where(y == 0, np.ones_like(y), y)
    quotient, rest = x // divisor, x % divisor
    up = (rest != 0) & ((x < 0) != (divisor < 0))
    return np.where(y == 0, ~np.zeros_like(x), quotient + up.astype(x.dtype))


def _remainder(x: Array, y: Array) -> Array:
    if not _is_integer(x):
        return np.fmod(x, y)
    return np.where(y == 0, x, np.fmod(x, np.where(y == 0, np.ones_like(y), y)))


def _element_of_quotient(e: Elements, x: Any, y: Any) -> Any:
    if not Type(x.dtype).is_integer:
        return e("div", x, y)
    by_zero, by_minus_one, divisor = _divisor(e, y)
    quotient = e("select", by_minus_one, e("neg", x), e("div", x, divisor))
    return e("select", by_zero, e("not", e.constant(0, x.dtype)), quotient)


def _element_of_remainder(e: Elements, x: Any, y: Any) -> Any:
    if not Type(x.dtype).is_integer:
        return e("rem", x, y)
    by_zero, by_minus_one, divisor = _divisor(e, y)
    rest = e("select", by_minus_one, e.constant(0, x.dtype), e("rem", x, divisor))
    return e("select", by_zero, x, rest)


def _divisor(e: Elements, y: Any) -> tuple[Any, Any, Any]:
    """Return whether an integer is 0 or -1, and one that is safe to divide by."""
    zero, one = (e.constant(number, y.dtype) for number in (0, 1))
    by_zero, by_minus_one = e("eq", y, zero), e.constant(False, "bool")
    if not y.dtype.startswith("u"):
        by_minus_one = e("eq", y, e("neg", one))
    return by_zero, by_minus_one, e("select", e("or", by_zero, by_minus_one), one, y)


def _add_transpose(b: Builder, ct: Operand, x: Operand, y: Operand) -> tuple[Operand, Operand]:
    return unbroadcast(b, ct, x.type), unbroadcast(b, ct, y.type)


def _sub_transpose(b: Builder, ct: Operand, x: Operand, y: Operand) -> tuple[Operand, Operand]:
    return unbroadcast(b, ct, x.type), unbroadcast(b, b("neg", ct), y.type)


def _reverse_div(b: Builder, node: Node, cotangents: Cotangents) -> Sequence[Operand | None]:
    (x, y), (ct,) = node.operands, cotangents
    assert ct is not None
    scaled = b("div", ct, y)
    to_divisor = b("neg", b("mul", scaled, node.result))
    return unbroadcast(b, scaled, x.type), unbroadcast(b, to_divisor, y.type)


def _forward_div(b: Builder, node: Node, tangents: Cotangents) -> Sequence[Operand | None]:
    (_, y), (dx, dy) = node.operands, tangents
    shift = None if dy is None else b("neg", b("mul", node.result, dy))
    change = add_all(b, [dx, shift])
    assert change is not None
    return (spread(b, b("div", change, y), node.result.type),)


def _slopes_of_mul(z: Term, x: Term, y: Term) -> tuple[Term, Term]:
    return y, x


def _slopes_of_rem(z: Term, x: Term, y: Term) -> tuple[int, Term]:
    quotient = x / y
    return 1, -(quotient.apply("sign") * quotient.apply("abs").apply("floor"))


def _slopes_of_atan2(z: Term, y: Term, x: Term) -> tuple[Term, Term]:
    square = x * x + y * y
    return x / square, -y / square


def _slopes_of_extreme(z: Term, x: Term, y: Term) -> tuple[Term, Term]:
    """One for the operand that is the result; both get a half where they are equal."""
    both = x.where("eq", y)
    return x.where("eq", z) - 0.5 * both, y.where("eq", z) - 0.5 * both


elementwise("add", "x + y.", "iufc", np.add, Linear(_add_transpose))
elementwise("sub", "x - y.", "iufc", np.subtract, Linear(_sub_transpose))
elementwise("mul", "x times y.", "iufc", np.multiply, partials(_slopes_of_mul))
elementwise(
    "div",
    "x / y.",
    "iufc",
    _quotient,
    Rules(_reverse_div, _forward_div),
    element=Pointwise(_element_of_quotient),
)
elementwise(
    "rem",
    "Rest of x / y, signed as x.",
    "iuf",
    _remainder,
    partials(_slopes_of_rem),
    element=Pointwise(_element_of_remainder),
)
elementwise("max", "The larger.", "biuf", np.maximum, partials(_slopes_of_extreme))
elementwise("min", "The smaller.", "biuf", np.minimum, partials(_slopes_of_extreme))
elementwise("atan2", "Angle of (y, x).", "f", np.arctan2, partials(_slopes_of_atan2))
elementwise(
    "nextafter",
    "The next number from x towards y.",
    "f",
    np.nextafter,
    NOT_DIFFERENTIABLE("it steps from one floating-point number to the next"),
    element=NO_ELEMENT("it steps from one floating-point number to the next"),
)


def _infer_pow(x: Type, y: Type) -> Type:
    require(kind(x) in "fc", f"not defined on {x.dtype}; integers have integer_pow")
    require(y.dtype == x.dtype or y.is_integer, f"the power is {x.dtype} or integer, not {y.dtype}")
    return Type(x.dtype, common_shape((x, y)))


def _pow(x: Array, y: Array) -> Array:
    return np.power(x, y.astype(x.dtype))


def _element_of_pow(e: Elements, x: Any, y: Any) -> Any:
    return e("pow", x, e.convert(y, x.dtype))


def _slopes_of_pow(z: Term, x: Term, y: Term) -> tuple[Term, Term | None]:
    if not y.operand.type.is_integer:
        # Where x is 0, the slope along y is 0 times log(1).
        base = x + x.where("eq", 0)
        return y * x.apply("pow", y - 1), base.apply("log") * z
    # Where y is 0, the slope along x is 0 times x.
    zero = y.where("eq", 0)
    factor = y.apply("convert_element_type", new_dtype=x.operand.type.dtype)
    return factor * x.apply("pow", y - 1 + zero), None


define(
    "pow",
    "x to the power of y, which may be an integer.",
    infer=_infer_pow,
    numpy=_pow,
    lax=lax_call("pow"),
    batch=batch_elementwise("pow"),
    derivative=partials(_slopes_of_pow),
    effects=PURE,
    cost=cheap,
    element=Pointwise(_element_of_pow),
)

# --- comparison -----------------------------------------------------------------------------------

elementwise("eq", "Whether x = y.", "biufck", operator.eq, ZERO, dtype="bool")
elementwise("ne", "Whether x and y differ.", "biufck", operator.ne, ZERO, dtype="bool")
elementwise("lt", "Whether x < y.", "biuf", np.less, ZERO, dtype="bool")
elementwise("le", "Whether x <= y.", "biuf", np.less_equal, ZERO, dtype="bool")
elementwise("gt", "Whether x > y.", "biuf", np.greater, ZERO, dtype="bool")
elementwise("ge", "Whether x >= y.", "biuf", np.greater_equal, ZERO, dtype="bool")

# --- bits -----------------------------------------------------------------------------------------


def _bits(x: Array) -> int:
    return x.dtype.itemsize * 8


def _unsigned(x: Array) -> Array:
    return x.astype(f"uint{_bits(x)}")


def _fits(shift: Array) -> Array:
    return _unsigned(shift) < _bits(shift)


def _shift_left(x: Array, y: Array) -> Array:
    fits = _fits(y)
    return np.where(fits, x << np.where(fits, y, np.zeros_like(y)), np.zeros_like(x))


def _shift_right_logical(x: Array, y: Array) -> Array:
    fits, bits = _fits(y), _unsigned(x)
    shifted = bits >> _unsigned(np.where(fits, y, np.zeros_like(y)))
    return np.where(fits, shifted, np.zeros_like(bits)).astype(x.dtype)


def _shift_right_arithmetic(x: Array, y: Array) -> Array:
    signed = x.astype(f"int{_bits(x)}")
    shift = np.where(_fits(y), y, np.full_like(y, _bits(y) - 1)).astype(signed.dtype)
    return (signed >> shift).astype(x.dtype)


def _element_of_shift(word: str) -> Pointwise:
    """Return the rule of a shift, which by too many bits shifts everything out."""

    def rule(e: Elements, x: Any, y: Any) -> Any:
        bits = Type(x.dtype).itemsize * 8
        unsigned = e.bitcast(y, f"uint{bits}")
        fits = e("lt", unsigned, e.constant(bits, unsigned.dtype))
        last = e.constant(bits - 1, x.dtype)
        if word == "ashr":
            signed = e.bitcast(x, f"int{bits}")
            by = e.bitcast(e("select", fits, y, last), signed.dtype)
            return e.bitcast(e(word, signed, by), x.dtype)
        shifted = e(word, x, e("select", fits, y, last))
        return e("select", fits, shifted, e.constant(0, x.dtype))

    return Pointwise(rule)


def _population_count(x: Array) -> Array:
    return np.bitwise_count(_unsigned(x)).astype(x.dtype)


def _leading_zeros(x: Array) -> Array:
    bits = _unsigned(x)
    for shift in (1 << k for k in range(_bits(x).bit_length() - 1)):
        bits = bits | (bits >> np.array(shift, bits.dtype))
    return (_bits(x) - np.bitwise_count(bits)).astype(x.dtype)


elementwise("not", "All bits of x turned over.", "biu", np.invert, ZERO, lax="bitwise_not")
elementwise("and", "Bits that are set in both.", "biu", np.bitwise_and, ZERO, lax="bitwise_and")
elementwise("or", "Bits that are set in either.", "biu", np.bitwise_or, ZERO, lax="bitwise_or")
elementwise("xor", "Bits that differ.", "biu", np.bitwise_xor, ZERO, lax="bitwise_xor")
elementwise(
    "shift_left",
    "x shifted left by y bits.",
    "iu",
    _shift_left,
    ZERO,
    element=_element_of_shift("shl"),
)
elementwise(
    "shift_right_logical",
    "x shifted right by y bits; zeros come in.",
    "iu",
    _shift_right_logical,
    ZERO,
    element=_element_of_shift("lshr"),
)
elementwise(
    "shift_right_arithmetic",
    "x shifted right by y bits; copies of its first bit come in.",
    "iu",
    _shift_right_arithmetic,
    ZERO,
    element=_element_of_shift("ashr"),
)
elementwise(
    "population_count",
    "How many bits are set.",
    "iu",
    _population_count,
    ZERO,
    element=by_word("popcount"),
)
elementwise("clz", "How many zero bits lead.", "iu", _leading_zeros, ZERO)

# --- selection ------------------------------------------------------------------------------------


def _infer_select(which: Type, case: Type, *others: Type) -> Type:
    if any(other != case for other in others):
        raise GraphError(f"cases of one type expected, not ({shown((case, *others))})")
    number = 1 + len(others)
    known = which.dtype == "int32" or (which.dtype == "bool" and number <= 2)
    require(known, f"cannot select one of {number} by {which.dtype}")
    if which.shape not in ((), case.shape):
        raise GraphError(f"a selector {which} does not fit cases {case}")
    return case


def _select(which: Array, *cases: Array) -> Array:
    index = np.clip(which.astype(np.int32), 0, len(cases) - 1)
    chosen = cases[0]
    for number, case in enumerate(cases[1:], 1):
        chosen = np.where(index == number, case, chosen)
    return chosen


def _element_of_selection(e: Elements, which: Any, *cases: Any) -> Any:
    if which.dtype == "bool":
        return e("select", which, cases[-1], cases[0])
    chosen = cases[0]
    for number, case in enumerate(cases[1:], 1):
        chosen = e("select", e("ge", which, e.constant(number, which.dtype)), case, chosen)
    return chosen


def _reverse_select(b: Builder, node: Node, cotangents: Cotangents) -> Sequence[Operand | None]:
    (which, *cases), (ct,) = node.operands, cotangents
    assert ct is not None
    zero = b.zeros(ct.type)
    masks = ([zero] * i + [ct] + [zero] * (len(cases) - i - 1) for i in range(len(cases)))
    return None, *(b("select_n", which, *mask) for mask in masks)


def _forward_select(b: Builder, node: Node, tangents: Cotangents) -> Sequence[Operand | None]:
    which, (_, *changes) = node.operands[0], tangents
    zero = b.zeros(node.result.type)
    return (b("select_n", which, *(zero if t is None else t for t in changes)),)


define(
    "select_n",
    "Elements of the case that the first operand numbers (false is 0, true is 1).",
    infer=_infer_select,
    numpy=_select,
    lax=lax_call("select_n"),
    batch=batch_elementwise("select_n", full=lambda position: position > 0),
    derivative=Rules(_reverse_select, _forward_select),
    effects=PURE,
    cost=cheap,
    element=Pointwise(_element_of_selection),
)


def _infer_clamp(low: Type, x: Type, high: Type) -> Type:
    same_dtype((low, x, high))
    require(kind(x) in "biuf", f"not defined on {x.dtype}")
    for bound in (low, high):
        require(bound.shape in ((), x.shape), f"a bound {bound} does not fit {x}")
    return x


def _clamp(low: Array, x: Array, high: Array) -> Array:
    return np.minimum(np.maximum(low, x), high)


def _element_of_clamp(e: Elements, low: Any, x: Any, high: Any) -> Any:
    return e("min", e("max", low, x), high)


def _slopes_of_clamp(z: Term, low: Term, x: Term, high: Term) -> tuple[Term, Term, Term]:
    """One for what the result comes from; at a bound, nothing has a slope."""
    return low.where("gt", x), x.where("gt", low) * x.where("lt", high), high.where("lt", x)


define(
    "clamp",
    "x, but at least the first operand and at most the third.",
    infer=_infer_clamp,
    numpy=_clamp,
    lax=lax_call("clamp"),
    batch=batch_elementwise("clamp", full=lambda position: position == 1),
    derivative=partials(_slopes_of_clamp),
    effects=PURE,
    cost=cheap,
    element=Pointwise(_element_of_clamp),
)
