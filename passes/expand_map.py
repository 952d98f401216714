"""The pass `expand_map`: a sequential map is a loop, one in chunks a loop over vmaps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

from ..ir import (
    Builder,
    Effect,
    Gathered,
    Graph,
    Lane,
    Lanes,
    Loop,
    Node,
    Operand,
    Replacements,
    Slice,
    Stack,
    StateVar,
    Value,
    replay_graph,
    replay_region,
    walk,
)
from .expansion import has_op
from .lanes import part


def expand_map(graph: Graph) -> Graph:
    """Replace every `map` by a `for_loop`, in chunks of ``batch_size`` by a loop over vmaps.

    What is left over after the last whole chunk is a `vmap` of its own. States follow the rules of
    the loop and of the vmap, so this comes before states are hoisted.

    Notes
    -----
    *before*::

        graph @f(%x: f32[5]) -> (f32[5]) {
          %y = map (%a: f32[] = %x) {length=5, batch_size=2} : f32[5] do {
            %b = sin %a : f32[]
            yield %b
          }
          return %y
        }

    *after*::

        graph @f(%x: f32[5]) -> (f32[5]) {
          %0 = slice %x {start=(0,), limit=(4,), strides=(1,)} : f32[4]
          %1 = reshape %0 {shape=(2, 2)} : f32[2,2]
          %y = for_loop over(%2 = %1) {length=2, reverse=false, unroll=1} : f32[2,2] do {
            %y1 = vmap (%a: f32[] = %2) {
              size=2, in_axes=(0,), out_axes=(0,), in_states=(), out_states=(), axis_name=none
            } : f32[2] do {
              %b = sin %a : f32[]
              yield %b
            }
            yield %y1
          }
          %3 = reshape %y {shape=(4,)} : f32[4]
          %4 = slice %x {start=(4,), limit=(5,), strides=(1,)} : f32[1]
          %y2 = vmap (%a1: f32[] = %4) {
            size=1, in_axes=(0,), out_axes=(0,), in_states=(), out_states=(), axis_name=none
          } : f32[1] do {
            %b1 = sin %a1 : f32[]
            yield %b1
          }
          %5 = concatenate %3, %y2 {dimension=0} : f32[5]
          return %5
        }

    Examples
    --------
    >>> from brainir.ir import parse
    >>> from brainir.passes import expand_map
    >>> graph = parse('''graph @f(%x: f32[5]) -> (f32[5]) {
    ...   %y = map (%a: f32[] = %x) {length=5, batch_size=none} do {
    ...     %b = sin %a
    ...     yield %b
    ...   }
    ...   return %y
    ... }''')
    >>> [node.op.name for node in expand_map(graph).nodes]
    ['for_loop']
    """

    def rewrite(
        builder: Builder, node: Node, operands: tuple[Operand, ...], mapping: Replacements
    ) -> Sequence[Operand] | None:
        if node.op.name != "map":
            return None
        builder.loc = node.loc
        length, size = node.attrs["length"], node.attrs["batch_size"]

        def copy() -> Graph:
            return replay_region(node.regions[0], mapping, rewrite)

        if size is None:
            return _loop(builder, node, operands, copy(), length)
        return _in_chunks(builder, node, operands, copy, length, size)

    return replay_graph(graph, rewrite) if has_op(graph, "map") else graph


def _loop(
    builder: Builder, node: Node, over: Sequence[Operand], body: Graph, length: int
) -> tuple[Value, ...]:
    slices = tuple(map(Slice, over, body.params))
    stacks = tuple(map(Stack, body.results, node.results))
    loop = Loop((), slices, stacks, body.nodes, length, name=body.name, loc=node.loc)
    return loop.emit(builder)[1]


def _lanes(
    builder: Builder, node: Node, over: Sequence[Operand], body: Graph, size: int
) -> tuple[Value, ...]:
    arguments = tuple(Lane(x, 0, param) for x, param in zip(over, body.params, strict=True))
    pairs = zip(body.results, node.results, strict=True)
    yields = tuple(Gathered(inside, 0, result) for inside, result in pairs)
    attrs = {"size": size, "in_states": (), "out_states": (), "axis_name": None}
    return Lanes(arguments, yields, body.nodes, attrs, body.name, node.loc).emit(builder)


def _in_chunks(
    builder: Builder,
    node: Node,
    over: Sequence[Operand],
    copy: Callable[[], Graph],
    length: int,
    size: int,
) -> Sequence[Operand]:
    """Loop over the whole chunks, and run what is left over at the end."""
    chunks, rest = divmod(length, size)
    if not chunks and rest:
        return _lanes(builder, node, over, copy(), rest)
    whole = chunks * size
    stacks = [
        builder("reshape", part(builder, x, 0, whole), shape=(chunks, size, *x.type.shape[1:]))
        for x in over
    ]
    inside = Builder()
    slices = [Value(x.type.with_shape(*x.type.shape[1:])) for x in stacks]
    results = _lanes(inside, node, slices, copy(), size)
    loop = _loop(builder, node, stacks, inside.graph(slices, results), chunks)
    outs = [builder("reshape", y, shape=(whole, *y.type.shape[2:])) for y in loop]
    if not rest:
        return outs
    body = _with_states_of_its_own(copy())
    left = _lanes(builder, node, [part(builder, x, whole, length) for x in over], body, rest)
    pairs = zip(outs, left, strict=True)
    return [builder("concatenate", *pair, dimension=0) for pair in pairs]


def _with_states_of_its_own(region: Graph) -> Graph:
    """Return a region that creates other states than the one that it is a copy of."""
    created = [n.attrs["state"] for n in walk(region) if Effect.NEW in n.op.effects]
    own = {state: replace(state) for state in created}

    def renamed(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(renamed, cast(tuple[Any, ...], value)))
        return own.get(value, value) if isinstance(value, StateVar) else value

    def rewrite(
        builder: Builder, node: Node, operands: tuple[Operand, ...], mapping: Replacements
    ) -> Sequence[Operand]:
        regions = [replay_region(inner, mapping, rewrite) for inner in node.regions]
        attrs = {name: renamed(value) for name, value in node.attrs.items()}
        hints = [result.hint for result in node.results]
        return builder.emit(node.op, operands, attrs, regions, loc=node.loc, hints=hints)

    return replay_region(region, {}, rewrite) if own else region
