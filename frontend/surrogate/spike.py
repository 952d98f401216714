"""The step function that stands for a spike, with a derivative put in the place of its own."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from functools import partial
from typing import Concatenate, ParamSpec, TypeAlias

import brainunit as u
import jax
import jax.numpy as jnp

from ..typing import ArrayLike

__all__ = ["Parameter", "Surrogate", "as_function"]

Parameter: TypeAlias = float | jax.Array
Parameters = ParamSpec("Parameters")


class Surrogate:
    r"""A step function with a derivative of its own choice.

    Calling it gives 1 where ``x >= 0`` and 0 elsewhere (also for NaN), in the shape and dtype of
    `x`. Its derivative is :meth:`surrogate_grad`, in forward and in reverse mode, and that is taken
    as constant: second derivatives are zero. Surrogates of one class with equal numbers for
    parameters are equal. Parameters may also be arrays, traced ones too; nothing is differentiated
    with respect to them.

    Raises
    ------
    TypeError
        If `x` has a unit: divide by a scale first, such as ``(V - V_th) / V_th``.

    Examples
    --------
    >>> import jax
    >>> from brainir.surrogate import ReluGrad
    >>> spike = ReluGrad()
    >>> spike
    ReluGrad(alpha=0.3, width=1.0)
    >>> float(spike(0.5)), float(jax.grad(spike)(0.5))
    (1.0, 0.15000000596046448)
    """

    def surrogate_grad(self, x: jax.Array) -> jax.Array:
        """Return what stands for the derivative of the step at `x`."""
        raise NotImplementedError(f"{type(self).__name__} defines no surrogate_grad")

    def surrogate_fun(self, x: jax.Array) -> jax.Array:
        """Return the smooth function whose derivative is :meth:`surrogate_grad`, to look at it."""
        raise NotImplementedError(f"{type(self).__name__} is defined by its gradient alone")

    def __call__(self, x: ArrayLike) -> jax.Array:
        x = _as_dimensionless_array(x)
        if not jnp.issubdtype(x.dtype, jnp.inexact):
            return _step(x)
        parts = vars(self)
        if all(isinstance(part, int | float) for part in parts.values()):
            return _spike_traced_once(self, x, {})
        traced = {name: part for name, part in parts.items() if isinstance(part, jax.Array)}
        return _spike(self, x, traced)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Surrogate) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[object, ...]:
        parts = ((k, v if isinstance(v, int | float) else id(v)) for k, v in vars(self).items())
        return type(self), *parts


def _as_dimensionless_array(x: ArrayLike) -> jax.Array:
    if isinstance(x, u.Quantity):
        if not x.unit.is_unitless:
            raise TypeError(
                f"a surrogate gradient takes a number without a unit, got one in {x.unit}: "
                "divide by a scale first, such as (V - V_th) / V_th"
            )
        x = x.to_decimal()
    return jnp.asarray(x)


def _step(x: jax.Array) -> jax.Array:
    return (x >= 0).astype(x.dtype)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _spike(surrogate: Surrogate, x: jax.Array, traced: dict[str, jax.Array]) -> jax.Array:
    return _step(x)


@_spike.defjvp
def _spike_jvp(surrogate, primals, tangents):
    x, traced = primals
    if traced:
        surrogate = copy.copy(surrogate)
        vars(surrogate).update(jax.lax.stop_gradient(traced))
    slope = surrogate.surrogate_grad(jax.lax.stop_gradient(x))
    return _step(x), slope.astype(x.dtype) * tangents[0]


# Traced once for each surrogate and shape, however many neurons have it.
_spike_traced_once = jax.jit(_spike, static_argnums=0, inline=True)


def as_function(
    name: str, surrogate: Callable[Parameters, Surrogate]
) -> Callable[Concatenate[ArrayLike, Parameters], jax.Array]:
    """Make the function form of a surrogate: ``relu_grad(x, alpha)`` for ``ReluGrad(alpha)(x)``."""

    def spike(x: ArrayLike, *args: Parameters.args, **kwargs: Parameters.kwargs) -> jax.Array:
        return surrogate(*args, **kwargs)(x)

    first = inspect.Parameter("x", inspect.Parameter.POSITIONAL_ONLY, annotation=ArrayLike)
    rest = inspect.signature(surrogate).parameters.values()
    spike.__signature__ = inspect.Signature([first, *rest], return_annotation=jax.Array)  # pyright: ignore[reportFunctionMemberAccess]
    spike.__name__ = spike.__qualname__ = name
    spike.__doc__ = (
        f"Spike where ``x >= 0``, with the gradient of :class:`{surrogate.__name__}`.\n\n"
        f"    Examples\n    --------\n    >>> from brainir.surrogate import {name}\n"
        f"    >>> float({name}(0.5)), float({name}(-0.5))\n    (1.0, 0.0)\n    "
    )
    return spike
