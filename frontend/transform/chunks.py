"""`map`: a function over leading axes, one after the other or some at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..capture import Region, Traced, aval_of, bind_region, leave, name_of, trace
from ..program import in_capture
from ..state import Recorder
from . import plain
from .binding import check_callable, frame_here, leading_length, trace_stable, with_shape
from .mapping import vmap


def map(f: Callable[..., Any], *xs: Any, batch_size: int | None = None) -> Any:
    """Run a function over leading axes, a batch at a time: `vmap` with bounded memory.

    Parameters
    ----------
    f : callable
        Takes one slice of each of ``xs``.
    *xs : pytrees of arrays
        Of shape ``(length, ...)``.
    batch_size : int, optional
        How many to run at once. None runs them one after the other, and States go from each to the
        next; otherwise only random States may be written.

    Returns
    -------
    pytree
        What ``f`` returns, each array with a new leading axis of ``length``.

    Raises
    ------
    ValueError
        If lengths are missing or disagree, ``batch_size`` is not a positive integer, or a batch
        writes a State.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> brainir.transform.map(lambda x: x ** 2, jnp.arange(5.0), batch_size=2)
    Array([ 0.,  1.,  4.,  9., 16.], dtype=float32)
    """
    check_callable("the function given to map", f)
    length = leading_length("map", xs, None)
    if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
        raise ValueError(f"batch_size of map is a positive integer or None, not {batch_size!r}")
    if plain.jit_is_disabled() and length:
        return _plain_map(f, xs, length, batch_size)
    with jax.disable_jit(False):  # of nothing at all, plain Python cannot tell what it would return
        return in_capture(lambda *xs: _bind_map(f, xs, length, batch_size), *xs, name=name_of(f))


def _bind_map(
    f: Callable[..., Any], xs: tuple[Any, ...], length: int, batch_size: int | None
) -> Any:
    frame = frame_here()
    slices = jax.tree.map(lambda x: with_shape(aval_of(x), x.shape[1:]), xs)
    if batch_size is None:
        body = trace_stable("map", f, slices)
    else:
        body = trace(f, slices)
        _check_only_random_writes(body)
    outs = tuple(with_shape(a, (length, *a.shape)) for a in body.out_avals)
    leaves = jax.tree.leaves(xs)
    attrs = {"length": length, "batch_size": batch_size}
    results = bind_region(Region("map", attrs, (body,), len(leaves), outs, name_of(f)), leaves)
    leave(body, frame)
    return jax.tree.unflatten(body.out_tree, results)


def _check_only_random_writes(body: Traced) -> None:
    for handle, loc in body.frame.written.items():
        if handle not in body.frame.created and handle.state.kind != "rng":
            raise ValueError(_batch_writes(handle.state, f" at {loc}" if loc else ""))


def _batch_writes(state: Any, where: str) -> str:
    return (
        f"{state.describe()} is written{where} inside map with a batch_size, where the order of "
        "runs is not defined. Use batch_size=None to carry it, or vmap with out_states."
    )


def _plain_batch(f: Callable[..., Any], chunk: tuple[Any, ...]) -> Any:
    with Recorder() as recorder:
        out = vmap(f)(*chunk)
        left = {state: state.peek() for state in recorder.written}
    for state in left:
        if state.kind != "rng":
            raise ValueError(_batch_writes(state, ""))
    for state, value in left.items():
        state.settle(value)
    return out


def _plain_map(
    f: Callable[..., Any], xs: tuple[Any, ...], length: int, batch_size: int | None
) -> Any:
    if batch_size is None:
        return plain.for_loop(f, xs, length, False, None)
    parts: list[Any] = []
    for start in range(0, length, batch_size):
        chunk = jax.tree.map(lambda x, start=start: x[start : start + batch_size], xs)
        parts.append(_plain_batch(f, chunk))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
