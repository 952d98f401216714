"""What is asked of the compiler here and now: `options`, as a context."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..backends import backend_named
from ..passes import DEFAULTS, PIPELINE, Options, Pass


class _InForce(threading.local):
    """The options of the innermost context of a thread."""

    options: Options = DEFAULTS


in_force = _InForce()
"""``in_force.options`` are those of this thread; every call of a compiled function looks at them,
so there is nothing between."""


@contextmanager
def options(asked: Options | None = None, /, **parts: Any) -> Iterator[Options]:
    """Ask something of the compiler for all that is compiled in a context.

    Contexts nest: an inner one adds to those around it, and wins where both say something. They
    hold for the thread that opens them. Whatever was compiled under other options is compiled
    again, and found again when its own options hold. `jit` takes ``options=`` for one function.

    Parameters
    ----------
    asked : Options, optional
        What is asked for; or else
    **parts
        its parts, as `Options` takes them: ``backend``, ``passes``, ``leave_out``, ``insert``.

    Yields
    ------
    Options
        What is in force now.

    Raises
    ------
    ValueError
        If there is no such backend, pass or option, or a pass is left out that others build on.

    Notes
    -----
    A graph is compiled as a whole, so the options that count are those in force where the outermost
    of brainir's functions is called: those of a `jit` inside another one have no effect.

    Examples
    --------
    >>> import brainir
    >>> double = brainir.transform.jit(lambda x: 1 * x + x)
    >>> with brainir.options(leave_out=["simplify"]) as asked:
    ...     print(asked)
    ...     len(double.trace(2.0).graph().nodes)
    without simplify
    2
    >>> len(double.trace(2.0).graph().nodes)
    1
    >>> with brainir.options(backend="reference"):  # numpy, node by node
    ...     double(2.0)
    Array(4., dtype=float32)
    """
    if asked is None:
        asked = Options(**parts)
    elif parts:
        raise TypeError("options takes either an Options or parts of one, not both")
    with given(combined(in_force.options, asked)):
        yield in_force.options


@contextmanager
def given(asked: Options) -> Iterator[None]:
    """Put options in force, in place of those that are."""
    before = in_force.options
    in_force.options = asked
    try:
        yield
    finally:
        in_force.options = before


def pipeline_for(asked: Options, base: Sequence[Pass] = PIPELINE) -> tuple[Pass, ...]:
    """Return the passes of a pipeline that options ask for, on the device that their backend uses.

    What the backend advises holds where they say nothing.
    """
    return Options(passes=backend_named(asked.backend).advice()).merged(asked).pipeline(base)


def combined(outer: Options, inner: Options | None) -> Options:
    """Return options in others: the same object for equal ones, so that comparing them is fast.

    Raises
    ------
    TypeError, ValueError
        If they are no options, or there is no such backend.
    """
    if inner is None:
        return outer
    if not isinstance(inner, Options):
        raise TypeError(f"options are an instance of brainir.Options, not {inner!r}")
    backend_named(inner.backend)
    return _combined(outer, outer.chosen, inner, inner.chosen)


@functools.lru_cache(maxsize=64)
def _combined(outer: Options, _outer: bool, inner: Options, _inner: bool) -> Options:
    """Combine options, which are equal whether or not they name the default backend themselves."""
    found = outer.merged(inner)
    return outer if found == outer and found.chosen == outer.chosen else found
