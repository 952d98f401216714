"""The one mechanism of all mappings: a function over lanes, as a `vmap` region of the graph."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import jax
import jax.numpy as jnp

from ..capture import (
    Region,
    Traced,
    Unnamed,
    aval_of,
    bind_region,
    current_frame,
    leave,
    name_of,
    read,
    trace,
    trace_token,
    write,
)
from ..program import in_capture
from ..state import State, caught_so_far
from . import plain
from .binding import frame_here
from .lane_states import (
    Axes,
    Declared,
    LaneViews,
    Mark,
    Sizes,
    Treatment,
    batched,
    lane_of,
    normal_axis,
    settle_born,
    settle_open,
    state_attributes,
)

Prefix = Any
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class Placing(Protocol):
    """What says where lanes lie."""

    def place(self, size: int, array: Any, axis: int | None) -> Any:
        """Say where the lanes of an array lie, which are at an axis."""
        ...

    def gather(self, value: Any) -> Any:
        """Return a value without lanes that may go to any device again."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Lanes:
    """A function over lanes.

    Attributes
    ----------
    what : str
        What messages call the mapping.
    fn : callable
        What one lane does.
    states : Treatment
        What becomes of States.
    in_axes, out_axes : int, None, or pytree prefix of them
        Where positional arguments have lanes, and results get them; keyword arguments have them in
        front.
    axis_size : int, optional
        How many lanes.
    axis_name : hashable, optional
        What collectives call the lanes.
    devices : Placing, optional
        Where the lanes lie, if not all of them on one device.
    spmd_axis_name : str, or tuple of them, optional
        Over which axes of a mesh they lie, for what says inside a lane where arrays lie.
    """

    what: str
    fn: Callable[..., Any]
    states: Treatment
    in_axes: Prefix = 0
    out_axes: Prefix = 0
    axis_size: int | None = None
    axis_name: Any = None
    devices: Placing | None = None
    spmd_axis_name: str | tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_mesh_axes(self.spmd_axis_name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run all lanes."""
        if not plain.jit_is_disabled():
            return self._captured(args, kwargs)
        if not kwargs and self._is_plain:
            leaves, tree, axes = self._arguments(args, {})
            size = self._sizes(leaves, axes, _shapes_of_value)
            if size.value:
                with contextlib.suppress(plain.LanesMeet):
                    return self._plain(leaves, tree, axes, size.value)
                plain.meet()  # also in the lanes around these
        # Lanes that meet, or of which there are none, or whose States depend on what becomes of
        # all of them, are no sequence of plain runs.
        with jax.disable_jit(False):
            return self._captured(args, kwargs)

    @property
    def _is_plain(self) -> bool:
        """Whether lanes that run one after the other are all there is to it."""
        others = Treatment(self.states.named)
        return self.axis_name is None and all(
            getattr(self.states, name) is getattr(others, name)
            for name in ("choose", "settle", "born")
        )

    # --- arguments --------------------------------------------------------------------------------

    def _arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[list[Any], Any, list[int | None]]:
        """Return leaves, structure, and where every leaf has its lanes."""
        prefix = self.in_axes
        if isinstance(prefix, tuple) and len(prefix) != len(args):
            raise ValueError(
                f"in_axes of {self.what} names {len(prefix)} arguments, but "
                f"{name_of(self.fn)} was called with {len(args)}"
            )
        leaves, tree = jax.tree.flatten((args, kwargs))
        prefix = prefix if isinstance(prefix, tuple) else (prefix,) * len(args)
        axes = self._broadcast("in_axes", prefix, args) + [0] * len(jax.tree.leaves(kwargs))
        return (
            leaves,
            tree,
            [
                normal_axis(self.what, f"argument {leaf!r}", axis, _shape(leaf), 0)
                for leaf, axis in zip(leaves, axes, strict=True)
            ],
        )

    def _broadcast(self, name: str, prefix: Any, tree: Any) -> list[Any]:
        """Return one axis for each leaf of a tree, from a prefix of it."""
        try:
            full = jax.tree.broadcast(prefix, tree, is_leaf=lambda x: x is None)
        except ValueError as error:
            raise ValueError(
                f"{name} of {self.what} does not fit the structure it is for: {error}"
            ) from None
        return jax.tree.structure(tree).flatten_up_to(full)

    def _sizes(
        self,
        leaves: list[Any],
        axes: list[int | None],
        shapes: Callable[[State[Any]], list[tuple[int, ...]]],
    ) -> Sizes:
        """Return what is known of the number of lanes before any of them has run."""
        sizes = Sizes(self.what)
        for i, (leaf, axis) in enumerate(zip(leaves, axes, strict=True)):
            if axis is not None:
                sizes.add(f"argument array {i}", _shape(leaf)[axis])
        for state, (axis, _) in self.states.named.items():
            for shape in shapes(state) if axis is not None else ():
                at = normal_axis(self.what, state.describe(), axis, shape, 0)
                sizes.add(state.describe(), shape[at or 0])
        if self.axis_size is not None:
            sizes.add("axis_size", self.axis_size)
        return sizes

    # --- as a region ------------------------------------------------------------------------------

    def _captured(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        born: list[State[Any] | None] = []
        shared: list[State[Any]] = []
        bind = functools.partial(self._bind, born, shared)
        out, values = in_capture(bind, args, kwargs, name=name_of(self.fn))
        if self.devices is not None and current_frame() is None:
            for state in shared:
                state.accept(self.devices.gather(state.peek()))
        for state, value in zip(born, values, strict=True):
            if state is not None:
                state.renew(value)
        return out

    def _bind(
        self,
        born: list[State[Any] | None],
        shared: list[State[Any]],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Bind the region; return the result, and the values of the States that were ``born``.

        The States that it leaves without lanes are ``shared``.
        """
        frame = frame_here()
        leaves, tree, axes = self._arguments(args, kwargs)

        def shapes(state: State[Any]) -> list[tuple[int, ...]]:
            return [a.shape for a in frame.view(frame.resolve(state.handle)).avals]

        sizes = self._sizes(leaves, axes, shapes)
        given = [lane_of(aval_of(x), axis) for x, axis in zip(leaves, axes, strict=True)]
        body, lanes, born_axes = self._trace(born, jax.tree.unflatten(tree, given), axes, sizes)
        settle_born(born, born_axes, body, lanes, axes)
        size = sizes.value
        out_axes = [
            normal_axis(self.what, "a result", axis, aval.shape, 1)
            for axis, aval in zip(self._result_axes(body, born_axes), body.out_avals, strict=True)
        ]
        outs = [batched(a, x, size) for a, x in zip(body.out_avals, out_axes, strict=True)]
        attrs = {
            "size": size,
            "in_axes": tuple(axes),
            "out_axes": tuple(out_axes),
            "axis_name": self._name_in(body),
            **state_attributes(lanes, body, size),
        }
        if self.spmd_axis_name is not None:
            attrs["spmd_axis_name"] = self.spmd_axis_name
        spec = Region("vmap", attrs, (body,), len(leaves), tuple(outs), name_of(self.fn))
        results = bind_region(spec, self._placed(size, leaves, axes))
        leave(body, frame)
        if self.devices is not None:
            results = self._placed(size, results, out_axes)
            left = {d.handle for d in lanes.declared if self._place_state(size, d, body)}
            shared[:] = [cast(State[Any], h.state) for h in frame.written if h not in left]
        return jax.tree.unflatten(body.out_tree, results)

    def _placed(self, size: int, arrays: list[Any], axes: list[int | None]) -> list[Any]:
        """Say where the lanes of arrays lie, if not all on one device."""
        if self.devices is None:
            return arrays
        pairs = zip(arrays, axes, strict=True)
        return [self.devices.place(size, array, axis) for array, axis in pairs]

    def _place_state(self, size: int, declared: Declared, body: Traced) -> bool:
        """Say where the lanes of a State lie that was written, and return whether it has some."""
        axis = declared.leaving
        if declared.lane not in body.frame.written or not isinstance(axis, int):
            return False
        held, tree = jax.tree.flatten(read(declared.handle))
        placed = self._placed(size, held, [axis] * len(held))
        write(declared.handle, jax.tree.unflatten(tree, placed))
        return True

    def _trace(
        self, born: list[State[Any] | None], avals: Any, axes: list[int | None], sizes: Sizes
    ) -> tuple[Traced, LaneViews, list[Any]]:
        """Trace a lane, once more if a State that was left open must enter with lanes."""
        decided: dict[State[Any], Axes] = {}
        args, kwargs = avals
        arguments = args if not kwargs else (*args, kwargs)
        forget = caught_so_far()
        while True:
            lanes, born_axes = LaneViews(self.states, decided, sizes), list[Any]()
            function = self._lane(born, born_axes, bool(kwargs))
            body = trace(function, arguments, lanes, lanes.views, axis=self._axis(sizes))
            again = settle_open(self.states, lanes, body, axes, sizes.value)
            if not again:
                return body, lanes, born_axes
            forget()
            decided.update(again)

    def _axis(self, sizes: Sizes) -> tuple[Any, int | None]:
        """Return what a lane knows of the others."""
        if self.axis_name is None:
            return Unnamed(), sizes.known
        return self.axis_name, sizes.value

    def _name_in(self, body: Traced) -> Any:
        """Return what lanes are called where they meet; None if they do not."""
        meeting = self.axis_name is not None or body.frame.lanes_meet
        return body.frame.axis[0] if body.frame.axis is not None and meeting else None

    def _lane(
        self, born: list[State[Any] | None], axes: list[Any], named: bool
    ) -> Callable[..., tuple[Any, list[Any]]]:
        """Return what one lane does, and what the States hold that it creates and leaves behind."""

        @functools.wraps(self.fn, updated=())
        def lane(*args: Any) -> tuple[Any, list[Any]]:
            kwargs: Mapping[str, Any] = args[-1] if named else {}
            out = self.fn(*(args[:-1] if named else args), **kwargs)
            born.clear()
            values: list[Any] = []
            frame = current_frame()
            assert frame is not None, "a lane is traced in a frame of its own"
            for handle in frame.created:
                if not handle.alive or frame.born[handle] != trace_token():
                    continue
                state = cast(State[Any], handle.state)
                axis = self.states.born(state)
                if axis is not Mark.LOCAL:
                    born.append(state)
                    axes.append(axis)
                    values.append(read(handle))
            return out, values

        return lane

    def _result_axes(self, body: Traced, born_axes: list[Any]) -> list[int | None]:
        out, values = jax.tree.unflatten(body.out_tree, body.out_avals)
        axes = self._broadcast("out_axes", self.out_axes, out)
        for axis, value in zip(born_axes, values, strict=True):
            axes += [axis] * len(jax.tree.leaves(value))
        return axes

    # --- as plain Python --------------------------------------------------------------------------

    def _plain(self, leaves: list[Any], tree: Any, axes: list[int | None], size: int) -> Any:
        pairs = list(zip(leaves, axes, strict=True))
        lanes = [
            jax.tree.unflatten(
                tree, [x if a is None else jnp.take(jnp.asarray(x), i, a) for x, a in pairs]
            )[0]
            for i in range(size)
        ]
        named = self.states.named.items()
        entering = {state: axes.entering for state, axes in named if axes.entering is not None}
        leaving = {state: cast(int, axes.leaving) for state, axes in named}
        results = plain.vmap(self.fn, lanes, entering, leaving)
        out_axes = self._broadcast("out_axes", self.out_axes, results[0])
        columns = zip(*(jax.tree.leaves(r) for r in results), strict=True)
        stacked = [
            column[0] if axis is None else jnp.stack([jnp.asarray(x) for x in column], axis)
            for column, axis in zip(columns, out_axes, strict=True)
        ]
        return jax.tree.unflatten(jax.tree.structure(results[0]), stacked)


def check_mesh_axes(names: Any) -> None:
    """Refuse what is no name of an axis of a mesh, nor some of them.

    Raises
    ------
    TypeError
        If it is something else.
    """
    parts = names if isinstance(names, tuple) else (names,)
    if names is not None and not all(isinstance(part, str) for part in parts):
        raise TypeError(
            "spmd_axis_name is the name of an axis of a mesh, or a tuple of such names, "
            f"not {names!r}"
        )


def _shape(leaf: Any) -> tuple[int, ...]:
    return tuple(getattr(leaf, "shape", ()))


def _shapes_of_value(state: State[Any]) -> list[tuple[int, ...]]:
    return [_shape(x) for x in jax.tree.leaves(state.value)]
