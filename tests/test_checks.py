"""`jit_error_if`: errors of compiled functions that are raised where these are called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir

transform: Any = brainir.transform
Around = Callable[[Any], Any]


class Overflow(Exception):
    """An error of the user's own."""


def small(x: Any) -> Any:
    """Return what is not above 2."""
    transform.jit_error_if(x > 2, "{} is above 2", x)
    return x * 1.0


def as_it_is(function: Any) -> Any:
    return function


def without_jit(function: Any) -> Any:
    def run(*args: Any) -> Any:
        with jax.disable_jit():
            return function(*args)

    return run


AROUND = pytest.mark.parametrize("around", [as_it_is, transform.jit, without_jit])

PROGRAMS: dict[str, tuple[Callable[..., Any], Any, Any, str]] = {
    "call": (small, 1.0, 3.0, "3.0"),
    "for_loop": (lambda xs: transform.for_loop(small, xs), jnp.arange(3.0), jnp.arange(6.0), "3.0"),
    "reversed": (
        lambda xs: transform.for_loop(small, xs, reverse=True),
        jnp.arange(3.0),
        jnp.arange(6.0),
        "5.0",
    ),
    "scan": (
        lambda xs: transform.scan(lambda c, x: (small(c + x), c), 0.0, xs),
        jnp.array([1.0, 1.0]),
        jnp.array([1.0, 4.0, 2.0]),
        "5.0",
    ),
    "checkpointed": (
        lambda xs: transform.checkpointed_for_loop(small, xs, base=2),
        jnp.arange(3.0),
        jnp.arange(6.0),
        "3.0",
    ),
    "nested loops": (
        lambda xs: transform.for_loop(lambda row: transform.for_loop(small, row), xs),
        jnp.ones((2, 3)),
        jnp.array([[1.0, 2.0], [4.0, 5.0]]),
        "4.0",
    ),
    "while_loop": (
        lambda x: transform.while_loop(lambda x: x < 2, lambda x: small(x + 1), x),
        0.0,
        1.5,
        "2.5",
    ),
    "a loop without end": (
        lambda x: transform.while_loop(lambda x: x > -1, lambda x: small(x + 1), x),
        -2.0,
        0.0,
        "3.0",
    ),
    "a condition": (
        lambda x: transform.while_loop(lambda x: small(x) < 2, lambda x: x + 0.75, x),
        0.5,
        1.5,
        "2.25",
    ),
    "bounded": (
        lambda x: transform.bounded_while_loop(
            lambda x: x < 9, lambda x: small(x + 0.5), x, max_steps=4
        ),
        0.0,
        1.0,
        "2.5",
    ),
    "vmap": (
        lambda xs: transform.vmap(small)(xs),
        jnp.array([1.0, 2.0]),
        jnp.array([1.0, 4.0, 3.0]),
        "4.0",
    ),
    "vmap of vmap": (
        lambda xs: transform.vmap(transform.vmap(small))(xs),
        jnp.ones((2, 2)),
        jnp.array([[1.0, 2.0], [2.0, 5.0], [7.0, 1.0]]),
        "5.0",
    ),
    "vmap of a loop": (
        lambda xs: transform.vmap(lambda row: transform.for_loop(small, row))(xs),
        jnp.ones((2, 3)),
        jnp.array([[1.0, 2.0, 6.0], [4.0, 1.0, 1.0]]),
        "6.0",
    ),
    "lanes of a while_loop": (
        lambda xs: transform.vmap(
            lambda x: transform.while_loop(lambda x: x > -1, lambda x: small(x + 1), x)
        )(xs),
        jnp.array([-2.0, -3.0]),
        jnp.array([-2.0, 1.5]),
        "2.5",
    ),
    "map in batches": (
        lambda xs: transform.map(small, xs, batch_size=2),
        jnp.ones(5),
        jnp.array([1.0, 2.0, 1.0, 2.0, 3.0]),
        "3.0",
    ),
    "cond": (
        lambda x: transform.cond(x > 1, lambda: small(x), lambda: x * 2),
        -5.0,
        4.0,
        "4.0",
    ),
    "lanes of a cond": (
        lambda xs: transform.vmap(lambda x: transform.cond(x > 9, lambda: x, lambda: small(x)))(xs),
        jnp.array([10.0, 1.0]),
        jnp.array([10.0, 5.0]),
        "5.0",
    ),
    "grad": (transform.grad(lambda x: small(x) ** 2), 1.5, 3.0, "3.0"),
    "grad of a loop": (
        transform.grad(lambda x: transform.for_loop(lambda i: small(x * i), jnp.arange(4.0)).sum()),
        0.5,
        1.0,
        "3.0",
    ),
    "checkpoint": (transform.checkpoint(small), 1.0, 3.0, "3.0"),
    "jit": (lambda x: transform.jit(small)(x) + small(x - 1), 1.0, 3.0, "3.0"),
    "jax.vmap": (lambda xs: jax.vmap(small)(xs), jnp.ones(2), jnp.array([1.0, 4.0, 5.0]), "4.0"),
    "jax.lax.scan": (
        lambda xs: jax.lax.scan(lambda c, x: (c, small(x)), 0.0, xs)[1],
        jnp.ones(2),
        jnp.array([1.0, 4.0, 5.0]),
        "4.0",
    ),
    "jax.grad": (lambda x: jax.grad(lambda x: small(x) ** 2)(x), 1.0, 3.0, "3.0"),
    "jax.vmap of a loop": (
        lambda xs: jax.vmap(lambda row: transform.for_loop(small, row))(xs),
        jnp.ones((2, 3)),
        jnp.array([[1.0, 2.0, 6.0], [4.0, 1.0, 1.0]]),
        "6.0",
    ),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_error_is_raised_at_the_call_and_only_where_a_check_fails(name: str) -> None:
    program, good, bad, shown = PROGRAMS[name]
    compiled = transform.jit(program)
    runs = [compiled] if name.startswith("jax") else [program, compiled, without_jit(program)]
    if name == "a loop without end":
        runs = runs[:2]
    for run in runs:
        run(good)
        with pytest.raises(ValueError, match=f"^{shown}[0-9]* is above 2"):
            run(bad)
        run(good)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_check_that_holds_changes_no_result(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program, good, _, _ = PROGRAMS[name]
    found = transform.jit(program)(good)
    monkeypatch.setattr(brainir.transform, "jit_error_if", lambda *_: None)
    jax.tree.map(np.testing.assert_array_equal, found, transform.jit(program)(good))


@pytest.mark.parametrize("around", [as_it_is, transform.jit])
def test_a_failed_call_leaves_states_as_they_were(around: Around) -> None:
    total, seen = brainir.State(jnp.float32(0)), brainir.State({"last": jnp.float32(0)})

    def step(x: Any) -> None:
        total.value += x
        seen.value["last"] = x
        transform.jit_error_if(total.value > 5, "too much: {total}", total=total.value)

    run = around(lambda xs: transform.for_loop(step, xs))
    run(jnp.ones(4))
    with pytest.raises(ValueError, match=r"too much: 6.0"):
        run(jnp.full(3, 2.0))
    assert (total.value, seen.value["last"]) == (4, 1)
    run(jnp.ones(1))
    assert total.value == 5


@AROUND
@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        ("wrong", ValueError, "wrong"),
        ("%s is not %.1f", ValueError, "3.0 is not 2.0"),
        ("{} is not {:.1f}", ValueError, "3.0 is not 2.0"),
        ("{0} and {2}", ValueError, r"\{0\} and \{2\} .*3.0"),
        (Overflow, Overflow, r"3.0.*2.0"),
        (Overflow("mine"), Overflow, "mine"),
        (lambda x, y: Overflow(f"{x / y}"), Overflow, "1.5"),
    ],
)
def test_the_error_is_the_one_that_was_given(
    around: Around, error: Any, kind: Any, message: str
) -> None:
    def run(x: Any) -> Any:
        if error == "wrong":
            return transform.jit_error_if(x > 2, error)
        return transform.jit_error_if(x > 2, error, x, jnp.float32(2))

    with pytest.raises(kind, match=message) as caught:
        around(run)(jnp.float32(3.0))
    assert any("test_checks.py" in note for note in caught.value.__notes__)
    around(run)(jnp.float32(1.0))


