"""`vmap` and `map`: lanes, declared States, random numbers."""

from __future__ import annotations

import contextlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir

transform: Any = brainir.transform  # some tests pass what its types forbid


def keys() -> Any:
    return jax.random.key_data(brainir.random.get_key())


def test_axes_go_where_they_are_asked() -> None:
    f = lambda x, y: {"a": x[:, None] * y["k"], "b": x.sum()}  # noqa: E731
    xs, ys = jnp.arange(12.0).reshape(3, 4), {"k": jnp.arange(2.0)}
    for in_axes, out_axes in (
        ((0, None), 0),
        ((1, None), 0),
        ((-1, None), {"a": -1, "b": 0}),
        ([0, {"k": None}], {"a": 1, "b": 0}),
    ):
        expected = jax.vmap(f, in_axes=tuple(in_axes), out_axes=out_axes)(xs, ys)
        for wrap in (lambda g: g, transform.jit):
            found = wrap(transform.vmap(f, in_axes=in_axes, out_axes=out_axes))(xs, ys)
            jax.tree.map(np.testing.assert_array_equal, found, expected)
        with jax.disable_jit():
            found = transform.vmap(f, in_axes=in_axes, out_axes=out_axes)(xs, ys)
        jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_declared_states_hold_one_value_a_lane() -> None:
    state = brainir.HiddenState(jnp.zeros((2, 3)))

    def step(x: Any) -> Any:
        state.value = state.value + x
        return state.value.sum()

    for declared in (state, [state], {"s": state}, {0: state}, {0: {"s": state}}, {0: [state]}):
        state.value = jnp.zeros((2, 3))
        out = transform.vmap(step, in_states=declared)(jnp.array([1.0, 2.0]))
        np.testing.assert_array_equal(out, [3, 6])
        np.testing.assert_array_equal(state.value, [[1] * 3, [2] * 3])
    state.value = jnp.zeros((3, 2))
    for axis in (1, -1):
        transform.vmap(step, in_states={axis: state})(jnp.array([1.0, 2.0]))
        assert state.value.shape == (3, 2)
    np.testing.assert_array_equal(state.value, [[2, 4]] * 3)


def test_a_lane_that_writes_nothing_keeps_what_it_had() -> None:
    count, last = brainir.ShortTermState(jnp.ones(3)), brainir.ShortTermState(jnp.float32(7))

    def visit(x: Any) -> None:
        def write() -> None:
            count.value += x
            last.value = x

        transform.cond(x > 1, write, lambda: None)

    visits = transform.vmap(visit, in_states=count, out_states=[count, last])
    for context, run in (
        (contextlib.nullcontext(), visits),
        (contextlib.nullcontext(), transform.jit(visits)),
        (jax.disable_jit(), visits),
    ):
        count.value, last.value = jnp.ones(3), jnp.float32(7)
        with context:
            run(jnp.array([1.0, 2.0, 3.0]))
        np.testing.assert_array_equal(count.value, [1, 3, 4])
        np.testing.assert_array_equal(last.value, [7, 2, 3])


def test_a_state_declared_for_the_way_out_gains_an_axis() -> None:
    state = brainir.HiddenState(jnp.zeros(3))

    def step(x: Any) -> None:
        state.value = state.value + x

    transform.vmap(step, out_states=state)(jnp.arange(2.0))
    np.testing.assert_array_equal(state.value, [[0] * 3, [1] * 3])


def test_lanes_inside_lanes_strip_one_axis_each() -> None:
    state = brainir.HiddenState(jnp.zeros((2, 3)))

    def inner(x: Any) -> Any:
        state.value = state.value + x
        return state.value

    def outer(xs: Any) -> Any:
        return transform.vmap(inner, in_states=state)(xs)

    xs = jnp.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(transform.vmap(outer, in_states=state)(xs), xs)
    np.testing.assert_array_equal(state.value, xs)


def test_a_lane_independent_write_is_stored_once() -> None:
    state = brainir.HiddenState(jnp.zeros(3))

    def step(x: Any) -> Any:
        state.value = state.value + 1
        return state.value[0] * x

    np.testing.assert_array_equal(transform.vmap(step)(jnp.arange(3.0)), [0, 1, 2])
    np.testing.assert_array_equal(state.value, [1, 1, 1])


