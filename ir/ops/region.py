"""Ops whose nodes contain graphs: control flow. Transformations have a file of their own.

Every region may capture values from around it, so operands are only what changes from one run of
the region to the next.

=================  ======================  =========================  ==============================
op                 operands                region parameters          results
=================  ======================  =========================  ==============================
for_loop           carry..., over...       carry..., slice of over... carry..., stack of yields...
while              carry...                carry... (of both regions) carry...
cond               index                   none; a region a branch    yields...
call, checkpoint   arguments...            arguments...               yields...
kernel             arguments...            arguments...               yields...
custom_derivative  arguments...            see the op                 yields...
=================  ======================  =========================  ==============================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ..graph import Graph, Node, captures
from ..op import PURE, Cost, GraphError, Weight, define_region
from ..types import Type, Value
from ..wiring import Place, Wiring, entering, going_round, leaving
from . import manual_axes

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

    def native(self, region: Graph, dense: bool, *arrays: Any) -> tuple[Any, ...]:
        """Return the results of a region that machine code of our own may compute (XLA only)."""
        ...

    def given(self, captured: Mapping[Value, Any], region: Graph, *arrays: Any) -> tuple[Any, ...]:
        """Return the results of a region for other captured arrays (XLA only)."""
        ...


def types_of(values: Sequence[Any]) -> tuple[Type, ...]:
    """Return the types of values or operands."""
    return tuple(v.type for v in values)


def expect(what: str, given: Sequence[Type], expected: Sequence[Type]) -> None:
    """Refuse types other than the expected ones."""
    if tuple(given) != tuple(expected):
        shown = [", ".join(map(str, ts)) for ts in (expected, given)]
        raise GraphError(f"{what}: expected ({shown[0]}), got ({shown[1]})")


def region_cost(*_: Any) -> Cost:
    """Cost of a node with regions, without these."""
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
    base: int | None = None,
) -> tuple[Type, ...]:
    (body,) = regions
    carry, over = types[:carries], types[carries:]
    slices = tuple(slice_type(t, length) for t in over)
    expect("loop body parameters", types_of(body.params), (*carry, *slices))
    yields = types_of(body.results)
    expect("carries at the end of the loop body", yields[:carries], carry)
    return (*carry, *(t.stacked(length) for t in yields[carries:]))


def numpy_for_loop(
    run: Run, *arrays: Any, regions: Regions, carries: int, length: int, reverse: bool, **_: Any
) -> tuple[Any, ...]:
    """Run the region step by step."""
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
    base: int | None,
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
    numpy=numpy_for_loop,
    lax=_lax_for_loop,
    effects=PURE,
    cost=region_cost,
    wiring=_wire_for_loop,
    groups=("carry", "over"),
)


# --- while ---


def _infer_while(*types: Type, regions: Regions) -> tuple[Type, ...]:
    condition, body = regions
    expect("condition parameters", types_of(condition.params), types)
    expect("loop body parameters", types_of(body.params), types)
    expect("condition", types_of(condition.results), (Type("bool"),))
    expect("carries at the end of the loop body", types_of(body.results), types)
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
    cost=region_cost,
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
        expect("branch parameters", types_of(region.params), ())
        expect("branch results", types_of(region.results), types_of(regions[0].results))
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
    cost=region_cost,
    wiring=_wire_cond,
)


# --- call, checkpoint, custom_derivative ---


def _infer_call(*types: Type, regions: Regions, **_: Any) -> tuple[Type, ...]:
    expect("arguments", types, types_of(regions[0].params))
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
    cost=region_cost,
    wiring=_wire_call,
)

define_region(
    "checkpoint",
    "Run a region once; a reverse pass runs it again rather than keep its intermediate values.",
    infer=_infer_call,
    numpy=_numpy_call,
    lax=_lax_checkpoint,
    effects=PURE,
    cost=region_cost,
    wiring=_wire_call,
)


def _infer_kernel(*types: Type, regions: Regions, dense: bool = False) -> tuple[Type, ...]:
    (region,) = regions
    outside = captures(region)
    if outside:
        raise GraphError(f"a kernel captures nothing, but %{outside[0].hint} is from outside")
    return _infer_call(*types, regions=regions)


def _lax_kernel(jax: Any, run: Run, *arrays: Any, regions: Regions, dense: bool) -> tuple[Any, ...]:
    return run.native(regions[0], dense, *arrays)


define_region(
    "kernel",
    "Run a region once, which captures nothing; where it can be, as machine code of its own. A "
    "product with spikes leaves out the rows of zeros there, unless {dense=true}.",
    infer=_infer_kernel,
    numpy=_numpy_call,
    lax=_lax_kernel,
    effects=PURE,
    cost=region_cost,
    wiring=_wire_call,
)


def _infer_custom(*types: Type, regions: Regions, mode: str) -> tuple[Type, ...]:
    primal, *rules = regions
    expect("arguments", types, types_of(primal.params))
    outs = types_of(primal.results)
    if mode == "jvp":
        (rule,) = rules
        expect("rule parameters", types_of(rule.params), (*types, *types))
        expect("rule results", types_of(rule.results), (*outs, *outs))
    elif mode == "vjp":
        forward, backward = rules
        expect("forward rule parameters", types_of(forward.params), types)
        residuals = types_of(forward.results)[len(outs) :]
        expect("forward rule results", types_of(forward.results), (*outs, *residuals))
        expect("backward rule parameters", types_of(backward.params), (*residuals, *outs))
        expect("backward rule results", types_of(backward.results), types)
    else:
        raise GraphError(f"a custom derivative is 'jvp' or 'vjp', not {mode!r}")
    return outs


def _lax_custom(jax: Any, run: Run, *arrays: Any, regions: Regions, mode: str) -> tuple[Any, ...]:
    """Emit a custom derivative that JAX can differentiate; captured arrays are made arguments."""
    captured = run.captured(*regions)
    values = tuple(captured)

    def runs(region: Graph, outer: Sequence[Any], *given: Any) -> tuple[Any, ...]:
        return run.given(dict(zip(values, outer, strict=True)), region, *given)

    def primal(outer: Sequence[Any], *given: Any) -> tuple[Any, ...]:
        return runs(regions[0], outer, *given)

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
            (outer, *given), (_, *pushed) = primals, tangents
            outs = runs(regions[1], outer, *given, *full(given, pushed))
            half = len(outs) // 2
            return outs[:half], stripped(outs[:half], outs[half:])

        function.defjvp(rule)
    else:
        function = jax.custom_vjp(primal)

        def forward(outer: Sequence[Any], *given: Any) -> Any:
            outs = runs(regions[1], outer, *given)
            count = len(regions[0].results)
            return outs[:count], (outer, given, outs[:count], outs[count:])

        def backward(saved: Any, cotangents: Any) -> Any:
            outer, given, outs, residuals = saved
            found = runs(regions[2], outer, *residuals, *full(outs, cotangents))
            zeros = stripped(outer, [jax.numpy.zeros_like(x) for x in outer])
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
    cost=region_cost,
    wiring=_wire_custom,
)
