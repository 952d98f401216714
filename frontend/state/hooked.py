"""What a State has to do with hooks. One without any pays for them by looking at one attribute."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ..hooks import (
    GlobalHookRegistry,
    Hook,
    HookContext,
    HookHandle,
    HookManager,
    HookType,
    InitHookContext,
    MutableWriteHookContext,
    ReadHookContext,
    RestoreHookContext,
    WriteHookContext,
)
from .epoch import epoch

__all__ = ["Hooked", "hook_marks"]


class Hooked:
    """An object with a value on which hooks can be registered.

    ``_watched`` says whether there may be hooks to call: of the object if it has that attribute
    itself, else of all objects.
    """

    _watched: bool = False
    _hooks: HookManager | None = None

    @property
    def hooks(self) -> HookManager:
        """The table of hooks of this State, with the configuration of what their errors do."""
        if self._hooks is None:
            changed = functools.partial(_watch, weakref.ref(self))
            vars(self).setdefault("_hooks", HookManager(on_change=changed))
        assert self._hooks is not None
        return self._hooks

    def register_hook(
        self,
        hook_type: HookType,
        callback: Callable[[Any], Any],
        priority: int = 0,
        name: str | None = None,
        enabled: bool = True,
    ) -> HookHandle:
        """Call a function whenever something happens to this State.

        In a function that is being traced, hooks are told of the traced value: what they make of it
        becomes a part of the program. When the compiled program has run they are told of the value
        that the State is left with, which they may refuse then, but not change any more. A compiled
        function is traced again when hooks have changed. A copy of the State has no hooks.

        Parameters
        ----------
        hook_type : str
            When: ``read``; ``write_before``, which may change or refuse the value; ``write_after``;
            ``restore``, by ``restore_value``. Those of type ``init`` are of use for all States.
        callback : callable
            Called with one argument, a `HookContext` of that type. What it does with this State by
            itself calls no hook of the same type again.
        priority : int
            Hooks of a higher priority are called earlier.
        name : str, optional
            A name for messages.
        enabled : bool
            Whether it is called from now on.

        Returns
        -------
        HookHandle
            To enable, disable and remove it.

        Raises
        ------
        HookRegistrationError
            If there is no such type of hooks, or `callback` is not callable.

        Examples
        --------
        >>> import brainir
        >>> import jax.numpy as jnp
        >>> rate = brainir.State(jnp.float32(1.0))
        >>> def positive(context):
        ...     context.transformed_value = jnp.maximum(context.value, 0.0)
        >>> handle = rate.register_hook("write_before", positive)
        >>> rate.value = jnp.float32(-3.0)
        >>> float(rate.value)
        0.0
        """
        return self.hooks.register_hook(hook_type, callback, priority, name, enabled)

    def unregister_hook(self, handle: HookHandle) -> bool:
        """Remove a hook of this State; whether it was there."""
        return self._hooks is not None and self._hooks.unregister_hook(handle)

    def list_hooks(self, hook_type: HookType | None = None) -> list[Hook]:
        """Return the hooks of this State, or those of one type, in the order of calls."""
        return self.hooks.get_hooks(hook_type)

    def clear_hooks(self, hook_type: HookType | None = None) -> None:
        """Remove all hooks of this State, or those of one type."""
        self.hooks.clear_hooks(hook_type)

    def has_hooks(self, hook_type: HookType | None = None) -> bool:
        """Whether this State has a hook that is enabled, of one type or at all."""
        return self.hooks.has_hooks(hook_type)

    @contextmanager
    def temporary_hook(
        self,
        hook_type: HookType,
        callback: Callable[[Any], Any],
        priority: int = 0,
        name: str | None = None,
    ) -> Iterator[HookHandle]:
        """Call a function whenever something happens to this State in a ``with`` block."""
        handle = self.register_hook(hook_type, callback, priority, name)
        try:
            yield handle
        finally:
            handle.remove()

    # --- for the State itself ---------------------------------------------------------------------

    def _tell_init(self, value: Any, metadata: dict[str, Any]) -> None:
        if self._wanted("init"):
            reference = weakref.ref(self)
            self._tell(InitHookContext("init", reference, value=value, init_metadata=metadata))

    def _tell_read(self, value: Any) -> None:
        if self._wanted("read"):
            self._tell(ReadHookContext("read", weakref.ref(self), value=value))

    def _tell_before(self, value: Any, old: Any, transforms: bool) -> Any:
        """Return what hooks make of a value that is to be written."""
        if not self._wanted("write_before"):
            return value
        context = MutableWriteHookContext(
            "write_before", weakref.ref(self), value=value, old_value=old, transformed_value=value
        )
        self._tell(context, transforms)
        return context.transformed_value

    def _tell_after(self, value: Any, old: Any) -> None:
        if self._wanted("write_after"):
            reference = weakref.ref(self)
            self._tell(WriteHookContext("write_after", reference, value=value, old_value=old))

    def _tell_restored(self, value: Any, old: Any) -> None:
        if self._wanted("restore"):
            reference = weakref.ref(self)
            self._tell(RestoreHookContext("restore", reference, value=value, old_value=old))

    def _wanted(self, hook_type: HookType) -> bool:
        return any(manager.has_hooks(hook_type) for manager in self._managers())

    def _managers(self) -> list[HookManager]:
        everywhere = GlobalHookRegistry.instance()
        return [everywhere] if self._hooks is None else [everywhere, self._hooks]

    def _tell(self, context: HookContext, transforms: bool = True) -> None:
        running, key = _running.keys, (id(self), context.operation)
        if key in running:
            return
        running.add(key)
        try:
            for manager in self._managers():
                manager.run(context, transforms)
        finally:
            running.discard(key)


class _Running(threading.local):
    """Of which States hooks of which type are running in a thread."""

    def __init__(self) -> None:
        self.keys: set[tuple[int, str]] = set()


_running = _Running()


def _watch(reference: weakref.ref[Hooked]) -> None:
    """Look whether an object has hooks, after they have changed."""
    epoch.count += 1
    hooked = reference()
    if hooked is None:
        return
    if hooked._hooks is not None and hooked._hooks.has_hooks():
        hooked._watched = True
    else:
        vars(hooked).pop("_watched", None)


def _watch_all() -> None:
    epoch.count += 1
    Hooked._watched = GlobalHookRegistry.instance().has_hooks()


GlobalHookRegistry.on_change = staticmethod(_watch_all)  # pyright: ignore


def hook_marks(states: Iterable[Any]) -> tuple[Any, ...]:
    """Return what tells the hooks on some States from others: programs differ by them."""
    managers = (state._hooks for state in states)
    own = (manager.marks if manager is not None else () for manager in managers)
    return GlobalHookRegistry.instance().marks, *own
