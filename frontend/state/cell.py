"""What States of every class can do for captures and transformations.

`State` is made of it, and so are the States of other libraries that were adopted, see `adopting`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import jax
from jax.core import Tracer

from ..capture import Cell, Frame, Handle, create, frames, read, trace_token, write
from ..errors import TraceContextError
from .epoch import Loss, epoch
from .recording import recording
from .traces import OUTSIDE, same_trace

if TYPE_CHECKING:
    from .state import State


class Poisoned:
    """What a State holds that was created inside a trace: nothing, once the trace is over."""

    def __init__(self, frame: Frame | None) -> None:
        self.frame = frame

    def __reduce__(self) -> tuple[Any, ...]:
        return Poisoned, (None,)

    def __repr__(self) -> str:
        return "<invalidated: created in a trace that has ended>"


class Facts:
    """What is known of a State besides what it holds.

    Attributes
    ----------
    handle : Handle
        What stands for it in captured programs.
    trace
        The JAX trace that it belongs to; a value that replaces a lost one comes from outside.
    level : int
        How many captures and recorders were under way where it was created.
    raised : int
        How often the level was increased since, less how often it was decreased.
    losses : dict of (int, str) to Loss
        Where modules have held it, but hold something else now.
    """

    __slots__ = ("handle", "level", "losses", "raised", "trace")

    def __init__(self, cell: StateCell) -> None:
        self.handle = Handle(cell)
        self.trace: Any = OUTSIDE
        self.level = 0
        self.raised = 0
        self.losses: dict[tuple[int, str], Loss] = {}


class StateCell(Cell):
    """A cell with a value.

    A class of States says what these hold by ``peek`` and ``accept``, and where its ``facts`` are.
    """

    facts: Facts

    # --- what it holds ----------------------------------------------------------------------------

    def renew(self, value: Any) -> None:
        """Take a value, as if this State, made in a trace that has ended, were created here."""
        frame, stack = frames.top, recording.stack
        self.facts.level = len(stack) + (0 if frame is None else len(list(frame.chain())))
        for recorder in stack:
            recorder.created.add(cast("State[Any]", self))
        if frame is None:
            self.facts.trace = trace_token()
            self.accept(value)
        else:
            self.accept(Poisoned(frame))
            create(self.handle, value)

    def settle(self, value: Any) -> None:
        """Take the value that a transformation has left; what hooks make of it is known by now."""
        self._store(value)

    def _store(self, value: Any) -> None:
        self.note_touch(written=True)
        if frames.top is not None:
            write(self.handle, value)
            return
        if type(self.peek()) is Poisoned:
            self.facts.trace = trace_token()
        self.accept(value)

    def _present(self) -> Any:
        """Return what the State holds here, or None if it has no value; no hook is called."""
        if frames.top is not None:
            return read(self.handle)
        held = self.peek()
        return None if type(held) is Poisoned else held

    def structure(self) -> Any:
        """Return the structure of the value as a pytree, or None if it has no value here."""
        frame = frames.top
        if frame is not None:
            return frame.view(frame.resolve(self.handle)).tree
        held = self.peek()
        return None if type(held) is Poisoned else jax.tree.structure(held)

    def note_touch(self, written: bool) -> None:
        """Tell who records States of a touch: inside of captures, or around all of them."""
        inside = frames.top is not None
        for recorder in recording.stack:
            if (recorder.inside is not None) is inside:
                recorder.touch(cast("State[Any]", self), written)

    # --- where it may be used ---------------------------------------------------------------------

    def is_in_own_trace(self) -> bool:
        """Whether JAX is in the trace that the State was created in; only told outside captures."""
        return type(self.peek()) is not Poisoned and same_trace(self.facts.trace)

    def check_writable(self, value: Any) -> None:
        """Refuse to store a tracer that outlives the JAX trace it belongs to.

        Who records what Python does to States puts it right again, and may store what it likes.
        """
        if not recording.stack and has_tracers(value) and not self.is_in_own_trace():
            raise TraceContextError(
                f"{self.describe()} would be given a traced value inside a plain JAX "
                "transformation, which cannot carry States. Use brainir.transform.jit, grad, vmap, "
                "for_loop, ... there, or create the State inside the transformed function."
            )

    def is_leaked(self, value: Any) -> bool:
        """Whether a value cannot have been stored here: traced, for a State outside of traces."""
        return self.facts.trace == OUTSIDE and not recording.stack and has_tracers(value)

    # --- what it is called ------------------------------------------------------------------------

    def describe(self) -> str:
        """Return how messages call this State."""
        kind, name = type(self).__name__, self.handle.name
        return f"an unnamed {kind}" if name == kind else f"{kind} {name!r}"

    def without_value(self) -> TraceContextError:
        """Return the error of reading it after the trace that it was created in."""
        return TraceContextError(
            f"{self.describe()} was created inside a trace that has ended, so it has no value. "
            "Create it outside the transformed function, or return what you need from it; "
            "assigning .value makes it usable again."
        )

    def suggest_name(self, hint: str) -> None:
        """Remember where this State was first attached, to name it in graphs."""
        if self.handle.name == type(self).__name__:
            self.handle.name = hint

    # --- where it stands --------------------------------------------------------------------------

    @property
    def losses(self) -> tuple[Loss, ...]:
        """Where modules have held this State, but hold something else now."""
        return tuple(self.facts.losses.values())

    def note_loss(self, module: Any, attribute: str) -> None:
        """Note that a module no longer holds this State under one of its attributes.

        Compiled users of it look again.
        """
        epoch.count += 1
        self.facts.losses[id(module), attribute] = Loss(module, attribute)

    def note_return(self, module: Any, attribute: str) -> None:
        """Note that a module holds this State under one of its attributes, perhaps again."""
        self.facts.losses.pop((id(module), attribute), None)


def has_tracers(value: Any) -> bool:
    """Whether a pytree holds values that only exist while JAX traces."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value))
