"""Functions of JAX that never heard of States, taken through the passes."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from ...passes import Options
from ..typing import Missing
from .binding import check_callable
from .jit import jit


def optimize(
    fun: Any = Missing,
    *,
    static_argnums: int | Iterable[int] | None = None,
    static_argnames: str | Iterable[str] | None = None,
    options: Options | None = None,
) -> Any:
    """Return a function of JAX that does the same in less time.

    It is traced with its loops, branches, derivatives and batching inside, and taken through all
    passes: products that need not wait for the step before leave their ``jax.lax.scan``, what is
    the same in each step is computed once, and so on. What comes back is compiled, and may be used
    inside `jax.jit`, `jax.grad`, `jax.vmap` and their kin. The more it does, the more can be
    gained: put it around the whole step of training, derivatives and all.

    Parameters
    ----------
    fun : callable
        A function of arrays, or containers of them. Left out, ``optimize`` returns a decorator.
    static_argnums, static_argnames : int, str, or iterables of them, optional
        Arguments that are Python values rather than arrays; they must be hashable.
    options : Options, optional
        What is asked of the compiler.

    Returns
    -------
    Jitted
        Called like ``fun``; its ``trace`` shows the graph.

    Raises
    ------
    TypeError
        If ``fun`` is not callable, or a result is not an array.

    Notes
    -----
    `transform.jit` does the same, and takes States along. Sums are taken in another order where
    products leave loops, so results agree up to rounding.

    Examples
    --------
    >>> import brainir, jax, jax.numpy as jnp
    >>> def loss(weight, xs):
    ...     def step(h, x):
    ...         h = jnp.tanh(h + x @ weight)
    ...         return h, h
    ...     return jax.lax.scan(step, jnp.zeros(4), xs)[1].mean()
    >>> train = brainir.optimize(jax.value_and_grad(loss))
    >>> value, gradient = train(jnp.ones((3, 4)), jnp.ones((5, 3)))
    >>> round(float(value), 4), gradient.shape
    (0.9985, (3, 4))
    >>> jax.vmap(brainir.optimize(loss), (None, 0))(jnp.ones((3, 4)), jnp.ones((2, 5, 3))).shape
    (2,)
    """
    if fun is Missing:
        return functools.partial(
            optimize,
            static_argnums=static_argnums,
            static_argnames=static_argnames,
            options=options,
        )
    check_callable("the function given to optimize", fun)
    return jit(fun, static_argnums=static_argnums, static_argnames=static_argnames, options=options)
