"""`checkify` and `check`, and the search for what makes a NaN."""

from __future__ import annotations

from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify as jax_checkify

import brainir

transform: Any = brainir.transform
checkify, check = transform.checkify, transform.check


def positive(x: Any) -> Any:
    check(x > 0, "{} is not positive", x)
    return x * 2


@pytest.mark.parametrize("around", [lambda f: f, transform.jit])
def test_the_error_is_returned_beside_the_result(around: Any) -> None:
    run = around(checkify(positive))
    error, result = run(1.0)
    assert (error.get(), result) == (None, 2)
    transform.check_error(error)
    error, result = run(-1.0)
    assert (error.get(), result) == ("-1.0 is not positive", -2)
    for throw in (error.throw, lambda: transform.check_error(error)):
        with pytest.raises(jax_checkify.JaxRuntimeError, match=r"-1.0 is not positive"):
            throw()


def test_it_is_the_same_where_jit_is_disabled() -> None:
    with jax.disable_jit():
        error, result = checkify(positive)(-3.0)
    assert (error.get(), result) == ("-3.0 is not positive", -6)


def test_states_are_written_whether_a_check_fails_or_not() -> None:
    total = brainir.State(jnp.float32(0))

    def add(x: Any) -> Any:
        total.value += x
        check(total.value < 3, "too much")
        return total.value

    for run in (checkify(add), transform.jit(checkify(add))):
        total.value = jnp.float32(0)
        assert run(2.0)[0].get() is None
        assert run(2.0)[0].get() == "too much"
        assert total.value == 4


def test_an_exception_inside_restores_states() -> None:
    total = brainir.State(jnp.float32(1))

    def add(x: Any) -> None:
        total.value += x
        raise KeyError("no")

    for run in (checkify(add), transform.jit(checkify(add))):
        with pytest.raises(KeyError):
            run(2.0)
        assert total.value == 1


def test_an_error_that_is_thrown_in_a_compiled_function_undoes_it() -> None:
    total = brainir.State(jnp.float32(0))

    @transform.jit
    def run(x: Any) -> Any:
        error, result = checkify(positive)(x)
        total.value += result
        transform.check_error(error)
        return result

    assert run(1.0) == 2
    with pytest.raises(ValueError, match=r"-1.0 is not positive"):
        run(-1.0)
    assert total.value == 2


XS = jnp.array([1.0, -2.0, -3.0])


@pytest.mark.parametrize(
    "run",
    [
        lambda: transform.vmap(checkify(positive))(XS),
        lambda: checkify(transform.vmap(positive))(XS),
        lambda: checkify(lambda xs: transform.for_loop(positive, xs))(XS),
        lambda: transform.for_loop(checkify(positive), XS),
        lambda: transform.for_loop(transform.vmap(checkify(positive)), XS[:, None]),
        lambda: checkify(lambda xs: transform.map(positive, xs, batch_size=2))(XS),
        lambda: checkify(lambda xs: jax.vmap(positive)(xs))(XS),
    ],
)
def test_of_steps_and_lanes_it_is_the_first(run: Any) -> None:
    for found in (run(), transform.jit(run)()):
        error, result = found
        assert error.get() == "-2.0 is not positive"
        np.testing.assert_array_equal(jnp.ravel(result), XS * 2)


def test_gradients_go_through() -> None:
    assert transform.grad(lambda x: checkify(positive)(x)[1] ** 2)(3.0) == 24
    error, slope = checkify(transform.grad(lambda x: positive(x) ** 2))(-3.0)
    assert (error.get(), slope) == ("-3.0 is not positive", -24)


def test_the_innermost_gathers() -> None:
    def outer(x: Any) -> Any:
        inner, result = checkify(positive)(x)
        check(x < 9, "too large")
        return inner, result

    error, (inner, _) = checkify(outer)(-1.0)
    assert (error.get(), inner.get()) == (None, "-1.0 is not positive")
    error, (inner, _) = transform.jit(checkify(outer))(10.0)
    assert (error.get(), inner.get()) == ("too large", None)


@pytest.mark.parametrize("around", [lambda f: f, transform.jit])
def test_outside_of_checkify_a_check_raises(around: Any) -> None:
    run = around(positive)
    run(1.0)
    with pytest.raises(jax_checkify.JaxRuntimeError, match=r"-1.0 is not positive"):
        run(-1.0)


