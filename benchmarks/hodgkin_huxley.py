"""A sweep of Hodgkin and Huxley's neuron over currents: exponentials in every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

import brainir

from .machine import Work
from .side_by_side import BY_HAND, MINE, PEER, Row, Way, peer

DT = 0.01
START = (-65.0, 0.05, 0.6, 0.32)


def advance(V: Any, m: Any, h: Any, n: Any, current: Any) -> tuple[Any, ...]:
    """Return potential and gates after a step of Euler, in mV and ms."""
    opening = 0.1 * (V + 40) / (1 - jnp.exp(-(V + 40) / 10)), 4 * jnp.exp(-(V + 65) / 18)
    closing = 0.07 * jnp.exp(-(V + 65) / 20), 1 / (1 + jnp.exp(-(V + 35) / 10))
    potassium = 0.01 * (V + 55) / (1 - jnp.exp(-(V + 55) / 10)), 0.125 * jnp.exp(-(V + 65) / 80)
    gates = ((m, opening), (h, closing), (n, potassium))
    m, h, n = (x + DT * (up * (1 - x) - down * x) for x, (up, down) in gates)
    leak = 120 * m**3 * h * (V - 50) + 36 * n**4 * (V + 77) + 0.3 * (V + 54.4)
    return V + DT * (current - leak), m, h, n


def stateful(library: Any, lanes: int, length: int) -> Callable[[Any], Any]:
    """Return the simulation as a user of a library writes it."""
    held = [library.HiddenState(jnp.full(lanes, value)) for value in START]

    def simulate(currents: Any) -> Any:
        for state, value in zip(held, START, strict=True):
            state.value = jnp.full(lanes, value)

        def step(_: Any) -> Any:
            V, m, h, n = (state.value for state in held)
            values = advance(V, m, h, n, currents)
            for state, value in zip(held, values, strict=True):
                state.value = value
            return held[0].value

        return library.transform.for_loop(step, jnp.arange(length))

    return library.transform.jit(simulate)


def by_hand(lanes: int, length: int) -> Callable[[Any], Any]:
    """Return the simulation as a scan."""

    def simulate(currents: Any) -> Any:
        def step(values: Any, _: Any) -> Any:
            V, m, h, n = values
            values = advance(V, m, h, n, currents)
            return values, values[0]

        start = tuple(jnp.full(lanes, value) for value in START)
        return jax.lax.scan(step, start, None, length=length)[1]

    return jax.jit(simulate)


def ways(lanes: int, length: int) -> dict[str, Way]:
    """Return the ways of a sweep."""
    currents = jnp.linspace(0, 20, lanes)
    made = {MINE: stateful(brainir, lanes, length), BY_HAND: by_hand(lanes, length)}
    if (library := peer()) is not None:
        made[PEER] = stateful(library, lanes, length)
    return {name: Way(run, (currents,)) for name, run in made.items()}


def rows() -> Iterator[Row]:
    """Yield the row: what no way can do without are the potentials that it returns."""
    lanes, length = 1000, 500
    name = f"Hodgkin and Huxley's neuron, {lanes} lanes, {length} steps: simulation"
    work = Work(bytes=4.0 * lanes * length, steps=length)
    yield Row(name, partial(ways, lanes, length), 1e-3, work, repeat=5)
