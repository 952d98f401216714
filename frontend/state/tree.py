"""The tree that a model makes of its modules, containers and states."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator
from typing import ClassVar, NamedTuple, TypeAlias

from .flatted_dict import FlattedDict, Path
from .state import State

__all__ = [
    "COMPILED_METHODS",
    "EVERY_LEVEL",
    "HOLDERS",
    "Entry",
    "Hierarchy",
    "Node",
    "iterate",
    "nodes",
    "states",
]

Hierarchy: TypeAlias = tuple[float, float]
EVERY_LEVEL: Hierarchy = (0, math.inf)


COMPILED_METHODS = "_compiled_methods"
"""The attribute of a node that keeps what its compiled methods have become."""


class Node:
    """An object whose attributes belong to the tree, but for those in ``graph_invisible_attrs``."""

    graph_invisible_attrs: ClassVar[tuple[str, ...]] = ()


HOLDERS = (State, Node, dict, list, tuple)
"""The types of what the tree looks at; anything else holds no states."""


class Entry(NamedTuple):
    """A state or module, the path to it, and its level.

    The level of a module is how many modules stand above it; a state has the level of its module.
    """

    path: Path
    item: State | Node
    level: int


def iterate(root: object, hierarchy: Hierarchy = EVERY_LEVEL) -> Iterator[Entry]:
    """Iterate over the states and modules of `root`, each once, a module after its parts.

    The attributes of a module and the keys of a dictionary are visited in sorted order, lists and
    tuples in their own. What can be reached along several paths appears under the first; a cycle is
    followed once. `hierarchy` gives the lowest and the highest level; what is above the highest is
    not visited.
    """
    lowest, highest = hierarchy
    entries = _visit(root, (), 0, highest, set())
    return (entry for entry in entries if entry.level >= lowest)


def _visit(
    holder: object, path: Path, level: int, highest: float, seen: set[int]
) -> Iterator[Entry]:
    """Visit `holder`, a module at `level`, or something that a module at `level` holds."""
    if id(holder) in seen or level > highest:
        return
    if isinstance(holder, State):
        seen.add(id(holder))
        yield Entry(path, holder, level)
    elif isinstance(holder, HOLDERS):
        seen.add(id(holder))
        for key, part in _parts(holder):
            below = level + 1 if isinstance(part, Node) else level
            yield from _visit(part, (*path, key), below, highest, seen)
        if isinstance(holder, Node):
            yield Entry(path, holder, level)


def _parts(holder: object) -> Iterable[tuple[Hashable, object]]:
    if isinstance(holder, list | tuple):
        return enumerate(holder)
    if isinstance(holder, dict):
        return _sorted_by_key(holder.items())
    assert isinstance(holder, Node)
    hidden = holder.graph_invisible_attrs
    return _sorted_by_key(item for item in vars(holder).items() if item[0] not in hidden)


def _sorted_by_key(items: Iterable[tuple[Hashable, object]]) -> list[tuple[Hashable, object]]:
    items = list(items)
    try:
        return sorted(items, key=lambda item: (type(item[0]).__name__, item[0]))
    except TypeError:  # keys without an order keep the order of the dictionary
        return items


def states(root: object, hierarchy: Hierarchy = EVERY_LEVEL) -> FlattedDict[State]:
    """Collect the states of `root` by path."""
    entries = iterate(root, hierarchy)
    return FlattedDict((path, item) for path, item, _ in entries if isinstance(item, State))


def nodes(root: object, hierarchy: Hierarchy = EVERY_LEVEL) -> FlattedDict[Node]:
    """Collect the modules of `root` by path, each after its parts."""
    entries = iterate(root, hierarchy)
    return FlattedDict((path, item) for path, item, _ in entries if isinstance(item, Node))
