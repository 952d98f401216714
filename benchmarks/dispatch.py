"""What a compiled call costs on many small States; by hand, that is `jax.jit` on a tuple."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

import brainir

from .side_by_side import BY_HAND, MINE, PEER, Row, Way, peer


def stateful(library: Any, count: int) -> Callable[[], Any]:
    """Return a compiled step over ``count`` States."""
    states = [library.ShortTermState(jnp.zeros(8)) for _ in range(count)]

    @library.transform.jit
    def step(x: Any) -> None:
        for state in states:
            state.value = state.value * 0.5 + x

    x = jnp.float32(1)

    def run() -> Any:
        step(x)
        return states[-1].value

    return run


def raw(count: int) -> Callable[[], Any]:
    """Return the same step on a tuple of arrays."""
    held = [(jnp.zeros(8),) * count]
    step = jax.jit(lambda values, x: tuple(v * 0.5 + x for v in values))
    x = jnp.float32(1)

    def run() -> Any:
        held[0] = step(held[0], x)
        return held[0][-1]

    return run


def ways(count: int) -> dict[str, Way]:
    """Return the ways of calling the step."""
    made = {MINE: stateful(brainir, count), BY_HAND: raw(count)}
    if (library := peer()) is not None:
        made[PEER] = stateful(library, count)
    return {name: Way(run) for name, run in made.items()}


def rows() -> Iterator[Row]:
    """Yield the rows."""
    for count in (1, 10, 100, 1000):
        name = f"{count} State{'s' * (count > 1)} of shape (8,): call"
        yield Row(name, partial(ways, count), pairs=21, repeat=max(5, 3000 // count))
