"""The doors to gradients: `grad`, `vector_grad`, `fwd_grad`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...typing import Missing, SeedOrKey
from ..binding import check_count
from .gradient_transform import door
from .kinds import budget


def grad(
    fun: Any = Missing,
    grad_states: Any = None,
    argnums: int | Sequence[int] | None = None,
    holomorphic: bool = False,
    allow_int: bool = False,
    has_aux: bool | None = None,
    return_value: bool = False,
    unit_aware: bool = False,
    check_states: bool = True,
    debug_nan: bool = False,
    *,
    memory: float | str | None = None,
) -> Any:
    """Return a function that computes the gradient of a scalar loss.

    Parameters
    ----------
    fun : callable
        Returns the loss, or ``(loss, aux)`` with ``has_aux``. Left out, ``grad`` returns a
        decorator.
    grad_states : State or pytree of States, optional
        What to differentiate by; the gradient has the same structure. It is taken at the value that
        a State has when the function is entered.
    argnums : int or sequence of int, optional
        Which arguments to differentiate by: one gradient for an int, a tuple for a sequence. The
        first one if neither this nor ``grad_states`` is given.
    holomorphic : bool
        Whether a complex function is promised to be holomorphic.
    allow_int : bool
        Whether to return zeros for integers rather than refuse them.
    has_aux : bool, optional
        Whether ``fun`` returns ``(loss, aux)``.
    return_value : bool
        Whether to return the loss too.
    unit_aware : bool
        Whether gradients carry the unit of the loss over that of what it is differentiated by.
        Otherwise the loss must have no unit, and gradients look like the input, its unit included.
    check_states : bool
        Whether a State that ``fun`` does not touch is an error; its gradient is zero.
    debug_nan : bool
        Whether gradients that are not finite are an error, which says where the first such number
        came from.
    memory : int, float or str, optional
        How much loops may keep for the gradient: bytes, a text such as ``"500MB"``, or a part
        between 0 and 1 of what they would keep. They then run in groups of steps, keep what each
        group starts from, and run one group at a time again; the gradients are the same. For a loop
        of ``T`` steps, what is kept can be brought down to about ``2 sqrt(T)`` steps for the time
        of one more forward run, and further for more of it.

    Returns
    -------
    GradientTransform
        Called like ``fun``. It returns the gradients ``g``; with ``return_value`` ``(g, loss)``,
        with ``has_aux`` ``(g, aux)``, with both ``(g, loss, aux)``. With both ``grad_states`` and
        ``argnums``, ``g`` is ``(state gradients, argument gradients)``.

    Raises
    ------
    TypeError
        If the loss is not one real number without a unit, or something that is not a State or not
        of a floating dtype is differentiated by.
    ValueError
        If ``argnums`` is invalid, a State is not touched, or ``memory`` is no budget.
    RuntimeError
        If ``debug_nan`` finds something.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> w = brainir.ParamState(jnp.array([1.0, 2.0]))
    >>> def loss(x):
    ...     return jnp.sum(w.value * x) ** 2
    >>> brainir.transform.grad(loss, grad_states=[w], return_value=True)(3.0)
    ([Array([54., 54.], dtype=float32)], Array(81., dtype=float32))
    """
    params: dict[str, Any] = {"holomorphic": holomorphic, "allow_int": allow_int}
    params.update(unit_aware=unit_aware, memory=budget(memory))
    return door(
        "grad",
        fun,
        params,
        grad_states=grad_states,
        argnums=argnums,
        return_value=return_value,
        has_aux=has_aux,
        check_states=check_states,
        debug_nan=debug_nan,
    )


def vector_grad(
    func: Any = Missing,
    grad_states: Any = None,
    argnums: int | Sequence[int] | None = None,
    return_value: bool = False,
    has_aux: bool | None = None,
    unit_aware: bool = False,
    check_states: bool = True,
    debug_nan: bool = False,
    *,
    memory: float | str | None = None,
) -> Any:
    """Return a function that computes the gradient of the sum of an array that a function returns.

    For a function that works elementwise this is its derivative at each element.

    Parameters
    ----------
    func : callable
        Returns an array or a pytree of them, of any shape.
    grad_states, argnums, return_value, has_aux, unit_aware, check_states, debug_nan, memory
        As for `grad`; units are dropped unless ``unit_aware``.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> brainir.transform.vector_grad(lambda x: x ** 3)(jnp.array([1.0, 2.0]))
    Array([ 3., 12.], dtype=float32)
    """
    params = {"unit_aware": unit_aware, "memory": budget(memory)}
    return door(
        "vector_grad",
        func,
        params,
        grad_states=grad_states,
        argnums=argnums,
        return_value=return_value,
        has_aux=has_aux,
        check_states=check_states,
        debug_nan=debug_nan,
    )


def fwd_grad(
    func: Any = Missing,
    grad_states: Any = None,
    argnums: int | Sequence[int] | None = None,
    return_value: bool = False,
    has_aux: bool | None = None,
    tangent_size: int | None = None,
    drct_der_clip: float | None = None,
    key: SeedOrKey | None = None,
    check_states: bool = True,
    debug_nan: bool = False,
) -> Any:
    r"""Return a function that estimates a gradient in forward mode, along random directions.

    The estimate is :math:`\frac{1}{n} \sum_i (\nabla L \cdot v_i) v_i` with directions
    :math:`v_i \sim N(0, 1)`. It is right on average, and needs no memory for a reverse pass.

    Parameters
    ----------
    func : callable
        Returns the loss, a single number.
    grad_states, argnums, return_value, has_aux, check_states, debug_nan
        As for `grad`.
    tangent_size : int, optional
        How many directions to average over; one by default.
    drct_der_clip : float, optional
        The largest size of a slope along a direction; larger ones are clipped.
    key : int or key, optional
        Where directions come from; by default from ``brainir.random``, new ones at each call.

    Raises
    ------
    ValueError
        If the loss is not a single number, or ``tangent_size`` is not a positive integer.
    TypeError
        If something is differentiated by that is not of a real floating dtype.

    References
    ----------
    A. G. Baydin, B. A. Pearlmutter, D. Syme, F. Wood, P. Torr, "Gradients without
    backpropagation", 2022, https://arxiv.org/abs/2202.08587.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> def loss(x):
    ...     return jnp.sum(x ** 2)
    >>> estimate = brainir.transform.fwd_grad(loss, tangent_size=10_000, key=0)(jnp.ones(2))
    >>> bool(jnp.all(jnp.abs(estimate - 2.0) < 0.2))
    True
    """
    if tangent_size is not None:
        check_count("tangent_size of fwd_grad", tangent_size, 1)
    params = {"tangent_size": tangent_size, "drct_der_clip": drct_der_clip, "key": key}
    return door(
        "fwd_grad",
        func,
        params,
        grad_states=grad_states,
        argnums=argnums,
        return_value=return_value,
        has_aux=has_aux,
        check_states=check_states,
        debug_nan=debug_nan,
    )
