"""The pass `hoist_invariant`: what is the same in every step of a loop is computed before it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..ir import (
    Builder,
    Graph,
    Node,
    Operand,
    Value,
    Weight,
    captures,
    copy_node,
    fresh,
    is_pure,
    mapped,
    surely_ends,
)
from .linearity import has_linear_reverse

ROUNDS = 10
"""How often a graph is gone through at most: a loop that lost its nodes may be free to move."""


def hoist_invariant(graph: Graph, differentiable: bool = False) -> Graph:
    """Move nodes without effect that do not depend on the step out of loops, as far as they can go.

    Parameters
    ----------
    graph : Graph
        Its states are hoisted.
    differentiable : bool
        Whether the graph, or what comes of it, is still to be differentiated in reverse. Then
        nothing moves whose reverse need not be linear: it would run once, on the sum of the
        cotangents of all steps, in place of once in each.

    What costs nothing, such as a broadcast, stays where it is, as moving it would only make a large
    array of it; it is repeated outside where something that moves needs it. So does elementwise
    work whose result is larger than all that it is made of. Nothing moves out of a branch, which
    may not be taken, and a `while` moves out of no other loop, which may have no steps.

    Notes
    -----
    *before*::

        graph @f(%x: f32[4,3], %w: f32[3]) -> (f32[4,3]) {
          %y = for_loop over(%a = %x) {length=4, reverse=false, unroll=1} : f32[4,3] do {
            %b = exp %w : f32[3]
            %c = mul %a, %b : f32[3]
            yield %c
          }
          return %y
        }

    *after*::

        graph @f(%x: f32[4,3], %w: f32[3]) -> (f32[4,3]) {
          %b = exp %w : f32[3]
          %y = for_loop over(%a = %x) {length=4, reverse=false, unroll=1} : f32[4,3] do {
            %c = mul %a, %b : f32[3]
            yield %c
          }
          return %y
        }

    Examples
    --------
    >>> from brainir.ir import parse
    >>> from brainir.passes import hoist_invariant
    >>> graph = parse('''graph @f(%V: f32[], %tau: f32[]) -> (f32[]) {
    ...   %end = for_loop carry(%v = %V) {length=10} do {
    ...     %decay = exp %tau
    ...     %next = mul %v, %decay
    ...     yield %next
    ...   }
    ...   return %end
    ... }''')
    >>> [node.op.name for node in hoist_invariant(graph).nodes]
    ['exp', 'for_loop']
    """
    for _ in range(ROUNDS):
        hoisting = _Hoisting(differentiable)
        graph = hoisting.run(graph)
        if not hoisting.freed:
            break
    return graph


class _Hoisting:
    """One replay in which a node may be built in a graph further out.

    A *level* is how deep a region lies. Every new value has the level where it stands; one that
    could stand further out, but is not worth it, can be built again there.
    """

    def __init__(self, differentiable: bool) -> None:
        self.differentiable = differentiable
        self.mapping: dict[Value, Operand] = {}
        self.builders: list[Builder] = []
        self.outermost: list[int] = []
        """For each level, the lowest that is reached by leaving loops only."""
        self.level: dict[Value, int] = {}
        self.movable: dict[Value, tuple[Node, int]] = {}
        """The nodes of values that could stand further out, and at which level."""
        self.copies: dict[tuple[Value, int], Operand] = {}
        self.roots: dict[Value, int] = {}
        """How many bytes a value that could be built again is made of."""
        self.freed = False
        """Whether nodes have left a region whose own node might now leave what it stands in."""

    def run(self, graph: Graph) -> Graph:
        """Return the graph with what could be moved at its new place."""
        builder = self.enter()
        self.nodes(graph.nodes)
        return builder.graph(graph.params, mapped(graph.results, self.mapping), like=graph)

    def enter(self, repeats: bool = False) -> Builder:
        """Open a region and return its builder."""
        self.outermost.append(self.outermost[-1] if repeats else len(self.builders))
        self.builders.append(Builder())
        return self.builders[-1]

    def nodes(self, nodes: Iterable[Node]) -> None:
        """Build nodes in the innermost region that is open, or further out."""
        for node in nodes:
            self._node(node)

    def _node(self, node: Node) -> None:
        operands = mapped(node.operands, self.mapping)
        here, lowest = len(self.builders) - 1, self._lowest(node, operands)
        if lowest < here and self._stays(node, operands):
            results = copy_node(self.builders[here], node, operands)
            built = self.builders[here].nodes[-1]
            self.movable.update((result, (built, lowest)) for result in results)
            self.roots.update((result, sum(map(self._root, operands))) for result in results)
            lowest = here
        else:
            self.freed |= lowest < here and self.outermost[here - 1] < here - 1
            results = self._build(node, operands, lowest)
        self.level.update((result, lowest) for result in results)
        self.mapping.update(zip(node.results, results, strict=True))

    def _lowest(self, node: Node, operands: Sequence[Operand]) -> int:
        """Return the lowest level at which a node can stand."""
        inputs = (*operands, *mapped(captures(*node.regions), self.mapping))
        levels = (self._could_be(o) for o in inputs if isinstance(o, Value))
        lowest = max([self.outermost[-1], *levels])
        may_move = _may_move(node) and (not self.differentiable or has_linear_reverse(node))
        return lowest if may_move else len(self.builders) - 1

    def _could_be(self, value: Value) -> int:
        return self.movable[value][1] if value in self.movable else self.level.get(value, 0)

    def _root(self, operand: Operand) -> int:
        if isinstance(operand, Value) and operand in self.roots:
            return self.roots[operand]
        return operand.type.nbytes

    def _stays(self, node: Node, operands: Sequence[Operand]) -> bool:
        """Whether a node is better computed in every step than kept in memory."""
        if node.regions:
            return False
        weight = node.cost.weight
        grows = sum(result.type.nbytes for result in node.results) > sum(map(self._root, operands))
        return weight is Weight.FREE or (weight is Weight.CHEAP and grows)

    def _build(self, node: Node, operands: Sequence[Operand], level: int) -> tuple[Value, ...]:
        """Build a node at a level, with what it needs there."""
        inner = self.builders[level + 1 :], self.outermost[level + 1 :]
        del self.builders[level + 1 :], self.outermost[level + 1 :]
        operands = [self._at(operand, level) for operand in operands]
        captured = {v: self.mapping[v] for v in captures(*node.regions) if v in self.mapping}
        self.mapping.update((v, self._at(new, level)) for v, new in captured.items())
        regions = [self._region(node, region) for region in node.regions]
        results = copy_node(self.builders[level], node, operands, regions)
        self.mapping.update(captured)
        self.builders += inner[0]
        self.outermost += inner[1]
        return results

    def _at(self, operand: Operand, level: int) -> Operand:
        """Return an operand as it can be used at a level."""
        if not isinstance(operand, Value) or self.level.get(operand, 0) <= level:
            return operand
        if (operand, level) not in self.copies:
            node, lowest = self.movable[operand]
            operands = [self._at(o, level) for o in node.operands]
            for old, new in zip(
                node.results, copy_node(self.builders[level], node, operands), strict=True
            ):
                self.copies[old, level] = new
                self.level[new] = level
                self.movable[new] = self.builders[level].nodes[-1], lowest
                self.roots[new] = self.roots[old]
        return self.copies[operand, level]

    def _region(self, node: Node, region: Graph) -> Graph:
        params = fresh(region.params)
        self.mapping.update(zip(region.params, params, strict=True))
        assert node.op.wiring is not None
        builder = self.enter(repeats=node.op.wiring(node).repeats)
        self.level.update((param, len(self.builders) - 1) for param in params)
        self.nodes(region.nodes)
        self.builders.pop()
        self.outermost.pop()
        return builder.graph(params, mapped(region.results, self.mapping), like=region)


def _may_move(node: Node) -> bool:
    """Whether a node does no harm where it would not have run: it has no effect, and ends."""
    return is_pure(node) and surely_ends(node)
