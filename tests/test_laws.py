"""Laws of the whole compiler, over random graphs: from what was captured down to XLA."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivative_cases import gradient_graph, tangent_graph, traced
from hypothesis import given, note, settings
from hypothesis import strategies as st
from random_graphs import graphs, inputs_for
from test_passes_lanes import mapped_over

from brainir.backends import type_of
from brainir.backends.reference import run
from brainir.frontend.tools.running import Inputs
from brainir.frontend.tools.validate import validate_graph
from brainir.ir import Graph
from brainir.passes import PIPELINE, Pass, expand_grad

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


@settings(max_examples=100)
@given(data=st.data())
def test_a_random_graph_means_the_same_after_every_pass(data):
    assert_valid(data.draw(graphs(transformations=True, nodes=20)), data, PIPELINE[:-1])


@settings(max_examples=15)
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
@settings(max_examples=4)
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


# --- what random graphs do not come by ------------------------------------------------------------


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
