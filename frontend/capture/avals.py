"""What values look like to a trace: shapes, dtypes and structures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.core import ShapedArray

from .cells import Cell
from .naming import describe_tree


@dataclass(frozen=True, slots=True)
class View:
    """What a State looks like at some point of a capture: its structure, and one aval a leaf."""

    tree: Any
    avals: tuple[Any, ...]

    def same_types(self, other: View) -> bool:
        """Whether shapes and dtypes agree; weak types do not count."""
        return [(a.shape, a.dtype) for a in self.avals] == [(a.shape, a.dtype) for a in other.avals]

    def __str__(self) -> str:
        return describe_tree(self.tree, self.avals)


def aval_of(leaf: Any) -> Any:
    """Return shape, dtype and weak type of an array-like, as JAX would hold it.

    Raises
    ------
    TypeError
        If JAX cannot hold it.
    """
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return leaf
    aval = jax.typeof(leaf)
    if type(leaf) in (bool, int, float, complex) or isinstance(leaf, (np.ndarray, np.generic)):
        dtype = jax.dtypes.canonicalize_dtype(aval.dtype)
        return jax.ShapeDtypeStruct(aval.shape, dtype, weak_type=aval.weak_type)
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type)


def view_of(state: Cell) -> View:
    """Return what a State looks like from outside any trace.

    Raises
    ------
    TraceContextError
        If it has no value any more.
    TypeError, ValueError
        If what it holds is not an array.
    """
    held = state.peek()
    leaves, tree = jax.tree.flatten(held)
    if not leaves:
        raise ValueError(
            f"{state.describe()} holds {held!r}, which has no arrays. Every State that a "
            "transformed function touches needs a value first."
        )
    avals: list[Any] = []
    for leaf in leaves:
        try:
            avals.append(aval_of(leaf))
        except TypeError:
            if hasattr(leaf, "frame"):
                raise state.without_value() from None
            raise TypeError(
                f"{state.describe()} holds {leaf!r} of type {type(leaf).__name__}, "
                "which is not an array"
            ) from None
    return View(tree, tuple(avals))


def shaped(aval: Any) -> Any:
    """Return JAX's abstract value for a ShapeDtypeStruct."""
    return ShapedArray(aval.shape, aval.dtype, weak_type=aval.weak_type)


def aval_of_abstract(aval: Any) -> Any:
    """Return a ShapeDtypeStruct for one of JAX's abstract values."""
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type)
