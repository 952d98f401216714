"""`cond` and `switch`."""

from __future__ import annotations

from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir

transform: Any = brainir.transform  # some tests pass what its types forbid


@pytest.mark.parametrize("pred", [True, False, 1, 0, 2.5, 0.0, jnp.nan, np.bool_(True)])
def test_numbers_count_as_true_unless_they_are_zero(pred: Any) -> None:
    found = transform.cond(pred, lambda x: x + 1, lambda x: x - 1, 10.0)
    assert found == (11 if pred else 9)


def test_untaken_branches_leave_states_alone() -> None:
    a, b = brainir.State(jnp.zeros(2)), brainir.State(jnp.zeros(3))

    def write_a() -> Any:
        a.value = a.value + b.value[:2] + 1
        return jnp.float32(1)

    def write_b() -> Any:
        b.value = b.value + a.value.sum() + 10
        return jnp.float32(2)

    run = transform.jit(lambda p: transform.cond(p, write_a, write_b))
    assert (run(True), run(False)) == (1, 2)
    np.testing.assert_array_equal(a.value, [1, 1])
    np.testing.assert_array_equal(b.value, [12, 12, 12])


def test_random_numbers_are_drawn_in_the_taken_branch_only() -> None:
    brainir.random.seed(3)
    start = jax.random.key_data(brainir.random.get_key())
    draw, stay = (lambda: brainir.random.rand(2)), (lambda: jnp.zeros(2))
    transform.cond(False, draw, stay)
    np.testing.assert_array_equal(jax.random.key_data(brainir.random.get_key()), start)
    found = transform.cond(True, draw, stay)
    brainir.random.seed(3)
    np.testing.assert_array_equal(found, brainir.random.rand(2))


@pytest.mark.parametrize(("index", "expected"), [(-5, 0), (0, 0), (1, 10), (2, 20), (9, 20)])
def test_switch_clamps_its_index(index: int, expected: int) -> None:
    branches = [lambda x, k=k: x * 0 + 10 * k for k in range(3)]
    for run in (lambda f: f, transform.jit):
        assert run(lambda i: transform.switch(i, branches, 1.0))(index) == expected
    with jax.disable_jit():
        assert transform.switch(index, branches, 1.0) == expected


def test_one_branch_is_simply_called() -> None:
    assert transform.switch(7, [lambda: "text"]) == "text"


def test_weak_numbers_take_the_type_of_the_other_branch() -> None:
    found = transform.cond(True, lambda: 1, lambda: jnp.float32(2))
    assert found.dtype == jnp.float32
    assert transform.cond(False, lambda: 1, lambda: 2.5) == 2.5


def test_none_and_pytrees_pass_through() -> None:
    found = transform.cond(True, lambda x: {"a": (x, None)}, lambda x: {"a": (x, None)}, None)
    assert found == {"a": (None, None)}


def test_plain_python_runs_one_branch_and_may_return_anything() -> None:
    with jax.disable_jit():
        assert transform.cond(jnp.bool_(True), lambda: "text", lambda: 3) == "text"


def test_a_lane_dependent_branch_selects_states_by_lane() -> None:
    state = brainir.HiddenState(jnp.zeros(4))

    def write(x: Any) -> Any:
        def add() -> Any:
            state.value = state.value + x
            return x

        return transform.cond(x > 1, add, lambda: -x)

    out = transform.vmap(write, in_states=state)(jnp.arange(4.0))
    np.testing.assert_array_equal(out, [0, -1, 2, 3])
    np.testing.assert_array_equal(state.value, [0, 0, 2, 3])


