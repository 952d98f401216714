"""Spikes that are said to be some."""

from __future__ import annotations

from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp


@jax.tree_util.register_pytree_node_class
class BinaryArray:
    """An array of spikes: booleans, or numbers of which most are expected to be zero.

    Matrices take booleans as spikes unasked. Numbers are wrapped in this, so that a matrix which is
    stored by what receives them is turned once, and then looks at the connections of spikes alone.
    Numbers count as they are, so that derivatives by them are those of the product.

    Parameters
    ----------
    value : array
        The spikes, with or without a unit.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir.event import CSR, BinaryArray
    >>> matrix = CSR.fromdense(jnp.eye(3) * 2)
    >>> (BinaryArray(jnp.array([0.0, 1.0, 0.0])) @ matrix).tolist()
    [0.0, 2.0, 0.0]
    """

    __array_ufunc__ = None

    def __init__(self, value: Any) -> None:
        given = value.value if isinstance(value, BinaryArray) else value
        self.value = given if isinstance(given, u.Quantity) else jnp.asarray(given)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self.value.shape

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    @property
    def dtype(self) -> Any:
        """The dtype of its elements."""
        return self.value.dtype

    @property
    def T(self) -> BinaryArray:
        """The transpose."""
        return BinaryArray(self.value.T)

    def __matmul__(self, other: Any) -> Any:
        if isinstance(other, u.sparse.SparseMatrix):
            return NotImplemented
        return _numbers(self.value, other) @ other

    def __rmatmul__(self, other: Any) -> Any:
        return other @ _numbers(self.value, other)

    def __repr__(self) -> str:
        return f"BinaryArray({self.value})"

    def tree_flatten(self) -> tuple[tuple[Any], None]:
        """Return the array, for JAX."""
        return (self.value,), None

    @classmethod
    def tree_unflatten(cls, _: None, children: tuple[Any]) -> BinaryArray:
        """Make one of what JAX has in place of the array."""
        made = object.__new__(cls)
        (made.value,) = children
        return made


def _numbers(spikes: Any, other: Any) -> Any:
    """Return spikes as numbers of the dtype of what they are multiplied with."""
    return spikes.astype(other.dtype) if spikes.dtype == bool else spikes


def is_event(operand: Any) -> bool:
    """Return whether an operand is spikes, of which most are zero."""
    if isinstance(operand, BinaryArray):
        return True
    return u.get_mantissa(operand).dtype == bool
