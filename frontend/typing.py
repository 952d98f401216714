"""The types that models are annotated with.

Examples
--------
>>> from brainir.typing import ArrayLike, Size
>>> def leak(voltage: ArrayLike, size: Size) -> ArrayLike: ...
"""

from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType
from typing import Any, Protocol, TypeAlias, TypeVar, Union, runtime_checkable

import brainunit as u
import jax
import numpy as np

from .filter import Filter, Path, Predicate

__all__ = [
    "Array",
    "ArrayLike",
    "Axes",
    "DType",
    "DTypeLike",
    "Filter",
    "FilterLiteral",
    "Key",
    "Missing",
    "PathParts",
    "Predicate",
    "PyTree",
    "SeedOrKey",
    "Shape",
    "Size",
    "SupportsDType",
]

Leaf = TypeVar("Leaf")


@runtime_checkable
class SupportsDType(Protocol):
    """An object that carries a dtype, such as an array or a ``jax.ShapeDtypeStruct``.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir.typing import SupportsDType
    >>> def precision(array: SupportsDType) -> int:
    ...     return array.dtype.itemsize * 8
    >>> precision(jnp.zeros(3)), isinstance(1.0, SupportsDType)
    (32, False)
    """

    @property
    def dtype(self) -> np.dtype: ...


class Missing:
    """The class itself stands for an argument that was not given, where ``None`` has a meaning.

    Examples
    --------
    >>> from brainir.typing import Missing
    >>> def delayed(value, default=Missing):
    ...     return value if default is Missing else (value, default)
    >>> delayed(1.0), delayed(1.0, None)
    (1.0, (1.0, None))
    """


Array = jax.Array
DType = np.dtype

ArrayLike: TypeAlias = jax.Array | np.ndarray | np.generic | complex | u.Quantity | u.Unit
"""An array, a number (``complex`` stands for all Python numbers), or either of them with a unit.

`Unit` is here because brainunit declares ``1.0 * u.mV`` to be one, though it makes a Quantity.
"""

Size: TypeAlias = int | np.integer | Sequence[int] | Sequence[np.integer]
"""How many elements: one number, or one a dimension."""

Shape: TypeAlias = Sequence[int]
"""One number of elements a dimension."""

Axes: TypeAlias = int | Sequence[int]
"""One axis or several, negative ones counted from the end."""

DTypeLike: TypeAlias = str | type[Any] | np.dtype | SupportsDType
"""Anything that names a dtype: ``"float32"``, ``float``, ``jnp.bfloat16``, a dtype, an array."""

SeedOrKey: TypeAlias = int | np.integer | jax.Array | np.ndarray
"""A seed, a key of ``jax.random.key``, or the ``uint32`` words of a key."""

PyTree = Union[Leaf, Any]  # noqa: UP007  (with `|` it could not be written PyTree[Array])
"""Nested containers, as JAX knows them; ``PyTree[Array]`` says what its leaves are."""

PathParts: TypeAlias = Path
"""The steps on the path to a State, such as ``("layers", 0, "weight")``."""

Key: TypeAlias = str | int
"""One step on the path to a State: an attribute name, a dictionary key, or a list index."""

FilterLiteral: TypeAlias = type | str | Predicate | bool | EllipsisType | None
"""A filter that is not a list or tuple of others."""
