"""State: a mutable cell that transformations see.

Outside a capture a State simply holds its value. Inside one, reading and writing become operations
of the program that is being captured, and the value held here is left alone; a failed or
interrupted trace therefore cannot damage it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, Self, TypeVar

import jax
import numpy as np
from jax.core import Tracer

from ...ir import Loc
from ..capture import (
    Cell,
    Frame,
    Handle,
    create,
    current_frame,
    frames,
    read,
    trace_token,
    user_loc,
    write,
)
from ..errors import TraceContextError
from ..typing import Missing, Size
from .catching import catchers
from .checks import run_checks
from .epoch import Loss, epoch
from .hooked import Hooked
from .levels import Levelled
from .pretty import render, summary
from .recording import recording
from .traces import OUTSIDE, same_trace

if TYPE_CHECKING:
    from .treefy import TreefyState

T = TypeVar("T")
S = TypeVar("S", bound="State[Any]")

_MACHINERY = frozenset(
    "name tag handle _source_info _trace _level _raised _replaced_at _losses _value _hooks "
    "_watched".split()
)
"""The attributes of a State that are not metadata of its user, or that copies take by name."""


class _Poisoned:
    """What a State holds that was created inside a trace: nothing, once the trace is over."""

    def __init__(self, frame: Frame | None) -> None:
        self.frame = frame

    def __reduce__(self) -> tuple[Any, ...]:
        return _Poisoned, (None,)

    def __repr__(self) -> str:
        return "<invalidated: created in a trace that has ended>"


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


class State(Cell, Hooked, Levelled, Generic[T]):
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

    make_value: ClassVar[Callable[..., Any]]
    """What makes a value of an initialiser and a size; the room ``init`` puts it here."""

    _trace: Any = OUTSIDE
    """The JAX trace that it belongs to; a value that replaces a lost one comes from outside."""

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
        self._source_info = user_loc()
        self.renew(value)
        for catcher in tuple(catchers.active):
            catcher.offer(self)
        if self._watched:
            self._tell_init(value, {"name": name, "tag": self.tag, **metadata})

    @property
    def value(self) -> T:
        """The value; assigning gives the State a new one."""
        # The most frequent of all: what is looked at here counts, so `current_frame` is not called.
        if frames.top is None:
            for recorder in recording.stack:
                recorder.touch(self, written=False)
            value = self._value
            if type(value) is _Poisoned:
                raise self.without_value()
        else:
            self._note_touch(written=False)
            value = read(self.handle)
        if self._watched:
            self._tell_read(value)
        return value

    @value.setter
    def value(self, value: T) -> None:
        self._assign(value, transforms=True)

    def settle(self, value: T) -> None:
        """Take the value that a transformation has left; what hooks make of it is known by now."""
        self._assign(value, transforms=False)

    def _assign(self, value: Any, transforms: bool) -> None:
        if isinstance(value, State):
            raise ValueError("a State cannot hold a State; assign its .value instead")
        if frames.top is None:
            self.check_writable(value)
        if recording.checks:
            run_checks(self, value)
        if not self._watched:
            self._store(value)
            return
        old = self._present()
        wanted = value
        value = self._tell_before(wanted, old, transforms)
        if value is not wanted and frames.top is None:
            self.check_writable(value)
        self._store(value)
        self._tell_after(value, old)

    def _store(self, value: Any) -> None:
        if frames.top is not None:
            self._note_touch(written=True)
            write(self.handle, value)
            return
        self.note_touch(written=True)
        if type(self._value) is _Poisoned:
            self._trace = trace_token()
        self._value = value

    def note_touch(self, written: bool) -> None:
        """Tell who records what Python does to States, around all captures, of a touch."""
        for recorder in recording.stack:
            if recorder.inside is None:
                recorder.touch(self, written)

    def _present(self) -> Any:
        """Return what the State holds here, or None if it has no value; no hook is called."""
        if frames.top is not None:
            return read(self.handle)
        return None if type(self._value) is _Poisoned else self._value

    def _note_touch(self, written: bool) -> None:
        """Tell those who record inside a function that is being captured."""
        for recorder in recording.stack:
            if recorder.inside is not None:
                recorder.touch(self, written)

    def accept(self, value: Any) -> None:
        """Take a new value from a finished program."""
        self._value = value

    def renew(self, value: Any) -> None:
        """Take a value, as if this State, made in a trace that has ended, were created here."""
        frame, stack = frames.top, recording.stack
        self._level = len(stack) + (0 if frame is None else len(list(frame.chain())))
        for recorder in stack:
            recorder.created.add(self)
        if frame is None:
            self._trace = trace_token()
            self._value: Any = value
        else:
            self._value = _Poisoned(frame)
            create(self.handle, value)

    def structure(self) -> Any:
        """Return the structure of the value as a pytree, or None if it has no value here."""
        frame = frames.top
        if frame is not None:
            return frame.view(frame.resolve(self.handle)).tree
        return None if type(self._value) is _Poisoned else jax.tree.structure(self._value)

    def is_in_own_trace(self) -> bool:
        """Whether JAX is in the trace that the State was created in; only told outside captures."""
        return type(self._value) is not _Poisoned and same_trace(self._trace)

    def check_writable(self, value: Any) -> None:
        """Refuse to store a tracer that outlives the JAX trace it belongs to.

        Who records what Python does to States puts it right again, and may store what it likes.
        """
        if not recording.stack and _has_tracers(value) and not self.is_in_own_trace():
            raise TraceContextError(
                f"{self.describe()} would be given a traced value inside a plain JAX "
                "transformation, which cannot carry States. Use brainir.transform.jit, grad, vmap, "
                "for_loop, ... there, or create the State inside the transformed function."
            )

    def is_leaked(self, value: Any) -> bool:
        """Whether a value cannot have been stored here: traced, for a State outside of traces."""
        return self._trace == OUTSIDE and not recording.stack and _has_tracers(value)

    def restore_value(self, value: T) -> None:
        """Put a value of the same structure back; hooks of the type ``restore`` are told of it.

        Raises
        ------
        ValueError
            If the structure differs from that of the present value.
        """
        old, new = self.structure(), jax.tree.structure(value)
        if old is None:
            raise self.without_value()
        if old != new:
            raise ValueError(f"{self.describe()} has the structure {old}, not {new}")
        if frames.top is None:
            self.check_writable(value)
        before = self._present() if self._watched else None
        self._store(value)
        if self._watched:
            self._tell_restored(value, before)

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

    @property
    def source_info(self) -> Loc | None:
        """The line of the user's that created the State."""
        return self._source_info

    def raise_error_with_source_info(self, error: Exception) -> NoReturn:
        """Raise an error with a note of where the State was created."""
        error.add_note(f"{self.describe()} was created at {self.source_info or 'an unknown place'}")
        raise error

    @classmethod
    def init(
        cls, fn: Any, in_size: Size, batch_size: int | None = None, tag: str | None = None
    ) -> Self:
        """Return a State that holds what `brainir.init.param` makes of an initialiser and a size.

        Parameters
        ----------
        fn : callable, array or State
            An initialiser, called with the size; or an array that broadcasts to it.
        in_size : int or sequence of int
            The size, without the batch.
        batch_size : int, optional
            The length of a batch axis in front of all others.
        tag : str, optional
            A label.

        Examples
        --------
        >>> import brainir
        >>> brainir.ParamState.init(brainir.init.Constant(0.5), 3, batch_size=2).value.shape
        (2, 3)
        """
        return cls(State.make_value(fn, in_size, batch_size), tag=tag)

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

    def replace(self, value: Any = Missing, **metadata: Any) -> State[T]:
        """Return a new State of the same class with another value or metadata."""
        kept = {"name": self.name, "tag": self.tag, **self._metadata(), **metadata}
        return State.made_as(type(self), self.value if value is Missing else value, **kept)

    def copy_from(self, other: State[T]) -> None:
        """Take over the value and the metadata of another State.

        Raises
        ------
        ValueError
            If the other State is not of the same class.
        """
        if type(other) is not type(self):
            raise ValueError(
                f"{self.describe()} takes over States of its own class, not {type(other).__name__}"
            )
        if other is not self:
            self._take(other.value, {"name": other.name, "tag": other.tag, **other._metadata()})

    def to_state_ref(self) -> TreefyState[T]:
        """Return what this State is and holds as a pytree."""
        from .treefy import TreefyState

        return TreefyState(type(self), self.value, self.name, self.tag, **self._metadata())

    def update_from_ref(self, reference: TreefyState[T]) -> None:
        """Take over the value and the metadata of what :meth:`to_state_ref` returned.

        Raises
        ------
        ValueError
            If that was made of a State of another class.
        """
        if reference.type is not type(self):
            raise ValueError(
                f"{self.describe()} takes over States of its own class, "
                f"not {reference.type.__name__}"
            )
        self._take(reference.value, reference.get_metadata())

    @staticmethod
    def made_as(kind: type[S], value: Any, **metadata: Any) -> S:
        """Return a State of a class from what one of it held, without calling its own ``__init__``.

        Parameters
        ----------
        kind : type
            The class.
        value : pytree
            What it holds.
        **metadata
            Its name, tag, and other attributes.
        """
        new = object.__new__(kind)
        State.__init__(new, value, **metadata)
        return new

    def _metadata(self) -> dict[str, Any]:
        """Return the attributes that belong to the State and not to the machinery around it."""
        return {name: item for name, item in vars(self).items() if name not in _MACHINERY}

    def _take(self, value: Any, metadata: dict[str, Any]) -> None:
        self.value = value
        for gone in self._metadata().keys() - metadata.keys():
            delattr(self, gone)
        tag = metadata.pop("tag", None)
        self.tag = None if tag is None else _tags(tag)
        for name, item in metadata.items():
            setattr(self, name, item)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle of this State, which is another State, starts from."""
        kept = {"name": self.name, "tag": self.tag, **self._metadata()}
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
