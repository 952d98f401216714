"""Giving States what a finished program left, hooks included: all of them, or none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..capture import Cell, frames
from .recording import recording
from .state import State

__all__ = ["assign_all", "maybe_state", "telling_hooks"]


def assign_all(values: Sequence[tuple[State[Any], Any]]) -> None:
    """Give States what a finished program left, or none of them if one cannot take its own."""
    if frames.top is not None or recording.stack:
        for state, value in values:
            state.settle(value)
        return
    for state, value in values:
        state.check_writable(value)
    with telling_hooks(values):
        for state, value in values:
            state.accept(value)


@contextmanager
def telling_hooks(values: Sequence[tuple[State[Any], Any]]) -> Iterator[None]:
    """Tell hooks of the values that a compiled program left, before and after States take them.

    Hooks may refuse one, and then no State takes any; what they make of a value is in the program.
    """
    watched = [(state, value, state._present()) for state, value in values if state._watched]
    for state, value, old in watched:
        state._tell_before(value, old, transforms=False)
    yield
    for state, value, old in watched:
        state._tell_after(value, old)


def maybe_state(value: Any) -> Any:
    """Return the value of a State, and anything else as it is.

    Examples
    --------
    >>> import brainir
    >>> import brainunit as u
    >>> tau = brainir.ParamState(10.0 * u.ms)
    >>> brainir.maybe_state(tau), brainir.maybe_state(10.0 * u.ms)
    (Quantity(10., "ms"), Quantity(10., "ms"))
    """
    return value.value if isinstance(value, Cell) else value
