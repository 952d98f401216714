"""Modules in lanes: their States made, reset and used for many lanes at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, TypeVar

from .. import transform
from ..filter import Filter
from ..state import tree
from ..transform.new_states import call_in_lanes
from .collective import call_all_fns
from .module import Module

__all__ = [
    "Map",
    "Vmap",
    "vmap_call_all_fns",
    "vmap_init_all_states",
    "vmap_reset_all_states",
]

T = TypeVar("T")


def vmap_init_all_states(
    target: T,
    *init_args: Any,
    axis_size: int | None = None,
    node_to_exclude: Filter = None,
    state_to_exclude: Filter = None,
    state_tag: str | None = None,
    in_states: Any = None,
    out_states: Any = None,
    **init_kwargs: Any,
) -> T:
    """Call ``init_state`` on every module of `target`, once for each of many lanes.

    Every State that is created holds a value for each lane, along a new leading axis, and lanes
    draw random numbers of their own. There is one for all lanes of a ``NonBatchState``, and of what
    has the tag ``"INIT_NO_BATCHING"``.

    Parameters
    ----------
    target, *init_args, node_to_exclude, **init_kwargs
        As for :func:`init_all_states`; all lanes get the same arguments.
    axis_size : int
        How many lanes.
    state_to_exclude : filter, optional
        States that get no lanes: they are kept if all lanes leave them alike, and otherwise lost.
    state_tag : str, optional
        A label for the new States.
    in_states, out_states
        Not for this function, which is about new States.

    Raises
    ------
    ValueError
        If `axis_size` is not a positive integer, a State without lanes would differ between them,
        or `in_states` or `out_states` is given.

    Examples
    --------
    >>> import brainir
    >>> neuron = brainir.nn.vmap_init_all_states(brainir.nn.LIF(2), axis_size=3)
    >>> neuron.V.value.shape
    (3, 2)
    """
    if in_states is not None or out_states is not None:
        raise ValueError(
            "vmap_init_all_states is about new States; in_states and out_states are for "
            "brainir.transform.vmap"
        )
    init = _calling(target, "init_state", init_args, init_kwargs, node_to_exclude)
    _in_lanes("vmap_init_all_states", target, init, axis_size, state_tag, state_to_exclude)
    return target


def vmap_reset_all_states(
    target: T,
    *reset_args: Any,
    axis_size: int | None = None,
    node_to_exclude: Filter = None,
    state_tag: str | None = None,
    **reset_kwargs: Any,
) -> T:
    """Call ``reset_state`` on every module of `target`, once for each of many lanes.

    Parameters
    ----------
    target, *reset_args, node_to_exclude, **reset_kwargs
        As for :func:`reset_all_states`; all lanes get the same arguments.
    axis_size, state_tag
        As for :func:`vmap_init_all_states`. See :func:`vmap_call_all_fns` for what becomes of
        States.

    Raises
    ------
    ValueError
        As :func:`vmap_call_all_fns`.

    Examples
    --------
    >>> import brainir
    >>> neuron = brainir.nn.vmap_init_all_states(brainir.nn.LIF(2), axis_size=3)
    >>> neuron.V.value = neuron.V.value + neuron.V_th
    >>> brainir.nn.vmap_reset_all_states(neuron, axis_size=3).V.value.shape
    (3, 2)
    """
    reset = _calling(target, "reset_state", reset_args, reset_kwargs, node_to_exclude)
    _in_lanes("vmap_reset_all_states", target, reset, axis_size, state_tag)
    return target


def vmap_call_all_fns(
    target: T,
    fn_name: str,
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    axis_size: int | None = None,
    node_to_exclude: Filter = None,
    state_tag: str | None = None,
    fn_if_not_exist: Literal["raise", "pass", "none", "warn"] = "raise",
) -> T:
    """Call a method on every module of `target`, once for each of many lanes.

    A State of `target` that holds a row for each lane, and is given one, has lanes, and so has one
    that lanes leave with different values; it gets a leading axis of lanes if it has none. States
    that the method creates hold a value for each lane. Of a ``NonBatchState``, and of what has the
    tag ``"INIT_NO_BATCHING"``, there stays one for all.

    Parameters
    ----------
    target, fn_name, args, kwargs, node_to_exclude, fn_if_not_exist
        As for :func:`call_all_fns`; all lanes get the same arguments.
    axis_size : int
        How many lanes.
    state_tag : str, optional
        A label for States that are created.

    Raises
    ------
    ValueError
        If `axis_size` is not a positive integer.
    AttributeError, TypeError
        As :func:`call_all_fns`.
    BatchAxisError
        If lanes leave a State different of which there is one for all, or one outside of `target`.

    Examples
    --------
    >>> import brainir
    >>> neuron = brainir.nn.LIF(2)
    >>> brainir.nn.vmap_call_all_fns(neuron, "init_state", axis_size=3).V.value.shape
    (3, 2)
    """
    call = _calling(target, fn_name, args, kwargs, node_to_exclude, fn_if_not_exist)
    _in_lanes("vmap_call_all_fns", target, call, axis_size, state_tag)
    return target


def _calling(target: Any, *how: Any) -> Callable[[], None]:
    name, args, kwargs, excluded, *rest = how

    def call() -> None:
        call_all_fns(target, name, args, kwargs, excluded, *rest)

    return call


def _in_lanes(
    what: str,
    target: Any,
    call: Callable[[], None],
    axis_size: int | None,
    state_tag: str | None,
    excluded: Filter = None,
) -> None:
    call_in_lanes(what, call, list(tree.states(target).values()), axis_size, state_tag, excluded)


class Vmap(Module):
    """A module of which many lanes run at once, by :func:`brainir.transform.vmap`.

    Parameters
    ----------
    module : Module
        What one lane runs.
    in_axes, out_axes, axis_name, axis_size
        As for :func:`brainir.transform.vmap`.
    vmap_states, vmap_out_states : filter, or {axis: filter}, optional
        Which States of the module hold a value for each lane, as ``in_states`` and ``out_states``;
        at axis 0, or at the axis given.

    Examples
    --------
    >>> import brainir, brainunit as u, jax.numpy as jnp
    >>> neuron = brainir.nn.vmap_init_all_states(brainir.nn.LIF(2), axis_size=3)
    >>> lanes = brainir.nn.Vmap(neuron, vmap_states=brainir.HiddenState)
    >>> with brainir.environ.context(dt=0.1 * u.ms):
    ...     lanes(jnp.ones((3, 2)) * u.mA).shape
    (3, 2)
    """

    def __init__(
        self,
        module: Module,
        in_axes: Any = 0,
        out_axes: Any = 0,
        vmap_states: Any = None,
        vmap_out_states: Any = None,
        axis_name: Any = None,
        axis_size: int | None = None,
    ) -> None:
        super().__init__()
        self.module = module
        self.in_axes, self.out_axes = in_axes, out_axes
        self.axis_name, self.axis_size = axis_name, axis_size
        self.vmap_states, self.vmap_out_states = vmap_states, vmap_out_states

    def update(self, *args: Any, **kwargs: Any) -> Any:
        """Run all lanes of the module."""
        mapped = transform.vmap(
            self.module,
            in_axes=self.in_axes,
            out_axes=self.out_axes,
            axis_name=self.axis_name,
            axis_size=self.axis_size,
            in_states=self._states(self.vmap_states),
            out_states=self._states(self.vmap_out_states),
        )
        return mapped(*args, **kwargs)

    def _states(self, chosen: Any) -> dict[int, list[Any]] | None:
        if chosen is None:
            return None
        groups = chosen if isinstance(chosen, Mapping) else {0: chosen}
        return {axis: list(self.module.states(f).values()) for axis, f in groups.items()}


class Map(Module):
    """A module whose States are made for many lanes, which then run at once.

    Parameters
    ----------
    module : Module
        What one lane runs.
    init_map_size : int
        For how many lanes its States are made.
    init_state_axes : {axis: filter}, optional
        Where new States have their lanes; in front unless something else is said. See
        :func:`brainir.transform.vmap2_new_states`.
    state_tag : str, optional
        A label for the new States.
    in_axes, out_axes, axis_name
        As for :func:`brainir.transform.vmap2`.
    spmd_axis_name
        As for :func:`brainir.transform.vmap2`; not for "pmap", which has a mesh of its own.
    call_state_axes : {axis: filter}, optional
        Where other States have lanes in a call; new ones have them where they were made.
    behavior : {"vmap", "pmap"}
        Whether lanes are elements of one array, or there is a device for each of them.

    Raises
    ------
    AssertionError
        If `init_map_size` is not an integer, or `behavior` is something else.
    ValueError
        If the module is run before ``init_all_states`` was called.

    Examples
    --------
    >>> import brainir, brainunit as u, jax.numpy as jnp
    >>> lanes = brainir.nn.Map(brainir.nn.LIF(2), init_map_size=3)
    >>> lanes.init_all_states()
    >>> with brainir.environ.context(dt=0.1 * u.ms):
    ...     lanes(jnp.ones((3, 2)) * u.mA).shape
    (3, 2)
    """

    graph_invisible_attrs = ("dict_vmap_states",)

    def __init__(
        self,
        module: Module,
        init_map_size: int,
        init_state_axes: Mapping[Any, Filter] | None = None,
        state_tag: str | None = None,
        in_axes: Any = 0,
        out_axes: Any = 0,
        axis_name: Any = None,
        spmd_axis_name: Any = None,
        call_state_axes: Mapping[Any, Filter] | None = None,
        behavior: Literal["vmap", "pmap"] = "vmap",
    ) -> None:
        super().__init__()
        if isinstance(init_map_size, bool) or not isinstance(init_map_size, int):
            raise AssertionError(f"init_map_size must be an integer, not {init_map_size!r}")
        if behavior not in ("vmap", "pmap"):
            raise AssertionError(f"behavior must be 'vmap' or 'pmap', not {behavior!r}")
        self.module = module
        self.init_map_size, self.init_state_axes = init_map_size, init_state_axes
        self.state_tag = state_tag
        self.in_axes, self.out_axes = in_axes, out_axes
        self.axis_name, self.spmd_axis_name = axis_name, spmd_axis_name
        self.call_state_axes, self.behavior = call_state_axes, behavior
        self.dict_vmap_states: dict[Any, list[Any]] | None = None

    def init_all_states(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, **init_kwargs: Any
    ) -> None:
        """Make the States of the module for all lanes, by its own ``init_all_states``."""
        make: Any = transform.pmap2_new_states
        if self.behavior == "vmap":
            make = partial(transform.vmap2_new_states, spmd_axis_name=self.spmd_axis_name)
        self.dict_vmap_states = make(
            self.module,
            init_kwargs,
            state_tag=self.state_tag,
            axis_size=self.init_map_size,
            state_out_axes=self.init_state_axes,
        )

    def update(self, *args: Any, **kwargs: Any) -> Any:
        """Run all lanes of the module."""
        return self.map(self.module, self.in_axes, self.out_axes, self.axis_name)(*args, **kwargs)

    def map(
        self,
        fn: str | Callable[..., Any],
        in_axes: Any = 0,
        out_axes: Any = 0,
        axis_name: Any = None,
        state_axes: Mapping[Any, Filter] | None = None,
    ) -> Callable[..., Any]:
        """Return a function, or the method of that name of the module, over all lanes.

        Parameters
        ----------
        fn : str or callable
            What one lane runs.
        in_axes, out_axes, axis_name
            As for :func:`brainir.transform.vmap2`.
        state_axes : {axis: filter}, optional
            Where other States have lanes, in place of ``call_state_axes``.

        Raises
        ------
        ValueError
            If ``init_all_states`` was not called before.
        """
        if self.dict_vmap_states is None:
            raise ValueError("Map is used before its States are made: call init_all_states first")
        axes: dict[Any, list[Any]] = {k: list(v) for k, v in self.dict_vmap_states.items()}
        others = self.call_state_axes if state_axes is None else state_axes
        for axis, chosen in (others or {}).items():
            axes.setdefault(axis, []).append(chosen)
        mapping: Any = transform.pmap2
        if self.behavior == "vmap":
            mapping = partial(transform.vmap2, spmd_axis_name=self.spmd_axis_name)
        return mapping(
            getattr(self.module, fn) if isinstance(fn, str) else fn,
            in_axes=in_axes,
            out_axes=out_axes,
            axis_name=axis_name,
            state_in_axes=axes,
            state_out_axes=axes,
        )
