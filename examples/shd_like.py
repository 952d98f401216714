"""Train a recurrent spiking net to tell classes of spike trains apart, of which only times differ.

Run ``python examples/shd_like.py [FOLDER]``: the accuracies are printed, and a figure with spike
trains, the net's answer and its training is saved in FOLDER (``figures`` unless told otherwise).

The spike trains are made up, in the manner of the Spiking Heidelberg Digits: in each class, each
channel has a time at which it tends to spike. All channels of all classes spike equally often.

References: E. O. Neftci, H. Mostafa and F. Zenke, Surrogate gradient learning in spiking neural
networks, IEEE Signal Processing Magazine 36 (2019). B. Cramer and others, The Heidelberg spiking
data sets for the systematic evaluation of spiking neural networks, IEEE Transactions on Neural
Networks and Learning Systems 33 (2020).
"""

import argparse
import time
from pathlib import Path

import brainunit as u
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

import brainir

matplotlib.use("Agg")
import matplotlib.pyplot as plt

TIME_STEP = 1.0  # ms


class RecurrentNet(brainir.nn.Module):
    """Spiking neurons that drive one another, read by units that leak.

    What is trained are the weights ``W_in`` of the input, ``W`` between neurons, and ``W_out`` of
    the units. Their means over time are the scores of the classes.
    """

    def __init__(self, channels: int, hidden: int, classes: int):
        super().__init__()
        self.hidden, self.classes = hidden, classes
        normal = brainir.init.KaimingNormal()
        self.weight_in = brainir.ParamState(40.0 * normal((channels, hidden)))
        self.weight = brainir.ParamState(5.0 * normal((hidden, hidden)))
        self.weight_out = brainir.ParamState(normal((hidden, classes)))

    def update(self, trains):
        """Return scores and spikes for trains of shape (steps, rows, channels)."""
        rows = trains.shape[1]
        neurons = brainir.nn.LIF(self.hidden, R=1.0 * u.Mohm, tau=20.0 * u.ms)
        brainir.nn.init_all_states(neurons, rows)
        spikes = brainir.HiddenState(jnp.zeros((rows, self.hidden)))
        leaky = brainir.HiddenState(jnp.zeros((rows, self.classes)))
        kept = u.math.exp(-brainir.environ.get_dt() / (20.0 * u.ms))

        def step(inputs):
            # Of booleans it is known that they are spikes, of which few may be set.
            inputs = inputs.astype(jnp.float32)
            current = inputs @ self.weight_in.value + spikes.value @ self.weight.value
            spikes.value = neurons(current * u.nA)
            leaky.value = kept * leaky.value + spikes.value @ self.weight_out.value
            return leaky.value, spikes.value

        scores, all_spikes = brainir.transform.for_loop(step, trains)
        return scores.mean(axis=0), all_spikes


class Adam:
    """Kingma and Ba's optimiser: steps of about ``rate``, along a mean of the gradients."""

    def __init__(self, weights, rate: float = 5e-3):
        self.weights, self.rate = weights, rate
        zeros = jax.tree.map(jnp.zeros_like, {k: w.value for k, w in weights.items()})
        self.mean, self.square = brainir.ShortTermState(zeros), brainir.ShortTermState(zeros)
        self.steps = brainir.ShortTermState(jnp.array(0))

    def update(self, gradients):
        """Move the weights against their gradients."""
        self.steps.value += 1
        self.mean.value = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, self.mean.value, gradients)
        self.square.value = jax.tree.map(
            lambda s, g: 0.999 * s + 0.001 * g**2, self.square.value, gradients
        )
        # Both means begin at zero.
        rate = self.rate * jnp.sqrt(1 - 0.999**self.steps.value) / (1 - 0.9**self.steps.value)
        for path, weight in self.weights.items():
            size = jnp.sqrt(self.square.value[path]) + 1e-8
            weight.value = weight.value - rate * self.mean.value[path] / size


class SpikeTrains:
    """Classes of spike trains: in each, each channel spikes once, about at a time of its own."""

    def __init__(self, classes: int, channels: int, steps: int, jitter: float, seed: int = 0):
        self.random = np.random.default_rng(seed)
        self.classes, self.channels, self.steps, self.jitter = classes, channels, steps, jitter
        self.times = self.random.uniform(0.1 * steps, 0.9 * steps, (classes, channels))

    def draw(self, rows: int):
        """Return trains of shape (steps, rows, channels) and their classes."""
        labels = self.random.integers(0, self.classes, rows)
        moved = self.random.normal(0, self.jitter, (rows, self.channels))
        times = np.clip(np.round(self.times[labels] + moved), 0, self.steps - 1).astype(int)
        trains = self.random.random((self.steps, rows, self.channels)) < 0.01  # at random
        trains[times, np.arange(rows)[:, None], np.arange(self.channels)] = True
        return trains, labels


