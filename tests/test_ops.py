"""The laws of ops: every op of the registry, through every one of its rules."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from op_samples import FUNCTIONS, REAL_FUNCTIONS, Array, all_samples
from structured_samples import structured_samples

import brainir
from brainir.backends import reference, to_jax, to_numpy
from brainir.frontend.capture.translations import TRANSLATE
from brainir.frontend.testing import op_laws as laws
from brainir.frontend.testing.op_laws import (
    STEP,
    compare,
    directions,
    in_double,
    instantiated,
    jvp_graph,
    lax_form,
    moved,
    partners,
    run_numpy,
    tolerance,
    vjp_graph,
)
from brainir.ir import (
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
from brainir.ir.ops.reduction import linear_recurrence
from brainir.testing import Sample

SAMPLES, *OTHERS = ([*all_samples(seed), *structured_samples(seed)] for seed in range(3))
"""Samples of the same types with other elements."""

NAMES = list(dict.fromkeys(sample.name for sample in SAMPLES))


def numbers_of(name: str, slopes: Sequence[str] = ()) -> list[int]:
    """Return the numbers of an op's samples, or of those whose derivatives can be tried so."""
    return [
        i
        for i, sample in enumerate(SAMPLES)
        if sample.name == name
        and (not slopes or sample.slopes in slopes)
        and (not slopes or any(t.is_differentiable for t in sample.types))
        and (not slopes or any(t.is_differentiable for t in sample.result_types))
    ]


def law(*slopes: str) -> Callable[[Callable[[int], int]], Callable[[str], None]]:
    """Turn what should hold of a sample, given its number, into a test of every op.

    It returns how many numbers it compared, and has to compare some for each op.
    """

    def test_of(check: Callable[[int], int]) -> Callable[[str], None]:
        names = [name for name in NAMES if numbers_of(name, slopes)]

        @pytest.mark.parametrize("name", names)
        def test(name: str) -> None:
            compared = 0
            for number in numbers_of(name, slopes):
                try:
                    compared += check(number)
                except Exception as error:
                    error.add_note(f"for sample {number}, {SAMPLES[number]}")
                    raise
            assert compared, f"nothing is compared for {name}"

        return test

    return test_of


def pushed_forward(graph: Graph) -> Graph:
    """From the parameters of a graph and their tangents to tangents of its results."""
    builder, tangents = Builder(), partners([p.type for p in graph.params])
    changes: dict[Any, Operand | None] = dict(zip(graph.params, tangents, strict=True))
    for node in graph.nodes:
        builder.nodes.append(node)
        assert node.op.derivative is not None
        given = tuple(changes.get(operand) for operand in node.operands)
        outs = node.op.derivative.jvp(builder, node, given)
        changes.update(zip(node.results, outs, strict=True))
    given = [changes.get(r) for r in graph.results]
    outs = instantiated(builder, given, [r.type for r in graph.results])
    return builder.graph([*graph.params, *(t for t in tangents if t is not None)], outs)


# --- derivatives by JAX ---------------------------------------------------------------------------


QUICK: dict[str, Any] = {"xla_backend_optimization_level": 0}
"""Options of XLA that decide nothing here but how long the tests take."""
if jax.__version_info__ < (0, 11):
    QUICK["xla_cpu_use_fusion_emitters"] = False


@cache
def jax_results(name: str) -> dict[int, tuple[Array, ...]]:
    """Return the results in JAX of all samples of an op, compiled together."""
    numbers = numbers_of(name)
    operands = [[to_jax(a) if a.dtype.names else a for a in SAMPLES[i].operands] for i in numbers]

    def compute(operands: Any) -> Any:
        return [lax_form(SAMPLES[i])(*o) for i, o in zip(numbers, operands, strict=True)]

    results = jax.jit(compute, compiler_options=QUICK)(operands)
    return dict(zip(numbers, jax.tree.map(to_numpy, results), strict=True))


def compared_with_jax(name: str) -> list[int]:
    """Return the samples whose derivatives are compared: all with kinks, and a smooth one."""
    return [*numbers_of(name, ["kinks"]), *numbers_of(name, ["smooth"])[:1]]


@cache
def jax_tangents(name: str) -> dict[int, list[Array]]:
    """Return the tangents of those samples' results in JAX, along `directions`."""
    numbers = compared_with_jax(name)

    def pushed(sample: Sample, arrays: Any, tangents: Any) -> Any:
        live = [i for i, t in enumerate(sample.types) if t.is_differentiable]
        kept = [i for i, t in enumerate(sample.result_types) if t.is_differentiable]

        def function(*changing: Any) -> Any:
            chosen = dict(zip(live, changing, strict=True))
            results = lax_form(sample)(*(chosen.get(i, a) for i, a in enumerate(arrays)))
            return [results[i] for i in kept]

        return jax.jvp(function, [arrays[i] for i in live], tangents)[1]

    def compute(arguments: Any) -> Any:
        return [pushed(SAMPLES[i], *a) for i, a in zip(numbers, arguments, strict=True)]

    arguments = [(SAMPLES[i].operands, directions(SAMPLES[i].types, 7)) for i in numbers]
    # JAX's own rule for a power of integers mixes dtypes.
    with jax.numpy_dtype_promotion("standard"):
        results = jax.jit(compute, compiler_options=QUICK)(jax.tree.map(to_jax, arguments))
    return dict(zip(numbers, jax.tree.map(to_numpy, results), strict=True))


