"""Snapshots: small hashable stand-ins for values, to tell later whether a value has changed."""

from __future__ import annotations

import dataclasses
import decimal
import weakref
from collections.abc import Hashable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

__all__ = ["holds_array", "identity", "is_gone", "snapshot", "static_key"]

SMALL = 64
"""Arrays of at most so many elements are compared by value, larger ones by identity."""


def snapshot(value: object) -> Hashable:
    """Return what equals the snapshot of another value if and only if both values are the same.

    Numbers, strings and arrays of at most 64 elements count by value and type, quantities also by
    unit, containers by their parts. Anything else (a traced value, a large array, a function) is
    the same only if it is the same object, and is not kept alive.

    Examples
    --------
    >>> import brainunit as u
    >>> from brainir.frontend.snapshot import snapshot
    >>> snapshot({"dt": 0.1 * u.ms}) == snapshot({"dt": 0.1 * u.ms})
    True
    >>> snapshot(1) == snapshot(1.0)
    False
    """
    leaves, tree = jax.tree.flatten(value)
    return tree, *map(_leaf_snapshot, leaves)


def static_key(value: object) -> Hashable:
    """Return what equals the key of another value if and only if both are the same to a program.

    It differs from :func:`snapshot` in what is neither number nor array: what can be hashed counts
    by :func:`identity`, so that two equal functions or settings are the same.

    Examples
    --------
    >>> import numpy as np
    >>> from brainir.frontend.snapshot import static_key
    >>> static_key(("relu", 2)) == static_key(("relu", 2)), static_key(2) == static_key(2.0)
    (True, False)
    >>> static_key(np.ones(2)) == static_key(np.ones(2))
    True
    """
    leaves, tree = jax.tree.flatten(value)
    return tree, *map(_static_leaf, leaves)


def _static_leaf(leaf: object) -> Hashable:
    if isinstance(leaf, np.ndarray | np.generic | jax.Array):
        return _leaf_snapshot(leaf)
    try:
        hash(leaf)
    except TypeError:
        return _Same(leaf)
    return identity(leaf)


def holds_array(snapshot: Hashable) -> bool:
    """Tell whether part of a snapshot is an array, perhaps a traced one, that counts as itself.

    Examples
    --------
    >>> import numpy as np
    >>> from brainir.frontend.snapshot import holds_array, snapshot
    >>> holds_array(snapshot(np.zeros(1000))), holds_array(snapshot(np.zeros(3)))
    (True, False)
    """
    return any(part.is_array for part in _same_parts(snapshot))


def is_gone(snapshot: Hashable) -> bool:
    """Tell whether an object that counts as itself is part of a snapshot, and exists no more."""
    return any(part.gone for part in _same_parts(snapshot))


def _same_parts(snapshot: Hashable) -> Iterator[_Same]:
    parts = snapshot if isinstance(snapshot, tuple) else ()
    return (part for part in parts if isinstance(part, _Same))


def _leaf_snapshot(leaf: object) -> Hashable:
    if isinstance(leaf, bool | int | float | complex | str | bytes):
        return identity(leaf)
    if isinstance(leaf, np.ndarray | np.generic | jax.Array) and _has_few_numbers(leaf):
        return type(leaf), leaf.dtype, leaf.shape, np.asarray(leaf).tobytes()
    return _Same(leaf)


def _has_few_numbers(array: np.ndarray | np.generic | jax.Array) -> bool:
    if isinstance(array, Tracer) or array.size > SMALL or array.dtype == object:
        return False
    return not jnp.issubdtype(array.dtype, jax.dtypes.extended)


def identity(value: object) -> Hashable:
    """Return what equals the identity of another hashable value only if nothing tells them apart.

    Python has ``2 == 2.0``, ``1 == True`` and ``0.0 == -0.0``, on which programs may act
    differently, and NaN is not equal to itself. Here types count, zeros have a sign, and NaN is
    NaN; also inside tuples, frozen sets and dataclasses. Objects of other classes are compared by
    their own ``==``.

    Examples
    --------
    >>> from brainir.frontend.snapshot import identity
    >>> identity((2, 0.0)) == identity((2, 0.0)), identity((2, 0.0)) == identity((2, -0.0))
    (True, False)
    >>> identity(2) == identity(2.0), identity(float("nan")) == identity(float("nan"))
    (False, True)
    """
    return type(value), _parts(value)


def _parts(value: object) -> Hashable:
    if isinstance(value, np.generic):
        return value.dtype, value.tobytes()
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, complex):
        return value.real.hex(), value.imag.hex()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, range):
        return value.start, value.stop, value.step
    if isinstance(value, tuple):
        return tuple(map(identity, value))
    if isinstance(value, frozenset):
        return frozenset(map(identity, value))
    if _compares_fields(value):
        compared = [f.name for f in dataclasses.fields(value) if f.compare]  # pyright: ignore
        return tuple(identity(getattr(value, name)) for name in compared)
    return value  # pyright: ignore[reportReturnType]


def _compares_fields(value: object) -> bool:
    """Whether a value is of a dataclass with the ``==`` that such classes get by themselves."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return False
    code = getattr(type(value).__eq__, "__code__", None)
    return code is not None and code.co_filename.startswith("<")


class _Same:
    """Equal only to what was made from the same object, while that is alive."""

    __slots__ = ("_hash", "_object", "is_array")

    def __init__(self, thing: object):
        self.is_array = isinstance(thing, np.ndarray | jax.Array)
        self._hash = id(thing)
        try:
            self._object = weakref.ref(thing)
        except TypeError:
            self._object = lambda: thing

    @property
    def gone(self) -> bool:
        """Whether the object exists no more."""
        return self._object() is None

    def __eq__(self, other: object) -> bool:
        mine = self._object()
        return isinstance(other, _Same) and mine is not None and mine is other._object()

    def __hash__(self) -> int:
        return self._hash
