"""Names for pieces of a computation: graphs show them, and so do XLA and its profiles."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax

from ..capture import name_of
from .binding import check_callable


def named_call(fun: Callable[..., Any] | None = None, *, name: str | None = None) -> Any:
    """Return a function that does the same under a name.

    Locations in graphs show the name, and so do XLA's programs and profiles.

    Parameters
    ----------
    fun : callable, optional
        What gets a name. Left out, ``named_call`` returns a decorator.
    name : str, optional
        The name; by default that of the function.

    Raises
    ------
    TypeError
        If ``fun`` is not callable or ``name`` is not a string.

    Examples
    --------
    >>> import brainir
    >>> @brainir.transform.named_call(name="squares")
    ... def f(x):
    ...     return x * x
    >>> brainir.transform.jit(f).trace(2.0).graph().nodes[0].loc.scope
    'squares'
    """
    if fun is None:
        return functools.partial(named_call, name=name)
    check_callable("the function given to named_call", fun)
    return _under(name_of(fun) if name is None else name, fun)


def named_scope(
    name: str, static_argnums: Any = None, static_argnames: Any = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that lets a function do the same under a name; see `named_call`.

    Parameters
    ----------
    name : str
        The name.
    static_argnums, static_argnames
        Accepted for compatibility: a name does not ask which arguments are arrays.

    Raises
    ------
    TypeError
        If ``name`` is not a string.

    Examples
    --------
    >>> import brainir
    >>> brainir.transform.named_scope("twice")(lambda x: x + x)(2.0)
    4.0
    """
    if not isinstance(name, str):
        raise TypeError(f"a name is a string, not {name!r}")
    return functools.partial(named_call, name=name)


def _under(name: str, fun: Callable[..., Any]) -> Callable[..., Any]:
    if not isinstance(name, str):
        raise TypeError(f"a name is a string, not {name!r}")

    @functools.wraps(fun)
    def named(*args: Any, **kwargs: Any) -> Any:
        with jax.named_scope(name):
            return fun(*args, **kwargs)

    return named
