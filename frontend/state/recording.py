"""Recorders: what transformations that run as plain Python know of the States that it touches."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import jax

from ..capture import Held, held, is_container

if TYPE_CHECKING:
    from .state import State


class Recorder:
    """Notes which States plain Python touches, so that a transformation can undo what it did.

    Recorders nest; a touch is told to the outermost first. ``on_touch`` is called once for each
    State that was there before, ahead of the touch itself.
    """

    def __init__(self, on_touch: Callable[[State[Any]], None] | None = None) -> None:
        self.originals: dict[State[Any], Any] = {}
        self._written: dict[State[Any], None] = {}
        self._given: dict[State[Any], Held] = {}
        self.created: set[State[Any]] = set()
        self.needs_mentions = False
        """Whether it matters that a State is mentioned by code that does not run."""
        self._on_touch = on_touch
        self.depth = 0
        """How many recorders were active when this one was entered."""
        self.inside: Any = None
        """The captured function in which this is told of States; by default of none."""

    def is_inside(self, state: State[Any]) -> bool:
        """Whether a State was created while this was active, and its level still says so."""
        return state in self.created and state.facts.level > self.depth

    def touch(self, state: State[Any], written: bool) -> None:
        """Note that a State is read or written."""
        if self.is_inside(state):
            return
        if state not in self.originals:
            self.replace(state, state.peek())
        if written:
            self._written.setdefault(state)

    def replace(self, state: State[Any], value: Any) -> None:
        """Let a State hold something else from now on, which may be changed in place."""
        self.originals.setdefault(state, state.peek())
        if is_container(value):
            value = jax.tree.map(lambda leaf: leaf, value)
        state.accept(value)
        if self._on_touch is not None:
            self._on_touch(state)
        self.follow(state)

    def follow(self, state: State[Any]) -> None:
        """Notice from now on that the container which a State holds is changed in place."""
        given = state.peek()
        found = held(given, None, None) if is_container(given) else None
        if found is not None:
            self._given[state] = found

    @property
    def written(self) -> tuple[State[Any], ...]:
        """The States that were written, or whose container was changed in place."""
        for state, found in self._given.items():
            if state.peek() is found.value and found.changed():
                self._written.setdefault(state)
        return tuple(self._written)

    def keeps(self, state: State[Any]) -> bool:
        """Whether a State holds the container that it came with, changed or not."""
        return state in self._given and state.peek() is self._given[state].value

    def __enter__(self) -> Self:
        self.depth = len(recording.stack)
        recording.stack.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        recording.stack.remove(self)
        for state, value in self.originals.items():
            state.accept(value)


class _Recording(threading.local):
    def __init__(self) -> None:
        self.stack: list[Recorder] = []
        self.checks: frozenset[str] = frozenset()


recording = _Recording()


def recorders() -> tuple[Recorder, ...]:
    """Return the recorders that are active, outermost first."""
    return tuple(recording.stack)
