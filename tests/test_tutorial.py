"""The tutorial's six transformations, and the numbers that each of them must give."""

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir

SPIKE_PERIOD = 55  # time steps between two spikes at 1.5 mA


class LIF(brainir.nn.Dynamics):
    """A leaky integrate-and-fire population with soft reset.

    Between spikes ``tau dV/dt = V_rest - V + R I``; a spike lowers ``V`` by ``V_th - V_reset``.
    """

    def __init__(self, in_size):
        super().__init__(in_size)
        self.R = brainir.init.param(1.0 * u.ohm, self.varshape)
        self.tau = brainir.init.param(5.0 * u.ms, self.varshape)
        self.V_th = brainir.init.param(1.0 * u.mV, self.varshape)
        self.V_reset = brainir.init.param(0.0 * u.mV, self.varshape)
        self.V_rest = brainir.init.param(0.0 * u.mV, self.varshape)
        self.V_initializer = brainir.init.Constant(0.0 * u.mV)
        self.spike_function = brainir.surrogate.ReluGrad()

    def init_state(self, batch_size=None):
        self.V = brainir.HiddenState(self.initial_potential(batch_size))

    def reset_state(self, batch_size=None):
        self.V.value = self.initial_potential(batch_size)

    def initial_potential(self, batch_size):
        return brainir.init.param(self.V_initializer, self.varshape, batch_size)

    def spike(self, potential):
        return self.spike_function((potential - self.V_th) / (self.V_th - self.V_reset))

    def update(self, current):
        previous = self.V.value
        after_reset = previous - (self.V_th - self.V_reset) * self.spike(previous)

        def derivative(potential):
            return (self.V_rest - potential + self.R * current) / self.tau

        self.V.value = brainir.nn.exp_euler_step(derivative, after_reset)
        return self.spike(self.V.value)


@pytest.fixture(autouse=True)
def time_step():
    with brainir.environ.context(dt=0.1 * u.ms):
        yield


def new_neuron():
    return brainir.nn.init_all_states(LIF(1))


def run(neuron, currents):
    """Drive a neuron with one current per time step; return potentials and spikes."""

    def step(i, current):
        with brainir.environ.context(i=i):
            spikes = neuron(current)
            return neuron.V.value, spikes

    return brainir.transform.for_loop(step, np.arange(currents.shape[0]), currents)


def run_new_neuron(currents):
    return run(new_neuron(), currents)


def constant_current(steps):
    return np.ones(steps) * 1.5 * u.mA


def plain_and_jitted(function, *args):
    """Call a function without and with ``jit``, check that they agree to the bit, return both."""
    plain = function(*args)
    jitted = brainir.transform.jit(function)(*args)
    for left, right in zip(jax.tree.leaves(plain), jax.tree.leaves(jitted), strict=True):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)
    return plain, jitted


def sum_of(potentials):
    """Sum in double precision, so that the order of summation cannot show."""
    return np.asarray(potentials.mantissa, np.float64).sum()


def test_a_constant_current_gives_the_known_potentials_and_spikes():
    for potentials, spikes in plain_and_jitted(run_new_neuron, constant_current(500)):
        assert potentials.unit == u.mV
        assert potentials.shape == spikes.shape == (500, 1)
        assert potentials.dtype == spikes.dtype == jnp.float32
        assert not isinstance(spikes, u.Quantity)
        trace = np.asarray(potentials.mantissa)[:, 0]
        known = [0.02970199, 0.05881584, 0.0873532, 0.11532548, 0.14274387]
        np.testing.assert_allclose(trace[:5], known, rtol=1e-6)
        np.testing.assert_allclose(trace[-1], 0.14368424, rtol=1e-5)
        np.testing.assert_allclose(trace.max(), 1.0010393, rtol=1e-6)
        np.testing.assert_allclose(sum_of(potentials), 297.37241, rtol=1e-6)
        expected = np.arange(54, 500, SPIKE_PERIOD)
        assert len(expected) == 9
        np.testing.assert_array_equal(np.flatnonzero(np.asarray(spikes)), expected)


@pytest.mark.parametrize("bar", [None, 1000, brainir.transform.ProgressBar(1000)], ids=type)
def test_a_long_run_gives_the_known_spikes_with_and_without_a_progress_bar(bar):
    neuron = new_neuron()

    def step(i, current):
        with brainir.environ.context(i=i):
            spikes = neuron(current)
            return neuron.V.value, spikes

    def simulate(currents):
        neuron.reset_state()
        indices = np.arange(currents.shape[0])
        return brainir.transform.for_loop(step, indices, currents, pbar=bar)

    for potentials, spikes in plain_and_jitted(simulate, constant_current(10_000)):
        assert int(spikes.sum()) == 181
        np.testing.assert_allclose(sum_of(potentials), 5996.1128, rtol=1e-6)


