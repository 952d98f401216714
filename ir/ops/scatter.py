"""Ops that write windows into an array: `gather` the other way round (see `windows`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..builder import Builder
from ..derivative import Cotangents, Derivative, Linear, Rules, add_all
from ..element import WHOLE
from ..graph import Node
from ..op import PURE, define
from ..types import Operand, Type, Value
from .formula import constant
from .indexing import LAX_MODES, gather, moving
from .rules import Array, require, same_dtype, with_lanes
from .windows import Windows

# --- types and meaning ---------------------------------------------------------------------------


def _infer(array: Type, index: Type, updates: Type, **attrs: Any) -> Type:
    windows = Windows.of(attrs)
    same_dtype((array, updates))
    windows.check(array, index)
    require(
        len(windows.offset_dims) == array.rank - len(windows.absent)
        and updates.rank == len(windows.offset_dims) + index.rank - 1,
        f"updates {updates} do not fit windows {windows.offset_dims} of {array} at {index}",
    )
    sizes = windows.sizes(array.shape, updates.shape)
    require(
        all(s <= n for s, n in zip(sizes, array.shape, strict=True))
        and windows.result_shape(index.shape, sizes) == updates.shape,
        f"updates {updates} do not fit into {array} at {index}",
    )
    return array


def _numpy(combine: np.ufunc | None) -> Callable[..., Array]:
    def numpy(array: Array, index: Array, updates: Array, **attrs: Any) -> Array:
        windows = Windows.of(attrs)
        sizes = windows.sizes(array.shape, updates.shape)
        positions, inside = windows.find(array.shape, index, sizes)
        parts = windows.from_result(updates, sizes)
        if windows.mode != "clip":
            positions, parts = positions[inside], parts[inside]
        result: Array = array.flatten()
        if combine is None:
            result[positions.reshape(-1)] = parts.reshape(-1)
        else:
            combine.at(result, positions.reshape(-1), parts.reshape(-1))
        return result.reshape(array.shape)

    return numpy


def _lax(name: str) -> Callable[..., Any]:
    def lax(jax: Any, array: Any, index: Any, updates: Any, **attrs: Any) -> Any:
        windows = Windows.of(attrs)
        dimensions = jax.lax.ScatterDimensionNumbers(
            update_window_dims=windows.offset_dims,
            inserted_window_dims=windows.collapsed_dims,
            scatter_dims_to_operand_dims=windows.index_map,
            operand_batching_dims=windows.batching_dims,
            scatter_indices_batching_dims=windows.index_batching,
        )
        return getattr(jax.lax, name)(
            array,
            index,
            updates,
            dimensions,
            indices_are_sorted=windows.sorted,
            unique_indices=windows.unique,
            mode=LAX_MODES[windows.mode],
        )

    return lax


def _batch(name: str) -> Callable[..., Value]:
    def batch(
        builder: Builder,
        operands: Sequence[Operand],
        batched: Sequence[bool],
        size: int,
        **attrs: Any,
    ) -> Value:
        array, updates = (with_lanes(builder, operands[i], batched[i], size) for i in (0, 2))
        windows = Windows.of(attrs)
        lanes = windows.with_lanes_in_both() if batched[1] else windows.with_lanes_in_window()
        return builder(name, array, operands[1], updates, **lanes.attrs)

    return batch


# --- derivatives ---------------------------------------------------------------------------------


class _Scatter:
    """A scatter node about to be differentiated: builders of what its rules are made of."""

    def __init__(self, builder: Builder, node: Node) -> None:
        self.builder = builder
        self.array, self.index, self.updates = node.operands
        self.windows = Windows.of(node.attrs)
        self.result = node.result

    def read(self, array: Operand) -> Value:
        """Build a gather of what is where the updates go; zero for updates that are dropped."""
        sizes = self.windows.sizes(self.array.type.shape, self.updates.type.shape)
        return gather(self.builder, array, self.index, self.windows, sizes, 0)

    def write(self, how: str, array: Operand | None, updates: Operand | None) -> Value:
        """Build a scatter at the same places; None stands for zeros."""
        array = self.builder.zeros(self.array.type) if array is None else array
        updates = self.builder.zeros(self.updates.type) if updates is None else updates
        return self.builder(how, array, self.index, updates, **self.windows.attrs)

    def where(self, mask: Operand, yes: Operand | None) -> Operand | None:
        """Build a selection of what a mask says, and zero elsewhere; None stays None."""
        if yes is None:
            return None
        return self.builder("select_n", mask, self.builder.zeros(yes.type), yes)


def _winners(scatter: _Scatter) -> Value:
    """Build a mask of the updates that no other update has replaced."""
    builder, shape = scatter.builder, scatter.updates.type.shape
    numbers = builder("iota", dtype="int32", shape=(scatter.updates.type.size,), dimension=0)
    names = builder("reshape", builder("add", numbers, constant(numbers, 1)), shape=shape)
    nobody = builder.zeros(scatter.array.type.with_dtype("int32"))
    board = builder("scatter", nobody, scatter.index, names, **scatter.windows.attrs)
    return builder("eq", scatter.read(board), names)


def _reverse_replace(builder: Builder, node: Node, cotangents: Cotangents) -> Cotangents:
    (cotangent,) = cotangents
    if cotangent is None:
        return None, None, None
    scatter = _Scatter(builder, node)
    updates: Operand | None = scatter.read(cotangent)
    if not scatter.windows.is_unique(scatter.index.type):
        updates = scatter.where(_winners(scatter), updates)
    return scatter.write("scatter", cotangent, None), None, updates


def _forward_replace(builder: Builder, node: Node, tangents: Cotangents) -> Cotangents:
    array, _, updates = tangents
    if array is None and updates is None:
        return (None,)
    scatter = _Scatter(builder, node)
    if scatter.windows.is_unique(scatter.index.type):
        return (scatter.write("scatter", array, updates),)
    kept = None if array is None else scatter.write("scatter", array, None)
    written = None
    if updates is not None:
        won = scatter.where(_winners(scatter), updates)
        written = scatter.write("scatter-add", None, won)
    return (add_all(builder, [kept, written]),)


def _transpose_add(
    builder: Builder,
    cotangent: Operand,
    array: Operand,
    index: Operand,
    updates: Operand,
    **attrs: Any,
) -> tuple[Operand | None, ...]:
    windows = Windows.of(attrs)
    sizes = windows.sizes(array.type.shape, updates.type.shape)
    return cotangent, None, gather(builder, cotangent, index, windows, sizes, 0)


def _others(scatter: _Scatter) -> Value:
    """Build the derivative of a product by each update: the array times all other updates there.

    Zeros among the updates are counted and left out, so that nothing is divided by zero. Where an
    update is zero, what comes out has no derivative of its own.
    """
    builder, updates = scatter.builder, scatter.updates
    is_zero = builder("eq", updates, constant(updates, 0))
    one = builder.ones(updates.type)
    nonzero = builder("select_n", is_zero, updates, one)
    count = builder("convert_element_type", is_zero, new_dtype=updates.type.dtype)
    zeros = scatter.read(scatter.write("scatter-add", None, count))
    product = scatter.read(scatter.write("scatter-mul", scatter.array, nonzero))
    # An update sees a product other than zero if nobody else is zero there.
    lone = builder("eq", zeros, count)
    others = builder("div", product, nonzero)
    return builder("select_n", lone, builder.zeros(updates.type), others)


def _reverse_product(builder: Builder, node: Node, cotangents: Cotangents) -> Cotangents:
    (cotangent,) = cotangents
    if cotangent is None:
        return None, None, None
    scatter = _Scatter(builder, node)
    updates = builder("mul", scatter.read(cotangent), _others(scatter))
    return scatter.write("scatter-mul", cotangent, scatter.updates), None, updates


def _forward_product(builder: Builder, node: Node, tangents: Cotangents) -> Cotangents:
    array, _, updates = tangents
    scatter = _Scatter(builder, node)
    terms: list[Operand | None] = []
    if array is not None:
        terms.append(scatter.write("scatter-mul", array, scatter.updates))
    if updates is not None:
        change = builder("mul", updates, _others(scatter))
        terms.append(scatter.write("scatter-add", None, change))
    return (add_all(builder, terms),)


def _shares(scatter: _Scatter) -> tuple[Value, Value]:
    """Build what part of a change of the array, and of each update, an extremum takes over.

    Those who are equal share it.
    """
    builder, dtype = scatter.builder, scatter.array.type.dtype

    def convert(mask: Operand) -> Value:
        return builder("convert_element_type", mask, new_dtype=dtype)

    stays = convert(builder("eq", scatter.array, scatter.result))
    wins = convert(builder("eq", scatter.updates, scatter.read(scatter.result)))
    count = scatter.write("scatter-add", stays, wins)
    # A dropped update reads a count of zero.
    seen = builder("max", scatter.read(count), constant(count, 1))
    return builder("div", stays, count), builder("div", wins, seen)


def _reverse_extremum(builder: Builder, node: Node, cotangents: Cotangents) -> Cotangents:
    (cotangent,) = cotangents
    if cotangent is None:
        return None, None, None
    scatter = _Scatter(builder, node)
    array, updates = _shares(scatter)
    return (
        builder("mul", cotangent, array),
        None,
        builder("mul", scatter.read(cotangent), updates),
    )


def _forward_extremum(builder: Builder, node: Node, tangents: Cotangents) -> Cotangents:
    array, _, updates = tangents
    scatter = _Scatter(builder, node)
    by_array, by_updates = _shares(scatter)
    terms: list[Operand | None] = []
    if array is not None:
        terms.append(builder("mul", array, by_array))
    if updates is not None:
        terms.append(scatter.write("scatter-add", None, builder("mul", updates, by_updates)))
    return (add_all(builder, terms),)


# --- definitions ---------------------------------------------------------------------------------


def _define(
    name: str, doc: str, lax_name: str, combine: np.ufunc | None, derivative: Derivative
) -> None:
    define(
        name,
        doc,
        infer=_infer,
        numpy=_numpy(combine),
        lax=_lax(lax_name),
        batch=_batch(name),
        derivative=derivative,
        effects=PURE,
        cost=moving,
        element=WHOLE,
    )


_define(
    "scatter",
    "An array in which windows are replaced; where they overlap, one of them stays.",
    "scatter",
    None,
    Rules(_reverse_replace, _forward_replace),
)
_define(
    "scatter-add",
    "An array to which windows are added.",
    "scatter_add",
    np.add,
    Linear(_transpose_add, positions=(0, 2)),
)
_define(
    "scatter-mul",
    "An array that is multiplied by windows.",
    "scatter_mul",
    np.multiply,
    Rules(_reverse_product, _forward_product),
)
for _name, _word, _ufunc in (("min", "smaller", np.minimum), ("max", "greater", np.maximum)):
    _define(
        f"scatter-{_name}",
        f"An array in which elements give way to {_word} ones of windows.",
        f"scatter_{_name}",
        _ufunc,
        Rules(_reverse_extremum, _forward_extremum),
    )
