"""What a reverse loop keeps: never more than it must, never what can be had otherwise."""

from itertools import combinations

import jax
import numpy as np
import pytest
from derivative_cases import CASES, gradient_graph, spike, traced
from hypothesis import given
from hypothesis import strategies as st
from jax import numpy as jnp

from brainir.backends.reference import run
from brainir.ir import Type, walk
from brainir.passes import expand_grad, loop_residuals, residuals
from brainir.passes.residuals import minimum_cut

F32 = Type("float32")
N, T = 7, 20
"""Neurons and steps: no array has another of these sizes by chance."""


# --- the cut --------------------------------------------------------------------------------------


@st.composite
def networks(draw):
    """Vertices 0, 1, ..., what each is made of (None: it cannot be computed), sizes, and wishes."""
    count = draw(st.integers(1, 8))
    made_of = [
        draw(
            st.none() | st.lists(st.integers(0, i - 1), max_size=3, unique=True) if i else st.none()
        )
        for i in range(count)
    ]
    sizes = [draw(st.sampled_from([1, 2, 4, 4, 8])) for _ in range(count)]
    needed = draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=3, unique=True))
    return made_of, sizes, needed


def suffices(stored, made_of, needed):
    """Whether all that is needed can be computed from what is stored."""

    def can(vertex):
        return vertex in stored or (made_of[vertex] is not None and all(map(can, made_of[vertex])))

    return all(map(can, needed))


@given(networks())
def test_what_is_stored_suffices_and_nothing_smaller_does(network):
    made_of, sizes, needed = network
    stored = minimum_cut(needed, made_of.__getitem__, sizes.__getitem__)
    assert suffices(stored, made_of, needed)
    cost = sum(sizes[v] for v in stored)
    everything = range(len(made_of))
    cheaper = (
        chosen
        for size in range(len(made_of) + 1)
        for chosen in combinations(everything, size)
        if sum(sizes[v] for v in chosen) < cost
    )
    assert not any(suffices(chosen, made_of, needed) for chosen in cheaper)


def test_of_two_equal_choices_the_later_is_stored():
    made_of = {"drawn": None, "root": ["drawn"], "wanted": ["root"]}
    assert minimum_cut(["wanted"], made_of.__getitem__, lambda _: 4) == {"wanted"}


def test_parts_that_are_too_big_to_cut_are_stored_where_they_are_needed(monkeypatch):
    monkeypatch.setattr(residuals, "LIMIT", 0)
    made_of = {"a": None, "b": None, "mix": ["a", "b"], "x": ["mix", "a"], "y": ["mix", "b"]}
    sizes = {"a": 9, "b": 9, "mix": 4, "x": 1, "y": 99}
    assert minimum_cut(["x", "y"], made_of.__getitem__, sizes.__getitem__) == {"x", "y"}


# --- loops ----------------------------------------------------------------------------------------


def stored(graph):
    """Types of what the forward loop stacks for its reverse, without the leading axis."""
    forward, _ = (node for node in graph.nodes if node.op.name == "for_loop")
    return sorted(str(r.type.with_shape(*r.type.shape[1:])) for r in stacks(forward))


def stacks(loop):
    return loop.results[loop.attrs["carries"] :]


def gradient(function, *shapes, wrt=None):
    types = [F32.with_shape(*shape) for shape in shapes]
    return expand_grad(gradient_graph(traced(function, types), wrt or range(len(shapes))))


def test_a_spiking_net_stores_its_potential_and_nothing_else():
    def f(w, v, xs):
        def step(c, x):
            v, s, i = c
            i = 0.9 * i + w @ s + x
            v = 0.9 * v * (1 - s) + i
            s = spike(v - 1)
            return (v, s, i), s.sum()

        z = jnp.zeros_like(v)
        return jax.lax.scan(step, (v, z, z), xs)[1].sum()

    assert stored(gradient(f, (N, N), (N,), (T, N))) == [f"f32[{N}]", "f32[]"]


def test_of_a_decision_one_byte_is_stored():
    def f(w, v):
        def step(v, _):
            h = w @ v
            return jnp.where(h > 0, h, 0.1 * h), None

        return jax.lax.scan(step, v, None, length=T)[0].sum()

    assert stored(gradient(f, (N, N), (N,))) == [f"bool[{N}]", f"f32[{N}]"]


