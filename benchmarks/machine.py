"""What the machine can do at best: rate of products, bandwidth, and the step of a loop.

A row that reaches the limit cannot become faster; one that is far from it can, somehow.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

import brainir


@dataclass(frozen=True)
class Work:
    """What no way of doing something can do without.

    Attributes
    ----------
    flops : float
        Of products of matrices.
    bytes : float
        That come from memory, or go there, but for those that a cache keeps between calls.
    steps : float
        That wait for one another.
    """

    flops: float = 0.0
    bytes: float = 0.0
    steps: float = 0.0


NOTHING = Work()

CACHE = 2**25
"""Bytes that need not come from memory again, if they are used again at once."""


@dataclass(frozen=True)
class Limits:
    """What was measured: flops and bytes in a second, and seconds of an empty step."""

    flops: float
    bytes: float
    step: float

    def seconds(self, work: Work) -> float:
        """Return the seconds that some work takes at least."""
        far = max(0.0, work.bytes - CACHE)
        return max(work.flops / self.flops, far / self.bytes, work.steps * self.step)

    @classmethod
    def measured(cls) -> Limits:
        """Measure the machine."""
        matrix, row = jnp.ones((2048, 2048)), jnp.ones(2**25)
        product, copy = jax.jit(lambda x: x @ x), jax.jit(lambda x: x + 1)

        def loop(x: Any) -> Any:
            return jax.lax.fori_loop(0, 100_000, lambda _, v: v * 0.9 + 1, x)

        # A step is a product and a sum that wait for the step before.
        loops = jax.jit(loop), brainir.optimize(loop)
        return cls(
            2 * 2048**3 / _fastest(lambda: product(matrix)),
            2 * row.nbytes / _fastest(lambda: copy(row)),
            min(_fastest(partial(run, 0.0)) for run in loops) / 1e5,
        )

    def __str__(self) -> str:
        return (
            f"{self.flops / 1e9:.0f} GFLOP/s of products, {self.bytes / 1e9:.0f} GB/s of memory, "
            f"{self.step * 1e9:.1f} ns for the step of a loop"
        )

    def as_dict(self) -> dict[str, float]:
        """Return its numbers by name."""
        return asdict(self)


def _fastest(run: Callable[[], Any]) -> float:
    seconds: list[float] = []
    for _ in range(9):
        start = time.perf_counter()
        jax.block_until_ready(run())
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def described() -> str:
    """Return what the numbers are measured on."""
    device = jax.devices()[0]
    what = _processor() if device.platform == "cpu" else device.device_kind
    return f"jax {jax.__version__} on {what}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(x.split(":", 1)[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        return "a CPU"
