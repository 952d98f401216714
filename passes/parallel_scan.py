"""The pass `parallel_scan`: recurrences that are affine, for all steps at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2

from ..ir import (
    Builder,
    Carry,
    Graph,
    Literal,
    Loop,
    Node,
    Operand,
    Type,
    Value,
    is_pure,
    linear_recurrence,
    repeat,
)
from .affine import AffineForms, Number
from .at_once import AtOnce
from .dead_code import dead_code
from .lanes import part, take
from .loop_rewriting import rewrite_loops
from .loop_stages import Dependences

TRAFFIC = 8
"""How often the states of all steps cross memory, all levels together."""

LEVELS = 6
"""How many kernels a level takes, there and back."""


def parallel_scan(
    graph: Graph,
    step: float = 0.0,
    call: float = 5e-7,
    bandwidth: float = 3e12,
    memory: float = 2**32,
    any_factor: bool = False,
) -> Graph:
    """Replace loops of which every recurrence is affine by a tree of operations on all steps.

    Leaky readouts, exponential synapses, membranes without a reset and linear state-space layers
    are of the form ``x = a * x + b``, element by element, where neither ``a`` nor ``b`` depends on
    ``x``; so is the reverse pass of each. Two steps of it are one step of the same form, so that
    all can be had in as many levels as the length has binary digits (G. Blelloch, *Prefix sums and
    their applications*, 1990). It takes several times the arithmetic, and passes over memory: that
    gains where each step of a loop costs the launch of a kernel, and seldom on a CPU.

    Parameters
    ----------
    graph : Graph
        Without transformations.
    step : float
        The seconds that a step of a loop takes on the device, however small; 0 for never.
    call, bandwidth : float
        The seconds that a kernel takes, and the bytes per second to memory: as on an H200.
    memory : float
        The bytes that one value may take for all steps together.
    any_factor : bool
        Whether factors may be any numbers. Products of many of them may overflow, and then meet a
        zero or one another to give nan where a loop has a number; so by default they are numbers
        that the graph knows, and of an absolute value of at most 1.

    Sums are taken in another order, so results agree up to rounding. A state that becomes infinite
    may be nan in a later step, where a product of many factors is 0.

    Notes
    -----
    *before*::

        graph @f(%x: f32[2], %v: f32[]) -> (f32[]) {
          %last = for_loop carry(%u = %v) over(%i = %x) {length=2} : f32[] do {
            %d = mul %u, 0.5:f32 : f32[]
            %n = add %d, %i : f32[]
            yield %n
          }
          return %last
        }

    *after*, with ``step=1``::

        graph @f(%x: f32[2], %v: f32[]) -> (f32[]) {
          %0 = slice %x {start=(0,), limit=(1,), strides=(1,)} : f32[1]
          %1 = squeeze %0 {dimensions=(0,)} : f32[]
          %2 = mul 0.5:f32, %v : f32[]
          %3 = add %1, %2 : f32[]
          %4 = slice %x {start=(1,), limit=(2,), strides=(1,)} : f32[1]
          %5 = broadcast_in_dim %3 {shape=(1,), dims=()} : f32[1]
          %6 = concatenate %5, %4 {dimension=0} : f32[2]
          %7 = slice %6 {start=(0,), limit=(2,), strides=(2,)} : f32[1]
          %8 = slice %6 {start=(1,), limit=(2,), strides=(2,)} : f32[1]
          %9 = pad %7, 0.0:f32 {config=((0, 0, 0),)} : f32[1]
          %10 = mul 0.5:f32, %9 : f32[1]
          %11 = add %8, %10 : f32[1]
          %12 = pad %11, 0.0:f32 {config=((1, -1, 0),)} : f32[1]
          %13 = mul 0.5:f32, %12 : f32[1]
          %14 = add %7, %13 : f32[1]
          %15 = pad %14, 0.0:f32 {config=((0, 1, 1),)} : f32[2]
          %16 = pad %11, 0.0:f32 {config=((1, 0, 1),)} : f32[2]
          %17 = add %15, %16 : f32[2]
          %18 = slice %17 {start=(1,), limit=(2,), strides=(1,)} : f32[1]
          %19 = squeeze %18 {dimensions=(0,)} : f32[]
          return %19
        }

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> from brainir.ir import walk
    >>> from brainir.passes import parallel_scan
    >>> V = brainir.HiddenState(jnp.zeros(3))
    >>> def leak(current):
    ...     V.value = 0.9 * V.value + current
    ...     return V.value
    >>> run = brainir.transform.jit(lambda xs: brainir.transform.for_loop(leak, xs))
    >>> graph = run.trace(jnp.ones((1000, 3))).graph("distribute-loops")
    >>> ["for_loop" in [node.op.name for node in walk(g)]
    ...  for g in (graph, parallel_scan(graph, step=1e-5))]
    [True, False]
    """
    if not step:
        return graph

    def rewrite(builder: Builder, loop: Loop, _: Node) -> Sequence[Operand] | None:
        scans = _scans(loop, any_factor)
        moved = sum(carry.param.type.nbytes for carry in loop.carries) * loop.length
        levels = log2(max(loop.length, 2)) * len(loop.carries)
        cost = LEVELS * call * levels + TRAFFIC * moved / bandwidth
        if scans is None or cost >= step * loop.length or _largest(loop) > memory:
            return None
        return _Scanning(builder, scans).run()

    return dead_code(rewrite_loops(graph, rewrite))


def _largest(loop: Loop) -> int:
    """Return the bytes that the largest value of a step takes for all steps."""
    made = (result for node in loop.nodes for result in node.results)
    return loop.length * max(value.type.nbytes for value in (*loop.body.params, *made))


@dataclass(frozen=True, slots=True)
class _Scan:
    """A carry as ``factor * carry + term``, and the nodes of a step that make these."""

    carry: Carry
    nodes: tuple[Node, ...]
    factor: Operand
    term: Operand


@dataclass(frozen=True, slots=True)
class _Scans:
    """A loop of which all recurrences are affine: scans and other nodes, in order."""

    step: Dependences
    parts: tuple[_Scan | Node, ...]


def _scans(loop: Loop, any_factor: bool) -> _Scans | None:
    """Return a loop as scans, or None if something else has to go step by step."""
    if loop.length < 2 or not loop.carries or not all(map(is_pure, loop.nodes)):
        return None
    step, parts = Dependences(loop), list[_Scan | Node]()
    for nodes, carries in step.recurrences():
        if not carries and not nodes[0].regions:
            parts += nodes
            continue
        scan = _scan(nodes, carries[0], any_factor) if len(carries) == 1 else None
        if scan is None:
            return None
        parts += [scan, *nodes]
    return _Scans(step, tuple(parts))


def _scan(nodes: Sequence[Node], carry: Carry, any_factor: bool) -> _Scan | None:
    type = carry.param.type
    if not (type.is_float or type.is_complex) or any(n.regions for n in nodes):
        return None
    forms = AffineForms(carry.param, {result: node for node in nodes for result in node.results})
    form = forms.form(carry.next)
    if form is None or not (any_factor or _is_bounded(form.factor)):
        return None
    factor, term = map(forms.operand, form)
    return _Scan(carry, tuple(forms.builder.nodes), factor, term)


def _is_bounded(factor: Number) -> bool:
    """Whether products of a factor with itself stay finite."""
    if isinstance(factor, int):
        return True
    return isinstance(factor, Literal) and abs(factor.value) <= 1


class _Scanning(AtOnce):
    """Builds a loop as scans over all steps."""

    def __init__(self, builder: Builder, scans: _Scans) -> None:
        super().__init__(builder, scans.step)
        self.parts = scans.parts

    def run(self) -> list[Operand]:
        """Build everything, and return what stands for the loop's results."""
        ends: dict[Value, Operand] = {}
        self.at_once(self.step.fixed)
        for each in self.parts:
            if isinstance(each, _Scan):
                ends[each.carry.param] = self._scan(each)
            else:
                self.at_once([each])
        yields = [stack.each for stack in self.loop.stacks]
        self.at_once((), yields)
        lasts = [ends[carry.param] for carry in self.loop.carries]
        return [*lasts, *map(self.whole, yields)]

    def _scan(self, scan: _Scan) -> Operand:
        """Build the states of all steps, and return the last one."""
        builder, carry, type = self.builder, scan.carry, scan.carry.param.type
        self.at_once((), [v for node in scan.nodes for v in node.operands])
        for node in scan.nodes:
            if self.step.varying.intersection(node.operands):
                self.step.varying.update(node.results)
        self.batching.nodes(builder, scan.nodes)
        self.at_once((), [scan.factor, scan.term])
        varies = self.batching.differs(scan.factor)
        factor = self._full(scan.factor, type) if varies else self.batching.now(scan.factor)
        term = self._full(scan.term, type)
        first, reverse, length = self.loop.first, self.loop.reverse, self.length
        start = take(builder, factor, first) if varies else factor
        begin = builder("add", take(builder, term, first), builder("mul", start, carry.initial))
        rest = part(builder, term, 0, length - 1) if reverse else part(builder, term, 1, length)
        begin = repeat(builder, begin, 1)
        pieces = (rest, begin) if reverse else (begin, rest)
        states = linear_recurrence(
            builder, factor, builder("concatenate", *pieces, dimension=0), 0, reverse
        )
        initial = repeat(builder, carry.initial, 1)
        if reverse:
            before = part(builder, states, 1, length), initial
        else:
            before = initial, part(builder, states, 0, length - 1)
        self.batching.mapping[carry.param] = builder("concatenate", *before, dimension=0)
        return take(builder, states, 0 if reverse else length - 1)

    def _full(self, operand: Operand, type: Type) -> Operand:
        """Return an array over all steps of the type of a carry; it may be a number in each."""
        array, shape = self.whole(operand), type.stacked(self.length).shape
        if array.type.shape == shape:
            return array
        return self.builder("broadcast_in_dim", array, shape=shape, dims=(0,))
