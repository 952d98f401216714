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

HOOK_TYPES: tuple[HookType, ...] = ("read", "write_before", "write_after", "restore", "init")
"""When a hook can be called: the operation on a State that it belongs to."""


class HookError(BrainIRError):
    """The base of what goes wrong with hooks."""


class HookRegistrationError(HookError):
    """A hook was registered for an operation that there is not, or is not callable."""


class HookExecutionError(HookError):
    """A hook raised an error, which is the cause of this one."""


class HookCancellationError(HookError):
    """A hook has refused a write; the State is as it was."""


class HookWarning(UserWarning):
    """A hook raised an error, and what it was called for went on without it."""


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
    """What a hook is told of a read: the value, traced while a function is captured."""

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
    """

    transformed_value: Any = None
    cancel: bool = False
    cancel_reason: str | None = None


@dataclass
class RestoreHookContext(WriteHookContext):
    """What a hook is told of a value that is put back by ``State.restore_value``."""


@dataclass
class InitHookContext(HookContext):
    """What a hook is told of a new State: its first value, and its name, tag and metadata."""

    value: Any = None
    init_metadata: dict[str, Any] = field(default_factory=dict)