def test_five_thousand_steps_spike_ninety_times_and_leave_the_same_state():
    neuron = new_neuron()

    def simulate(currents):
        neuron.reset_state()
        return run(neuron, currents)

    currents = constant_current(5000)
    plain, plain_spikes = simulate(currents)
    final = neuron.V.value.mantissa
    np.testing.assert_array_equal(final, plain.mantissa[-1])
    jitted = brainir.transform.jit(simulate)
    for _ in range(2):
        potentials, spikes = jitted(currents)
        assert int(spikes.sum()) == 90
        np.testing.assert_array_equal(potentials.mantissa, plain.mantissa)
        np.testing.assert_array_equal(spikes, plain_spikes)
        np.testing.assert_array_equal(neuron.V.value.mantissa, final)


def test_a_sweep_over_weak_currents_stays_below_threshold():
    strengths = np.linspace(0.1, 0.2, 10)
    currents = u.math.asarray([np.ones(1000) * strength * u.mA for strength in strengths])
    sweep = brainir.transform.vmap(run_new_neuron)
    for potentials, spikes in plain_and_jitted(sweep, currents):
        assert potentials.unit == u.mV
        assert potentials.shape == spikes.shape == (10, 1000, 1)
        assert int(spikes.sum()) == 0
        np.testing.assert_allclose(potentials.mantissa.max(), 0.19999963, rtol=1e-6)
        np.testing.assert_allclose(sum_of(potentials), 1425.7466, rtol=1e-6)


@pytest.mark.parametrize(("trials", "steps"), [(50, 2000), (100, 1000)])
def test_many_equal_trials_spike_eighteen_hundred_times(trials, steps):
    currents = u.math.asarray([constant_current(steps) for _ in range(trials)])
    sweep = brainir.transform.vmap(run_new_neuron)
    for potentials, spikes in plain_and_jitted(sweep, currents):
        assert spikes.shape == (trials, steps, 1)
        assert int(spikes.sum()) == 1800
        lanes = np.asarray(potentials.mantissa)
        np.testing.assert_array_equal(lanes, np.broadcast_to(lanes[:1], lanes.shape))


def test_mapping_in_batches_equals_vmap():
    currents = u.math.asarray([np.ones(200) * strength * u.mA for strength in (0.5, 1.5, 2.0)])
    potentials, spikes = brainir.transform.map(run_new_neuron, currents, batch_size=2)
    expected_potentials, expected_spikes = brainir.transform.vmap(run_new_neuron)(currents)
    assert potentials.unit == u.mV
    np.testing.assert_array_equal(spikes, expected_spikes)
    np.testing.assert_allclose(potentials.mantissa, expected_potentials.mantissa, rtol=1e-6)


def test_noisy_trials_in_a_nested_loop_spike_nine_times_each():
    neuron = new_neuron()

    def trial(index):
        neuron.reset_state()
        noise = jax.random.normal(jax.random.PRNGKey(index), (500,)) * 0.03 * u.mA
        _, spikes = run(neuron, 1.5 * u.mA + noise)
        return (spikes >= 0.5).sum()

    def trials(indices):
        return brainir.transform.for_loop(trial, indices)

    for counts in plain_and_jitted(trials, jnp.arange(5)):
        assert counts.dtype == jnp.int32
        assert counts.tolist() == [9, 9, 9, 9, 9]
        assert float(counts.mean()) == 9.0
        assert float(counts.std()) == 0.0


def test_a_condition_chooses_the_scale():
    def scale(x):
        return brainir.transform.cond(x > 1.5, lambda x: x * 2.0, lambda x: x * 0.5, x)

    for x, expected in [(0.5, 0.25), (1.0, 0.5), (1.5, 0.75), (2.0, 4.0), (2.5, 5.0)]:
        for scaled in plain_and_jitted(scale, jnp.float32(x)):
            assert float(scaled) == expected