def _write(value: Any) -> Any:
    def branch(state: Any = brainir.State(jnp.zeros(2))) -> None:
        state.value = value

    return branch


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: transform.cond(None, lambda: 1, lambda: 2), "scalar"),
        (lambda: transform.cond(jnp.ones(1), lambda: 1, lambda: 2), "scalar"),
        (lambda: transform.cond("yes", lambda: 1, lambda: 2), "scalar"),
        (lambda: transform.cond(1j, lambda: 1, lambda: 2), "scalar"),
        (lambda: transform.cond(True, 1, lambda: 2), "callable"),
        (lambda: transform.cond(True, lambda: 1.0, lambda: jnp.ones(2)), r"float32\[2\]"),
        (lambda: transform.cond(True, lambda: 1.0, lambda: (1.0,)), "must return the same"),
        (
            lambda: transform.cond(True, lambda: 1 * u.mV, lambda: 1 * u.volt),
            "must return the same",
        ),
        (lambda: transform.cond(True, lambda: jnp.int32(1), lambda: jnp.float32(1)), "int32"),
        (lambda: transform.cond(True, _write(jnp.zeros(3)), lambda: None), "leave .*State"),
        (lambda: transform.switch(1.0, [lambda: 1, lambda: 2]), "integer"),
        (lambda: transform.switch(True, [lambda: 1, lambda: 2]), "integer"),
        (lambda: transform.switch(0, [lambda: 1, 2]), "callable"),
    ],
)
def test_bad_branches_are_refused_clearly(run: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        run()


def test_switch_needs_branches() -> None:
    with pytest.raises(ValueError, match="at least one"):
        transform.switch(0, [])


# --- types that branches agree on -----------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda f: f, transform.jit])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64", "int8"])
def test_branches_join_the_types_that_they_leave_in_states(wrap: Any, dtype: str) -> None:
    for pred in (True, False):
        strong: brainir.State[Any] = brainir.State(jnp.ones((), dtype))
        weak: brainir.State[Any] = brainir.State(7)

        def reset(strong: Any = strong) -> None:
            strong.value = 0

        def add(strong: Any = strong, weak: Any = weak) -> None:
            strong.value = strong.value + 1
            weak.value = strong.value * 2  # the other branch leaves a Python number

        wrap(lambda p, a=reset, b=add: transform.cond(p, a, b))(pred)
        assert strong.value.dtype == dtype
        assert weak.value.dtype == dtype
        assert (strong.value, weak.value) == ((0, 7) if pred else (2, 4))


def test_branches_join_numbers_with_units_in_states() -> None:
    for index, expected in enumerate([0.0, 1.5, 4.0]):
        v = brainir.State(jnp.float32(4) * u.mV)
        branches = [
            lambda v=v: setattr(v, "value", u.Quantity(0, unit=u.mV)),
            lambda v=v: setattr(v, "value", u.Quantity(1.5, unit=u.mV)),
            lambda: None,
        ]
        transform.switch(index, branches)
        assert v.value / u.mV == expected
        assert v.value.mantissa.dtype == jnp.float32


def test_results_of_branches_do_not_depend_on_their_order() -> None:
    weak, half = lambda: 0.5, lambda: jnp.bfloat16(2)
    orders: list[list[Any]] = [
        [lambda: 0, weak, half],
        [half, weak, lambda: 0],
        [weak, half, lambda: 3],
    ]
    for order in orders:
        assert transform.switch(0, order).dtype == jnp.bfloat16
    for order in ([weak, lambda: jnp.float32(1), half], [half, lambda: jnp.float32(1), weak]):
        with pytest.raises(TypeError, match="must return the same"):
            transform.switch(0, order)


def test_strong_types_in_states_are_not_joined() -> None:
    state: brainir.State[Any] = brainir.State(jnp.float32(1))
    with pytest.raises(TypeError, match="must leave an unnamed State alike"):
        transform.cond(True, lambda: setattr(state, "value", jnp.bfloat16(1)), lambda: None)
    assert state.value == 1
    assert jnp.result_type(state.value) == jnp.float32


INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int4", "uint4"]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_an_index_of_every_integer_dtype_is_clamped(dtype: str, count: int) -> None:
    info = jnp.iinfo(dtype)
    values = [int(info.min), 0, 1, 2, int(info.max)]
    run = lambda i: transform.switch(i, [lambda k=k: k for k in range(count)])  # noqa: E731
    expected = [min(max(value, 0), count - 1) for value in values]
    indices = jnp.array(values, dtype)
    assert [int(run(i)) for i in indices] == expected
    assert [int(transform.jit(run)(i)) for i in indices] == expected
    np.testing.assert_array_equal(transform.vmap(run)(indices), expected)
    with jax.disable_jit():
        assert [int(run(i)) for i in indices] == expected


def test_an_index_of_64_bits_is_clamped_as_it_is() -> None:
    run = lambda i: transform.switch(i, [lambda k=k: k for k in range(3)])  # noqa: E731
    values = [2**63 - 1, -(2**63), 2**33 + 1, -(2**33) + 1, 1]
    expected = [2, 0, 2, 0, 1]
    assert [int(run(np.int64(value))) for value in values] == expected
    assert [int(run(np.array(value))) for value in values] == expected
    assert [int(run(value * 2**40)) for value in values[:4]] == expected[:4]
    with jax.enable_x64(True):
        assert [int(transform.jit(run)(jnp.int64(value))) for value in values] == expected
        np.testing.assert_array_equal(
            transform.vmap(run)(jnp.array([0, 1, 2**32, 2**64 - 1], jnp.uint64)), [0, 1, 2, 2]
        )


@pytest.mark.parametrize("index", [True, np.bool_(True), 1.0, jnp.zeros(1, int), "1", None])
def test_what_is_no_integer_is_no_index(index: Any) -> None:
    with pytest.raises(TypeError, match="the index of switch must be"):
        transform.switch(index, [lambda: 1, lambda: 2])


def test_a_dtype_may_be_too_small_for_the_last_branch() -> None:
    run = lambda i: transform.switch(i, [lambda k=k: k for k in range(200)])  # noqa: E731
    np.testing.assert_array_equal(
        transform.vmap(run)(jnp.array([-128, 0, 5, 127], jnp.int8)), [0, 0, 5, 127]
    )
