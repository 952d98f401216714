"""Capture: how Python that touches States becomes a JAX program with state operations in it.

Tracing is JAX's own. While a capture is active, reading a State binds a primitive without operands,
and writing one binds another; they land in the jaxpr in program order, also inside the user's own
``jax.jit``, ``jax.lax.scan`` and ``jax.lax.cond``. A transformation traces its function into a
jaxpr and binds one *region* primitive that carries it. `importer` turns the whole into a Graph.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax
import jax.extend.core as jex
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import get_opaque_trace_state
from jax.interpreters import ad, batching, mlir

from ..ir import Loc, manual_axes
from . import containers
from .errors import TraceContextError
from .explain import explain, user_loc
from .naming import describe_tree, leaf_names, name_of, parameter_names, stand_for

if TYPE_CHECKING:
    from .state import State


class Handle:
    """What a captured program knows of a State: a light name that does not keep it alive.

    Inside ``vmap`` a batched State is seen one lane at a time: that view is a handle of its own,
    with ``outer`` the handle it is a view of.

    Attributes
    ----------
    name : str
        What graphs call the State.
    kind : str
        What it was declared as.
    reference : weakref.ref
        The way to the State.
    """

    __slots__ = ("__weakref__", "kind", "name", "outer", "reference")

    def __init__(self, state: State[Any], outer: Handle | None = None) -> None:
        self.reference = weakref.ref(state)
        self.outer = outer
        self.name, self.kind = type(state).__name__, state.kind

    @property
    def state(self) -> State[Any]:
        """The State itself.

        Raises
        ------
        TraceContextError
            If it was garbage collected.
        """
        state = self.reference()
        if state is None:
            raise TraceContextError("a State that a compiled function uses no longer exists")
        return state

    @property
    def alive(self) -> bool:
        """Whether the State still exists."""
        return self.reference() is not None


@dataclass(frozen=True, slots=True)
class View:
    """What a State looks like at some point of a capture: its structure, and one aval a leaf."""

    tree: Any
    avals: tuple[Any, ...]

    def same_types(self, other: View) -> bool:
        """Whether shapes and dtypes agree; weak types do not count."""
        return [(a.shape, a.dtype) for a in self.avals] == [(a.shape, a.dtype) for a in other.avals]

    def __str__(self) -> str:
        return describe_tree(self.tree, self.avals)


@dataclass(slots=True, weakref_slot=True, eq=False)
class Frame:
    """One function being traced: what it has made of the States so far."""

    parent: Frame | None
    views: dict[Handle, View] = field(default_factory=dict)
    written: dict[Handle, Loc | None] = field(default_factory=dict)
    touched: set[Handle] = field(default_factory=set)
    created: list[Handle] = field(default_factory=list)
    lifted: dict[Handle, Any] = field(default_factory=dict)
    """Values of States that a plain JAX transformation in this frame has lifted, see `_lifted`."""
    born: dict[Handle, Any] = field(default_factory=dict)
    """The JAX traces in which States were created."""
    trace: Any = None
    origin: Any = None
    """The JAX trace itself that this frame fills."""
    sharded: bool = False
    """Whether it is traced as part of the body of a ``jax.shard_map``."""
    lanes: Mapping[Handle, Handle] = field(default_factory=dict)
    alive: bool = True
    held: containers.Holdings = field(default_factory=containers.Holdings)

    def chain(self) -> Iterator[Frame]:
        """Yield this frame and those around it, outermost last."""
        frame: Frame | None = self
        while frame is not None:
            yield frame
            frame = frame.parent

    def touched_outside(self) -> list[Handle]:
        """Return what was touched of the States that were there before."""
        return [handle for handle in self.views if handle in self.touched - {*self.created}]

    def resolve(self, handle: Handle) -> Handle:
        """Return the view of a State that code in this frame means by it."""
        for frame in reversed(list(self.chain())):
            handle = frame.lanes.get(handle, handle)
        return handle

    def view(self, handle: Handle) -> View:
        """Return what a State looks like here.

        Raises
        ------
        TraceContextError
            If it was created in a trace that has ended.
        """
        frames = list(self.chain())
        for frame in frames:
            found = frame.views.get(handle)
            if found is not None:
                return found
        view = frames[-1].views[handle] = view_of(handle.state)
        container = handle.state.peek()
        if containers.is_container(container):
            frames[-1].held.found_outside(handle, container)
        return view

    def replays(self, handle: Handle) -> bool:
        """Whether plain JAX functions that touch a State may run again without telling."""
        return any(handle in frame.held.deep for frame in self.chain())


class _Frames(threading.local):
    top: Frame | None = None
    touched_deeper: bool = False
    lifted: bool = False


_frames = _Frames()
_generation = itertools.count(1)
# Part of JAX's own cache keys, so that what a user's jax.jit traced outside a capture is never used
# inside one. Once a State was touched inside such a jax.jit, every capture has a key of its own:
# what it did to States in one is not replayed in another. Until then, JAX may keep what it traced.
_capturing: Any = jax.make_user_context(None)


def current_frame() -> Frame | None:
    """Return the innermost function being captured by this thread, or None."""
    return _frames.top


@contextmanager
def new_frame(lanes: Mapping[Handle, Handle] | None = None) -> Iterator[Frame]:
    """Trace something: States read and written in the block belong to the captured program."""
    parent = _frames.top
    if parent is not None:
        settle(parent)
    frame = Frame(parent, lanes=lanes or {}, sharded=manual_axes.is_manual(jax))
    _frames.top = frame
    try:
        if parent is None:
            with _capturing(next(_generation) if _frames.touched_deeper else 0):
                yield frame
        else:
            yield frame
    finally:
        _frames.top = parent
        frame.alive = False
        frame.held.restore_outside()
        frame.held.forget()


@contextmanager
def within(frame: Frame) -> Iterator[None]:
    """Go back into a frame: what code in the block says of States is meant as code in it does."""
    around = _frames.top
    _frames.top = frame
    try:
        yield
    finally:
        _frames.top = around


# --- avals
# ------------------------------------------------------------------------------------------


def aval_of(leaf: Any) -> Any:
    """Return shape, dtype and weak type of an array-like, as JAX would hold it.

    Raises
    ------
    TypeError
        If JAX cannot hold it.
    """
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return leaf
    aval = jax.typeof(leaf)
    if type(leaf) in (bool, int, float, complex) or isinstance(leaf, (np.ndarray, np.generic)):
        dtype = jax.dtypes.canonicalize_dtype(aval.dtype)
        return jax.ShapeDtypeStruct(aval.shape, dtype, weak_type=aval.weak_type)
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type)


def view_of(state: State[Any]) -> View:
    """Return what a State looks like from outside any trace.

    Raises
    ------
    TraceContextError
        If it has no value any more.
    TypeError, ValueError
        If what it holds is not an array.
    """
    held = state.peek()
    leaves, tree = jax.tree.flatten(held)
    if not leaves:
        raise ValueError(
            f"{state.describe()} holds {held!r}, which has no arrays. Every State that a "
            "transformed function touches needs a value first."
        )
    avals: list[Any] = []
    for leaf in leaves:
        try:
            avals.append(aval_of(leaf))
        except TypeError:
            if hasattr(leaf, "frame"):
                raise state._dead() from None
            raise TypeError(
                f"{state.describe()} holds {leaf!r} of type {type(leaf).__name__}, "
                "which is not an array"
            ) from None
    return View(tree, tuple(avals))


# --- state primitives
# ---------------------------------------------------------------------------------


def new_primitive(name: str, abstract_eval: Callable[..., Any]) -> Any:
    """Return a JAX primitive with several results."""
    primitive = jex.Primitive(name)
    primitive.multiple_results = True
    primitive.def_abstract_eval(abstract_eval)
    return primitive


def shaped(aval: Any) -> Any:
    """Return JAX's abstract value for a ShapeDtypeStruct."""
    return ShapedArray(aval.shape, aval.dtype, weak_type=aval.weak_type)


