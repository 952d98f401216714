"""Readable text for models and states: one attribute a line, arrays by type, cycles named.

An object says what to show through ``__rich_repr__``, the protocol of the ``rich`` library: an
iterable of ``(name, value)`` pairs. It then prints well here and under ``rich`` alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

__all__ = ["Fields", "Text", "render", "summary"]

SHORT = 8
"""A vector of at most so many elements is shown with its numbers, anything larger by its type."""

LINE = 72
"""A list, tuple or dictionary that is no longer than this stands on one line."""


@runtime_checkable
class Fields(Protocol):
    """An object that names what is to be shown of it."""

    def __rich_repr__(self) -> Iterable[object]: ...


class Text(str):
    """Text that is shown as it stands, without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def render(value: object) -> str:
    """Render `value` with nested indentation.

    Objects with ``__rich_repr__`` are opened once: met again (a cycle, or a shared part) an object
    is shown as ``Name(...)``. Where a subclass has a ``__repr__`` of its own, that is the text of a
    part. Vectors of up to eight numbers are shown with their values and larger arrays as
    ``float32[500,100]``, prefixed with ``~`` where JAX holds the type to be weak.

    Examples
    --------
    >>> import numpy as np
    >>> from brainir.frontend.state.pretty import render
    >>> class Point:
    ...     def __rich_repr__(self):
    ...         yield "x", 1.0
    ...         yield "trace", np.zeros((3, 4))
    >>> print(render(Point()))
    Point(
      x=1.0,
      trace=float64[3,4]
    )
    """
    if isinstance(value, Fields):  # even if its class has a text of its own, which may ask for this
        return _render_compound(value, set())
    return _render(value, set())


def summary(tree: object) -> object:
    """Replace each array of a pytree by text that gives its type, such as ``float32[3]``.

    Examples
    --------
    >>> import brainunit as u
    >>> import numpy as np
    >>> from brainir.frontend.state.pretty import summary
    >>> summary({"V": np.zeros(3) * u.mV, "steps": 2})
    {'V': Quantity(float64[3], "mV"), 'steps': 2}
    """
    return jax.tree.map(_summarise_leaf, tree, is_leaf=lambda leaf: isinstance(leaf, u.Quantity))


def _summarise_leaf(leaf: object) -> object:
    if isinstance(leaf, u.Quantity):
        unit = f', "{leaf.unit}"' if leaf.unit.should_display_unit else ""
        return Text(f"Quantity({_summarise_leaf(leaf.mantissa)}{unit})")
    return Text(_array_type(leaf)) if _is_array(leaf) else leaf


def _is_array(value: Any) -> bool:
    return isinstance(value, jax.Array | np.ndarray | jax.ShapeDtypeStruct)


def _array_type(array: Any) -> str:
    weak = "~" if getattr(array, "weak_type", False) else ""
    return f"{weak}{array.dtype}[{','.join(map(str, array.shape))}]"


def _shows_numbers(value: Any) -> bool:
    array = value.mantissa if isinstance(value, u.Quantity) else value
    if not _is_array(array):
        return True
    concrete = not isinstance(array, Tracer | jax.ShapeDtypeStruct)
    numeric = not jnp.issubdtype(array.dtype, jax.dtypes.extended)
    return concrete and numeric and array.ndim <= 1 and array.size <= SHORT


def _render(value: object, seen: set[int]) -> str:
    if isinstance(value, type):
        return value.__qualname__
    if isinstance(value, Fields) and _has_text_of_its_own(type(value)) and id(value) not in seen:
        seen.add(id(value))
        return repr(value)
    if isinstance(value, Fields) or type(value) in (list, tuple, dict):
        return _render_compound(value, seen)
    if isinstance(value, u.Quantity) or _is_array(value):
        return repr(value) if _shows_numbers(value) else str(_summarise_leaf(value))
    if callable(value) and hasattr(value, "__qualname__"):
        return f"<function {value.__qualname__}>"
    return repr(value)


def _has_text_of_its_own(cls: type) -> bool:
    """Whether a class says how its objects are printed after a base said what is to be shown."""
    classes = cls.__mro__
    says_text = next(base for base in classes if "__repr__" in vars(base))
    says_fields = next((base for base in classes if "__rich_repr__" in vars(base)), cls)
    return classes.index(says_text) < classes.index(says_fields)


def _render_compound(value: object, seen: set[int]) -> str:
    if isinstance(value, dict | list | tuple):
        opening, closing = ("[", "]") if isinstance(value, list) else ("(", ")")
        opening, closing = ("{", "}") if isinstance(value, dict) else (opening, closing)
    else:
        opening, closing = f"{type(value).__name__}(", ")"
    if id(value) in seen:
        return f"{opening}...{closing}"
    seen.add(id(value))
    if isinstance(value, Fields):
        return _join(opening, [_field(field, seen) for field in value.__rich_repr__()], closing)
    if isinstance(value, dict):
        parts = [f"{key!r}: {_render(part, seen)}" for key, part in value.items()]
    else:
        assert isinstance(value, list | tuple)
        parts = [_render(part, seen) for part in value]
    seen.discard(id(value))  # equal tuples are often one object: only a cycle is cut short
    return _flat(opening, parts, closing) or _join(opening, parts, closing)


def _field(field: object, seen: set[int]) -> str:
    if not (isinstance(field, tuple) and len(field) > 1):
        return _render(field, seen)
    name, value = field[:2]
    return f"{name}={value if isinstance(value, str) else _render(value, seen)}"


def _flat(opening: str, parts: list[str], closing: str) -> str:
    comma = "," if closing == ")" and len(parts) == 1 else ""
    line = f"{opening}{', '.join(parts)}{comma}{closing}"
    return line if "\n" not in line and len(line) <= LINE else ""


def _join(opening: str, parts: list[str], closing: str) -> str:
    if not parts:
        return opening + closing
    body = ",\n".join(parts).replace("\n", "\n  ")
    return f"{opening}\n  {body}\n{closing}"
