"""Ops whose nodes contain graphs: control flow, and the transformations before a pass expands them.

Every region may capture values from around it, so operands are only what changes from one run of
the region to the next.

=================  ======================  =========================  ==============================
op                 operands                region parameters          results
=================  ======================  =========================  ==============================
for_loop           carry..., over...       carry..., slice of over... carry..., stack of yields...
while              carry...                carry... (of both regions) carry...
cond               index                   none; a region a branch    yields...
call, checkpoint   arguments...            arguments...               yields...
custom_derivative  arguments...            see the op                 yields...
vmap               arguments...            lanes of arguments...      yields...
map                over...                 slices of over...          stacks of yields...
grad               arguments...            arguments...               gradients..., yields...
jvp                arguments, tangents...  arguments...               yields..., tangents...
=================  ======================  =========================  ==============================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ..graph import Graph, Node
from ..op import PURE, Cost, GraphError, Weight, define_region
from ..types import StateVar, Type, Value
from ..wiring import Place, Wiring, entering, going_round, leaving
from . import manual_axes
from .derivatives_by_jax import lax_grad, lax_jvp, lax_vmap

Regions = tuple[Graph, ...]


class Run(Protocol):
    """What a backend hands to region ops: a way to evaluate a region."""

    def __call__(self, region: Graph, *arrays: Any) -> tuple[Any, ...]:
        """Return the results of a region."""
        ...

    def empty(self, type: Type) -> Any:
        """Return an array without elements."""
        ...

    def captured(self, *regions: Graph) -> dict[Value, Any]:
        """Return the arrays that regions capture (XLA only)."""
        ...

    def given(self, captured: Mapping[Value, Any], region: Graph, *arrays: Any) -> tuple[Any, ...]:
        """Return the results of a region for other captured arrays (XLA only)."""
        ...


def types_of(values: Sequence[Any]) -> tuple[Type, ...]:
    """Return the types of values or operands."""
    return tuple(v.type for v in values)


def _expect(what: str, given: Sequence[Type], expected: Sequence[Type]) -> None:
    if tuple(given) != tuple(expected):
        shown = [", ".join(map(str, ts)) for ts in (expected, given)]
        raise GraphError(f"{what}: expected ({shown[0]}), got ({shown[1]})")


def _region_cost(*_: Any) -> Cost:
    return Cost(0, 0, Weight.HEAVY)


def slice_type(type: Type, length: int) -> Type:
    """Return a type without its leading axis, which must have the given length."""
    if not type.shape or type.shape[0] != length:
        raise GraphError(f"cannot iterate {length} times over {type}")
    return Type(type.dtype, type.shape[1:])


# --- for_loop ---


def _infer_for_loop(
    *types: Type,
    regions: Regions,
    carries: int,
    length: int,
    reverse: bool = False,
    unroll: int = 1,
) -> tuple[Type, ...]:
    (body,) = regions
    carry, over = types[:carries], types[carries:]
    slices = tuple(slice_type(t, length) for t in over)
    _expect("loop body parameters", types_of(body.params), (*carry, *slices))
    yields = types_of(body.results)
    _expect("carries at the end of the loop body", yields[:carries], carry)
    return (*carry, *(t.stacked(length) for t in yields[carries:]))


def _numpy_for_loop(
    run: Run, *arrays: Any, regions: Regions, carries: int, length: int, reverse: bool, unroll: int
) -> tuple[Any, ...]:
    (body,) = regions
    carry, over = arrays[:carries], arrays[carries:]
    rows: list[tuple[Any, ...]] = []
    for i in range(length - 1, -1, -1) if reverse else range(length):
        outs = run(body, *carry, *(x[i] for x in over))
        carry = outs[:carries]
        rows.append(outs[carries:])
    if reverse:
        rows.reverse()
    if rows:
        return (*carry, *(np.stack(column) for column in zip(*rows, strict=True)))
    # No step ran: an empty stack of the right element type.
    return (*carry, *(run.empty(r.type.stacked(0)) for r in body.results[carries:]))


def _lax_for_loop(
    jax: Any,
    run: Run,
    *arrays: Any,
    regions: Regions,
    carries: int,
    length: int,
    reverse: bool,
    unroll: int,
) -> tuple[Any, ...]:
    (body,) = regions

    def one_step(*values: Any) -> tuple[Any, ...]:
        return run(body, *values)

    initial, once = arrays[:carries], one_step
    if length:  # JAX makes no difference between the axes of an array and those of its slices
        first = [x[0] for x in arrays[carries:]] if manual_axes.is_manual(jax) else ()
        initial, once = manual_axes.carried(jax, one_step, initial, *first)

    def step(carry: tuple[Any, ...], slices: tuple[Any, ...]) -> tuple[Any, Any]:
        outs = once(*carry, *slices)
        return outs[:carries], outs[carries:]

    carry, ys = jax.lax.scan(
        step, initial, arrays[carries:], length=length, reverse=reverse, unroll=unroll
    )
    return (*carry, *ys)


def _wire_for_loop(node: Node) -> Wiring:
    carries, steps = node.attrs["carries"], node.attrs["length"]
    over, stacks = len(node.operands) - carries, len(node.results) - carries
    strands = (
        *going_round(carries),
        *entering(over, first=carries, whole=False),
        *leaving(stacks, first=carries, whole=False),
    )
    return Wiring(strands, times=steps, counted_by="carries")


define_region(
    "for_loop",
    "Run the body once for each leading index: carries go from step to step, yields are stacked.",
    infer=_infer_for_loop,
    numpy=_numpy_for_loop,
    lax=_lax_for_loop,
    effects=PURE,
    cost=_region_cost,
    wiring=_wire_for_loop,
    groups=("carry", "over"),
)


# --- while ---


def _infer_while(*types: Type, regions: Regions) -> tuple[Type, ...]:
    condition, body = regions
    _expect("condition parameters", types_of(condition.params), types)
    _expect("loop body parameters", types_of(body.params), types)
    _expect("condition", types_of(condition.results), (Type("bool"),))
    _expect("carries at the end of the loop body", types_of(body.results), types)
    return types


def _numpy_while(run: Run, *arrays: Any, regions: Regions) -> tuple[Any, ...]:
    condition, body = regions
    while bool(run(condition, *arrays)[0]):
        arrays = run(body, *arrays)
    return arrays


def _lax_while(jax: Any, run: Run, *arrays: Any, regions: Regions) -> tuple[Any, ...]:
    condition, body = regions

    def goes_on(carry: tuple[Any, ...]) -> Any:
        return run(condition, *carry)[0]

    def one_step(*carry: Any) -> tuple[Any, ...]:
        return run(body, *carry)

    def following(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        return step(*carry)

    initial, step = manual_axes.carried(jax, one_step, arrays)
    return jax.lax.while_loop(goes_on, following, initial)


def _wire_while(node: Node) -> Wiring:
    strands = going_round(len(node.operands), body=1, tests=(0,))
    return Wiring(tuple(strands), gates=(Place(0, 0),), times=None)


define_region(
    "while",
    "Run the second region on the carries as long as the first one says so.",
    infer=_infer_while,
    numpy=_numpy_while,
    lax=_lax_while,
    effects=PURE,
    cost=_region_cost,
    wiring=_wire_while,
    groups=("carry",),
)


# --- cond ---


def _infer_cond(index: Type, *, regions: Regions) -> tuple[Type, ...]:
    if index not in (Type("bool"), Type("int32")):
        raise GraphError(f"a branch is chosen by bool[] or i32[], not {index}")
    if not regions or (index.dtype == "bool" and len(regions) != 2):
        raise GraphError(f"{len(regions)} branches do not fit an index of type {index}")
    for region in regions:
        _expect("branch parameters", types_of(region.params), ())
        _expect("branch results", types_of(region.results), types_of(regions[0].results))
    return types_of(regions[0].results)


def _numpy_cond(run: Run, index: Any, *, regions: Regions) -> tuple[Any, ...]:
    return run(regions[int(np.clip(int(index), 0, len(regions) - 1))])


def _lax_cond(jax: Any, run: Run, index: Any, *, regions: Regions) -> tuple[Any, ...]:
    def branch(region: Graph) -> Callable[[], tuple[Any, ...]]:
        return lambda: run(region)

    branches = manual_axes.branches(jax, [branch(region) for region in regions])
    if len(branches) == 2 and index.dtype == np.bool_:
        return jax.lax.cond(index, branches[1], branches[0])
    return jax.lax.switch(index, branches)


def _wire_cond(node: Node) -> Wiring:
    strands = leaving(len(node.results), range(len(node.regions)))
    return Wiring(tuple(strands), gates=(Place(None, 0),), chosen=True)


define_region(
    "cond",
    "Run the one region that the index says: false, true for bool[]; clamped for i32[].",
    infer=_infer_cond,
    numpy=_numpy_cond,
    lax=_lax_cond,
    effects=PURE,
    cost=_region_cost,
    wiring=_wire_cond,
)


# --- call, checkpoint, custom_derivative ---


def _infer_call(*types: Type, regions: Regions, **_: Any) -> tuple[Type, ...]:
    _expect("arguments", types, types_of(regions[0].params))
    return types_of(regions[0].results)


def _numpy_call(run: Run, *arrays: Any, regions: Regions, **_: Any) -> tuple[Any, ...]:
    return run(regions[0], *arrays)


def _lax_call(jax: Any, run: Run, *arrays: Any, regions: Regions, **_: Any) -> tuple[Any, ...]:
    return run(regions[0], *arrays)


def _lax_checkpoint(
    jax: Any, run: Run, *arrays: Any, regions: Regions, prevent_cse: bool
) -> tuple[Any, ...]:
    if prevent_cse:
        # Only inside a reverse pass does it matter: XLA must not merge this with the forward run.
        arrays = jax.lax.optimization_barrier(tuple(arrays)) if arrays else arrays
    return run(regions[0], *arrays)


def _wire_call(node: Node) -> Wiring:
    return Wiring((*entering(len(node.operands)), *leaving(len(node.results))))


define_region(
    "call",
    "Run a region once, under the name of the function that it was.",
    infer=_infer_call,
    numpy=_numpy_call,
    lax=_lax_call,
    effects=PURE,
    cost=_region_cost,
    wiring=_wire_call,
)

define_region(
    "checkpoint",
    "Run a region once; a reverse pass runs it again rather than keep its intermediate values.",
    infer=_infer_call,
    numpy=_numpy_call,
    lax=_lax_checkpoint,
    effects=PURE,
    cost=_region_cost,
    wiring=_wire_call,
)


def _infer_custom(*types: Type, regions: Regions, mode: str) -> tuple[Type, ...]:
    primal, *rules = regions
    _expect("arguments", types, types_of(primal.params))
    outs = types_of(primal.results)
    if mode == "jvp":
        (rule,) = rules
        _expect("rule parameters", types_of(rule.params), (*types, *types))
        _expect("rule results", types_of(rule.results), (*outs, *outs))
    elif mode == "vjp":
        forward, backward = rules
        _expect("forward rule parameters", types_of(forward.params), types)
        residuals = types_of(forward.results)[len(outs) :]
        _expect("forward rule results", types_of(forward.results), (*outs, *residuals))
        _expect("backward rule parameters", types_of(backward.params), (*residuals, *outs))
        _expect("backward rule results", types_of(backward.results), types)
    else:
        raise GraphError(f"a custom derivative is 'jvp' or 'vjp', not {mode!r}")
    return outs


def _lax_custom(jax: Any, run: Run, *arrays: Any, regions: Regions, mode: str) -> tuple[Any, ...]:
    """Emit a custom derivative that JAX can differentiate; captured arrays are made arguments."""
    captured = run.captured(*regions)
    values = tuple(captured)

    def runs(region: Graph, held: Sequence[Any], *given: Any) -> tuple[Any, ...]:
        return run.given(dict(zip(values, held, strict=True)), region, *given)

    def primal(held: Sequence[Any], *given: Any) -> tuple[Any, ...]:
        return runs(regions[0], held, *given)

    def full(like: Sequence[Any], derivatives: Sequence[Any]) -> list[Any]:
        """Put zeros of the value's own type where JAX has no derivative of an integer."""
        pairs = zip(like, derivatives, strict=True)
        return [d if _has_derivative(jax, x) else jax.numpy.zeros_like(x) for x, d in pairs]

    def stripped(like: Sequence[Any], derivatives: Sequence[Any]) -> tuple[Any, ...]:
        """The other way round."""
        return tuple(
            d if _has_derivative(jax, x) else np.zeros(np.shape(x), jax.dtypes.float0)
            for x, d in zip(like, derivatives, strict=True)
        )

    if mode == "jvp":
        function = jax.custom_jvp(primal)

        def rule(primals: Any, tangents: Any) -> Any:
            (held, *given), (_, *pushed) = primals, tangents
            outs = runs(regions[1], held, *given, *full(given, pushed))
            half = len(outs) // 2
            return outs[:half], stripped(outs[:half], outs[half:])

        function.defjvp(rule)
    else:
        function = jax.custom_vjp(primal)

        def forward(held: Sequence[Any], *given: Any) -> Any:
            outs = runs(regions[1], held, *given)
            count = len(regions[0].results)
            return outs[:count], (held, given, outs[:count], outs[count:])

        def backward(saved: Any, cotangents: Any) -> Any:
            held, given, outs, residuals = saved
            found = runs(regions[2], held, *residuals, *full(outs, cotangents))
            zeros = stripped(held, [jax.numpy.zeros_like(x) for x in held])
            return (zeros, *stripped(given, found))

        function.defvjp(forward, backward)
    return function(tuple(captured.values()), *arrays)


