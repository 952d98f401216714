"""Simulate a network of excitation and inhibition that keeps itself irregularly active.

Run ``python examples/coba.py [FOLDER]``: the rates are printed, and a figure with the
spikes and the rate of the network is saved in FOLDER (``figures`` unless told otherwise).

Reference: T. P. Vogels and L. F. Abbott, Signal propagation and logic gating in networks of
integrate-and-fire neurons, The Journal of Neuroscience 25 (2005).
"""

import argparse
import time
from pathlib import Path

import brainunit as u
import jax.numpy as jnp
import matplotlib
import numpy as np

import brainir

matplotlib.use("Agg")
import matplotlib.pyplot as plt

TIME_STEP = 0.1  # ms
TARGETS = 80  # of each neuron: 2 % of 4000


class Neurons(brainir.nn.Dynamics):
    """Leaky integrate-and-fire neurons whose synapses open conductances.

    ``C dV/dt = g_L (E_L - V) + g_E (E_E - V) + g_I (E_I - V) + I``, where ``g_E`` and ``g_I``
    decay and rise by what arrives. A neuron spikes where ``V >= V_th``, and then stays at
    ``V_reset`` for a while.
    """

    C, g_L, E_L = 200.0 * u.pF, 10.0 * u.nS, -60.0 * u.mV
    tau_E, E_E = 5.0 * u.ms, 0.0 * u.mV
    tau_I, E_I = 10.0 * u.ms, -80.0 * u.mV
    V_th, V_reset, silence = -50.0 * u.mV, -60.0 * u.mV, 5.0 * u.ms

    def init_state(self, batch_size: int | None = None, **kwargs):
        start = brainir.init.Normal(mean=-55.0 * u.mV, std=2.0 * u.mV)
        self.V = brainir.HiddenState(brainir.init.param(start, self.varshape, batch_size))
        none = brainir.init.param(brainir.init.Constant(0.0 * u.nS), self.varshape, batch_size)
        self.g_E, self.g_I = brainir.HiddenState(none), brainir.HiddenState(none)
        long = brainir.init.Constant(1e4 * u.ms)
        self.since = brainir.HiddenState(brainir.init.param(long, self.varshape, batch_size))

    def update(self, excitation, inhibition, current):
        self.g_E.value = decay(self.g_E.value, self.tau_E) + excitation
        self.g_I.value = decay(self.g_I.value, self.tau_I) + inhibition
        g_E, g_I = self.g_E.value, self.g_I.value

        def derivative(V):
            through = self.g_L * (self.E_L - V) + g_E * (self.E_E - V) + g_I * (self.E_I - V)
            return (through + current) / self.C

        rests = self.since.value < self.silence
        V = u.math.where(rests, self.V.value, brainir.nn.exp_euler_step(derivative, self.V.value))
        spikes = self.V_th <= V
        dt = brainir.environ.get_dt()
        self.V.value = u.math.where(spikes, self.V_reset, V)
        self.since.value = u.math.where(spikes, 0.0 * u.ms, self.since.value + dt)
        return spikes


def decay(x, tau):
    """Return what is left after a time step of what decays."""
    return x * u.math.exp(-brainir.environ.get_dt() / tau)


def connections(sources: int, targets: int, each: int, weight):
    """Return a sparse matrix in which each source has so many random targets, of one weight."""
    chosen = np.random.default_rng(sources).integers(0, targets, (sources, each))
    return brainir.event.FixedNumPerPre((weight, chosen), shape=(sources, targets))


class Network(brainir.nn.Module):
    """Four excitatory neurons for each inhibitory one, connected at random."""

    def __init__(self, size: int, targets: int = TARGETS):
        super().__init__()
        self.size, self.excitatory = size, size * 4 // 5
        self.neurons = Neurons(size)
        self.excite = connections(self.excitatory, size, targets, 6.0 * u.nS)
        self.inhibit = connections(size - self.excitatory, size, targets, 67.0 * u.nS)

    def init_state(self, **kwargs):
        self.spikes = brainir.HiddenState(jnp.zeros(self.size, bool))

    def update(self, current):
        excite, inhibit = jnp.split(self.spikes.value, [self.excitatory])
        self.spikes.value = self.neurons(excite @ self.excite, inhibit @ self.inhibit, current)
        return self.spikes.value


def run(network: Network, steps: int, pbar: brainir.transform.ProgressBar | None = None):
    """Return the spikes of all steps, in a constant current."""

    def step(_):
        return network(200.0 * u.pA)

    return brainir.transform.for_loop(step, np.arange(steps), pbar=pbar)


def draw(spikes, excitatory: int, path: Path):
    """Save who spikes when, of at most 1000 neurons, and how many of all do."""
    steps, size = spikes.shape
    shown = np.linspace(0, size, min(size, 1000), endpoint=False, dtype=int)
    kinds = {"excitatory": shown[shown < excitatory], "inhibitory": shown[shown >= excitatory]}
    figure, (top, bottom) = plt.subplots(
        2, 1, sharex=True, figsize=(11, 6), height_ratios=(3, 1), layout="constrained"
    )
    for (name, neurons), color in zip(kinds.items(), ("tab:blue", "tab:red"), strict=True):
        when, who = np.nonzero(spikes[:, neurons])
        top.plot(when * TIME_STEP, neurons[who], ".", markersize=1.5, color=color, label=name)
    top.set(ylabel="neuron", xlim=(0, steps * TIME_STEP))
    top.legend(loc="upper right", markerscale=6)
    bin_steps = min(steps, round(1.0 / TIME_STEP))
    bins = spikes[: steps // bin_steps * bin_steps].reshape(-1, bin_steps, size)
    rates = bins.mean(axis=(1, 2)) / (TIME_STEP * 1e-3)
    bottom.plot(np.arange(len(rates)) * bin_steps * TIME_STEP, rates, linewidth=0.8)
    bottom.set(xlabel="time (ms)", ylabel="rate (spikes/s)")
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(f"  figure: {path}")


def main():
    parser = argparse.ArgumentParser(description="Simulate Vogels and Abbott's network.")
    parser.add_argument("folder", nargs="?", default="figures", type=Path, help="for the figure")
    parser.add_argument("--size", type=int, default=4000, help="how many neurons")
    parser.add_argument("--targets", type=int, default=TARGETS, help="of each neuron")
    parser.add_argument("--time", type=float, default=1000.0, help="how long, in ms")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    with brainir.environ.context(dt=TIME_STEP * u.ms):
        brainir.random.seed(0)
        steps = round(asked.time / TIME_STEP)
        print(f"{asked.size} neurons with {asked.targets} targets each, {steps} steps")
        network = brainir.nn.init_all_states(Network(asked.size, asked.targets))
        run(network, max(1, steps // 10), brainir.transform.ProgressBar(desc="settling"))

        @brainir.transform.jit
        def simulate():
            return run(network, steps)

        for call in ("first", "second"):
            start = time.perf_counter()
            spikes = np.asarray(simulate())
            print(f"  {call} call: {time.perf_counter() - start:.3f} s")
        rates = spikes.mean(axis=0) / (TIME_STEP * 1e-3)
        print(f"  {rates[: network.excitatory].mean():.1f} spikes/s of excitatory neurons")
        print(f"  {rates[network.excitatory :].mean():.1f} spikes/s of inhibitory neurons")
        draw(spikes, network.excitatory, asked.folder / "coba.png")


if __name__ == "__main__":
    main()
