"""The pass `inline_calls`: the nodes of a called region stand in place of the call."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import Builder, Graph, Node, Operand, Replacements, mapped, replay, replay_graph
from .expansion import has_op

_INLINED = ("call", "kernel")


def inline_calls(graph: Graph) -> Graph:
    """Replace every `call` and every `kernel` by the nodes of its region.

    A `checkpoint` or a `custom_derivative` stays, since it tells a derivative what to do.

    Notes
    -----
    *before*::

        graph @f(%x: f32[3]) -> (f32[3]) {
          %y = call (%a = %x) {name="square"} : f32[3] do {
            %b = mul %a, %a : f32[3]
            yield %b
          }
          return %y
        }

    *after*::

        graph @f(%x: f32[3]) -> (f32[3]) {
          %b = mul %x, %x : f32[3]
          return %b
        }

    Examples
    --------
    >>> from brainir.ir import parse
    >>> from brainir.passes import inline_calls
    >>> graph = parse('''graph @f(%x: f32[]) -> (f32[]) {
    ...   %y = call (%a = %x) {name="step"} do {
    ...     %b = sin %a
    ...     yield %b
    ...   }
    ...   return %y
    ... }''')
    >>> [node.op.name for node in inline_calls(graph).nodes]
    ['sin']
    """

    def rewrite(
        builder: Builder, node: Node, operands: tuple[Operand, ...], mapping: Replacements
    ) -> Sequence[Operand] | None:
        if node.op.name not in _INLINED:
            return None
        (region,) = node.regions
        mapping.update(zip(region.params, operands, strict=True))
        replay(region.nodes, builder, mapping, rewrite)
        return mapped(region.results, mapping)

    inlined = any(has_op(graph, name) for name in _INLINED)
    return replay_graph(graph, rewrite) if inlined else graph
