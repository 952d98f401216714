"""Functions with rules of their own: where they run, what they close over, what they return."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from jax.experimental.ode import odeint

import brainir
from brainir import transform
from brainir.ir import parse
from brainir.passes import DerivativeOfClosedOver, expand_jvp
from tests.custom_rule_programs import Ours, Recipe, Theirs, recipes, run

Function = Callable[..., Any]
WAYS: dict[str, Callable[[Function], Function]] = {
    "grad": transform.grad,
    "jit of grad": lambda f: transform.jit(transform.grad(f)),
    "jax.grad": jax.grad,
    "jax.grad of jit": lambda f: jax.grad(transform.jit(f)),
    "jit of jax.grad": lambda f: transform.jit(jax.grad(f)),
}
everywhere = pytest.mark.parametrize("way", WAYS)


@everywhere
@settings(max_examples=12)
@given(recipe=recipes())
def test_gradients_through_rules_that_are_not_linear_agree_with_jax(
    way: str, recipe: Recipe
) -> None:
    w, x = jnp.array([0.7, -1.2]), jnp.array([1.5, 0.4])
    expected = jax.jit(jax.grad(partial(run, Theirs, recipe)))(w, x)
    try:
        found = WAYS[way](partial(run, Ours, recipe))(w, x)
    except jax.errors.UnexpectedTracerError:
        # JAX cannot run a rule that closes over what one of its own transformations traces.
        assert "closing" in str(recipe)
        assert way not in ("grad", "jit of grad")
        return
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-5)


@jax.custom_vjp
def clip(w: Any) -> Any:
    """Return the argument; its cotangent is clipped."""
    return w


clip.defvjp(lambda w: (w, None), lambda _, g: (jnp.clip(g, -1.0, 1.0),))
ROWS = 5 * jnp.ones(3)
INSIDE: dict[str, tuple[Function, float]] = {
    "itself": (clip, 3.0),
    "jit": (jax.jit(clip), 3.0),
    "twice": (lambda w: clip(w) + clip(w), 6.0),
    "checkpoint": (jax.checkpoint(lambda w: clip(w) * 2), 3.0),
    "branch": (lambda w: transform.cond(w > 0, lambda: clip(w) * 2, lambda: w), 3.0),
    "loop": (lambda w: transform.for_loop(lambda: clip(w) * 2, length=2).sum(), 6.0),
    "lanes": (lambda w: transform.vmap(lambda y: clip(w) * y)(ROWS).sum(), 3.0),
    "batches": (
        lambda w: transform.map(lambda y: clip(w) * y, jnp.arange(5.0), batch_size=2).sum(),
        9.0,
    ),
}


@pytest.mark.sampled(3)
@everywhere
@pytest.mark.parametrize("name", INSIDE)
def test_a_rule_that_clips_runs_in_each_step(name: str, way: str) -> None:
    inside, expected = INSIDE[name]
    assert WAYS[way](lambda w: transform.for_loop(lambda x: inside(w) * x, ROWS).sum())(
        0.5
    ) == pytest.approx(expected)


@everywhere
def test_a_clipped_weight_of_a_distributed_loop_is_clipped_in_each_step(way: str) -> None:
    w = jax.random.normal(jax.random.key(1), (600, 600)) * 0.1
    xs = jax.random.normal(jax.random.key(0), (6, 1, 600))

    def ours(w: Any) -> Any:
        potential = brainir.State(jnp.zeros((1, 600)))

        def step(x: Any) -> Any:
            potential.value = potential.value * 0.9 + x @ clip(w)
            return potential.value

        return (transform.for_loop(step, xs) ** 2).sum()

    def theirs(w: Any) -> Any:
        def step(c: Any, x: Any) -> Any:
            c = c * 0.9 + x @ clip(w)
            return c, c

        return (jax.lax.scan(step, jnp.zeros((1, 600)), xs)[1] ** 2).sum()

    np.testing.assert_allclose(WAYS[way](ours)(w), jax.grad(theirs)(w), atol=1e-3)


# --- what rules close over ------------------------------------------------------------------------


def by_vjp(x: Any, scale: Any, primal: Any = 1) -> Any:
    """Return the sine; the rule multiplies by a scale that it closes over."""

    @jax.custom_vjp
    def sine(x: Any) -> Any:
        return jnp.sin(x) * primal

    sine.defvjp(lambda x: (jnp.sin(x) * primal, x), lambda x, g: (g * scale * jnp.cos(x),))
    return sine(x)


def by_jvp(x: Any, scale: Any, primal: Any = 1) -> Any:
    """Do the same in the other mode."""

    @jax.custom_jvp
    def sine(x: Any) -> Any:
        return jnp.sin(x) * primal

    sine.defjvp(lambda p, t: (sine(*p), scale * jnp.cos(p[0]) * t[0]))
    return sine(x)


SLOPE = float(np.cos(0.3))
LANES = brainir.State(jnp.arange(3.0))
WEIGHT = brainir.ParamState(jnp.float32(2.0))
grad, vmap, for_loop = transform.grad, transform.vmap, transform.for_loop
CLOSING: dict[str, tuple[Callable[[Function], Any], Any]] = {
    "an argument around": (lambda f: lambda a: grad(lambda x: f(x, a))(0.3), 2 * SLOPE),
    "the primal, too": (lambda f: lambda a: grad(lambda x: f(x, a, a / 2))(0.3), 2 * SLOPE),
    "second order": (lambda f: grad(lambda a: grad(lambda x: f(x, a))(0.3)), SLOPE),
    "what is stopped": (
        lambda f: grad(lambda x: f(x, jax.lax.stop_gradient(x * 2), jax.lax.stop_gradient(x))),
        4 * np.cos(2.0),
    ),
    "a step": (
        lambda f: lambda _: grad(lambda x: for_loop(lambda y: f(x, y), jnp.arange(4.0)).sum())(0.3),
        6 * SLOPE,
    ),
    "a lane": (
        lambda f: lambda _: grad(lambda x: vmap(lambda y: f(x, y))(jnp.arange(4.0)).sum())(0.3),
        6 * SLOPE,
    ),
    "a lane around": (
        lambda f: lambda _: vmap(lambda a: grad(lambda x: f(x, a))(0.3))(jnp.arange(3.0)),
        SLOPE * np.arange(3),
    ),
    "a batch": (
        lambda f: (
            lambda _: grad(
                lambda x: transform.map(lambda y: f(x, y), jnp.arange(4.0), batch_size=3).sum()
            )(0.3)
        ),
        6 * SLOPE,
    ),
    "from a branch": (
        lambda f: lambda a: grad(lambda x: transform.cond(x > 0, lambda: f(x, a), lambda: x))(0.3),
        2 * SLOPE,
    ),
    "from a jitted function": (
        lambda f: lambda a: grad(lambda x: jax.jit(lambda x: f(x, a + 1) * a)(x))(0.3),
        6 * SLOPE,
    ),
    "from a scan of JAX": (
        lambda f: (
            lambda a: grad(lambda x: jax.lax.map(lambda b: f(x, b * a), jnp.ones(2)).sum())(0.3)
        ),
        4 * SLOPE,
    ),
    "from a checkpoint": (
        lambda f: lambda a: grad(lambda x: jax.checkpoint(lambda x: f(x, a + 1))(x))(0.3),
        3 * SLOPE,
    ),
    "a State": (lambda f: lambda _: grad(lambda x: f(x, WEIGHT.value))(0.3), 2 * SLOPE),
    "a lane of a State": (
        lambda f: (
            lambda _: vmap(lambda y: grad(lambda x: f(x, LANES.value * y))(0.3), in_states=LANES)(
                jnp.ones(3)
            )
        ),
        SLOPE * np.arange(3),
    ),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("rule", [by_vjp, by_jvp])
@pytest.mark.parametrize("wrap", [lambda f: f, transform.jit], ids=["bare", "jit"])
@pytest.mark.parametrize("name", CLOSING)
def test_a_rule_may_close_over_what_is_traced(name: str, wrap: Any, rule: Function) -> None:
    make, expected = CLOSING[name]
    np.testing.assert_allclose(wrap(make(rule))(jnp.float32(2.0)), expected, rtol=1e-5)


@pytest.mark.parametrize("rule", [by_vjp, by_jvp])
def test_a_rule_of_a_function_that_is_traced_once_means_the_value_of_each_call(rule: Any) -> None:
    once = jax.jit(lambda x, a: rule(x, a * 1.0))

    def loss(x: Any) -> Any:
        return once(x, 1.0) + once(x, 3.0) + for_loop(lambda _: once(x, 5.0), ROWS[:1]).sum()

    for wrap in (lambda f: f, transform.jit):
        np.testing.assert_allclose(wrap(grad(loss))(0.3), 9 * SLOPE, rtol=1e-5)


def test_a_rule_may_read_states_that_the_function_itself_does_not_touch() -> None:
    def scaled(x: Any, state: Any) -> Any:
        @jax.custom_vjp
        def same(x: Any) -> Any:
            return x

        same.defvjp(lambda x: (x, None), lambda _, g: (g * state.value,))
        return same(x)

    def own(a: Any) -> Any:
        return grad(lambda x: scaled(x, brainir.State(a * 2)))(0.3)

    def lane(y: Any) -> Any:
        return grad(lambda x: scaled(x, LANES) * y)(0.3)

    for wrap in (lambda f: f, transform.jit):
        assert wrap(own)(1.5) == 3
        found = wrap(vmap(lane, in_states=LANES))(jnp.ones(3))
        np.testing.assert_array_equal(found, np.arange(3))


@pytest.mark.parametrize("rule", [by_vjp, by_jvp])
@pytest.mark.parametrize("wrap", [lambda f: f, transform.jit], ids=["bare", "jit"])
def test_a_derivative_by_what_a_function_closes_over_is_refused(wrap: Any, rule: Any) -> None:
    with pytest.raises(ValueError, match=r"at .*test_custom_rules.py:\d+.* closes over a value"):
        wrap(grad(lambda x: rule(x, 1.0, x * 2)))(0.3)
    with pytest.raises(ValueError, match="reads a State"):
        wrap(grad(lambda: rule(0.3, 1.0, WEIGHT.value), grad_states=WEIGHT))()


def test_a_tangent_of_what_a_function_closes_over_is_refused() -> None:
    graph = parse("""
