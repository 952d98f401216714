"""The pass `distribute_loops`: layer by layer in place of step by step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from math import inf

from ..ir import (
    Builder,
    Carry,
    Graph,
    Loop,
    Node,
    Operand,
    Slice,
    Stack,
    Value,
    copy_node,
    fresh,
    is_pure,
    mapped,
    replay,
    walk,
)
from .at_once import AtOnce
from .blocks import Results, in_blocks
from .known_values import KnownValues
from .linearity import has_linear_reverse
from .loop_costs import (
    CACHE,
    CALL,
    FAR,
    FLOPS,
    IN_BLOCKS,
    MEMORY,
    MESSAGE,
    NEAR,
    STEP,
    Machine,
    block_of,
    fixed_operand,
)
from .loop_rewriting import rewrite_loops
from .loop_stages import PRODUCTS, SUMS, Dependences, Stage, Term, Total
from .splicing import inputs_of

BLOCK = 4
"""The part of the caches that a block fills, so that the rest of the program keeps its own."""

MARGIN = 0.1
"""The part of the time of a loop's products that must be gained: less than that is not known."""

START = 20
"""How many steps of a loop cost as much as starting one, which every block does."""


def distribute_loops(
    graph: Graph,
    flops: float = FLOPS,
    near: float = NEAR,
    far: float = FAR,
    cache: float = CACHE,
    call: float = CALL,
    step: float = STEP,
    message: float = MESSAGE,
    memory: float = MEMORY,
) -> Graph:
    """Split loops around matrix products that need not wait for the step before.

    A loop over the layers of a model, for each step, becomes a loop over the steps for each layer,
    with one large product in place of a small one a step. A product that a carry only adds up, as
    in the gradient of a weight, becomes one product that sums over the steps, too.

    A product moves where the machine that the options tell of gains by it, see `loop_costs`. If
    what the loops then hand to each other is more than the ``cache``, they run in blocks of as many
    steps as fit, or for all steps at once, or not at all, whichever takes the least time. What
    takes something like a one-hot code, which would be large for all steps, stays. A loop stays
    whole if its parts would hand each other more than ``memory`` bytes, if it talks to the host, as
    a progress bar does, or if it has no carries: what asked for a loop all the same, such as a map,
    did not want all steps at once. Where there are several devices, which may have some lanes each,
    a ``message`` is what adding up over them takes, once a step or once. Then sums without a
    product leave, too, as in the gradient of a bias. Sums are taken in another order, so results
    agree up to rounding.

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

    machine = Machine(flops, near, far, cache, call, step, message, memory)
    known = KnownValues()
    known.learn(walk(graph))

    def rewrite(builder: Builder, loop: Loop, old: Node) -> Sequence[Operand] | None:
        choice = choose(loop, machine)
        if choice.plan is None:
            return None
        if choice.block < loop.length:
            lasts, stacks = in_blocks(builder, loop, choice.block, choice.distributed)
            return (*lasts, *stacks)
        pairs = zip(loop.carries, Loop.of(old).carries, strict=True)
        empty = {carry.param for carry, before in pairs if known.equals(before.initial, 0)}
        return Distribution(builder, choice.plan, empty).run()

    return rewrite_loops(graph, rewrite)


def distribution(graph: Graph, **options: float) -> list[tuple[Node, Choice]]:
    """Return the loops of a graph that have products, and how `distribute_loops` would split each.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> from brainir.passes import distribution
    >>> def step(potential, spikes):
    ...     return 0.9 * potential + spikes @ jnp.ones((100, 100)), None
    >>> run = brainir.transform.jit(lambda V, spikes: brainir.transform.scan(step, V, spikes)[0])
    >>> graph = run.trace(jnp.zeros(100), jnp.zeros((50, 100))).graph("hoist-invariant")
    >>> [(_, choice)] = distribution(graph)
    >>> choice.products, choice.sums, choice.block, choice.why
    (1, 0, 50, 'saves time')
    """
    machine = Machine(**options)
    loops = (node for node in walk(graph) if node.op.name == "for_loop")
    with_products = (n for n in loops if any(m.op.name in PRODUCTS for m in n.regions[0].nodes))
    return [(node, choose(Loop.of(node), machine)) for node in with_products]


@dataclass(frozen=True, slots=True)
class Choice:
    """How a loop is split.

    Attributes
    ----------
    why : str
        In words.
    plan : Plan or None
        What leaves it; None if nothing does.
    block : int
        For how many steps at once; its length, for all.
    gain : float
        The seconds that the machine is said to save.

    Examples
    --------
    >>> from brainir.passes import Choice
    >>> whole = Choice("no product gains by leaving it")
    >>> whole.products, whole.sums, whole.block
    (0, 0, 0)
    """

    why: str
    plan: Plan | None = None
    block: int = 0
    gain: float = 0.0

    @property
    def products(self) -> int:
        """How many products with matrices leave."""
        return 0 if self.plan is None else len(self.plan.gone)

    @property
    def sums(self) -> int:
        """How many products leave that are added up over the steps."""
        return 0 if self.plan is None else len(self.plan.summed)

    def distributed(self, builder: Builder, loop: Loop, left_over: bool) -> Results:
        """Build the steps of a block, as the whole loop would be."""
        assert self.plan is not None
        results = Distribution(builder, self.plan.of(loop), frozenset()).run()
        return results[: len(loop.carries)], results[len(loop.carries) :]


def choose(loop: Loop, machine: Machine) -> Choice:
    """Return how to split a loop, and why so."""
    if loop.length < 2 or not loop.carries:
        return Choice("no step waits for another one")
    if not all(map(is_pure, loop.nodes)):
        return Choice("its steps do more than compute")
    step = Dependences(loop)
    if not all(has_linear_reverse(n) or step.varying.issuperset(n.results) for n in loop.nodes):
        return Choice("a rule of its own runs in each step")  # see `hoist_invariant`
    found: list[Choice] = []
    otherwise = "no product gains by leaving it"
    speeds = (machine.speed(0), machine.speed(inf))
    # Most often, the same is worth it at both speeds, and a plan takes time.
    for leaving, totals in dict.fromkeys(_worth_it(step, machine, speed) for speed in speeds):
        plan = Plan(step, leaving, totals)
        if not totals and not any(stage.at_once for stage in plan.stages):
            continue
        each, most = plan.handed, min(machine.cache / BLOCK, machine.memory)
        sizes = [loop.length]
        fits = each <= most / 2 and plan.gains_in_blocks
        if loop.length * each > min(machine.cache, machine.memory) and fits:
            sizes.append(block_of(loop.length, most / each))
        otherwise = "its parts would hand on too much"
        for size in sizes:
            if size * each <= machine.memory:
                found.append(Choice("saves time", plan, size, plan.gain(machine, size)))
    products = (node for node in loop.nodes if node.op.name in PRODUCTS)
    least = MARGIN * loop.length * sum(machine.inside(node, step.varying) for node in products)
    best = max(found, key=lambda choice: choice.gain, default=None)
    if best is not None and best.gain > least:
        return best
    return Choice("would save little or no time" if found else otherwise)


def _worth_it(
    step: Dependences, machine: Machine, speed: float
) -> tuple[frozenset[Node], tuple[Total, ...]]:
    """Return the products and sums that gain if so many bytes a second are handed on."""
    length = step.loop.length

    def worth(product: Node) -> bool:
        taken = step.varying.intersection(product.operands)
        made = () if taken.issuperset(product.operands) else product.results
        handed = taken.union(made) - step.at_hand
        after = machine.outside(product, step.varying, length)
        # It may share what is handed on with others, so half of it counts here.
        after += sum(v.type.nbytes for v in handed) / speed / 2
        return after < machine.inside(product, step.varying) and not step.grows(product)

    def worth_a_sum(product: Node) -> bool:
        return step.varying.issuperset(product.operands) and worth(product)

    def worth_a_product(product: Node) -> bool:
        return fixed_operand(product, step.varying) is not None and worth(product)

    totals = step.totals(worth_a_sum)
    gone = {part for total in totals for part in total.alone}
    products = (n for n in step.loop.nodes if n not in gone and worth_a_product(n))
    return frozenset(products), tuple(totals)


class Plan:
    """How a loop is split, and what its parts hand to each other."""

    def __init__(
        self, step: Dependences, products: AbstractSet[Node], totals: Sequence[Total]
    ) -> None:
        self.step, self.products, self.totals = step, products, totals
        gone = {part for total in totals for part in total.alone}
        self.stages = step.stages(products, gone)
        self._users: defaultdict[Operand, set[Stage | None]] = defaultdict(set)
        for stage in self.stages:
            nodes = step.with_light(self.next(stage), stage.nodes)
            for value in (*self.next(stage), *(v for node in nodes for v in inputs_of(node))):
                self._users[value].add(stage)
        terms = (term for total in totals for term in total.terms)
        factors = (factor for term in terms for factor in term.product.operands)
        for value in (*(stack.each for stack in step.loop.stacks), *factors):
            self._users[value].add(None)

    def of(self, copy: Loop) -> Plan:
        """Return the same plan for a copy of the loop, over other arrays."""
        new = dict(zip(self.step.loop.nodes, copy.nodes, strict=True))
        sums = {new[product] for product in self.summed}
        step = Dependences(copy)
        return Plan(step, {new[node] for node in self.products}, step.totals(sums.__contains__))

    @property
    def summed(self) -> list[Node]:
        """The products that are added up over the steps."""
        return [term.product for total in self.totals for term in total.terms]

    @property
    def gone(self) -> list[Node]:
        """The products with matrices that leave the loop."""
        nodes = (node for stage in self.stages if stage.at_once for node in stage.nodes)
        return [node for node in nodes if node in self.products]

    @property
    def gains_in_blocks(self) -> bool:
        """Whether all that leaves the loop gains by that also inside of a loop over blocks."""
        return all(product.op.name in IN_BLOCKS for product in (*self.summed, *self.gone))

    @property
    def handed(self) -> float:
        """The bytes that one step of the parts hands on, beyond what the loop stacks anyway."""
        stacked = {stack.each for stack in self.step.loop.stacks}
        values = (v for stage in self.stages for v in self.handed_on(stage) if v not in stacked)
        return float(sum(v.type.nbytes for v in values))

    def gain(self, machine: Machine, block: int) -> float:
        """Return the seconds that the plan saves in blocks of so many steps."""
        length = self.step.loop.length
        left, varying = (*self.summed, *self.gone), self.step.varying
        each = sum(machine.inside(p, varying) - machine.outside(p, varying, block) for p in left)
        each -= self.handed / machine.speed(block * self.handed)
        loops = sum(not stage.at_once for stage in self.stages)
        each -= machine.step * (loops - 1)
        if block < length:
            loop = self.step.loop
            copied = (*(s.param for s in loop.slices), *(s.each for s in loop.stacks))
            each -= sum(o.type.nbytes for o in copied) / machine.speed(0)
            each -= machine.step * (loops + 1) * START / block
        return length * each

    def next(self, stage: Stage) -> list[Operand]:
        """Return what the carries of a stage become."""
        return [carry.next for carry in stage.carries]

    def handed_on(self, stage: Stage) -> list[Value]:
        """Return what a stage has that is used outside of it."""
        carried = [carry.param for carry in stage.carries]
        made = [result for node in stage.nodes for result in node.results]
        return [value for value in (*carried, *made) if self._users[value] - {stage}]


class Distribution(AtOnce):
    """Builds the stages of a loop, one after the other.

    ``empty`` are the parameters of carries that start with zeros.
    """

    def __init__(self, builder: Builder, plan: Plan, empty: AbstractSet[Value]) -> None:
        super().__init__(builder, plan.step)
        self.plan, self.empty = plan, empty
        self.ends: dict[Value, Operand] = {}
        """What carries are left with, by parameter."""

    def run(self) -> list[Operand]:
        """Build everything and return what stands for the loop's results."""
        self.at_once(self.step.fixed)
        for stage in self.plan.stages:
            if stage.at_once:
                self.at_once(stage.nodes)
            else:
                self._steps(stage)
        for total in self.plan.totals:
            self.ends[total.carry.param] = self._total(total)
        yields = [stack.each for stack in self.loop.stacks]
        self.at_once((), yields)
        stacks = [self.whole(value) for value in yields]
        return [*(self.ends[carry.param] for carry in self.loop.carries), *stacks]

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
        self.at_once((), product.operands)
        around, self.builder.loc = self.builder.loc, product.loc
        operands = map(self.batching.now, product.operands)
        result = SUMS[product.op.name](self.builder, *operands, product.attrs)
        self.builder.loc = around
        for node in term.moves:
            (result,) = copy_node(self.builder, node, [result])
        return result
