"""Hooks on all States."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .contexts import HookType
from .manager import GlobalHookRegistry, Hook, HookHandle

__all__ = [
    "clear_state_hooks",
    "has_state_hooks",
    "list_state_hooks",
    "register_state_hook",
    "unregister_state_hook",
]


def register_state_hook(
    hook_type: HookType,
    callback: Callable[[Any], Any],
    priority: int = 0,
    name: str | None = None,
    enabled: bool = True,
) -> HookHandle:
    """Call a function whenever something happens to any State, ahead of the State's own hooks.

    Parameters are those of `State.register_hook`; a hook of the type ``init`` is called for every
    State that is made from now on.

    Raises
    ------
    HookRegistrationError
        If there is no such type of hooks, or `callback` is not callable.

    Examples
    --------
    >>> import brainir
    >>> made = []
    >>> handle = brainir.register_state_hook("init", lambda context: made.append(context.value))
    >>> state = brainir.State(2.0)
    >>> made, brainir.unregister_state_hook(handle)
    ([2.0], True)
    """
    registry = GlobalHookRegistry.instance()
    return registry.register_hook(hook_type, callback, priority, name, enabled)


def unregister_state_hook(handle: HookHandle) -> bool:
    """Remove a hook on all States; whether it was there.

    Examples
    --------
    >>> import brainir
    >>> handle = brainir.register_state_hook("read", print)
    >>> brainir.unregister_state_hook(handle), brainir.unregister_state_hook(handle)
    (True, False)
    """
    return GlobalHookRegistry.instance().unregister_hook(handle)


def list_state_hooks(hook_type: HookType | None = None) -> list[Hook]:
    """Return the hooks on all States, or those of one type, in the order of calls.

    Raises
    ------
    ValueError
        If there is no such type of hooks.

    Examples
    --------
    >>> import brainir
    >>> later = brainir.register_state_hook("read", print, name="later")
    >>> first = brainir.register_state_hook("read", print, priority=1, name="first")
    >>> [hook.name for hook in brainir.list_state_hooks("read")]
    ['first', 'later']
    >>> brainir.clear_state_hooks("read")
    """
    return GlobalHookRegistry.instance().get_hooks(hook_type)


def clear_state_hooks(hook_type: HookType | None = None) -> None:
    """Remove all hooks on all States, or those of one type.

    Raises
    ------
    ValueError
        If there is no such type of hooks.

    Examples
    --------
    >>> import brainir
    >>> handle = brainir.register_state_hook("read", print)
    >>> brainir.clear_state_hooks("read")
    >>> brainir.has_state_hooks("read"), handle.is_removed()
    (False, True)
    """
    GlobalHookRegistry.instance().clear_hooks(hook_type)


def has_state_hooks(hook_type: HookType | None = None) -> bool:
    """Whether there is an enabled hook on all States, of one type or at all.

    Raises
    ------
    ValueError
        If there is no such type of hooks.

    Examples
    --------
    >>> import brainir
    >>> handle = brainir.register_state_hook("init", print)
    >>> brainir.has_state_hooks(), brainir.has_state_hooks("read")
    (True, False)
    >>> handle.disable()
    >>> brainir.has_state_hooks(), brainir.unregister_state_hook(handle)
    (False, True)
    """
    return GlobalHookRegistry.instance().has_hooks(hook_type)
