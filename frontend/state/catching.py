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
    """Collects the States that are created while it is active, in order of creation.

    Parameters
    ----------
    state_tag : str, optional
        A label that every caught State gets.
    state_to_exclude : filter, optional
        States not to catch: a class, tag, predicate, or a list of them.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> with brainir.catch_new_states("layer", brainir.ParamState) as caught:
    ...     weight = brainir.ParamState(jnp.ones(2))
    ...     V = brainir.HiddenState(jnp.zeros(2), name="V")
    >>> len(caught), caught.get_by_tag("layer") == [V]
    (1, True)
    >>> caught.values
    [Array([0., 0.], dtype=float32)]
    """

    def __init__(self, state_tag: str | None = None, state_to_exclude: Any = False) -> None:
        self.state_tag, self.state_to_exclude = state_tag, state_to_exclude
        self._excluded = to_predicate(state_to_exclude)
        self.states: list[State[Any]] = []

    def offer(self, state: State[Any]) -> None:
        """Take a new State if it is wanted."""
        if not self._excluded((), state):
            self.append(state)

    def append(self, state: State[Any]) -> None:
        """Add a State, which gets the tag; one that is there already is not added again."""
        if state in self:
            return
        if self.state_tag is not None:
            state.add_tag(self.state_tag)
        self.states.append(state)

    def remove(self, state: State[Any]) -> None:
        """Forget one State, and take the tag off it.

        Raises
        ------
        ValueError
            If it was not caught.
        """
        if state not in self:
            raise ValueError(f"{state.describe()} was not caught")
        self.states = [caught for caught in self.states if caught is not state]
        if self.state_tag is not None and state.tag:
            state.tag = state.tag - {self.state_tag} or None

    def clear(self) -> None:
        """Forget all States, which keep their tags."""
        self.states.clear()

    def get_states(self) -> list[State[Any]]:
        """Return the caught States."""
        return list(self.states)

    def get_state_values(self) -> list[Any]:
        """Return the values of the caught States."""
        return self.values

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
    catcher = NewStateCatcher(state_tag, state_to_exclude)
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
