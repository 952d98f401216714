"""Small States that stand in one array between calls of compiled functions.

What a State of a pack holds is its `Place`; whoever reads the State gets a row of the pack's array.
To assign to it takes it out. The next call of the compiled function puts in again what is out.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.core import Tracer
from jax.sharding import SingleDeviceSharding

from .traces import in_foreign_trace

if TYPE_CHECKING:
    from ..capture import View
    from .state import State

FEW = 8
"""So many States are put in again one by one; for more, the array is made anew."""

PATIENCE = 8
"""How often all States may be taken out and put in before it counts whether a pack is worth it."""

SAVED = 4
"""To take a State out and put it in costs so many times what it saves in a call."""


class Place:
    """What a State holds that stands in a pack."""

    __slots__ = ("_kept", "_seen", "index", "pack")

    def __init__(self, pack: Pack, index: int, kept: Any) -> None:
        self.pack, self.index = pack, index
        self._kept, self._seen = kept, pack.version

    def value(self) -> Any:
        """Return the value of the State: the same object until a call leaves another one."""
        version = self.pack.version  # before the array, which another thread may replace
        if self._seen != version:
            self._kept = self.pack.row(self.index)
            self._seen = version
        return self._kept


class Pack:
    """One array of the values of several States, each of one array of the same type.

    Parameters
    ----------
    states : sequence of State
        In order; each is kept as long as others do so.
    views : sequence of View
        What each of them looks like: one array of the same shape and dtype for all, but perhaps in
        containers, or with units, of its own.

    Attributes
    ----------
    array : jax.Array or None
        Their values; a call of a compiled function replaces it.
    whole : bool
        Whether all States stand in it now.
    version : int
        How often it was replaced.
    hopeless : bool
        Whether more was lost by taking States out and putting them in than was saved.
    """

    def __init__(self, states: Sequence[State[Any]], views: Sequence[View]) -> None:
        self.array: Any = None
        self.views = views
        self.whole = self.hopeless = False
        self.version = self._cost = 0
        self._lock = threading.RLock()
        loosen = weakref.WeakMethod(self._loosen)
        self._states = [weakref.ref(state, lambda _: _call(loosen)) for state in states]

    def _loosen(self) -> None:
        """Note that a State is gone."""
        self.whole = False

    def row(self, index: int) -> Any:
        """Return the value of a State."""
        self._pay(1)
        if in_foreign_trace():
            with jax.ensure_compile_time_eval():
                leaf = _row(self.array, np.int32(index))
        else:
            leaf = _row(self.array, np.int32(index))
        return jax.tree.unflatten(self.views[index].tree, [leaf])

    def fill(self) -> bool:
        """Put in all States that are out; tell whether that can be done."""
        if self.hopeless:
            return False
        with self._lock:
            states = [reference() for reference in self._states]
            found: dict[int, tuple[Any, Any]] = {}
            for i, state in enumerate(states):
                if state is None:
                    return False
                held = state._value  # pyright: ignore[reportPrivateUsage]
                if type(held) is Place:
                    if held.pack is self:
                        continue
                    held = held.value()
                leaf = _leaf(held, self.views[i])
                if leaf is None:
                    return False
                found[i] = held, leaf
            if not self._put_in({i: leaf for i, (_, leaf) in found.items()}):
                return False
            for i, (held, _) in found.items():
                states[i].accept(Place(self, i, held))  # pyright: ignore[reportOptionalMemberAccess]
            self.whole = not self.hopeless
            return self.whole

    def take(self, array: Any) -> None:
        """Take what a call leaves."""
        self.array = array
        self.version += 1
        if not self.whole:  # somebody has assigned to a State while the call ran
            with self._lock:
                for i, reference in enumerate(self._states):
                    state = reference()
                    if state is not None:
                        state.accept(Place(self, i, None))
                self.version += 1
                gone = any(reference() is None for reference in self._states)
                self.whole = not gone and not self.hopeless

    def holds(self, states: Sequence[State[Any]]) -> bool:
        """Whether it is the pack of these States."""
        pairs = zip(self._states, states, strict=True)
        return all(reference() is state for reference, state in pairs)

    def release(self) -> None:
        """Give all States their own values, for who does not know of packs."""
        with self._lock:
            self.whole = False
            for reference in self._states:
                state = reference()
                if state is not None:
                    state.accept(state.peek())
            self.array = None

    def _put_in(self, leaves: dict[int, Any]) -> bool:
        (aval,) = self.views[0].avals
        homes = {_home(leaf) for leaf in leaves.values() if isinstance(leaf, jax.Array)}
        if self.array is not None:
            homes.add(_home(self.array))
        if len(homes) > 1 or not all(
            isinstance(home, SingleDeviceSharding | None) for home in homes
        ):
            return False
        if self.array is not None and len(leaves) <= FEW:
            for i, leaf in leaves.items():
                self.array = _with_row(self.array, np.asarray(leaf, aval.dtype), np.int32(i))
        elif leaves:
            self._pay(len(self._states))
            rows = np.empty((len(self._states), *aval.shape), aval.dtype)
            if self.array is not None:
                rows[...] = self.array
            for i, leaf in leaves.items():
                rows[i] = leaf
            self.array = jax.device_put(rows, *homes)
        return True

    def _pay(self, cost: int) -> None:
        self._cost += SAVED * cost
        size = len(self._states)
        if self._cost > size * (self.version + SAVED * PATIENCE):
            self.hopeless, self.whole = True, False


def _leaf(held: Any, view: View) -> Any:
    """Return the array of a value, or None if it does not look as expected, or is traced."""
    leaves, tree = jax.tree.flatten(held)
    if tree != view.tree or isinstance(leaves[0], Tracer):
        return None
    try:
        found = jax.typeof(leaves[0])
    except TypeError:
        return None
    fits = found.shape == view.avals[0].shape and found.dtype == view.avals[0].dtype
    return leaves[0] if fits else None


def _call(method: weakref.WeakMethod[Any]) -> None:
    found = method()
    if found is not None:
        found()


def _home(array: jax.Array) -> Any:
    """Return where an array has to be; None if it is just where arrays are by default."""
    return array.sharding if array.committed else None


@jax.jit
def _row(array: Any, index: Any) -> Any:
    return jax.lax.dynamic_index_in_dim(array, index, 0, keepdims=False)


@jax.jit
def _with_row(array: Any, row: Any, index: Any) -> Any:
    return jax.lax.dynamic_update_index_in_dim(array, row, index, 0)


_packs: weakref.WeakValueDictionary[tuple[int, ...], Pack] = weakref.WeakValueDictionary()


def pack_of(states: Sequence[State[Any]], views: Sequence[View]) -> Pack:
    """Return the pack of some States: one for all functions that pack them in this order."""
    key = tuple(map(id, states))
    pack = _packs.get(key)
    if pack is None or not pack.holds(states) or pack.views != [*views]:
        pack = _packs[key] = Pack(states, [*views])
    return pack


def may_stand(state: Any) -> bool:
    """Whether a State can hold a place: it is one of ours that keeps its value as `State` does."""
    from .state import State

    kind = type(state)
    plain = isinstance(state, State) and kind.peek is State.peek and kind.accept is State.accept
    return plain and kind.value is State.value and not state._watched  # pyright: ignore


def release_all(values: Sequence[Any]) -> bool:
    """Take all States out whose places are among the values; tell whether there are any."""
    packs = {value.pack for value in values if type(value) is Place}
    for pack in packs:
        pack.release()
    return bool(packs)
