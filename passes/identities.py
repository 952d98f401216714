"""Equations by which one node can be replaced by less; all hold bit for bit in IEEE arithmetic.

So there is no ``x * 0 = 0`` (x may be infinite), and ``x + 0.0 = x`` only where x is known to be no
-0.0, but ``x - 0.0 = x`` and ``x + -0.0 = x``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..ir import Builder, Literal, Node, Operand
from .known_values import KnownValues

Identity = Callable[[Builder, KnownValues, Node, Sequence[Operand]], "Operand | None"]
"""``identity(builder, known, node, operands)`` gives what stands for the node's result, or None."""

_identities: dict[str, Identity] = {}


def simpler(
    builder: Builder, known: KnownValues, node: Node, operands: Sequence[Operand]
) -> Operand | None:
    """Return what stands for the only result of a node, with less to compute, or None."""
    if len(node.results) != 1 or node.regions:
        return None
    identity = _identities.get(node.op.name)
    found = identity(builder, known, node, operands) if identity else None
    if found is None:
        found = _fold(builder, known, node, operands)
    if found is None and node.op.name in _SCALARS:
        found = _with_scalars(builder, known, node, operands)
    return found


def _identity(*names: str) -> Callable[[Identity], Identity]:
    def register(rule: Identity) -> Identity:
        _identities.update((name, rule) for name in names)
        return rule

    return register


# --- constants ------------------------------------------------------------------------------------

_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
_BITWISE = ("and", "or", "xor")
_UNARY = (
    *("neg", "abs", "sign", "square", "floor", "ceil"),
    *("is_finite", "not", "convert_element_type"),
)
_BINARY = ("add", "sub", "mul", "max", "min", *_COMPARISONS, *_BITWISE)

_FOLDED = frozenset((*_UNARY, *_BINARY, "div", "clamp", "select_n"))
"""Ops whose value every machine agrees on."""

_SCALARS = frozenset((*_BINARY, "div", "pow"))
"""Ops of two operands of which one may be of rank 0."""

_RESHAPES = ("reshape", "squeeze", "expand_dims")
_LAYOUTS = frozenset((*_RESHAPES, "transpose", "rev", "slice", "broadcast_in_dim"))
"""Ops that only move elements: of a constant they make the same constant."""

_FOLDED_DTYPES = frozenset(
    [
        "bool",
        "float32",
        "float64",
        *(f"{sign}int{n}" for sign in ("", "u") for n in (8, 16, 32, 64)),
    ]
)


def _fold(
    builder: Builder, known: KnownValues, node: Node, operands: Sequence[Operand]
) -> Operand | None:
    literals = [known.constant(operand) for operand in operands]
    if not literals or None in literals:
        return None
    type = node.result.type
    if node.op.name in _LAYOUTS:
        (literal,) = literals
        already = node.op.name == "broadcast_in_dim" and operands[0] is literal
        return None if already or literal is None else builder.full(type, literal.value)
    if node.op.name not in _FOLDED:
        return None
    value = _computed(node, [literal for literal in literals if literal is not None])
    return None if value is None else builder.full(type, value)


def _computed(node: Node, literals: Sequence[Literal]) -> bool | int | float | complex | None:
    """Return a node's value on literals, unless machines may differ in it."""
    types = [literal.type for literal in literals]
    if not {node.result.type.dtype, *(t.dtype for t in types)} <= _FOLDED_DTYPES:
        return None
    arrays = [np.array(x.value, np.dtype(x.type.dtype)) for x in literals]
    target = np.dtype(node.result.type.dtype)
    if target.kind in "iu" and arrays[0].dtype.kind == "f":
        limits = np.iinfo(target)
        if not limits.min <= float(literals[0].value.real) <= limits.max:
            return None
    if node.op.name == "div" and not _has_one_quotient(node, *arrays):
        return None
    with np.errstate(all="ignore"):
        value = np.asarray(node.op.numpy(*arrays, **node.attrs)).item()
    return None if any(map(_is_delicate, (*arrays, np.asarray(value, target)))) else value


