"""Ops that join, split, repeat and enumerate, and the barrier that keeps things apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..builder import Builder
from ..derivative import ZERO, Cotangents, Linear, Rules
from ..dtypes import numpy_dtype
from ..element import Elements, Indexed
from ..graph import Node
from ..op import PURE, define
from ..types import Operand, Type, Value
from .rules import (
    Array,
    all_with_lanes,
    batch_unary,
    check_axes,
    free,
    lax_call,
    require,
    shown,
    with_lanes,
    without_axes,
)

Axes = tuple[int, ...]


# --- concatenate and split ------------------------------------------------------------------------


def _infer_concatenate(*types: Type, dimension: int) -> Type:
    require(bool(types), "there is nothing to concatenate")
    rests = {(t.dtype, without_axes(t.shape, [dimension])) for t in types}
    ranks = {t.rank for t in types}
    require(len(rests) == len(ranks) == 1, f"cannot concatenate {shown(types)}")
    check_axes(next(iter(types)), [dimension], "dimension")
    lengths = list(next(iter(types)).shape)
    lengths[dimension] = sum(t.shape[dimension] for t in types)
    return Type(next(iter(types)).dtype, tuple(lengths))


def _concatenate(*arrays: Array, dimension: int) -> Array:
    return np.concatenate(arrays, dimension)


def _lax_concatenate(jax: Any, *arrays: Any, dimension: int) -> Any:
    return jax.lax.concatenate(arrays, dimension)


def _batch_concatenate(
    b: Builder, operands: Sequence[Operand], batched: Sequence[bool], size: int, dimension: int
) -> Value:
    lanes = all_with_lanes(b, operands, batched, size)
    return b("concatenate", *lanes, dimension=dimension + 1)


def _split_among(
    b: Builder, ct: Operand, *operands: Operand, dimension: int
) -> tuple[Operand, ...]:
    sizes = tuple(x.type.shape[dimension] for x in operands)
    return b.emit("split", [ct], {"sizes": sizes, "axis": dimension})


def _element_of_concatenation(e: Elements, at: Any, *parts: Any, dimension: int) -> Any:
    """Take the nearest element of each part, and choose by the part in which it lies."""
    along, found, end = at.index[dimension], None, 0
    for part in parts:
        length = part.type.shape[dimension]
        if not length:
            continue
        start, end = e.constant(end, "int64"), end + length
        near = e("max", e("sub", along, start), e.constant(0, "int64"))
        near = e("min", near, e.constant(length - 1, "int64"))
        element = part.at([near if i == dimension else x for i, x in enumerate(at.index)])
        found = element if found is None else e("select", e("lt", along, start), found, element)
    return found


define(
    "concatenate",
    "Operands joined along the axis `dimension`.",
    infer=_infer_concatenate,
    numpy=_concatenate,
    lax=_lax_concatenate,
    batch=_batch_concatenate,
    derivative=Linear(_split_among),
    effects=PURE,
    cost=free,
    element=Indexed(_element_of_concatenation),
)


def _infer_split(x: Type, *, sizes: Axes, axis: int) -> tuple[Type, ...]:
    check_axes(x, [axis], "axis")
    fits = sum(sizes) == x.shape[axis] and all(n >= 0 for n in sizes)
    require(fits, f"sizes {sizes} do not divide axis {axis} of {x}")
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    return tuple(Type(x.dtype, (*before, n, *after)) for n in sizes)


def _split(x: Array, sizes: Axes, axis: int) -> tuple[Array, ...]:
    return tuple(np.split(x, np.cumsum(sizes)[:-1], axis))


def _batch_split(
    b: Builder, operands: Sequence[Operand], batched: Sequence[bool], size: int, **attrs: Any
) -> tuple[Value, ...]:
    return b.emit("split", operands, {**attrs, "axis": attrs["axis"] + 1})


def _present(b: Builder, node: Node, cotangents: Cotangents) -> list[Operand]:
    """Return cotangents of all results, zeros for the missing ones."""
    pairs = zip(cotangents, node.results, strict=True)
    return [b.zeros(result.type) if ct is None else ct for ct, result in pairs]


def _join(b: Builder, node: Node, cotangents: Cotangents) -> tuple[Operand]:
    parts = _present(b, node, cotangents)
    return (b("concatenate", *parts, dimension=node.attrs["axis"]),)


def _same_of_tangent(b: Builder, node: Node, tangents: Cotangents) -> tuple[Operand, ...]:
    (tangent,) = tangents
    assert tangent is not None
    return b.emit(node.op, [tangent], node.attrs)


def _element_of_part(e: Elements, at: Any, x: Any, sizes: Axes, axis: int) -> Any:
    before = e.constant(sum(sizes[: at.number]), "int64")
    return x.at([e("add", i, before) if k == axis else i for k, i in enumerate(at.index)])


define(
    "split",
    "Parts of `sizes` along `axis`.",
    infer=_infer_split,
    numpy=_split,
    lax=lax_call("split", "sizes", "axis"),
    batch=_batch_split,
    derivative=Rules(_join, _same_of_tangent),
    effects=PURE,
    cost=free,
    element=Indexed(_element_of_part),
)

# --- stack and unstack ----------------------------------------------------------------------------


def _infer_stack(*types: Type, axis: int) -> Type:
    require(len(set(types)) == 1, f"operands of one type expected, not ({shown(types)})")
    (one,) = set(types)
    require(0 <= axis <= one.rank, f"{one} cannot be stacked along axis {axis}")
    return Type(one.dtype, (*one.shape[:axis], len(types), *one.shape[axis:]))


def _stack(*arrays: Array, axis: int) -> Array:
    return np.stack(arrays, axis)


def _lax_stack(jax: Any, *arrays: Any, axis: int) -> Any:
    if all(isinstance(array, np.ndarray | np.generic) for array in arrays):
        return jax.numpy.asarray(np.stack(arrays, axis))  # one constant in place of many
    return jax.lax.stack(arrays, axis=axis)


def _batch_stack(
    b: Builder, operands: Sequence[Operand], batched: Sequence[bool], size: int, axis: int
) -> Value:
    return b("stack", *all_with_lanes(b, operands, batched, size), axis=axis + 1)


def _unstack_among(b: Builder, ct: Operand, *operands: Operand, axis: int) -> tuple[Operand, ...]:
    return b.emit("unstack", [ct], {"axis": axis})


def _element_of_stack(e: Elements, at: Any, *parts: Any, axis: int) -> Any:
    index = [*at.index[:axis], *at.index[axis + 1 :]]
    found = parts[0].at(index)
    for number, part in enumerate(parts[1:], 1):
        this = e("ge", at.index[axis], e.constant(number, "int64"))
        found = e("select", this, part.at(index), found)
    return found


define(
    "stack",
    "Operands joined along a new axis, which the result numbers `axis`.",
    infer=_infer_stack,
    numpy=_stack,
    lax=_lax_stack,
    batch=_batch_stack,
    derivative=Linear(_unstack_among),
    effects=PURE,
    cost=free,
    element=Indexed(_element_of_stack),
)


def _infer_unstack(x: Type, *, axis: int) -> tuple[Type, ...]:
    check_axes(x, [axis], "axis")
    return (Type(x.dtype, without_axes(x.shape, [axis])),) * x.shape[axis]


def _unstack(x: Array, axis: int) -> tuple[Array, ...]:
    return tuple(np.moveaxis(x, axis, 0))


def _lax_unstack(jax: Any, x: Any, axis: int) -> tuple[Any, ...]:
    return tuple(jax.lax.unstack(x, axis=axis))


def _batch_unstack(
    b: Builder, operands: Sequence[Operand], batched: Sequence[bool], size: int, axis: int
) -> tuple[Value, ...]:
    return b.emit("unstack", operands, {"axis": axis + 1})


def _stack_up(b: Builder, node: Node, cotangents: Cotangents) -> tuple[Operand]:
    return (b("stack", *_present(b, node, cotangents), axis=node.attrs["axis"]),)


def _element_of_slice(e: Elements, at: Any, x: Any, axis: int) -> Any:
    number = e.constant(at.number, "int64")
    return x.at([*at.index[:axis], number, *at.index[axis:]])


define(
    "unstack",
    "All slices along `axis`, which they no longer have.",
    infer=_infer_unstack,
    numpy=_unstack,
    lax=_lax_unstack,
    batch=_batch_unstack,
    derivative=Rules(_stack_up, _same_of_tangent),
    effects=PURE,
    cost=free,
    element=Indexed(_element_of_slice),
)

# --- tile -----------------------------------------------------------------------------------------


def _infer_tile(x: Type, *, reps: Axes) -> Type:
    fits = len(reps) == x.rank and all(n >= 0 for n in reps)
    require(fits, f"reps {reps} do not fit {x}")
    return Type(x.dtype, tuple(n * r for n, r in zip(x.shape, reps, strict=True)))


def _tile(x: Array, reps: Axes) -> Array:
    return np.tile(x, reps)


def _tile_lanes(size: int, reps: Axes) -> dict[str, Axes]:
    return {"reps": (1, *reps)}


def _tile_transpose(b: Builder, ct: Operand, x: Operand, reps: Axes) -> tuple[Operand]:
    pairs = zip(reps, x.type.shape, strict=True)
    apart = b("reshape", ct, shape=tuple(n for pair in pairs for n in pair))
    return (b("reduce_sum", apart, axes=tuple(range(0, 2 * len(reps), 2))),)


def _element_of_tile(e: Elements, at: Any, x: Any, reps: Axes) -> Any:
    return x.at(
        [
            e("rem", i, e.constant(n, "int64")) if r != 1 else i
            for i, n, r in zip(at.index, x.type.shape, reps, strict=True)
        ]
    )


define(
    "tile",
    "x repeated side by side, `reps` times along each axis.",
    infer=_infer_tile,
    numpy=_tile,
    lax=lax_call("tile", "reps"),
    batch=batch_unary("tile", _tile_lanes),
    derivative=Linear(_tile_transpose),
    effects=PURE,
    cost=free,
    element=Indexed(_element_of_tile),
)

# --- iota -----------------------------------------------------------------------------------------


def _infer_iota(*, dtype: str, shape: Axes, dimension: int) -> Type:
    type = Type(dtype, tuple(shape))
    check_axes(type, [dimension], "dimension")
    return type


def _iota(dtype: str, shape: Axes, dimension: int) -> Array:
    lengths = [n if i == dimension else 1 for i, n in enumerate(shape)]
    numbers = np.arange(shape[dimension]).astype(numpy_dtype(dtype))
    return np.broadcast_to(numbers.reshape(lengths), shape)


def _batch_iota(
    b: Builder, operands: Sequence[Operand], batched: Sequence[bool], size: int, **attrs: Any
) -> Operand:
    return with_lanes(b, b("iota", **attrs), False, size)


def _element_of_iota(e: Elements, at: Any, *, dimension: int, **_: Any) -> Any:
    return e.convert(at.index[dimension], at.type.dtype)


define(
    "iota",
    "0, 1, 2, ... along `dimension`.",
    infer=_infer_iota,
    numpy=_iota,
    lax=lax_call("broadcasted_iota", "dtype", "shape", "dimension"),
    batch=_batch_iota,
    derivative=ZERO,
    effects=PURE,
    cost=free,
    element=Indexed(_element_of_iota),
)

# --- optimization_barrier -------------------------------------------------------------------------


def _infer_barrier(*types: Type) -> tuple[Type, ...]:
    return types


def _barrier(*arrays: Array) -> tuple[Array, ...]:
    return arrays


def _lax_barrier(jax: Any, *arrays: Any) -> tuple[Any, ...]:
    return tuple(jax.lax.optimization_barrier(arrays))


def _batch_barrier(
    b: Builder, operands: Sequence[Operand], batched: Sequence[bool], size: int
) -> tuple[Value, ...]:
    return b.emit("optimization_barrier", all_with_lanes(b, operands, batched, size))


def _pass_on(b: Builder, node: Node, changes: Cotangents) -> Cotangents:
    return changes


def _element_of_barrier(e: Elements, at: Any, *operands: Any) -> Any:
    return operands[at.number].at(at.index)


define(
    "optimization_barrier",
    "The operands as they are; nothing is moved or merged across.",
    infer=_infer_barrier,
    numpy=_barrier,
    lax=_lax_barrier,
    batch=_batch_barrier,
    derivative=Rules(_pass_on, _pass_on),
    effects=PURE,
    cost=free,
    element=Indexed(_element_of_barrier),
)
