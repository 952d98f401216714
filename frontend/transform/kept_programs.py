"""The programs that a compiled function keeps: by signature, and by what else they depend on."""

from __future__ import annotations

import functools
import itertools
import weakref
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import jax

from ..capture import Cell, Handle, View, view_of
from ..errors import TraceContextError
from ..program import strong

PROGRAMS = 128
"""How many programs of one function stay compiled, the least recently used go first."""

FLEETING = 2
"""How many of one signature stay that hold large arrays, or traced values, of the environment."""


class Keepable(Protocol):
    """What is asked of a program that is kept.

    Attributes
    ----------
    views : mapping of Handle to View
        How it expects the States that it uses.
    fleeting : bool
        Whether it holds what a caller may well have dropped by the next call.
    used : int
        When it was last found.
    """

    views: dict[Handle, View]
    fleeting: bool
    used: int

    def usable(self) -> bool:
        """Whether all that it depends on is as it was, what `guard` did not name apart."""
        ...

    def hopeless(self) -> bool:
        """Whether it can never be usable again."""
        ...

    def fits(self) -> bool:
        """Whether all States look as it expects them."""
        ...

    def guard(self, handles: Iterable[Handle]) -> None:
        """Let `usable` look at the types of some States, too."""
        ...


Key = tuple[Hashable, Hashable]

K = TypeVar("K", bound=Keepable)


class KeptPrograms(Generic[K]):
    """A bounded table of programs, several to a signature.

    Of one signature there may be a program for each of the values of the environment, the types
    of States and the arrangements of a model's parts under which it was called. Whoever adds must
    hold a lock; anybody may search at any time, and a program goes by itself as soon as one of its
    States is gone.

    A signature is a pair, of which the first says in which group it is: what was asked of the
    compiler.

    Parameters
    ----------
    forgotten : weakref.WeakMethod
        What is told of each program that goes.
    """

    def __init__(self, forgotten: weakref.WeakMethod[Callable[[K], None]]) -> None:
        self._table: dict[Key, list[K]] = {}
        self._mourners: dict[int, list[weakref.ref[Any]]] = {}
        self._clock = itertools.count(1)
        self._forgotten = forgotten

    def __len__(self) -> int:
        return sum(map(len, tuple(self._table.values())))

    def signatures(self, group: Hashable) -> int:
        """How many signatures of a group there are programs for."""
        return sum(key[0] == group for key in tuple(self._table))

    def known(self) -> list[Key]:
        """Return the signatures of which there are programs."""
        return list(self._table)

    def find(self, key: Key, unlike: K | None = None) -> K | None:
        """Return a program of a signature whose assumptions hold now, the latest first.

        If one was tried and did not fit, ``unlike`` names it, and types of States are compared.
        """
        for program in sorted(self._table.get(key, ()), key=_by_use, reverse=True):
            if program is not unlike and program.usable() and (unlike is None or program.fits()):
                program.used = next(self._clock)
                return program
        return None

    def find_any(self, group: Hashable) -> K | None:
        """Return a program of whatever signature of a group whose assumptions hold now."""
        for key in tuple(self._table):
            found = self.find(key) if key[0] == group else None
            if found is not None:
                return found
        return None

    def add(self, key: Key, program: K) -> None:
        """Keep a program, and let go of those that were not used for the longest time."""
        kept = self._table.setdefault(key, [])
        program.used = next(self._clock)
        kept.append(program)
        self._forget_with(program, key)
        _guard(kept)
        fleeting = sorted((p for p in kept if p.fleeting), key=_by_use)
        for old in (*fleeting[:-FLEETING], *(p for p in kept if p.hopeless())):
            self._remove(key, old)
        while len(self) > PROGRAMS:
            self._remove(*min(self._pairs(), key=lambda pair: pair[1].used))
        for empty in [k for k, programs in self._table.items() if not programs]:
            del self._table[empty]

    def clear(self) -> None:
        """Forget every program."""
        self._table.clear()
        self._mourners.clear()

    def _pairs(self) -> list[tuple[Key, K]]:
        return [(key, program) for key, kept in self._table.items() for program in kept]

    def _remove(self, key: Key, program: K) -> None:
        """Forget one program; needs no lock, since lists and dictionaries do these in one step."""
        try:
            self._table.get(key, []).remove(program)
        except ValueError:
            return  # it went before
        self._mourners.pop(id(program), None)
        forgotten = self._forgotten()
        if forgotten is not None:
            forgotten(program)

    def _forget_with(self, program: K, key: Key) -> None:
        """Forget a program when one of its States goes, since nothing can call it any more."""
        lost = functools.partial(_lost, weakref.ref(self), key, weakref.ref(program))
        states = (handle.reference() for handle in program.views)
        self._mourners[id(program)] = [weakref.ref(s, lost) for s in states if s is not None]


