"""Units of derivatives: that of the result over that of what is differentiated by."""

from __future__ import annotations

from typing import Any

import brainunit
import jax


def is_quantity(x: Any) -> bool:
    """Whether something is a number with a unit."""
    return isinstance(x, brainunit.Quantity)


def items_of(tree: Any) -> list[Any]:
    """Return the arrays of a pytree, each with its unit if it has one."""
    return jax.tree.leaves(tree, is_leaf=is_quantity)


def unit_of(item: Any) -> Any:
    """Return the unit of an array, which may be none."""
    return item.unit if is_quantity(item) else brainunit.UNITLESS


def with_ratio(array: Any, result: Any, source: Any) -> Any:
    """Return a derivative of a result by a source, with its unit if that is not 1."""
    return brainunit.maybe_decimal(
        brainunit.Quantity(array, unit=unit_of(result) / unit_of(source))
    )


def with_unit_of_source(array: Any, source: Any) -> Any:
    """Return a gradient that looks like what it is by, as that of any container does."""
    return brainunit.Quantity(array, unit=source.unit) if is_quantity(source) else array
