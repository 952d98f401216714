"""The laws of ops: every op of the registry, through every one of its rules."""

import itertools
from collections.abc import Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from brainir.backends import reference, to_jax, to_numpy
from brainir.frontend.primitives import TRANSLATE
from brainir.ir import (
    NOT_DIFFERENTIABLE,
    Builder,
    Graph,
    GraphError,
    NotDifferentiable,
    Operand,
    Type,
    Value,
    all_ops,
    get_op,
)
from brainir.ir.dtypes import type_of_array
from op_samples import Array, Sample, all_samples

SAMPLES = all_samples(0)
OTHERS = [all_samples(1), all_samples(2)]
"""Samples of the same types with other elements."""

DIFFERENTIABLE = [
    i
    for i, sample in enumerate(SAMPLES)
    if sample.slopes != "none" and any(t.is_differentiable for t in sample.types)
]
SMOOTH = [i for i in DIFFERENTIABLE if SAMPLES[i].slopes == "smooth"]


def each(numbers: Sequence[int]) -> Any:
    """Run a test on the samples of those numbers."""
    names = [f"{i}-{SAMPLES[i]}" for i in numbers]
    return pytest.mark.parametrize("number", numbers, ids=names)


# --- running a sample -----------------------------------------------------------------------------


def as_tuple(results: Any) -> tuple[Any, ...]:
    return tuple(results) if isinstance(results, (tuple, list)) else (results,)


def run_numpy(sample: Sample) -> tuple[Array, ...]:
    with np.errstate(all="ignore"):
        return tuple(map(np.asarray, as_tuple(sample.op.numpy(*sample.operands, **sample.attrs))))


def lax_form(sample: Sample) -> Any:
    return lambda *arrays: as_tuple(sample.op.lax(jax, *arrays, **sample.attrs))


def with_operands(sample: Sample, operands: Sequence[Array]) -> Sample:
    return Sample(sample.name, tuple(operands), sample.attrs, sample.slopes, sample.rtol)


def tolerance(sample: Sample, types: Sequence[Type]) -> float:
    precision = {"bfloat16": 2e-2, "float16": 2e-3}
    return max([sample.rtol, 2e-5, *(precision.get(t.dtype, 0.0) for t in types)])


def assert_close(
    results: Sequence[Array], expected: Sequence[Array], rtol: float, atol: float = 1e-30
) -> None:
    for result, wanted in zip(results, expected, strict=True):
        assert type_of_array(result) == type_of_array(wanted)
        if type_of_array(result).is_differentiable:
            wide = np.complex128 if type_of_array(result).is_complex else np.float64
            result, wanted = result.astype(wide), wanted.astype(wide)
            np.testing.assert_allclose(result, wanted, rtol=rtol, atol=atol)
        else:
            np.testing.assert_array_equal(result, wanted)


# --- building graphs of a sample ------------------------------------------------------------------


def values_of(types: Sequence[Type]) -> list[Value]:
    return [Value(t) for t in types]


def instantiated(builder: Builder, changes: Sequence[Operand | None], types: Any) -> list[Operand]:
    """Return cotangents or tangents, zeros in place of None; their types must be as expected."""
    for change, type in zip(changes, types, strict=True):
        assert change is None or change.type == type
    pairs = zip(changes, types, strict=True)
    return [builder.zeros(t) if c is None else c for c, t in pairs if t.is_differentiable]


def partners(types: Sequence[Type]) -> list[Value | None]:
    """Return values for changes of values of these types."""
    return [Value(t) if t.is_differentiable else None for t in types]


def vjp_graph(sample: Sample, types: Sequence[Type]) -> Graph:
    """From operands and cotangents of the results to cotangents of the operands."""
    builder, params = Builder(), values_of(types)
    results = builder.emit(sample.op, params, sample.attrs)
    cotangents = partners([r.type for r in results])
    derivative = sample.op.derivative
    assert derivative is not None
    given = derivative.vjp(builder, builder.nodes[-1], tuple(cotangents))
    outs = instantiated(builder, given, types)
    return builder.graph([*params, *(c for c in cotangents if c is not None)], outs)


def jvp_graph(sample: Sample, types: Sequence[Type]) -> Graph:
    """From operands and their tangents to tangents of the results."""
    builder, params = Builder(), values_of(types)
    results = builder.emit(sample.op, params, sample.attrs)
    tangents = partners(types)
    derivative = sample.op.derivative
    assert derivative is not None
    given = derivative.jvp(builder, builder.nodes[-1], tuple(tangents))
    outs = instantiated(builder, given, [r.type for r in results])
    return builder.graph([*params, *(t for t in tangents if t is not None)], outs)


