"""`optimize`: functions of JAX that know nothing of States, and what may stand around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir.ir import walk

Function = Callable[..., Any]
XS, W = jnp.linspace(-1.0, 1.0, 60).reshape(20, 3), jnp.linspace(-0.5, 0.5, 9).reshape(3, 3)


def recurrent(w: Any, xs: Any) -> Any:
    """A loop whose input's product can leave."""

    def step(h: Any, x: Any) -> Any:
        h = jnp.tanh(0.5 * h + x @ w)
        return h, h

    return (jax.lax.scan(step, jnp.zeros(3), xs)[1] ** 2).mean()


@jax.custom_vjp
def steep(x: Any) -> Any:
    return (x > 0).astype(x.dtype)


steep.defvjp(lambda x: (steep(x), x), lambda x, g: (g / (1 + x * x),))


def spiking(w: Any, xs: Any) -> Any:
    """A loop in two layers, with a surrogate gradient."""

    def step(carry: Any, x: Any) -> Any:
        (u, v), spikes = carry, None
        u = 0.9 * u + x @ w
        spikes = steep(u - 0.2)
        v = 0.8 * v + spikes @ w.T
        return (u - spikes, v), v.sum()

    zeros = jnp.zeros(3)
    return jax.lax.scan(step, (zeros, zeros), xs, reverse=True)[1].sum()


def controlled(w: Any, xs: Any) -> Any:
    """A branch inside a loop inside a loop, and a dictionary of results."""

    def inner(k: Any, v: Any) -> Any:
        return jax.lax.cond(v.sum() > 0, lambda a: jnp.sin(a @ w), lambda a: a * 0.5 + k, v)

    def step(h: Any, x: Any) -> Any:
        h = jax.lax.fori_loop(0, 3, inner, h + x)
        return h, {"h": h, "positive": h > 0}

    last, ys = jax.lax.scan(step, jnp.ones(3), xs)
    return last.sum() + jnp.where(ys["positive"], ys["h"], 0.0).mean()


def nested(w: Any, xs: Any) -> Any:
    """A derivative of a batch of loops."""
    each = jax.vmap(recurrent, (None, 0))(w, jnp.stack([xs, 2 * xs]))
    return each.sum() + jax.grad(recurrent)(w, xs).sum()


FUNCTIONS = [recurrent, spiking, controlled, nested]
AROUND: dict[str, Callable[[Function], Function]] = {
    "nothing": lambda f: f,
    "jit": jax.jit,
    "grad": jax.grad,
    "value_and_grad": jax.value_and_grad,
    "jit of grad": lambda f: jax.jit(jax.grad(f)),
    "grad of jit": lambda f: jax.grad(jax.jit(f)),
    "vmap": lambda f: lambda w, xs: jax.vmap(f, (0, None))(jnp.stack([w, -w, 2 * w]), xs),
    "vmap of grad": lambda f: (
        lambda w, xs: jax.vmap(jax.grad(f), (None, 0))(w, jnp.stack([xs, xs + 1]))
    ),
    "vjp": lambda f: lambda w, xs: jax.vjp(f, w, xs)[1](1.0),
    "checkpoint": lambda f: jax.grad(jax.checkpoint(f)),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_whatever_stands_around_it_it_means_the_same(function, around):
    expected = AROUND[around](function)(W, XS)
    for found in (
        AROUND[around](brainir.optimize(function))(W, XS),
        brainir.optimize(AROUND[around](function))(W, XS),
    ):
        assert jax.tree.structure(found) == jax.tree.structure(expected)
        for mine, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            assert mine.dtype == theirs.dtype
            np.testing.assert_allclose(mine, theirs, rtol=2e-5, atol=1e-5)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("function", [recurrent, controlled])
def test_forward_mode_goes_through(function):
    tangents = jnp.ones_like(W), jnp.ones_like(XS)
    expected = jax.jvp(function, (W, XS), tangents)
    found = jax.jvp(brainir.optimize(function), (W, XS), tangents)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-5)
    hessian = jax.hessian(brainir.optimize(function))(W, XS)
    np.testing.assert_allclose(hessian, jax.hessian(function)(W, XS), rtol=1e-3, atol=1e-4)


def products_in_loops(graph: Any) -> int:
    loops = [node for node in walk(graph) if node.op.name == "for_loop"]
    return sum(n.op.name == "dot_general" for loop in loops for n in loop.regions[0].nodes)


def test_products_leave_the_loops_of_jax_and_those_of_its_derivatives():
    xs, w = jnp.ones((100, 64)), jnp.ones((64, 64)) / 64

    def loss(w: Any, xs: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            h = jnp.tanh(0.5 * h + x @ w)
            return h, h

        return jax.lax.scan(step, jnp.zeros(64), xs)[1].mean()

    traced = brainir.optimize(jax.grad(loss)).trace(w, xs)
    assert products_in_loops(traced.graph("capture")) == 2
    assert products_in_loops(traced.graph()) == 0


def test_static_arguments_options_and_a_decorator_without_a_function():
    @brainir.optimize(static_argnames="times", options=brainir.Options(leave_out=["simplify"]))
    def scaled(x: Any, times: int) -> Any:
        return x * float(times) * 1.0

    assert scaled(jnp.ones(2), times=3).tolist() == [3.0, 3.0]
    assert [n.op.name for n in scaled.trace(jnp.ones(2), times=3).graph().nodes] == ["mul", "mul"]


def test_integers_keys_and_functions_without_arguments():
    draw = brainir.optimize(lambda key, n: (jax.random.normal(key, (2,)), n + 1))
    key = jax.random.key(3)
    np.testing.assert_allclose(draw(key, 4)[0], jax.random.normal(key, (2,)), rtol=1e-6)
    assert draw(key, 4)[1] == 5
    assert brainir.optimize(lambda: jnp.arange(3).sum())() == 3


def test_what_is_no_function_is_refused():
    with pytest.raises(TypeError, match="optimize"):
        brainir.optimize(3)
