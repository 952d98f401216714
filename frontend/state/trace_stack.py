"""Which States a block of Python touches: the public face of recording."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from ..capture import current_frame, read, write
from .recording import Recorder, recording
from .state import State

__all__ = ["StateTraceStack"]


class StateTraceStack(Recorder):
    """Records which States a ``with`` block reads and writes, in the order of first touches.

    States that are created in the block are passed over. What the block writes stays, until
    :meth:`recovery_original_values` puts back what was there before.

    Parameters
    ----------
    new_arg : callable, optional
        Called with each State ahead of the first touch; what it returns, the State holds from then
        on, such as a traced value.
    name : str, optional
        A name for people to read.
    check_read : callable, optional
        Called with each State that is read.

    Raises
    ------
    RuntimeError
        On leaving the block while one that was entered later is still active.

    Examples
    --------
    >>> import brainir
    >>> weight, count = brainir.State(2.0), brainir.State(0)
    >>> with brainir.StateTraceStack() as trace:
    ...     count.value += 1
    ...     y = weight.value * 3.0
    >>> trace.get_write_states() == (count,), trace.get_read_states() == (weight,)
    (True, True)
    >>> trace.recovery_original_values()
    >>> count.value
    0
    """

    def __init__(
        self,
        new_arg: Callable[[State[Any]], Any] | None = None,
        name: str | None = None,
        check_read: Callable[[State[Any]], Any] | None = None,
    ) -> None:
        super().__init__()
        self.name, self.check_read = name, check_read
        self._new_arg = new_arg
        self._released = False

    def set_new_arg(self, new_arg: Callable[[State[Any]], Any] | None) -> None:
        """Say what States hold from their first touch on."""
        self._new_arg = new_arg

    def new_arg(self, state: State[Any]) -> None:
        """Let a State hold what was asked for."""
        if self._new_arg is None:
            return
        if current_frame() is None:
            self.replace(state, self._new_arg(state))
        else:
            write(state.handle, self._new_arg(state))

    # --- what the State tells ---------------------------------------------------------------------

    def is_inside(self, state: State[Any]) -> bool:
        """Whether a State was created while this was active, or its level was raised to say so."""
        return super().is_inside(state) or (
            state.facts.raised > 0 and state.facts.level > self.depth
        )

    def touch(self, state: State[Any], written: bool) -> None:
        """Note that a State is read or written."""
        if self.is_inside(state):
            return
        if not written and self.check_read is not None:
            self.check_read(state)
        if state not in self.originals:
            self.originals[state] = _held(state)
            if current_frame() is None:
                self.follow(state)
            self.new_arg(state)
        if written:
            self._written.setdefault(state)

    def read_its_value(self, state: State[Any]) -> None:
        """Note that a State is read."""
        self.touch(state, written=False)

    def write_its_value(self, state: State[Any]) -> None:
        """Note that a State is written."""
        self.touch(state, written=True)

    def __enter__(self) -> StateTraceStack:
        self.inside = current_frame()
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        if not recording.stack or recording.stack[-1] is not self:
            raise RuntimeError(
                "a StateTraceStack is left while one that was entered later is still active; "
                "leave them in the reverse order"
            )
        self._written.update(dict.fromkeys(self.written))  # containers that were changed in place
        self._given.clear()
        recording.stack.pop()
        self.created.clear()

    # --- what was recorded ------------------------------------------------------------------------

    @property
    def states(self) -> list[State[Any]]:
        """The States that were touched, in the order of first touches."""
        return list(self.originals)

    @property
    def been_writen(self) -> list[bool]:
        """Whether each of the States was written."""
        written = set(self.written)
        return [state in written for state in self.originals]

    @property
    def original_state_values(self) -> tuple[Any, ...]:
        """What each of the States held before."""
        return tuple(self.originals.values())

    def get_state_values(
        self, separate: bool = False, replace: bool = False
    ) -> tuple[Any, ...] | tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Return what the States hold now.

        Parameters
        ----------
        separate : bool
            Whether to return a pair: the values of those written, and of those only read.
        replace : bool
            With `separate`: whether both have an entry for every State, None where it is in the
            other.
        """
        if separate:
            return self.get_write_state_values(replace), self.get_read_state_values(replace)
        return tuple(state.value for state in self.originals)

    def get_read_states(self, replace_writen: bool = False) -> tuple[State[Any] | None, ...]:
        """Return the States that were only read, with None for all others if asked for."""
        return self._those(False, replace_writen)

    def get_write_states(self, replace_read: bool = False) -> tuple[State[Any] | None, ...]:
        """Return the States that were written, with None for all others if asked for."""
        return self._those(True, replace_read)

    def get_read_state_values(self, replace_writen: bool = False) -> tuple[Any, ...]:
        """Return the values of :meth:`get_read_states`."""
        return _values(self.get_read_states(replace_writen))

    def get_write_state_values(self, replace_read: bool = False) -> tuple[Any, ...]:
        """Return the values of :meth:`get_write_states`."""
        return _values(self.get_write_states(replace_read))

    def state_subset(self, state_type: type[State[Any]]) -> list[State[Any]]:
        """Return the States of a class."""
        return [state for state in self.originals if isinstance(state, state_type)]

    def _those(self, wanted: bool, replace: bool) -> tuple[State[Any] | None, ...]:
        chosen = (
            state if written == wanted else None
            for state, written in zip(self.originals, self.been_writen, strict=True)
        )
        return tuple(state for state in chosen if replace or state is not None)

    # --- what is done with it ---------------------------------------------------------------------

    def assign_state_vals(self, state_vals: Sequence[Any]) -> None:
        """Give every State a value: those that were only read get one of the same structure.

        Parameters
        ----------
        state_vals : sequence of pytree
            One for each of :attr:`states`.

        Raises
        ------
        ValueError
            If there are more or fewer values than States, or one has another structure. Then no
            State has changed.
        """
        self._check_count("values", len(state_vals), len(self.originals))
        before = [(state, _held(state)) for state in self.originals]
        try:
            for (state, _), written, value in zip(
                before, self.been_writen, state_vals, strict=True
            ):
                _give(state, value, written)
        except BaseException:
            for state, value in before:
                _hold(state, value)
            raise

    def assign_state_vals_v2(
        self, read_state_vals: Sequence[Any], write_state_vals: Sequence[Any]
    ) -> None:
        """Give States what ``get_state_values(separate=True, replace=True)`` returned apart.

        Parameters
        ----------
        read_state_vals, write_state_vals : sequence of pytree
            One for each of :attr:`states`; of the written ones the second counts, else the first.

        Raises
        ------
        ValueError
            If there are more or fewer values than States, or one has another structure. Then no
            State has changed.
        """
        self._check_count("read values", len(read_state_vals), len(self.originals))
        self._check_count("written values", len(write_state_vals), len(self.originals))
        pairs = zip(self.been_writen, read_state_vals, write_state_vals, strict=True)
        self.assign_state_vals([new if written else old for written, old, new in pairs])

    def recovery_original_values(self) -> None:
        """Let every State hold again what it held before its first touch.

        Raises
        ------
        RuntimeError
            If the original values were released.
        """
        if self._released:
            raise RuntimeError("the original values were released, so they cannot be put back")
        for state, value in self.originals.items():
            if current_frame() is None:
                state.accept(value)
            else:
                state.restore_value(value)

    def release_original_values(self) -> None:
        """Keep shapes and dtypes of the original values only, and forget `new_arg`."""
        for state, value in self.originals.items():
            self.originals[state] = jax.tree.map(jax.typeof, value)
        self._released, self._new_arg = True, None

    def merge(self, *traces: StateTraceStack) -> StateTraceStack:
        """Take over what others have recorded, and return this one."""
        for trace in traces:
            for state, value in trace.originals.items():
                self.originals.setdefault(state, value)
            self._written.update(dict.fromkeys(trace.written))
            self._released = self._released or trace._released
        return self

    def __add__(self, other: StateTraceStack) -> StateTraceStack:
        return StateTraceStack().merge(self, other)

    def __repr__(self) -> str:
        return f"StateTraceStack({self.name or ''})"

    @staticmethod
    def _check_count(what: str, given: int, needed: int) -> None:
        if given != needed:
            raise ValueError(
                f"there are {needed} States, so {needed} {what} are needed, not {given}"
            )


def _values(states: Sequence[State[Any] | None]) -> tuple[Any, ...]:
    return tuple(None if state is None else state.value for state in states)


def _held(state: State[Any]) -> Any:
    """Return what a State holds here, without telling anybody."""
    return state.peek() if current_frame() is None else read(state.handle)


def _hold(state: State[Any], value: Any) -> None:
    """Let a State hold something, without telling anybody."""
    if current_frame() is None:
        state.accept(value)
    else:
        write(state.handle, value)


def _give(state: State[Any], value: Any, written: bool) -> None:
    if written:
        state.value = value
    else:
        state.restore_value(value)
