"""Programs: captured graphs, the executables they become, and running them on real States.

Executables are found by the fingerprint of the captured graph. A transformation that is used
outside `jit` is traced again at every call, since its Python may mean something else by then, but
neither the passes nor XLA see a graph twice.
"""

from __future__ import annotations

import gc
import threading
from collections import OrderedDict
from collections.abc import Callable, Container, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import brainunit
import jax
import numpy as np

from ..backends import shape_struct, type_of, xla
from ..ir import (
    Const,
    Graph,
    NotDifferentiable,
    StateVar,
    fingerprint,
    manual_axes,
    touched_by,
)
from ..passes import (
    FOREIGN_PIPELINE,
    PIPELINE,
    SHARDED_PIPELINE,
    LaneDependentResult,
    LaneDependentWrite,
    Observer,
    run_pipeline,
)
from . import environ
from .capture import (
    Frame,
    Handle,
    View,
    aval_of,
    current_frame,
    new_frame,
    trace_within,
    view_of,
)
from .containers import is_container, merge
from .errors import BatchAxisError
from .importer import import_traced, unit_name
from .state import in_foreign_trace, reject_states

FOREIGN_ORDER = 2
"""Up to which order somebody else's ``jax.grad`` finds our custom derivatives."""

CACHED = 512
"""How many executables are kept; the least recently used go first."""


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """One state of a program's graph, and the State that it stands for.

    A State that changes its type in the program has a slot for each type; ``before`` is how the
    program finds the State, ``after`` how it leaves it, and ``final`` says whether it leaves it in
    this slot. ``in_place`` says that it keeps its container, as far as that can be changed.
    """

    var: StateVar
    handle: Handle
    before: View
    after: View
    final: bool
    in_place: bool = False

    def entry_leaves(self, leaves: Sequence[Any]) -> list[Any]:
        """Return what the program is given for this slot, from the leaves that the State holds.

        A slot of a type that the State only gets later is written before it is read, so zeros do.
        """
        if tuple(type_of(a) for a in self.before.avals) == self.var.types:
            return [*map(_strong, leaves, self.before.avals)]
        return [np.zeros(s.shape, s.dtype) for s in map(shape_struct, self.var.types)]


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A captured function: its graph, and what connects that to Python.

    Attributes
    ----------
    graph : Graph
        As captured; no pass has run.
    slots : tuple of Slot
        One for each of the graph's states.
    in_tree, in_avals, out_tree, out_avals
        Structure and leaves of the arguments and of the result.
    reads : environ.Reads
        What was read of the environment while tracing.
    foreign : bool
        Whether somebody else's JAX transformation was under way: it may come to need custom
        derivatives.
    custom : bool
        Whether there are custom derivatives, so that it matters who differentiates it.
    """

    graph: Graph
    slots: tuple[Slot, ...]
    in_tree: Any
    in_avals: tuple[Any, ...]
    out_tree: Any
    out_avals: tuple[Any, ...]
    reads: environ.Reads
    foreign: bool
    custom: bool

    def consts(self, chosen: Sequence[int]) -> list[Any]:
        """Return the data of some of the graph's consts."""
        return [self.graph.consts[i].data for i in chosen]

    @property
    def key(self) -> Hashable:
        """What an executable of this program is found by."""
        return fingerprint(self.graph), self.foreign, is_wide(), is_sharded()

    @property
    def has_io(self) -> bool:
        """Whether running it talks to the host, so that it can fail there."""
        return touched_by(self.graph).io

    def changed_in_place(self) -> frozenset[Handle]:
        """Return the States of which the program changes the container that they hold."""
        return frozenset(slot.handle for slot in self.slots if slot.final and slot.in_place)

    def state_leaves(self) -> list[Any]:
        """Return the present leaves of all States, as an executable takes them."""
        return [
            leaf
            for slot in self.slots
            for leaf in slot.entry_leaves(jax.tree.leaves(slot.handle.state.peek()))
        ]

    def written_values(
        self, written: Sequence[int], leaves: Sequence[Any]
    ) -> list[tuple[Handle, Any]]:
        """Return what States are left with, from the leaves of the ``written`` slots.

        Those of `changed_in_place` are to be merged into what they hold.
        """
        values: list[tuple[Handle, Any]] = []
        start = 0
        for slot in (self.slots[i] for i in written):
            stop = start + len(slot.var.types)
            if slot.final:
                value = jax.tree.unflatten(slot.after.tree, leaves[start:stop])
                values.append((slot.handle, value))
            start = stop
        return values