@pytest.mark.parametrize("around", [lambda f: f, transform.jit])
def test_only_checkify_looks_at_checks_for_debugging(around: Any) -> None:
    def run(x: Any) -> Any:
        check(x > 0, "bad", debug=True)
        return x

    assert around(run)(-1.0) == -1
    assert around(checkify(run))(-1.0)[0].get() == "bad"


def test_other_kinds_of_checks_are_ignored_and_hard_errors_are_raised() -> None:
    assert checkify(positive, errors=transform.nan_checks)(-1.0)[0].get() is None
    with pytest.raises(ValueError, match="hard"):
        checkify(lambda x: transform.jit_error_if(x < 0, "hard"))(-1.0)


def index(x: Any, i: Any) -> Any:
    return x[i]


def write(x: Any, i: Any) -> Any:
    return x.at[i].set(1.0)


def write_column(x: Any, i: Any) -> Any:
    return x.at[:, i].add(jnp.ones(3))


def sliced(x: Any, i: Any) -> Any:
    return jax.lax.dynamic_slice(x, (i,), (2,))


def updated(x: Any, i: Any) -> Any:
    return jax.lax.dynamic_update_slice(x, jnp.ones(2), (i,))


CASES = [
    ("float_checks", jnp.log, (1.0,), (-1.0,), "nan generated by primitive: log"),
    ("nan_checks", lambda x: jnp.sqrt(x) * 2, (1.0,), (-1.0,), "sqrt"),
    ("nan_checks", lambda x: transform.for_loop(jnp.log, x), (XS**2,), (XS,), "log"),
    ("nan_checks", lambda x: transform.vmap(jnp.log)(x), (XS**2,), (XS,), "log"),
    ("nan_checks", lambda x: jnp.log(x * u.mV / u.mV), (1.0,), (-1.0,), "log"),
    ("div_checks", lambda x, y: x / y, (1.0, 2.0), (1.0, 0.0), "division by zero"),
    ("div_checks", lambda x, y: x // y, (1, 2), (1, 0), "division by zero"),
    ("index_checks", index, (XS, 2), (XS, 3), "out-of-bounds"),
    ("index_checks", index, (XS, -3), (XS, -4), "out-of-bounds"),
    ("index_checks", index, (XS, jnp.array([0, 2])), (XS, jnp.array([0, 3])), "out-of-bounds"),
    ("index_checks", write, (XS, 2), (XS, 3), "out-of-bounds"),
    ("index_checks", write, (XS, jnp.array([0, 2])), (XS, jnp.array([0, 5])), "out-of-bounds"),
    ("index_checks", write_column, (jnp.ones((3, 2)), 1), (jnp.ones((3, 2)), 2), "out-of-bounds"),
    ("index_checks", sliced, (XS, 1), (XS, 2), "out-of-bounds"),
    ("index_checks", updated, (XS, 0), (XS, -1), "out-of-bounds"),
    ("all_checks", positive, (1.0,), (-1.0,), "is not positive"),
    ("automatic_checks", lambda x: jnp.log(x), (1.0,), (-1.0,), "nan"),
]


@pytest.mark.parametrize(("kinds", "function", "good", "bad", "message"), CASES)
def test_operations_are_checked_as_jax_checks_them(
    kinds: str, function: Any, good: Any, bad: Any, message: str
) -> None:
    errors = getattr(transform, kinds)
    for run in (checkify(function, errors), transform.jit(checkify(function, errors))):
        assert run(*good)[0].get() is None
        assert message in run(*bad)[0].get()
        assert "test_checkify.py" in run(*bad)[0].get() or "positive" in message
    if kinds != "all_checks":
        for args, fails in ((good, False), (bad, True)):
            error, _ = jax_checkify.checkify(function, errors)(*map(jnp.asarray, args))
            assert (error.get() is not None) is fails


def test_branches_that_do_not_run_fail_nothing() -> None:
    def run(x: Any) -> Any:
        return transform.cond(x > 0, lambda: jnp.log(x), lambda: x)

    for args in ((-1.0,), (1.0,)):
        assert checkify(run, errors=transform.nan_checks)(*args)[0].get() is None
    lanes = checkify(transform.vmap(run), errors=transform.nan_checks)
    assert lanes(jnp.array([-1.0, 1.0]))[0].get() is None


def test_what_is_no_set_of_checks_is_refused() -> None:
    with pytest.raises(ValueError, match="user_checks"):
        checkify(positive, errors="all")
    with pytest.raises(TypeError, match="callable"):
        checkify(3)
    with pytest.raises(TypeError, match="checkify returned"):
        transform.check_error(None)
    with pytest.raises(TypeError, match="is a string"):
        check(True, 3)


# --- debug_nan ------------------------------------------------------------------------------------


def roots(x: Any) -> Any:
    return transform.for_loop(lambda i: jnp.sqrt(x - i), jnp.arange(3.0)).sum()


@pytest.mark.parametrize("around", [lambda f: f, transform.jit])
def test_the_operation_that_makes_a_nan_is_named_with_its_line(around: Any) -> None:
    run = around(lambda x: transform.debug_nan(roots, x, phase="forward"))
    assert run(5.0) is None
    with pytest.raises(RuntimeError, match=r"NaN/Inf detected in forward.*`sqrt` at .*checkify.py"):
        run(1.0)


@pytest.mark.parametrize(
    ("function", "x", "named"),
    [
        (lambda x: 1.0 / x, 0.0, "`div`"),
        (lambda x: jnp.log(x) + 1, 0.0, "`log`"),
        (lambda x: jnp.exp(x) - 1, 1000.0, "`exp`"),
        (transform.vmap(jnp.log), np.array([1.0, -1.0], np.float32), "`log`"),
        (transform.grad(jnp.sqrt), 0.0, "grad of sqrt"),
        (lambda x: x, np.nan, "returns"),
    ],
)
def test_infinities_gradients_and_inputs_are_told_of(function: Any, x: Any, named: str) -> None:
    with pytest.raises(RuntimeError, match=named):
        transform.debug_nan(function, x)


def test_infinities_that_stand_there_are_no_fault() -> None:
    def masked(x: Any) -> Any:
        return jnp.max(jnp.where(x > 0, x, -jnp.inf))

    transform.debug_nan(masked, jnp.array([1.0, -2.0]))


@pytest.mark.parametrize("around", [lambda f: f, transform.jit, transform.vmap])
def test_a_nan_that_is_chosen_away_is_no_fault(around: Any) -> None:
    def guarded(x: Any) -> Any:
        return jnp.where(x > 0, jnp.log(x), 0.0)

    def chosen(x: Any) -> Any:
        return transform.cond(x > 0, jnp.log, jnp.negative, x)

    x = jnp.array([0.0, -1.0, 1.0])
    transform.debug_nan(around(guarded), x)
    transform.debug_nan(transform.vmap(chosen), x)
    with pytest.raises(RuntimeError, match="log"):
        transform.debug_nan(around(lambda x: jnp.where(x > 0, 0.0, jnp.log(x))), x)


def test_a_nan_that_is_left_in_a_state_is_one() -> None:
    held = brainir.State(jnp.float32(1))
    with pytest.raises(RuntimeError, match="`log`"):
        transform.debug_nan(lambda x: setattr(held, "value", jnp.log(x)), -1.0)
    assert held.value == 1


def test_looking_leaves_states_alone() -> None:
    total = brainir.State(jnp.float32(1))

    def add(x: Any) -> Any:
        total.value += x
        return jnp.sqrt(total.value)

    transform.debug_nan(add, 2.0)
    transform.jit(lambda x: transform.debug_nan(add, x))(2.0)
    with pytest.raises(RuntimeError, match="sqrt"):
        transform.debug_nan(add, -3.0)
    assert total.value == 1


def test_looking_may_depend_on_a_value() -> None:
    @transform.jit
    def run(x: Any) -> Any:
        y = jnp.sqrt(x)
        transform.debug_nan_if(jnp.isnan(y), jnp.sqrt, x, phase="step")
        return y

    assert run(4.0) == 2
    with pytest.raises(RuntimeError, match="in step: made by the operation `sqrt`"):
        run(-1.0)
    transform.debug_nan_if(False, jnp.sqrt, -1.0)
    with pytest.raises(RuntimeError, match="sqrt"):
        transform.debug_nan_if(True, jnp.sqrt, -1.0)


def test_a_breakpoint_that_is_not_due_does_nothing() -> None:
    transform.breakpoint_if(False)
    assert transform.jit(lambda x: (transform.breakpoint_if(x > 3), x)[1])(1.0) == 1


def test_a_breakpoint_that_is_due_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    stops: list[Any] = []
    monkeypatch.setattr(
        jax.debug,
        "breakpoint",
        lambda **options: jax.debug.callback(lambda: stops.append(options)),
    )
    run = transform.jit(lambda x: transform.breakpoint_if(x > 3, token=1))
    run(1.0)
    assert not stops
    run(4.0)
    assert stops == [{"token": 1}]