def _has_one_quotient(node: Node, x: np.ndarray, y: np.ndarray) -> bool:
    """Whether machines agree about a quotient of constants.

    They do if it is that of two numbers. Where it is that of an array, XLA multiplies by the
    reciprocal, which may round otherwise. Integers are left alone: they may overflow.
    """
    if x.dtype.kind != "f":
        return False
    with np.errstate(all="ignore"):
        reciprocal = np.ones_like(y) / y
        same = not _is_delicate(reciprocal) and x / y == x * reciprocal
    return not node.result.type.shape or bool(same)


def _is_delicate(array: np.ndarray) -> bool:
    """Whether machines may disagree about a number: nan, or one that some flush to zero."""
    if array.dtype.kind != "f":
        return False
    number = float(array)
    return math.isnan(number) or 0 < abs(number) < float(np.finfo(array.dtype).tiny)


def _with_scalars(
    builder: Builder, known: KnownValues, node: Node, operands: Sequence[Operand]
) -> Operand | None:
    """Use a constant as a literal where the other operand says the shape."""
    shape = node.result.type.shape
    for i, operand in enumerate(operands):
        literal = known.constant(operand)
        other = operands[1 - i]
        if literal is not None and operand is not literal and other.type.shape == shape:
            pair = (literal, other) if i == 0 else (other, literal)
            return builder(node.op, *pair, **node.attrs)
    return None


# --- arithmetic ---------------------------------------------------------------------------------


def _unless_spread(operand: Operand, node: Node) -> Operand | None:
    """Return an operand if it has the type of the result."""
    return operand if operand.type == node.result.type else None


@_identity("add")
def _add(
    builder: Builder, known: KnownValues, node: Node, operands: Sequence[Operand]
) -> Operand | None:
    zero = -0.0 if node.result.type.is_float else 0
    for one, other in (operands, operands[::-1]):
        if one.type != node.result.type:
            continue
        if known.equals(other, zero) or (known.equals(other, 0) and not known.may_be_minus_0(one)):
            return one
    for one, other in (operands, operands[::-1]):
        negated = known.node(other, "neg")
        if negated is not None:
            return builder("sub", one, negated.operands[0])
    return None


@_identity("sub")
def _sub(
    builder: Builder, known: KnownValues, node: Node, operands: Sequence[Operand]
) -> Operand | None:
    x, y = operands
    if known.equals(y, 0) and x.type == node.result.type:
        return x
    if known.equals(x, -0.0) and y.type == node.result.type:
        return builder("neg", y)
    if x is y and node.result.type.is_integer:
        return builder.zeros(node.result.type)
    negated = known.node(y, "neg")
    return builder("add", x, negated.operands[0]) if negated is not None else None


@_identity("mul")
def _mul(
    builder: Builder, known: KnownValues, node: Node, operands: Sequence[Operand]
) -> Operand | None:
    for one, other in (operands, operands[::-1]):
        if known.equals(other, 1) and one.type == node.result.type:
            return one
        if known.equals(other, 0) and node.result.type.is_integer:
            return builder.zeros(node.result.type)
    return None


@_identity("div")
def _div(
    builder: Builder, known: KnownValues, node: Node, operands: Sequence[Operand]
) -> Operand | None:
    x, y = operands
    return _unless_spread(x, node) if known.equals(y, 1) else None


@_identity("integer_pow")
def _integer_pow(
    builder: Builder, known: KnownValues, node: Node, operands: Sequence[Operand]
) -> Operand | None:
    return operands[0] if node.attrs["y"] == 1 else None


@_identity("neg", "not")
def _twice(
    builder: Builder, known: KnownValues, node: Node, operands: Sequence[Operand]
) -> Operand | None:
    inner = known.node(operands[0], node.op.name)
    return inner.operands[0] if inner is not None else None


@_identity("max", "min", "and", "or")
def _same_twice(
    builder: Builder, known: KnownValues, node: Node, operands: Sequence[Operand]
) -> Operand | None:
    x, y = operands
    if x is y:
        return x
    if node.result.type.dtype != "bool" or node.op.name not in ("and", "or"):
        return None
    neutral = node.op.name == "and"
    for one, other in ((x, y), (y, x)):
        if known.equals(other, neutral) and one.type == node.result.type:
            return one
        if known.equals(other, not neutral):
            return builder.full(node.result.type, not neutral)
    return None


