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

from ...ir import Loc
from ..capture import (
    Cell,
    current_frame,
    frames,
    read,
    user_loc,
)
from ..typing import Missing, Size
from .catching import catchers
from .cell import Facts, Poisoned, StateCell
from .checks import run_checks
from .hooked import Hooked
from .levels import Levelled
from .packs import Place
from .pretty import render, summary
from .recording import recording

if TYPE_CHECKING:
    from .treefy import TreefyState

T = TypeVar("T")
S = TypeVar("S", bound="State[Any]")

_MACHINERY = frozenset("name tag handle facts _source_info _value _hooks _watched".split())
"""The attributes of a State that are not metadata of its user, or that copies take by name."""


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


class State(StateCell, Hooked, Levelled, Generic[T]):
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
        if isinstance(value, Cell):
            value = value.value
        tag = metadata.pop("tag", None)
        self.name = name
        self.tag: set[str] | None = None if tag is None else _tags(tag)
        self.facts = Facts(self)
        self.handle = self.facts.handle
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
            if recording.stack:
                self.note_touch(written=False)
            value = self._value
            kind = type(value)
            if kind is Poisoned:
                raise self.without_value()
            if kind is Place:
                value = value.value()
        else:
            self.note_touch(written=False)
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
        if isinstance(value, Cell):
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

    def accept(self, value: Any) -> None:
        """Take a new value from a finished program."""
        held = self.__dict__.get("_value")
        if type(held) is Place:
            held.pack.whole = False
        self._value = value

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
        held = self._value
        return held.value() if type(held) is Place else held

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
        dead = current_frame() is None and type(self.peek()) is Poisoned
        kept["_value"] = self.peek() if dead else self.value
        return {**kept, "_hint": self.handle.name}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        hint = kept.pop("_hint")
        State.__init__(self, kept.pop("_value"), **kept)
        self.suggest_name(hint)

    def __rich_repr__(self) -> Iterator[tuple[str, object]]:
        """Yield what is shown of the State: its type, not its numbers, and its metadata."""
        yield "value", summary(self.peek())
        for name, item in vars(self).items():
            if item is not None and name not in ("handle", "facts") and not name.startswith("_"):
                yield name, item

    def __repr__(self) -> str:
        return render(self)


def _tags(tag: str | Iterable[str]) -> set[str]:
    return {tag} if isinstance(tag, str) else set(tag)
