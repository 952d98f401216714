"""The pass `expand_grad`: reverse mode, written out."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import Builder, Gradient, Graph, Node, Operand, Value, inline
from .activity import active_values
from .directions import in_directions
from .expansion import expand, expands
from .hoist_invariant import hoist_invariant
from .memory_budget import within_memory
from .reverse import Reversal, Reverse
from .reverse_branches import reverse_cond
from .reverse_loops import refuse_while, reverse_for_loop
from .reverse_rules import reverse_call, reverse_checkpoint, reverse_custom_derivative
from .splicing import live_nodes

REVERSALS: dict[str, Reversal] = {
    "for_loop": reverse_for_loop,
    "while": refuse_while,
    "cond": reverse_cond,
    "call": reverse_call,
    "checkpoint": reverse_checkpoint,
    "custom_derivative": reverse_custom_derivative,
}
"""How each op that has regions is reversed."""


def expand_grad(graph: Graph) -> Graph:
    """Replace every `grad` by its region and the reverse of that.

    Cotangents are only computed of what lies between the arguments and the loss. A `for_loop`
    yields in addition what its reverse needs, and is followed by a loop in the other direction; how
    little has to be kept is found as a minimum cut, see `brainir.passes.residuals`. A `cond` is
    followed by one on the same index. A function with a rule of its own is replaced by the rule. A
    `checkpoint` runs once more.

    Raises
    ------
    ReverseOfWhile
        If the loss depends on the arguments through a `while`.
    NotDifferentiable
        If it does through an op without a derivative.

    Notes
    -----
    *before*::

        graph @f(%w: f32[], %x: f32[5]) -> (f32[], f32[]) {
          %slope, %loss = grad(%a = %w, %b = %x) {wrt=(0,), states=(), losses=1} do {
            %last = for_loop carry(%c = 1.0:f32) over(%s = %b) {
              length=5, reverse=false, unroll=1
            } do {
              %m = mul %c, %a : f32[]
              %n = add %m, %s : f32[]
              yield %n
            }
            yield %last
          }
          return %slope, %loss
        }

    *after*::

        graph @f(%w: f32[], %x: f32[5]) -> (f32[], f32[]) {
          %last, %kept = for_loop carry(%c = 1.0:f32) over(%s = %x) {
            length=5, reverse=false, unroll=1
          } do {
            %m = mul %c, %w : f32[]
            %n = add %m, %s : f32[]
            yield %n, %c
          }
          %start, %slope = for_loop carry(%ct = 1.0:f32, %sum = 0.0:f32) over(%c = %kept) {
            length=5, reverse=true, unroll=1
          } do {
            %u = mul %ct, %w : f32[]
            %v = mul %ct, %c : f32[]
            %more = add %sum, %v : f32[]
            yield %u, %more
          }
          return %slope, %last
        }

    Examples
    --------
    >>> from brainir.ir import parse
    >>> from brainir.passes import expand_grad
    >>> graph = parse('''graph @f(%x: f32[]) -> (f32[]) {
    ...   %slope, %y = grad (%a = %x) {wrt=(0,), states=(), losses=1} do {
    ...     %b = sin %a
    ...     yield %b
    ...   }
    ...   return %slope
    ... }''')
    >>> [node.op.name for node in expand_grad(graph).nodes]
    ['sin', 'cos', 'mul']
    """
    return expand(graph, "grad")


@expands("grad")
def expand_grad_node(
    builder: Builder, node: Node, operands: tuple[Operand, ...]
) -> Sequence[Operand]:
    """Build what a `grad` node means, and return what stands for its results."""
    return _expand(builder, node, operands, guarded=False)


@expands("grad", differentiated=True)
def _expand_guarded(
    builder: Builder, node: Node, operands: tuple[Operand, ...]
) -> Sequence[Operand]:
    return _expand(builder, node, operands, guarded=True)


def _expand(
    builder: Builder, node: Node, operands: tuple[Operand, ...], guarded: bool
) -> Sequence[Operand]:
    view = Gradient.of(node, operands)
    region, yields = gradient_region(view), len(view.yields)
    if view.lanes is None:
        return inline(builder, region, operands)
    moved = [*(True for _ in region.results[yields:]), *(False for _ in view.yields)]
    arguments = [a.operand for a in view.arguments]
    return in_directions(
        builder, region, arguments, view.seeds, moved, view.lanes, guarded=guarded, loc=view.loc
    )


def gradient_region(view: Gradient) -> Graph:
    """Return a region that yields gradients, and then what the region of a `grad` does.

    If the `grad` has lanes, the region is that of one of them, and takes its seeds last.
    """
    # What is the same in each step of a loop is neither stored nor differentiated in each.
    body = hoist_invariant(view.body, differentiable=True)
    place = {a.param: i for i, a in enumerate(view.arguments)}

    def differentiated(body: Graph) -> Graph:
        wrt = [body.params[place[param]] for param in view.wrt]
        return with_gradients(body, wrt, range(view.losses), seeded=view.lanes is not None)

    region = differentiated(body)
    if view.memory is None:
        return region
    grouped = within_memory(body, region, view.memory)
    return region if grouped is body else differentiated(grouped)


def with_gradients(body: Graph, wrt: Sequence[Value], losses: Sequence[int], seeded: bool) -> Graph:
    """Return a graph that yields gradients first, of the sum of some results by some parameters.

    If it is ``seeded``, it takes a weight for each of these results last.
    """
    chosen = [body.results[i] for i in losses]
    reverse = Reverse(active_values(body.nodes, wrt, chosen), REVERSALS)
    given = [Value(loss.type) for loss in chosen if seeded]
    reverse.add_all(chosen, given or [reverse.builder.ones(loss.type) for loss in chosen])
    forward = reverse.walk(body.nodes)
    gradients = [reverse.take_or_zeros(param) for param in wrt]
    results = (*gradients, *body.results)
    nodes = live_nodes([*forward, *reverse.builder.nodes], results)
    return body.with_(params=(*body.params, *given), nodes=tuple(nodes), results=results)