def _has_derivative(jax: Any, array: Any) -> bool:
    return jax.numpy.issubdtype(jax.typeof(array).dtype, jax.numpy.inexact)


def _wire_custom(node: Node) -> Wiring:
    """Rules may mix arguments in any way, and fit the primal as it is."""
    results = tuple(Place(None, i) for i in range(len(node.results)))
    rules = len(node.regions) - 1
    strands, linear = tuple(entering(len(node.operands))), node.attrs["mode"] != "vjp"
    return Wiring(strands, mixed=results, together=True, rules=rules, linear=linear)


define_region(
    "custom_derivative",
    "Run the first region; differentiate by the others. {mode='jvp'}: one region from arguments "
    "and tangents to results and tangents. {mode='vjp'}: one from arguments to results and "
    "residuals, one from residuals and cotangents to cotangents of the arguments. What stands for "
    "the tangent of an integer is of the integer's own type, and ignored.",
    infer=_infer_custom,
    numpy=_numpy_call,
    lax=_lax_custom,
    effects=PURE,
    cost=_region_cost,
    wiring=_wire_custom,
)


# --- transformations, which a pass expands --------------------------------------------------------


def lane_type(type: Type, axis: int | None, size: int) -> Type:
    """Return what one lane of a batched array looks like."""
    if axis is None:
        return type
    if not 0 <= axis < type.rank or type.shape[axis] != size:
        raise GraphError(f"axis {axis} of {type} does not have the {size} lanes of this vmap")
    return Type(type.dtype, type.shape[:axis] + type.shape[axis + 1 :])


