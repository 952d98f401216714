"""Runtime checks: errors that are raised where a compiled function is called."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import checkify as jax_checkify

from ..capture import Site, Sites, gather_checks, name_of, plant
from ..capture import check as check_here
from ..program import in_capture
from .binding import check_callable

user_checks = jax_checkify.user_checks
"""What `check` says."""

nan_checks = jax_checkify.nan_checks
"""Operations that give a NaN."""

div_checks = jax_checkify.div_checks
"""Divisions by zero."""

index_checks = jax_checkify.index_checks
"""Reading or writing outside of an array."""

float_checks = jax_checkify.float_checks
"""`nan_checks` and `div_checks`."""

automatic_checks = jax_checkify.automatic_checks
"""`float_checks` and `index_checks`."""

all_checks = jax_checkify.all_checks
"""`automatic_checks` and `user_checks`."""

_KINDS = {
    "user": user_checks,
    "debug": user_checks,
    "nan": nan_checks,
    "div": div_checks,
    "index": index_checks,
}


def jit_error_if(pred: Any, error: Any, *args: Any, **kwargs: Any) -> None:
    """Raise an error if a value is true that may be known only when the compiled program runs.

    The error is raised by the call of whatever was compiled or transformed, as the exception that
    it is; no State of that call is written. In a loop it is that of the first step that fails, in
    lanes that of the first lane, in a branch only if that branch runs. A ``while_loop`` ends when
    a check in it fails, other code runs on. Programs without checks cost nothing for it.

    Parameters
    ----------
    pred : array-like of bool
        Of any shape; one true entry is enough.
    error : str, exception, exception class or callable
        A string is the message of a `ValueError`, formatted with the arguments: by ``%`` if it has
        that, or by `str.format`. A class is called with the arguments. So is any other callable,
        which raises, or returns what is to be raised; if it does neither, the call goes on.
    *args, **kwargs : pytrees
        Handed to the error, with numpy scalars and arrays in place of traced ones.

    Raises
    ------
    TypeError
        If ``error`` is nothing of these.

    Notes
    -----
    Under a plain JAX transformation around everything of ours, such as ``jax.jit``, a callback
    raises while the compiled code runs, so that JAX turns the error into its own. Checks in the
    backward rule of a ``jax.custom_vjp`` are refused.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> @brainir.transform.jit
    ... def root(x):
    ...     brainir.transform.jit_error_if(x < 0, "no root of {}", x)
    ...     return jnp.sqrt(x)
    >>> root(4.0)
    Array(2., dtype=float32, weak_type=True)
    >>> root(-4.0)
    Traceback (most recent call last):
        ...
    ValueError: no root of -4.0
    ...
    """
    check_here(pred, _raiser(error), args, kwargs)


def _raiser(error: Any) -> Callable[..., Any]:
    """Return what makes an exception of the arguments of a check."""
    if isinstance(error, str):
        return lambda *args, **kwargs: ValueError(formatted(error, args, kwargs))
    if isinstance(error, BaseException):
        return lambda *args, **kwargs: error
    if not callable(error):
        raise TypeError(f"an error is a message, an exception or a callable, not {error!r}")
    return error


def formatted(message: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Return a message filled in by ``%`` or `str.format`; as it stands, if it fits neither."""
    if args and not kwargs:
        try:
            return message % args
        except (TypeError, ValueError):
            pass  # then it is for str.format
    if not args and not kwargs:
        return message
    try:
        return message.format(*args, **kwargs)
    except (IndexError, KeyError, ValueError, AttributeError, TypeError):
        return f"{message} {args or ''}{kwargs or ''}"


# --- checks that are gathered ---------------------------------------------------------------------


def check(pred: Any, msg: str, *args: Any, debug: bool = False, **kwargs: Any) -> None:
    """Check that a value is true, which may be known only when the compiled program runs.

    Inside `checkify` a failure becomes part of the error value that is returned; elsewhere it is
    raised, as `jit_error_if` does.

    Parameters
    ----------
    pred : array-like of bool
        All entries must be true.
    msg : str
        What is wrong otherwise; formatted as by `jit_error_if`.
    *args, **kwargs : pytrees
        What the message shows.
    debug : bool
        Whether only `checkify` looks at it.

    Raises
    ------
    TypeError
        If ``msg`` is not a string.
    jax.experimental.checkify.JaxRuntimeError
        A `ValueError`: what is raised.

    Examples
    --------
    >>> import brainir
    >>> brainir.transform.check(1 > 0, "one is not positive")
    """
    if not isinstance(msg, str):
        raise TypeError(f"the message of a check is a string, not {msg!r}")

    def error(*args: Any, **kwargs: Any) -> Exception:
        return jax_checkify.JaxRuntimeError(formatted(msg, args, kwargs))

    failed = jnp.logical_not(jnp.all(pred))
    check_here(failed, error, args, kwargs, kind="debug" if debug else "user")


