"""How to draw elementwise ops: a table of what they take, and how large their results are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import asinh, cosh, exp, inf, sinh

from ...ir import Operand, Type
from .graph_draft import Draft, Range, kind

Needs = tuple[str, ...]


def _any(*bounds: float) -> float:
    return max(bounds)


@dataclass(frozen=True)
class Maths:
    """An elementwise op.

    Attributes
    ----------
    domain : str
        Kinds of elements, as `graph_draft.kind` names them.
    needs : tuple of str
        What each real operand must be: "any", "small" (up to 4), "unit" (up to 1/2), "above 0",
        "above 1", or "exact".
    bound : callable
        From the bounds of operands to that of the result.
    grid : str
        When all operands are exact: "keep" (so is the result), "sum" (of the grids) or "lose".
    smooth : bool
        Whether the op has neither kinks nor jumps.
    """

    domain: str
    needs: Needs
    bound: Callable[..., float] = _any
    grid: str = "lose"
    smooth: bool = True


def _one(*bounds: float) -> float:
    return 1.0


def _row(domain: str, needs: str, bound: Callable[..., float] = _any, **extra: object) -> Maths:
    return Maths(domain, tuple(needs.split(", ")), bound, **extra)  # pyright: ignore


MATHS: dict[str, Maths] = {
    "add": _row("iufc", "any, any", lambda x, y: x + y, grid="keep"),
    "mul": _row("iufc", "any, any", lambda x, y: x * y, grid="sum"),
    "sub": _row("iufc", "any, any", lambda x, y: x + y, grid="keep"),
    "neg": _row("iufc", "any", grid="keep"),
    "tanh": _row("f", "any", _one),
    "exp": _row("fc", "small", exp),
    "exp2": _row("f", "small", lambda x: 2**x),
    "expm1": _row("f", "small", exp),
    "log": _row("f", "above 0", _one),
    "log1p": _row("f", "unit", _one),
    "sin": _row("f", "any", _one),
    "cos": _row("f", "any", _one),
    "tan": _row("f", "unit", _one),
    "asin": _row("f", "unit", _one),
    "acos": _row("f", "unit", lambda x: 2.1),
    "atan": _row("f", "any", lambda x: 1.6),
    "sinh": _row("f", "small", sinh),
    "cosh": _row("f", "small", cosh),
    "asinh": _row("f", "any", asinh),
    "acosh": _row("f", "above 1", lambda x: 1.5),
    "atanh": _row("f", "unit", _one),
    "logistic": _row("f", "any", _one),
    "sqrt": _row("f", "above 0", lambda x: 1.3),
    "rsqrt": _row("f", "above 0", lambda x: 1.5),
    "cbrt": _row("f", "above 0", lambda x: 1.2),
    "square": _row("iuf", "any", lambda x: x * x, grid="sum"),
    "erf": _row("f", "any", _one),
    "erfc": _row("f", "any", lambda x: 2.0),
    "erf_inv": _row("f", "unit", _one),
    "lgamma": _row("f", "above 0", _one),
    "digamma": _row("f", "above 0", lambda x: 2.0),
    "bessel_i0e": _row("f", "any", _one),
    "bessel_i1e": _row("f", "any", _one),
    "div": _row("iuf", "any, above 0", lambda x, y: 2 * x),
    "pow": _row("f", "above 0, small", lambda x, y: 16.0),
    "atan2": _row("f", "any, above 0", lambda x, y: 3.2),
    "copy": _row("biufck", "any", grid="keep"),
    "abs": _row("if", "any", grid="keep", smooth=False),
    "max": _row("biuf", "any, any", grid="keep", smooth=False),
    "min": _row("biuf", "any, any", grid="keep", smooth=False),
    "clamp": _row("biuf", "any, any, any", grid="keep", smooth=False),
    "nextafter": _row("f", "any, any", smooth=False),
    "stop_gradient": _row("biufck", "any", grid="keep", smooth=False),
    "sign": _row("iuf", "exact", _one, grid="keep", smooth=False),
    "floor": _row("f", "exact", lambda x: x + 1, grid="keep", smooth=False),
    "ceil": _row("f", "exact", lambda x: x + 1, grid="keep", smooth=False),
    "rem": _row("iu", "any, any", smooth=False),
    "is_finite": _row("f", "any", _one),
    "real": _row("c", "any"),
    "imag": _row("c", "any"),
    "conj": _row("c", "any"),
    **{name: _row("biuf", "exact, exact", _one) for name in ("lt", "eq", "gt", "le", "ne", "ge")},
    **{name: _row("biu", "any, any", lambda *_: inf) for name in ("and", "or", "xor")},
    "not": _row("biu", "any", lambda x: inf),
    "shift_left": _row("iu", "any, any", lambda x, y: inf),
    "shift_right_logical": _row("iu", "any, any", lambda x, y: inf),
    "shift_right_arithmetic": _row("iu", "any, any", lambda x, y: inf),
    "population_count": _row("iu", "any", lambda x: 64.0),
    "clz": _row("iu", "any", lambda x: 64.0),
}
SIGNED_ONLY = {"add", "mul", "neg", "abs", "max", "min"}
"""Ops whose bounds hold for signed integers; unsigned ones, and others, can be anything."""


def prepared(d: Draft, operand: Operand, need: str) -> Operand:
    """Return an operand, or something like it that is as an op needs it."""
    if kind(operand.type.dtype) not in "fc" or need in ("any", "exact"):
        return operand
    if need in ("small", "unit"):
        return d.squashed(operand, 4.0 if need == "small" else 0.5)
    return d.above(operand, 0.5 if need == "above 0" else 1.25)


def draw_maths(d: Draft, op: str) -> None:
    maths = MATHS[op]
    exact = "exact" in maths.needs
    if exact and d.options.differentiable:
        # Steps are taken where no derivative is asked for.
        first = d.pick(lambda v: kind(v.type.dtype) in maths.domain.replace("f", ""))
    else:
        first = d.pick(
            lambda v: kind(v.type.dtype) in maths.domain and (not exact or d.is_exact(v))
        )
    if first is None:
        return
    operands: list[Operand] = [first]
    for _ in maths.needs[1:]:
        dtype, shape = first.type.dtype, first.type.shape
        operands.append(d.operand(Type(dtype, d.choose([shape, ()])), exact))
    if op == "clamp":
        operands = [operands[1], first, operands[2]]
    operands = [prepared(d, o, need) for o, need in zip(operands, maths.needs, strict=True)]
    d.emit(op, operands, ranges=[_range_of_maths(d, op, maths, operands)])


def _range_of_maths(d: Draft, op: str, maths: Maths, operands: Sequence[Operand]) -> Range:
    ranges = [d.range_of(o) for o in operands]
    letter = kind(operands[0].type.dtype)
    bound = maths.bound(*(r.bound for r in ranges))
    if letter == "u" or (letter == "i" and op not in SIGNED_ONLY):
        return Range(inf)
    grids = [r.grid for r in ranges if r.grid is not None]
    if maths.grid == "lose" or len(grids) < len(ranges):
        return Range(bound)
    return Range(
        bound, sum(grids) * (2 if op == "square" else 1) if maths.grid == "sum" else max(grids)
    )
