"""How many numbers a model learns."""

from __future__ import annotations

import math
from typing import Any

import jax

from ...state import ParamState, State
from ..module import Module

__all__ = ["count_parameters"]


def count_parameters(module: Module, precision: int = 2, return_table: bool = False) -> Any:
    """Print how many numbers each ``ParamState`` of a model holds, and return their sum.

    Parameters
    ----------
    module : Module
        The model. A state that it shares counts once.
    precision : int
        How many decimals the printed numbers have, in thousands or millions.
    return_table : bool
        Whether to return the printed text, too.

    Returns
    -------
    int, or tuple of str and int
        The sum, after the text if it is asked for.

    Raises
    ------
    TypeError
        If `module` is not a module.

    Examples
    --------
    >>> import brainir
    >>> net = brainir.nn.Sequential(brainir.nn.Linear(300, 200), brainir.nn.ReLU())
    >>> brainir.nn.count_parameters(net)
    state             parameters
    layers.0.weight       60.20K
    total                 60.20K
    60200
    """
    if not isinstance(module, Module):
        raise TypeError(f"count_parameters needs a Module, not {type(module).__name__}")
    counts = {
        ".".join(map(str, path)): sum(math.prod(leaf.shape) for leaf in _arrays(state))
        for path, state in module.states(ParamState).items()
    }
    total = sum(counts.values())
    rows = [("state", "parameters")]
    rows += [(name, _short(n, precision)) for name, n in (*counts.items(), ("total", total))]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    table = "\n".join(f"{name:<{widths[0]}}   {n:>{widths[1]}}" for name, n in rows)
    print(table)
    return (table, total) if return_table else total


def _arrays(state: State) -> list[jax.ShapeDtypeStruct]:
    return jax.tree.leaves(jax.eval_shape(lambda: state.value))


def _short(n: int, precision: int) -> str:
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "K")):
        if n >= size:
            return f"{n / size:.{precision}f}{letter}"
    return str(n)