def batched_type(type: Type, axis: int | None, size: int) -> Type:
    """Return a type with a lane axis inserted."""
    if axis is None:
        return type
    if not 0 <= axis <= type.rank:
        raise GraphError(f"a lane axis cannot stand at {axis} of {type}")
    return Type(type.dtype, (*type.shape[:axis], size, *type.shape[axis:]))


def _infer_vmap(
    *types: Type,
    regions: Regions,
    size: int,
    in_axes: tuple[int | None, ...],
    out_axes: tuple[int | None, ...],
    **_: Any,
) -> tuple[Type, ...]:
    (body,) = regions
    lanes = [lane_type(t, axis, size) for t, axis in zip(types, in_axes, strict=True)]
    _expect("lane parameters", types_of(body.params), lanes)
    outs = zip(types_of(body.results), out_axes, strict=True)
    return tuple(batched_type(t, axis, size) for t, axis in outs)


def _numpy_vmap(
    run: Run,
    *arrays: Any,
    regions: Regions,
    size: int,
    in_axes: tuple[int | None, ...],
    out_axes: tuple[int | None, ...],
    **_: Any,
) -> tuple[Any, ...]:
    (body,) = regions
    pairs = list(zip(arrays, in_axes, strict=True))
    lanes = [
        run(body, *(a if axis is None else np.take(a, i, axis) for a, axis in pairs))
        for i in range(size)
    ]
    if not lanes:
        types = types_of(body.results)
        outs = zip(types, out_axes, strict=True)
        return tuple(run.empty(batched_type(t, axis, size)) for t, axis in outs)
    columns = zip(zip(*lanes, strict=True), out_axes, strict=True)
    return tuple(column[0] if axis is None else np.stack(column, axis) for column, axis in columns)


