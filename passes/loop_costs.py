"""What the products of a loop cost inside of it, and what outside.

Inside, a step multiplies few rows with a matrix, which comes from the cache once more for each
step. Outside, all steps, or those of a block, are rows of one product; but what that takes and
gives is written to memory and read again. Which is less depends on the sizes, and on the machine.
The terms are those of the roofline model of S. Williams, A. Waterman and D. Patterson, *Roofline:
an insightful visual performance model*, 2009; its numbers were measured on CPUs.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from ..ir import Node, Operand, Value
from .loop_stages import PRODUCTS

FLOPS, NEAR, FAR, CACHE = 200e9, 50e9, 10e9, 2**24
"""Two cores of a CPU: the operations of products in a second, the bytes that caches and memory take
or give in one, and how many bytes stay in the caches between two loops."""

CALL, STEP = 1e-6, 3e-7
"""Seconds that calling one more product takes, and a step of one more loop."""

MESSAGE = 0.0
"""Seconds that devices take to add up what each of them has: none, where there is one device."""

MEMORY = 2**30
"""How many bytes loops may hand to each other."""

RATES = {
    "dot_general": (0.65, 0.85, 0.55),
    "conv_general_dilated": (0.03, 0.08, 0.08),
    "reduce_sum": (1.0, 1.0, 1.0),
}
"""The parts of a machine's rate that products of one step reach, those of many steps, and those
that sum over many steps, too. A sum without a product is as fast as what makes its elements."""

IN_BLOCKS = ("dot_general", "reduce_sum")
"""What gains also in a loop over blocks. XLA's convolutions are slow in any loop, however large."""

ACROSS, ADDED = 3, 4
"""How often a matrix that is read across its rows counts, and a sum that something is added to."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine can do, as far as loops ask.

    Attributes
    ----------
    flops : float
        Floating-point operations of large products in a second.
    near, far : float
        Bytes in a second that caches and memory take or give.
    cache : float
        Bytes that a loop may hand to another one in the caches.
    call, step : float
        Seconds that calling one product takes, and one step of one more loop.
    message : float
        Seconds that a sum over devices takes. Where lanes are spread over them, each product over
        the lanes is followed by one.
    memory : float
        Bytes that loops may hand to each other at all.
    """

    flops: float = FLOPS
    near: float = NEAR
    far: float = FAR
    cache: float = CACHE
    call: float = CALL
    step: float = STEP
    message: float = MESSAGE
    memory: float = MEMORY

    def speed(self, nbytes: float) -> float:
        """Return the bytes in a second at which so many are handed on: each is written and read."""
        return (self.near if nbytes <= self.cache else self.far) / 2

    def inside(self, product: Node, varying: AbstractSet[Value]) -> float:
        """Return the seconds of a product in one step."""
        return (
            self._once(product, varying)
            + product.cost.flops / self.flops / RATES[product.op.name][0]
        )

    def outside(self, product: Node, varying: AbstractSet[Value], steps: int) -> float:
        """Return the seconds of a product for each of so many steps of which it is made at once."""
        _, many, summed = RATES[product.op.name]
        rate = summed if fixed_operand(product, varying) is None else many
        return self._once(product, varying) / steps + product.cost.flops / self.flops / rate

    def _once(self, product: Node, varying: AbstractSet[Value]) -> float:
        """Return the seconds that do not grow with the steps of which a product is made at once."""
        fixed = fixed_operand(product, varying)
        if product.op.name not in PRODUCTS:
            return self.message
        if fixed is None:
            moved = ADDED * product.result.type.nbytes
            return self.call + self.message + moved / self.near
        moved = _passes_over(product, fixed) * fixed.type.nbytes
        return self.call + moved / self.near


def fixed_operand(product: Node, varying: AbstractSet[Value]) -> Operand | None:
    """Return the one operand that is the same in each step, or None if there is no such one."""
    fixed = [o for o in product.operands if o not in varying]
    return fixed[0] if product.op.name in PRODUCTS and len(fixed) == 1 else None


def _passes_over(product: Node, matrix: Operand) -> int:
    """Return how often a product of few rows reads a matrix, as far as time is concerned."""
    if product.op.name != "dot_general":
        return 1
    side = 1 if matrix is product.operands[1] else 0
    contracted = product.attrs["dimension_numbers"][0][side]
    return ACROSS if matrix.type.rank - 1 in contracted else 1


def block_of(length: int, most: float) -> int:
    """Return how many steps make a block of at most so many; divisors leave no rest."""
    most = max(1, int(min(most, length)))
    divisors = (size for size in range(most, most // 2, -1) if length % size == 0)
    return next(divisors, -(-length // -(-length // most)))
