"""Control flow inside ``jax.shard_map``, where JAX follows over which axes a value varies.

JAX demands that what goes round in a loop, or comes out of several branches, varies over the same
axes everywhere. A carry that starts at a constant, or a sum that a gradient starts at zero, varies
over none; it is cast to the axes that the other ends have. Outside ``jax.shard_map``, and without
its checks, nothing varies and nothing is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Axes = frozenset[str]
Step = Callable[..., tuple[Any, ...]]


def is_manual(jax: Any) -> bool:
    """Whether the body of a ``jax.shard_map`` is being traced."""
    return bool(jax.sharding.get_abstract_mesh().manual_axes)


def axes_of(aval: Any) -> Axes:
    """Return the axes over which an abstract value varies; what they are called depends on JAX."""
    kind = getattr(aval, "manual_axis_type", None)
    found = getattr(kind, "varying", None) if kind is not None else getattr(aval, "vma", None)
    return frozenset(found or ())


def cast(jax: Any, array: Any, axes: Axes) -> Any:
    """Return an array that varies over some axes, too."""
    missing = axes - axes_of(jax.typeof(array))
    return jax.lax.pcast(array, tuple(sorted(missing)), to="varying") if missing else array


def cast_all(jax: Any, arrays: Sequence[Any], axes: Sequence[Axes]) -> tuple[Any, ...]:
    """Return arrays each of which varies over its own axes, too."""
    return tuple(cast(jax, array, own) for array, own in zip(arrays, axes, strict=True))


def _left(jax: Any, function: Step, *given: Any) -> list[Axes]:
    return [axes_of(aval) for aval in jax.eval_shape(function, *given)]


def carried(
    jax: Any, step: Step, initial: Sequence[Any], *rest: Any
) -> tuple[tuple[Any, ...], Step]:
    """Return the first carries of a loop, and its step, so that carries keep their axes.

    Parameters
    ----------
    jax
        The module.
    step : callable
        ``step(*carries, *rest)`` gives the next carries, and then whatever it likes.
    initial : sequence of arrays
        The first carries.
    *rest : arrays
        What one step gets besides.
    """
    if not is_manual(jax):
        return tuple(initial), step
    axes = [axes_of(jax.typeof(x)) for x in initial]
    while True:  # axes only ever become more, and there are finitely many
        start = cast_all(jax, initial, axes)
        joined = [a | b for a, b in zip(axes, _left(jax, step, *start, *rest), strict=False)]
        if joined == axes:
            break
        axes = joined

    def keeping(*given: Any) -> tuple[Any, ...]:
        outs = step(*given)
        return (*cast_all(jax, outs[: len(axes)], axes), *outs[len(axes) :])

    return start, keeping


def branches(jax: Any, functions: Sequence[Step]) -> list[Step]:
    """Return branches whose results vary over the same axes."""
    if not is_manual(jax):
        return list(functions)
    columns = zip(*(_left(jax, function) for function in functions), strict=True)
    axes = [frozenset[str]().union(*column) for column in columns]

    def joined(function: Step) -> Step:
        return lambda: cast_all(jax, function(), axes)

    return [joined(function) for function in functions]
