"""The pass `purify`: what is left of states becomes parameters and results of the graph."""

from __future__ import annotations

from collections.abc import Iterable

from ..ir import Effect, Graph, GraphError, Node, Operand, StateVar, Value, touched_by


def purify(graph: Graph) -> Graph:
    """Turn a hoisted graph into a function of arrays.

    Every leaf of every state of the graph, in order of ``graph.states``, becomes a parameter after
    the others, whether it is read or not. Every leaf of what is written becomes a result after the
    others, in the order of writing, which the graph then says in its ``writes``.

    Raises
    ------
    GraphError
        If a state is touched inside a region, read twice, or touched after it was written.

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
          states(@w: f32[4] param, @V: f32[4] hidden)
          writes(@V) {
          %y = mul %x, %w : f32[4]
          return %x, %y
        }

    Examples
    --------
    >>> from brainir.ir import parse
    >>> from brainir.passes import purify
    >>> graph = parse('''graph @step(%x: f32[4]) -> ()
    ...   states(@cell.V: f32[4] hidden) {
    ...   state.write @cell.V, %x
    ...   return
    ... }''')
    >>> print(purify(graph))
    graph @step(%x: f32[4], %V: f32[4]) -> (f32[4])
      states(@cell.V: f32[4] hidden)
      writes(@cell.V) {
      return %x
    }
    """
    reads: dict[StateVar, tuple[Value, ...]] = {}
    writes: dict[StateVar, tuple[Operand, ...]] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        for state in touched_by(*node.regions).states:
            raise _not_at_the_edge(state)
        if not node.op.effects & {Effect.READ, Effect.WRITE, Effect.NEW}:
            nodes.append(node)
            continue
        state, reading = node.attrs["state"], Effect.READ in node.op.effects
        if Effect.NEW in node.op.effects or state in writes or (reading and state in reads):
            raise _not_at_the_edge(state)
        if reading:
            reads[state] = node.results
        else:
            writes[state] = node.operands
    entering = [reads.get(s) or [Value(t, s.hint) for t in s.types] for s in graph.states]
    return graph.with_(
        # What a read gave is a parameter now, so that the other nodes can stay as they are.
        params=(*graph.params, *(leaf for leaves in entering for leaf in leaves)),
        nodes=tuple(nodes),
        results=(*graph.results, *(leaf for leaves in writes.values() for leaf in leaves)),
        param_units=_with_units(graph.param_units, len(graph.params), graph.states),
        result_units=_with_units(graph.result_units, len(graph.results), writes),
        writes=tuple(writes),
    )


def _not_at_the_edge(state: StateVar) -> GraphError:
    return GraphError(f"state @{state.name} is not only touched at the edge: hoist states first")


def _with_units(
    units: tuple[str | None, ...], count: int, states: Iterable[StateVar]
) -> tuple[str | None, ...]:
    added = [state.unit for state in states for _ in state.types]
    if not units and not any(added):
        return ()
    return (*(units or [None] * count), *added)
