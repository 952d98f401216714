"""Loops with a bound, and checkpoints: values, gradients, lanes, States, and what is refused."""

from __future__ import annotations

from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir import transform
from brainir.ir import walk

WAYS = {"plain": lambda f: f, "jit": transform.jit, "jax.jit": jax.jit}


def by_hand(x: float, bound: float, max_steps: int) -> tuple[float, int]:
    """Double until a bound is reached, in Python."""
    steps = 0
    while x < bound and steps < max_steps:
        x, steps = 2 * x, steps + 1
    return x, steps


@pytest.mark.sampled(4)
@pytest.mark.parametrize("base", [2, 3, 16])
@pytest.mark.parametrize("max_steps", [0, 1, 2, 3, 7, 16, 17])
@pytest.mark.parametrize("way", WAYS)
def test_a_bounded_loop_stops_by_its_condition_or_its_bound(
    way: str, max_steps: int, base: int
) -> None:
    run = WAYS[way](
        lambda x: transform.bounded_while_loop(
            lambda x: x < 100.0, lambda x: 2 * x, x, max_steps=max_steps, base=base
        )
    )
    for start in (3.0, 99.0, 100.0):
        assert float(run(start)) == by_hand(start, 100.0, max_steps)[0]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("max_steps", [4, 9, 20])
def test_gradients_and_lanes_of_a_bounded_loop(max_steps: int) -> None:
    def run(x: Any) -> Any:
        return transform.bounded_while_loop(
            lambda x: x < 100.0, lambda x: 2 * x, x, max_steps=max_steps, base=2
        )

    starts = jnp.array([3.0, 60.0, 200.0, 12.5])
    expected = [by_hand(float(x), 100.0, max_steps) for x in starts]
    np.testing.assert_array_equal(transform.vmap(run)(starts), [x for x, _ in expected])
    slopes = transform.grad(lambda xs: transform.vmap(run)(xs).sum())(starts)
    np.testing.assert_array_equal(slopes, [2.0**steps for _, steps in expected])
    for x, (_, steps) in zip(starts, expected, strict=True):
        assert float(transform.jit(transform.grad(run))(x)) == 2.0**steps
    with jax.disable_jit():
        np.testing.assert_array_equal([run(x) for x in starts], [x for x, _ in expected])


def test_a_bounded_loop_carries_states_units_and_structures() -> None:
    count = brainir.State(jnp.int32(0))
    noise = brainir.random.RandomState(1)

    def step(val: Any) -> Any:
        count.value = count.value + 1
        noise.uniform()
        return {"v": val["v"] * 2, "n": val["n"] + 1}

    def run(v: Any) -> Any:
        return transform.bounded_while_loop(
            lambda val: val["v"] < 10.0 * u.mV, step, {"v": v, "n": 0}, max_steps=50, base=3
        )

    found = transform.jit(run)(1.0 * u.mV)
    assert found["v"] == 16.0 * u.mV
    assert int(found["n"]) == int(count.value) == 4
    again = brainir.random.RandomState(1)
    for _ in range(4):
        again.uniform()
    assert jax.random.key_data(noise.value).tolist() == jax.random.key_data(again.value).tolist()


def test_what_a_bounded_loop_refuses() -> None:
    state = brainir.State(jnp.float32(0))

    def writes(x: Any) -> Any:
        state.value = x
        return x < 1

    def run(cond_fun: Any = lambda x: x < 1, body: Any = lambda x: x + 1, **options: Any) -> Any:
        return transform.bounded_while_loop(cond_fun, body, 0.0, **{"max_steps": 3, **options})

    with pytest.raises(ValueError, match="condition of bounded_while_loop writes"):
        run(writes)
    with pytest.raises(TypeError, match="condition of bounded_while_loop must return one boolean"):
        run(lambda x: x)
    for wrong in (-1, 2.0, True, np.int64(3)):
        with pytest.raises(ValueError, match="max_steps of bounded_while_loop"):
            run(max_steps=wrong)
    for wrong in (1, 2.0, True):
        with pytest.raises(ValueError, match="base of bounded_while_loop"):
            run(base=wrong)
    with pytest.raises(TypeError, match="body_fun of bounded_while_loop must be callable"):
        run(body=3)
    assert state.value == 0


@pytest.mark.parametrize("way", ["plain", "jit", "disable_jit"])
def test_a_checkpoint_changes_no_value_and_no_gradient(way: str) -> None:
    weight, total = brainir.ParamState(jnp.array([0.5, 2.0])), brainir.State(jnp.zeros(2))

    def layer(x: Any, gain: Any) -> Any:
        total.value = total.value + x
        return jnp.sin(jnp.cos(weight.value * x) * gain) + brainir.random.normal(size=2)

    def loss(wrap: Any) -> Any:
        def run(x: Any) -> Any:
            ys = transform.for_loop(lambda y: wrap(layer)(y, gain=2.0), x)
            return jnp.sum(ys**2)

        return transform.grad(run, weight, 0, return_value=True)

    found = []
    xs = jnp.linspace(-1.0, 1.0, 6).reshape(3, 2)
    for wrap in (lambda f: f, transform.checkpoint, transform.remat(prevent_cse=False)):
        brainir.random.seed(0)
        total.value = jnp.zeros(2)
        run = loss(wrap)
        with jax.disable_jit(way == "disable_jit"):
            result = WAYS.get(way, WAYS["plain"])(run)(xs)
        found.append((result, total.value, brainir.random.get_key()))
    for other in found[1:]:
        for one, two in zip(jax.tree.leaves(found[0]), jax.tree.leaves(other), strict=True):
            if jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
                one, two = jax.random.key_data(one), jax.random.key_data(two)
            np.testing.assert_allclose(one, two, rtol=1e-6)


def test_a_checkpoint_stands_in_the_graph_and_goes_with_a_policy_that_keeps_all() -> None:
    policies = jax.checkpoint_policies
    for policy, count in (
        (None, 1),
        (policies.nothing_saveable, 1),
        (policies.everything_saveable, 0),
    ):
        run = transform.checkpoint(jnp.sin, policy=policy)
        graph = transform.jit(lambda x, run=run: run(x)).trace(1.0).graph("capture")
        assert sum(node.op.name == "checkpoint" for node in walk(graph)) == count
    with pytest.raises(NotImplementedError, match="keeps everything or nothing"):
        transform.checkpoint(jnp.sin, policy=policies.dots_saveable)
    with pytest.raises(TypeError, match="checkpoint must be callable"):
        transform.checkpoint(3)
    with pytest.raises(ValueError, match="static_argnums"):
        transform.checkpoint(jnp.sin, static_argnums=-1)
    power = transform.checkpoint(lambda x, n: x**n, static_argnums=1)
    assert transform.grad(lambda x: power(x, 3))(2.0) == 12.0
