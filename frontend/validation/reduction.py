"""From a graph on which something fails to a smallest one on which it still does.

Parts are taken away as long as the failure persists, in chunks that get smaller: that is delta
debugging (A. Zeller and R. Hildebrandt, *Simplifying and isolating failure-inducing input*, 2002).
What a node gave that is taken away becomes a parameter. Shapes stay as they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from ...ir import Graph, Node, Operand, StateVar, Value, captures, walk
from ...passes import dead_code
from .checking import FAULTS, Check, outcome_of
from .comparison import Difference
from .running import Array, Inputs, inputs_for, random_array

T = TypeVar("T")

SECONDS = 60.0
"""How long to go on at most."""

CLEAR = 0.01
"""A relative error that rounding does not make."""


def reduce(check: Check, inputs: Inputs, difference: Difference) -> Inputs:
    """Return a small graph on which a check still fails as it does on a graph.

    Parameters
    ----------
    check : Check
        What fails.
    inputs : Inputs
        The graph, with what it runs on.
    difference : Difference
        How it fails there. Another kind of failure does not count, nor does a much smaller one.
    """
    reduction = _Reduction(check, difference)
    # Results may go one by one, also those that a state is left with.
    graph = inputs.graph.with_(writes=())
    return reduction.run(_consts_as_params(replace(inputs, graph=graph)))


def first_node(check: Check, inputs: Inputs) -> Node | None:
    """Return the first node of a graph whose results differ after a step.

    If none does when all of them are asked for, it is the one that the first result comes from.
    """
    number = _first_differing(check, inputs)
    nodes = inputs.graph.nodes
    if number is not None:
        return nodes[number]
    makers = [node for node in nodes if set(node.results) & {*inputs.graph.results}]
    return (makers or [*nodes, None])[0]


def _first_differing(check: Check, inputs: Inputs) -> int | None:
    """Return the number of that node, if a node's results differ when all are asked for."""
    nodes = inputs.graph.nodes
    owners = [i for i, node in enumerate(nodes) for _ in node.results]
    every = tuple(result for node in nodes for result in node.results)
    found = check.difference(replace(inputs, graph=_without_units(inputs.graph, results=every)))
    if found is None or not found.where.startswith("result "):
        return None
    return owners[int(found.where.removeprefix("result "))]


class _Reduction:
    def __init__(self, check: Check, difference: Difference) -> None:
        self._check, self._first = check, difference
        self._until = time.monotonic() + SECONDS

    def run(self, inputs: Inputs) -> Inputs:
        size = None
        while size != _size(inputs) and time.monotonic() < self._until:
            size = _size(inputs)
            for shrink in (
                *(self._beginning, self._results, self._nodes, self._regions, self._unwrapped),
                *(self._swept, self._parameters),
            ):
                inputs = shrink(inputs)
        return self._typical(inputs)

    def _try(self, candidate: Inputs) -> Inputs | None:
        """Return a candidate if the failure persists in it."""
        if time.monotonic() > self._until:
            return None
        found, first = self._check.difference(candidate), self._first
        if found is None or found.kind != first.kind:
            return None
        if found.kind == "error":
            same = found.text.partition(":")[0] == first.text.partition(":")[0]
            return candidate if same else None
        return candidate if found.error >= min(first.error / 10, CLEAR) else None

    def _fewer(
        self, inputs: Inputs, items: Sequence[T], keeping: Callable[[list[T]], Inputs]
    ) -> Inputs:
        """Leave out as many items as possible; ``keeping(items)`` is a candidate with some."""
        kept, size = list(items), len(items)
        while size:
            i = 0
            while i < len(kept):
                fewer = [*kept[:i], *kept[i + size :]]
                found = self._try(keeping(fewer))
                if found is None:
                    i += size
                else:
                    inputs, kept = found, fewer
            size //= 2
        return inputs

    # --- what can be taken away -------------------------------------------------------------------

    def _beginning(self, inputs: Inputs) -> Inputs:
        """Take only what leads to the first node whose results differ."""
        number = _first_differing(self._check, inputs)
        if number is None:
            return inputs
        nodes = inputs.graph.nodes[: number + 1]
        graph = _without_units(inputs.graph, nodes=nodes, results=nodes[-1].results)
        return self._try(replace(inputs, graph=graph)) or inputs

    def _results(self, inputs: Inputs) -> Inputs:
        def keeping(kept: list[Operand]) -> Inputs:
            return replace(inputs, graph=_without_units(inputs.graph, results=tuple(kept)))

        return self._fewer(inputs, inputs.graph.results, keeping)

    def _nodes(self, inputs: Inputs) -> Inputs:
        known = _known_values(inputs)

        def keeping(kept: list[Node]) -> Inputs:
            return _without_nodes(inputs, {*inputs.graph.nodes} - {*kept}, known)

        return self._fewer(inputs, inputs.graph.nodes, keeping)

    def _regions(self, inputs: Inputs) -> Inputs:
        """Take away nodes inside regions; arrays of random numbers stand for what they gave."""
        for number in range(sum(1 for _ in _regions_of(inputs.graph))):
            regions = list(_regions_of(inputs.graph))
            if number >= len(regions):
                break
            start, nodes = inputs, regions[number].nodes

            def keeping(kept: list[Node], start: Inputs = start, nodes: Any = nodes) -> Inputs:
                return _without_nodes(start, {*nodes} - {*kept}, {})

            inputs = self._fewer(inputs, nodes, keeping)
        return inputs

    def _unwrapped(self, inputs: Inputs) -> Inputs:
        """Let the inside of a region be the whole graph, once, if the fault lies there."""
        for i, node in enumerate(inputs.graph.nodes):
            for region in node.regions:
                nodes = (*inputs.graph.nodes[:i], *region.nodes)
                graph = _without_units(inputs.graph, nodes=nodes, results=region.results)
                arrays = {param: _some(param) for param in region.params}
                found = self._try(_with_params(replace(inputs, graph=graph), arrays))
                if found is not None:
                    return found
        return inputs

    def _swept(self, inputs: Inputs) -> Inputs:
        """Leave out carries, arguments and results of regions that nobody uses."""
        try:
            swept = replace(inputs, graph=dead_code(inputs.graph))
        except FAULTS:
            return inputs
        return (_size(swept) < _size(inputs) and self._try(swept)) or inputs

    def _parameters(self, inputs: Inputs) -> Inputs:
        graph = inputs.graph
        used = {*captures(graph.with_(params=()))}
        params = [p for p in graph.params if p not in used]
        states = [s for s in graph.states if s not in _states_of(graph)]

        def keeping(kept: list[Value | StateVar]) -> Inputs:
            gone = {*params, *states} - {*kept}
            pairs = zip(graph.params, inputs.arguments, strict=True)
            return Inputs(
                _without_units(
                    graph,
                    params=tuple(p for p in graph.params if p not in gone),
                    states=tuple(s for s in graph.states if s not in gone),
                ),
                tuple(array for param, array in pairs if param not in gone),
                {s: leaves for s, leaves in inputs.states.items() if s not in gone},
            )

        return self._fewer(inputs, [*params, *states], keeping)

    def _typical(self, inputs: Inputs) -> Inputs:
        """Run on what ``brainir run`` takes if it is given nothing, if that will do."""
        return self._try(inputs_for(inputs.graph, {}, 0)) or inputs


