"""What the steps of a loop hand to its reverse, so that as little as possible is stored for each.

Slices of what the loop runs over, and what it yields anyway, are at hand. The rest is a minimum
cut, see `residuals`, of one of two networks, whichever is cheaper:

- that of one step, where the carries at its start are stored like any other value;
- that of two steps. A step starts with what the step before ended with. So the reverse, which meets
  the later step first, has the end of a step for nothing if it has its start; and the start of a
  step can be computed again from what was stored of the step before. A spiking neuron then stores
  its membrane potential, once, and no spikes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf
from typing import NamedTuple

from ..ir import (
    Builder,
    Carry,
    Literal,
    Loop,
    Node,
    Operand,
    Slice,
    Stack,
    Type,
    Value,
    copy_node,
    mapped,
)
from .activity import dependent_values
from .residuals import minimum_cut, repeatable, values


class Vertex(NamedTuple):
    """A value of a step, and of which: ``now``, the step ``before``, or ``between`` the two.

    The last is a carry, named by its parameter.
    """

    when: str
    value: Value


class ForwardStep:
    """The forward step of a loop: who produces what, and what costs nothing.

    Attributes
    ----------
    loop : Loop
        The loop, whose nodes are those that run forward.
    producers : dict of Value to Node or None
        The values of the step; None for parameters.
    carries : dict of Value to Operand
        What comes in by parameter, and what goes out; without carries that no step changes.
    leaving : dict of Value to Value
        For what goes out of a step by a carry, the parameter by which it comes into the next.
    kept : dict of Value to Operand
        The parameters of carries that no step changes, and what they are.
    starts, ends : dict of Value to Operand
        What each carry is before and after the loop, by parameter.
    at_hand : dict of Value to Operand
        Values of which there are arrays over all steps.
    """

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.producers: dict[Value, Node | None] = dict.fromkeys(loop.body.params)
        self.producers.update((result, node) for node in loop.nodes for result in node.results)
        self.starts = {c.param: c.initial for c in loop.carries}
        self.ends = {c.param: c.last for c in loop.carries if c.last is not None}
        self.kept = {c.param: c.initial for c in loop.carries if c.param is c.next}
        self.carries = {c.param: c.next for c in loop.carries if c.param is not c.next}
        self.leaving = {r: p for p, r in reversed(self.carries.items()) if isinstance(r, Value)}
        self.at_hand: dict[Value, Operand] = {}
        for value, array in loop.stacks:
            if isinstance(value, Value) and value in self.producers and array is not None:
                self.at_hand[value] = array
        self.at_hand.update((piece.param, piece.array) for piece in loop.slices)

    def choose(self, needed: Iterable[Value]) -> set[Vertex]:
        """Choose what to store so that the needed values can be had in the reverse."""
        needed = list(needed)
        one = self._cut(needed, across=False)
        if self.carries.keys().isdisjoint(vertex.value for vertex in one):
            return one
        two = self._cut(needed, across=True)
        return two if _bytes(two) < _bytes(one) else one

    def _cut(self, needed: Sequence[Value], across: bool) -> set[Vertex]:
        def now(found: Iterable[Value]) -> list[Vertex]:
            return [self._now(v, across) for v in found if self.stored(v)]

        def before(found: Iterable[Value]) -> list[Vertex]:
            return [self._before(v) for v in found if self.inside(v) and not self.entered(v)]

        def inputs(vertex: Vertex) -> list[Vertex] | None:
            """Return what a vertex is computed from."""
            if vertex.when == "between":
                result = self.carries[vertex.value]
                if not self.inside(result):
                    return []
                assert isinstance(result, Value)
                found, node = before, self.producers[result]
            else:
                found = now if vertex.when == "now" else before
                node = self.producers[vertex.value]
            if node is None or not repeatable(node):
                return None
            return found(values(node))

        return minimum_cut(now(needed), inputs, self._size)

    def inside(self, operand: Operand) -> bool:
        """Whether a value differs from step to step."""
        return operand in self.producers and operand not in self.kept

    def entered(self, value: Value) -> bool:
        """Whether a value is at hand as what the next step starts with."""
        return self.leaving.get(value) in self.at_hand

    def stored(self, value: Value) -> bool:
        """Whether a value costs something to have in the reverse."""
        return self.inside(value) and value not in self.at_hand and not self.entered(value)

    def _now(self, value: Value, across: bool) -> Vertex:
        if across and value in self.carries:
            return Vertex("between", value)
        if across and value in self.leaving:
            return Vertex("between", self.leaving[value])
        return Vertex("now", value)

    def _before(self, value: Value) -> Vertex:
        if value in self.leaving:
            return Vertex("between", self.leaving[value])
        return Vertex("before", value)

    def _size(self, vertex: Vertex) -> float:
        # What the step before started with is two steps away; a key has no zero to start from.
        if vertex.when == "before" and (vertex.value in self.carries or vertex.value.type.is_key):
            return inf
        return vertex.value.type.nbytes


def _bytes(vertices: Iterable[Vertex]) -> int:
    return sum(vertex.value.type.nbytes for vertex in vertices)


class LoopResiduals:
    """What a loop stores for its reverse, and how the reverse step gets what it needs.

    Attributes
    ----------
    now : dict of Value to Operand
        What stands for needed values of the forward step in the reverse one.
    nodes : list of Node
        What the reverse step computes again.
    slices : list of Slice
        What is stored, and the parameters of the reverse step that are its slices.
    carries : list of Carry
        What the later step had read, which the reverse loop carries on from there.
    """

    def __init__(self, step: ForwardStep, outer: Builder, needed: Sequence[Value]) -> None:
        self.step, self.outer = step, outer
        self.chosen = step.choose(needed)
        self.now: dict[Value, Operand] = dict(step.kept)
        self.before: dict[Value, Operand] = dict(step.kept)
        self.slices: list[Slice] = []
        self.carries: list[Carry] = []
        self._stored: list[tuple[Value, Value]] = []
        self._delays: dict[Value, _Delay] = {}
        self.nodes = self._run_again(*self._demand(needed))

    # --- what is had without computing it ---

    def _had_now(self, value: Value) -> bool:
        """Get a value of the step at hand into ``now`` unless it must be computed."""
        if value in self.now or not self.step.inside(value):
            return True
        start = self.step.leaving.get(value, value)
        if value in self.step.at_hand:
            self.now[value] = self._slice(self.step.at_hand[value], value)
        elif Vertex("before", value) in self.chosen:
            delay = self._delay(value)
            self.now[value] = self._carry(delay.end, delay.slice)
        elif not self.chosen.isdisjoint((Vertex("now", value), Vertex("between", value))):
            stack = Value(value.type.stacked(self.step.loop.length))
            self._stored.append((value, stack))
            self.now[value] = self._slice(stack, value)
        elif self.step.entered(value) or Vertex("between", start) in self.chosen:
            self._had_now(start)
            self.now[value] = self._carry(self.step.ends[start], self.now[start])
        return value in self.now

    def _had_before(self, value: Value) -> bool:
        """Get a value of the step before into ``before`` unless it must be computed."""
        if value in self.before or not self.step.inside(value):
            return True
        start = self.step.leaving.get(value)
        if start is not None and (
            start in self.step.at_hand or Vertex("between", start) in self.chosen
        ):
            self._had_now(start)
            self.before[value] = self.now[start]
        elif Vertex("before", value) in self.chosen:
            self.before[value] = self._delay(value).slice
        return value in self.before

    def _slice(self, array: Operand, value: Value) -> Value:
        self.slices.append(Slice(array, Value(value.type, value.hint)))
        return self.slices[-1].param

    def _carry(self, end: Operand, slice: Operand) -> Value:
        """Return what a slice was in the later step, which the reverse met before."""
        self.carries.append(Carry(end, Value(end.type), slice))
        return self.carries[-1].param

    def _delay(self, value: Value) -> _Delay:
        """Make the forward loop carry a value into the next step, which stores it."""
        if value not in self._delays:
            param, end = Value(value.type), Value(value.type)
            stack = Value(value.type.stacked(self.step.loop.length))
            self._stored.append((param, stack))
            self._delays[value] = _Delay(param, end, self._slice(stack, value))
        return self._delays[value]

    # --- what is computed again ---

    def _demand(self, needed: Sequence[Value]) -> tuple[list[Node], list[Value], list[Node]]:
        """Return what to run again: nodes of the step before, carries between, nodes of this."""
        before: dict[Node, None] = {}
        now: dict[Node, None] = {}
        entering: dict[Value, None] = {}
        stack = [(False, v) for v in reversed(needed)]
        while stack:
            earlier, value = stack.pop()
            if self._had_before(value) if earlier else self._had_now(value):
                continue
            if not earlier and value in self.step.carries:
                entering[value] = None
                result = self.step.carries[value]
                if isinstance(result, Value):
                    stack.append((True, result))
                continue
            node = self.step.producers[value]
            assert node is not None, "what cannot be computed again has been stored"
            nodes = before if earlier else now
            if node not in nodes:
                nodes[node] = None
                stack += [(earlier, v) for v in reversed(values(node))]
        order = self.step.loop.nodes
        return [n for n in order if n in before], list(entering), [n for n in order if n in now]

    def _run_again(
        self, before: Sequence[Node], entering: Sequence[Value], now: Sequence[Node]
    ) -> list[Node]:
        builder = Builder()
        if entering:
            first = self._is_first()
            self._keep_in_domain(builder, first, before, entering)
            _copy_nodes(builder, before, self.before)
            for param in entering:
                (again,) = mapped([self.step.carries[param]], self.before)
                self.now[param] = builder("select_n", first, again, self.step.starts[param])
        _copy_nodes(builder, now, self.now)
        return builder.nodes

    def _is_first(self) -> Value:
        """Return whether the step at hand is the first one, which has none before it."""
        loop = self.step.loop
        index = self.outer("iota", dtype="int32", shape=(loop.length,), dimension=0)
        first = Literal(loop.first, Type("int32"))
        return self._slice(self.outer("eq", index, first), Value(Type("bool")))

    def _keep_in_domain(
        self, builder: Builder, first: Value, nodes: Sequence[Node], entering: Sequence[Value]
    ) -> None:
        """Let the first step compute with what the last one ended with.

        What it makes of a step before it is not used. But it is differentiated if derivatives of
        derivatives are asked for, and only values that a step ended with are sure to do no harm.
        """
        used = [v for v in self.before if v not in self.step.kept]
        smooth = dependent_values(nodes, used)
        if not any(self.step.carries[param] in smooth for param in entering):
            return
        for value in used:
            if value.type.is_differentiable:
                start = self.step.leaving.get(value)
                end = self._delays[value].end if start is None else self.step.ends[start]
                self.before[value] = builder("select_n", first, self.before[value], end)

    # --- the forward loop ---

    def forward(self) -> list[Node]:
        """Return the forward loop, which yields in addition what is stored."""
        loop, builder = self.step.loop, Builder(self.step.loop.loc)
        delayed = [
            Carry(builder.zeros(delay.param.type), delay.param, value, delay.end)
            for value, delay in self._delays.items()
        ]
        stored = [Stack(value, stack) for value, stack in self._stored]
        more = loop.rebuilt(carries=(*loop.carries, *delayed), stacks=(*loop.stacks, *stored))
        return [*builder.nodes, more.node()]


class _Delay(NamedTuple):
    """A value that the forward loop carries into the next step.

    As a parameter there, when the loop ends, and as a slice in the reverse.
    """

    param: Value
    end: Value
    slice: Value


def _copy_nodes(builder: Builder, nodes: Iterable[Node], names: dict[Value, Operand]) -> None:
    for node in nodes:
        results = copy_node(builder, node, mapped(node.operands, names))
        names.update(zip(node.results, results, strict=True))
