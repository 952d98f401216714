"""The pass `expand_jvp`: forward mode, written out."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import Builder, Graph, Node, Operand, Pushforward, Value, inline
from .activity import dependent_values
from .expansion import expand, expands
from .forward import Forward
from .surgery import live_nodes


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
    """
    return expand(graph, "jvp")


@expands("jvp")
def expand_jvp_node(
    builder: Builder, node: Node, operands: tuple[Operand, ...]
) -> Sequence[Operand]:
    """Build what a `jvp` node means, and return what stands for its results."""
    return inline(builder, tangent_region(node), operands)


def tangent_region(node: Node) -> Graph:
    """Return a region from arguments and tangents to results and tangents."""
    (region,), wrt = node.regions, Pushforward.of(node).wrt
    given = [Value(param.type) for param in wrt]
    forward = Forward(dependent_values(region.nodes, wrt), {})
    forward.set(wrt, given)
    forward.walk(region.nodes)
    results = (*region.results, *map(forward.get_or_zeros, region.results))
    nodes = live_nodes(forward.builder.nodes, results)
    return region.with_(params=(*region.params, *given), nodes=tuple(nodes), results=results)
