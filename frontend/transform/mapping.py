"""The doors to `lanes` for States that were there before; see `new_states` for others."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable
from typing import Any

from ..capture import name_of
from ..errors import BatchAxisError
from ..typing import Missing
from .arguments import Arguments
from .binding import check_callable
from .choosing import axes_of, by_filters, by_position, state_axes
from .lane_states import Axes, Treatment
from .lanes import Lanes, Placing, Prefix, check_mesh_axes


def vmap(
    fn: Any = Missing,
    *,
    in_axes: Prefix = 0,
    out_axes: Prefix = 0,
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
    axis_name : hashable, optional
        What collectives such as ``jax.lax.psum`` call the lanes.
    axis_size : int, optional
        How many lanes; needed where no argument and no State tells.
    spmd_axis_name : str, or tuple of them, optional
        Over which axes of a mesh the lanes lie. It is for a lane in which a `shard_map` or
        ``jax.lax.with_sharding_constraint`` says how arrays lie over the other axes.
    in_states, out_states : State, collection of States, or {axis: States}, optional
        States that hold one value a lane, at axis 0 or the axis given; one in ``in_states`` is in
        ``out_states`` too.

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
        options = {k: v for k, v in locals().items() if k != "fn"}
        return functools.partial(vmap, **options)
    check_callable("the function given to vmap", fn)
    entering = state_axes("in_states", in_states)
    leaving = state_axes("out_states", out_states)
    for state, axis in entering.items():
        if leaving.setdefault(state, axis) != axis:
            raise BatchAxisError(
                f"{state.describe()} has its lanes at axis {axis} in in_states but at axis "
                f"{leaving[state]} in out_states"
            )
    named = {state: Axes(entering.get(state), axis) for state, axis in leaving.items()}
    lanes = Lanes(
        "vmap",
        fn,
        Treatment(named),
        axes_of(in_axes),
        out_axes,
        axis_size,
        axis_name,
        spmd_axis_name=spmd_axis_name,
    )
    return by_position(lanes)


def vmap2(
    fn: Any = Missing,
    *,
    in_axes: Prefix = 0,
    out_axes: Prefix = 0,
    axis_name: Any = None,
    axis_size: int | None = None,
    spmd_axis_name: Any = None,
    state_in_axes: Any = None,
    state_out_axes: Any = None,
    unexpected_out_state_mapping: str = "auto",
) -> Any:
    """Return a function that runs ``fn`` for many lanes, with States chosen by filters.

    As `vmap`, but for States: see `StatefulMapping`, which this returns.

    Parameters
    ----------
    fn : callable
        What one lane does. Left out, ``vmap2`` returns a decorator.
    in_axes, out_axes, axis_name, axis_size, spmd_axis_name
        As for `vmap`. Keyword arguments have their lanes in front.
    state_in_axes, state_out_axes, unexpected_out_state_mapping
        As for `StatefulMapping`.

    Raises
    ------
    ValueError, BatchAxisError
        As `StatefulMapping`.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> total = brainir.ShortTermState(jnp.zeros(3))
    >>> def add(x):
    ...     total.value += x
    >>> brainir.transform.vmap2(add, state_in_axes=brainir.ShortTermState)(jnp.arange(3.0))
    >>> total.value
    Array([0., 1., 2.], dtype=float32)
    """
    options = {k: v for k, v in locals().items() if k != "fn"}
    if fn is Missing:
        return functools.partial(StatefulMapping, **options)
    return StatefulMapping(fn, **options)


class StatefulMapping:
    """A function over lanes, whose States are chosen by filters.

    Parameters
    ----------
    fun : callable
        What one lane does.
    in_axes, out_axes : int, None, or pytree prefix of them
        Where positional arguments have their lanes, and where results get them.
    state_in_axes, state_out_axes : filter, State, list of them, or {axis: such}, optional
        States that hold one value a lane, at axis 0 or at the axis given; None as an axis is for
        those that lanes share. What has lanes on the way in has them on the way out.
    unexpected_out_state_mapping : {"auto", "raise", "warn", "ignore"}
        What becomes of other States that lanes leave different. "raise" refuses; "warn" and
        "ignore" put the lanes in front, with and without a warning, so that the State gains an
        axis. So does "auto", unless lanes use what the State held, and it has as many rows as there
        are lanes: then each lane gets a row, and the State keeps its shape. It warns of a State
        that lanes use and that changes its shape, once. To find out, ``fun`` is traced a second
        time.
    static_argnums, static_argnames
        Arguments that are Python values rather than arrays; a negative number counts from the end.
    axis_size, axis_name, spmd_axis_name
        As for `vmap`.
    name : str, optional
        What messages and graphs call the function.
    devices : Devices, optional
        Where lanes lie, if not all of them on one device.

    Raises
    ------
    ValueError
        If the policy is none of the four, a static argument is not there, or as `vmap`.
    BatchAxisError
        If axes of a State contradict each other, or it would differ from lane to lane and must not.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> power = brainir.transform.StatefulMapping(lambda x, n: x**n, static_argnums=1)
    >>> power(jnp.arange(3.0), 2)
    Array([0., 1., 4.], dtype=float32)
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        in_axes: Prefix = 0,
        out_axes: Prefix = 0,
        state_in_axes: Any = None,
        state_out_axes: Any = None,
        unexpected_out_state_mapping: str = "auto",
        static_argnums: int | Iterable[int] = (),
        static_argnames: str | Iterable[str] = (),
        axis_size: int | None = None,
        axis_name: Any = None,
        name: str | None = None,
        devices: Placing | None = None,
        spmd_axis_name: Any = None,
    ) -> None:
        check_callable("the function given to a mapping", fun)
        check_mesh_axes(spmd_axis_name)
        functools.update_wrapper(self, fun, updated=())
        if name is not None:
            self.__name__ = name
        self.origin_fun = fun
        self.in_axes, self.out_axes = axes_of(in_axes), out_axes
        self.axis_size, self.axis_name = axis_size, axis_name
        self.spmd_axis_name = spmd_axis_name
        numbers = () if static_argnums is None else static_argnums
        numbers = numbers if isinstance(numbers, Iterable) else (numbers,)
        self.static_argnums = tuple(map(operator.index, numbers))
        names = () if static_argnames is None else static_argnames
        self.static_argnames = (names,) if isinstance(names, str) else tuple(names)
        self._devices = devices
        self._states = by_filters(state_in_axes, state_out_axes, unexpected_out_state_mapping)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run all lanes."""
        static = [self._place(number, len(args)) for number in self.static_argnums]
        arguments = Arguments(self.origin_fun, static, self.static_argnames, ())
        in_axes = self.in_axes
        if isinstance(in_axes, tuple) and len(in_axes) == len(args):
            in_axes = tuple(a for i, a in enumerate(in_axes) if i not in arguments.static)
        closed = arguments.closed(args, kwargs)

        @functools.wraps(self.origin_fun, updated=())
        def function(*args: Any, **kwargs: Any) -> Any:
            return closed(*args, **kwargs)

        function.__name__ = name_of(self)
        args, kwargs = arguments.dynamic(args, kwargs)
        rest = self.out_axes, self.axis_size, self.axis_name, self._devices, self.spmd_axis_name
        return Lanes("a mapping", function, self._states, in_axes, *rest)(*args, **kwargs)

    def _place(self, number: int, count: int) -> int:
        if not -count <= number < count:
            raise ValueError(
                f"static_argnums names argument {number}, but {name_of(self)} was called with "
                f"{count} by position"
            )
        return number % count

    def __repr__(self) -> str:
        return f"StatefulMapping({name_of(self)})"
