"""Reductions and cumulative ops.

All count as heavy: to compute one again takes its operand, which may be much larger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from ..builder import Builder
from ..derivative import ZERO, Cotangents, Derivative, Linear, Rules
from ..dtypes import numpy_dtype, type_of_array
from ..element import WHOLE
from ..graph import Node
from ..op import PURE, define
from ..types import Operand, Scalar, Type
from .elementwise import kind
from .formula import Term, constant
from .rules import (
    Array,
    batch_unary,
    check_axes,
    heavy,
    lax_call,
    require,
    shifted,
    without_axes,
)

Axes = tuple[int, ...]
Weights = Callable[[Builder, Node], Operand]


def lowest(type: Type) -> Scalar:
    """Return what no element is below.

    Examples
    --------
    >>> from brainir.ir import Type, lowest
    >>> lowest(Type("int8")), lowest(Type("float32"))
    (-128, -inf)
    """
    if type.dtype == "bool":
        return False
    return -np.inf if type.is_float else int(np.iinfo(numpy_dtype(type.dtype)).min)


def highest(type: Type) -> Scalar:
    """Return what no element is above.

    Examples
    --------
    >>> from brainir.ir import Type, highest
    >>> highest(Type("uint8")), highest(Type("bool"))
    (255, True)
    """
    if type.dtype == "bool":
        return True
    return np.inf if type.is_float else int(np.iinfo(numpy_dtype(type.dtype)).max)


def _wide(x: Array) -> Array:
    """Return floats of 16 bits or fewer as float32, in which they are summed."""
    narrow = type_of_array(x).is_float and x.dtype.itemsize < 4
    return x.astype(np.float32) if narrow else x


# --- reductions -----------------------------------------------------------------------------------


def _infer_reduce(domain: str) -> Callable[..., Type]:
    def infer(x: Type, *, axes: Axes) -> Type:
        require(kind(x) in domain, f"not defined on {x.dtype}")
        check_axes(x, axes)
        return Type(x.dtype, without_axes(x.shape, axes))

    return infer


def _shift_axes(size: int, *, axes: Axes, **attrs: Any) -> Mapping[str, Any]:
    return {"axes": shifted(axes), **attrs}


def _along(b: Builder, reduced: Operand, type: Type, axes: Axes) -> Operand:
    """Repeat what was reduced along axes to the type that it had before."""
    dims = tuple(i for i in range(type.rank) if i not in axes)
    return b("broadcast_in_dim", reduced, shape=type.shape, dims=dims)


def _sum_transpose(b: Builder, ct: Operand, x: Operand, axes: Axes) -> tuple[Operand]:
    return (_along(b, ct, x.type, axes),)


def _weighted_sum(weights: Weights) -> Rules:
    """Return the derivative of a reduction whose tangent is a weighted sum of tangents."""

    def reverse(b: Builder, node: Node, cotangents: Cotangents) -> Sequence[Operand | None]:
        (x,), (ct,) = node.operands, cotangents
        assert ct is not None
        return (b("mul", _along(b, ct, x.type, node.attrs["axes"]), weights(b, node)),)

    def forward(b: Builder, node: Node, tangents: Cotangents) -> Sequence[Operand | None]:
        (tangent,) = tangents
        assert tangent is not None
        return (b("reduce_sum", b("mul", tangent, weights(b, node)), **node.attrs),)

    return Rules(reverse, forward)


def _share_of_extreme(b: Builder, node: Node) -> Operand:
    """Elements that are the result share its slope equally."""
    (x,), axes = node.operands, node.attrs["axes"]
    chosen = Term(b, x).where("eq", Term(b, _along(b, node.result, x.type, axes)))
    count = b("reduce_sum", chosen.operand, axes=axes)
    return b("div", chosen.operand, _along(b, count, x.type, axes))


def _product_of_others(b: Builder, node: Node) -> Operand:
    """What each element is multiplied by: no division, since it may be zero."""
    (x,), axes = node.operands, tuple[int, ...](node.attrs["axes"])
    kept = tuple(i for i in range(x.type.rank) if i not in axes)
    order = (*kept, *axes)
    moved = b("transpose", x, permutation=order)
    last = len(kept)
    length = prod(x.type.shape[a] for a in axes)
    flat = b("reshape", moved, shape=(*(x.type.shape[k] for k in kept), length))
    before = _shift(b, b("cumprod", flat, axis=last, reverse=False), 1, last, 1.0)
    after = _shift(b, b("cumprod", flat, axis=last, reverse=True), -1, last, 1.0)
    others = b("reshape", b("mul", before, after), shape=moved.type.shape)
    return b("transpose", others, permutation=tuple(order.index(i) for i in range(len(order))))


def _sum(x: Array, axes: Axes) -> Array:
    wide = _wide(x)
    return np.sum(wide, axes, dtype=wide.dtype).astype(x.dtype)


def _product(x: Array, axes: Axes) -> Array:
    wide = _wide(x)
    return np.prod(wide, axes, dtype=wide.dtype).astype(x.dtype)


def _max(x: Array, axes: Axes) -> Array:
    return np.maximum.reduce(x, axes, initial=np.array(lowest(type_of_array(x)), x.dtype))


def _min(x: Array, axes: Axes) -> Array:
    return np.minimum.reduce(x, axes, initial=np.array(highest(type_of_array(x)), x.dtype))


def _and(x: Array, axes: Axes) -> Array:
    return np.bitwise_and.reduce(x, axes, dtype=x.dtype)


def _or(x: Array, axes: Axes) -> Array:
    return np.bitwise_or.reduce(x, axes, dtype=x.dtype)


def _xor(x: Array, axes: Axes) -> Array:
    return np.bitwise_xor.reduce(x, axes, dtype=x.dtype)


def _reduction(
    name: str, doc: str, domain: str, numpy: Callable[..., Array], derivative: Derivative
) -> None:
    define(
        f"reduce_{name}",
        f"{doc} along `axes`.",
        infer=_infer_reduce(domain),
        numpy=numpy,
        lax=lax_call(f"reduce_{name}", "axes"),
        batch=batch_unary(f"reduce_{name}", _shift_axes),
        derivative=derivative,
        effects=PURE,
        cost=heavy,
        element=WHOLE,
    )


_reduction("sum", "Sum", "iufc", _sum, Linear(_sum_transpose))
_reduction("prod", "Product", "iufc", _product, _weighted_sum(_product_of_others))
_reduction("max", "Largest element", "biuf", _max, _weighted_sum(_share_of_extreme))
_reduction("min", "Smallest element", "biuf", _min, _weighted_sum(_share_of_extreme))
_reduction("and", "Bits that are set in all elements", "biu", _and, ZERO)
_reduction("or", "Bits that are set in any element", "biu", _or, ZERO)
_reduction("xor", "Bits that are set in an odd number of elements", "biu", _xor, ZERO)


def _infer_arg(x: Type, *, axes: Axes, index_dtype: str) -> Type:
    require(kind(x) in "biuf", f"not defined on {x.dtype}")
    require(len(axes) == 1, f"one axis expected, not {axes}")
    check_axes(x, axes)
    require(x.shape[axes[0]] > 0, f"{x} has no elements along {axes}")
    require(Type(index_dtype).is_integer, f"an index is an integer, not {index_dtype}")
    return Type(index_dtype, without_axes(x.shape, axes))


def _argmax(x: Array, axes: Axes, index_dtype: str) -> Array:
    return np.argmax(_wide(x), axes[0]).astype(index_dtype)


def _argmin(x: Array, axes: Axes, index_dtype: str) -> Array:
    return np.argmin(_wide(x), axes[0]).astype(index_dtype)


def _arg(name: str, what: str, numpy: Callable[..., Array]) -> None:
    def lax(jax: Any, x: Any, axes: Axes, index_dtype: str) -> Any:
        return getattr(jax.lax, name)(x, axes[0], np.dtype(index_dtype))

    define(
        name,
        f"Index of the first {what} element along the one axis of `axes`; nan counts as such.",
        infer=_infer_arg,
        numpy=numpy,
        lax=lax,
        batch=batch_unary(name, _shift_axes),
        derivative=ZERO,
        effects=PURE,
        cost=heavy,
        element=WHOLE,
    )


_arg("argmax", "largest", _argmax)
_arg("argmin", "smallest", _argmin)

# --- cumulative ops -------------------------------------------------------------------------------


def _infer_cumulative(domain: str) -> Callable[..., Type]:
    def infer(x: Type, *, axis: int, reverse: bool) -> Type:
        require(kind(x) in domain, f"not defined on {x.dtype}")
        check_axes(x, [axis], "axis")
        return x

    return infer


def _accumulate(ufunc: np.ufunc) -> Callable[..., Array]:
    def meaning(x: Array, axis: int, reverse: bool) -> Array:
        wide = _wide(x)
        ordered = np.flip(wide, axis) if reverse else wide
        total = ufunc.accumulate(ordered, axis, dtype=wide.dtype)
        return (np.flip(total, axis) if reverse else total).astype(x.dtype)

    return meaning


def _shift_axis(size: int, axis: int, reverse: bool) -> Mapping[str, Any]:
    return {"axis": axis + 1, "reverse": reverse}


def _pad(
    b: Builder, x: Operand, axis: int, low: int, high: int, between: int = 0, fill: Scalar = 0.0
) -> Operand:
    config = tuple((low, high, between) if i == axis else (0, 0, 0) for i in range(x.type.rank))
    return b("pad", x, constant(x, fill), config=config)


def _shift(b: Builder, x: Operand, by: int, axis: int, fill: Scalar) -> Operand:
    """Move elements along an axis; what comes in is ``fill``."""
    return _pad(b, x, axis, by, -by, fill=fill)


def _every_second(b: Builder, x: Operand, start: int, axis: int) -> Operand:
    shape = x.type.shape
    starts = tuple(start if i == axis else 0 for i in range(len(shape)))
    strides = tuple(2 if i == axis else 1 for i in range(len(shape)))
    return b("slice", x, start=starts, limit=shape, strides=strides)


def linear_recurrence(
    b: Builder, factors: Operand, terms: Operand, axis: int, reverse: bool
) -> Operand:
    """Build s[i] = factors[i] s[i - 1] + terms[i] along an axis.

    A factor without that axis is the same for all steps. Two steps make one of a recurrence of half
    the length, which gives every second element; from each of these follows the next (Blelloch
    1990). So the work is linear in the length.

    Examples
    --------
    >>> from brainir.ir import Builder, Literal, Type, Value, linear_recurrence
    >>> currents, build = Value(Type("float32", (8,))), Builder()
    >>> decay = Literal(0.5, Type("float32"))
    >>> str(linear_recurrence(build, decay, currents, 0, False).type)
    'f32[8]'
    """
    steady = factors.type.rank < terms.type.rank
    if reverse:
        terms = b("rev", terms, dimensions=(axis,))
        factors = factors if steady else b("rev", factors, dimensions=(axis,))
        return b("rev", linear_recurrence(b, factors, terms, axis, False), dimensions=(axis,))
    length = terms.type.shape[axis]
    if length < 2:
        return terms
    odd = length % 2
    term, next_term = (_every_second(b, terms, start, axis) for start in (0, 1))
    factor = next_factor = paired_factor = factors
    if not steady:
        factor, next_factor = (_every_second(b, factors, start, axis) for start in (0, 1))
        paired_factor = _pad(b, factor, axis, 0, -odd)
    found = linear_recurrence(
        b,
        b("mul", next_factor, paired_factor),
        b("add", next_term, _scaled(b, next_factor, _pad(b, term, axis, 0, -odd), axis)),
        axis,
        False,
    )
    others = b("add", term, _scaled(b, factor, _pad(b, found, axis, 1, odd - 1), axis))
    return b("add", _pad(b, others, axis, 0, 1 - odd, 1), _pad(b, found, axis, 1, odd, 1))


def _scaled(b: Builder, factor: Operand, x: Operand, axis: int) -> Operand:
    """Multiply with a factor for each element, or for those of one step."""
    if factor.type.shape and factor.type.rank < x.type.rank:
        dims = tuple(i for i in range(x.type.rank) if i != axis)
        factor = b("broadcast_in_dim", factor, shape=x.type.shape, dims=dims)
    return b("mul", factor, x)


Coefficients = Callable[[Term, Term, Term], tuple[Term, Term]]


def _running(before: float, coefficients: Coefficients) -> Rules:
    """Return the derivative of a running result y[i] = f(y[i - 1], x[i]).

    ``coefficients(previous, x, y)`` gives the slopes of f; ``before`` stands for y[-1].
    """

    def slopes(b: Builder, node: Node, axis: int, reverse: bool) -> tuple[Operand, Operand]:
        (x,), y = node.operands, node.result
        previous = _shift(b, y, -1 if reverse else 1, axis, before)
        factor, own = coefficients(Term(b, previous), Term(b, x), Term(b, y))
        return factor.operand, own.operand

    def backward(b: Builder, node: Node, cotangents: Cotangents) -> Sequence[Operand | None]:
        axis, reverse = node.attrs["axis"], node.attrs["reverse"]
        factors, own = slopes(b, node, axis, reverse)
        following = _shift(b, factors, 1 if reverse else -1, axis, 0.0)
        (ct,) = cotangents
        assert ct is not None
        return (b("mul", own, linear_recurrence(b, following, ct, axis, not reverse)),)

    def forward(b: Builder, node: Node, tangents: Cotangents) -> Sequence[Operand | None]:
        axis, reverse = node.attrs["axis"], node.attrs["reverse"]
        factors, own = slopes(b, node, axis, reverse)
        (tangent,) = tangents
        assert tangent is not None
        return (linear_recurrence(b, factors, b("mul", own, tangent), axis, reverse),)

    return Rules(backward, forward)


def _slopes_of_product(previous: Term, x: Term, y: Term) -> tuple[Term, Term]:
    return x, previous


def _slopes_of_extreme(comparison: str) -> Coefficients:
    def coefficients(previous: Term, x: Term, y: Term) -> tuple[Term, Term]:
        both = 0.5 * x.where("eq", previous)
        return previous.where(comparison, x) + both, x.where(comparison, previous) + both

    return coefficients


def _slopes_of_logsumexp(previous: Term, x: Term, y: Term) -> tuple[Term, Term]:
    # Where y is minus infinity, so are the other two; 0 in its place makes the slopes 0, not nan.
    b, empty = y.builder, y.apply("eq", -np.inf)
    y = Term(b, b("select_n", empty.operand, y.operand, b.zeros(y.operand.type)))
    return (previous - y).apply("exp"), (x - y).apply("exp")


def _sum_back(b: Builder, ct: Operand, x: Operand, axis: int, reverse: bool) -> tuple[Operand]:
    return (b("cumsum", ct, axis=axis, reverse=not reverse),)


def _cumulative(name: str, what: str, domain: str, ufunc: np.ufunc, derivative: Derivative) -> None:
    define(
        name,
        f"{what} of all elements up to each along `axis`, or from each on if `reverse`.",
        infer=_infer_cumulative(domain),
        numpy=_accumulate(ufunc),
        lax=lax_call(name, "axis", "reverse"),
        batch=batch_unary(name, _shift_axis),
        derivative=derivative,
        effects=PURE,
        cost=heavy,
        element=WHOLE,
    )


_cumulative("cumsum", "Sum", "iufc", np.add, Linear(_sum_back))
_cumulative("cumprod", "Product", "iufc", np.multiply, _running(1.0, _slopes_of_product))
_cumulative("cummax", "Largest", "iuf", np.maximum, _running(-np.inf, _slopes_of_extreme("gt")))
_cumulative("cummin", "Smallest", "iuf", np.minimum, _running(np.inf, _slopes_of_extreme("lt")))
_cumulative(
    "cumlogsumexp",
    "Logarithm of the sum of exponentials",
    "f",
    np.logaddexp,
    _running(-np.inf, _slopes_of_logsumexp),
)