def _lost(kept: Any, key: Key, program: Any, _: Any) -> None:
    table, gone = kept(), program()
    if table is not None and gone is not None:
        table._remove(key, gone)


def _by_use(program: Keepable) -> int:
    return program.used


def _guard(programs: Sequence[Keepable]) -> None:
    """Let programs that differ in what they expect of States look at these States.

    All others need not: JAX compares the types of what it is given anyway.
    """
    first: dict[Handle, View] = {}
    different: set[Handle] = set()
    for program in programs:
        for handle, view in program.views.items():
            if not alike(first.setdefault(handle, view), view):
                different.add(handle)
    for program in programs:
        program.guard(different & program.views.keys())


# --- what States look like ------------------------------------------------------------------------


def alike(view: View, other: View) -> bool:
    """Whether two views of a State are of one structure, and of the same shapes and dtypes."""
    return view.tree == other.tree and view.same_types(other)


@functools.cache
def array_type() -> type:
    """Return the class of arrays that are not traced; asking starts JAX's backend."""
    with jax.ensure_compile_time_eval():
        return type(jax.numpy.zeros(()))


def looks_like(reference: weakref.ref[Cell], view: View) -> bool:
    """Whether a State has the structure, the shapes and the dtypes of a view."""
    state = reference()
    if state is None:
        return False
    value = state.peek()
    if type(value) is array_type():  # by far the most are one array
        aval = view.avals[0]
        alone = view.tree == _ONE_ARRAY
        return alone and value.shape == aval.shape and value.dtype == aval.dtype
    try:
        return alike(view_of(state), view)
    except (TypeError, ValueError, TraceContextError):
        return False  # it holds what tracing will refuse, in more words


_ONE_ARRAY = jax.tree.structure(0)


def without_weak_types(value: Any, view: View) -> Any:
    """Return what a State holds with arrays in place of numbers of weak types.

    A program leaves an array where it found a number, for which JAX would compile it once more.
    Values that do not look like the view are for another program, and stay as they are.
    """
    leaves, tree = jax.tree.flatten(value)
    try:
        if tree != view.tree or not same_avals(leaves, view.avals, weak=False):
            return value
    except TypeError:
        return value  # it holds what tracing will refuse, in more words
    pairs = zip(leaves, view.avals, strict=True)
    return jax.tree.unflatten(tree, [strong(*pair) for pair in pairs])


def is_one_array(view: View) -> bool:
    """Whether a State of such a view holds one array, and no container."""
    return view.tree == _ONE_ARRAY


def same_avals(leaves: Sequence[Any], avals: Sequence[Any], weak: bool) -> bool:
    """Whether arrays have the shapes and dtypes of avals; weak types count if asked for."""
    found = map(jax.typeof, leaves)
    return all(
        a.shape == b.shape and a.dtype == b.dtype and (not weak or a.weak_type == b.weak_type)
        for a, b in zip(found, avals, strict=True)
    )
