"""Transformations used outside jit, warm: brainir and brainstate; and how often XLA compiles on the
second call.

Run: ``python benchmarks/eager.py``
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.monitoring
import jax.numpy as jnp
from side_by_side import compare_outputs, peer, print_ratios, report_machine, time_ways

import brainir


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


def compilations(run: Callable[[], Any]) -> int:
    """Return how often XLA compiles in one call."""
    count = 0

    def listen(event: str, duration_secs: float, **_: Any) -> None:
        nonlocal count
        count += event.endswith("backend_compile_duration")

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        jax.block_until_ready(run())
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    return count


def main() -> None:
    """Print a row for each transformation."""
    report_machine()
    mine = programs(brainir)
    theirs = programs(library) if (library := peer()) is not None else {}
    for name, run in mine.items():
        ways = {"brainir": run, **({"brainstate": theirs[name]} if theirs else {})}
        compare_outputs(ways)
        counts = {label: compilations(way) for label, way in ways.items()}
        print_ratios(name, time_ways(ways, pairs=9))
        print(f"{'':34} XLA compilations on a warm call: {counts}")


if __name__ == "__main__":
    main()
