"""What many small States cost, in calls and in loops; by hand, they are tuples of arrays."""

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


# --- a gradient over many scalars -----------------------------------------------------------------

UNITS, STEPS = 60, 600


def follow(value: Any, rate: Any, current: Any, mean: Any) -> Any:
    """Return what a unit becomes, which follows the current and the mean of all."""
    return jnp.tanh(0.9 * value + rate * current + 0.1 * mean)


def rates() -> list[Any]:
    """Return what is trained."""
    return [jnp.float32(0.01 * i) for i in range(UNITS)]


def scalars(library: Any) -> Callable[..., Any]:
    """Return the gradient by the rates of all units, as users of a library write it."""
    units = [library.HiddenState(jnp.float32(0)) for _ in range(UNITS)]
    params = [library.ParamState(rate) for rate in rates()]
    transform = library.transform

    def step(current: Any) -> Any:
        mean = jnp.stack([unit.value for unit in units]).mean()
        for unit, rate in zip(units, params, strict=True):
            unit.value = follow(unit.value, rate.value, current, mean)
        return jnp.stack([unit.value for unit in units]).sum()

    def loss(currents: Any) -> Any:
        for unit in units:
            unit.value = jnp.float32(0)
        return transform.for_loop(step, currents).mean()

    gradient = transform.grad(loss, params)
    return transform.jit(lambda currents: jnp.stack(gradient(currents)))


def scalars_by_hand() -> Callable[..., Any]:
    """Return the same of a tuple of scalars."""

    def loss(params: tuple[Any, ...], currents: Any) -> Any:
        def step(units: tuple[Any, ...], current: Any) -> Any:
            mean = jnp.stack(units).mean()
            pairs = zip(units, params, strict=True)
            units = tuple(follow(unit, rate, current, mean) for unit, rate in pairs)
            return units, jnp.stack(units).sum()

        return jax.lax.scan(step, (jnp.float32(0),) * UNITS, currents)[1].mean()

    params = tuple(rates())
    return jax.jit(lambda currents: jnp.stack(jax.grad(loss)(params, currents)))


def gradients() -> dict[str, Way]:
    """Return the ways of computing the gradient."""
    currents = (jnp.sin(0.1 * jnp.arange(STEPS)),)
    made = {MINE: Way(scalars(brainir), currents), BY_HAND: Way(scalars_by_hand(), currents)}
    if (library := peer()) is not None:
        made[PEER] = Way(scalars(library), currents)
    return made


def rows() -> Iterator[Row]:
    """Yield the rows."""
    yield Row(f"{UNITS} scalar States, {STEPS} steps: gradient", gradients, pairs=7)
    for count in (1, 10, 100, 1000):
        name = f"{count} State{'s' * (count > 1)} of shape (8,): call"
        yield Row(name, partial(ways, count), pairs=21, repeat=max(5, 3000 // count))
