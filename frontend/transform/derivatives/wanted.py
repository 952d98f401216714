"""By what a function is differentiated: States, arguments, or both."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ...capture import Cell, aval_of, name_of
from ...state import FlattedDict, State
from .units import is_quantity


@dataclass(frozen=True, slots=True)
class Source:
    """A State or an argument that is differentiated by.

    Attributes
    ----------
    value : pytree
        What it looks like, units included: arrays, or what JAX says of them.
    leaves : tuple of int, or None
        Where its leaves stand among all that is differentiated by; None if nothing uses it.
    """

    value: Any
    leaves: tuple[int, ...] | None

    def filled(self, row: Sequence[Any], shape: Any, label: Callable[[Any, Any], Any]) -> Any:
        """Return its structure with derivatives by it.

        Parameters
        ----------
        row : sequence
            Derivatives by all leaves of all sources. Those by a source that nothing uses are zeros.
        shape : tuple of int
            That of what is differentiated, which derivatives begin with.
        label : callable
            Called with a derivative, and what that is by with its unit; returns what to fill in.
        """
        old, tree = jax.tree.flatten(self.value, is_leaf=is_quantity)
        if self.leaves is None:
            avals = map(aval_of, jax.tree.leaves(self.value))
            found = [jnp.zeros((*shape, *a.shape), a.dtype) for a in avals]
        else:
            found = [row[i] for i in self.leaves]
        return jax.tree.unflatten(tree, [*map(label, found, old)])

    def moved(self, place: Mapping[int, int]) -> Source:
        """Return it with other places of its leaves; without any if they have none."""
        leaves = self.leaves
        if leaves is None or not place.keys() >= set(leaves):
            return Source(self.value, None)
        return Source(self.value, tuple(place[i] for i in leaves))


class Wanted:
    """By what a function is differentiated.

    Parameters
    ----------
    grad_states : State or pytree of States, or None
    argnums : int, sequence of int, or None
        None for no argument, or for the first one if there are no States either.
    name : str
        What messages call the transformation.

    Raises
    ------
    TypeError
        If ``grad_states`` holds something else than States.
    ValueError
        If an argument number is not an integer from 0 on, or is there twice.
    """

    def __init__(self, grad_states: Any, argnums: Any, name: str) -> None:
        self.states, self._rebuild = flatten_states(grad_states)
        self.argnums = check_argnums(argnums, name)
        if not self.states and self.argnums is None:
            self.argnums = 0

    @property
    def unique(self) -> list[State[Any]]:
        """The States, each once."""
        return list(dict.fromkeys(self.states))

    @property
    def has_both(self) -> bool:
        """Whether there are States and arguments."""
        return bool(self.states) and self.argnums is not None

    @property
    def chosen(self) -> tuple[int, ...]:
        """The numbers of the arguments."""
        if self.argnums is None:
            return ()
        return (self.argnums,) if isinstance(self.argnums, int) else self.argnums

    def describe(self) -> str:
        """Return how it is shown: the States, and the arguments."""
        by = [*(state.describe() for state in self.states)]
        return ", ".join([*by, *([] if self.argnums is None else [f"argnums={self.argnums}"])])

    def check_range(self, function: Any, args: tuple[Any, ...], name: str) -> None:
        """Raise unless there is an argument for each number.

        Raises
        ------
        ValueError
            Naming the number, and how many arguments there are.
        """
        for i in self.chosen:
            if i >= len(args):
                raise ValueError(
                    f"argnums={self.argnums} of {name} asks for argument {i}, but "
                    f"{name_of(function)} was called with {len(args)} positional arguments"
                )

    def by_state(self, items: Sequence[Any]) -> Any:
        """Return one item for each State in the structure that the States were given in."""
        return self._rebuild(items)

    def by_argument(self, items: Sequence[Any]) -> Any:
        """Return the item of the argument that is wanted; a tuple if a sequence was."""
        return items[0] if isinstance(self.argnums, int) else tuple(items)


def flatten_states(tree: Any) -> tuple[list[State[Any]], Callable[[Sequence[Any]], Any]]:
    """Return the States of a pytree, and how to put something in their places.

    The outermost mappings become plain dictionaries with the same keys; those with paths as keys
    that JAX could not sort, such as ``("a", 0)`` and ``("a", "b")``, stay what they are.

    Raises
    ------
    TypeError
        If a leaf is not a State.
    """
    if isinstance(tree, Mapping):
        parts = [flatten_states(part) for part in tree.values()]
        counts = [len(states) for states, _ in parts]
        kind = dict if _has_order(tree) else FlattedDict

        def rebuild(values: Sequence[Any]) -> Any:
            rest = iter(values)
            pieces = [[next(rest) for _ in range(count)] for count in counts]
            filled = (build(piece) for (_, build), piece in zip(parts, pieces, strict=True))
            return kind(zip(tree, filled, strict=True))

        return [state for states, _ in parts for state in states], rebuild
    leaves, structure = jax.tree.flatten(tree, is_leaf=lambda x: isinstance(x, Cell))
    for leaf in leaves:
        if not isinstance(leaf, Cell):
            raise TypeError(f"grad_states holds {leaf!r}, which is not a State")
    return leaves, lambda values: jax.tree.unflatten(structure, values)


def _has_order(keys: Iterable[Any]) -> bool:
    try:
        sorted(keys)
    except TypeError:
        return False
    return True


def check_argnums(
    argnums: Any, name: str, count: int | None = None
) -> int | tuple[int, ...] | None:
    """Return argument numbers as Python ints; None if there are none.

    Parameters
    ----------
    argnums : int, sequence of int, or None
    name : str
        What messages call the transformation.
    count : int, optional
        How many arguments there are. With it, negative numbers count from their end.

    Raises
    ------
    ValueError
        If one is not an integer, negative without a count, beyond it, or there twice.
    """
    if argnums is None:
        return None
    several = isinstance(argnums, Iterable) and getattr(argnums, "shape", None) != ()
    given = list(argnums) if several else [argnums]
    numbers = tuple(_check_number(number, name, count) for number in given)
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"argnums of {name} names an argument twice: {argnums}")
    if not several:
        return numbers[0]
    return numbers or None


def _check_number(number: Any, name: str, count: int | None) -> int:
    if isinstance(number, bool) or not hasattr(number, "__index__"):
        raise ValueError(f"argnums of {name} are integers, not {number!r}")
    found = operator.index(number)
    if found < 0 and count is None:
        raise ValueError(f"argnums of {name} count from 0, but one is {number}")
    if count is not None and not -count <= found < count:
        raise ValueError(
            f"argnums of {name} asks for argument {number}, but there are {count} of them"
        )
    return found if count is None else found % count


def check_input(
    what: str, avals: Iterable[Any], name: str, *, holomorphic: bool, allow_int: bool, forward: bool
) -> None:
    """Raise unless arrays can be differentiated by.

    Parameters
    ----------
    what : str
        The State or the argument that holds them.
    avals : iterable
        Their types.
    name : str
        What messages call the transformation.
    holomorphic, allow_int, forward : bool
        What was promised, what is allowed, and whether forward mode is used.

    Raises
    ------
    TypeError
        Naming what holds them, and their dtype.
    """
    for aval in avals:
        if jnp.issubdtype(aval.dtype, jax.dtypes.prng_key):
            raise TypeError(
                f"{name} cannot differentiate by {what}, which holds a random key; leave it out"
            )
        if not jnp.issubdtype(aval.dtype, jnp.inexact) and not allow_int:
            advice = "" if forward else ", or pass allow_int=True for zeros"
            raise TypeError(
                f"{name} cannot differentiate by {what}, which holds {aval.dtype}; make it of a "
                f"floating dtype{advice}"
            )
        if holomorphic and not is_complex(aval):
            raise TypeError(
                f"holomorphic=True promises a function of complex numbers, but {what} holds "
                f"{aval.dtype}; make it complex, or leave the promise out"
            )
        if forward and is_complex(aval) and not holomorphic:
            raise TypeError(
                f"{name} works in forward mode, in which {what}, which holds {aval.dtype}, would "
                "need two directions for each element; promise holomorphic=True, or use jacrev"
            )


def is_complex(aval: Any) -> bool:
    """Whether arrays of a type hold complex numbers."""
    return jnp.issubdtype(aval.dtype, jnp.complexfloating)
