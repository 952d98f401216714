"""Loops: `for_loop`, `scan` and `while_loop`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ..capture import Region, Traced, aval_of, bind_region, leave, name_of, trace
from ..program import in_capture
from . import plain
from .binding import (
    check_callable,
    check_carried,
    check_count,
    frame_here,
    leading_length,
    promoted,
    same_array,
    trace_stable,
    with_shape,
)
from .progress import ProgressBar, Run, as_progress_bar


def for_loop(
    f: Callable[..., Any],
    *xs: Any,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
    pbar: ProgressBar | int | None = None,
) -> Any:
    """Run a function once for each leading index of ``xs``, carrying States from step to step.

    Parameters
    ----------
    f : callable
        One step: ``f(*slices)``. What it returns is stacked.
    *xs : pytrees of arrays
        Of shape ``(length, ...)``; Quantities keep their unit.
    length : int, optional
        The number of steps; needed when there are no ``xs``.
    reverse : bool
        Run from the last index to the first; results stay in the order of the indices.
    unroll : int or bool
        How many steps the compiled loop runs between two of its tests.
    pbar : ProgressBar or int, optional
        A progress bar, or after how many steps to update one.

    Returns
    -------
    pytree
        What ``f`` returns, each array with a new leading axis of ``length``.

    Raises
    ------
    ValueError
        If lengths are missing or disagree, or the structure or unit of a State changes from step to
        step.
    TypeError
        If ``f`` is not callable or returns something that is not an array, or the shape or dtype of
        a State changes from step to step.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> total = brainir.ShortTermState(jnp.float32(0))
    >>> def step(x):
    ...     total.value += x
    ...     return total.value
    >>> brainir.transform.for_loop(step, jnp.arange(4.0))
    Array([0., 1., 3., 6.], dtype=float32)
    """
    steps = leading_length("for_loop", xs, length)
    return _loop("for_loop", f, xs, _settings(steps, reverse, unroll), pbar)


def checkpointed_for_loop(
    f: Callable[..., Any],
    *xs: Any,
    length: int | None = None,
    base: int = 16,
    pbar: ProgressBar | int | None = None,
) -> Any:
    """As `for_loop`, but a gradient through it keeps little.

    Steps are grouped by ``base``, groups by ``base`` again, and so on. The reverse pass keeps what
    each group starts from, and computes the steps of one group at a time again: for ``base**k``
    steps it keeps about ``k * base`` values of each carry, for ``k`` times the time. Values and
    gradients are those of `for_loop`.

    Parameters
    ----------
    f, xs, length, pbar
        As for `for_loop`.
    base : int
        How many steps, or groups, make a group; at least 2.

    Raises
    ------
    ValueError
        As for `for_loop`, if there is no step, or ``base`` is not a Python integer of at least 2.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> T = brainir.transform
    >>> def last(w):
    ...     v = brainir.State(jnp.ones(()))
    ...     def step():
    ...         v.value = v.value * w
    ...     T.checkpointed_for_loop(step, length=100)
    ...     return v.value
    >>> T.grad(last)(1.0)
    Array(100., dtype=float32)
    """
    steps = leading_length("checkpointed_for_loop", xs, length)
    settings = _in_groups("checkpointed_for_loop", steps, base)
    return _loop("checkpointed_for_loop", f, xs, settings, pbar)


def _loop(
    what: str,
    f: Callable[..., Any],
    xs: tuple[Any, ...],
    settings: Mapping[str, Any],
    pbar: ProgressBar | int | None,
) -> Any:
    check_callable(f"the body of {what}", f)
    steps, reverse = settings["length"], settings["reverse"]
    bar = as_progress_bar(pbar, steps)
    if plain.jit_is_disabled():
        return plain.for_loop(f, xs, steps, reverse, bar)

    def bind(xs: tuple[Any, ...]) -> Any:
        if bar is None:
            body = trace_stable(what, f, _slices(xs))
            return _finish(name_of(f), body, (), xs, settings)
        run = Run(bar, steps, reverse, whole="base" in settings)

        @functools.wraps(f, updated=())
        def block(*slices: Any) -> Any:
            return _loop(what, f, slices, {**settings, "length": run.size}, None)

        step, over = run.around_step(f if run.size == 1 else block), run.over(xs)
        body = trace_stable(what, step, _slices(over))
        return run.of_all(_finish(name_of(f), body, (), over, _of_blocks(settings, run)))

    return in_capture(bind, xs, name=name_of(f))


def _of_blocks(settings: Mapping[str, Any], run: Run) -> Mapping[str, Any]:
    """Return the settings of a loop over blocks of steps, for those of the loop over all."""
    if run.size == 1:
        return settings
    return _settings(run.length // run.size, settings["reverse"], 1)


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
    pbar: ProgressBar | int | None = None,
) -> tuple[Any, Any]:
    """Run ``carry, y = f(carry, x)`` over leading indices; States are carried besides.

    Parameters
    ----------
    f : callable
        One step; returns the next carry, of the same structure and types, and a result to stack.
    init : pytree
        The first carry.
    xs : pytree of arrays or None
        Of shape ``(length, ...)``.
    length, reverse, unroll, pbar
        As for `for_loop`.

    Returns
    -------
    carry, ys : pytrees
        The last carry, and the stacked results.

    Raises
    ------
    TypeError
        If the carry changes its structure, shape or dtype.
    ValueError
        As for `for_loop`, or if ``f`` does not return a pair.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> brainir.transform.scan(lambda c, x: (c + x, c), 0.0, jnp.arange(3.0))
    (Array(3., dtype=float32), Array([0., 0., 1.], dtype=float32))
    """
    steps = leading_length("scan", xs, length)
    return _scan("scan", f, init, xs, _settings(steps, reverse, unroll), pbar)


def checkpointed_scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    base: int = 16,
    pbar: ProgressBar | int | None = None,
) -> tuple[Any, Any]:
    """As `scan`, but a gradient through it keeps little; see `checkpointed_for_loop`.

    Parameters
    ----------
    f, init, xs, length, pbar
        As for `scan`.
    base : int
        How many steps, or groups, make a group; at least 2.

    Raises
    ------
    TypeError, ValueError
        As for `scan` and `checkpointed_for_loop`.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> brainir.transform.checkpointed_scan(lambda c, x: (c + x, c), 0.0, jnp.arange(3.0), base=2)
    (Array(3., dtype=float32), Array([0., 0., 1.], dtype=float32))
    """
    steps = leading_length("checkpointed_scan", xs, length)
    settings = _in_groups("checkpointed_scan", steps, base)
    return _scan("checkpointed_scan", f, init, xs, settings, pbar)


def _scan(
    what: str,
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any,
    settings: Mapping[str, Any],
    pbar: ProgressBar | int | None,
) -> tuple[Any, Any]:
    check_callable(f"the body of {what}", f)
    steps, reverse = settings["length"], settings["reverse"]
    bar = as_progress_bar(pbar, steps)
    if plain.jit_is_disabled():
        return plain.scan(f, init, xs, steps, reverse, bar)

    def bind(init: Any, xs: Any) -> tuple[Any, Any]:
        @functools.wraps(f, updated=())
        def pair(carry: Any, x: Any) -> Any:
            return plain.check_pair(f(carry, x))

        if bar is None:
            return _bind_scan(what, name_of(f), pair, init, xs, settings)
        run = Run(bar, steps, reverse, whole="base" in settings)

        @functools.wraps(f, updated=())
        def block(carry: Any, x: Any) -> Any:
            return _scan(what, f, carry, x, {**settings, "length": run.size}, None)

        step, over = run.around_scan(f if run.size == 1 else block), run.over(xs)
        of_blocks = _of_blocks(settings, run)
        carry, ys = _bind_scan(what, name_of(f), step, init, over, of_blocks)
        return carry, run.of_all(ys)

    return in_capture(bind, init, xs, name=name_of(f))


def _settings(length: int, reverse: bool, unroll: int | bool) -> dict[str, Any]:
    if isinstance(unroll, bool):
        unroll = max(length, 1) if unroll else 1
    return {
        "length": length,
        "reverse": bool(reverse),
        "unroll": max(1, min(int(unroll), max(length, 1))),
    }


def _in_groups(what: str, length: int, base: int) -> dict[str, Any]:
    check_count(f"base of {what}", base, 2)
    if length < 1:
        raise ValueError(f"{what} needs at least one step; use a loop without checkpoints for none")
    return {**_settings(length, False, 1), "base": base}


def _slices(over: Any) -> Any:
    return jax.tree.map(lambda x: with_shape(aval_of(x), x.shape[1:]), over)


def _bind_scan(
    what: str,
    name: str,
    f: Callable[..., Any],
    init: Any,
    over: Any,
    settings: Mapping[str, Any],
) -> Any:
    slices = _slices(over)
    leaves, tree = jax.tree.flatten(init)
    avals = [aval_of(x) for x in leaves]
    body, avals = _trace_carried(what, f, tree, avals, slices)
    carry = [jnp.asarray(x, a.dtype) for x, a in zip(leaves, avals, strict=True)]
    return _finish(name, body, carry, over, settings)


def _trace_carried(
    what: str, f: Callable[..., Any], tree: Any, avals: list[Any], *rest: Any
) -> tuple[Traced, list[Any]]:
    """Trace the body of a loop until carry and States leave it with the types they entered with."""
    while True:  # types only ever go up, from a Python number's to an array's
        body = trace(f, (jax.tree.unflatten(tree, avals), *rest))
        joined, refused = _joined_carry(body, tree, avals)
        states_change = check_carried(what, body, frame_here())
        if joined == avals and not states_change:
            if refused is not None:  # else it may fit once the others have their types
                raise refused
            return body, avals
        avals = joined


def _joined_carry(body: Traced, tree: Any, avals: list[Any]) -> tuple[list[Any], TypeError | None]:
    """Return the types that the carry of a scan should enter with, and what they do not mend."""
    out = jax.tree.unflatten(body.out_tree, body.out_avals)[0]
    outs, out_tree = jax.tree.flatten(out)
    joined: list[Any] = list(avals)
    fit = out_tree == tree
    if fit:
        for i, (before, after) in enumerate(zip(avals, outs, strict=True)):
            if same_array(before, after) and (after.weak_type or not before.weak_type):
                continue
            wanted = promoted(before, after)
            fit = fit and wanted is not None
            joined[i] = before if wanted is None else wanted
    if fit:
        return joined, None
    shown = [str(jax.tree.map(_spell, t)) for t in (jax.tree.unflatten(tree, avals), out)]
    return joined, TypeError(
        "the carry of a loop keeps its structure, shape and dtype, but it enters as "
        f"{shown[0]} and leaves as {shown[1]}"
    )


def _spell(aval: Any) -> str:
    return f"{aval.dtype}{list(aval.shape)}"


def _finish(name: str, body: Traced, carry: Any, over: Any, settings: Mapping[str, Any]) -> Any:
    carries, length = len(carry), settings["length"]
    outs = (
        *body.out_avals[:carries],
        *(with_shape(a, (length, *a.shape)) for a in body.out_avals[carries:]),
    )
    operands = [*carry, *jax.tree.leaves(over)]
    attrs = {"carries": carries, **settings}
    spec = Region("for_loop", attrs, (body,), len(operands), outs, name)
    results = bind_region(spec, operands)
    leave(body, frame_here())
    return jax.tree.unflatten(body.out_tree, results)


def while_loop(
    cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init_val: Any
) -> Any:
    """Run ``val = body_fun(val)`` as long as ``cond_fun(val)`` is true.

    Parameters
    ----------
    cond_fun : callable
        Takes the value and returns one boolean. It may read States but not write them.
    body_fun : callable
        Takes the value and returns the next, of the same structure and types. States are carried.
    init_val : pytree
        The first value.

    Returns
    -------
    pytree
        The last value.

    Raises
    ------
    TypeError
        If the condition is not a boolean scalar, or the value changes its type.
    ValueError
        If the condition writes a State. Reverse-mode gradients cannot go through: use `for_loop`.

    Examples
    --------
    >>> import brainir
    >>> brainir.transform.while_loop(lambda x: x < 100, lambda x: x * 2, 3)
    Array(192, dtype=int32)
    """
    check_callable("cond_fun of while_loop", cond_fun)
    check_callable("body_fun of while_loop", body_fun)
    if plain.jit_is_disabled() and plain.is_concrete(goes_on := cond_fun(init_val)):
        return plain.while_loop(cond_fun, body_fun, init_val, goes_on)
    return in_capture(
        lambda init: _bind_while(cond_fun, body_fun, init), init_val, name=name_of(body_fun)
    )


def _bind_while(cond_fun: Callable[..., Any], body_fun: Callable[..., Any], init: Any) -> Any:
    frame = frame_here()
    leaves, tree = jax.tree.flatten(init)
    avals = [aval_of(x) for x in leaves]

    @functools.wraps(body_fun, updated=())
    def step(val: Any) -> tuple[Any]:
        return (body_fun(val),)

    body, avals = _trace_carried("while_loop", step, tree, avals)
    condition = trace(cond_fun, (jax.tree.unflatten(tree, avals),))
    _check_traced_condition("while_loop", condition)
    carry = [jnp.asarray(x, a.dtype) for x, a in zip(leaves, avals, strict=True)]
    spec = Region("while", {}, (condition, body), len(carry), body.out_avals, name_of(body_fun))
    results = bind_region(spec, carry)
    leave(condition, frame)
    leave(body, frame)
    return jax.tree.unflatten(body.out_tree, results)[0]


def check_condition(what: str, cond_fun: Callable[..., Any], val: Any) -> Any:
    """Ask a condition in the capture under way, and return its answer; see `while_loop`."""
    frame = frame_here()
    leaves, tree = jax.tree.flatten(val)
    condition = trace(cond_fun, (jax.tree.unflatten(tree, [aval_of(x) for x in leaves]),))
    _check_traced_condition(what, condition)
    spec = Region(
        "call",
        {"name": name_of(cond_fun)},
        (condition,),
        len(leaves),
        condition.out_avals,
        name_of(cond_fun),
    )
    (answer,) = bind_region(spec, leaves)
    leave(condition, frame)
    return answer


def _check_traced_condition(what: str, condition: Traced) -> None:
    for handle, loc in condition.frame.written.items():
        if handle not in condition.frame.created:
            where = f" at {loc}" if loc else ""
            raise ValueError(
                f"the condition of {what} writes {handle.state.describe()}{where}; it may only "
                "read States"
            )
    avals = condition.out_avals
    if len(avals) != 1 or avals[0].shape != () or avals[0].dtype != bool:
        raise TypeError(f"the condition of {what} must return one boolean, not {condition.result}")
