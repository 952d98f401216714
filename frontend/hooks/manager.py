"""Hooks: functions that are called when a State is read, written, restored or made.

A table of hooks belongs to one State, or, as the registry, to all of them. The tables are replaced
as a whole and never changed, so that any thread may run hooks while another registers some.
"""

from __future__ import annotations

import itertools
import threading
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from .contexts import (
    HOOK_TYPES,
    HookCancellationError,
    HookContext,
    HookError,
    HookExecutionError,
    HookRegistrationError,
    HookType,
    HookWarning,
    MutableWriteHookContext,
)

__all__ = ["GlobalHookRegistry", "Hook", "HookConfig", "HookHandle", "HookManager"]

_serials = itertools.count()


class Hook:
    """A function that is called when something happens to a State.

    Parameters
    ----------
    callback : callable
        Called with one argument, a `HookContext` of the operation.
    priority : int
        Hooks of a higher priority are called earlier, equal ones in the order of registration.
    name : str, optional
        A name for messages; by default a number.
    enabled : bool
        Whether it is called at all.

    Raises
    ------
    HookRegistrationError
        If `callback` is not callable.

    Examples
    --------
    >>> import brainir
    >>> V = brainir.State(1.0, name="V")
    >>> handle = V.register_hook("read", print, priority=2, name="look")
    >>> handle.hook
    Hook(name='look', priority=2, enabled)
    >>> V.list_hooks("read") == [handle.hook]
    True
    """

    def __init__(
        self,
        callback: Callable[[Any], Any],
        priority: int = 0,
        name: str | None = None,
        enabled: bool = True,
    ) -> None:
        if not callable(callback):
            raise HookRegistrationError(
                f"a hook is a function of one argument, not {type(callback).__name__}"
            )
        self.serial = next(_serials)
        self.callback, self.priority, self.enabled = callback, priority, enabled
        self.name = f"hook_{self.serial}" if name is None else name
        self.errors = 0

    def execute(self, context: HookContext) -> Any:
        """Call the function.

        Raises
        ------
        HookExecutionError
            If it raises an error, which is the cause of this one.
        """
        try:
            return self.callback(context)
        except HookCancellationError:
            raise
        except Exception as error:
            raise HookExecutionError(
                f"hook {self.name!r} failed at {context.operation} of "
                f"{_described(context)}: {type(error).__name__}: {error}"
            ) from error

    def __repr__(self) -> str:
        state = "enabled" if self.enabled else "disabled"
        return f"Hook(name={self.name!r}, priority={self.priority}, {state})"


def _described(context: HookContext) -> str:
    state = context.state
    return "a State that is gone" if state is None else state.describe()


@dataclass
class HookConfig:
    """What happens to errors of hooks.

    Attributes
    ----------
    on_error : str
        ``raise`` them, as `HookExecutionError`; ``log`` them, by a `HookWarning`; or ``ignore``
        them. In the last two cases the operation goes on as if there were no such hook.
    error_logger : callable, optional
        Called instead of the warning with the message, the error, the hook and its context.
    disable_on_error : bool
        Whether a hook that fails too often is disabled.
    max_errors_per_hook : int
        How often that is.

    Examples
    --------
    >>> import brainir
    >>> V = brainir.State(1.0, name="V")
    >>> failed = []
    >>> V.hooks.config = brainir.HookConfig(
    ...     error_logger=lambda message, error, hook, context: failed.append(hook.name),
    ...     disable_on_error=True,
    ...     max_errors_per_hook=1,
    ... )
    >>> handle = V.register_hook("read", lambda context: 1 / 0, name="rate")
    >>> V.value, V.value
    (1.0, 1.0)
    >>> failed, handle.is_enabled()
    (['rate'], False)
    """

    on_error: Literal["raise", "log", "ignore"] = "log"
    error_logger: Callable[[str, Exception, Hook, HookContext], None] | None = None
    max_errors_per_hook: int = 10
    disable_on_error: bool = False


