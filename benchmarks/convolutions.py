"""Spiking nets of convolutions, trained: as users of a library write them, and by hand."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

import brainir

from .machine import Work
from .nets import DECAY, SLOPE, spike_by_hand
from .side_by_side import BY_HAND, MINE, PEER, Row, Way, peer, surrogates

STEPS, LAYERS = 50, 2


def kernels(channels: int) -> list[Any]:
    """Return the kernels of all layers."""
    keys = jax.random.split(jax.random.key(0), LAYERS)
    shape = (channels, channels, 3, 3)
    return [0.9 * jax.random.normal(key, shape) / channels**0.5 for key in keys]


def through(v: Any, x: Any, kernel: Any) -> Any:
    """Return the potentials of a layer after a step, before they are reset."""
    return v * DECAY + jax.lax.conv(x, kernel, (1, 1), "SAME")


def with_states(library: Any, channels: int, shape: tuple[int, ...]) -> Any:
    """Return the gradient as users of a library write it."""
    params = [library.ParamState(kernel) for kernel in kernels(channels)]
    transform, spike = library.transform, surrogates(library).ReluGrad(alpha=SLOPE)

    def loss(xs: Any) -> Any:
        potentials = [library.HiddenState(jnp.zeros(shape)) for _ in params]

        def step(x: Any) -> Any:
            for V, kernel in zip(potentials, params, strict=True):
                v = through(V.value, x, kernel.value)
                x = spike(v - 1.0)
                V.value = v - x
            return x.mean()

        return (transform.for_loop(step, xs) ** 2).sum()

    def gradient(xs: Any) -> Any:
        return transform.grad(lambda: loss(xs), grad_states=params)()

    return transform.jit(gradient)


def by_hand(shape: tuple[int, ...]) -> Any:
    """Return the gradient as somebody writes it with jax alone."""
    spike = spike_by_hand()

    def loss(kernels: Any, xs: Any) -> Any:
        def step(potentials: Any, x: Any) -> Any:
            after: list[Any] = []
            for v, kernel in zip(potentials, kernels, strict=True):
                v = through(v, x, kernel)
                x = spike(v - 1.0)
                after.append(v - x)
            return after, x.mean()

        return (jax.lax.scan(step, [jnp.zeros(shape)] * LAYERS, xs)[1] ** 2).sum()

    return jax.jit(jax.grad(loss))


def ways(channels: int, size: int, rows: int) -> dict[str, Way]:
    """Return the ways of the gradient."""
    shape = (rows, channels, size, size)
    xs = (jax.random.uniform(jax.random.key(1), (STEPS, *shape)) < 0.2).astype(jnp.float32)
    made = {MINE: Way(with_states(brainir, channels, shape), (xs,))}
    made[BY_HAND] = Way(by_hand(shape), (kernels(channels), xs))
    if (library := peer()) is not None:
        made[PEER] = Way(with_states(library, channels, shape), (xs,))
    return made


def rows() -> Iterator[Row]:
    """Yield the rows."""
    for channels, size, count in ((16, 16, 1), (16, 16, 8), (32, 8, 4)):
        flops = 2.0 * 9 * LAYERS * STEPS * count * size**2 * channels**2
        name = f"{LAYERS} layers of {channels} channels of {size}x{size}, {STEPS} steps of {count}"
        name += f" row{'s' * (count > 1)}: training step"
        build = partial(ways, channels, size, count)
        yield Row(name, build, 1e-3, Work(3 * flops, 0.0, 2 * STEPS), 7)
