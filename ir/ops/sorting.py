"""Ops that put elements in order. Their derivatives move changes to where the elements went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..builder import Builder
from ..derivative import Cotangents, Rules
from ..element import NO_ELEMENT
from ..graph import Node
from ..op import PURE, Cost, Weight, define, traffic
from ..types import Operand, Type, Value
from .indexing import add_along_axis, along_axis
from .rules import Array, Types, all_with_lanes, check_axes, require, shown


def _comparing(operands: Types, results: Types, attrs: Mapping[str, Any]) -> Cost:
    """Cost of a sort: every element is compared with the logarithm of how many there are."""
    size = operands[0].size
    return Cost(size * max(1, size.bit_length()), traffic(operands, results), Weight.HEAVY)


# --- sort ----------------------------------------------------------------------------------------


def _infer_sort(*types: Type, dimension: int, num_keys: int, is_stable: bool) -> tuple[Type, ...]:
    require(types and len({t.shape for t in types}) == 1, f"cannot sort together: {shown(types)}")
    require(not any(t.is_key for t in types), f"random keys cannot be sorted: {shown(types)}")
    check_axes(types[0], [dimension], "axis")
    require(1 <= num_keys <= len(types), f"{num_keys} keys of {len(types)} operands")
    return types


def _order(keys: Sequence[Array], axis: int) -> Array:
    """Return the stable order of keys, the first of which matters most; nan comes last."""
    comparable = [k.astype(np.float32) if k.dtype.kind == "V" else k for k in reversed(keys)]
    return np.lexsort(tuple(comparable), axis=axis)


def _numpy_sort(
    *arrays: Array, dimension: int, num_keys: int, is_stable: bool
) -> tuple[Array, ...]:
    order = _order(arrays[:num_keys], dimension)
    return tuple(np.take_along_axis(array, order, dimension) for array in arrays)


def _lax_sort(
    jax: Any, *arrays: Any, dimension: int, num_keys: int, is_stable: bool
) -> tuple[Any, ...]:
    return jax.lax.sort(arrays, dimension=dimension, is_stable=is_stable, num_keys=num_keys)


def _batch_sort(
    builder: Builder,
    operands: Sequence[Operand],
    batched: Sequence[bool],
    size: int,
    *,
    dimension: int,
    **attrs: Any,
) -> tuple[Value, ...]:
    lanes = all_with_lanes(builder, operands, batched, size)
    return builder.emit("sort", lanes, {"dimension": dimension + 1, **attrs})


def _places(builder: Builder, node: Node) -> Value:
    """Build where each element of a sort came from, by sorting again with the places."""
    axis, type = node.attrs["dimension"], node.operands[0].type
    places = builder("iota", dtype="int32", shape=type.shape, dimension=axis)
    *_, found = builder.emit("sort", (*node.operands, places), {**node.attrs, "is_stable": True})
    return found


def _reverse_sort(builder: Builder, node: Node, cotangents: Cotangents) -> Cotangents:
    if all(c is None for c in cotangents):
        return cotangents
    places, axis = _places(builder, node), node.attrs["dimension"]
    return tuple(
        None
        if cotangent is None
        else add_along_axis(builder, builder.zeros(cotangent.type), places, cotangent, axis)
        for cotangent in cotangents
    )


def _forward_sort(builder: Builder, node: Node, tangents: Cotangents) -> Cotangents:
    if all(t is None for t in tangents):
        return tangents
    places, axis = _places(builder, node), node.attrs["dimension"]
    return tuple(
        None if tangent is None else along_axis(builder, tangent, places, axis)
        for tangent in tangents
    )


define(
    "sort",
    "Arrays in the ascending order, along an axis, of the first num_keys of them; nan comes last.",
    infer=_infer_sort,
    numpy=_numpy_sort,
    lax=_lax_sort,
    batch=_batch_sort,
    derivative=Rules(_reverse_sort, _forward_sort),
    effects=PURE,
    cost=_comparing,
    element=NO_ELEMENT("it puts elements in order"),
)


# --- top_k ---------------------------------------------------------------------------------------


def _infer_top(array: Type, *, k: int, axis: int) -> tuple[Type, Type]:
    check_axes(array, [axis], "axis")
    require(0 <= k <= array.shape[axis], f"{array} has no {k} elements along axis {axis}")
    shape = (*array.shape[:axis], k, *array.shape[axis + 1 :])
    return array.with_shape(*shape), Type("int32", shape)


def _numpy_top(array: Array, *, k: int, axis: int) -> tuple[Array, Array]:
    # Backwards, so that of equal elements the first one comes first; but 0.0 is before -0.0.
    flipped = np.flip(array, axis)
    signed = array.dtype.kind not in "biu"
    order = _order([flipped, ~np.signbit(flipped)] if signed else [flipped], axis)
    last = np.take(order, range(order.shape[axis] - 1, order.shape[axis] - 1 - k, -1), axis)
    places = (array.shape[axis] - 1 - last).astype(np.int32)
    return np.take_along_axis(array, places, axis), places


def _lax_top(jax: Any, array: Any, *, k: int, axis: int) -> tuple[Any, ...]:
    return tuple(jax.lax.top_k(array, k, axis=axis))


def _batch_top(
    builder: Builder,
    operands: Sequence[Operand],
    batched: Sequence[bool],
    size: int,
    *,
    k: int,
    axis: int,
) -> tuple[Value, ...]:
    return builder.emit("top_k", operands, {"k": k, "axis": axis + 1})


def _reverse_top(builder: Builder, node: Node, cotangents: Cotangents) -> Cotangents:
    cotangent, _ = cotangents
    if cotangent is None:
        return (None,)
    zeros = builder.zeros(node.operands[0].type)
    return (add_along_axis(builder, zeros, node.results[1], cotangent, node.attrs["axis"]),)


def _forward_top(builder: Builder, node: Node, tangents: Cotangents) -> Cotangents:
    (tangent,) = tangents
    if tangent is None:
        return None, None
    return along_axis(builder, tangent, node.results[1], node.attrs["axis"]), None


define(
    "top_k",
    "The k greatest elements along an axis, greatest first, and their places; nan is the greatest.",
    infer=_infer_top,
    numpy=_numpy_top,
    lax=_lax_top,
    batch=_batch_top,
    derivative=Rules(_reverse_top, _forward_top),
    effects=PURE,
    cost=_comparing,
    element=NO_ELEMENT("it puts elements in order"),
)
