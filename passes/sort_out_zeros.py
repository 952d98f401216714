"""The pass `sort_out_zeros`: large products with spikes, of which few may fire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
    replay_graph,
    spikes,
    walk,
)
from .kernel_costs import CORES, OF_ROWS, RATE

SHARE = 1 / 8
"""The part of spikes that may be set where a product is to leave out the others. On two cores, the
library's product of all took 0.8 to 1.7 times as long when a quarter was set, and 2.4 to 3.5 times
when a twentieth was."""

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
    all spikes of the layer before. Where at most a ``share`` of them is set, and all that they meet
    is finite (or else ``0 * inf`` would be missed), a `kernel` goes through those that are set and
    adds up rows; where more are, the product stays what it is.

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
          %rows = transpose %s {permutation=(1, 0)} : f32[256,900]
          %zeros = broadcast_in_dim 0.0:f32 {shape=(256, 900), dims=()} : f32[256,900]
          %set = ne %rows, %zeros : bool[256,900]
          %ones = convert_element_type %set {new_dtype=i32} : i32[256,900]
          %count = reduce_sum %ones {axes=(0, 1)} : i32[]
          %few = le %count, 28800:i32 : bool[]
          %finite = is_finite %g : bool[900,512]
          %all = reduce_and %finite {axes=(0, 1)} : bool[]
          %rare = and %few, %all : bool[]
          %y = cond %rare : f32[256,512] do {
            %y1 = dot_general %s, %g {
              dimension_numbers=(((0,), (0,)), ((), ())),
              precision=none, preferred_element_type=none
            } : f32[256,512]
            yield %y1
          } and {
            %y2 = kernel (%rows1 = %rows, %matrix = %g) : f32[256,512] do @product {
              %zeros1 = broadcast_in_dim 0.0:f32 {shape=(256, 900), dims=()} : f32[256,900]
              %set1 = ne %rows1, %zeros1 : bool[256,900]
              %ones1 = convert_element_type %set1 {new_dtype=f32} : f32[256,900]
              %spikes = mul %rows1, %ones1 : f32[256,900]
              %y3 = dot_general %spikes, %matrix {
                dimension_numbers=(((1,), (0,)), ((), ())),
                precision=none, preferred_element_type=none
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
    ['reduce_and', 'and', 'cond']
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
        return found if found._length(1 - side, stays[1 - side]) >= ROW else None

    def chosen(self, builder: Builder, share: float) -> Operand:
        """Write both ways, and the choice between them."""
        builder.loc = self.node.loc
        mine, other = self.side, 1 - self.side
        rows = self._laid_out(builder, mine, (*self.stays[mine], *self.summed[mine]))
        matrix = self._laid_out(builder, other, (*self.summed[other], *self.stays[other]))
        few = builder("and", _few(builder, rows, share), _finite(builder, matrix))
        (found,) = builder.emit("cond", [few], regions=[self._whole(), _rare(rows, matrix)])
        shapes = [[self.operands[i].type.shape[a] for a in self.stays[i]] for i in (mine, other)]
        shape = (*shapes[0], *shapes[1])
        if found.type.shape != shape:
            found = builder("reshape", found, shape=shape)
        if mine == 0:
            return found
        first = len(shapes[0])
        turned = (*range(first, len(shape)), *range(first))
        return builder("transpose", found, permutation=turned)

    def _length(self, side: int, axes: Sequence[int]) -> int:
        return prod(self.operands[side].type.shape[axis] for axis in axes)

    def _laid_out(self, builder: Builder, side: int, axes: tuple[int, ...]) -> Operand:
        """Return a factor as a matrix, with axes in an order in which each kind stays together."""
        operand = self.operands[side]
        if axes != tuple(range(len(axes))):
            operand = builder("transpose", operand, permutation=axes)
        shape = tuple(self._length(side, kind[side]) for kind in (self.stays, self.summed))
        shape = shape if side == self.side else shape[::-1]
        return operand if operand.type.shape == shape else builder("reshape", operand, shape=shape)

    def _whole(self) -> Graph:
        """Return the product as it was, but for the order of its axes, which is that of `_rare`."""
        inside = Builder(self.node.loc)
        (found,) = inside.emit(self.node.op, self.operands, self.node.attrs)
        lengths = tuple(self._length(i, self.stays[i]) for i in (0, 1))
        if found.type.shape != lengths:
            found = inside("reshape", found, shape=lengths)
        if self.side:
            found = inside("transpose", found, permutation=(1, 0))
        return inside.graph([], [found])


def _few(builder: Builder, rows: Operand, share: float) -> Value:
    """Return whether a part of spikes is set at most."""
    is_set = builder("ne", rows, builder.zeros(rows.type))
    numbers = builder("convert_element_type", is_set, new_dtype="int32")
    most = Literal(int(rows.type.size * share), Type("int32"))
    return builder("le", builder("reduce_sum", numbers, axes=(0, 1)), most)


def _finite(builder: Builder, matrix: Operand) -> Value:
    """Return whether zeros times what they meet are zeros."""
    return builder("reduce_and", builder("is_finite", matrix), axes=(0, 1))


def _rare(rows: Operand, matrix: Operand) -> Graph:
    """Return the product of rows of spikes with a matrix as a kernel."""
    given = Value(rows.type, "rows"), Value(matrix.type, "matrix")
    inside, outside = Builder(), Builder()
    # Times whether they are set: so that a kernel knows them for spikes.
    is_set = inside("ne", given[0], inside.zeros(rows.type))
    ones = inside("convert_element_type", is_set, new_dtype=rows.type.dtype)
    product = inside(
        "dot_general",
        inside("mul", given[0], ones),
        given[1],
        dimension_numbers=(((1,), (0,)), ((), ())),
        precision=None,
        preferred_element_type=None,
    )
    region = inside.graph(given, [product], "product")
    return outside.graph([], outside.emit("kernel", [rows, matrix], {"dense": False}, [region]))
