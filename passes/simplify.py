"""The pass `simplify`: the same values with less work, exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from ..ir import (
    Branches,
    Builder,
    Carry,
    Graph,
    Literal,
    Loop,
    Node,
    Operand,
    Round,
    Value,
    While,
    copy_node,
    fresh,
    mapped,
    repeat,
)
from .identities import simpler
from .known_values import KnownValues
from .lanes import take

Standing = dict[Value, Operand]
"""Results that need not be built, and what stands for each; it may be another result."""

ROUNDS = 10
"""How often a graph is gone through at most; a round that changes nothing is the last."""


def simplify(graph: Graph) -> Graph:
    """Replace nodes by what is equal bit for bit and takes less.

    Arithmetic with neutral elements, moving elements to where they were, choosing by a constant,
    and sums of constants; branches that are known and loops of no or one step; carries that never
    change or are the same as another, and yields that do not depend on the step. What is no longer
    used is left for `dead_code`.

    Notes
    -----
    *before*::

        graph @f(%x: f32[3], %w: f32[3]) -> (f32[3]) {
          %y, %w2 = for_loop carry(%a = %x, %b = %w) {
            length=9, reverse=false, unroll=1
          } : f32[3], f32[3] do {
            %c = mul %b, 1.0:f32 : f32[3]
            %d = sub %a, %c : f32[3]
            yield %d, %b
          }
          return %y
        }

    *after*::

        graph @f(%x: f32[3], %w: f32[3]) -> (f32[3]) {
          %y = for_loop carry(%a = %x) {length=9, reverse=false, unroll=1} : f32[3] do {
            %d = sub %a, %w : f32[3]
            yield %d
          }
          return %y
        }

    Examples
    --------
    >>> from brainir.ir import parse
    >>> from brainir.passes import dead_code, simplify
    >>> graph = parse('''graph @f(%x: f32[3]) -> (f32[3]) {
    ...   %y = mul %x, 1.0:f32
    ...   %z = sin %y
    ...   return %z
    ... }''')
    >>> print(dead_code(simplify(graph)))
    graph @f(%x: f32[3]) -> (f32[3]) {
      %z = sin %x : f32[3]
      return %z
    }
    """
    for _ in range(ROUNDS):
        round_ = _Round()
        graph = round_.run(graph)
        if not round_.changed:
            break
    return graph


class _Round:
    """One replay, in which every node sees operands that are simplified already."""

    def __init__(self) -> None:
        self.changed = False
        self.known = KnownValues()
        self.mapping: dict[Value, Operand] = {}
        self.rules: dict[
            str, Callable[[Builder, Node, Sequence[Operand]], Sequence[Operand] | None]
        ]
        self.rules = {"for_loop": self._for_loop, "while": self._while, "cond": self._cond}

    def run(self, graph: Graph) -> Graph:
        builder = Builder()
        self._nodes(builder, graph.nodes)
        return builder.graph(graph.params, mapped(graph.results, self.mapping), like=graph)

    def _nodes(self, builder: Builder, nodes: Iterable[Node]) -> None:
        for node in nodes:
            operands = mapped(node.operands, self.mapping)
            builder.loc, start = node.loc, len(builder.nodes)
            results = self._simpler(builder, node, operands)
            if results is None:
                regions = [self._region(region) for region in node.regions]
                results = copy_node(builder, node, operands, regions)
            else:
                self.changed = True
            self.known.learn(builder.nodes[start:])
            self.mapping.update(zip(node.results, results, strict=True))

    def _simpler(
        self, builder: Builder, node: Node, operands: Sequence[Operand]
    ) -> Sequence[Operand] | None:
        rule = self.rules.get(node.op.name)
        if rule is not None:
            return rule(builder, node, operands)
        found = simpler(builder, self.known, node, operands)
        return None if found is None else (found,)

    def _region(self, region: Graph) -> Graph:
        builder, params = Builder(), self._entered(region.params)
        self._nodes(builder, region.nodes)
        return builder.graph(params, mapped(region.results, self.mapping), like=region)

    def _entered(self, params: Sequence[Value]) -> tuple[Value, ...]:
        """Return new parameters for old ones."""
        new = fresh(params)
        self.mapping.update(zip(params, new, strict=True))
        return new

    def _built(self, nodes: Iterable[Node], builder: Builder | None = None) -> tuple[Node, ...]:
        builder = Builder() if builder is None else builder
        self._nodes(builder, nodes)
        return tuple(builder.nodes)

    def _now(self, operand: Operand) -> Operand:
        return mapped([operand], self.mapping)[0]

    def _param(self, old: Value) -> Value:
        new = self.mapping[old]
        assert isinstance(new, Value), "the parameter of a piece that is kept is a value"
        return new

    def _inline(
        self, builder: Builder, region: Graph, arguments: Sequence[Operand]
    ) -> Sequence[Operand]:
        self.mapping.update(zip(region.params, arguments, strict=True))
        self._nodes(builder, region.nodes)
        return mapped(region.results, self.mapping)

    # --- branches ---------------------------------------------------------------------------------

    def _cond(
        self, builder: Builder, node: Node, operands: Sequence[Operand]
    ) -> Sequence[Operand] | None:
        """Run a branch that is known in place; take what all branches share from outside."""
        view, last = Branches.of(node, operands), len(node.regions) - 1
        literal = Literal(0, view.index.type) if last == 0 else self.known.constant(view.index)
        if literal is not None:
            number = min(max(int(literal.value.real), 0), last)
            return self._inline(builder, node.regions[number], ())
        inside = [_defined(region) for region in node.regions]
        standing: Standing = {}
        for yields, result in view.choices:
            pairs = zip(yields, inside, strict=True)
            if result is not None and all(y == yields[0] and y not in own for y, own in pairs):
                standing[result] = self._now(yields[0])
        if not standing:
            return None
        branches = tuple(b._replace(nodes=self._built(b.nodes)) for b in view.branches)
        kept = [choice for choice in view.choices if choice.result not in standing]
        choices = tuple(c._replace(yields=mapped(c.yields, self.mapping)) for c in kept)
        results = view.rebuilt(branches=branches, choices=choices).emit(builder)
        return _resolved(node, dict(zip((c.result for c in kept), results, strict=True)), standing)

    # --- loops ------------------------------------------------------------------------------------

    def _for_loop(
        self, builder: Builder, node: Node, operands: Sequence[Operand]
    ) -> Sequence[Operand] | None:
        loop = Loop.of(node, operands)
        if loop.length <= 1:
            return self._few_steps(builder, node, loop)
        inside, step = _defined(node.regions[0]), Builder(node.loc)
        self._entered(node.regions[0].params)
        standing = self._carries(loop.carries, inside)
        dropped = self._slices(step, loop)
        standing.update(self._stacks(builder, loop, inside))
        if not standing and not dropped:
            return None
        carries = [carry for carry in loop.carries if carry.last not in standing]
        stacks = [stack for stack in loop.stacks if stack.result not in standing]
        slices = [piece for piece in loop.slices if piece.param not in dropped]
        self.known.learn(step.nodes)
        nodes = self._built(loop.nodes, step)
        new = loop.rebuilt(
            carries=tuple(
                c._replace(param=self._param(c.param), next=self._now(c.next)) for c in carries
            ),
            slices=tuple(piece._replace(param=self._param(piece.param)) for piece in slices),
            stacks=tuple(stack._replace(each=self._now(stack.each)) for stack in stacks),
            nodes=nodes,
        )
        lasts, stacked = new.emit(builder)
        kept = [*(c.last for c in carries), *(stack.result for stack in stacks)]
        return _resolved(node, dict(zip(kept, (*lasts, *stacked), strict=True)), standing)

    def _few_steps(self, builder: Builder, node: Node, loop: Loop) -> Sequence[Operand] | None:
        """Run the only step of a loop in place, or none."""
        if loop.length == 1:
            slices = [take(builder, piece.array, 0) for piece in loop.slices]
            initial = [carry.initial for carry in loop.carries]
            yields = self._inline(builder, node.regions[0], [*initial, *slices])
            carried, each = yields[: len(initial)], yields[len(initial) :]
            return [*carried, *(repeat(builder, y, 1) for y in each)]
        if any(stack.each.type.is_key for stack in loop.stacks):
            return None
        empty = [builder.zeros(stack.each.type.stacked(0)) for stack in loop.stacks]
        return [*(carry.initial for carry in loop.carries), *empty]

    def _while(
        self, builder: Builder, node: Node, operands: Sequence[Operand]
    ) -> Sequence[Operand] | None:
        loop = While.of(node, operands)
        if self.known.equals(loop.test, False):
            return operands
        for region in node.regions:
            self._entered(region.params)
        pieces = [Carry(c.initial, c.param, c.next, c.last) for c in loop.carries]
        standing = self._carries(pieces, _defined(node.regions[1]))
        if not standing:
            return None
        seen = {carry.last: carry.seen for carry in loop.carries}
        for last, other in standing.items():
            self.mapping[seen[last]] = self._now(seen[other]) if other in seen else other
        kept = [carry for carry in loop.carries if carry.last not in standing]
        condition, nodes = self._built(loop.condition), self._built(loop.nodes)
        carries = tuple(
            Round(c.initial, self._param(c.seen), self._param(c.param), self._now(c.next), c.last)
            for c in kept
        )
        results = loop.rebuilt(
            carries=carries, test=self._now(loop.test), condition=condition, nodes=nodes
        ).emit(builder)
        return _resolved(node, dict(zip((c.last for c in kept), results, strict=True)), standing)

    def _carries(self, carries: Iterable[Carry], inside: set[Operand]) -> Standing:
        """Find carries that always are as at first, or the same as another one.

        The map learns what to use for their parameters.
        """
        standing: Standing = {}
        seen: dict[tuple[Operand, Operand], tuple[Value, Value]] = {}
        for initial, param, following, last in carries:
            assert last is not None
            if following is param or (following not in inside and self._now(following) == initial):
                self.mapping[param] = standing[last] = initial
                continue
            first, result = seen.setdefault((initial, following), (param, last))
            if result is not last:
                self.mapping[param], standing[last] = self.mapping[first], result
        return standing

    def _slices(self, step: Builder, loop: Loop) -> set[Value]:
        """Find what is iterated over twice, or is the same in each step."""
        dropped: set[Value] = set()
        seen: dict[Operand, Value] = {}
        for array, param in loop.slices:
            first = seen.setdefault(array, param)
            repeated = self.known.node(array, "broadcast_in_dim")
            if first is not param:
                self.mapping[param] = self.mapping[first]
            elif repeated is not None and 0 not in repeated.attrs["dims"]:
                dims = tuple(axis - 1 for axis in repeated.attrs["dims"])
                source, shape = repeated.operands[0], param.type.shape
                self.mapping[param] = (
                    step("broadcast_in_dim", source, shape=shape, dims=dims) if shape else source
                )
            else:
                continue
            dropped.add(param)
        return dropped

    def _stacks(self, builder: Builder, loop: Loop, inside: set[Operand]) -> Standing:
        """Find yields that are the same in each step, or as another, or are what comes in."""
        standing: Standing = {}
        seen: dict[Operand, Value] = {}
        coming: dict[Operand, Operand] = {piece.param: piece.array for piece in loop.slices}
        for each, result in loop.stacks:
            assert result is not None
            if each not in inside:
                standing[result] = repeat(builder, self._now(each), loop.length)
            elif each in coming:
                standing[result] = coming[each]
            elif (first := seen.setdefault(each, result)) is not result:
                standing[result] = first
        return standing


def _defined(region: Graph) -> set[Operand]:
    """Return the values that a region defines itself, not counting regions inside it."""
    return {*region.params, *(result for node in region.nodes for result in node.results)}


def _resolved(
    node: Node, kept: Mapping[Value | None, Operand], standing: Standing
) -> Sequence[Operand]:
    """Return what stands for each result: one that was built again, or whatever stands for it."""
    found: list[Operand] = []
    for result in node.results:
        other = standing.get(result, result)
        found.append(kept.get(other, other) if isinstance(other, Value) else other)
    return found
