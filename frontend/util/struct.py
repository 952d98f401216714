"""Classes and dictionaries that cannot be changed and are JAX pytrees."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, Self, TypeVar, dataclass_transform, overload

import jax

from ..state import render

__all__ = [
    "FrozenDict",
    "PyTreeNode",
    "copy",
    "dataclass",
    "field",
    "freeze",
    "is_dataclass",
    "pop",
    "pretty_repr",
    "unfreeze",
]

K = TypeVar("K")
V = TypeVar("V")
C = TypeVar("C", bound=type)


def field(
    pytree_node: bool = True, *, metadata: Mapping[str, Any] | None = None, **rest: Any
) -> Any:
    """Describe a field of a :func:`dataclass`.

    Parameters
    ----------
    pytree_node : bool
        Whether it is data, which transformations see. All else belongs to the structure: it is
        compared by ``==`` and hashed, and a function is compiled again for another value of it.
    metadata, **rest
        As for ``dataclasses.field``.

    Examples
    --------
    >>> import jax
    >>> from brainir import util
    >>> @util.dataclass
    ... class Cell:
    ...     v: float
    ...     name: str = util.field(pytree_node=False)
    >>> jax.tree.leaves(Cell(1.0, "soma"))
    [1.0]
    """
    return dataclasses.field(metadata={**(metadata or {}), "pytree_node": pytree_node}, **rest)


@overload
def dataclass(cls: C, /, **options: Any) -> C: ...
@overload
def dataclass(cls: None = None, /, **options: Any) -> Callable[[C], C]: ...
@dataclass_transform(field_specifiers=(field,), frozen_default=True)
def dataclass(cls: Any = None, /, **options: Any) -> Any:
    """Make a class a frozen dataclass and a JAX pytree, with a method ``replace``.

    Parameters
    ----------
    cls : type
        The class. Without one, a decorator is returned.
    **options
        As for ``dataclasses.dataclass``; ``frozen`` is true.

    Raises
    ------
    ValueError
        If ``frozen=False`` is asked for.

    Examples
    --------
    >>> import jax
    >>> from brainir.util import struct
    >>> @struct.dataclass
    ... class Layer:
    ...     weight: float
    ...     name: str = struct.field(pytree_node=False, default="dense")
    >>> jax.tree.map(lambda x: 2 * x, Layer(1.5)).replace(name="other")
    Layer(weight=3.0, name='other')
    """
    if not options.setdefault("frozen", True):
        raise ValueError("a dataclass that is a pytree is frozen; use its method replace")
    return (lambda c: _as_pytree(c, options)) if cls is None else _as_pytree(cls, options)


def _as_pytree(cls: Any, options: dict[str, Any]) -> Any:
    if "_brainir_pytree" in vars(cls):
        return cls
    made = dataclasses.dataclass(**options)(cls)
    fields = [f for f in dataclasses.fields(made) if f.init]
    data = [f.name for f in fields if f.metadata.get("pytree_node", True)]
    meta = [f.name for f in fields if not f.metadata.get("pytree_node", True)]
    jax.tree_util.register_dataclass(made, data, meta)
    made._brainir_pytree = True
    if "replace" not in vars(made):
        made.replace = lambda self, **changes: dataclasses.replace(self, **changes)
    return made


def is_dataclass(cls: Any) -> bool:
    """Whether a class, or the class of an object, was made by :func:`dataclass`.

    Examples
    --------
    >>> from brainir import util
    >>> @util.dataclass
    ... class Cell:
    ...     v: float
    >>> util.is_dataclass(Cell), util.is_dataclass(dict)
    (True, False)
    """
    return "_brainir_pytree" in vars(cls if isinstance(cls, type) else type(cls))


@dataclass_transform(field_specifiers=(field,), frozen_default=True)
class PyTreeNode:
    """A class whose subclasses are each made a :func:`dataclass`.

    Examples
    --------
    >>> import jax
    >>> from brainir.util import struct
    >>> class Pair(struct.PyTreeNode):
    ...     first: float
    ...     second: float
    >>> jax.tree.leaves(Pair(1.0, 2.0).replace(first=3.0))
    [3.0, 2.0]
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__()
        dataclass(cls, **options)

    def replace(self, **changes: Any) -> Self:
        """Return the same with other values in some fields."""
        return dataclasses.replace(self, **changes)  # pyright: ignore


