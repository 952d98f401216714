"""Where values of States lie that are spread over devices, so that new values lie there, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.core import Tracer
from jax.sharding import AxisType, NamedSharding, PartitionSpec

Homes = tuple[NamedSharding | None, ...]
"""How each leaf of a State is spread over devices; empty if none is."""


def homes_of(value: Any) -> Homes:
    """Return how the arrays of a value are spread over the devices of a mesh.

    Of a mesh with explicit axes nothing is to be said: there the types of arrays say it.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> homes_of({"a": jnp.zeros(3)})
    ()
    """
    if jax.device_count() == 1:
        return ()
    homes = tuple(map(_home, jax.tree.leaves(value)))
    return homes if any(homes) else ()


def _home(leaf: Any) -> NamedSharding | None:
    if not isinstance(leaf, jax.Array) or isinstance(leaf, Tracer):
        return None
    sharding = leaf.sharding
    if not isinstance(sharding, NamedSharding) or sharding.num_devices == 1:
        return None
    if not all(kind == AxisType.Auto for kind in sharding.mesh.axis_types):
        return None
    axes = list(sharding.spec)
    while axes and axes[-1] is None:  # which XLA leaves out of what it returns
        axes.pop()
    if len(axes) == len(sharding.spec):
        return sharding
    spec = PartitionSpec(*axes)
    return NamedSharding(sharding.mesh, spec, memory_kind=sharding.memory_kind)


def keep_homes(flat: Callable[..., Sequence[Any]], homes: Homes) -> Callable[..., Sequence[Any]]:
    """Return a function of flat arrays whose results lie where the homes say.

    Otherwise XLA chooses, and the next call, which finds a State elsewhere, compiles anew.
    """

    def kept(*arrays: Any) -> Sequence[Any]:
        results = flat(*arrays)
        return [
            x if home is None else jax.lax.with_sharding_constraint(x, home)
            for x, home in zip(results, homes, strict=True)
        ]

    return kept
