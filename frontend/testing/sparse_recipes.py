"""How to draw products with sparse matrices: of connections that fit, and may lead nowhere."""

from __future__ import annotations

from math import inf, prod

from ...ir import Literal, Operand, Type, Value
from .graph_draft import Draft, Range, kind


def draw_sparse(d: Draft, op: str) -> None:
    """Draw a product along connections that are stored: as many of every row."""
    x = _vector(d)
    if x is None:
        return
    *lanes, length = x.type.shape
    height, each = (d.integer(0, 3) if op == "csr_to_rows" else length), d.integer(0, 3)
    where = _connections(d, height, each)
    if op == "csr_to_connections":
        other = d.operand(Type(x.type.dtype, (*lanes, d.integer(0, 3))))
        d.emit(op, [x, other, *where], {}, [_sum(d, [x, other], prod(lanes))])
        return
    weights = d.operand(Type(x.type.dtype, d.choose([(), (height * each,)])))
    attrs = {"columns": d.integer(0, 3)} if op == "csr_to_columns" else {}
    d.emit(op, [x, weights, *where], attrs, [_sum(d, [x, weights], height * each)])


def draw_seeded(d: Draft, op: str) -> None:
    """Draw a product along connections from a seed."""
    x = _vector(d)
    if x is not None:
        attrs: dict[str, object] = {"probability": d.choose([0.5, 1.0, 0.01])}
        attrs["columns" if op == "seeded_to_columns" else "rows"] = d.integer(0, 3)
        seed = d.operand(Type("int32"))
        d.emit(op, [x, seed], attrs, [_sum(d, [x], x.type.shape[-1])])


def _vector(d: Draft) -> Value | None:
    def fits(v: Value) -> bool:
        known = kind(v.type.dtype) in "iu" or v.type.dtype in ("float32", "float64")
        return known and v.type.rank > 0

    return d.pick(fits)


def _connections(d: Draft, height: int, each: int) -> list[Operand]:
    """Return the columns of connections, where those of each row begin, and their rows."""
    count = height * each
    indices = d.operand(Type("int32", (count,)))
    begins = _count(d, height + 1)
    rows: Operand = _count(d, count)
    (begins,) = d.emit("mul", [begins, Literal(each, Type("int32"))])
    if each:
        (rows,) = d.emit("div", [rows, Literal(each, Type("int32"))])
    return [indices, begins, rows]


def _count(d: Draft, length: int) -> Value:
    (numbers,) = d.emit("iota", [], {"dtype": "int32", "shape": (length,), "dimension": 0})
    return numbers


def _sum(d: Draft, factors: list[Operand], count: int) -> Range:
    """Return the range of a sum of so many products."""
    ranges = [d.range_of(factor) for factor in factors]
    if kind(factors[0].type.dtype) == "u":
        return Range(inf)
    grids = [range.grid for range in ranges]
    grid = None if None in grids else sum(grid for grid in grids if grid is not None)
    return Range(prod(range.bound for range in ranges) * max(count, 1), grid)
