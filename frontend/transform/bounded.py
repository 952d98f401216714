"""`bounded_while_loop`: a while loop that gradients can go through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from . import plain
from .binding import check_callable, check_count
from .branches import cond
from .checkpoints import checkpoint
from .loops import check_condition, scan


def bounded_while_loop(
    cond_fun: Callable[[Any], Any],
    body_fun: Callable[[Any], Any],
    init_val: Any,
    *,
    max_steps: int,
    base: int = 16,
) -> Any:
    """Run ``val = body_fun(val)`` as long as ``cond_fun(val)`` is true, but only so many times.

    Since the number of steps is bounded, gradients can go back through them, and under `vmap` each
    lane stops by itself. Steps are grouped by ``base``, groups by ``base`` again, and so on. A
    group in which nothing is left to do is passed over, and the reverse pass computes a group again
    rather than keep its steps.

    Parameters
    ----------
    cond_fun : callable
        Takes the value and returns one boolean. It may read States but not write them.
    body_fun : callable
        Takes the value and returns the next, of the same structure and types. States are carried.
    init_val : pytree
        The first value.
    max_steps : int
        How many steps are run at the most.
    base : int
        How many steps, or groups, make a group; at least 2.

    Returns
    -------
    pytree of arrays
        The last value.

    Raises
    ------
    TypeError
        If the condition is not a boolean scalar, or the value changes its type.
    ValueError
        If the condition writes a State, ``max_steps`` is not a Python integer of at least 0, or
        ``base`` not one of at least 2.

    Notes
    -----
    To keep a value for each group of groups, and compute the rest again, is the idea of A.
    Griewank, *Achieving logarithmic growth of temporal and spatial complexity in reverse automatic
    differentiation*, 1992; here with groups of one size, in which a step is computed once more for
    each level of them.

    Examples
    --------
    >>> import brainir
    >>> T = brainir.transform
    >>> def double_up(x):
    ...     return T.bounded_while_loop(lambda x: x < 100.0, lambda x: 2 * x, x, max_steps=20)
    >>> T.grad(double_up, return_value=True)(3.0)
    (Array(64., dtype=float32), Array(192., dtype=float32))
    """
    check_callable("cond_fun of bounded_while_loop", cond_fun)
    check_callable("body_fun of bounded_while_loop", body_fun)
    check_count("max_steps of bounded_while_loop", max_steps, 0)
    check_count("base of bounded_while_loop", base, 2)
    init_val = jax.tree.map(jnp.asarray, init_val)
    if not max_steps:
        return init_val
    if plain.jit_is_disabled() and plain.is_concrete(first := cond_fun(init_val)):
        return _plain(cond_fun, body_fun, init_val, first, max_steps)
    levels = 1
    while base**levels < max_steps:
        levels += 1

    def goes_on(carry: Any) -> Any:
        left, val = carry
        return (left > 0) & check_condition("bounded_while_loop", cond_fun, val)

    def step(carry: Any) -> Any:
        left, val = carry
        return left - 1, body_fun(val)

    run = step
    for _ in range(levels):
        run = checkpoint(_group(goes_on, run, base))
    return run((jnp.int32(max_steps), init_val))[1]


def _group(
    goes_on: Callable[[Any], Any], inner: Callable[[Any], Any], size: int
) -> Callable[[Any], Any]:
    """Return what runs up to ``size`` times what stands for one or several steps."""

    def once(carry: Any, _: Any) -> tuple[Any, None]:
        return cond(goes_on(carry), inner, lambda carry: carry, carry), None

    return lambda carry: scan(once, carry, None, length=size)[0]


def _plain(
    cond_fun: Callable[[Any], Any],
    body_fun: Callable[[Any], Any],
    val: Any,
    goes_on: Any,
    max_steps: int,
) -> Any:
    for _ in range(max_steps):
        if not goes_on:
            break
        val = body_fun(val)
        goes_on = cond_fun(val)
    return val
