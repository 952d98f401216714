"""The pass `sort_out_zeros`: large products with spikes, of which few may fire."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

from ..ir import (
    Builder,
    Graph,
    Literal,
    Node,
    Operand,
    Replacements,
    Type,
    Value,
    copy_node,
    is_spikes,
    permute,
    replay_graph,
    spikes,
    walk,
)
from .kernel_costs import CORES, OF_ROWS, RATE

SHARE = 1 / 8
"""The part of spikes that may be set where a product is to leave out the others: adding rows then
takes at most as long as the library's product of all does on two cores, which
``python -m benchmarks product`` shows."""

LEAST = 5e-5
"""Seconds that a product takes at least: it takes some microseconds to count."""

ROW = 64
"""Elements that come with a spike, at least: going to them takes as long as some of them."""


def sort_out_zeros(
    graph: Graph, rate: float = RATE, cores: float = CORES, share: float = SHARE
) -> Graph:
    """Let large products with spikes find out whether few are set, and leave out the others then.

    That is what is left outside of loops when a spiking net is trained: products of all steps with
    the matrix of the next layer, and the gradient of each matrix, a product of what came back with
    all spikes of the layer before. A `kernel` looks whether at most a ``share`` of them is set and
    all that they meet is finite (or else ``0 * inf`` would be missed). If so, another one goes
    through those that are set and adds up rows; if not, the product stays what it is.

    Parameters
    ----------
    graph : Graph
        Without transformations.
    rate, cores : float
        Elements of arrays that one core computes in a second, 0 for no kernels at all; and on how
        many cores the library works.
    share : float
        The part of spikes that may be set; 0 for products of all, always.

    Notes
    -----
    *before*::

        graph @f(%fired: bool[900,256], %g: f32[900,512]) -> (f32[256,512]) {
          %s = convert_element_type %fired {new_dtype=f32} : f32[900,256]
          %y = dot_general %s, %g {
            dimension_numbers=(((0,), (0,)), ((), ())), precision=none, preferred_element_type=none
          } : f32[256,512]
          return %y
        }

    *after*::

        graph @f(%fired: bool[900,256], %g: f32[900,512]) -> (f32[256,512]) {
          %s = convert_element_type %fired {new_dtype=f32} : f32[900,256]
          %rare = kernel (%spikes = %s, %others = %g) : bool[] do @few {
            %zeros = broadcast_in_dim 0.0:f32 {shape=(900, 256), dims=()} : f32[900,256]
            %set = ne %spikes, %zeros : bool[900,256]
            %ones = convert_element_type %set {new_dtype=i32} : i32[900,256]
            %count = reduce_sum %ones {axes=(0, 1)} : i32[]
            %few = le %count, 28800:i32 : bool[]
            %finite = is_finite %others : bool[900,512]
            %all = reduce_and %finite {axes=(0, 1)} : bool[]
            %both = and %few, %all : bool[]
            yield %both
          }
          %y = cond %rare : f32[256,512] do {
            %y1 = dot_general %s, %g {
              dimension_numbers=(((0,), (0,)), ((), ())), precision=none,
              preferred_element_type=none
            } : f32[256,512]
            yield %y1
          } and {
            %turned = transpose %s {permutation=(1, 0)} : f32[256,900]
            %y2 = kernel (%rows = %turned, %matrix = %g) : f32[256,512] do @product {
              %zeros1 = broadcast_in_dim 0.0:f32 {shape=(256, 900), dims=()} : f32[256,900]
              %set1 = ne %rows, %zeros1 : bool[256,900]
              %ones1 = convert_element_type %set1 {new_dtype=f32} : f32[256,900]
              %fired1 = mul %rows, %ones1 : f32[256,900]
              %y3 = dot_general %fired1, %matrix {
                dimension_numbers=(((1,), (0,)), ((), ())), precision=none,
                preferred_element_type=none
              } : f32[256,512]
              yield %y3
            }
            yield %y2
          }
          return %y
        }

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> from brainir.passes import sort_out_zeros
    >>> def product(x, g):
    ...     return (x > 0).astype(float).T @ g
    >>> graph = brainir.optimize(product).trace(jnp.ones((900, 256)), jnp.ones((900, 512)))
    >>> [node.op.name for node in sort_out_zeros(graph.graph("dead-code")).nodes][-3:]
    ['transpose', 'kernel', 'cond']
    """
    if not rate or not share:
        return graph
    least = LEAST * OF_ROWS * rate * cores
    if not any(n.op.name == "dot_general" and n.cost.flops >= least for n in walk(graph)):
        return graph
    rare = spikes(graph)

    def rewrite(
        builder: Builder, node: Node, operands: tuple[Operand, ...], _: Replacements
    ) -> Sequence[Operand] | None:
        if node.op.name == "kernel":
            return copy_node(builder, node, operands, node.regions)
        if node.op.name != "dot_general" or node.cost.flops < least:
            return None
        sides = [i for i in (0, 1) if is_spikes(node.operands[i], rare)]
        product = _Product.of(node, operands, sides[0]) if sides else None
        return None if product is None else [product.chosen(builder, share)]

    return replay_graph(graph, rewrite)


@dataclass(frozen=True, slots=True)
class _Product:
    """A product of spikes with something else, each with axes that stay and axes that are summed.

    Attributes
    ----------
    node : Node
        What it is in the graph.
    operands : tuple of Operand
        The two factors.
    side : int
        Which one has the spikes.
    stays, summed : tuple of tuple of int
        Of each factor, the axes that are in the result, and those that are not.
    """

    node: Node
    operands: tuple[Operand, ...]
    side: int
    stays: tuple[tuple[int, ...], ...]
    summed: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, node: Node, operands: tuple[Operand, ...], side: int) -> _Product | None:
        """Return what is needed of a product, or None if it does not gain."""
        summed, batches = node.attrs["dimension_numbers"]
        dtypes = {operand.type.dtype for operand in operands} | {node.result.type.dtype}
        if any(batches) or len(dtypes) > 1 or not dtypes <= {"float32", "float64"}:
            return None
        ranks = [operand.type.rank for operand in operands]
        stays = [
            tuple(axis for axis in range(rank) if axis not in axes)
            for rank, axes in zip(ranks, summed, strict=True)
        ]
        found = cls(node, operands, side, tuple(stays), tuple(map(tuple, summed)))
        return found if prod(found._lengths(1 - side, stays[1 - side])) >= ROW else None

    def chosen(self, builder: Builder, share: float) -> Operand:
        """Write both ways, and the choice between them."""
        builder.loc = self.node.loc
        spikes, others = self.operands[self.side], self.operands[1 - self.side]
        (rare,) = _kernel(builder, "few", [spikes, others], partial(_is_rare, share))
        ways = [self._of_all(spikes, others), self._of_few()]
        (found,) = builder.emit("cond", [rare], regions=ways)
        if self.side == 0:
            return found
        # Out here, since the gradient of a matrix is turned once more, which takes away both.
        first, rank = len(self.stays[1]), found.type.rank
        return permute(builder, found, (*range(first, rank), *range(first)))

    def _of_all(self, spikes: Operand, others: Operand) -> Graph:
        """Return the product as it was, with the spikes first."""
        inside, attrs = Builder(self.node.loc), dict(self.node.attrs)
        if self.side:
            attrs["dimension_numbers"] = (self.summed[::-1], ((), ()))
            if isinstance(attrs["precision"], tuple):
                attrs["precision"] = attrs["precision"][::-1]
        return inside.graph([], inside.emit(self.node.op, [spikes, others], attrs))

    def _of_few(self) -> Graph:
        """Return the product as one of matrices, rows of spikes with another, in a kernel."""
        inside, mine, other = Builder(self.node.loc), self.side, 1 - self.side
        rows = self._as_matrix(inside, mine, self.stays[mine], self.summed[mine])
        matrix = self._as_matrix(inside, other, self.summed[other], self.stays[other])
        (found,) = _kernel(inside, "product", [rows, matrix], _product)
        first, last = (self._lengths(side, self.stays[side]) for side in (mine, other))
        return inside.graph([], [_shaped(inside, found, (*first, *last))])

    def _as_matrix(self, builder: Builder, side: int, *kinds: tuple[int, ...]) -> Operand:
        """Return a factor as a matrix, of two kinds of axes."""
        operand = permute(builder, self.operands[side], (*kinds[0], *kinds[1]))
        return _shaped(builder, operand, tuple(prod(self._lengths(side, k)) for k in kinds))

    def _lengths(self, side: int, axes: Sequence[int]) -> tuple[int, ...]:
        return tuple(self.operands[side].type.shape[axis] for axis in axes)


def _shaped(builder: Builder, operand: Operand, shape: tuple[int, ...]) -> Operand:
    return operand if operand.type.shape == shape else builder("reshape", operand, shape=shape)


def _kernel(
    builder: Builder, name: str, operands: Sequence[Operand], body: Callable[..., Value]
) -> tuple[Value, ...]:
    """Write a kernel of what a function builds of values as those given."""
    inside, given = Builder(builder.loc), [Value(operand.type) for operand in operands]
    region = inside.graph(given, [body(inside, *given)], name)
    return builder.emit("kernel", operands, {"dense": False}, [region])


def _is_rare(share: float, builder: Builder, spikes: Value, others: Value) -> Value:
    """Return whether few are set, and zeros times what they meet are zeros."""
    is_set = builder("ne", spikes, builder.zeros(spikes.type))
    numbers = builder("convert_element_type", is_set, new_dtype="int32")
    most = Literal(int(spikes.type.size * share), Type("int32"))
    few = builder("le", _over_all(builder, "reduce_sum", numbers), most)
    is_finite = builder("is_finite", others)
    return builder("and", few, _over_all(builder, "reduce_and", is_finite))


def _over_all(builder: Builder, reduction: str, x: Value) -> Value:
    return builder(reduction, x, axes=tuple(range(x.type.rank)))


def _product(builder: Builder, rows: Value, matrix: Value) -> Value:
    """Return rows of spikes times a matrix."""
    # Times whether they are set: so that a kernel knows them for spikes.
    is_set = builder("ne", rows, builder.zeros(rows.type))
    ones = builder("convert_element_type", is_set, new_dtype=rows.type.dtype)
    return builder(
        "dot_general",
        builder("mul", rows, ones),
        matrix,
        dimension_numbers=(((1,), (0,)), ((), ())),
        precision=None,
        preferred_element_type=None,
    )