# --- graphs with less in them ---------------------------------------------------------------------


def _size(inputs: Inputs) -> tuple[int, ...]:
    graph, nodes = inputs.graph, list(walk(inputs.graph))
    inside = sum(len(r.params) + len(r.results) for node in nodes for r in node.regions)
    return len(nodes), inside, len(graph.results), len(graph.params) + len(graph.states)


def _without_units(graph: Graph, **changes: Any) -> Graph:
    return graph.with_(**changes, param_units=(), result_units=())


def _consts_as_params(inputs: Inputs) -> Inputs:
    arrays = {const.value: const.data for const in inputs.graph.consts}
    return _with_params(replace(inputs, graph=inputs.graph.with_(consts=())), arrays)


def _with_params(inputs: Inputs, arrays: Mapping[Value, Any]) -> Inputs:
    graph = _without_units(inputs.graph, params=(*inputs.graph.params, *arrays))
    return replace(inputs, graph=graph, arguments=(*inputs.arguments, *arrays.values()))


def _some(value: Value) -> Array:
    return random_array(value.type, np.random.default_rng(0))


def _known_values(inputs: Inputs) -> dict[Value, Array]:
    """Return what the nodes of a graph give, those in regions left out."""
    every = tuple(result for node in inputs.graph.nodes for result in node.results)
    graph = _without_units(inputs.graph, results=every)
    return dict(zip(every, outcome_of(replace(inputs, graph=graph)).results, strict=True))


def _without_nodes(inputs: Inputs, gone: AbstractSet[Node], known: Mapping[Value, Array]) -> Inputs:
    """Take nodes away, at any depth; what they gave becomes parameters as far as it is used."""
    graph = _removed(inputs.graph, gone)
    given = {result for node in gone for result in node.results}
    missing = [v for v in captures(graph) if v in given]
    arrays = {v: known[v] if v in known else _some(v) for v in missing}
    return _with_params(replace(inputs, graph=graph), arrays)


def _removed(graph: Graph, gone: AbstractSet[Node]) -> Graph:
    nodes = [
        replace(node, regions=tuple(_removed(region, gone) for region in node.regions))
        if node.regions
        else node
        for node in graph.nodes
        if node not in gone
    ]
    return graph.with_(nodes=tuple(nodes))


def _regions_of(graph: Graph) -> Iterator[Graph]:
    for node in walk(graph):
        yield from node.regions


def _states_of(graph: Graph) -> set[StateVar]:
    """Return the states that nodes name, whatever for."""
    found: set[StateVar] = set()
    stack = [value for node in walk(graph) for value in node.attrs.values()]
    while stack:
        value = stack.pop()
        if isinstance(value, StateVar):
            found.add(value)
        elif isinstance(value, tuple):
            stack += value
    return found