def loss_of(network: RecurrentNet, trains, labels):
    """Return the cross entropy, and the part of the rows that are told right."""
    scores, _ = network(trains)
    log_odds = jax.nn.log_softmax(scores)
    loss = -jnp.mean(jnp.take_along_axis(log_odds, labels[:, None], axis=1))
    return loss, jnp.mean(scores.argmax(axis=1) == labels)


def train(network: RecurrentNet, trains, labels):
    """Go once through batches; return the losses, and which part of each was told right.

    The trains have the shape (batches, steps, rows, channels).
    """
    weights = network.states(brainir.ParamState)
    optimizer = Adam(weights)

    def step(trains, labels):
        def loss():
            return loss_of(network, trains, labels)

        gradient = brainir.transform.grad(loss, weights, has_aux=True, return_value=True)
        gradients, loss, accuracy = gradient()
        optimizer.update(gradients)
        return loss, accuracy

    told = "loss {loss:.3f}", lambda now: {"loss": now["y"][0]}
    bar = brainir.transform.ProgressBar(desc=told)
    return brainir.transform.for_loop(step, trains, labels, pbar=bar)


def draw(losses, accuracies, trains, labels, spikes, path: Path):
    """Save two rows of trains, the spikes of the net for the first, and how training went."""
    figure, axes = plt.subplots(2, 2, figsize=(11, 7), layout="constrained")
    shown = [(trains[:, row], f"input of class {labels[row]}") for row in (0, 1)]
    shown.append((spikes[:, 0], f"spikes of the net, class {labels[0]}"))
    for (values, title), axis in zip(shown, axes.flat, strict=False):
        when, who = np.nonzero(values)
        axis.plot(when * TIME_STEP, who, ".", markersize=2)
        axis.set(xlabel="time (ms)", ylabel="channel", title=title)
    axes[1, 0].set_ylabel("neuron")
    last = axes[1, 1]
    last.plot(losses, color="tab:blue")
    last.set(xlabel="batch", title="training")
    last.set_ylabel("cross entropy", color="tab:blue")
    right = last.twinx()
    right.plot(accuracies, color="tab:orange", linewidth=0.8)
    right.set_ylim(0, 1)
    right.set_ylabel("told right", color="tab:orange")
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(f"  figure: {path}")


def main():
    parser = argparse.ArgumentParser(description="Train a recurrent spiking net on spike trains.")
    parser.add_argument("folder", nargs="?", default="figures", type=Path, help="for the figure")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--channels", type=int, default=100, help="of the input")
    parser.add_argument("--hidden", type=int, default=128, help="neurons")
    parser.add_argument("--steps", type=int, default=100, help="time steps of 1 ms")
    parser.add_argument("--rows", type=int, default=32, help="spike trains in a batch")
    parser.add_argument("--batches", type=int, default=300, help="to train on, each once")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    with brainir.environ.context(dt=TIME_STEP * u.ms):
        brainir.random.seed(0)
        source = SpikeTrains(asked.classes, asked.channels, asked.steps, jitter=0.05 * asked.steps)
        network = RecurrentNet(asked.channels, asked.hidden, asked.classes)
        batches = [source.draw(asked.rows) for _ in range(asked.batches)]
        trains, labels = (np.stack(parts) for parts in zip(*batches, strict=True))
        print(f"{asked.batches} batches of {asked.rows} spike trains, {asked.hidden} neurons")
        start = time.perf_counter()
        losses, accuracies = jax.block_until_ready(train(network, trains, labels))
        print(f"  {time.perf_counter() - start:.2f} s, of which a part to compile")

        trains, labels = source.draw(20 * asked.rows)
        scores, spikes = brainir.transform.jit(network)(trains)
        told_right = (np.asarray(scores).argmax(axis=1) == labels).mean()
    rate = np.asarray(spikes).mean() / (TIME_STEP * 1e-3)
    print(f"  {told_right:.1%} of {len(labels)} new ones told right, at {rate:.0f} spikes/s")
    draw(losses, accuracies, trains, labels, np.asarray(spikes), asked.folder / "shd_like.png")


if __name__ == "__main__":
    main()