def is_wide() -> bool:
    """Whether JAX has 64-bit numbers."""
    return jax.config.jax_enable_x64  # pyright: ignore[reportAttributeAccessIssue]


def is_sharded() -> bool:
    """Whether the body of a ``jax.shard_map`` is being traced."""
    return manual_axes.is_manual(jax)


def capture(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    name: str,
    names: Sequence[str] | None = None,
) -> Program:
    """Trace ``function(*args)`` into a program; no State changes.

    Parameters
    ----------
    function, args
        What to call, with arrays or values that have a shape and a dtype.
    name : str
        What the graph is called.
    names : sequence of str, optional
        What the graph calls the arguments; by default as the function's own parameters.

    Raises
    ------
    ValueError
        If an argument or the result is a State.
    TypeError
        If an argument or result is not an array.
    """
    reject_states(f"an argument of {name}", args)
    leaves, in_tree = jax.tree.flatten(args)
    avals = tuple(argument_aval(name, leaf) for leaf in leaves)
    foreign = in_foreign_trace()
    with environ.watch() as reads, new_frame() as frame:
        traced = trace_within(frame, function, jax.tree.unflatten(in_tree, avals), names)
        # Custom derivative rules are Python that runs now, so States must still be captured.
        imported = import_traced(traced, name, rules=FOREIGN_ORDER if foreign else 0)
        graph = imported.graph
        slots = tuple(_slot(var, imported.handles[var], frame) for var in graph.states)
    graph = graph.with_(
        param_units=_units(in_tree, avals),
        result_units=_units(traced.out_tree, traced.out_avals),
    )
    return Program(
        graph,
        slots,
        in_tree,
        avals,
        traced.out_tree,
        traced.out_avals,
        reads,
        foreign,
        imported.custom,
    )


def _slot(var: StateVar, handle: Handle, frame: Frame) -> Slot:
    after = frame.view(handle)
    final = tuple(type_of(a) for a in after.avals) == var.types
    in_place = is_container(handle.state.peek()) and handle not in frame.held.assigned
    return Slot(var, handle, view_of(handle.state), after, final, in_place)


def argument_aval(name: str, leaf: Any) -> Any:
    """Return the type of an argument, or of a part of one, of the function of that name.

    Raises
    ------
    TypeError
        If it is not an array.
    """
    try:
        return aval_of(leaf)
    except TypeError:
        shown = f" ({leaf!r})" if isinstance(leaf, str | bytes | type) else ""
        raise TypeError(
            f"an argument of {name} is a {type(leaf).__name__}{shown}; arguments are arrays or "
            "containers of them (make it static, or close over it)"
        ) from None


def _units(tree: Any, avals: Sequence[Any]) -> tuple[str | None, ...]:
    """Return the unit of every leaf that a Quantity holds; nothing if there is none."""
    value = jax.tree.unflatten(tree, avals)
    units: list[str | None] = []
    for item in jax.tree.leaves(value, is_leaf=lambda x: isinstance(x, brainunit.Quantity)):
        units.extend([unit_name(item)] * len(jax.tree.leaves(item)))
    return tuple(units) if any(units) else ()


# --- executables
# --------------------------------------------------------------------------------------


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
    consts : tuple of int
        Which of the program's consts the graph still takes, in that order.
    io : bool
        Whether running it talks to the host, so that it can fail there.
    """

    graph: Graph
    written: tuple[int, ...]
    consts: tuple[int, ...]
    executable: xla.Executable
    io: bool


class ExecutableCache:
    """A bounded table of compiled programs; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._table: OrderedDict[Hashable, Compiled] = OrderedDict()

    def find(self, key: Hashable, make: Callable[[], Compiled]) -> Compiled:
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
    """Run the passes on a program's graph.

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
    NotImplementedError
        If a gradient goes through an operation that has none.
    """
    return optimise_graph(program.graph, program.foreign, observers, until)


