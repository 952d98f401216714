"""Surrogate gradients: the step, what stands for its derivative, and how they combine with JAX."""

import copy

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from brainir import ParamState, surrogate, transform

# Each: parameters other than the default ones, and the points where the gradient is not smooth.
SURROGATES = {
    "Sigmoid": ((2.0,), []),
    "PiecewiseQuadratic": ((2.0,), [-1, -0.5, 0, 0.5, 1]),
    "PiecewiseExp": ((2.0,), [0]),
    "SoftSign": ((2.0,), [0]),
    "Arctan": ((2.0,), []),
    "NonzeroSignLog": ((2.0,), [0]),
    "ERF": ((2.0,), []),
    "PiecewiseLeakyRelu": ((0.1, 0.5), [-1, -0.5, 0.5, 1]),
    "SquarewaveFourierSeries": ((3, 5.0), []),
    "S2NN": ((3.0, 2.0), [0]),
    "QPseudoSpike": ((3.0,), [0]),
    "LeakyRelu": ((0.2, 0.7), [0]),
    "LogTailedRelu": ((0.2,), [0, 1]),
    "ReluGrad": ((0.5, 2.0), None),
    "GaussianGrad": ((0.7, 0.3), None),
    "MultiGaussianGrad": ((0.2, 3.0, 0.7, 0.9), None),
    "InvSquareGrad": ((5.0,), None),
    "SlayerGrad": ((2.0,), None),
}
FUNCTIONS = {
    "Sigmoid": "sigmoid",
    "PiecewiseQuadratic": "piecewise_quadratic",
    "PiecewiseExp": "piecewise_exp",
    "SoftSign": "soft_sign",
    "Arctan": "arctan",
    "NonzeroSignLog": "nonzero_sign_log",
    "ERF": "erf",
    "PiecewiseLeakyRelu": "piecewise_leaky_relu",
    "SquarewaveFourierSeries": "squarewave_fourier_series",
    "S2NN": "s2nn",
    "QPseudoSpike": "q_pseudo_spike",
    "LeakyRelu": "leaky_relu",
    "LogTailedRelu": "log_tailed_relu",
    "ReluGrad": "relu_grad",
    "GaussianGrad": "gaussian_grad",
    "MultiGaussianGrad": "multi_gaussian_grad",
    "InvSquareGrad": "inv_square_grad",
    "SlayerGrad": "slayer_grad",
}
POINTS = jnp.array([-3.0, -1.0, -0.5, 0.0, 0.1, 2.0])
# The gradients at POINTS with the default parameters, from the equations.
GRADIENTS = {
    "Sigmoid": [2.4576e-05, 0.0706508, 0.419974, 1.0, 0.961043, 0.00134096],
    "PiecewiseQuadratic": [0.0, 0.0, 0.5, 1.0, 0.9, 0.0],
    "PiecewiseExp": [0.0248935, 0.18394, 0.303265, 0.5, 0.452419, 0.0676676],
    "SoftSign": [0.03125, 0.125, 0.222222, 0.5, 0.413223, 0.0555556],
    "Arctan": [0.0215456, 0.1442, 0.309243, 0.5, 0.48796, 0.0459995],
    "NonzeroSignLog": [0.25, 0.5, 0.666667, 1.0, 0.909091, 0.333333],
    "ERF": [6.96265e-05, 0.207554, 0.439391, 0.56419, 0.558576, 0.0103335],
    "PiecewiseLeakyRelu": [0.01, 0.5, 0.5, 0.5, 0.5, 0.01],
    "SquarewaveFourierSeries": [0.0, 0.0, 0.653281, 1.0, 0.984644, 0.0],
    "S2NN": [2.4576e-05, 0.0706508, 0.419974, 1.0, 0.909091, 0.333333],
    "QPseudoSpike": [0.111111, 0.36, 0.5625, 1.0, 0.878906, 0.183673],
    "LeakyRelu": [0.1, 0.1, 0.1, 1.0, 1.0, 1.0],
    "LogTailedRelu": [0.0, 0.0, 0.0, 0.0, 1.0, 0.5],
    "ReluGrad": [0.0, 0.0, 0.15, 0.3, 0.27, 0.0],
    "GaussianGrad": [6.07588e-09, 0.053991, 0.241971, 0.398942, 0.391043, 0.000133830],
    "MultiGaussianGrad": [-0.0120978, 0.043452, 0.258858, 0.439112, 0.430038, -0.0156956],
    "InvSquareGrad": [1.10374e-05, 9.80296e-05, 3.84468e-04, 1.0, 0.00826446, 2.47519e-05],
    "SlayerGrad": [0.0497871, 0.367879, 0.606531, 1.0, 0.904837, 0.135335],
}

