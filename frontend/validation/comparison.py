"""Whether two runs of a graph gave the same, up to rounding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...ir import Graph, key_words, type_of_array, walk
from .running import Array, Outcome, leaf_names

TOLERANCES: Mapping[str, float] = {
    "float64": 1e-9,
    "complex128": 1e-9,
    "float32": 1e-4,
    "complex64": 1e-4,
    "float16": 2e-2,
    "bfloat16": 1e-1,
}
"""How far elements may be apart, relative to the largest of their array; all others are exact."""

NARROW = 0.5
"""The same for floating-point numbers of 8 bits or fewer."""


def tolerances_of(graph: Graph) -> dict[str, float]:
    """Return tolerances for what a graph gives: those of the narrowest numbers that are in it.

    A result of a wide type may come of narrow ones, and XLA need not round these in between.
    """
    values = [*graph.params, *(v for node in walk(graph) for v in node.results)]
    dtypes = {value.type.dtype for value in values if value.type.is_differentiable}
    return dict.fromkeys(dtypes, max(map(_tolerance, dtypes), default=0.0))


def _tolerance(dtype: str) -> float:
    return TOLERANCES.get(dtype, NARROW)


@dataclass(frozen=True, slots=True)
class Difference:
    """The first array in which two outcomes differ.

    Attributes
    ----------
    where : str
        ``"result 0"``, or the name of a state.
    kind : str
        ``"values"``; ``"types"`` if not even shapes or dtypes agree, ``"error"`` if there is no
        second outcome.
    error : float
        The largest difference of two elements, relative to the largest element of the array; 1 or
        more for what has no size.
    text : str
        What a person is told.
    """

    where: str
    kind: str
    error: float
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" if self.where else self.text


@dataclass(frozen=True, slots=True)
class Comparison:
    """A way to compare outcomes.

    Attributes
    ----------
    tolerances : mapping of str to float
        Instead of those in `TOLERANCES`, by dtype.
    """

    tolerances: Mapping[str, float] = field(default_factory=dict)

    def difference(self, found: Outcome, expected: Outcome) -> Difference | None:
        """Return where outcomes differ first, results before states; None if they are the same."""
        for where, array, wanted in _pairs(found, expected):
            difference = self._difference(where, array, wanted)
            if difference is not None:
                return difference
        return None

    def error(self, found: Outcome, expected: Outcome) -> float:
        """Return how far outcomes are apart, in units of the tolerance."""
        pairs = _pairs(found, expected)
        return max((self._error(array, wanted) for _, array, wanted in pairs), default=0.0)

    def _difference(self, where: str, found: Array, expected: Array) -> Difference | None:
        types = type_of_array(found), type_of_array(expected)
        if types[0] != types[1]:
            return Difference(where, "types", np.inf, f"it is {types[0]}, not {types[1]}")
        if self._error(found, expected) <= 1:
            return None
        found, expected = _plain(found), _plain(expected)
        apart, scale = _distance(found, expected)
        at = np.unravel_index(int(np.argmax(apart)), apart.shape)
        place = f" at [{', '.join(map(str, at))}]" if at else ""
        text = f"{found[at]} where {expected[at]} was expected{place}"
        return Difference(where, "values", float(apart[at]) / scale, text)

    def _error(self, found: Array, expected: Array) -> float:
        type = type_of_array(expected)
        if type_of_array(found) != type:
            return np.inf
        if not type.size:
            return 0.0
        apart, scale = _distance(_plain(found), _plain(expected))
        if not type.is_differentiable:
            return 0.0 if not apart.any() else np.inf
        allowed = self.tolerances.get(type.dtype, _tolerance(type.dtype))
        return float(apart.max()) / scale / allowed


def _pairs(found: Outcome, expected: Outcome) -> Iterator[tuple[str, Array, Array]]:
    names = (f"result {i}" for i in range(len(expected.results)))
    yield from zip(names, found.results, expected.results, strict=True)
    for state, leaves in expected.states.items():
        yield from zip(leaf_names(state), found.states[state], leaves, strict=True)


def _plain(array: Array) -> Array:
    """Return an array in which differences can be computed."""
    if array.dtype.names:
        array = key_words(array)
    type = type_of_array(array)
    if type.is_differentiable:
        return array.astype(np.complex128 if type.is_complex else np.float64)
    return array


def _distance(found: Array, expected: Array) -> tuple[Any, float]:
    """Return how far elements are apart, and the size of the largest one that is finite.

    Equal infinities and nans are not apart; of numbers that are not equal, but of which one is not
    finite, the distance is infinite. So it is for integers and the like that are not equal.
    """
    if expected.dtype.kind not in "fc":
        return np.where(found == expected, 0.0, np.inf), 1.0
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    with np.errstate(all="ignore"):
        apart = np.where(same, 0.0, np.abs(found - expected))
    apart = np.where(np.isnan(apart), np.inf, apart)
    finite = np.abs(expected[np.isfinite(expected)])
    scale = float(finite.max()) if finite.size and finite.max() > 0 else 1.0
    return apart, scale
