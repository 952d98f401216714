"""Stricter checks of what is written to States, for as long as a context lasts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import jax

from ..capture import current_frame
from ..errors import TraceContextError
from .recording import recording
from .traces import in_foreign_trace

if TYPE_CHECKING:
    from .state import State

__all__ = ["check_state_jax_tracer", "check_state_value_tree", "run_checks"]


@contextmanager
def _checking(name: str, wanted: bool) -> Iterator[None]:
    before = recording.checks
    recording.checks = before | {name} if wanted else before - {name}
    try:
        yield
    finally:
        recording.checks = before


def check_state_value_tree(val: bool = True) -> Any:
    """Refuse, in a ``with`` block, to write a value of another structure than the present one.

    Structure is what ``jax.tree.structure`` tells, so units count, shapes and dtypes do not. The
    context holds for the thread that opens it, and contexts nest.

    Parameters
    ----------
    val : bool
        Whether to check.

    Raises
    ------
    ValueError
        On a write, which then does not happen.

    Examples
    --------
    >>> import brainir
    >>> state = brainir.State({"x": 1.0})
    >>> with brainir.check_state_value_tree():
    ...     state.value = {"x": 1.0, "y": 2.0}
    Traceback (most recent call last):
    ValueError: an unnamed State would be given ...
    """
    return _checking("tree", val)


def check_state_jax_tracer(val: bool = True) -> Any:
    """Refuse, in a ``with`` block, every write from inside a plain JAX transformation.

    A traced value is refused there at any time, since JAX cannot carry States. With this check an
    ordinary value is, too: ``jax.jit`` runs the function once, and would leave the write out of all
    later calls. States that were created inside the same transformation may be written, and so may
    all States in brainir's own transformations.

    Parameters
    ----------
    val : bool
        Whether to check.

    Raises
    ------
    TraceContextError
        On a write, which then does not happen.

    Examples
    --------
    >>> import brainir
    >>> import jax
    >>> calls = brainir.State(0)
    >>> @jax.jit
    ... def count(x):
    ...     calls.value += 1
    ...     return x
    >>> with brainir.check_state_jax_tracer():
    ...     count(1.0)
    Traceback (most recent call last):
    brainir.frontend.errors.TraceContextError: an unnamed State is written inside ...
    """
    return _checking("tracer", val)


def run_checks(state: State[Any], value: Any) -> None:
    """Run the checks that are in force on what is about to be written."""
    if "tracer" in recording.checks and _is_foreign(state):
        raise TraceContextError(
            f"{state.describe()} is written inside a plain JAX transformation that it was not "
            "created in, which may run the write once for many calls. Use "
            "brainir.transform.jit, grad, vmap, ... there"
        )
    if "tree" in recording.checks:
        old, new = state.structure(), jax.tree.structure(value)
        if old is not None and old != new:
            raise ValueError(
                f"{state.describe()} would be given the structure {new}, but it has {old}, and "
                "check_state_value_tree is in force"
            )


def _is_foreign(state: State[Any]) -> bool:
    """Whether we are in a plain JAX transformation, and neither a capture nor a recorder is."""
    ours = current_frame() is not None or bool(recording.stack)
    return not ours and in_foreign_trace() and not state.is_in_own_trace()
