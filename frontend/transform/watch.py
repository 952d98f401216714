"""Noticing that a function has come to mean other States than when it was traced."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

from ..capture import Cell, Handle
from ..state import HOLDERS, Loss, Node, epoch, is_node

DEPTH = 4
"""How many functions deep to look for the variables that a function refers to."""

LARGE = 10_000
"""A container of more entries is taken for data rather than for parts of a model."""

Reach = Callable[[], Any]
Items = list[tuple[Any, weakref.ref[Any]]]


def _nothing() -> None:
    return None


class Attributes(NamedTuple):
    """The attributes of a module that hold States, modules or None.

    ``watched`` are those that are watched with all that they hold.
    """

    places: dict[str, Callable[[], Any]]
    watched: frozenset[Hashable]

    @classmethod
    def among(cls, items: Iterable[tuple[str, Any]], watched: Iterable[Hashable]) -> Attributes:
        """Note what the attributes of a module hold."""
        places = {
            name: _nothing if part is None else weakref.ref(part)
            for name, part in items
            if part is None or _is_part(part)
        }
        return cls(places, frozenset(watched))


class Watch:
    """The places where a function finds its States and Modules.

    A module tells when one of its attributes is given another State; only then do we look at the
    modules. Nothing else tells, so we look: the closure and the globals of the function, and of the
    functions that it finds there, the attributes of the objects in these variables, the object that
    a method is bound to, and every list and dictionary that stands in one of these or in a module
    must still hold the same States and Modules. None of them is kept alive.

    Parameters
    ----------
    function : callable
        What was traced.
    born : int
        What `epoch` counted before that.
    """

    def __init__(self, function: Callable[..., Any], born: int) -> None:
        self._born, self._made = born, epoch.count
        self._modules: dict[int, tuple[weakref.ref[Any], Attributes]] = {}
        self._cells: list[tuple[CellType, weakref.ref[Any]]] = []
        self._containers: list[tuple[Reach, Items]] = []
        self._lengths: list[tuple[Reach, int]] = []
        self._seen: dict[int, Any] = {}
        self._function(function, DEPTH)
        self._seen.clear()

    def __bool__(self) -> bool:
        """Whether there is anything to watch."""
        return bool(self._cells or self._containers)

    def unchanged(self) -> bool:
        """Whether every place still holds the same object."""
        try:  # loops, not all(...): every call of a jitted function asks
            for cell, thing in self._cells:
                if cell.cell_contents is not thing():
                    return False
            for reach, items in self._containers:
                holder = reach()
                for key, thing in items:
                    if holder[key] is not thing():
                        return False
            for reach, length in self._lengths:
                if len(reach()) != length:
                    return False
        except (LookupError, TypeError, ValueError):
            return False  # a place is gone
        return True

    def in_place(self, handles: Iterable[Handle]) -> bool:
        """Whether every attribute of a module holds what it held; asked when `epoch` has changed.

        Some of the States that ``handles`` name may have left modules that the watch has not found.
        These count as replaced until they are put back, and so does what tracing has replaced.
        """
        for alive, attributes in self._modules.values():
            module = alive()
            if module is None:
                return False
            now = vars(module)
            if any(now.get(name) is not thing() for name, thing in attributes.places.items()):
                return False
        losses = (loss for handle in handles for loss in handle.state.losses)
        return not any(
            loss.epoch > self._born and (loss.epoch <= self._made or not self._looks_at(loss))
            for loss in losses
        )

    def _looks_at(self, loss: Loss) -> bool:
        module = loss.module()
        alive, attributes = self._modules.get(id(module), (_nothing, None))
        seen = attributes is not None and loss.attribute in attributes.watched
        return seen and alive() is module

    # --- functions and their variables ------------------------------------------------------------

    def _function(self, function: Any, depth: int) -> None:
        if isinstance(function, functools.partial):
            for thing in (*function.args, *function.keywords.values()):
                self._thing(thing, lambda thing=thing: thing, depth)
            function = function.func
        if is_node(function):
            function = getattr(function, "update", function)
        if isinstance(function, MethodType):
            self._object(function.__self__)
            function = function.__func__
        self._object(function)
        function = getattr(function, "__wrapped__", function)
        if not isinstance(function, FunctionType) or depth == 0 or self._met(function):
            return
        for cell in function.__closure__ or ():
            try:
                thing = cell.cell_contents
            except ValueError:
                continue  # not assigned yet
            if _is_part(thing):
                self._cells.append((cell, weakref.ref(thing)))
            self._thing(thing, lambda cell=cell: cell.cell_contents, depth - 1)
        space = function.__globals__
        used = {name: space[name] for name in _names(function.__code__) if name in space}
        self._places(lambda: space, used.items())
        for name, thing in used.items():
            self._thing(thing, lambda name=name: space[name], depth - 1)

    def _thing(self, thing: Any, reach: Reach, depth: int) -> None:
        """Look at what ``reach()`` gives, whatever it is."""
        if isinstance(thing, list | tuple | dict):
            self._container(thing, reach)
        elif is_node(thing) or not callable(thing):
            self._object(thing)
        else:
            self._function(thing, depth)

    # --- what holds States and Modules ------------------------------------------------------------

    def _object(self, thing: Any) -> None:
        """Look at the attributes of an object; those of a module tell of themselves."""
        if isinstance(thing, type | ModuleType | FunctionType) or not hasattr(thing, "__dict__"):
            return
        if self._met(thing):
            return
        try:
            alive = weakref.ref(thing)
        except TypeError:
            return
        items = dict(vars(thing)).items()
        if not isinstance(thing, Node):
            self._places(lambda: vars(alive()), items)
        watched = self._parts(lambda: vars(alive()), items)
        if isinstance(thing, Node):
            self._modules[id(thing)] = alive, Attributes.among(items, watched)

    def _container(self, thing: Any, reach: Reach) -> bool:
        """Look at what a container holds; return whether all of it is watched in this place."""
        if len(thing) > LARGE or self._met(thing):
            return False
        items = list(thing.items() if isinstance(thing, dict) else enumerate(thing))
        if self._places(reach, items):
            self._lengths.append((reach, len(items)))
        return len(self._parts(reach, items)) == len(items)

    def _parts(self, reach: Reach, items: Iterable[tuple[Hashable, Any]]) -> set[Hashable]:
        """Look into parts; return the keys of those that are watched with all that they hold."""
        watched: set[Hashable] = set()
        for key, part in items:
            whole = not isinstance(part, HOLDERS) or _is_part(part)
            if is_node(part):
                self._object(part)
            elif isinstance(part, list | tuple | dict):
                whole = self._container(part, lambda key=key: reach()[key])
            if whole:
                watched.add(key)
        return watched

    def _places(self, reach: Reach, items: Iterable[tuple[Hashable, Any]]) -> bool:
        """Watch which States and Modules a mapping or sequence holds; return whether it has any."""
        watched = [(k, weakref.ref(v)) for k, v in items if _is_part(v)]
        if watched:
            self._containers.append((reach, watched))
        return bool(watched)

    def _met(self, thing: Any) -> bool:
        """Return whether a thing was met before, and note it."""
        if id(thing) in self._seen:
            return True
        self._seen[id(thing)] = thing  # alive as long as we look, so that its id is its own
        return False


def _is_part(thing: Any) -> bool:
    """Whether a thing is a State or a module, ours or one that counts as such."""
    return isinstance(thing, Cell) or is_node(thing)


def _names(code: Any) -> Iterator[str]:
    """Yield the global names of a code object and of the functions defined in it."""
    yield from code.co_names
    for const in code.co_consts:
        if hasattr(const, "co_names"):
            yield from _names(const)
