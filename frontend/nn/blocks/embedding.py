"""Vectors for things that are named by integers."""

from __future__ import annotations

from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from ...state import ParamState
from ...typing import Size
from .. import init
from ..module import Module
from .weights import known, make_weight

__all__ = ["Embedding"]


class Embedding(Module):
    """A table of vectors, looked up by integers.

    Its state ``weight`` is a ``ParamState`` of shape ``(num_embeddings, *embedding_size)``. An
    index outside of the table gives the nearest row; a negative one counts from its end.

    Parameters
    ----------
    num_embeddings : int
        The number of rows.
    embedding_size : int or sequence of int
        The shape of a row.
    embedding_init : initialiser, array or Quantity
        The table at the start.
    padding_idx : int, optional
        A row that is 0 at the start and is not trained.
    freeze : bool
        Whether no row is trained: gradients do not go through.
    name : str, optional
        A name for people to read.
    param_type : type
        The kind of state.

    Raises
    ------
    ValueError
        If `padding_idx` is not a row of the table.
    TypeError
        At a call, if the indices are not integers.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> table = brainir.nn.Embedding(10, 3, padding_idx=0)
    >>> table(jnp.array([[0, 1], [2, 3]])).shape, table(jnp.array(0)).tolist()
    ((2, 2, 3), [0.0, 0.0, 0.0])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_size: Size,
        embedding_init: Any = init.LecunUniform(),
        padding_idx: int | None = None,
        freeze: bool = False,
        name: str | None = None,
        param_type: type = ParamState,
    ):
        super().__init__(name)
        self.out_size = embedding_size
        if padding_idx is not None and not 0 <= padding_idx < num_embeddings:
            raise ValueError(f"padding_idx {padding_idx} is not one of {num_embeddings} rows")
        self.num_embeddings = num_embeddings
        self.embedding_size = known(self.out_size)
        self.padding_idx = padding_idx
        self.freeze = freeze
        table = make_weight(embedding_init, (num_embeddings, *known(self.out_size)))
        if padding_idx is not None:
            table = u.math.where(
                self._is_padding(np.arange(num_embeddings)), u.math.zeros_like(table), table
            )
        self.weight = param_type(table)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Any,
        padding_idx: int | None = None,
        freeze: bool = True,
        name: str | None = None,
        param_type: type = ParamState,
    ) -> Embedding:
        """Make a layer from a table, by default one that is not trained.

        Parameters
        ----------
        embeddings : array or Quantity
            The table, of shape ``(rows, *size)``.
        padding_idx, freeze, name, param_type
            As for the class.

        Raises
        ------
        ValueError
            If the table has fewer than two axes.

        Examples
        --------
        >>> import brainir
        >>> import jax.numpy as jnp
        >>> brainir.nn.Embedding.from_pretrained(jnp.eye(3))(1).tolist()
        [0.0, 1.0, 0.0]
        """
        rows, *size = u.math.shape(embeddings)
        if not size:
            raise ValueError("a table of embeddings needs two axes or more, got one")
        return cls(rows, tuple(size), embeddings, padding_idx, freeze, name, param_type)

    def update(self, indices: Any) -> Any:
        """Look up `indices`, an array of integers; the shape of a row is added to theirs."""
        indices = jnp.asarray(indices)
        if not jnp.issubdtype(indices.dtype, jnp.integer):
            raise TypeError(f"Embedding is indexed by integers, not by {indices.dtype}")
        table = self.weight.value
        if self.freeze:
            table = jax.lax.stop_gradient(table)
        rows = table[jnp.clip(indices, -self.num_embeddings, self.num_embeddings - 1)]
        if self.padding_idx is None:
            return rows
        held = self._is_padding(indices % max(self.num_embeddings, 1))
        return u.math.where(held, jax.lax.stop_gradient(rows), rows)

    def _is_padding(self, rows: Any) -> Any:
        """Tell which rows are the padding, in a shape that broadcasts to those rows' vectors."""
        return (rows == self.padding_idx).reshape(*rows.shape, *(1 for _ in known(self.out_size)))
