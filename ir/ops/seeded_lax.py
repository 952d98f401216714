"""Products with connections that are drawn from a seed, as JAX code; see `seeded`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

FEW = 64
"""If no more rows than so many have something to send, the others draw no targets."""

Visit = Callable[[Any, Any], Any]


class Drawing:
    """Targets of rows, drawn one for each row at a time."""

    def __init__(self, jax: Any, keys: Any, gap: Any, columns: int, probability: float) -> None:
        self.jax, self.keys, self.columns = jax, keys, columns

        def drawn(number: Any) -> Any:
            return gap(_Words(jax), keys, number, probability)

        self.gap = drawn
        mean = columns * probability
        # Nobody has more: that is twelve standard deviations, and more where these are small.
        self.most = min(columns, math.ceil(mean + 12 * math.sqrt(mean) + 40))

    def visit(self, visit: Visit, state: Any, bounded: bool) -> Any:
        """Return what becomes of a state if ``visit(state, columns)`` is called for all targets.

        A ``bounded`` drawing has as many steps as a row may have targets, so that JAX can turn it
        round; else it ends when no row has another one.
        """
        jax = self.jax

        def step(carried: Any) -> Any:
            number, at, state = carried
            state = visit(state, at.astype("uint32"))
            at = jax.numpy.minimum(at, self.columns) + 1 + self.gap(number + 1)
            return number + 1, at, state

        def one_more(_: Any, carried: Any) -> Any:
            return step(carried)

        def there_is_one(carried: Any) -> Any:
            return jax.numpy.any(carried[1] < self.columns)

        first = jax.numpy.zeros((), "int32")
        start = first, self.gap(first), state
        if bounded:
            return jax.lax.fori_loop(0, self.most, one_more, start)[2]
        return jax.lax.while_loop(there_is_one, step, start)[2]


def rule(product: Any, row_keys: Any, gap: Any) -> Callable[..., Any]:
    """Return the JAX code of an op: a product, whose tangents are such products."""

    def lax(jax: Any, vector: Any, seed: Any, **attrs: Any) -> Any:
        def made(bounded: bool, vector: Any, seed: Any) -> Any:
            def drawing(rows: Any, columns: int) -> Drawing:
                keys = row_keys(_Words(jax), seed, rows)
                return Drawing(jax, keys, gap, columns, attrs["probability"])

            return product(jax, drawing, vector, bounded, **attrs)

        def tangent(operands: Any, tangents: Any) -> Any:
            return run(*operands), made(True, tangents[0], operands[1])

        run = jax.custom_jvp(partial(made, False))
        run.defjvp(tangent)
        return run(jax.numpy.asarray(vector), jax.numpy.asarray(seed))

    return lax


def to_columns(
    jax: Any, drawing: Any, vector: Any, bounded: bool, *, columns: int, probability: float
) -> Any:
    """Return ``vector @ matrix``."""
    jnp, height = jax.numpy, vector.shape[-1]

    def send(rows: Any, values: Any) -> Any:
        def visit(sums: Any, at: Any) -> Any:
            return sums.at[..., at].add(values, mode="drop")

        sums = jnp.zeros((*vector.shape[:-1], columns), vector.dtype)
        return drawing(rows, columns).visit(visit, sums, bounded)

    def those_that_send() -> Any:
        rows = jnp.nonzero(active, size=FEW, fill_value=height)[0].astype("uint32")
        return send(rows, vector.at[..., rows].get(mode="fill", fill_value=0))

    def all_of_them() -> Any:
        return send(jnp.arange(height, dtype="uint32"), vector)

    if bounded or height <= FEW:
        return all_of_them()
    active = (vector != 0).any(axis=tuple(range(vector.ndim - 1)))
    return jax.lax.cond(active.sum(dtype="int32") <= FEW, those_that_send, all_of_them)


def to_rows(
    jax: Any, drawing: Any, vector: Any, bounded: bool, *, rows: int, probability: float
) -> Any:
    """Return ``matrix @ vector``."""
    jnp = jax.numpy

    def visit(sums: Any, at: Any) -> Any:
        return sums + vector.at[..., at].get(mode="fill", fill_value=0)

    sums = jnp.zeros((*vector.shape[:-1], rows), vector.dtype)
    every = drawing(jnp.arange(rows, dtype="uint32"), vector.shape[-1])
    return every.visit(visit, sums, bounded)


class _Words:
    """The words of `Elements` as functions of JAX arrays."""

    NAMES: Mapping[str, str] = {
        "and": "bitwise_and",
        "or": "bitwise_or",
        "xor": "bitwise_xor",
        "not": "bitwise_not",
        "shl": "shift_left",
        "lshr": "shift_right_logical",
    }

    def __init__(self, jax: Any) -> None:
        self.jax = jax

    def __call__(self, word: str, *elements: Any) -> Any:
        if word == "clz":
            return self.jax.lax.clz(*elements)
        operands = self.jax.numpy.broadcast_arrays(*elements)
        return getattr(self.jax.lax, self.NAMES.get(word, word))(*operands)

    def constant(self, value: Any, dtype: str) -> Any:
        return self.jax.numpy.asarray(value, dtype)

    def convert(self, element: Any, dtype: str) -> Any:
        return self.jax.numpy.asarray(element).astype(dtype)

    def bitcast(self, element: Any, dtype: str) -> Any:
        return self.jax.lax.bitcast_convert_type(element, dtype)
