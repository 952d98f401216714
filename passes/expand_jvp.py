"""The pass `expand_jvp`: forward mode, written out."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import Builder, Graph, Node, Operand, Pushforward, Value, inline
from .activity import dependent_values
from .directions import in_directions
from .expansion import expand, expands
from .forward import Forward
from .splicing import live_nodes


def expand_jvp(graph: Graph) -> Graph:
    """Replace every `jvp` by its region, in which each node is followed by its tangents.

    Loops carry the tangents of what they carry, and branches yield those of what they yield, as far
    as they may differ from zero.

    Raises
    ------
    ForwardOfCustomVjp
        If a result depends on an argument through a function that only has a rule for reverse mode.
    NotDifferentiable
        If it does through an op without a derivative.

    Notes
    -----
    *before*::

        graph @f(%x: f32[3], %t: f32[3]) -> (f32[3], f32[3]) {
          %y, %s = jvp %x, %t {wrt=(0,)} do (%a: f32[3]) {
            %b = sin %a : f32[3]
            yield %b
          }
          return %y, %s
        }

    *after*::

        graph @f(%x: f32[3], %t: f32[3]) -> (f32[3], f32[3]) {
          %y = sin %x : f32[3]
          %slope = cos %x : f32[3]
          %s = mul %slope, %t : f32[3]
          return %y, %s
        }

    Examples
    --------
    >>> from brainir.ir import parse
    >>> from brainir.passes import expand_jvp
    >>> graph = parse('''graph @f(%x: f32[], %dx: f32[]) -> (f32[]) {
    ...   %y, %dy = jvp %x, %dx {wrt=(0,)} do (%a: f32[]) {
    ...     %b = sin %a
    ...     yield %b
    ...   }
    ...   return %dy
    ... }''')
    >>> [node.op.name for node in expand_jvp(graph).nodes]
    ['sin', 'cos', 'mul']
    """
    return expand(graph, "jvp")


@expands("jvp")
def expand_jvp_node(
    builder: Builder, node: Node, operands: tuple[Operand, ...]
) -> Sequence[Operand]:
    """Build what a `jvp` node means, and return what stands for its results."""
    return _expand(builder, node, operands, guarded=False)


@expands("jvp", differentiated=True)
def _expand_guarded(
    builder: Builder, node: Node, operands: tuple[Operand, ...]
) -> Sequence[Operand]:
    return _expand(builder, node, operands, guarded=True)


def _expand(
    builder: Builder, node: Node, operands: tuple[Operand, ...], guarded: bool
) -> Sequence[Operand]:
    view = Pushforward.of(node, operands)
    region = tangent_region(view)
    if view.lanes is None:
        return inline(builder, region, operands)
    moved = [*(False for _ in view.yields), *(True for _ in view.yields)]
    arguments = [a.operand for a in view.arguments]
    return in_directions(
        builder, region, arguments, view.tangents, moved, view.lanes, guarded=guarded, loc=view.loc
    )


def tangent_region(view: Pushforward) -> Graph:
    """Return a region from arguments and tangents, those of one lane, to results and tangents."""
    body = view.body
    given = [Value(param.type) for param in view.wrt]
    forward = Forward(dependent_values(body.nodes, view.wrt), {})
    forward.set(view.wrt, given)
    forward.walk(body.nodes)
    results = (*body.results, *map(forward.get_or_zeros, body.results))
    nodes = live_nodes(forward.builder.nodes, results)
    return body.with_(params=(*body.params, *given), nodes=tuple(nodes), results=results)