# --- the laws -------------------------------------------------------------------------------------


def test_every_op_has_a_sample() -> None:
    needed = {op.name for op in all_ops() if not (op.has_regions or op.opaque or op.effects)}
    assert needed == set(NAMES), "give each op a sample in tests/op_samples.py: operands and attrs"


@law()
def test_inference_predicts_what_numpy_gives(number: int) -> int:
    return laws.inference_predicts_what_numpy_gives(SAMPLES[number])


@law()
def test_the_text_of_an_op_is_read_back(number: int) -> int:
    return laws.text_is_read_back(SAMPLES[number])


@law()
def test_lax_agrees_with_numpy(number: int) -> int:
    sample = SAMPLES[number]
    return laws.lax_agrees_with_numpy(sample, jax_results(sample.name)[number])


@law()
def test_batching_equals_stacking(number: int) -> int:
    compared = laws.batching_equals_stacking(SAMPLES[number], [o[number] for o in OTHERS])
    return compared if SAMPLES[number].operands else 1  # without operands there are no lanes


@law("smooth", "kinks")
def test_tangents_agree_with_jax(number: int) -> int:
    sample = SAMPLES[number]
    if number not in compared_with_jax(sample.name):
        return 0
    rtol = 5 * tolerance(sample, [*sample.types, *sample.result_types])
    pushed = reference.run(jvp_graph(sample), *sample.operands, *directions(sample.types, 7))
    return compare(pushed, jax_tangents(sample.name)[number], rtol, atol=rtol)


@pytest.mark.parametrize("name", sorted({*FUNCTIONS, *REAL_FUNCTIONS} - {"is_finite"}))
@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
def test_slopes_at_poles_limits_and_halves_agree_with_jax(name: str) -> None:
    """Where the function and JAX's slope are numbers; not all of JAX's are at the poles."""
    points = np.array([-np.inf, -30, -2, -1, -0.5, 0, 0.5, 1, 2, 30, np.inf], np.float32)
    sample = Sample(name, (points,))
    (slopes,) = reference.run(jvp_graph(sample), points, np.ones_like(points))
    (values,) = run_numpy(sample)
    function = lax_form(sample)
    _, (expected,) = jax.jvp(function, (points,), (np.ones_like(points),))
    told = ~np.isnan(values) & ~np.isnan(expected)
    assert told.sum() >= 3
    np.testing.assert_allclose(slopes[told], expected[told], rtol=1e-3, atol=1e-5)


@law("smooth", "kinks", "ours")
def test_reverse_mode_is_the_transpose_of_forward_mode(number: int) -> int:
    return laws.reverse_is_the_transpose_of_forward(SAMPLES[number])


@law("smooth", "ours")
def test_derivatives_agree_with_finite_differences(number: int) -> int:
    return laws.derivatives_agree_with_finite_differences(SAMPLES[number])


@law("smooth", "ours")
def test_second_derivatives_agree_with_finite_differences(number: int) -> int:
    sample = in_double(SAMPLES[number])
    graph = vjp_graph(sample)
    arguments = [*sample.operands, *directions(sample.result_types, 5)]
    tangents = directions([type_of_array(a) for a in arguments], 6)
    ahead, behind = (
        reference.run(graph, *moved(arguments, tangents, step)) for step in (STEP, -STEP)
    )
    slopes = [(a - b) / (2 * STEP) for a, b in zip(ahead, behind, strict=True)]
    pushed = reference.run(pushed_forward(graph), *arguments, *tangents)
    return compare(pushed, slopes, 1e-4, 1e-5)


@law()
def test_cost_is_what_an_op_can_have(number: int) -> int:
    return laws.cost_is_sane(SAMPLES[number])


@law()
def test_a_primitive_translates_to_what_it_does(number: int) -> int:
    sample = SAMPLES[number]
    if sample.name in NO_PRIMITIVE:
        return 1
    traced = jax.make_jaxpr(lax_form(sample))(*map(to_jax, sample.operands))
    jaxpr = getattr(traced, "jaxpr", traced)
    builder, params = Builder(), [Value(t) for t in sample.types]
    known: dict[Any, Operand] = dict(zip(jaxpr.invars, params, strict=True))
    for eqn in jaxpr.eqns:
        found = TRANSLATE[eqn.primitive.name](eqn.params, tuple(v.aval for v in eqn.invars))
        assert found is not None
        results = builder.emit(found[0], [known[v] for v in eqn.invars], found[1])
        known.update(zip(eqn.outvars, results, strict=True))
        if eqn.primitive.name == sample.name:
            assert found == (sample.name, sample.attrs)
    graph = builder.graph(params, [known[v] for v in jaxpr.outvars])
    return 1 + compare(reference.run(graph, *sample.operands), run_numpy(sample), 1e-6)


