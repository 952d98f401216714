"""Laws of the whole compiler, over random graphs: from what was captured down to XLA."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivative_cases import gradient_graph, tangent_graph, traced
from hypothesis import given, note, settings
from hypothesis import strategies as st
from test_passes_lanes import mapped_over

from brainir.backends import type_of
from brainir.backends.reference import run
from brainir.frontend.validation.running import Inputs
from brainir.frontend.validation.running import inputs_for as inputs_for_run
from brainir.frontend.validation.validate import ValidationReport, validate_graph
from brainir.ir import Graph, Type, parse
from brainir.passes import PASSES, PIPELINE, Pass, expand_grad
from brainir.testing import graphs, inputs_for

EXAMPLES = settings().max_examples

WIDE = ("float64", "int32", "bool")
"""With 64 bits, rounding is far from what a wrong rule does."""


def assert_valid(graph: Graph, data: st.DataObject, passes: Sequence[Pass] = PIPELINE) -> None:
    """Compare all stages of a graph with the first that can be run, and XLA too."""
    inputs = data.draw(inputs_for(graph))
    note(str(graph))
    report = validate_graph(
        Inputs(graph, tuple(inputs.arguments), inputs.states), passes=passes, smallest=False
    )
    assert report.ok, report
    assert compared(report) > 0, f"nothing could be compared: {report}"


def compared(report: ValidationReport) -> int:
    """How many stages were compared with one before them."""
    return sum(error is not None for error in report.stages.values())


@settings(max_examples=4 * EXAMPLES)
@given(data=st.data())
def test_a_random_graph_means_the_same_after_every_pass(data):
    assert_valid(data.draw(graphs(transformations=True, nodes=20)), data, PIPELINE[:-1])


@settings(max_examples=EXAMPLES // 2)
@given(data=st.data())
def test_a_random_graph_means_the_same_from_capture_to_xla(data):
    assert_valid(data.draw(graphs(transformations=True)), data)


def smooth_body(data: st.DataObject) -> tuple[Graph, int, list[int]]:
    """A differentiable graph whose first results are losses: it, how many, and the parameters."""
    graph = data.draw(graphs(states=False, differentiable=True, dtypes=WIDE, nodes=8))
    results = sorted(graph.results, key=lambda r: r.type.dtype != "float64")
    losses = sum(r.type.dtype == "float64" for r in results)
    wrt = [i for i, p in enumerate(graph.params) if p.type.dtype == "float64"]
    return graph.with_(results=tuple(results), param_units=()), losses, wrt


@pytest.mark.parametrize("around", ["vmap", "grad", "jvp"])
@pytest.mark.parametrize("inside", ["vmap", "grad", "jvp"])
@settings(max_examples=EXAMPLES // 6)
@given(data=st.data())
def test_lanes_and_derivatives_may_stand_inside_each_other(inside, around, data):
    with jax.enable_x64(True):
        graph, losses, wrt = smooth_body(data)
        for kind in (inside, around):
            if kind == "vmap":
                graph = mapped_over(data, graph, 2)
            elif kind == "grad":
                graph = gradient_graph(graph, wrt, losses)
                losses = len(wrt)
            else:
                graph = tangent_graph(graph, wrt)
        assert_valid(graph, data)


# --- what random graphs hardly come by ------------------------------------------------------------

LOOPS = """
%a, %b, %c = for_loop carry(%p = %x, %q = %x, %r = %y) over(%i = %xs) {length=4} do {
  %s = add %p, %i
  %t = mul %q, %i
  yield %s, %t, %p
}
%m = add %a, %b
%z = sub %m, %c"""

BODIES = {
    "two_carries_that_only_start_alike": LOOPS,
    "two_carries_that_swap": LOOPS.replace("yield %s, %t, %p", "yield %q, %s, %r"),
    "two_carries_that_only_end_alike": LOOPS.replace("%q = %x", "%q = %y")
    .replace("yield %s, %t, %p", "%u = add %r, %t\nyield %s, %s, %u")
    .replace("%m = add %a, %b", "%m = add %b, %b"),
    "a_choice_by_not": "%n = not %w\n%z = select_n %n, %x, %y",
    "a_choice_by_what_is_known": "%z = select_n 1:i32, %x, %y, %x",
    "an_addition_of_a_negative": "%n = neg %y\n%z = add %x, %n",
    "a_subtraction_of_a_negative": "%n = neg %y\n%z = sub %x, %n",
    "a_slice_of_what_is_repeated": "%b = broadcast_in_dim %x {shape=(2, 3), dims=(1,)}\n"
    "%s = slice %b {start=(1, 0), limit=(2, 3), strides=(1, 1)}\n%z = squeeze %s {dimensions=(0,)}",
    "three_transposes": "%b = reshape %xs {shape=(2, 2, 3)}\n"
    "%s = transpose %b {permutation=(1, 2, 0)}\n%t = transpose %s {permutation=(2, 0, 1)}\n"
    "%u = transpose %t {permutation=(1, 2, 0)}\n%v = reshape %u {shape=(4, 3)}\n"
    "%z = reduce_max %v {axes=(0,)}",
    "a_map_with_a_rest": "%m = map (%i: f32[3] = %xs) {length=4, batch_size=3} do {\n%s = sin %i\n"
    "%k = reduce_sum %i {axes=(0,)}\n%t = mul %s, %k\nyield %t\n}\n"
    "%s = slice %m {start=(1, 0), limit=(2, 3), strides=(1, 1)}\n%z = squeeze %s {dimensions=(0,)}",
}
"""Graphs of which some passes make less, each in its own way."""


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_graph_means_the_same_at_every_stage(body):
    graph = parse(
        "graph @f(%x: f32[3], %y: f32[3], %xs: f32[4,3], %w: bool[3]) -> (f32[3]) {\n"
        f"{body}\nreturn %z\n}}"
    )
    report = validate_graph(inputs_for_run(graph, {}, 0))
    assert report.ok, report
    assert compared(report) == len(PIPELINE) + 1


@pytest.mark.parametrize("name", [step.name for step in PIPELINE if step.name != "purify"])
def test_what_talks_to_the_host_runs_as_often_after_every_pass(name):
    heard: list[int] = []

    def talk(xs):
        def step(carry, x):
            jax.debug.callback(heard.append, jnp.int32(1), ordered=False)
            return carry + x, None

        return jax.lax.scan(step, jnp.float32(0), xs)[0]

    graph = traced(lambda xs: [talk(xs)], [Type("float32", (3,))])
    run(PASSES[name](graph), np.ones(3, np.float32))
    jax.effects_barrier()
    assert heard == [1, 1, 1]


def a_big_carry_made_of_a_small_value(c, k, b, xs):
    def step(c, x):
        v = jnp.tanh(c @ k + x)
        return v[:, None] * b, v * v

    c, ys = jax.lax.scan(step, c, xs)
    return (c**2).sum() + ys.sum()


def branches_that_hand_over_two_arrays_of_a_kind(w, x, y, z):
    def heavy():
        return jnp.tanh(w @ x) * jnp.sin(w @ y) + jnp.cos(w @ z)

    return jax.lax.cond(x.sum() > y.sum(), heavy, lambda: heavy()[::-1] * z).sum()


SHAPES = {
    a_big_carry_made_of_a_small_value: [(3, 5), (5,), (5,), (4, 3)],
    branches_that_hand_over_two_arrays_of_a_kind: [(3, 3), (3,), (3,), (3,)],
}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("function", SHAPES, ids=lambda function: function.__name__)
def test_a_gradient_agrees_with_jax(function, seed):
    random = np.random.default_rng(seed)
    arguments = [random.normal(size=shape).astype(np.float32) for shape in SHAPES[function]]
    wrt = tuple(range(len(arguments)))
    graph = traced(lambda *args: [function(*args)], [type_of(a) for a in arguments])
    found = run(expand_grad(gradient_graph(graph, wrt)), *arguments)[: len(wrt)]
    expected = jax.grad(function, argnums=wrt)(*arguments)
    for slope, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(slope, wanted, rtol=1e-4, atol=1e-5)
