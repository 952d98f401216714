"""What a compiled call costs on K States of shape (8,): brainir.transform.jit, raw jax.jit on a
tuple, brainstate.

Run: ``python benchmarks/dispatch.py``
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from side_by_side import compare_outputs, peer, print_ratios, report_machine, time_ways

import brainir


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


def main() -> None:
    """Print a row for each number of States."""
    report_machine()
    for count in (1, 10, 100, 1000):
        ways = {"brainir": stateful(brainir, count), "jax.jit": raw(count)}
        if (library := peer()) is not None:
            ways["brainstate"] = stateful(library, count)
        compare_outputs(ways)
        print_ratios(f"{count} states", time_ways(ways, pairs=21, repeat=max(5, 3000 // count)))


if __name__ == "__main__":
    main()
