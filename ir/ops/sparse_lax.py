"""Products with sparse matrices as JAX code; see `sparse`.

On a CPU, a vector of which most elements are zeros is treated as a list of rows: a bit for each row
says whether there is something to send, and a loop takes the next bit that is set. Otherwise all
connections are followed at once.
"""

from __future__ import annotations

from typing import Any

RARE = 32
"""Connections that are followed at once in the time that a step of the loop takes for one more
row."""

CHUNK = 1.25
"""How many connections a step follows, as a multiple of what a row has on average: most rows take
one step."""

BITS = 32


def _places(jax: Any, indices: Any) -> Any:
    """Return indices that JAX takes as they are: negative ones are not counted from the end."""
    return indices.astype("uint32")


def _take(jax: Any, array: Any, places: Any) -> Any:
    """Return elements along the last axis of an array, zeros where they are outside."""
    return array.at[..., places].get(mode="fill", fill_value=0)


def to_columns(
    jax: Any, vector: Any, weights: Any, indices: Any, indptr: Any, rows: Any, *, columns: int
) -> Any:
    """Return ``vector @ matrix``."""
    jnp = jax.numpy
    vector, weights = jnp.asarray(vector), jnp.asarray(weights)
    places = _places(jax, indices)

    def all_at_once(vector: Any, weights: Any, places: Any, indptr: Any, rows: Any) -> Any:
        carried = jnp.where(vector[..., rows] != 0, vector[..., rows] * weights, 0)
        return sent(carried.astype(vector.dtype), places)

    def sent(carried: Any, places: Any) -> Any:
        sums = jnp.zeros((*carried.shape[:-1], columns), carried.dtype)
        return sums.at[..., places].add(carried, mode="drop")

    def by_rows(*operands: Any) -> Any:
        return _by_rows(jax, *operands, columns=columns)

    def on_cpu(*operands: Any) -> Any:
        active = jnp.sum(operands[0] != 0, dtype="int32")
        lanes = vector.size // vector.shape[-1]
        few = active < lanes * places.size // RARE
        return jax.lax.cond(few, by_rows, all_at_once, *operands)

    def product(*operands: Any) -> Any:
        return jax.lax.platform_dependent(*operands, cpu=on_cpu, default=all_at_once)

    def tangent(operands: Any, tangents: Any) -> Any:
        # A loop until there is no bit left cannot be turned round: all connections have tangents.
        vector, weights, places, _, rows = operands
        of_vector, of_weights, *_ = tangents
        change = of_vector[..., rows] * weights + vector[..., rows] * of_weights
        return product(*operands), sent(change, places)

    operands = vector, weights, places, jnp.asarray(indptr), jnp.asarray(rows)
    if vector.size * places.size == 0 or places.size < RARE:
        return all_at_once(*operands)
    with_tangents = jax.custom_jvp(product)
    with_tangents.defjvp(tangent)
    return with_tangents(*operands)


def _by_rows(
    jax: Any, vector: Any, weights: Any, places: Any, indptr: Any, rows: Any, *, columns: int
) -> Any:
    """Follow the connections of one row after the other, of those that are not zero."""
    jnp = jax.numpy
    height, lanes = vector.shape[-1], vector.size // vector.shape[-1]
    values, count = vector.reshape(-1), places.shape[0]
    chunk = min(count, max(1, int(CHUNK * count / height)))
    along = jnp.arange(chunk, dtype=indptr.dtype)

    def there_is_more(state: Any) -> Any:
        return jnp.any(state[0] != 0)

    def step(state: Any) -> Any:
        words, done, sums = state
        at = jnp.argmax(words != 0)
        word = words[at]
        lowest = word & -word
        number = at.astype("int32") * BITS + jax.lax.population_count(lowest - 1).astype("int32")
        row, lane = number % height, number // height
        first, end = indptr[row] + done, indptr[row + 1]
        # A slice that would go over the end begins earlier; what is before the row does not count.
        begin = jnp.minimum(first, count - chunk)
        here = begin + along
        own = jax.lax.dynamic_slice(places, (begin,), (chunk,))
        mine = (here >= first) & (here < end) & (own < columns)
        target = jnp.where(mine, own.astype("int32") + lane * columns, lanes * columns)
        each = jax.lax.dynamic_slice(weights, (begin,), (chunk,)) if weights.ndim else weights
        sums = sums.at[target].add(values[number] * each, mode="drop")
        is_last = first + chunk >= end
        words = words.at[at].set(jnp.where(is_last, word & (word - 1), word))
        return words, jnp.where(is_last, 0, done + chunk).astype(indptr.dtype), sums

    start = (
        _words(jax, values != 0),
        jnp.zeros((), indptr.dtype),
        jnp.zeros(lanes * columns, vector.dtype),
    )
    _, _, sums = jax.lax.while_loop(there_is_more, step, start)
    return sums.reshape(*vector.shape[:-1], columns)


def _words(jax: Any, bits: Any) -> Any:
    """Return bits as words of 32, the first bit lowest."""
    jnp = jax.numpy
    padded = jnp.pad(bits, (0, -bits.shape[0] % BITS)).reshape(-1, BITS)
    weights = jnp.uint32(1) << jnp.arange(BITS, dtype="uint32")
    return jnp.sum(jnp.where(padded, weights, jnp.uint32(0)), axis=1, dtype="uint32")


def to_rows(jax: Any, vector: Any, weights: Any, indices: Any, indptr: Any, rows: Any) -> Any:
    """Return ``matrix @ vector``."""
    jnp = jax.numpy
    vector = jnp.asarray(vector)
    carried = _take(jax, vector, _places(jax, indices)) * weights
    sums = jnp.zeros((*vector.shape[:-1], indptr.shape[0] - 1), vector.dtype)
    return sums.at[..., rows].add(carried, mode="drop", indices_are_sorted=True)


def to_connections(jax: Any, left: Any, right: Any, indices: Any, indptr: Any, rows: Any) -> Any:
    """Return the products of the values at both ends of each connection, summed over lanes."""
    jnp = jax.numpy
    values = jnp.asarray(left)[..., rows]
    there = _take(jax, jnp.asarray(right), _places(jax, indices))
    products = jnp.where(values != 0, values * there, jnp.zeros_like(there))
    return jnp.sum(products, axis=tuple(range(products.ndim - 1)), dtype=products.dtype)
