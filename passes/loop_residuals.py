"""What the steps of a loop hand to its reverse, so that as little as possible is stored for each.

Slices of what the loop runs over, and what it yields anyway, are at hand. The rest is a minimum cut,
see `residuals`, of one of two networks, whichever is cheaper:

- that of one step, where the carries at its start are stored like any other value;
- that of two steps. What a step starts with is what the step before ended with. So the reverse, which
  meets the later step first, has the end of a step for nothing if it has its start, and the start of a
  step can be computed again from what was stored of the step before. A spiking neuron then
  stores its membrane potential, once, and no spikes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from math import inf
from typing import Literal, NamedTuple

from ..ir import Builder, Graph, Node, Operand, Type, Value, copy_node
from .residuals import minimum_cut, repeatable, values


class Vertex(NamedTuple):
    """A value in the step at hand, in the step before, or a carry on its way between the two."""

    when: Literal["now", "before", "between"]
    value: Value
    """Of a carry, the parameter of the body."""


class Step:
    """The forward step of a loop: who produces what, and what costs nothing.

    Attributes
    ----------
    producers : dict of Value to Node or None
        The values of the step; None for parameters.
    carries : dict of Value to Operand
        What comes in by parameter, and what goes out; without carries that no step changes.
    leaving : dict of Value to Value
        For what goes out of a step by a carry, the parameter by which it comes into the next.
    kept : dict of Value to Operand
        The parameters of carries that no step changes, and what they are.
    at_hand : dict of Value to Operand
        Values of which there are arrays over all steps.
    """

    def __init__(self, loop: Node, body: Graph, nodes: Sequence[Node]) -> None:
        self.loop, self.body, self.nodes = loop, body, nodes
        count = self.count = loop.attrs["carries"]
        self.producers: dict[Value, Node | None] = dict.fromkeys(body.params)
        self.producers.update((result, node) for node in nodes for result in node.results)
        pairs = dict(zip(body.params[:count], body.results[:count], strict=True))
        starts = dict(zip(body.params[:count], loop.operands[:count], strict=True))
        self.kept = {p: starts[p] for p, result in pairs.items() if p is result}
        self.carries = {p: result for p, result in pairs.items() if p is not result}
        self.starts = starts
        self.ends = dict(zip(body.params[:count], loop.results[:count], strict=True))
        self.leaving = {r: p for p, r in reversed(self.carries.items()) if isinstance(r, Value)}
        self.at_hand: dict[Value, Operand] = {}
        for value, array in zip(body.results[count:], loop.results[count:], strict=True):
            if isinstance(value, Value) and value in self.producers:
                self.at_hand[value] = array
        self.at_hand.update(zip(body.params[count:], loop.operands[count:], strict=True))

    def choose(self, needed: Iterable[Value]) -> set[Vertex]:
        """Choose what to store so that the needed values can be had in the reverse."""
        needed = list(needed)
        one, two = (self._cut(needed, across) for across in (False, True))
        return two if _bytes(two) < _bytes(one) else one

    def _cut(self, needed: Sequence[Value], across: bool) -> set[Vertex]:
        def now(found: Iterable[Value]) -> list[Vertex]:
            return [self._now(v, across) for v in found if self.stored(v)]

        def before(found: Iterable[Value]) -> list[Vertex]:
            inside = (v for v in found if v in self.producers and v not in self.kept)
            return [
                Vertex("between", self.leaving[v]) if v in self.leaving else Vertex("before", v)
                for v in inside
            ]

        def inputs(vertex: Vertex) -> list[Vertex] | None:
            """Return what a vertex is computed from."""
            if vertex.when == "between":
                result = self.carries[vertex.value]
                if not isinstance(result, Value) or result not in self.producers:
                    return []
                found, node = before, self.producers[result]
            else:
                found = now if vertex.when == "now" else before
                node = self.producers[vertex.value]
            if node is None or not repeatable(node):
                return None
            return found(values(node))

        return minimum_cut(now(needed), inputs, self._size)

    def stored(self, value: Value) -> bool:
        """Whether a value costs something to have in the reverse."""
        return value in self.producers and value not in self.kept and value not in self.at_hand

    def _now(self, value: Value, across: bool) -> Vertex:
        if across and value in self.carries:
            return Vertex("between", value)
        if across and value in self.leaving:
            return Vertex("between", self.leaving[value])
        return Vertex("now", value)

    def _size(self, vertex: Vertex) -> float:
        # The carries of the step before are those of two steps on; a key cannot be stored by a
        # carry that starts from zeros.
        if vertex.when == "before" and (vertex.value in self.carries or vertex.value.type.is_key):
            return inf
        return vertex.value.type.nbytes


def _bytes(vertices: Iterable[Vertex]) -> int:
    return sum(vertex.value.type.nbytes for vertex in vertices)
