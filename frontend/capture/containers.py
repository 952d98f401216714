"""Containers that States hold: dictionaries, lists, dataclasses, and what changes them in place.

In plain Python ``state.value["v"] = x`` changes the State, and everybody who holds the dictionary
sees it. While a program is captured, a State hands out a copy of its container with traced arrays
in it. So that a change in place means the same there, the frame remembers what it handed out, and
looks whether it is still as it was before anybody can notice: when the State is read or written,
before a region is bound, and when the function returns. A change counts as a write.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import brainunit
import jax
import numpy as np
from jax.core import Tracer

from ...ir import Loc
from ..errors import TraceContextError


class Held:
    """A container that belongs to a State, as it was when somebody last looked.

    Attributes
    ----------
    value : pytree
        The container itself.
    trace : object
        The JAX trace that its arrays belong to.
    loc : Loc or None
        Where it was handed out, or given to the State.
    local : bool
        Whether it belongs to the capture, so that traced arrays may be put into it. What a user
        made of plain numbers may outlive the capture.
    """

    __slots__ = ("_contents", "_leaves", "_tree", "loc", "local", "trace", "value")

    def __init__(self, value: Any, trace: Any, loc: Loc | None, local: bool) -> None:
        self.value, self.trace, self.loc, self.local = value, trace, loc, local
        self.look()

    def look(self) -> None:
        """Take the container as it is now for unchanged."""
        self._leaves, self._tree = jax.tree.flatten(self.value)
        self._contents = [x.copy() if isinstance(x, np.ndarray) else None for x in self._leaves]

    def changed(self) -> bool:
        """Whether it was changed since."""
        leaves, tree = jax.tree.flatten(self.value)
        if tree != self._tree:
            return True
        rows = zip(leaves, self._leaves, self._contents, strict=True)
        return any(
            now is not then or (kept is not None and not np.array_equal(now, kept))
            for now, then, kept in rows
        )

    def restore(self) -> None:
        """Undo what changed it."""
        merge(self.value, jax.tree.unflatten(self._tree, self._leaves))


_WHOLE = (jax.Array, brainunit.Quantity, np.ndarray, np.generic, bool, int, float, complex)


def is_container(value: Any) -> bool:
    """Whether a value has parts that could be exchanged.

    A Quantity does not count: with a traced array in it, it refuses to be changed in place.
    """
    return not isinstance(value, _WHOLE) and not jax.tree_util.all_leaves([value])


def held(value: Any, trace: Any, loc: Loc | None, local: bool | None = None) -> Held | None:
    """Return what watches a container; None where changes cannot be seen.

    Parameters
    ----------
    value, trace, loc, local
        As the attributes of `Held`; by default a container is local if it has traced arrays.
    """
    if local is None:
        local = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value))
    made = Held(value, trace, loc, local)
    return None if made.changed() else made  # some classes make their parts anew when asked


def merge(old: Any, new: Any) -> Any:
    """Let a container become equal to another, in place as far as it can be changed.

    Returns
    -------
    pytree
        ``old``, or ``new`` where it cannot be changed or is of another kind.

    Examples
    --------
    >>> from brainir.frontend.capture import merge
    >>> a = {"v": 1, "w": [1, 2]}
    >>> merge(a, {"v": 3, "w": [4]}) is a, a
    (True, {'v': 3, 'w': [4]})
    """
    if type(old) is not type(new):
        return new
    if isinstance(old, dict):
        for key in [key for key in old if key not in new]:
            del old[key]
        for key, item in new.items():
            old[key] = merge(old[key], item) if key in old else item
        return old
    if isinstance(old, list):
        old[:] = [*map(merge, old, new), *new[len(old) :]]
        return old
    if isinstance(old, tuple):
        return _merge_tuple(old, new)
    if dataclasses.is_dataclass(old) and not _is_frozen(old):
        for field in dataclasses.fields(old):
            item = getattr(new, field.name)
            setattr(old, field.name, merge(getattr(old, field.name, item), item))
        return old
    return new


def _merge_tuple(old: Any, new: Any) -> Any:
    items = [*map(merge, old, new), *new[len(old) :]]
    if len(old) == len(new) and all(a is b for a, b in zip(items, old, strict=True)):
        return old
    return type(new)(*items) if hasattr(new, "_fields") else tuple(items)


def _is_frozen(value: Any) -> bool:
    return type(value).__dataclass_params__.frozen


class Holdings:
    """The containers that one frame of a capture knows to belong to States, by their handles.

    Attributes
    ----------
    assigned : set of Handle
        States that were given another container than the one they came with.
    deep : set of Handle
        States that were touched inside a plain JAX function, which JAX may replay without telling.
    """

    def __init__(self) -> None:
        self.assigned: set[Any] = set()
        self.deep: set[Any] = set()
        self._held: dict[Any, list[Held]] = {}
        self._doubtful: list[tuple[Any, Held]] = []
        self._outside: dict[Any, Held] = {}

    def handles(self) -> list[Any]:
        """Return the States of which there is a container."""
        return list(self._held)

    def of(self, handle: Any) -> list[Held]:
        """Return the containers of a State."""
        return self._held.get(handle, [])

    def here(self, handle: Any, trace: Any) -> Held | None:
        """Return the container that a State is known to hold in a trace."""
        return next((one for one in self.of(handle) if one.trace == trace), None)

    def hand_out(self, handle: Any, value: Any, trace: Any, loc: Loc | None) -> Any:
        """Return what a reader gets: what an earlier one got, brought up to date, or ``value``."""
        known = self.here(handle, trace)
        if known is not None:
            if known.local and merge(known.value, value) is known.value:
                known.look()
                return known.value
            self.doubt(handle, known)
        self._hold(handle, held(value, trace, loc, local=True))
        return value

    def give(self, handle: Any, value: Any, trace: Any, loc: Loc | None, before: bool) -> None:
        """Note that a State was given a container.

        ``before`` says that an enclosing frame knows it to be the one that the State had.
        """
        known = self.of(handle)
        same = next((one for one in known if one.value is value), None)
        self._doubtful = [pair for pair in self._doubtful if pair[1].value is not value]
        if same is None and not before:
            self.assigned.add(handle)
        if same is None and handle not in self.deep:
            known.clear()
        for one in [one for one in known if one is not same]:
            self.doubt(handle, one)
        if same is not None and same.trace == trace:
            same.look()
        elif same is not None:
            self.doubt(handle, same)
        elif not before and is_container(value):
            self._hold(handle, held(value, trace, loc))

    def _hold(self, handle: Any, one: Held | None) -> None:
        if one is not None:
            self._held.setdefault(handle, []).append(one)

    def doubt(self, handle: Any, one: Held) -> None:
        """Note that a container may or may not be the one that the State still holds."""
        self._held[handle].remove(one)
        self._doubtful.append((handle, one))

    def doubtful(self) -> list[tuple[Any, Held]]:
        """Return the containers of which it is not known whether the State still holds them."""
        return self._doubtful

    def found_outside(self, handle: Any, value: Any) -> None:
        """Note the container that a State holds outside of the capture.

        Raises
        ------
        TraceContextError
            If code that was traced has put something of its own into it.
        """
        if handle.state.is_leaked(value):
            raise TraceContextError(_CHANGED_OUTSIDE)
        one = held(value, None, None)
        if one is not None:
            self._outside[handle] = one

    def restore_outside(self) -> bool:
        """Undo changes that the capture made to containers outside; whether there were any."""
        changed = [one for one in self._outside.values() if one.changed()]
        for one in changed:
            one.restore()
        return bool(changed)

    def forget(self) -> None:
        """Let go of all containers."""
        self._held.clear()
        self._doubtful.clear()
        self._outside.clear()


# --- what frames of a capture do ------------------------------------------------------------------


Write = Callable[[Any, Any, Any, Any], None]
"""Writes a State: frame, handle, value, and where it happens."""

_CHANGED_OUTSIDE = (
    "a container that a State holds was changed in place inside a transformed function that got "
    "hold of it outside. Read .value inside the function, and change that."
)


def settle(frame: Any, trace: Any, write: Write) -> None:
    """Let changes that were made in place to what a frame knows be writes.

    Raises
    ------
    TraceContextError
        If one was made where it cannot become a write.
    """
    for handle in frame.held.handles():
        settle_one(frame, handle, trace, write)


def settle_one(frame: Any, handle: Any, trace: Any, write: Write) -> None:
    """As `settle`, for one State."""
    for one in list(frame.held.of(handle)):
        if not one.changed():
            continue
        if one.trace != trace:
            raise _lost(handle, one, "inside or around a plain JAX function")
        if frame.replays(handle):
            raise _lost(handle, one, "although a plain JAX function uses the State, too")
        write(frame, handle, one.value, one.loc)
        one.look()


def settle_finally(frame: Any, trace: Any, write: Write) -> None:
    """As `settle`, for a frame of which the function has returned."""
    settle(frame, trace, write)
    for handle, one in frame.held.doubtful():
        if one.changed():
            raise _lost(handle, one, "after the State may have been given another one")
    for outer in list(frame.chain())[1:]:
        for handle in outer.held.handles():
            for one in outer.held.of(handle):
                if one.changed():
                    one.restore()
                    raise _lost(handle, one, "by a transformed function that did not read it")
    if frame.held.restore_outside():
        raise TraceContextError(_CHANGED_OUTSIDE)


def _lost(handle: Any, one: Held, why: str) -> TraceContextError:
    where = f" at {one.loc}" if one.loc else ""
    return TraceContextError(
        f"the container that {handle.state.describe()} handed out{where} was changed in place "
        f"{why}. Make the change to a copy and assign that to .value where it is to take effect."
    )


def is_held_around(frame: Any, handle: Any, value: Any) -> bool:
    """Whether a frame around knows a container to be that of a State."""
    outer = [one for up in list(frame.chain())[1:] for one in up.held.of(handle)]
    return any(one.value is value for one in outer)


def region_wrote(
    frame: Any, handle: Any, assigned: bool, trace: Any, read: Callable[[], Any]
) -> None:
    """Bring the container of a State up to date after a region that changed it in place.

    Whether the State still has the same container after a region that assigned one to it is not
    known in general, so then it may no longer be changed.
    """
    if assigned:
        frame.held.assigned.add(handle)
    for one in list(frame.held.of(handle)):
        if one.trace == trace and not assigned and one.local:
            frame.held.hand_out(handle, read(), trace, one.loc)
        else:
            frame.held.doubt(handle, one)
