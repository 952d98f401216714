"""`jit`, and our transformations inside other people's."""

from __future__ import annotations

import copy
import dataclasses
import decimal
import enum
import functools
import pickle
from typing import Any, NamedTuple

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir

transform: Any = brainir.transform  # some tests pass what its types forbid


def test_a_signature_is_traced_once() -> None:
    traces = 0
    state = brainir.ShortTermState(jnp.zeros(2))

    @transform.jit
    def step(x: Any, *, scale: Any = 1.0) -> Any:
        nonlocal traces
        traces += 1
        state.value = state.value + x * scale
        return state.value

    for _ in range(3):
        step(1.0)
        step(2.0)
    assert traces == 1
    step(jnp.ones(2))
    step(1.0, scale=2.0)
    step(1.0)
    step(jnp.ones(2))
    assert traces == 3
    np.testing.assert_array_equal(state.value, [14.0, 14.0])
    step.clear_cache()
    step(1.0)
    assert traces == 4


def test_static_arguments_are_python_values() -> None:
    @transform.jit(static_argnums=1, static_argnames="mode")
    def run(x: Any, times: int, mode: str = "add") -> Any:
        for _ in range(times):
            x = x + 1 if mode == "add" else x * 2
        return x

    assert (run(1.0, 3), run(1.0, 2), run(1.0, 3, mode="double")) == (4, 3, 8)
    with pytest.raises(ValueError, match="hashable"):
        run(1.0, [3])
    with pytest.raises(ValueError, match="static_argnums"):
        transform.jit(lambda x: x, static_argnums=2)
    with pytest.raises(ValueError, match="static_argnums"):
        transform.jit(lambda x: x, static_argnums=-1)


def test_a_static_argument_is_one_by_position_and_by_name() -> None:
    def repeat(x: Any, times: int, mode: str = "add") -> Any:
        for _ in range(times):
            x = x + 1 if mode == "add" else x * 2
        return x

    by_name = transform.jit(repeat, static_argnames=("times", "mode"))
    by_number = transform.jit(repeat, static_argnums=(1, 2))
    for run in (by_name, by_number):
        assert run(1.0, 3) == run(1.0, times=3) == run(times=3, x=1.0) == 4
        assert run(1.0, 3, "double") == run(1.0, 3, mode="double") == 8
    with pytest.raises(ValueError, match="'times' of repeat is a list, which is not hashable"):
        by_name(1.0, times=[3])
    with pytest.raises(TypeError, match="an argument of repeat is a Module"):
        by_name(brainir.nn.Module(), 3)


def test_donated_arguments_are_consumed() -> None:
    x = jnp.ones(4)
    out = transform.jit(lambda y, x: x * y, donate_argnums=1)(2.0, x)
    np.testing.assert_array_equal(out, np.full(4, 2.0))
    assert x.is_deleted()


def test_looking_ahead_changes_no_state() -> None:
    state: Any = brainir.HiddenState(jnp.zeros(3) * u.mV)

    @transform.jit
    def step(x: Any) -> Any:
        state.value = state.value + x * u.mV
        return state.value.sum()

    states, out = step.eval_shape(1.0)
    assert states[0].mantissa.shape == (3,)
    assert out.mantissa.shape == ()
    assert "stablehlo" in step.lower(1.0).as_text()
    assert step.compile(1.0).memory_analysis() is not None
    text = str(step.trace(1.0).graph("capture"))
    assert "state.write" in text
    assert '"mV"' in text
    assert "test_jit.py" in text
    assert "state.write" not in str(step.trace(1.0).graph())
    np.testing.assert_array_equal(state.value.mantissa, np.zeros(3))


def test_methods_can_be_compiled_in_the_class_body() -> None:
    class Model:
        def __init__(self, start: float) -> None:
            self.state = brainir.ShortTermState(jnp.float32(start))

        @transform.jit
        def step(self, x: Any) -> Any:
            self.state.value = self.state.value + x
            return self.state.value

    one, two = Model(0.0), Model(10.0)
    assert (one.step(1.0), two.step(1.0), one.step(1.0)) == (1, 11, 2)


