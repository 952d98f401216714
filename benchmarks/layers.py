"""A stack of spiking layers, simulated and trained: brainir, a scan by hand, brainstate.

In each step, a row or a few go through every layer; brainir takes the products out of the loop
over the steps. The last size has too many rows for that to pay.

Run: ``python benchmarks/layers.py``
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from side_by_side import compare_outputs, peer, print_ratios, report_machine, time_ways

import brainir

DECAY, SLOPE = 0.9, 0.3
SIZES = ((500, 1, 64, 3), (500, 1, 512, 3), (100, 4, 64, 16), (100, 8, 512, 3), (100, 128, 256, 3))
"""Steps, rows, neurons, layers."""

Ways = dict[str, Callable[[], Any]]


def weights_of(layers: int, width: int) -> list[Any]:
    """Return weights that keep about a third of the neurons spiking."""
    keys = jax.random.split(jax.random.key(0), layers)
    return [2 * jax.random.normal(key, (width, width)) / width**0.5 for key in keys]


def with_states(library: Any, surrogate: Any, weights: list[Any], rows: int) -> list[Any]:
    """Return the simulation and the gradient as users of a library write them."""
    params = [library.ParamState(weight) for weight in weights]
    transform, spike = library.transform, surrogate.ReluGrad(alpha=SLOPE)

    def simulate(xs: Any) -> Any:
        zeros = jnp.zeros((rows, xs.shape[-1]))
        potentials = [library.HiddenState(zeros) for _ in weights]

        def step(x: Any) -> Any:
            for V, weight in zip(potentials, params, strict=True):
                v = V.value * DECAY + x @ weight.value
                x = spike(v - 1.0)
                V.value = v - x
            return x

        return transform.for_loop(step, xs).sum(0)

    def gradient(xs: Any) -> Any:
        return transform.grad(lambda: simulate(xs).sum(), grad_states=params)()

    return [transform.jit(simulate), transform.jit(gradient)]


def by_hand(weights: list[Any], rows: int) -> list[Any]:
    """Return both as somebody writes them with jax alone."""

    @jax.custom_jvp
    def spike(x: Any) -> Any:
        return (x >= 0).astype(jnp.float32)

    def rule(primals: Any, tangents: Any) -> Any:
        slope = jnp.maximum(SLOPE * (1 - jnp.abs(primals[0])), 0)
        return spike(primals[0]), tangents[0] * slope

    spike.defjvp(rule)

    def simulate(weights: Any, xs: Any) -> Any:
        def step(potentials: Any, x: Any) -> Any:
            after: list[Any] = []
            for v, weight in zip(potentials, weights, strict=True):
                v = v * DECAY + x @ weight
                x = spike(v - 1.0)
                after.append(v - x)
            return after, x

        zeros = [jnp.zeros((rows, xs.shape[-1])) for _ in weights]
        return jax.lax.scan(step, zeros, xs)[1].sum(0)

    compiled = (jax.jit(simulate), jax.jit(jax.grad(lambda w, xs: simulate(w, xs).sum())))
    return [partial(f, weights) for f in compiled]


def megabytes(lowered: jax.stages.Lowered) -> float:
    """Return the memory that a function needs besides arguments and results."""
    found = lowered.compile().memory_analysis()
    assert found is not None
    return found.temp_size_in_bytes / 2**20


def main() -> None:
    """Print a row for each size, simulated and differentiated."""
    report_machine()
    for steps, rows, width, layers in SIZES:
        weights = weights_of(layers, width)
        xs = (jax.random.uniform(jax.random.key(1), (steps, rows, width)) < 0.3).astype(jnp.float32)
        made = {"brainir": with_states(brainir, brainir.surrogate, weights, rows)}
        made["lax.scan"] = by_hand(weights, rows)
        if (library := peer()) is not None:
            from braintools import surrogate  # pyright: ignore[reportMissingImports]

            made["brainstate"] = with_states(library, surrogate, weights, rows)
        for i, what in enumerate(("simulate", "gradient")):
            ways: Ways = {name: lambda f=f[i], xs=xs: f(xs) for name, f in made.items()}
            compare_outputs(ways, 1e-3)
            name = f"{steps} steps, {rows} rows, {layers} layers of {width}: {what}"
            print_ratios(name, time_ways(ways, pairs=9))
        hand = made["lax.scan"][1]
        ours = megabytes(made["brainir"][1].lower(xs))
        theirs = megabytes(hand.func.lower(*hand.args, xs))
        print(f"  memory: {ours:.1f} MiB, by hand {theirs:.1f} MiB, ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    main()
