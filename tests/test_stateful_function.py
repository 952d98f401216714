"""Functions that touch States, seen as pure ones: jaxprs, shapes, and which States they touch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import brainunit as u
import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import brainir
from brainir import environ, transform
from brainir.frontend.testing.check_transformations import assert_same, outcome
from brainir.frontend.testing.stateful_programs import Recipe
from brainir.testing import programs


def by_jaxpr(optimizations: Any, only_written: bool) -> Callable[..., Any]:
    """Return what runs a function by evaluating its jaxpr, which JAX compiles."""

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        pure = transform.StatefulFunction(
            function, return_only_write=only_written, ir_optimizations=optimizations
        )

        def run(x: Any) -> Any:
            states = pure.get_states(x)
            values = [state.value for state in states]
            new, out = jax.jit(pure.jaxpr_call)(values, x)
            for state, value in zip(states, new, strict=True):
                if value is not None:
                    state.value = value
            return out

        return run

    return wrap


@given(programs(), st.sampled_from([None, "all", "cse", ["dce", "constant_fold"]]), st.booleans())
def test_the_jaxpr_of_a_program_does_what_the_program_does(
    recipe: Recipe, optimizations: Any, only_written: bool
) -> None:
    expected, _, left = outcome(recipe, transform.jit)
    found, before, after = outcome(recipe, by_jaxpr(optimizations, only_written))
    if isinstance(expected, Exception):
        assert type(found) is type(expected)
        assert_same(before, after)
    else:
        assert_same((expected, left), (found, after))


def counted() -> tuple[Any, Any, Any, Callable[..., Any]]:
    a = brainir.State(jnp.zeros(2), name="a")
    b = brainir.State(jnp.float32(1.0), name="b")
    c: Any = brainir.State({"x": jnp.ones(3) * u.mV}, name="c")

    def f(x: Any, k: Any = 1.0) -> Any:
        b.value = b.value + x
        return a.value * k + c.value["x"].sum() / u.mV

    return a, b, c, f


def test_states_come_in_the_order_of_the_first_touch_and_are_not_modified() -> None:
    a, b, c, f = counted()
    pure = transform.StatefulFunction(f).make_jaxpr(1.0, k=2.0)
    assert pure.get_states(1.0, k=2.0) == (b, a, c)
    assert pure.get_read_states(1.0, k=2.0) == (a, c)
    assert pure.get_write_states(1.0, k=2.0) == (b,)
    trace = pure.get_state_trace(1.0, k=2.0)
    assert (trace.states, trace.been_writen) == ((b, a, c), (True, False, False))
    assert trace.get_state_values()[1] is a.value
    assert b.value == 1.0
    assert [v.shape for v in pure.get_jaxpr(1.0, k=2.0).in_avals] == [(), (), (), (2,), (3,)]
    assert pure.get_cache_stats()["compilation_cache"]["misses"] == 1


def test_a_state_that_is_written_first_is_an_input_as_well() -> None:
    a, b = brainir.State(1.0), brainir.State(2.0)

    def f(x: Any) -> Any:
        b.value = x * 2
        return a.value

    jaxpr, states = transform.make_jaxpr(f)(1.0)
    assert states == (b, a)
    assert len(jaxpr.in_avals) == 3
    np.testing.assert_allclose(jex.jaxpr_as_fun(jaxpr)(3.0, 2.0, 1.0), [1.0, 6.0, 1.0])


def test_states_that_are_only_read_come_out_if_that_is_asked_for() -> None:
    f = counted()[3]
    only, every = (transform.make_jaxpr(f, return_only_write=o)(1.0)[0] for o in (True, False))
    assert [v.shape for v in only.out_avals] == [(2,), ()]
    assert [v.shape for v in every.out_avals] == [(2,), (), (2,), (3,)]
    result, states = transform.StatefulFunction(f).get_out_shapes(1.0)
    assert (result.shape, states[1:]) == ((2,), (None, None))
    result, states = transform.StatefulFunction(f, return_only_write=False).get_out_shapes(1.0)
    assert u.get_unit(states[2]["x"]) == u.mV
    assert transform.make_jaxpr(f, return_shape=True)(1.0)[2].shape == (2,)


def test_values_of_states_are_given_and_taken_with_their_structure_and_units() -> None:
    _, b, _, f = counted()
    pure = transform.StatefulFunction(f)
    values = [jnp.float32(5.0), jnp.ones(2), {"x": jnp.ones(3) * 2 * u.mV}]
    (new, *others), out = pure.jaxpr_call(values, 1.0, k=3.0)
    assert (new, others, b.value) == (6.0, [None, None], 1.0)
    np.testing.assert_allclose(out, [9.0, 9.0])
    gradient = jax.grad(lambda a: pure.jaxpr_call([values[0], a, values[2]], 1.0)[1].sum())
    np.testing.assert_allclose(gradient(jnp.ones(2)), [1.0, 1.0])


@pytest.mark.parametrize("values", [[1.0], [1.0, None, {"x": 1.0 * u.mV}], [1.0, 1.0, {"y": 1.0}]])
def test_values_that_do_not_fit_the_states_are_refused(values: Any) -> None:
    f = counted()[3]
    with pytest.raises(ValueError, match=r"values were given|a value of the structure"):
        transform.StatefulFunction(f).jaxpr_call(values, 1.0)


def test_a_call_runs_the_function_on_its_states() -> None:
    _, b, _, f = counted()
    pure = transform.StatefulFunction(f)
    for run in (pure, pure.jaxpr_call_auto, transform.jit(pure)):
        np.testing.assert_allclose(run(1.0), [3.0, 3.0])
    with jax.disable_jit():
        np.testing.assert_allclose(pure(1.0), [3.0, 3.0])
    assert b.value == 5.0


def test_keys_tell_types_of_arguments_apart_and_nothing_else() -> None:
    pure = transform.StatefulFunction(lambda x: x + x)
    weak = {pure.get_arg_cache_key(x) for x in (1.0, 2.0, jnp.asarray(1.0))}
    others = {pure.get_arg_cache_key(x) for x in (1, np.float32(1), jnp.ones(3))}
    assert (len(weak), len(weak | others)) == (1, 4)
    key = pure.get_arg_cache_key(1.0, compile_if_miss=True)
    assert pure.get_jaxpr_by_cache(key) is pure.get_jaxpr(1.0)
    assert pure.get_out_shapes_by_cache(key)[0].shape == ()
    assert pure.get_states_by_cache(key) == ()
    assert pure.validate_states(key)
    for unknown in (pure.get_arg_cache_key(1), "nothing"):
        with pytest.raises(ValueError, match="was not captured for the key"):
            pure.get_jaxpr_by_cache(unknown)
    with pytest.raises(ValueError, match="was not captured"):
        pure.get_jaxpr(1, compile_if_miss=False)
    pure.clear_cache()
    with pytest.raises(ValueError, match="was not captured"):
        pure.get_jaxpr_by_cache(key)


def test_a_state_of_another_type_is_captured_anew() -> None:
    state: Any = brainir.State(jnp.ones(2))
    pure = transform.StatefulFunction(lambda: state.value * 2)
    key = pure.get_arg_cache_key(compile_if_miss=True)
    for value in (jnp.ones(3), jnp.ones(3, jnp.int32), jnp.ones(3) * u.mV):
        state.value = value
        with pytest.raises(ValueError, match="has changed since"):
            pure.validate_states(key)
        result = pure.get_out_shapes()[0]
        assert u.get_unit(result) == u.get_unit(value)
        assert u.get_mantissa(result).dtype == u.get_mantissa(value).dtype
        assert pure.validate_states(key)


def test_the_environment_and_replaced_states_are_noticed() -> None:
    class Layer(brainir.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.v = brainir.State(jnp.zeros(2))

        def update(self) -> Any:
            return self.v.value + environ.get("bias", default=0.0)

    layer = Layer()
    pure = transform.StatefulFunction(layer)
    assert pure.jaxpr_call([jnp.zeros(2)])[1].sum() == 0.0
    with environ.context(bias=1.0):
        assert pure.jaxpr_call([jnp.zeros(2)])[1].sum() == 2.0
    layer.v = brainir.State(jnp.zeros(3))
    assert pure.get_states() == (layer.v,)


def test_static_arguments_are_values() -> None:
    pure = transform.StatefulFunction(lambda n, x: x * n, static_argnums=0)
    assert len(pure.get_jaxpr(3, 2.0).in_avals) == 1
    assert pure.jaxpr_call([], 3, 2.0) == ((), 6.0)
    with pytest.raises(ValueError, match="static_argnums"):
        transform.StatefulFunction(lambda x: x, static_argnums=1)
    with pytest.raises(ValueError, match="not hashable"):
        pure.get_jaxpr([1], 2.0)
    with pytest.raises(ValueError, match="no optimization"):
        transform.StatefulFunction(lambda x: x, ir_optimizations=["unroll"])


def test_what_the_function_raises_leaves_states_alone_and_nothing_behind() -> None:
    state = brainir.State(jnp.zeros(2))

    def f(x: Any) -> Any:
        state.value = state.value + x
        raise RuntimeError("mine")

    pure = transform.StatefulFunction(f)
    with pytest.raises(RuntimeError, match="mine"):
        pure.make_jaxpr(1.0)
    np.testing.assert_array_equal(state.value, [0.0, 0.0])
    assert pure.get_cache_stats()["compilation_cache"]["size"] == 0


def test_optimizations_leave_out_what_the_jaxpr_need_not_do() -> None:
    def f(x: Any) -> Any:
        jnp.cos(x)
        return (x * 1.0) * jnp.sin(x) + jnp.sin(x)

    def ops(optimizations: Any) -> list[str]:
        pure = transform.StatefulFunction(f, ir_optimizations=optimizations)
        return [eqn.primitive.name for eqn in pure.get_jaxpr(jnp.ones(2)).eqns]

    assert ops(None) == ["cos", "mul", "sin", "mul", "sin", "add"]
    assert ops("dce") == ["mul", "sin", "mul", "sin", "add"]
    assert ops(["cse"]).count("sin") == 1
    assert ops("all") == ["sin", "mul", "add"]


def test_jaxprs_can_be_made_inside_other_transformations() -> None:
    state = brainir.State(jnp.ones(2))
    seen: list[Any] = []

    def step(x: Any) -> Any:
        state.value = state.value + 1.0
        seen.append(transform.make_jaxpr(lambda y: state.value * y)(x))
        return x

    transform.jit(lambda: transform.for_loop(step, jnp.arange(3.0)))()
    with jax.disable_jit():
        step(1.0)
    for jaxpr, states in seen:
        assert states == (state,)
        out = jex.jaxpr_as_fun(jaxpr)(jnp.float32(2.0), jnp.ones(2))
        np.testing.assert_allclose(out[0], [2.0, 2.0])
    np.testing.assert_allclose(state.value, [5.0, 5.0])


def test_custom_derivatives_stay_in_the_jaxpr() -> None:
    spike = brainir.surrogate.ReluGrad()
    pure = transform.StatefulFunction(lambda x: spike(x).sum())
    x = jnp.array([-0.5, 0.25])
    expected = jax.grad(lambda x: spike(x).sum())(x)
    assert expected.any()
    np.testing.assert_allclose(jax.grad(lambda x: pure.jaxpr_call([], x)[1])(x), expected)


def test_functions_may_use_axes_that_are_named_to_them() -> None:
    state = brainir.State(jnp.ones(2))
    pure = transform.StatefulFunction(
        lambda x: jax.lax.psum(x * state.value, "i"), axis_env=[("i", 3)]
    )
    assert pure.get_jaxpr(1.0).eqns[-1].primitive.name == "psum"
    mapped = jax.vmap(lambda x: pure.jaxpr_call([jnp.ones(2)], x)[1], axis_name="i")
    np.testing.assert_allclose(mapped(jnp.arange(3.0)), np.full((3, 2), 3.0))


def test_a_state_from_a_trace_that_is_given_a_container_later_is_an_ordinary_one() -> None:
    made: list[Any] = []

    @transform.jit
    def make() -> None:
        made.append(brainir.State({"x": jnp.zeros(2)}))

    make()
    made[0].value = {"x": jnp.ones(2)}
    assert transform.jit(lambda: made[0].value["x"].sum())() == 2.0


def test_a_jitted_function_is_a_pure_one_as_well() -> None:
    total = brainir.State(jnp.float32(1))

    class Model:
        def add(self, x: Any, n: int) -> Any:
            total.value += x * n
            return total.value

    model = Model()
    run = transform.jit(model.add, static_argnums=1)
    assert run.origin_fun == model.add
    assert run.stateful_fun is run.stateful_fun
    assert run.stateful_fun.get_states(2.0, 3) == (total,)
    assert float(run.stateful_fun.jaxpr_call([jnp.float32(1)], 2.0, 3)[1]) == 7.0
    assert total.value == 1


def test_all_captures_can_be_checked_at_once() -> None:
    held = brainir.State(jnp.zeros(2))
    pure = transform.StatefulFunction(lambda x: held.value * x)
    pure.make_jaxpr(1.0)
    pure.make_jaxpr(jnp.ones(2))
    assert list(pure.validate_all_states().values()) == [True, True]
    held.value = jnp.zeros(3)
    told = pure.validate_all_states()
    assert len(told) == 2
    assert all("changed since" in str(said) for said in told.values())