graph @f(%x: f32[], %t: f32[]) -> (f32[], f32[]) {
  %y, %dy = jvp %x, %t {wrt=(0,)} : f32[], f32[] do (%a: f32[]) {
    %z = custom_derivative (%p = 1.0:f32) {mode="jvp"} : f32[] do {
      %b = mul %a, %p : f32[]
      yield %b
    } and (%q: f32[], %u: f32[]) {
      yield %q, %u
    }
    yield %z
  }
  return %y, %dy
}
""")
    with pytest.raises(DerivativeOfClosedOver):
        expand_jvp(graph)


TIMES = jnp.array([0.0, 1.0])


def decay(k: Any, scale: Any = 1.0) -> Any:
    """Return what is left after one second; the derivative goes by the adjoint equation."""
    return odeint(lambda y, t: -k * scale * y, jnp.float32(1), TIMES)[-1]


def test_an_ode_solver_differentiates_by_what_its_function_closes_over() -> None:
    expected = jax.grad(decay)(0.7)
    for found in (grad(decay)(0.7), transform.jit(grad(decay))(0.7)):
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    ks = jnp.array([0.7, 0.3])
    rows = jax.vmap(jax.grad(decay))(ks)
    np.testing.assert_allclose(vmap(grad(decay))(ks), rows, rtol=1e-4)
    np.testing.assert_allclose(for_loop(grad(decay), ks), rows, rtol=1e-4)
    found = grad(lambda s: for_loop(lambda k: decay(k, s), ks).sum())(1.2)
    np.testing.assert_allclose(
        found, sum(jax.grad(decay, 1)(k, 1.2) for k in (0.7, 0.3)), rtol=1e-3
    )


def test_arguments_that_rules_do_not_differentiate_may_close_over_what_is_traced() -> None:
    @partial(jax.custom_vjp, nondiff_argnums=(0, 2))
    def times(f: Any, x: Any, n: int) -> Any:
        return f(x) * n

    times.defvjp(lambda f, x, n: (f(x) * n, x), lambda f, n, x, g: (g * n * f(x),))

    @partial(jax.custom_jvp, nondiff_argnums=(0,))
    def apply(f: Any, x: Any) -> Any:
        return f(x)

    apply.defjvp(lambda f, p, t: (f(*p), 3 * f(*p) * t[0]))
    for use in (lambda f, x: times(f, x, 3), apply):

        def loss(x: Any, use: Any = use) -> Any:
            return for_loop(lambda a: use(lambda y: y * a, x), jnp.arange(3.0)).sum()

        np.testing.assert_allclose(grad(loss)(0.3), 2.7, rtol=1e-6)


def test_a_surrogate_has_the_slope_that_is_traced() -> None:
    def slope(alpha: Any) -> Any:
        return grad(brainir.surrogate.ReluGrad(alpha=alpha))(0.3)

    np.testing.assert_allclose(transform.jit(slope)(0.5), 0.35, rtol=1e-6)
    np.testing.assert_allclose(vmap(slope)(jnp.array([0.5, 1.0])), [0.35, 0.7], rtol=1e-6)


# --- what rules return ----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (2,), (0,), (2, 3)])
@pytest.mark.parametrize("mode", ["jvp", "vjp"])
def test_integer_and_boolean_results_have_no_derivative(mode: str, shape: Any) -> None:
    def primal(x: Any) -> Any:
        return jnp.sin(x), x > 0, jnp.int32(x)

    if mode == "jvp":
        function: Any = jax.custom_jvp(primal)
        none = np.zeros(shape, jax.dtypes.float0)
        function.defjvp(lambda p, t: (function(*p), (3 * t[0], none, none)))
    else:
        function = jax.custom_vjp(primal)
        function.defvjp(lambda x: (primal(x), None), lambda _, g: (3 * g[0],))

    def loss(x: Any) -> Any:
        y, positive, whole = function(x)
        return (y * jnp.float32(positive) + jnp.float32(whole)).sum()

    x = jnp.ones(shape)
    for way in WAYS.values():
        np.testing.assert_array_equal(way(loss)(x), 3 * np.ones(shape))


@everywhere
def test_functions_of_numpy_with_integer_parts_differentiate(way: str) -> None:
    for loss in (lambda x: jnp.ldexp(x, 2).sum(), lambda x: jnp.frexp(x)[0].sum()):
        np.testing.assert_array_equal(WAYS[way](loss)(jnp.ones(2)), jax.grad(loss)(jnp.ones(2)))


def test_a_backward_rule_may_return_another_dtype_than_its_argument_has() -> None:
    for dtype in (jnp.bfloat16, jnp.float16, jnp.float32):
        for other in (jnp.float32, jnp.float16, jnp.int32):

            @jax.custom_vjp
            def same(x: Any) -> Any:
                return x

            same.defvjp(
                lambda x: (x, None), lambda _, g, other=other: (2 * g.astype(other), None)[:1]
            )
            for name in ("grad", "jit of grad", "jax.grad of jit"):
                found = WAYS[name](lambda x, f=same: f(x * 3).sum().astype(jnp.float32))(
                    jnp.ones(2, dtype)
                )
                assert found.dtype == dtype
                np.testing.assert_array_equal(np.float32(found), [6, 6])


@pytest.mark.parametrize(
    ("backward", "error"),
    [
        (lambda g: (g.sum(),), ValueError),
        (lambda g: g, TypeError),
        (lambda g: (g, g), TypeError),
    ],
)
def test_what_jax_refuses_of_a_rule_names_the_line_of_the_call(backward: Any, error: Any) -> None:
    @jax.custom_vjp
    def same(x: Any) -> Any:
        return x

    same.defvjp(lambda x: (x, None), lambda _, g: backward(g))
    with pytest.raises(error, match="Custom VJP bwd rule") as caught:
        grad(lambda x: same(x).sum())(jnp.ones(2))
    assert any("test_custom_rules.py" in note for note in caught.value.__notes__)


def test_no_cotangent_at_all_is_zero() -> None:
    @jax.custom_vjp
    def first(x: Any, y: Any) -> Any:
        return x

    first.defvjp(lambda x, y: (x, None), lambda _, g: (None, g))
    found = grad(lambda x, y: first(x, y).sum(), argnums=(0, 1))(jnp.ones(2), jnp.ones(2))
    np.testing.assert_array_equal(found, [[0, 0], [1, 1]])