def pushed_forward(graph: Graph) -> Graph:
    """From the parameters of a graph and their tangents to tangents of its results."""
    builder = Builder()
    changes: dict[Any, Operand | None] = {p: Value(p.type) for p in graph.params}
    tangents = [t for t in changes.values() if t is not None and t.type.is_differentiable]
    changes = {p: t if p.type.is_differentiable else None for p, t in changes.items()}
    for node in graph.nodes:
        builder.nodes.append(node)
        assert node.op.derivative is not None
        given = tuple(changes.get(operand) for operand in node.operands)
        outs = node.op.derivative.jvp(builder, node, given)
        changes.update(zip(node.results, outs, strict=True))
    outs = instantiated(builder, [changes.get(r) for r in graph.results], [r.type for r in graph.results])
    params = [*graph.params, *(t for t in tangents if isinstance(t, Value))]
    return builder.graph(params, outs)


def batched_graph(sample: Sample, batched: Sequence[bool], size: int) -> Graph:
    types = [
        Type(t.dtype, (size, *t.shape)) if has else t
        for t, has in zip(sample.types, batched, strict=True)
    ]
    builder, params = Builder(), values_of(types)
    assert sample.op.batch is not None
    results = sample.op.batch(builder, params, batched, size, **sample.attrs)
    return builder.graph(params, as_tuple(results))


# --- derivatives by JAX ---------------------------------------------------------------------------


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


@cache
def jax_results(number: int) -> tuple[Any, Any, Any]:
    """Return the results of a sample in JAX, the tangents of them, and the cotangents of operands."""
    sample = SAMPLES[number]
    live = [i for i, t in enumerate(sample.types) if t.is_differentiable]
    outs = sample.op.result_types(sample.types, sample.attrs, ())
    kept = [i for i, t in enumerate(outs) if t.is_differentiable]

    def compute(arrays: Any, tangents: Any, cotangents: Any) -> Any:
        def function(*changing: Any) -> Any:
            mixed = list(arrays)
            for i, array in zip(live, changing, strict=True):
                mixed[i] = array
            results = lax_form(sample)(*mixed)
            return [results[i] for i in kept], results

        if number not in DIFFERENTIABLE:
            return function(*(arrays[i] for i in live))[1], None, None
        changing = [arrays[i] for i in live]
        only = lambda *a: function(*a)[0]  # noqa: E731 - what depends smoothly on the operands
        pushed = jax.jvp(only, changing, tangents)[1]
        pulled = jax.vjp(only, *changing)[1](cotangents)
        return function(*changing)[1], pushed, pulled

    operands = [to_jax(a) for a in sample.operands]
    changes = [list(map(to_jax, directions(types, 7))) for types in (sample.types, outs)]
    results = jax.jit(compute)(operands, *changes)
    return jax.tree.map(to_numpy, results)


# --- the laws -------------------------------------------------------------------------------------


def test_every_op_has_a_sample() -> None:
    sampled = {sample.name for sample in SAMPLES}
    needed = {op.name for op in all_ops() if not (op.has_regions or op.opaque or op.effects)}
    assert needed == sampled


def test_every_op_says_what_it_means() -> None:
    for op in all_ops():
        assert op.doc.endswith("."), op.name


@each(range(len(SAMPLES)))
def test_inference_predicts_what_numpy_gives(number: int) -> None:
    sample = SAMPLES[number]
    inferred = sample.op.result_types(sample.types, sample.attrs, ())
    assert inferred == tuple(map(type_of_array, run_numpy(sample)))


@each(range(len(SAMPLES)))
def test_lax_agrees_with_numpy(number: int) -> None:
    sample = SAMPLES[number]
    expected = run_numpy(sample)
    results, _, _ = jax_results(number)
    assert_close(results, expected, tolerance(sample, [*sample.types, *map(type_of_array, expected)]))


@each([i for i, sample in enumerate(SAMPLES) if sample.operands])
def test_batching_equals_stacking(number: int) -> None:
    sample = SAMPLES[number]
    versions = [sample, *(others[number] for others in OTHERS)]
    for batched in itertools.product((True, False), repeat=len(sample.operands)):
        if not any(batched):
            continue
        pairs = list(enumerate(batched))
        operands = [
            np.stack([v.operands[i] for v in versions]) if has else sample.operands[i]
            for i, has in pairs
        ]
        lanes = [
            run_numpy(with_operands(v, [(v if has else sample).operands[i] for i, has in pairs]))
            for v in versions
        ]
        expected = [np.stack(column) for column in zip(*lanes, strict=True)]
        results = reference.run(batched_graph(sample, batched, len(versions)), *operands)
        assert_close(results, expected, tolerance(sample, sample.types))