class Counter(brainir.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.count = brainir.State(jnp.zeros(()))
        self.twice = transform.jit(self.advance_twice)

    @transform.jit
    def advance(self, x: Any) -> Any:
        self.count.value = self.count.value + x
        return self.count.value

    @functools.partial(transform.jit, static_argnums=(0, 2))
    def times(self, x: Any, n: int) -> Any:
        return x * n

    def advance_twice(self, x: Any) -> Any:
        self.advance(x)
        return self.advance(x)


class Slow(Counter):
    @transform.jit
    def advance(self, x: Any) -> Any:
        return super().advance(x / 2)


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"]
)
@pytest.mark.parametrize("kind", [Counter, Slow])
def test_compiled_methods_of_a_copy_are_its_own(kind: type, duplicate: Any) -> None:
    model = kind()
    for run in (model.advance, model.twice):
        run(1.0)
    before = float(model.count.value)
    other = duplicate(model)
    for run in (other.advance, other.twice):
        run(2.0)
    assert model.count.value == before
    assert other.count.value == 3 * before
    shallow = copy.copy(model)
    shallow.count = brainir.State(jnp.zeros(()))
    shallow.advance(4.0)
    assert model.count.value == before
    assert shallow.count.value == (4.0 if kind is Counter else 2.0)


def test_a_method_may_call_the_compiled_one_that_it_overrides() -> None:
    assert Slow().advance(3.0) == 1.5


def test_compiled_methods_take_static_arguments_as_functions_do() -> None:
    assert (Counter().times(2.0, 3), Counter().times(2.0, n=4)) == (6, 8)
    assert "jit" not in repr(Counter()).replace("twice=jit(advance_twice)", "")


def test_a_changed_environment_is_noticed() -> None:
    brainir.environ.set(dt=0.1 * u.ms)
    step = transform.jit(lambda: brainir.environ.get_dt() * 2)
    assert step() == 0.2 * u.ms
    brainir.environ.set(dt=0.3 * u.ms)
    assert step() == 0.6 * u.ms
    with brainir.environ.context(dt=1.0 * u.ms):
        assert step() == 2.0 * u.ms
    assert step() == 0.6 * u.ms
    brainir.environ.pop("dt")


def test_disable_jit_runs_plain_python() -> None:
    seen: list[Any] = []
    state = brainir.ShortTermState(jnp.zeros(()))

    @transform.jit
    def step(x: Any) -> Any:
        state.value = state.value + x
        seen.append(float(state.value))
        return transform.cond(x > 0, lambda: "text", lambda: 1)

    with jax.disable_jit():
        assert step(1.0) == "text"
        assert step(-3.0) == 1
    assert seen == [1.0, -2.0]


# --- inside other people's transformations ---

SPIKE = brainir.surrogate.ReluGrad()


def loss(x: Any) -> Any:
    return transform.for_loop(lambda c: SPIKE(c * x - 0.5) * x, jnp.linspace(0.0, 1.0, 5)).sum()


def test_plain_jax_can_differentiate_and_batch_our_transformations() -> None:
    expected = transform.grad(loss)(0.7)
    for run in (
        jax.grad(loss),
        jax.grad(transform.jit(loss)),
        jax.jit(jax.grad(loss)),
        transform.jit(jax.grad(loss)),
        lambda x: jax.vmap(jax.grad(loss))(jnp.array([x, 0.8]))[0],
        lambda x: transform.jit(lambda xs: jax.vmap(jax.grad(loss))(xs))(jnp.array([x]))[0],
        lambda x: jax.jvp(loss, (x,), (1.0,))[1],
    ):
        np.testing.assert_allclose(run(0.7), expected, rtol=1e-5)
    np.testing.assert_allclose(
        jax.grad(jax.grad(loss))(0.7), transform.grad(transform.grad(loss))(0.7), rtol=1e-5
    )


def test_custom_derivatives_survive_whoever_calls_first() -> None:
    compiled = transform.jit(loss)
    compiled(0.7)
    np.testing.assert_allclose(jax.grad(compiled)(0.7), transform.grad(loss)(0.7), rtol=1e-5)
    assert compiled(0.7) == loss(0.7)


@pytest.mark.parametrize("unit", [1.0, u.mV])
def test_a_compiled_function_leaves_no_traced_value_in_a_state(unit: Any) -> None:
    state = brainir.ShortTermState(jnp.zeros(()) * unit)

    @transform.jit
    def step(x: Any) -> Any:
        state.value = state.value + x * unit
        return x * 2

    x = jnp.float32(1.0)
    step(x)  # what is compiled now is not meant for what follows
    for run in (jax.grad(step), jax.jit(step), jax.jit(lambda x: step(jnp.float32(2.0)) + x)):
        with pytest.raises(brainir.TraceContextError, match="traced value"):
            run(x)
        assert state.value == 1.0 * unit
    step(x)
    assert state.value == 2.0 * unit


