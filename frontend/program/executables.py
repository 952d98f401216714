"""What programs become: passes run over their graphs, and executables that are found again.

Executables are found by the fingerprint of the captured graph. A transformation that is used
outside `jit` is traced again at every call, since its Python may mean something else by then, but
neither the passes nor a backend see a graph twice.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...backends import (
    Around,
    Backend,
    Executable,
    backend_named,
    without_garbage_collection,
)
from ...ir import Const, Graph, NotDifferentiable
from ...passes import (
    FOREIGN_PIPELINE,
    PIPELINE,
    SHARDED_PIPELINE,
    LaneDependentResult,
    LaneDependentWrite,
    Observer,
    Options,
    PackedStates,
    pack_alike,
    pack_states,
    run_pipeline,
)
from ..errors import BatchAxisError
from ..options import in_force, pipeline_for
from ..state import in_foreign_trace
from .homes import Homes, keep_homes
from .programs import Program, is_sharded

CACHED = 512
"""How many executables are kept; the least recently used go first."""


class PackedSlots(NamedTuple):
    """Slots of which the values stand in one array, and whether the program leaves another one."""

    slots: tuple[int, ...]
    written: bool


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """What the passes made of a program, without the data of any model.

    Attributes
    ----------
    graph : Graph
        A function of the arguments and the leaves of all states, to the results and the leaves of
        the written states.
    written : tuple of int
        Which of the program's slots those are, in that order.
    held : tuple of int
        Of which slots it takes the leaves.
    packs : tuple of PackedSlots
        Of which slots it takes, and may give, one array, after all others.
    consts : tuple of int
        Which of the program's consts the graph still takes, in that order.
    io : bool
        Whether running it talks to the host, so that it can fail there.
    foreign : bool
        Whether it runs while somebody else's JAX transformation traces.
    backend : Backend
        What runs it.
    homes : tuple of NamedSharding or None
        How each result of the graph is to be spread over devices; empty if nothing says so.
    """

    graph: Graph
    written: tuple[int, ...]
    held: tuple[int, ...]
    packs: tuple[PackedSlots, ...]
    consts: tuple[int, ...]
    io: bool
    foreign: bool
    backend: Backend
    homes: Homes = ()

    def executable(
        self, donate: Sequence[int | str] = (), around: Around | None = None
    ) -> Executable:
        """Return an executable of the graph; see `Backend.compile`."""
        donated = donate if self.backend.donates else ()
        homes, outer = self.homes, around or (lambda flat: flat)
        if homes:
            around = lambda flat: outer(keep_homes(flat, homes))  # noqa: E731
        return self.backend.compile(self.graph, donate=donated, around=around)


@dataclass(slots=True, eq=False)
class Runnable:
    """A compiled program, and the function of flat arrays that its backend makes of it.

    Before States get new values, whoever runs it ``waits`` for those: what talks to the host may
    fail there, and what takes long may be interrupted.
    """

    compiled: Compiled
    function: Callable[..., Sequence[Any]]
    waits: bool
    new: bool = True

    def run(self, *arrays: Any) -> Sequence[Any]:
        """Run it, which for the first time lowers and compiles it, too."""
        if not self.new or self.compiled.io:  # what talks to the host runs Python, maybe for long
            return self.function(*arrays)
        with without_garbage_collection():
            results = self.function(*arrays)
        self.new = False
        return results


class ExecutableCache:
    """A bounded table of compiled programs; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._table: OrderedDict[Hashable, Runnable] = OrderedDict()

    def find(self, key: Hashable, make: Callable[[], Runnable]) -> Runnable:
        """Return what is kept for the key, or make it."""
        with self._lock:
            found = self._table.get(key)
            if found is not None:
                self._table.move_to_end(key)
                return found
        made = make()
        with self._lock:
            self._table[key] = made
            while len(self._table) > CACHED:
                self._table.popitem(last=False)
        return made

    def clear(self) -> None:
        """Forget every executable."""
        with self._lock:
            self._table.clear()

    def __len__(self) -> int:
        return len(self._table)


executables = ExecutableCache()


def optimise(
    program: Program, observers: Sequence[Observer] = (), until: str | None = None
) -> Graph:
    """Run the passes on a program's graph, those that its options ask for.

    Parameters
    ----------
    program : Program
        Its graph is what the first pass gets.
    observers : sequence of callable
        Called after every pass; see `brainir.passes.run_pipeline`.
    until : str, optional
        The pass to stop after; ``"capture"`` runs none.

    Raises
    ------
    BatchAxisError
        If a State inside ``vmap`` is written with a value that depends on the lane.
    ValueError
        If there is no such pass, a result of ``vmap`` that should not depends on the lane, or a
        gradient goes through a ``while_loop``.
    TypeError
        If a tangent is pushed into a function that has a rule for reverse mode only.
    NotImplementedError
        If a gradient goes through an operation that has none.
    """
    return optimise_graph(program.graph, program.foreign, observers, until, program.options)


