"""Timing two or three ways of doing the same work, side by side in one process.

Runs alternate (A B A B ...), so that a drift of the machine's speed hits both; what is reported is
the median of the ratios pair by pair, with its quartiles. Outputs are compared before anything is
timed.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

Ways = Mapping[str, Callable[[], Any]]


def peer() -> Any:
    """Return brainstate, which brainir is compared with where it is installed, or None."""
    try:
        import brainstate  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    return brainstate


def report_machine() -> None:
    """Print what the numbers below were measured on."""
    load = os.getloadavg()[0]
    print(
        f"jax {jax.__version__} on {jax.default_backend()}, {os.cpu_count()} cores, load {load:.1f}"
    )


def compare_outputs(ways: Ways, tolerance: float = 1e-5) -> None:
    """Check that all ways compute the same.

    Raises
    ------
    AssertionError
        If they do not.
    """
    outputs = {name: [np.asarray(x) for x in jax.tree.leaves(run())] for name, run in ways.items()}
    names = list(outputs)
    for name in names[1:]:
        for a, b in zip(outputs[names[0]], outputs[name], strict=True):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=name)


def time_ways(ways: Ways, pairs: int = 15, repeat: int = 1) -> dict[str, np.ndarray[Any, Any]]:
    """Return seconds for one call of each way, one entry a round."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for run in ways.values():
        jax.block_until_ready(run())
    gc.collect()
    for _ in range(pairs):
        for name, run in ways.items():
            start = time.perf_counter()
            for _ in range(repeat - 1):
                run()
            jax.block_until_ready(run())
            seconds[name].append((time.perf_counter() - start) / repeat)
    return {name: np.array(values) for name, values in seconds.items()}


def print_ratios(title: str, seconds: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Print the median time of the first way, and its ratio to each of the others."""
    (mine, first), *others = seconds.items()
    parts = [f"{mine} {np.median(first) * 1e6:,.1f} us"]
    for name, values in others:
        low, middle, high = np.percentile(first / values, [25, 50, 75])
        parts.append(f"/ {name}: {middle:.2f} [{low:.2f}, {high:.2f}]")
    print(f"{title:34} {'   '.join(parts)}")
