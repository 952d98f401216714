"""Programs: captured graphs, and what connects them to Python."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import brainunit
import jax
import numpy as np
from jax.core import Tracer

from ...backends import backend_named, shape_struct, type_of, without_garbage_collection
from ...ir import Graph, StateVar, fingerprint, manual_axes, touched_by
from ...passes import Options
from .. import environ
from ..capture import (
    Checks,
    Frame,
    Handle,
    View,
    aval_of,
    import_traced,
    is_container,
    new_frame,
    reject_states,
    trace_within,
    unit_name,
    view_of,
)
from ..options import in_force
from ..state import in_foreign_trace
from .homes import Homes, homes_of

FOREIGN_ORDER = 2
"""Up to which order somebody else's ``jax.grad`` finds our custom derivatives."""


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """One state of a program's graph, and the State that it stands for.

    A State that changes its type in the program has a slot for each type; ``before`` is how the
    program finds the State, ``after`` how it leaves it, and ``final`` says whether it leaves it in
    this slot. ``in_place`` says that it keeps its container, as far as that can be changed.
    ``homes`` says how it was spread over devices when this was captured.
    """

    var: StateVar
    handle: Handle
    before: View
    after: View
    final: bool
    in_place: bool = False
    homes: Homes = ()

    @property
    def homes_left(self) -> Homes:
        """How the program leaves it spread: as it was, if it has the shapes that it had."""
        shapes = [[a.shape for a in view.avals] for view in (self.before, self.after)]
        same = self.final and shapes[0] == shapes[1]
        return self.homes if self.homes and same else (None,) * len(self.var.types)

    def entry_leaves(self, leaves: Sequence[Any]) -> list[Any]:
        """Return what the program is given for this slot, from the leaves that the State holds.

        A slot of a type that the State only gets later is written before it is read, so zeros do.
        """
        if tuple(type_of(a) for a in self.before.avals) == self.var.types:
            return [*map(strong, leaves, self.before.avals)]
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
    checks : Checks
        What is checked while it runs: whoever has run it asks them, before States get new values.
    options : Options
        What was asked of the compiler where it was captured.
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
    checks: Checks
    options: Options

    def consts(self, chosen: Sequence[int]) -> list[Any]:
        """Return the data of some of the graph's consts."""
        return [self.graph.consts[i].data for i in chosen]

    @property
    def key(self) -> Hashable:
        """What an executable of this program is found by."""
        backend = backend_named(self.options.backend)
        numbers = fingerprint(self.graph), self.foreign, is_wide(), is_sharded()
        return *numbers, self.options, backend, tuple(slot.homes for slot in self.slots)

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

    def checked(self, values: Sequence[tuple[Handle, Any]]) -> list[tuple[Handle, Any]]:
        """Return what is for States, of what a run leaves, or raise what a check of it found."""
        if self.checks:
            self.checks.passed(dict(values))
        return [pair for pair in values if pair[0].kind != "check"]


def strong(leaf: Any, aval: Any) -> Any:
    """Return a number without its weak type, for which JAX would compile once more."""
    if not hasattr(leaf, "dtype"):
        return np.asarray(leaf, aval.dtype)
    is_weak = getattr(leaf, "weak_type", False) and not isinstance(leaf, Tracer)
    return jax.lax.convert_element_type(leaf, aval.dtype) if is_weak else leaf


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
    *,
    foreign: bool | None = None,
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
    foreign : bool, optional
        Whether somebody else may differentiate it; by default, whether somebody else is tracing.

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
    foreign = in_foreign_trace() if foreign is None else foreign
    with without_garbage_collection(), environ.watch() as reads, new_frame() as frame:
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
        imported.checks,
        in_force.options,
    )


def _slot(var: StateVar, handle: Handle, frame: Frame) -> Slot:
    after = frame.view(handle)
    final = tuple(type_of(a) for a in after.avals) == var.types
    value, before = handle.state.peek(), view_of(handle.state)
    in_place = is_container(value) and handle not in frame.held.assigned
    return Slot(var, handle, before, after, final, in_place, homes_of(value))


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
