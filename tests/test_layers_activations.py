"""Activations, as functions and as modules."""

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir import nn

X = jnp.array([[-4.0, -1.0, -0.2], [0.0, 0.3, 7.0]])

SAME_AS_JAX = [
    *("relu", "relu6", "celu", "elu", "selu", "gelu", "sigmoid", "silu", "mish", "leaky_relu"),
    *("soft_sign", "softplus", "squareplus", "sparse_plus", "sparse_sigmoid", "hard_sigmoid"),
    *("hard_silu", "hard_tanh", "log_sigmoid", "softmax", "log_softmax", "logsumexp", "tanh"),
    *("standardize", "swish", "hard_swish"),
]

BY_FORMULA = {
    "prelu": lambda x: np.where(x > 0, x, 0.25 * x),
    "tanh_shrink": lambda x: x - np.tanh(x),
    "hard_shrink": lambda x: np.where(np.abs(x) > 0.5, x, 0),
    "soft_shrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
    "softmin": lambda x: np.exp(-x) / np.exp(-x).sum(-1, keepdims=True),
}

MODULES = {
    **{"ReLU": "relu", "ReLU6": "relu6", "SELU": "selu", "CELU": "celu", "ELU": "elu"},
    **{"Sigmoid": "sigmoid", "LogSigmoid": "log_sigmoid", "Hardsigmoid": "hard_sigmoid"},
    **{"SiLU": "silu", "Hardswish": "hard_swish", "Mish": "mish", "Tanh": "tanh"},
    **{"Tanhshrink": "tanh_shrink", "Softplus": "softplus", "Softsign": "soft_sign"},
    **{"LeakyReLU": "leaky_relu", "Hardtanh": "hard_tanh", "Hardshrink": "hard_shrink"},
    **{"Softshrink": "soft_shrink", "Softmax": "softmax", "Softmin": "softmin"},
    **{"LogSoftmax": "log_softmax", "PReLU": "prelu"},
}


@pytest.mark.parametrize("name", SAME_AS_JAX)
def test_activations_are_those_of_jax(name):
    np.testing.assert_allclose(getattr(nn, name)(X), getattr(jax.nn, name)(X), rtol=1e-6)


@pytest.mark.parametrize("name", BY_FORMULA)
def test_activations_follow_their_formula(name):
    expected = BY_FORMULA[name](np.asarray(X))
    np.testing.assert_allclose(getattr(nn, name)(X), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_the_functions(name):
    module = getattr(nn, name)()
    assert isinstance(module, nn.ElementWiseBlock)
    np.testing.assert_array_equal(module(X), getattr(nn, MODULES[name])(X))


def test_modules_hand_on_their_settings():
    np.testing.assert_array_equal(nn.LeakyReLU(0.5)(X), nn.leaky_relu(X, 0.5))
    np.testing.assert_array_equal(nn.GELU()(X), jax.nn.gelu(X, approximate=False))
    np.testing.assert_array_equal(nn.ELU(2.0)(X), nn.elu(X, 2.0))
    np.testing.assert_array_equal(nn.CELU(2.0)(X), nn.celu(X, 2.0))
    np.testing.assert_array_equal(nn.Hardtanh(-0.5, 0.1)(X), jnp.clip(X, -0.5, 0.1))
    np.testing.assert_array_equal(nn.Hardshrink(2.0)(X), nn.hard_shrink(X, 2.0))
    np.testing.assert_array_equal(nn.Softshrink(2.0)(X), nn.soft_shrink(X, 2.0))
    np.testing.assert_array_equal(nn.Softmax(0)(X), jax.nn.softmax(X, 0))
    np.testing.assert_array_equal(nn.GLU(0)(X), jax.nn.glu(X, 0))
    np.testing.assert_array_equal(nn.Threshold(0.0, 9.0)(X), jnp.where(X > 0, X, 9.0))
    np.testing.assert_array_equal(nn.Identity()(X), X)


def test_units_are_kept_where_the_function_scales_and_refused_elsewhere():
    volts = X * u.mV
    for name in ("relu", "leaky_relu", "prelu"):
        np.testing.assert_array_equal(
            getattr(nn, name)(volts).to_decimal(u.mV), getattr(nn, name)(X)
        )
    for name in ("tanh", "sigmoid", "softmax", "gelu", "hard_shrink", "standardize"):
        with pytest.raises(TypeError, match="mV"):
            getattr(nn, name)(volts)
        np.testing.assert_allclose(
            getattr(nn, name)(volts / (1000.0 * u.uvolt)), getattr(nn, name)(X), rtol=1e-6
        )
    with pytest.raises(TypeError, match="mV"):
        nn.Softplus()(volts)


def test_random_slopes_lie_between_their_bounds():
    brainir.random.seed(0)
    y = nn.RReLU(0.2, 0.4)(jnp.where(X == 0, 1.0, X) * u.mV).to_decimal(u.mV)
    slopes = (y / jnp.where(X == 0, 1.0, X))[X < 0]
    assert ((slopes > 0.2) & (slopes < 0.4)).all()
    assert len(set(slopes.tolist())) == 3
    np.testing.assert_array_equal(y[X > 0], X[X > 0])


def test_one_hot_marks_classes():
    found = nn.one_hot(jnp.array([1, 5, -1]), 3)
    np.testing.assert_array_equal(found, [[0, 1, 0], [0, 0, 0], [0, 0, 0]])
    assert found.dtype == jnp.float32
    assert nn.one_hot(jnp.ones((4, 2), int), 3, dtype=jnp.int32, axis=0).shape == (3, 4, 2)


def test_a_trained_slope_gets_its_gradient():
    prelu = nn.PReLU(3)
    grads = brainir.transform.grad(lambda: prelu(X).sum(), prelu.states())()
    np.testing.assert_allclose(grads[("weight",)], jnp.minimum(X, 0).sum(0))


@pytest.mark.parametrize("name", ["relu", "softmax", "gelu", "selu", "log_softmax"])
def test_activations_compile_batch_and_differentiate(name):
    function = getattr(nn, name)
    compiled = brainir.transform.jit(brainir.transform.vmap(function))(X)
    expected = jax.vmap(getattr(jax.nn, name))(X)
    np.testing.assert_allclose(compiled, expected, rtol=1e-5, atol=1e-6)
    found = brainir.transform.jit(brainir.transform.grad(lambda x: (function(x) ** 2).sum()))(X)
    expected = jax.grad(lambda x: (getattr(jax.nn, name)(x) ** 2).sum())(X)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
