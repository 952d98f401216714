"""Batching: a replay of nodes in which some values get a leading axis, that of lanes or of time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import compress

from ..ir import (
    Branches,
    Builder,
    Call,
    CustomDerivative,
    Graph,
    GraphError,
    Literal,
    Loop,
    Node,
    Operand,
    Round,
    Type,
    Value,
    While,
    captures,
    copy_node,
    mapped,
    move_axis,
    repeat,
    replay_region,
    surely_ends,
    walk,
)
from .guards import Guard
from .lane_dependence import lane_dependent, meets
from .lanes import choose, take

Operands = tuple[Operand, ...]


class Batching:
    """One replay of a region in which the values that differ between lanes get a leading axis.

    If what comes out is still to be differentiated, it is ``guarded``; see `brainir.passes.guards`.
    """

    def __init__(
        self,
        size: int,
        dependent: set[Value],
        mapping: dict[Value, Operand],
        guarded: bool = False,
        axis_name: str | None = None,
        spmd_axis_name: str | tuple[str, ...] | None = None,
    ) -> None:
        self.size, self.dependent, self.mapping = size, dependent, mapping
        self.guarded, self.axis_name, self.spmd_axis_name = guarded, axis_name, spmd_axis_name
        self.running: Operand | None = None
        """Which lanes are in the branch or loop at hand, where they do not all run the same."""
        self.rules: dict[str, Callable[[Builder, Node], Sequence[Operand]]] = {
            "for_loop": self._for_loop,
            "while": self._while,
            "cond": self._cond,
            "call": self._call,
            "checkpoint": self._call,
            "custom_derivative": self._custom_derivative,
        }

    def differs(self, operand: Operand) -> bool:
        """Whether an operand of the old region differs between lanes."""
        return not isinstance(operand, Literal) and operand in self.dependent

    def now(self, operand: Operand) -> Operand:
        """Return what stands for an operand of the old region."""
        return operand if isinstance(operand, Literal) else self.mapping.get(operand, operand)

    def lanes(self, builder: Builder, operand: Operand) -> Operand:
        """Return what stands for an operand, repeated for every lane if they all agree."""
        new = self.now(operand)
        return new if self.differs(operand) else repeat(builder, new, self.size)

    def like(self, builder: Builder, operand: Operand, model: Operand) -> Operand:
        """Return what stands for an operand, with lanes just where its model has them."""
        return self.lanes(builder, operand) if self.differs(model) else self.now(operand)

    def nodes(self, builder: Builder, nodes: Iterable[Node]) -> None:
        """Build nodes with their lanes."""
        for node in nodes:
            builder.loc = node.loc
            if meets(node, self.axis_name):
                results = [self._meet(builder, node)]
            elif not self._has_lanes(node) and not self._may_have_no_end(node):
                regions = [replay_region(region, self.mapping) for region in node.regions]
                results = copy_node(builder, node, mapped(node.operands, self.mapping), regions)
            elif node.op.has_regions:
                results = self._rule(node)(builder, node)
            else:
                results = self._batch(builder, node)
            self.mapping.update(zip(node.results, results, strict=True))

    def _has_lanes(self, node: Node) -> bool:
        if any(map(self.differs, (*node.operands, *captures(*node.regions)))):
            return True
        inside = (inner for region in node.regions for inner in walk(region))
        return self.axis_name is not None and any(meets(i, self.axis_name) for i in inside)

    def _meet(self, builder: Builder, node: Node) -> Operand:
        """Return what lanes know of each other: they are an axis here."""
        if node.op.name == "lane_index":
            return builder("iota", dtype="int32", shape=(self.size,), dimension=0)
        lanes = self.lanes(builder, node.operands[0])
        if node.op.name == "gather_lanes":
            return lanes
        return builder("reduce_sum", lanes, axes=(0,))

    def _may_have_no_end(self, node: Node) -> bool:
        """Whether a node has a loop that need only come to its end where a lane runs it."""
        if self.running is None or node.op.name == "custom_derivative":
            return False
        return not surely_ends(node)

    def _rule(self, node: Node) -> Callable[[Builder, Node], Sequence[Operand]]:
        if node.op.name not in self.rules:
            raise GraphError(
                f"{node.op.name} inside a vmap has no rule for lanes: expand it before, or give it "
                "one in brainir/passes/batching.py"
            )
        return self.rules[node.op.name]

    def _batch(self, builder: Builder, node: Node) -> Sequence[Operand]:
        if not self.size and not any(result.type.is_key for result in node.results):
            # Nothing runs, and no op need be able to work on no lanes.
            return [builder.zeros(self.lane_type(result)) for result in node.results]
        assert node.op.batch is not None, "an op without regions can be batched"
        operands = mapped(node.operands, self.mapping)
        batched = tuple(map(self.differs, node.operands))
        own, attrs = Builder(node.loc), node.attrs
        if self.spmd_axis_name is not None and node.op.opaque:
            attrs = {**attrs, "spmd_axis_name": self.spmd_axis_name}
        built = node.op.batch(own, operands, batched, self.size, **attrs)
        results = (built,) if isinstance(built, Value) else tuple(built)
        given, expected = [r.type for r in results], [self.lane_type(r) for r in node.results]
        if given != expected:
            raise GraphError(f"batching {node.op.name} gave {given} where {expected} was expected")
        results = _with_hints(own.nodes, results, node)
        builder.extend(own.nodes)
        return results

    def lane_type(self, value: Value) -> Type:
        """Return the type of a value with a lane axis."""
        return value.type.stacked(self.size)

    def region(self, region: Graph, models: Sequence[Operand]) -> Graph:
        """Build a region whose parameters have lanes if they differ, its results as the models."""
        params = self.params(region.params)
        builder = Builder()
        self.nodes(builder, region.nodes)
        pairs = zip(region.results, models, strict=True)
        results = [self.like(builder, result, model) for result, model in pairs]
        return builder.graph(params, results, like=region)

    def params(self, params: Sequence[Value]) -> tuple[Value, ...]:
        """Make new parameters for those of a region."""
        new = tuple(Value(self.lane_type(p) if self.differs(p) else p.type, p.hint) for p in params)
        self.mapping.update(zip(params, new, strict=True))
        return new

    # --- loops ------------------------------------------------------------------------------------

    def _for_loop(self, builder: Builder, node: Node) -> Sequence[Operand]:
        """Carries have lanes in front; what is iterated over has them behind the time."""
        old, (body,) = Loop.of(node), node.regions
        initial = [self.like(builder, carry.initial, carry.param) for carry in old.carries]
        arrays = [
            move_axis(builder, self.now(x), 0, 1) if self.differs(x) else self.now(x)
            for x, _ in old.slices
        ]
        models = (*(carry.param for carry in old.carries), *(stack.each for stack in old.stacks))
        loop = Loop.of(node, (*initial, *arrays), [self.region(body, models)])
        lasts, stacks = loop.emit(builder)
        differ = [stack.result in self.dependent for stack in old.stacks]
        pairs = zip(stacks, differ, strict=True)
        return [*lasts, *(move_axis(builder, x, 1, 0) if has else x for x, has in pairs)]

    def _while(self, builder: Builder, node: Node) -> Sequence[Operand]:
        old, (condition, body) = While.of(node), node.regions
        if self.differs(old.test):
            return self._while_any(builder, old)
        initial = [self.like(builder, carry.initial, carry.param) for carry in old.carries]
        regions = [self.region(condition, condition.results), self.region(body, body.params)]
        loop = While.of(node, initial, regions)
        if self.running is not None:
            some, check = builder("reduce_or", self.running, axes=(0,)), Builder(node.loc)
            proceed = check("and", some, loop.test)
            loop = loop.rebuilt(test=proceed, condition=(*loop.condition, *check.nodes))
        return loop.emit(builder)

    def _while_any(self, builder: Builder, old: While) -> Sequence[Operand]:
        """Run while any lane is live; the first carry says which are."""
        initial = [self.lanes(builder, carry.initial) for carry in old.carries]
        live = self._goes_on(builder, old, initial)
        if self.running is not None:
            live = builder("and", self.running, live)

        seen, check = Value(live.type, "live"), Builder(old.loc)
        some = check("reduce_or", seen, axes=(0,))

        flags, step = Value(live.type, "live"), Builder(old.loc)
        params = self.params([carry.param for carry in old.carries])
        around, self.running = self.running, flags
        self.nodes(step, old.nodes)
        self.running = around
        following = [self.lanes(step, carry.next) for carry in old.carries]
        step.loc = old.loc
        pairs = zip(params, following, strict=True)
        kept = [choose(step, flags, pair, pair[0].hint) for pair in pairs]
        still = self._goes_on(step, old, kept)
        if self.running is not None:
            still = step("and", flags, still)

        carries = (
            Round(x, Value(x.type, carry.param.hint), param, new, carry.last)
            for x, param, new, carry in zip(initial, params, kept, old.carries, strict=True)
        )
        loop = old.rebuilt(
            carries=(Round(live, seen, flags, still), *carries),
            test=some,
            condition=tuple(check.nodes),
            nodes=tuple(step.nodes),
        )
        _, *lasts = loop.emit(builder)
        return lasts

    def _goes_on(self, builder: Builder, loop: While, carries: Sequence[Operand]) -> Operand:
        """Build the condition, and return which lanes go on."""
        pairs = zip(loop.carries, carries, strict=True)
        self.mapping.update((carry.seen, operand) for carry, operand in pairs)
        self.nodes(builder, loop.condition)
        return self.lanes(builder, loop.test)

    # --- branches and calls -----------------------------------------------------------------------

    def _cond(self, builder: Builder, node: Node) -> Sequence[Operand]:
        old = Branches.of(node)
        if not self.differs(old.index):
            regions = [self.region(branch, node.results) for branch in node.regions]
            return Branches.of(node, [self.now(old.index)], regions).emit(builder)
        which, columns = self._in_range(builder, self.now(old.index), len(node.regions)), []
        for number, branch in enumerate(node.regions):
            self._branch(builder, branch, which, number)
            columns.append([self.lanes(builder, result) for result in branch.results])
            builder.loc = node.loc
        choices = zip(zip(*columns, strict=True), node.results, strict=True)
        return [choose(builder, which, cases, result.hint) for cases, result in choices]

    def _in_range(self, builder: Builder, index: Operand, branches: int) -> Operand:
        if index.type.dtype == "bool":
            return index
        bounds = [Literal(bound, Type(index.type.dtype)) for bound in (0, branches - 1)]
        return builder("clamp", bounds[0], index, bounds[1])

    def _branch(self, builder: Builder, branch: Graph, which: Operand, number: int) -> None:
        """Build the nodes of one of the branches that lanes choose from."""
        around, before = self.running, {}
        if self.guarded or not all(map(surely_ends, branch.nodes)):
            taken = which if number else builder("not", which)
            if which.type.dtype != "bool":
                taken = builder("eq", which, builder.full(which.type, number))
            self.running = taken if around is None else builder("and", around, taken)
            if self.guarded and self.size:
                guarded = Guard(branch, taken, self.now, self.differs).inputs(builder)
                before = {value: self.now(value) for value in guarded}
                self.mapping.update(guarded)
        self.nodes(builder, branch.nodes)
        self.running = around
        self.mapping.update(before)

    def _call(self, builder: Builder, node: Node) -> Sequence[Operand]:
        (body,) = node.regions
        operands = mapped(node.operands, self.mapping)
        return Call.of(node, operands, [self.region(body, node.results)]).emit(builder)

    def _custom_derivative(self, builder: Builder, node: Node) -> Sequence[Operand]:
        """All results have lanes, so that every cotangent is that of one lane."""
        view = CustomDerivative.of(node)
        rule, back = view.rule, view.backward
        batched = [self.differs(argument.operand) for argument in view.arguments]
        regions = [self.region(node.regions[0], node.results)]
        inner = self._within(rule.graph, (*_some(rule.given, batched), *_some(rule.moved, batched)))
        models = (*node.results, *(node.results if back is None else rule.residuals))
        regions.append(inner.region(rule.graph, models))
        if back is not None:
            kept = _some(back.residuals, map(inner.differs, rule.residuals))
            inner = self._within(back.graph, (*kept, *back.cotangents))
            regions.append(inner.backward(back.graph, batched))
        operands = mapped(node.operands, self.mapping)
        builder.loc = node.loc
        return copy_node(builder, node, operands, regions)

    def _within(self, region: Graph, params: Iterable[Value]) -> Batching:
        """Return a batching for a rule, of which some parameters have lanes."""
        lanes = [*(v for v in captures(region) if self.differs(v)), *params]
        dependent = self.dependent | lane_dependent(region, lanes, self.axis_name)
        names = self.axis_name, self.spmd_axis_name
        return Batching(self.size, dependent, self.mapping, self.guarded, *names)

    def backward(self, region: Graph, batched: Sequence[bool]) -> Graph:
        """Build a backward rule; the cotangent of what all lanes share is summed over them."""
        params, builder = self.params(region.params), Builder()
        self.nodes(builder, region.nodes)
        results: list[Operand] = []
        for result, has in zip(region.results, batched, strict=True):
            if has:
                results.append(self.lanes(builder, result))
            elif result.type.is_differentiable:
                total = builder("reduce_sum", self.lanes(builder, result), axes=(0,))
                results.append(total)
            else:
                # The cotangent of an integer or a key is ignored: any of the right type will do.
                new = self.now(result)
                results.append(take(builder, new, 0) if self.differs(result) else new)
        return builder.graph(params, results, like=region)


def _some(values: Iterable[Value], chosen: Iterable[bool]) -> list[Value]:
    """Return the values that are chosen; there may be none at all."""
    return list(compress(values, chosen))


def _with_hints(nodes: list[Node], results: Sequence[Operand], node: Node) -> Sequence[Operand]:
    """Name results as the old ones were, if the last of some new nodes made them."""
    if not nodes or nodes[-1].results != tuple(results):
        return results
    pairs = zip(results, node.results, strict=True)
    named = tuple(Value(new.type, old.hint) for new, old in pairs)
    nodes[-1] = replace(nodes[-1], results=named)
    return named
