"""State: a mutable cell that transformations see.

Outside a capture a State simply holds its value. Inside one, reading and writing become operations
of the program that is being captured, and the value held here is left alone; a failed or
interrupted trace therefore cannot damage it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import jax
import numpy as np
from jax.core import Tracer

from ..capture import Cell, Frame, Handle, create, current_frame, read, trace_token, write
from ..errors import TraceContextError
from .catching import catchers
from .epoch import Loss, epoch
from .pretty import render, summary
from .recording import recording

T = TypeVar("T")


class _Poisoned:
    """What a State holds that was created inside a trace: nothing, once the trace is over."""

    def __init__(self, frame: Frame | None) -> None:
        self.frame = frame

    def __reduce__(self) -> tuple[Any, ...]:
        return _Poisoned, (None,)

    def __repr__(self) -> str:
        return "<invalidated: created in a trace that has ended>"


def same_trace(token: Any) -> bool:
    """Whether JAX is in the very trace that the token was taken in."""
    return token == trace_token()


_OUTSIDE = trace_token()


def in_foreign_trace() -> bool:
    """Whether a JAX transformation that is not ours is tracing right now."""
    return not same_trace(_OUTSIDE)


_kinds: dict[str, type[State[Any]]] = {}


def class_of_kind(kind: str) -> type[State[Any]]:
    """Return the first class that was defined with a kind; plain `State` if there is none.

    That there is none is told by a warning: a filter by the kind would not find the State.
    """
    if kind not in _kinds and kind != State.kind:
        warnings.warn(
            f"no class of States of the kind {kind!r} is defined here, so a plain State stands for "
            "one: import the module that defines it first",
            stacklevel=3,
        )
    return _kinds.get(kind, State)


class State(Cell, Generic[T]):
    """A mutable cell that holds a pytree of arrays.

    Parameters
    ----------
    value : pytree
        The initial value: arrays, Quantities, numbers, or containers of them. What is changed in
        place in a container that the State holds is changed in the State, also in transformed
        functions, as long as these read it there.
    name : str, optional
        A name for error messages and graph dumps.
    tag : str or iterable of str, optional
        Labels that filters can select by.
    **metadata
        Kept as attributes.

    Raises
    ------
    TraceContextError
        On reading a State that was created inside a trace, after that trace has ended; and on
        writing a traced value inside a JAX transformation that is not brainir's.

    Examples
    --------
    >>> import brainir
    >>> count = brainir.State(0)
    >>> count.value += 1
    >>> count.value
    1
    """

    # Of one that is created in a capture: once that is over, a value comes from outside.
    _trace: Any = _OUTSIDE

    def __init_subclass__(cls, **options: Any) -> None:
        """Register what a State is made as again when only its kind is known."""
        super().__init_subclass__(**options)
        if "kind" not in vars(cls):
            return
        if not re.fullmatch(r"[a-z_][a-z0-9_]*", cls.kind):
            raise TypeError(
                f"the kind of {cls.__name__} is a word in graphs, of small letters, digits and _, "
                f"which {cls.kind!r} is not"
            )
        _kinds.setdefault(cls.kind, cls)

    def __init__(self, value: T, name: str | None = None, **metadata: Any) -> None:
        if isinstance(value, State):
            value = value.value
        tag = metadata.pop("tag", None)
        self.name = name
        self.tag: set[str] | None = None if tag is None else _tags(tag)
        self._replaced_at = 0
        self._losses: dict[tuple[int, str], Loss] = {}
        self.handle = Handle(self)
        if name is not None:
            self.handle.name = name
        for key, item in metadata.items():
            setattr(self, key, item)
        frame = current_frame()
        if frame is None:
            self._trace = trace_token()
            self._value: Any = value
            for recorder in recording.stack:
                recorder.created.add(self)
        else:
            self._value = _Poisoned(frame)
            create(self.handle, value)
        for catcher in catchers.active:
            catcher.offer(self)

    @property
    def value(self) -> T:
        """The value; assigning gives the State a new one."""
        if current_frame() is not None:
            return read(self.handle)
        for recorder in recording.stack:
            recorder.touch(self, written=False)
        if type(self._value) is _Poisoned:
            raise self.without_value()
        return self._value

    @value.setter
    def value(self, value: T) -> None:
        if isinstance(value, State):
            raise ValueError("a State cannot hold a State; assign its .value instead")
        if current_frame() is not None:
            write(self.handle, value)
            return
        for recorder in recording.stack:
            recorder.touch(self, written=True)
        if not recording.stack:
            self.check_writable(value)
        self._value = value

    def accept(self, value: Any) -> None:
        """Take a new value from a finished program."""
        self._value = value

    def check_writable(self, value: Any) -> None:
        """Refuse to store a tracer that outlives the JAX trace it belongs to."""
        if _has_tracers(value) and (type(self._value) is _Poisoned or not same_trace(self._trace)):
            raise TraceContextError(
                f"{self.describe()} would be given a traced value inside a plain JAX "
                "transformation, which cannot carry States. Use brainir.transform.jit, grad, vmap, "
                "for_loop, ... there, or create the State inside the transformed function."
            )

    def is_leaked(self, value: Any) -> bool:
        """Whether a value cannot have been stored here: traced, for a State outside of traces."""
        return self._trace == _OUTSIDE and not recording.stack and _has_tracers(value)

    def restore_value(self, value: T) -> None:
        """Give the State another value of the same structure.

        Raises
        ------
        ValueError
            If the structure differs from that of the present value.
        """
        old, new = jax.tree.structure(self.value), jax.tree.structure(value)
        if old != new:
            raise ValueError(f"{self.describe()} has the structure {old}, not {new}")
        self.value = value

    def peek(self) -> Any:
        """Return what is held for the runtime: the value, or a poisoned marker that JAX refuses."""
        return self._value

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

    # --- what modules and graphs want to know -----------------------------------------------------

    def suggest_name(self, hint: str) -> None:
        """Remember where this State was first attached, to name it in graphs."""
        if self.handle.name == type(self).__name__:
            self.handle.name = hint

    @property
    def replaced_at(self) -> int:
        """When, by `epoch`, a module put something else in this State's place; 0 if none did."""
        return self._replaced_at

    def mark_replaced(self) -> None:
        """Note that a module no longer holds this State; compiled users of it look again."""
        epoch.count += 1
        self._replaced_at = epoch.count

    def mark_attached(self) -> None:
        """Note that a module holds this State again."""
        self._replaced_at = 0

    @property
    def losses(self) -> tuple[Loss, ...]:
        """Where modules have held this State, but hold something else now."""
        return tuple(self._losses.values())

    def note_loss(self, module: Any, attribute: str) -> None:
        """Note that a module no longer holds this State under one of its attributes."""
        self._losses[id(module), attribute] = Loss(module, attribute)

    def note_return(self, module: Any, attribute: str) -> None:
        """Note that a module holds this State under one of its attributes, perhaps again."""
        self._losses.pop((id(module), attribute), None)

    # --- small conveniences -----------------------------------------------------------------------

    def numel(self) -> int:
        """Return the number of elements of all leaves."""
        return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(self.value))

    def value_call(self, function: Callable[[Any], Any]) -> Any:
        """Apply a function to every leaf of the value."""
        return jax.tree.map(function, self.value)

    def add_tag(self, tag: str | Iterable[str]) -> None:
        """Add labels."""
        self.tag = (self.tag or set()) | _tags(tag)

    def copy(self) -> State[T]:
        """Return a new State with the same value and metadata."""
        return self.replace()

    def replace(self, value: Any = None, **metadata: Any) -> State[T]:
        """Return a new State of the same class with another value or metadata."""
        own = ("name", "tag", "handle")
        kept = {k: v for k, v in vars(self).items() if not k.startswith("_") and k not in own}
        new = object.__new__(type(self))
        State.__init__(
            new,
            self.value if value is None else value,
            **{"name": self.name, "tag": self.tag, **kept, **metadata},
        )
        return new

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle of this State, which is another State, starts from."""
        own = ("handle", "_trace", "_replaced_at", "_losses", "_value")
        kept = {name: item for name, item in vars(self).items() if name not in own}
        dead = current_frame() is None and type(self.peek()) is _Poisoned
        kept["_value"] = self.peek() if dead else self.value
        return {**kept, "_hint": self.handle.name}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        hint = kept.pop("_hint")
        State.__init__(self, kept.pop("_value"), **kept)
        self.suggest_name(hint)

    def __rich_repr__(self) -> Iterator[tuple[str, object]]:
        """Yield what is shown of the State: its type, not its numbers, and its metadata."""
        yield "value", summary(self._value)
        for name, item in vars(self).items():
            if item is not None and name != "handle" and not name.startswith("_"):
                yield name, item

    def __repr__(self) -> str:
        return render(self)


def _has_tracers(value: Any) -> bool:
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value))


def _tags(tag: str | Iterable[str]) -> set[str]:
    return {tag} if isinstance(tag, str) else set(tag)


def assign_all(values: Sequence[tuple[State[Any], Any]]) -> None:
    """Give States new values, or none of them if one cannot take its own."""
    if current_frame() is None and not recording.stack:
        for state, value in values:
            state.check_writable(value)
    for state, value in values:
        state.value = value


def maybe_state(value: Any) -> Any:
    """Return the value of a State, and anything else as it is."""
    return value.value if isinstance(value, State) else value
