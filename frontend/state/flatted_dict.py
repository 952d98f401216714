"""Dictionaries keyed by the paths of a model, flat and nested."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias, TypeVar, overload

import jax

from ..filter import Filter, to_predicate
from .pretty import render

__all__ = ["FlattedDict", "NestedDict", "Path"]

Path: TypeAlias = tuple[Hashable, ...]
V = TypeVar("V")


@jax.tree_util.register_pytree_with_keys_class
class FlattedDict(dict[Path, V]):
    """A dictionary from path tuples to states or values, in the order of the model.

    It is a JAX pytree; its leaves, in that order, are its values. A gradient with respect to its
    states is a plain dictionary with the same keys. `NestedDict` holds the same with one
    dictionary for each step of the paths. ``a | b`` has the entries of both, those of `b` where
    both have a path; ``a - b`` has the entries of `a` at whose paths `b` has none.

    Examples
    --------
    >>> from brainir.frontend.nn import FlattedDict
    >>> weights = FlattedDict({("cell", "w"): 1.0, ("cell", "b"): 2.0, ("readout", "w"): 3.0})
    >>> weights.to_nest()
    {'cell': {'w': 1.0, 'b': 2.0}, 'readout': {'w': 3.0}}
    >>> list(weights.filter(lambda path, value: path[-1] == "w"))
    [('cell', 'w'), ('readout', 'w')]
    """

    __slots__ = ()

    @overload
    def filter(self, filter: Filter = ..., /) -> FlattedDict[V]: ...
    @overload
    def filter(
        self, first: Filter, second: Filter, /, *more: Filter
    ) -> tuple[FlattedDict[V], ...]: ...
    def filter(self, *filters: Filter) -> FlattedDict[V] | tuple[FlattedDict[V], ...]:
        """Return the entries that a filter chooses; for several filters, a tuple of dictionaries.

        With no filter all entries are chosen. With several, each entry goes to the first filter
        that chooses it, and an entry that none chooses is left out.

        Raises
        ------
        ValueError
            If ``...`` or ``True``, which leave nothing over, stand before the last filter.
        """
        if not filters:
            return self
        parts, _ = self._shared_out(filters)
        return parts[0] if len(parts) == 1 else parts

    subset = filter

    @overload
    def split(self, filter: Filter = ..., /) -> FlattedDict[V]: ...
    @overload
    def split(
        self, first: Filter, second: Filter, /, *more: Filter
    ) -> tuple[FlattedDict[V], ...]: ...
    def split(self, *filters: Filter) -> FlattedDict[V] | tuple[FlattedDict[V], ...]:
        """Return what :meth:`filter` does, where no entry may be left over.

        Raises
        ------
        ValueError
            As :meth:`filter` does, and if no filter chooses an entry.
        """
        if not filters:
            return self
        parts, rest = self._shared_out(filters)
        if rest:
            raise ValueError(
                f"no filter chooses what stands at {_abridged(rest)}; give ... as the last filter "
                "to get all that the others leave over"
            )
        return parts[0] if len(parts) == 1 else parts

    def _shared_out(self, filters: tuple[Filter, ...]) -> tuple[tuple[FlattedDict[V], ...], Any]:
        for index, filter in enumerate(filters[:-1]):
            if filter is Ellipsis or filter is True:
                raise ValueError(
                    f"filter {index} is {filter}, which leaves nothing for the filters after it; "
                    "put it last"
                )
        predicates = [to_predicate(filter) for filter in filters]
        parts = tuple(FlattedDict[V]() for _ in filters)
        rest = FlattedDict[V]()
        for path, value in self.items():
            chosen = (p for p, choose in zip(parts, predicates, strict=True) if choose(path, value))
            next(chosen, rest)[path] = value
        return parts, rest

    @classmethod
    def from_nest(cls, nest: Mapping[Any, Any]) -> FlattedDict[Any]:
        """Return the flat form of nested dictionaries.

        Examples
        --------
        >>> from brainir.frontend.nn import FlattedDict
        >>> FlattedDict.from_nest({"cell": {"w": 1.0}})
        {('cell', 'w'): 1.0}
        """
        return cls(_entries(nest, ()))

    def to_nest(self) -> NestedDict:
        """Return nested dictionaries, one for each step of the paths.

        Raises
        ------
        ValueError
            If a path is empty, or goes on where another one ends.
        """
        nest = NestedDict()
        for path, value in self.items():
            if not path:
                raise ValueError("an entry at the empty path has no place in nested dictionaries")
            inner: Any = nest
            for depth, key in enumerate(path[:-1]):
                inner = inner.setdefault(key, NestedDict())
                if not isinstance(inner, NestedDict):
                    raise ValueError(f"the path {path[: depth + 1]} ends, yet {path} goes on")
            if path[-1] in inner:
                raise ValueError(f"the path {path} ends, yet another one goes on from there")
            inner[path[-1]] = value
        return nest

    @classmethod
    def merge(cls, *others: Mapping[Any, Any]) -> FlattedDict[Any]:
        """Return the entries of flat or nested dictionaries together; the last counts.

        Examples
        --------
        >>> from brainir.frontend.nn import FlattedDict
        >>> FlattedDict.merge({("a", "b"): 1}, {("a", "b"): 2, ("c",): 3})
        {('a', 'b'): 2, ('c',): 3}
        """
        return cls(item for other in others for item in as_flat(other).items())

    def map_values(self, function: Callable[[V], Any]) -> FlattedDict[Any]:
        """Return a dictionary with the same paths, and what a function makes of the values."""
        return FlattedDict((path, function(value)) for path, value in self.items())

    def treefy_state(self) -> FlattedDict[Any]:
        """Return a dictionary with a ``TreefyState`` in the place of each State."""
        return self.map_values(_as_reference)

    def to_dict(self) -> dict[Path, V]:
        """Return a plain dictionary with the same entries."""
        return dict(self)

    def to_pure_dict(self) -> dict[Hashable, Any]:
        """Return nested plain dictionaries."""
        return self.to_nest().to_pure_dict()

    def to_dict_values(self) -> dict[Path, Any]:
        """Return a plain dictionary of what the states hold, with the same keys."""
        return {path: getattr(state, "value", state) for path, state in self.items()}

    def assign_dict_values(self, values: Mapping[Path, Any]) -> None:
        """Assign to the state at each path of `values` the value there.

        Raises
        ------
        KeyError
            If `values` has a path that this dictionary does not have; nothing is assigned then.
        """
        unknown = [path for path in values if path not in self]
        if unknown:
            raise KeyError(f"no state at {unknown[0]}; the paths are {_abridged(list(self))}")
        for path, value in values.items():
            if hasattr(self[path], "value"):
                self[path].value = value  # pyright: ignore[reportAttributeAccessIssue]
            else:
                self[path] = value

    def __or__(self, other: Any) -> Any:
        return FlattedDict.merge(self, other) if isinstance(other, Mapping) else NotImplemented

    def __ror__(self, other: Any) -> Any:
        return FlattedDict.merge(other, self) if isinstance(other, Mapping) else NotImplemented

    def __sub__(self, other: Any) -> Any:
        if not isinstance(other, Mapping):
            return NotImplemented
        without = as_flat(other)
        return FlattedDict((path, value) for path, value in self.items() if path not in without)

    def tree_flatten_with_keys(self):
        """Flatten for JAX: the values with their paths, and the paths."""
        children = [(jax.tree_util.DictKey(path), value) for path, value in self.items()]
        return children, tuple(self)

    @classmethod
    def tree_unflatten(cls, paths: tuple[Path, ...], values: Iterable[V]) -> FlattedDict[V]:
        """Rebuild from the paths and the values."""
        return cls(zip(paths, values, strict=True))

    def __repr__(self) -> str:
        return render(dict(self))


@jax.tree_util.register_pytree_with_keys_class
class NestedDict(dict[Any, Any]):
    """Nested dictionaries, one for each step of the paths of a model.

    It is the other form of a :class:`FlattedDict`, with the same methods, and a JAX pytree whose
    keys are in sorted order. Dictionaries inside become of this class, too, where
    :meth:`from_flat` and ``FlattedDict.to_nest`` make it.

    Examples
    --------
    >>> from brainir.frontend.nn import NestedDict
    >>> weights = NestedDict({"cell": {"w": 1.0, "b": 2.0}, "readout": {"w": 3.0}})
    >>> weights.filter(lambda path, value: path[-1] == "w")
    {'cell': {'w': 1.0}, 'readout': {'w': 3.0}}
    >>> weights - {"cell": {"w": 0.0}}
    {'cell': {'b': 2.0}, 'readout': {'w': 3.0}}
    >>> weights.to_flat()
    {('cell', 'w'): 1.0, ('cell', 'b'): 2.0, ('readout', 'w'): 3.0}
    """

    __slots__ = ()

    @classmethod
    def from_flat(cls, flat: Mapping[Path, Any]) -> NestedDict:
        """Return the nested form of a dictionary keyed by paths."""
        return FlattedDict(flat).to_nest()

    def to_flat(self) -> FlattedDict[Any]:
        """Return the flat form."""
        return FlattedDict.from_nest(self)

    def filter(self, *filters: Filter) -> Any:
        """Return the entries that a filter chooses: see :meth:`FlattedDict.filter`."""
        return _nested(self.to_flat().filter(*filters))

    subset = filter

    def split(self, *filters: Filter) -> Any:
        """Return the entries by filter, none left over: see :meth:`FlattedDict.split`."""
        return _nested(self.to_flat().split(*filters))

    @classmethod
    def merge(cls, *others: Mapping[Any, Any]) -> NestedDict:
        """Return the entries of flat or nested dictionaries together; the last counts."""
        return FlattedDict.merge(*others).to_nest()

    def treefy_state(self) -> NestedDict:
        """Return a dictionary with a ``TreefyState`` in the place of each State."""
        return self.to_flat().treefy_state().to_nest()

    def to_dict(self) -> dict[Hashable, Any]:
        """Return nested plain dictionaries."""
        return {
            key: NestedDict(part).to_dict() if isinstance(part, Mapping) else part
            for key, part in self.items()
        }

    to_pure_dict = to_dict

    def to_dict_values(self) -> dict[Path, Any]:
        """Return a plain dictionary by path of what the states hold."""
        return self.to_flat().to_dict_values()

    def assign_dict_values(self, values: Mapping[Any, Any]) -> None:
        """Assign to the state at each path of `values`, flat or nested, the value there.

        Raises
        ------
        KeyError
            If `values` has a path that this dictionary does not have; nothing is assigned then.
        """
        flat = self.to_flat()
        flat.assign_dict_values(as_flat(values))
        self.update(flat.to_nest())

    def __or__(self, other: Any) -> Any:
        return NestedDict.merge(self, other) if isinstance(other, Mapping) else NotImplemented

    def __ror__(self, other: Any) -> Any:
        return NestedDict.merge(other, self) if isinstance(other, Mapping) else NotImplemented

    def __sub__(self, other: Any) -> Any:
        return (self.to_flat() - other).to_nest() if isinstance(other, Mapping) else NotImplemented

    def tree_flatten_with_keys(self):
        """Flatten for JAX: the parts with their keys, and the keys."""
        keys = sorted(self, key=lambda key: (type(key).__name__, key))
        parts = ((key, self[key]) for key in keys)
        children = [(jax.tree_util.DictKey(key), _as_nested(part)) for key, part in parts]
        return children, tuple(keys)

    @classmethod
    def tree_unflatten(cls, keys: tuple[Hashable, ...], parts: Iterable[Any]) -> NestedDict:
        """Rebuild from the keys and the parts."""
        return cls(zip(keys, parts, strict=True))

    def __repr__(self) -> str:
        return render(self.to_dict())


def _entries(nest: Mapping[Any, Any], above: Path) -> Iterator[tuple[Path, Any]]:
    for key, part in nest.items():
        path = (*above, key)
        if isinstance(part, Mapping):
            yield from _entries(part, path)
        else:
            yield path, part


def as_flat(entries: Mapping[Any, Any]) -> FlattedDict[Any]:
    """Return a mapping by paths, or nested mappings, as a `FlattedDict`."""
    if isinstance(entries, FlattedDict):
        return entries
    if entries and all(isinstance(key, tuple) for key in entries):
        return FlattedDict(entries)
    return FlattedDict.from_nest(entries)


def _nested(flat: Any) -> Any:
    return tuple(map(_nested, flat)) if isinstance(flat, tuple) else flat.to_nest()


def _as_nested(part: Any) -> Any:
    return NestedDict(part) if type(part) is dict else part


def _as_reference(state: Any) -> Any:
    return state.to_state_ref() if hasattr(state, "to_state_ref") else state


def _abridged(paths: Iterable[Path]) -> str:
    paths = list(paths)
    more = f", and {len(paths) - 8} more" if len(paths) > 8 else ""
    return ", ".join(map(str, paths[:8])) + more
