"""The pass `outline_kernels`: loops that gain by it become kernels, machine code of their own."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..ir import (
    Builder,
    Graph,
    Indexed,
    Literal,
    Node,
    NotByElement,
    Operand,
    Replacements,
    Spelled,
    Type,
    Value,
    Weight,
    captures,
    fresh,
    is_pure,
    mapped,
    replay,
    replay_graph,
    walk,
)
from .dead_code import dead_code
from .hoist_invariant import hoist_invariant
from .kernel_costs import CORES, RATE, Processor
from .splicing import inputs_of, outside_values

LOOPS = ("for_loop", "while")

HELD = (*LOOPS, "cond", "call", "checkpoint", "custom_derivative")
"""Ops with regions that a kernel can hold."""

NUMBERS = (
    "bool",
    *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64)),
    "float32",
    "float64",
    "key<fry>",
)
"""What a kernel computes with; random keys are pairs of words."""


def outline_kernels(
    graph: Graph, rate: float = RATE, cores: float = CORES, dense: bool = False
) -> Graph:
    """Put each loop that gains by it into a `kernel`, which takes what the loop captures.

    A kernel means what its region means. A backend may run it as one piece of machine code, in
    which arrays stay in the nearest cache and single numbers in registers; XLA runs each step of a
    loop as a list of small programs. Whether a loop gains is estimated by a model of the processor
    (see `Processor`), of which a backend knows the numbers; with a ``rate`` of 0, no loop does.

    In a product whose left operand a comparison made, as spikes are, a kernel leaves out the rows
    of zeros. Where a matrix holds infinities or nan, the product by 0 would be nan; ``dense``
    products have it so.

    Notes
    -----
    *before*::

        graph @f(%V: f32[8], %slope: f32[]) -> (f32[8]) {
          %end = for_loop carry(%v = %V) {length=100} : f32[8] do {
            %next = mul %v, %slope : f32[8]
            yield %next
          }
          return %end
        }

    *after*::

        graph @f(%V: f32[8], %slope: f32[]) -> (f32[8]) {
          %end = kernel (%V1 = %V, %slope1 = %slope) : f32[8] do @for_loop {
            %end1 = for_loop carry(%v = %V1) {length=100} : f32[8] do {
              %next = mul %v, %slope1 : f32[8]
              yield %next
            }
            yield %end1
          }
          return %end
        }

    Examples
    --------
    >>> from brainir.ir import parse
    >>> from brainir.passes import outline_kernels
    >>> graph = parse('''graph @decay(%V: f32[8]) -> (f32[8]) {
    ...   %end = for_loop carry(%v = %V) {length=100} do {
    ...     %next = mul %v, 0.9:f32
    ...     yield %next
    ...   }
    ...   return %end
    ... }''')
    >>> [node.op.name for node in outline_kernels(graph).nodes]
    ['kernel']
    """
    if not rate:
        return graph
    graph = _spelled_out(graph)
    outlines = {o.loop: o for o in _outlines(graph, Processor(rate, cores, dense))}
    before = {node for o in outlines.values() for node in o.before}
    after = {node for o in outlines.values() for node in o.after}

    def rewrite(
        builder: Builder, node: Node, operands: tuple[Operand, ...], mapping: Replacements
    ) -> Sequence[Operand] | None:
        if node in before:
            return [_NOBODY_ASKS] * len(node.results)
        if node in outlines:
            mapping.update(outlines[node].build(builder, mapping, dense))
        return [mapping[r] for r in node.results] if node in outlines or node in after else None

    return replay_graph(graph, rewrite) if outlines else graph


def _spelled_out(graph: Graph) -> Graph:
    """Spell out the ops in loops that can be spelled out in others, of which steps keep little."""
    loops = [n for n in graph.nodes if n.regions]
    if not any(isinstance(n.op.element, Spelled) for n in walk(Graph("", (), tuple(loops), ()))):
        return graph

    def rewrite(
        builder: Builder, node: Node, operands: tuple[Operand, ...], mapping: Replacements
    ) -> Sequence[Operand] | None:
        rule = node.op.element
        if not isinstance(rule, Spelled) or not is_pure(node):
            return None
        return rule.rule(builder, *operands, **node.attrs)

    return dead_code(hoist_invariant(replay_graph(graph, rewrite)))


_NOBODY_ASKS = Literal(False, Type("bool"))
"""What stands for results that only the nodes of a kernel use."""


@dataclass(frozen=True, slots=True)
class _Outline:
    """A loop, and what lays out arrays for it alone, before and after it."""

    before: tuple[Node, ...]
    loop: Node
    after: tuple[Node, ...]

    def build(self, builder: Builder, mapping: Replacements, dense: bool) -> Replacements:
        """Build a kernel with copies of the nodes; return what stands for their results."""
        nodes = (*self.before, self.loop, *self.after)
        outside = outside_values(nodes)
        now = {value: mapping.get(value, value) for value in outside}
        taken = dict.fromkeys(v for v in now.values() if isinstance(v, Value))
        params = dict(zip(taken, fresh(taken), strict=True))
        inner: Replacements = {
            value: params[given] if isinstance(given, Value) else given
            for value, given in now.items()
        }
        inside = Builder()
        replay(nodes, inside, inner)
        # What is only laid out anew goes nowhere else.
        gone = {operand for node in self.after for operand in node.operands}
        results = [r for n in (self.loop, *self.after) for r in n.results if r not in gone]
        name = self.loop.regions[-1].name or self.loop.op.name
        region = inside.graph([*params.values()], mapped(results, inner), name)
        hints = [result.hint for result in results]
        attrs = {"dense": dense}
        made = builder.emit("kernel", [*params], attrs, [region], loc=self.loop.loc, hints=hints)
        gone_now = dict.fromkeys(self.loop.results, _NOBODY_ASKS)
        return {**gone_now, **dict(zip(results, made, strict=True))}


def _outlines(graph: Graph, processor: Processor) -> Iterator[_Outline]:
    """Yield the loops of a graph, at any depth, that gain by being kernels."""
    chosen = [n for n in graph.nodes if n.op.name in LOOPS and not why_not(n, processor)]
    users: dict[Operand, list[Node | None]] = {result: [None] for result in graph.results}
    for node in graph.nodes if chosen else ():
        for value in inputs_of(node):
            users.setdefault(value, []).append(node)
    after = {loop: _turned(loop, users) for loop in chosen}
    taken = {node for nodes in after.values() for node in nodes}
    for loop in chosen:
        yield _Outline(_layouts(graph, loop, users, taken), loop, after[loop])
    for node in graph.nodes:
        if node.op.name != "kernel" and node not in chosen:
            for region in node.regions:
                yield from _outlines(region, processor)


Users = Mapping[Operand, Sequence["Node | None"]]


def _turned(loop: Node, users: Users) -> tuple[Node, ...]:
    """Return the transposes that are all that becomes of results of a loop."""
    found = [users.get(result, ()) for result in loop.results]
    alone = [nodes[0] for nodes in found if len(nodes) == 1]
    return tuple(node for node in alone if node is not None and node.op.name == "transpose")


def _layouts(graph: Graph, loop: Node, users: Users, taken: Container[Node]) -> tuple[Node, ...]:
    """Return the nodes that only lay out what a loop takes, and are not taken by another one."""
    before: dict[Node, None] = {loop: None}
    whole = {*captures(*loop.regions)}
    for node in reversed(graph.nodes[: graph.nodes.index(loop)]):
        # What joins many arrays stays outside: States may be kept joined between calls.
        if node in taken or not isinstance(node.op.element, Indexed) or len(node.operands) > 1:
            continue
        if node.cost.weight is not Weight.FREE:
            continue
        # A matrix that products in the loop read is turned once, before it.
        is_whole = not whole.isdisjoint(node.results)
        if is_whole and node.op.name == "transpose":
            continue
        used = [user for result in node.results for user in users.get(result, ())]
        if used and all(user in before for user in used) and cannot_hold(node) is None:
            before[node] = None
            whole.update(inputs_of(node) if is_whole else ())
    return tuple(before)[:0:-1]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a loop is no kernel.

    Attributes
    ----------
    why : str
        In words.
    node : brainir.ir.Node or None
        What it is about, if that is a part of the loop.

    Examples
    --------
    >>> from brainir.passes import Refusal
    >>> str(Refusal("a step is short"))
    'a step is short'
    """

    why: str
    node: Node | None = None

    def __str__(self) -> str:
        return self.why if self.node is None else f"{self.node.op.name}: {self.why}"


