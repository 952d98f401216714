"""Small helpers of programs that build and run models."""

from __future__ import annotations

import gc
import math
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import jax

from ..state import render

__all__ = [
    "BoundedCache",
    "PrettyDict",
    "PrettyList",
    "PrettyObject",
    "PrettyRepr",
    "clear_buffer_memory",
    "get_unique_name",
    "is_instance_eval",
    "not_instance_eval",
    "split_total",
]

_names: Counter[str] = Counter()
_naming = threading.Lock()


def get_unique_name(type_: str, prefix: str = "") -> str:
    """Return a name that this function has not returned before: prefix, type, and a number.

    Examples
    --------
    >>> from brainir.util import get_unique_name
    >>> get_unique_name("layer") != get_unique_name("layer")
    True
    """
    with _naming:
        number = _names[prefix + type_]
        _names[prefix + type_] += 1
    return f"{prefix}{type_}{number}"


def split_total(total: int, fraction: float) -> int:
    """Return how many of `total` a fraction is, rounded down; an integer is that many itself.

    Parameters
    ----------
    total : int
        How many there are, more than none.
    fraction : float or int
        From 0.0 to 1.0, or an integer from 0 to `total`.

    Raises
    ------
    TypeError, ValueError
        If one of them is of another type, or out of bounds.

    Examples
    --------
    >>> from brainir.util import split_total
    >>> split_total(10, 0.25), split_total(10, 4)
    (2, 4)
    """
    if isinstance(total, bool) or not isinstance(total, int):
        raise TypeError(f"the total is an integer, not {total!r}")
    if isinstance(fraction, bool) or not isinstance(fraction, int | float):
        raise TypeError(f"a fraction is a number, not {fraction!r}")
    if total <= 0:
        raise ValueError(f"the total is more than 0, not {total}")
    limit = total if isinstance(fraction, int) else 1
    if not 0 <= fraction <= limit:
        raise ValueError(f"the fraction is from 0 to {limit}, not {fraction}")
    return fraction if isinstance(fraction, int) else math.floor(total * fraction)


def is_instance_eval(*cls: type) -> Callable[[Any], bool]:
    """Return a function that tells whether something is an instance of one of some classes.

    Examples
    --------
    >>> from brainir import util
    >>> is_number = util.is_instance_eval(int, float)
    >>> is_number(1.5), is_number("1.5")
    (True, False)
    """
    return lambda x: isinstance(x, cls)


def not_instance_eval(*cls: type) -> Callable[[Any], bool]:
    """Return a function that tells whether something is an instance of none of some classes.

    Examples
    --------
    >>> from brainir import util
    >>> is_other = util.not_instance_eval(int, float)
    >>> is_other(1.5), is_other("1.5")
    (False, True)
    """
    return lambda x: not isinstance(x, cls)


def clear_buffer_memory(
    platform: str | None = None, array: bool = True, compilation: bool = False
) -> None:
    """Free the memory of all arrays on a device; every array that is still in use is lost.

    Parameters
    ----------
    platform : str, optional
        Such as ``cpu`` or ``gpu``; by default that of JAX.
    array : bool
        Whether to delete arrays.
    compilation : bool
        Whether JAX forgets what it has compiled.

    Raises
    ------
    RuntimeError
        If there is no such platform.

    Examples
    --------
    >>> from brainir import util
    >>> util.clear_buffer_memory(array=False, compilation=False)
    """
    if array:
        wanted = platform or jax.default_backend()
        jax.devices(wanted)
        for held in jax.live_arrays(wanted):
            held.delete()
    if compilation:
        jax.clear_caches()
    gc.collect()


