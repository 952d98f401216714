"""Transformations that are used outside of `jit`, warm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax.numpy as jnp

import brainir

from .side_by_side import MINE, PEER, Row, Way, peer

CALLS = ("for_loop", "cond", "while_loop", "grad(for_loop)")


def programs(library: Any) -> dict[str, Callable[[], Any]]:
    """Return the calls that are timed, for one library."""
    transform = library.transform
    total = library.ShortTermState(jnp.zeros(8))
    weight = library.ParamState(jnp.ones(8))
    xs = jnp.linspace(0.0, 1.0, 200)

    def step(x: Any) -> Any:
        total.value = total.value * 0.9 + weight.value * x
        return total.value.sum()

    def loss() -> Any:
        return transform.for_loop(step, xs).sum()

    def fresh(run: Callable[[], Any]) -> Callable[[], Any]:
        def call() -> Any:
            total.value = jnp.zeros(8)
            return run()

        return call

    return {
        "for_loop": fresh(lambda: transform.for_loop(step, xs)),
        "cond": lambda: transform.cond(xs[0] > 0.5, lambda x: x * 2, lambda x: x / 2, xs),
        "while_loop": lambda: transform.while_loop(lambda x: x[0] < 1e3, lambda x: x * 2, xs + 1),
        "grad(for_loop)": fresh(transform.grad(loss, grad_states=[weight])),
    }


def ways(name: str) -> dict[str, Way]:
    """Return the ways of a call."""
    made = {MINE: Way(programs(brainir)[name])}
    if (library := peer()) is not None:
        made[PEER] = Way(programs(library)[name])
    return made


def rows() -> Iterator[Row]:
    """Yield the rows."""
    for name in CALLS:
        yield Row(f"{name} outside of jit: call", partial(ways, name), pairs=9)
