"""Ops of ours as JAX primitives, so that JAX code can bind them: opaque ops the other way round.

In a capture, a primitive becomes the op of its name. Anywhere else it is the JAX code of the op,
with the op's own rule for ``jax.vmap``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.core
import jax.extend.core as jex
import numpy as np
from jax.interpreters import ad, batching, mlir

from ...backends import literal_array, shape_struct, type_of
from ...ir import Builder, Literal, Op, Operand, Value, get_op

_primitives: dict[str, Any] = {}


def primitive_of(name: str) -> Any:
    """Return a JAX primitive for an op of one result, with its attributes as parameters.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from brainir.frontend.capture import primitive_of
    >>> to_rows = primitive_of("csr_to_rows")
    >>> indices, starts, rows = jnp.array([2, 0]), jnp.array([0, 1, 2]), jnp.array([0, 1])
    >>> to_rows.bind(jnp.array([1.0, 2.0, 3.0]), 10.0, indices, starts, rows).tolist()
    [30.0, 10.0]
    """
    if name in _primitives:
        return _primitives[name]
    op, primitive = get_op(name), jex.Primitive(name)

    def run(*arrays: Any, **attrs: Any) -> Any:
        return op.lax(jax, *arrays, **attrs)

    def compiled(*arrays: Any, **attrs: Any) -> Any:
        with jax.disable_jit(False):  # otherwise binding it would come back to here
            return jax.jit(lambda *inner: primitive.bind(*inner, **attrs))(*arrays)

    def jvp(primals: Any, tangents: Any, **attrs: Any) -> Any:
        full = [ad.instantiate_zeros(tangent) for tangent in tangents]
        return jax.jvp(lambda *inner: run(*inner, **attrs), tuple(primals), tuple(full))

    primitive.def_impl(compiled)
    primitive.def_abstract_eval(_types(op))
    mlir.register_lowering(primitive, mlir.lower_fun(run, multiple_results=False))
    batching.primitive_batchers[primitive] = _batch(op)
    ad.primitive_jvps[primitive] = jvp
    _primitives[name] = primitive
    return primitive


def _types(op: Op) -> Callable[..., Any]:
    def types(*avals: Any, **attrs: Any) -> Any:
        (result,) = op.result_types(tuple(map(type_of, avals)), attrs, ())
        struct = shape_struct(result)
        return jax.core.ShapedArray(struct.shape, struct.dtype)

    return types


def _batch(op: Op) -> Callable[..., Any]:
    """Return a rule that runs what the op's own rule builds, with primitives for other ops."""

    def batch(arrays: Sequence[Any], axes: Sequence[Any], **attrs: Any) -> tuple[Any, int]:
        pairs = list(zip(arrays, axes, strict=True))
        (size,) = {np.shape(x)[axis] for x, axis in pairs if axis is not None}
        first = [x if axis is None else jax.numpy.moveaxis(x, axis, 0) for x, axis in pairs]
        builder, params = Builder(), [Value(type_of(x)) for x in first]
        assert op.batch is not None
        result = op.batch(builder, params, [a is not None for a in axes], size, **attrs)
        there: dict[Operand, Any] = dict(zip(params, first, strict=True))

        def look_up(operand: Operand) -> Any:
            return literal_array(operand) if isinstance(operand, Literal) else there[operand]

        for node in builder.nodes:
            given = [look_up(operand) for operand in node.operands]
            known = _primitives.get(node.op.name)
            call = known.bind if known else lambda *a, op=node.op, **k: op.lax(jax, *a, **k)
            there[node.result] = call(*given, **node.attrs)
        return look_up(result), 0

    return batch
