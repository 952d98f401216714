"""`grad` and `vector_grad`: what they return, by what they differentiate, what they refuse."""

from __future__ import annotations

from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir

transform: Any = brainir.transform  # some tests pass what its types forbid


class Pair:
    """Two parameters and a loss whose gradients are easy to know."""

    def __init__(self) -> None:
        self.w = brainir.ParamState(jnp.array([1.0, 2.0]), name="w")
        self.b = brainir.ParamState({"x": jnp.float32(3.0)}, name="b")
        self.calls = brainir.ShortTermState(jnp.int32(0))

    def loss(self, x: Any, y: Any = 2.0) -> Any:
        self.calls.value = self.calls.value + 1
        return jnp.sum(self.w.value * x) * y + self.b.value["x"] ** 2

    def with_aux(self, x: Any, y: Any = 2.0) -> Any:
        return self.loss(x, y), {"x": x}


BY_W, BY_B, BY_X, BY_Y, VALUE = [10.0, 10.0], {"x": 6.0}, 6.0, 15.0, 39.0


@pytest.mark.sampled(2)
@pytest.mark.parametrize("mode", ["compiled", "outside jit", "plain"])
def test_gradients_have_the_structure_of_what_they_are_by(mode: str) -> None:
    m = Pair()
    row = jnp.array(BY_W)
    cases: list[tuple[dict[str, Any], Any]] = [
        ({}, jnp.float32(BY_X)),
        ({"argnums": 0}, jnp.float32(BY_X)),
        ({"argnums": 1}, jnp.float32(BY_Y)),
        ({"argnums": [0, 1]}, (jnp.float32(BY_X), jnp.float32(BY_Y))),
        ({"argnums": np.int64(1)}, jnp.float32(BY_Y)),
        ({"grad_states": m.w}, row),
        ({"grad_states": [m.w, m.b]}, [row, BY_B]),
        ({"grad_states": (m.w,)}, (row,)),
        ({"grad_states": {"one": m.w, "two": [m.b]}}, {"one": row, "two": [BY_B]}),
        ({"grad_states": [m.w, m.w]}, [row, row]),
        ({"grad_states": [], "argnums": []}, jnp.float32(BY_X)),
        ({"grad_states": m.w, "argnums": 1}, (row, jnp.float32(BY_Y))),
        ({"grad_states": [m.w], "argnums": (0,)}, ([row], (jnp.float32(BY_X),))),
    ]
    for options, expected in cases:
        for return_value in (False, True):
            for has_aux in (False, True):
                f = transform.grad(
                    m.with_aux if has_aux else m.loss,
                    return_value=return_value,
                    has_aux=has_aux,
                    **options,
                )
                full = expected
                if return_value or has_aux:
                    full = (expected, *([VALUE] if return_value else []))
                    full = (*full, *([{"x": 5.0}] if has_aux else []))
                run = transform.jit(f) if mode == "compiled" else f
                if mode == "plain":
                    with jax.disable_jit():
                        found = run(5.0, 2.0)
                else:
                    found = run(5.0, 2.0)
                assert jax.tree.structure(found) == jax.tree.structure(full)
                jax.tree.map(np.testing.assert_allclose, found, full)
    assert m.calls.value == len(cases) * 4


def test_the_gradient_is_at_the_value_on_entry_and_writes_persist() -> None:
    state = brainir.ParamState(jnp.float32(3.0))

    def loss() -> Any:
        old = state.value
        state.value = old * 100
        return old**2 + state.value

    assert transform.grad(loss, grad_states=state)() == 106
    assert state.value == 300