names = pytest.mark.parametrize("name", SURROGATES)


def both(name):
    """A surrogate with its default parameters, and with others."""
    kind = getattr(surrogate, name)
    return kind(), kind(*SURROGATES[name][0])


def test_every_surrogate_is_tested():
    given_names = {*SURROGATES, *FUNCTIONS.values(), "Surrogate"}
    assert given_names == set(surrogate.__all__)
    assert GRADIENTS.keys() == SURROGATES.keys() == FUNCTIONS.keys()


@pytest.mark.sampled(3)
@names
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "int32"])
def test_the_spike_is_a_step_in_the_type_of_its_input(name, dtype):
    x = POINTS.astype(dtype)
    for spike in both(name):
        assert spike(x).dtype == x.dtype
        assert np.array_equal(spike(x), np.asarray(x) >= 0)
        assert spike(jnp.array([jnp.nan, -0.0])).tolist() == [0.0, 1.0]


@names
def test_the_gradient_has_the_values_of_its_equation(name):
    gradient = jax.vmap(jax.grad(both(name)[0]))(POINTS)
    np.testing.assert_allclose(gradient, GRADIENTS[name], rtol=2e-5, atol=1e-7)


@names
@given(x=st.floats(-4, 4, width=32))
def test_the_gradient_is_the_derivative_of_the_smooth_function(name, x):
    kinks = SURROGATES[name][1]
    if kinks is None:
        with pytest.raises(NotImplementedError, match="by its gradient alone"):
            both(name)[0].surrogate_fun(jnp.float32(x))
        return
    assume(all(abs(x - kink) > 0.01 for kink in kinks))
    for spike in both(name):
        step = 2e-3
        high, low = (float(spike.surrogate_fun(jnp.float32(x + d))) for d in (step, -step))
        slope = (high - low) / (2 * step)
        assert abs(float(spike.surrogate_grad(jnp.float32(x))) - slope) < 2e-3


@pytest.mark.sampled(3)
@names
def test_forward_and_reverse_mode_and_batches_agree_and_second_derivatives_are_zero(name):
    for spike in both(name):
        expected = spike.surrogate_grad(POINTS)
        out, tangent = jax.jvp(spike, (POINTS,), (jnp.full_like(POINTS, 2.0),))
        assert np.array_equal(out, spike(POINTS))
        np.testing.assert_allclose(tangent, 2 * expected, rtol=1e-6)
        _, pull = jax.vjp(spike, POINTS)
        np.testing.assert_allclose(pull(jnp.full_like(POINTS, 2.0))[0], 2 * expected, rtol=1e-6)
        second = jax.grad(lambda x, spike=spike: jax.jvp(spike, (x,), (1.0,))[1])
        assert float(second(0.3)) == 0.0


@names
def test_the_function_is_the_class(name):
    kind, function = getattr(surrogate, name), getattr(surrogate, FUNCTIONS[name])
    parameters = SURROGATES[name][0]
    assert function.__name__ == FUNCTIONS[name]
    for args in ((), parameters):
        expected = jax.value_and_grad(kind(*args))(0.3)
        assert expected == jax.value_and_grad(lambda x, args=args: function(x, *args))(0.3)


