"""Mappings whose lanes create States: each of these holds the values of all lanes afterwards."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ..filter import Filter, to_predicate
from ..state import State
from ..typing import Missing
from .binding import check_callable
from .choosing import UNBATCHED, axes_of, by_position, check_lanes, is_by_axis, kept
from .lane_states import Axes, Leaving, Mark, Treatment, Written
from .lanes import Lanes, Placing, Prefix


def vmap_new_states(
    fun: Any = Missing,
    *,
    in_axes: Prefix = 0,
    out_axes: Prefix = 0,
    axis_name: Any = None,
    axis_size: int | None = None,
    spmd_axis_name: Any = None,
    state_tag: str | None = None,
    state_to_exclude: Filter = None,
    in_states: Any = None,
    out_states: Any = None,
) -> Any:
    """Return a function that runs ``fun`` for many lanes, and keeps the States that it creates.

    Afterwards each of them holds one value a lane, along a new leading axis. A ``NonBatchState``,
    and one with the tag ``"INIT_NO_BATCHING"``, stays as it is, and must be the same for all lanes.

    Parameters
    ----------
    fun : callable
        What one lane does. Left out, ``vmap_new_states`` returns a decorator.
    in_axes, out_axes, axis_name, axis_size, spmd_axis_name
        As for `vmap`.
    state_tag : str, optional
        A label for the States that are kept.
    state_to_exclude : filter, optional
        States that get no lanes: they are kept if all lanes leave them alike, and otherwise lost.
    in_states, out_states
        Not for this function: States that were there before are those of `vmap`.

    Raises
    ------
    ValueError
        If ``axis_size`` is not positive, ``in_states`` or ``out_states`` is given, or a State
        without lanes would differ between them.
    NotImplementedError
        If the returned function is called with keyword arguments.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> made = []
    >>> @brainir.transform.vmap_new_states
    ... def make(x):
    ...     made.append(brainir.State(x * jnp.ones(2)))
    >>> make(jnp.arange(3.0))
    >>> made[0].value.shape
    (3, 2)
    """
    if fun is Missing:
        options = {k: v for k, v in locals().items() if k != "fun"}
        return functools.partial(vmap_new_states, **options)
    check_callable("the function given to vmap_new_states", fun)
    if in_states is not None or out_states is not None:
        raise ValueError(
            "vmap_new_states is about States that are created inside the function; declare those "
            "that were there before to vmap, by in_states and out_states"
        )
    if axis_size is not None:
        check_lanes("axis_size of vmap_new_states", axis_size)
    states = Treatment(born=kept({0: ...}, state_tag, state_to_exclude))
    lanes = Lanes(
        "vmap_new_states",
        fun,
        states,
        axes_of(in_axes),
        out_axes,
        axis_size,
        axis_name,
        spmd_axis_name=spmd_axis_name,
    )
    return by_position(lanes)


def vmap2_new_states(
    module: Any,
    init_kwargs: Mapping[str, Any] | None = None,
    state_tag: str | None = None,
    axis_size: int | None = None,
    state_out_axes: Any = None,
    spmd_axis_name: Any = None,
) -> dict[int | None, list[State[Any]]]:
    """Make the States of a module for many lanes at once, by its ``init_all_states``.

    Parameters
    ----------
    module : Module
        The module; every lane draws random numbers of its own.
    init_kwargs : mapping, optional
        What ``init_all_states`` is called with.
    state_tag : str, optional
        A label for the States.
    axis_size : int
        How many lanes.
    state_out_axes : filter, or {axis: filter}, optional
        Where States have their lanes; in front unless something else is said. None as an axis is
        for those of which there is one for all lanes.
    spmd_axis_name
        As for `vmap`.

    Returns
    -------
    dict
        The new States, by their axis. A ``NonBatchState``, and one with the tag
        ``"INIT_NO_BATCHING"``, has None.

    Raises
    ------
    ValueError
        If ``axis_size`` is not a positive integer, or a State without lanes would differ.

    Examples
    --------
    >>> import brainir
    >>> neuron = brainir.nn.LIF(2)
    >>> new = brainir.transform.vmap2_new_states(neuron, {}, axis_size=3)
    >>> new[0] == [neuron.V], neuron.V.value.shape
    (True, (3, 2))
    """
    check_lanes("axis_size of vmap2_new_states", axis_size)
    given = module, init_kwargs, state_tag, axis_size, state_out_axes
    return new_states("vmap2_new_states", *given, spmd_axis_name=spmd_axis_name)


def new_states(
    what: str,
    module: Any,
    init_kwargs: Mapping[str, Any] | None,
    state_tag: str | None,
    axis_size: int | None,
    state_out_axes: Any,
    axis_name: Any = None,
    devices: Placing | None = None,
    spmd_axis_name: Any = None,
) -> dict[int | None, list[State[Any]]]:
    """Make the States of a module for many lanes; return them by their axis."""
    groups = state_out_axes if is_by_axis(state_out_axes) else {0: state_out_axes}
    axis_of, found = kept({**groups, "else": ...}, state_tag), dict[int | None, list[State[Any]]]()

    def born(state: State[Any]) -> Leaving:
        axis: Any = axis_of(state)
        axis = 0 if axis == "else" else axis
        found.setdefault(axis, []).append(state)
        return axis

    def init() -> None:
        module.init_all_states(**(init_kwargs or {}))

    states = Treatment(born=born)
    lanes = Lanes(
        what,
        init,
        states,
        axis_size=axis_size,
        axis_name=axis_name,
        devices=devices,
        spmd_axis_name=spmd_axis_name,
    )
    lanes()
    return found


def call_in_lanes(
    what: str,
    call: Callable[[], None],
    states: Collection[State[Any]],
    axis_size: int | None,
    state_tag: str | None = None,
    excluded: Filter = None,
) -> None:
    """Call something once for each lane, which makes States, or makes some ``states`` anew."""
    check_lanes(f"axis_size of {what}", axis_size)
    known, unbatched = set(states), to_predicate(UNBATCHED)

    def choose(state: State[Any]) -> Axes | None:
        return Axes(None, Mark.OPEN) if state in known else None

    def settle(written: Written) -> Axes:
        if unbatched((), written.state) or not (written.differs or written.row):
            return Axes(None, None)
        return Axes(0, 0) if written.differs and written.fits else Axes(None, 0)

    treatment = Treatment({}, choose, settle, kept({0: ...}, state_tag, excluded))
    Lanes(what, call, treatment, axis_size=axis_size)()


def in_new_state_probe() -> bool:
    """Whether a throw-away run of a function is under way, which is to find its new States.

    There never is one: a function is traced once, and what it creates is kept. So this is False.

    Examples
    --------
    >>> import brainir
    >>> brainir.transform.in_new_state_probe()
    False
    """
    return False
