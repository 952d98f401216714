"""Rules of custom derivatives, as ``jax.jvp`` and ``jax.vjp`` make them of the recorded call.

So the rules that a user gave to ``jax.custom_jvp`` or ``jax.custom_vjp`` become regions, whatever
form JAX keeps them in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from ...backends import shape_struct
from ...ir import Builder, Graph, Operand, Type, replay_region
from .opaque import bind, restricted

if TYPE_CHECKING:
    from .importer import Importer

Function = Callable[..., Any]
Derive = Callable[[Function, Sequence[Type]], Graph]
"""Builds a region of what a function does with arrays of given types."""


def import_custom(
    importer: Importer, builder: Builder, eqn: Any, operands: Sequence[Operand]
) -> Sequence[Operand]:
    """A custom derivative; its rules are what ``jax.jvp`` or ``jax.vjp`` make of the bound call."""
    primal = eqn.params["call_jaxpr"]
    importer.custom = True
    if not importer.rules:
        return importer.inline(builder, primal, operands)

    # The function takes what it closes over as its first arguments. Nothing says how it depends
    # on these, so they are captured, and whoever differentiates by one of them is refused.
    count = eqn.params["num_consts"]
    captured, types = operands[:count], [o.type for o in operands[count:]]
    jvp_mode = eqn.primitive.name.startswith("custom_jvp")
    # JAX gives equations that came of one trace one and the same rule, so it is derived once.
    recorded = eqn.params["jvp_jaxpr_fun" if jvp_mode else "fwd_jaxpr_thunk"]
    key = id(recorded), importer.rules, *captured
    regions = importer.custom_regions.get(key)
    if regions is None:
        revived = importer.revived
        regions = _custom_regions(importer, eqn, jvp_mode, captured, types)
        if revived == importer.revived:  # and so they mean the same wherever they stand
            importer.custom_regions[key] = regions
    else:
        regions = [replay_region(region, {}) for region in regions]
    attrs = {"mode": "jvp" if jvp_mode else "vjp"}
    return builder.emit("custom_derivative", operands[count:], attrs, regions)


def _custom_regions(
    importer: Importer,
    eqn: Any,
    jvp_mode: bool,
    captured: Sequence[Operand],
    types: Sequence[Type],
) -> list[Graph]:
    """Return what a custom function does, and its rules."""
    held: Sequence[Any] = ()

    def function(*args: Any) -> tuple[Any, ...]:
        return bind(eqn.primitive, eqn.params, [*held, *args])

    def derive(rule: Callable[..., Any], types: Sequence[Type]) -> Graph:
        def after_captured(*args: Any) -> Any:
            nonlocal held
            held = args[: len(captured)]
            return rule(*args[len(captured) :])

        return importer.derived(after_captured, captured, types)

    region = importer.region(eqn.params["call_jaxpr"], captured)
    # A rule may well use the function itself, so every derivative of it would have one more.
    importer.rules -= 1
    try:
        rules = (jvp_rule if jvp_mode else vjp_rules)(derive, function, types)
    except Exception as error:
        error.add_note(f"in a rule of the custom derivative of what is called at {importer.loc}")
        raise
    importer.rules += 1
    return [region, *rules]


def _differentiable(types: Sequence[Type]) -> list[int]:
    return [i for i, t in enumerate(types) if t.is_differentiable]


def jvp_rule(derive: Derive, function: Function, types: Sequence[Type]) -> list[Graph]:
    """Return the region from arguments and tangents to results and tangents."""
    active = _differentiable(types)

    def rule(*args: Any) -> Any:
        primals, tangents = args[: len(types)], args[len(types) :]
        outs, pushed = jax.jvp(
            restricted(function, primals, active),
            tuple(primals[i] for i in active),
            tuple(tangents[i] for i in active),
        )
        return [*outs, *(_own_type(out, t) for out, t in zip(outs, pushed, strict=True))]

    return [derive(rule, [*types, *types])]


def vjp_rules(derive: Derive, function: Function, types: Sequence[Type]) -> list[Graph]:
    """Return the regions from arguments to results and residuals, and from there to cotangents.

    A cotangent gets the dtype of its argument, as JAX gives it one where nobody looks at it.
    """
    active = _differentiable(types)
    tree: Any = None
    outs = 0

    def forward(*primals: Any) -> Any:
        nonlocal tree, outs
        results, vjp = jax.vjp(restricted(function, primals, active), *(primals[i] for i in active))
        residuals, tree = jax.tree.flatten(vjp)
        outs = len(results)
        return [*results, *residuals]

    first = derive(forward, types)
    residuals = len(first.results) - outs

    def backward(*args: Any) -> Any:
        vjp = jax.tree.unflatten(tree, args[:residuals])
        found = dict(zip(active, vjp(tuple(map(_as_jax_has_it, args[residuals:]))), strict=True))
        return [
            jax.numpy.astype(found[i], shape_struct(t).dtype)
            if i in found
            else jax.numpy.zeros(t.shape, shape_struct(t).dtype)
            for i, t in enumerate(types)
        ]

    order = [*first.results[outs:], *first.results[:outs]]
    return [first, derive(backward, [r.type for r in order])]


def _own_type(primal: Any, derivative: Any) -> Any:
    """Replace JAX's float0 derivative of an integer by zeros of the integer's own type."""
    if jax.typeof(derivative).dtype == jax.dtypes.float0:
        return jax.numpy.zeros_like(primal)
    return derivative


def _as_jax_has_it(cotangent: Any) -> Any:
    """The other way round."""
    if jax.numpy.issubdtype(jax.typeof(cotangent).dtype, jax.numpy.inexact):
        return cotangent
    return np.zeros(np.shape(cotangent), jax.dtypes.float0)