def optimise_graph(
    graph: Graph,
    foreign: bool = False,
    observers: Sequence[Observer] = (),
    until: str | None = None,
    options: Options | None = None,
) -> Graph:
    """Run passes, and put what they refuse into the classes that users know; see `optimise`.

    They are those that the options ask for; without any, that those in force do.
    """
    base = SHARDED_PIPELINE if is_sharded() else FOREIGN_PIPELINE if foreign else PIPELINE
    passes = pipeline_for(options or in_force.options, base)
    with refusals(), without_garbage_collection():
        return run_pipeline(graph, passes, observers=observers, until=until)


@contextmanager
def refusals() -> Iterator[None]:
    """Put what passes refuse into the classes that users know; see `optimise`."""
    try:
        yield
    except LaneDependentWrite as error:
        raise BatchAxisError(str(error)) from None
    except LaneDependentResult as error:
        raise ValueError(str(error)) from None
    except NotDifferentiable as error:
        kinds = [kind for kind in (ValueError, TypeError) if isinstance(error, kind)]
        raise (*kinds, NotImplementedError)[0](str(error)) from None


Listener = Callable[[Program], Backend | None]


listeners: list[Listener] = []
"""Told of every program that is about to be compiled; how tools look on.

One that wants to look on while it runs, too, returns a backend that is to run it.
"""


def compile_program(program: Program, apart: Collection[int] | None = None) -> Compiled:
    """Run the passes on a program, and leave the rest to its backend.

    Small States that are computed alike are packed, but for those of the slots that are to stand
    ``apart``; if that is None, all of them are.
    """
    backend = backend_named(program.options.backend)
    for listener in tuple(listeners):
        backend = listener(program) or backend
    positions = {slot.var: i for i, slot in enumerate(program.slots)}
    with without_garbage_collection():
        graph = optimise_graph(program.graph, program.foreign, options=program.options)
        found = PackedStates(graph, {}) if apart is None else _packed(program, graph, apart)
    graph, members = found.graph, found.packs
    packs = [
        PackedSlots(tuple(positions[s] for s in inside), pack in graph.writes)
        for pack, inside in members.items()
    ]
    written = tuple(positions[var] for var in graph.writes if var not in members)
    held = tuple(positions[var] for var in graph.states if var not in members)
    places = {const.value: i for i, const in enumerate(program.graph.consts)}
    used = tuple(places[const.value] for const in graph.consts)
    graph = graph.with_(consts=tuple(Const(const.value) for const in graph.consts))
    io, foreign = program.has_io, program.foreign
    homes = _homes_left(program, written, len(graph.results))
    return Compiled(graph, written, held, tuple(packs), used, io, foreign, backend, homes)


def _homes_left(program: Program, written: Sequence[int], count: int) -> Homes:
    """Return how each of so many results is to be spread: those of States as these are now."""
    slots = [program.slots[i] for i in written]
    if program.foreign or is_sharded() or not any(slot.homes for slot in slots):
        return ()
    left = [home for slot in slots for home in slot.homes_left]
    before = len(program.out_avals)
    return *[None] * before, *left, *[None] * (count - before - len(left))


def _packed(program: Program, graph: Graph, apart: Collection[int]) -> PackedStates:
    """Pack States as the options of `pack_alike` say."""
    for step in pipeline_for(program.options, PIPELINE):
        if step.function is pack_alike:
            return pack_states(graph, **step.options, apart={program.slots[i].var for i in apart})
    return PackedStates(graph, {})


def outermost(executable: Executable, backend: Backend) -> Callable[..., Any]:
    """Return what runs an executable where nobody traces, and says so where somebody does.

    A backend that can be traced finds that out by itself, in no time.
    """
    if backend.traceable:
        return executable.function

    def function(*args: Any, **kwargs: Any) -> Any:
        run = executable.inside if in_foreign_trace() else executable.function
        return run(*args, **kwargs)

    return function


def find_runnable(program: Program) -> Runnable:
    """Compile a program, unless that was done for an equal graph, and equal options, before."""
    return executables.find(program.key, lambda: _make_runnable(program))


def _make_runnable(program: Program) -> Runnable:
    compiled = compile_program(program)
    executable = compiled.executable()
    function = executable.inside if compiled.foreign else executable.function
    return Runnable(compiled, function, compiled.io or executable.long)
