"""Elementwise ops that change what elements are: casts, bits, and the parts of complex numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..builder import Builder
from ..derivative import ZERO, Cotangents, Linear, Rules, unbroadcast
from ..dtypes import numpy_dtype, type_of_array
from ..element import ITSELF, NO_ELEMENT, Elements, Indexed, Pointwise
from ..graph import Node
from ..op import PURE, define
from ..types import Operand, Type
from .elementwise import REAL_PART, infer_elementwise, kind
from .rules import Array, batch_elementwise, batch_unary, cheap, free, lax_call, require

COMPLEX = {real: whole for whole, real in REAL_PART.items()}
"""The dtype of complex numbers whose parts have a dtype."""


# --- casts ----------------------------------------------------------------------------------------


def _infer_convert(x: Type, *, new_dtype: str) -> Type:
    target = Type(new_dtype)
    require(not (x.is_key or target.is_key), f"{x.dtype} cannot be converted to {new_dtype}")
    return x.with_dtype(new_dtype)


def _saturated(x: Array, target: np.dtype[Any]) -> Array:
    """Truncate floats to integers: what is too large becomes the largest, and nan becomes 0."""
    wide, limits = x.astype(np.float64), np.iinfo(target)
    low, high = wide <= limits.min, wide >= limits.max
    inside = np.where(low | high | np.isnan(wide), 0.0, wide).astype(target)
    inside = np.where(low, np.array(limits.min, target), inside)
    return np.where(high, np.array(limits.max, target), inside)


def _convert(x: Array, new_dtype: str) -> Array:
    target, source = numpy_dtype(new_dtype), type_of_array(x)
    if source.is_complex and not Type(new_dtype).is_complex:
        x = x.real
    if new_dtype == "bool":
        return x != np.zeros((), x.dtype)
    if source.is_differentiable and Type(new_dtype).is_integer:
        return _saturated(x, target)
    return x.astype(target)


def _lax_convert(jax: Any, x: Any, new_dtype: str) -> Any:
    if x.dtype.kind == "c" and not Type(new_dtype).is_complex:
        x = jax.lax.real(x)  # as it does anyway, but with a warning
    return jax.lax.convert_element_type(x, new_dtype)


def _element_of_convert(e: Elements, x: Any, new_dtype: str) -> Any:
    return e.convert(x, new_dtype)


def _reverse_convert(b: Builder, node: Node, cotangents: Cotangents) -> Sequence[Operand | None]:
    (x,), (ct,) = node.operands, cotangents
    if ct is None or not (x.type.is_differentiable and node.result.type.is_differentiable):
        return (None,)
    return (b("convert_element_type", ct, new_dtype=x.type.dtype),)


def _forward_convert(b: Builder, node: Node, tangents: Cotangents) -> Sequence[Operand | None]:
    (tangent,) = tangents
    if tangent is None or not node.result.type.is_differentiable:
        return (None,)
    return (b("convert_element_type", tangent, **node.attrs),)


define(
    "convert_element_type",
    "Elements as another dtype: floats are truncated to integers in range, complex to real parts.",
    infer=_infer_convert,
    numpy=_convert,
    lax=_lax_convert,
    batch=batch_elementwise("convert_element_type"),
    derivative=Rules(_reverse_convert, _forward_convert),
    effects=PURE,
    cost=cheap,
    element=Pointwise(_element_of_convert),
)


def _infer_bitcast(x: Type, *, new_dtype: str) -> Type:
    target = Type(new_dtype)
    plain = kind(x) in "iuf" and kind(target) in "iuf"
    require(plain or x.dtype == new_dtype, f"{x.dtype} has not the bits of a {new_dtype}")
    if x.itemsize > target.itemsize:
        return Type(new_dtype, (*x.shape, x.itemsize // target.itemsize))
    if x.itemsize == target.itemsize:
        return x.with_dtype(new_dtype)
    fits = x.shape and x.shape[-1] * x.itemsize == target.itemsize
    require(fits, f"the last axis of {x} does not make one {new_dtype}")
    return Type(new_dtype, x.shape[:-1])


def _bitcast(x: Array, new_dtype: str) -> Array:
    type = _infer_bitcast(type_of_array(x), new_dtype=new_dtype)
    return np.ascontiguousarray(x).reshape(-1).view(numpy_dtype(new_dtype)).reshape(type.shape)


def _element_of_bitcast(e: Elements, at: Any, x: Any, new_dtype: str) -> Any:
    """Read the bits; where the widths differ, take a number apart, or put one together."""
    parts, whole = x.type, at.type
    if parts.itemsize == whole.itemsize:
        return e.bitcast(x.at(at.index), new_dtype)
    narrow, wide = (f"uint{8 * n}" for n in sorted((parts.itemsize, whole.itemsize)))
    width = 8 * min(parts.itemsize, whole.itemsize)
    if parts.itemsize > whole.itemsize:
        *index, number = at.index
        shift = e("mul", e.convert(number, wide), e.constant(width, wide))
        bits = e("lshr", e.bitcast(x.at(index), wide), shift)
        return e.bitcast(e.convert(bits, narrow), new_dtype)
    total = e.constant(0, wide)
    for number in range(x.type.shape[-1]):
        part = x.at((*at.index, e.constant(number, "int64")))
        bits = e.convert(e.bitcast(part, narrow), wide)
        total = e("or", total, e("shl", bits, e.constant(number * width, wide)))
    return e.bitcast(total, new_dtype)


define(
    "bitcast_convert_type",
    "The same bits read as another dtype; a last axis holds the parts where the widths differ.",
    infer=_infer_bitcast,
    numpy=_bitcast,
    lax=lax_call("bitcast_convert_type", "new_dtype"),
    batch=batch_unary("bitcast_convert_type"),
    derivative=ZERO,
    effects=PURE,
    cost=free,
    element=Indexed(_element_of_bitcast),
)


def _infer_reduce_precision(x: Type, *, exponent_bits: int, mantissa_bits: int) -> Type:
    require(exponent_bits >= 1 and mantissa_bits >= 0, "a format has an exponent")
    return infer_elementwise("f")(x)


def _reduce_precision(x: Array, exponent_bits: int, mantissa_bits: int) -> Array:
    wide = x.astype(np.float64)
    mantissa, exponent = np.frexp(wide)  # of half-open size [1/2, 1), where a format has [1, 2)
    scale = float(2 ** min(mantissa_bits + 1, 53))
    rounded = np.ldexp(np.rint(mantissa * scale) / scale, exponent)
    largest = 2 ** (exponent_bits - 1)
    with_overflow = np.where(np.frexp(rounded)[1] > largest, np.copysign(np.inf, wide), rounded)
    below = np.frexp(rounded)[1] < 3 - largest
    return np.where(
        np.isfinite(wide), np.where(below, np.copysign(0.0, wide), with_overflow), wide
    ).astype(x.dtype)


def _transposed_precision(
    b: Builder, ct: Operand, x: Operand, exponent_bits: int, mantissa_bits: int
) -> tuple[Operand]:
    return (b("reduce_precision", ct, exponent_bits=exponent_bits, mantissa_bits=mantissa_bits),)


define(
    "reduce_precision",
    "x rounded to what a format with so many bits can hold, without subnormal numbers.",
    infer=_infer_reduce_precision,
    numpy=_reduce_precision,
    lax=lax_call("reduce_precision", "exponent_bits", "mantissa_bits"),
    batch=batch_elementwise("reduce_precision"),
    derivative=Linear(_transposed_precision),
    effects=PURE,
    cost=cheap,
    element=NO_ELEMENT("it rounds to a format of its own"),
)

# --- copies ---------------------------------------------------------------------------------------


def _transposed_copy(b: Builder, ct: Operand, x: Operand) -> tuple[Operand]:
    return (ct,)


def _lax_copy(jax: Any, x: Any) -> Any:
    return jax.lax.copy_p.bind(x)


define(
    "copy",
    "x, in memory of its own.",
    infer=infer_elementwise("biufck"),
    numpy=np.copy,
    lax=_lax_copy,
    batch=batch_elementwise("copy"),
    derivative=Linear(_transposed_copy),
    effects=PURE,
    cost=cheap,
    element=ITSELF,
)

# --- complex numbers ------------------------------------------------------------------------------


def _infer_part(x: Type) -> Type:
    require(x.is_complex, f"not defined on {x.dtype}")
    return x.with_dtype(REAL_PART[x.dtype])


def _infer_complex(re: Type, im: Type) -> Type:
    parts = infer_elementwise("f")(re, im)
    require(parts.dtype in COMPLEX, f"no complex number has parts of {parts.dtype}")
    return parts.with_dtype(COMPLEX[parts.dtype])


def _infer_conj(x: Type) -> Type:
    require(x.is_complex or x.dtype in COMPLEX, f"not defined on {x.dtype}")
    return x.with_dtype(COMPLEX.get(x.dtype, x.dtype))


def _complex(re: Array, im: Array) -> Array:
    whole = np.empty(np.broadcast_shapes(re.shape, im.shape), COMPLEX[re.dtype.name])
    whole.real, whole.imag = re, im
    return whole


def _conj(x: Array) -> Array:
    return np.conj(x).astype(COMPLEX.get(x.dtype.name, x.dtype))


def _real_transpose(b: Builder, ct: Operand, x: Operand) -> tuple[Operand]:
    return (b("complex", ct, b.zeros(ct.type)),)


def _imag_transpose(b: Builder, ct: Operand, x: Operand) -> tuple[Operand]:
    return (b("complex", b.zeros(ct.type), b("neg", ct)),)


def _complex_transpose(
    b: Builder, ct: Operand, re: Operand, im: Operand
) -> tuple[Operand, Operand]:
    down = unbroadcast(b, b("real", ct), re.type)
    return down, unbroadcast(b, b("neg", b("imag", ct)), im.type)


def _conj_transpose(b: Builder, ct: Operand, x: Operand) -> tuple[Operand]:
    return (b("conj", ct) if x.type.is_complex else b("real", ct),)


def _define_part(name: str, doc: str, infer: Any, numpy: Any, transpose: Any) -> None:
    define(
        name,
        doc,
        infer=infer,
        numpy=numpy,
        lax=lax_call(name),
        batch=batch_elementwise(name),
        derivative=Linear(transpose),
        effects=PURE,
        cost=cheap,
        element=NO_ELEMENT("kernels have no complex numbers"),
    )


_define_part("real", "Real part.", _infer_part, np.real, _real_transpose)
_define_part("imag", "Imaginary part.", _infer_part, np.imag, _imag_transpose)
_define_part("complex", "re + i im.", _infer_complex, _complex, _complex_transpose)
_define_part("conj", "Complex conjugate.", _infer_conj, _conj, _conj_transpose)
