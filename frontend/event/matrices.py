"""Matrices whose connections are stored: by rows, and by columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self, TypeVar

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from .connections import Connections
from .products import Product, in_unit

Matrix = TypeVar("Matrix", bound="Stored")


class Stored(Product):
    """A matrix of connections that are stored, those of a row or those of a column together.

    It is a pytree with the data as its only leaf.
    """

    by_rows: ClassVar[bool]
    data: Any
    connections: Connections

    def __init__(self, data: Any, connections: Connections, shape: tuple[int, int]) -> None:
        self.shape, self.connections = (int(shape[0]), int(shape[1])), connections
        self.data = self._checked(data)

    # --- what it is made of -----------------------------------------------------------------------

    @property
    def layout(self) -> tuple[int, ...]:
        """The shape of data that is one number for each connection."""
        return (self.connections.count,)

    @property
    def nse(self) -> int:
        """How many connections are stored."""
        return self.connections.count

    @property
    def dtype(self) -> Any:
        """The dtype of the data."""
        return self.data.dtype

    def _checked(self, data: Any) -> Any:
        data = data if isinstance(data, u.Quantity) else jnp.asarray(data)
        if data.dtype == bool:
            raise TypeError("the data of connections are numbers, not booleans")
        if data.shape not in ((), (1,), self.layout):
            raise ValueError(
                f"data of shape {data.shape} is neither one number nor one for each connection, of "
                f"shape {self.layout}"
            )
        return data

    def _with(self, data: Any) -> Self:
        made = object.__new__(type(self))
        made.shape, made.connections, made.data = self.shape, self.connections, data
        return made

    def with_data(self, data: Any) -> Self:
        """Return a matrix of the same connections with other data.

        Parameters
        ----------
        data : array
            One number, or one for each connection, with or without a unit.
        """
        return self._with(self._checked(data))

    def apply(self, function: Callable[[Any], Any]) -> Self:
        """Return a matrix whose data is what a function makes of this one's."""
        return self.with_data(function(self.data))

    def tree_flatten(self) -> tuple[tuple[Any], tuple[Any, ...]]:
        """Return the data and the structure, for JAX."""
        return (self.data,), (self.shape, self.connections)

    @classmethod
    def tree_unflatten(cls, aux_data: tuple[Any, ...], children: tuple[Any]) -> Self:
        """Make one of what JAX has in place of the data."""
        made = object.__new__(cls)
        made.shape, made.connections = aux_data
        (made.data,) = children
        return made

    # --- dense ------------------------------------------------------------------------------------

    def todense(self) -> Any:
        """Return the matrix with its zeros; connections between the same two add up."""
        columns, rows = self.connections.indices, self.connections.rows
        where = (rows, columns) if self.by_rows else (columns, rows)
        data = u.get_mantissa(self.data)
        each = jnp.broadcast_to(data.reshape(-1), (self.nse,))
        dense = jnp.zeros(self.shape, data.dtype).at[where].add(each, mode="drop")
        return in_unit(dense, self.data)

    # --- products ---------------------------------------------------------------------------------

    def _sent(self, vector: Any, data: Any, from_rows: bool, events: bool) -> Any:
        """Send values along connections, which one weight for all multiplies afterwards."""
        if data.size == 1 and data.shape != self.layout:
            one = np.ones((), data.dtype)
            return self._carried(vector, one, from_rows, events) * data.reshape(())
        return self._carried(vector, data.reshape(-1), from_rows, events)

    def _carried(self, vector: Any, weights: Any, from_rows: bool, events: bool) -> Any:
        """Send values along connections: from the side they are stored by, if they are rare."""
        if from_rows == self.by_rows:
            return self.connections.to_columns(vector, weights)
        if not events or not self.connections.known:
            return self.connections.to_rows(vector, weights)
        turned, order = self.connections.turned
        return turned.to_columns(vector, weights[order] if weights.ndim else weights)


