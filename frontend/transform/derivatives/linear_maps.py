"""Functions that were called, as linear maps: in a capture, or as plain Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ....ir import Graph, StateVar
from ....passes import pullback
from ...capture import (
    Handle,
    Region,
    Traced,
    aval_of,
    bind_here,
    bind_region,
    leave,
    state_ref,
    trace,
)
from ...program import evaluate
from .. import plain
from ..binding import frame_here, strong, with_shape
from .nonfinite import Origin
from .wanted import Source, Wanted

Function = Callable[[tuple[Any, ...], Mapping[str, Any]], tuple[Any, Any]]
"""Called with arguments and keyword arguments, it returns what is differentiated, and the rest."""

Examine = Callable[[Any], None]
"""Raises unless what is differentiated, of which it is told the types, can be."""


class Captured:
    """A function that was traced: each of its products is a region in the capture under way.

    Attributes
    ----------
    results, sources : list
        The types of what is differentiated, and of what it is by.
    by_states, by_arguments : list of Source
        Where these come from.
    outcome : tuple
        What the function returned, once a product was asked for.
    """

    def __init__(
        self,
        function: Function,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        wanted: Wanted,
        examine: Examine,
        name: str,
        debug_nan: bool = False,
    ) -> None:
        self._frame, self._name = frame_here(), name
        self._debug_nan = debug_nan
        self._origin: Origin | None = None
        self._leaves, tree = jax.tree.flatten((args, kwargs))
        self._avals = [aval_of(x) for x in self._leaves]
        whole: Any = jax.tree.unflatten(tree, self._avals)
        self.body: Traced = trace(function, whole, names=["args", "kwargs"])
        losses, _ = jax.tree.unflatten(self.body.out_tree, self.body.out_avals)
        examine(losses)
        self.results = jax.tree.leaves(losses)
        self.sources: list[Any] = []
        self.by_states = self._states(wanted)
        self._arguments: list[int] = []
        self.by_arguments = self._chosen(args, whole[0], wanted)
        self.outcome: Any = None

    def _states(self, wanted: Wanted) -> list[Source]:
        """Note the States that the function touches; each is entered once."""
        frame, found = self._frame, dict[Any, Source]()
        self._refs = list[Any]()
        for state in wanted.states:
            handle = frame.resolve(state.handle)
            if handle in found:
                continue
            view, places = frame.view(handle), None
            if handle in self.body.frame.touched:
                places = self._places(view.avals)
                self._refs.append(state_ref(handle, view))
            found[handle] = Source(jax.tree.unflatten(view.tree, view.avals), places)
        return [found[frame.resolve(state.handle)] for state in wanted.states]

    def _chosen(self, args: Sequence[Any], avals: Sequence[Any], wanted: Wanted) -> list[Source]:
        starts = [0]
        for arg in args:
            starts.append(starts[-1] + len(jax.tree.leaves(arg)))
        found: list[Source] = []
        for i in wanted.chosen:
            self._arguments.extend(range(starts[i], starts[i + 1]))
            found.append(Source(avals[i], self._places(jax.tree.leaves(avals[i]))))
        return found

    def _places(self, avals: Sequence[Any]) -> tuple[int, ...]:
        start = len(self.sources)
        self.sources.extend(map(strong, avals))
        return tuple(range(start, len(self.sources)))

    def pull(
        self,
        seeds: Sequence[Any] = (),
        lanes: int | None = None,
        memory: int | float | None = None,
    ) -> list[Any]:
        """Return gradients by each source; see `LinearMap`."""
        count = len(self.sources)
        outs = (*in_lanes(self.sources, lanes), *self.body.out_avals)
        attrs = {"losses": len(self.results), "memory": memory}
        results = self._bind("grad", attrs, seeds, lanes, outs)
        self._finish(results[count:])
        return results[:count]

    def push(self, tangents: Sequence[Any], lanes: int | None = None) -> list[Any]:
        """Return how each result moves; see `LinearMap`."""
        count = len(self.body.out_avals)
        outs = (*self.body.out_avals, *in_lanes([*map(strong, self.body.out_avals)], lanes))
        results = self._bind("jvp", {}, tangents, lanes, outs)
        self._finish(results[:count])
        return results[count : count + len(self.results)]

    def keep(self) -> tuple[Graph, list[Any]]:
        """Run the function, and return its reverse, with the arrays that this takes first.

        The reverse is a graph that takes them, and then cotangents of those results that can be
        differentiated. It yields gradients by each source that it has a parameter for.
        """
        reverse: list[Graph] = []
        kept: list[Any] = []

        def run(spec: Region, *operands: Any) -> list[Any]:
            def split(graph: Graph, handles: Mapping[StateVar, Handle]) -> Graph:
                places = self._positions(spec, len(operands), graph, handles)
                self._leave_out([i for i, place in enumerate(places) if place is None])
                wrt = [place for place in places if place is not None]
                function, later = pullback(graph, wrt, smooth_ones(self.results))
                reverse.append(later)
                return function

            results = evaluate(spec, *operands, rewrite=split)
            kept.extend(results[len(spec.avals) :])
            return results[: len(spec.avals)]

        operands = self._operands()
        spec = Region("call", {}, (self.body,), len(operands), self.body.out_avals, self._name)
        self._finish(bind_region(spec, operands, by=run))
        return reverse[0], kept

    def _positions(
        self, spec: Region, operands: int, graph: Graph, handles: Mapping[StateVar, Handle]
    ) -> list[int | None]:
        """Return which parameters of the graph of a region the sources are.

        It takes the operands, with the leaves of States that are local to it last, and then those
        of all other States. A State that is only written, as something of another type, is none.
        """
        starts: dict[Any, int] = {}
        start = operands - sum(count for _, count in spec.local)
        for handle, count in spec.local:
            starts[handle], start = start, start + count
        for var in graph.states:
            starts.setdefault((handles[var], var.types), start)
            start += len(var.types)
        found: list[int | None] = []
        for ref in self._refs:
            first = starts.get(ref.handle, starts.get((ref.handle, ref.types)))
            count = len(ref.types)
            found.extend([None] * count if first is None else range(first, first + count))
        return [*found, *self._arguments]

    def _leave_out(self, unused: Sequence[int]) -> None:
        """Forget sources by which there is no derivative."""
        kept = [i for i in range(len(self.sources)) if i not in unused]
        place = {old: new for new, old in enumerate(kept)}
        self.sources = [self.sources[i] for i in kept]
        self.by_states = [source.moved(place) for source in self.by_states]
        self.by_arguments = [source.moved(place) for source in self.by_arguments]

    def _bind(
        self,
        op: str,
        attrs: Mapping[str, Any],
        directions: Sequence[Any],
        lanes: int | None,
        outs: tuple[Any, ...],
    ) -> list[Any]:
        operands = [*self._operands(), *directions]
        where = {"wrt": tuple(self._arguments), "states": tuple(self._refs)}
        full = {**where, **attrs, "lanes": lanes}
        spec = Region(op, full, (self.body,), len(operands), outs, self._name)
        return bind_region(spec, operands, by=self._watched if self._debug_nan else None)

    def _watched(self, spec: Region, *operands: Any) -> list[Any]:
        """Bind a region, and note where it stands, for `checked`."""
        self._origin = Origin.of(spec, operands)
        return bind_here(spec, *operands)

    def checked(self, derivatives: Sequence[Any]) -> list[Any]:
        """Return derivatives; if they are looked at, the program fails if one is not finite."""
        return [*derivatives] if self._origin is None else self._origin.checked(derivatives)

    def _operands(self) -> list[Any]:
        pairs = zip(self._leaves, self._avals, strict=True)
        return [jnp.asarray(x, a.dtype) for x, a in pairs]

    def _finish(self, results: Sequence[Any]) -> None:
        leave(self.body, self._frame)
        self.outcome = jax.tree.unflatten(self.body.out_tree, results)

    def commit(self) -> None:
        """Do nothing: what States become is part of the region."""


class Plain:
    """A function that was called as plain Python; its products are JAX's own. See `Captured`."""

    def __init__(
        self,
        function: Function,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        wanted: Wanted,
        examine: Examine,
        forward: bool,
    ) -> None:
        states, chosen = wanted.unique, wanted.chosen

        def run(values: Sequence[Any]) -> tuple[Any, Any]:
            full = list(args)
            for i, value in zip(chosen, values, strict=True):
                full[i] = value
            loss, aux = function(tuple(full), kwargs)
            examine(jax.tree.map(aval_of, loss))
            return loss, aux

        values = [jax.tree.map(jnp.asarray, args[i]) for i in chosen]
        self._call = plain.linearise(run, values, states, forward)
        self.outcome: Any = (self._call.out, self._call.aux)
        self.results = [aval_of(x) for x in jax.tree.leaves(self._call.out)]
        self.sources: list[Any] = []
        places = [self._places(state.value) for state in states]
        held = {
            s: Source(s.value, where if s in self._call.touched else None)
            for s, where in zip(states, places, strict=True)
        }
        self.by_states = [held[state] for state in wanted.states]
        self.by_arguments = [Source(value, self._places(value)) for value in values]

    def _places(self, value: Any) -> tuple[int, ...]:
        start = len(self.sources)
        self.sources.extend(strong(aval_of(x)) for x in jax.tree.leaves(value))
        return tuple(range(start, len(self.sources)))

    def pull(
        self,
        seeds: Sequence[Any] = (),
        lanes: int | None = None,
        memory: int | float | None = None,
    ) -> list[Any]:
        """Return gradients by each source; see `LinearMap`."""
        if lanes is None:
            return self._call.pull(seeds or [jnp.ones(r.shape, r.dtype) for r in self.results])
        pull = jax.vmap(lambda *rows: self._call.pull(rows), axis_size=lanes)
        return pull(*seeds) if lanes else [jnp.zeros((0, *s.shape), s.dtype) for s in self.sources]

    def push(self, tangents: Sequence[Any], lanes: int | None = None) -> list[Any]:
        """Return how each result moves; see `LinearMap`."""
        if lanes is None:
            return self._call.push(tangents)
        push = jax.vmap(lambda *rows: self._call.push(rows), axis_size=lanes)
        return (
            push(*tangents) if lanes else [jnp.zeros((0, *r.shape), r.dtype) for r in self.results]
        )

    def checked(self, derivatives: Sequence[Any]) -> list[Any]:
        """Return derivatives: plain Python cannot tell where they come from."""
        return [*derivatives]

    def commit(self) -> None:
        """Give States what the function left in them."""
        self._call.commit()


def in_lanes(avals: Sequence[Any], lanes: int | None) -> list[Any]:
    """Return types with a leading axis for lanes, if there are any."""
    return [*avals] if lanes is None else [with_shape(a, (lanes, *a.shape)) for a in avals]


def smooth_ones(avals: Sequence[Any]) -> list[int]:
    """Return which arrays can be differentiated."""
    return [i for i, a in enumerate(avals) if jnp.issubdtype(a.dtype, jnp.inexact)]
