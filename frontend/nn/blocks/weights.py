"""What all layers with weights share: making them, and products of values with units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp

from ... import environ
from ...random.parameters import with_unit
from .. import init
from ..module import Module

__all__ = ["check_joined", "known", "make_mask", "make_weight", "masked", "product"]


def known(size: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the size of a module, which is set."""
    assert size is not None
    return size


def make_weight(initial: Any, shape: tuple[int, ...], fill: bool = True) -> Any:
    """Make an array, with its unit, from what a user gave for a weight.

    A single number fills the shape, unless `fill` is False.
    """
    value = init.param(initial, shape, allow_none=False)
    if not isinstance(u.get_mantissa(value), jax.Array):
        numbers = jnp.asarray(u.get_mantissa(value))
        if not jnp.issubdtype(numbers.dtype, jnp.inexact):
            numbers = numbers.astype(environ.dftype())
        value = with_unit(numbers, u.get_unit(value))
    return u.math.broadcast_to(value, shape) if fill and u.math.ndim(value) == 0 else value


def make_mask(mask: Any, shape: tuple[int, ...]) -> Any:
    """Make a mask of weights from an array, a function of the shape, or None."""
    return None if mask is None else init.param(mask, shape)


def masked(weight: Any, mask: Any) -> Any:
    """Return a weight times a mask; None masks nothing."""
    if mask is None:
        return weight
    return weight * jnp.asarray(mask, u.get_mantissa(weight).dtype)


def product(function: Callable[[Any, Any], Any], x: Any, weight: Any) -> Any:
    """Apply a function that is linear in each of two values, with the product of their units."""
    y = function(jnp.asarray(u.get_mantissa(x)), u.get_mantissa(weight))
    return u.maybe_decimal(with_unit(y, u.get_unit(x) * u.get_unit(weight)))


def check_joined(module: Module) -> tuple[int, int]:
    """Return the numbers of inputs and outputs, on the last axes of a module's two sizes.

    Raises
    ------
    ValueError
        If the sizes differ before their last axis, or have none.
    """
    inputs, outputs = module.in_size or (), module.out_size or ()
    if not inputs or not outputs or inputs[:-1] != outputs[:-1]:
        raise ValueError(
            f"in_size {module.in_size} and out_size {module.out_size} of "
            f"{type(module).__name__} may differ in the last axis only, and need one"
        )
    return inputs[-1], outputs[-1]