def test_what_a_callable_does_not_raise_is_no_error() -> None:
    told: list[Any] = []
    total = brainir.State(jnp.float32(0))

    @transform.jit
    def run(x: Any) -> Any:
        total.value += x
        transform.jit_error_if(x > 2, lambda x, word: told.append((float(x), word)), x, word="big")

    run(1.0)
    run(3.0)
    assert (told, total.value) == ([(3.0, "big")], 4)


def test_a_callable_may_raise_by_itself() -> None:
    def complain(x: Any) -> None:
        raise Overflow(x)

    with pytest.raises(Overflow):
        transform.jit(lambda x: transform.jit_error_if(x > 2, complain, x))(3.0)


@pytest.mark.parametrize("bad", [None, 3, [1]])
def test_an_error_of_another_kind_is_refused(bad: Any) -> None:
    with pytest.raises(TypeError, match="an error is"):
        transform.jit_error_if(False, bad)


@AROUND
def test_any_entry_of_the_condition_counts(around: Around) -> None:
    run = around(lambda x: transform.jit_error_if(x > 2, "big"))
    for good in (jnp.zeros((2, 3)), jnp.zeros(0), jnp.arange(3)):
        run(good)
    with pytest.raises(ValueError, match="big"):
        run(jnp.array([[0.0, 3.0], [0.0, 0.0]]))


