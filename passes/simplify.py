"""The pass `simplify`: the same values with less work, exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..ir import Builder, Graph, Literal, Node, Operand, Value, copy_node, fresh, mapped
from .identities import simpler
from .known_values import KnownValues
from .lanes import repeat, take

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
        params = fresh(region.params)
        self.mapping.update(zip(region.params, params, strict=True))
        return self._body(region, params, region.results)

    def _body(
        self,
        region: Graph,
        params: Sequence[Value],
        results: Sequence[Operand],
        builder: Builder | None = None,
    ) -> Graph:
        builder = Builder() if builder is None else builder
        self._nodes(builder, region.nodes)
        return builder.graph(params, mapped(results, self.mapping), like=region)

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
        last = len(node.regions) - 1
        literal = Literal(0, operands[0].type) if last == 0 else self.known.constant(operands[0])
        if literal is not None:
            number = min(max(int(literal.value.real), 0), last)
            return self._inline(builder, node.regions[number], ())
        inside = [_defined(region) for region in node.regions]
        shared: dict[int, Operand | int] = {}
        for i, column in enumerate(zip(*(region.results for region in node.regions), strict=True)):
            if all(r == column[0] and r not in own for r, own in zip(column, inside, strict=True)):
                (shared[i],) = mapped(column[:1], self.mapping)
        if not shared:
            return None
        kept = [i for i in range(len(node.results)) if i not in shared]
        regions = [self._body(r, (), [r.results[i] for i in kept]) for r in node.regions]
        return _without(builder, node, node.attrs, operands, regions, shared)

    # --- loops ------------------------------------------------------------------------------------

    def _for_loop(
        self, builder: Builder, node: Node, operands: Sequence[Operand]
    ) -> Sequence[Operand] | None:
        if node.attrs["length"] <= 1:
            return self._few_steps(builder, node, operands)
        (body,) = node.regions
        carries, inside, step = node.attrs["carries"], _defined(body), Builder(node.loc)
        params = fresh(body.params)
        self.mapping.update(zip(body.params, params, strict=True))
        redundant = self._carries(body.params[:carries], operands, body.results, inside)
        dropped = self._slices(step, body, operands, carries)
        redundant |= self._yields(builder, node, operands, inside)
        if not redundant and not dropped:
            return None
        kept = [i for i in range(len(node.results)) if i not in redundant]
        entering = [
            i for i in range(len(operands)) if i not in (redundant if i < carries else dropped)
        ]
        self.known.learn(step.nodes)
        results = [body.results[i] for i in kept]
        region = self._body(body, [params[i] for i in entering], results, step)
        attrs = {**node.attrs, "carries": sum(i < carries for i in kept)}
        return _without(builder, node, attrs, [operands[i] for i in entering], [region], redundant)

    def _few_steps(
        self, builder: Builder, node: Node, operands: Sequence[Operand]
    ) -> Sequence[Operand] | None:
        """Run the only step of a loop in place, or none."""
        carries, stacks = node.attrs["carries"], node.results[node.attrs["carries"] :]
        if node.attrs["length"] == 1:
            slices = [take(builder, x, 0) for x in operands[carries:]]
            results = self._inline(builder, node.regions[0], [*operands[:carries], *slices])
            return [*results[:carries], *(repeat(builder, y, 1) for y in results[carries:])]
        if any(stack.type.is_key for stack in stacks):
            return None
        return [*operands[:carries], *(builder.zeros(stack.type) for stack in stacks)]

    def _while(
        self, builder: Builder, node: Node, operands: Sequence[Operand]
    ) -> Sequence[Operand] | None:
        condition, body = node.regions
        if self.known.equals(condition.results[0], False):
            return operands
        params = [fresh(region.params) for region in node.regions]
        for region, new in zip(node.regions, params, strict=True):
            self.mapping.update(zip(region.params, new, strict=True))
        redundant = self._carries(body.params, operands, body.results, _defined(body))
        if not redundant:
            return None
        for i, standing in redundant.items():
            same = condition.params[standing] if isinstance(standing, int) else None
            self.mapping[condition.params[i]] = self.mapping[same] if same else operands[i]
        kept = [i for i in range(len(operands)) if i not in redundant]
        results = [condition.results, [body.results[i] for i in kept]]
        regions = [
            self._body(region, [new[i] for i in kept], ends)
            for region, new, ends in zip(node.regions, params, results, strict=True)
        ]
        return _without(builder, node, node.attrs, [operands[i] for i in kept], regions, redundant)

    def _carries(
        self,
        params: Sequence[Value],
        initial: Sequence[Operand],
        finals: Sequence[Operand],
        inside: set[Operand],
    ) -> dict[int, Operand | int]:
        """Find carries that always are as at first, or the same as another one.

        The map learns what to use for their parameters.
        """
        redundant: dict[int, Operand | int] = {}
        seen: dict[tuple[Operand, Operand], int] = {}
        for i, param in enumerate(params):
            final = finals[i]
            if final is param or (
                final not in inside and mapped([final], self.mapping)[0] == initial[i]
            ):
                self.mapping[param] = redundant[i] = initial[i]
                continue
            first = seen.setdefault((initial[i], final), i)
            if first != i:
                self.mapping[param], redundant[i] = self.mapping[params[first]], first
        return redundant

    def _slices(
        self, step: Builder, body: Graph, operands: Sequence[Operand], carries: int
    ) -> set[int]:
        """Find what is iterated over twice, or is the same in each step."""
        dropped: set[int] = set()
        seen: dict[Operand, int] = {}
        for i in range(carries, len(operands)):
            param, operand = body.params[i], operands[i]
            first = seen.setdefault(operand, i)
            repeated = self.known.node(operand, "broadcast_in_dim")
            if first != i:
                self.mapping[param] = self.mapping[body.params[first]]
            elif repeated is not None and 0 not in repeated.attrs["dims"]:
                dims = tuple(axis - 1 for axis in repeated.attrs["dims"])
                source, shape = repeated.operands[0], param.type.shape
                self.mapping[param] = (
                    step("broadcast_in_dim", source, shape=shape, dims=dims) if shape else source
                )
            else:
                continue
            dropped.add(i)
        return dropped

    def _yields(
        self, builder: Builder, node: Node, operands: Sequence[Operand], inside: set[Operand]
    ) -> dict[int, Operand | int]:
        """Find yields that are the same in each step, or as another, or are what comes in."""
        (body,) = node.regions
        carries, length = node.attrs["carries"], node.attrs["length"]
        redundant: dict[int, Operand | int] = {}
        seen: dict[Operand, int] = {}
        coming = dict(zip(body.params[carries:], operands[carries:], strict=True))
        for i in range(carries, len(body.results)):
            result = body.results[i]
            if result not in inside:
                redundant[i] = repeat(builder, mapped([result], self.mapping)[0], length)
            elif result in coming:
                redundant[i] = coming[result]
            elif (first := seen.setdefault(result, i)) != i:
                redundant[i] = first
        return redundant


def _defined(region: Graph) -> set[Operand]:
    """Return the values that a region defines itself, not counting regions inside it."""
    return {*region.params, *(result for node in region.nodes for result in node.results)}


def _without(
    builder: Builder,
    node: Node,
    attrs: Mapping[str, Any],
    operands: Sequence[Operand],
    regions: Sequence[Graph],
    redundant: Mapping[int, Operand | int],
) -> Sequence[Operand]:
    """Build a node that lacks some results, and return something for each of them all the same.

    A number stands for the result of that number.
    """
    kept = [i for i in range(len(node.results)) if i not in redundant]
    hints = [node.results[i].hint for i in kept]
    results = builder.emit(node.op, operands, attrs, regions, loc=node.loc, hints=hints)
    new: dict[int, Operand] = dict(zip(kept, results, strict=True))
    for i, standing in redundant.items():
        new[i] = new[standing] if isinstance(standing, int) else standing
    return [new[i] for i in range(len(node.results))]
