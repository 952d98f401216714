"""Mapping a function over lanes: `vmap` all at once, `map` some at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ..capture import (
    Handle,
    Region,
    Traced,
    View,
    aval_of,
    bind_region,
    leave,
    name_of,
    state_ref,
    trace,
)
from ..errors import BatchAxisError
from ..program import in_capture
from ..state import Recorder, State
from ..typing import Missing
from . import plain
from .binding import check_callable, frame_here, leading_length, trace_stable, with_shape

Axes = Any


def vmap(
    fn: Any = Missing,
    *,
    in_axes: Axes = 0,
    out_axes: Axes = 0,
    axis_name: Any = None,
    axis_size: int | None = None,
    spmd_axis_name: Any = None,
    in_states: Any = None,
    out_states: Any = None,
) -> Any:
    """Return a function that runs ``fn`` for many lanes at once.

    A State that ``fn`` only reads is shared by all lanes, and so is one that it writes with the
    same value in every lane. One that differs from lane to lane must be declared, or be created
    inside ``fn``. Random States are split, so that every lane draws its own numbers.

    Parameters
    ----------
    fn : callable
        What one lane does. Left out, ``vmap`` returns a decorator.
    in_axes, out_axes : int, None, or pytree prefix of them
        Where arguments have their lanes, and where results get them; None for what all lanes share.
    axis_size : int, optional
        How many lanes; needed where no argument and no State tells.
    in_states, out_states : State, collection of States, or {axis: States}, optional
        States that hold one value a lane, at axis 0 or the axis given; one in ``in_states`` is in
        ``out_states`` too.
    axis_name, spmd_axis_name
        Accepted for JAX's sake; collectives over lanes are not supported.

    Raises
    ------
    ValueError
        If the number of lanes is unknown or contradictory, or ``in_axes`` does not fit the
        arguments.
    BatchAxisError
        If an undeclared State would differ from lane to lane.
    NotImplementedError
        If the returned function is called with keyword arguments.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> @brainir.transform.vmap
    ... def trial(current):
    ...     v = brainir.HiddenState(jnp.zeros(()))
    ...     def step():
    ...         v.value = v.value * 0.5 + current
    ...         return v.value
    ...     return brainir.transform.for_loop(step, length=3)
    >>> trial(jnp.array([1.0, 2.0]))
    Array([[1.  , 1.5 , 1.75],
           [2.  , 3.  , 3.5 ]], dtype=float32)
    """
    if fn is Missing:
        return functools.partial(
            vmap,
            in_axes=in_axes,
            out_axes=out_axes,
            axis_name=axis_name,
            axis_size=axis_size,
            spmd_axis_name=spmd_axis_name,
            in_states=in_states,
            out_states=out_states,
        )
    check_callable("the function given to vmap", fn)
    in_axes = tuple(in_axes) if isinstance(in_axes, list) else in_axes
    entering = _state_axes("in_states", in_states)
    leaving = _state_axes("out_states", out_states)
    for state, axis in entering.items():
        if leaving.setdefault(state, axis) != axis:
            raise BatchAxisError(
                f"{state.describe()} has its lanes at axis {axis} in in_states but at axis "
                f"{leaving[state]} in out_states"
            )
    mapped = _Mapped(fn, in_axes, out_axes, axis_size, entering, leaving)

    @functools.wraps(fn, updated=())
    def vmapped(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            raise NotImplementedError(
                "a function returned by vmap takes no keyword arguments: pass them by position"
            )
        return mapped(*args)

    return vmapped


def _state_axes(what: str, given: Any) -> dict[State[Any], int]:
    """Return where each declared State has its lanes."""
    if given is None:
        return {}
    if isinstance(given, Mapping) and given and all(isinstance(k, int) for k in given):
        groups: Iterable[tuple[int, Any]] = given.items()
    else:
        groups = [(0, given)]
    axes: dict[State[Any], int] = {}
    for axis, tree in groups:
        for leaf in jax.tree.leaves(tree, is_leaf=lambda x: isinstance(x, State)):
            if not isinstance(leaf, State):
                raise TypeError(f"{what} holds {leaf!r}, which is not a State")
            if axes.setdefault(leaf, axis) != axis:
                raise BatchAxisError(f"{leaf.describe()} stands in {what} with two axes")
    return axes


class _Mapped:
    """A function over lanes."""

    def __init__(
        self,
        fn: Callable[..., Any],
        in_axes: Axes,
        out_axes: Axes,
        axis_size: int | None,
        in_states: dict[State[Any], int],
        out_states: dict[State[Any], int],
    ) -> None:
        self.fn, self.in_axes, self.out_axes, self.axis_size = fn, in_axes, out_axes, axis_size
        self.in_states, self.out_states = in_states, out_states

    def __call__(self, *args: Any) -> Any:
        if plain.jit_is_disabled():
            return self._plain(args)
        return in_capture(self._bind, *args, name=name_of(self.fn))

    # --- arguments --------------------------------------------------------------------------------

    def _arguments(self, args: tuple[Any, ...]) -> tuple[list[Any], Any, list[int | None]]:
        """Return leaves, structure, and where every leaf has its lanes."""
        if isinstance(self.in_axes, tuple) and len(self.in_axes) != len(args):
            raise ValueError(
                f"in_axes of vmap names {len(self.in_axes)} arguments, but "
                f"{name_of(self.fn)} was called with {len(args)}"
            )
        leaves, tree = jax.tree.flatten(args)
        prefix = self.in_axes if isinstance(self.in_axes, tuple) else (self.in_axes,) * len(args)
        axes = _broadcast("in_axes", prefix, args)
        return (
            leaves,
            tree,
            [
                _normal_axis(f"argument {leaf!r}", axis, _shape(leaf), 0)
                for leaf, axis in zip(leaves, axes, strict=True)
            ],
        )

    def _size(self, leaves: list[Any], axes: list[int | None], states: Any) -> int:
        """Return the number of lanes.

        Raises
        ------
        ValueError
            If nothing tells, or sources disagree.
        """
        sizes: dict[str, int] = {}
        for i, (leaf, axis) in enumerate(zip(leaves, axes, strict=True)):
            if axis is not None:
                sizes[f"argument array {i}"] = _shape(leaf)[axis]
        for state, axis in self.in_states.items():
            for shape in states(state):
                where = _normal_axis(state.describe(), axis, shape, 0)
                sizes[state.describe()] = shape[where or 0]
        if self.axis_size is not None:
            sizes["axis_size"] = self.axis_size
        if not sizes:
            raise ValueError("vmap needs a mapped argument, a State in in_states, or axis_size")
        if len(set(sizes.values())) > 1:
            shown = ", ".join(f"{where}: {n}" for where, n in sizes.items())
            raise ValueError(f"the sources of vmap's lanes disagree about their number: {shown}")
        return next(iter(sizes.values()))

    # --- as a region ------------------------------------------------------------------------------

    def _bind(self, *args: Any) -> Any:
        frame = frame_here()
        leaves, tree, axes = self._arguments(args)
        avals = [aval_of(leaf) for leaf in leaves]

        def shapes(state: State[Any]) -> list[tuple[int, ...]]:
            return [a.shape for a in frame.view(frame.resolve(state.handle)).avals]

        size = self._size(leaves, axes, shapes)
        lanes, views, declared = self._lane_views()
        body = trace(
            self.fn,
            jax.tree.unflatten(tree, [_lane(a, x) for a, x in zip(avals, axes, strict=True)]),
            lanes,
            views,
        )
        out_axes = [
            _normal_axis("a result", axis, aval.shape, 1)
            for axis, aval in zip(self._result_axes(body), body.out_avals, strict=True)
        ]
        outs = [_batched(a, x, size) for a, x in zip(body.out_avals, out_axes, strict=True)]
        attrs = {
            "size": size,
            "in_axes": tuple(axes),
            "out_axes": tuple(out_axes),
            "axis_name": None,
            **self._declare(body, declared, size),
        }
        spec = Region("vmap", attrs, (body,), len(leaves), tuple(outs), name_of(self.fn))
        results = bind_region(spec, leaves)
        leave(body, frame)
        return jax.tree.unflatten(body.out_tree, results)

    def _result_axes(self, body: Traced) -> list[int | None]:
        out = jax.tree.unflatten(body.out_tree, body.out_avals)
        return _broadcast("out_axes", self.out_axes, out)

    def _lane_views(self) -> tuple[dict[Handle, Handle], dict[Handle, View], list[_Declared]]:
        """Return what declared States look like from inside a lane."""
        frame = frame_here()
        views: dict[Handle, View] = {}
        declared: list[_Declared] = []
        for state, leaving in self.out_states.items():
            handle = frame.resolve(state.handle)
            outside = frame.view(handle)
            rank = len(outside.avals[0].shape)
            entering = self.in_states.get(state)
            if entering is not None:
                entering, leaving = entering % rank, leaving % rank
            lane = Handle(state, outer=handle)
            views[lane] = View(outside.tree, tuple(_lane(a, entering) for a in outside.avals))
            declared.append(_Declared(handle, lane, outside, views[lane], entering, leaving))
        return {d.handle: d.lane for d in declared}, views, declared

    def _declare(
        self, body: Traced, declared: list[_Declared], size: int
    ) -> dict[str, tuple[Any, ...]]:
        """Return the attributes that tell the pass about declared States; note their new views."""
        frame = frame_here()
        entering: list[Any] = []
        leaving: list[Any] = []
        for d in declared:
            # The importer leaves out what nothing touches, not even a custom rule.
            outside, inside = state_ref(d.handle, d.outside), state_ref(d.lane, d.inside)
            entering.append((outside, inside, d.entering))
            if d.lane in body.frame.written:
                inside = body.frame.views[d.lane]
                after = View(inside.tree, tuple(_batched(a, d.leaving, size) for a in inside.avals))
                leaving.append((state_ref(d.handle, after), state_ref(d.lane, inside), d.leaving))
                frame.views[d.handle] = after
                frame.written.setdefault(d.handle, body.frame.written[d.lane])
        return {"in_states": tuple(entering), "out_states": tuple(leaving)}

    # --- as plain Python --------------------------------------------------------------------------

    def _plain(self, args: tuple[Any, ...]) -> Any:
        leaves, tree, axes = self._arguments(args)

        def shapes(state: State[Any]) -> list[tuple[int, ...]]:
            return [_shape(x) for x in jax.tree.leaves(state.value)]

        size = self._size(leaves, axes, shapes)
        lanes = [
            jax.tree.unflatten(
                tree,
                [
                    x if a is None else jnp.take(jnp.asarray(x), i, a)
                    for x, a in zip(leaves, axes, strict=True)
                ],
            )
            for i in range(size)
        ]
        results = plain.vmap(self.fn, lanes, self.in_states, self.out_states)
        if not results:
            raise ValueError("vmap ran no lane, so plain Python cannot tell what it would return")
        out_axes = _broadcast("out_axes", self.out_axes, results[0])
        columns = zip(*(jax.tree.leaves(r) for r in results), strict=True)
        stacked = [
            column[0] if axis is None else jnp.stack([jnp.asarray(x) for x in column], axis)
            for column, axis in zip(columns, out_axes, strict=True)
        ]
        return jax.tree.unflatten(jax.tree.structure(results[0]), stacked)


@dataclass(frozen=True, slots=True)
class _Declared:
    """A State that was declared to hold one value a lane, from outside and from inside a lane."""

    handle: Handle
    lane: Handle
    outside: View
    inside: View
    entering: int | None
    leaving: int


def _shape(leaf: Any) -> tuple[int, ...]:
    return tuple(getattr(leaf, "shape", ()))


def _broadcast(what: str, prefix: Any, tree: Any) -> list[Any]:
    """Return one axis for each leaf of a tree, from a prefix of it."""
    try:
        full = jax.tree.broadcast(prefix, tree, is_leaf=lambda x: x is None)
    except ValueError as error:
        raise ValueError(f"{what} of vmap does not fit the structure it is for: {error}") from None
    return jax.tree.structure(tree).flatten_up_to(full)


def _normal_axis(what: str, axis: int | None, shape: tuple[int, ...], extra: int) -> int | None:
    """Return an axis counted from the front.

    Raises
    ------
    ValueError
        If the array has no such axis.
    """
    if axis is None:
        return None
    rank = len(shape) + extra
    if not -rank <= axis < rank:
        raise ValueError(f"vmap maps axis {axis} of {what}, which has only {rank} axes")
    return axis % rank


def _lane(aval: Any, axis: int | None) -> Any:
    return aval if axis is None else with_shape(aval, (*aval.shape[:axis], *aval.shape[axis + 1 :]))


def _batched(aval: Any, axis: int | None, size: int) -> Any:
    if axis is None:
        return aval
    return with_shape(aval, (*aval.shape[:axis], size, *aval.shape[axis:]))


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
    if plain.jit_is_disabled():
        return _plain_map(f, xs, length, batch_size)
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
    if not parts:
        raise ValueError("map ran nothing, so plain Python cannot tell what it would return")
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