@AROUND
def test_messages_show_units_containers_and_keys(around: Around) -> None:
    def run(x: Any, key: Any) -> None:
        words = jax.random.key_data(key)
        transform.jit_error_if(words[1] == 7, "key {}", key)
        transform.jit_error_if(x["v"] > 2 * u.mV, "{x[v]} and {x[n]} {}", "word", x=x)

    x = {"v": 3.0 * u.mV, "n": jnp.arange(2)}
    with pytest.raises(ValueError, match=r"3\.? ?mV and \[0 1\] word"):
        around(run)(x, jax.random.key(0))
    if around is transform.jit:
        with pytest.raises(ValueError, match=r"key \[0 7\]"):
            around(run)(x, jax.random.key(7))


def test_the_first_of_several_checks_is_raised() -> None:
    def run(x: Any) -> Any:
        transform.jit_error_if(x > 5, "first {}", x)
        transform.jit_error_if(x > 3, "second")
        transform.jit_error_if(x > 5, "third")
        return x

    jitted = transform.jit(run)
    with pytest.raises(ValueError, match="second"):
        jitted(4.0)
    with pytest.raises(ValueError, match=r"first 6.0"):
        jitted(6.0)
    with pytest.raises(ValueError, match=r"first 7.0"):  # of two lanes it is the first one's
        transform.vmap(run)(jnp.array([1.0, 7.0, 4.0]))
    with pytest.raises(ValueError, match="second"):
        transform.vmap(run)(jnp.array([1.0, 4.0, 7.0]))


def test_no_lanes_fail_nothing() -> None:
    assert transform.jit(transform.vmap(small))(jnp.zeros(0)).shape == (0,)


def test_a_check_that_fails_says_nothing_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    for run in (transform.vmap(small), transform.jit(transform.vmap(small))):
        with pytest.raises(ValueError, match="above"):
            run(jnp.arange(5.0))
    assert capfd.readouterr().err == ""


def test_functions_without_checks_have_nothing_of_them() -> None:
    graph = transform.jit(lambda x: x + 1).trace(1.0).graph("purify")
    assert not graph.states
    assert len(graph.results) == 1


def test_loops_with_new_checks_do_not_compile_anew() -> None:
    from brainir.frontend.program import executables

    def run(limit: float) -> Any:
        def step(x: Any) -> Any:
            transform.jit_error_if(x > 2, lambda x: Overflow(f"{x} {limit}"), x)
            return x

        return transform.for_loop(step, jnp.arange(4.0) * 1.5)

    with pytest.raises(Overflow, match=r"3.0 1"):
        run(1)
    before = len(executables)
    with pytest.raises(Overflow, match=r"3.0 2"):
        run(2)
    assert len(executables) == before


def test_custom_rules_may_check_where_they_run_forward() -> None:
    @jax.custom_vjp
    def squared(x: Any) -> Any:
        return small(x) ** 2

    squared.defvjp(lambda x: (small(x) ** 2, x), lambda x, ct: (2 * x * ct,))
    for run in (transform.jit(squared), transform.grad(squared)):
        run(1.0)
        with pytest.raises(ValueError, match=r"3.0 is above 2"):
            run(3.0)


def test_under_a_plain_jit_a_callback_raises() -> None:
    inner = transform.jit(small)
    for run in (jax.jit(small), jax.jit(inner), jax.jit(transform.vmap(small))):
        x = jnp.array([1.0, 2.0])
        run(x)
        with pytest.raises(Exception, match="is above 2"):
            jax.block_until_ready(run(x + 2))


def test_the_reference_backend_raises_the_same() -> None:
    with brainir.options(backend="reference"), pytest.raises(ValueError, match=r"3.0 is above 2"):
        transform.jit(lambda xs: transform.for_loop(small, xs))(jnp.arange(5.0))


def test_a_function_with_checks_can_be_validated() -> None:
    report = brainir.validate(lambda xs: transform.vmap(small)(xs), jnp.array([1.0, 2.0]))
    assert report.ok, str(report)


def test_a_function_with_checks_cannot_be_saved(tmp_path: Any) -> None:
    with pytest.raises(brainir.ArtifactError, match="checks"):
        brainir.save(transform.jit(small), tmp_path / "small.brainir", 1.0)


def test_shapes_are_told_without_what_is_hidden() -> None:
    total = brainir.State(jnp.zeros(3))

    def run(x: Any) -> Any:
        total.value += x
        return small(x)

    states, out = transform.jit(run).eval_shape(1.0)
    assert [state.shape for state in states] == [(3,)]
    assert out.shape == ()
