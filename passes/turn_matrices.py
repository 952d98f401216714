"""The pass `turn_matrices`: what a loop reads across its rows is turned once before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from ..ir import (
    Builder,
    Graph,
    Node,
    Operand,
    Replacements,
    Value,
    copy_node,
    is_spikes,
    mapped,
    replay_graph,
    replay_region,
    spikes,
    walk,
)

ROWS = 32
"""From so many rows on, a product spends its time on other things than reading the matrix."""

LOOPS = ("for_loop", "while")

CACHE = 2**20
"""Larger matrices do not stay in the cache of a core, where reading them either way is as slow."""


def turn_matrices(graph: Graph, rows: int = ROWS, cache: int = CACHE) -> Graph:
    """Turn matrices before a loop, if products of few rows in it would read them across their rows.

    That is the product of the reverse of a recurrent layer: forwards, ``x @ W`` reads a row of
    ``W`` after the other; backwards, ``g @ W.T`` jumps from row to row, at each step. A product
    counts if a step has at least two ``rows`` of it and at most so many, and the matrix has at most
    ``cache`` bytes. Measured on CPUs, such products then take half the time or less.

    What sends spikes counts with a single row, too, and whatever the matrix: also ``W @ spikes``,
    which then is ``spikes @ W.T``. A kernel goes through the rows of those neurons alone that fire.

    Notes
    -----
    *before*::

        graph @f(%v: f32[2,4], %w: f32[3,4], %m: f32[3,4]) -> (f32[2,3]) {
          %y = for_loop carry(%u = %v) {length=9} : f32[2,4] do {
            %a = dot_general %u, %w {
              dimension_numbers=(((1,), (1,)), ((), ())),
              precision=none, preferred_element_type=none
            } : f32[2,3]
            %b = dot_general %a, %m {
              dimension_numbers=(((1,), (0,)), ((), ())),
              precision=none, preferred_element_type=none
            } : f32[2,4]
            yield %b
          }
          %z = dot_general %y, %w {
            dimension_numbers=(((1,), (1,)), ((), ())), precision=none, preferred_element_type=none
          } : f32[2,3]
          return %z
        }

    *after*::

        graph @f(%v: f32[2,4], %w: f32[3,4], %m: f32[3,4]) -> (f32[2,3]) {
          %w1 = transpose %w {permutation=(1, 0)} : f32[4,3]
          %y = for_loop carry(%u = %v) {length=9} : f32[2,4] do {
            %a = dot_general %u, %w1 {
              dimension_numbers=(((1,), (0,)), ((), ())),
              precision=none, preferred_element_type=none
            } : f32[2,3]
            %b = dot_general %a, %m {
              dimension_numbers=(((1,), (0,)), ((), ())),
              precision=none, preferred_element_type=none
            } : f32[2,4]
            yield %b
          }
          %z = dot_general %y, %w {
            dimension_numbers=(((1,), (1,)), ((), ())), precision=none, preferred_element_type=none
          } : f32[2,3]
          return %z
        }

    Examples
    --------
    >>> import brainir
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from brainir.ir import walk
    >>> from brainir.passes import turn_matrices
    >>> weight = jnp.ones((3, 3))
    >>> def loss(h):
    ...     return jax.lax.fori_loop(0, 9, lambda i, h: jnp.tanh(h @ weight), h).sum()
    >>> gradient = brainir.optimize(jax.grad(loss))
    >>> graph = gradient.trace(jnp.ones((8, 3))).graph("distribute-loops")
    >>> after = turn_matrices(graph)
    >>> [node.op.name for node in after.nodes if node.op.name in ("transpose", "for_loop")]
    ['for_loop', 'transpose', 'for_loop']
    """
    if not rows:
        return graph
    sent = spikes(graph)

    def wanted(loop: Node) -> dict[Node, _Product]:
        """Return the products inside that read a matrix from outside across its rows."""
        inside = set(_defined_in(loop))
        nodes = (node for region in loop.regions for node in walk(region))
        products = {node: _product(node) for node in nodes if node.op.name == "dot_general"}
        return {
            node: product
            for node, product in products.items()
            if product is not None and product.matrix not in inside
            if is_spikes(product.rows, sent)
            or (2 <= product.count <= rows and product.matrix.type.nbytes <= cache)
        }

    def rewrite(
        builder: Builder, node: Node, operands: tuple[Operand, ...], mapping: Replacements
    ) -> Sequence[Operand] | None:
        if node.op.name not in LOOPS:
            return None
        products = wanted(node)
        if not products:
            return None
        turned: dict[Operand, Operand] = {}
        for matrix in dict.fromkeys(product.matrix for product in products.values()):
            (now,) = mapped([matrix], mapping)
            turned[matrix] = builder("transpose", now, permutation=(1, 0))
        inner = _with_turned(products, turned)
        regions = [replay_region(region, mapping, inner) for region in node.regions]
        return copy_node(builder, node, operands, regions)

    return replay_graph(graph, rewrite)


Rewrite = Callable[[Builder, Node, tuple[Operand, ...], Replacements], "Sequence[Operand] | None"]


@dataclass(frozen=True, slots=True)
class _Product:
    """A product of rows with a matrix, over the last axis of that."""

    rows: Operand
    """Their last axis is summed."""
    count: int
    """How many rows there are."""
    matrix: Operand
    place: int
    """Which operand has the rows."""


def _product(node: Node) -> _Product | None:
    """Return what a product reads across the rows of a matrix, or None if it does not."""
    left, right = node.operands
    (left_sum, right_sum), (left_batch, _) = node.attrs["dimension_numbers"]
    if left_batch or len(left_sum) != 1:
        return None
    if right.type.rank == 2 and tuple(right_sum) == (1,):
        (axis,) = left_sum
        count = prod(n for a, n in enumerate(left.type.shape) if a != axis)
        return _Product(left, count, right, 0)
    if right.type.rank == 1 and left.type.rank == 2 and tuple(left_sum) == (1,):
        return _Product(right, 1, left, 1)
    return None


def _with_turned(products: Mapping[Node, _Product], turned: Mapping[Operand, Operand]) -> Rewrite:
    """Return what builds products with the matrices that were turned for them."""

    def rewrite(
        builder: Builder, node: Node, operands: tuple[Operand, ...], _: Replacements
    ) -> Sequence[Operand] | None:
        if node not in products:
            return None
        product = products[node]
        summed, batch = node.attrs["dimension_numbers"]
        attrs = {**node.attrs, "dimension_numbers": ((summed[product.place], (0,)), batch)}
        given = operands[product.place], turned[product.matrix]
        return builder.emit(node.op, given, attrs, loc=node.loc)

    return rewrite


def _defined_in(loop: Node) -> Iterator[Value]:
    """Yield the values that the regions of a loop define."""
    for region in loop.regions:
        yield from region.params
        for node in walk(region):
            yield from node.results
            for inner in node.regions:
                yield from inner.params
