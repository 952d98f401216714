"""Looking at what a function would do: shapes, States, names."""

from __future__ import annotations

import re
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

import brainir
from brainir import transform
from brainir.frontend.testing.check_transformations import outcome
from brainir.frontend.testing.stateful_programs import Recipe
from brainir.ir import walk
from brainir.testing import Runner, World, programs

# --- eval_shape -----------------------------------------------------------------------------------


def types_of(tree: Any) -> list[tuple[Any, Any]]:
    return [(leaf.shape, leaf.dtype) for leaf in map(jnp.asarray, jax.tree.leaves(tree))]


@given(programs())
def test_shapes_are_those_that_a_run_gives_and_states_stay(recipe: Recipe) -> None:
    expected, _, left = outcome(recipe, transform.jit)
    if isinstance(expected, Exception):
        return
    world = World()
    before = world.values()
    run = lambda x: Runner(world).block(recipe, [x])  # noqa: E731
    states, result = transform.eval_shape(run, jnp.ones(3), return_state_shapes=True)
    assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
    for one, other in zip(jax.tree.leaves(before), jax.tree.leaves(world.values()), strict=True):
        assert one is other
    for state, value in states.items():
        if state in world.states:
            assert [(value.shape, value.dtype)] == types_of(left[world.states.index(state)])


def test_a_module_that_is_made_has_states_of_shapes_for_use_downstream() -> None:
    layer, extra = transform.eval_shape(lambda n: (brainir.nn.Linear(2, 3), n), jnp.ones(4))
    assert layer.weight.value["weight"] == jax.ShapeDtypeStruct((2, 3), jnp.float32)
    assert extra.shape == (4,)
    x = jax.ShapeDtypeStruct((5, 2), jnp.float32)
    assert transform.eval_shape(layer, x).shape == (5, 3)
    assert transform.eval_shape(lambda m, x: m(x), layer, x).shape == (5, 3)
    assert transform.eval_shape(lambda m: m["a"], {"a": layer}) is layer
    assert transform.make_jaxpr(layer)(x)[1] == (layer.weight,)


def test_units_and_names_of_arguments_are_kept() -> None:
    found = transform.eval_shape(lambda x, *, k: {"y": x * k}, jnp.ones(2) * u.mV, k=2.0)
    assert u.get_unit(found["y"]) == u.mV
    assert u.get_mantissa(found["y"]).shape == (2,)


def test_what_has_no_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be an instance of State"):
        transform.eval_shape(lambda x: x, brainir.State(1.0))
    with pytest.raises(ValueError, match="cannot be an instance of State"):
        transform.eval_shape(lambda: brainir.State(1.0))
    with pytest.raises(TypeError, match="str"):
        transform.eval_shape(lambda x: x, "text")
    with pytest.raises(TypeError, match="callable"):
        transform.eval_shape(3)  # pyright: ignore[reportArgumentType]


def test_shapes_can_be_asked_for_inside_other_transformations() -> None:
    state = brainir.State(jnp.ones(2))

    def step(x: Any) -> Any:
        def change() -> Any:
            state.value = state.value + 1.0
            return state.value

        assert transform.eval_shape(change).shape == (2,)
        return state.value.sum() * x

    run = lambda: transform.for_loop(step, jnp.arange(3.0))  # noqa: E731
    for way in (run, transform.jit(run)):
        np.testing.assert_allclose(way(), [0.0, 2.0, 4.0])
    with jax.disable_jit():
        np.testing.assert_allclose(run(), [0.0, 2.0, 4.0])
    np.testing.assert_allclose(state.value, [1.0, 1.0])


# --- StateFinder ----------------------------------------------------------------------------------


def touching() -> tuple[Any, Any, Any, Any]:
    a, b = brainir.State(1.0), brainir.ParamState(2.0, name="weight")
    c = brainir.ShortTermState(3.0, name="weight")

    def f(x: Any) -> Any:
        c.value = a.value * x
        b.value = b.value + 1.0
        return c.value

    return a, b, c, f


def test_states_are_found_by_usage() -> None:
    a, b, c, f = touching()

    def found(**options: Any) -> Any:
        return transform.StateFinder(f, **options)(1.0)

    assert found() == {0: a, 1: c, 2: b}
    assert found(usage="read", return_type="list") == [a]
    assert found(usage="write", return_type="tuple") == (c, b)
    assert found(usage="both") == {"read": {0: a}, "write": {0: c, 1: b}}
    assert transform.StateFinder(f, brainir.ParamState).find(1.0) == {0: b}
    assert transform.StateFinder(f, lambda path, state: state is not b)(1.0) == {0: a, 1: c}
    assert (b.value, c.value) == (2.0, 3.0)


def test_keys_that_are_missing_or_taken_give_way_to_names() -> None:
    a, b, c, f = touching()
    nameless = transform.StateFinder(f, key_fn=lambda i, state: None)
    assert nameless(1.0) == {"state_0": a, "weight": c, "weight_1": b}
    twice = transform.StateFinder(f, key_fn=lambda i, state: "k")
    assert twice(1.0) == {"k": a, "weight": c, "weight_1": b}


def test_options_of_a_finder_that_do_not_exist_are_refused() -> None:
    f = touching()[3]
    for options in ({"usage": "none"}, {"return_type": "set"}):
        with pytest.raises(ValueError, match=r"is one of|is dict"):
            transform.StateFinder(f, **options)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="callable"):
        transform.StateFinder(f, key_fn=3)  # pyright: ignore[reportArgumentType]


# --- names ----------------------------------------------------------------------------------------


def test_names_stand_in_graphs_at_every_stage_and_in_what_xla_compiles() -> None:
    state = brainir.State(jnp.zeros(()))

    @transform.named_call(name="outer")
    def f(x: Any) -> Any:
        @transform.named_scope("inner")
        def step(y: Any) -> Any:
            state.value = state.value + transform.jit(lambda z: jnp.sin(z) * x)(y)
            return state.value

        return jnp.cos(transform.for_loop(step, jnp.arange(3.0)))

    traced = transform.jit(f, options=brainir.Options(leave_out=["outline-kernels"])).trace(2.0)
    for stage in ("capture", None):
        scopes = {n.op.name: n.loc.scope for n in walk(traced.graph(stage)) if n.loc}
        assert scopes["sin"] == scopes["add"] == "outer/inner"
        assert scopes["for_loop"] == scopes["cos"] == "outer"
    assert "[outer/inner]" in str(traced.graph())
    text = traced.lower().compile().as_text() or ""
    assert re.search(r"outer/while/body/\w*/?inner/sin", text)
    assert "outer/cos" in text
    assert "outer/inner/outer" not in text


def test_what_has_a_name_does_the_same() -> None:
    state = brainir.State(1.0)

    def f(x: Any) -> Any:
        """Mine."""
        state.value = state.value * x
        return {"y": state.value}

    named = transform.named_call(f)
    assert (named.__name__, named.__doc__) == ("f", "Mine.")
    assert named(x=2.0)["y"] == 2.0
    assert transform.jit(named)(2.0)["y"] == 4.0
    assert transform.grad(lambda x: named(x)["y"])(1.0) == 4.0
    with jax.disable_jit():
        assert named(2.0)["y"] == 8.0
    for wrong in (lambda: transform.named_scope(3), lambda: transform.named_call(f, name=3)):  # pyright: ignore
        with pytest.raises(TypeError, match="a name is a string"):
            wrong()
