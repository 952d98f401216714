"""Matrices whose connections are made again from a seed whenever they are needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from ..capture import primitive_of
from .products import Product

_to_columns, _to_rows = primitive_of("seeded_to_columns"), primitive_of("seeded_to_rows")


class JITCScalarMatrix(Product):
    """What `JITCScalarR` and `JITCScalarC` share: one weight, a probability, and a seed.

    It is a pytree of its weight, and of its seed if that is an array of JAX.

    Examples
    --------
    >>> from brainir.event import JITCScalarMatrix, JITCScalarR
    >>> issubclass(JITCScalarR, JITCScalarMatrix)
    True
    """

    by_rows: ClassVar[bool]

    def __init__(self, arrays: tuple[Any, float, Any], *, shape: tuple[int, int]) -> None:
        weight, prob, seed = arrays
        self.shape = (int(shape[0]), int(shape[1]))
        self.prob, self.seed = float(prob), _seed(seed)
        if not 0 <= self.prob <= 1:
            raise ValueError(f"{prob} is not a probability")
        self.weight = self._checked(weight)

    def _checked(self, weight: Any) -> Any:
        weight = weight if isinstance(weight, u.Quantity) else jnp.asarray(weight)
        if weight.size != 1 or weight.dtype == bool:
            raise ValueError(f"the weight is one number, not {weight.dtype} of {weight.shape}")
        return weight.reshape(())

    @property
    def data(self) -> Any:
        """The weight of all connections."""
        return self.weight

    @property
    def dtype(self) -> Any:
        """The dtype of the weight."""
        return self.weight.dtype

    @property
    def nse(self) -> int:
        """How many connections are expected."""
        return round(self.shape[0] * self.shape[1] * self.prob)

    def _with(self, weight: Any, seed: Any, kind: Any = None) -> Any:
        made = object.__new__(kind or type(self))
        made.shape = self.shape if kind is None else self.shape[::-1]
        made.weight, made.prob, made.seed = weight, self.prob, seed
        return made

    def with_data(self, data: Any) -> Self:
        """Return a matrix of the same connections with another weight.

        Parameters
        ----------
        data : array
            One number, with or without a unit.
        """
        return self._with(self._checked(data), self.seed)

    def apply(self, function: Callable[[Any], Any]) -> Self:
        """Return a matrix whose weight is what a function makes of this one's."""
        return self.with_data(function(self.weight))

    def todense(self) -> Any:
        """Return the matrix with its zeros."""
        rows = jnp.eye(self.shape[0], dtype=self.dtype)
        return rows @ self

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Return the weight, the seed if it is an array, and the structure, for JAX."""
        if isinstance(self.seed, int):
            return (self.weight,), (self.shape, self.prob, self.seed)
        return (self.weight, self.seed), (self.shape, self.prob)

    @classmethod
    def tree_unflatten(cls, aux_data: tuple[Any, ...], children: tuple[Any, ...]) -> Self:
        """Make one of what JAX has in place of the weight and the seed."""
        made = object.__new__(cls)
        made.shape, made.prob, *seed = aux_data
        made.weight, made.seed = (*children, *seed)
        return made

    def _sent(self, vector: Any, data: Any, from_rows: bool, events: bool) -> Any:
        """Send values along the connections, each of weight 1, and multiply what arrives."""
        length = self.shape[1 if from_rows else 0]
        if not self.prob:
            return jnp.zeros((*vector.shape[:-1], length), vector.dtype)
        seed = np.uint32(self.seed) if isinstance(self.seed, int) else self.seed
        if from_rows == self.by_rows:
            attrs = {"columns": length, "probability": self.prob}
            return _to_columns.bind(vector, seed, **attrs) * data
        return _to_rows.bind(vector, seed, rows=length, probability=self.prob) * data


def _seed(seed: Any) -> Any:
    """Return a seed as an integer below 2**32, or as the array of JAX that it is."""
    if isinstance(seed, int | np.integer):
        return int(seed) % 2**32
    if jnp.shape(seed) or not jnp.issubdtype(jnp.result_type(seed), jnp.integer):
        raise TypeError(f"a seed is one integer, not {jnp.result_type(seed)}{jnp.shape(seed)}")
    return jnp.asarray(seed)


@jax.tree_util.register_pytree_node_class
class JITCScalarR(JITCScalarMatrix):
    r"""A matrix of connections that are drawn by rows whenever they are needed.

    Each pair is connected with the same probability, by the same weight:

    .. math:: W_{ij} = w\, b_{ij}, \qquad b_{ij} \sim \text{Bernoulli}(p).

    Nothing is stored, so that there may be billions of connections. A seed means the same ones in
    every product, on every machine; but others than in brainevent. A product with spikes from the
    side that it is drawn by draws the connections of those that fire, and any other product draws
    all.

    Parameters
    ----------
    arrays : tuple
        ``(weight, prob, seed)``: a number, with or without a unit; a probability, which is part of
        the program; and an integer.
    shape : tuple of int
        ``(pre, post)``.

    Raises
    ------
    ValueError
        If the probability is not from 0 to 1, or the weight is not one number.

    Examples
    --------
    >>> import brainunit as u
    >>> import jax.numpy as jnp
    >>> from brainir.event import JITCScalarR
    >>> matrix = JITCScalarR((1.5 * u.mV, 0.1, 42), shape=(100_000, 1000))
    >>> spikes = jnp.zeros(100_000, bool).at[7].set(True)
    >>> received = spikes @ matrix
    >>> 60 < int((received != 0 * u.mV).sum()) < 140
    True
    """

    by_rows = True

    def transpose(self, axes: Any = None) -> JITCScalarC:
        """Return the matrix with rows and columns exchanged: the same connections."""
        return self._with(self.weight, self.seed, JITCScalarC)


@jax.tree_util.register_pytree_node_class
class JITCScalarC(JITCScalarMatrix):
    """A matrix of connections that are drawn by columns whenever they are needed.

    It is the transpose of a `JITCScalarR` with the same seed.

    Parameters
    ----------
    arrays : tuple
        ``(weight, prob, seed)``, as of `JITCScalarR`.
    shape : tuple of int
        ``(pre, post)``.

    Raises
    ------
    ValueError
        As `JITCScalarR` does.

    Examples
    --------
    >>> from brainir.event import JITCScalarC
    >>> matrix = JITCScalarC((2.0, 0.5, 42), shape=(3, 4))
    >>> bool((matrix.T.todense() == matrix.todense().T).all())
    True
    """

    by_rows = False

    def transpose(self, axes: Any = None) -> JITCScalarR:
        """Return the matrix with rows and columns exchanged: the same connections."""
        return self._with(self.weight, self.seed, JITCScalarR)