state_read_p = new_primitive("state_read", lambda *, handle, avals: [shaped(a) for a in avals])
state_write_p = new_primitive("state_write", lambda *leaves, handle: [])
state_new_p = new_primitive("state_new", lambda *leaves, handle: [])


def _lifted(*_: Any, **__: Any) -> Any:
    """Note that a plain JAX transformation gives a State lanes or tangents.

    The captured program cannot have these. While that transformation is under way, a State that was
    created in it holds its value in Python, as every State does where nothing is captured.
    """
    _frames.lifted = True
    return [], []


def _not_in_a_capture(*_: Any, handle: Handle, **__: Any) -> Any:
    raise TraceContextError(
        f"{handle.state.describe()} is touched by code that was traced in a capture that has ended"
    )


for _primitive in (state_write_p, state_new_p):
    batching.primitive_batchers[_primitive] = _lifted
    ad.primitive_jvps[_primitive] = _lifted
for _primitive in (state_read_p, state_write_p, state_new_p):
    _primitive.def_impl(_not_in_a_capture)
    mlir.register_lowering(_primitive, _not_in_a_capture)


def read(handle: Handle) -> Any:
    """Bind a read of a State and return the traced value."""
    frame, handle, token = _active(handle)
    if handle in frame.lifted:
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


def in_shard_map(frame: Frame) -> bool:
    """Whether a ``jax.shard_map`` is under way in a frame, whose body is none of our program."""
    return manual_axes.is_manual(jax) and not frame.sharded


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
    view, lifted = _bind_value(frame, state_write_p, handle, value)
    if lifted or handle in frame.lifted:
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
        raise TraceContextError(
            f"{handle.state.describe()} is written inside a plain JAX transformation (jax.vmap, "
            "jax.grad, jax.jvp, jax.shard_map, ...), which cannot carry States. "
            "Use brainir.transform.vmap, grad, ... there, or create the State inside."
        )


