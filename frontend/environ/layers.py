"""What is in force: environments, the values set in them, contexts, and who watches their reads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax

from ..snapshot import snapshot

__all__ = ["DEFAULT", "EnvironmentState", "Reads", "Setting", "change", "context_of", "find"]
__all__ += ["name_set", "note_change", "note_read", "snapshot_of", "thread"]

ALL_NAMES = ""
"""Stands, among the names that were read, for the set of all names."""


class Setting:
    """A value in force, and its snapshot, made when it is first asked for."""

    __slots__ = ("_snapshot", "value")

    def __init__(self, value: object):
        self.value = value
        self._snapshot: Hashable = None

    @property
    def snapshot(self) -> Hashable:
        """What equals the snapshot of another value if and only if both are the same."""
        if self._snapshot is None:
            self._snapshot = snapshot(self.value)
        return self._snapshot


class EnvironmentState:
    """An environment of its own: values set with ``env=`` are seen only where it is given again.

    Every function of :mod:`brainir.environ` that takes ``env=`` uses the environment of the whole
    process without it. What is set in another one switches nothing in JAX.

    Examples
    --------
    >>> from brainir import environ
    >>> sandbox = environ.EnvironmentState()
    >>> environ.set(dt=0.5, env=sandbox)
    >>> environ.get("dt", "unset"), environ.get("dt", env=sandbox)
    ('unset', 0.5)
    """

    def __init__(self):
        self.settings: dict[str, Setting] = {}
        self.behaviors: dict[str, Callable[[Any], None]] = {}

    def __repr__(self) -> str:
        values = ", ".join(f"{k}={s.value!r}" for k, s in sorted(self.settings.items()))
        return f"{type(self).__name__}({values})"


DEFAULT = EnvironmentState()
"""The environment of the whole process."""

Context = Mapping[str, Setting]
ReadKey = str | tuple[EnvironmentState, str]


class Reads(dict[ReadKey, Hashable]):
    """What a trace has read: name -> snapshot, or None for a name that was not set.

    A name of an environment other than the default one is a pair of that and the name.

    Examples
    --------
    >>> from brainir import environ
    >>> with environ.watch() as reads:
    ...     _ = environ.get("unknown", None)
    >>> dict(reads)
    {'unknown': None}
    """

    __slots__ = ("change",)

    def __init__(self):
        super().__init__()
        self.change: object = None


_change = object()
"""Another object after every change of a value that is not a context's, in any thread."""


class _ThreadState(threading.local):
    """The contexts that are open in this thread, by environment, and the watches."""

    def __init__(self):
        self.contexts: Mapping[EnvironmentState, Context] = {}
        self.watches: tuple[tuple[Mapping[EnvironmentState, Context], Reads], ...] = ()


thread = _ThreadState()
_NOTHING: Context = {}


def context_of(env: EnvironmentState, contexts: Any = None) -> Context:
    """Return what the open contexts of an environment hold, by default those of this thread."""
    return (thread.contexts if contexts is None else contexts).get(env, _NOTHING)


def find(env: EnvironmentState, name: str, context: Context) -> Setting | None:
    """Return what is in force for a name, None if nothing is."""
    setting = context.get(name) or env.settings.get(name)
    if setting is None and name == "precision":
        return Setting(64 if jax.config.read("jax_enable_x64") else 32)
    return setting


def name_set(env: EnvironmentState, context: Context) -> tuple[str, ...]:
    """Return the names that are set, and the precision, sorted."""
    return tuple(sorted({"precision", *env.settings, *context}))


def snapshot_of(env: EnvironmentState, name: str, context: Context) -> Hashable:
    """Return the snapshot of what is in force for a name, None if nothing is."""
    if name == ALL_NAMES:
        return name_set(env, context)
    setting = find(env, name, context)
    return None if setting is None else setting.snapshot


def note_read(env: EnvironmentState, name: str) -> None:
    """Tell the watches of a read, but those inside which a context has provided the value."""
    for contexts, reads in thread.watches:
        key = name if env is DEFAULT else (env, name)
        context = context_of(env, contexts)
        if key not in reads and context.get(name) is context_of(env).get(name):
            reads[key] = snapshot_of(env, name, context)


def change() -> object:
    """Return an object that is another one after every change."""
    return _change


def note_change() -> None:
    """Note that a value has changed that is not a context's."""
    global _change
    _change = object()
