"""`GradientTransform` asks an engine of one's own for what is to stand in place of derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir import transform

GradientTransform: Any = transform.GradientTransform


def scaled(function: Any, argnums: Any, has_aux: bool, scale: float = 1.0) -> Callable[..., Any]:
    """Return what computes gradients, times a number."""
    derive = jax.grad(function, argnums=argnums, has_aux=has_aux)

    def run(*args: Any, **kwargs: Any) -> Any:
        found, aux = derive(*args, **kwargs)
        return jax.tree.map(lambda x: x * scale, found), aux

    return run


def along(function: Any, argnums: Any, has_aux: bool) -> Callable[..., Any]:
    """Return what computes slopes along one direction, forwards, in lanes."""

    def run(by: Any, *rest: Any) -> Any:
        ones = jax.tree.map(jnp.ones_like, by)
        _, slopes, aux = jax.vmap(
            lambda d: jax.jvp(lambda b: function(b, *rest), (by,), (d,), has_aux=has_aux)
        )(jax.tree.map(lambda x: jnp.stack([x, -x]), ones))
        return jax.tree.map(lambda x: x * slopes[0], ones), jax.tree.map(lambda x: x[0], aux)

    return run


class Model:
    """States that are trained, and one that counts."""

    def __init__(self) -> None:
        self.w = brainir.ParamState(jnp.array([1.0, 2.0]))
        self.b = brainir.ParamState(jnp.float32(1.0))
        self.count = brainir.ShortTermState(jnp.int32(0))

    def __call__(self, x: Any, y: Any) -> Any:
        self.count.value = self.count.value + 1
        rows = transform.for_loop(lambda row: (self.w.value * row).sum(), jnp.stack([x, 2 * x]))
        return rows.sum() * y + self.b.value * y, {"x": x}


@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize("by", ["w", "list", "dict", "w and 1", "0", "0 and 1"])
def test_an_engine_gets_what_our_own_kinds_get(by: str, jitted: bool) -> None:
    model, x, y = Model(), jnp.array([3.0, 4.0]), jnp.float32(2.0)
    options: dict[str, Any] = {
        "w": {"grad_states": model.w},
        "list": {"grad_states": [model.w, model.b, model.w]},
        "dict": {"grad_states": {"b": model.b}},
        "w and 1": {"grad_states": [model.w], "argnums": 1},
        "0": {"argnums": 0},
        "0 and 1": {"argnums": (0, 1)},
    }[by]
    options |= {"has_aux": True, "return_value": True}
    wrap = transform.jit if jitted else lambda f: f
    expected = wrap(GradientTransform(model, "grad", **options))(x, y)
    ours = GradientTransform(model, scaled, transform_params={"scale": 1.0}, **options)
    found = wrap(ours)(x, y)
    jax.tree.map(np.testing.assert_allclose, found, expected)
    assert int(model.count.value) == 2
    np.testing.assert_array_equal(model.w.value, [1.0, 2.0])
    assert isinstance(ours, GradientTransform)
    assert repr(ours).startswith("scaled(")


def test_an_engine_may_run_the_function_forwards_and_in_lanes() -> None:
    model, x, y = Model(), jnp.array([3.0, 4.0]), jnp.float32(2.0)
    found = GradientTransform(model, along, [model.w], has_aux=True)(x, y)
    np.testing.assert_allclose(found[0][0], [42.0, 42.0])
    assert int(model.count.value) == 1


def test_what_no_engine_can_be_asked_is_refused() -> None:
    model, unused = Model(), brainir.ParamState(jnp.float32(0.0))
    call = GradientTransform(model, scaled, [unused], has_aux=True)
    with pytest.raises(ValueError, match="does not use it"):
        call(jnp.ones(2), 1.0)
    with pytest.raises(TypeError, match="no derivative of the kind 'sideways'"):
        GradientTransform(model, "sideways")
    assert int(model.count.value) == 0


@pytest.mark.parametrize("jitted", [False, True])
def test_an_engine_is_looked_into_where_it_finds_what_is_not_finite(jitted: bool) -> None:
    root, count = brainir.ParamState(jnp.float32(0.0)), brainir.ShortTermState(jnp.int32(0))

    def loss() -> Any:
        count.value = count.value + 1
        return jnp.sqrt(root.value)

    call = GradientTransform(loss, scaled, [root], debug_nan=True)
    call = transform.jit(call) if jitted else call
    with pytest.raises(RuntimeError):
        call()
    assert int(count.value) == 0
    root.value = jnp.float32(4.0)
    assert float(call()[0]) == 0.25
    assert int(count.value) == 1


def test_an_engine_of_a_function_without_its_pair_is_refused() -> None:
    with pytest.raises(TypeError, match=r"with has_aux, .* must return"):
        GradientTransform(lambda x: x.sum(), scaled, has_aux=True)(jnp.ones(2))


def test_an_engine_runs_where_nothing_is_compiled() -> None:
    model, x, y = Model(), jnp.array([3.0, 4.0]), jnp.float32(2.0)
    with jax.disable_jit():
        found = GradientTransform(model, scaled, [model.w], has_aux=True)(x, y)
    np.testing.assert_allclose(found[0][0], [18.0, 24.0])
    assert int(model.count.value) == 1
