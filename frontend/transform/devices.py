"""Mappings with a device for each lane: `vmap2` over arrays that lie on several devices."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ...backends import to_jax, to_numpy
from ..state import State
from ..typing import Missing
from .choosing import check_lanes
from .lanes import Prefix
from .mapping import StatefulMapping
from .new_states import new_states

_AXIS = "lanes"


class Devices:
    """Where lanes lie: one on each of some devices.

    Parameters
    ----------
    what : str
        What messages call the mapping.
    devices : sequence of jax.Device, optional
        The devices, as many as there are lanes; by default the first that there are.
    backend : str, optional
        The platform of which to take devices.
    """

    def __init__(
        self, what: str, devices: Sequence[Any] | None = None, backend: str | None = None
    ) -> None:
        self.what, self.devices, self.backend = what, devices, backend

    def mesh(self, size: int) -> Mesh:
        """Return a device for each lane.

        Raises
        ------
        ValueError
            If there are not as many.
        """
        found = list(jax.local_devices(backend=self.backend)) if self.devices is None else None
        chosen = list(self.devices or ()) if found is None else found[:size]
        if len(chosen) != size:
            raise ValueError(
                f"{self.what} needs a device for each of its {size} lanes, but there are "
                f"{len(chosen)}: use vmap2, or fewer lanes"
            )
        return Mesh(np.array(chosen), (_AXIS,))

    def place(self, size: int, array: Any, axis: int | None) -> Any:
        """Say where the lanes of an array lie."""
        if axis is None or not size:
            return array
        spec = PartitionSpec(*([None] * axis), _AXIS)
        return jax.lax.with_sharding_constraint(array, NamedSharding(self.mesh(size), spec))

    def gather(self, value: Any) -> Any:
        """Return a value that all devices have, bound to none of them."""
        return gather(value)


def gather(value: Any) -> Any:
    """Return a value that all devices have, such as a random key, bound to none of them."""
    leaves, tree = jax.tree.flatten(value)
    free = [x if isinstance(x, Tracer) else to_jax(to_numpy(x)) for x in leaves]
    return jax.tree.unflatten(tree, free)


def pmap2(
    fn: Any = Missing,
    axis_name: Any = None,
    *,
    in_axes: Prefix = 0,
    out_axes: Prefix = 0,
    static_broadcasted_argnums: int | Iterable[int] = (),
    devices: Sequence[Any] | None = None,
    backend: str | None = None,
    axis_size: int | None = None,
    donate_argnums: int | Iterable[int] = (),
    global_arg_shapes: Any = None,
    state_in_axes: Any = None,
    state_out_axes: Any = None,
    unexpected_out_state_mapping: str = "auto",
) -> Any:
    """Return a function that runs ``fn`` for many lanes, each on a device of its own.

    All numbers are those of `vmap2`; only where arrays lie is different.

    Parameters
    ----------
    fn : callable
        What one lane does. Left out, ``pmap2`` returns a decorator.
    axis_name, in_axes, out_axes, axis_size
        As for `vmap2`.
    devices : sequence of jax.Device, optional
        The devices, as many as there are lanes; by default the first that there are.
    backend : str, optional
        The platform of which to take devices.
    state_in_axes, state_out_axes, unexpected_out_state_mapping
        As for `StatefulMapping`.
    static_broadcasted_argnums, donate_argnums, global_arg_shapes
        Not supported.

    Raises
    ------
    NotImplementedError
        If one of the arguments that are not supported is given.
    ValueError
        If there are fewer devices than lanes, or as `vmap2`.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> brainir.transform.pmap2(lambda x: x + 1)(jnp.zeros(1))
    Array([1.], dtype=float32)
    """
    options = dict(locals())
    if fn is Missing:
        return functools.partial(pmap2, **{k: v for k, v in options.items() if k != "fn"})
    for name in ("static_broadcasted_argnums", "donate_argnums", "global_arg_shapes"):
        if options[name] not in ((), None):
            raise NotImplementedError(
                f"pmap2 does not support {name}: close over what is static, and compile with "
                "brainir.transform.jit to donate"
            )
    return StatefulMapping(
        fn,
        in_axes,
        out_axes,
        state_in_axes,
        state_out_axes,
        unexpected_out_state_mapping,
        axis_size=axis_size,
        axis_name=axis_name,
        devices=Devices("pmap2", devices, backend),
    )


def pmap2_new_states(
    module: Any,
    init_kwargs: Mapping[str, Any] | None = None,
    state_tag: str | None = None,
    axis_size: int | None = None,
    state_out_axes: Any = None,
    axis_name: Any = None,
) -> dict[int | None, list[State[Any]]]:
    """Make the States of a module for many lanes, each on a device of its own.

    Parameters
    ----------
    module, init_kwargs, state_tag, state_out_axes
        As for `vmap2_new_states`.
    axis_size : int, optional
        How many lanes; by default, as many as there are devices.
    axis_name : hashable, optional
        As for `vmap2`.

    Returns
    -------
    dict
        The new States, by their axis.

    Raises
    ------
    ValueError
        If there are fewer devices than lanes, or as `vmap2_new_states`.

    Examples
    --------
    >>> import brainir
    >>> neuron = brainir.nn.LIF(2)
    >>> new = brainir.transform.pmap2_new_states(neuron, {}, axis_size=1)
    >>> neuron.V.value.shape
    (1, 2)
    """
    size = jax.local_device_count() if axis_size is None else axis_size
    check_lanes("axis_size of pmap2_new_states", size)
    what = "pmap2_new_states"
    return new_states(
        what, module, init_kwargs, state_tag, size, state_out_axes, axis_name, Devices(what)
    )
