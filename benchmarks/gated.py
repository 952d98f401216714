"""Recurrent nets of gated units, trained: as users of a library write them, and by hand."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

import brainir

from .machine import Work
from .side_by_side import BY_HAND, MINE, PEER, Row, Way, peer

STEPS, WIDTH, LAYERS = 128, 128, 2
GATES = {"GRU": 3, "LSTM": 4}


def gru(x: Any, held: tuple[Any, ...], inputs: Any, within: Any) -> tuple[Any, ...]:
    """Return the next state of gated recurrent units (K. Cho et al., 2014)."""
    (h,) = held
    a, b = x @ inputs, h @ within
    reset = jax.nn.sigmoid(a[:, :WIDTH] + b[:, :WIDTH])
    update = jax.nn.sigmoid(a[:, WIDTH : 2 * WIDTH] + b[:, WIDTH : 2 * WIDTH])
    new = jnp.tanh(a[:, 2 * WIDTH :] + reset * b[:, 2 * WIDTH :])
    return ((1 - update) * new + update * h,)


def lstm(x: Any, held: tuple[Any, ...], inputs: Any, within: Any) -> tuple[Any, ...]:
    """Return the next state of units with a long memory (S. Hochreiter, J. Schmidhuber, 1997)."""
    h, c = held
    i, f, o, g = jnp.split(x @ inputs + h @ within, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


UNITS = {"GRU": (gru, 1), "LSTM": (lstm, 2)}


def weights(kind: str) -> list[Any]:
    """Return the weights of all layers: by the input, and by what the layer did before."""
    keys = jax.random.split(jax.random.key(0), 2 * LAYERS)
    return [jax.random.normal(k, (WIDTH, GATES[kind] * WIDTH)) / WIDTH**0.5 for k in keys]


def with_states(library: Any, kind: str, rows: int) -> Any:
    """Return the gradient as users of a library write it."""
    params = [library.ParamState(weight) for weight in weights(kind)]
    transform, (unit, count) = library.transform, UNITS[kind]

    def loss(xs: Any) -> Any:
        zeros = jnp.zeros((rows, WIDTH))
        layers = [[library.HiddenState(zeros) for _ in range(count)] for _ in range(LAYERS)]

        def step(x: Any) -> Any:
            for i, held in enumerate(layers):
                matrices = params[2 * i].value, params[2 * i + 1].value
                after = unit(x, tuple(state.value for state in held), *matrices)
                for state, value in zip(held, after, strict=True):
                    state.value = value
                x = after[0]
            return x

        return (transform.for_loop(step, xs) ** 2).mean()

    def gradient(xs: Any) -> Any:
        return transform.grad(lambda: loss(xs), grad_states=params)()

    return transform.jit(gradient)


def by_hand(kind: str, rows: int) -> Any:
    """Return the gradient as somebody writes it with jax alone."""
    unit, count = UNITS[kind]

    def loss(weights: Any, xs: Any) -> Any:
        def step(carry: Any, x: Any) -> Any:
            after: list[Any] = []
            for i, held in enumerate(carry):
                after.append(unit(x, held, weights[2 * i], weights[2 * i + 1]))
                x = after[-1][0]
            return after, x

        start = [(jnp.zeros((rows, WIDTH)),) * count] * LAYERS
        return (jax.lax.scan(step, start, xs)[1] ** 2).mean()

    return jax.grad(loss)


def ways(kind: str, rows: int) -> dict[str, Way]:
    """Return the ways of the gradient."""
    xs = jax.random.normal(jax.random.key(1), (STEPS, rows, WIDTH))
    made = {MINE: Way(with_states(brainir, kind, rows), (xs,))}
    made[BY_HAND] = Way(jax.jit(by_hand(kind, rows)), (weights(kind), xs))
    if (library := peer()) is not None:
        made[PEER] = Way(with_states(library, kind, rows), (xs,))
    return made


def optimized(kind: str, rows: int) -> dict[str, Way]:
    """Return the gradient that was written with jax alone, as it is, and taken through brainir."""
    xs = jax.random.normal(jax.random.key(1), (STEPS, rows, WIDTH))
    gradient, args = by_hand(kind, rows), (weights(kind), xs)
    return {MINE: Way(brainir.optimize(gradient), args), BY_HAND: Way(jax.jit(gradient), args)}


def rows() -> Iterator[Row]:
    """Yield the rows."""
    for kind, gates in GATES.items():
        for count in (1, 8, 32):
            elements = LAYERS * 2 * WIDTH * gates * WIDTH
            work = Work(6.0 * STEPS * count * elements, 12.0 * elements, 2 * STEPS)
            rows = f"{count} row{'s' * (count > 1)}"
            name = f"{kind}, {LAYERS} layers of {WIDTH}, {STEPS} steps of {rows}"
            yield Row(f"{name}: training step", partial(ways, kind, count), 1e-3, work, 9)
        name = f"{kind}, {LAYERS} layers of {WIDTH}, {STEPS} steps of 8 rows: training step of "
        name += "plain JAX through brainir.optimize"
        yield Row(name, partial(optimized, kind, 8), 1e-3, pairs=9)
