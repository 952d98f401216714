"""Noticing that a function has come to mean other States than when it was traced."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

from ..nn import Module
from ..state import State

DEPTH = 4
"""How many functions deep to look for the variables that a function refers to."""

LARGE = 10_000
"""A container of more entries is taken for data rather than for parts of a model."""

Reach = Callable[[], Any]
Items = list[tuple[Any, weakref.ref[Any]]]


class Watch:
    """The places where a function finds its States and Modules.

    A module tells when one of its attributes is given another State. Nothing else does, so we look:
    the closure and the globals of the function, and of the functions that it finds there, the
    attributes of the objects in these variables, the object that a method is bound to, and every
    list and dictionary that stands in one of these or in a Module must still hold the same States
    and Modules. None of them is kept alive.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
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

    # --- functions and their variables ---

    def _function(self, function: Any, depth: int) -> None:
        if isinstance(function, functools.partial):
            for thing in (*function.args, *function.keywords.values()):
                self._thing(thing, lambda thing=thing: thing, depth)
            function = function.func
        if isinstance(function, Module):
            function = function.update
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
            if isinstance(thing, State | Module):
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
        elif isinstance(thing, Module) or not callable(thing):
            self._object(thing)
        else:
            self._function(thing, depth)

    # --- what holds States and Modules ---

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
        attributes = dict(vars(thing))
        if not isinstance(thing, Module):
            self._places(lambda: vars(alive()), attributes.items())
        self._parts(lambda: vars(alive()), attributes.items())

    def _container(self, thing: Any, reach: Reach) -> None:
        if len(thing) <= LARGE and not self._met(thing):
            items = list(thing.items() if isinstance(thing, dict) else enumerate(thing))
            if self._places(reach, items):
                self._lengths.append((reach, len(items)))
            self._parts(reach, items)

    def _parts(self, reach: Reach, items: Iterable[tuple[Hashable, Any]]) -> None:
        for key, part in items:
            if isinstance(part, Module):
                self._object(part)
            elif isinstance(part, list | tuple | dict):
                self._container(part, lambda key=key: reach()[key])

    def _places(self, reach: Reach, items: Iterable[tuple[Hashable, Any]]) -> bool:
        """Watch which States and Modules a mapping or sequence holds; return whether it has any."""
        watched = [(k, weakref.ref(v)) for k, v in items if isinstance(v, State | Module)]
        if watched:
            self._containers.append((reach, watched))
        return bool(watched)

    def _met(self, thing: Any) -> bool:
        """Return whether a thing was met before, and note it."""
        if id(thing) in self._seen:
            return True
        self._seen[id(thing)] = thing  # alive as long as we look, so that its id is its own
        return False


def _names(code: Any) -> Iterator[str]:
    """Yield the global names of a code object and of the functions defined in it."""
    yield from code.co_names
    for const in code.co_consts:
        if hasattr(const, "co_names"):
            yield from _names(const)
