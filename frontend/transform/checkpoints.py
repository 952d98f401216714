"""`checkpoint`: compute again in the reverse pass rather than keep."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import jax

from ..capture import name_of
from ..program import in_capture
from ..typing import Missing
from . import plain
from .arguments import Arguments
from .binding import bind_call, check_callable


def checkpoint(
    fun: Any = Missing,
    *,
    prevent_cse: bool = True,
    policy: Callable[..., bool] | None = None,
    static_argnums: int | Iterable[int] = (),
) -> Any:
    """Return a function whose intermediate values a reverse pass computes again.

    Gradients are those of the function itself; they take its time once more, and only the memory of
    its arguments, of the States that it reads and of what it returns. States that it writes are
    written once, in the forward pass; random numbers are the same in both runs.

    Parameters
    ----------
    fun : callable
        A function, method or Module, which may read and write States. Left out, ``checkpoint``
        returns a decorator.
    prevent_cse : bool
        Whether the compiler is kept from merging the second run with the first one, which would
        keep what was to be computed again. Inside a loop nothing is merged anyway.
    policy : callable, optional
        What may be kept: ``jax.checkpoint_policies.nothing_saveable``, as by default, or
        ``everything_saveable``, with which the function is as if it had no checkpoint.
    static_argnums : int or iterable of int
        Arguments that are Python values rather than arrays.

    Returns
    -------
    callable
        Called like ``fun``; keyword arguments are arrays.

    Raises
    ------
    TypeError
        If ``fun`` is not callable, or an argument is not an array.
    ValueError
        If an argument number is invalid.
    NotImplementedError
        For other policies.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> T = brainir.transform
    >>> wave = T.checkpoint(lambda x: jnp.sin(jnp.sin(x)))
    >>> T.grad(wave)(1.0) == T.grad(lambda x: jnp.sin(jnp.sin(x)))(1.0)
    Array(True, dtype=bool)
    """
    if fun is Missing:
        return functools.partial(
            checkpoint, prevent_cse=prevent_cse, policy=policy, static_argnums=static_argnums
        )
    check_callable("the function given to checkpoint", fun)
    keeps_all = _keeps_all(policy)
    arguments, name = Arguments(fun, static_argnums, (), ()), name_of(fun)

    @functools.wraps(fun, updated=())
    def run(*args: Any, **kwargs: Any) -> Any:
        if keeps_all or plain.jit_is_disabled():
            return fun(*args, **kwargs)
        closed = arguments.closed(args, kwargs)

        def bind(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            attrs = {"prevent_cse": bool(prevent_cse)}
            return bind_call("checkpoint", attrs, closed, args, kwargs, name)

        return in_capture(bind, *arguments.dynamic(args, kwargs), name=name)

    return run


def _keeps_all(policy: Callable[..., bool] | None) -> bool:
    """Whether a policy lets everything be kept.

    Raises
    ------
    NotImplementedError
        If it neither keeps everything nor nothing.
    """
    policies = jax.checkpoint_policies
    if policy is policies.everything_saveable:
        return True
    if policy is None or policy is policies.nothing_saveable:
        return False
    raise NotImplementedError(
        "checkpoint keeps everything or nothing: its policy is nothing_saveable or "
        f"everything_saveable of jax.checkpoint_policies, not {name_of(policy)}"
    )


remat = checkpoint
"""The name that older code has for `checkpoint`."""
