"""Branches: `cond` and `switch`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..capture import Traced, name_of, trace
from ..program import in_capture
from ..region import Region, bind_region, leave
from . import plain
from .regions import check_branches, check_callable, frame_here, label, promoted, same_array


def cond(
    pred: Any, true_fun: Callable[..., Any], false_fun: Callable[..., Any], *operands: Any
) -> Any:
    """Run one of two functions, as a value decides that is known only when the program runs.

    Parameters
    ----------
    pred : scalar
        A boolean, or a number that counts as true unless it is zero.
    true_fun, false_fun : callable
        Take the operands; both are traced. They must return the same structure, shapes, dtypes and
        units, and may read and write States: those that only one of them writes pass through the
        other.
    *operands : pytrees
        Handed to the function that runs.

    Raises
    ------
    TypeError
        If ``pred`` is not a real scalar, or the branches disagree in what they return or leave in
        States.

    Examples
    --------
    >>> import brainir
    >>> brainir.transform.cond(2.0 > 1.5, lambda x: x * 2, lambda x: x / 2, 2.0)
    Array(4., dtype=float32)
    """
    check_callable("true_fun of cond", true_fun)
    check_callable("false_fun of cond", false_fun)
    _check_scalar("the predicate of cond", pred, "biuf")
    if plain.is_asked_for() and plain.is_concrete(pred):
        return (true_fun if pred else false_fun)(*operands)

    def bind(pred: Any, operands: tuple[Any, ...]) -> Any:
        index = pred if jnp.result_type(pred) == np.bool_ else jnp.not_equal(pred, 0)
        names = [label(false_fun, "false_fun"), label(true_fun, "true_fun")]
        return _bind("cond", index, names, [false_fun, true_fun], operands)

    return in_capture(bind, pred, operands, name="cond")


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """Run one of several functions; the index is clamped to those there are.

    Parameters
    ----------
    index : integer scalar
        Which branch to run.
    branches : sequence of callable
        As the functions of `cond`. A single one is simply called.
    *operands : pytrees
        Handed to the function that runs.

    Raises
    ------
    ValueError
        If there are no branches.
    TypeError
        If ``index`` is not an integer scalar, or the branches disagree.

    Examples
    --------
    >>> import brainir
    >>> brainir.transform.switch(7, [lambda: 1.0, lambda: 2.0, lambda: 3.0])
    Array(3., dtype=float32)
    """
    branches = tuple(branches)
    if not branches:
        raise ValueError("switch needs at least one branch")
    for i, branch in enumerate(branches):
        check_callable(f"branch {i} of switch", branch)
    _check_scalar("the index of switch", index, "iu")
    if len(branches) == 1:
        return branches[0](*operands)
    if plain.is_asked_for() and plain.is_concrete(index):
        return branches[min(max(int(index), 0), len(branches) - 1)](*operands)

    def bind(index: Any, operands: tuple[Any, ...]) -> Any:
        names = [label(branch, f"branch {i}") for i, branch in enumerate(branches)]
        clamped = jax.lax.clamp(0, jnp.asarray(index), len(branches) - 1)
        return _bind("switch", clamped.astype(np.int32), names, branches, operands)

    return in_capture(bind, index, operands, name="switch")


def _check_scalar(what: str, value: Any, kinds: str) -> None:
    if isinstance(value, str) or value is None or isinstance(value, (list, tuple, dict)):
        raise TypeError(f"{what} must be a scalar, not {value!r}")
    try:
        aval = jax.typeof(value)
    except TypeError:
        raise TypeError(f"{what} must be a scalar, not {value!r}") from None
    kind = "f" if jnp.issubdtype(aval.dtype, jnp.floating) else np.dtype(aval.dtype).kind
    if aval.shape != () or kind not in kinds:
        wanted = "an integer scalar" if kinds == "iu" else "a boolean or real scalar"
        raise TypeError(f"{what} must be {wanted}, not {aval.dtype}{list(aval.shape)}")


def _bind(
    what: str,
    index: Any,
    names: Sequence[str],
    functions: Sequence[Callable[..., Any]],
    operands: tuple[Any, ...],
) -> Any:
    bodies = [trace(lambda f=f: f(*operands), ()) for f in functions]
    joined = _joined_results(bodies)
    if joined is not None:
        cast = functools.partial(_cast, joined)
        bodies = [trace(lambda f=f: cast(f(*operands)), ()) for f in functions]
    check_branches(what, names, bodies)
    avals = bodies[0].out_avals
    spec = Region("cond", {}, tuple(bodies), 1, avals, "/".join(map(name_of, functions)))
    results = bind_region(spec, [index])
    for body in bodies:
        leave(body, frame_here())
    return jax.tree.unflatten(bodies[0].out_tree, results)


def _joined_results(bodies: Sequence[Traced]) -> list[Any] | None:
    """Return the dtypes that weakly typed results take beside strong ones; None if all agree."""
    if any(body.out_tree != bodies[0].out_tree for body in bodies):
        return None
    joined: list[Any] = []
    differ = False
    for avals in zip(*(body.out_avals for body in bodies), strict=True):
        wanted = avals[0]
        for aval in avals[1:]:
            if same_array(aval, wanted):
                continue
            differ = True
            joined_one = promoted(wanted, aval)
            if joined_one is None and promoted(aval, wanted) is None:
                return None
            wanted = wanted if joined_one is None else joined_one
        joined.append(wanted.dtype)
    return joined if differ else None


def _cast(dtypes: Sequence[Any], result: Any) -> Any:
    leaves, tree = jax.tree.flatten(result)
    return jax.tree.unflatten(
        tree, [jnp.asarray(x, d) for x, d in zip(leaves, dtypes, strict=True)]
    )
