"""Functions of floats in kernels: without a branch, so that one instruction serves many elements.

Each is a sum or a quotient of few terms after its argument was brought into a short range, so that
only rounding is felt. Where a series is short anyway, coefficients are those of Taylor; others were
fitted, as is said beside them. `WIDE` functions of float32 are written in float64, which is simpler
than to carry what was rounded off. What has no function of its own here is a call of the C library,
for one element at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from . import circle, error, exponential, logarithm, power
from .maths import Maths


def define(module: ir.Module, name: str, kind: Any) -> ir.Function:
    """Return the function of that name in a module, for elements of a kind.

    Parameters
    ----------
    module : ir.Module
        Which gets the function unless it has it.
    name : str
        The word for it, such as ``exp``.
    kind : ir.FloatType or ir.DoubleType
        Of operands and result.

    Examples
    --------
    >>> from llvmlite import ir
    >>> from brainir.backends.native.elementary import define
    >>> define(ir.Module(), "exp", ir.FloatType()).name
    'exp.float'
    """
    write = FUNCTIONS.get(name)
    single = isinstance(kind, ir.FloatType)
    called = name + ("f" if single else "")
    full = called if write is None else f"{name}.{kind}"
    if full in module.globals:
        return module.globals[full]
    count = 2 if name in TWO else 1
    function = ir.Function(module, ir.FunctionType(kind, [kind] * count), full)
    function.attributes.add("nounwind")
    if write is None:
        return function
    function.linkage = "internal"
    function.attributes.add("alwaysinline")
    build: Any = ir.IRBuilder(function.append_basic_block())
    if single and name in WIDE:
        maths = Maths(module, build, ir.DoubleType(), short=True)
        wide = write(maths, *(build.fpext(x, maths.kind) for x in function.args))
        build.ret(build.fptrunc(wide, kind))
    else:
        build.ret(write(Maths(module, build, kind, short=single), *function.args))
    return function


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": exponential.exp,
    "exp2": exponential.exp2,
    "expm1": exponential.expm1,
    "logistic": exponential.logistic,
    "tanh": exponential.tanh,
    "sinh": exponential.sinh,
    "cosh": exponential.cosh,
    "log": logarithm.log,
    "log1p": logarithm.log1p,
    "rsqrt": power.rsqrt,
    "pow": power.power,
    "erf": error.erf,
    "erfc": error.erfc,
    "erf_inv": error.erf_inv,
    "sin": circle.sin,
    "cos": circle.cos,
    "tan": circle.tan,
}
"""What has a function of its own."""

WIDE = ("pow", "erf", "erfc", "sin", "cos", "tan")
"""Functions of float32 that are written in float64."""

TWO = ("pow", "atan2")
"""Functions of two operands."""
