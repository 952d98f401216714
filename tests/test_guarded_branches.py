"""Branches that lanes choose on their own guard their operands: in derivatives, and in loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir import transform
from brainir.ir import get_op, walk
from brainir.passes.guards import HARMLESS


def log_above_zero(x: Any) -> Any:
    return transform.cond(x > 0, jnp.log, lambda x: 0.0 * x, x)


def weighted(w: Any, x: Any) -> Any:
    return transform.cond(x > 0, lambda: w * jnp.log(x), lambda: 0.0 * w)


POINTS = jnp.array([0.0, 0.25])
GRID = jnp.array([[0.0, 0.25], [0.5, 0.0], [0.0, 0.0]])


def assert_as_plain(function: Callable[..., Any], *arguments: Any) -> None:
    """Compare with plain Python, which has numbers: compiled, un-jitted, and inside plain JAX."""
    with jax.disable_jit():
        expected = function(*arguments)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(expected))
    for run in (transform.jit(function), function, jax.jit(function)):
        pairs = zip(jax.tree.leaves(run(*arguments)), jax.tree.leaves(expected), strict=True)
        for found, wanted in pairs:
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def total(f: Callable[..., Any], *axes: Any) -> Callable[..., Any]:
    return lambda *args: transform.vmap(f, in_axes=axes or 0)(*args).sum()


def test_a_zero_gets_no_slope_from_the_branch_that_it_does_not_take():
    slopes = transform.grad(total(log_above_zero))(POINTS)
    np.testing.assert_allclose(slopes, [0, 4])
    np.testing.assert_allclose(jax.grad(total(log_above_zero))(POINTS), [0, 4])


@pytest.mark.parametrize("points", [POINTS, 0 * POINTS], ids=["some", "none"])
def test_what_lanes_share_gets_no_slope_from_lanes_outside(points):
    assert_as_plain(
        transform.grad(total(weighted, None, 0), argnums=(0, 1)), jnp.float32(2), points
    )


def test_a_branch_that_no_lane_takes_may_have_no_slope_along_what_lanes_share():
    def lane(w: Any, x: Any) -> Any:
        return transform.cond(x > 5, lambda: jnp.log(w) / x, lambda: x)

    assert_as_plain(transform.grad(total(lane, None, 0)), jnp.float32(0), POINTS)


def test_a_matrix_that_lanes_share_is_neither_repeated_nor_harmed():
    def lane(w: Any, x: Any) -> Any:
        return transform.cond(x.sum() > 0, lambda: (w @ jnp.log(x)).sum(), lambda: x.sum())

    slope = transform.grad(total(lane, None, 0))
    xs = jnp.array([[0.0, 0.0, 0.0], [1.0, 2.0, 0.5]])
    assert_as_plain(slope, jnp.ones((3, 3)), xs)
    graph = transform.jit(slope).trace(jnp.ones((3, 3)), xs).graph(stage="dead-code")
    assert max(result.type.size for node in walk(graph) for result in node.results) == 9


def test_whole_numbers_are_guarded_too():
    def lane(w: Any, n: Any) -> Any:
        return transform.cond(n > 0, lambda: w / n.astype(w.dtype), lambda: 0.0 * w)

    assert_as_plain(transform.grad(total(lane, None, 0)), jnp.float32(2), jnp.arange(3))


def test_every_branch_of_a_switch_is_guarded():
    branches = [jnp.log, jnp.sqrt, lambda x: 1 / x, lambda x: x]
    run = total(lambda i, x: transform.switch(i, branches, x))
    points = jnp.array([1.0, 0.1, 2.0, 0.0])
    assert_as_plain(transform.grad(lambda x: run(jnp.arange(4), x)), points)


def test_batches_of_a_map_are_guarded():
    run = lambda x: transform.map(log_above_zero, x, batch_size=2).sum()  # noqa: E731
    assert_as_plain(transform.grad(run), jnp.array([0.0, 0.25, 0.0, 1.0, 0.0]))


def test_lanes_in_lanes_are_guarded():
    assert_as_plain(transform.grad(total(total(log_above_zero))), GRID)

    def lane(w: Any, x: Any, y: Any) -> Any:
        return transform.cond(x > y, lambda: w * jnp.log(x - y), lambda: 0.0 * w)

    for axes in ((None, 0, None), (None, None, 0), (0, 0, 0), (0, None, 0)):
        around = total(total(lane, None, 0, 0), *axes)
        shapes = [jnp.array([0.0, 0.25]) if axis is None else GRID for axis in axes[1:]]
        weight = jnp.float32(2) if axes[0] is None else jnp.array([1.0, 2.0, 0.0])
        assert_as_plain(transform.grad(around, argnums=(0, 1, 2)), weight, *shapes)


def test_branches_in_branches_and_in_loops_are_guarded():
    def lane(w: Any, x: Any) -> Any:
        def step(c: Any, t: Any) -> Any:
            deep = lambda: transform.cond(  # noqa: E731
                c > 0.3, lambda: w * jnp.log(c - 0.3), lambda: jnp.sqrt(c)
            )
            c = transform.cond(c > 0, deep, lambda: c + 0.0 * w) + t
            return c, c

        return transform.scan(step, x, jnp.array([0.0, 0.2, -0.1]))[0]

    points = jnp.array([0.0, 0.3, 2.0, 0.25])
    assert_as_plain(transform.grad(total(lane, None, 0), argnums=(0, 1)), jnp.float32(1.2), points)


def test_second_and_forward_derivatives_are_guarded():
    square = lambda w, x: weighted(w, x) ** 2  # noqa: E731
    slope = transform.grad(total(square, None, 0), argnums=(0, 1))
    two = jnp.float32(2)
    curve = lambda w, x: sum(s.sum() for s in slope(w, x))  # noqa: E731
    assert_as_plain(transform.grad(curve, argnums=(0, 1)), two, POINTS)
    assert_as_plain(transform.grad(total(transform.grad(log_above_zero))), POINTS)
    pushed = lambda w, x: jax.jvp(slope, (w, x), (w, jnp.ones(2)))  # noqa: E731
    assert_as_plain(pushed, two, POINTS)


def test_states_that_branches_write_are_guarded():
    weight, held = brainir.ParamState(jnp.float32(2)), brainir.HiddenState(POINTS)

    def lane() -> Any:
        def write() -> None:
            held.value = weight.value * jnp.log(held.value)

        transform.cond(held.value > 0, write, lambda: None)
        return held.value

    def loss() -> Any:
        held.value = POINTS
        return transform.vmap(lane, in_states=held, axis_size=2)().sum()

    slope = transform.grad(loss, grad_states=weight)
    np.testing.assert_allclose(transform.jit(slope)(), np.log(0.25), rtol=1e-6)


def test_a_lane_that_has_left_a_loop_has_the_slope_that_it_left_with():
    def lane(x: Any) -> Any:
        step = lambda c: (c[0] - 0.25, c[1] + jnp.sqrt(c[0] - 0.125))  # noqa: E731
        return transform.while_loop(lambda c: c[0] > 0.125, step, (x, x))[1]

    points = jnp.array([0.125, 0.25, 0.5])
    pushed = lambda x: jax.jvp(transform.vmap(lane), (x,), (jnp.ones(3),))  # noqa: E731
    assert_as_plain(pushed, points)


def test_nothing_is_guarded_where_nothing_is_differentiated():
    run = lambda w, x: transform.vmap(lambda x: weighted(w, x))(x)  # noqa: E731
    graph = transform.jit(run).trace(jnp.float32(2), POINTS).graph(stage="expand-vmap")
    names = [node.op.name for node in walk(graph)]
    assert names.count("select_n") == 1
    assert {"stop_gradient", "argmax", "reduce_or", "not", "and"}.isdisjoint(names)


def test_what_is_harmless_is_an_op():
    assert all(get_op(name).name == name for name in HARMLESS)


# --- loops in branches ----------------------------------------------------------------------------


def doubled(x: Any) -> Any:
    return transform.while_loop(lambda v: v < 1, lambda v: v * 2, x)


def test_a_loop_in_a_branch_runs_only_for_lanes_that_take_it():
    """Doubling what is not above zero would have no end."""
    run = transform.vmap(lambda x: transform.cond(x > 0, doubled, lambda x: x, x))
    assert_as_plain(run, jnp.array([0.0, 0.25, 0.1, -1.0]))


@pytest.mark.parametrize("shared", [0.0, 0.3])
def test_a_loop_over_what_lanes_share_ends_if_no_lane_is_there(shared):
    def lane(n: Any, x: Any) -> Any:
        loops = lambda: transform.for_loop(lambda i: doubled(n) + i, jnp.arange(2.0)).sum()  # noqa: E731
        return transform.cond(x > 0, loops, lambda: x)

    points = jnp.array([0.0, -1.0, shared])
    assert_as_plain(transform.vmap(lane, in_axes=(None, 0)), jnp.float32(shared), points)


def test_loops_in_branches_in_loops_in_lanes_of_lanes_end():
    def step(c: Any) -> Any:
        k, x = c
        return k + 1, transform.cond(x > 0, lambda: doubled(x) - 0.9, lambda: x + 0.125)

    lane = lambda x: transform.while_loop(lambda c: c[0] < 3, step, (0, x))[1]  # noqa: E731
    run = transform.vmap(transform.vmap(lane))
    assert_as_plain(run, jnp.array([[0.0, 0.25, 0.1, -1.0], [-1.0, -1.0, -2.0, 3.0]]))