class HookHandle:
    """What a registration returns: the means to end it, or to let it rest.

    Examples
    --------
    >>> import brainir
    >>> V = brainir.State(1.0, name="V")
    >>> handle = V.register_hook("read", lambda context: print("read"), name="look")
    >>> handle.disable()
    >>> V.value
    1.0
    >>> handle.enable()
    >>> V.value
    read
    1.0
    >>> handle.remove(), handle.is_removed()
    (True, True)
    """

    def __init__(self, manager: HookManager, hook: Hook, hook_type: HookType) -> None:
        self._manager = weakref.ref(manager)
        self.hook, self.hook_type = hook, hook_type

    @property
    def name(self) -> str:
        """The name of the hook."""
        return self.hook.name

    @property
    def priority(self) -> int:
        """The priority of the hook."""
        return self.hook.priority

    def enable(self) -> None:
        """Let the hook be called again.

        Raises
        ------
        HookError
            If it was removed.
        """
        self._switch(True)

    def disable(self) -> None:
        """Let the hook rest.

        Raises
        ------
        HookError
            If it was removed.
        """
        self._switch(False)

    def remove(self) -> bool:
        """Remove the hook; whether there was something to remove."""
        manager = self._manager()
        return manager is not None and manager.unregister_hook(self)

    def is_enabled(self) -> bool:
        """Whether the hook is registered and enabled."""
        return self.hook.enabled and not self.is_removed()

    def is_removed(self) -> bool:
        """Whether the hook is no longer registered."""
        manager = self._manager()
        return manager is None or not manager.has(self)

    def _switch(self, enabled: bool) -> None:
        manager = self._manager()
        if manager is None or not manager.has(self):
            raise HookError(f"hook {self.name!r} was removed; register it again")
        manager.switch(self.hook, enabled)

    def __repr__(self) -> str:
        enabled = "enabled" if self.hook.enabled else "disabled"
        state = "removed" if self.is_removed() else enabled
        return f"HookHandle(name={self.name!r}, priority={self.priority}, {state})"


