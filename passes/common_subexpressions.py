"""The pass `common_subexpressions`: what was computed before is used again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..ir import (
    Builder,
    Graph,
    Node,
    Operand,
    Value,
    Weight,
    copy_node,
    fresh,
    is_pure,
    mapped,
)
from .linearity import has_linear_reverse

Key = tuple[Any, ...]

_APART = ("checkpoint", "optimization_barrier")
"""Ops that are there to keep equal things apart."""


def common_subexpressions(graph: Graph, differentiable: bool = False) -> Graph:
    """Compute equal nodes without effect once, if the first of them is in sight of the others.

    Parameters
    ----------
    graph : Graph
        Its states are hoisted.
    differentiable : bool
        Whether the graph is still to be differentiated in reverse. Then nodes stay apart whose
        reverse need not be linear, and gets the cotangent of each.

    Equal are nodes of one op with the same operands, attributes and, up to names, regions. A region
    sees what was computed around it, but for what costs nothing, which is better made on the spot.
    A `checkpoint` sees nothing: it is there to compute again.

    Notes
    -----
    *before*::

        graph @f(%x: f32[3], %n: f32[2,3]) -> (f32[3], f32[2,3]) {
          %a = sin %x : f32[3]
          %b = sin %x : f32[3]
          %c = add %a, %b : f32[3]
          %y = for_loop over(%d = %n) {length=2, reverse=false, unroll=1} : f32[2,3] do {
            %e = sin %x : f32[3]
            %f = mul %e, %d : f32[3]
            yield %f
          }
          return %c, %y
        }

    *after*::

        graph @f(%x: f32[3], %n: f32[2,3]) -> (f32[3], f32[2,3]) {
          %a = sin %x : f32[3]
          %c = add %a, %a : f32[3]
          %y = for_loop over(%d = %n) {length=2, reverse=false, unroll=1} : f32[2,3] do {
            %f = mul %a, %d : f32[3]
            yield %f
          }
          return %c, %y
        }

    Examples
    --------
    >>> from brainir.ir import parse
    >>> from brainir.passes import common_subexpressions
    >>> graph = parse('''graph @f(%x: f32[3]) -> (f32[3], f32[3]) {
    ...   %y = exp %x
    ...   %z = exp %x
    ...   return %y, %z
    ... }''')
    >>> [node.op.name for node in common_subexpressions(graph).nodes]
    ['exp']
    """
    merging, builder = _Merging(differentiable), Builder()
    merging.nodes(builder, graph.nodes, _Scope())
    return builder.graph(graph.params, mapped(graph.results, merging.mapping), like=graph)


class _Scope:
    """What was computed in a region and in those around it."""

    def __init__(self, around: _Scope | None = None) -> None:
        self.around = around
        self.known: dict[Key, tuple[Value, ...]] = {}

    def find(self, key: Key, outside: bool) -> tuple[Value, ...] | None:
        scope: _Scope | None = self
        while scope is not None:
            if key in scope.known:
                return scope.known[key]
            scope = scope.around if outside else None
        return None


class _Merging:
    """One replay in which nodes that are known already are not built again."""

    def __init__(self, differentiable: bool) -> None:
        self.differentiable = differentiable
        self.mapping: dict[Value, Operand] = {}

    def nodes(self, builder: Builder, nodes: Iterable[Node], scope: _Scope) -> None:
        for node in nodes:
            operands = mapped(node.operands, self.mapping)
            around = _Scope() if node.op.name == "checkpoint" else scope
            regions = [self._region(region, around) for region in node.regions]
            apart = self.differentiable and not has_linear_reverse(node)
            key = None if apart else _key_of(node, operands, regions)
            found = None if key is None else scope.find(key, not _is_free(node))
            results = found or copy_node(builder, node, operands, regions)
            if key is not None:
                scope.known.setdefault(key, results)
            self.mapping.update(zip(node.results, results, strict=True))

    def _region(self, region: Graph, around: _Scope) -> Graph:
        params, builder = fresh(region.params), Builder()
        self.mapping.update(zip(region.params, params, strict=True))
        self.nodes(builder, region.nodes, _Scope(around))
        return builder.graph(params, mapped(region.results, self.mapping), like=region)


def _is_free(node: Node) -> bool:
    return not node.regions and node.cost.weight is Weight.FREE


def _key_of(node: Node, operands: Iterable[Operand], regions: Iterable[Graph]) -> Key | None:
    """Return what nodes that can be merged have in common, or None if the node must stay."""
    if not node.results or node.op.name in _APART or not is_pure(node):
        return None
    key = (node.op, tuple(operands), attrs_key(node.attrs), *(region_key(r, {}) for r in regions))
    try:
        hash(key)
    except TypeError:  # an attribute that can only be told by identity, or not at all
        return None
    return key


def attrs_key(attrs: Mapping[str, Any]) -> Key:
    """Return what equal attributes have in common; it may be that it cannot be hashed."""
    return tuple(
        (
            name,
            type(attrs[name]),
            repr(attrs[name]) if isinstance(attrs[name], float) else attrs[name],
        )
        for name in sorted(attrs)
    )


def region_key(region: Graph, numbers: dict[Value, int]) -> Key:
    """Describe a region with numbers for the values that it defines; ``numbers`` may have more."""

    def number(values: Iterable[Value]) -> None:
        for value in values:
            numbers[value] = len(numbers)

    def described(operands: Iterable[Operand]) -> Key:
        return tuple(numbers.get(o, o) if isinstance(o, Value) else o for o in operands)

    number(region.params)
    entries: list[Key] = [tuple(param.type for param in region.params)]
    for node in region.nodes:
        inner = [region_key(r, numbers) for r in node.regions]
        entries.append((node.op, described(node.operands), attrs_key(node.attrs), *inner))
        number(node.results)
    return (*entries, described(region.results))
