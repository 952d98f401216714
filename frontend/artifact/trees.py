"""The structure of arguments, results and States as JSON, and back: containers, and units."""

from __future__ import annotations

import math
from typing import Any

import brainunit
import jax

from .errors import ArtifactError

LEAF = "array"
"""How an array is written."""

_DEEPEST = 100


class _Leaf:
    """Stands for an array."""


_LEAF = _Leaf()


def tree_to_json(tree: Any, what: str) -> Any:
    """Return the structure of a pytree as plain data.

    Parameters
    ----------
    tree : PyTreeDef
        Of tuples, lists, dicts, None and Quantities.
    what : str
        What the pytree is, for messages.

    Raises
    ------
    ArtifactError
        If it has other containers.
    """
    return _to_json(jax.tree.unflatten(tree, [_LEAF] * tree.num_leaves), what)


def _to_json(item: Any, what: str) -> Any:
    if item is None:
        return None
    if item is _LEAF:
        return LEAF
    kind = type(item)
    if kind is tuple or kind is list:
        return {kind.__name__: [_to_json(x, f"{what}[{i}]") for i, x in enumerate(item)]}
    if kind is dict:
        if not all(type(key) in (str, int) for key in item):
            raise ArtifactError(f"{what} is a dict whose keys are neither all strings nor integers")
        return {"dict": [[key, _to_json(x, f"{what}[{key!r}]")] for key, x in item.items()]}
    if kind is brainunit.Quantity and jax.tree.leaves(item) == [_LEAF]:
        return {"quantity": _unit_to_json(item.unit)}
    raise ArtifactError(
        f"{what} is a {kind.__module__}.{kind.__qualname__}, which an artifact cannot describe; "
        "use tuples, lists, dicts and Quantities where functions to be saved begin and end"
    )


def tree_of_json(data: Any) -> Any:
    """Return the pytree structure that `tree_to_json` has described.

    Raises
    ------
    ArtifactError
        If the data are anything else.
    """
    return jax.tree.structure(_of_json(data, 0))


def _of_json(data: Any, depth: int) -> Any:
    if data is None:
        return None
    if data == LEAF:
        return 0.0
    if depth == _DEEPEST:
        raise ArtifactError("containers nest too deep")
    match data:
        case {"tuple": list(items), **rest} if not rest:
            return tuple(_of_json(x, depth + 1) for x in items)
        case {"list": list(items), **rest} if not rest:
            return [_of_json(x, depth + 1) for x in items]
        case {"dict": list(items), **rest} if not rest:
            return _dict_of_json(items, depth + 1)
        case {"quantity": dict(unit), **rest} if not rest:
            return brainunit.Quantity(0.0, unit=_unit_of_json(unit))
    raise ArtifactError(f"{str(data)[:60]} does not describe a container")


def _dict_of_json(items: list[Any], depth: int) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for item in items:
        match item:
            case [str(key) | int(key), value] if key not in found:
                found[key] = _of_json(value, depth)
            case _:
                raise ArtifactError(f"{str(item)[:60]} is no entry of a dict")
    if len({type(key) for key in found}) > 1:
        raise ArtifactError("the keys of a dict are neither all strings nor all integers")
    return found


# --- units ----------------------------------------------------------------------------------------

_BASE_UNITS = ("m", "kg", "s", "A", "K", "mol", "cd")

_LONGEST = 200
"""The length of the longest text that is read as a unit."""


def _unit_to_json(unit: Any) -> dict[str, Any]:
    return {
        "dimensions": [float(unit.dim.get_dimension(base)) for base in _BASE_UNITS],
        "scale": float(unit.scale),
        "factor": float(unit.factor),
        "text": str(unit),
    }


def _unit_of_json(data: dict[str, Any]) -> Any:
    match data:
        case {
            "dimensions": [*dimensions],
            "scale": float(scale),
            "factor": float(factor),
            "text": str(text),
            **rest,
        } if len(dimensions) == len(_BASE_UNITS) and not rest and _finite([*dimensions, scale]):
            try:
                dimension = brainunit.get_or_create_dimension(dimensions)
                unit = brainunit.Unit(dimension, scale=scale, factor=factor)
            except (TypeError, ValueError) as error:
                raise ArtifactError(f"{text[:60]} is not a unit: {error}") from error
            return _named(unit, text)
    raise ArtifactError(f"{str(data)[:60]} does not describe a unit")


def _named(unit: Any, text: str) -> Any:
    """Return a unit so that it shows as the text, if that is known to be a name of it."""
    if len(text) > _LONGEST:
        return unit
    try:
        named = brainunit.parse_unit(text)
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError):
        return unit
    return named if named == unit else unit


def _finite(numbers: list[Any]) -> bool:
    return all(type(number) is float and math.isfinite(number) for number in numbers)
