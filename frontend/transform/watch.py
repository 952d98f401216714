"""Noticing that a function has come to mean other States than when it was traced."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from types import CellType, FunctionType, MethodType
from typing import Any

from ..nn import Module
from ..state import State

DEPTH = 4
"""How many functions deep to look for the variables that a function refers to."""


class Watch:
    """The variables through which a function reaches its States and Modules.

    A module tells when one of its States is replaced. A variable cannot, so we look: the closure
    and the globals of the function, and of the functions that it finds there, must still refer to
    the same States and Modules. None of them is kept alive.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._cells: list[tuple[CellType, weakref.ref[Any]]] = []
        self._globals: list[tuple[dict[str, Any], str, weakref.ref[Any]]] = []
        self._look(function, DEPTH, set())

    def __bool__(self) -> bool:
        """Whether there is anything to watch."""
        return bool(self._cells or self._globals)

    def unchanged(self) -> bool:
        """Whether every variable still refers to the same object."""
        for cell, thing in self._cells:  # loops, not all(...): every call of a jitted function asks
            if cell.cell_contents is not thing():
                return False
        for space, name, thing in self._globals:  # noqa: SIM110
            if space.get(name) is not thing():
                return False
        return True

    def _look(self, function: Any, depth: int, seen: set[int]) -> None:
        while isinstance(function, MethodType):
            function = function.__func__
        function = getattr(function, "__wrapped__", function)
        if not isinstance(function, FunctionType) or depth == 0 or id(function) in seen:
            return
        seen.add(id(function))
        for cell in function.__closure__ or ():
            try:
                thing = cell.cell_contents
            except ValueError:
                continue  # not assigned yet
            if isinstance(thing, State | Module):
                self._cells.append((cell, weakref.ref(thing)))
            else:
                self._look(thing, depth - 1, seen)
        for name in _names(function.__code__):
            thing = function.__globals__.get(name)
            if isinstance(thing, State | Module):
                self._globals.append((function.__globals__, name, weakref.ref(thing)))
            else:
                self._look(thing, depth - 1, seen)


def _names(code: Any) -> Iterator[str]:
    """Yield the global names of a code object and of the functions defined in it."""
    yield from code.co_names
    for const in code.co_consts:
        if hasattr(const, "co_names"):
            yield from _names(const)