@names
def test_equal_parameters_make_equal_surrogates(name):
    default, other = both(name)
    assert default == copy.copy(default) == getattr(surrogate, name)()
    assert hash(default) == hash(getattr(surrogate, name)())
    assert default != other
    assert repr(default) != repr(other)


def test_surrogates_print_as_they_are_made():
    assert repr(surrogate.ReluGrad()) == "ReluGrad(alpha=0.3, width=1.0)"
    assert surrogate.Sigmoid() != surrogate.ERF(4.0)


@pytest.mark.parametrize(
    ("name", "area"),
    [
        ("Sigmoid", 1.0),
        ("PiecewiseQuadratic", 1.0),
        ("PiecewiseExp", 1.0),
        ("ERF", 1.0),
        ("ReluGrad", 0.3),
        ("GaussianGrad", 0.5),
        ("SlayerGrad", 2.0),
    ],
)
def test_gradients_with_light_tails_have_their_area(name, area):
    x = jnp.linspace(-20, 20, 40_001)
    gradient = both(name)[0].surrogate_grad(x)
    assert abs(float(jnp.trapezoid(gradient, x)) - area) < 1e-3


def test_inputs_with_a_unit_are_refused_and_ratios_are_not():
    spike = surrogate.ReluGrad()
    with pytest.raises(TypeError, match="without a unit"):
        spike(1.0 * u.mV)
    assert float(spike(u.Quantity(0.5))) == 1.0
    assert float(spike(-3.0 * u.mV / u.volt)) == 0.0
    ratio = jax.grad(lambda v: spike((v * u.mV) / (2.0 * u.mV)))(1.0)
    assert abs(float(ratio) - 0.3 * 0.5 / 2) < 1e-6


def test_parameters_may_be_arrays_and_traced():
    alphas = jnp.array([0.3, 0.6])

    def slope(alpha):
        return jax.grad(lambda x: surrogate.relu_grad(x, alpha))(0.5)

    for sweep in (jax.vmap(slope), jax.jit(jax.vmap(slope))):
        np.testing.assert_allclose(sweep(alphas), [0.15, 0.3], rtol=1e-6)
    spike = surrogate.ReluGrad(alphas)
    np.testing.assert_allclose(
        jax.grad(lambda x: spike(x).sum())(jnp.full(2, 0.5)), [0.15, 0.3], rtol=1e-6
    )
    both_ways = jax.grad(lambda x, a: surrogate.relu_grad(x * a, a), argnums=(0, 1))(0.5, 0.3)
    np.testing.assert_allclose(both_ways, [0.3 * 0.85 * 0.3, 0.3 * 0.85 * 0.5], rtol=1e-5)
    assert spike == spike
    assert spike != surrogate.ReluGrad(alphas + 0)


def test_a_new_surrogate_needs_only_its_gradient():
    class Flat(surrogate.Surrogate):
        def surrogate_grad(self, x):
            return jnp.ones_like(x)

    assert float(jax.grad(Flat())(-7.0)) == 1.0
    assert Flat() == Flat()
    with pytest.raises(NotImplementedError, match="defines no surrogate_grad"):
        jax.grad(surrogate.Surrogate())(1.0)


def test_spikes_train_through_loops_of_states():
    weight = ParamState(jnp.float32(0.4))
    spike = surrogate.ReluGrad()

    def loss():
        spikes = transform.for_loop(lambda x: spike(weight.value * x - 1.0), jnp.arange(4.0))
        return spikes.sum()

    (gradient,) = transform.grad(loss, [weight])()
    x = np.arange(4.0)
    expected = (0.3 * np.maximum(1 - np.abs(0.4 * x - 1), 0) * x).sum()
    np.testing.assert_allclose(gradient, expected, rtol=1e-5)
