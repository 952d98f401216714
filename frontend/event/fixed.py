"""Matrices in which all rows, or all columns, have as many connections."""

from __future__ import annotations

from typing import Any, Self

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from .connections import Connections
from .matrices import CSC, CSR, Matrix, Stored, in_unit, turned


class FixedNumConn(Stored):
    """What `FixedNumPerPre` and `FixedNumPerPost` share: as many connections for every neuron.

    Examples
    --------
    >>> from brainir.event import FixedNumConn, FixedNumPerPre
    >>> issubclass(FixedNumPerPre, FixedNumConn)
    True
    """

    def __init__(self, arrays: Any, indices: Any = None, *, shape: tuple[int, int]) -> None:
        data, targets = arrays if indices is None else (arrays, indices)
        targets = targets if isinstance(targets, Tracer) else np.asarray(targets)
        height, width = shape if self.by_rows else shape[::-1]
        if targets.ndim != 2 or targets.shape[0] != height:
            raise ValueError(
                f"indices of shape {targets.shape} are not of {height} neurons: they are of shape "
                f"({height}, connections of each)"
            )
        indptr = np.arange(height + 1) * targets.shape[1]
        what = "column" if self.by_rows else "row"
        connections = Connections(targets.reshape(-1), indptr, height, width, what)
        super().__init__(data, connections, shape)

    @property
    def layout(self) -> tuple[int, ...]:
        """The shape of data that is one number for each connection."""
        height = self.connections.height
        return (height, self.connections.count // height if height else 0)

    @property
    def num_conn(self) -> int:
        """How many connections each neuron has."""
        return self.layout[1]

    @property
    def indices(self) -> Any:
        """The neurons at the other ends, of the shape of the data."""
        return self.connections.indices.reshape(self.layout)

    @classmethod
    def fromdense(cls, dense: Any) -> Self:
        """Return the matrix of the elements of an array that are not zero.

        Neurons with fewer connections than others get some of weight 0.

        Parameters
        ----------
        dense : array
            Of shape ``(pre, post)``, with or without a unit.
        """
        mantissa = np.asarray(u.get_mantissa(dense))
        shape = mantissa.shape
        lines = mantissa if cls.by_rows else mantissa.T
        most = int((lines != 0).sum(1).max(initial=0))
        # What is not zero comes first, in order.
        targets = np.argsort(lines == 0, axis=1, kind="stable")[:, :most]
        data = np.take_along_axis(lines, targets, axis=1)
        return cls((in_unit(jnp.asarray(data), dense), targets), shape=shape)


@jax.tree_util.register_pytree_node_class
class FixedNumPerPre(FixedNumConn):
    """A matrix in which every neuron that sends has as many connections.

    Parameters
    ----------
    arrays : tuple of two arrays
        ``(data, indices)``, or both as two arguments: connection ``k`` of row ``i`` leads to column
        ``indices[i, k]`` and adds ``data[i, k]``. The data may be a single number.
    shape : tuple of int
        ``(pre, post)``.

    Raises
    ------
    ValueError
        If an index is outside of the matrix, or shapes do not fit.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir.event import FixedNumPerPre
    >>> matrix = FixedNumPerPre((0.5, jnp.array([[0, 2], [1, 1]])), shape=(2, 3))
    >>> (jnp.array([False, True]) @ matrix).tolist()
    [0.0, 1.0, 0.0]
    """

    by_rows = True

    def transpose(self, axes: Any = None) -> FixedNumPerPost:
        """Return the matrix with rows and columns exchanged; nothing is copied."""
        return turned(FixedNumPerPost, self)

    def tocsr(self) -> CSR:
        """Return it as a `CSR`."""
        return _flat(CSR, self)


@jax.tree_util.register_pytree_node_class
class FixedNumPerPost(FixedNumConn):
    """A matrix in which every neuron that receives has as many connections.

    Parameters
    ----------
    arrays : tuple of two arrays
        ``(data, indices)``, or both as two arguments: connection ``k`` of column ``j`` comes from
        row ``indices[j, k]``. The data may be a single number.
    shape : tuple of int
        ``(pre, post)``.

    Raises
    ------
    ValueError
        If an index is outside of the matrix, or shapes do not fit.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir.event import FixedNumPerPost
    >>> matrix = FixedNumPerPost((0.5, jnp.array([[0], [1], [0]])), shape=(2, 3))
    >>> (jnp.array([True, False]) @ matrix).tolist()
    [0.5, 0.0, 0.5]
    """

    by_rows = False

    def transpose(self, axes: Any = None) -> FixedNumPerPre:
        """Return the matrix with rows and columns exchanged; nothing is copied."""
        return turned(FixedNumPerPre, self)

    def tocsc(self) -> CSC:
        """Return it as a `CSC`."""
        return _flat(CSC, self)


def _flat(kind: type[Matrix], matrix: FixedNumConn) -> Matrix:
    made = object.__new__(kind)
    made.shape, made.connections = matrix.shape, matrix.connections
    made.data = matrix.data.reshape(-1) if matrix.data.shape == matrix.layout else matrix.data
    return made
