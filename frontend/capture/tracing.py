"""Tracing a function into a jaxpr; tracing itself is JAX's own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import jax.extend.core as jex
import numpy as np

from ...ir import manual_axes
from .avals import View, aval_of_abstract
from .cells import Handle, reject_states
from .explain import explain
from .frames import Frame, Unnamed, frames, trace_token
from .naming import describe_tree, leaf_names, name_of, parameter_names, stand_for
from .state_primitives import check_given_back, settle, settle_finally

_generation = itertools.count(1)


# Part of JAX's own cache keys, so that what a user's jax.jit traced outside a capture is never used
# inside one. Once a State was touched inside such a jax.jit, every capture has a key of its own:
# what it did to States in one is not replayed in another. Until then, JAX may keep what it traced.
_capturing: Any = jax.make_user_context(None)


@contextmanager
def new_frame(lanes: Mapping[Handle, Handle] | None = None) -> Iterator[Frame]:
    """Trace something: States read and written in the block belong to the captured program."""
    parent = frames.top
    if parent is not None:
        settle(parent)
    frame = Frame(parent, sharded=manual_axes.is_manual(jax))
    if lanes is not None:
        frame.lanes = lanes
    if parent is None:
        with jex.take_current_trace() as frame.outside:
            pass
    frames.top = frame
    try:
        again = frames.touched_deeper and (parent is None or lanes is not None)
        if parent is None or again:
            with _capturing(next(_generation) if again else 0):
                yield frame
        else:
            yield frame
    finally:
        frames.top = parent
        frame.alive = False
        frame.held.restore_outside()
        frame.held.forget()


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """The equations of a jaxpr, without the arrays that it closes over."""

    constvars: Sequence[Any]
    invars: Sequence[Any]
    eqns: Sequence[Any]
    outvars: Sequence[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """A function as a jaxpr, with what came out of it."""

    jaxpr: Lines
    consts: tuple[Any, ...]
    out_tree: Any
    out_avals: tuple[Any, ...]
    frame: Frame
    hints: tuple[str, ...]

    @property
    def result(self) -> str:
        """The type of what it returns, spelled for messages."""
        return describe_tree(self.out_tree, self.out_avals)


def trace(
    function: Callable[..., Any],
    avals: Any,
    lanes: Mapping[Handle, Handle] | None = None,
    views: Mapping[Handle, View] | None = None,
    names: Sequence[str] | None = None,
    axis: tuple[Any, int | None] | None = None,
) -> Traced:
    """Trace ``function(*args)`` in a frame of its own, for args that look like ``avals``.

    Parameters
    ----------
    function : callable
        Takes and returns pytrees of arrays.
    avals : tuple of pytrees
        What JAX's ``ShapeDtypeStruct`` says of each leaf of each argument.
    lanes, views : mapping, optional
        Handles that stand for lanes of batched States, and what they look like.
    names : sequence of str, optional
        What graphs call the arguments; by default as the function's own parameters.
    axis : tuple, optional
        What the lanes are called that it is one of, and how many there are, if that is known.

    Raises
    ------
    TypeError
        If the function returns something that is not an array.
    ValueError
        If it returns a State.
    """
    with new_frame(lanes) as frame:
        frame.views.update(views or {})
        frame.axis = axis
        return trace_within(frame, function, avals, names)


def trace_within(
    frame: Frame,
    function: Callable[..., Any],
    avals: Any,
    names: Sequence[str] | None = None,
) -> Traced:
    """Trace a function in a frame that is open already; see `trace`."""
    out_tree: Any = None

    def flat(*args: Any) -> list[Any]:
        frame.trace = trace_token()
        with jex.take_current_trace() as frame.origin:
            pass
        frame.anchor = jax.tree.leaves(args)[0]
        args = args[: len(avals)]  # a debugger may look at all that is in variables here
        try:
            return results_of(*args)
        finally:
            frame.anchor = None  # JAX looks for tracers that outlive the trace

    def results_of(*args: Any) -> list[Any]:
        nonlocal out_tree
        out = function(*args)
        reject_states(f"the result of {name_of(function)}", out)
        results, out_tree = jax.tree.flatten(out)
        for result in results:
            _check_array(function, result)
        settle_finally(frame)
        if around[0] is None:  # or else it goes on
            check_given_back(frame)
        return results

    names = names or parameter_names(function)
    stand_for(flat, function, names if len(names) == len(avals) else ())
    around = frame.trace, frame.origin, frame.anchor
    extra = [] if jax.tree.leaves(avals) else [jax.ShapeDtypeStruct((), np.bool_)]
    try:
        axes: Any = None
        if frame.axis is not None and not isinstance(frame.axis[0], Unnamed):
            axes = [frame.axis]
        closed = jax.make_jaxpr(flat, axis_env=axes)(*avals, *extra)
    except Exception as error:
        explain(error)
        raise
    frame.trace, frame.origin, frame.anchor = around
    jaxpr = getattr(closed, "jaxpr", closed)
    invars = jaxpr.invars[: len(jaxpr.invars) - len(extra)]
    lines = Lines(jaxpr.constvars, invars, jaxpr.eqns, jaxpr.outvars)
    out_avals = tuple(aval_of_abstract(a) for a in closed.out_avals)
    hints = tuple(leaf_names(names, avals))
    return Traced(lines, tuple(closed.consts), out_tree, out_avals, frame, hints)


def _check_array(function: Any, leaf: Any) -> None:
    try:
        jax.typeof(leaf)
    except TypeError:
        raise TypeError(
            f"{name_of(function)} returned {leaf!r} of type {type(leaf).__name__}; a transformed "
            "function returns arrays, or containers of them"
        ) from None
