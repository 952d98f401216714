"""Opaque ops: JAX primitives that have no record of their own, with rules derived from JAX itself.

So no JAX code is refused. Abstract evaluation gives the types; ``jax.vmap``, ``jax.vjp`` and
``jax.jvp`` of the bound primitive, traced back into the IR, give batching and both modes of
differentiation.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.extend.core as jex
import jax.extend.core.primitives
import numpy as np

from ...backends import describe, shape_struct, to_jax, to_numpy, type_of
from ...ir import (
    PURE,
    Builder,
    Cost,
    Effect,
    Graph,
    GraphError,
    Node,
    Op,
    Operand,
    Rules,
    Spelled,
    Type,
    Value,
    Weight,
    at,
    equal,
    find_op,
    manual_axes,
    mapped,
    register,
    replay,
    traffic,
    walk,
)


class _Importing:
    """What makes nodes of a function of JAX arrays: the importer, which itself makes opaque ops."""

    function: Callable[..., list[Operand]]


_importing = _Importing()


def import_by(function: Callable[..., list[Operand]]) -> None:
    """Let rules of opaque ops be imported by ``function(builder, of_arrays, operands)``."""
    _importing.function = function


PREFIX = "lax."


def bind(primitive: Any, params: Mapping[str, Any], args: Sequence[Any]) -> tuple[Any, ...]:
    """Apply a JAX primitive with the parameters of an equation."""
    if primitive.name in _AXES:
        params, args = _AXES[primitive.name](params, args)
        if not params["axes"]:
            return tuple(args)
    out = primitive.bind(*args, **primitive.get_bind_params(dict(params)))
    return tuple(out) if primitive.multiple_results else (out,)


def restricted(
    function: Callable[..., Any], arrays: Sequence[Any], positions: Sequence[int]
) -> Callable[..., Any]:
    """Return a function of just the arguments at some positions; the others stand still."""

    def chosen(*values: Any) -> Any:
        full = list(arrays)
        for i, value in zip(positions, values, strict=True):
            full[i] = value
        return function(*full)

    return chosen


def _varying_more(params: Mapping[str, Any], args: Sequence[Any]) -> Any:
    """Leave out axes over which a value varies already."""
    present = frozenset[str]().union(*(manual_axes.axes_of(jax.typeof(x)) for x in args))
    axes = [axis for axis in params["axes"] if axis not in present]
    return {**params, "axes": tuple(axes)}, args


def _varying_first(params: Mapping[str, Any], args: Sequence[Any]) -> Any:
    """Let values vary over the axes over which they are summed."""
    return params, [manual_axes.cast(jax, x, frozenset(params["axes"])) for x in args]


_AXES = {"pvary": _varying_more, "psum_invariant": _varying_first}
"""How equations of ``jax.shard_map`` are applied to values that vary over other axes than those
that they were traced with: a capture does not follow over which."""


def holds_code(params: Mapping[str, Any]) -> bool:
    """Whether an equation holds a jaxpr, so that its effects are those of what is in there."""
    return any(isinstance(param, jex.Jaxpr | jex.ClosedJaxpr) for param in params.values())


def opaque_op(primitive: Any, effectful: bool, holds_code: bool = False) -> Op:
    """Return the op of a JAX primitive, deriving it at the first use.

    A primitive that holds code is one op with effects, and another one without.
    """
    name = f"{PREFIX}{primitive.name}{'_with_effects' if effectful and holds_code else ''}"
    found = find_op(name)
    if found is not None:
        return found
    return register(
        Op(
            name,
            f"The JAX primitive {primitive.name}; its rules are derived from JAX.",
            infer=_infer(primitive),
            numpy=_numpy(primitive),
            lax=_lax(primitive),
            batch=_batch(primitive),
            derivative=Rules(_reverse(primitive), _forward(primitive), selective=True),
            effects=frozenset({Effect.IO}) if effectful else PURE,
            cost=lambda ins, outs, _: Cost(0, traffic(ins, outs), Weight.HEAVY),
            element=Spelled(_spelled(primitive), "only JAX knows what it does"),
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


def _place(primitive: Any) -> str | None:
    """Return where JAX shows a primitive, such as ``lax.lu_p``; None if it does not."""
    for path, module in (("lax", jax.lax), ("extend.core.primitives", jax.extend.core.primitives)):
        name = f"{primitive.name}_p"
        if getattr(module, name, None) is primitive:
            return f"{path}.{name}"
    return None


def _lax(primitive: Any) -> Callable[..., tuple[Any, ...]]:
    place = None if primitive.name in _AXES else _place(primitive)
    if place is None:
        return lambda jax, *arrays, **params: bind(primitive, params, arrays)
    of = operator.attrgetter(place)

    def lax(jax: Any, *arrays: Any, **params: Any) -> tuple[Any, ...]:
        """Bind the primitive where it is shown, so that it can be written as Python as well."""
        out = of(jax).bind(*arrays, **primitive.get_bind_params(dict(params)))
        return tuple(out) if primitive.multiple_results else (out,)

    return lax


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
    return _importing.function(builder, function, operands)


meanings: dict[str, Callable[..., Sequence[Any]]] = {}
"""What primitives of somebody else compute, as JAX functions of their operands and parameters, by
name: of those whose own implementation cannot be traced."""


def _spelled(primitive: Any) -> Callable[..., list[Operand] | None]:
    """Return what builds a primitive of somebody else, of what it means or is made of."""

    def spelled(builder: Builder, *operands: Operand, **params: Any) -> list[Operand] | None:
        def meaning(*arrays: Any) -> Any:
            computed: Any = meanings.get(primitive.name, primitive.impl)
            return computed(*arrays, **params)

        inside = Builder(builder.loc)
        try:
            results = _traced_into(inside, meaning, operands)
        except Exception:  # whatever it is: it was not made to be traced
            return None
        if any(node.op.opaque for node in walk(inside.graph((), results))):
            return None
        builder.extend(inside.nodes)
        return results

    return spelled


def _batch(primitive: Any) -> Callable[..., Any]:
    def batch(
        builder: Builder,
        operands: Sequence[Operand],
        batched: Sequence[bool],
        size: int,
        spmd_axis_name: str | tuple[str, ...] | None = None,
        **params: Any,
    ) -> tuple[Operand, ...]:
        lanes = jax.vmap(
            lambda *one: bind(primitive, params, one),
            in_axes=[0 if b else None for b in batched],
            axis_size=size,
            spmd_axis_name=spmd_axis_name,
        )
        try:
            return tuple(_traced_into(builder, lanes, operands))
        except (KeyError, ValueError) as error:
            if spmd_axis_name is None:
                raise
            why = f"its mesh has no axis {error}" if isinstance(error, KeyError) else error
            raise ValueError(
                f"lanes cannot lie over {spmd_axis_name!r}, as spmd_axis_name says, with the "
                f"{primitive.name} in them{at(builder.loc)}: {why}"
            ) from error

    return batch


def _useful(primitive: Any, node: Node) -> tuple[Callable[..., list[Any]], list[int]]:
    """Return the primitive as a function to those of its results that have derivatives."""
    useful = [i for i, r in enumerate(node.results) if r.type.is_differentiable]

    def function(*arrays: Any) -> list[Any]:
        outs = bind(primitive, node.attrs, arrays)
        return [outs[i] for i in useful]

    return function, useful


def _derived(
    builder: Builder, node: Node, rule: Callable[..., Any], changes: Sequence[Operand]
) -> list[Operand]:
    """Build a rule of the operands of a node, and of tangents or cotangents.

    JAX computes the primitive itself on the way, whose results are at hand.
    """
    inner = Builder(builder.loc)
    try:
        found = _traced_into(inner, rule, [*node.operands, *changes])
    except Exception as error:
        error.add_note(f"while differentiating {describe(node)}")
        raise

    def at_hand(_: Builder, new: Node, operands: Sequence[Operand], __: Any) -> Any:
        same = new.op is node.op and tuple(operands) == tuple(node.operands)
        return node.results if same and equal(_alone(new), _alone(node)) else None

    names: dict[Value, Operand] = {}
    replay(inner.nodes, builder, names, at_hand)
    return list(mapped(found, names))


def _alone(node: Node) -> Graph:
    """Return a graph of one node."""
    params = dict.fromkeys(o for o in node.operands if isinstance(o, Value))
    return Graph("", tuple(params), (node,), node.results)


def _spread(values: Sequence[Operand], places: Sequence[int], count: int) -> list[Operand | None]:
    """Put values into their places, and None into all others."""
    spread: list[Operand | None] = [None] * count
    for i, value in zip(places, values, strict=True):
        spread[i] = value
    return spread


def _reverse(primitive: Any) -> Callable[..., list[Operand | None]]:
    def reverse(
        builder: Builder,
        node: Node,
        cotangents: tuple[Operand | None, ...],
        wanted: Sequence[bool],
    ) -> list[Operand | None]:
        count = len(node.operands)
        # JAX refuses to differentiate some primitives by some operands: ask for what is needed.
        pairs = zip(node.operands, wanted, strict=True)
        active = [i for i, (o, w) in enumerate(pairs) if w and o.type.is_differentiable]
        function, useful = _useful(primitive, node)
        filled = [
            builder.zeros(node.results[i].type) if (c := cotangents[i]) is None else c
            for i in useful
        ]

        def pull(*args: Any) -> Any:
            chosen = restricted(function, args[:count], active)
            _, vjp = jax.vjp(chosen, *(args[i] for i in active))
            return vjp(list(args[count:]))

        found = _derived(builder, node, pull, filled)
        return _spread(found, active, count)

    return reverse


def _forward(primitive: Any) -> Callable[..., list[Operand | None]]:
    def forward(
        builder: Builder, node: Node, tangents: tuple[Operand | None, ...]
    ) -> list[Operand | None]:
        count = len(node.operands)
        live = [(i, t) for i, t in enumerate(tangents) if t is not None]
        active = [i for i, _ in live]
        function, useful = _useful(primitive, node)

        def push(*args: Any) -> Any:
            chosen = restricted(function, args[:count], active)
            return jax.jvp(chosen, tuple(args[i] for i in active), tuple(args[count:]))[1]

        found = _derived(builder, node, push, [t for _, t in live])
        return _spread(found, useful, len(node.results))

    return forward
