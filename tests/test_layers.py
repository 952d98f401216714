"""Layers and neurons do what their equations say."""

import brainunit as u
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir import nn


def test_linear_maps_the_last_axis():
    weight, bias = np.arange(6.0, dtype=np.float32).reshape(2, 3), np.ones(3, np.float32)
    linear = nn.Linear((4, 2), (4, 3))
    assert set(linear.weight.value) == {"weight", "bias"}
    linear.weight.value = {"weight": weight, "bias": bias}
    x = np.random.default_rng(0).normal(size=(5, 4, 2)).astype(np.float32)
    np.testing.assert_allclose(linear(x), x @ weight + bias, rtol=1e-6)
    assert set(nn.Linear(2, 3, b_init=None).weight.value) == {"weight"}
    with pytest.raises(ValueError, match="last axis only"):
        nn.Linear((4, 2), (5, 3))


def test_sequential_chains_layers():
    net = nn.Sequential(nn.Linear(2, 3), jnp.tanh, nn.Linear(3, 4))
    x = jnp.ones(2)
    np.testing.assert_array_equal(net(x), net[2](jnp.tanh(net[0](x))))
    np.testing.assert_array_equal(net[:2](x), jnp.tanh(net[0](x)))
    assert (net.in_size, net.out_size, len(net)) == ((2,), (4,), 3)
    assert list(net.states()) == [("layers", 0, "weight"), ("layers", 2, "weight")]
    with pytest.raises(TypeError, match="layer 1 of Sequential is not callable"):
        nn.Sequential(jnp.tanh, 3)  # pyright: ignore[reportArgumentType]


def spike_times(neuron, current, steps=130):
    nn.init_all_states(neuron)
    with brainir.environ.context(dt=0.1 * u.ms):
        spikes = brainir.transform.for_loop(lambda _: neuron(current), np.arange(steps))
    return np.flatnonzero(spikes[:, 0]).tolist()


def test_lif_neurons_spike_when_the_exact_solution_crosses_the_threshold():
    # V(n dt) = R I (1 - exp(-n dt / tau)) first reaches V_th at the step below
    first = int(np.ceil(-np.log(1 - 1 / 1.5) * 5.0 / 0.1)) - 1
    times = spike_times(nn.LIF(1, spk_reset="hard"), 1.5 * u.mA)
    assert times == [first, 2 * first + 1]
    assert spike_times(nn.LIF(1), 0.9 * u.mA) == []


def test_a_soft_reset_keeps_the_excess():
    neurons = {reset: nn.LIF(1, spk_reset=reset) for reset in ("soft", "hard")}
    with brainir.environ.context(dt=1e-6 * u.ms):
        for neuron in neurons.values():
            nn.init_all_states(neuron)
            neuron.V.value = jnp.full(1, 1.25) * u.mV
            assert float(neuron.get_spike()[0]) == 1.0
            neuron(0.0 * u.mA)
    np.testing.assert_allclose(neurons["soft"].V.value.mantissa, [0.25], rtol=1e-5)
    np.testing.assert_allclose(neurons["hard"].V.value.mantissa, [0.0], atol=1e-5)


def test_lif_states_have_the_shape_of_the_batch():
    neuron = nn.init_all_states(nn.LIF((2, 3), V_initializer=0.5 * u.mV), 4)
    assert neuron.V.value.shape == (4, 2, 3)
    neuron.reset_state()
    assert neuron.V.value.shape == (2, 3)
    with pytest.raises(ValueError, match="'soft' or 'hard'"):
        nn.LIF(1, spk_reset="medium")  # pyright: ignore[reportArgumentType]
