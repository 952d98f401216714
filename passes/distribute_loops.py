"""The pass `distribute_loops`: layer by layer in place of step by step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from math import prod

from ..ir import (
    Builder,
    Carry,
    Graph,
    Loop,
    Node,
    Operand,
    Replacements,
    Slice,
    Stack,
    Value,
    copy_node,
    fresh,
    is_pure,
    mapped,
    repeat,
    replay,
    replay_graph,
    replay_region,
    walk,
)
from .batching import Batching
from .known_values import KnownValues
from .linearity import has_linear_reverse
from .loop_stages import Dependences, Stage, Term, Total
from .splicing import inputs_of

ROWS = 8
"""With fewer rows in a step, a matrix is read from memory more often than it is computed with."""

SUMMED = 16
"""With fewer terms in a step, a sum of products is written to memory more often than added to."""

CACHE = 2**20
"""Bytes of a matrix that does not stay in the cache of one core between two steps."""

MEMORY = 2**30
"""How many bytes the loops may hand to each other."""


def distribute_loops(
    graph: Graph, rows: int = ROWS, summed: int = SUMMED, cache: int = CACHE, memory: int = MEMORY
) -> Graph:
    """Split loops around matrix products that need not wait for the step before.

    A loop over the layers of a model, for each step, becomes a loop over the steps for each layer,
    with one large product in place of a small one a step. A product that a carry only adds up, as
    in the gradient of a weight, becomes one product that sums over the steps, too.

    A product moves if a step has fewer than ``rows`` rows of it, a sum of products if a step has
    fewer than ``summed`` terms, and both if the matrix has more than ``cache`` bytes. These bounds
    were measured on a CPU. What takes something like a one-hot code, which would be large for all
    steps, stays. A loop stays whole if its parts would hand each other more than ``memory`` bytes,
    if it talks to the host, as a progress bar does, or if it has no carries: what asked for a loop
    all the same, such as a map, did not want all steps at once. Sums are taken in another order, so
    results agree up to rounding.

    Notes
    -----
    *before*::

        graph @f(%x: f32[9,4], %v: f32[4], %w: f32[4,4]) -> (f32[4], f32[9,4]) {
          %last, %y = for_loop carry(%u = %v) over(%a = %x) {length=9} : f32[4], f32[9,4] do {
            %i = dot_general %a, %w {
              dimension_numbers=(((0,), (0,)), ((), ())),
              precision=none, preferred_element_type=none
            } : f32[4]
            %t = tanh %u : f32[4]
            %n = add %t, %i : f32[4]
            yield %n, %t
          }
          return %last, %y
        }

    *after*::

        graph @f(%x: f32[9,4], %v: f32[4], %w: f32[4,4]) -> (f32[4], f32[9,4]) {
          %i = dot_general %x, %w {
            dimension_numbers=(((1,), (0,)), ((), ())), precision=none, preferred_element_type=none
          } : f32[9,4]
          %last, %y = for_loop carry(%u = %v) over(%i1 = %i) {length=9} : f32[4], f32[9,4] do {
            %t = tanh %u : f32[4]
            %n = add %t, %i1 : f32[4]
            yield %n, %t
          }
          return %last, %y
        }

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> from brainir.ir import walk
    >>> from brainir.passes import distribute_loops
    >>> weight = jnp.ones((1000, 1000))
    >>> def step(potential, spikes):
    ...     return 0.9 * potential + spikes @ weight, None
    >>> run = brainir.transform.jit(lambda V, spikes: brainir.transform.scan(step, V, spikes)[0])
    >>> graph = run.trace(jnp.zeros(1000), jnp.zeros((50, 1000))).graph("hoist-invariant")
    >>> after = distribute_loops(graph)
    >>> [str(node.result.type) for node in walk(after) if node.op.name == "dot_general"]
    ['f32[50,1000]']
    """

    bounds, known = _Bounds(rows, summed, cache, memory), KnownValues()
    known.learn(walk(graph))

    def rewrite(
        builder: Builder, node: Node, operands: tuple[Operand, ...], mapping: Replacements
    ) -> Sequence[Operand] | None:
        if node.op.name != "for_loop":
            return None
        body = replay_region(node.regions[0], mapping, rewrite)
        loop = Loop.of(node, operands, [body])
        plan = _plan(loop, bounds)
        if plan is None:
            return copy_node(builder, node, operands, [body])
        around, builder.loc = builder.loc, node.loc
        pairs = zip(loop.carries, Loop.of(node).carries, strict=True)
        empty = {new.param for new, old in pairs if known.equals(old.initial, 0)}
        results = _Distribution(builder, plan, empty).run()
        builder.loc = around
        return results

    return replay_graph(graph, rewrite)


@dataclass(frozen=True, slots=True)
class _Bounds:
    """When a product had better leave a loop."""

    rows: int
    summed: int
    cache: int
    memory: int

    def few_rows(self, node: Node, varying: set[Value]) -> bool:
        """Whether a node multiplies few rows of each step with one and the same matrix."""
        if node.op.name != "dot_general":
            return False
        fixed = [o for o in node.operands if o not in varying]
        if len(fixed) != 1:
            return False
        side = 1 if fixed[0] is node.operands[0] else 0
        axes = [d for pair in node.attrs["dimension_numbers"] for d in pair[side]]
        shape = node.operands[side].type.shape
        rows = prod(n for d, n in enumerate(shape) if d not in axes)
        return rows < self.rows or fixed[0].type.nbytes > self.cache

    def few_terms(self, product: Node, varying: set[Value]) -> bool:
        """Whether a product of what differs from step to step sums over few terms in each."""
        ((contracted, _), _) = product.attrs["dimension_numbers"]
        terms = prod(product.operands[0].type.shape[d] for d in contracted)
        few = terms < self.summed or product.result.type.nbytes > self.cache
        return few and varying.issuperset(product.operands)


class _Plan:
    """How a loop is split, and what its parts hand to each other."""

    def __init__(self, step: Dependences, stages: Sequence[Stage], totals: Sequence[Total]) -> None:
        self.step, self.stages, self.totals = step, stages, totals
        self._users: defaultdict[Operand, set[Stage | None]] = defaultdict(set)
        for stage in stages:
            nodes = step.with_light(self.next(stage), stage.nodes)
            for value in (*self.next(stage), *(v for node in nodes for v in inputs_of(node))):
                self._users[value].add(stage)
        terms = (term for total in totals for term in total.terms)
        factors = (factor for term in terms for factor in term.product.operands)
        for value in (*(stack.each for stack in step.loop.stacks), *factors):
            self._users[value].add(None)

    def next(self, stage: Stage) -> list[Operand]:
        """Return what the carries of a stage become."""
        return [carry.next for carry in stage.carries]

    def handed_on(self, stage: Stage) -> list[Value]:
        """Return what a stage has that is used outside of it."""
        carried = [carry.param for carry in stage.carries]
        made = [result for node in stage.nodes for result in node.results]
        return [value for value in (*carried, *made) if self._users[value] - {stage}]


def _plan(loop: Loop, bounds: _Bounds) -> _Plan | None:
    """Return how to split a loop, or None if it had better stay whole."""
    if loop.length < 2 or not loop.carries or not all(map(is_pure, loop.nodes)):
        return None
    step = Dependences(loop)
    if not all(has_linear_reverse(n) or step.varying.issuperset(n.results) for n in loop.nodes):
        return None  # what would run once in place of once in each step, see `hoist_invariant`
    totals = step.totals(lambda p: bounds.few_terms(p, step.varying) and not step.grows(p))
    gone = {part for total in totals for part in total.alone}
    rest = (node for node in loop.nodes if node not in gone)
    products = {n for n in rest if bounds.few_rows(n, step.varying) and not step.grows(n)}
    plan = _Plan(step, step.stages(products, gone), totals)
    if not totals and not any(stage.at_once for stage in plan.stages):
        return None
    handed = (v for stage in plan.stages for v in plan.handed_on(stage))
    return plan if loop.length * sum(v.type.nbytes for v in handed) <= bounds.memory else None


class _Distribution:
    """Builds the stages of a loop, one after the other.

    ``batching`` knows the array over all steps of every value that is there so far, and ``empty``
    are the parameters of carries that start with zeros.
    """

    def __init__(self, builder: Builder, plan: _Plan, empty: AbstractSet[Value]) -> None:
        self.builder, self.plan, self.step, self.empty = builder, plan, plan.step, empty
        self.loop, self.length = plan.step.loop, plan.step.loop.length
        over: dict[Value, Operand] = {piece.param: piece.array for piece in self.loop.slices}
        self.batching = Batching(self.length, self.step.varying, over)
        self.ends: dict[Value, Operand] = {}
        """What carries are left with, by parameter."""

    def run(self) -> list[Operand]:
        """Build everything and return what stands for the loop's results."""
        self._at_once(self.step.fixed)
        for stage in self.plan.stages:
            if stage.at_once:
                self._at_once(stage.nodes)
            else:
                self._steps(stage)
        for total in self.plan.totals:
            self.ends[total.carry.param] = self._total(total)
        yields = [stack.each for stack in self.loop.stacks]
        self._at_once((), yields)
        stacks = [self._whole(value) for value in yields]
        return [*(self.ends[carry.param] for carry in self.loop.carries), *stacks]

    def _whole(self, operand: Operand) -> Operand:
        """Return an array over all steps."""
        if isinstance(operand, Value) and operand in self.step.varying:
            return self.batching.now(operand)
        return repeat(self.builder, self.batching.now(operand), self.length)

    def _at_once(self, nodes: Iterable[Node], wanted: Iterable[Operand] = ()) -> None:
        """Build nodes for all steps at once, with the light ones that are needed."""
        needed = self.step.with_light(wanted, nodes)
        new = [node for node in needed if node.results[0] not in self.batching.mapping]
        self.batching.nodes(self.builder, new)

    def _steps(self, stage: Stage) -> None:
        """Build a loop."""
        nodes = self.step.with_light(self.plan.next(stage), stage.nodes)
        carried = [carry.param for carry in stage.carries]
        made = {*carried, *(result for node in nodes for result in node.results)}
        inputs = [*(v for node in nodes for v in inputs_of(node)), *self.plan.next(stage)]
        used = dict.fromkeys(v for v in inputs if v in self.step.varying and v not in made)
        slices = [v for v in used if isinstance(v, Value)]
        handed_on = self.plan.handed_on(stage)

        fixed = (result for node in self.step.fixed for result in node.results)
        mapping = {value: self.batching.now(value) for value in fixed}
        new = dict(zip((*carried, *slices), fresh((*carried, *slices)), strict=True))
        mapping.update(new)
        inner = Builder()
        replay(nodes, inner, mapping)

        def step(operand: Operand) -> Operand:
            return mapped([operand], mapping)[0]

        loop = self.loop.rebuilt(
            carries=tuple(
                Carry(c.initial, new[c.param], step(c.next), c.last) for c in stage.carries
            ),
            slices=tuple(Slice(self.batching.now(v), new[v]) for v in slices),
            stacks=tuple(Stack(step(v)) for v in handed_on),
            nodes=tuple(inner.nodes),
        )
        lasts, stacks = loop.emit(self.builder)
        self.ends.update(zip(carried, lasts, strict=True))
        self.batching.mapping.update(zip(handed_on, stacks, strict=True))

    def _total(self, total: Total) -> Operand:
        result = None if total.carry.param in self.empty else total.carry.initial
        for term in total.terms:
            more = self._term(term)
            result = more if result is None else self.builder("add", result, more)
        assert result is not None, "a total has terms"
        return result

    def _term(self, term: Term) -> Operand:
        """Build one product that sums over the steps, too."""
        product = term.product
        self._at_once((), product.operands)
        (left, right), (left_batch, right_batch) = product.attrs["dimension_numbers"]
        dimensions = (
            ((0, *(d + 1 for d in left)), (0, *(d + 1 for d in right))),
            (tuple(d + 1 for d in left_batch), tuple(d + 1 for d in right_batch)),
        )
        operands = [self.batching.now(operand) for operand in product.operands]
        attrs = {**product.attrs, "dimension_numbers": dimensions}
        (result,) = self.builder.emit(product.op, operands, attrs, loc=product.loc)
        for node in term.moves:
            (result,) = copy_node(self.builder, node, [result])
        return result
