"""Where connections lead: what matrices share that differ in their weights."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ..capture import primitive_of

_to_columns, _to_rows = primitive_of("csr_to_columns"), primitive_of("csr_to_rows")


class Connections:
    """Connections from rows to columns, those of each row together.

    They are the same if they are one object: in a pytree they are a part of the structure.

    Parameters
    ----------
    indices : array of int
        The columns that they lead to.
    indptr : array of int
        The number of the first connection of each row, and how many there are.
    height, width : int
        How many rows and columns there are.
    what : str
        What a column is, for messages.

    Raises
    ------
    ValueError
        If one leads to a column that is not there, or rows do not follow each other.
    """

    def __init__(self, indices: Any, indptr: Any, height: int, width: int, what: str) -> None:
        self.indices, self.indptr = _integers(indices, "indices"), _integers(indptr, "indptr")
        self.height, self.width, self.what = height, width, what
        if self.indices.ndim != 1 or self.indptr.shape != (height + 1,):
            raise ValueError(
                f"indices of shape {self.indices.shape} and indptr of shape {self.indptr.shape} "
                f"are not of {height} rows: indptr has one element more than there are rows"
            )
        self._check()

    def _check(self) -> None:
        """Check what is known of numbers: all, unless they are traced."""
        if isinstance(self.indptr, np.ndarray):
            ends = self.indptr[0], self.indptr[-1]
            if ends != (0, self.count) or np.any(np.diff(self.indptr) < 0):
                raise ValueError(
                    f"indptr goes from {ends[0]} to {ends[1]}: it is to go from 0 to the number of "
                    f"connections, {self.count}, and never to fall"
                )
        if isinstance(self.indices, np.ndarray):
            outside = (self.indices < 0) | (self.indices >= self.width)
            if outside.any():
                k = int(np.argmax(outside))
                raise ValueError(
                    f"connection {k} leads to {self.what} {self.indices[k]}, but they are numbered "
                    f"from 0 to {self.width - 1}"
                )

    @property
    def count(self) -> int:
        """How many connections there are."""
        return self.indices.shape[0]

    @property
    def known(self) -> bool:
        """Whether the numbers are known: they are unless they are traced."""
        return isinstance(self.indices, np.ndarray) and isinstance(self.indptr, np.ndarray)

    @cached_property
    def rows(self) -> Any:
        """The row that each connection comes from."""
        if isinstance(self.indptr, np.ndarray):
            return np.repeat(np.arange(self.height, dtype=np.int32), np.diff(self.indptr))
        each = jnp.diff(self.indptr)
        numbers = jnp.arange(self.height, dtype="int32")
        return jnp.repeat(numbers, each, total_repeat_length=self.count)

    @cached_property
    def turned(self) -> tuple[Connections, Any]:
        """Them by the other end, and which of these each of those is; all must be known."""
        order = np.argsort(self.indices, kind="stable")
        indptr = np.searchsorted(self.indices[order], np.arange(self.width + 1))
        made = Connections(self.rows[order], indptr, self.width, self.height, "row")
        return made, order.astype("int32")

    def to_columns(self, vector: Any, weights: Any) -> Any:
        """Return what columns receive from rows, of shape ``(..., height)``."""
        where = self.indices, self.indptr, self.rows
        return _to_columns.bind(vector, weights, *where, columns=self.width)

    def to_rows(self, vector: Any, weights: Any) -> Any:
        """Return what rows receive from columns, of shape ``(..., width)``."""
        return _to_rows.bind(vector, weights, self.indices, self.indptr, self.rows)


def _integers(array: Any, what: str) -> Any:
    """Return integers of 32 bits: a numpy array of what is known."""
    if not isinstance(array, Tracer):
        array = np.asarray(array)
        if array.size == 0:
            array = array.astype(np.int32)
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"{what} are integers, not {array.dtype}")
    if isinstance(array, np.ndarray) and array.size and array.max() > np.iinfo(np.int32).max:
        raise ValueError(f"{what} go up to {array.max()}: more than 32 bits hold")
    return array.astype("int32")