def test_a_condition_inside_the_loop_switches_the_current():
    neuron = new_neuron()

    def step(i):
        with brainir.environ.context(i=i):
            current = brainir.transform.cond(
                i < 500, lambda _: 1.2 * u.mA, lambda _: 1.8 * u.mA, None
            )
            spikes = neuron(current)
            return current, neuron.V.value, spikes

    def simulate(indices):
        neuron.reset_state()
        return brainir.transform.for_loop(step, indices)

    for currents, potentials, spikes in plain_and_jitted(simulate, np.arange(1000)):
        assert currents.unit == u.mA
        np.testing.assert_allclose(currents.mantissa, np.repeat([1.2, 1.8], 500), rtol=1e-6)
        assert int(spikes[:500].sum()) == 5
        assert int(spikes[500:].sum()) == 12
        np.testing.assert_allclose(sum_of(potentials), 613.29865, rtol=1e-6)


def quadratic_loss(x, y):
    return jnp.sum((x - y) ** 2)


def test_gradients_of_arguments_are_the_known_ones():
    x, y = jnp.array([1.0, 2.0, 3.0]), jnp.array([0.5, 1.5, 2.5])
    assert float(quadratic_loss(x, y)) == 0.75
    of_x = brainir.transform.grad(quadratic_loss, argnums=0)
    for gradient in plain_and_jitted(of_x, x, y):
        assert gradient.tolist() == [1.0, 1.0, 1.0]
    of_both = brainir.transform.grad(quadratic_loss, argnums=[0, 1])
    for gradient_x, gradient_y in plain_and_jitted(of_both, x, y):
        assert gradient_x.tolist() == [1.0, 1.0, 1.0]
        assert gradient_y.tolist() == [-1.0, -1.0, -1.0]


class LinearRegressor(brainir.nn.Module):
    """The affine map ``y = x w + b``."""

    def __init__(self, in_features):
        super().__init__()
        weight = jax.random.normal(jax.random.PRNGKey(0), (in_features, 1)) * 0.1
        self.weight = brainir.ParamState(weight)
        self.bias = brainir.ParamState(jnp.zeros((1,)))

    def __call__(self, x):
        return jnp.dot(x, self.weight.value) + self.bias.value


def train(use_jit):
    """Fit the regressor for 150 epochs; return the losses and the model."""
    model = LinearRegressor(1)
    key = jax.random.PRNGKey(42)
    x = jax.random.uniform(key, (20, 1))
    y = 2.0 * x + 1.0 + jax.random.normal(key, (20, 1)) * 0.1

    def loss_function(x, y):
        return jnp.mean((model(x) - y) ** 2)

    gradient = brainir.transform.grad(
        loss_function, grad_states=[model.weight, model.bias], return_value=True
    )

    def epoch(x, y):
        gradients, loss = gradient(x, y)
        assert isinstance(gradients, list)
        for state, value in zip([model.weight, model.bias], gradients, strict=True):
            state.value = state.value - 0.1 * value
        return loss

    if use_jit:
        epoch = brainir.transform.jit(epoch)
    return [float(epoch(x, y)) for _ in range(150)], model


@pytest.mark.parametrize("use_jit", [False, True])
def test_a_linear_regression_learns_along_the_known_losses(use_jit):
    losses, model = train(use_jit)
    known = [4.882305, 0.053904, 0.039217, 0.028541, 0.020774, 0.015124, 0.011013, 0.008023]
    np.testing.assert_allclose(losses[::20], known, atol=1e-6)
    np.testing.assert_allclose(model.weight.value, [[1.9644065]], rtol=1e-6)
    np.testing.assert_allclose(model.bias.value, [1.0603015], rtol=1e-6)


def test_the_surrogate_gives_the_gradient_of_the_spike_count():
    neuron = new_neuron()

    def spike_count(weight):
        neuron.reset_state()
        _, spikes = run(neuron, jnp.ones(200) * weight * u.mA)
        return spikes.sum()

    gradient = brainir.transform.grad(spike_count, return_value=True)
    for slope, count in plain_and_jitted(gradient, jnp.float32(1.5)):
        np.testing.assert_allclose(slope, 3.513912, rtol=1e-6)
        assert float(count) == 3.0


def test_a_neuron_prints_its_parameters_and_states_in_order():
    text = repr(new_neuron())
    names = ["in_size", "out_size", "R", "tau", "V_th", "V_reset", "V_rest", "V_initializer"]
    places = [text.index(f"\n  {name}=") for name in [*names, "spike_function", "V"]]
    assert places == sorted(places)
    assert text.startswith("LIF(\n  in_size=(1,),\n  out_size=(1,),\n")
    assert "ReluGrad(alpha=0.3, width=1.0)" in text
    assert "V=HiddenState(\n" in text
    assert "float32[1]" in text
    assert "name=" not in text
