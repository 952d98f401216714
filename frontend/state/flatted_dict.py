"""A dictionary keyed by the paths of a model."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar, overload

import jax

from ..filter import Filter, to_predicate
from .pretty import render

__all__ = ["FlattedDict", "Path"]

Path: TypeAlias = tuple[Hashable, ...]
V = TypeVar("V")


@jax.tree_util.register_pytree_with_keys_class
class FlattedDict(dict[Path, V]):
    """A dictionary from path tuples to states or values, in the order of the model.

    It is a JAX pytree; its leaves, in that order, are its values. A gradient with respect to its
    states is a plain dictionary with the same keys.

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
    def choose(self, filter: Filter = ..., /) -> FlattedDict[V]: ...
    @overload
    def choose(
        self, first: Filter, second: Filter, /, *more: Filter
    ) -> tuple[FlattedDict[V], ...]: ...
    def choose(self, *filters: Filter) -> FlattedDict[V] | tuple[FlattedDict[V], ...]:
        """Return the entries that a filter chooses; for several filters, a tuple of dictionaries.

        With no filter all entries are chosen. With several, each entry goes to the first filter
        that chooses it, and an entry that none chooses is left out.

        Raises
        ------
        ValueError
            If ``...`` or ``True``, which leave nothing over, stand before the last filter.
        """
        if len(filters) < 2:
            return self.filter(*filters) if filters else self
        return self.split(*filters)

    def filter(self, filter: Filter) -> FlattedDict[V]:
        """Return the entries that `filter` chooses."""
        predicate = to_predicate(filter)
        return FlattedDict(item for item in self.items() if predicate(*item))

    def split(self, *filters: Filter) -> tuple[FlattedDict[V], ...]:
        """Return one dictionary for each filter, each entry in that of the first to choose it."""
        for index, filter in enumerate(filters[:-1]):
            if filter is Ellipsis or filter is True:
                raise ValueError(
                    f"filter {index} is {filter}, which leaves nothing for the filters after it; "
                    "put it last"
                )
        predicates = [to_predicate(filter) for filter in filters]
        parts = tuple(FlattedDict[V]() for _ in filters)
        for path, value in self.items():
            for part, predicate in zip(parts, predicates, strict=True):
                if predicate(path, value):
                    part[path] = value
                    break
        return parts

    def to_nest(self) -> dict[Hashable, Any]:
        """Return nested plain dictionaries, one for each step of the paths."""
        nest: dict[Hashable, Any] = {}
        for (*above, last), value in self.items():
            inner = nest
            for key in above:
                inner = inner.setdefault(key, {})
            inner[last] = value
        return nest

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
            self[path].value = value  # pyright: ignore[reportAttributeAccessIssue]

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


def _abridged(paths: list[Path]) -> str:
    more = f", and {len(paths) - 8} more" if len(paths) > 8 else ""
    return ", ".join(map(str, paths[:8])) + more
