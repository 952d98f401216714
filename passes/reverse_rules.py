"""Reverse mode of calls: plain ones, those with a derivative of their own, and checkpoints."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import (
    Builder,
    Graph,
    Node,
    Operand,
    Replacements,
    Value,
    captures,
    fresh,
    inline,
    is_pure,
    replay_region,
)
from .activity import active_values
from .errors import DerivativeOfClosedOver
from .reverse import Cotangents, Reverse
from .splicing import live_nodes, outside_values, splice


def reverse_call(reverse: Reverse, node: Node, cotangents: Cotangents) -> Sequence[Node]:
    """Reverse what is called as if it stood in place of the call."""
    nodes, _ = splice(node.regions[0], node.operands, node.results)
    reverse.add_all(node.results, cotangents)
    return reverse.walk(nodes)


def reverse_custom_derivative(
    reverse: Reverse, node: Node, cotangents: Cotangents
) -> Sequence[Node]:
    """Reverse a function by the rule that came with it, which takes its place in the forward."""
    if not reverse.active.isdisjoint(captures(node.regions[0])):
        raise DerivativeOfClosedOver(node.loc)
    rule = _reverse_by_vjp if node.attrs["mode"] == "vjp" else _reverse_by_jvp
    return rule(reverse, node, cotangents)


def _reverse_by_vjp(reverse: Reverse, node: Node, cotangents: Cotangents) -> list[Node]:
    """Run the forward rule; the backward rule takes what that kept, and the cotangents."""
    _, forward_rule, backward_rule = node.regions
    nodes, kept = splice(forward_rule, node.operands, node.results)
    given = [
        _zeros_like(reverse.builder, result) if c is None else c
        for result, c in zip(node.results, cotangents, strict=True)
    ]
    gradients = inline(reverse.builder, backward_rule, (*kept, *given))
    reverse.add_all(node.operands, gradients)
    return nodes


def _reverse_by_jvp(reverse: Reverse, node: Node, cotangents: Cotangents) -> list[Node]:
    """Run the rule in place; it is linear in the tangents, so its reverse in these is what we want.

    The tangents are zeros: whatever is computed of them alone is dropped as dead code.
    """
    builder = Builder(node.loc)
    tangents = [
        _zeros_value(builder, operand)
        if operand in reverse.active
        else _zeros_like(builder, operand)
        for operand in node.operands
    ]
    nodes, results = splice(node.regions[1], (*node.operands, *tangents), node.results)
    targets = [r for r, c in zip(results, cotangents, strict=True) if c is not None]
    sources = [t for t, o in zip(tangents, node.operands, strict=True) if o in reverse.active]
    active = active_values(nodes, sources, targets)
    rule = reverse.inner(active, reverse.builder)
    rule.add_all(results, cotangents)
    forward = rule.walk(nodes)
    reverse.add_all(node.operands, [rule.take(tangent) for tangent in tangents])
    return [*builder.nodes, *forward]


def _zeros_like(builder: Builder, operand: Operand) -> Operand:
    """Return zeros of the type of an operand; a random key has none and stands for itself."""
    return operand if operand.type.is_key else builder.zeros(operand.type)


def _zeros_value(builder: Builder, operand: Operand) -> Value:
    """Return zeros that are the result of a node, even where they are of rank 0."""
    shape = operand.type.shape
    zero = builder.zeros(operand.type.with_shape())
    return builder("broadcast_in_dim", zero, shape=shape, dims=())


def _without_effects(
    _: Builder, node: Node, operands: tuple[Operand, ...], mapping: Replacements
) -> tuple[Operand, ...] | None:
    """Leave out what only talks to the host: it has done so in the forward run."""
    return None if node.results or is_pure(node) else ()


def reverse_checkpoint(reverse: Reverse, node: Node, cotangents: Cotangents) -> list[Node]:
    """Run a checkpoint again, in another checkpoint that goes on with its reverse."""
    (region,) = node.regions
    captured = captures(region)
    names: dict[Value, Operand] = dict(zip(captured, fresh(captured), strict=True))
    copy = replay_region(region, names, _without_effects)
    active = {new for old, new in names.items() if old in reverse.active and isinstance(new, Value)}
    again = reverse.inner(active)
    seeds = [None if c is None else Value(c.type) for c in cotangents]
    again.add_all(copy.results, seeds)
    forward = again.walk(copy.nodes)

    inputs = [*zip(copy.params, node.operands, strict=True), *((names[v], v) for v in captured)]
    found = [(operand, again.take(param)) for param, operand in inputs]
    found = [(operand, cotangent) for operand, cotangent in found if cotangent is not None]
    results = tuple(cotangent for _, cotangent in found)
    nodes = live_nodes([*forward, *again.builder.nodes], results)
    inputs += [(s, c) for s, c in zip(seeds, cotangents, strict=True) if s is not None]
    used = set(outside_values(nodes, results))
    inputs = [(param, operand) for param, operand in inputs if param in used]
    backward = Graph("", tuple(p for p, _ in inputs), tuple(nodes), results)
    gradients = reverse.builder.emit(node.op, [o for _, o in inputs], node.attrs, [backward])
    reverse.add_all([operand for operand, _ in found], gradients)
    return [node]
