"""`for_loop`, `scan` and `while_loop`."""

from __future__ import annotations

from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir

transform: Any = brainir.transform  # some tests pass what its types forbid


def counter() -> brainir.ShortTermState[Any]:
    return brainir.ShortTermState(jnp.zeros(()))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("unroll", [0, 1, 2, 100, True])
def test_a_loop_is_its_steps_in_order(reverse: bool, unroll: int) -> None:
    total = counter()

    def step(x: Any, y: Any) -> Any:
        total.value = total.value * 0.5 + x
        return {"sum": total.value + y["a"], "x": x}

    xs, ys = np.arange(5.0), {"a": np.ones((5, 2))}
    found = transform.for_loop(step, xs, ys, reverse=reverse, unroll=unroll)
    left, total.value = total.value, jnp.zeros(())
    with jax.disable_jit():
        expected = transform.for_loop(
            step, xs.astype("f4"), {"a": np.ones((5, 2), "f4")}, reverse=reverse
        )
    assert left == total.value
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_a_body_without_arguments_runs_length_times() -> None:
    total = counter()

    def step() -> None:
        total.value = total.value + 1

    assert transform.for_loop(step, length=4) is None
    assert total.value == 4


def test_units_pass_through_loops() -> None:
    state = brainir.HiddenState(jnp.zeros(2) * u.mV)

    def step(x: Any) -> Any:
        state.value = state.value + x * u.ohm
        return state.value

    out = transform.for_loop(step, np.ones(3) * u.mA)
    assert out.shape == (3, 2)
    assert out.unit == u.mV
    assert out.mantissa.dtype == jnp.float32


def test_no_steps_leave_states_alone_and_give_empty_arrays() -> None:
    total = counter()

    def step(x: Any) -> Any:
        total.value = total.value + x.sum()
        return x * 2

    assert transform.for_loop(step, jnp.ones((0, 3))).shape == (0, 3)
    assert transform.scan(lambda c, x: (c + x, x), 1.0, jnp.ones(0))[0] == 1
    assert total.value == 0


def test_scan_carries_and_promotes_as_jax_does() -> None:
    inits: list[Any] = [0, 0.0, jnp.float32(0)]
    for init in inits:
        carry, ys = transform.scan(lambda c, x: (c + x, c), init, jnp.arange(4.0))
        assert carry.dtype == jnp.float32
        assert carry == 6
        np.testing.assert_array_equal(ys, [0, 0, 1, 3])


def test_a_number_in_a_state_is_promoted_in_a_loop() -> None:
    state: brainir.State[Any] = brainir.State(0)

    def step() -> None:
        state.value = state.value + 0.5

    transform.for_loop(step, length=3)
    assert state.value == 1.5


def test_while_loops_thread_states_and_read_them_in_the_condition() -> None:
    limit, steps = brainir.State(jnp.float32(50)), brainir.State(jnp.int32(0))

    def body(x: Any) -> Any:
        steps.value = steps.value + 1
        return x * 2

    assert transform.while_loop(lambda x: x < limit.value, body, 1.0) == 64
    assert steps.value == 6


def test_a_users_own_control_flow_over_states_works() -> None:
    total = counter()

    def run(x: Any) -> Any:
        def body(carry: Any, y: Any) -> Any:
            total.value = total.value + y
            return carry * 2, total.value

        out = jax.lax.scan(body, x, jnp.arange(3.0))
        jax.lax.cond(x > 0, lambda: setattr(total, "value", total.value + 100), lambda: None)
        jax.lax.fori_loop(0, 3, lambda i, c: (setattr(total, "value", total.value + 1), c)[1], 0)
        return out

    carry, ys = transform.jit(run)(1.0)
    assert (carry, total.value) == (8, 106)
    np.testing.assert_array_equal(ys, [0, 1, 3])


def _grows(x: Any, state: Any = counter()) -> None:
    state.value = jnp.zeros(3)


