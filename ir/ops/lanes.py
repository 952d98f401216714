"""Where lanes meet: what one lane of a `vmap` knows of the others.

A `vmap` with an ``axis_name`` lets its lanes use these ops under that name, at any depth. What is
gathered is the same for all lanes, so `expand-vmap` leaves nothing of them: the lanes of an array
are an axis of it already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..builder import Builder
from ..derivative import ZERO, Linear
from ..element import NO_ELEMENT
from ..op import PURE, Cost, GraphError, Weight, define, traffic
from ..types import Operand, Type
from .rules import Array, Types, move_axis, repeat, require


def _cost_of_move(operands: Types, results: Types, attrs: Any) -> Cost:
    return Cost(0, traffic(operands, results), Weight.HEAVY)


def _cost_of_sum(operands: Types, results: Types, attrs: Any) -> Cost:
    return Cost(results[0].size, traffic(operands, results), Weight.HEAVY)


def _one_lane(meaning: Callable[..., Array]) -> Callable[..., Array]:
    """Return what an op means where no other lane is at hand."""

    def numpy(*arrays: Array, axis_name: str, lanes: int) -> Array:
        if lanes != 1:
            raise GraphError(
                f"lanes {axis_name!r} meet here, which are run one after the other: expand-vmap "
                "comes first"
            )
        return meaning(*arrays)

    return numpy


def _infer_gather(x: Type, *, axis_name: str, lanes: int) -> Type:
    require(lanes >= 0, f"{axis_name!r} has {lanes} lanes")
    return x.stacked(lanes)


def _alone(x: Array) -> Array:
    return x[None]


def _itself(x: Array) -> Array:
    return x


def _lax_gather(jax: Any, x: Any, *, axis_name: str, lanes: int) -> Any:
    return jax.lax.expand_dims(x, (0,)) if lanes == 1 else jax.lax.all_gather(x, axis_name)


def _batch_gather(b: Builder, operands: Any, batched: Any, size: int, **attrs: Any) -> Operand:
    return move_axis(b, b("gather_lanes", *operands, **attrs), 1, 0)


def _gather_transpose(b: Builder, ct: Operand, x: Operand, **attrs: Any) -> tuple[Operand]:
    """Sum what all lanes say of this one."""
    total = b("sum_lanes", ct, **attrs)
    index = b("lane_index", **attrs)
    zeros = [b.zeros(index.type) for _ in x.type.shape]
    row = b("dynamic_slice", total, index, *zeros, slice_sizes=(1, *x.type.shape))
    return (b("squeeze", row, dimensions=(0,)),)


define(
    "gather_lanes",
    "The operand of every lane of the vmap with that axis_name, along a new leading axis.",
    infer=_infer_gather,
    numpy=_one_lane(_alone),
    lax=_lax_gather,
    batch=_batch_gather,
    derivative=Linear(_gather_transpose),
    effects=PURE,
    element=NO_ELEMENT("it is about the lanes of a vmap of somebody else"),
    cost=_cost_of_move,
)


def _infer_sum(x: Type, *, axis_name: str, lanes: int) -> Type:
    require(not x.is_key and x.dtype != "bool", f"{x.dtype} cannot be summed over lanes")
    return x


def _lax_sum(jax: Any, x: Any, *, axis_name: str, lanes: int) -> Any:
    return x if lanes == 1 else jax.lax.psum(x, axis_name)


def _batch_sum(b: Builder, operands: Any, batched: Any, size: int, **attrs: Any) -> Operand:
    return b("sum_lanes", *operands, **attrs)


def _sum_transpose(b: Builder, ct: Operand, x: Operand, **attrs: Any) -> tuple[Operand]:
    return (b("sum_lanes", ct, **attrs),)


define(
    "sum_lanes",
    "The sum of the operands of all lanes of the vmap with that axis_name.",
    infer=_infer_sum,
    numpy=_one_lane(_itself),
    lax=_lax_sum,
    batch=_batch_sum,
    derivative=Linear(_sum_transpose),
    effects=PURE,
    element=NO_ELEMENT("it is about the lanes of a vmap of somebody else"),
    cost=_cost_of_sum,
)


def _lax_index(jax: Any, *, axis_name: str, lanes: int) -> Any:
    return np.int32(0) if lanes == 1 else jax.lax.axis_index(axis_name)


def _infer_index(*, axis_name: str, lanes: int) -> Type:
    return Type("int32")


def _batch_index(b: Builder, operands: Any, batched: Any, size: int, **attrs: Any) -> Operand:
    return repeat(b, b("lane_index", **attrs), size)


define(
    "lane_index",
    "The number of the lane, of the vmap with that axis_name.",
    infer=_infer_index,
    numpy=_one_lane(lambda: np.zeros((), np.int32)),
    lax=_lax_index,
    batch=_batch_index,
    derivative=ZERO,
    effects=PURE,
    element=NO_ELEMENT("it is about the lanes of a vmap of somebody else"),
    cost=lambda operands, results, attrs: Cost(0, traffic(operands, results), Weight.FREE),
)
