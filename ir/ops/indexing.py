"""Ops that read or replace boxes of an array at places known only when they run.

A *dynamic* slice has one corner; a gather has a whole array of them (see `windows`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..builder import Builder
from ..derivative import Cotangents, Linear, Rules
from ..dtypes import dtype_name
from ..element import WHOLE, Elements, Indexed
from ..graph import Node
from ..op import PURE, Cost, Weight, define, traffic
from ..types import Literal, Operand, Scalar, Type, Value
from .rules import Array, Types, require, same_dtype, shown, with_lanes
from .windows import Windows, rows

LAX_MODES = {"clip": "clip", "fill": "fill", "promise": "promise_in_bounds"}
"""What `jax.lax` calls the modes."""


def moving(operands: Types, results: Types, attrs: Mapping[str, Any]) -> Cost:
    """Cost of moving elements about: what is read and what is written, and no arithmetic."""
    return Cost(0, traffic((*operands[1:], *results), results), Weight.HEAVY)


# --- dynamic_slice -------------------------------------------------------------------------------


def _check_starts(array: Type, sizes: Sequence[int], starts: Sequence[Type]) -> None:
    require(len(sizes) == len(starts) == array.rank, f"{array} needs {array.rank} starts and sizes")
    fits = all(0 <= s <= n for s, n in zip(sizes, array.shape, strict=True))
    require(fits, f"a box of sizes {tuple(sizes)} does not fit into {array}")
    flat = all(s.is_integer and not s.shape for s in starts)
    require(flat, f"starts are integers: {shown(starts)}")
    require(len({s.dtype for s in starts}) < 2, f"starts differ in dtype: {shown(starts)}")


def _box(array: Array, sizes: Sequence[int], starts: Sequence[Any]) -> tuple[slice, ...]:
    """Return the box at a corner, moved to lie inside of the array."""
    corners = [
        min(max(int(start), 0), length - size)
        for start, length, size in zip(starts, array.shape, sizes, strict=True)
    ]
    return tuple(slice(c, c + size) for c, size in zip(corners, sizes, strict=True))


def _infer_slice(array: Type, *starts: Type, slice_sizes: tuple[int, ...]) -> Type:
    _check_starts(array, slice_sizes, starts)
    return array.with_shape(*slice_sizes)


def _numpy_slice(array: Array, *starts: Any, slice_sizes: tuple[int, ...]) -> Array:
    return array[_box(array, slice_sizes, starts)]


def _lax_slice(jax: Any, *operands: Any, slice_sizes: tuple[int, ...]) -> Any:
    # The function of that name counts negative starts from the end, the primitive does not.
    return jax.lax.dynamic_slice_p.bind(*operands, slice_sizes=slice_sizes)


def _transpose_slice(
    builder: Builder, cotangent: Operand, array: Operand, *starts: Operand, **_: Any
) -> tuple[Operand | None, ...]:
    zeros = builder.zeros(array.type)
    return (builder("dynamic_update_slice", zeros, cotangent, *starts), *(None for _ in starts))


def _index_of(
    builder: Builder, starts: Sequence[Operand], batched: Sequence[bool], size: int
) -> Operand:
    """Return the starts of each lane as index vectors."""
    columns = [
        builder("reshape", with_lanes(builder, start, has, size), shape=(size, 1))
        for start, has in zip(starts, batched, strict=True)
    ]
    return builder("concatenate", *columns, dimension=1)


def _batch_slice(
    builder: Builder,
    operands: Sequence[Operand],
    batched: Sequence[bool],
    size: int,
    *,
    slice_sizes: tuple[int, ...],
) -> Value:
    array, *starts = operands
    if not any(batched[1:]):
        first = Literal(0, starts[0].type if starts else Type("int32"))
        return builder("dynamic_slice", array, first, *starts, slice_sizes=(size, *slice_sizes))
    index = _index_of(builder, starts, batched[1:], size)
    axes = range(len(starts))
    if not batched[0]:
        return gather(builder, array, index, rows(len(axes), axes, "clip"), slice_sizes)
    return gather(builder, array, index, _one_row_each(len(axes)), (1, *slice_sizes))


def _one_row_each(rank: int) -> Windows:
    """Return one window in each lane of an array of which a lane has that rank."""
    axes = tuple(range(1, rank + 1))
    return Windows(axes, (), axes, (0,), (0,), "clip", unique=True, sorted=False)


def corners(e: Elements, shape: Sequence[int], sizes: Sequence[int], starts: Any) -> list[Any]:
    """Return the corner of a box as int64, moved so that the box lies inside of the array.

    Examples
    --------
    >>> from brainir.ir import Type, corners
    >>> class Number(int):
    ...     dtype = "int64"
    >>> class Numbers:
    ...     def __call__(self, word, x, y):
    ...         return Number({"min": min, "max": max}[word](x, y))
    ...     def constant(self, value, dtype):
    ...         return Number(value)
    ...     def convert(self, element, dtype):
    ...         return element
    >>> corners(Numbers(), (10, 10), (3, 3), [Number(8), Number(-1)])
    [7, 0]
    """
    found: list[Any] = []
    for start, length, size in zip(starts, shape, sizes, strict=True):
        wide = start.dtype if start.dtype == "uint64" else "int64"
        last = e.constant(length - size, wide)
        corner = e("min", e.convert(start, wide), last)
        found.append(e.convert(e("max", corner, e.constant(0, wide)), "int64"))
    return found


def _element_of_slice(
    e: Elements, at: Any, x: Any, *starts: Any, slice_sizes: tuple[int, ...]
) -> Any:
    corner = corners(e, x.type.shape, slice_sizes, [start.at([]) for start in starts])
    return x.at([e("add", first, i) for first, i in zip(corner, at.index, strict=True)])


define(
    "dynamic_slice",
    "The box of an array that has a corner known only at run time; it is moved to lie inside.",
    infer=_infer_slice,
    numpy=_numpy_slice,
    lax=_lax_slice,
    batch=_batch_slice,
    derivative=Linear(_transpose_slice, positions=(0,)),
    effects=PURE,
    cost=moving,
    element=Indexed(_element_of_slice),
)


# --- dynamic_update_slice ------------------------------------------------------------------------


def _infer_update(array: Type, update: Type, *starts: Type) -> Type:
    same_dtype((array, update))
    _check_starts(array, update.shape, starts)
    return array


def _numpy_update(array: Array, update: Array, *starts: Any) -> Array:
    result = np.array(array)
    result[_box(array, update.shape, starts)] = update
    return result


def _lax_update(jax: Any, *operands: Any) -> Any:
    return jax.lax.dynamic_update_slice_p.bind(*operands)


def _transpose_update(
    builder: Builder, cotangent: Operand, array: Operand, update: Operand, *starts: Operand
) -> tuple[Operand | None, ...]:
    zeros = builder.zeros(update.type)
    return (
        builder("dynamic_update_slice", cotangent, zeros, *starts),
        builder("dynamic_slice", cotangent, *starts, slice_sizes=update.type.shape),
        *(None for _ in starts),
    )


def _batch_update(
    builder: Builder, operands: Sequence[Operand], batched: Sequence[bool], size: int
) -> Value:
    _, _, *starts = operands
    array, update = (with_lanes(builder, operands[i], batched[i], size) for i in (0, 1))
    if not any(batched[2:]):
        first = Literal(0, starts[0].type if starts else Type("int32"))
        return builder("dynamic_update_slice", array, update, first, *starts)
    index = _index_of(builder, starts, batched[2:], size)
    return builder("scatter", array, index, update, **_one_row_each(len(starts)).attrs)


define(
    "dynamic_update_slice",
    "An array in which a box at a corner known only at run time is replaced.",
    infer=_infer_update,
    numpy=_numpy_update,
    lax=_lax_update,
    batch=_batch_update,
    derivative=Linear(_transpose_update, positions=(0, 1)),
    effects=PURE,
    cost=moving,
    element=WHOLE,
)


# --- gather --------------------------------------------------------------------------------------


def gather(
    builder: Builder,
    array: Operand,
    index: Operand,
    windows: Windows,
    slice_sizes: Sequence[int],
    fill_value: Scalar | None = None,
) -> Value:
    """Build a gather."""
    attrs = {"slice_sizes": tuple(slice_sizes), **windows.attrs, "fill_value": fill_value}
    return builder("gather", array, index, **attrs)


def along_axis(builder: Builder, array: Operand, index: Operand, axis: int) -> Value:
    """Build a gather of the elements along an axis that an index of the same rank names."""
    windows, expanded = _along_axis(builder, index, axis)
    return gather(builder, array, expanded, windows, (1,) * array.type.rank)


def add_along_axis(
    builder: Builder, array: Operand, index: Operand, updates: Operand, axis: int
) -> Value:
    """Build the transpose of `along_axis`, added to an array; no place is named twice."""
    windows, expanded = _along_axis(builder, index, axis)
    return builder("scatter-add", array, expanded, updates, **windows.attrs)


def _along_axis(builder: Builder, index: Operand, axis: int) -> tuple[Windows, Operand]:
    others = tuple(d for d in range(index.type.rank) if d != axis)
    windows = Windows((), (axis,), (axis,), others, others, "promise", unique=True, sorted=False)
    return windows, builder("reshape", index, shape=(*index.type.shape, 1))


def _infer_gather(
    array: Type,
    index: Type,
    *,
    slice_sizes: tuple[int, ...],
    fill_value: Scalar | None,
    **attrs: Any,
) -> Type:
    windows = Windows.of(attrs)
    windows.check(array, index)
    require(len(slice_sizes) == array.rank, f"{array} needs {array.rank} slice sizes")
    fits = all(0 <= s <= n for s, n in zip(slice_sizes, array.shape, strict=True))
    require(fits, f"windows of sizes {slice_sizes} do not fit into {array}")
    flat = all(slice_sizes[d] == 1 for d in windows.absent)
    require(flat, f"along the axes {windows.absent} windows have length 1, not {slice_sizes}")
    shape = windows.result_shape(index.shape, slice_sizes)
    require(len(windows.offset_dims) == array.rank - len(windows.absent), "wrong offset_dims")
    return array.with_shape(*shape)


def default_fill(dtype: str) -> Scalar:
    """Return what stands for elements outside of the array by default.

    Examples
    --------
    >>> from brainir.ir import default_fill
    >>> [default_fill(dtype) for dtype in ("float32", "int8", "uint8", "bool")]
    [nan, -128, 255, True]
    """
    if dtype.startswith("key<"):
        return 2**32 - 1
    if Type(dtype).is_integer:
        info = np.iinfo(dtype)
        return int(info.max if dtype.startswith("u") else info.min)
    return True if dtype == "bool" else float("nan")


def _numpy_gather(
    array: Array, index: Array, *, slice_sizes: tuple[int, ...], fill_value: Any, **attrs: Any
) -> Array:
    windows = Windows.of(attrs)
    positions, inside = windows.find(array.shape, index, slice_sizes)
    found = array.reshape(-1)[positions]
    if windows.mode == "fill" and not inside.all():
        fill = default_fill(dtype_name(array.dtype)) if fill_value is None else fill_value
        seen = inside.reshape((*inside.shape, *(1,) * array.ndim))
        found = np.where(seen, found, np.full((), fill, array.dtype))
    return windows.to_result(found)


def _lax_gather(
    jax: Any, array: Any, index: Any, *, slice_sizes: tuple[int, ...], fill_value: Any, **attrs: Any
) -> Any:
    windows = Windows.of(attrs)
    dimensions = jax.lax.GatherDimensionNumbers(
        offset_dims=windows.offset_dims,
        collapsed_slice_dims=windows.collapsed_dims,
        start_index_map=windows.index_map,
        operand_batching_dims=windows.batching_dims,
        start_indices_batching_dims=windows.index_batching,
    )
    return jax.lax.gather(
        array,
        index,
        dimensions,
        slice_sizes,
        unique_indices=windows.unique,
        indices_are_sorted=windows.sorted,
        mode=LAX_MODES[windows.mode],
        fill_value=fill_value,
    )


def _batch_gather(
    builder: Builder,
    operands: Sequence[Operand],
    batched: Sequence[bool],
    size: int,
    *,
    slice_sizes: tuple[int, ...],
    fill_value: Scalar | None,
    **attrs: Any,
) -> Value:
    windows = Windows.of(attrs)
    (array, index), (array_has, index_has) = operands, batched
    if not array_has:
        windows = windows.with_lanes_in_index()
    elif index_has:
        windows, slice_sizes = windows.with_lanes_in_both(), (1, *slice_sizes)
    else:
        windows, slice_sizes = windows.with_lanes_in_window(), (size, *slice_sizes)
    return gather(builder, array, index, windows, slice_sizes, fill_value)


def _reverse_gather(builder: Builder, node: Node, cotangents: Cotangents) -> Cotangents:
    (cotangent,), (array, index) = cotangents, node.operands
    if cotangent is None:
        return None, None
    windows = Windows.of(node.attrs)
    zeros = builder.zeros(array.type)
    return builder("scatter-add", zeros, index, cotangent, **windows.attrs), None


def _forward_gather(builder: Builder, node: Node, tangents: Cotangents) -> Cotangents:
    (tangent, _), (_, index) = tangents, node.operands
    if tangent is None:
        return (None,)
    windows = Windows.of(node.attrs)
    # What is filled in does not depend on the array.
    return (gather(builder, tangent, index, windows, node.attrs["slice_sizes"], 0),)


def _element_of_window(
    e: Elements,
    at: Any,
    array: Any,
    index: Any,
    *,
    slice_sizes: tuple[int, ...],
    fill_value: Scalar | None,
    **attrs: Any,
) -> Any:
    windows = Windows.of(attrs)
    place, inside = windows.place(e, array.type.shape, index, slice_sizes, at.index)
    element = array.at(place)
    if windows.mode != "fill":
        return element
    dtype = array.type.dtype
    fill = default_fill(dtype) if fill_value is None else fill_value
    return e("select", inside, element, e.constant(fill, dtype))


define(
    "gather",
    "Windows of an array, each at a corner that an index vector gives.",
    infer=_infer_gather,
    numpy=_numpy_gather,
    lax=_lax_gather,
    batch=_batch_gather,
    derivative=Rules(_reverse_gather, _forward_gather),
    effects=PURE,
    cost=moving,
    element=Indexed(_element_of_window),
)
