"""Looking for what goes wrong: the operation that made a NaN, and a debugger in compiled code."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..capture import check as check_here
from ..capture import current_frame, gather_checks, has_bad, name_of, plant, read
from ..program import in_capture
from .binding import check_callable
from .branches import cond


def debug_nan(fn: Callable[..., Any], *args: Any, phase: str = "") -> None:
    """Run a function once, and raise if it leaves a NaN or an infinity.

    That is, if one is in what it returns, or in what it writes to a State; one that it makes and
    chooses away, as by ``jax.numpy.where``, does no harm. The error names the first operation that
    gives a NaN or an infinity of operands that have none, and the line of it. If there is none, the
    error says so: it was among the inputs, or comes of a gradient.

    Parameters
    ----------
    fn : callable
        What to look at; what it writes to States is not kept.
    *args : pytrees
        Its arguments.
    phase : str
        What the message says it belongs to.

    Raises
    ------
    RuntimeError
        If there is any. Inside a compiled function it is raised by the call of that.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> brainir.transform.debug_nan(jnp.log, 1.0)
    >>> brainir.transform.debug_nan(jnp.log, -1.0, phase="forward")
    Traceback (most recent call last):
        ...
    RuntimeError: NaN/Inf detected in forward: made by the operation `log`...
    """
    check_callable("the function given to debug_nan", fn)

    def look(args: tuple[Any, ...]) -> None:
        def function(args: tuple[Any, ...]) -> Any:
            result, frame = fn(*args), current_frame()
            assert frame is not None, "it runs where its checks are gathered"
            return result, [read(h) for h in frame.written if h not in frame.created]

        left, (mark, *_), sites = gather_checks(function, ["nonfinite"], (args,), still=True)
        bad = has_bad(jax.tree.leaves(left))
        for number, (site, _) in enumerate(sites, 1):
            named = dataclasses.replace(site, kind="error", error=_told(site, phase))
            plant(jnp.logical_and(bad, mark == number), named, ())
        message = f"NaN/Inf detected{_in(phase)}: in what {name_of(fn)} returns"
        check_here(jnp.logical_and(bad, mark == 0), lambda: RuntimeError(message))

    with jax.disable_jit(False):
        in_capture(look, args, name="debug_nan")


def debug_nan_if(flag: Any, fn: Callable[..., Any], *args: Any, phase: str = "") -> None:
    """Do as `debug_nan` does, if a value is true that may be known only when the program runs.

    Parameters
    ----------
    flag : scalar
        Whether to look.
    fn, *args, phase
        As for `debug_nan`.

    Raises
    ------
    RuntimeError
        As `debug_nan` does.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> brainir.transform.debug_nan_if(False, jnp.log, -1.0)
    """
    check_callable("the function given to debug_nan_if", fn)

    def look(*args: Any) -> None:
        debug_nan(fn, *args, phase=phase)

    cond(jnp.any(flag), look, lambda *_: None, *args)


def breakpoint_if(pred: Any, **options: Any) -> None:
    """Stop in JAX's debugger if a value is true that may be known only when the program runs.

    Parameters
    ----------
    pred : array-like of bool
        Of any shape; one true entry is enough.
    **options
        Handed to ``jax.debug.breakpoint``.

    Examples
    --------
    >>> import brainir
    >>> brainir.transform.breakpoint_if(1 > 2)
    """
    cond(jnp.any(pred), lambda: jax.debug.breakpoint(**options), lambda: None)


def _told(site: Any, phase: str) -> Callable[[], Exception]:
    def error() -> Exception:
        return RuntimeError(str(site.error()).replace("detected:", f"detected{_in(phase)}:", 1))

    return error


def _in(phase: str) -> str:
    return f" in {phase}" if phase else ""