def optimise_graph(
    graph: Graph,
    foreign: bool = False,
    observers: Sequence[Observer] = (),
    until: str | None = None,
) -> Graph:
    """Run passes, and put what they refuse into the classes that users know; see `optimise`."""
    passes = SHARDED_PIPELINE if is_sharded() else FOREIGN_PIPELINE if foreign else PIPELINE
    try:
        return run_pipeline(graph, passes, observers=observers, until=until)
    except LaneDependentWrite as error:
        raise BatchAxisError(str(error)) from None
    except LaneDependentResult as error:
        raise ValueError(str(error)) from None
    except NotDifferentiable as error:
        kind = ValueError if isinstance(error, ValueError) else NotImplementedError
        raise kind(str(error)) from None


Listener = Callable[[Program], None]

listeners: list[Listener] = []
"""Told of every program that is about to be compiled; how tools look on."""


def compile_program(program: Program) -> Compiled:
    """Run the passes on a program, and leave the rest to XLA at the first call."""
    for listener in tuple(listeners):
        listener(program)
    positions = {slot.var: i for i, slot in enumerate(program.slots)}
    with _garbage_left_lying():
        graph = optimise_graph(program.graph, program.foreign)
    written = tuple(positions[var] for var in graph.writes)
    places = {const.value: i for i, const in enumerate(program.graph.consts)}
    used = tuple(places[const.value] for const in graph.consts)
    graph = graph.with_(consts=tuple(Const(const.value) for const in graph.consts))
    options = {} if program.foreign else xla.OPTIONS
    executable = xla.compile(graph, options=options)
    return Compiled(graph, written, used, executable, program.has_io)


@contextmanager
def _garbage_left_lying() -> Iterator[None]:
    """Put off garbage collection, which in the midst of passes goes through all that JAX holds.

    Passes make many small objects, of which most stay; a third of their time would be collection.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def find_compiled(program: Program) -> Compiled:
    """Compile a program, unless that was done for an equal graph before."""
    return executables.find(program.key, lambda: compile_program(program))


def run_once(function: Callable[..., Any], *args: Any, name: str) -> Any:
    """Capture a function, run it, and give its States their new values.

    Nothing is written before everything has succeeded.
    """
    program = capture(function, args, name)
    pairs = zip(jax.tree.leaves(args), program.in_avals, strict=True)
    given = [_strong(leaf, aval) for leaf, aval in pairs]
    compiled = find_compiled(program)
    outs = compiled.executable.function(
        *given, *program.state_leaves(), *program.consts(compiled.consts)
    )
    if compiled.io:
        jax.block_until_ready(outs)
    count = len(program.out_avals)
    result = jax.tree.unflatten(program.out_tree, outs[:count])
    values = program.written_values(compiled.written, outs[count:])
    give_back(values, program.foreign, program.changed_in_place())
    return result


def _strong(leaf: Any, aval: Any) -> Any:
    """Return a Python number as an array, so that JAX need not compile again for its weak type."""
    return leaf if hasattr(leaf, "dtype") else np.asarray(leaf, aval.dtype)


def give_back(
    values: Sequence[tuple[Handle, Any]], foreign: bool, in_place: Container[Handle] = ()
) -> None:
    """Give States their new values, after all of them are known to be acceptable.

    Those ``in_place`` keep their containers, so that whoever holds one sees what was changed.
    """
    pairs = [(handle.state, value) for handle, value in values]
    if foreign:
        for state, value in pairs:
            state.check_writable(value)
    for state, value in pairs:
        state.accept(merge(state.peek(), value) if state.handle in in_place else value)


def in_capture(function: Callable[..., Any], *args: Any, name: str) -> Any:
    """Run ``function(*args)``, which binds a region: in the capture under way, or in one of its
    own."""
    if current_frame() is not None:
        reject_states(f"an argument of {name}", args)
        return function(*args)
    return run_once(function, *args, name=name)
