"""`ifelse`: one of several branches, each with a condition of its own."""

from __future__ import annotations

from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir

transform: Any = brainir.transform
THREE = [lambda: 1, lambda: 2, lambda: 3]


def plainly(function: Any) -> Any:
    def run(*args: Any) -> Any:
        with jax.disable_jit():
            return function(*args)

    return run


AROUND = pytest.mark.parametrize("around", [lambda f: f, transform.jit, plainly])


def steps(x: Any) -> Any:
    """Return a function of three pieces."""
    conditions = [x >= 2, jnp.logical_and(x >= 1, x < 2), x < 1]
    return transform.ifelse(conditions, [lambda x: 3 * x, lambda x: x**2, lambda x: -x], x)


def pieces(x: Any) -> Any:
    """Return the same in numpy."""
    return np.where(x >= 2, 3 * x, np.where(x >= 1, x**2, -x))


XS = np.array([0.5, 1.5, 2.5, 1.0, 2.0], np.float32)


@AROUND
def test_the_branch_whose_condition_is_true_runs(around: Any) -> None:
    run = around(steps)
    np.testing.assert_array_equal([run(x) for x in XS], pieces(XS))


@AROUND
def test_it_nests_in_other_transformations(around: Any) -> None:
    np.testing.assert_array_equal(around(transform.vmap(steps))(XS), pieces(XS))
    found = around(lambda xs: transform.for_loop(steps, xs))(XS)
    np.testing.assert_array_equal(found, pieces(XS))
    slopes = around(lambda xs: transform.for_loop(transform.grad(steps), xs))(XS)
    np.testing.assert_array_equal(slopes, [-1, 3, 3, 2, 3])
    if around is not plainly:
        slopes = around(transform.vmap(transform.grad(steps)))(XS)
        np.testing.assert_array_equal(slopes, [-1, 3, 3, 2, 3])


@AROUND
@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([True, False, False], 1),
        ([False, True, False], 2),
        ([0, 0.0, 1], 3),
        ([True, False, True], 1),
        ([1, 0, 1], 1),
        ([False, True, True], 2),
        ([False, False, True], 3),
    ],
)
def test_a_true_at_the_end_is_for_all_other_cases(
    around: Any, conditions: Any, expected: int
) -> None:
    assert around(lambda: transform.ifelse(conditions, THREE))() == expected


@AROUND
@pytest.mark.parametrize("conditions", [[1, 1, 0], [0, 0, 0], [True, True, True]])
def test_more_or_fewer_than_one_true_condition_is_an_error(around: Any, conditions: Any) -> None:
    def run(first: Any) -> Any:
        return transform.ifelse([first, *conditions[1:]], THREE)

    with pytest.raises(ValueError, match="exactly one condition"):
        around(run)(conditions[0])


@AROUND
@pytest.mark.parametrize(
    ("conditions", "expected"), [([1, 1, 0], 1), ([0, 0, 0], 3), ([0, 1, 1], 2), ([0, 0, True], 3)]
)
def test_unchecked_the_first_that_is_true_counts_or_else_the_last(
    around: Any, conditions: Any, expected: int
) -> None:
    assert around(lambda: transform.ifelse(conditions, THREE, check_cond=False))() == expected


def test_a_lane_with_two_true_conditions_is_an_error() -> None:
    def run(x: Any) -> Any:
        return transform.ifelse([x > 1, x < 3, False], [lambda: 1.0, lambda: 2.0, lambda: 3.0])

    np.testing.assert_array_equal(transform.vmap(run)(jnp.array([0.0, 4.0])), [2, 1])
    with pytest.raises(ValueError, match=r"not \[ True  True False\]"):
        transform.vmap(run)(jnp.array([0.0, 2.0]))


@AROUND
def test_states_are_of_the_branch_that_runs(around: Any) -> None:
    total, count = brainir.State(jnp.zeros(2)), brainir.State(0)

    def add(x: Any) -> Any:
        own = brainir.State(jnp.ones(2))
        own.value *= x
        total.value += own.value
        return total.value.sum() * u.mV

    def tick(x: Any) -> Any:
        count.value += 1
        return x * u.mV

    run = around(lambda x: transform.ifelse([x > 0, x == 0, True], [add, tick, tick], x))
    assert run(2.0) == 4 * u.mV
    assert run(0.0) == 0 * u.mV
    assert run(-1.0) == -1 * u.mV
    np.testing.assert_array_equal(total.value, [2, 2])
    assert count.value == 2


@AROUND
def test_a_failed_choice_leaves_states_as_they_were(around: Any) -> None:
    total = brainir.State(jnp.float32(0))

    def add() -> Any:
        total.value += 1
        return total.value

    run = around(lambda x: transform.ifelse([x > 0, x > 1, x < 0], [add, add, add]))
    run(1.0)
    with pytest.raises(ValueError, match="exactly one"):
        run(2.0)
    assert total.value == 1


@pytest.mark.parametrize(
    ("conditions", "branches", "error"),
    [
        ([], [], ValueError),
        ([True], [], ValueError),
        ([True, False], [lambda: 1], ValueError),
        ([True], [lambda: 1, lambda: 2], ValueError),
        ([None, True], [lambda: 1, lambda: 2], TypeError),
        ([np.array([True, False]), True], [lambda: 1, lambda: 2], TypeError),
        (["yes", True], [lambda: 1, lambda: 2], TypeError),
        ([True, False], [1, 2], TypeError),
    ],
)
def test_what_makes_no_choice_is_refused(conditions: Any, branches: Any, error: Any) -> None:
    with pytest.raises(error, match="ifelse"):
        transform.ifelse(conditions, branches)


def test_branches_must_agree() -> None:
    with pytest.raises(TypeError, match="must return the same"):
        transform.ifelse([True, False], [lambda: 1.0 * u.mV, lambda: 1.0 * u.mA])


def test_a_single_branch_is_called() -> None:
    assert transform.ifelse([False], [lambda x: (x, "any")], 3) == (3, "any")


def test_plain_python_takes_any_result() -> None:
    with jax.disable_jit():
        assert transform.ifelse([False, True], [lambda: "a", lambda: "b"]) == "b"
