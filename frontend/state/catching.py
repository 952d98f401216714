"""Collecting the States that a block of code creates."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..filter import to_predicate

if TYPE_CHECKING:
    from .state import State


class NewStateCatcher:
    """Collects the States that are created while it is active, in order of creation."""

    def __init__(self, wanted: Callable[[Any, State[Any]], bool], tag: str | None) -> None:
        self._wanted = wanted
        self._tag = tag
        self.states: list[State[Any]] = []

    def offer(self, state: State[Any]) -> None:
        """Take a new State if it is wanted."""
        if self._wanted((), state):
            if self._tag is not None:
                state.add_tag(self._tag)
            self.states.append(state)

    @property
    def values(self) -> list[Any]:
        """The values of the caught States."""
        return [state.value for state in self.states]

    def get_by_tag(self, tag: str) -> list[State[Any]]:
        """Return the caught States that carry a tag."""
        return [state for state in self.states if state.tag and tag in state.tag]

    def __len__(self) -> int:
        return len(self.states)

    def __iter__(self) -> Iterator[State[Any]]:
        return iter(self.states)

    def __getitem__(self, index: int) -> State[Any]:
        return self.states[index]

    def __contains__(self, state: object) -> bool:
        return any(state is caught for caught in self.states)


class _Catchers(threading.local):
    def __init__(self) -> None:
        self.active: list[NewStateCatcher] = []


catchers = _Catchers()


@contextmanager
def catch_new_states(
    state_tag: str | None = None, state_to_exclude: Any = False
) -> Iterator[NewStateCatcher]:
    """Collect the States that are created in a ``with`` block.

    Parameters
    ----------
    state_tag : str, optional
        A label that every caught State gets.
    state_to_exclude : filter, optional
        States not to catch: a class, tag, predicate, or a list of them.

    Examples
    --------
    >>> import brainir
    >>> with brainir.catch_new_states("mine") as caught:
    ...     x = brainir.State(1.0)
    >>> caught.states == [x], x.tag
    (True, {'mine'})
    """
    excluded = to_predicate(state_to_exclude)
    catcher = NewStateCatcher(lambda path, state: not excluded(path, state), state_tag)
    catchers.active.append(catcher)
    try:
        yield catcher
    finally:
        catchers.active.remove(catcher)


def caught_so_far() -> Callable[[], None]:
    """Return what makes whoever collects new States forget those created from here on."""
    caught = [(catcher, len(catcher.states)) for catcher in catchers.active]

    def forget() -> None:
        for catcher, count in caught:
            del catcher.states[count:]

    return forget


@contextmanager
def catching_nothing() -> Iterator[None]:
    """Hide States that are created in a ``with`` block from whoever collects new ones."""
    active, catchers.active = catchers.active, []
    try:
        yield
    finally:
        catchers.active = active
