"""The pass `purify`: what is left of states at the edge of a graph becomes parameters and results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..ir import (
    Builder,
    Effect,
    Graph,
    GraphError,
    Node,
    Operand,
    StateVar,
    Value,
    replay_graph,
    touched_by,
)
from .state_scope import hint_of


class StateInterface(NamedTuple):
    """Which states a hoisted graph reads, and which it writes, each in the order of doing so."""

    reads: tuple[StateVar, ...]
    writes: tuple[StateVar, ...]


def state_interface(graph: Graph) -> StateInterface:
    """Return what a hoisted graph reads and writes.

    The results that `purify` adds to the graph are the leaves of ``writes``, in that order.
    """
    reads = [node.attrs["state"] for node in graph.nodes if Effect.READ in node.op.effects]
    writes = [node.attrs["state"] for node in graph.nodes if Effect.WRITE in node.op.effects]
    return StateInterface(tuple(reads), tuple(writes))


def purify(graph: Graph) -> Graph:
    """Turn a hoisted graph into a function of arrays.

    Every leaf of every state of the graph, in order of ``graph.states``, becomes a parameter after the
    others, whether it is read or not. Every leaf of what is written becomes a result after the others, in the
    order of writing, which `state_interface` tells.

    Raises
    ------
    GraphError
        If a state op stands inside a region, or a state is touched after it was written.

    Notes
    -----
    *before*::

        graph @run(%x: f32[4]) -> (f32[4])
          states(@w: f32[4] param, @V: f32[4] hidden) {
          %w = state.read @w : f32[4]
          %y = mul %x, %w : f32[4]
          state.write @V, %y
          return %x
        }

    *after*::

        graph @run(%x: f32[4], %w: f32[4], %V: f32[4]) -> (f32[4], f32[4])
          states(@w: f32[4] param, @V: f32[4] hidden) {
          %y = mul %x, %w : f32[4]
          return %x, %y
        }
    """
    leaves = {s: tuple(Value(t, hint_of(s)) for t in s.types) for s in graph.states}
    written: dict[StateVar, tuple[Operand, ...]] = {}

    def rewrite(
        builder: Builder, node: Node, operands: tuple[Operand, ...], mapping: dict[Value, Operand]
    ) -> Sequence[Operand] | None:
        if not node.op.effects & {Effect.READ, Effect.WRITE, Effect.NEW}:
            return None
        state = node.attrs["state"]
        if state in written or Effect.NEW in node.op.effects:
            raise GraphError(f"state @{state.name} is not at the edge of the graph: hoist it first")
        if Effect.READ in node.op.effects:
            return leaves[state]
        written[state] = operands
        return ()

    for node in graph.nodes:
        for state in touched_by(*node.regions).states:
            raise GraphError(
                f"state @{state.name} is touched inside {node.op.name}: hoist it first"
            )
    pure = replay_graph(graph, rewrite)
    return pure.with_(
        params=(*graph.params, *(leaf for held in leaves.values() for leaf in held)),
        results=(*pure.results, *(leaf for held in written.values() for leaf in held)),
        param_units=_with_units(graph.param_units, len(graph.params), graph.states),
        result_units=_with_units(graph.result_units, len(graph.results), written),
    )


def _with_units(
    units: tuple[str | None, ...], count: int, states: Iterable[StateVar]
) -> tuple[str | None, ...]:
    added = [state.unit for state in states for _ in state.types]
    if not units and not any(added):
        return ()
    return (*(units or [None] * count), *added)
