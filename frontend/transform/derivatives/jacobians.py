"""The doors to matrices of derivatives: `jacrev`, `jacfwd`, `jacobian`, `hessian`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .gradient_transform import GradientTransform, door


def jacrev(
    fun: Callable[..., Any],
    grad_states: Any = None,
    argnums: int | Sequence[int] | None = None,
    has_aux: bool | None = None,
    return_value: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    unit_aware: bool = False,
    check_states: bool = True,
    debug_nan: bool = False,
) -> GradientTransform:
    """Return a function that computes the Jacobian of another one in reverse mode, row by row.

    The function runs once; its reverse runs for all rows at the same time. This is the cheaper one
    where results are few; `jacfwd` is where arguments are few.

    Parameters
    ----------
    fun : callable
        Returns an array or a pytree of them, or ``(that, aux)`` with ``has_aux``.
    grad_states, argnums, has_aux, return_value, holomorphic, allow_int, check_states, debug_nan
        As for `grad`.
    unit_aware : bool
        Whether each block carries the unit of its result over that of what it is by. Otherwise
        units are dropped.

    Returns
    -------
    GradientTransform
        Called like ``fun``. The Jacobian has the structure of the result; in place of each array is
        what `grad` would give, with blocks of shape ``result.shape + source.shape``. With both
        ``grad_states`` and ``argnums`` there are two, ``(by States, by arguments)``. What else is
        returned is as for `grad`.

    Raises
    ------
    TypeError
        If a result is complex or an integer, or something that is not a State or not of a floating
        dtype is differentiated by.
    ValueError
        If ``argnums`` is invalid, a State is not touched, or the result depends on what it is
        differentiated by through a ``while_loop``.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> w = brainir.ParamState(jnp.array([1.0, 2.0]))
    >>> brainir.transform.jacrev(lambda x: {"y": w.value * x}, grad_states=[w])(3.0)
    {'y': [Array([[3., 0.],
           [0., 3.]], dtype=float32)]}
    """
    params = {"holomorphic": holomorphic, "allow_int": allow_int, "unit_aware": unit_aware}
    return door(
        "jacrev",
        fun,
        params,
        grad_states=grad_states,
        argnums=argnums,
        return_value=return_value,
        has_aux=has_aux,
        check_states=check_states,
        debug_nan=debug_nan,
    )


jacobian = jacrev
"""The Jacobian, by `jacrev`."""


def jacfwd(
    func: Callable[..., Any],
    grad_states: Any = None,
    argnums: int | Sequence[int] | None = None,
    has_aux: bool | None = None,
    return_value: bool = False,
    holomorphic: bool = False,
    unit_aware: bool = False,
    check_states: bool = True,
    debug_nan: bool = False,
) -> GradientTransform:
    """Return a function that computes the Jacobian of another one in forward mode, by columns.

    It takes what `jacrev` takes and returns the same. The function runs once, with the tangents of
    all columns at the same time; a ``while_loop`` can be differentiated in this mode.

    Parameters
    ----------
    func : callable
        Returns an array or a pytree of them, or ``(that, aux)`` with ``has_aux``.
    grad_states, argnums, has_aux, return_value, holomorphic, unit_aware, check_states, debug_nan
        As for `jacrev`.

    Raises
    ------
    TypeError
        If something is differentiated by that is not a State or not of a real floating dtype, or a
        result is an integer.
    ValueError
        If ``argnums`` is invalid, or a State is not touched.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> brainir.transform.jacfwd(lambda x: x * x[0])(jnp.array([1.0, 2.0]))
    Array([[2., 0.],
           [2., 1.]], dtype=float32)
    """
    return door(
        "jacfwd",
        func,
        {"holomorphic": holomorphic, "unit_aware": unit_aware},
        grad_states=grad_states,
        argnums=argnums,
        return_value=return_value,
        has_aux=has_aux,
        check_states=check_states,
        debug_nan=debug_nan,
    )


def hessian(
    func: Callable[..., Any],
    grad_states: Any = None,
    argnums: int | Sequence[int] | None = None,
    return_value: bool = False,
    holomorphic: bool = False,
    has_aux: bool | None = None,
    unit_aware: bool = False,
    check_states: bool = True,
    debug_nan: bool = False,
) -> GradientTransform:
    """Return a function that computes second derivatives: `jacfwd` of `jacrev`.

    Parameters
    ----------
    func : callable
        Returns an array, usually a scalar, or a pytree of them, or ``(that, aux)`` with
        ``has_aux``.
    grad_states, argnums, return_value, holomorphic, has_aux, check_states, debug_nan
        As for `grad`.
    unit_aware : bool
        Whether each block carries the unit of the result over those of both that it is by.
        Otherwise units are dropped.

    Returns
    -------
    GradientTransform
        Called like ``func``. The first derivative with, in place of each array, another first
        derivative: rows of columns. A block by ``a`` and then ``b`` has the shape
        ``result.shape + a.shape + b.shape``. With both ``grad_states`` and ``argnums``, rows are
        ``(by States, by arguments)``, and so is each of these.

    Raises
    ------
    TypeError, ValueError
        As for `jacrev` and `jacfwd`.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> w = brainir.ParamState(jnp.array([1.0, 2.0]))
    >>> brainir.transform.hessian(lambda: jnp.prod(w.value) ** 2, grad_states={"w": w})()
    {'w': {'w': Array([[8., 8.],
           [8., 2.]], dtype=float32)}}
    """
    return door(
        "hessian",
        func,
        {"holomorphic": holomorphic, "unit_aware": unit_aware},
        grad_states=grad_states,
        argnums=argnums,
        return_value=return_value,
        has_aux=has_aux,
        check_states=check_states,
        debug_nan=debug_nan,
    )
