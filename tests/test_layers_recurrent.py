"""Recurrent cells, and small models of several kinds that learn."""

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir import nn

RANDOM = np.random.default_rng(0)
XS = jnp.asarray(RANDOM.normal(size=(6, 2, 3)), jnp.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def joined(x, h, linear):
    parameters = linear.weight.value
    y = np.concatenate([x, h], -1) @ np.asarray(parameters["weight"])
    return y + np.asarray(parameters["bias"]) if "bias" in parameters else y


def plain(cell, x, h, c):
    return np.maximum(joined(x, h, cell.W), 0), c


def gru(cell, x, h, c):
    r, z = np.split(sigmoid(joined(x, h, cell.Wrz)), 2, -1)
    return (1 - z) * h + z * np.tanh(joined(x, r * h, cell.Wh)), c


def mgu(cell, x, h, c):
    f = sigmoid(joined(x, h, cell.Wf))
    return (1 - f) * h + f * np.tanh(joined(x, f * h, cell.Wh)), c


def lstm(cell, x, h, c):
    i, g, f, o = np.split(joined(x, h, cell.W), 4, -1)
    c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def urlstm(cell, x, h, c):
    f, r, g, o = np.split(joined(x, h, cell.W), 4, -1)
    f, r = sigmoid(f + cell.bias.value), sigmoid(r - cell.bias.value)
    gate = 2 * r * f + (1 - 2 * r) * f**2
    c = gate * c + (1 - gate) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


CELLS = [
    (nn.ValinaRNNCell, plain),
    (nn.GRUCell, gru),
    (nn.MGUCell, mgu),
    (nn.LSTMCell, lstm),
    (nn.URLSTMCell, urlstm),
]


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("kind", "step"), CELLS)
def test_cells_follow_their_equations(kind, step):
    cell = nn.init_all_states(kind(3, 4), batch_size=2)
    assert (cell.in_size, cell.out_size, cell.h.value.shape) == ((3,), (4,), (2, 4))
    found = brainir.transform.jit(lambda xs: brainir.transform.for_loop(cell, xs))(XS)
    h, c = np.zeros((2, 4)), np.zeros((2, 4))
    for x, y in zip(np.asarray(XS), found, strict=True):
        h, c = step(cell, x, h, c)
        np.testing.assert_allclose(y, h, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(cell.h.value, found[-1])
    nn.reset_all_states(cell, batch_size=2)
    with jax.disable_jit():
        again = brainir.transform.for_loop(cell, XS)
    np.testing.assert_allclose(again, found, rtol=1e-4, atol=1e-5)
    nn.reset_all_states(cell)
    assert cell(XS[0, 0]).shape == (4,)


def test_cells_take_other_starts_and_activations():
    cell = nn.init_all_states(
        nn.GRUCell(3, 4, state_init=0.5, b_init=None, activation="relu"), batch_size=2
    )
    np.testing.assert_array_equal(cell.h.value, np.full((2, 4), 0.5))
    assert set(cell.Wh.weight.value) == {"weight"}
    assert nn.MGUCell(3, 4, activation=jnp.sin).activation is jnp.sin
    with pytest.raises(ValueError, match="the name of one in"):
        nn.LSTMCell(3, 4, activation="foo")


# --- learning -------------------------------------------------------------------------------------


def train(model, loss, steps, rate):
    """Return the losses of some steps of gradient descent, compiled."""
    parameters = model.states(brainir.ParamState)

    @brainir.transform.jit
    def step():
        grads, value = brainir.transform.grad(loss, parameters, return_value=True)()
        clipped = nn.clip_grad_norm(grads, 1.0)
        for path, parameter in parameters.items():
            parameter.value = jax.tree.map(
                lambda old, grad: old - rate * grad, parameter.value, clipped[path]
            )
        return value

    return [float(step()) for _ in range(steps)]


def cross_entropy(logits, labels):
    return -jnp.mean(jnp.sum(nn.one_hot(labels, logits.shape[-1]) * nn.log_softmax(logits), -1))


def check_saved(function, argument, path):
    """Check that a function gives the same after it was saved and loaded."""
    expected = function(argument)
    brainir.save(function, path, argument)
    np.testing.assert_allclose(brainir.load(path)(argument), expected, rtol=1e-5, atol=1e-6)


def test_a_convolutional_network_learns_and_is_saved(tmp_path):
    brainir.random.seed(0)
    net = nn.Sequential(
        nn.Conv2d((8, 8, 1), 4, 3),
        nn.BatchNorm2d((8, 8, 4)),
        nn.ReLU(),
        nn.MaxPool2d(2, in_size=(8, 8, 4)),
        nn.Flatten(in_size=(4, 4, 4)),
        nn.Dropout(0.9),
        nn.Linear(64, 2),
    )
    images = jnp.asarray(np.random.default_rng(0).normal(size=(16, 8, 8, 1)), jnp.float32)
    labels = (images[:, :4].sum((1, 2, 3)) > images[:, 4:].sum((1, 2, 3))).astype(jnp.int32)

    def loss():
        with brainir.environ.context(fit=True):
            return cross_entropy(net(images), labels)

    losses = train(net, loss, steps=12, rate=0.3)
    assert losses[-1] < 0.6 * losses[0]
    assert (net[1].running_mean.value != 0).any()

    @brainir.transform.jit
    def predict(x):
        with brainir.environ.context(fit=False):
            return net(x)

    check_saved(predict, images, tmp_path / "net.bir")


def test_a_gated_network_learns_and_is_saved(tmp_path):
    brainir.random.seed(0)
    net = nn.Sequential(nn.GRUCell(1, 8), nn.Linear(8, 1))
    xs = jnp.asarray(np.random.default_rng(0).normal(size=(10, 16, 1)), jnp.float32)
    target = xs[-1] + xs[-2]

    def predict(xs):
        nn.init_all_states(net, batch_size=16)
        return brainir.transform.for_loop(net, xs)[-1]

    losses = train(net, lambda: jnp.mean((predict(xs) - target) ** 2), steps=25, rate=0.2)
    assert losses[-1] < 0.5 * losses[0]
    check_saved(brainir.transform.jit(predict), xs, tmp_path / "net.bir")


class Spiking(nn.Module):
    """Sparse input, spiking neurons, and a leaky readout with a trained time constant."""

    def __init__(self):
        super().__init__()
        self.inputs = nn.EventFixedProb(20, 16, 0.5, brainir.init.Normal(3.0, 3.0) * u.mA, seed=1)
        self.neurons = nn.LIF(16)
        self.readout = nn.Linear(16, 2)
        self.tau = nn.Param(5.0 * u.ms, t=nn.SoftplusT(1.0 * u.ms))

    def init_state(self, batch_size=None):
        self.trace = brainir.HiddenState(jnp.zeros((batch_size, 2)))

    def update(self, spikes):
        decay = u.math.exp(-0.1 * u.ms / self.tau.value())
        output = self.readout(self.neurons(self.inputs(spikes)))
        self.trace.value = decay * self.trace.value + output
        return self.trace.value


def test_a_spiking_network_learns_and_is_saved(tmp_path):
    brainir.random.seed(0)
    net = Spiking()
    labels = jnp.arange(8) % 2
    rates = jnp.where((labels[:, None] > 0) == (jnp.arange(20) < 10), 0.4, 0.05)
    spikes = jnp.asarray(np.random.default_rng(0).random((30, 8, 20)) < rates, jnp.float32)

    def predict(spikes):
        nn.init_all_states(net, batch_size=8)
        with brainir.environ.context(dt=0.1 * u.ms):
            return brainir.transform.for_loop(net, spikes).mean(0)

    before = net.tau.val.value
    losses = train(net, lambda: cross_entropy(predict(spikes), labels), steps=15, rate=1.0)
    assert losses[-1] < 0.7 * losses[0]
    assert net.tau.val.value != before
    check_saved(brainir.transform.jit(predict), spikes, tmp_path / "net.bir")
