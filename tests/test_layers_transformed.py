"""Layers do the same compiled, in lanes, in loops, in branches and as plain Python."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir import nn

IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(3, 6, 5, 4)), jnp.float32)
VECTORS = IMAGES.reshape(3, -1)[:, :12]

NORMAL = brainir.init.Normal(0.0, 1.0)

LAYERS = {
    "linear": (lambda: nn.Linear(12, 7), VECTORS),
    "standardised": (lambda: nn.ScaledWSLinear(12, 7), VECTORS),
    "all to all": (lambda: nn.AllToAll(12, 7, w_init=0.5, include_self=False), VECTORS),
    "scattered": (lambda: nn.FixedNumConn(12, 7, 3, NORMAL, seed=1), VECTORS),
    "gathered": (lambda: nn.EventFixedProb(12, 7, 3, NORMAL, "pre", seed=1), VECTORS),
    "events": (lambda: nn.EventLinear(12, 7, NORMAL), VECTORS),
    "convolution": (lambda: nn.Conv2d((6, 5, 4), 3, 3, stride=2), IMAGES),
    "largest": (lambda: nn.MaxPool2d(2), IMAGES),
    "mean": (lambda: nn.AvgPool2d(2, padding=1), IMAGES),
    "adaptive": (lambda: nn.AdaptiveAvgPool2d((4, 2)), IMAGES),
    "flat": (lambda: nn.Flatten(in_size=(6, 5, 4)), IMAGES),
    "normal": (lambda: nn.LayerNorm((6, 5, 4)), IMAGES),
    "softmax": (lambda: nn.Softmax(), IMAGES),
    "parameter": (lambda: Scaled(), VECTORS),
}


class Scaled(nn.Module):
    """A product with a transformed parameter."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Param(jnp.arange(1.0, 13.0), t=nn.SoftplusT(0.0), reg=nn.L2Reg(0.1))

    def update(self, x):
        return x * self.scale.value() + self.scale.reg_loss()


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", LAYERS)
def test_layers_do_the_same_in_every_transformation(name):
    make, xs = LAYERS[name]
    layer = make()
    expected = jnp.stack([layer(x) for x in xs])

    def check(found):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)

    check(layer(xs))
    check(brainir.transform.jit(layer)(xs))
    check(brainir.transform.vmap(layer)(xs))
    check(brainir.transform.jit(lambda xs: brainir.transform.for_loop(layer, xs))(xs))
    check(brainir.transform.cond(jnp.asarray(True), layer, lambda xs: 0 * layer(xs), xs))
    with jax.disable_jit():
        check(brainir.transform.for_loop(layer, xs))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", LAYERS)
def test_gradients_of_layers_are_slopes(name):
    make, xs = LAYERS[name]
    layer = make()
    parameters = layer.states(brainir.ParamState)
    weights = jnp.cos(jnp.arange(float(layer(xs).size))).reshape(layer(xs).shape)

    def loss():
        return (layer(xs) * weights).sum()

    if not parameters:
        direction = jnp.sin(7 * xs)
        slope = brainir.transform.grad(lambda x: (layer(x) * weights).sum())(xs)
        expected = jax.jvp(lambda x: (layer(x) * weights).sum(), (xs,), (direction,))[1]
        np.testing.assert_allclose((slope * direction).sum(), expected, rtol=1e-3, atol=1e-4)
        return
    grads = brainir.transform.jit(lambda: brainir.transform.grad(loss, parameters)())()
    start = parameters.__class__({path: state.value for path, state in parameters.items()})
    direction = jax.tree.map(jnp.ones_like, dict(start))

    def moved(step):
        for path, state in parameters.items():
            state.value = jax.tree.map(lambda w, d: w + step * d, start[path], direction[path])
        return float(loss())

    expected = (moved(1e-2) - moved(-1e-2)) / 2e-2
    found = sum(float(jnp.sum(leaf)) for leaf in jax.tree.leaves(grads))
    np.testing.assert_allclose(found, expected, rtol=3e-2, atol=3e-2)


def in_training(make, x):
    """Run a layer made and used in one environment."""
    with brainir.environ.context(fit=True):
        return make()(x)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("precision", [16, 64])
def test_layers_have_the_precision_of_their_environment(precision):
    with brainir.environ.context(precision=precision):
        dtype = brainir.environ.dftype()
        x = jnp.ones((2, 6, 5, 4), dtype)
        for make in (
            lambda: nn.Conv2d((6, 5, 4), 3, 3, b_init=nn.init.ZeroInit()),
            lambda: nn.BatchNorm2d((6, 5, 4)),
            lambda: nn.Linear(4, 3),
            lambda: nn.EventFixedProb(4, 3, 2, 1.0),
            lambda: nn.OneToOne(4, w_init=2),
            lambda: nn.AvgPool2d(2),
            lambda: nn.PReLU(),
            lambda: nn.Dropout(0.5),
        ):
            assert in_training(make, x).dtype == dtype
        cell = nn.init_all_states(nn.LSTMCell(4, 3), batch_size=2)
        assert cell(x[:, 0, 0]).dtype == dtype


def test_layers_take_batches_and_sizes_of_nothing():
    nothing = jnp.zeros((0, 12))
    for make in (lambda: nn.Linear(12, 3), lambda: nn.FixedNumConn(12, 3, 2, 1.0)):
        assert in_training(make, nothing).shape == (0, 3)
    for make in (lambda: nn.Linear(0, 3), lambda: nn.FixedNumConn(0, 3, 2, 1.0)):
        assert (in_training(make, jnp.zeros(0)) == 0).all()
    assert in_training(lambda: nn.MaxPool2d(2), jnp.ones((0, 4, 4, 1))).shape == (0, 2, 2, 1)
    cell = nn.init_all_states(nn.GRUCell(3, 4), batch_size=0)
    assert cell(jnp.zeros((0, 3))).shape == (0, 4)
