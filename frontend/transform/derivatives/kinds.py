"""The kinds of derivatives, as a table: each is a way to use one of two products.

A function that was called is seen as its *linear map*: ``pull(seeds)`` multiplies it by rows from
the left, in reverse mode, ``push(tangents)`` by columns from the right, in forward mode. Both take
many rows or columns at once, of which the function itself knows nothing: it runs once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from ...random import DEFAULT


class LinearMap(Protocol):
    """The derivative of a function where it was called."""

    @property
    def results(self) -> Sequence[Any]:
        """The types of the arrays that are differentiated."""
        ...

    @property
    def sources(self) -> Sequence[Any]:
        """The types of the arrays that they are differentiated by."""
        ...

    def pull(
        self,
        seeds: Sequence[Any] = (),
        lanes: int | None = None,
        memory: int | float | None = None,
    ) -> list[Any]:
        """Return gradients by each source, of the results summed with weights: ones, or seeds."""
        ...

    def push(self, tangents: Sequence[Any], lanes: int | None = None) -> list[Any]:
        """Return how each result moves if the sources move along tangents."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What kinds of derivatives can be asked for beside what all of them can; see their doors."""

    holomorphic: bool = False
    allow_int: bool = False
    unit_aware: bool = False
    tangent_size: int | None = None
    drct_der_clip: float | None = None
    key: Any = None
    memory: int | float | str | None = None


Rows = list[list[Any]]
"""For each result, or for their sum, a derivative by each source."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of derivatives.

    Attributes
    ----------
    name : str
        The name of its door.
    rows : callable
        Returns the derivatives of a linear map.
    forward : bool
        Whether it works in forward mode.
    scalar : type of Exception, or None
        What is raised unless the function returns a single number; None if it may return anything.
    jacobian : bool
        Whether there is a derivative of each result, and not one of their sum.
    keeps_units : bool
        Whether derivatives without units look like what they are by.
    inner : str or None
        The kind of the derivative that is differentiated in place of the function.
    takes : tuple of str
        Which of the `Settings` it takes.
    """

    name: str
    rows: Callable[[LinearMap, Settings], Rows]
    forward: bool = False
    scalar: type[Exception] | None = None
    jacobian: bool = False
    keeps_units: bool = False
    inner: str | None = None
    takes: tuple[str, ...] = ("holomorphic", "allow_int", "unit_aware")

    def settings(self, params: Mapping[str, Any]) -> Settings:
        """Return settings with some that are given.

        Raises
        ------
        TypeError
            If it does not take one of them.
        """
        for name in params:
            if name not in self.takes:
                raise TypeError(
                    f"{self.name} has no parameter {name!r}; it takes {', '.join(self.takes)}"
                )
        return Settings(**params)


_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}


def budget(memory: int | float | str | None) -> int | float | None:
    """Return a budget of memory in bytes, or a part of what would be needed as a float.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if memory is None:
        return None
    if isinstance(memory, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([KMG]I?)?B\s*", memory.upper())
        if found is not None:
            return int(float(found[1]) * _UNITS[found[2] or ""])
    elif not isinstance(memory, bool):
        if 0 < memory < 1:
            return float(memory)
        if 1 <= memory < 2**63 and memory == int(memory):
            return int(memory)
    raise ValueError(
        f"memory is a number of bytes, a text such as '500MB' or '2GiB', or a part between 0 and 1 "
        f"of what the gradient keeps without it, not {memory!r}"
    )


_GRADIENTS = ("holomorphic", "allow_int", "unit_aware", "memory")


def _gradient(linear: LinearMap, settings: Settings) -> Rows:
    return [linear.pull(memory=budget(settings.memory))]


def _row_by_row(linear: LinearMap, _: Settings) -> Rows:
    seeds, spans = basis(linear.results)
    pulled = linear.pull(seeds, spans[-1].stop if spans else 0)
    return [
        [g[span.start : span.stop].reshape(*result.shape, *g.shape[1:]) for g in pulled]
        for result, span in zip(linear.results, spans, strict=True)
    ]


def _column_by_column(linear: LinearMap, _: Settings) -> Rows:
    tangents, spans = basis(linear.sources)
    rows: Rows = []
    for moved in linear.push(tangents, spans[-1].stop if spans else 0):
        columns = jnp.moveaxis(moved, 0, -1)
        rows.append(
            [
                columns[..., span.start : span.stop].reshape(*moved.shape[1:], *source.shape)
                for source, span in zip(linear.sources, spans, strict=True)
            ]
        )
    return rows


def _random_directions(linear: LinearMap, settings: Settings) -> Rows:
    """Average over directions how far the result moves along each, times the direction."""
    size = settings.tangent_size
    count = 1 if size is None else size
    keys = jax.random.split(DEFAULT.take_key(settings.key), max(len(linear.sources), 1))
    directions = [
        jax.random.normal(key, (count, *source.shape), source.dtype)
        for key, source in zip(keys, linear.sources, strict=False)
    ]
    (slopes,) = linear.push(directions, count)
    if settings.drct_der_clip is not None:
        slopes = jnp.clip(slopes, -settings.drct_der_clip, settings.drct_der_clip)
    return [[jnp.tensordot(slopes.astype(d.dtype), d, 1) / count for d in directions]]


def basis(arrays: Sequence[Any]) -> tuple[list[Any], list[range]]:
    """Return the unit vectors of the space that arrays span together, and which are whose."""
    ends = [*accumulate((a.size for a in arrays), initial=0)]
    spans = [range(*pair) for pair in pairwise(ends)]
    vectors = [
        jnp.eye(ends[-1], a.size, -span.start, a.dtype).reshape(ends[-1], *a.shape)
        for a, span in zip(arrays, spans, strict=True)
    ]
    return vectors, spans


KINDS = {
    kind.name: kind
    for kind in (
        Kind("grad", _gradient, scalar=TypeError, keeps_units=True, takes=_GRADIENTS),
        Kind("vector_grad", _gradient, takes=_GRADIENTS),
        Kind(
            "fwd_grad",
            _random_directions,
            forward=True,
            scalar=ValueError,
            keeps_units=True,
            takes=("tangent_size", "drct_der_clip", "key", "unit_aware"),
        ),
        Kind("jacrev", _row_by_row, jacobian=True),
        Kind("jacfwd", _column_by_column, forward=True, jacobian=True),
        Kind("hessian", _column_by_column, forward=True, jacobian=True, inner="jacrev"),
    )
}
"""All kinds by name."""


def is_kind(transform: Any) -> bool:
    """Whether a kind is meant, as `kind_of` understands it."""
    return _name_of(transform) in KINDS


def no_kind(transform: Any) -> str:
    """Return what is said where no kind is meant."""
    return f"there is no derivative of the kind {transform!r}; there are {', '.join(KINDS)}"


def _name_of(transform: Any) -> str:
    name = transform if isinstance(transform, str) else getattr(transform, "__name__", None)
    return {"jacobian": "jacrev"}.get(str(name), str(name))


def kind_of(transform: Any) -> Kind:
    """Return the kind that is meant by its name, by its door, or by JAX's function of that name.

    Raises
    ------
    TypeError
        If there is none.
    """
    if not is_kind(transform):
        raise TypeError(no_kind(transform))
    return KINDS[_name_of(transform)]
