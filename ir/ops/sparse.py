"""Ops along the connections of a sparse matrix, which is given by its rows.

Connection ``k`` leads from row ``rows[k]`` to column ``indices[k]``. Those of row ``i`` are the
numbers from ``indptr[i]`` up to ``indptr[i + 1]``, so that a program can go through one row alone;
``indptr`` never falls, and goes from 0 to the number of connections. A connection to a column that
is not there does not count. ``weights`` are one for each connection, or one for all.

Rows of zeros send nothing, whatever their weights: what is expected are spikes, most of them zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..builder import Builder
from ..derivative import Linear
from ..element import WHOLE
from ..op import PURE, Cost, Weight, define, traffic
from ..types import Operand, Type
from . import sparse_lax
from .formula import constant
from .rules import Array, Types, move_axis, require, same_dtype, with_lanes

# --- types ---------------------------------------------------------------------------------------


def _check(indices: Type, indptr: Type, rows: Type, weights: Type | None = None) -> None:
    given = (indices, indptr, rows)
    require(
        all(t.rank == 1 and t.is_integer for t in given)
        and indices.shape == rows.shape
        and indptr.size,
        f"connections {indices} of rows {rows}, that begin at {indptr}, do not fit",
    )
    fit = weights is None or weights.shape in ((), indices.shape)
    require(fit, f"weights {weights} are neither one nor one for each of {indices}")


def _number(*types: Type) -> None:
    dtype = same_dtype(types)
    require(dtype != "bool" and not types[0].is_key, f"{dtype} cannot be added up")


def _columns(
    vector: Type, weights: Type, indices: Type, indptr: Type, rows: Type, *, columns: int
) -> Type:
    _number(vector, weights)
    _check(indices, indptr, rows, weights)
    require(
        vector.rank and vector.shape[-1] == indptr.size - 1,
        f"{vector} has not one element for each row of {indptr}",
    )
    return vector.with_shape(*vector.shape[:-1], columns)


def _rows(vector: Type, weights: Type, indices: Type, indptr: Type, rows: Type) -> Type:
    _number(vector, weights)
    _check(indices, indptr, rows, weights)
    require(vector.rank, f"{vector} has no columns")
    return vector.with_shape(*vector.shape[:-1], indptr.size - 1)


def _connections(left: Type, right: Type, indices: Type, indptr: Type, rows: Type) -> Type:
    _number(left, right)
    _check(indices, indptr, rows)
    fit = left.rank and right.rank and left.shape[:-1] == right.shape[:-1]
    require(
        fit and left.shape[-1] == indptr.size - 1,
        f"{left} and {right} are not values of rows and columns of {indptr}",
    )
    return left.with_shape(*indices.shape)


# --- meaning -------------------------------------------------------------------------------------


def _known(indices: Array, columns: int) -> Array:
    return np.asarray((indices >= 0) & (indices < columns))


def _add_at(array: Array, places: Array, updates: Array) -> None:
    """Add updates along the last axis, also where several go to one place."""
    where: Any = ..., places
    np.add.at(array, where, updates)


def _to_columns(
    vector: Array, weights: Array, indices: Array, indptr: Array, rows: Array, *, columns: int
) -> Array:
    sent = np.zeros((*vector.shape[:-1], columns), vector.dtype)
    known = _known(indices, columns)
    each = np.broadcast_to(weights, indices.shape)[known]
    values = vector[..., rows[known]]
    carried = np.where(values != 0, values, 0) * np.where(values != 0, each, 0)
    _add_at(sent, indices[known], carried)
    return sent


def _to_rows(vector: Array, weights: Array, indices: Array, indptr: Array, rows: Array) -> Array:
    received = np.zeros((*vector.shape[:-1], indptr.size - 1), vector.dtype)
    known = _known(indices, vector.shape[-1])
    each = np.broadcast_to(weights, indices.shape)[known]
    _add_at(received, rows[known], vector[..., indices[known]] * each)
    return received


def _to_connections(left: Array, right: Array, indices: Array, indptr: Array, rows: Array) -> Array:
    known = _known(indices, right.shape[-1])
    values = left[..., rows[known]]
    products = np.where(values != 0, values * right[..., indices[known]], 0)
    summed = products.sum(tuple(range(products.ndim - 1)), dtype=left.dtype)
    result = np.zeros(indices.shape, left.dtype)
    result[known] = summed
    return result


# --- derivatives ---------------------------------------------------------------------------------


def _weight(builder: Builder, weights: Operand, each: Operand) -> Operand:
    """Return the cotangent of weights, of that of each connection: one that all share adds up."""
    return each if weights.type.rank else builder("reduce_sum", each, axes=(0,))


def _back_to_rows(
    builder: Builder,
    cotangent: Operand,
    vector: Operand,
    weights: Operand,
    *where: Operand,
    columns: int,
) -> tuple[Operand | None, ...]:
    each = builder("csr_to_connections", vector, cotangent, *where)
    to_vector = builder("csr_to_rows", cotangent, weights, *where)
    return to_vector, _weight(builder, weights, each), None, None, None


def _back_to_columns(
    builder: Builder, cotangent: Operand, vector: Operand, weights: Operand, *where: Operand
) -> tuple[Operand | None, ...]:
    each = builder("csr_to_connections", cotangent, vector, *where)
    columns = vector.type.shape[-1]
    to_vector = builder("csr_to_columns", cotangent, weights, *where, columns=columns)
    return to_vector, _weight(builder, weights, each), None, None, None


def _back_to_ends(
    builder: Builder, cotangent: Operand, left: Operand, right: Operand, *where: Operand
) -> tuple[Operand | None, ...]:
    columns = right.type.shape[-1]
    return (
        builder("csr_to_rows", right, cotangent, *where),
        builder("csr_to_columns", left, cotangent, *where, columns=columns),
        None,
        None,
        None,
    )


# --- lanes ---------------------------------------------------------------------------------------


def _batch_to(name: str) -> Callable[..., Operand]:
    """Return the batching rule of a product with a vector.

    Vectors may be many. Where matrices differ, they are the blocks of one large matrix.
    """

    def batch(
        builder: Builder,
        operands: Sequence[Operand],
        batched: Sequence[bool],
        size: int,
        **attrs: Any,
    ) -> Operand:
        vector, weights, *where = operands
        if not any(batched[1:]):
            return builder(name, vector, weights, *where, **attrs)
        vector = with_lanes(builder, vector, batched[0], size)
        columns = attrs.get("columns", vector.type.shape[-1])
        where = _blocks(builder, where, batched[2:], size, columns)
        if batched[1] or weights.type.rank:
            weights = _of_blocks(builder, weights, batched[1], size, where[0])
        attrs = {key: value * size for key, value in attrs.items()}
        result = builder(name, _joined(builder, vector), weights, *where, **attrs)
        return _parted(builder, result, size)

    return batch


def _batch_to_connections(
    builder: Builder, operands: Sequence[Operand], batched: Sequence[bool], size: int
) -> Operand:
    left, right = (
        with_lanes(builder, o, b, size) for o, b in zip(operands, batched[:2], strict=False)
    )
    where = _blocks(builder, operands[2:], batched[2:], size, right.type.shape[-1])
    result = builder("csr_to_connections", _joined(builder, left), _joined(builder, right), *where)
    return _parted(builder, result, size)


def _joined(builder: Builder, vectors: Operand) -> Operand:
    """Put the lanes of vectors one behind the other, along their last axis."""
    rank = vectors.type.rank
    turned = move_axis(builder, vectors, 0, rank - 2)
    *others, size, length = turned.type.shape
    return builder("reshape", turned, shape=(*others, size * length))


def _parted(builder: Builder, vectors: Operand, size: int) -> Operand:
    """Take lanes apart again that `_joined` put together."""
    *others, length = vectors.type.shape
    apart = builder("reshape", vectors, shape=(*others, size, length // size))
    return move_axis(builder, apart, len(others), 0)


def _of_blocks(
    builder: Builder, weights: Operand, batched: bool, size: int, indices: Operand
) -> Operand:
    """Return weights as one for each connection of the blocks."""
    each = indices.type.size // size
    lanes = with_lanes(builder, weights, batched, size)
    if lanes.type.rank == 1:
        lanes = builder("broadcast_in_dim", lanes, shape=(size, each), dims=(0,))
    return builder("reshape", lanes, shape=(size * each,))


def _blocks(
    builder: Builder, where: Sequence[Operand], batched: Sequence[bool], size: int, columns: int
) -> list[Operand]:
    """Return the connections of one matrix that has those of all lanes as its blocks."""
    lanes = [with_lanes(builder, o, b, size) for o, b in zip(where, batched, strict=True)]
    indices, indptr, rows = lanes
    count, height = indices.type.shape[1], indptr.type.shape[1] - 1

    def moved(array: Operand, step: int) -> Operand:
        number = builder("iota", dtype=array.type.dtype, shape=array.type.shape, dimension=0)
        return builder("add", array, builder("mul", number, constant(array, step)))

    # What leads nowhere in its own block is to lead nowhere in the large matrix.
    low = builder("ge", indices, constant(indices, 0))
    known = builder("and", low, builder("lt", indices, constant(indices, columns)))
    nowhere = builder(
        "broadcast_in_dim", constant(indices, size * columns), shape=indices.type.shape, dims=()
    )
    indices = builder("select_n", known, nowhere, moved(indices, columns))
    begins = builder(
        "slice", moved(indptr, count), start=(0, 0), limit=(size, height), strides=(1, 1)
    )
    begins = builder("reshape", begins, shape=(size * height,))
    end = builder("broadcast_in_dim", constant(indptr, size * count), shape=(1,), dims=())
    return [
        builder("reshape", indices, shape=(size * count,)),
        builder("concatenate", begins, end, dimension=0),
        builder("reshape", moved(rows, height), shape=(size * count,)),
    ]


# --- definitions ---------------------------------------------------------------------------------


def _cost(operands: Types, results: Types, attrs: Mapping[str, Any]) -> Cost:
    """Cost of going along all connections, for all lanes."""
    vector, _, indices, *_ = operands
    lanes = vector.size // max(1, vector.shape[-1])
    return Cost(2 * lanes * indices.size, traffic(operands, results), Weight.HEAVY)


define(
    "csr_to_columns",
    "For each column, the sum of what its connections carry from rows: "
    "vector @ matrix, of {columns} columns.",
    infer=_columns,
    numpy=_to_columns,
    lax=sparse_lax.to_columns,
    batch=_batch_to("csr_to_columns"),
    derivative=Linear(_back_to_rows, positions=(0, 1), jointly=False),
    effects=PURE,
    cost=_cost,
    element=WHOLE,
)
define(
    "csr_to_rows",
    "For each row, the sum of what its connections carry from columns: matrix @ vector.",
    infer=_rows,
    numpy=_to_rows,
    lax=sparse_lax.to_rows,
    batch=_batch_to("csr_to_rows"),
    derivative=Linear(_back_to_columns, positions=(0, 1), jointly=False),
    effects=PURE,
    cost=_cost,
    element=WHOLE,
)
define(
    "csr_to_connections",
    "For each connection, the product of the values at its row and its column, summed over lanes.",
    infer=_connections,
    numpy=_to_connections,
    lax=sparse_lax.to_connections,
    batch=_batch_to_connections,
    derivative=Linear(_back_to_ends, positions=(0, 1), jointly=False),
    effects=PURE,
    cost=_cost,
    element=WHOLE,
)