def test_a_lane_dependent_write_is_refused_where_it_stands() -> None:
    state = brainir.HiddenState(jnp.zeros(3), name="V")

    def step(x: Any) -> None:
        state.value = state.value * x

    for run in (transform.vmap(step), transform.jit(transform.vmap(step))):
        with pytest.raises(brainir.BatchAxisError, match=r"V .*test_mapping\.py.*out_states"):
            run(jnp.arange(3.0))
    np.testing.assert_array_equal(state.value, np.zeros(3))


def test_every_lane_draws_its_own_numbers_and_the_key_moves_once() -> None:
    def draw(x: Any) -> Any:
        return x + brainir.random.rand() + brainir.random.rand()

    outcomes = []
    for wrap in (lambda f: f, transform.jit):
        brainir.random.seed(5)
        outcomes.append((wrap(transform.vmap(draw))(jnp.zeros(4)), keys()))
    brainir.random.seed(5)
    with jax.disable_jit():
        outcomes.append((transform.vmap(draw)(jnp.zeros(4)), keys()))
    brainir.random.seed(5)
    ks = jax.random.split(brainir.random.get_key(), 5)
    final = jax.random.split(ks[0], 2)[1]
    for values, left in outcomes:
        assert len(set(np.asarray(values).tolist())) == 4
        np.testing.assert_allclose(values, outcomes[0][0], rtol=1e-6)
        np.testing.assert_array_equal(left, jax.random.key_data(final))


def test_map_runs_in_order_or_in_batches() -> None:
    total = brainir.ShortTermState(jnp.zeros(()))

    def run(x: Any) -> Any:
        total.value = total.value + x
        return total.value

    np.testing.assert_array_equal(transform.map(run, jnp.arange(4.0)), [0, 1, 3, 6])
    with pytest.raises(ValueError, match="batch_size=None"):
        transform.map(run, jnp.arange(4.0), batch_size=2)
    assert total.value == 6
    for size in (1, 2, 3, 4, 9):
        found = transform.map(lambda x, y: x * y, jnp.arange(4.0), jnp.arange(4.0), batch_size=size)
        np.testing.assert_array_equal(found, np.arange(4.0) ** 2)
    draws = transform.map(lambda x: x + brainir.random.rand(), jnp.zeros(7), batch_size=3)
    assert len(set(np.asarray(draws).tolist())) == 7


@pytest.mark.parametrize("batch_size", [None, 2])
def test_nothing_to_map_gives_nothing(batch_size: int | None) -> None:
    found = transform.map(lambda x: (x.sum(), x), jnp.zeros((0, 3)), batch_size=batch_size)
    assert [a.shape for a in found] == [(0,), (0, 3)]
    assert transform.vmap(lambda x: x * 2)(jnp.zeros((0, 3))).shape == (0, 3)


