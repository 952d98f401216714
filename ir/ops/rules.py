"""Rules that many ops share: inference, batching and cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..builder import Builder
from ..op import Cost, GraphError, Weight, traffic
from ..types import Operand, Type, Value

Array = np.ndarray[Any, Any]

Types = tuple[Type, ...]
Batch = Callable[..., Any]


# --- inference ----------------------------------------------------------------------------------


def require(condition: object, message: str) -> None:
    """Refuse a node with a message unless the condition holds."""
    if not condition:
        raise GraphError(message)


def shown(types: Sequence[Type]) -> str:
    """Return types as text, separated by commas."""
    return ", ".join(map(str, types))


def same_dtype(types: Sequence[Type]) -> str:
    """Return the one dtype that all types have."""
    dtype = types[0].dtype
    for type in types:
        if type.dtype != dtype:
            raise GraphError(f"operands of one dtype expected, not {shown(types)}")
    return dtype


def common_shape(types: Sequence[Type]) -> tuple[int, ...]:
    """Return the shape of an elementwise result.

    Operands have one shape, apart from what is broadcast implicitly: rank 0, and axes of length 1.
    """
    shapes = [t.shape for t in types if t.shape]
    if not shapes:
        return ()
    if shapes.count(shapes[0]) == len(shapes):
        return shapes[0]
    require(len({len(s) for s in shapes}) == 1, f"operands differ in rank: {shown(types)}")
    lengths = [{n for n in axis if n != 1} for axis in zip(*shapes, strict=True)]
    require(all(len(n) < 2 for n in lengths), f"operands differ in shape: {shown(types)}")
    return tuple(n.pop() if n else 1 for n in lengths)


def check_axes(type: Type, axes: Sequence[int], what: str = "axes") -> None:
    """Refuse axes that a type does not have, or that are named twice."""
    known = all(0 <= a < type.rank for a in axes)
    require(known and len(set(axes)) == len(axes), f"{what} {tuple(axes)} do not fit {type}")


def without_axes(shape: Sequence[int], axes: Sequence[int]) -> tuple[int, ...]:
    """Return a shape with some of its axes left out."""
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def lax_call(name: str, *attributes: str) -> Callable[..., Any]:
    """Return the emission of an op as ``jax.lax.<name>(*arrays, *attributes)``."""

    def call(jax: Any, *arrays: Any, **attrs: Any) -> Any:
        return getattr(jax.lax, name)(*arrays, *(attrs[a] for a in attributes))

    return call


# --- building -----------------------------------------------------------------------------------


def move_axis(builder: Builder, array: Operand, source: int, target: int) -> Operand:
    """Return an array in which one axis stands elsewhere and the others keep their order.

    Examples
    --------
    >>> from brainir.ir import Builder, Type, Value, move_axis
    >>> spikes = Value(Type("float32", (100, 8, 4)))
    >>> str(move_axis(Builder(), spikes, 1, 0).type)
    'f32[8,100,4]'
    """
    order = [axis for axis in range(array.type.rank) if axis != source]
    order.insert(target, source)
    return permute(builder, array, tuple(order))


def permute(builder: Builder, array: Operand, permutation: tuple[int, ...]) -> Operand:
    """Return an array with its axes in another order: itself, if that is the one that they have.

    Examples
    --------
    >>> from brainir.ir import Builder, Type, Value, permute
    >>> spikes = Value(Type("float32", (100, 8, 4)))
    >>> str(permute(Builder(), spikes, (2, 0, 1)).type)
    'f32[4,100,8]'
    """
    if permutation == tuple(range(len(permutation))):
        return array
    return builder("transpose", array, permutation=permutation)


def repeat(builder: Builder, array: Operand, size: int) -> Value:
    """Return an array with a new leading axis along which it is always the same.

    Examples
    --------
    >>> from brainir.ir import Builder, Type, Value, repeat
    >>> potential = Value(Type("float32", (4,)))
    >>> str(repeat(Builder(), potential, 8).type)
    'f32[8,4]'
    """
    dims = tuple(range(1, array.type.rank + 1))
    return builder("broadcast_in_dim", array, shape=array.type.stacked(size).shape, dims=dims)


def with_lanes(builder: Builder, operand: Operand, batched: bool, size: int) -> Operand:
    """Return an operand that has a leading lane axis: itself, or repeated for every lane."""
    return operand if batched else repeat(builder, operand, size)


def all_with_lanes(
    builder: Builder, operands: Sequence[Operand], batched: Sequence[bool], size: int
) -> tuple[Operand, ...]:
    """Give every operand a leading lane axis."""
    pairs = zip(operands, batched, strict=True)
    return tuple(with_lanes(builder, operand, has, size) for operand, has in pairs)


def lane_shape(operand: Operand, batched: bool) -> tuple[int, ...]:
    """Return the shape of one lane of an operand."""
    return operand.type.shape[1:] if batched else operand.type.shape


def shifted(axes: Sequence[int]) -> tuple[int, ...]:
    """Return axis numbers as they are once a lane axis stands in front."""
    return tuple(a + 1 for a in axes)


# --- batching -----------------------------------------------------------------------------------


def batch_elementwise(name: str, full: Callable[[int], bool] = lambda position: False) -> Batch:
    """Return the batching rule of an elementwise op.

    An operand that is the same for all lanes stays as it is if it is of rank 0; the others get the
    full shape. ``full`` says which operands may not be of rank 0 when others are not.
    """

    def batch(
        builder: Builder,
        operands: Sequence[Operand],
        batched: Sequence[bool],
        size: int,
        **attrs: Any,
    ) -> Value:
        lanes = [
            Type("", lane_shape(operand, has))
            for operand, has in zip(operands, batched, strict=True)
        ]
        shape = (size, *common_shape(lanes))

        def spread(position: int, operand: Operand, has: bool) -> Operand:
            if has and operand.type.rank == len(shape):
                return operand
            if not has and not operand.type.shape and not full(position):
                return operand
            rank = operand.type.rank
            dims = range(rank) if has else range(len(shape) - rank, len(shape))
            return builder("broadcast_in_dim", operand, shape=shape, dims=tuple(dims))

        pairs = enumerate(zip(operands, batched, strict=True))
        return builder(name, *(spread(i, operand, has) for i, (operand, has) in pairs), **attrs)

    return batch


def batch_unary(
    name: str, attrs_with_lanes: Callable[..., Mapping[str, Any]] | None = None
) -> Batch:
    """Return the batching rule of an op of one operand.

    ``attrs_with_lanes(size, **attrs)`` gives the attributes once a lane axis stands in front; None
    if they are the same.
    """

    def batch(
        builder: Builder,
        operands: Sequence[Operand],
        batched: Sequence[bool],
        size: int,
        **attrs: Any,
    ) -> Value:
        (operand,) = operands
        return builder(
            name, operand, **(attrs_with_lanes(size, **attrs) if attrs_with_lanes else attrs)
        )

    return batch


# --- cost ---------------------------------------------------------------------------------------


def free(operands: Types, results: Types, attrs: Mapping[str, Any]) -> Cost:
    """Cost of an op that only says how elements are laid out: it vanishes in its consumer."""
    return Cost(0, traffic(operands, results), Weight.FREE)


def cheap(operands: Types, results: Types, attrs: Mapping[str, Any]) -> Cost:
    """Cost of an elementwise op: one operation for each element, fused into its consumer."""
    return Cost(sum(t.size for t in results), traffic(operands, results), Weight.CHEAP)


def heavy(operands: Types, results: Types, attrs: Mapping[str, Any]) -> Cost:
    """Cost of an op that passes over its operands, one operation for each of their elements.

    Such an op is heavy even if it is short: computing its result again needs its big operands.
    """
    return Cost(sum(t.size for t in operands), traffic(operands, results), Weight.HEAVY)
