"""Peak compiled memory and time of the gradient of a recurrent spiking net: brainir, and jax.grad
of a scan by hand.

Run: ``python benchmarks/gradient_memory.py``
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from side_by_side import compare_outputs, print_ratios, report_machine, time_ways

import brainir

INPUTS, WIDTH, BATCH = 100, 256, 16
spike = brainir.surrogate.Sigmoid()


def step_of(v: Any, s: Any, x: Any, w_in: Any, w_rec: Any) -> tuple[Any, Any]:
    """Return the next potential and spikes of a recurrent layer of LIF neurons."""
    v = 0.9 * v * (1 - s) + x @ w_in + s @ w_rec
    return v, spike(v - 1.0)


def data(steps: int) -> tuple[Any, Any, Any]:
    """Return input spikes and weights."""
    keys = jax.random.split(jax.random.key(0), 3)
    xs = (jax.random.uniform(keys[0], (steps, BATCH, INPUTS)) < 0.1).astype(jnp.float32)
    w_in = jax.random.normal(keys[1], (INPUTS, WIDTH)) * 0.3
    return xs, w_in, jax.random.normal(keys[2], (WIDTH, WIDTH)) * 0.05


def by_hand(xs: Any, w_in: Any, w_rec: Any) -> Any:
    """Return gradients as somebody writes them with jax alone."""

    def loss(weights: Any) -> Any:
        def step(carry: Any, x: Any) -> Any:
            v, s = step_of(carry[0], carry[1], x, weights[0], weights[1])
            return (v, s), s.mean()

        zeros = jnp.zeros((BATCH, WIDTH))
        return jax.lax.scan(step, (zeros, zeros), xs)[1].mean()

    return jax.grad(loss)((w_in, w_rec))


def with_states(w_in: Any, w_rec: Any) -> Any:
    """Return gradients as a user of brainir writes them."""
    weights = [brainir.ParamState(w_in), brainir.ParamState(w_rec)]

    def loss(xs: Any) -> Any:
        v = brainir.HiddenState(jnp.zeros((BATCH, WIDTH)))
        s = brainir.HiddenState(jnp.zeros((BATCH, WIDTH)))

        def step(x: Any) -> Any:
            v.value, s.value = step_of(v.value, s.value, x, *(w.value for w in weights))
            return s.value.mean()

        return brainir.transform.for_loop(step, xs).mean()

    return brainir.transform.jit(brainir.transform.grad(loss, grad_states=weights))


def peak(compiled: Any) -> int:
    """Return the bytes that XLA plans to hold besides arguments and results."""
    return compiled.memory_analysis().temp_size_in_bytes


def main() -> None:
    """Print a row for each number of steps."""
    report_machine()
    for steps in (100, 1000):
        xs, *weights = data(steps)
        mine, hand = with_states(*weights), jax.jit(by_hand)
        sizes = peak(mine.lower(xs).compile()), peak(hand.lower(xs, *weights).compile())
        ways: dict[str, Callable[[], Any]] = {
            "brainir": lambda mine=mine, xs=xs: mine(xs),
            "jax.grad of scan": lambda hand=hand, xs=xs, w=weights: hand(xs, *w),
        }
        compare_outputs(ways, 1e-4)
        print(
            f"{steps} steps: {sizes[0] / 2**20:.1f} MiB, by hand {sizes[1] / 2**20:.1f} MiB, "
            f"ratio {sizes[0] / sizes[1]:.2f}"
        )
        print_ratios(f"{steps} steps, time", time_ways(ways, pairs=7))


if __name__ == "__main__":
    main()
