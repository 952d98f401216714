"""Nested dictionaries, flat ones, and ones with attributes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

import jax

from ..state import FlattedDict

__all__ = [
    "DotDict",
    "flat_mapping",
    "flatten_dict",
    "merge_dicts",
    "nest_mapping",
    "unflatten_dict",
]

Path = tuple[Hashable, ...]


@jax.tree_util.register_pytree_with_keys_class
class DotDict(dict[str, Any]):
    """A dictionary whose entries are attributes, too; dictionaries put into it become the same.

    It is a JAX pytree.

    Examples
    --------
    >>> from brainir.util import DotDict
    >>> config = DotDict(optimizer={"rate": 0.1})
    >>> config.optimizer.rate, config["optimizer"]["rate"]
    (0.1, 0.1)
    >>> config.optimizer.rate = 0.2
    >>> config.to_dict()
    {'optimizer': {'rate': 0.2}}
    """

    def __init__(self, *args: Any, **entries: Any) -> None:
        super().__init__()
        self.update(*args, **entries)

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> DotDict:
        """Return a dictionary, with all those in it, as one with attributes."""
        return cls(entries)

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, _dotted(value))

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(
                f"there is no entry {name!r}; there are {', '.join(map(str, self)) or 'none'}"
            ) from None

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(dict, name) or hasattr(type(self), name):
            raise AttributeError(
                f"{name!r} is a method of dictionaries; write dictionary[{name!r}] = ... instead"
            )
        self[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self:
            raise AttributeError(f"there is no entry {name!r}")
        del self[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(key for key in self if isinstance(key, str))]

    def update(self, *args: Any, **entries: Any) -> None:
        """Add entries; where both old and new are dictionaries, the new is put into the old."""
        for key, value in dict(*args, **entries).items():
            if isinstance(self.get(key), DotDict) and isinstance(value, Mapping):
                self[key].update(value)
            else:
                self[key] = value

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return an entry, after adding it if it was not there."""
        if key not in self:
            self[key] = default
        return self[key]

    def copy(self) -> DotDict:
        """Return another dictionary of the same entries; dictionaries in it are new, too."""
        return DotDict(self)

    def deepcopy(self) -> DotDict:
        """Return a dictionary of copies of all entries."""
        return copy.deepcopy(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> DotDict:
        return DotDict({key: copy.deepcopy(value, memo) for key, value in self.items()})

    def __reduce__(self) -> tuple[Any, ...]:
        return DotDict, (self.to_dict(),)

    def to_dict(self) -> dict[str, Any]:
        """Return plain dictionaries."""
        return {key: _plain(value) for key, value in self.items()}

    def tree_flatten_with_keys(self) -> tuple[Any, tuple[str, ...]]:
        """Flatten for JAX: the values with their keys, and the keys."""
        return [(jax.tree_util.DictKey(k), v) for k, v in self.items()], tuple(self)

    @classmethod
    def tree_unflatten(cls, keys: tuple[str, ...], values: Iterable[Any]) -> DotDict:
        """Rebuild from the keys and the values."""
        made = cls()
        for key, value in zip(keys, values, strict=True):
            dict.__setitem__(made, key, value)
        return made


def _dotted(value: Any) -> Any:
    if type(value) is dict or isinstance(value, DotDict):
        return DotDict(value)
    if type(value) in (list, tuple):
        return type(value)(map(_dotted, value))
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, DotDict):
        return value.to_dict()
    return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value


def merge_dicts(*dicts: Mapping[Any, Any], recursive: bool = True) -> dict[Any, Any]:
    """Return one dictionary of the entries of several, of which later ones win.

    Parameters
    ----------
    *dicts : mapping
        The dictionaries; none of them changes.
    recursive : bool
        Whether dictionaries under one key are merged, too, rather than the last taken.

    Examples
    --------
    >>> from brainir.util import merge_dicts
    >>> merge_dicts({"a": {"x": 1}}, {"a": {"y": 2}, "b": 3})
    {'a': {'x': 1, 'y': 2}, 'b': 3}
    """
    merged: dict[Any, Any] = {}
    for part in dicts:
        for key, value in part.items():
            both = isinstance(merged.get(key), Mapping) and isinstance(value, Mapping)
            if recursive and both:
                value = merge_dicts(merged[key], value)
            elif recursive and isinstance(value, Mapping):
                value = merge_dicts(value)  # what is given is not to change with the result
            merged[key] = value
    return merged


