"""Branches: `cond`, `switch` and `ifelse`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..capture import Handle, Region, Traced, bind_region, leave, name_of, trace
from ..program import in_capture
from . import plain
from .binding import (
    cast_state,
    check_branches,
    check_callable,
    frame_here,
    joined_type,
    label,
    same_array,
)
from .checks import jit_error_if


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
    if plain.jit_is_disabled() and plain.is_concrete(pred):
        return _take([false_fun, true_fun], int(bool(pred)), operands)

    def bind(pred: Any, operands: tuple[Any, ...]) -> Any:
        index = _truth(pred)
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
    if _is_integer(index):  # of any size: JAX would refuse a large one, or wrap it
        index = min(max(int(index), 0), len(branches) - 1)
    _check_scalar("the index of switch", index, "iu")
    if len(branches) == 1:
        return branches[0](*operands)
    if plain.jit_is_disabled() and plain.is_concrete(index):
        return _take(branches, min(max(int(index), 0), len(branches) - 1), operands)

    def bind(index: Any, operands: tuple[Any, ...]) -> Any:
        names = [label(branch, f"branch {i}") for i, branch in enumerate(branches)]
        return _bind("switch", _clamped(index, len(branches) - 1), names, branches, operands)

    return in_capture(bind, index, operands, name="switch")


def ifelse(
    conditions: Sequence[Any],
    branches: Sequence[Callable[..., Any]],
    *operands: Any,
    check_cond: bool = True,
) -> Any:
    """Run the one of several functions of which the condition is true.

    Parameters
    ----------
    conditions : sequence of scalars
        One for each branch, as that of `cond`. The last one may be ``True``, so that its branch is
        for all other cases.
    branches : sequence of callable
        As the functions of `switch`. A single one is simply called.
    *operands : pytrees
        Handed to the function that runs.
    check_cond : bool
        Whether one condition must be true, and no two but for the last one. Otherwise the first
        that is true counts, and the last branch runs if none is.

    Raises
    ------
    ValueError
        If there is no branch, or not a condition for each; and, if ``check_cond``, at the call if
        no condition is true or two are, as by `jit_error_if`.
    TypeError
        If a condition is not a scalar, or the branches disagree.

    Examples
    --------
    >>> import brainir
    >>> def sign(x):
    ...     conditions = [x > 0, x < 0, True]
    ...     return brainir.transform.ifelse(conditions, [lambda: 1, lambda: -1, lambda: 0])
    >>> sign(-3.0)
    Array(-1, dtype=int32)
    """
    conditions, branches = list(conditions), tuple(branches)
    if not branches:
        raise ValueError("ifelse needs at least one branch")
    if len(conditions) != len(branches):
        raise ValueError(
            f"ifelse needs a condition for each branch: {len(conditions)} for {len(branches)}"
        )
    for i, (condition, branch) in enumerate(zip(conditions, branches, strict=True)):
        check_callable(f"branch {i} of ifelse", branch)
        _check_scalar(f"condition {i} of ifelse", condition, "biuf")
    if len(branches) == 1:
        return branches[0](*operands)
    holds = jnp.stack([*map(_truth, conditions)])
    if check_cond:
        # Whether the last one is meant for all other cases, a traced one does not tell.
        wrong = jnp.logical_or(jnp.sum(holds[:-1]) > 1, jnp.logical_not(jnp.any(holds)))
        jit_error_if(wrong, "exactly one condition of ifelse must be true, not {}", holds)
    first = jnp.argmax(holds).astype(np.int32)
    return switch(jnp.where(jnp.any(holds), first, len(branches) - 1), branches, *operands)


def _truth(value: Any) -> Any:
    """Return whether a scalar is true, as an array."""
    is_truth = jnp.result_type(value) == np.bool_
    return jnp.asarray(value) if is_truth else jnp.not_equal(value, 0)


def _take(functions: Sequence[Callable[..., Any]], chosen: int, operands: tuple[Any, ...]) -> Any:
    """Run one branch as plain Python."""
    for i, function in enumerate(functions):
        if i != chosen:
            plain.pass_by(function, *operands)
    return functions[chosen](*operands)


def _is_integer(value: Any) -> bool:
    """Whether a value is an integer of Python or numpy."""
    if isinstance(value, np.ndarray):
        return value.shape == () and value.dtype.kind in "iu"
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _clamped(index: Any, last: int) -> Any:
    """Return an index of any integer dtype as an int32 from 0 to ``last``."""
    index = jnp.asarray(index)
    # A dtype too small for the last index cannot go beyond it; one too large is clamped as it is.
    bound = min(last, int(jnp.iinfo(index.dtype).max))
    within = jnp.clip(index, np.array(0, index.dtype), np.array(bound, index.dtype))
    return within.astype(np.int32)


def _check_scalar(what: str, value: Any, kinds: str) -> None:
    if isinstance(value, str) or value is None or isinstance(value, (list, tuple, dict)):
        raise TypeError(f"{what} must be a scalar, not {value!r}")
    try:
        aval = jax.typeof(value)
    except TypeError:
        raise TypeError(f"{what} must be a scalar, not {value!r}") from None
    classes = (jnp.floating, "f"), (jnp.signedinteger, "i"), (jnp.unsignedinteger, "u")
    found = [letter for kind, letter in classes if jnp.issubdtype(aval.dtype, kind)]
    kind = found[0] if found else np.dtype(aval.dtype).kind  # half and tiny dtypes are not numpy's
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
    results, states = _joined_results(bodies), _joined_states(bodies)
    if results is not None or states:
        cast = functools.partial(_cast, results, states)
        bodies = [trace(lambda f=f: cast(f(*operands)), ()) for f in functions]
    check_branches(what, names, bodies)
    avals = bodies[0].out_avals
    spec = Region("cond", {}, tuple(bodies), 1, avals, "/".join(map(name_of, functions)))
    results = bind_region(spec, [index])
    for body in bodies:
        leave(body, frame_here())
    return jax.tree.unflatten(bodies[0].out_tree, results)


def _joined_results(bodies: Sequence[Traced]) -> list[Any] | None:
    """Return the types that weakly typed results take beside strong ones; None if all agree."""
    if any(body.out_tree != bodies[0].out_tree for body in bodies):
        return None
    return _joined([body.out_avals for body in bodies])


def _joined(rows: Sequence[Sequence[Any]]) -> list[Any] | None:
    """Return the types that each column takes; None if all rows agree, or cannot."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    joined = [functools.reduce(_join, column) for column in columns]
    if any(type is None for type in joined):
        return None
    pairs = zip(columns, joined, strict=True)
    differ = any(not same_array(aval, wanted) for column, wanted in pairs for aval in column)
    return joined if differ else None


def _join(a: Any, b: Any) -> Any:
    return None if a is None else joined_type(a, b)


def _joined_states(bodies: Sequence[Traced]) -> dict[Handle, list[Any]]:
    """Return the types of the States that branches would leave with different ones.

    A State that a branch does not write leaves it as it entered.
    """
    frame = frame_here()
    joined: dict[Handle, list[Any]] = {}
    for handle in dict.fromkeys(h for body in bodies for h in body.frame.written):
        if any(handle in body.frame.created for body in bodies):
            continue
        views = [body.frame.views.get(handle) or frame.view(handle) for body in bodies]
        if all(view.tree == views[0].tree for view in views):
            wanted = _joined([view.avals for view in views])
            if wanted is not None:
                joined[handle] = wanted
    return joined


def _cast(types: Sequence[Any] | None, states: Mapping[Handle, Sequence[Any]], result: Any) -> Any:
    """Give what a branch returns and leaves in States the types that all branches agree on."""
    for handle, wanted in states.items():
        cast_state(handle, wanted)
    if types is None:
        return result
    leaves, tree = jax.tree.flatten(result)
    return jax.tree.unflatten(
        tree, [jnp.asarray(x, t.dtype) for x, t in zip(leaves, types, strict=True)]
    )
