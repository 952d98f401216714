"""Arithmetic on elements of one kind, as functions of floats write it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from llvmlite import ir

LOG_2 = Fraction("0.693147180559945309417232121458176568075500134360255")


class Maths:
    """Writes arithmetic on elements of one kind.

    Parameters
    ----------
    module : ir.Module
        Of the function.
    build : ir.IRBuilder
        What appends instructions.
    kind : ir.FloatType or ir.DoubleType
        Of the elements.
    short : bool
        Whether as many digits as those of float32 are enough.

    Examples
    --------
    >>> from llvmlite import ir
    >>> from brainir.backends.native.elementary.maths import Maths
    >>> maths = Maths(ir.Module(), ir.IRBuilder(), ir.FloatType(), short=True)
    >>> maths.number(0.5).constant
    0.5
    """

    def __init__(self, module: ir.Module, build: ir.IRBuilder, kind: Any, *, short: bool) -> None:
        self.module, self.build, self.kind, self.short = module, build, kind, short
        self.single = isinstance(kind, ir.FloatType)
        self.bits = ir.IntType(32 if self.single else 64)
        self.mantissa, self.bias = (23, 127) if self.single else (52, 1023)
        self.dtype: Any = np.float32 if self.single else np.float64

    def number(self, value: float | Fraction) -> Any:
        """Return a constant."""
        return ir.Constant(self.kind, float(self.dtype(float(value))))

    def integer(self, value: int) -> Any:
        """Return a constant of as many bits."""
        return ir.Constant(self.bits, value)

    def intrinsic(self, name: str, *values: Any) -> Any:
        """Return what LLVM has a word for."""
        function = self.module.declare_intrinsic(
            f"llvm.{name}", [self.kind], ir.FunctionType(self.kind, [v.type for v in values])
        )
        return self.build.call(function, values)

    # --- instructions -----------------------------------------------------------------------------

    def add(self, x: Any, y: Any) -> Any:
        """Return x + y."""
        return self.build.fadd(x, y)

    def sub(self, x: Any, y: Any) -> Any:
        """Return x - y."""
        return self.build.fsub(x, y)

    def mul(self, x: Any, y: Any) -> Any:
        """Return x y."""
        return self.build.fmul(x, y)

    def div(self, x: Any, y: Any) -> Any:
        """Return x / y."""
        return self.build.fdiv(x, y)

    def neg(self, x: Any) -> Any:
        """Return -x."""
        return self.build.fneg(x)

    def fma(self, x: Any, y: Any, z: Any) -> Any:
        """Return x y + z, rounded once."""
        return self.intrinsic("fma", x, y, z)

    def size(self, x: Any) -> Any:
        """Return |x|."""
        return self.intrinsic("fabs", x)

    def less(self, x: Any, y: Any) -> Any:
        """Return whether x < y."""
        return self.build.fcmp_ordered("<", x, y)

    def same(self, x: Any, y: Any) -> Any:
        """Return whether x = y."""
        return self.build.fcmp_ordered("==", x, y)

    def select(self, test: Any, yes: Any, no: Any) -> Any:
        """Return one of two."""
        return self.build.select(test, yes, no)

    def bits_of(self, x: Any) -> Any:
        """Return a number as an integer of the same bits."""
        return self.build.bitcast(x, self.bits)

    def of_bits(self, x: Any) -> Any:
        """Return an integer as a number of the same bits."""
        return self.build.bitcast(x, self.kind)

    # --- sums of two numbers ----------------------------------------------------------------------

    def sum_in_two(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Return x + y, and what it has lost."""
        total = self.add(x, y)
        part = self.sub(total, x)
        lost = self.add(self.sub(x, self.sub(total, part)), self.sub(y, part))
        return total, lost

    def ordered_sum(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Return x + y, and what it has lost, for a y that is not larger than x."""
        total = self.add(x, y)
        return total, self.sub(y, self.sub(total, x))

    def product_in_two(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Return x y, and what it has lost."""
        product = self.mul(x, y)
        return product, self.fma(x, y, self.neg(product))

    def in_two(self, value: Fraction) -> tuple[Any, Any]:
        """Return a constant as the sum of two."""
        first = float(self.dtype(float(value)))
        return self.number(first), self.number(value - Fraction(first))

    def halves(self, value: Fraction, cut: int) -> tuple[Any, Any]:
        """Return a constant as the sum of one with few digits and a small one."""
        word: Any = np.uint32 if self.single else np.uint64
        short = np.array(float(value), self.dtype).view(word) & ~word((1 << cut) - 1)
        first = float(short.view(self.dtype))
        return self.number(first), self.number(value - Fraction(first))

    # --- polynomials and powers -------------------------------------------------------------------

    def polynomial(self, x: Any, coefficients: Sequence[Any]) -> Any:
        """Return the sum of powers of x, the lowest first; a coefficient may be an element."""
        total, *rest = (
            self.number(c) if isinstance(c, int | float | Fraction) else c
            for c in reversed(coefficients)
        )
        for coefficient in rest:
            total = self.fma(total, x, coefficient)
        return total

    def power_of_two(self, n: Any) -> Any:
        """Return 2 to the power of an integer, of those of normal numbers."""
        shifted = self.build.add(n, self.integer(self.bias))
        return self.of_bits(self.build.shl(shifted, self.integer(self.mantissa)))
