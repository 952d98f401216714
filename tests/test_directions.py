"""Derivatives in many directions at once, as passes write them out: they agree with JAX."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from derivative_cases import CASES, Case, gradient_graph, tangent_graph, traced
from jax import numpy as jnp

from brainir.backends.reference import run
from brainir.frontend.validation.jax_derivatives import with_jax_derivatives
from brainir.ir import Graph, Type, parse, print_graph, verify, walk
from brainir.passes import expand_grad, expand_jvp

LANES = 3
FORWARD = [case for case in CASES if not case.reverse_only]


def partly(case: Case, moving):
    """The function of a case, of the arguments that it is differentiated by."""
    arguments = list(case.arguments)
    for i, value in zip(case.wrt, moving, strict=True):
        arguments[i] = value
    return case(*arguments)


def directions(types):
    random = np.random.default_rng(2)
    return [jnp.asarray(random.normal(size=(LANES, *t.shape)), t.dtype) for t in types]


def close(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_gradients_with_many_seeds_agree_with_jax(case):
    graph = gradient_graph(case.graph, case.wrt, case.losses, LANES)
    seeds = directions([r.type for r in case.graph.results[: case.losses]])
    expanded = expand_grad(graph)
    verify(expanded, "hoisted")
    found = run(expanded, *case.arguments, *seeds)
    moving = [case.arguments[i] for i in case.wrt]
    losses, pull = jax.vjp(lambda *xs: partly(case, xs)[: case.losses], *moving)
    close(found[: len(moving)], jax.vmap(lambda *s: pull(list(s)))(*seeds))
    close(found[len(moving) : len(moving) + case.losses], losses)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("case", FORWARD, ids=lambda case: case.name)
def test_many_tangents_agree_with_jax(case):
    graph = tangent_graph(case.graph, case.wrt, LANES)
    moving = [case.arguments[i] for i in case.wrt]
    tangents = directions([case.graph.params[i].type for i in case.wrt])
    expanded = expand_jvp(graph)
    verify(expanded, "hoisted")
    found = run(expanded, *case.arguments, *tangents)
    push = lambda *ts: jax.jvp(lambda *xs: partly(case, xs), moving, list(ts))  # noqa: E731
    values, pushed = jax.vmap(push, out_axes=(None, 0))(*tangents)
    pairs = zip(pushed, values, strict=True)
    integer = jax.dtypes.float0
    smooth = [jnp.zeros((LANES, *v.shape)) if t.dtype == integer else t for t, v in pairs]
    close(found, [*values, *smooth])


@pytest.mark.parametrize("case", FORWARD[::4], ids=lambda case: case.name)
def test_what_validation_compares_with_has_lanes_too(case):
    for graph, expand, given in (
        (
            gradient_graph(case.graph, case.wrt, case.losses, LANES),
            expand_grad,
            [r.type for r in case.graph.results[: case.losses]],
        ),
        (
            tangent_graph(case.graph, case.wrt, LANES),
            expand_jvp,
            [case.graph.params[i].type for i in case.wrt],
        ),
    ):
        arguments = (*case.arguments, *directions(given))
        close(run(with_jax_derivatives(graph), *arguments), run(expand(graph), *arguments))


def loop_graph() -> Graph:
    def f(w, xs):
        def step(h, x):
            h = jnp.tanh(w * h + x)
            return h, h

        return jax.lax.scan(step, jnp.ones(4), xs)

    return traced(f, [Type("float32", (4,)), Type("float32", (5, 4))])


@pytest.mark.parametrize("forward", [False, True])
def test_the_function_itself_runs_once_for_all_directions(forward):
    if forward:
        graph = expand_jvp(tangent_graph(loop_graph(), (0,), LANES))
    else:
        graph = expand_grad(gradient_graph(loop_graph(), (0,), 1, LANES))
    tanh = [node for node in walk(graph) if node.op.name == "tanh"]
    assert [node.results[0].type for node in tanh] == [Type("float32", (4,))]


@pytest.mark.parametrize(
    "graph",
    [gradient_graph(loop_graph(), (0, 1), 2, LANES), tangent_graph(loop_graph(), (1,), LANES)],
    ids=["grad", "jvp"],
)
def test_directions_are_printed_and_read_back(graph):
    text = print_graph(graph, locations=False)
    assert f"lanes={LANES}" in text
    assert print_graph(parse(text), locations=False) == text


def test_there_may_be_no_direction_at_all():
    graph = expand_grad(gradient_graph(loop_graph(), (0,), 1, 0))
    (gradients, *_) = run(graph, jnp.ones(4), jnp.ones((5, 4)), jnp.zeros((0, 4)))
    assert gradients.shape == (0, 4)