@each(DIFFERENTIABLE)
def test_derivatives_agree_with_jax(number: int) -> None:
    sample = SAMPLES[number]
    outs = sample.op.result_types(sample.types, sample.attrs, ())
    _, tangents, cotangents = jax_results(number)
    rtol = 5 * tolerance(sample, [*sample.types, *outs])
    forward, reverse = jvp_graph(sample, sample.types), vjp_graph(sample, sample.types)
    pushed = reference.run(forward, *sample.operands, *directions(sample.types, 7))
    assert_close(pushed, tangents, rtol, atol=rtol)
    pulled = reference.run(reverse, *sample.operands, *directions(outs, 7))
    assert_close(pulled, cotangents, rtol, atol=rtol)


STEP = 1e-6


def in_double(sample: Sample) -> Sample:
    wide = {"float32": "float64", "complex64": "complex128"}
    operands = [a.astype(wide.get(a.dtype.name, a.dtype)) for a in sample.operands]
    return with_operands(sample, operands)


def moved(operands: Sequence[Array], tangents: Sequence[Array], step: float) -> list[Array]:
    """Return operands after a step along tangents, which the differentiable ones have."""
    remaining = iter(tangents)
    return [
        a + step * next(remaining) if type_of_array(a).is_differentiable else a for a in operands
    ]


def paired(first: Sequence[Array], second: Sequence[Array]) -> float:
    """Return the pairing of cotangents and tangents: the real part of a sum of products."""
    return float(sum(np.sum(a * b).real for a, b in zip(first, second, strict=True)))


@each(SMOOTH)
def test_derivatives_agree_with_finite_differences(number: int) -> None:
    sample = in_double(SAMPLES[number])
    outs = sample.op.result_types(sample.types, sample.attrs, ())
    kept = [i for i, t in enumerate(outs) if t.is_differentiable]
    tangents, cotangents = directions(sample.types, 3), directions(outs, 4)

    ahead, behind = (
        run_numpy(with_operands(sample, moved(sample.operands, tangents, step)))
        for step in (STEP, -STEP)
    )
    slopes = [(ahead[i] - behind[i]) / (2 * STEP) for i in kept]
    forward = jvp_graph(sample, sample.types)
    pushed = reference.run(forward, *sample.operands, *tangents)
    assert_close(pushed, slopes, 1e-5, atol=1e-6)

    pulled = reference.run(vjp_graph(sample, sample.types), *sample.operands, *cotangents)
    np.testing.assert_allclose(paired(pulled, tangents), paired(cotangents, pushed), 1e-9, 1e-9)


@each(SMOOTH)
def test_second_derivatives_agree_with_finite_differences(number: int) -> None:
    sample = in_double(SAMPLES[number])
    outs = sample.op.result_types(sample.types, sample.attrs, ())
    graph = vjp_graph(sample, sample.types)
    arguments = [*sample.operands, *directions(outs, 5)]
    tangents = directions([type_of_array(a) for a in arguments], 6)
    ahead, behind = (
        reference.run(graph, *moved(arguments, tangents, step)) for step in (STEP, -STEP)
    )
    slopes = [(a - b) / (2 * STEP) for a, b in zip(ahead, behind, strict=True)]
    assert_close(reference.run(pushed_forward(graph), *arguments, *tangents), slopes, 1e-4, 1e-5)


@each(range(len(SAMPLES)))
def test_cost_counts_what_is_read_and_written(number: int) -> None:
    sample = SAMPLES[number]
    outs = sample.op.result_types(sample.types, sample.attrs, ())
    cost = sample.op.cost(sample.types, outs, sample.attrs)
    assert cost.flops >= 0
    assert cost.bytes >= sum(t.nbytes for t in outs)


@each(range(len(SAMPLES)))
def test_a_primitive_translates_to_what_it_does(number: int) -> None:
    sample = SAMPLES[number]
    traced = jax.make_jaxpr(lax_form(sample))(*map(to_jax, sample.operands))
    jaxpr = getattr(traced, "jaxpr", traced)
    builder, params = Builder(), values_of(sample.types)
    known: dict[Any, Operand] = dict(zip(jaxpr.invars, params, strict=True))
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        found = TRANSLATE[name](eqn.params, tuple(v.aval for v in eqn.invars))
        assert found is not None
        known.update(zip(eqn.outvars, builder.emit(found[0], [known[v] for v in eqn.invars], found[1])))
    if sample.name != "expand_dims" and len(jaxpr.eqns) == 1:
        (node,) = builder.nodes
        assert (node.op, node.attrs) == (sample.op, sample.attrs)
    graph = builder.graph(params, [known[v] for v in jaxpr.outvars])
    assert_close(reference.run(graph, *sample.operands), run_numpy(sample), 1e-6)
