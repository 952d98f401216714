"""Sums of products along paired axes: the one op behind every matrix product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from ..builder import Builder
from ..derivative import Linear
from ..dtypes import numpy_dtype
from ..element import WHOLE
from ..op import PURE, Cost, GraphError, Weight, define, traffic
from ..types import Operand, Type
from .rules import Array, Types, check_axes, move_axis, permute, require, shifted

Axes = tuple[int, ...]
Dimensions = tuple[tuple[Axes, Axes], tuple[Axes, Axes]]
Precision = str | tuple[str, str] | None

# --- what convolutions use too -------------------------------------------------------------------


def result_dtype(lhs: Type, rhs: Type, preferred: str | None) -> str:
    """Return the dtype of a sum of products."""
    if preferred is not None:
        return preferred
    if lhs.dtype != rhs.dtype:
        raise GraphError(f"{lhs} and {rhs} differ in dtype; say which one the result should have")
    return lhs.dtype


def preferring(dtype: str, *operands: Operand) -> str | None:
    """Return the dtype to ask for so that a sum of products has it; None if it has it anyway."""
    return None if all(o.type.dtype == dtype for o in operands) else dtype


def accumulator(dtype: str) -> np.dtype[Any]:
    """Return the dtype in which the reference adds products up: no narrower than float32."""
    narrow = Type(dtype).is_float and Type(dtype).itemsize < 4
    return np.dtype(np.float32) if narrow else numpy_dtype(dtype)


def lax_precision(jax: Any, precision: Precision) -> Any:
    """Return what `jax.lax` calls a precision."""
    if precision is None:
        return None
    if isinstance(precision, str):
        return jax.lax.Precision[precision]
    return tuple(jax.lax.Precision[p] for p in precision)


def without(axes: Sequence[int], rank: int) -> Axes:
    """Return the axes of an array that are not among those given."""
    return tuple(d for d in range(rank) if d not in axes)


# --- dot_general ---------------------------------------------------------------------------------


def _infer(
    lhs: Type,
    rhs: Type,
    *,
    dimension_numbers: Dimensions,
    precision: Precision,
    preferred_element_type: str | None,
) -> Type:
    (left, right), (left_batch, right_batch) = dimension_numbers
    check_axes(lhs, (*left, *left_batch), "contracted and batch axes")
    check_axes(rhs, (*right, *right_batch), "contracted and batch axes")
    pairs = zip((*left, *left_batch), (*right, *right_batch), strict=True)
    require(
        all(lhs.shape[i] == rhs.shape[j] for i, j in pairs),
        f"paired axes of {lhs} and {rhs} differ in length: {dimension_numbers}",
    )
    shape = (
        *(lhs.shape[d] for d in left_batch),
        *(lhs.shape[d] for d in without((*left, *left_batch), lhs.rank)),
        *(rhs.shape[d] for d in without((*right, *right_batch), rhs.rank)),
    )
    return Type(result_dtype(lhs, rhs, preferred_element_type), shape)


def _numpy(
    lhs: Array,
    rhs: Array,
    *,
    dimension_numbers: Dimensions,
    precision: Precision,
    preferred_element_type: str | None,
) -> Array:
    (left, right), (left_batch, right_batch) = dimension_numbers
    dtype = numpy_dtype(preferred_element_type) if preferred_element_type else lhs.dtype
    wide = accumulator(dtype.name)
    left_free = without((*left, *left_batch), lhs.ndim)
    right_free = without((*right, *right_batch), rhs.ndim)
    batch = tuple(lhs.shape[d] for d in left_batch)
    rows = tuple(lhs.shape[d] for d in left_free)
    columns = tuple(rhs.shape[d] for d in right_free)
    inner = prod(lhs.shape[d] for d in left)
    # As matrices: (batch, rows, inner) times (batch, inner, columns).
    a = lhs.transpose((*left_batch, *left_free, *left)).reshape(prod(batch), prod(rows), inner)
    b = rhs.transpose((*right_batch, *right, *right_free)).reshape(
        prod(batch), inner, prod(columns)
    )
    product = np.matmul(a.astype(wide), b.astype(wide))
    return product.astype(dtype).reshape((*batch, *rows, *columns))


def _lax(
    jax: Any,
    lhs: Any,
    rhs: Any,
    *,
    dimension_numbers: Dimensions,
    precision: Precision,
    preferred_element_type: str | None,
) -> Any:
    shape = None
    if not any(dimension_numbers[1]) and max(lhs.ndim, rhs.ndim) > 2 and jax.device_count() == 1:
        lhs, rhs, dimension_numbers, shape = _as_matrices(lhs, rhs, *dimension_numbers[0])
    found = jax.lax.dot_general(
        lhs,
        rhs,
        dimension_numbers,
        precision=lax_precision(jax, precision),
        preferred_element_type=preferred_element_type,
    )
    return found if shape is None else found.reshape(shape)


def _as_matrices(
    lhs: Any, rhs: Any, left: Axes, right: Axes
) -> tuple[Any, Any, Dimensions, Axes | None]:
    """Return a product as one of matrices, and the shape of its result, if nothing need be moved.

    XLA's CPU compiler moves elements where several axes are summed, or have length 1. Arrays that
    are spread over devices stay as they are, since axes that become one cannot be spread alone.
    """
    free = [without(axes, x.ndim) for axes, x in ((left, lhs), (right, rhs))]
    if not all(map(_adjacent, (left, right, *free))):
        return lhs, rhs, ((left, right), ((), ())), None
    shape = (*(lhs.shape[d] for d in free[0]), *(rhs.shape[d] for d in free[1]))
    inner = prod(lhs.shape[d] for d in left)
    summed: list[Axes] = []
    matrices: list[Any] = []
    for x, axes, others in ((lhs, left, free[0]), (rhs, right, free[1])):
        first = not others or (bool(axes) and axes[0] < others[0])
        rest = prod(x.shape[d] for d in others)
        matrices.append(x.reshape((inner, rest) if first else (rest, inner)))
        summed.append((0,) if first else (1,))
    return *matrices, ((summed[0], summed[1]), ((), ())), shape


def _adjacent(axes: Axes) -> bool:
    return all(b == a + 1 for a, b in pairwise(axes))


def _batch(
    builder: Builder,
    operands: Sequence[Operand],
    batched: Sequence[bool],
    size: int,
    *,
    dimension_numbers: Dimensions,
    **attrs: Any,
) -> Operand:
    lhs, rhs = operands
    (left, right), (left_batch, right_batch) = dimension_numbers
    if batched[0]:
        left, left_batch = shifted(left), shifted(left_batch)
    if batched[1]:
        right, right_batch = shifted(right), shifted(right_batch)
    if all(batched):
        left_batch, right_batch = (0, *left_batch), (0, *right_batch)
    dimensions = ((left, right), (left_batch, right_batch))
    result = builder("dot_general", lhs, rhs, dimension_numbers=dimensions, **attrs)
    if all(batched):
        return result
    # The lanes are a free axis of one operand, and stand first among its free axes.
    free_before = 0 if batched[0] else lhs.type.rank - len(left) - len(left_batch)
    return move_axis(builder, result, len(left_batch) + free_before, 0)


def sum_of_products(
    builder: Builder, lhs: Operand, rhs: Operand, attrs: Mapping[str, Any]
) -> Operand:
    """Build the sum of the products that two arrays of operands give, as one product.

    Both arrays have a leading axis, which is contracted first.

    Examples
    --------
    >>> from brainir.ir import Builder, Type, Value, sum_of_products
    >>> x, y = Value(Type("float32", (9, 4, 3))), Value(Type("float32", (9, 4, 5)))
    >>> each = {"dimension_numbers": (((0,), (0,)), ((), ())), "precision": None}
    >>> str(sum_of_products(Builder(), x, y, {**each, "preferred_element_type": None}).type)
    'f32[3,5]'
    """
    (left, right), (left_batch, right_batch) = attrs["dimension_numbers"]
    contracted = (0, *shifted(left)), (0, *shifted(right))
    dimensions = (contracted, (shifted(left_batch), shifted(right_batch)))
    return builder("dot_general", lhs, rhs, **{**attrs, "dimension_numbers": dimensions})


def _transpose(
    builder: Builder,
    cotangent: Operand,
    lhs: Operand,
    rhs: Operand,
    *,
    dimension_numbers: Dimensions,
    precision: Precision,
    preferred_element_type: str | None,
) -> tuple[Operand | None, ...]:
    (left, right), (left_batch, right_batch) = dimension_numbers
    turned = ((right, left), (right_batch, left_batch))
    flipped = tuple(reversed(precision)) if isinstance(precision, tuple) else precision
    batch = len(left_batch)
    rows = lhs.type.rank - len(left) - batch
    free = cotangent.type.rank - batch - rows

    def side(one: Operand, other: Operand, dims: Dimensions, shared: range, how: Any) -> Operand:
        """Contract the cotangent with the other operand, along that one's free axes."""
        (inner, other_inner), (one_batch, other_batch) = dims
        kept = without((*other_inner, *other_batch), other.type.rank)
        product = builder(
            "dot_general",
            cotangent,
            other,
            dimension_numbers=((tuple(shared), kept), (tuple(range(batch)), other_batch)),
            precision=how,
            preferred_element_type=preferring(one.type.dtype, cotangent, other),
        )
        # The product has the axes of `one`: batch, free, and contracted ones in the other's order.
        contracted = tuple(inner[other_inner.index(d)] for d in sorted(other_inner))
        order = (*one_batch, *without((*inner, *one_batch), one.type.rank), *contracted)
        return permute(builder, product, tuple(order.index(d) for d in range(len(order))))

    return (
        side(lhs, rhs, dimension_numbers, range(batch + rows, batch + rows + free), precision),
        side(rhs, lhs, turned, range(batch, batch + rows), flipped),
    )


def _cost(operands: Types, results: Types, attrs: Mapping[str, Any]) -> Cost:
    dimensions: Dimensions = attrs["dimension_numbers"]
    (left, _), _ = dimensions
    inner = prod(operands[0].shape[d] for d in left)
    return Cost(2 * results[0].size * inner, traffic(operands, results), Weight.HEAVY)


define(
    "dot_general",
    "Products summed along contracted axes, for each index of the batch axes: "
    "{dimension_numbers=((lhs contracted, rhs contracted), (lhs batch, rhs batch))}.",
    infer=_infer,
    numpy=_numpy,
    lax=_lax,
    batch=_batch,
    derivative=Linear(_transpose, positions=(0, 1), jointly=False),
    effects=PURE,
    cost=_cost,
    element=WHOLE,
)
