"""What `grad`, `jvp` and `vmap` mean to JAX, for where a pass must not expand them.

That is inside ``jax.shard_map``: the gradient by what all devices share is a sum over the devices,
which only JAX can tell, since it alone follows which values those are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..graph import Graph
from .manual_axes import axes_of, cast

Regions = tuple[Graph, ...]
Arrays = tuple[Any, ...]


def _restricted(run: Any, region: Graph, arrays: Sequence[Any], wrt: Sequence[int]) -> Any:
    def function(*chosen: Any) -> tuple[Any, ...]:
        full = list(arrays)
        for i, array in zip(wrt, chosen, strict=True):
            full[i] = array
        return run(region, *full)

    return function


def lax_grad(
    jax: Any,
    run: Any,
    *arrays: Any,
    regions: Regions,
    wrt: Sequence[int],
    losses: int,
    lanes: int | None = None,
    **_: Any,
) -> tuple[Any, ...]:
    """Differentiate a region by ``jax.vjp``; integers have zeros."""
    arrays, seeds = _split(arrays, regions[0])
    smooth = [i for i in dict.fromkeys(wrt) if regions[0].params[i].type.is_differentiable]
    function = _restricted(run, regions[0], arrays, smooth)

    def split(*chosen: Any) -> tuple[Any, Any]:
        outs = function(*chosen)
        return outs[:losses], outs

    found, pull, outs = jax.vjp(split, *(arrays[i] for i in smooth), has_aux=True)

    def gradients(*seeds: Any) -> list[Any]:
        pairs = zip(seeds, found, strict=True)
        cotangents = tuple(cast(jax, s, axes_of(jax.typeof(x))) for s, x in pairs)
        slopes = dict(zip(smooth, pull(cotangents), strict=True))
        return [slopes[i] if i in slopes else jax.numpy.zeros_like(arrays[i]) for i in wrt]

    ones = map(jax.numpy.ones_like, found)
    slopes = gradients(*ones) if lanes is None else jax.vmap(gradients, axis_size=lanes)(*seeds)
    return (*slopes, *outs)


def lax_jvp(
    jax: Any,
    run: Any,
    *arrays: Any,
    regions: Regions,
    wrt: Sequence[int],
    lanes: int | None = None,
    **_: Any,
) -> tuple[Any, ...]:
    """Push tangents through a region by ``jax.jvp``; those of integers are zeros."""
    arrays, directions = _split(arrays, regions[0])
    smooth = [n for n, i in enumerate(wrt) if regions[0].params[i].type.is_differentiable]
    chosen = [wrt[n] for n in smooth]
    function = _restricted(run, regions[0], arrays, chosen)
    primals, zeros = [arrays[i] for i in chosen], jax.numpy.zeros_like

    def push(*tangents: Any) -> tuple[Any, Any]:
        pairs = zip(primals, (tangents[n] for n in smooth), strict=True)
        moved = [cast(jax, t, axes_of(jax.typeof(p))) for p, t in pairs]
        outs, pushed = jax.jvp(function, primals, moved)
        results = zip(regions[0].results, outs, pushed, strict=True)
        return outs, tuple(t if r.type.is_differentiable else zeros(x) for r, x, t in results)

    if lanes is not None:
        push = jax.vmap(push, out_axes=(None, 0), axis_size=lanes)
    outs, pushed = push(*directions)
    return (*outs, *pushed)


def _split(arrays: Arrays, region: Graph) -> tuple[Arrays, Arrays]:
    """Return the arguments of a region, and the directions that come after them."""
    return arrays[: len(region.params)], arrays[len(region.params) :]


def lax_vmap(
    jax: Any,
    run: Any,
    *arrays: Any,
    regions: Regions,
    size: int,
    in_axes: Sequence[int | None],
    out_axes: Sequence[int | None],
    axis_name: str | None = None,
    spmd_axis_name: str | tuple[str, ...] | None = None,
    **_: Any,
) -> tuple[Any, ...]:
    """Map a region over lanes by ``jax.vmap``."""

    def lane(*arrays: Any) -> tuple[Any, ...]:
        return run(regions[0], *arrays)

    mapped = jax.vmap(
        lane,
        in_axes=tuple(in_axes),
        out_axes=tuple(out_axes),
        axis_size=size,
        axis_name=axis_name,
        spmd_axis_name=spmd_axis_name,
    )
    return tuple(mapped(*arrays))
