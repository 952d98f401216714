"""Predicates that choose states and modules by kind, by tag or by path.

Whatever takes filters (``Module.states``, ``Module.nodes``, ``node_to_exclude=``) accepts the short
forms of :func:`to_predicate`; the classes here are what these stand for, and they combine. Two
predicates made from the same parts are equal and hash alike.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeAlias, cast

__all__ = [
    "All",
    "Any",
    "Everything",
    "Filter",
    "Not",
    "Nothing",
    "OfType",
    "PathContains",
    "Predicate",
    "WithTag",
    "to_predicate",
]

Path: TypeAlias = tuple[Hashable, ...]
Predicate: TypeAlias = Callable[[Path, object], bool]
"""Whether something is chosen, by where it is and what it is."""
Filter: TypeAlias = object
"""A predicate, or any of its short forms: see :func:`to_predicate`."""


def to_predicate(filter: Filter) -> Predicate:
    """Turn the short form of a filter into a predicate ``(path, object) -> bool``.

    A class stands for :class:`OfType`, a string for :class:`WithTag`, ``...`` and ``True`` for
    :class:`Everything`, ``None`` and ``False`` for :class:`Nothing`, a list or tuple for
    :class:`Any` of its elements, and a callable for itself.

    Raises
    ------
    TypeError
        If `filter` is none of these.

    Examples
    --------
    >>> from brainir.frontend import filter
    >>> filter.to_predicate(("slow", float))
    Any(WithTag('slow'), OfType(float))
    >>> filter.to_predicate(float)(("cell", "V"), 1.0)
    True
    """
    if isinstance(filter, str):
        return WithTag(filter)
    if isinstance(filter, type):
        return OfType(filter)
    if filter is Ellipsis or filter is True:
        return Everything()
    if filter is None or filter is False:
        return Nothing()
    if isinstance(filter, list | tuple):
        return Any(*filter)
    if callable(filter):
        return cast(Predicate, filter)
    raise TypeError(
        f"{filter!r} is not a filter; give a class, a tag, True, None, a predicate "
        "(path, object) -> bool, or a list of these"
    )


@dataclass(frozen=True, repr=False)
class WithTag:
    """Objects whose ``tag``, a string or a set of strings, is or holds `tag`.

    Examples
    --------
    >>> import brainir
    >>> from brainir import util
    >>> choose = util.WithTag("slow")
    >>> choose((), brainir.State(0.0, tag="slow")), choose((), brainir.State(0.0))
    (True, False)
    """

    tag: str

    def __call__(self, path: Path, value: object) -> bool:
        tags = getattr(value, "tag", None)
        if tags is None:
            return False
        return self.tag == tags if isinstance(tags, str) else self.tag in tags

    def __repr__(self) -> str:
        return f"WithTag({self.tag!r})"


@dataclass(frozen=True, repr=False)
class OfType:
    """Objects that are instances of `type`, subclasses included.

    A ``TreefyState``, which says in its attribute ``type`` of what class the State is that it
    stands for, counts as one of that class.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import brainir
    >>> from brainir import util
    >>> choose = util.OfType(brainir.ShortTermState)
    >>> choose((), brainir.HiddenState(jnp.zeros(1))), choose((), brainir.ParamState(1.0))
    (True, False)
    """

    type: type

    def __call__(self, path: Path, value: object) -> bool:
        stands_for = getattr(value, "type", None)
        return isinstance(value, self.type) or (
            isinstance(stands_for, type) and issubclass(stands_for, self.type)
        )

    def __repr__(self) -> str:
        return f"OfType({self.type.__name__})"


@dataclass(frozen=True, repr=False)
class PathContains:
    """Objects on whose path `key`, an attribute name, dictionary key or list index, stands.

    Examples
    --------
    >>> from brainir import nn, util
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    >>> list(model.states(util.PathContains(1)))
    [('layers', 1, 'weight')]
    """

    key: Hashable

    def __call__(self, path: Path, value: object) -> bool:
        return self.key in path

    def __repr__(self) -> str:
        return f"PathContains({self.key!r})"


@dataclass(frozen=True, init=False, repr=False)
class Any:
    """Objects that at least one of the filters chooses; with no filters, none.

    Examples
    --------
    >>> from brainir.frontend import filter
    >>> filter.Any(int, str)((), "text")
    True
    """

    predicates: tuple[Predicate, ...]

    def __init__(self, *filters: Filter):
        object.__setattr__(self, "predicates", tuple(map(to_predicate, filters)))

    def __call__(self, path: Path, value: object) -> bool:
        return any(predicate(path, value) for predicate in self.predicates)

    def __repr__(self) -> str:
        return f"Any({', '.join(map(repr, self.predicates))})"


@dataclass(frozen=True, init=False, repr=False)
class All:
    """Objects that every one of the filters chooses; with no filters, all.

    Examples
    --------
    >>> from brainir.frontend import filter
    >>> filter.All(int, filter.Not(bool))((), True)
    False
    """

    predicates: tuple[Predicate, ...]

    def __init__(self, *filters: Filter):
        object.__setattr__(self, "predicates", tuple(map(to_predicate, filters)))

    def __call__(self, path: Path, value: object) -> bool:
        return all(predicate(path, value) for predicate in self.predicates)

    def __repr__(self) -> str:
        return f"All({', '.join(map(repr, self.predicates))})"


@dataclass(frozen=True, init=False, repr=False)
class Not:
    """Objects that the filter does not choose.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import brainir
    >>> from brainir import util
    >>> choose = util.Not(util.OfType(brainir.ParamState))
    >>> choose((), brainir.ParamState(1.0)), choose((), brainir.HiddenState(jnp.zeros(1)))
    (False, True)
    """

    predicate: Predicate

    def __init__(self, filter: Filter):
        object.__setattr__(self, "predicate", to_predicate(filter))

    def __call__(self, path: Path, value: object) -> bool:
        return not self.predicate(path, value)

    def __repr__(self) -> str:
        return f"Not({self.predicate!r})"


@dataclass(frozen=True, repr=False)
class Everything:
    """All objects.

    Examples
    --------
    >>> import brainir
    >>> from brainir import nn, util
    >>> len(nn.Linear(2, 1).states(util.Everything()))
    1
    """

    def __call__(self, path: Path, value: object) -> bool:
        return True

    def __repr__(self) -> str:
        return "Everything()"


@dataclass(frozen=True, repr=False)
class Nothing:
    """No objects.

    Examples
    --------
    >>> import brainir
    >>> from brainir import nn, util
    >>> len(nn.Linear(2, 1).states(util.Nothing()))
    0
    """

    def __call__(self, path: Path, value: object) -> bool:
        return False

    def __repr__(self) -> str:
        return "Nothing()"
