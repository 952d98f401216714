"""What layers that slide a window over space share: extents, padding, and batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp

__all__ = ["Padding", "as_extent", "as_padding", "result_shape"]

Padding = str | int | Sequence[int] | Sequence[tuple[int, int]]


def as_extent(name: str, value: int | Sequence[int], count: int) -> tuple[int, ...]:
    """Return one positive integer for each spatial axis; a single one stands for all.

    Raises
    ------
    ValueError
        If their number is wrong, or one is not positive.
    """
    extent = (value,) * count if isinstance(value, int) else tuple(value)
    if len(extent) != count or not all(isinstance(n, int) and n > 0 for n in extent):
        raise ValueError(f"{name} must be a positive integer, or {count} of them, not {value!r}")
    return extent


def as_padding(padding: Padding, count: int) -> str | tuple[tuple[int, int], ...]:
    """Return padding as a word, or as a pair for each spatial axis.

    An integer pads all sides, and an integer for each axis both of its sides. With one axis, two
    integers are its sides.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if isinstance(padding, str) and padding.upper() in ("SAME", "VALID", "SAME_LOWER"):
        return padding.upper()
    if isinstance(padding, int):
        return ((padding, padding),) * count
    if not isinstance(padding, str):
        parts = tuple(padding)
        if count == 1 and len(parts) == 2 and all(isinstance(n, int) for n in parts):
            return (parts,)  # pyright: ignore[reportReturnType]
        if len(parts) == count:
            pairs = tuple((n, n) if isinstance(n, int) else tuple(n) for n in parts)
            if all(len(pair) == 2 for pair in pairs):
                return pairs  # pyright: ignore[reportReturnType]
    raise ValueError(
        f"padding must be 'SAME', 'VALID', an integer, or {count} integers or pairs of them, not "
        f"{padding!r}"
    )


def result_shape(function: Callable[..., Any], *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of what a function gives for arrays of some shapes."""
    inputs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return tuple(u.math.shape(jax.eval_shape(function, *inputs)))
