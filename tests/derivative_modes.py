"""Running a derivative in all ways in which a user can, to compare them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from brainir import transform


def in_all_ways(function: Callable[..., Any], *args: Any) -> list[Any]:
    """Return what a function returns outside jit, compiled, and as plain Python."""
    found = [function(*args), transform.jit(function)(*args)]
    with jax.disable_jit():
        found.append(function(*args))
    return found


def close(found: Any, expected: Any, rtol: float = 2e-5, atol: float = 1e-5) -> None:
    """Compare two pytrees, their structure too."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol, atol), found, expected)


def always(function: Callable[..., Any], expected: Any, *args: Any) -> None:
    """Compare what a function returns, in all ways to run it, with what is expected."""
    for found in in_all_ways(function, *args):
        close(found, expected)