@jax.tree_util.register_pytree_node_class
class Error:
    """What the checks of a function found; see `checkify`. A pytree.

    Under ``vmap`` it holds what each lane found, and tells of the first lane that failed.
    """

    def __init__(self, held: Iterable[Any], sites: Sites) -> None:
        self._held, self._sites = list(held), sites

    def tree_flatten(self) -> tuple[list[Any], Sites]:
        """Return the arrays, and what they mean."""
        return self._held, self._sites

    @classmethod
    def tree_unflatten(cls, sites: Sites, held: Iterable[Any]) -> Error:
        """Return an error of these."""
        return cls(held, sites)

    def get(self) -> str | None:
        """Return what the first check that failed says; None if all is well."""
        found = self.exception()
        return None if found is None else str(found)

    def throw(self) -> None:
        """Raise what the first check that failed says, if any; where somebody traces, later."""
        for number, site, shown in self._by_number():
            plant(self._held[0] == number, site, shown)

    def exception(self) -> BaseException | None:
        """Return what `throw` would raise.

        Raises
        ------
        jax.errors.ConcretizationTypeError
            If it is not known yet.
        """
        marks = np.asarray(self._held[0])
        if not marks.any():
            return None
        lane = np.unravel_index(np.argmax(marks != 0), marks.shape)
        for number, site, shown in self._by_number():
            if number == marks[lane]:
                return site.found([np.asarray(x)[lane] for x in shown])
        return None

    def __repr__(self) -> str:
        return f"Error({self.get()})"

    def _by_number(self) -> Iterable[tuple[int, Site, list[Any]]]:
        rest = iter(self._held[1:])
        for number, (site, types) in enumerate(self._sites, 1):
            yield number, site, [next(rest) for _ in types][1:]


def checkify(
    fun: Callable[..., Any], errors: frozenset[Any] = user_checks
) -> Callable[..., tuple[Error, Any]]:
    """Return a function that gives what checks find as a value, in place of raising it.

    Parameters
    ----------
    fun : callable
        It may read and write States; what it writes is written whether a check fails or not.
    errors : frozenset
        What is checked: one of the sets of this module, or several joined by ``|``. Checks of other
        kinds inside are ignored; `jit_error_if` raises in any case.

    Returns
    -------
    callable
        Called like ``fun``, it returns ``(error, result)``: ``error.get()`` is the message of the
        first check that failed, or None; ``error.throw()`` raises it, as `check_error` does. It is
        compiled under ``jax.disable_jit()`` as well.

    Raises
    ------
    TypeError
        If ``fun`` is not callable.
    ValueError
        If there are no such errors.

    Notes
    -----
    After `jax.experimental.checkify`, with whose sets it shares its own.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> from brainir.transform import checkify, float_checks
    >>> error, y = checkify(jnp.log, errors=float_checks)(-1.0)
    >>> error.get().split(" at ")[0]
    'nan generated by primitive: log.'
    >>> checkify(jnp.log, errors=float_checks)(1.0)[0].get() is None
    True
    """
    check_callable("the function given to checkify", fun)
    kinds = _kinds(errors)

    @functools.wraps(fun, updated=())
    def checked(*args: Any, **kwargs: Any) -> tuple[Error, Any]:
        return _checked(fun, kinds, args, kwargs)

    return checked


def _checked(
    fun: Callable[..., Any], kinds: Iterable[str], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Error, Any]:
    def gather(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Error, Any]:
        def function(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return fun(*args, **kwargs)

        result, held, sites = gather_checks(function, kinds, (args, kwargs))
        return Error(held, sites), result

    with jax.disable_jit(False):
        return in_capture(gather, args, kwargs, name=name_of(fun))


def _kinds(errors: Any) -> frozenset[str]:
    try:
        wanted = frozenset(errors)
    except TypeError:
        wanted = frozenset({errors})
    if not wanted <= all_checks:
        raise ValueError(f"errors of checkify are sets such as user_checks, not {errors!r}")
    return frozenset(kind for kind, kinds in _KINDS.items() if kinds <= wanted)


def check_error(error: Error) -> None:
    """Raise what an error holds, if anything; inside a compiled function, when it runs.

    Parameters
    ----------
    error : Error
        What a function made by `checkify` returned.

    Raises
    ------
    TypeError
        If it is something else.
    jax.experimental.checkify.JaxRuntimeError
        A `ValueError`: what is raised.

    Examples
    --------
    >>> import brainir
    >>> from brainir.transform import check, check_error, checkify
    >>> error, _ = checkify(lambda x: check(x > 0, "{} is not positive", x))(-1.0)
    >>> try:
    ...     check_error(error)
    ... except ValueError as raised:
    ...     print(str(raised).splitlines()[0])
    -1.0 is not positive
    """
    if not isinstance(error, Error):
        raise TypeError(f"check_error takes what checkify returned, not {error!r}")
    error.throw()
