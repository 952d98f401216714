"""Dictionaries with the operations of sets, and one of States."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Self

import jax

from ..capture import Cell
from ..filter import Filter, to_predicate

__all__ = ["DictManager", "StateDictManager"]


class DictManager(dict[Any, Any]):
    """A dictionary that can be filtered, split, and compared with others.

    It is a JAX pytree; its leaves are its values, in their order. Whatever makes another dictionary
    of it returns one of the same class.

    Examples
    --------
    >>> from brainir.util import DictManager
    >>> numbers = DictManager(a=1, b=2.0)
    >>> numbers.subset(int), numbers + {"c": 3}
    ({'a': 1}, {'a': 1, 'b': 2.0, 'c': 3})
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        jax.tree_util.register_pytree_node_class(cls)

    def subset(self, filter: Filter) -> Self:
        """Return the entries whose value a filter chooses, such as a class."""
        predicate = to_predicate(filter)
        return self._of(item for item in self.items() if predicate((item[0],), item[1]))

    def not_subset(self, filter: Filter) -> Self:
        """Return the entries whose value a filter does not choose."""
        predicate = to_predicate(filter)
        return self._of(item for item in self.items() if not predicate((item[0],), item[1]))

    def split(self, first: Filter, *others: Filter) -> tuple[Self, ...]:
        """Return a dictionary for each filter, and one of what none chooses.

        Every entry is in that of the first filter that chooses it.
        """
        predicates = [to_predicate(filter) for filter in (first, *others)]
        parts: list[list[tuple[Any, Any]]] = [[] for _ in (*predicates, None)]
        for key, value in self.items():
            chosen = (i for i, predicate in enumerate(predicates) if predicate((key,), value))
            parts[next(chosen, len(predicates))].append((key, value))
        return tuple(map(self._of, parts))

    def filter_by_predicate(self, predicate: Callable[[Any, Any], bool]) -> Self:
        """Return the entries of which ``predicate(key, value)`` is true."""
        return self._of(item for item in self.items() if predicate(*item))

    def map_values(self, function: Callable[[Any], Any]) -> Self:
        """Return the same keys with what a function makes of the values."""
        return self._of((key, function(value)) for key, value in self.items())

    def map_keys(self, function: Callable[[Any], Any]) -> Self:
        """Return the same values under what a function makes of the keys.

        Raises
        ------
        ValueError
            If it makes the same of two keys.
        """
        made = self._of((function(key), value) for key, value in self.items())
        if len(made) != len(self):
            raise ValueError("map_keys would put two values under one key")
        return made

    def unique(self) -> Self:
        """Return the entries without those whose value, the same object, came before."""
        first: dict[int, tuple[Any, Any]] = {}
        for key, value in self.items():
            first.setdefault(id(value), (key, value))
        return self._of(first.values())

    def unique_(self) -> Self:
        """Drop the entries whose value, the same object, came before, and return itself."""
        kept = self.unique()
        for key in [key for key in self if key not in kept]:
            del self[key]
        return self

    def add_unique_key(self, key: Any, value: Any) -> None:
        """Add an entry.

        Raises
        ------
        ValueError
            If the key stands for another object already.
        """
        if key in self and self[key] is not value:
            raise ValueError(f"{key!r} stands for another value already: {self[key]!r}")
        self[key] = value

    def add_unique_value(self, key: Any, value: Any) -> bool:
        """Add an entry if no other has this very object; whether it was added."""
        if any(value is held for held in self.values()):
            return False
        self[key] = value
        return True

    def assign(self, *dictionaries: Mapping[Any, Any], **entries: Any) -> None:
        """Add the entries of other dictionaries, which win over the present ones."""
        for dictionary in (*dictionaries, entries):
            if not isinstance(dictionary, Mapping):
                raise TypeError(f"a dictionary is needed, not {type(dictionary).__name__}")
            for key, value in dictionary.items():
                self[key] = value

    def pop_by_keys(self, keys: Iterable[Hashable]) -> None:
        """Drop the entries of some keys."""
        for key in keys:
            self.pop(key, None)

    def pop_by_values(self, values: Iterable[Any], by: str = "id") -> None:
        """Drop the entries of some values, compared as :meth:`difference_by_values` does."""
        kept = self.difference_by_values(values, by)
        self.pop_by_keys([key for key in self if key not in kept])

    def difference_by_keys(self, keys: Iterable[Hashable]) -> Self:
        """Return the entries whose key is not one of these."""
        others = set(keys)
        return self._of(item for item in self.items() if item[0] not in others)

    def intersection_by_keys(self, keys: Iterable[Hashable]) -> Self:
        """Return the entries whose key is one of these."""
        others = set(keys)
        return self._of(item for item in self.items() if item[0] in others)

    def difference_by_values(self, values: Iterable[Any], by: str = "id") -> Self:
        """Return the entries whose value is not one of these.

        Values are compared as objects (``by="id"``) or by what they are (``by="value"``).

        Raises
        ------
        ValueError
            If `by` is neither.
        """
        among = _membership(values, by)
        return self._of(item for item in self.items() if not among(item[1]))

    def intersection_by_values(self, values: Iterable[Any], by: str = "id") -> Self:
        """Return the entries whose value is one of these; see :meth:`difference_by_values`."""
        among = _membership(values, by)
        return self._of(item for item in self.items() if among(item[1]))

    def to_dict(self) -> dict[Any, Any]:
        """Return a plain dictionary."""
        return dict(self)

    def copy(self) -> Self:
        """Return another dictionary of the same entries."""
        return self._of(self.items())

    def __add__(self, other: Mapping[Any, Any]) -> Self:
        if not isinstance(other, Mapping):
            return NotImplemented
        return self._of([*self.items(), *other.items()])

    def __or__(self, other: Mapping[Any, Any]) -> Self:  # pyright: ignore
        return self + other

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Flatten for JAX: the values, and the keys."""
        return tuple(self.values()), tuple(self)

    @classmethod
    def tree_unflatten(cls, keys: tuple[Any, ...], values: Iterable[Any]) -> Self:
        """Rebuild from the keys and the values."""
        made = cls()
        for key, value in zip(keys, values, strict=True):
            dict.__setitem__(made, key, value)
        return made

    def _of(self, items: Iterable[tuple[Any, Any]]) -> Self:
        return type(self)(items)


jax.tree_util.register_pytree_node_class(DictManager)


class StateDictManager(DictManager):
    """A dictionary of States.

    Raises
    ------
    TypeError
        If it is given something else by ``states[key] = ...``, or on creation.

    Examples
    --------
    >>> import brainir
    >>> states = brainir.StateDictManager(w=brainir.ParamState(1.0), n=brainir.State(0))
    >>> states.assign_values({"w": 2.0})
    >>> states.collect_values()
    {'w': 2.0, 'n': 0}
    """

    def __init__(self, *args: Any, **entries: Any) -> None:
        super().__init__()
        for key, state in dict(*args, **entries).items():
            self[key] = state

    def __setitem__(self, key: Any, state: Any) -> None:
        if not isinstance(state, Cell):
            raise TypeError(
                f"a StateDictManager holds States, not {type(state).__name__} as {key!r}; "
                "assign_values gives States new values"
            )
        super().__setitem__(key, state)

    def assign_values(self, *values: Mapping[Any, Any]) -> None:
        """Give States new values by their keys.

        Raises
        ------
        KeyError
            If there is no State of a key; no State has changed then.
        """
        for dictionary in values:
            unknown = [key for key in dictionary if key not in self]
            if unknown:
                raise KeyError(f"no State {unknown[0]!r}; there are {', '.join(map(str, self))}")
        for dictionary in values:
            for key, value in dictionary.items():
                self[key].value = value

    def collect_values(self) -> dict[Any, Any]:
        """Return what the States hold, by the same keys."""
        return {key: state.value for key, state in self.items()}

    def to_dict_values(self) -> dict[Any, Any]:
        """Return what the States hold, by the same keys."""
        return self.collect_values()

    def split_values(self, *filters: Filter) -> tuple[dict[Any, Any], ...]:
        """Return what the States hold, split as :meth:`split` does."""
        if not filters:
            return (self.collect_values(),)
        return tuple(part.collect_values() for part in self.split(*filters))


def _membership(values: Iterable[Any], by: str) -> Callable[[Any], bool]:
    held = list(values)
    if by == "id":
        return lambda value: any(value is other for other in held)
    if by == "value":
        return lambda value: any(bool(value == other) for other in held)
    raise ValueError(f"values are compared by 'id' or by 'value', not by {by!r}")
