"""Where lanes meet: JAX's collectives over the lanes of our mappings, and `unvmap`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import brainir

transform: Any = brainir.transform
RING = [(0, 1), (1, 2), (2, 0)]
XS = jnp.arange(27.0).reshape(3, 3, 3)
LANES = jnp.array([1.0, 2.0, 3.0])

COLLECTIVES: dict[str, Any] = {
    "psum": lambda x: lax.psum(x, "i"),
    "pmean": lambda x: lax.pmean(x, "i"),
    "pmax": lambda x: lax.pmax(x, "i"),
    "pmin": lambda x: lax.pmin(x, "i"),
    "all_gather": lambda x: lax.all_gather(x, "i", axis=1),
    "all_gather, tiled": lambda x: lax.all_gather(x, "i", tiled=True),
    "ppermute": lambda x: lax.ppermute(x, "i", RING),
    "psum_scatter": lambda x: lax.psum_scatter(x, "i"),
    "psum_scatter, tiled": lambda x: lax.psum_scatter(x, "i", tiled=True),
    "all_to_all": lambda x: lax.all_to_all(x, "i", 0, 1),
    "all_to_all, tiled": lambda x: lax.all_to_all(x, "i", 1, 0, tiled=True),
    "axis_index": lambda x: x * lax.axis_index("i").astype(x.dtype),
    "axis_size": lambda x: x * lax.axis_size("i"),
}


@pytest.mark.parametrize("name", COLLECTIVES)
def test_collectives_mean_what_jax_means(name: str) -> None:
    function = COLLECTIVES[name]
    expected = jax.vmap(function, axis_name="i")(XS)
    mapped = transform.vmap(function, axis_name="i")
    for run in (mapped, transform.jit(mapped)):
        np.testing.assert_allclose(run(XS), expected, rtol=1e-6)
    with jax.disable_jit():
        np.testing.assert_allclose(mapped(XS), expected, rtol=1e-6)


def test_a_lane_that_nobody_sends_to_gets_zeros() -> None:
    shift = transform.vmap(lambda x: lax.ppermute(x, "i", [(0, 1), (1, 2)]), axis_name="i")
    np.testing.assert_array_equal(shift(LANES), [0, 1, 2])


def test_names_of_nested_lanes_are_told_apart() -> None:
    ys = jnp.arange(12.0).reshape(3, 4)

    def both(x: Any) -> Any:
        index = lax.axis_index(("i", "j")).astype(x.dtype)
        return lax.psum(x, ("i", "j")) + index + lax.pmean(x, "j")

    inner = lambda x: lax.psum(x, "i")  # noqa: E731

    def nested(vmap: Any) -> Any:
        return vmap(vmap(both, axis_name="j"), axis_name="i")(ys)

    def shadowed(vmap: Any) -> Any:
        return vmap(lambda r: vmap(inner, axis_name="i")(r) + inner(r), axis_name="i")(ys)

    for run in (nested, shadowed):
        np.testing.assert_allclose(run(transform.vmap), run(jax.vmap), rtol=1e-6)


def test_gradients_inside_and_around_lanes_that_meet() -> None:
    def loss(x: Any) -> Any:
        gathered = lax.all_gather(x, "i")[1] * x + lax.ppermute(x**3, "i", RING)
        return lax.psum(x**2, "i") * x + gathered

    expected = jax.vmap(jax.grad(loss), axis_name="i")(LANES)
    np.testing.assert_allclose(
        transform.vmap(transform.grad(loss), axis_name="i")(LANES), expected, rtol=1e-6
    )
    total = lambda vmap: lambda xs: vmap(loss, axis_name="i")(xs).sum()  # noqa: E731
    np.testing.assert_allclose(
        transform.grad(total(transform.vmap))(LANES), jax.grad(total(jax.vmap))(LANES), rtol=1e-6
    )


def test_lanes_meet_in_loops_and_branches() -> None:
    def lane(x: Any) -> Any:
        step = lambda c, _: (c + lax.psum(x * c, "i"), lax.axis_index("i"))  # noqa: E731
        last, numbers = transform.scan(step, x, None, length=2)
        return last, numbers, transform.cond(x > 1, lambda: lax.pmax(x, "i"), lambda: x)

    last, numbers, chosen = transform.vmap(lane, axis_name="i")(LANES)
    expected = np.asarray(LANES)
    for _ in range(2):
        expected = expected + (np.asarray(LANES) * expected).sum()
    np.testing.assert_allclose(last, expected)
    np.testing.assert_array_equal(numbers, [[0, 0], [1, 1], [2, 2]])
    np.testing.assert_array_equal(chosen, [1, 3, 3])


def test_what_lanes_sum_is_the_same_for_all_so_that_a_state_holds_it() -> None:
    state = brainir.State(jnp.float32(0))

    def lane(x: Any) -> Any:
        state.value = state.value + lax.psum(x, "i")
        return x

    transform.vmap(lane, axis_name="i")(LANES)
    transform.vmap2(lane, axis_name="i")(LANES)
    assert state.value == 12


@pytest.mark.parametrize("op", ["any", "all", "max", "none"])
def test_unvmap_reduces_over_all_lanes_around(op: str) -> None:
    rows = jnp.arange(6.0).reshape(2, 3)
    reduce = {"any": jnp.any, "all": jnp.all, "max": jnp.max, "none": lambda x: x}[op]
    prepare = (lambda x: x > 1) if op in ("any", "all") else (lambda x: x)
    lane = lambda x: transform.unvmap(prepare(x), op)  # noqa: E731
    expected = reduce(prepare(rows))
    for vmap in (transform.vmap, transform.vmap2, jax.vmap):
        found = vmap(vmap(lane))(rows)
        assert found.shape == (2, 3, *expected.shape)
        np.testing.assert_array_equal(found[1, 2], expected)
    with jax.disable_jit():
        np.testing.assert_array_equal(transform.vmap(transform.vmap(lane))(rows)[1, 2], expected)
    np.testing.assert_array_equal(transform.unvmap(prepare(rows), op), expected)


def test_unvmap_has_no_derivative_and_no_other_op() -> None:
    for grad in (transform.grad, jax.grad):
        with pytest.raises(NotImplementedError, match="unvmap_max"):
            grad(lambda x: transform.unvmap(x, "max"))(1.0)
    with pytest.raises(ValueError, match="not 'min'"):
        transform.unvmap(jnp.ones(2), "min")