class HookManager:
    """The hooks of one State.

    Parameters
    ----------
    config : HookConfig, optional
        What happens to their errors; it may be assigned later, too.
    on_change : callable, optional
        Called after hooks were registered, removed, enabled or disabled.

    Examples
    --------
    >>> import brainir
    >>> state = brainir.State(1.0)
    >>> handle = state.hooks.register_hook("read", lambda context: print("read", context.value))
    >>> state.value
    read 1.0
    1.0
    >>> handle.disable()
    >>> state.value
    1.0
    """

    on_change: Callable[[], None] | None = None

    def __init__(
        self, config: HookConfig | None = None, on_change: Callable[[], None] | None = None
    ) -> None:
        self.config = config or HookConfig()
        if on_change is not None:
            self.on_change = on_change
        self._lock = threading.RLock()
        self._hooks: dict[str, tuple[Hook, ...]] = dict.fromkeys(HOOK_TYPES, ())

    def register_hook(
        self,
        hook_type: HookType,
        callback: Callable[[Any], Any],
        priority: int = 0,
        name: str | None = None,
        enabled: bool = True,
    ) -> HookHandle:
        """Call a function whenever something happens; see `State.register_hook`."""
        kind = _checked(hook_type)
        hook = Hook(callback, priority, name, enabled)
        with self._lock:
            hooks = (*self._hooks[kind], hook)
            self._hooks[kind] = tuple(sorted(hooks, key=lambda h: -h.priority))
        self._changed()
        return HookHandle(self, hook, kind)

    def unregister_hook(self, handle: HookHandle) -> bool:
        """Remove a hook; whether it was there."""
        with self._lock:
            if not self.has(handle):
                return False
            kept = (h for h in self._hooks[handle.hook_type] if h is not handle.hook)
            self._hooks[handle.hook_type] = tuple(kept)
        self._changed()
        return True

    def clear_hooks(self, hook_type: HookType | None = None) -> None:
        """Remove all hooks, or those of one type."""
        with self._lock:
            self._hooks.update(dict.fromkeys(_chosen(hook_type), ()))
        self._changed()

    def get_hooks(self, hook_type: HookType | None = None) -> list[Hook]:
        """Return all hooks, or those of one type, in the order in which they are called."""
        return [hook for kind in _chosen(hook_type) for hook in self._hooks[kind]]

    def has_hooks(self, hook_type: HookType | None = None) -> bool:
        """Whether there is a hook that is enabled, of one type or at all."""
        return any(hook.enabled for hook in self.get_hooks(hook_type))

    def has(self, handle: HookHandle) -> bool:
        """Whether a hook is registered here."""
        return handle.hook in self._hooks[handle.hook_type]

    def switch(self, hook: Hook, enabled: bool) -> None:
        """Let a hook be called, or not."""
        hook.enabled = enabled
        self._changed()

    @property
    def marks(self) -> tuple[tuple[str, int], ...]:
        """What tells the present hooks from others: a program that was traced with them differs."""
        kinds = (kind for kind in HOOK_TYPES if kind != "init")
        return tuple((k, h.serial) for k in kinds for h in self._hooks[k] if h.enabled)

    def run(self, context: HookContext, transforms: bool = True) -> None:
        """Call the hooks of an operation, one after the other.

        Without `transforms` what they make of a value is disregarded, but not that they refuse it.

        Raises
        ------
        HookCancellationError
            If a hook refuses a write.
        HookExecutionError
            If a hook fails and the configuration says that this is an error.
        """
        for hook in self._hooks[context.operation]:
            if hook.enabled:
                self._run_one(hook, context, transforms)

    def _run_one(self, hook: Hook, context: HookContext, transforms: bool) -> None:
        mutable = context if isinstance(context, MutableWriteHookContext) else None
        before = mutable and mutable.transformed_value
        try:
            hook.execute(context)
        except HookExecutionError as error:
            if mutable is not None:
                mutable.transformed_value, mutable.cancel = before, False
            self._failed(hook, error, context)
        if mutable is None:
            return
        if mutable.cancel:
            reason = mutable.cancel_reason or "it gives no reason"
            raise HookCancellationError(
                f"{hook.name}: {reason} (the write of {_described(context)} was cancelled)"
            )
        if mutable.transformed_value is None or not transforms:
            mutable.transformed_value = before

    def _failed(self, hook: Hook, error: HookExecutionError, context: HookContext) -> None:
        hook.errors += 1
        if self.config.disable_on_error and hook.errors >= self.config.max_errors_per_hook:
            self.switch(hook, False)
        if self.config.on_error == "raise":
            raise error
        if self.config.on_error == "log":
            if self.config.error_logger is None:
                warnings.warn(str(error), HookWarning, stacklevel=2)
            else:
                self.config.error_logger(str(error), error, hook, context)

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change()


class GlobalHookRegistry(HookManager):
    """The hooks of all States; there is one registry.

    Examples
    --------
    >>> import brainir
    >>> registry = brainir.GlobalHookRegistry.instance()
    >>> handle = registry.register_hook("write_after", lambda c: print(c.state_name, c.value))
    >>> V = brainir.State(1.0, name="V")
    >>> V.value = 2.0
    V 2.0
    >>> registry.unregister_hook(handle)
    True
    """

    _instance: GlobalHookRegistry | None = None
    _making = threading.Lock()

    @classmethod
    def instance(cls) -> GlobalHookRegistry:
        """Return the registry."""
        if cls._instance is None:
            with cls._making:
                cls._instance = cls._instance or cls()
        return cls._instance

    @classmethod
    def reset(cls) -> None:
        """Remove all hooks of the registry, and forget its configuration."""
        registry = cls.instance()
        registry.clear_hooks()
        registry.config = HookConfig()


def _checked(hook_type: Any) -> HookType:
    if hook_type not in HOOK_TYPES:
        raise HookRegistrationError(
            f"there are no hooks of the type {hook_type!r}; the types are {', '.join(HOOK_TYPES)}"
        )
    return hook_type


def _chosen(hook_type: HookType | None) -> tuple[HookType, ...]:
    if hook_type is None:
        return HOOK_TYPES
    if hook_type not in HOOK_TYPES:
        raise ValueError(
            f"there are no hooks of the type {hook_type!r}; the types are {', '.join(HOOK_TYPES)}"
        )
    return (hook_type,)