def test_gradients_through_nested_loops_and_branches_agree_with_jax() -> None:
    xs = jnp.linspace(0.1, 1.0, 6)

    def ours(w: Any, x: Any) -> Any:
        h = brainir.HiddenState(jnp.zeros(3))

        def step(x: Any) -> Any:
            def inner(k: Any) -> Any:
                h.value = jnp.tanh(w @ h.value + x * k)
                return h.value.sum()

            out = transform.for_loop(inner, jnp.arange(1.0, 3.0)).sum()
            return transform.cond(out > 1, lambda: out**2, lambda: h.value[0] * w[0, 0])

        return transform.for_loop(step, x, reverse=True).sum()

    def theirs(w: Any, x: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            def inner(h: Any, k: Any) -> Any:
                h = jnp.tanh(w @ h + x * k)
                return h, h.sum()

            h, outs = jax.lax.scan(inner, h, jnp.arange(1.0, 3.0))
            out = outs.sum()
            return h, jax.lax.cond(out > 1, lambda: out**2, lambda: h[0] * w[0, 0])

        return jax.lax.scan(step, jnp.zeros(3), x, reverse=True)[1].sum()

    w = jax.random.normal(jax.random.key(1), (3, 3))
    expected = jax.grad(theirs, argnums=(0, 1))(w, xs)
    for run in (
        transform.grad(ours, argnums=(0, 1)),
        transform.jit(transform.grad(ours, argnums=(0, 1))),
        jax.grad(ours, argnums=(0, 1)),
    ):
        for a, b in zip(run(w, xs), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5)


def test_gradients_of_gradients() -> None:
    def ours(x: Any) -> Any:
        return transform.for_loop(lambda k: jnp.sin(k * x) * x**2, jnp.arange(4.0)).sum()

    def theirs(x: Any) -> Any:
        return sum(jnp.sin(k * x) * x**2 for k in range(4))

    f, g = ours, theirs
    for order in range(3):
        np.testing.assert_allclose(f(0.7), g(0.7), rtol=1e-4, err_msg=str(order))
        f, g = transform.grad(f), jax.grad(g)


def test_checkpointed_functions_differentiate_alike() -> None:
    def loss(wrap: Any, x: Any) -> Any:
        step = wrap(lambda k: jnp.sin(x * k) ** 2)
        return transform.for_loop(step, jnp.arange(3.0)).sum()

    kept = transform.grad(lambda x: loss(lambda f: f, x))(0.3)
    np.testing.assert_allclose(
        transform.grad(lambda x: loss(jax.checkpoint, x))(0.3), kept, rtol=1e-6
    )


def test_units_label_gradients_when_asked() -> None:
    assert transform.grad(lambda i: i**2, unit_aware=True)(2.0 * u.mA) == 4.0 * u.mA
    found = transform.grad(lambda i: (i * u.ohm) ** 2, unit_aware=True)(2.0 * u.mA)
    np.testing.assert_allclose(found / (u.mV**2 / u.mA), 4.0, rtol=1e-6)
    plain = transform.grad(lambda i: (i / u.mA) ** 2)(2.0 * u.mA)
    assert plain.unit == u.mA
    elementwise = transform.vector_grad(lambda v: v**2, return_value=True)(np.ones(3) * u.mV)
    assert not isinstance(elementwise[0], u.Quantity)
    assert elementwise[1].unit == u.mV**2
    aware = transform.vector_grad(lambda v: v**2, unit_aware=True)(np.ones(3) * u.mV)
    assert aware.unit == u.mV


def test_a_promised_holomorphic_function_has_the_derivative_that_jax_finds() -> None:
    def f(z: Any) -> Any:
        return jnp.sin(z) * z**2

    found = transform.grad(f, holomorphic=True)(0.3 + 0.7j)
    np.testing.assert_allclose(found, jax.grad(f, holomorphic=True)(0.3 + 0.7j), rtol=1e-6)


def test_integers_get_zeros_when_allowed() -> None:
    found = transform.grad(lambda x, n: x * n, argnums=(0, 1), allow_int=True)(2.0, 3)
    assert found == (3, 0)


def test_random_numbers_inside_a_loss_are_drawn_once() -> None:
    brainir.random.seed(1)
    g = transform.grad(lambda x: x * brainir.random.rand(), return_value=True)
    grad, value = g(2.0)
    brainir.random.seed(1)
    assert (grad, value) == (brainir.random.rand(), 2 * grad)


PAIR = Pair()
KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (lambda: transform.grad(lambda x: x)(jnp.ones(2)), TypeError, "scalar loss"),
        (lambda: transform.grad(lambda x: (x, x))(1.0), TypeError, "scalar loss"),
        (lambda: transform.grad(lambda x: x * u.mV)(1.0), TypeError, "unit mV"),
        (lambda: transform.grad(lambda x: jnp.int32(1))(1.0), TypeError, "int32"),
        (lambda: transform.grad(lambda x: x * 1j)(1.0), TypeError, "complex"),
        (lambda: transform.grad(lambda x: x * 1j, holomorphic=True)(1.0), TypeError, "argument 0"),
        (lambda: transform.grad(jnp.abs, holomorphic=True)(1j), TypeError, "float32"),
        (lambda: transform.grad(lambda k: 1.0, allow_int=True)(KEY), TypeError, "random key"),
        (lambda: transform.grad(lambda x: x * 1.0)(1), TypeError, "allow_int"),
        (lambda: transform.grad(PAIR.loss, grad_states=PAIR.calls)(1.0), TypeError, "int32"),
        (lambda: transform.grad(lambda x: x, grad_states=PAIR.w)(1.0), ValueError, "'w'"),
        (lambda: transform.grad(PAIR.loss, grad_states=[1]), TypeError, "not a State"),
        (lambda: transform.grad(PAIR.loss, argnums=-1), ValueError, "count from 0"),
        (lambda: transform.grad(PAIR.loss, argnums=True), ValueError, "integers"),
        (lambda: transform.grad(PAIR.loss, argnums=1.0), ValueError, "integers"),
        (lambda: transform.grad(PAIR.loss, argnums=(0, 0)), ValueError, "twice"),
        (lambda: transform.grad(PAIR.loss, argnums=3)(1.0), ValueError, "argument 3"),
        (lambda: transform.grad(lambda x: x, has_aux=True)(1.0), TypeError, "has_aux"),
        (lambda: transform.grad(lambda x: (x, x, x), has_aux=True)(1.0), ValueError, "3 things"),
        (lambda: transform.grad(3), TypeError, "callable"),
    ],
)
def test_bad_gradients_are_refused_clearly(run: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        run()
    np.testing.assert_array_equal(PAIR.w.value, [1, 2])


def test_an_untouched_state_gets_zeros_without_the_check() -> None:
    found = transform.grad(lambda x: x, grad_states=PAIR.w, check_states=False)(1.0)
    np.testing.assert_array_equal(found, [0, 0])
