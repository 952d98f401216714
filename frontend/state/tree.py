"""The tree that a model makes of its modules, containers and states.

What the tree looks into is said by one table, :data:`KINDS`: for each type how an object is taken
apart, and how one is put together again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple, TypeAlias, cast

from ..capture import Cell
from .flatted_dict import FlattedDict, Path
from .state import State

__all__ = [
    "COMPILED_METHODS",
    "EVERY_LEVEL",
    "HOLDERS",
    "KINDS",
    "Entry",
    "Hierarchy",
    "HolderKind",
    "Node",
    "is_holder",
    "is_node",
    "iterate",
    "kind_of",
    "leaves",
    "nodes",
    "parts",
    "states",
]

Hierarchy: TypeAlias = tuple[float, float]
EVERY_LEVEL: Hierarchy = (0, math.inf)


COMPILED_METHODS = "_compiled_methods"
"""The attribute of a node that keeps what its compiled methods have become."""


class Node:
    """An object whose attributes belong to the tree, but for those in ``graph_invisible_attrs``.

    Examples
    --------
    >>> import brainir
    >>> class Pair(brainir.graph.Node):
    ...     def __init__(self):
    ...         self.left, self.right = brainir.State(1.0), brainir.State(2.0)
    >>> list(brainir.graph.states(Pair()))
    [('left',), ('right',)]
    """

    graph_invisible_attrs: ClassVar[tuple[str, ...]] = ()


HOLDERS = (Cell, Node, dict, list, tuple)
"""The types of what the tree looks at, but for those that users register in `KINDS`."""

# --- taking apart and putting together ------------------------------------------------------------


class HolderKind(NamedTuple):
    """How the objects of one type are taken apart, and how one is made of parts.

    Attributes
    ----------
    is_node : bool
        Whether such an object counts as a module, a level of its own, or is a mere container.
    flatten : callable
        From an object to its parts, ``[(key, part), ...]`` in the order of the tree, and whatever
        else it takes to make it again.
    create_empty : callable or None
        From the second result of `flatten` to an object without parts. None for tuples: these are
        made from their parts at once.
    set_key, pop_key : callable
        Give an object the part ``(object, key, part)``; take the part ``(object, key)`` away.
    """

    is_node: bool
    flatten: Callable[[Any], tuple[Iterable[tuple[Hashable, Any]], Any]]
    create_empty: Callable[[Any], Any] | None
    set_key: Callable[[Any, Any, Any], None]
    pop_key: Callable[[Any, Any], Any]


def _flatten_node(node: Node) -> tuple[Iterable[tuple[Hashable, Any]], Any]:
    attributes, hidden = vars(node), type(node).graph_invisible_attrs
    apart = (COMPILED_METHODS, *hidden)
    shown = (item for item in attributes.items() if item[0] not in apart)
    kept = {name: attributes[name] for name in hidden if name in attributes}
    return _sorted_by_key(shown), (type(node), *kept.items())


def _create_node(metadata: tuple[Any, ...]) -> Any:
    node = object.__new__(metadata[0])
    vars(node).update(metadata[1:])
    return node


def _fixed_length(holder: Sequence[Any], key: Any) -> Any:
    raise ValueError(
        f"item {key} cannot be taken out of a {type(holder).__name__}, whose other items would "
        "move: keep the State in a dictionary, or as an attribute of a module"
    )


KINDS: dict[type, HolderKind] = {
    Node: HolderKind(
        True,
        _flatten_node,
        _create_node,
        lambda node, key, part: vars(node).__setitem__(key, part),
        lambda node, key: vars(node).pop(key),
    ),
    dict: HolderKind(
        False,
        lambda holder: (_sorted_by_key(holder.items()), (type(holder), *holder)),
        lambda metadata: metadata[0](dict.fromkeys(metadata[1:])),
        dict.__setitem__,
        dict.pop,
    ),
    list: HolderKind(
        False,
        lambda holder: (enumerate(holder), (type(holder), len(holder))),
        lambda metadata: metadata[0]([None] * metadata[1]),
        list.__setitem__,
        _fixed_length,
    ),
    tuple: HolderKind(
        False,
        lambda holder: (enumerate(holder), (type(holder),)),
        None,
        lambda holder, key, part: _fixed_length(holder, key),
        _fixed_length,
    ),
}
"""What the tree looks into besides States; an object is of the first of its classes in here."""


def kind_of(holder: object) -> HolderKind | None:
    """Return how an object is taken apart, or None if the tree does not look into it."""
    for base in type(holder).__mro__:
        if base in KINDS:
            return KINDS[base]
    return None


def parts(holder: object) -> Iterable[tuple[Hashable, Any]]:
    """Return the parts of a holder with their keys, in the order of the tree."""
    kind = kind_of(holder)
    return () if kind is None else kind.flatten(holder)[0]


def is_node(value: object) -> bool:
    """Tell whether an object is a module, or of a type that was registered as one."""
    kind = kind_of(value)
    return kind is not None and kind.is_node


def is_holder(value: object) -> bool:
    """Tell whether an object is a State or can hold some."""
    return isinstance(value, Cell) or kind_of(value) is not None


def _sorted_by_key(items: Iterable[tuple[Hashable, Any]]) -> list[tuple[Hashable, Any]]:
    items = list(items)
    try:
        return sorted(items, key=lambda item: (type(item[0]).__name__, item[0]))
    except TypeError:  # keys without an order keep the order of the dictionary
        return items


# --- walking --------------------------------------------------------------------------------------


class Entry(NamedTuple):
    """A state or module, or another leaf where these are asked for, its path, and its level.

    The level of a module is how many modules stand above it; a state has the level of its module.
    """

    path: Path
    item: Any
    level: int


def iterate(root: object, hierarchy: Hierarchy = EVERY_LEVEL) -> Iterator[Entry]:
    """Iterate over the states and modules of `root`, each once, a module after its parts.

    The attributes of a module and the keys of a dictionary are visited in sorted order, lists and
    tuples in their own. What can be reached along several paths appears under the first; a cycle is
    followed once. `hierarchy` gives the lowest and the highest level; what is above the highest is
    not visited.
    """
    return _within(hierarchy, _visit(root, (), 0, hierarchy[1], {}, False))


def leaves(root: object, hierarchy: Hierarchy = EVERY_LEVEL) -> Iterator[Entry]:
    """Iterate as `iterate` does over the states, and over all else that is no holder."""
    entries = _visit(root, (), 0, hierarchy[1], {}, True)
    return (entry for entry in _within(hierarchy, entries) if not is_node(entry.item))


def _within(hierarchy: Hierarchy, entries: Iterator[Entry]) -> Iterator[Entry]:
    return (entry for entry in entries if entry.level >= hierarchy[0])


def _visit(
    holder: object, path: Path, level: int, highest: float, seen: dict[int, Any], everything: bool
) -> Iterator[Entry]:
    """Visit `holder`, a module at `level`, or something that a module at `level` holds."""
    if id(holder) in seen or level > highest:
        return
    if isinstance(holder, Cell):
        seen[id(holder)] = holder
        yield Entry(path, holder, level)
        return
    kind = kind_of(holder)
    if kind is None:
        if everything and holder is not None:
            yield Entry(path, holder, level)
        return
    seen[id(holder)] = holder
    for key, part in kind.flatten(holder)[0]:
        below = level + 1 if is_node(part) else level
        yield from _visit(part, (*path, key), below, highest, seen, everything)
    if kind.is_node:
        yield Entry(path, holder, level)


def states(root: object, hierarchy: Hierarchy = EVERY_LEVEL) -> FlattedDict[State]:
    """Collect the states of `root` by path."""
    entries = iterate(root, hierarchy)
    found = ((path, item) for path, item, _ in entries if isinstance(item, Cell))
    return FlattedDict(cast("Iterator[tuple[Path, State]]", found))


def nodes(root: object, hierarchy: Hierarchy = EVERY_LEVEL) -> FlattedDict[Any]:
    """Collect the modules of `root` by path, each after its parts."""
    entries = iterate(root, hierarchy)
    return FlattedDict((path, item) for path, item, _ in entries if not isinstance(item, Cell))
