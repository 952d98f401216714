"""What a loop costs as a kernel, and what as a program of XLA.

XLA runs a step as a list of small programs, each of which costs a call and writes its results to
memory; but it may run one on several cores, and has a library for products of matrices. A kernel
runs on one core, has no calls in it, and keeps what only its loop uses in registers.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from math import prod

from ..ir import Graph, Node, Operand, Pointwise, Value, Weight, is_spikes, spikes

RATE, CORES = 10e9, 2
"""Elements that one core of a CPU computes in a second by an op such as a sum; and its cores."""

CALL = 4e-7
"""Seconds that one of XLA's small programs costs beside its work."""

ELEMENTS = 2**16
"""Elements of an array from which on XLA shares its work among cores."""

PRODUCTS, OF_A_ROW, OF_ROWS = 8, 6, 9
"""Operations in products of matrices for each element of other work: in a kernel; in XLA's library,
of one row, and of many rows on each core."""

SHARED = 2**21
"""Bytes of a matrix from which on XLA's library shares the product of one row with it."""

FIRES = 0.4
"""The part of a product's time that one with spikes takes: more than is usual, since a net may fire
much, and since branches that nobody can predict take time."""


@dataclass(frozen=True, slots=True)
class Processor:
    """What a processor can do, as far as kernels ask.

    Attributes
    ----------
    rate : float
        Elements of arrays that one core computes in a second, by an op such as a product; 0 for no
        kernels at all.
    cores : float
        On how many cores XLA runs what is large.
    dense : bool
        Whether kernels multiply by zeros, too.
    """

    rate: float = RATE
    cores: float = CORES
    dense: bool = False

    def why_not(self, loop: Node) -> str | None:
        """Return why a loop does not gain by being a kernel, or None if it does."""
        steps = loop.attrs.get("length", 2)
        if not self.rate:
            return "the backend has no kernels"
        if steps < 2 or not loop.results:
            return "a loop of one step is no loop"
        rare = spikes(Graph("", (), (loop,), ()))
        own = xla = 0.0
        for region in loop.regions:
            for node in region.nodes:
                mine, other = self._seconds(node, rare)
                own, xla = own + mine, xla + other
        if own > xla:
            return f"a step would take {own:.2g} s in place of {xla:.2g} s"
        return None

    def _seconds(self, node: Node, rare: AbstractSet[Value]) -> tuple[float, float]:
        """Return the seconds of a node in a kernel, and in a program of XLA."""
        if node.regions:
            times = node.attrs.get("length", 1)
            inside = [
                self._seconds(inner, rare) for region in node.regions for inner in region.nodes
            ]
            own, xla = (sum(pair[i] for pair in inside) for i in (0, 1))
            return own * times, (xla + CALL) * times
        cost = node.cost
        if cost.weight is Weight.FREE:
            return 0.0, 0.0
        work = max(cost.flops, max((r.type.size for r in node.results), default=0)) / self.rate
        if node.op.name == "dot_general":
            rows, count = rows_of(node)
            own = work / PRODUCTS * (FIRES if is_spikes(rows, rare) and not self.dense else 1)
            if count == 1:
                shared = self.cores if _largest(node) >= SHARED else 1
                return own, CALL + work / OF_A_ROW / shared
            return own, 2 * CALL + work / OF_ROWS / self.cores
        if isinstance(node.op.element, Pointwise):
            # XLA fuses elementwise work: what it calls is a part of a program.
            shared = self.cores if _size(node) >= ELEMENTS else 1
            return work, CALL / 8 + work / shared
        return work, CALL + work


def _size(node: Node) -> int:
    return max((prod(result.type.shape) for result in node.results), default=1)


def _largest(node: Node) -> int:
    return max(operand.type.nbytes for operand in node.operands)


def rows_of(product: Node) -> tuple[Operand, int]:
    """Return what has the rows that meet a matrix, and how many: the left, or a vector."""
    left, right = product.operands
    (summed, _), (batches, _) = product.attrs["dimension_numbers"]
    if right.type.rank == len(summed) + len(batches):
        return right, prod(right.type.shape[axis] for axis in batches)
    shape = left.type.shape
    return left, prod(length for axis, length in enumerate(shape) if axis not in summed)