def _not_expanded(name: str, by: str) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise GraphError(f"{name} must be expanded before it can be run; the pass {by} does that")

    return refuse


def _wire_vmap(node: Node) -> Wiring:
    axes = node.attrs["in_axes"], node.attrs["out_axes"]
    strands = (
        *(entering(1, first=i, whole=axis is None)[0] for i, axis in enumerate(axes[0])),
        *(leaving(1, first=i, whole=axis is None)[0] for i, axis in enumerate(axes[1])),
    )
    return Wiring(strands, together=True, times=node.attrs["size"])


define_region(
    "vmap",
    "Run the region once for each lane: in_axes says where an argument has its lanes "
    "(None: shared), out_axes where a result gets them (None: the same for all).",
    infer=_infer_vmap,
    numpy=_numpy_vmap,
    lax=lax_vmap,
    effects=PURE,
    cost=_region_cost,
    wiring=_wire_vmap,
)


def _infer_map(
    *types: Type, regions: Regions, length: int, batch_size: int | None = None
) -> tuple[Type, ...]:
    (body,) = regions
    slices = [slice_type(t, length) for t in types]
    _expect("parameters of a mapped function", types_of(body.params), slices)
    return tuple(t.stacked(length) for t in types_of(body.results))


def _numpy_map(
    run: Run, *arrays: Any, regions: Regions, length: int, batch_size: int | None
) -> tuple[Any, ...]:
    return _numpy_for_loop(
        run, *arrays, regions=regions, carries=0, length=length, reverse=False, unroll=1
    )


