"""Reverse mode: gradients agree with JAX, with finite differences and with forward mode."""

import jax
import numpy as np
import pytest
from derivative_cases import CASES, gradient_graph, spike, tangent_graph, traced
from hypothesis import given, note
from hypothesis import strategies as st
from jax import numpy as jnp
from random_graphs import graphs, inputs_for

from brainir.backends.reference import run
from brainir.ir import NotDifferentiable, Type, mapped, parse, replay, verify, walk
from brainir.ir.builder import Builder
from brainir.passes.expand_grad import expand_grad
from brainir.passes.expand_jvp import expand_jvp


def close(found, expected, tolerance=1e-4):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_gradients_agree_with_jax(case):
    graph = expand_grad(gradient_graph(case.graph, case.wrt, case.losses))
    verify(graph, "expanded")
    function = jax.jit(jax.grad(case.loss, argnums=case.wrt, has_aux=True))
    gradients, values = function(*case.arguments)
    close(run(graph, *case.arguments), [*gradients, *values])


# --- laws over random graphs ------------------------------------------------------------------------


@st.composite
def smooth(draw):
    """A graph whose first results are f64, how many they are, which parameters are, and inputs."""
    graph = draw(graphs(states=False, differentiable=True, dtypes=("float64", "int32", "bool")))
    inputs = draw(inputs_for(graph)).arguments
    results = sorted(graph.results, key=lambda r: r.type.dtype != "float64")
    losses = sum(r.type.dtype == "float64" for r in results)
    wrt = [i for i, p in enumerate(graph.params) if p.type.dtype == "float64"]
    return graph.with_(results=tuple(results)), losses, wrt, inputs


def directions(inputs, wrt):
    random = np.random.default_rng(1)
    return [random.normal(size=inputs[i].shape) for i in wrt]


def moved(inputs, wrt, steps, size):
    changed = dict(zip(wrt, steps, strict=True))
    return [x + size * changed[i] if i in changed else x for i, x in enumerate(inputs)]


def total(arrays):
    return sum(float(np.sum(a)) for a in arrays)


@given(smooth())
def test_gradients_agree_with_finite_differences(drawn):
    graph, losses, wrt, inputs = drawn
    note(str(graph))
    gradients = run(expand_grad(gradient_graph(graph, wrt, losses)), *inputs)[: len(wrt)]
    steps = directions(inputs, wrt)
    slope = total(g * d for g, d in zip(gradients, steps, strict=True))
    ends = [total(run(graph, *moved(inputs, wrt, steps, h))[:losses]) for h in (1e-6, -1e-6)]
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-6, rtol=1e-4, atol=1e-4)


@given(smooth())
def test_reverse_mode_is_the_transpose_of_forward_mode(drawn):
    graph, losses, wrt, inputs = drawn
    note(str(graph))
    found = run(expand_grad(gradient_graph(graph, wrt, losses)), *inputs)
    steps = directions(inputs, wrt)
    pushed = run(expand_jvp(tangent_graph(graph, wrt)), *inputs, *steps)
    count = len(graph.results)
    np.testing.assert_allclose(
        total(g * d for g, d in zip(found, steps, strict=False)),
        total(pushed[count : count + losses]),
        rtol=1e-9,
        atol=1e-9,
    )
    close(found[len(wrt) :], pushed[:count], 1e-12)