def create(handle: Handle, value: Any) -> None:
    """Bind the creation of a State inside the captured program."""
    frame, handle, token = _active(handle)
    frame.views[handle], lifted = _bind_value(frame, state_new_p, handle, value)
    frame.created.append(handle)
    frame.born[handle] = token
    if lifted:
        frame.lifted[handle] = value
    else:
        frame.held.give(handle, value, token, user_loc(), before=False)


def settle(frame: Frame) -> None:
    """Let changes that were made to containers of States in place be writes; see `containers`."""
    containers.settle(frame, trace_token(), _write)


def is_local(frame: Frame, handle: Handle) -> bool:
    """Whether a State was created in the JAX transformation that is under way in a frame."""
    token = trace_token()
    return token != frame.trace and frame.born.get(handle) == token


def _bind_value(frame: Frame, primitive: Any, handle: Handle, value: Any) -> tuple[View, bool]:
    """Bind a primitive of a State; return what that looks like now, and whether it was lifted."""
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
    return View(tree, tuple(avals)), _lifts(frame, primitive, handle, arrays)


def _lifts(frame: Frame, primitive: Any, handle: Handle, leaves: Sequence[Any]) -> bool:
    """Bind a primitive of a State, and return whether it was lifted out of the program instead."""
    _frames.lifted = in_shard_map(frame)
    if not _frames.lifted:
        primitive.bind(*leaves, handle=handle)
    return _frames.lifted


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
    frame = _frames.top
    if frame is None:
        raise RuntimeError("no capture is active")
    handle, token = frame.resolve(handle), trace_token()
    if frame.trace != token:
        _frames.touched_deeper = True
        frame.held.deep.add(handle)
    return frame, handle, token


def trace_token() -> Any:
    """Return what tells the JAX trace under way from others."""
    return get_opaque_trace_state(convention="brainir")


# --- tracing a function
# -------------------------------------------------------------------------------


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

    Raises
    ------
    TypeError
        If the function returns something that is not an array.
    ValueError
        If it returns a State.
    """
    with new_frame(lanes) as frame:
        frame.views.update(views or {})
        return trace_within(frame, function, avals, names)


def trace_within(
    frame: Frame,
    function: Callable[..., Any],
    avals: Any,
    names: Sequence[str] | None = None,
) -> Traced:
    """Trace a function in a frame that is open already; see `trace`."""
    from .state import reject_states

    out_tree: Any = None

    def flat(*args: Any) -> list[Any]:
        nonlocal out_tree
        frame.trace = trace_token()
        with jex.take_current_trace() as frame.origin:
            pass
        out = function(*args)
        reject_states(f"the result of {name_of(function)}", out)
        results, out_tree = jax.tree.flatten(out)
        for result in results:
            _check_array(function, result)
        containers.settle_finally(frame, trace_token(), _write)
        return results

    names = names or parameter_names(function)
    stand_for(flat, function, names if len(names) == len(avals) else ())
    around = frame.trace, frame.origin
    try:
        closed = jax.make_jaxpr(flat)(*avals)
    except Exception as error:
        explain(error)
        raise
    frame.trace, frame.origin = around
    jaxpr = getattr(closed, "jaxpr", closed)
    lines = Lines(jaxpr.constvars, jaxpr.invars, jaxpr.eqns, jaxpr.outvars)
    out_avals = tuple(aval_of_abstract(a) for a in closed.out_avals)
    hints = tuple(leaf_names(names, avals))
    return Traced(lines, tuple(closed.consts), out_tree, out_avals, frame, hints)


def aval_of_abstract(aval: Any) -> Any:
    """Return a ShapeDtypeStruct for one of JAX's abstract values."""
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type)


def _check_array(function: Any, leaf: Any) -> None:
    try:
        jax.typeof(leaf)
    except TypeError:
        raise TypeError(
            f"{name_of(function)} returned {leaf!r} of type {type(leaf).__name__}; a transformed "
            "function returns arrays, or containers of them"
        ) from None