def _wire_map(node: Node) -> Wiring:
    strands = (
        *entering(len(node.operands), whole=False),
        *leaving(len(node.results), whole=False),
    )
    return Wiring(strands, together=True, times=node.attrs["length"])


define_region(
    "map",
    "Run the region once for each leading index, batch_size of them at a time (None: one by one).",
    infer=_infer_map,
    numpy=_numpy_map,
    lax=_not_expanded("map", "expand-map"),
    effects=PURE,
    cost=_region_cost,
    wiring=_wire_map,
    groups=("over",),
)


def _infer_grad(
    *types: Type,
    regions: Regions,
    wrt: tuple[int, ...],
    states: tuple[StateVar, ...],
    losses: int,
) -> tuple[Type, ...]:
    (body,) = regions
    _expect("arguments", types, types_of(body.params))
    held = tuple(t for state in states for t in state.types)
    return (*held, *(types[i] for i in wrt), *types_of(body.results))


def _wire_grad(node: Node) -> Wiring:
    """A gradient depends on all that the region does, a plain result on what it comes from."""
    outs = len(node.regions[0].results)
    gradients = len(node.results) - outs
    strands = (*entering(len(node.operands)), *leaving(outs, shift=gradients))
    mixed = tuple(Place(None, i) for i in range(gradients))
    return Wiring(strands, mixed=mixed, together=True)


define_region(
    "grad",
    "Run the region and differentiate the sum of its first `losses` yields: gradients of the entry "
    "values of `states`, then of the arguments numbered in `wrt`, then all that the region yields.",
    infer=_infer_grad,
    numpy=_not_expanded("grad", "expand-grad"),
    lax=lax_grad,
    effects=PURE,
    cost=_region_cost,
    wiring=_wire_grad,
)


def _infer_jvp(*types: Type, regions: Regions, wrt: tuple[int, ...]) -> tuple[Type, ...]:
    (body,) = regions
    arguments = types[: len(types) - len(wrt)]
    _expect("arguments", arguments, types_of(body.params))
    _expect("tangents", types[len(arguments) :], [arguments[i] for i in wrt])
    outs = types_of(body.results)
    return (*outs, *outs)


def _wire_jvp(node: Node) -> Wiring:
    """The last results are tangents."""
    (body,) = node.regions
    outs = len(body.results)
    strands = (*entering(len(body.params)), *leaving(outs))
    mixed = tuple(Place(None, i) for i in range(outs, len(node.results)))
    return Wiring(strands, mixed=mixed, together=True)


define_region(
    "jvp",
    "Run the region and push tangents of the arguments numbered in `wrt` through it.",
    infer=_infer_jvp,
    numpy=_not_expanded("jvp", "expand-jvp"),
    lax=lax_jvp,
    effects=PURE,
    cost=_region_cost,
    wiring=_wire_jvp,
)
