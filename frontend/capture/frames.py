"""Frames: what each function that is being captured has made of the States so far."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.extend.core as jex
from jax.extend.core import get_opaque_trace_state

from ...ir import Loc, manual_axes
from . import containers
from .avals import View, view_of
from .cells import Handle


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
    lent: dict[Handle, Any] = field(default_factory=dict)
    """Where States of other libraries were written in a transformation that did not create them."""
    born: dict[Handle, Any] = field(default_factory=dict)
    """The JAX traces in which States were created."""
    trace: Any = None
    origin: Any = None
    """The JAX trace itself that this frame fills."""
    anchor: Any = None
    """A tracer of that trace, for ops that nothing else ties to it; see `state_primitives`."""
    outside: Any = None
    """The JAX trace in which the outermost frame was opened."""
    sharded: bool = False
    """Whether it is traced as part of the body of a ``jax.shard_map``."""
    lanes: Mapping[Handle, Handle] = field(default_factory=dict)
    axis: tuple[Any, int | None] | None = None
    """What its lanes are called, and how many there are, if it is one lane of a mapping."""
    lanes_meet: bool = False
    """Whether lanes meet that the user did not name."""
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
        with jex.set_current_trace(frames[-1].outside), within(None):
            handle.state.note_touch(written=False)
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


frames = _Frames()


def current_frame() -> Frame | None:
    """Return the innermost function being captured by this thread, or None."""
    return frames.top


@contextmanager
def within(frame: Frame | None) -> Iterator[None]:
    """Go back into a frame, or out of all of them.

    What code in the block says of States is meant as code in that frame does.
    """
    around = frames.top
    frames.top = frame
    try:
        yield
    finally:
        frames.top = around


class Unnamed:
    """The name of lanes that have none of the user's."""

    def __str__(self) -> str:
        return "lanes"


def note_deeper(frame: Frame) -> None:
    """Note that code in a frame depends on it, and whether JAX may run that again elsewhere."""
    if frame.trace != trace_token():
        frames.touched_deeper = True


def in_shard_map(frame: Frame) -> bool:
    """Whether a ``jax.shard_map`` is under way in a frame, whose body is none of our program."""
    return manual_axes.is_manual(jax) and not frame.sharded


def trace_token() -> Any:
    """Return what tells the JAX trace under way from others."""
    return get_opaque_trace_state(convention="brainir")