class BoundedCache:
    """A table of at most so many entries; the one that was not used for the longest time goes.

    It may be used by several threads at a time.

    Parameters
    ----------
    maxsize : int
        How many entries it keeps.

    Raises
    ------
    ValueError
        If that is less than one.

    Examples
    --------
    >>> from brainir.util import BoundedCache
    >>> cache = BoundedCache(maxsize=2)
    >>> for number in (1, 2, 3):
    ...     cache.set(number, number * number)
    >>> cache.get(1, "gone"), cache.get(3)
    ('gone', 9)
    """

    def __init__(self, maxsize: int = 128) -> None:
        if maxsize < 1:
            raise ValueError(f"a cache keeps at least 1 entry, not {maxsize}")
        self.maxsize = maxsize
        self._table: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.RLock()
        self._hits = self._misses = 0

    def get(self, key: Hashable, default: Any = None) -> Any:
        """Return an entry, or `default` if there is none."""
        with self._lock:
            if key not in self._table:
                self._misses += 1
                return default
            self._hits += 1
            self._table.move_to_end(key)
            return self._table[key]

    def set(self, key: Hashable, value: Any) -> None:
        """Add an entry.

        Raises
        ------
        ValueError
            If there is one of that key; use :meth:`replace`.
        """
        with self._lock:
            if key in self._table:
                raise ValueError(f"{key!r} is there already; use replace")
            self._table[key] = value
            while len(self._table) > self.maxsize:
                self._table.popitem(last=False)

    def replace(self, key: Hashable, value: Any) -> None:
        """Give an entry another value.

        Raises
        ------
        KeyError
            If there is none of that key.
        """
        with self._lock:
            if key not in self._table:
                raise KeyError(key)
            self._table[key] = value
            self._table.move_to_end(key)

    def pop(self, key: Hashable, *default: Any) -> Any:
        """Drop an entry and return it, or a default if one is given."""
        with self._lock:
            return self._table.pop(key, *default)

    def clear(self) -> None:
        """Drop all entries, and begin to count anew."""
        with self._lock:
            self._table.clear()
            self._hits = self._misses = 0

    def keys(self) -> list[Hashable]:
        """Return the keys, the least recently used first."""
        with self._lock:
            return list(self._table)

    def get_stats(self) -> dict[str, Any]:
        """Return the size, its limit, and how often entries were found and not found."""
        with self._lock:
            asked = self._hits + self._misses
            return {
                "size": len(self._table),
                "maxsize": self.maxsize,
                "hits": self._hits,
                "misses": self._misses,
                "hit_rate": 100.0 * self._hits / asked if asked else 0.0,
            }

    def __contains__(self, key: Hashable) -> bool:
        return key in self._table

    def __len__(self) -> int:
        return len(self._table)


class PrettyRepr:
    """An object that prints with indentation what its ``__rich_repr__`` yields.

    Examples
    --------
    >>> from brainir import util
    >>> class Cell(util.PrettyRepr):
    ...     def __rich_repr__(self):
    ...         yield "tau", 10.0
    ...         yield "size", (2, 3)
    >>> Cell()
    Cell(
      tau=10.0,
      size=(2, 3)
    )
    """

    def __rich_repr__(self) -> Iterator[Any]:
        """Yield names and values; a subclass says which."""
        yield from ()

    def __repr__(self) -> str:
        return render(self)


class PrettyObject(PrettyRepr):
    """An object that prints its attributes, one a line.

    Examples
    --------
    >>> from brainir.util import PrettyObject
    >>> class Settings(PrettyObject):
    ...     def __init__(self):
    ...         self.rate, self._hidden, self.unset = 0.1, 2, None
    >>> Settings()
    Settings(
      rate=0.1,
      unset=None
    )
    """

    def __rich_repr__(self) -> Iterator[tuple[str, Any]]:
        """Yield the attributes whose names do not begin with ``_``."""
        for name, value in vars(self).items():
            shown = self.__pretty_repr_item__(name, value)
            if shown is not None:
                yield shown

    def __pretty_repr_item__(self, k: str, v: Any) -> tuple[str, Any] | None:
        """Return how an attribute is shown, or None if it is not."""
        return None if k.startswith("_") else (k, v)


@jax.tree_util.register_pytree_node_class
class PrettyList(list[Any]):
    """A list that prints with indentation, and is a JAX pytree.

    Examples
    --------
    >>> from brainir import util
    >>> util.PrettyList([1.0, [2.0]])
    [1.0, [2.0]]
    """

    def __repr__(self) -> str:
        return render(list(self))

    def tree_flatten(self) -> tuple[tuple[Any, ...], None]:
        """Flatten for JAX."""
        return tuple(self), None

    @classmethod
    def tree_unflatten(cls, _: None, values: Any) -> PrettyList:
        """Rebuild from the values."""
        return cls(values)


@jax.tree_util.register_pytree_node_class
class PrettyDict(dict[Any, Any]):
    """A dictionary that prints with indentation, and is a JAX pytree.

    Examples
    --------
    >>> from brainir import util
    >>> util.PrettyDict(tau=1.0, reset={"v": 0.0})
    {'tau': 1.0, 'reset': {'v': 0.0}}
    """

    def __repr__(self) -> str:
        return render(dict(self))

    def to_dict(self) -> dict[Any, Any]:
        """Return a plain dictionary."""
        return dict(self)

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Flatten for JAX: the values, and the keys."""
        return tuple(self.values()), tuple(self)

    @classmethod
    def tree_unflatten(cls, keys: tuple[Any, ...], values: Any) -> PrettyDict:
        """Rebuild from the keys and the values."""
        return cls(zip(keys, values, strict=True))
