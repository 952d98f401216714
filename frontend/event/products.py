"""What all matrices of connections can do: products with values and spikes, and with numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import brainunit as u
import jax.numpy as jnp

from .spikes import BinaryArray, as_array


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

    def __repr__(self) -> str:
        dtype, shape = getattr(self.data, "dtype", None), getattr(self.data, "shape", None)
        unit = f" {self.data.unit}" if isinstance(self.data, u.Quantity) else ""
        # Printers of trees put other things in place of arrays.
        data = f"{dtype}{list(shape)}{unit}" if dtype and shape is not None else self.data
        return f"{type(self).__name__}(shape={self.shape}, data={data})"

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
        values, events = _operand(other)
        if values.ndim != 2:
            return self._product(values, events, from_rows=False)
        return self._product(values.T, events, from_rows=False).T

    def __rmatmul__(self, other: Any) -> Any:
        """Return ``values @ matrix``, where these are of shape ``(pre,)`` or ``(n, pre)``."""
        values, events = _operand(other)
        return self._product(values, events, from_rows=True)

    def _product(self, values: Any, events: bool, from_rows: bool) -> Any:
        """Multiply values along the last axis of an array."""
        self._check_operand(values, from_rows)
        vector, data = u.get_mantissa(values), u.get_mantissa(self.data)
        dtype = data.dtype if vector.dtype == bool else jnp.result_type(vector, data)
        vector, data = jnp.asarray(vector, dtype), jnp.asarray(data, dtype)
        return in_unit(self._sent(vector, data, from_rows, events), values, self.data)

    def _check_operand(self, values: Any, from_rows: bool) -> None:
        length, shape = self.shape[0 if from_rows else 1], values.shape
        if len(shape) not in (1, 2) or shape[-1] != length:
            expected = (
                f"({length},) or (n, {length})" if from_rows else f"({length},) or ({length}, n)"
            )
            given = shape if from_rows else shape[::-1]
            raise ValueError(
                f"an array of shape {given} cannot be multiplied with connections of shape "
                f"{self.shape} from the {'left' if from_rows else 'right'}: expected {expected}"
            )


def _operand(other: Any) -> tuple[Any, bool]:
    """Return values, and whether they are spikes, of which most are zero."""
    if isinstance(other, u.sparse.SparseMatrix):
        raise TypeError(
            f"{other} is sparse, too: there is no product of two matrices of connections; make one "
            "of them dense by todense()"
        )
    values = other.value if isinstance(other, BinaryArray) else as_array(other)
    return values, isinstance(other, BinaryArray) or values.dtype == bool


def in_unit(array: Any, *factors: Any) -> Any:
    """Return an array in the product of the units of some factors, if they have any."""
    units = [factor.unit for factor in factors if isinstance(factor, u.Quantity)]
    if not units:
        return array
    unit: Any = units[0] if len(units) == 1 else units[0] * units[1]
    return u.maybe_decimal(u.Quantity(array, unit=unit))
