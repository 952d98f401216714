"""The exponential Euler step: exactness, order, units, noise, and the numbers of the tutorial."""

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import brainir
from brainir.frontend.nn.integrate import exprel

step = brainir.nn.exp_euler_step


def exact_exprel(x):
    x = np.longdouble(x)
    return np.expm1(x) / x


def exact_slope(x):
    """The derivative of exprel, in extended precision: as a series where the fraction cancels."""
    x = np.longdouble(x)
    if abs(x) > 0.5:
        return ((x - 1) * exact_exprel(x) + 1) / x
    term, total = np.longdouble(0.5), np.longdouble(0.5)
    for k in range(1, 30):
        term = term * x * (k + 1) / (k * (k + 2))
        total += term
    return total


MAGNITUDE = st.floats(-7, 1.8).map(lambda exponent: 10.0**exponent)


@given(MAGNITUDE, st.sampled_from([1, -1]))
def test_exprel_and_its_slope_are_accurate(magnitude, sign):
    x = jnp.float32(sign * magnitude)
    value, slope = jax.value_and_grad(exprel)(x)
    np.testing.assert_allclose(float(value), float(exact_exprel(float(x))), rtol=5e-7)
    np.testing.assert_allclose(float(slope), float(exact_slope(float(x))), rtol=1e-5)
    if magnitude < 1:
        np.testing.assert_allclose(float(slope), float(exact_slope(float(x))), rtol=2e-6)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("x", [0.0, 1e-40, -1e-8, 1e-6])
def test_exprel_is_smooth_at_zero(x, dtype):
    x = jnp.asarray(x, dtype)
    assert exprel(x).dtype == dtype
    assert float(exprel(x)) == pytest.approx(1.0, abs=1e-5)
    assert float(jax.grad(exprel)(x)) == pytest.approx(1 / 2, abs=1e-5)
    tolerance = 1e-5 if dtype == jnp.float32 else 1e-2
    assert float(jax.grad(jax.grad(exprel))(x)) == pytest.approx(1 / 3, abs=tolerance)


def test_exprel_has_its_limits():
    x = jnp.asarray([-jnp.inf, -90.0, 80.0])
    np.testing.assert_allclose(exprel(x), [0.0, 1 / 90, np.expm1(80) / 80], rtol=1e-5)


@given(st.floats(0.5, 50.0), st.floats(-80.0, 40.0))
def test_a_linear_decay_is_exact(tau, potential):
    with brainir.environ.context(dt=0.1 * u.ms):
        value = step(lambda v, tau: -v / tau, potential * u.mV, tau * u.ms)
    np.testing.assert_allclose(
        float(value.to_decimal(u.mV)), potential * np.exp(-0.1 / tau), rtol=1e-6, atol=1e-12
    )


def error_of_the_logistic_equation(steps):
    x, dt = jnp.asarray([0.1, 0.4]), 2.0 / steps
    with brainir.environ.context(dt=dt):
        for _ in range(steps):
            x = step(lambda x: x * (1 - x), x)
    start = np.array([0.1, 0.4])
    exact = start * np.exp(2.0) / (1 + start * np.expm1(2.0))
    return np.abs(np.asarray(x) - exact).max()


def test_the_step_is_of_second_order_for_a_nonlinear_equation():
    coarse, fine = error_of_the_logistic_equation(4), error_of_the_logistic_equation(8)
    assert coarse / fine == pytest.approx(4.0, rel=0.25)


