"""Train a spiking network to tell random spike patterns apart: written for brainstate, as it is.

Nothing here knows of brainir. ``python examples/with_brainstate.py`` runs it on brainstate and on
brainir and compares; it needs ``pip install brainstate braintools``.

Reference: E. O. Neftci, H. Mostafa and F. Zenke, Surrogate gradient learning in spiking neural
networks, IEEE Signal Processing Magazine 36 (2019).
"""

import argparse
import time
from typing import Any

import brainstate  # pyright: ignore[reportMissingImports]
import braintools  # pyright: ignore[reportMissingImports]
import brainunit as u
import jax
import jax.numpy as jnp


class LIF(brainstate.nn.Dynamics):
    """Leaky integrate-and-fire neurons: ``tau dV/dt = -V + R I``, reset by what they overshoot."""

    def __init__(self, size: int, tau: Any = 10.0 * u.ms, threshold: Any = 1.0 * u.mV):
        super().__init__(size)
        self.tau, self.threshold = tau, threshold
        self.spike = braintools.surrogate.ReluGrad()

    def init_state(self, batch_size: int) -> None:
        self.V = brainstate.HiddenState(jnp.zeros((batch_size, *self.varshape)) * u.mV)

    def update(self, current: Any) -> Any:
        spikes = self.spike((self.V.value - self.threshold) / self.threshold)
        decay = u.math.exp(-brainstate.environ.get_dt() / self.tau)
        V = self.V.value - spikes * self.threshold
        self.V.value = V * decay + current * u.ohm * (1.0 - decay)
        return spikes


class Readout(brainstate.nn.Module):
    """Units that sum what they are given and leak."""

    def __init__(self, size: int, tau: Any = 20.0 * u.ms):
        super().__init__()
        self.size, self.tau = size, tau

    def init_state(self, batch_size: int) -> None:
        self.sum = brainstate.HiddenState(jnp.zeros((batch_size, self.size)))

    def update(self, x: Any) -> Any:
        self.sum.value = self.sum.value * u.math.exp(-brainstate.environ.get_dt() / self.tau) + x
        return self.sum.value


def linear(n_in: int, n_out: int) -> Any:
    """Return a layer of weights from spikes to currents."""
    weights = braintools.init.KaimingNormal(scale=20.0, unit=u.mA)
    return brainstate.nn.Linear(n_in, n_out, w_init=weights, b_init=None)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a spiking network with brainstate.")
    parser.add_argument("--steps", type=int, default=60, help="steps of training")
    parser.add_argument("--hidden", type=int, default=128, help="neurons in each hidden layer")
    parser.add_argument("--batch", type=int, default=16, help="patterns")
    asked = parser.parse_args()
    n_in, n_classes, n_times = 200, 10, 100

    brainstate.environ.set(dt=1.0 * u.ms)
    brainstate.random.seed(0)
    net = brainstate.nn.Sequential(
        linear(n_in, asked.hidden),
        LIF(asked.hidden),
        linear(asked.hidden, asked.hidden),
        LIF(asked.hidden),
        brainstate.nn.Linear(asked.hidden, n_classes),
        Readout(n_classes),
    )
    chance = 20 * u.Hz * brainstate.environ.get_dt()
    patterns = brainstate.random.rand(n_times, asked.batch, n_in) < chance
    patterns = patterns.astype(jnp.float32)
    classes = brainstate.random.randint(0, n_classes, asked.batch)

    weights = net.states(brainstate.ParamState)
    optimizer = braintools.optim.Adam(lr=2e-3)
    optimizer.register_trainable_weights(weights)

    def loss() -> Any:
        outputs = brainstate.transform.for_loop(net, patterns).mean(axis=0)
        return braintools.metric.softmax_cross_entropy_with_integer_labels(outputs, classes).mean()

    @brainstate.transform.jit
    def train() -> Any:
        brainstate.nn.init_all_states(net, asked.batch)
        gradients, value = brainstate.transform.grad(loss, weights, return_value=True)()
        optimizer.update(gradients)
        return value

    start = time.perf_counter()
    value = jax.block_until_ready(train())
    print(f"loss {value:.5f}")
    print(f"first step: {time.perf_counter() - start:.3f} s")
    start = time.perf_counter()
    for _ in range(asked.steps):
        value = train()
    print(f"loss {jax.block_until_ready(value):.5f}")
    print(f"each step: {(time.perf_counter() - start) / asked.steps * 1e3:.2f} ms")


if __name__ == "__main__":
    main()