@_identity("select_n")
def _select(
    builder: Builder, known: KnownValues, node: Node, operands: Sequence[Operand]
) -> Operand | None:
    which, *cases = operands
    if all(case == cases[0] for case in cases):
        return cases[0]
    literal = known.constant(which)
    if literal is not None:
        return cases[min(max(int(literal.value.real), 0), len(cases) - 1)]
    turned = known.node(which, "not")
    if turned is not None and len(cases) == 2 and which.type.dtype == "bool":
        return builder("select_n", turned.operands[0], *cases[::-1])
    if len(cases) == 2 and which.type == node.result.type and which.type.dtype == "bool":
        return which if known.equals(cases[0], False) and known.equals(cases[1], True) else None
    return None


# --- layout -------------------------------------------------------------------------------------


@_identity("copy", "convert_element_type")
def _unchanged(
    builder: Builder, known: KnownValues, node: Node, operands: Sequence[Operand]
) -> Operand | None:
    return _unless_spread(operands[0], node)


@_identity(*_RESHAPES)
def _reshape(
    builder: Builder, known: KnownValues, node: Node, operands: Sequence[Operand]
) -> Operand | None:
    (x,) = operands
    if x.type == node.result.type:
        return x
    inner = known.node(x, *_RESHAPES)
    if inner is None:
        return None
    source = inner.operands[0]
    shape = node.result.type.shape
    return source if source.type.shape == shape else builder("reshape", source, shape=shape)


@_identity("transpose")
def _transpose(
    builder: Builder, known: KnownValues, node: Node, operands: Sequence[Operand]
) -> Operand | None:
    (x,), permutation = operands, node.attrs["permutation"]
    if tuple(permutation) == tuple(range(len(permutation))):
        return x
    inner = known.node(x, "transpose")
    if inner is None:
        return None
    first = inner.attrs["permutation"]
    order = tuple(first[axis] for axis in permutation)
    if order == tuple(range(len(order))):
        return inner.operands[0]
    return builder("transpose", inner.operands[0], permutation=order)


@_identity("broadcast_in_dim")
def _broadcast(
    builder: Builder, known: KnownValues, node: Node, operands: Sequence[Operand]
) -> Operand | None:
    (x,), shape, dims = operands, node.attrs["shape"], node.attrs["dims"]
    if x.type == node.result.type:
        return x
    inner = known.node(x, "broadcast_in_dim", "expand_dims")
    if inner is None:
        return None
    axes = inner.attrs.get("dims")
    if axes is None:
        added = inner.attrs["dimensions"]
        axes = [axis for axis in range(x.type.rank) if axis not in added]
    source = inner.operands[0]
    return builder("broadcast_in_dim", source, shape=shape, dims=tuple(dims[a] for a in axes))


@_identity("slice")
def _slice(
    builder: Builder, known: KnownValues, node: Node, operands: Sequence[Operand]
) -> Operand | None:
    (x,), shape = operands, node.result.type.shape
    if x.type.shape == shape:
        return x
    inner = known.node(x, "broadcast_in_dim")
    if inner is None:
        return None
    source, dims = inner.operands[0], inner.attrs["dims"]
    cut = [
        axis for axis, (new, old) in enumerate(zip(shape, x.type.shape, strict=True)) if new != old
    ]
    spread = [axis for axis in cut if axis not in dims or source.type.shape[dims.index(axis)] == 1]
    if len(spread) < len(cut) or 0 in shape:
        return None
    return builder("broadcast_in_dim", source, shape=shape, dims=dims)


@_identity("concatenate")
def _concatenate(
    builder: Builder, known: KnownValues, node: Node, operands: Sequence[Operand]
) -> Operand | None:
    return operands[0] if len(operands) == 1 else None


@_identity("dynamic_slice", "pad")
def _whole(
    builder: Builder, known: KnownValues, node: Node, operands: Sequence[Operand]
) -> Operand | None:
    """A box of full size is moved to lie inside, and so is all of the array."""
    if node.op.name == "pad" and any(any(entry) for entry in node.attrs["config"]):
        return None
    return _unless_spread(operands[0], node)
