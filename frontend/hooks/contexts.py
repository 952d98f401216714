"""What a hook is told, and what can go wrong with one."""

from __future__ import annotations

import time
import weakref
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import BrainIRError

__all__ = [
    "HOOK_TYPES",
    "HookCancellationError",
    "HookContext",
    "HookError",
    "HookExecutionError",
    "HookRegistrationError",
    "HookType",
    "HookWarning",
    "InitHookContext",
    "MutableWriteHookContext",
    "ReadHookContext",
    "RestoreHookContext",
    "WriteHookContext",
]

HookType = Literal["read", "write_before", "write_after", "restore", "init"]
"""One of :data:`HOOK_TYPES`."""

HOOK_TYPES: tuple[HookType, ...] = ("read", "write_before", "write_after", "restore", "init")
"""When a hook can be called: the operation on a State that it belongs to."""


class HookError(BrainIRError):
    """The base of what goes wrong with hooks.

    Examples
    --------
    >>> import brainir
    >>> V = brainir.State(0.0, name="V")
    >>> handle = V.register_hook("read", print, name="look")
    >>> V.unregister_hook(handle)
    True
    >>> handle.disable()
    Traceback (most recent call last):
        ...
    brainir.frontend.hooks.contexts.HookError: hook 'look' was removed; register it again
    """


class HookRegistrationError(HookError):
    """A hook was registered for an operation that there is not, or is not callable.

    Examples
    --------
    >>> import brainir
    >>> brainir.State(0.0).register_hook("write", print)
    Traceback (most recent call last):
        ...
    brainir.frontend.hooks.contexts.HookRegistrationError: there are no hooks of the type ...
    """


class HookExecutionError(HookError):
    """A hook raised an error, which is the cause of this one.

    Examples
    --------
    >>> import brainir
    >>> V = brainir.State(0.0, name="V")
    >>> V.hooks.config = brainir.HookConfig(on_error="raise")
    >>> handle = V.register_hook("read", lambda context: 1 / 0, name="rate")
    >>> V.value
    Traceback (most recent call last):
        ...
    brainir.frontend.hooks.contexts.HookExecutionError: hook 'rate' failed at read of ...
    """


class HookCancellationError(HookError):
    """A hook has refused a write; the State is as it was.

    Examples
    --------
    >>> import brainir
    >>> V = brainir.State(1.0, name="V")
    >>> def stay_positive(context):
    ...     if context.value < 0:
    ...         context.cancel, context.cancel_reason = True, "it is negative"
    >>> handle = V.register_hook("write_before", stay_positive, name="stay_positive")
    >>> V.value = -1.0
    Traceback (most recent call last):
        ...
    brainir.frontend.hooks.contexts.HookCancellationError: stay_positive: it is negative ...
    >>> V.value
    1.0
    """


class HookWarning(UserWarning):
    """A hook raised an error, and what it was called for went on without it.

    Examples
    --------
    >>> import warnings
    >>> import brainir
    >>> V = brainir.State(1.0, name="V")
    >>> handle = V.register_hook("read", lambda context: 1 / 0)
    >>> with warnings.catch_warnings(record=True) as seen:
    ...     warnings.simplefilter("always")
    ...     value = V.value
    >>> value, seen[0].category.__name__
    (1.0, 'HookWarning')
    """


@dataclass
class HookContext:
    """What every hook is told.

    Attributes
    ----------
    operation : str
        One of ``read``, ``write_before``, ``write_after``, ``restore`` and ``init``.
    state_ref : weakref.ref
        The way to the State, which is not kept alive.
    timestamp : float
        When it happened, as ``time.time()`` counts.
    metadata : dict
        Whatever hooks want to tell the hooks after them.

    Examples
    --------
    >>> import brainir
    >>> V = brainir.State(0.0, name="V")
    >>> def tell(context):
    ...     print(context.operation, context.state_name)
    >>> handles = [V.register_hook(kind, tell) for kind in ("read", "write_after")]
    >>> V.value = V.value + 1.0
    read V
    write_after V
    """

    operation: HookType
    state_ref: weakref.ref[Any]
    timestamp: float = field(default_factory=time.time)
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> Any:
        """The State, or None if it is gone."""
        return self.state_ref()

    @property
    def state_name(self) -> str | None:
        """The name of the State, or None if it has none or is gone."""
        return getattr(self.state, "name", None)


@dataclass
class ReadHookContext(HookContext):
    """What a hook is told of a read: the value, traced while a function is captured.

    Attributes
    ----------
    value : pytree
        What is read; a tracer while a function is captured.

    Examples
    --------
    >>> import brainir
    >>> V = brainir.State(2.5, name="V")
    >>> handle = V.register_hook("read", lambda context: print("read", context.value))
    >>> V.value
    read 2.5
    2.5
    """

    value: Any = None


@dataclass
class WriteHookContext(HookContext):
    """What a hook is told of a write: the new value and the one before.

    Attributes
    ----------
    value : pytree
        The new value.
    old_value : pytree
        What the State held, or None if it had no value.

    Examples
    --------
    >>> import brainir
    >>> V = brainir.State(1.0, name="V")
    >>> steps = []
    >>> handle = V.register_hook("write_after", lambda c: steps.append((c.old_value, c.value)))
    >>> V.value = 2.0
    >>> V.value = 4.0
    >>> steps
    [(1.0, 2.0), (2.0, 4.0)]
    """

    value: Any = None
    old_value: Any = None


@dataclass
class MutableWriteHookContext(WriteHookContext):
    """What a hook is told ahead of a write, and what it can do about it.

    Attributes
    ----------
    value : pytree
        What was to be written.
    transformed_value : pytree
        What hooks before this one have made of it; assign to it what is to be written instead.
    cancel : bool
        Set it to refuse the write, which raises `HookCancellationError`.
    cancel_reason : str
        What that error says.

    Examples
    --------
    >>> import brainir
    >>> V = brainir.State(1.0, name="V")
    >>> def clip(context):
    ...     context.transformed_value = min(context.transformed_value, 2.0)
    >>> handle = V.register_hook("write_before", clip)
    >>> V.value = 5.0
    >>> V.value
    2.0
    """

    transformed_value: Any = None
    cancel: bool = False
    cancel_reason: str | None = None


@dataclass
class RestoreHookContext(WriteHookContext):
    """What a hook is told of a value that is put back by ``State.restore_value``.

    Attributes
    ----------
    value : pytree
        What is put back.
    old_value : pytree
        What the State held.

    Examples
    --------
    >>> import brainir
    >>> V = brainir.State(1.0, name="V")
    >>> handle = V.register_hook("restore", lambda c: print("from", c.old_value, "to", c.value))
    >>> V.restore_value(0.0)
    from 1.0 to 0.0
    """


@dataclass
class InitHookContext(HookContext):
    """What a hook is told of a new State: its first value, and its name, tag and metadata.

    Attributes
    ----------
    value : pytree
        What the State holds at first.
    init_metadata : dict
        Its name, its tag and other metadata.

    Examples
    --------
    >>> import brainir
    >>> made = []
    >>> handle = brainir.register_state_hook("init", lambda c: made.append(c.state_name))
    >>> V = brainir.State(1.0, name="V")
    >>> made, brainir.unregister_state_hook(handle)
    (['V'], True)
    """

    value: Any = None
    init_metadata: dict[str, Any] = field(default_factory=dict)
