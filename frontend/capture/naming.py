"""What graphs and messages call functions and their arguments."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import brainunit as u
import jax


def stand_for(flat: Any, function: Any, names: Sequence[str]) -> None:
    """Let what JAX says of ``flat`` name a function of the user, its line and its parameters."""
    origin = inspect.unwrap(function)
    flat.__name__ = name_of(origin)
    if hasattr(origin, "__code__"):
        flat.__wrapped__ = origin
    if names and len(set(names)) == len(names) and all(map(str.isidentifier, names)):
        kind = inspect.Parameter.POSITIONAL_ONLY
        flat.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])


def parameter_names(function: Any) -> list[str]:
    """Return the names of a function's positional parameters, as far as they can be known."""
    function = getattr(function, "__wrapped__", function)
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    names = list(code.co_varnames[: code.co_argcount]) if code is not None else []
    return names[1:] if hasattr(function, "__self__") else names


def leaf_names(names: Sequence[str], args: tuple[Any, ...]) -> Iterator[str]:
    """Yield a name for every leaf of the arguments."""
    for i, arg in enumerate(args):
        yield from [names[i] if i < len(names) else ""] * len(jax.tree.leaves(arg))


def name_of(function: Any) -> str:
    """Return how messages and graphs call a function."""
    name = getattr(function, "__name__", None) or type(function).__name__
    return "lambda" if name == "<lambda>" else str(name)


def describe_tree(tree: Any, avals: Sequence[Any]) -> str:
    """Spell a pytree of array types, units included, for an error message."""
    strings = [f"{a.dtype}{list(a.shape)}" for a in avals]
    try:
        held = jax.tree.unflatten(tree, [_Spelled(s) for s in strings])
        return str(jax.tree.map(_with_holder, held, is_leaf=_is_quantity))
    except (TypeError, ValueError, AttributeError):
        return f"{tree} of {', '.join(strings)}"


def _is_quantity(held: Any) -> bool:
    return isinstance(held, u.Quantity)


def _with_holder(held: Any) -> Any:
    """Tell a Quantity without a unit, which prints as its array, from that array."""
    if _is_quantity(held) and held.unit.is_unitless:
        return _Spelled(f"Quantity({held.mantissa}) without a unit")
    return held


class _Spelled:
    """A leaf that prints as the type it stands for."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text