@pytest.mark.parametrize("value", [1.0, np.float32(1.0), np.ones(2), jnp.ones((2, 3))])
def test_any_floating_value_may_advance(value):
    with brainir.environ.context(dt=0.1):
        advanced = step(lambda v: -v / 5.0, value)
    assert advanced.shape == np.shape(value)
    np.testing.assert_allclose(advanced, np.full(np.shape(value), 0.98019868), rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_the_dtype_is_kept(dtype):
    with brainir.environ.context(dt=0.1):
        assert step(lambda v: -v / 5.0, jnp.ones(2, dtype)).dtype == dtype


def test_scaled_units_are_converted():
    def drift(v):
        return 1.0 * u.volt / u.second - v / (1e9 * u.second)

    with brainir.environ.context(dt=0.1 * u.ms):
        value = step(drift, 1.0 * u.mV)
    assert value.unit == u.mV
    np.testing.assert_allclose(value.mantissa, 1.1, rtol=1e-6)


def test_further_arguments_reach_the_drift_and_the_diffusion():
    def drift(v, target, gain=1.0):
        return (target * gain - v) / (5.0 * u.ms)

    def diffusion(v, target, gain=1.0):
        return 0.0 * (v + target * gain) / u.ms**0.5

    with brainir.environ.context(dt=0.1 * u.ms):
        plain = step(drift, 1.0 * u.mV, 2.0 * u.mV, gain=3.0)
        noisy = step(drift, diffusion, 1.0 * u.mV, 2.0 * u.mV, gain=3.0)
    np.testing.assert_allclose(plain.mantissa, 6.0 - 5.0 * 0.98019868, rtol=1e-6)
    np.testing.assert_allclose(noisy.mantissa, plain.mantissa)


def test_noise_has_the_variance_of_a_wiener_process():
    brainir.random.seed(0)
    v = jnp.zeros(20_000) * u.mV
    with brainir.environ.context(dt=0.25 * u.ms):
        after = step(lambda v: 0.0 * v / u.ms, lambda v: 3.0 * u.uvolt / u.ms**0.5, v)
    kicks = after.to_decimal(u.uvolt)
    assert abs(kicks.mean()) < 0.05
    assert kicks.std() == pytest.approx(3.0 * 0.5, rel=0.02)


def test_the_gradient_reaches_the_parameters_of_the_drift():
    def advanced(tau):
        return step(lambda v: -v / tau, jnp.float32(2.0))

    with brainir.environ.context(dt=0.1):
        slope = brainir.transform.grad(advanced)(5.0)
    np.testing.assert_allclose(slope, 2.0 * np.exp(-0.1 / 5.0) * 0.1 / 25.0, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((3.0, 1.0), AssertionError, "drift must be callable"),
        ((lambda v: v,), AssertionError, "needs the value"),
        ((lambda v: v, lambda v: v), AssertionError, "needs the value"),
        ((lambda v: v, 1), ValueError, "dtype int32"),
        ((lambda v: v, jnp.arange(3) * u.mV), ValueError, "dtype int32"),
        ((lambda v: v, jnp.ones(2, bool)), ValueError, "dtype bool"),
        ((lambda v: -v, 1.0 * u.mV), TypeError, "drift of a value in mV has unit mV"),
        ((lambda v: -v / (5 * u.mV), 1.0 * u.mV), TypeError, "drift of a value in mV has unit 1;"),
        (
            (lambda v: -v / u.ms, lambda v: v / u.ms, 1.0 * u.mV),
            ValueError,
            "diffusion of a value in mV has unit mV / ms",
        ),
    ],
)
def test_wrong_arguments_are_named(arguments, error, message):
    with brainir.environ.context(dt=0.1 * u.ms), pytest.raises(error, match=message):
        step(*arguments)


def test_a_missing_time_step_is_named():
    with pytest.raises(KeyError, match="dt"):
        step(lambda v: -v, 1.0)


def test_the_numbers_of_the_tutorial_come_out():
    neuron = brainir.nn.init_all_states(brainir.nn.LIF(1))

    def run(current):
        spikes = neuron(current)
        return neuron.V.value, spikes

    with brainir.environ.context(dt=0.1 * u.ms):
        potentials, spikes = brainir.transform.for_loop(run, np.ones(500) * 1.5 * u.mA)
    trace = np.asarray(potentials.to_decimal(u.mV))[:, 0]
    first = [0.02970199, 0.05881584, 0.0873532, 0.11532548, 0.14274387]
    np.testing.assert_allclose(trace[:5], first, rtol=1e-7)
    np.testing.assert_allclose([trace[-1], trace.max()], [0.14368424, 1.0010393], rtol=1e-7)
    np.testing.assert_allclose(trace.sum(), 297.37241, rtol=1e-6)
    assert np.flatnonzero(spikes[:, 0]).tolist() == list(range(54, 500, 55))
