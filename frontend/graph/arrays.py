"""What the States of a model hold as plain arrays by name, for files of other libraries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from ..filter import Filter
from ..state import tree

__all__ = ["set_state_arrays", "state_arrays"]

SHOWN = 8
"""How many faults an error tells."""


def state_arrays(node: Any, filter: Filter = ...) -> dict[str, Any]:
    """Return what the States of a model hold as one dictionary of plain arrays.

    Such a dictionary is what orbax, safetensors and ``numpy.savez`` write. An array is named by
    the path of its State and by where it stands in the value of that; a unit follows in brackets,
    and so does the kind of a random key, of which the words are given. What the States hold as
    numbers of Python or arrays of NumPy are arrays of NumPy.

    Parameters
    ----------
    node : Module, State, or list, tuple or dict of these
        The model, and all else that is to be kept with it.
    filter
        Which States; all, if there is none.

    Raises
    ------
    ValueError
        If two arrays would have one name.

    Examples
    --------
    >>> import brainir
    >>> import brainunit as u
    >>> neuron = brainir.nn.init_all_states(brainir.nn.LIF(3))
    >>> layer = brainir.nn.Linear(2, 3)
    >>> random = brainir.random.RandomState(0)
    >>> kept = brainir.graph.state_arrays({"cell": [layer, neuron], "random": random})
    >>> for name, array in kept.items():
    ...     print(name, array.shape)
    cell.0.weight.bias (3,)
    cell.0.weight.weight (2, 3)
    cell.1.V [mV] (3,)
    random [key<fry>] (2,)
    """
    arrays: dict[str, Any] = {}
    for state in tree.states(node).filter(filter).items():
        for name, leaf in _named_leaves(*state):
            if name in arrays:
                raise ValueError(
                    f"two arrays would be called {name!r}: give keys of the dictionaries that "
                    "States hold, and of those that hold States, names that differ as text"
                )
            arrays[name] = _plain(leaf)
    return arrays


def set_state_arrays(node: Any, arrays: Mapping[str, Any], filter: Filter = ...) -> None:
    """Give the States of a model what :func:`state_arrays` returned for one like it.

    All is compared first: if something does not fit, no State is written. Hooks of the type
    ``restore`` are told. Arrays go where those are that they replace.

    Parameters
    ----------
    node : Module, State, or list, tuple or dict of these
        The model, with its States made.
    arrays : mapping from str to array
        As they were kept; those of NumPy and JAX are alike.
    filter
        Which States get values; `arrays` is to have all of them and no others.

    Raises
    ------
    ValueError
        If names are missing or unknown, or a shape, dtype, unit or kind of random key is not that
        of what the State holds. All of it is told.

    Examples
    --------
    >>> import brainir
    >>> one, other = brainir.nn.Linear(2, 3), brainir.nn.Linear(2, 3)
    >>> brainir.graph.set_state_arrays(other, brainir.graph.state_arrays(one))
    >>> bool((one.weight.value["weight"] == other.weight.value["weight"]).all())
    True
    >>> brainir.graph.set_state_arrays(brainir.nn.Linear(2, 4), brainir.graph.state_arrays(one))
    Traceback (most recent call last):
        ...
    ValueError: the arrays do not fit the model, and no State was written:
      'weight.bias' has the shape (4,) in the model, and (3,) among the arrays
      'weight.weight' has the shape (2, 4) in the model, and (2, 3) among the arrays
    """
    states = tree.states(node).filter(filter)
    here = {path: list(_named_leaves(path, state)) for path, state in states.items()}
    wanted = {name: leaf for named in here.values() for name, leaf in named}
    faults = list(_faults(wanted, arrays))
    if faults:
        more = [f"and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
        lines = "".join(f"\n  {fault}" for fault in [*faults[:SHOWN], *more])
        raise ValueError(f"the arrays do not fit the model, and no State was written:{lines}")
    values = [
        jax.tree.unflatten(
            jax.tree.structure(states[path].value, is_leaf=_is_quantity),
            [_in_place_of(leaf, arrays[name]) for name, leaf in named],
        )
        for path, named in here.items()
    ]
    for state, value in zip(states.values(), values, strict=True):
        state.restore_value(value)


def _faults(wanted: Mapping[str, Any], arrays: Mapping[str, Any]) -> Iterator[str]:
    """Say in what arrays differ from those that a model has."""
    bare = {_without_mark(name): name for name in arrays if name not in wanted}
    explained = set()
    for name, leaf in wanted.items():
        if name in arrays:
            own, given = _plain(leaf), arrays[name]
            for what in ("shape", "dtype"):
                mine, its = getattr(own, what), getattr(given, what, None)
                if mine != its:
                    yield (
                        f"{name!r} has the {what} {mine} in the model, and {its} among the arrays"
                    )
        elif _without_mark(name) in bare:
            other = bare[_without_mark(name)]
            explained.add(other)
            yield f"{name!r} of the model is {other!r} among the arrays"
        else:
            yield f"{name!r} of the model is not among the arrays"
    for name in arrays:
        if name not in wanted and name not in explained:
            yield f"{name!r} is not in the model"


# --- names and leaves -----------------------------------------------------------------------------


def _named_leaves(path: tuple[Any, ...], state: Any) -> Iterator[tuple[str, Any]]:
    """Yield the arrays, Quantities and numbers that a State holds, with their names."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(state.value, is_leaf=_is_quantity)
    for inside, leaf in leaves:
        keys = (*path, *(part for key in inside for part in _parts_of(key)))
        name = ".".join(map(str, keys)) or "value"
        yield name + _mark(leaf), leaf


def _parts_of(key: Any) -> tuple[Any, ...]:
    """Return what one of JAX's keys says: a tuple is a path in its turn."""
    for attribute in ("key", "idx", "name"):
        if hasattr(key, attribute):
            part = getattr(key, attribute)
            return part if isinstance(part, tuple) else (part,)
    return (key,)


def _mark(leaf: Any) -> str:
    """Return what a name says of a leaf that its plain array does not."""
    if _is_quantity(leaf):
        return "" if leaf.unit.is_unitless else f" [{leaf.unit}]"
    return f" [{leaf.dtype}]" if _is_key(leaf) else ""


def _without_mark(name: str) -> str:
    return name.partition(" [")[0]


def _plain(leaf: Any) -> jax.Array | np.ndarray:
    """Return the numbers of a leaf; those that are not JAX's keep the dtype that NumPy has."""
    if _is_key(leaf):
        return jax.random.key_data(leaf)
    numbers = leaf.mantissa if _is_quantity(leaf) else leaf
    return numbers if isinstance(numbers, jax.Array) else np.asarray(numbers)


def _in_place_of(leaf: Any, array: Any) -> Any:
    """Return an array as a leaf of the same kind as one that is there, and where that is."""
    if _is_key(leaf):
        words = _in_place_of(jax.random.key_data(leaf), array)
        return jax.random.wrap_key_data(words, impl=jax.random.key_impl(leaf))
    if _is_quantity(leaf):
        return u.Quantity(_in_place_of(leaf.mantissa, array), unit=leaf.unit)
    if isinstance(leaf, bool | int | float | complex):
        return type(leaf)(np.asarray(array).item())
    if isinstance(leaf, np.ndarray | np.generic):
        return type(leaf)(array) if isinstance(leaf, np.generic) else np.array(array)
    made = jnp.asarray(array)
    return made if made.sharding == leaf.sharding else jax.device_put(made, leaf.sharding)


def _is_quantity(value: object) -> bool:
    return isinstance(value, u.Quantity)


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
