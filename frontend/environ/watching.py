"""Noticing that something which was read of an environment has changed."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager

from . import layers
from .layers import DEFAULT, EnvironmentState, Reads, context_of, note_read, snapshot_of, thread

__all__ = ["fingerprint", "unchanged", "watch"]


def fingerprint(names: Iterable[str] | None = None, *, env: EnvironmentState = DEFAULT) -> Hashable:
    """Return a snapshot of the values in force, equal to another one if and only if they are equal.

    Numbers, strings and small arrays count by value and type, quantities also by unit. Anything
    else, such as a traced value or a function, is the same only if it is the same object.

    Parameters
    ----------
    names
        The names to look at, which may be ones that are not set; without it, all that are set.
    env
        The environment, by default that of the process.

    Examples
    --------
    >>> from brainir import environ
    >>> with environ.context(fit=True):
    ...     before = environ.fingerprint()
    >>> with environ.context(fit=True):
    ...     print(environ.fingerprint() == before)
    True
    >>> with environ.context(fit=False):
    ...     print(environ.fingerprint() == before)
    False
    """
    context = context_of(env)
    chosen = (layers.ALL_NAMES, *layers.name_set(env, context)) if names is None else tuple(names)
    for name in chosen:
        note_read(env, name)
    return tuple(snapshot_of(env, name, context) for name in chosen)


@contextmanager
def watch() -> Iterator[Reads]:
    """Note which values of the environment are read inside the block.

    A name that was looked up and not found is noted too. What a :func:`context` opened *inside* the
    block provides is not: it does not depend on the outside. Blocks nest; a read counts for all.

    Examples
    --------
    >>> from brainir import environ
    >>> with environ.context(fit=True, dt=0.1), environ.watch() as reads:
    ...     with environ.context(dt=0.2):
    ...         _ = environ.get("fit"), environ.get_dt()
    >>> list(reads)
    ['fit']
    """
    before = thread.watches
    reads = Reads()
    thread.watches = (*before, (thread.contexts, reads))
    try:
        yield reads
    finally:
        thread.watches = before


def unchanged(reads: Reads) -> bool:
    """Tell whether everything that :func:`watch` noted still has the same value.

    Inside a block of :func:`watch` the names count as read, so a trace that makes use of an earlier
    one depends on what that one has read.

    Examples
    --------
    >>> from brainir import environ
    >>> with environ.context(fit=True), environ.watch() as reads:
    ...     _ = environ.get("fit")
    >>> with environ.context(fit=True, noise=0.1):
    ...     print(environ.unchanged(reads))
    True
    >>> environ.unchanged(reads)
    False
    """
    change = layers.change()
    calm = not thread.contexts and not thread.watches
    if calm and reads.change is change:
        return True
    follows_jax = False
    for key, before in reads.items():
        env, name = (DEFAULT, key) if isinstance(key, str) else key
        follows_jax |= name == "precision" and name not in env.settings
        note_read(env, name)
        if snapshot_of(env, name, context_of(env)) != before:
            return False
    if calm and not follows_jax:
        reads.change = change
    return True
