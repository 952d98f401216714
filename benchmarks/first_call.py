"""The first call of stacks of spiking layers: trace, passes, emit and compile.

Every measurement is a process of its own, so nothing is warm.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp

from .apart import Apart
from .nets import SLOPE, spike_by_hand
from .side_by_side import BY_HAND, MINE, PEER, surrogates

WIDTH, STEPS, DT, TAU = 64, 100, 0.1, 5.0


def stack(library: Any, layers: int) -> tuple[Any, Any]:
    """Return a stack of LIF layers as a user writes it, and its weights."""
    surrogate = surrogates(library)

    class Layer(library.nn.Dynamics):
        def __init__(self, seed: int) -> None:
            super().__init__(WIDTH)
            self.weight = library.ParamState(weight(seed))
            self.spike = surrogate.ReluGrad(alpha=SLOPE)
            self.V = library.HiddenState(jnp.zeros(WIDTH) * u.mV)

        def update(self, x: Any) -> Any:
            v = self.V.value
            v = v - 1.0 * u.mV * self.spike((v - 1.0 * u.mV) / (1.0 * u.mV))
            current = (x @ self.weight.value) * u.mA
            v = library.nn.exp_euler_step(lambda v: (-v + u.ohm * current) / (TAU * u.ms), v)
            self.V.value = v
            return self.spike((v - 1.0 * u.mV) / (1.0 * u.mV))

    made = [Layer(i) for i in range(layers)]

    def step(x: Any) -> Any:
        for layer in made:
            x = layer(x)
        return x

    return step, [layer.weight for layer in made]


def weight(seed: int) -> Any:
    """Return the weight of a layer."""
    return jax.random.normal(jax.random.key(seed), (WIDTH, WIDTH)) * 0.3


def by_hand(layers: int) -> tuple[Any, Any]:
    """Return the loss as somebody writes it with jax alone, and its weights."""
    spike = spike_by_hand()
    z = -DT / TAU

    def loss(weights: Any, xs: Any) -> Any:
        def step(potentials: Any, x: Any) -> Any:
            after: list[Any] = []
            for v, matrix in zip(potentials, weights, strict=True):
                v = v - spike(v - 1.0)
                v = v + jnp.expm1(z) / z * DT * (-v + x @ matrix) / TAU
                after.append(v)
                x = spike(v - 1.0)
            return after, x

        return jax.lax.scan(step, [jnp.zeros(WIDTH)] * layers, xs)[1].sum()

    return loss, [weight(i) for i in range(layers)]


def measure(layers: int, gradient: bool, way: str) -> dict[str, float]:
    """Return the seconds of a first call, in this process."""
    xs = (jax.random.uniform(jax.random.key(1), (STEPS, WIDTH)) < 0.3).astype(jnp.float32) * 9
    if way == BY_HAND:
        loss, weights = by_hand(layers)
        compiled: Any = partial(jax.jit(jax.grad(loss) if gradient else loss), weights)
    else:
        import importlib

        library: Any = importlib.import_module(way)
        library.environ.set(dt=DT * u.ms)
        step, weights = stack(library, layers)

        def run(xs: Any) -> Any:
            return library.transform.for_loop(step, xs).sum()

        asked = library.transform.grad(run, grad_states=weights) if gradient else run
        compiled = library.transform.jit(asked)
    start = time.perf_counter()
    jax.block_until_ready(compiled(xs))
    return {"seconds": time.perf_counter() - start}


def rows() -> Iterator[Apart]:
    """Yield the rows."""
    for layers in (16, 64):
        for gradient, what in ((False, "simulation"), (True, "gradient")):
            name = f"{layers} spiking layers of {WIDTH}, {STEPS} steps, {what}: first call"
            yield Apart(name, partial(measure, layers, gradient), (MINE, BY_HAND, PEER), 5)