def _changes_unit(x: Any, state: Any = brainir.State(jnp.zeros(()) * u.mV)) -> None:
    state.value = jnp.zeros(()) * u.mA


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (
            lambda: transform.for_loop(lambda x, y: x, jnp.ones(3), jnp.ones(4)),
            ValueError,
            "lengths",
        ),
        (lambda: transform.for_loop(lambda x: x, jnp.ones(3), length=4), ValueError, "length"),
        (lambda: transform.for_loop(lambda: 1), ValueError, "length="),
        (lambda: transform.for_loop(lambda x: x, [1, 2]), ValueError, "leading axis"),
        (lambda: transform.for_loop(lambda x: x, jnp.float32(1)), ValueError, "leading axis"),
        (lambda: transform.for_loop(3, jnp.ones(3)), TypeError, "callable"),
        (lambda: transform.for_loop(lambda x: "no", jnp.ones(3)), TypeError, "returned 'no'"),
        (lambda: transform.for_loop(_grows, jnp.ones(3)), TypeError, r"float32\[3\].*_grows"),
        (lambda: transform.for_loop(_changes_unit, jnp.ones(3)), ValueError, "unit"),
        (lambda: transform.scan(lambda c, x: c, 0.0, jnp.ones(3)), ValueError, "pair"),
        (lambda: transform.scan(lambda c, x: (c, c, x), 0.0, jnp.ones(3)), ValueError, "pair"),
        (
            lambda: transform.scan(lambda c, x: (jnp.ones(2), x), 0.0, jnp.ones(3)),
            TypeError,
            "carry",
        ),
        (lambda: transform.while_loop(lambda x: x, lambda x: x, 1), TypeError, "boolean"),
        (lambda: transform.while_loop(lambda x: x < 1, lambda x: (x, x), 1), TypeError, "carry"),
        (lambda: transform.for_loop(lambda x: x, jnp.ones(3), pbar=0), ValueError, "positive"),
        (
            lambda: transform.for_loop(lambda x: x, jnp.ones(3), pbar="yes"),
            TypeError,
            "ProgressBar",
        ),
        (lambda: transform.for_loop(lambda x: x, jnp.ones(3), pbar=7), ValueError, "exceeds"),
    ],
)
def test_bad_loops_are_refused_clearly(run: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        run()


def test_a_condition_may_not_write_a_state() -> None:
    total = counter()

    def condition(x: Any) -> Any:
        total.value = total.value + 1
        return x < 3

    with pytest.raises(ValueError, match="only read"):
        transform.while_loop(condition, lambda x: x + 1, 0)
    assert total.value == 0


def test_a_gradient_through_while_is_refused_at_the_users_line() -> None:
    with pytest.raises(ValueError, match=r"test_loops\.py"):
        transform.grad(lambda x: transform.while_loop(lambda c: c < 3, lambda c: c * x, x))(1.5)


# --- progress bars ---


def drawn(capsys: pytest.CaptureFixture[str]) -> str:
    jax.effects_barrier()
    return capsys.readouterr().err


@pytest.mark.parametrize("pbar", [3, transform.ProgressBar(3), transform.ProgressBar(count=2)])
def test_a_progress_bar_reaches_the_end(pbar: Any, capsys: pytest.CaptureFixture[str]) -> None:
    total = counter()

    def step(x: Any) -> Any:
        total.value = total.value + x
        return x

    for run in (lambda f: f, transform.jit):
        run(lambda: transform.for_loop(step, jnp.ones(10), pbar=pbar))()
        assert "100%" in drawn(capsys)
    transform.scan(lambda c, x: (c + x, x), 0.0, jnp.ones(10), reverse=True, pbar=pbar)
    assert "100%" in drawn(capsys)
    transform.vmap(lambda k: transform.for_loop(lambda x: x * k, jnp.ones(10), pbar=pbar))(
        jnp.ones(2)
    )
    assert "100%" in drawn(capsys)
    with jax.disable_jit():
        transform.for_loop(step, jnp.ones(10), pbar=pbar)
    assert "100%" in drawn(capsys)
    assert total.value == 30


def test_containers_that_a_step_changes_in_place_do_not_change_earlier_results() -> None:
    state = brainir.ShortTermState({"v": jnp.zeros(2), "seen": [jnp.int32(0)]})

    def step(x: Any) -> Any:
        held = state.value
        held["v"] = held["v"] + x
        held["seen"][0] = held["seen"][0] + 1
        state.value = held
        return held

    compiled = transform.for_loop(step, jnp.arange(3.0))
    with jax.disable_jit():
        state.value = {"v": jnp.zeros(2), "seen": [jnp.int32(0)]}
        plain = transform.for_loop(step, jnp.arange(3.0))
    np.testing.assert_array_equal(plain["v"], [[0, 0], [1, 1], [3, 3]])
    jax.tree.map(np.testing.assert_array_equal, plain, compiled)


def test_an_error_about_a_traced_value_names_the_user_s_function_and_argument() -> None:
    def branchy_step(current: Any, *_: Any) -> Any:
        return current if current > 1 else -current

    def branchy_scan(carry: Any, current: Any) -> Any:
        return carry, branchy_step(current)

    xs = jnp.arange(3.0)
    for name, run in (
        (r"branchy_step at .*test_loops\.py:\d+", lambda: transform.for_loop(branchy_step, xs)),
        ("branchy_step at .*", lambda: transform.for_loop(branchy_step, xs, pbar=1)),
        (r"branchy_scan at .*argument current\b", lambda: transform.scan(branchy_scan, 0.0, xs)),
        ("branchy_step at .*", lambda: transform.while_loop(lambda x: x < 3, branchy_step, 0.0)),
        (r"branchy_step at .*", lambda: transform.vmap(branchy_step)(xs)),
        (r"branchy_step at .*", lambda: transform.grad(branchy_step)(1.0)),
    ):
        with pytest.raises(jax.errors.TracerBoolConversionError, match=name):
            run()


def test_a_progress_bar_does_not_compile_anew(capsys: pytest.CaptureFixture[str]) -> None:
    from brainir.frontend.program import executables

    def run() -> Any:
        return transform.for_loop(lambda x: x * 3, jnp.ones(7), pbar=7)

    run()
    count = len(executables)
    run()
    assert len(executables) == count
    assert "100%" in drawn(capsys)


def test_a_progress_bar_is_described() -> None:
    assert transform.ProgressBar(2, desc="run").text(1, {}) == "run"
    assert transform.ProgressBar(2, desc=("step {i}", lambda d: d)).text(9, {"i": 5}) == "step 5"
    for bad in ({"freq": 0}, {"freq": 1, "count": 1}):
        with pytest.raises(ValueError, match="progress bar"):
            transform.ProgressBar(**bad)
    with pytest.raises(TypeError, match="desc"):
        transform.ProgressBar(1, desc=3)  # pyright: ignore[reportArgumentType]


# --- States that begin as Python numbers ----------------------------------------------------------

STARTS: Any = {
    "number": lambda: 0,
    "quantity": lambda: u.Quantity(0, unit=u.mV),
}
WAYS: Any = {
    "for_loop": lambda step, xs: transform.for_loop(step, xs),
    "map": lambda step, xs: transform.map(step, xs),
    "scan": lambda step, xs: transform.scan(lambda c, x: (c + x, step(x)), 0, xs)[1],
    "jit": lambda step, xs: transform.jit(lambda xs: transform.for_loop(step, xs))(xs),
    "nested": lambda step, xs: transform.for_loop(
        lambda row: transform.for_loop(step, row), xs.reshape(2, 3)
    ).reshape(6),
    "grad": lambda step, xs: transform.grad(
        lambda _: (0.0, transform.for_loop(step, xs)), has_aux=True
    )(1.0)[1],
    "vmap": lambda step, xs: transform.vmap(
        lambda _: transform.for_loop(step, xs), axis_size=1, in_axes=None
    )(0)[0],
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8", "uint8", "complex64"])
@pytest.mark.parametrize("way", WAYS)
def test_a_chain_of_python_numbers_takes_the_types_that_its_end_is_given(
    way: str, dtype: str
) -> None:
    chain: list[brainir.State[Any]] = [brainir.State(0) for _ in range(4)]

    def step(x: Any) -> Any:
        for this, before in zip(chain[:0:-1], chain[-2::-1], strict=True):
            this.value = this.value + before.value
        chain[0].value = chain[0].value + x
        return chain[-1].value

    found = WAYS[way](step, jnp.arange(1, 7).astype(dtype))
    assert found.dtype == dtype
    np.testing.assert_array_equal(np.asarray(found).astype(complex), [0, 0, 0, 1, 6, 21])
    assert chain[-1].value.dtype == dtype
    np.testing.assert_array_equal([complex(state.value) for state in chain], [21, 35, 35, 21])


@pytest.mark.parametrize("start", STARTS)
def test_a_chain_of_numbers_of_one_unit_takes_floats(start: str) -> None:
    unit = u.mV if start == "quantity" else 1
    a, b = brainir.State(STARTS[start]()), brainir.State(STARTS[start]())

    def step(x: Any) -> Any:
        b.value = b.value + a.value
        a.value = a.value + x * unit
        return b.value / unit

    found = transform.for_loop(step, jnp.arange(1.0, 5.0))
    np.testing.assert_array_equal(found, [0, 1, 4, 10])


def test_a_while_loop_takes_types_from_a_chain_of_states() -> None:
    a, b = brainir.State(0), brainir.State(0)

    def step(count: Any) -> Any:
        b.value = b.value + a.value
        a.value = a.value + jnp.float32(0.5)
        return count + 1

    assert transform.while_loop(lambda count: count < 4, step, 0) == 4
    assert (a.value, b.value) == (2.0, 3.0)


def test_a_python_number_in_a_state_is_an_array_to_what_runs_eagerly() -> None:
    total: brainir.State[Any] = brainir.State(0)

    def halve(x: Any) -> Any:
        total.value = total.value + 1.5
        return x * 0.5

    run = lambda x: transform.while_loop(lambda x: x > 0.1, halve, x)  # noqa: E731
    with jax.disable_jit():  # under a derivative of JAX's, values are traced all the same
        np.testing.assert_array_equal(jax.jvp(run, (1.0,), (1.0,)), [0.0625, 0.0625])
    assert total.value == 6


@jax.numpy_dtype_promotion("standard")
def test_types_that_only_fit_at_last_are_not_refused_before() -> None:
    whole, real = brainir.State(0), brainir.State(0.0)

    def step(x: Any) -> Any:
        real.value = whole.value * jnp.int8(1)  # an int8, until `whole` is known to be real
        whole.value = whole.value + x
        return real.value

    found = transform.for_loop(step, jnp.arange(1.0, 4.0))
    np.testing.assert_array_equal(found, [0, 1, 3])
    carry, _ = transform.scan(
        lambda c, x: ((c[0] + x, c[0] * jnp.int8(1)), None), (0, 0.0), jnp.arange(1.0, 4.0)
    )
    np.testing.assert_array_equal(carry, [6, 3])


@jax.numpy_dtype_promotion("standard")
def test_types_that_never_fit_are_refused_and_change_nothing() -> None:
    a, b = brainir.State(0), brainir.State(jnp.int8(0))

    def step(x: Any) -> None:
        b.value = b.value + a.value
        a.value = a.value + x

    with pytest.raises(TypeError, match=r"enters as int8\[\] and leaves as float32\[\]"):
        transform.for_loop(step, jnp.arange(3.0))
    assert a.value == 0
    assert isinstance(a.value, int)
    assert b.value.dtype == jnp.int8
