"""Transformations of a region, until a pass expands them.

=====  ========================  =====================  ========================
op     operands                  region parameters      results
=====  ========================  =====================  ========================
vmap   arguments...              lanes of arguments...  yields...
map    over...                   slices of over...      stacks of yields...
grad   arguments..., seeds...    arguments...           gradients..., yields...
jvp    arguments, tangents...    arguments...           yields..., tangents...
=====  ========================  =====================  ========================

A `grad` or `jvp` with ``lanes`` works in that many directions at once: seeds, tangents and what
becomes of them have a leading axis of that length. Without, a `grad` has no seeds; they are ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graph import Node
from ..op import PURE, GraphError, define_region
from ..types import StateVar, Type
from ..wiring import Place, Wiring, entering, leaving
from .derivatives_by_jax import lax_grad, lax_jvp, lax_vmap
from .region import Regions, Run, expect, numpy_for_loop, region_cost, slice_type, types_of


def lane_type(type: Type, axis: int | None, size: int) -> Type:
    """Return what one lane of a batched array looks like."""
    if axis is None:
        return type
    if not 0 <= axis < type.rank or type.shape[axis] != size:
        raise GraphError(f"axis {axis} of {type} does not have the {size} lanes of this vmap")
    return Type(type.dtype, type.shape[:axis] + type.shape[axis + 1 :])


def batched_type(type: Type, axis: int | None, size: int) -> Type:
    """Return a type with a lane axis inserted."""
    if axis is None:
        return type
    if not 0 <= axis <= type.rank:
        raise GraphError(f"a lane axis cannot stand at {axis} of {type}")
    return Type(type.dtype, (*type.shape[:axis], size, *type.shape[axis:]))


def _infer_vmap(
    *types: Type,
    regions: Regions,
    size: int,
    in_axes: tuple[int | None, ...],
    out_axes: tuple[int | None, ...],
    **_: Any,
) -> tuple[Type, ...]:
    (body,) = regions
    lanes = [lane_type(t, axis, size) for t, axis in zip(types, in_axes, strict=True)]
    expect("lane parameters", types_of(body.params), lanes)
    outs = zip(types_of(body.results), out_axes, strict=True)
    return tuple(batched_type(t, axis, size) for t, axis in outs)


def _numpy_vmap(
    run: Run,
    *arrays: Any,
    regions: Regions,
    size: int,
    in_axes: tuple[int | None, ...],
    out_axes: tuple[int | None, ...],
    **_: Any,
) -> tuple[Any, ...]:
    (body,) = regions
    pairs = list(zip(arrays, in_axes, strict=True))
    lanes = [
        run(body, *(a if axis is None else np.take(a, i, axis) for a, axis in pairs))
        for i in range(size)
    ]
    if not lanes:
        types = types_of(body.results)
        outs = zip(types, out_axes, strict=True)
        return tuple(run.empty(batched_type(t, axis, size)) for t, axis in outs)
    columns = zip(zip(*lanes, strict=True), out_axes, strict=True)
    return tuple(column[0] if axis is None else np.stack(column, axis) for column, axis in columns)


def _not_expanded(name: str, by: str) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise GraphError(f"{name} must be expanded before it can be run; the pass {by} does that")

    return refuse


def _wire_vmap(node: Node) -> Wiring:
    axes = node.attrs["in_axes"], node.attrs["out_axes"]
    strands = (
        *(entering(1, first=i, whole=axis is None)[0] for i, axis in enumerate(axes[0])),
        *(leaving(1, first=i, whole=axis is None)[0] for i, axis in enumerate(axes[1])),
    )
    return Wiring(strands, together=True, times=node.attrs["size"])


define_region(
    "vmap",
    "Run the region once for each lane: in_axes says where an argument has its lanes "
    "(None: shared), out_axes where a result gets them (None: the same for all).",
    infer=_infer_vmap,
    numpy=_numpy_vmap,
    lax=lax_vmap,
    effects=PURE,
    cost=region_cost,
    wiring=_wire_vmap,
)


def _infer_map(
    *types: Type, regions: Regions, length: int, batch_size: int | None = None
) -> tuple[Type, ...]:
    (body,) = regions
    slices = [slice_type(t, length) for t in types]
    expect("parameters of a mapped function", types_of(body.params), slices)
    return tuple(t.stacked(length) for t in types_of(body.results))


def _numpy_map(
    run: Run, *arrays: Any, regions: Regions, length: int, batch_size: int | None
) -> tuple[Any, ...]:
    return numpy_for_loop(run, *arrays, regions=regions, carries=0, length=length, reverse=False)


def _wire_map(node: Node) -> Wiring:
    strands = (
        *entering(len(node.operands), whole=False),
        *leaving(len(node.results), whole=False),
    )
    return Wiring(strands, together=True, times=node.attrs["length"])


define_region(
    "map",
    "Run the region once for each leading index, batch_size of them at a time (None: one by one).",
    infer=_infer_map,
    numpy=_numpy_map,
    lax=_not_expanded("map", "expand-map"),
    effects=PURE,
    cost=region_cost,
    wiring=_wire_map,
    groups=("over",),
)


def _in_lanes(types: Sequence[Type], lanes: int | None) -> tuple[Type, ...]:
    """Return types with a leading axis for the lanes, if there are any."""
    return tuple(types) if lanes is None else tuple(t.stacked(lanes) for t in types)


def _state_leaves(states: tuple[StateVar, ...]) -> tuple[Type, ...]:
    return tuple(t for state in states for t in state.types)


def _infer_grad(
    *types: Type,
    regions: Regions,
    wrt: tuple[int, ...],
    states: tuple[StateVar, ...],
    losses: int,
    lanes: int | None = None,
    memory: int | float | None = None,
) -> tuple[Type, ...]:
    (body,) = regions
    arguments, outs = types[: len(body.params)], types_of(body.results)
    expect("arguments", arguments, types_of(body.params))
    seeds = () if lanes is None else _in_lanes(outs[:losses], lanes)
    expect("seeds", types[len(arguments) :], seeds)
    gradients = (*_state_leaves(states), *(arguments[i] for i in wrt))
    return (*_in_lanes(gradients, lanes), *outs)


def _wire_grad(node: Node) -> Wiring:
    """A gradient depends on all that the region does, a plain result on what it comes from."""
    outs = len(node.regions[0].results)
    gradients = len(node.results) - outs
    arguments = len(node.regions[0].params)
    strands = (*entering(arguments), *leaving(outs, shift=gradients))
    mixed = tuple(Place(None, i) for i in range(gradients))
    return Wiring(strands, mixed=mixed, together=True)


define_region(
    "grad",
    "Run the region and differentiate the sum of its first `losses` yields: gradients of the entry "
    "values of `states`, then of the arguments numbered in `wrt`, then all that the region yields. "
    "With `lanes`, the yields are weighted by seeds first, for each lane by others. With `memory`, "
    "loops keep only so many bytes for it, or such a part of what they would, and run steps again.",
    infer=_infer_grad,
    numpy=_not_expanded("grad", "expand-grad"),
    lax=lax_grad,
    effects=PURE,
    cost=region_cost,
    wiring=_wire_grad,
)


def _infer_jvp(
    *types: Type,
    regions: Regions,
    wrt: tuple[int, ...],
    states: tuple[StateVar, ...] = (),
    lanes: int | None = None,
) -> tuple[Type, ...]:
    (body,) = regions
    arguments, outs = types[: len(body.params)], types_of(body.results)
    expect("arguments", arguments, types_of(body.params))
    moved = (*_state_leaves(states), *(arguments[i] for i in wrt))
    expect("tangents", types[len(arguments) :], _in_lanes(moved, lanes))
    return (*outs, *_in_lanes(outs, lanes))


def _wire_jvp(node: Node) -> Wiring:
    """The last results are tangents."""
    (body,) = node.regions
    outs = len(body.results)
    strands = (*entering(len(body.params)), *leaving(outs))
    mixed = tuple(Place(None, i) for i in range(outs, len(node.results)))
    return Wiring(strands, mixed=mixed, together=True)


define_region(
    "jvp",
    "Run the region and push tangents through it, of the entry values of `states` and of the "
    "arguments numbered in `wrt`. With `lanes`, many of them at once.",
    infer=_infer_jvp,
    numpy=_not_expanded("jvp", "expand-jvp"),
    lax=lax_jvp,
    effects=PURE,
    cost=region_cost,
    wiring=_wire_jvp,
)