def test_custom_vjp_of_the_user_is_kept() -> None:
    @jax.custom_vjp
    def product(x: Any, y: Any) -> Any:
        return x * y

    product.defvjp(lambda x, y: (x * y, (x, y)), lambda r, c: (c * r[1] * 10, c * r[0]))
    f = lambda x: product(jnp.sin(x), 3.0)  # noqa: E731
    expected = 30 * np.cos(2.0)
    for run in (transform.grad(f), jax.grad(transform.jit(f)), transform.jit(transform.grad(f))):
        np.testing.assert_allclose(run(2.0), expected, rtol=1e-5)


def test_a_custom_rule_may_use_the_function_itself() -> None:
    @jax.custom_jvp
    def exp(x: Any) -> Any:
        return jnp.exp(x)

    exp.defjvp(lambda primals, tangents: (exp(*primals), exp(*primals) * tangents[0]))
    for order, f in enumerate((exp, transform.grad(exp), transform.grad(transform.grad(exp)))):
        np.testing.assert_allclose(f(0.5), np.exp(0.5), rtol=1e-5, err_msg=str(order))


def test_any_jax_code_is_accepted() -> None:
    def f(x: Any) -> Any:
        q, r = jnp.linalg.qr(x)
        return (
            jnp.linalg.det(x)
            + jnp.fft.rfft(x[0]).real.sum()
            + jax.scipy.special.i0(r).sum()
            + q[0, 0]
        )

    x = jnp.array([[2.0, 1.0, 0.5], [0.3, 1.5, 0.2], [0.1, 0.4, 1.0]])
    np.testing.assert_allclose(transform.jit(f)(x), f(x), rtol=1e-5)
    np.testing.assert_allclose(transform.grad(f)(x), jax.grad(f)(x), rtol=1e-3, atol=1e-4)
    xs = jnp.stack([x, x + 0.1])
    np.testing.assert_allclose(transform.vmap(f)(xs), jax.vmap(f)(xs), rtol=1e-5)


def test_threads_may_compile_and_call_at_once() -> None:
    from concurrent.futures import ThreadPoolExecutor

    step = transform.jit(lambda x: x * 2)

    def work(n: int) -> bool:
        state = brainir.ShortTermState(jnp.float32(n))
        transform.for_loop(lambda x: setattr(state, "value", state.value + x), jnp.ones(n + 1))
        return bool(step(jnp.ones(n + 1)).sum() == 2 * n + 2) and bool(state.value == 2 * n + 1)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))


# --- static arguments that are equal to Python ----------------------------------------------------


class Level(enum.IntEnum):
    ONE = 1
    TWO = 2


@dataclasses.dataclass(frozen=True)
class Options:
    k: Any
    note: Any = dataclasses.field(default=None, compare=False)


class Point(NamedTuple):
    k: Any


APART: Any = [
    (1, True, 1.0, 1 + 0j, np.int32(1), np.float32(1), np.float64(1), np.bool_(True), Level.ONE),
    (0.0, -0.0, 0, False, 0j, -0j, complex(0, -0.0), np.float32(0), np.float32(-0.0)),
    ((1, (2,)), (1, (2.0,)), (True, (2,)), (Level.ONE, (2,))),
    (Options(1), Options(True), Options(0.0), Options(-0.0), Options((0,)), Options((0.0,))),
    (Point(1), (1,), Point(1.0), Point(True)),
    (
        frozenset([1]),
        frozenset([1.0]),
        frozenset([True]),
        frozenset([(0.0,)]),
        frozenset([(-0.0,)]),
    ),
    ("1", b"1", 1, None),
    (range(0, 3, 2), range(0, 4, 2)),
    (decimal.Decimal("2.0"), decimal.Decimal("2.00"), decimal.Decimal(2), 2),
    (float("nan"), complex("nan"), np.float32("nan"), (float("nan"),), Options(float("nan"))),
]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("values", APART, ids=[str(i) for i in range(len(APART))])
@pytest.mark.parametrize("how", [{"static_argnums": 1}, {"static_argnames": "k"}])
def test_static_arguments_are_told_apart_and_found_again(how: Any, values: tuple[Any, ...]) -> None:
    traced: list[str] = []

    @transform.jit(**how)
    def run(x: Any, k: Any) -> Any:
        traced.append(repr(k))
        return x + len(traced)

    def call(k: Any) -> float:
        return float(run(0.0, k) if "static_argnums" in how else run(0.0, k=k))

    copies = [*map(copy.deepcopy, values)]
    first = [call(k) for k in values]
    assert first == [*range(1, len(values) + 1)]
    assert traced == [*map(repr, values)]
    assert [call(k) for k in copies] == first  # NaN too
    assert len(traced) == len(values)


