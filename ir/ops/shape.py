"""Ops that lay elements out: nothing is computed, and all are linear."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from ..builder import Builder
from ..derivative import Linear
from ..element import Elements, Indexed
from ..op import PURE, define
from ..types import Operand, Type, Value
from .rules import (
    Array,
    Batch,
    batch_unary,
    check_axes,
    free,
    lax_call,
    require,
    same_dtype,
    shifted,
    with_lanes,
    without_axes,
)

Axes = tuple[int, ...]
Transpose = Callable[..., Sequence[Operand | None]]
Attrs = Mapping[str, Any]


def _layout(
    name: str,
    doc: str,
    *,
    infer: Callable[..., Type],
    numpy: Callable[..., Array],
    lax: Callable[..., Any],
    batch: Batch,
    transpose: Transpose,
    element: Callable[..., Any],
) -> None:
    define(
        name,
        doc,
        infer=infer,
        numpy=numpy,
        lax=lax,
        batch=batch,
        derivative=Linear(transpose),
        effects=PURE,
        cost=free,
        element=Indexed(element),
    )


# --- broadcast_in_dim -----------------------------------------------------------------------------


def _infer_broadcast(x: Type, *, shape: Axes, dims: Axes) -> Type:
    require(len(dims) == x.rank, f"dims {dims} do not number the axes of {x}")
    ordered = all(a < b for a, b in pairwise(dims))
    require(ordered and all(0 <= d < len(shape) for d in dims), f"dims {dims} do not fit {shape}")
    fits = all(n in (1, shape[d]) for n, d in zip(x.shape, dims, strict=True))
    require(fits, f"{x} cannot be broadcast to {shape} along {dims}")
    return Type(x.dtype, tuple(shape))


def _broadcast(x: Array, shape: Axes, dims: Axes) -> Array:
    lengths = [1] * len(shape)
    for n, d in zip(x.shape, dims, strict=True):
        lengths[d] = n
    return np.broadcast_to(x.reshape(lengths), shape)


def _broadcast_lanes(size: int, shape: Axes, dims: Axes) -> Attrs:
    return {"shape": (size, *shape), "dims": (0, *shifted(dims))}


def _broadcast_transpose(
    b: Builder, ct: Operand, x: Operand, shape: Axes, dims: Axes
) -> tuple[Operand]:
    lengths = dict(zip(dims, x.type.shape, strict=True))
    axes = tuple(i for i, n in enumerate(shape) if lengths.get(i) != n)
    total = b("reduce_sum", ct, axes=axes) if axes else ct
    return (total if total.type == x.type else b("reshape", total, shape=x.type.shape),)


def _element_of_broadcast(e: Elements, at: Any, x: Any, shape: Axes, dims: Axes) -> Any:
    first = e.constant(0, "int64")
    return x.at([first if n == 1 else at.index[d] for n, d in zip(x.type.shape, dims, strict=True)])


_layout(
    "broadcast_in_dim",
    "x repeated to `shape`, its axes becoming the axes `dims`; an axis of 1 may be repeated too.",
    infer=_infer_broadcast,
    numpy=_broadcast,
    lax=lax_call("broadcast_in_dim", "shape", "dims"),
    batch=batch_unary("broadcast_in_dim", _broadcast_lanes),
    transpose=_broadcast_transpose,
    element=_element_of_broadcast,
)

# --- reshape, squeeze, expand_dims ----------------------------------------------------------------


def _reshape_back(b: Builder, ct: Operand, x: Operand, **_: Any) -> tuple[Operand]:
    return (b("reshape", ct, shape=x.type.shape),)


def _infer_reshape(x: Type, *, shape: Axes) -> Type:
    fits = prod(shape) == x.size and all(n >= 0 for n in shape)
    require(fits, f"{x} cannot be reshaped to {shape}")
    return Type(x.dtype, tuple(shape))


def _reshape(x: Array, shape: Axes) -> Array:
    return x.reshape(shape)


def _reshape_lanes(size: int, shape: Axes) -> Attrs:
    return {"shape": (size, *shape)}


def _element_of_reshape(e: Elements, at: Any, x: Any, **_: Any) -> Any:
    return x.at(reshaped(e, at.index, at.type.shape, x.type.shape))


def reshaped(e: Elements, index: Sequence[Any], shape: Axes, other: Axes) -> list[Any]:
    """Return where the element at an index of a shape is in another shape of the same elements.

    Axes that both shapes have, among others of length 1 or between axes that divide differently,
    keep their index.
    """
    found: list[Any] = []
    axes, rest = list(zip(index, shape, strict=True)), list(other)
    while rest:
        there = [rest.pop(0)]
        here: list[tuple[Any, int]] = []
        while prod(n for _, n in here) != prod(there):
            if prod(n for _, n in here) < prod(there):
                here.append(axes.pop(0))
            else:
                there.append(rest.pop(0))
        found += _divided(e, _joined(e, here), there)
    return found


def _joined(e: Elements, axes: Sequence[tuple[Any, int]]) -> Any:
    """Return the number of an element, row by row."""
    total = None
    for index, length in axes:
        if length == 1:
            continue
        if total is not None:
            index = e("add", e("mul", total, e.constant(length, "int64")), index)
        total = index
    return e.constant(0, "int64") if total is None else total


def _divided(e: Elements, number: Any, shape: Sequence[int]) -> list[Any]:
    """Return the index of the element that has a number, row by row."""
    zero = e.constant(0, "int64")
    index: list[Any] = []
    wide = [i for i, n in enumerate(shape) if n != 1]
    for i in reversed(range(len(shape))):
        if shape[i] == 1:
            index.insert(0, zero)
        elif i == wide[0]:
            index.insert(0, number)
        else:
            length = e.constant(shape[i], "int64")
            index.insert(0, e("rem", number, length))
            number = e("div", number, length)
    return index


_layout(
    "reshape",
    "The same elements, in row-major order, in another shape.",
    infer=_infer_reshape,
    numpy=_reshape,
    lax=lax_call("reshape", "shape"),
    batch=batch_unary("reshape", _reshape_lanes),
    transpose=_reshape_back,
    element=_element_of_reshape,
)


def _infer_squeeze(x: Type, *, dimensions: Axes) -> Type:
    check_axes(x, dimensions, "dimensions")
    require(all(x.shape[d] == 1 for d in dimensions), f"{dimensions} are not all of 1 in {x}")
    return Type(x.dtype, without_axes(x.shape, dimensions))


def _squeeze(x: Array, dimensions: Axes) -> Array:
    return np.squeeze(x, dimensions)


def _shift_dimensions(size: int, dimensions: Axes) -> Attrs:
    return {"dimensions": shifted(dimensions)}


_layout(
    "squeeze",
    "x without the axes `dimensions`, which have length 1.",
    infer=_infer_squeeze,
    numpy=_squeeze,
    lax=lax_call("squeeze", "dimensions"),
    batch=batch_unary("squeeze", _shift_dimensions),
    transpose=_reshape_back,
    element=_element_of_reshape,
)


def _infer_expand(x: Type, *, dimensions: Axes) -> Type:
    shape = list(x.shape)
    rank = x.rank + len(dimensions)
    check_axes(Type(x.dtype, (1,) * rank), dimensions, "dimensions")
    for d in sorted(dimensions):
        shape.insert(d, 1)
    return Type(x.dtype, tuple(shape))


def _expand(x: Array, dimensions: Axes) -> Array:
    return np.expand_dims(x, dimensions)


_layout(
    "expand_dims",
    "x with axes of length 1 inserted, which the result numbers `dimensions`.",
    infer=_infer_expand,
    numpy=_expand,
    lax=lax_call("expand_dims", "dimensions"),
    batch=batch_unary("expand_dims", _shift_dimensions),
    transpose=_reshape_back,
    element=_element_of_reshape,
)

# --- transpose, rev -------------------------------------------------------------------------------


def _infer_transpose(x: Type, *, permutation: Axes) -> Type:
    check_axes(x, permutation, "permutation")
    require(len(permutation) == x.rank, f"permutation {permutation} does not fit {x}")
    return Type(x.dtype, tuple(x.shape[p] for p in permutation))


def _transpose(x: Array, permutation: Axes) -> Array:
    return np.transpose(x, permutation)


def _transpose_lanes(size: int, permutation: Axes) -> Attrs:
    return {"permutation": (0, *shifted(permutation))}


def _transpose_back(b: Builder, ct: Operand, x: Operand, permutation: Axes) -> tuple[Operand]:
    inverse = tuple(permutation.index(i) for i in range(len(permutation)))
    return (b("transpose", ct, permutation=inverse),)


def _element_of_transpose(e: Elements, at: Any, x: Any, permutation: Axes) -> Any:
    return x.at([at.index[permutation.index(axis)] for axis in range(len(permutation))])


_layout(
    "transpose",
    "x with its axes in the order of `permutation`.",
    infer=_infer_transpose,
    numpy=_transpose,
    lax=lax_call("transpose", "permutation"),
    batch=batch_unary("transpose", _transpose_lanes),
    transpose=_transpose_back,
    element=_element_of_transpose,
)


def _infer_rev(x: Type, *, dimensions: Axes) -> Type:
    check_axes(x, dimensions, "dimensions")
    return x


def _rev(x: Array, dimensions: Axes) -> Array:
    return np.flip(x, dimensions)


def _rev_back(b: Builder, ct: Operand, x: Operand, dimensions: Axes) -> tuple[Operand]:
    return (b("rev", ct, dimensions=dimensions),)


def _element_of_rev(e: Elements, at: Any, x: Any, dimensions: Axes) -> Any:
    index = list(at.index)
    for axis in dimensions:
        index[axis] = e("sub", e.constant(x.type.shape[axis] - 1, "int64"), index[axis])
    return x.at(index)


_layout(
    "rev",
    "x with the order of elements along `dimensions` reversed.",
    infer=_infer_rev,
    numpy=_rev,
    lax=lax_call("rev", "dimensions"),
    batch=batch_unary("rev", _shift_dimensions),
    transpose=_rev_back,
    element=_element_of_rev,
)

# --- pad and slice --------------------------------------------------------------------------------

Config = tuple[tuple[int, int, int], ...]


def _infer_pad(x: Type, value: Type, *, config: Config) -> Type:
    same_dtype((x, value))
    require(not value.shape, f"the padding is one element, not {value}")
    require(len(config) == x.rank, f"config {config} does not number the axes of {x}")
    require(all(inner >= 0 for *_, inner in config), "the interior padding is negative")
    lengths = zip(x.shape, config, strict=True)
    shape = tuple(lo + n + max(0, n - 1) * inner + hi for n, (lo, hi, inner) in lengths)
    require(all(n >= 0 for n in shape), f"{config} takes more of {x} away than there is")
    return Type(x.dtype, shape)


def _pad(x: Array, value: Array, config: Config) -> Array:
    for axis, (lo, hi, inner) in enumerate(config):
        n, shape = x.shape[axis], list(x.shape)
        shape[axis] = max(lo, 0) + n + max(0, n - 1) * inner + max(hi, 0)
        wide = np.full(shape, value, x.dtype)
        at = np.moveaxis(wide, axis, 0)
        at[max(lo, 0) : max(lo, 0) + max(0, (n - 1) * (inner + 1) + 1) : inner + 1] = np.moveaxis(
            x, axis, 0
        )
        x = np.moveaxis(at[max(-lo, 0) : shape[axis] - max(-hi, 0)], 0, axis)
    return x


def _batch_pad(
    b: Builder, operands: Sequence[Operand], batched: Sequence[bool], size: int, config: Config
) -> Value:
    x, value = operands
    if not batched[1]:
        return b("pad", x, value, config=((0, 0, 0), *config))
    # A padding of its own for each lane: pad with anything, then choose.
    x, config = with_lanes(b, x, batched[0], size), ((0, 0, 0), *config)
    padded = b("pad", x, b.zeros(x.type.with_shape()), config=config)
    everywhere, nowhere = b.ones(x.type.with_dtype("bool")), b.zeros(Type("bool"))
    inside = b("pad", everywhere, nowhere, config=config)
    wide = b("broadcast_in_dim", value, shape=padded.type.shape, dims=(0,))
    return b("select_n", inside, wide, padded)


def _pad_transpose(
    b: Builder, ct: Operand, x: Operand, value: Operand, config: Config
) -> tuple[Operand, Operand]:
    zero = b.zeros(value.type)
    whole = b("pad", ct, zero, config=tuple((-lo, -hi, 0) for lo, hi, _ in config))
    strides = tuple(inner + 1 for *_, inner in config)
    start = (0,) * len(config)
    inside = b("slice", whole, start=start, limit=whole.type.shape, strides=strides)
    padding = b("pad", b.zeros(x.type), b.ones(value.type), config=config)
    axes = tuple(range(len(config)))
    return inside, b("reduce_sum", b("mul", ct, padding), axes=axes)


def _lax_pad(jax: Any, x: Any, value: Any, config: Config) -> Any:
    return jax.lax.pad(x, value, config)


def _element_of_pad(e: Elements, at: Any, x: Any, value: Any, config: Config) -> Any:
    """Take the nearest element that there is, and choose between it and the padding."""
    if not x.type.size:
        return value.at([])
    zero = e.constant(0, "int64")
    index: list[Any] = []
    outside = e.constant(False, "bool")
    for i, (low, high, between), n in zip(at.index, config, x.type.shape, strict=True):
        if low:
            i = e("sub", i, e.constant(low, "int64"))
        if between:
            step = e.constant(between + 1, "int64")
            outside = e("or", outside, e("ne", e("rem", i, step), zero))
            # Before the first element the quotient is 0 or less: outside, too.
            outside = e("or", outside, e("lt", i, zero))
            i = e("div", i, step)
        if low > 0 or high > 0 or between:
            last = e.constant(n - 1, "int64")
            outside = e("or", outside, e("or", e("lt", i, zero), e("gt", i, last)))
            i = e("min", e("max", i, zero), last)
        index.append(i)
    return e("select", outside, value.at([]), x.at(index))


_layout(
    "pad",
    "x with copies of an element around it: `config` has (before, after, between) for each axis; "
    "what is negative takes elements away.",
    infer=_infer_pad,
    numpy=_pad,
    lax=_lax_pad,
    batch=_batch_pad,
    transpose=_pad_transpose,
    element=_element_of_pad,
)


def _infer_slice(x: Type, *, start: Axes, limit: Axes, strides: Axes) -> Type:
    ranks = {len(start), len(limit), len(strides)}
    require(ranks == {x.rank}, f"start, limit and strides do not number the axes of {x}")
    bounds = list(zip(start, limit, strides, x.shape, strict=True))
    inside = all(0 <= lo <= hi <= n and step > 0 for lo, hi, step, n in bounds)
    require(inside, f"the slice from {start} to {limit} by {strides} does not fit {x}")
    return Type(x.dtype, tuple(-((lo - hi) // step) for lo, hi, step, _ in bounds))


def _slice(x: Array, start: Axes, limit: Axes, strides: Axes) -> Array:
    return x[tuple(map(slice, start, limit, strides))]


def _slice_lanes(size: int, start: Axes, limit: Axes, strides: Axes) -> Attrs:
    return {"start": (0, *start), "limit": (size, *limit), "strides": (1, *strides)}


def _slice_transpose(
    b: Builder, ct: Operand, x: Operand, start: Axes, limit: Axes, strides: Axes
) -> tuple[Operand]:
    def around(length: int, n: int, lo: int, step: int) -> tuple[int, int, int]:
        covered = max(0, (n - 1) * step + 1)
        return lo, length - lo - covered, step - 1

    config = tuple(map(around, x.type.shape, ct.type.shape, start, strides))
    return (b("pad", ct, b.zeros(ct.type.with_shape()), config=config),)


def _element_of_slice(e: Elements, at: Any, x: Any, start: Axes, limit: Axes, strides: Axes) -> Any:
    index: list[Any] = []
    for i, low, step in zip(at.index, start, strides, strict=True):
        if step != 1:
            i = e("mul", i, e.constant(step, "int64"))
        index.append(e("add", i, e.constant(low, "int64")) if low else i)
    return x.at(index)


_layout(
    "slice",
    "Every `strides`-th element from `start` to before `limit`, one number for each axis.",
    infer=_infer_slice,
    numpy=_slice,
    lax=lax_call("slice", "start", "limit", "strides"),
    batch=batch_unary("slice", _slice_lanes),
    transpose=_slice_transpose,
    element=_element_of_slice,
)