def test_a_decision_of_the_step_before_is_stored_as_one_byte():
    def f(v, w, xs):
        def step(c, x):
            v, gate = c
            return (0.9 * v + gate * x, (w @ v > 0).astype(v.dtype)), None

        return jax.lax.scan(step, (v, v), xs)[0][0].sum()

    assert stored(gradient(f, (N,), (N, N), (T, N), wrt=(0, 2))) == [f"bool[{N}]"]


def test_what_the_loop_yields_or_reads_anyway_is_not_stored_again():
    def f(v, xs):
        def step(v, x):
            v = jnp.sin(v) * x
            return v * x, v

        v, vs = jax.lax.scan(step, v, xs)
        return v.sum() + (vs**2).sum()

    assert stored(gradient(f, (N,), (T, N))) == [f"f32[{N}]"] * 2


def test_what_the_loop_yields_before_it_changes_is_not_stored_after():
    def f(w, v):
        def step(v, _):
            new = jnp.tanh(w @ v)
            return new, v

        return (jax.lax.scan(step, v, None, length=T)[1] ** 2).sum()

    assert stored(gradient(f, (N, N), (N,))) == [f"f32[{N}]"]


def test_what_is_the_same_in_each_step_is_not_stacked():
    def f(w, v):
        def step(v, _):
            return (w @ w) @ v, None

        return jax.lax.scan(step, v, None, length=T)[0].sum()

    graph = gradient(f, (N, N), (N,))
    assert stored(graph) == [f"f32[{N}]"]
    assert sum(node.op.name == "dot_general" for node in graph.nodes) == 3


def test_random_numbers_and_contractions_are_not_computed_twice():
    def f(w, v):
        def step(c, _):
            v, key = c
            key, now = jax.random.split(key)
            v = jnp.tanh(w @ v) * jnp.sin(jax.random.normal(now, v.shape) + v)
            return (v, key), None

        return jax.lax.scan(step, (v, jax.random.key(0)), None, length=T)[0][0].sum()

    names = [node.op.name for node in walk(gradient(f, (N, N), (N,)))]
    assert names.count("random_bits") == 1
    assert names.count("dot_general") == 3


def test_what_jax_factorises_is_not_factorised_twice():
    def f(w, v):
        def step(c, _):
            lower = jnp.linalg.cholesky(w @ w.T + jnp.outer(c, c))
            return jnp.tanh(jnp.linalg.solve(lower, c)), None

        return jax.lax.scan(step, v, None, length=T)[0].sum()

    names = [node.op.name for node in walk(gradient(f, (N, N), (N,)))]
    assert names.count("lax.cholesky") == 1
    assert names.count("lax.lu") == 1
    assert names.count("lax.custom_linear_solve") == 2


def kept_bytes(graph):
    return sum(
        result.type.nbytes
        for node in walk(graph)
        if node.op.name == "for_loop"
        for result in stacks(node)
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_choice_costs_no_more_than_to_store_what_is_needed(case, monkeypatch):
    chosen = expand_grad(gradient_graph(case.graph, case.wrt, case.losses))
    with monkeypatch.context() as patch:
        for module in (residuals, loop_residuals):
            patch.setattr(module, "minimum_cut", lambda needed, inputs, size: set(needed))
        naive = expand_grad(gradient_graph(case.graph, case.wrt, case.losses))
    assert kept_bytes(chosen) <= kept_bytes(naive)
    for a, b in zip(run(chosen, *case.arguments), run(naive, *case.arguments), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


# --- branches -------------------------------------------------------------------------------------


def test_branches_share_what_they_store_by_type():
    def f(w, v):
        one = lambda: jnp.tanh(w @ v)  # noqa: E731
        other = lambda: jnp.where(w @ v > 0, jnp.sin(w @ (w @ v)), v)  # noqa: E731
        return jax.lax.cond(v[0] > 0, one, other).sum()

    graph = gradient(f, (N, N), (N,))
    forward, backward = (node for node in graph.nodes if node.op.name == "cond")
    assert sorted(str(r.type) for r in forward.results[1:]) == [f"bool[{N}]", *[f"f32[{N}]"] * 2]
    assert len(backward.results) == 2
