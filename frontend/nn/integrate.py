"""One time step of a differential equation."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
from jax import lax

from .. import environ, random
from ..transform import vector_grad

__all__ = ["exp_euler_step", "exprel"]

SERIES_BELOW = 0.5
"""Below this distance from zero the derivative of ``exprel`` is summed as a power series."""


@functools.partial(jax.jit, inline=True)  # traced once for each shape
def exprel(x: jax.Array) -> jax.Array:
    r"""Relative error exponential, :math:`(e^x - 1) / x`, whose limit at zero is 1.

    The value and the first derivative are accurate to a few units in the last place near zero, and
    to about one part in :math:`10^{5}` (float32) for very negative arguments.

    Parameters
    ----------
    x : array
        Floating point, any shape.

    Examples
    --------
    >>> import jax
    >>> from brainir.frontend.nn.integrate import exprel
    >>> float(exprel(0.0)), float(jax.grad(exprel)(0.0))
    (1.0, 0.5)
    """
    return _exprel(jnp.asarray(x))


@jax.custom_jvp
def _exprel(x: jax.Array) -> jax.Array:
    return _fraction(x)


def _fraction(x: jax.Array) -> jax.Array:
    one = lax.full_like(x, 1)
    tiny = lax.abs(x) < jnp.finfo(x.dtype).eps
    divisor = lax.select(tiny, one, x)
    return lax.select(tiny, one, lax.expm1(divisor) / divisor)


@_exprel.defjvp
def _exprel_jvp(primals, tangents):
    """Differentiate the function, not the code, whose derivative loses its digits near zero."""
    (x,), (tangent,) = primals, tangents
    value = _fraction(x)
    near = lax.abs(x) < SERIES_BELOW
    far_x = lax.select(near, lax.full_like(x, 1), x)
    far_slope = ((far_x - 1) * value + 1) / far_x
    near_slope = _exprel_slope_series(lax.select(near, x, lax.full_like(x, 0)))
    return value, lax.select(near, near_slope, far_slope) * tangent


def _exprel_slope_series(x: jax.Array) -> jax.Array:
    """Sum ``x^k (k + 1) / (k + 2)!``, by Horner's rule, to the accuracy of the dtype."""
    terms = 16 if x.dtype == jnp.float64 else 9
    total = lax.full_like(x, 0)
    for k in reversed(range(terms)):
        total = total * x + (k + 1) / math.factorial(k + 2)
    return total


def exp_euler_step(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    r"""Advance a differential equation by one time step with the exponential Euler method.

    The equation is :math:`dx = f(x)\,dt`, or, with a diffusion, :math:`dx = f(x)\,dt + g(x)\,dW`.
    The step linearises the drift at :math:`x`, so that a linear decay is exact:

    .. math::

        x(t + dt) = x + dt \, \varphi(dt\, J) \, f(x) + g(x) \sqrt{dt}\, \xi,
        \qquad \varphi(z) = (e^z - 1) / z, \qquad J = \partial f / \partial x,

    where :math:`\xi` is standard normal, drawn from ``brainir.random``, and :math:`J` is taken
    element by element. If an element of ``f`` depends on several elements of ``x``, :math:`J` holds
    column sums; the step is then of first order still, but no longer exact for linear equations.
    The time step is ``environ.get_dt()``.

    Parameters
    ----------
    fn : callable
        The drift ``f(x, ...)``: the shape of `x`, the unit of `x` over time.
    diffusion : callable, optional
        The factor of the noise ``g(x, ...)``: broadcasts to `x`, unit of `x` over the root of time.
    x : array or Quantity
        The present value, floating point.
    *args, **kwargs
        Further arguments of the drift and the diffusion.

    Returns
    -------
    The value of `x` one step later, in the unit of `x`.

    Raises
    ------
    AssertionError
        If the drift is not callable, or there is no `x`.
    ValueError
        If `x` is not floating point, or the unit of the diffusion is wrong.
    TypeError
        If the unit of the drift is wrong.
    KeyError
        If ``dt`` is not set in the environment.

    References
    ----------
    M. Hochbruck and A. Ostermann, "Exponential integrators", Acta Numerica 19 (2010), 209-286.

    Examples
    --------
    >>> import brainir
    >>> import brainunit as u
    >>> decay = lambda v: -v / (5.0 * u.ms)
    >>> with brainir.environ.context(dt=0.1 * u.ms):
    ...     brainir.nn.exp_euler_step(decay, 1.0 * u.mV)
    Quantity(0.9801987, "mV")
    """
    if not callable(fn):
        raise AssertionError(f"the drift must be callable, not {type(fn).__name__}")
    diffusion = args[0] if args and callable(args[0]) else None
    if diffusion is not None:
        args = args[1:]
    if not args:
        raise AssertionError("exp_euler_step needs the value to advance: exp_euler_step(fn, x)")
    x, *rest = args
    _check_floating(x)
    dt = environ.get_dt()
    advanced = x + _exponential_increment(fn, dt, x, rest, kwargs)
    if diffusion is not None:
        advanced = advanced + _noise(diffusion(x, *rest, **kwargs), dt, x)
    return advanced


def _check_floating(x: Any) -> None:
    dtype = jnp.result_type(u.get_mantissa(x))
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"exp_euler_step advances floating point values, but x has dtype {dtype}")


def _exponential_increment(fn: Callable[..., Any], dt: Any, x: Any, rest: Any, kwargs: Any) -> Any:
    derivative_of = vector_grad(fn, argnums=0, return_value=True, unit_aware=False)
    jacobian, drift = derivative_of(x, *rest, **kwargs)
    rate = u.Quantity(jacobian, unit=u.get_unit(drift) / u.get_unit(x))
    growth = u.maybe_decimal(dt * rate)
    if isinstance(growth, u.Quantity):
        raise TypeError(
            f"the drift of a value in {u.get_unit(x)} has unit {u.get_unit(drift)}; "
            f"with dt in {u.get_unit(dt)} it must be that of the value over that of dt"
        )
    return dt * exprel(growth) * drift


def _noise(factor: Any, dt: Any, x: Any) -> Any:
    kick = factor * u.math.sqrt(dt)
    if u.get_dim(kick) != u.get_dim(x):
        raise ValueError(
            f"the diffusion of a value in {u.get_unit(x)} has unit {u.get_unit(factor)}; with dt "
            f"in {u.get_unit(dt)} it must be that of the value over the square root of that of dt"
        )
    mantissa = u.get_mantissa(x)
    noise = random.normal(size=jnp.shape(mantissa), dtype=jnp.result_type(mantissa))
    return kick * noise
