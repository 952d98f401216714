"""Ops along connections that are made again from a seed whenever they are needed.

Whether row ``i`` is connected with column ``j`` is drawn with one probability for all pairs. What
is drawn are the gaps from one target of a row to the next: they are geometric, and gap ``n`` of row
``i`` is a function of the seed, ``i`` and ``n`` alone. So nothing is stored, a row is found without
the others, and drawing takes as long as there are targets.

All of that is arithmetic of integers, and one product of floats that every machine rounds alike: a
seed means the same connections everywhere. The logarithm is right to 0.00015, and the probability
to about a thousandth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..builder import Builder
from ..derivative import Linear
from ..element import WHOLE, Elements
from ..op import PURE, Cost, Weight, define, traffic
from ..types import Operand, Type
from . import seeded_lax
from .rules import Array, Types, require, with_lanes

WEYL, FIRST, SECOND = 0x9E3779B9, 0x7FEB352D, 0x846CA68B
"""Odd numbers that spread bits."""

LONGEST = 2.0**30
"""No gap is longer: all columns are nearer."""

LOGARITHM = 28710, 15512, 5263
"""What a quadratic in x times x (1 - x) is to be added to x for log2(1 + x), in 65536ths."""


# --- drawing -------------------------------------------------------------------------------------


def _mixed(e: Elements, x: Any) -> Any:
    """Return 32 bits each of which depends on all of some others."""

    def folded(x: Any, by: int) -> Any:
        return e("xor", x, e("lshr", x, e.constant(by, "uint32")))

    x = e("mul", folded(x, 16), e.constant(FIRST, "uint32"))
    x = e("mul", folded(x, 15), e.constant(SECOND, "uint32"))
    return folded(x, 16)


def row_keys(e: Elements, seed: Any, row: Any) -> tuple[Any, Any]:
    """Return two words that are a row's own, from a seed and the number of the row.

    Examples
    --------
    Half of all pairs of 1000 rows and 1000 columns, found without looking at the others:

    >>> import numpy as np
    >>> from brainir.ir import get_op
    >>> rows, seed = np.zeros(1000, np.float32), np.int32(1)
    >>> rows[7] = 1
    >>> attrs = {"columns": 1000, "probability": 0.5}
    >>> 450 < get_op("seeded_to_columns").numpy(rows, seed, **attrs).sum() < 550
    np.True_
    """
    seed = _mixed(e, e("add", e.convert(seed, "uint32"), e.constant(WEYL, "uint32")))
    row = e.convert(row, "uint32")
    first = _mixed(e, e("add", row, seed))
    spread = e("mul", row, e.constant(WEYL, "uint32"))
    return first, _mixed(e, e("xor", _mixed(e, spread), e("not", seed)))


def target_gap(e: Elements, keys: tuple[Any, Any], number: Any, probability: float) -> Any:
    """Return how many columns there are between two targets of a row, an int32.

    Examples
    --------
    There are none if all are connected:

    >>> import numpy as np
    >>> from brainir.ir import get_op
    >>> attrs = {"columns": 3, "probability": 1.0}
    >>> get_op("seeded_to_columns").numpy(np.ones(2, np.float32), np.int32(1), **attrs)
    array([2., 2., 2.], dtype=float32)
    """

    def word(value: int) -> Any:
        return e.constant(value, "uint32")

    spread = e("mul", e.convert(number, "uint32"), word(WEYL))
    bits = _mixed(e, e("xor", _mixed(e, e("add", spread, keys[0])), keys[1]))
    bits = e("or", bits, word(1))
    zeros = e("clz", bits)
    x = e("and", e("lshr", e("shl", bits, zeros), word(15)), word(0xFFFF))

    def times(a: Any, b: Any) -> Any:
        return e("lshr", e("mul", a, b), word(16))

    constant, linear, square = map(word, LOGARITHM)
    curve = e("add", e("sub", constant, times(linear, x)), times(square, times(x, x)))
    bend = times(times(x, e("sub", word(0x10000), x)), curve)
    whole = e("shl", e("add", zeros, word(1)), word(16))
    bits_of_chance = e("sub", whole, e("add", x, bend))
    steps = e(
        "mul", e.convert(bits_of_chance, "float32"), e.constant(_scale(probability), "float32")
    )
    return e.convert(e("min", steps, e.constant(LONGEST, "float32")), "int32")


def _scale(probability: float) -> float:
    """Return columns for each 65536th of a bit of chance."""
    if probability == 1:
        return 0.0
    return float(np.float32(-1 / (65536 * math.log2(1 - probability))))


def _leading_zeros(words: Array) -> Array:
    """Return how many bits of words are zero before the first one that is set."""
    # A float64 holds 32 bits, and its exponent tells the first.
    _, exponent = np.frexp(words.astype(np.float64))
    return np.uint32(32) - exponent.astype(np.uint32)


class _Numpy:
    """The words of `Elements` as functions of numpy arrays."""

    WORDS: Mapping[str, Callable[..., Array]] = {
        "add": np.add,
        "sub": np.subtract,
        "mul": np.multiply,
        "min": np.minimum,
        "and": np.bitwise_and,
        "or": np.bitwise_or,
        "xor": np.bitwise_xor,
        "not": np.invert,
        "shl": np.left_shift,
        "lshr": np.right_shift,
        "clz": _leading_zeros,
    }

    def __call__(self, word: str, *elements: Any) -> Any:
        return self.WORDS[word](*elements)

    def constant(self, value: Any, dtype: str) -> Any:
        return np.array([value], dtype)

    def convert(self, element: Any, dtype: str) -> Any:
        return np.asarray(element).astype(dtype)

    def bitcast(self, element: Any, dtype: str) -> Any:
        return np.asarray(element).view(dtype)


def _targets(
    seed: Array, height: int, columns: int, probability: float
) -> Iterator[tuple[Array, Array]]:
    """Yield rows and the columns that they are connected with, one for each row at a time."""
    e, rows = _Numpy(), np.arange(height)
    keys = row_keys(e, seed.reshape(1), rows)
    at = target_gap(e, keys, np.zeros(1, np.uint32), probability).astype(np.int64)
    number = 0
    while True:
        there = at < columns
        rows, at, keys = rows[there], at[there], (keys[0][there], keys[1][there])
        if not rows.size:
            return
        yield rows, at
        number += 1
        at = at + 1 + target_gap(e, keys, np.array([number]), probability)


# --- types and meaning ---------------------------------------------------------------------------


def _check(vector: Type, seed: Type, probability: float) -> None:
    require(seed.rank == 0 and seed.is_integer, f"a seed is an integer, not {seed}")
    require(vector.rank and not vector.is_key, f"{vector} is not an array of numbers")
    require(vector.dtype != "bool", "booleans cannot be added up")
    require(0 < probability <= 1, f"{probability} is not a probability above 0")


def _infer_columns(vector: Type, seed: Type, *, columns: int, probability: float) -> Type:
    _check(vector, seed, probability)
    require(0 <= columns < LONGEST, f"{columns} columns cannot be drawn from")
    return vector.with_shape(*vector.shape[:-1], columns)


def _infer_rows(vector: Type, seed: Type, *, rows: int, probability: float) -> Type:
    _check(vector, seed, probability)
    require(vector.shape[-1] < LONGEST, f"{vector} has too many columns to draw from")
    return vector.with_shape(*vector.shape[:-1], rows)


def _to_columns(vector: Array, seed: Array, *, columns: int, probability: float) -> Array:
    sent = np.zeros((*vector.shape[:-1], columns), vector.dtype)
    for rows, at in _targets(seed, vector.shape[-1], columns, probability):
        where: Any = ..., at
        np.add.at(sent, where, vector[..., rows])
    return sent


def _to_rows(vector: Array, seed: Array, *, rows: int, probability: float) -> Array:
    received = np.zeros((*vector.shape[:-1], rows), vector.dtype)
    for some, at in _targets(seed, rows, vector.shape[-1], probability):
        received[..., some] += vector[..., at]
    return received


def _back_to_rows(
    builder: Builder,
    cotangent: Operand,
    vector: Operand,
    seed: Operand,
    *,
    columns: int,
    probability: float,
) -> tuple[Operand | None, ...]:
    rows = vector.type.shape[-1]
    return builder("seeded_to_rows", cotangent, seed, rows=rows, probability=probability), None


def _back_to_columns(
    builder: Builder,
    cotangent: Operand,
    vector: Operand,
    seed: Operand,
    *,
    rows: int,
    probability: float,
) -> tuple[Operand | None, ...]:
    attrs = {"columns": vector.type.shape[-1], "probability": probability}
    return builder("seeded_to_columns", cotangent, seed, **attrs), None


def _batch(name: str) -> Callable[..., Operand]:
    """Return the batching rule: many vectors are one operand, and seeds go one by one."""

    def batch(
        builder: Builder,
        operands: Sequence[Operand],
        batched: Sequence[bool],
        size: int,
        **attrs: Any,
    ) -> Operand:
        vector, seed = operands
        if not batched[1]:
            return builder(name, vector, seed, **attrs)
        vector = with_lanes(builder, vector, batched[0], size)

        def lane(operand: Operand, number: int) -> Operand:
            shape = operand.type.shape
            start, limit = (number, *(0,) * len(shape[1:])), (number + 1, *shape[1:])
            one = builder("slice", operand, start=start, limit=limit, strides=(1,) * len(shape))
            return builder("reshape", one, shape=shape[1:])

        made = [builder(name, lane(vector, i), lane(seed, i), **attrs) for i in range(size)]
        rows = [builder("reshape", one, shape=(1, *one.type.shape)) for one in made]
        return builder("concatenate", *rows, dimension=0)

    return batch


def _cost(operands: Types, results: Types, attrs: Mapping[str, Any]) -> Cost:
    """Cost of drawing all targets, and of going to them for all lanes."""
    vector, result = operands[0], results[0]
    lanes = vector.size // max(1, vector.shape[-1])
    targets = math.ceil(vector.shape[-1] * result.shape[-1] * attrs["probability"])
    return Cost((lanes + DRAWING) * targets, traffic(operands, results), Weight.HEAVY)


DRAWING = 30
"""Operations that it takes to draw a target."""


# --- definitions ---------------------------------------------------------------------------------

define(
    "seeded_to_columns",
    "For each of {columns}, the sum of the values of those rows that a seed connects it with.",
    infer=_infer_columns,
    numpy=_to_columns,
    lax=seeded_lax.rule(seeded_lax.to_columns, row_keys, target_gap),
    batch=_batch("seeded_to_columns"),
    derivative=Linear(_back_to_rows, positions=(0,)),
    effects=PURE,
    cost=_cost,
    element=WHOLE,
)
define(
    "seeded_to_rows",
    "For each of {rows}, the sum of the values of those columns that a seed connects it with.",
    infer=_infer_rows,
    numpy=_to_rows,
    lax=seeded_lax.rule(seeded_lax.to_rows, row_keys, target_gap),
    batch=_batch("seeded_to_rows"),
    derivative=Linear(_back_to_columns, positions=(0,)),
    effects=PURE,
    cost=_cost,
    element=WHOLE,
)
