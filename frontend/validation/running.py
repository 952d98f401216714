"""Running graphs on arrays that are given or random."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ...backends import backend_named, reference, to_jax, to_numpy
from ...ir import (
    Const,
    Graph,
    Printer,
    StateVar,
    Type,
    key_words,
    keys_of_words,
    numpy_dtype,
    type_of_array,
)
from .pure import is_pure, to_pure

Array = np.ndarray[Any, Any]


class InputError(Exception):
    """What was given is not what a graph takes."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a graph runs on: its consts have data in ``graph``."""

    graph: Graph
    arguments: tuple[Array, ...]
    states: dict[StateVar, tuple[Array, ...]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a graph gives: its results, and what it leaves in its states."""

    results: tuple[Array, ...]
    states: dict[StateVar, tuple[Array, ...]]


def inputs_for(graph: Graph, given: Mapping[str, Any], seed: int) -> Inputs:
    """Return arrays for everything that a graph takes.

    Parameters
    ----------
    graph : Graph
        Parameters and consts are called as in its text, without the ``%``; the leaf of a state
        ``@V``, or ``@V.0``, ``@V.1`` if it has several. A const whose data are known need not be
        given.
    given : mapping of str to array-like
        What is not given is random: normal numbers, integers from 0 to 7, booleans, keys.
    seed : int
        For those.

    Raises
    ------
    InputError
        If a name is unknown, or an array cannot be of the type that is needed.
    """
    source = _Source(given, seed)
    name = Printer(graph).operand
    arguments = tuple(source.take(name(p)[1:], p.type) for p in graph.params)
    consts = tuple(
        Const(c.value, source.take(name(c.value)[1:], c.value.type, c.data)) for c in graph.consts
    )
    states: dict[StateVar, tuple[Array, ...]] = {}
    for state in () if is_pure(graph) else graph.states:
        states[state] = tuple(map(source.take, leaf_names(state), state.types))
    source.finish()
    return Inputs(graph.with_(consts=consts), arguments, states)


def leaf_names(state: StateVar) -> list[str]:
    """Return what the leaves of a state are called where arrays have names."""
    if len(state.types) == 1:
        return [f"@{state.name}"]
    return [f"@{state.name}.{i}" for i in range(len(state.types))]


class _Source:
    """Gives arrays by name, and keeps track of names."""

    def __init__(self, given: Mapping[str, Any], seed: int) -> None:
        self._given, self._seed = given, seed
        self._names: list[str] = []

    def take(self, name: str, type: Type, known: Any = None) -> Array:
        """Return the array of a name."""
        self._names.append(name)
        if name in self._given:
            return _as_type(name, self._given[name], type)
        if known is not None:
            return to_numpy(known)
        return random_array(type, np.random.default_rng([self._seed, len(self._names)]))

    def finish(self) -> None:
        """Refuse names that nothing has."""
        unknown = [name for name in self._given if name not in self._names]
        if unknown:
            raise InputError(
                f"nothing in the graph is called {', '.join(unknown)}; there are "
                f"{', '.join(self._names) or 'no inputs'}"
            )


def random_array(type: Type, source: np.random.Generator) -> Array:
    """Return a random array of a type."""
    dtype = numpy_dtype(type.dtype)
    if type.is_key:
        words = source.integers(0, 1 << 32, (*type.shape, *dtype[0].shape), np.uint32)
        return keys_of_words(words, type.dtype)
    if type.dtype == "bool":
        return source.integers(0, 2, type.shape).astype(dtype)
    if type.is_integer:
        return source.integers(0, 2 if type.dtype.endswith("int2") else 8, type.shape).astype(dtype)
    numbers = source.standard_normal(type.shape)
    if type.is_complex:
        numbers = numbers + 1j * source.standard_normal(type.shape)
    return np.asarray(numbers).astype(dtype)


def _as_type(name: str, value: Any, type: Type) -> Array:
    try:
        array = np.asarray(value)
        if type.is_key:
            return _as_key(array, type)
        with np.errstate(all="ignore"):
            cast = np.broadcast_to(array, type.shape).astype(numpy_dtype(type.dtype))
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is a {type}: {error}") from error
    if not (type.is_float or type.is_complex) and not (cast == array).all():
        raise InputError(f"{name} is a {type}, which cannot hold what is given")
    return cast


def _as_key(array: Array, type: Type) -> Array:
    if not array.shape and array.dtype.kind in "iu" and not type.shape:
        return to_numpy(jax.random.key(int(array)))
    keys = keys_of_words(array.astype(np.uint32), type.dtype)
    if type_of_array(keys) != type:
        raise ValueError(f"expected its words, or a seed, not {array.shape}")
    return keys


def run_on(backend: str, inputs: Inputs) -> Outcome:
    """Run a graph on a backend: after all passes, but on ``"reference"`` as it is.

    Raises
    ------
    GraphError, ValueError, NotImplementedError
        What passes and backends refuse.
    """
    if backend == "reference":
        return Outcome(*reference.evaluate(inputs.graph, inputs.arguments, inputs.states))
    pure = to_pure(inputs.graph)
    held = [leaf for state in pure.entering for leaf in inputs.states[state]]
    run = backend_named(backend).compile(pure.graph)
    outs = [to_numpy(out) for out in run(*map(to_jax, (*inputs.arguments, *held)))]
    count = len(inputs.graph.results)
    states, start = dict(inputs.states), count
    for state in pure.leaving:
        states[state] = tuple(outs[start : start + len(state.types)])
        start += len(state.types)
    return Outcome(tuple(outs[:count]), states)


def storable(array: Array) -> Array:
    """Return an array as any reader of ``.npz`` files knows it: keys as words, others as floats."""
    if array.dtype.names:
        return key_words(array)
    return array if array.dtype.isbuiltin == 1 else array.astype(np.float32)
