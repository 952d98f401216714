"""Simulate a spiking neuron, sweep its input, branch on time, and train through spikes.

Run ``python examples/tutorial.py [FOLDER]``: the numbers are printed, the figures are saved in
FOLDER (``figures`` unless told otherwise).
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import brainunit as u
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

import brainir

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

TIME_STEP = 0.1  # ms


class LIF(brainir.nn.Dynamics):
    """A population of leaky integrate-and-fire neurons with soft reset.

    Between spikes ``tau dV/dt = V_rest - V + R I``, integrated by exponential Euler. A neuron
    spikes where ``V >= V_th``, and its next step starts from ``V - (V_th - V_reset)``.
    """

    def __init__(
        self,
        in_size: brainir.typing.Size,
        R: brainir.typing.ArrayLike = 1.0 * u.ohm,
        tau: brainir.typing.ArrayLike = 5.0 * u.ms,
        V_th: brainir.typing.ArrayLike = 1.0 * u.mV,
        V_reset: brainir.typing.ArrayLike = 0.0 * u.mV,
        V_rest: brainir.typing.ArrayLike = 0.0 * u.mV,
        V_initializer: Callable = brainir.init.Constant(0.0 * u.mV),
        spike_function: Callable = brainir.surrogate.ReluGrad(),
    ):
        super().__init__(in_size)
        self.R = brainir.init.param(R, self.varshape)
        self.tau = brainir.init.param(tau, self.varshape)
        self.V_th = brainir.init.param(V_th, self.varshape)
        self.V_reset = brainir.init.param(V_reset, self.varshape)
        self.V_rest = brainir.init.param(V_rest, self.varshape)
        self.V_initializer = V_initializer
        self.spike_function = spike_function

    def init_state(self, batch_size: int | None = None, **kwargs):
        self.V = brainir.HiddenState(
            brainir.init.param(self.V_initializer, self.varshape, batch_size)
        )

    def reset_state(self, batch_size: int | None = None, **kwargs):
        self.V.value = brainir.init.param(self.V_initializer, self.varshape, batch_size)

    def spike(self, V):
        return self.spike_function((V - self.V_th) / (self.V_th - self.V_reset))

    def update(self, current):
        V = self.V.value
        V = V - (self.V_th - self.V_reset) * self.spike(V)

        def derivative(v):
            return (self.V_rest - v + self.R * current) / self.tau

        self.V.value = brainir.nn.exp_euler_step(derivative, V)
        return self.spike(self.V.value)


class SpikingClassifier(brainir.nn.Module):
    """Two classes told apart by the spikes of a hidden layer.

    ``I = x W_in`` drives a LIF layer; the scores are its spike counts times ``W_out``. The layer
    is created for each pattern, so the patterns share nothing but the weights.
    """

    def __init__(self, in_size: int, hidden_size: int, out_size: int):
        super().__init__()
        self.hidden_size = hidden_size
        initializer = brainir.init.KaimingNormal()
        self.weight_in = brainir.ParamState(10.0 * initializer((in_size, hidden_size)))
        self.weight_out = brainir.ParamState(0.2 * initializer((hidden_size, out_size)))

    def update(self, pattern):
        hidden = brainir.nn.init_all_states(LIF(self.hidden_size))

        def step(inputs):
            return hidden(inputs @ self.weight_in.value * u.mA)

        return brainir.transform.for_loop(step, pattern).sum(axis=0) @ self.weight_out.value


def run(neuron: LIF, currents, pbar: brainir.transform.ProgressBar | None = None):
    """Drive a neuron with one current per time step; return its potentials and spikes."""

    def step(i, current):
        with brainir.environ.context(i=i):
            spikes = neuron(current)
            return neuron.V.value, spikes

    return brainir.transform.for_loop(step, np.arange(currents.shape[0]), currents, pbar=pbar)


def run_new_neuron(currents):
    """As ``run``, on a neuron of its own; so ``vmap`` gives each trial its own neuron."""
    return run(brainir.nn.init_all_states(LIF(1)), currents)


def milliseconds(steps: int) -> np.ndarray:
    """The time of each step, in ms."""
    return np.arange(steps) * TIME_STEP


def save(figure: Figure, folder: Path, name: str):
    path = folder / f"{name}.png"
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(f"  figure: {path}")


def simulate(folder: Path):
    """One neuron, constant input: ``for_loop``, a progress bar, and ``jit``."""
    print("\nSimulate: one LIF neuron at 1.5 mA")
    neuron = brainir.nn.init_all_states(LIF(1))
    print(neuron)
    potentials, spikes = run(neuron, np.ones(500) * 1.5 * u.mA)
    print(f"  500 steps: {int(spikes.sum())} spikes, steps {np.flatnonzero(spikes).tolist()}")

    neuron.reset_state()
    currents = np.ones(10_000) * 1.5 * u.mA
    _, long_spikes = run(neuron, currents, pbar=brainir.transform.ProgressBar(1000))
    print(f"  10000 steps: {int(long_spikes.sum())} spikes")

    jitted = brainir.transform.jit(run_new_neuron)
    for call in ("first", "second"):
        start = time.perf_counter()
        jax.block_until_ready(jitted(currents))
        print(f"  jit, {call} call: {1e3 * (time.perf_counter() - start):.1f} ms")

    figure, (top, bottom) = plt.subplots(2, 1, sharex=True, figsize=(10, 5))
    top.plot(milliseconds(500), potentials.to_decimal(u.mV))
    top.axhline(1.0, color="tab:red", linestyle="--", label="threshold")
    top.set_ylabel("V (mV)")
    top.legend(loc="lower right")
    bottom.plot(milliseconds(500), spikes)
    bottom.set(xlabel="time (ms)", ylabel="spike")
    save(figure, folder, "simulate")


def sweep(folder: Path):
    """Many trials at once: ``jit`` of ``vmap``, and ``map`` in batches where memory is short."""
    print("\nSweep: 60 currents from 0.8 to 3 mA, 1000 steps each")
    strengths = np.linspace(0.8, 3.0, 60)
    currents = np.outer(strengths, np.ones(1000)) * u.mA
    potentials, spikes = brainir.transform.jit(brainir.transform.vmap(run_new_neuron))(currents)
    counts = spikes.sum(axis=(1, 2))
    print(f"  shape {potentials.shape}, from {int(counts[0])} to {int(counts[-1])} spikes")
    _, batched = brainir.transform.map(run_new_neuron, currents, batch_size=16)
    print(f"  map in batches of 16 agrees: {bool((batched == spikes).all())}")

    weak_currents = np.outer(np.linspace(0.1, 0.2, 10), np.ones(1000)) * u.mA
    weak_potentials, weak_spikes = brainir.transform.vmap(run_new_neuron)(weak_currents)
    highest = weak_potentials.to_decimal(u.mV).max()
    print(f"  0.1 to 0.2 mA: {int(weak_spikes.sum())} spikes, highest V {highest:.4f} mV")

    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5))
    for trial in (4, 12, 30):
        label = f"{strengths[trial]:.2f} mA"
        left.plot(milliseconds(300), potentials[trial, :300, 0].to_decimal(u.mV), label=label)
    left.set(xlabel="time (ms)", ylabel="V (mV)")
    left.legend(loc="lower right")
    right.plot(strengths, counts / 0.1, "o-", markersize=3)
    right.set(xlabel="input (mA)", ylabel="rate (spikes/s)")
    save(figure, folder, "sweep")


def branch(folder: Path):
    """Data decide: ``cond`` on a value, and on the step number inside a loop."""
    print("\nBranch: 1.2 mA for 500 steps, then 1.8 mA")
    for x in (0.5, 1.0, 1.5, 2.0, 2.5):
        scaled = brainir.transform.cond(x > 1.5, lambda x: 2.0 * x, lambda x: 0.5 * x, x)
        print(f"  {x} -> {float(scaled)}")

    neuron = brainir.nn.init_all_states(LIF(1))

    def step(i):
        with brainir.environ.context(i=i):
            current = brainir.transform.cond(i < 500, lambda: 1.2 * u.mA, lambda: 1.8 * u.mA)
            spikes = neuron(current)
            return current, neuron.V.value, spikes

    currents, potentials, spikes = brainir.transform.for_loop(step, np.arange(1000))
    print(f"  spikes: {int(spikes[:500].sum())} before, {int(spikes[500:].sum())} after")

    figure, (top, bottom) = plt.subplots(2, 1, sharex=True, figsize=(10, 5))
    top.plot(milliseconds(1000), currents.to_decimal(u.mA))
    top.set_ylabel("I (mA)")
    bottom.plot(milliseconds(1000), potentials.to_decimal(u.mV))
    bottom.axhline(1.0, color="tab:red", linestyle="--")
    bottom.set(xlabel="time (ms)", ylabel="V (mV)")
    save(figure, folder, "branch")


def train_line() -> list[float]:
    """Fit ``y = 2 x + 1`` by gradient descent on two ``ParamState``; return the losses."""
    weight = brainir.ParamState(0.1 * jax.random.normal(jax.random.PRNGKey(0), (1, 1)))
    bias = brainir.ParamState(jnp.zeros((1,)))
    key = jax.random.PRNGKey(42)
    x = jax.random.uniform(key, (20, 1))
    y = 2.0 * x + 1.0 + 0.1 * jax.random.normal(key, (20, 1))

    def loss_function():
        return jnp.mean((jnp.dot(x, weight.value) + bias.value - y) ** 2)

    gradient = brainir.transform.grad(loss_function, [weight, bias], return_value=True)
    losses = []
    for epoch in range(150):
        (weight_gradient, bias_gradient), loss = gradient()
        weight.value = weight.value - 0.1 * weight_gradient
        bias.value = bias.value - 0.1 * bias_gradient
        losses.append(float(loss))
        if epoch % 20 == 0:
            print(f"  line, epoch {epoch:3d}: loss {losses[-1]:.6f}")
    print(f"  weight {float(weight.value[0, 0]):.4f} (2), bias {float(bias.value[0]):.4f} (1)")
    return losses


def spike_patterns(trials: int, steps: int, size: int):
    """Random spike trains of two classes: each makes its own half of the inputs fire more."""
    key_label, key_spike = jax.random.split(jax.random.PRNGKey(1))
    labels = jax.random.randint(key_label, (trials,), 0, 2)
    favoured = (jnp.arange(size) >= size // 2) == labels[:, None]
    rates = jnp.where(favoured, 0.14, 0.08)
    draws = jax.random.uniform(key_spike, (trials, steps, size))
    return (draws < rates[:, None, :]).astype(jnp.float32), labels


def train_spikes() -> list[float]:
    """Train a spiking classifier with surrogate gradients; return the losses."""
    brainir.random.seed(0)
    network = SpikingClassifier(in_size=20, hidden_size=32, out_size=2)
    weights = network.states(brainir.ParamState)
    patterns, labels = spike_patterns(trials=64, steps=100, size=20)

    def loss_function():
        scores = brainir.transform.vmap(network)(patterns)
        log_odds = jax.nn.log_softmax(scores)
        loss = -jnp.mean(jnp.take_along_axis(log_odds, labels[:, None], axis=1))
        return loss, jnp.mean(scores.argmax(axis=1) == labels)

    gradient = brainir.transform.grad(loss_function, weights, has_aux=True, return_value=True)

    @brainir.transform.jit
    def epoch():
        gradients, loss, accuracy = gradient()
        for path, weight in weights.items():
            weight.value = weight.value - 0.1 * gradients[path]
        return loss, accuracy

    losses = []
    for number in range(101):
        loss, accuracy = epoch()
        losses.append(float(loss))
        if number % 20 == 0:
            print(f"  spikes, epoch {number:3d}: loss {losses[-1]:.4f}, accuracy {accuracy:.3f}")
    return losses


def train(folder: Path):
    """Gradients of States: ``grad`` through plain arithmetic and through spikes."""
    print("\nTrain: a line, then a spiking classifier of 64 patterns")
    line_losses, spike_losses = train_line(), train_spikes()
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    left.semilogy(line_losses)
    left.set(xlabel="epoch", ylabel="mean squared error", title="line")
    right.plot(spike_losses)
    right.set(xlabel="epoch", ylabel="cross entropy", title="spiking classifier")
    save(figure, folder, "train")


def main():
    parser = argparse.ArgumentParser(description="Simulate, sweep, branch and train with brainir.")
    parser.add_argument("folder", nargs="?", default="figures", type=Path, help="for the figures")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    brainir.environ.set(dt=TIME_STEP * u.ms)
    for chapter in (simulate, sweep, branch, train):
        chapter(folder)


if __name__ == "__main__":
    main()
