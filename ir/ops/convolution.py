"""Convolution, as neural networks mean it: a kernel is not flipped.

Along a space axis, with input ``x``, kernel ``w``, stride ``s``, low padding ``p``, and dilations
``a`` of the input and ``b`` of the kernel, where ``x'`` is ``x`` with ``a - 1`` zeros after each,

    y[i] = sum over k of x'[s * i + b * k - p] * w[k].

Both transposes are convolutions again: by the input with stride and dilation changing places, by
the kernel with batch and features changing places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any

import numpy as np

from ..builder import Builder
from ..derivative import Linear
from ..dtypes import numpy_dtype
from ..element import NO_ELEMENT
from ..op import PURE, Cost, Weight, define, traffic
from ..types import Operand, Type
from .contraction import (
    Axes,
    Precision,
    accumulator,
    lax_precision,
    preferring,
    result_dtype,
)
from .rules import Array, Types, move_axis, require

Pads = tuple[tuple[int, int], ...]
Layout = tuple[Axes, Axes, Axes]


@dataclass(frozen=True, slots=True)
class Convolution:
    """The attributes of a convolution.

    Attributes
    ----------
    layout : triple of tuples of int
        Where the input has its batch, feature and space axes, the kernel its output-feature,
        input-feature and space axes, and the result its batch, feature and space axes.
    strides, padding, input_dilation, kernel_dilation : tuples
        One entry for each space axis; padding is a pair, and may be negative.
    feature_groups, batch_groups : int
        Features (or the batch) of the input fall into so many groups, each of which makes as large
        a part of the output features. One of the two is 1.
    precision, preferred_element_type
        As of ``dot_general``.
    """

    layout: Layout
    strides: Axes
    padding: Pads
    input_dilation: Axes
    kernel_dilation: Axes
    feature_groups: int
    batch_groups: int
    precision: Precision
    preferred_element_type: str | None

    @property
    def attrs(self) -> dict[str, Any]:
        """The attributes, by name."""
        return {name: getattr(self, name) for name in self.__slots__}

    def spans(self, lhs: Type, rhs: Type) -> tuple[Axes, Axes, Axes]:
        """Return the lengths of input, kernel and result along space, with their dilations.

        Those of the result are as wide as what it covers: one for each stride, but the last.
        """
        inputs = _dilated([lhs.shape[d] for d in self.layout[0][2:]], self.input_dilation)
        kernels = _dilated([rhs.shape[d] for d in self.layout[1][2:]], self.kernel_dilation)
        counts = [
            max(0, (x + low + high - k) // stride + 1)
            for x, k, (low, high), stride in zip(
                inputs, kernels, self.padding, self.strides, strict=True
            )
        ]
        return inputs, kernels, _dilated(counts, self.strides)

    def result_shape(self, lhs: Type, rhs: Type) -> tuple[int, ...]:
        """Return the shape of the result."""
        (batch, *_), (features, *_), out = self.layout
        covered = self.spans(lhs, rhs)[2]
        counts = [-(-c // stride) for c, stride in zip(covered, self.strides, strict=True)]
        lengths = (lhs.shape[batch] // self.batch_groups, rhs.shape[features], *counts)
        return tuple(lengths[out.index(d)] for d in range(len(out)))


def _dilated(lengths: Sequence[int], dilation: Sequence[int]) -> Axes:
    return tuple((n - 1) * d + 1 if n else 0 for n, d in zip(lengths, dilation, strict=True))


# --- types and meaning ---------------------------------------------------------------------------


def _infer(lhs: Type, rhs: Type, **attrs: Any) -> Type:
    conv = Convolution(**attrs)
    axes = list(range(lhs.rank))
    require(
        lhs.rank == rhs.rank and all(sorted(spec) == axes for spec in conv.layout),
        f"layout {conv.layout} does not fit {lhs} and {rhs}",
    )
    (batch, features, *_), (outs, ins, *_), _ = conv.layout
    groups = conv.feature_groups, conv.batch_groups
    require(1 in groups, "features or the batch can fall into groups, not both")
    require(
        lhs.shape[features] == rhs.shape[ins] * conv.feature_groups,
        f"{rhs} takes {rhs.shape[ins]} features of each of {conv.feature_groups} groups, but the "
        f"input {lhs} has {lhs.shape[features]}",
    )
    require(
        lhs.shape[batch] % conv.batch_groups == 0 and rhs.shape[outs] % prod(groups) == 0,
        f"{lhs} and {rhs} cannot be split into {prod(groups)} groups",
    )
    return Type(result_dtype(lhs, rhs, conv.preferred_element_type), conv.result_shape(lhs, rhs))


def _numpy(lhs: Array, rhs: Array, **attrs: Any) -> Array:
    conv = Convolution(**attrs)
    dtype = numpy_dtype(conv.preferred_element_type) if conv.preferred_element_type else lhs.dtype
    wide = accumulator(dtype.name)
    x = _padded(lhs.transpose(conv.layout[0]).astype(wide), conv.input_dilation, conv.padding)
    w = rhs.transpose(conv.layout[1]).astype(wide)
    b, f = conv.batch_groups, conv.feature_groups
    batch, features, *space = x.shape
    # b and f count groups, one of which is 1; n o i stand for batch, output and input features.
    x = x.reshape(b, batch // b, f, features // f, *space)
    w = w.reshape(b, f, w.shape[0] // (b * f), *w.shape[1:])
    types = (Type("", lhs.shape), Type("", rhs.shape))
    covered = conv.spans(*types)[2]
    counts = [-(-c // stride) for c, stride in zip(covered, conv.strides, strict=True)]
    total = np.zeros((batch // b, b, f, w.shape[2], *counts), wide)
    for tap in product(*map(range, w.shape[4:])):
        window = tuple(
            slice(k * dilation, k * dilation + c, stride)
            for k, dilation, c, stride in zip(
                tap, conv.kernel_dilation, covered, conv.strides, strict=True
            )
        )
        total += np.einsum("bnfi...,bfoi->nbfo...", x[(..., *window)], w[(..., *tap)])
    result = total.reshape(batch // b, rhs.shape[conv.layout[1][0]], *counts)
    return result.transpose(np.argsort(conv.layout[2])).astype(dtype)


def _padded(x: Array, dilation: Axes, padding: Pads) -> Array:
    """Dilate and pad the space axes of an array, which are its last ones."""
    batch, features, *space = x.shape
    dilated = np.zeros((batch, features, *_dilated(space, dilation)), x.dtype)
    dilated[(..., *(slice(None, None, d) for d in dilation))] = x
    grown = np.pad(dilated, ((0, 0), (0, 0), *((max(lo, 0), max(hi, 0)) for lo, hi in padding)))
    ends = (
        slice(max(-lo, 0), n - max(-hi, 0))
        for n, (lo, hi) in zip(grown.shape[2:], padding, strict=True)
    )
    return grown[(..., *ends)]


def _lax(jax: Any, lhs: Any, rhs: Any, **attrs: Any) -> Any:
    conv = Convolution(**attrs)
    return jax.lax.conv_general_dilated(
        lhs,
        rhs,
        window_strides=conv.strides,
        padding=conv.padding,
        lhs_dilation=conv.input_dilation,
        rhs_dilation=conv.kernel_dilation,
        dimension_numbers=jax.lax.ConvDimensionNumbers(*conv.layout),
        feature_group_count=conv.feature_groups,
        batch_group_count=conv.batch_groups,
        precision=lax_precision(jax, conv.precision),
        preferred_element_type=conv.preferred_element_type,
    )


# --- building ------------------------------------------------------------------------------------


def _emit(builder: Builder, lhs: Operand, rhs: Operand, conv: Convolution) -> Operand:
    return builder("conv_general_dilated", lhs, rhs, **conv.attrs)


def _fold(builder: Builder, operand: Operand, source: int, target: int, groups: int = 1) -> Operand:
    """Merge an axis into another one: as its slow part, or just inside of groups, which are slower.

    ``target`` counts the axes without ``source``.
    """
    lanes = move_axis(builder, operand, source, 0)
    size, *shape = lanes.type.shape
    before, length, after = shape[:target], shape[target], shape[target + 1 :]
    apart = (size, *before, groups, length // groups, *after)
    inside = move_axis(builder, builder("reshape", lanes, shape=apart), 0, target + 1)
    return builder("reshape", inside, shape=(*before, size * length, *after))


def _unfold(builder: Builder, operand: Operand, source: int, size: int, groups: int = 1) -> Operand:
    """Undo `_fold`: take the part of that size out of an axis, to stand as the first axis."""
    shape = operand.type.shape
    before, length, after = shape[:source], shape[source] // size, shape[source + 1 :]
    apart = (*before, groups, size, length // groups, *after)
    lanes = move_axis(builder, builder("reshape", operand, shape=apart), source + 1, 0)
    return builder("reshape", lanes, shape=(size, *before, length, *after))


def _batch(
    builder: Builder,
    operands: Sequence[Operand],
    batched: Sequence[bool],
    size: int,
    **attrs: Any,
) -> Operand:
    conv = Convolution(**attrs)
    lhs, rhs = operands
    (batch, features, *_), (outs, *_), (out_batch, out_features, *_) = conv.layout
    b, f = conv.batch_groups, conv.feature_groups
    if not batched[1]:
        result = _emit(builder, _fold(builder, lhs, 0, batch, b), rhs, conv)
        return _unfold(builder, result, out_batch, size)
    if not batched[0]:
        result = _emit(builder, lhs, _fold(builder, rhs, 0, outs, b * f), conv)
        return _unfold(builder, result, out_features, size, b * f)
    # Lanes become groups: of the batch if that already falls into groups, else of the features.
    if b > 1:
        lhs, conv = _fold(builder, lhs, 0, batch), replace(conv, batch_groups=b * size)
    else:
        lhs, conv = _fold(builder, lhs, 0, features), replace(conv, feature_groups=f * size)
    result = _emit(builder, lhs, _fold(builder, rhs, 0, outs), conv)
    return _unfold(builder, result, out_features, size)


def sum_of_convolutions(
    builder: Builder, lhs: Operand, rhs: Operand, attrs: Mapping[str, Any]
) -> Operand:
    """Build the sum of the convolutions that two arrays of operands give, as one convolution.

    Both arrays have a leading axis; there are no groups of features. It becomes a part of the
    features, over which a convolution sums.

    Examples
    --------
    >>> from brainir.ir import Builder, Type, Value, sum_of_convolutions
    >>> x, w = Value(Type("float32", (9, 1, 2, 8))), Value(Type("float32", (9, 4, 2, 3)))
    >>> attrs = {"strides": (1,), "padding": ((0, 0),), "layout": ((0, 1, 2),) * 3}
    >>> attrs.update(input_dilation=(1,), kernel_dilation=(1,), feature_groups=1, batch_groups=1)
    >>> attrs.update(precision=None, preferred_element_type=None)
    >>> str(sum_of_convolutions(Builder(), x, w, attrs).type)
    'f32[1,4,6]'
    """
    conv = Convolution(**attrs)
    (_, features, *_), (_, ins, *_), _ = conv.layout
    return _emit(builder, _fold(builder, lhs, 0, features), _fold(builder, rhs, 0, ins), conv)


# --- transposes ----------------------------------------------------------------------------------


def _transpose(
    builder: Builder, cotangent: Operand, lhs: Operand, rhs: Operand, **attrs: Any
) -> tuple[Operand, Operand]:
    conv = Convolution(**attrs)
    return (
        _by_input(builder, cotangent, lhs, rhs, conv),
        _by_kernel(builder, cotangent, lhs, rhs, conv),
    )


def _by_input(
    builder: Builder, cotangent: Operand, lhs: Operand, rhs: Operand, conv: Convolution
) -> Operand:
    inputs, kernels, covered = conv.spans(lhs.type, rhs.type)
    low = tuple(k - 1 - pad for k, (pad, _) in zip(kernels, conv.padding, strict=True))
    spans = zip(inputs, kernels, covered, low, strict=True)
    high = tuple(x + k - 1 - y - p for x, k, y, p in spans)
    (batch, features, *_), (outs, ins, *space), out = conv.layout
    b, f = conv.batch_groups, conv.feature_groups
    flipped = builder("rev", rhs, dimensions=tuple(space)) if space else rhs
    if b * f > 1:
        # Groups of the result's features become groups of the input's features.
        flipped = _regroup(builder, flipped, outs, b * f, ins)
    turned = Convolution(
        (out, (ins, outs, *space), conv.layout[0]),
        conv.input_dilation,
        tuple(zip(low, high, strict=True)),
        conv.strides,
        conv.kernel_dilation,
        b * f,
        1,
        conv.precision,
        preferring(lhs.type.dtype, cotangent, rhs),
    )
    result = _emit(builder, cotangent, flipped, turned)
    return _regroup(builder, result, features, b, batch) if b > 1 else result


def _by_kernel(
    builder: Builder, cotangent: Operand, lhs: Operand, rhs: Operand, conv: Convolution
) -> Operand:
    inputs, kernels, covered = conv.spans(lhs.type, rhs.type)
    low = tuple(pad for pad, _ in conv.padding)
    spans = zip(inputs, kernels, covered, low, strict=True)
    high = tuple(y + k - 1 - x - p for x, k, y, p in spans)
    (batch, features, *space), (outs, ins, *window), (out_batch, out_features, *rest) = conv.layout
    turned = Convolution(
        (
            (features, batch, *space),
            (out_features, out_batch, *rest),
            (ins, outs, *window),
        ),
        conv.kernel_dilation,
        tuple(zip(low, high, strict=True)),
        conv.input_dilation,
        conv.strides,
        conv.batch_groups,
        conv.feature_groups,
        conv.precision,
        preferring(rhs.type.dtype, cotangent, lhs),
    )
    return _emit(builder, lhs, cotangent, turned)


def _regroup(builder: Builder, operand: Operand, source: int, groups: int, target: int) -> Operand:
    """Take the slow part of one axis, ``groups`` long, and make it the slow part of another."""
    apart = _unfold(builder, operand, source, groups)
    return _fold(builder, apart, 0, target)


def _cost(operands: Types, results: Types, attrs: Mapping[str, Any]) -> Cost:
    conv = Convolution(**attrs)
    rhs = operands[1]
    taps = prod(rhs.shape[d] for d in conv.layout[1][1:])
    return Cost(2 * results[0].size * taps, traffic(operands, results), Weight.HEAVY)


define(
    "conv_general_dilated",
    "The products of a kernel with the windows of an input, summed over features and space.",
    infer=_infer,
    numpy=_numpy,
    lax=_lax,
    batch=_batch,
    derivative=Linear(_transpose, positions=(0, 1), jointly=False),
    effects=PURE,
    cost=_cost,
    element=NO_ELEMENT("XLA has a library for it"),
)
