"""What JAX refuses while a function is traced, with the line of the user's that asked for it.

JAX says what it cannot do, and often names the function that is traced, but not the line. Here the
message gets the line, and where a value was asked for that only exists when the compiled program
runs, what to write instead.
"""

from __future__ import annotations

import functools
import os
import sys
from types import TracebackType

import jax

from ...ir import Loc

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_JAX = os.path.dirname(os.path.abspath(jax.__file__))
_UNKNOWN = "This value is known only when the compiled program runs"

_ADVICE: tuple[tuple[type[Exception], str], ...] = (
    (
        jax.errors.NonConcreteBooleanIndexError,
        f"{_UNKNOWN}, and so is how many entries the index picks. Keep the shape: "
        "jax.numpy.where(mask, x, 0), or the three-argument form of what you compute",
    ),
    (
        jax.errors.TracerBoolConversionError,
        f"{_UNKNOWN}, so Python cannot decide by it. Use brainir.transform.cond for if, "
        "while_loop for while, jax.numpy.where or logical_and for values; or make it a static "
        "argument",
    ),
    (
        jax.errors.TracerIntegerConversionError,
        f"{_UNKNOWN}, so Python cannot count or index by it. Use brainir.transform.for_loop or "
        "while_loop for range, jax.numpy.asarray(a_list)[i] for a_list[i]; or make it a static "
        "argument",
    ),
    (
        jax.errors.TracerArrayConversionError,
        f"{_UNKNOWN}, so numpy cannot hold it. Use jax.numpy, or return it and convert it outside",
    ),
    (
        jax.errors.ConcretizationTypeError,
        f"{_UNKNOWN}, but a Python value, or the size of a result, is made of it. Use jax.numpy "
        "for values and give sizes by Python numbers; make it a static argument; or return it and "
        "convert it outside",
    ),
)


@functools.lru_cache(maxsize=4096)
def is_users(file: str) -> bool:
    """Whether a file is neither brainir's nor a library's."""
    return not file.startswith((HERE, "<")) and "site-packages" not in file


def user_loc() -> Loc | None:
    """Return the innermost line of Python that is not brainir's or a library's."""
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if is_users(code.co_filename):
            return Loc(code.co_filename, frame.f_lineno, 0, code.co_qualname)
        frame = frame.f_back
    return None


def explain(error: Exception) -> None:
    """Add to the message of what JAX raised where in the user's code it was, and what to do.

    Parameters
    ----------
    error : Exception
        What tracing raised. Errors that were not raised by JAX, and do not speak of its traced
        values, show their line by themselves and are left alone.
    """
    if getattr(error, "_brainir_explained", False):
        return
    where, raised_in = _places(error.__traceback__)
    advice = _advice(error, str(error))
    # JAX may have taken its own frames out of the traceback by now.
    if where is None or not (raised_in.startswith(_JAX) or advice):
        return
    added = f"\n{advice}.\nThe line is {where}" if advice else f"\nThe line is {where}"
    if error.args and isinstance(error.args[0], str):
        error.args = (error.args[0].rstrip() + added, *error.args[1:])
    else:
        error.add_note(added.strip())
    error._brainir_explained = True  # pyright: ignore[reportAttributeAccessIssue]


def _places(traceback: TracebackType | None) -> tuple[str | None, str]:
    """Return the innermost line of the user's, and the file of the innermost line of all."""
    where, file = None, ""
    while traceback is not None:
        code = traceback.tb_frame.f_code
        file = code.co_filename
        if is_users(file):
            where = f"{file}:{traceback.tb_lineno} ({code.co_qualname})"
        traceback = traceback.tb_next
    return where, file


def _advice(error: Exception, text: str) -> str | None:
    for kind, advice in _ADVICE:
        if isinstance(error, kind):
            return advice
    if "must be 1D sequences of concrete" in text or "must be static integers" in text:
        return (
            f"{_UNKNOWN}, but shapes and ends of slices are fixed when it is traced. Make it a "
            "static argument, or use jax.lax.dynamic_slice or jax.numpy.where"
        )
    if "Tracer" in text:
        return f"{_UNKNOWN}; return it and use it outside, or make it a static argument"
    return None
