"""Reading, writing and creating States as JAX primitives.

While a capture is active, reading a State binds a primitive without operands, and writing one binds
another; they land in the jaxpr in program order, also inside the user's own ``jax.jit``,
``jax.lax.scan`` and ``jax.lax.cond``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.extend.core as jex
import numpy as np
from jax.interpreters import ad, batching, mlir

from ...ir import Loc
from ..errors import TraceContextError
from . import containers
from .avals import View, aval_of, shaped
from .cells import Handle
from .explain import user_loc
from .frames import Frame, frames, in_shard_map, trace_token


def new_primitive(name: str, abstract_eval: Callable[..., Any]) -> Any:
    """Return a JAX primitive with several results."""
    primitive = jex.Primitive(name)
    primitive.multiple_results = True
    primitive.def_abstract_eval(abstract_eval)
    return primitive


state_read_p = new_primitive(
    "state_read", lambda *_, handle, avals, **__: [shaped(a) for a in avals]
)


state_write_p = new_primitive("state_write", lambda *leaves, handle, **_: [])


state_new_p = new_primitive("state_new", lambda *leaves, handle, **_: [])


def _lifted(*_: Any, **__: Any) -> Any:
    """Note that a plain JAX transformation gives a State lanes or tangents.

    The captured program cannot have these. While that transformation is under way, a State that was
    created in it holds its value in Python, as every State does where nothing is captured.
    """
    frames.lifted = True
    return [], []


def _not_in_a_capture(*_: Any, handle: Handle, **__: Any) -> Any:
    raise TraceContextError(
        f"{handle.state.describe()} is touched by code that was traced in a capture that has ended"
    )


def stay_in_program(primitive: Any, otherwise: Callable[..., Any]) -> None:
    """Let a primitive of ours be part of the captured program under way, if there is one.

    Inside ``jax.ensure_compile_time_eval`` JAX runs what depends on no tracer at once. What touches
    States cannot run then, so it is given a tracer as its last operand, which is left out again
    where a graph is built; its parameter ``anchored`` says so.
    """

    def run(*operands: Any, **params: Any) -> Any:
        frame = frames.top
        if frame is None or frame.anchor is None or "anchored" in params:
            return otherwise(*operands, **params)
        with jex.set_current_trace(frame.origin):
            return primitive.bind(*operands, frame.anchor, **params, anchored=True)

    primitive.def_impl(run)


for _primitive in (state_write_p, state_new_p):
    batching.primitive_batchers[_primitive] = _lifted
    ad.primitive_jvps[_primitive] = _lifted


for _primitive in (state_read_p, state_write_p, state_new_p):
    stay_in_program(_primitive, _not_in_a_capture)
    mlir.register_lowering(_primitive, _not_in_a_capture)


def read(handle: Handle) -> Any:
    """Bind a read of a State and return the traced value."""
    frame, handle, token = _active(handle)
    if handle in frame.lifted:  # where it is lent, JAX says so if more than its shape is asked for
        return frame.lifted[handle]
    containers.settle_one(frame, handle, token, _write)
    view = frame.view(handle)
    frame.touched.add(handle)
    known = frame.held.here(handle, token)
    if known is not None and known.local and not frame.replays(handle):
        return known.value
    value = read_afresh(frame, handle, view)
    if containers.is_container(value):
        return frame.held.hand_out(handle, value, token, user_loc())
    return value


def read_afresh(frame: Frame, handle: Handle, view: View) -> Any:
    """Bind a read of a State that looks like ``view``, and nothing else."""
    return jax.tree.unflatten(view.tree, read_leaves(frame, handle, view.avals))


def read_leaves(frame: Frame, handle: Handle, avals: Sequence[Any]) -> Sequence[Any]:
    """Bind a read of a State; the body of a ``jax.shard_map`` closes over what is read."""
    if not in_shard_map(frame):
        return state_read_p.bind(handle=handle, avals=tuple(avals))
    with jex.set_current_trace(frame.origin):
        return state_read_p.bind(handle=handle, avals=tuple(avals))


def write(handle: Handle, value: Any) -> None:
    """Bind a write of a State.

    Raises
    ------
    TraceContextError
        If a plain JAX transformation is under way in which the State was not created, and the value
        has lanes or tangents of it.
    """
    frame, handle, token = _active(handle)
    frame.view(handle)  # a State that was never readable cannot be written either
    loc = user_loc()
    _write(frame, handle, value, loc)
    if handle not in frame.lifted:
        around = containers.is_held_around(frame, handle, value)
        frame.held.give(handle, value, token, loc, around)


def _write(frame: Frame, handle: Handle, value: Any, loc: Loc | None) -> None:
    view, arrays = _arrays_of(state_write_p, handle, value)
    if handle in frame.lent and trace_token() == frame.trace:  # it is given back
        del frame.lent[handle], frame.lifted[handle]
    # What was lifted once is not in the program, so that nothing there can be written any more.
    if handle in frame.lifted or _lifts(frame, state_write_p, handle, arrays):
        if handle.state.may_be_lent and handle not in frame.born:
            frame.lent.setdefault(handle, loc)
        else:
            check_local(frame, handle)
        frame.lifted[handle] = value
    frame.views[handle] = view
    frame.touched.add(handle)
    frame.written[handle] = loc


def check_local(frame: Frame, handle: Handle) -> None:
    """Refuse to write a State from inside a plain JAX transformation that it was not created in.

    Raises
    ------
    TraceContextError
        If it was created elsewhere.
    """
    if frame.born.get(handle) != trace_token():
        raise _written_inside(handle)


def _written_inside(handle: Handle, loc: Loc | None = None) -> TraceContextError:
    where = "" if loc is None else f" at {loc}"
    return TraceContextError(
        f"{handle.state.describe()} is written{where} inside a plain JAX transformation (jax.vmap, "
        "jax.grad, jax.jvp, jax.shard_map, ...), which cannot carry States. "
        "Use brainir.transform.vmap, grad, ... there, or create the State inside."
    )


def create(handle: Handle, value: Any) -> None:
    """Bind the creation of a State inside the captured program."""
    frame, token = _here(handle)
    frame.views[handle], arrays = _arrays_of(state_new_p, handle, value)
    lifted = _lifts(frame, state_new_p, handle, arrays)
    frame.created.append(handle)
    frame.born[handle] = token
    if lifted:
        frame.lifted[handle] = value
    else:
        frame.held.give(handle, value, token, user_loc(), before=False)


def settle(frame: Frame) -> None:
    """Let changes that were made to containers of States in place be writes; see `containers`."""
    containers.settle(frame, trace_token(), _write)


def settle_finally(frame: Frame) -> None:
    """As `settle`, for a frame of which the function has returned."""
    containers.settle_finally(frame, trace_token(), _write)


def check_given_back(frame: Frame) -> None:
    """Refuse to end where a State has what a plain JAX transformation wrote into it.

    Raises
    ------
    TraceContextError
        If one has.
    """
    for handle, loc in frame.lent.items():
        raise _written_inside(handle, loc)


def is_local(frame: Frame, handle: Handle) -> bool:
    """Whether a State was created in, or is lent to, the JAX transformation that is under way."""
    token = trace_token()
    return token != frame.trace and (frame.born.get(handle) == token or handle in frame.lent)


def _arrays_of(primitive: Any, handle: Handle, value: Any) -> tuple[View, list[Any]]:
    """Return what a State with that value looks like, and the arrays that its primitive binds."""
    leaves, tree = jax.tree.flatten(value)
    avals: list[Any] = []
    for leaf in leaves:
        try:
            avals.append(aval_of(leaf))
        except TypeError:
            raise TypeError(
                f"{handle.state.describe()} is given {leaf!r} of type {type(leaf).__name__} inside "
                "a transformed function, where States hold arrays only"
            ) from None
    if not leaves and primitive is state_write_p:
        raise ValueError(f"{handle.state.describe()} is given {value!r}, which has no arrays")
    arrays = [
        leaf.astype(aval.dtype) if isinstance(leaf, np.ndarray | np.generic) else leaf
        for leaf, aval in zip(leaves, avals, strict=True)
    ]
    return View(tree, tuple(avals)), arrays


def _lifts(frame: Frame, primitive: Any, handle: Handle, leaves: Sequence[Any]) -> bool:
    """Bind a primitive of a State, and return whether it was lifted out of the program instead."""
    frames.lifted = in_shard_map(frame)
    if not frames.lifted:
        primitive.bind(*leaves, handle=handle)
    return frames.lifted


def write_leaves(frame: Frame, handle: Handle, leaves: Sequence[Any]) -> None:
    """Bind a write of a State by a region that became plain JAX code.

    Raises
    ------
    TraceContextError
        If the transformation that asked for that gives it lanes or tangents.
    """
    if _lifts(frame, state_write_p, handle, leaves):
        check_local(frame, handle)


def _active(handle: Handle) -> tuple[Frame, Handle, Any]:
    """Return the frame under way, what a handle means there, and the trace under way."""
    frame = frames.top
    if frame is None:
        raise RuntimeError("no capture is active")
    handle = frame.resolve(handle)
    frame, token = _here(handle)
    return frame, handle, token


def _here(handle: Handle) -> tuple[Frame, Any]:
    """Return the frame under way, and the trace under way."""
    frame, token = frames.top, trace_token()
    if frame is None:
        raise RuntimeError("no capture is active")
    if frame.trace != token:
        frames.touched_deeper = True
        frame.held.deep.add(handle)
    return frame, token