def flatten_dict(d: Mapping[str, Any], parent_key: str = "", sep: str = ".") -> dict[str, Any]:
    """Return a nested dictionary as a flat one, with keys joined by `sep`.

    Raises
    ------
    ValueError
        If two entries would get one key.

    Examples
    --------
    >>> from brainir.util import flatten_dict, unflatten_dict
    >>> flatten_dict({"a": {"b": 1, "c": 2}})
    {'a.b': 1, 'a.c': 2}
    >>> unflatten_dict({"a.b": 1, "a.c": 2})
    {'a': {'b': 1, 'c': 2}}
    """
    flat = _flat(d, (parent_key,) if parent_key else (), False, None)
    return _joined(flat, sep)


def unflatten_dict(d: Mapping[str, Any], sep: str = ".") -> dict[str, Any]:
    """Return a flat dictionary as a nested one, with keys split at `sep`.

    Raises
    ------
    ValueError
        If one key would hold both a value and other entries.

    Examples
    --------
    >>> from brainir import util
    >>> util.unflatten_dict({"layer.size": 3, "layer.gain": 2.0})
    {'layer': {'size': 3, 'gain': 2.0}}
    """
    return _nested({tuple(key.split(sep)): value for key, value in d.items()})


def flat_mapping(
    xs: Mapping[Any, Any],
    /,
    *,
    keep_empty_nodes: bool = False,
    is_leaf: Callable[[Path, Mapping[Any, Any]], bool] | None = None,
    sep: str | None = None,
) -> Any:
    """Return a nested mapping as a flat one, keyed by paths.

    Parameters
    ----------
    xs : mapping
        Mappings of mappings.
    keep_empty_nodes : bool
        Whether an empty mapping stays, as a value.
    is_leaf : callable, optional
        Called with the path and a mapping: whether that is a value.
    sep : str, optional
        What joins the keys to one string; without it keys are tuples, and the result is a
        `FlattedDict`.

    Examples
    --------
    >>> from brainir.util import flat_mapping, nest_mapping
    >>> flat = flat_mapping({"cell": {"V": 1.0, "w": {}}})
    >>> dict(flat), nest_mapping(flat)
    ({('cell', 'V'): 1.0}, {'cell': {'V': 1.0}})
    """
    flat = _flat(xs, (), keep_empty_nodes, is_leaf)
    return FlattedDict(flat) if sep is None else _joined(flat, sep)


def nest_mapping(xs: Mapping[Any, Any], /, *, sep: str | None = None) -> dict[Any, Any]:
    """Return a flat mapping, keyed by paths or by strings joined by `sep`, as nested dictionaries.

    Raises
    ------
    ValueError
        If one path would hold both a value and other entries.

    Examples
    --------
    >>> from brainir import util
    >>> util.nest_mapping({("layer", "size"): 3, ("layer", "gain"): 2.0})
    {'layer': {'size': 3, 'gain': 2.0}}
    >>> util.nest_mapping({"layer/size": 3}, sep="/")
    {'layer': {'size': 3}}
    """
    return _nested(xs if sep is None else {tuple(k.split(sep)): v for k, v in xs.items()})


def _flat(xs: Mapping[Any, Any], path: Path, keep_empty: bool, is_leaf: Any) -> dict[Path, Any]:
    if not isinstance(xs, Mapping):
        raise TypeError(f"a mapping is flattened, not {type(xs).__name__}")
    flat: dict[Path, Any] = {}
    for key, value in xs.items():
        below = (*path, key)
        if not isinstance(value, Mapping) or (is_leaf is not None and is_leaf(below, value)):
            flat[below] = value
        elif value:
            flat.update(_flat(value, below, keep_empty, is_leaf))
        elif keep_empty:
            flat[below] = {}
    return flat


def _joined(flat: Mapping[Path, Any], sep: str) -> dict[str, Any]:
    joined = {sep.join(map(str, path)): value for path, value in flat.items()}
    if len(joined) != len(flat):
        raise ValueError(f"joined by {sep!r}, two of the paths {list(flat)} are one")
    return joined


def _nested(flat: Mapping[Path, Any]) -> dict[Any, Any]:
    nest: dict[Any, Any] = {}
    inner: dict[Path, dict[Any, Any]] = {(): nest}
    for path, value in flat.items():
        if not path:
            raise ValueError("an empty path names no entry")
        for depth in range(1, len(path)):
            above, here = inner[path[: depth - 1]], path[:depth]
            if here not in inner:
                if path[depth - 1] in above:
                    raise ValueError(f"{here} holds both a value and other entries")
                inner[here] = above[path[depth - 1]] = {}
        if path[-1] in inner[path[:-1]]:
            raise ValueError(f"{path} holds both a value and other entries")
        inner[path[:-1]][path[-1]] = value
    return nest
