"""What holds of every op, as functions of a sample.

Each law raises an AssertionError where it does not hold, and returns how many numbers it compared,
so that a law which compared none is noticed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from ...backends import reference, to_jax, to_numpy
from ...ir import (
    NOT_DIFFERENTIABLE,
    Builder,
    Graph,
    GraphError,
    Operand,
    Type,
    Value,
    Weight,
    traffic,
    type_of_array,
)
from .round_trip import check_round_trip
from .samples import Array, Sample

STEP = 1e-6
"""How far finite differences go, in double precision."""

# --- running a sample -----------------------------------------------------------------------------


def as_tuple(results: Any) -> tuple[Any, ...]:
    """Return what a rule gave as a tuple."""
    return tuple(results) if isinstance(results, (tuple, list)) else (results,)


def run_numpy(sample: Sample) -> tuple[Array, ...]:
    """Return what the numpy rule gives."""
    with np.errstate(all="ignore"):
        return tuple(map(np.asarray, as_tuple(sample.op.numpy(*sample.operands, **sample.attrs))))


def lax_form(sample: Sample) -> Callable[..., tuple[Any, ...]]:
    """Return the lax rule as a function of JAX arrays."""
    return lambda *arrays: as_tuple(sample.op.lax(jax, *arrays, **sample.attrs))


def run_lax(sample: Sample) -> tuple[Array, ...]:
    """Return what the lax rule gives."""
    results = lax_form(sample)(*map(to_jax, sample.operands))
    return tuple(map(to_numpy, results))


def tolerance(sample: Sample, types: Sequence[Type]) -> float:
    """Return how far, relatively, two ways to compute a sample may be apart."""
    precision = {"bfloat16": 2e-2, "float16": 2e-3}
    return max([sample.rtol, 2e-5, *(precision.get(t.dtype, 0.0) for t in types)])


def compare(
    results: Sequence[Array], expected: Sequence[Array], rtol: float, atol: float = 1e-30
) -> int:
    """Check that arrays are alike, also in type; return how many numbers were compared."""
    assert len(results) == len(expected), f"{len(results)} results in place of {len(expected)}"
    for result, wanted in zip(results, expected, strict=True):
        found, type = type_of_array(result), type_of_array(wanted)
        assert found == type, f"{found} in place of {type}"
        if type.is_differentiable:
            wide = np.complex128 if type.is_complex else np.float64
            result, wanted = result.astype(wide), wanted.astype(wide)
            np.testing.assert_allclose(result, wanted, rtol=rtol, atol=atol)
        else:
            np.testing.assert_array_equal(result, wanted)
    return sum(wanted.size for wanted in expected)


# --- building graphs of a sample ------------------------------------------------------------------


def instantiated(
    builder: Builder, changes: Sequence[Operand | None], types: Sequence[Type]
) -> list[Operand]:
    """Return cotangents or tangents, zeros in place of None; their types must be as expected."""
    for change, type in zip(changes, types, strict=True):
        assert change is None or change.type == type, f"a change {change} of a {type}"
    pairs = zip(changes, types, strict=True)
    return [builder.zeros(t) if c is None else c for c, t in pairs if t.is_differentiable]


def partners(types: Sequence[Type]) -> list[Value | None]:
    """Return values for changes of values of these types."""
    return [Value(t) if t.is_differentiable else None for t in types]


def vjp_graph(sample: Sample) -> Graph:
    """Return a graph from operands and cotangents of the results to cotangents of the operands."""
    types = sample.types
    builder, params = Builder(), [Value(t) for t in types]
    results = builder.emit(sample.op, params, sample.attrs)
    cotangents = partners([r.type for r in results])
    derivative = sample.op.derivative
    assert derivative is not None
    given = derivative.vjp(builder, builder.nodes[-1], tuple(cotangents))
    outs = instantiated(builder, given, types)
    return builder.graph([*params, *(c for c in cotangents if c is not None)], outs, "reverse")


def jvp_graph(sample: Sample) -> Graph:
    """Return a graph from operands and their tangents to tangents of the results."""
    types = sample.types
    builder, params = Builder(), [Value(t) for t in types]
    results = builder.emit(sample.op, params, sample.attrs)
    tangents = partners(types)
    derivative = sample.op.derivative
    assert derivative is not None
    given = derivative.jvp(builder, builder.nodes[-1], tuple(tangents))
    outs = instantiated(builder, given, [r.type for r in results])
    return builder.graph([*params, *(t for t in tangents if t is not None)], outs, "forward")


def batched_graph(sample: Sample, batched: Sequence[bool], size: int) -> Graph:
    """Return a graph of the sample over a leading axis that some of its operands have."""
    types = [
        Type(t.dtype, (size, *t.shape)) if has else t
        for t, has in zip(sample.types, batched, strict=True)
    ]
    builder, params = Builder(), [Value(t) for t in types]
    assert sample.op.batch is not None
    results = sample.op.batch(builder, params, batched, size, **sample.attrs)
    return builder.graph(params, as_tuple(results), "batched")


# --- changes --------------------------------------------------------------------------------------


def directions(types: Sequence[Type], seed: int) -> list[Array]:
    """Return random changes of the differentiable ones among values of these types."""
    rng = np.random.default_rng(seed)
    arrays = []
    for type in types:
        if type.is_differentiable:
            real, imaginary = rng.standard_normal((2, *type.shape))
            change = real + 1j * imaginary if type.is_complex else real
            arrays.append(np.asarray(change).astype(type.dtype))
    return arrays


def in_double(sample: Sample) -> Sample:
    """Return a sample in double precision, in which finite differences tell most."""
    wide = {"float32": "float64", "complex64": "complex128"}
    return sample.with_operands(
        [a.astype(wide.get(a.dtype.name, a.dtype)) for a in sample.operands]
    )


def moved(operands: Sequence[Array], tangents: Sequence[Array], step: float) -> list[Array]:
    """Return operands after a step along tangents, which the differentiable ones have."""
    remaining = iter(tangents)
    return [
        np.asarray(a + step * next(remaining)) if type_of_array(a).is_differentiable else a
        for a in operands
    ]


def paired(first: Sequence[Array], second: Sequence[Array]) -> float:
    """Return the pairing of cotangents and tangents: the real part of a sum of products."""
    return float(sum(np.sum(a * b).real for a, b in zip(first, second, strict=True)))


# --- the laws -------------------------------------------------------------------------------------


def inference_predicts_what_numpy_gives(sample: Sample) -> int:
    """Check the types of the results."""
    given = tuple(map(type_of_array, run_numpy(sample)))
    expected = sample.result_types
    assert given == expected, f"inference says {expected}, numpy gives {given}"
    return len(expected)


def lax_agrees_with_numpy(sample: Sample, results: Sequence[Array] | None = None) -> int:
    """Compare both ways to run an op; ``results`` are those of lax, if they are known."""
    rtol = tolerance(sample, [*sample.types, *sample.result_types])
    given = run_lax(sample) if results is None else results
    return compare(given, run_numpy(sample), rtol, rtol if sample.slopes == "unknown" else 1e-30)


def batching_equals_stacking(sample: Sample, others: Sequence[Sample] = ()) -> int:
    """Compare a batch of samples of the same types with one after the other.

    Without other samples, those are taken that have the elements of this one in another order.
    """
    versions = [sample, *(others or [_rolled(sample, 1), _rolled(sample, 2)])]
    compared = 0
    for batched in itertools.product((True, False), repeat=len(sample.operands)):
        if not any(batched):
            continue
        pairs = list(enumerate(batched))
        operands = [
            np.stack([v.operands[i] for v in versions]) if has else sample.operands[i]
            for i, has in pairs
        ]
        lanes = [
            run_numpy(v.with_operands([(v if has else sample).operands[i] for i, has in pairs]))
            for v in versions
        ]
        expected = [np.stack(column) for column in zip(*lanes, strict=True)]
        results = reference.run(batched_graph(sample, batched, len(versions)), *operands)
        compared += compare(results, expected, tolerance(sample, sample.types))
    return compared


def _rolled(sample: Sample, by: int) -> Sample:
    return sample.with_operands([np.roll(a.ravel(), by).reshape(a.shape) for a in sample.operands])


def has_derivative(sample: Sample) -> bool:
    """Whether there is something to compare of the derivatives of a sample."""
    changes = any(t.is_differentiable for t in sample.types)
    changes = changes and any(t.is_differentiable for t in sample.result_types)
    refused = isinstance(sample.op.derivative, NOT_DIFFERENTIABLE)
    return changes and not refused and sample.slopes != "none"


def reverse_is_the_transpose_of_forward(sample: Sample) -> int:
    """Compare the pairings of random changes by reverse and by forward mode."""
    if not has_derivative(sample):
        return 0
    sample = _precise(sample)[0]
    loose = 2 * tolerance(sample, [*sample.types, *sample.result_types])
    rtol = 1e-6 if sample.slopes in ("smooth", "ours") else loose
    compared = 0
    for seed in (3, 5):
        tangents = directions(sample.types, seed)
        cotangents = directions(sample.result_types, seed + 1)
        pushed = reference.run(jvp_graph(sample), *sample.operands, *tangents)
        pulled = reference.run(vjp_graph(sample), *sample.operands, *cotangents)
        if sample.slopes == "unknown" and not _finite(*pushed, *pulled):
            continue
        forward, reverse = paired(cotangents, pushed), paired(pulled, tangents)
        np.testing.assert_allclose(forward, reverse, rtol, atol=rtol)
        compared += sum(map(np.size, tangents))
    return compared


def derivatives_agree_with_finite_differences(sample: Sample) -> int:
    """Compare forward mode with differences of the numpy rule."""
    if not has_derivative(sample) or sample.slopes == "kinks":
        return 0
    sample, step = _precise(sample)
    rtol, atol = (1e-5, 1e-6) if step == STEP else (2e-2, 2e-2)
    tangents = directions(sample.types, 3)
    if sample.slopes != "unknown":
        pushed = reference.run(jvp_graph(sample), *sample.operands, *tangents)
        return compare(pushed, _slopes(sample, tangents, step), rtol, atol)
    # Numbers that are drawn are often equal or 0: a step away, no kink is met by chance.
    sample = sample.with_operands(moved(sample.operands, directions(sample.types, 4), 0.03))
    pushed = reference.run(jvp_graph(sample), *sample.operands, *tangents)
    near, far = (_slopes(sample, tangents, by) for by in (step, 2 * step))
    compared = 0
    for found, slope, other in zip(pushed, near, far, strict=True):
        with np.errstate(all="ignore"):
            smooth = np.abs(slope - other) < rtol * (1 + np.abs(slope))
        compared += compare([found[smooth]], [slope[smooth]], 10 * rtol, 10 * atol)
    return compared


def _slopes(sample: Sample, tangents: Sequence[Array], step: float) -> list[Array]:
    """Return central differences of what is differentiable among the results."""
    ahead, behind = (
        run_numpy(sample.with_operands(moved(sample.operands, tangents, by)))
        for by in (step, -step)
    )
    kept = [i for i, t in enumerate(sample.result_types) if t.is_differentiable]
    with np.errstate(all="ignore"):
        return [np.asarray((ahead[i] - behind[i]) / (2 * step)) for i in kept]


def _precise(sample: Sample) -> tuple[Sample, float]:
    """Return a sample in double precision and the step that goes with it, if the op takes it."""
    wide = in_double(sample)
    try:
        return (wide, STEP) if wide.result_types else (sample, STEP)
    except GraphError:
        return sample, 2.0**-8


def _finite(*arrays: Array) -> bool:
    return all(np.isfinite(a).all() for a in arrays)


def text_is_read_back(sample: Sample) -> int:
    """Check that a graph of the op is what its text says."""
    check_round_trip(sample.graph())
    return 1


def cost_is_sane(sample: Sample) -> int:
    """Check that an op touches no more than it has, and that what is free computes nothing.

    What picks elements out of its first operand may read one of them for each that it writes.
    """
    results = sample.result_types
    cost = sample.op.cost(sample.types, results, sample.attrs)
    least = traffic((), results)
    most = max(traffic(sample.types, results), traffic(sample.types[1:], results) + least)
    assert least <= cost.bytes <= most, f"{cost.bytes} bytes; {least} to {most} can be touched"
    assert cost.flops >= 0, f"{cost.flops} operations"
    free = cost.weight is not Weight.FREE or cost.flops == 0
    assert free, f"what is free does {cost.flops} operations"
    return 1


LAWS: dict[str, Callable[[Sample], int]] = {
    "inference predicts what numpy gives": inference_predicts_what_numpy_gives,
    "the text is read back": text_is_read_back,
    "the cost is sane": cost_is_sane,
    "lax agrees with numpy": lax_agrees_with_numpy,
    "batching equals stacking": batching_equals_stacking,
    "derivatives agree with finite differences": derivatives_agree_with_finite_differences,
    "reverse mode is the transpose of forward mode": reverse_is_the_transpose_of_forward,
}
"""Every law, by the sentence that it is; the simplest come first."""