@jax.tree_util.register_pytree_with_keys_class
class FrozenDict(Mapping[K, V], Generic[K, V]):
    """A dictionary that cannot be changed, with dictionaries in it that cannot either.

    Examples
    --------
    >>> from brainir.util import FrozenDict
    >>> frozen = FrozenDict({"a": {"b": 1}})
    >>> frozen.copy({"c": 2}), frozen.pop("a")[1]["b"]
    (FrozenDict({'a': {'b': 1}, 'c': 2}), 1)
    >>> frozen["a"] = 3
    Traceback (most recent call last):
    TypeError: 'FrozenDict' object does not support item assignment
    """

    __slots__ = ("_hash", "_held")

    def __init__(self, *args: Any, **entries: Any) -> None:
        given: dict[Any, Any] = dict(*args, **entries)
        self._held: dict[K, V] = {key: _frozen(value) for key, value in given.items()}
        self._hash: int | None = None

    def __getitem__(self, key: K) -> V:
        return self._held[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self._held.items()))
        return self._hash

    def __repr__(self) -> str:
        return f"FrozenDict({self.unfreeze()!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenDict, (self.unfreeze(),)

    def copy(self, add_or_replace: Mapping[K, V] | None = None) -> FrozenDict[K, V]:
        """Return the same with some more entries, or others."""
        return FrozenDict({**self._held, **(add_or_replace or {})})

    def pop(self, key: K) -> tuple[FrozenDict[K, V], V]:
        """Return the same without one entry, and what that entry holds.

        Raises
        ------
        KeyError
            If there is no such entry.
        """
        rest = dict(self._held)
        value = rest.pop(key)
        return FrozenDict(rest), value

    def unfreeze(self) -> dict[K, V]:
        """Return plain dictionaries."""
        return {key: _thawed(value) for key, value in self._held.items()}

    def pretty_repr(self) -> str:
        """Return text with types in place of arrays."""
        return pretty_repr(self)

    def tree_flatten_with_keys(self) -> tuple[Any, tuple[K, ...]]:
        """Flatten for JAX: the values with their keys, and the keys."""
        keys = tuple(self._held)
        return [(jax.tree_util.DictKey(k), v) for k, v in self._held.items()], keys

    @classmethod
    def tree_unflatten(cls, keys: tuple[Any, ...], values: Iterable[Any]) -> FrozenDict[Any, Any]:
        """Rebuild from the keys and the values."""
        made = cls()
        made._held = dict(zip(keys, values, strict=True))
        return made


def _frozen(value: Any) -> Any:
    return FrozenDict(value) if isinstance(value, dict) else value


def _thawed(value: Any) -> Any:
    if isinstance(value, FrozenDict):
        return value.unfreeze()
    return {k: _thawed(v) for k, v in value.items()} if type(value) is dict else value


def freeze(x: Mapping[K, V]) -> FrozenDict[K, V]:
    """Return a dictionary, with all those in it, as one that cannot be changed.

    Examples
    --------
    >>> from brainir import util
    >>> settings = util.freeze({"layer": {"size": 3}})
    >>> settings["layer"]["size"] = 4
    Traceback (most recent call last):
        ...
    TypeError: 'FrozenDict' object does not support item assignment
    """
    return FrozenDict(x)


def unfreeze(x: FrozenDict[K, V] | dict[K, V]) -> dict[K, V]:
    """Return a dictionary, with all those in it, as a new one that can be changed.

    Examples
    --------
    >>> from brainir import util
    >>> settings = util.unfreeze(util.freeze({"layer": {"size": 3}}))
    >>> settings["layer"]["size"] = 4
    >>> settings
    {'layer': {'size': 4}}
    """
    return _thawed(x)


def copy(
    x: FrozenDict[K, V] | dict[K, V], add_or_replace: Mapping[K, V] | None = None
) -> FrozenDict[K, V] | dict[K, V]:
    """Return a dictionary of the same class with some more entries, or others.

    Examples
    --------
    >>> from brainir import util
    >>> settings = util.freeze({"size": 3})
    >>> dict(util.copy(settings, {"gain": 2.0}))
    {'size': 3, 'gain': 2.0}
    """
    if isinstance(x, FrozenDict):
        return x.copy(add_or_replace)
    return {**jax.tree.map(lambda leaf: leaf, x), **(add_or_replace or {})}


def pop(x: FrozenDict[K, V] | dict[K, V], key: K) -> tuple[FrozenDict[K, V] | dict[K, V], V]:
    """Return a dictionary of the same class without one entry, and what that entry holds.

    Examples
    --------
    >>> from brainir import util
    >>> rest, size = util.pop(util.freeze({"size": 3, "gain": 2.0}), "size")
    >>> dict(rest), size
    ({'gain': 2.0}, 3)
    """
    if isinstance(x, FrozenDict):
        return x.pop(key)
    rest = dict(x)
    value = rest.pop(key)
    return rest, value


def pretty_repr(x: Any) -> str:
    """Return text with indentation, and types in place of large arrays.

    Examples
    --------
    >>> from brainir import nn, util
    >>> print(util.pretty_repr({"weights": nn.Linear(2, 1).weight.value["weight"]}))
    {'weights': float32[2,1]}
    """
    if isinstance(x, FrozenDict):
        return f"FrozenDict({render(x.unfreeze())})"
    return render(x)
