"""Gradients with a budget of memory: the same numbers, fewer bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import brainir
from brainir.ir import parse, walk
from brainir.passes import expand_grad
from brainir.passes.memory_budget import Kept

for_loop, grad, jit = brainir.transform.for_loop, brainir.transform.grad, brainir.transform.jit
vector_grad, vmap = brainir.transform.vector_grad, brainir.transform.vmap
STEPS, WIDTH = 60, 16
spike = brainir.surrogate.ReluGrad()


def gradient(memory: Any, steps: int = STEPS, **how: Any) -> tuple[Any, Any]:
    """Return the gradient function of a recurrent net, and its input."""
    key = jax.random.key(0)
    inner = brainir.ParamState(jax.random.normal(key, (WIDTH, WIDTH)) / 4)
    outer = brainir.ParamState(jax.random.normal(key, (WIDTH, WIDTH)) / 4)

    def loss(xs: Any) -> Any:
        V, S = (brainir.HiddenState(jnp.zeros(WIDTH)) for _ in range(2))
        count = brainir.ShortTermState(jnp.int32(0))

        def step(x: Any) -> Any:
            v = 0.9 * V.value + x @ inner.value + jnp.tanh(S.value) @ outer.value
            S.value = spike(v - 0.5)
            V.value = v - S.value
            count.value += 1
            return V.value.sum() + S.value.sum()

        return (for_loop(step, xs) ** 2).mean()

    xs = jax.random.normal(jax.random.key(1), (steps, WIDTH))
    return grad(loss, grad_states=[inner, outer], memory=memory, **how), xs


def temporary(function: Any, *args: Any) -> int:
    """Return the bytes that XLA plans for a function beside arguments and results."""
    return jit(function).lower(*args).compile().memory_analysis().temp_size_in_bytes


@pytest.mark.sampled(5)
@pytest.mark.parametrize("memory", [0.5, 0.1, 1e-3, 2000, "4KiB", "0.01MB"])
@pytest.mark.parametrize("steps", [1, 2, 7, 60])
def test_gradients_stay_the_same(memory, steps):
    plain, xs = gradient(None, steps)
    within, _ = gradient(memory, steps)
    for a, b in zip(jit(plain)(xs), jit(within)(xs), strict=True):
        np.testing.assert_allclose(b, a, rtol=2e-5, atol=1e-6)


def test_less_is_kept_and_a_budget_that_is_not_needed_changes_nothing():
    sizes = [temporary(*gradient(memory, 1000)) for memory in (None, 0.5, 0.1)]
    assert sizes[1] < 0.7 * sizes[0]
    assert sizes[2] < 0.35 * sizes[0]

    def loops(memory: Any) -> list[int]:
        function, xs = gradient(memory)
        graph = jit(function).trace(xs).graph()
        return [node.attrs["length"] for node in walk(graph) if node.op.name == "for_loop"]

    assert loops("1GB") == loops(None)
    assert loops(0.1) != loops(None)


def test_values_aux_and_lanes_come_along():
    function, xs = gradient(0.1, return_value=True)
    plain, _ = gradient(None, return_value=True)
    batch = jnp.stack([xs, -xs, 2 * xs])
    found, expected = jit(vmap(function))(batch), jit(vmap(plain))(batch)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5 * float(np.abs(b).max()))


def test_vector_grad_and_loops_in_loops():
    def function(x: Any) -> Any:
        v = brainir.HiddenState(x)

        def inner(k: Any) -> None:
            v.value = jnp.sin(v.value + k)

        def outer(k: Any) -> Any:
            for_loop(inner, jnp.arange(5.0) * k)
            return v.value

        return for_loop(outer, jnp.arange(12.0)).sum(0)

    x = jnp.linspace(0.0, 1.0, 4)
    expected = vector_grad(function)(x)
    np.testing.assert_allclose(vector_grad(function, memory=0.2)(x), expected, rtol=1e-5)
    with jax.disable_jit():
        np.testing.assert_allclose(vector_grad(function, memory=0.2)(x), expected, rtol=1e-5)


@given(st.integers(2, 500), st.integers(1, 300), st.integers(1, 300), st.floats(0.01, 1.2))
def test_the_largest_groups_that_fit_are_taken(length, step, start, part):
    kept = Kept(length, step, start)
    base = kept.base(part * kept.whole)
    if part >= 1:
        assert base is None
    elif base is not None:
        assert 1 < base < length
        assert kept.in_groups(base) < kept.whole
        larger = [size for size in range(base + 1, length) if length % size == 0]
        sizes: Sequence[int] = [s for s in larger if s * s >= length]
        fits = kept.in_groups(base) <= part * kept.whole
        assert not fits or all(kept.in_groups(s) > part * kept.whole for s in sizes)


def test_the_budget_is_an_attribute_of_the_graph():
    graph = parse("""
graph @f(%x: f32[4], %a: f32[64,4]) -> (f32[4]) {
  %g, %y = grad (%v = %x) {wrt=(0,), states=(), losses=1, memory=0.25} : f32[4], f32[] do {
    %last = for_loop carry(%u = %v) over(%b = %a) {length=64} do {
      %s = sin %u
      %t = mul %s, %b
      yield %t
    }
    %sum = reduce_sum %last {axes=(0,)}
    yield %sum
  }
  return %g
}""")
    assert "memory=0.25" in str(graph)
    assert str(parse(str(graph))) == str(graph)
    lengths = [n.attrs["length"] for n in walk(expand_grad(graph)) if n.op.name == "for_loop"]
    assert max(lengths) < 64


@pytest.mark.parametrize("memory", [0, -1, 1.5, True, "much", "5 bytes", "-3MB", float("nan")])
def test_what_is_no_budget_is_refused(memory):
    with pytest.raises(ValueError, match="memory is a number of bytes"):
        grad(lambda x: x, memory=memory)
