"""The pass `forget_derivatives`: what only a derivative asks for goes, once there is none left."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import Builder, Graph, Node, Operand, Replacements, mapped, replay, replay_graph
from .expansion import has_op


def forget_derivatives(graph: Graph) -> Graph:
    """Replace every `custom_derivative` by its primal region, and `stop_gradient` by its operand.

    This comes after the expansion of `grad` and `jvp`; one that is expanded later finds no rules.

    Notes
    -----
    *before*::

        graph @f(%x: f32[]) -> (f32[]) {
          %y = custom_derivative (%a = %x) {mode="jvp"} : f32[] do {
            %b = mul %a, %a : f32[]
            yield %b
          } and (%p: f32[], %t: f32[]) {
            %q = mul %p, %p : f32[]
            yield %q, %t
          }
          %z = stop_gradient %y : f32[]
          return %z
        }

    *after*::

        graph @f(%x: f32[]) -> (f32[]) {
          %b = mul %x, %x : f32[]
          return %b
        }

    Examples
    --------
    >>> from brainir.ir import parse
    >>> from brainir.passes import forget_derivatives
    >>> graph = parse('''graph @f(%x: f32[]) -> (f32[]) {
    ...   %y = stop_gradient %x
    ...   %z = sin %y
    ...   return %z
    ... }''')
    >>> [node.op.name for node in forget_derivatives(graph).nodes]
    ['sin']
    """

    def rewrite(
        builder: Builder, node: Node, operands: tuple[Operand, ...], mapping: Replacements
    ) -> Sequence[Operand] | None:
        if node.op.name == "stop_gradient":
            return operands
        if node.op.name != "custom_derivative":
            return None
        primal = node.regions[0]
        mapping.update(zip(primal.params, operands, strict=True))
        replay(primal.nodes, builder, mapping, rewrite)
        return mapped(primal.results, mapping)

    return (
        replay_graph(graph, rewrite)
        if has_op(graph, "custom_derivative", "stop_gradient")
        else graph
    )
