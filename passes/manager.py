"""Running passes one after the other, with people looking on."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..ir import Graph

CAPTURE = "capture"
"""The stage before any pass: the graph as it was captured."""


@dataclass(frozen=True, slots=True)
class Pass:
    """A function from graph to graph, and what is known of it.

    Attributes
    ----------
    name : str
        The name of its file, with hyphens, and ``-again`` if it runs a second time: also the name
        of the stage after it.
    function : callable
        ``function(graph, **options)`` gives the new graph.
    form : str
        The form that its output satisfies, see `brainir.ir.verify`.
    options : mapping
        Keyword arguments for the function.
    optional : bool
        Whether no other pass builds on what it does, so that it can be left out.

    Examples
    --------
    >>> from brainir.passes import PASSES
    >>> step = PASSES["distribute-loops"]
    >>> step.form, step.optional
    ('expanded', True)
    >>> step.with_options(memory=16).options
    {'memory': 16}
    """

    name: str
    function: Callable[..., Graph]
    form: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    optional: bool = False

    @property
    def family(self) -> str:
        """The name of the pass of which this is a run: ``simplify`` of ``simplify-again``."""
        return self.name.removesuffix("-again")

    def __call__(self, graph: Graph) -> Graph:
        """Return the rewritten graph."""
        return self.function(graph, **self.options)

    def with_options(self, **options: Any) -> Pass:
        """Return this pass with some options changed.

        Raises
        ------
        ValueError
            If it has no such option.
        """
        known = tuple(inspect.signature(self.function).parameters)[1:]
        for name in options:
            if name not in known:
                there = ", ".join(known) or "none"
                raise ValueError(f"{self.name} has no option {name}; there is {there}")
        return replace(self, options={**self.options, **options}) if options else self


Observer = Callable[[Pass, Graph, Graph, float], None]
"""``observer(pass_, before, after, seconds)`` is called after each pass."""


def run_pipeline(
    graph: Graph,
    passes: Sequence[Pass],
    observers: Iterable[Observer] = (),
    until: str | None = None,
) -> Graph:
    """Run passes in order and return the last graph.

    Parameters
    ----------
    graph : Graph
        What the first pass gets.
    passes : sequence of Pass
        In order.
    observers : iterable of callable
        Each is called after every pass as ``observer(pass_, before, after, seconds)``.
    until : str, optional
        Stop after the pass of that name; ``"capture"`` runs none.

    Raises
    ------
    ValueError
        If no pass is called ``until``.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> from brainir.passes import PIPELINE, run_pipeline
    >>> step = brainir.transform.jit(lambda x: (x + 1, x * x)[1])
    >>> graph = step.trace(jnp.ones(3)).graph("capture")
    >>> [node.op.name for node in graph.nodes]
    ['add', 'mul']
    >>> [node.op.name for node in run_pipeline(graph, PIPELINE, until="dead-code").nodes]
    ['mul']
    """
    observers = tuple(observers)
    for step in _up_to(passes, until):
        start = time.perf_counter()
        after = step(graph)
        seconds = time.perf_counter() - start
        for observer in observers:
            observer(step, graph, after, seconds)
        graph = after
    return graph


def stages(passes: Sequence[Pass]) -> tuple[str, ...]:
    """Return the names at which `run_pipeline` can stop.

    Examples
    --------
    >>> from brainir.passes import PIPELINE, stages
    >>> stages(PIPELINE)[:4]
    ('capture', 'inline-calls', 'expand-map', 'hoist-state')
    """
    return (CAPTURE, *(step.name for step in passes))


def _up_to(passes: Sequence[Pass], until: str | None) -> Sequence[Pass]:
    if until is None:
        return passes
    names = stages(passes)
    if until not in names:
        raise ValueError(f"there is no stage {until!r}; the stages are {', '.join(names)}")
    return passes[: names.index(until)]
