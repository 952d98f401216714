"""Opaque ops: JAX primitives that have no record of their own, with rules derived from JAX itself.

So no JAX code is refused. Abstract evaluation gives the types; ``jax.vmap``, ``jax.vjp`` and
``jax.jvp`` of the bound primitive, traced back into the IR, give batching and both modes of
differentiation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.extend.core.primitives
import numpy as np

from ..backends import shape_struct, to_jax, to_numpy, type_of
from ..ir import (
    PURE,
    Builder,
    Cost,
    Effect,
    GraphError,
    Node,
    Op,
    Operand,
    Rules,
    Type,
    Weight,
    find_op,
    register,
    traffic,
)

PREFIX = "lax."


def bind(primitive: Any, params: Mapping[str, Any], args: Sequence[Any]) -> tuple[Any, ...]:
    """Apply a JAX primitive with the parameters of an equation."""
    out = primitive.bind(*args, **primitive.get_bind_params(dict(params)))
    return tuple(out) if primitive.multiple_results else (out,)


def opaque_op(primitive: Any, effectful: bool) -> Op:
    """Return the op of a JAX primitive, deriving it at the first use."""
    name = f"{PREFIX}{primitive.name}"
    found = find_op(name)
    if found is not None:
        return found
    return register(
        Op(
            name,
            f"The JAX primitive {primitive.name}; its rules are derived from JAX.",
            infer=_infer(primitive),
            numpy=_numpy(primitive),
            lax=lambda jax, *arrays, **params: bind(primitive, params, arrays),
            batch=_batch(primitive),
            derivative=Rules(_reverse(primitive), _forward(primitive)),
            effects=frozenset({Effect.IO}) if effectful else PURE,
            cost=lambda ins, outs, _: Cost(0, traffic(ins, outs), Weight.HEAVY),
            opaque=True,
        )
    )


def resolve_opaque(name: str) -> Op | None:
    """Return the op of a name; ``lax.<primitive>`` is derived from that primitive of JAX.

    It is what `brainir.ir.parse` needs to read a graph that was captured in another process. None
    if JAX has no such primitive in the open.
    """
    found = find_op(name)
    if found is not None or not name.startswith(PREFIX):
        return found
    wanted = name.removeprefix(PREFIX)
    for module in (jax.extend.core.primitives, jax.lax):
        for item in vars(module).values():
            if isinstance(item, jax.extend.core.Primitive) and item.name == wanted:
                return opaque_op(item, effectful=False)
    return None


def _infer(primitive: Any) -> Callable[..., tuple[Type, ...]]:
    def infer(*types: Type, **params: Any) -> tuple[Type, ...]:
        given = map(shape_struct, types)
        try:
            outs = jax.eval_shape(lambda *args: bind(primitive, params, args), *given)
        except (AssertionError, RuntimeError) as error:
            raise GraphError(f"JAX refuses: {error!r}") from error
        return tuple(type_of(o) for o in outs)

    return infer


def _numpy(primitive: Any) -> Callable[..., tuple[Any, ...]]:
    def meaning(*arrays: Any, **params: Any) -> tuple[Any, ...]:
        outs = bind(primitive, params, [to_jax(np.asarray(a)) for a in arrays])
        return tuple(to_numpy(o) for o in outs)

    return meaning


def _traced_into(
    builder: Builder, function: Callable[..., Any], operands: Sequence[Operand]
) -> list[Operand]:
    """Build what a JAX function of arrays does, over operands of the graph being built."""
    from .importer import import_function

    return import_function(builder, function, operands)


def _batch(primitive: Any) -> Callable[..., Any]:
    def batch(
        builder: Builder,
        operands: Sequence[Operand],
        batched: Sequence[bool],
        size: int,
        **params: Any,
    ) -> tuple[Operand, ...]:
        axes = [0 if b else None for b in batched]

        def lanes(*args: Any) -> Any:
            return jax.vmap(
                lambda *one: bind(primitive, params, one), in_axes=axes, out_axes=0, axis_size=size
            )(*args)

        return tuple(_traced_into(builder, lanes, operands))

    return batch


def _reverse(primitive: Any) -> Callable[..., list[Operand | None]]:
    def reverse(
        builder: Builder, node: Node, cotangents: tuple[Operand | None, ...]
    ) -> list[Operand | None]:
        active = [i for i, o in enumerate(node.operands) if o.type.is_differentiable]
        useful = [i for i, r in enumerate(node.results) if r.type.is_differentiable]
        filled = [
            builder.zeros(node.results[i].type) if (c := cotangents[i]) is None else c
            for i in useful
        ]

        def pull(*args: Any) -> Any:
            primals, cts = args[: len(node.operands)], args[len(node.operands) :]

            def function(*chosen: Any) -> Any:
                full = list(primals)
                for i, value in zip(active, chosen, strict=True):
                    full[i] = value
                outs = bind(primitive, node.attrs, full)
                return [outs[i] for i in useful]

            _, vjp = jax.vjp(function, *(primals[i] for i in active))
            return vjp(list(cts))

        found = _traced_into(builder, pull, [*node.operands, *filled])
        results: list[Operand | None] = [None] * len(node.operands)
        for i, cotangent in zip(active, found, strict=True):
            results[i] = cotangent
        return results

    return reverse


def _forward(primitive: Any) -> Callable[..., list[Operand | None]]:
    def forward(
        builder: Builder, node: Node, tangents: tuple[Operand | None, ...]
    ) -> list[Operand | None]:
        active = [i for i, t in enumerate(tangents) if t is not None]
        useful = [i for i, r in enumerate(node.results) if r.type.is_differentiable]

        def push(*args: Any) -> Any:
            primals, pushed = args[: len(node.operands)], args[len(node.operands) :]

            def function(*chosen: Any) -> Any:
                full = list(primals)
                for i, value in zip(active, chosen, strict=True):
                    full[i] = value
                outs = bind(primitive, node.attrs, full)
                return [outs[i] for i in useful]

            return jax.jvp(function, tuple(primals[i] for i in active), pushed)[1]

        live = [t for t in tangents if t is not None]
        found = _traced_into(builder, push, [*node.operands, *live])
        results: list[Operand | None] = [None] * len(node.results)
        for i, tangent in zip(useful, found, strict=True):
            results[i] = tangent
        return results

    return forward
