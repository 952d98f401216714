"""Whether one step on the way from a captured graph to numbers keeps what the graph means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np

from ...backends import Executable, backend_named, reference, to_jax, to_numpy
from ...ir import Graph, GraphError, Node, touched_by, verify, walk
from ...passes import Pass
from .comparison import Comparison, Difference
from .jax_derivatives import DERIVATIVES, with_jax_derivatives
from .pure import is_pure
from .running import Array, Inputs, Outcome

FAULTS = (
    *(GraphError, ArithmeticError, AssertionError, AttributeError, LookupError),
    *(NotImplementedError, RuntimeError, TypeError, ValueError),
)
"""What a wrong pass or backend may raise."""


def can_be_run(graph: Graph) -> bool:
    """Whether the reference backend knows what a graph means.

    It runs lanes one after the other, so it does not where states are changed inside a `vmap`, or
    lanes meet; and it leaves derivatives to JAX, so not where they touch states. After the pass
    ``expand-vmap`` there are no such graphs any more.
    """
    return all(map(_is_plain, walk(graph)))


def _is_plain(node: Node) -> bool:
    name = node.op.name
    if name in DERIVATIVES:
        return all(map(is_pure, node.regions))
    if name == "vmap" or (name == "map" and node.attrs["batch_size"] is not None):
        touched = touched_by(*node.regions)
        declared = node.attrs.get("in_states") or node.attrs.get("out_states")
        return not (declared or touched.writes or any(s.kind == "rng" for s in touched.reads))
    return name not in ("gather_lanes", "sum_lanes", "lane_index")


def outcome_of(inputs: Inputs) -> Outcome:
    """Run a graph on the reference backend, with derivatives by JAX."""
    graph = with_jax_derivatives(inputs.graph)
    return Outcome(*reference.evaluate(graph, inputs.arguments, inputs.states))


@dataclass(frozen=True, slots=True)
class Check:
    """Compares a graph before a step with what the step makes of it.

    Attributes
    ----------
    name : str
        What the step is called.
    after : callable
        ``after(inputs)`` gives the graph after the step, with what it runs on.
    run : callable
        ``run(inputs)`` gives the outcome after the step.
    comparison : Comparison
        For outcomes.
    """

    name: str
    after: Callable[[Inputs], Inputs]
    run: Callable[[Inputs], Outcome]
    comparison: Comparison

    def difference(self, inputs: Inputs) -> Difference | None:
        """Return what the step changes; None if nothing, or if the graph itself cannot be run."""
        try:
            verify(inputs.graph)
            if not can_be_run(inputs.graph):
                return None
            expected = outcome_of(inputs)
        except FAULTS:
            return None
        return self.difference_from(expected, inputs)

    def difference_from(self, expected: Outcome, inputs: Inputs) -> Difference | None:
        """Return where the outcome after the step is not as expected."""
        try:
            after = self.after(inputs)
            found = as_before(inputs, after.graph, self.run(after))
        except FAULTS as error:
            return failed(error)
        return self.comparison.difference(found, expected)


def failed(error: BaseException) -> Difference:
    """Return the difference that a step makes if it fails altogether."""
    return Difference("", "error", np.inf, f"{type(error).__name__}: {error}")


def check_pass(step: Pass, comparison: Comparison) -> Check:
    """Return a check of a pass, which must also give its graph the form that it promises."""

    def after(inputs: Inputs) -> Inputs:
        graph = step(inputs.graph)
        verify(graph, step.form)
        if step.form != "pure":
            return replace(inputs, graph=graph)
        held = [leaf for state in inputs.graph.states for leaf in inputs.states[state]]
        return Inputs(graph, (*inputs.arguments, *held), {})

    return Check(step.name, after, outcome_of, comparison)


def check_backend(name: str, comparison: Comparison) -> Check:
    """Return a check of a backend."""
    backend, compiled = backend_named(name), dict[Graph, Executable]()

    def run(inputs: Inputs) -> Outcome:
        if inputs.graph not in compiled:
            compiled.clear()  # only the latest
            compiled[inputs.graph] = backend.compile(inputs.graph)
        results = compiled[inputs.graph](*map(to_jax, inputs.arguments))
        return Outcome(tuple(map(to_numpy, results)), {})

    return Check(name, lambda inputs: inputs, run, comparison)


def as_before(before: Inputs, after: Graph, found: Outcome) -> Outcome:
    """Return an outcome with the states of a graph, if they have become results since."""
    extra = found.results[len(before.graph.results) :]
    if not extra and found.states.keys() == before.states.keys():
        return found
    states = {**before.states, **found.states}
    for state in after.writes if extra else ():
        states[state], extra = extra[: len(state.types)], extra[len(state.types) :]
    return Outcome(found.results[: len(before.graph.results)], states)


def nudged(inputs: Inputs, seed: int) -> Inputs:
    """Return inputs of which each number is off by about one rounding."""
    source = np.random.default_rng(seed)

    def nudge(array: Array) -> Array:
        if array.dtype.names or not jnp.issubdtype(array.dtype, jnp.inexact):
            return array
        signs = source.integers(0, 2, array.shape) * 2 - 1
        factors = 1 + float(jnp.finfo(array.dtype).eps) * signs
        return np.asarray(array * factors).astype(array.dtype)

    consts = tuple(replace(c, data=nudge(to_numpy(c.data))) for c in inputs.graph.consts)
    states = {state: tuple(map(nudge, leaves)) for state, leaves in inputs.states.items()}
    return Inputs(inputs.graph.with_(consts=consts), tuple(map(nudge, inputs.arguments)), states)


def held(moved: Inputs, original: Inputs, values: frozenset[float]) -> Inputs:
    """Put back the floating-point inputs that had some values before they were moved."""
    chosen = np.array(sorted(values))

    def keep(new: Array, old: Array) -> Array:
        if not is_float(old):
            return old
        return np.where(np.isin(old.astype(np.float64), chosen), old, new).astype(old.dtype)

    pairs = zip(moved.graph.consts, original.graph.consts, strict=True)
    consts = tuple(
        replace(new, data=keep(to_numpy(new.data), to_numpy(old.data))) for new, old in pairs
    )
    states = {s: tuple(map(keep, moved.states[s], a)) for s, a in original.states.items()}
    arguments = tuple(map(keep, moved.arguments, original.arguments))
    return Inputs(moved.graph.with_(consts=consts), arguments, states)


def is_float(array: Array) -> bool:
    """Whether an array holds real floating-point numbers."""
    return not array.dtype.names and bool(jnp.issubdtype(array.dtype, jnp.floating))


def is_sensitive(
    inputs: Inputs,
    difference: Difference,
    comparison: Comparison,
    ties: frozenset[float] = frozenset(),
) -> bool:
    """Whether rounding alone, of what a graph runs on, may explain a difference.

    Inputs that are one of ``ties`` are not rounded: they stand for something exactly.
    """
    if difference.kind != "values":
        return False
    expected = outcome_of(inputs)
    for seed in range(3):
        rounded = held(nudged(inputs, seed), inputs, ties)
        moved = comparison.difference(outcome_of(rounded), expected)
        if moved is not None and moved.error >= difference.error / 10:
            return True
    return False