@jax.tree_util.register_pytree_node_class
class CSR(Stored):
    """A matrix given by its rows: the connections of each neuron that sends.

    Connections of row ``i`` are the numbers from ``indptr[i]`` up to ``indptr[i + 1]``; connection
    ``k`` leads to column ``indices[k]``, and adds ``data[k]`` there.

    Parameters
    ----------
    arrays : tuple of three arrays
        ``(data, indices, indptr)``. The data is one number for each connection or a single one,
        with or without a unit; indices go from 0 to ``post - 1``; ``indptr`` has ``pre + 1``
        elements.
    shape : tuple of int
        ``(pre, post)``.

    Raises
    ------
    ValueError
        If an index is outside of the matrix, or shapes do not fit. Of arrays that are traced, only
        the shapes are known; connections that lead nowhere do not count.

    Examples
    --------
    >>> import brainunit as u
    >>> import jax.numpy as jnp
    >>> from brainir.event import CSR
    >>> matrix = CSR((jnp.array([1.0, 2.0, 3.0]) * u.nS, [1, 2, 0], [0, 2, 3]), shape=(2, 3))
    >>> print(jnp.array([True, False]) @ matrix)
    [0. 1. 2.] nS
    >>> (matrix.T @ jnp.array([1.0, 1.0])).mantissa.tolist()
    [3.0, 1.0, 2.0]
    """

    by_rows = True

    def __init__(self, arrays: tuple[Any, Any, Any], *, shape: tuple[int, int]) -> None:
        data, indices, indptr = arrays
        super().__init__(data, Connections(indices, indptr, *shape, "column"), shape)

    @classmethod
    def fromdense(cls, dense: Any) -> CSR:
        """Return the matrix of the elements of an array that are not zero.

        Parameters
        ----------
        dense : array
            Of shape ``(pre, post)``, with or without a unit.
        """
        mantissa = np.asarray(u.get_mantissa(dense))
        rows, columns = np.nonzero(mantissa)
        indptr = np.searchsorted(rows, np.arange(mantissa.shape[0] + 1))
        data = in_unit(jnp.asarray(mantissa[rows, columns]), dense)
        return cls((data, columns, indptr), shape=mantissa.shape)

    @property
    def indices(self) -> Any:
        """The column of each connection."""
        return self.connections.indices

    @property
    def indptr(self) -> Any:
        """The number of the first connection of each row, and how many there are."""
        return self.connections.indptr

    def transpose(self, axes: Any = None) -> CSC:
        """Return the matrix with rows and columns exchanged; nothing is copied."""
        return turned(CSC, self)


@jax.tree_util.register_pytree_node_class
class CSC(Stored):
    """A matrix given by its columns: the connections of each neuron that receives.

    Parameters
    ----------
    arrays : tuple of three arrays
        ``(data, indices, indptr)``, as of the transpose as a `CSR`.
    shape : tuple of int
        ``(pre, post)``.

    Raises
    ------
    ValueError
        As `CSR` does.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir.event import CSC
    >>> matrix = CSC((2.0, [0, 1], [0, 0, 2]), shape=(2, 2))
    >>> matrix.todense().tolist()
    [[0.0, 2.0], [0.0, 2.0]]
    """

    by_rows = False

    def __init__(self, arrays: tuple[Any, Any, Any], *, shape: tuple[int, int]) -> None:
        data, indices, indptr = arrays
        connections = Connections(indices, indptr, shape[1], shape[0], "row")
        super().__init__(data, connections, shape)

    @classmethod
    def fromdense(cls, dense: Any) -> CSC:
        """Return the matrix of the elements of an array that are not zero."""
        return CSR.fromdense(dense.T).transpose()

    @property
    def indices(self) -> Any:
        """The row of each connection."""
        return self.connections.indices

    @property
    def indptr(self) -> Any:
        """The number of the first connection of each column, and how many there are."""
        return self.connections.indptr

    def transpose(self, axes: Any = None) -> CSR:
        """Return the matrix with rows and columns exchanged; nothing is copied."""
        return turned(CSR, self)


def turned(kind: type[Matrix], matrix: Stored) -> Matrix:
    made = object.__new__(kind)
    made.shape, made.connections, made.data = matrix.shape[::-1], matrix.connections, matrix.data
    return made