def kernels(
    graph: Graph, rate: float = RATE, cores: float = CORES, dense: bool = False
) -> list[tuple[Node, Refusal | None]]:
    """Return the loops of a graph, and why each is no kernel; None if it becomes one.

    The loops inside one that becomes a kernel are parts of it, and are not told of; those inside
    one that does not follow it.

    Examples
    --------
    >>> from brainir.ir import parse
    >>> from brainir.passes import kernels
    >>> graph = parse('''graph @f(%x: f32[3,8]) -> (f32[3,8]) {
    ...   %y = for_loop over(%a = %x) {length=3} do {
    ...     %b = sort %a {dimension=0, is_stable=true, num_keys=1}
    ...     yield %b
    ...   }
    ...   return %y
    ... }''')
    >>> [(_, refusal)] = kernels(graph)
    >>> str(refusal)
    'sort: it puts elements in order'
    """
    processor = Processor(rate, cores, dense)
    return list(_told(_spelled_out(graph), processor))


def _told(graph: Graph, processor: Processor) -> Iterator[tuple[Node, Refusal | None]]:
    for node in graph.nodes:
        if node.op.name in LOOPS:
            refusal = why_not(node, processor)
            yield node, refusal
            if refusal is None:
                continue
        if node.op.name != "kernel":
            for region in node.regions:
                yield from _told(region, processor)


def why_not(loop: Node, processor: Processor) -> Refusal | None:
    """Return why a loop is no kernel, or None if it is one."""
    nodes = [loop, *(node for region in loop.regions for node in walk(region))]
    for node in nodes:
        refusal = cannot_hold(node)
        if refusal is not None:
            return refusal
    why = processor.why_not(loop)
    return None if why is None else Refusal(why)


def cannot_hold(node: Node) -> Refusal | None:
    """Return why a kernel cannot hold a node, whatever is in it."""
    rule = node.op.element
    if node.op.has_regions:
        if node.op.name not in HELD:
            return Refusal("kernels do not hold it", node)
    elif isinstance(rule, Spelled) or (isinstance(rule, NotByElement) and not rule.whole):
        return Refusal(rule.why, node)
    if not is_pure(node):
        return Refusal("it talks to the host", node)
    inside = (param for region in node.regions for param in region.params)
    for value in (*node.operands, *node.results, *inside):
        why = _cannot_be(value.type)
        if why is not None:
            return Refusal(why, node)
    return None


def _cannot_be(type: Type) -> str | None:
    if type.dtype not in NUMBERS:
        return f"kernels do not compute with {type.dtype}"
    return None if type.size else f"{type} has no elements"
