"""Collectives of JAX over the lanes of our own mappings: what all lanes have, and then arithmetic.

Those over the axes of a mesh, inside ``jax.shard_map``, stay what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.interpreters import batching

from ...ir import Builder, Operand
from .avals import shaped
from .frames import current_frame, note_deeper
from .state_primitives import new_primitive

if TYPE_CHECKING:
    from .importer import Importer

Array = Any


def _stacked(x: Any, *, axis_name: Any, size: int) -> list[Any]:
    return [shaped(jax.ShapeDtypeStruct((size, *x.shape), x.dtype, weak_type=x.weak_type))]


gather_lanes_p = new_primitive("gather_lanes", _stacked)
"""As ``jax.lax.all_gather``, but over lanes that have no name of the user's."""


def _gather_batched(args: Any, axes: Any, **params: Any) -> Any:
    (x,), (axis,) = args, axes
    return gather_lanes_p.bind(jnp.moveaxis(x, axis, 0), **params), [1]


batching.primitive_batchers[gather_lanes_p] = _gather_batched


def all_lanes(x: Any) -> Any:
    """Return what all lanes around have of an array, an axis for each mapping, outermost first.

    Raises
    ------
    ValueError
        If it is not known how many lanes there are.
    """
    here = current_frame()
    for frame in () if here is None else here.chain():
        if frame.axis is None:
            continue
        name, size = frame.axis
        if size is None:
            raise ValueError(
                "how many lanes there are is not known yet: give the mapping axis_size"
            )
        frame.lanes_meet = True
        note_deeper(frame)
        (x,) = gather_lanes_p.bind(x, axis_name=name, size=size)
    return x


class LaneAxis(NamedTuple):
    """What the graph calls the lanes of a mapping that may meet, and how many there are."""

    name: str
    size: int

    @property
    def attrs(self) -> dict[str, Any]:
        """The attributes of an op in which they meet."""
        return {"axis_name": self.name, "lanes": self.size}


def name_axis(importer: Importer, axis: Any, size: int) -> str:
    """Give lanes a name in the graph, by which inner code may call them from here on."""
    text = "".join(c if c.isalnum() or c in "_." else "_" for c in str(axis))
    taken, count = {axis.name for axis in importer.axes.values()}, 1
    name = text
    while name in taken:
        count += 1
        name = f"{text}.{count}"
    importer.axes[axis] = LaneAxis(name, size)
    return name


def import_collective(
    importer: Importer, builder: Builder, eqn: Any, operands: Sequence[Operand]
) -> Sequence[Operand]:
    """Build a collective over lanes of ours; any other becomes an opaque op."""
    params = eqn.params
    names = params["axes"] if "axes" in params else params["axis_name"]
    names = tuple(names) if isinstance(names, tuple | list) else (names,)
    ours = [name in importer.axes for name in names]
    if not any(ours):
        return importer.plain(builder, eqn, operands)
    what = eqn.primitive.name
    if not all(ours) or params.get("axis_index_groups") is not None:
        raise NotImplementedError(
            f"{what} over {', '.join(map(str, names))}: over lanes of a mapping, collectives take "
            "neither groups of them nor axes of a mesh besides; use two collectives"
        )
    axes = [importer.axes[name] for name in names]
    if what == "axis_index":
        return [_index(builder, axes)]
    if what == "psum":
        return [_sum(builder, x, axes) for x in operands]
    results: list[Operand] = []
    for x in operands:
        given = [_gather(builder, x, axes)]
        if what in _BY_INDEX:
            given.append(_index(builder, axes))
        rule, size = COLLECTIVES[what], prod(axis.size for axis in axes)
        results += importer.inline_function(
            builder, lambda *xs, rule=rule, size=size: rule(params, size, *xs), given
        )
    return results


def _gather(builder: Builder, x: Operand, axes: Sequence[LaneAxis]) -> Operand:
    """Return what all lanes have, those of the first axis outermost, along one leading axis."""
    shape = x.type.shape
    for axis in reversed(axes):
        x = builder("gather_lanes", x, **axis.attrs)
    if len(axes) == 1:
        return x
    return builder("reshape", x, shape=(prod(axis.size for axis in axes), *shape))


def _sum(builder: Builder, x: Operand, axes: Sequence[LaneAxis]) -> Operand:
    for axis in axes:
        x = builder("sum_lanes", x, **axis.attrs)
    return x


def _index(builder: Builder, axes: Sequence[LaneAxis]) -> Operand:
    """Return the number of the lane, counted through all axes."""
    first, *others = axes
    index = builder("lane_index", **first.attrs)
    for axis in others:
        size = builder.full(index.type, axis.size)
        index = builder("add", builder("mul", index, size), builder("lane_index", **axis.attrs))
    return index


# --- what each of them is, of what all lanes have and the number of the lane ----------------------


def _all_gather(params: Mapping[str, Any], size: int, stack: Array) -> Array:
    axis = params["all_gather_dimension"]
    moved = jnp.moveaxis(stack, 0, axis)
    return _merged(moved, axis) if params["tiled"] else moved


def _merged(array: Array, axis: int) -> Array:
    """Join an axis with the one behind it."""
    shape = array.shape
    return array.reshape(*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])


def _split(array: Array, axis: int, size: int) -> Array:
    """Take an axis apart into blocks."""
    shape = array.shape
    return array.reshape(*shape[:axis], size, shape[axis] // size, *shape[axis + 1 :])


def _permute(params: Mapping[str, Any], size: int, stack: Array, index: Array) -> Array:
    sources = np.full(size, -1, np.int32)
    for source, target in params["perm"]:
        sources[target] = source
    source = jnp.asarray(sources)[index]
    row = jnp.take(stack, jnp.maximum(source, 0), axis=0)
    return jnp.where(source >= 0, row, jnp.zeros_like(row))


def _broadcast(params: Mapping[str, Any], size: int, stack: Array) -> Array:
    return stack[params["source"]]


def _scatter(params: Mapping[str, Any], size: int, stack: Array, index: Array) -> Array:
    axis, total = params["scatter_dimension"], stack.sum(0)
    if params["tiled"]:
        total = _split(total, axis, size)
    return jnp.take(total, index, axis=axis)


def _all_to_all(params: Mapping[str, Any], size: int, stack: Array, index: Array) -> Array:
    split, concat = params["split_axis"], params["concat_axis"]
    rows = jnp.take(_split(stack, split + 1, size), index, axis=split + 1)
    return _merged(jnp.moveaxis(rows, 0, concat), concat)


_BY_INDEX = ("ppermute", "reduce_scatter", "all_to_all")

COLLECTIVES: dict[str, Callable[..., Array]] = {
    "axis_index": lambda params, size, stack, index: index,
    "psum": lambda params, size, stack: stack.sum(0),
    "pmax": lambda params, size, stack: stack.max(0),
    "pmin": lambda params, size, stack: stack.min(0),
    "all_gather": _all_gather,
    "gather_lanes": lambda params, size, stack: stack,
    "ppermute": _permute,
    "pbroadcast": _broadcast,
    "reduce_scatter": _scatter,
    "all_to_all": _all_to_all,
}
"""``COLLECTIVES[primitive](params, size, stack, index)``, where ``_BY_INDEX`` has the index."""