SPARSE = {"csr_to_columns", "csr_to_rows", "csr_to_connections"}
SPARSE |= {"seeded_to_columns", "seeded_to_rows"}
NO_PRIMITIVE = {"polygamma", "lane_index", *SPARSE}
"""Ops that stand for more than one primitive, or for none where there is one lane."""


def recurrence(length: int, reverse: bool) -> Graph:
    """Return a graph of a linear recurrence along the last of two axes."""
    builder = Builder()
    factors, terms = [Value(Type("float32", (2, length))) for _ in range(2)]
    found = linear_recurrence(builder, factors, terms, 1, reverse)
    return builder.graph([factors, terms], [found])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", range(10))
def test_a_linear_recurrence_is_its_steps_in_a_row(length: int, reverse: bool) -> None:
    rng = np.random.default_rng(length)
    factors, terms = rng.standard_normal((2, 2, length)).astype(np.float32)
    (found,) = reference.run(recurrence(length, reverse), factors, terms)
    total = np.zeros(2)
    for i in reversed(range(length)) if reverse else range(length):
        total = factors[:, i] * total + terms[:, i]
        np.testing.assert_allclose(found[:, i], total, rtol=1e-5, atol=1e-6)


def test_the_work_of_a_linear_recurrence_grows_as_its_length() -> None:
    def work(length: int) -> int:
        nodes = recurrence(length, False).nodes
        return sum(result.type.size for node in nodes for result in node.results)

    assert work(4096) < 4.1 * work(1024)


# --- what is refused ------------------------------------------------------------------------------

REFUSED: list[tuple[str, tuple[Type, ...], dict[str, Any], str]] = [
    ("exp", (Type("int32"),), {}, "not defined on int32"),
    ("add", (Type("int32"), Type("float32")), {}, "one dtype"),
    ("add", (Type("float32", (2,)), Type("float32", (3,))), {}, "differ in shape"),
    ("add", (Type("float32", (2,)), Type("float32", (1, 2))), {}, "differ in rank"),
    ("exp", (Type("float32"),), {"accuracy": 1}, "accuracy"),
    ("integer_pow", (Type("int32"),), {"y": -1}, "cannot be raised"),
    ("select_n", (Type("bool"), *[Type("float32")] * 3), {}, "one of 3 by bool"),
    ("select_n", (Type("bool", (2,)), *[Type("float32")] * 2), {}, "does not fit"),
    ("reshape", (Type("float32", (2, 3)),), {"shape": (5,)}, "cannot be reshaped"),
    ("squeeze", (Type("float32", (2, 1)),), {"dimensions": (0,)}, "not all of 1"),
    ("transpose", (Type("float32", (2, 3)),), {"permutation": (0,)}, "does not fit"),
    ("reduce_sum", (Type("float32", (2,)),), {"axes": (1,)}, "do not fit"),
    ("reduce_sum", (Type("float32", (2,)),), {"axes": (0, 0)}, "do not fit"),
    ("argmax", (Type("float32", (0,)),), {"axes": (0,), "index_dtype": "int32"}, "no elements"),
    ("concatenate", (), {"dimension": 0}, "nothing"),
    ("split", (Type("float32", (3,)),), {"sizes": (1, 1), "axis": 0}, "do not divide"),
]


@pytest.mark.parametrize(("name", "types", "attrs", "message"), REFUSED)
def test_inference_refuses(
    name: str, types: tuple[Type, ...], attrs: dict[str, Any], message: str
) -> None:
    with pytest.raises(GraphError, match=message):
        Builder().emit(name, [Value(t) for t in types], attrs)


def test_what_has_no_derivative_says_why() -> None:
    builder, x, y = Builder(), Value(Type("float32")), Value(Type("float32"))
    builder("nextafter", x, y)
    derivative = get_op("nextafter").derivative
    assert derivative is not None
    assert derivative.vjp(builder, builder.nodes[-1], (None,)) == (None, None)
    with pytest.raises(NotDifferentiable, match="one floating-point number to the next"):
        derivative.jvp(builder, builder.nodes[-1], (x, None))


@pytest.mark.parametrize(
    ("function", "types"),
    [
        (lambda x: jax.lax.exp(x, accuracy=jax.lax.AccuracyMode.HIGHEST), ["float32"]),
        (lambda x, y: jax.lax.max(x, y), ["complex64", "complex64"]),
    ],
)
def test_what_an_op_does_not_model_is_not_translated(function: Any, types: list[str]) -> None:
    traced = jax.make_jaxpr(function)(*(jax.ShapeDtypeStruct((3,), t) for t in types))
    (eqn,) = getattr(traced, "jaxpr", traced).eqns
    assert eqn.primitive.name in TRANSLATE
    given = [jnp.ones(3, t) for t in types]
    (node,) = brainir.transform.jit(function).trace(*given).graph("capture").nodes
    assert node.op.opaque
