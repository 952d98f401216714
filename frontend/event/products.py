"""What all matrices of connections can do: products with values and spikes, and with numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import brainunit as u
import jax.numpy as jnp
import numpy as np

from .spikes import BinaryArray, is_event


class Product(u.sparse.SparseMatrix):
    """A matrix that says in `_sent` what values become along its connections."""

    data: Any

    def apply(self, function: Callable[[Any], Any]) -> Self:
        """Return a matrix whose data is what a function makes of this one's."""
        raise NotImplementedError

    def _sent(self, vector: Any, data: Any, from_rows: bool, events: bool) -> Any:
        """Return what arrives of values along the last axis of an array.

        They go from rows to columns or the other way; ``events`` are zero for the most part.
        """
        raise NotImplementedError

    def __neg__(self) -> Self:
        return self.apply(lambda data: -data)

    def __mul__(self, other: Any) -> Self:
        return self.apply(lambda data: data * other)

    def __rmul__(self, other: Any) -> Self:
        return self.apply(lambda data: other * data)

    def __truediv__(self, other: Any) -> Self:
        return self.apply(lambda data: data / other)

    def __matmul__(self, other: Any) -> Any:
        """Return ``matrix @ values``, where these are of shape ``(post,)`` or ``(post, n)``."""
        if _ndim(other) != 2:
            return self._product(other, from_rows=False)
        turned = BinaryArray(other).T if isinstance(other, BinaryArray) else other.T
        return self._product(turned, from_rows=False).T

    def __rmatmul__(self, other: Any) -> Any:
        """Return ``values @ matrix``, where these are of shape ``(pre,)`` or ``(n, pre)``."""
        return self._product(other, from_rows=True)

    def _product(self, other: Any, from_rows: bool) -> Any:
        """Multiply values along the last axis of an array."""
        events = is_event(other)
        values = other.value if isinstance(other, BinaryArray) else other
        self._check_operand(values, from_rows)
        vector, data = u.get_mantissa(values), u.get_mantissa(self.data)
        dtype = data.dtype if vector.dtype == bool else jnp.result_type(vector, data)
        vector, data = jnp.asarray(vector, dtype), jnp.asarray(data, dtype)
        return in_unit(self._sent(vector, data, from_rows, events), values, self.data)

    def _check_operand(self, values: Any, from_rows: bool) -> None:
        length, shape = self.shape[0 if from_rows else 1], u.get_mantissa(values).shape
        if len(shape) not in (1, 2) or shape[-1] != length:
            expected = (
                f"({length},) or (n, {length})" if from_rows else f"({length},) or ({length}, n)"
            )
            given = shape if from_rows else shape[::-1]
            raise ValueError(
                f"an array of shape {given} cannot be multiplied with connections of shape "
                f"{self.shape} from the {'left' if from_rows else 'right'}: expected {expected}"
            )


def _ndim(operand: Any) -> int:
    return len(operand.shape) if hasattr(operand, "shape") else np.ndim(operand)


def in_unit(array: Any, *factors: Any) -> Any:
    """Return an array in the product of the units of some factors, if they have any."""
    units = [factor.unit for factor in factors if isinstance(factor, u.Quantity)]
    if not units:
        return array
    unit: Any = units[0] if len(units) == 1 else units[0] * units[1]
    return u.maybe_decimal(u.Quantity(array, unit=unit))
