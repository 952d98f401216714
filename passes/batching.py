"""Batching: a replay of nodes in which some values get a leading axis, that of lanes or of time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from ..ir import (
    Builder,
    Graph,
    GraphError,
    Literal,
    Node,
    Operand,
    Type,
    Value,
    captures,
    copy_node,
    mapped,
    replay_region,
    walk,
)
from .guards import Guard
from .lane_dependence import lane_dependent
from .lanes import choose, move_axis, repeat, take

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
    ) -> None:
        self.size, self.dependent, self.mapping = size, dependent, mapping
        self.guarded = guarded
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

    def like(
        self, builder: Builder, operands: Sequence[Operand], models: Sequence[Operand]
    ) -> Operands:
        """Return what stands for operands, with lanes just where their models have them."""
        pairs = zip(operands, models, strict=True)
        return tuple(
            self.lanes(builder, operand) if self.differs(model) else self.now(operand)
            for operand, model in pairs
        )

    def nodes(self, builder: Builder, nodes: Iterable[Node]) -> None:
        """Build nodes with their lanes."""
        for node in nodes:
            builder.loc = node.loc
            if not self._has_lanes(node) and not self._may_have_no_end(node):
                regions = [replay_region(region, self.mapping) for region in node.regions]
                results = copy_node(builder, node, mapped(node.operands, self.mapping), regions)
            elif node.op.has_regions:
                results = self._rule(node)(builder, node)
            else:
                results = self._batch(builder, node)
            self.mapping.update(zip(node.results, results, strict=True))

    def _has_lanes(self, node: Node) -> bool:
        return any(map(self.differs, (*node.operands, *captures(*node.regions))))

    def _may_have_no_end(self, node: Node) -> bool:
        """Whether a node has a loop that need only come to its end where a lane runs it."""
        if self.running is None or node.op.name == "custom_derivative":
            return False
        return node.op.name == "while" or any(map(_has_while, node.regions))

    def _rule(self, node: Node) -> Callable[[Builder, Node], Sequence[Operand]]:
        if node.op.name not in self.rules:
            raise GraphError(f"{node.op.name} inside a vmap should have been expanded before it")
        return self.rules[node.op.name]

    def _batch(self, builder: Builder, node: Node) -> Sequence[Operand]:
        if not self.size and not any(result.type.is_key for result in node.results):
            # Nothing runs, and no op need be able to work on no lanes.
            return [builder.zeros(self.lane_type(result)) for result in node.results]
        assert node.op.batch is not None, "an op without regions can be batched"
        operands = mapped(node.operands, self.mapping)
        batched = tuple(map(self.differs, node.operands))
        own = Builder(node.loc)
        built = node.op.batch(own, operands, batched, self.size, **node.attrs)
        results = (built,) if isinstance(built, Value) else tuple(built)
        given, expected = [r.type for r in results], [self.lane_type(r) for r in node.results]
        if given != expected:
            raise GraphError(f"batching {node.op.name} gave {given} where {expected} was expected")
        results = _with_hints(own.nodes, results, node)
        builder.nodes += own.nodes
        return results

    def lane_type(self, value: Value) -> Type:
        """Return the type of a value with a lane axis."""
        return value.type.with_shape(self.size, *value.type.shape)

    def region(self, region: Graph, models: Sequence[Operand]) -> Graph:
        """Build a region whose parameters have lanes if they differ, its results as the models."""
        params = self.params(region)
        builder = Builder()
        self.nodes(builder, region.nodes)
        return builder.graph(params, self.like(builder, region.results, models), like=region)

    def params(self, region: Graph) -> tuple[Value, ...]:
        """Make new parameters for a region."""
        params = tuple(
            Value(self.lane_type(p) if self.differs(p) else p.type, p.hint) for p in region.params
        )
        self.mapping.update(zip(region.params, params, strict=True))
        return params

    def _emit(
        self, builder: Builder, node: Node, operands: Sequence[Operand], regions: Sequence[Graph]
    ) -> tuple[Value, ...]:
        builder.loc = node.loc
        return copy_node(builder, node, operands, regions)

    # --- loops --------------------------------------------------------------------------------

    def _for_loop(self, builder: Builder, node: Node) -> Sequence[Operand]:
        """Carries have lanes in front; what is iterated over has them behind the time."""
        (body,) = node.regions
        carries = node.attrs["carries"]
        initial = self.like(builder, node.operands[:carries], body.params[:carries])
        over = [
            move_axis(builder, self.now(x), 0, 1) if self.differs(x) else self.now(x)
            for x in node.operands[carries:]
        ]
        models = (*body.params[:carries], *body.results[carries:])
        region = self.region(body, models)
        results = self._emit(builder, node, (*initial, *over), [region])
        return [
            move_axis(builder, result, 1, 0) if i >= carries and self.differs(old) else result
            for i, (result, old) in enumerate(zip(results, node.results, strict=True))
        ]

    def _while(self, builder: Builder, node: Node) -> Sequence[Operand]:
        condition, body = node.regions
        if self.differs(condition.results[0]):
            return self._while_any(builder, node)
        initial = self.like(builder, node.operands, body.params)
        regions = [self.region(condition, condition.results), self.region(body, body.params)]
        if self.running is not None:
            some, check = builder("reduce_or", self.running, axes=(0,)), Builder(node.loc)
            check.nodes += regions[0].nodes
            proceed = check("and", some, regions[0].results[0])
            regions[0] = check.graph(regions[0].params, [proceed], like=regions[0])
        return self._emit(builder, node, initial, regions)

    def _while_any(self, builder: Builder, node: Node) -> Sequence[Operand]:
        """Run while any lane is live; the first carry says which are."""
        condition, body = node.regions
        initial = [self.lanes(builder, operand) for operand in node.operands]
        live = self._predicate(builder, condition, initial)
        if self.running is not None:
            live = builder("and", self.running, live)

        flags, check = Value(live.type, "live"), Builder(node.loc)
        held = [Value(carry.type, p.hint) for carry, p in zip(initial, body.params, strict=True)]
        some = check("reduce_or", flags, axes=(0,))
        proceed = check.graph([flags, *held], [some], like=condition)

        flags, step = Value(live.type, "live"), Builder(node.loc)
        params = self.params(body)
        around, self.running = self.running, flags
        self.nodes(step, body.nodes)
        self.running = around
        following = [self.lanes(step, result) for result in body.results]
        step.loc = node.loc
        pairs = zip(params, following, node.results, strict=True)
        kept = [choose(step, flags, pair, result.hint) for *pair, result in pairs]
        still = self._predicate(step, condition, kept)
        if self.running is not None:
            still = step("and", flags, still)
        run = step.graph([flags, *params], [still, *kept], like=body)

        builder.loc = node.loc
        hints = ("live", *(result.hint for result in node.results))
        return builder.emit(node.op, [live, *initial], node.attrs, [proceed, run], hints=hints)[1:]

    def _predicate(self, builder: Builder, condition: Graph, carries: Sequence[Operand]) -> Operand:
        self.mapping.update(zip(condition.params, carries, strict=True))
        self.nodes(builder, condition.nodes)
        return self.lanes(builder, condition.results[0])

    # --- branches and calls -----------------------------------------------------------------------

    def _cond(self, builder: Builder, node: Node) -> Sequence[Operand]:
        (index,) = node.operands
        if not self.differs(index):
            regions = [self.region(branch, node.results) for branch in node.regions]
            return self._emit(builder, node, [self.now(index)], regions)
        which, columns = self._in_range(builder, self.now(index), len(node.regions)), []
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
        if self.guarded or _has_while(branch):
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
        return self._emit(builder, node, operands, [self.region(body, node.results)])

    def _custom_derivative(self, builder: Builder, node: Node) -> Sequence[Operand]:
        """All results have lanes, so that every cotangent is that of one lane."""
        primal, rule, *backward = node.regions
        batched = [self.differs(operand) for operand in node.operands]
        regions = [self.region(primal, node.results)]
        inner = self._within(rule, batched * (1 if backward else 2))
        if backward:
            outs = len(node.results)
            regions.append(inner.region(rule, (*node.results, *rule.results[outs:])))
            differ = [inner.differs(r) for r in rule.results[outs:]] + [True] * outs
            inner = self._within(backward[0], differ)
            regions.append(inner.backward(backward[0], batched))
        else:
            regions.append(inner.region(rule, (*node.results, *node.results)))
        operands = mapped(node.operands, self.mapping)
        return self._emit(builder, node, operands, regions)

    def _within(self, region: Graph, batched: Sequence[bool]) -> Batching:
        """Return a batching for a rule, given which of its parameters have lanes."""
        lanes = [v for v in captures(region) if self.differs(v)]
        lanes += [p for p, has in zip(region.params, batched, strict=True) if has]
        dependent = self.dependent | lane_dependent(region, lanes)
        return Batching(self.size, dependent, self.mapping, self.guarded)

    def backward(self, region: Graph, batched: Sequence[bool]) -> Graph:
        """Build a backward rule; the cotangent of what all lanes share is summed over them."""
        params, builder = self.params(region), Builder()
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


def _has_while(region: Graph) -> bool:
    return any(node.op.name == "while" for node in walk(region))


def _with_hints(nodes: list[Node], results: Sequence[Operand], node: Node) -> Sequence[Operand]:
    """Name results as the old ones were, if the last of some new nodes made them."""
    if not nodes or nodes[-1].results != tuple(results):
        return results
    pairs = zip(results, node.results, strict=True)
    named = tuple(Value(new.type, old.hint) for new, old in pairs)
    nodes[-1] = replace(nodes[-1], results=named)
    return named
