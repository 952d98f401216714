"""Modules that advance in time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ..typing import Size
from .module import Module, as_size
from .prefetching import OutputDelayAt, Prefetch, PrefetchDelayAt

__all__ = ["Dynamics", "not_receive_update_output", "receive_update_input"]

F = TypeVar("F", bound=Callable[..., Any])
Hooks = dict[str, Callable[..., Any]]


def receive_update_input(hook: F) -> F:
    """Mark a function so that, as a before-update, it is called with the inputs of the update.

    Examples
    --------
    >>> import brainir
    >>> echo = brainir.nn.Dynamics(1)
    >>> echo.update = lambda x: x
    >>> echo.add_before_update("log", brainir.nn.receive_update_input(lambda x: print("got", x)))
    >>> echo(2.0)
    got 2.0
    2.0
    """
    hook._receive_update_input = True  # pyright: ignore[reportFunctionMemberAccess]
    return hook


def not_receive_update_output(hook: F) -> F:
    """Mark a function so that, as an after-update, it is called with no arguments.

    Examples
    --------
    >>> import brainir
    >>> echo = brainir.nn.Dynamics(1)
    >>> echo.update = lambda x: x
    >>> echo.add_after_update(
    ...     "log", brainir.nn.not_receive_update_output(lambda: print("updated"))
    ... )
    >>> echo(2.0)
    updated
    2.0
    """
    hook._not_receive_update_output = True  # pyright: ignore[reportFunctionMemberAccess]
    return hook


class Dynamics(Module):
    """A module whose ``update`` is one time step.

    A call runs the before-updates, the update and the after-updates, each group in the order of
    addition, and returns what the update returned. A before-update is called with no arguments
    (see :func:`receive_update_input`), an after-update with what the update returned (see
    :func:`not_receive_update_output`).

    Parameters
    ----------
    in_size : int or sequence of int
        The shape of one input without batch axes; ``n`` stands for ``(n,)``. ``out_size`` starts
        as the same shape.
    name : str, optional
        A name for people to read.

    Raises
    ------
    ValueError
        If `in_size` is empty or has an element that is not a non-negative integer.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> class Counter(brainir.nn.Dynamics):
    ...     def init_state(self):
    ...         self.count = brainir.ShortTermState(jnp.zeros(self.varshape, jnp.int32))
    ...     def update(self):
    ...         self.count.value += 1
    ...         return self.count.value
    >>> counter = brainir.nn.init_all_states(Counter(2))
    >>> counter()
    Array([1, 1], dtype=int32)
    """

    _before_updates: Hooks | None = None
    _after_updates: Hooks | None = None

    def __init__(self, in_size: Size, name: str | None = None):
        super().__init__(name)
        if not as_size(in_size):
            raise ValueError(
                f"in_size of {type(self).__name__} must be a non-negative integer or a non-empty "
                f"tuple or list of them, not {in_size!r}"
            )
        self.in_size = in_size
        self.out_size = in_size

    @property
    def varshape(self) -> tuple[int, ...]:
        """The shape of the state variables without batch axes: that of one input."""
        assert self.in_size is not None
        return self.in_size

    @property
    def before_updates(self) -> Hooks | None:
        """The before-updates by key, or None before the first is added."""
        return self._before_updates

    @property
    def after_updates(self) -> Hooks | None:
        """The after-updates by key, or None before the first is added."""
        return self._after_updates

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the before-updates, ``update`` and the after-updates."""
        for hook in (self._before_updates or {}).values():
            if getattr(hook, "_receive_update_input", False):
                hook(*args, **kwargs)
            else:
                hook()
        output = self.update(*args, **kwargs)
        for hook in (self._after_updates or {}).values():
            if getattr(hook, "_not_receive_update_output", False):
                hook()
            else:
                hook(output)
        return output

    def add_before_update(self, key: str, hook: Callable[..., Any]) -> None:
        """Add a function to call before each update; a `key` in use raises ``KeyError``."""
        self._before_updates = self._extended("before-update", self._before_updates, key, hook)

    def add_after_update(self, key: str, hook: Callable[..., Any]) -> None:
        """Add a function to call after each update; a `key` in use raises ``KeyError``."""
        self._after_updates = self._extended("after-update", self._after_updates, key, hook)

    def get_before_update(self, key: str) -> Callable[..., Any]:
        """Return the before-update added under `key`; an unknown key raises ``KeyError``."""
        return self._found("before-update", self._before_updates, key)

    def get_after_update(self, key: str) -> Callable[..., Any]:
        """Return the after-update added under `key`; an unknown key raises ``KeyError``."""
        return self._found("after-update", self._after_updates, key)

    def has_before_update(self, key: str) -> bool:
        """Tell whether a before-update was added under `key`."""
        return key in (self._before_updates or {})

    def has_after_update(self, key: str) -> bool:
        """Tell whether an after-update was added under `key`."""
        return key in (self._after_updates or {})

    def prefetch(self, item: str) -> Prefetch:
        """Return a reference to an attribute, such as a State that ``init_state`` is yet to make.

        See :class:`~brainir.nn.Prefetch`.
        """
        return Prefetch(self, item)

    def prefetch_delay(
        self, state: str, *time_and_index: Any, init: Any = None, interpolation: str | None = None
    ) -> PrefetchDelayAt:
        """Return a reference to what a State was some time ago.

        See :class:`~brainir.nn.PrefetchDelayAt`.

        Parameters
        ----------
        state : str
            The name of the State.
        *time_and_index
            How long ago, and indices into the value.
        init, interpolation
            As for :class:`~brainir.nn.Delay`.
        """
        return PrefetchDelayAt(self, state, time_and_index or None, init, interpolation)

    def output_delay(
        self, *time_and_index: Any, init: Any = None, interpolation: str | None = None
    ) -> OutputDelayAt:
        """Return a reference to what a call returned some time ago.

        See :class:`~brainir.nn.OutputDelayAt`.
        """
        return OutputDelayAt(self, time_and_index or None, init, interpolation)

    def _extended(
        self, kind: str, hooks: Hooks | None, key: str, hook: Callable[..., Any]
    ) -> Hooks:
        if key in (hooks or {}):
            raise KeyError(f"{type(self).__name__} already has the {kind} {key!r}; use another key")
        return {**(hooks or {}), key: hook}

    def _found(self, kind: str, hooks: Hooks | None, key: str) -> Callable[..., Any]:
        if key not in (hooks or {}):
            known = ", ".join(map(repr, hooks or {})) or "none"
            raise KeyError(f"{type(self).__name__} has no {kind} {key!r}; there are: {known}")
        return (hooks or {})[key]
