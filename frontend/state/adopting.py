"""States of other libraries: a class of theirs is given what captures need of a State.

Nothing is wrapped and nobody derives from us. The class gets the methods of `StateCell`; the
attribute in which its objects hold their value becomes a descriptor, which reads and writes the
captured program while one is being captured; and its ``__init__`` tells of new objects. All of that
is taken away again when the class is released.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from typing import Any, NamedTuple

from ..capture import Cell, frames, read, write
from ..overlay import Overlay
from .catching import catchers
from .cell import Facts, Poisoned, StateCell
from .recording import recording


class _Storage:
    """Where the objects of a class hold their value, as the class itself reaches it."""

    def __init__(self, owner: type, name: str) -> None:
        self.name, self._owner = name, owner
        self._descriptors = {owner: self._look_up(owner.__mro__)}

    def _look_up(self, classes: Iterable[type]) -> Any:
        """Return what the first of some classes that has the name keeps values by, if any does."""
        found = next((vars(c)[self.name] for c in classes if self.name in vars(c)), None)
        return found if hasattr(type(found), "__set__") else None

    def descriptor(self, kind: type) -> Any:
        """Return what keeps the value of an object of a class; None if its dictionary does."""
        try:
            return self._descriptors[kind]
        except KeyError:
            after = kind.__mro__[kind.__mro__.index(self._owner) + 1 :]
            own = self._descriptors[self._owner]
            return self._descriptors.setdefault(kind, own or self._look_up(after))

    def holds(self, state: Any) -> bool:
        """Whether an object holds something."""
        try:
            self.get(state)
        except AttributeError:
            return False
        return True

    def get(self, state: Any) -> Any:
        """Return what an object holds.

        Raises
        ------
        AttributeError
            If it holds nothing yet.
        """
        descriptor = self.descriptor(type(state))
        if descriptor is not None:
            return descriptor.__get__(state, type(state))
        try:
            return vars(state)[self.name]
        except KeyError:
            raise AttributeError(
                f"{type(state).__name__!r} object has no attribute {self.name!r}"
            ) from None

    def set(self, state: Any, value: Any) -> None:
        """Let an object hold a value."""
        descriptor = self.descriptor(type(state))
        if descriptor is not None:
            descriptor.__set__(state, value)
        else:
            vars(state)[self.name] = value


class _Making(threading.local):
    """The objects whose ``__init__`` is under way in a thread: theirs is still plain Python."""

    def __init__(self) -> None:
        self.ids: set[int] = set()


_making = _Making()


class Adoption:
    """A class of States that is not ours, as long as it counts as one; `adopt` makes it.

    Parameters
    ----------
    state_class, kinds, storage, value, copies, watched
        As `adopt` takes them.

    Examples
    --------
    >>> import brainir
    >>> class Box:
    ...     def __init__(self, content):
    ...         self.content = content
    >>> adoption = brainir.adopt(Box, storage="content", value="content")
    >>> box = Box(1.0)
    >>> len(brainir.transform.StateFinder(lambda: box.content)())
    1
    >>> adoption.release()
    >>> len(brainir.transform.StateFinder(lambda: box.content)())
    0
    """

    def __init__(
        self,
        state_class: type,
        kinds: Mapping[type, str],
        storage: str,
        value: str,
        copies: Collection[str],
        watched: Callable[[Any], Hashable],
    ) -> None:
        self.state_class, self.watched = state_class, watched
        self.place = _Storage(state_class, storage)
        self._facts: dict[int, tuple[weakref.ref[Any], Facts]] = {}
        self._overlay = Overlay()
        try:
            self._install(kinds, storage, value, copies)
        except BaseException:
            self.release()
            raise

    def _install(
        self,
        kinds: Mapping[type, str],
        storage: str,
        value: str,
        copies: Collection[str],
    ) -> None:
        theirs = self.state_class
        for name, member in self._members().items():
            if hasattr(theirs, name):
                raise ValueError(
                    f"{theirs.__name__} cannot be adopted: it has a {name!r} of its own"
                )
            self._overlay.put(theirs, name, member)
        for name, default in (("name", None), ("tag", None)):
            if not hasattr(theirs, name):
                self._overlay.put(theirs, name, default)
        for kind_class, kind in {theirs: "state", **kinds}.items():
            self._overlay.put(kind_class, "kind", kind)
        for name in copies:
            self._overlay.put(theirs, name, self._copying(getattr(theirs, name)))
        self._overlay.put(theirs, "__init__", self._announcing(theirs.__init__))
        if value != storage:
            self._overlay.put(theirs, value, _Value(self, getattr(theirs, value)))
        self._overlay.put(theirs, storage, _Place(self, asked=value == storage))
        Cell.adopted += (theirs,)

    def _members(self) -> dict[str, Any]:
        """Return what the class is given, by name."""
        members = {
            name: member
            for base in (StateCell, _Hooked)
            for name, member in vars(base).items()
            if not name.startswith("__")
        }
        return {
            **members,
            "facts": property(self.facts),
            "handle": property(lambda state: self.facts(state).handle),
            "peek": lambda state: self.place.get(state),
            "accept": lambda state, held: self.place.set(state, held),
            "may_be_lent": True,  # to hold traced values for a while is for its own class to allow
            "_watched": property(lambda state: bool(self.watched(state))),
            "_hooks": property(lambda state: _Marks((self.watched(state),))),
        }

    def release(self) -> None:
        """Give the class back as it was; compiled functions of ours forget its objects."""
        Cell.adopted = tuple(kind for kind in Cell.adopted if kind is not self.state_class)
        self._overlay.take_off()
        self._facts.clear()

    def __enter__(self) -> Adoption:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    # --- what is known of the objects -------------------------------------------------------------

    def facts(self, state: Any) -> Facts:
        """Return what is known of an object; one that nobody told of was there before."""
        key, known = id(state), self._facts
        if self.is_known(state):
            return known[key][1]
        alive = weakref.ref(state, lambda gone: _forget(known, key, gone))
        known[key] = alive, Facts(state)
        return known[key][1]

    def is_known(self, state: Any) -> bool:
        """Whether anything is known of an object."""
        found = self._facts.get(id(state))
        return found is not None and found[0]() is state

    def is_inside(self, state: Any) -> bool:
        """Whether code that touches an object is being captured, and the object is ready for it."""
        return frames.top is not None and id(state) not in _making.ids

    # --- how they come to be ----------------------------------------------------------------------

    def _announcing(self, init: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(init)
        def make(state: Any, *args: Any, **kwargs: Any) -> None:
            nested = id(state) in _making.ids
            _making.ids.add(id(state))
            try:
                init(state, *args, **kwargs)
            finally:
                if not nested:
                    _making.ids.discard(id(state))
            if not nested:
                self._born(state)

        return make

    def _copying(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def copy(state: Any, *args: Any, **kwargs: Any) -> Any:
            held = self.place.get(state)
            new = method(state, *args, **kwargs)
            if isinstance(new, self.state_class) and not self.is_known(new):
                if frames.top is not None and self.place.get(new) is held:
                    self.place.set(new, read(state.handle))
                self._born(new)
            return new

        return copy

    def telling(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """Return a method or function that tells of the new object that it returns."""

        @functools.wraps(method)
        def make(*args: Any, **kwargs: Any) -> Any:
            new = method(*args, **kwargs)
            if isinstance(new, self.state_class) and not self.is_known(new):
                self._born(new)
            return new

        return make

    def _born(self, state: Any) -> None:
        state.renew(self.place.get(state))
        name = getattr(state, "name", None)
        if isinstance(name, str):
            state.handle.name = name
        for catcher in tuple(catchers.active):
            catcher.offer(state)


def _forget(known: dict[int, Any], key: int, gone: Any) -> None:
    if known.get(key, (None,))[0] is gone:
        del known[key]


class _Place:
    """The attribute in which the objects of an adopted class hold their value.

    If code outside of the class writes it, too, it is ``asked`` whether the value can be kept.
    """

    def __init__(self, adoption: Adoption, asked: bool) -> None:
        self.adoption, self.asked = adoption, asked

    def __get__(self, state: Any, owner: type | None = None) -> Any:
        if state is None:
            return self
        adoption = self.adoption
        if adoption.is_inside(state):
            state.note_touch(written=False)
            return read(state.handle)
        if recording.stack and id(state) not in _making.ids:
            state.note_touch(written=False)
        held = adoption.place.get(state)
        if type(held) is Poisoned:
            raise state.without_value()
        return held

    def __set__(self, state: Any, value: Any) -> None:
        if id(state) in _making.ids or not self.adoption.place.holds(state):
            self.adoption.place.set(state, value)
        else:
            if self.asked and frames.top is None:
                state.check_writable(value)
            state._store(value)


class _Value:
    """The property by which code reads and writes the value, where that is more than its place.

    While nobody watches, what their own property does besides is left out of captures.
    """

    def __init__(self, adoption: Adoption, theirs: Any) -> None:
        self.adoption, self.theirs = adoption, theirs
        self.__doc__ = theirs.__doc__

    def __get__(self, state: Any, owner: type | None = None) -> Any:
        if state is None:
            return self
        if not self.adoption.is_inside(state) or self.adoption.watched(state):
            return self.theirs.__get__(state, owner)
        state.note_touch(written=False)
        return read(state.handle)

    def __set__(self, state: Any, value: Any) -> None:
        if (
            not self.adoption.is_inside(state)
            or isinstance(value, Cell)
            or self.adoption.watched(state)
        ):
            if frames.top is None and not isinstance(value, Cell):
                state.check_writable(value)
            if type(self.adoption.place.get(state)) is Poisoned:
                state.accept(value)  # their own code may ask what it held
            self.theirs.__set__(state, value)
        else:
            state.note_touch(written=True)
            write(state.handle, value)


class _Hooked:
    """What our own States have for hooks, told of the hooks of an adopted class."""

    def _tell_before(self: Any, value: Any, old: Any, transforms: bool) -> Any:
        """Let the hooks of the class see a value that a program has left; they may refuse it."""
        held = self.peek()
        try:
            self.value = value
            return self.peek()
        finally:
            self.accept(held)

    def _tell_after(self: Any, value: Any, old: Any) -> None:
        """Nothing: they were told of the end, too."""


class _Marks(NamedTuple):
    """What tells the hooks on an object from others."""

    marks: tuple[Hashable, ...]


def _nobody(state: Any) -> Hashable:
    return None


def adopt(
    state_class: type,
    *,
    kinds: Mapping[type, str] | None = None,
    storage: str = "_value",
    value: str = "value",
    copies: Collection[str] = (),
    watched: Callable[[Any], Hashable] = _nobody,
) -> Adoption:
    """Let the objects of another library's class be States: transformations see them as ours.

    Objects that exist already, and those of derived classes, count as well. Nothing of them is kept
    alive, and they need not be hashable by value: two of them are never the same State.

    Parameters
    ----------
    state_class : type
        The class. Its objects can be referred to weakly, and are compared by identity.
    kinds : dict of type to str, optional
        What graphs call the States of derived classes: ``"param"``, ``"hidden"``, ...; random
        states, of which lanes get keys of their own, are ``"rng"``. Others are ``"state"``.
    storage : str
        The attribute in which an object holds its value.
    value : str
        The property, or that same attribute, by which programs read and write it.
    copies : collection of str
        Methods that return a new object without calling ``__init__``.
    watched : callable, optional
        Returns what is to be called when an object is read or written, such as its hooks, if
        anything: its own property runs in captures, too, then. Others are read and written past it.

    Returns
    -------
    Adoption
        ``release()`` gives the class back as it was; so does the end of a ``with`` block.

    Raises
    ------
    TypeError
        If `state_class` is not a class of somebody else's, or its objects cannot be referred to
        weakly.
    ValueError
        If it is adopted already, or has a member that we need under the same name.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> class Box:
    ...     def __init__(self, content):
    ...         self.content = content
    >>> with brainir.adopt(Box, storage="content", value="content"):
    ...     box = Box(jnp.float32(1.0))
    ...     @brainir.transform.jit
    ...     def double():
    ...         box.content = box.content * 2.0
    ...     double()
    >>> float(box.content)
    2.0
    """
    if not isinstance(state_class, type) or state_class.__module__ == "builtins":
        raise TypeError(f"adopt takes a class whose objects hold a value, not {state_class!r}")
    if not state_class.__weakrefoffset__:
        raise TypeError(
            f"the objects of {state_class.__name__} cannot be referred to weakly, so that compiled "
            "functions would keep all of them alive; its __slots__ leave out '__weakref__'"
        )
    if issubclass(state_class, Cell) or any(
        issubclass(state_class, known) or issubclass(known, state_class) for known in Cell.adopted
    ):
        raise ValueError(f"the objects of {state_class.__name__} are States already")
    return Adoption(state_class, kinds or {}, storage, value, copies, watched)
