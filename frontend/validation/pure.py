"""From a graph at any stage to one that a backend can emit."""

from __future__ import annotations

from typing import NamedTuple

from ...ir import Effect, Graph, StateVar, walk
from ...passes import ARRAY_PIPELINE, Options, run_pipeline
from ..options import in_force, pipeline_for
from ..program import optimise_graph

_ON_STATE = {Effect.READ, Effect.WRITE, Effect.NEW}


class Pure(NamedTuple):
    """A graph after all passes, and which states its last parameters and results belong to."""

    graph: Graph
    entering: tuple[StateVar, ...]
    leaving: tuple[StateVar, ...]


def is_pure(graph: Graph) -> bool:
    """Whether nothing in a graph touches a state, so that those it declares are already arrays."""
    return not any(node.op.effects & _ON_STATE for node in walk(graph))


def to_pure(graph: Graph, options: Options | None = None) -> Pure:
    """Run the passes that a graph still needs, those of some options or of those in force.

    In a graph whose states became parameters and results before, they are like all the others.

    Raises
    ------
    GraphError, BatchAxisError, ValueError, NotImplementedError
        What passes refuse.
    """
    if is_pure(graph):
        passes = pipeline_for(options or in_force.options, ARRAY_PIPELINE)
        return Pure(run_pipeline(graph, passes), (), ())
    pure = optimise_graph(graph, options=options)
    return Pure(pure, graph.states, pure.writes)
