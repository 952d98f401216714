"""`jvp`: a function, and how its result moves with its arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ...capture import aval_of, name_of
from ...program import in_capture
from .. import plain
from ..binding import check_callable
from .gradient_transform import as_pair
from .linear_maps import Captured, Plain
from .wanted import Wanted


def jvp(
    fun: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    has_aux: bool = False,
) -> tuple[Any, ...]:
    """Call a function, and return how its result moves if its arguments move along tangents.

    States are constants: nothing moves with them. Those that ``fun`` writes are written once.

    Parameters
    ----------
    fun : callable
        Returns arrays, or ``(arrays, aux)`` with ``has_aux``.
    primals, tangents : tuple or list
        The arguments, and for each of them a pytree of the same structure, shapes and dtypes. Those
        of integers are not looked at.
    has_aux : bool
        Whether ``fun`` returns ``(arrays, aux)``.

    Returns
    -------
    tuple
        ``(result, tangent)``, or ``(result, tangent, aux)``. The tangent of an integer is zero.

    Raises
    ------
    TypeError
        If primals or tangents are neither tuple nor list, or differ in structure or dtype.
    ValueError
        If they differ in number or in shape.

    Examples
    --------
    >>> import brainir
    >>> brainir.transform.jvp(lambda x, y: x * y, (2.0, 3.0), (1.0, 0.0))
    (Array(6., dtype=float32), Array(3., dtype=float32))
    """
    check_callable("the function given to jvp", fun)
    moved = _tangents(primals, tangents)
    wanted = Wanted(None, range(len(primals)), "jvp")

    run = as_pair(fun, has_aux)

    def derive(call: Captured | Plain, tangents: Sequence[Any]) -> tuple[Any, ...]:
        pushed = call.push(tangents)
        out, aux = call.outcome
        return (out, jax.tree.unflatten(jax.tree.structure(out), pushed), *aux)

    def accept(_: Any) -> None:
        """Any result may be differentiated."""

    if plain.jit_is_disabled():
        call = Plain(run, tuple(primals), {}, wanted, accept, forward=True)
        found = derive(call, moved)
        call.commit()
        return found

    def bind(primals: tuple[Any, ...], tangents: list[Any]) -> tuple[Any, ...]:
        return derive(Captured(run, primals, {}, wanted, accept, name_of(fun)), tangents)

    return in_capture(bind, tuple(primals), moved, name=name_of(fun))


def _tangents(primals: Any, tangents: Any) -> list[Any]:
    """Return the leaves of tangents as arrays of the types of primals.

    Raises
    ------
    TypeError, ValueError
        As `jvp`.
    """
    for what, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, tuple | list):
            raise TypeError(f"{what} of jvp are a tuple or a list of arguments, not {given!r}")
    if not primals or len(primals) != len(tangents):
        raise ValueError(
            f"jvp takes one tangent for each argument, and at least one, but was given "
            f"{len(primals)} primals and {len(tangents)} tangents"
        )
    ours, theirs = jax.tree.structure(tuple(primals)), jax.tree.structure(tuple(tangents))
    if ours != theirs:
        raise TypeError(
            f"tangents of jvp have the structure of primals, which is {ours}, not {theirs}"
        )
    paths = jax.tree_util.tree_leaves_with_path(tuple(primals))
    return [
        direction_like(f"the tangent of primals{jax.tree_util.keystr(path)}", tangent, primal)
        for (path, primal), tangent in zip(paths, jax.tree.leaves(tuple(tangents)), strict=True)
    ]


def direction_like(what: str, given: Any, primal: Any) -> Any:
    """Return a tangent or cotangent as an array of the type of what it belongs to.

    Raises
    ------
    ValueError
        If its shape differs.
    TypeError
        If its dtype does, and it is not a Python number.
    """
    wanted = aval_of(primal)
    if jnp.issubdtype(wanted.dtype, jax.dtypes.prng_key):
        return primal  # a random key stands for its own tangent, since there is no zero
    if not jnp.issubdtype(wanted.dtype, jnp.inexact):
        return jnp.zeros(wanted.shape, wanted.dtype)
    found = aval_of(given)
    if found.shape != wanted.shape:
        raise ValueError(f"{what} has the shape {found.shape}, but belongs to {wanted.shape}")
    if found.dtype != wanted.dtype and not found.weak_type:
        raise TypeError(f"{what} holds {found.dtype}, but belongs to {wanted.dtype}")
    return jnp.asarray(given, wanted.dtype)