def test_what_a_static_number_is_divided_by_keeps_its_type() -> None:
    f = transform.jit(lambda x, k: x // k, static_argnums=1)
    assert [f(7, k).dtype for k in (2, 2.0, 2)] == [jnp.int32, jnp.float32, jnp.int32]
    g = transform.jit(lambda x, k: jnp.copysign(x, k), static_argnames="k")
    assert [float(g(1.0, k=k)) for k in (0.0, -0.0, 0.0)] == [1, -1, 1]
    h = transform.jit(lambda x: jnp.copysign(x, brainir.environ.get("zero")))
    for zero in (0.0, -0.0, 0.0):
        with brainir.environ.context(zero=zero):
            assert float(h(1.0)) == np.copysign(1.0, zero)


# --- values that are known only when the program runs ---------------------------------------------


def until(x: Any) -> Any:
    while x[0] < 3:
        x = x + 1
    return x


REFUSED: Any = {
    "a boolean index": (lambda x: x[x > 0], "Keep the shape"),
    "nonzero": (lambda x: jnp.nonzero(x)[0], "sizes by Python numbers"),
    "unique": (lambda x: jnp.unique(x), "sizes by Python numbers"),
    "arange": (lambda x: jnp.arange(x[0]), "sizes by Python numbers"),
    "repeat": (lambda x: jnp.repeat(x, x.astype(int)), "sizes by Python numbers"),
    "int": (lambda x: int(x[0]), "return it and convert it outside"),
    "float": (lambda x: float(x[0]), "return it and convert it outside"),
    "item": (lambda x: x[0].item(), "return it and convert it outside"),
    "tolist": (lambda x: x.tolist(), "return it and convert it outside"),
    "range": (lambda x: [*range(x[0].astype(int))], "for_loop"),
    "a list": (lambda x: [1.0, 2.0][x[0].astype(int)], "asarray"),
    "if": (lambda x: 1.0 if x[0] else 0.0, "brainir.transform.cond"),
    "and": (lambda x: x[0] > 0 and x[1] > 0, "logical_and"),
    "in": (lambda x: x[0] in [1.0, 2.0], "brainir.transform.cond"),
    "while": (until, "while_loop"),
    "numpy": (lambda x: np.asarray(x), "Use jax.numpy"),
    "a shape": (lambda x: jnp.zeros((x[0].astype(int),)), "static argument"),
    "reshape": (lambda x: x.reshape((x[0].astype(int), 1)), "static argument"),
    "a slice": (lambda x: x[: x[0].astype(int)], "dynamic_slice"),
    "a key of a dictionary": (lambda x: {x[0]: 1}, "return it and use it outside"),
    "a format": (lambda x: f"{x[0]:.2f}", "return it and use it outside"),
    "assignment": (lambda x: x.__setitem__(0, 1.0), "x.at"),
    "shapes that do not fit": (lambda x: x @ jnp.ones(5), "contracting"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_jax_refuses_names_the_line_and_what_to_write(name: str) -> None:
    function, advice = REFUSED[name]
    line = function.__code__.co_firstlineno + (name == "while")
    ways = (
        lambda x: transform.jit(function)(x),
        lambda x: transform.jit(lambda x: transform.cond(True, function, function, x))(x),
        lambda x: transform.for_loop(lambda y: function(x + y), x),
        lambda x: transform.grad(lambda y: function(y).sum())(x),
        lambda x: transform.vmap(lambda y: function(x + y))(x),
    )
    for way in ways:
        with pytest.raises((TypeError, IndexError, jax.errors.JAXTypeError)) as caught:
            way(jnp.arange(3.0))
        text = str(caught.value)
        assert advice in text
        assert text.count(f"The line is {__file__}:{line} (") == 1


def test_errors_of_the_user_are_left_alone() -> None:
    def fail(x: Any) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError) as caught:
        transform.jit(fail)(1.0)
    assert caught.value.args == ("mine",)