def test_while_loops_end_lane_by_lane() -> None:
    def run(x: Any) -> Any:
        steps = brainir.ShortTermState(jnp.int32(0))

        def body(v: Any) -> Any:
            steps.value = steps.value + 1
            return v * 2

        return transform.while_loop(lambda v: v < 10, body, x), steps.value

    values, steps = transform.vmap(run)(jnp.array([1.0, 6.0, 20.0]))
    np.testing.assert_array_equal(values, [16, 12, 20])
    np.testing.assert_array_equal(steps, [4, 1, 0])


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (lambda: transform.vmap(lambda: 1)(), ValueError, "axis_size"),
        (lambda: transform.vmap(lambda x, y: x)(jnp.ones(2), jnp.ones(3)), ValueError, "disagree"),
        (lambda: transform.vmap(lambda x: x, axis_size=3)(jnp.ones(2)), ValueError, "disagree"),
        (lambda: transform.vmap(lambda x: x)(1.0), ValueError, "axis 0"),
        (lambda: transform.vmap(lambda x: x, in_axes=2)(jnp.ones((2, 3))), ValueError, "axis 2"),
        (lambda: transform.vmap(lambda x: x, in_axes=(0, 0))(jnp.ones(2)), ValueError, "in_axes"),
        (lambda: transform.vmap(lambda x: x, out_axes=None)(jnp.ones(2)), ValueError, "out_axes"),
        (lambda: transform.vmap(lambda x: x)(x=jnp.ones(2)), NotImplementedError, "keyword"),
        (lambda: transform.vmap(lambda x: x, in_states=3), TypeError, "not a State"),
        (lambda: transform.map(lambda x: x, jnp.ones(2), batch_size=0), ValueError, "positive"),
        (lambda: transform.map(lambda x: x), ValueError, "length"),
    ],
)
def test_bad_maps_are_refused_clearly(run: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        run()


def test_conflicting_axes_are_refused_at_once() -> None:
    state = brainir.HiddenState(jnp.zeros((2, 2)))
    with pytest.raises(brainir.BatchAxisError, match="axis 0"):
        transform.vmap(lambda x: x, in_states=state, out_states={1: state})


# --- lanes that might draw ------------------------------------------------------------------------

draw = brainir.random.normal
MAYBE: Any = {
    "no lane of a cond": lambda x: transform.cond(x > 9, draw, lambda: x),
    "one lane of a cond": lambda x: transform.cond(x > 1, draw, lambda: x) + draw(),
    "a switch": lambda x: transform.switch(x.astype(int) - 5, [lambda: x, draw, draw]),
    "a while that does not run": lambda x: transform.while_loop(
        lambda v: v < 0, lambda v: v + draw(), x
    ),
    "a while of some lanes": lambda x: transform.while_loop(
        lambda v: v < 2, lambda v: v + 1 + draw() ** 2, x
    ),
    "a loop in a branch": lambda x: transform.cond(
        x > 1, lambda: transform.for_loop(draw, length=2).sum(), lambda: x
    ),
    "lanes in a branch": lambda x: transform.cond(
        x > 1, lambda: transform.vmap(lambda y: y * draw())(jnp.ones(2)).sum(), lambda: x
    ),
    "lanes in lanes": lambda x: transform.vmap(
        lambda y: transform.cond(x + y > 9, draw, lambda: x)
    )(jnp.arange(2.0)).sum(),
    "a key that is only read": lambda x: transform.cond(
        x > 9, lambda: jax.random.uniform(brainir.random.get_key()), lambda: x
    ),
    "a gradient": lambda x: transform.grad(
        lambda y: transform.cond(x > 9, lambda: y * draw(), lambda: y)
    )(x),
    "a compiled branch": transform.jit(lambda x: transform.cond(x > 9, draw, lambda: x)),
}


@pytest.mark.sampled(5)
@pytest.mark.parametrize("name", MAYBE)
def test_a_lane_that_might_draw_splits_the_key_compiled_and_plain(name: str) -> None:
    runs = {
        "vmap": lambda: transform.vmap(MAYBE[name])(jnp.arange(3.0)),
        "map": lambda: transform.map(MAYBE[name], jnp.arange(3.0), batch_size=2),
    }
    for what, run in runs.items():
        brainir.random.seed(5)
        with jax.disable_jit():
            expected, left = run(), keys()
        for wrap in (lambda f: f, transform.jit):
            brainir.random.seed(5)
            np.testing.assert_allclose(wrap(run)(), expected, rtol=1e-5, err_msg=what)
            np.testing.assert_array_equal(keys(), left, err_msg=what)
        brainir.random.seed(5)
        assert not np.array_equal(keys(), left)


def test_a_branch_that_cannot_be_traced_is_passed_by() -> None:
    brainir.random.seed(5)
    before = keys()
    with jax.disable_jit():
        found = transform.vmap(
            lambda x: transform.cond(x > 9, lambda: float("no number"), lambda: x)
        )(jnp.arange(3.0))
    np.testing.assert_array_equal(found, [0, 1, 2])
    np.testing.assert_array_equal(keys(), before)


def test_what_a_branch_creates_that_is_not_taken_is_not_caught() -> None:
    with jax.disable_jit(), brainir.catch_new_states() as caught:
        transform.vmap(lambda x: transform.cond(x > 9, lambda: brainir.State(x).value, lambda: x))(
            jnp.arange(3.0)
        )
    assert len(caught) == 0
