"""Drive Hodgkin and Huxley's model of the squid's axon with many currents at once.

Run ``python examples/hodgkin_huxley.py [FOLDER]``: the rates are printed, and a figure with
potentials, gates and the rate for each current is saved in FOLDER (``figures`` unless told
otherwise).

Reference: A. L. Hodgkin and A. F. Huxley, A quantitative description of membrane current and its
application to conduction and excitation in nerve, The Journal of Physiology 117 (1952).
"""

import argparse
import time
from pathlib import Path

import brainunit as u
import jax
import matplotlib
import numpy as np

import brainir

matplotlib.use("Agg")
import matplotlib.pyplot as plt

TIME_STEP = 0.01  # ms


class HodgkinHuxley(brainir.nn.Dynamics):
    """A patch of membrane with channels for sodium and potassium.

    ``C dV/dt = I - g_Na m^3 h (V - E_Na) - g_K n^4 (V - E_K) - g_L (V - E_L)``, where each gate
    opens at a rate ``alpha(V)`` and closes at a rate ``beta(V)``. All are integrated by exponential
    Euler: the gates with the potential before the step, the potential with the new gates.
    """

    C = 1.0 * u.uF / u.cm**2
    g_Na, E_Na = 120.0 * u.mS / u.cm**2, 50.0 * u.mV
    g_K, E_K = 36.0 * u.mS / u.cm**2, -77.0 * u.mV
    g_L, E_L = 0.3 * u.mS / u.cm**2, -54.4 * u.mV
    V_rest, V_spike = -65.0 * u.mV, 0.0 * u.mV

    def init_state(self, batch_size: int | None = None, **kwargs):
        rest = brainir.init.param(brainir.init.Constant(self.V_rest), self.varshape, batch_size)
        self.V = brainir.HiddenState(rest)
        steady = {name: a / (a + b) for name, (a, b) in self.rates(rest).items()}
        self.m = brainir.HiddenState(steady["m"])
        self.h = brainir.HiddenState(steady["h"])
        self.n = brainir.HiddenState(steady["n"])

    @staticmethod
    def rates(V):
        """Return at which rates the gates open and close, by name."""
        v = V.to_decimal(u.mV)
        opening_m = 1.0 / u.math.exprel(-(v + 40.0) / 10.0) / u.ms
        opening_n = 0.1 / u.math.exprel(-(v + 55.0) / 10.0) / u.ms
        return {
            "m": (opening_m, 4.0 * u.math.exp(-(v + 65.0) / 18.0) / u.ms),
            "h": (
                0.07 * u.math.exp(-(v + 65.0) / 20.0) / u.ms,
                1.0 / (1.0 + u.math.exp(-(v + 35.0) / 10.0)) / u.ms,
            ),
            "n": (opening_n, 0.125 * u.math.exp(-(v + 65.0) / 80.0) / u.ms),
        }

    def update(self, current):
        V = self.V.value
        for name, (opening, closing) in self.rates(V).items():
            gate = getattr(self, name)

            def derivative(x, opening=opening, closing=closing):
                return opening * (1.0 - x) - closing * x

            gate.value = brainir.nn.exp_euler_step(derivative, gate.value)
        sodium = self.g_Na * self.m.value**3 * self.h.value
        potassium = self.g_K * self.n.value**4

        def potential(v):
            through = sodium * (v - self.E_Na) + potassium * (v - self.E_K)
            return (current - through - self.g_L * (v - self.E_L)) / self.C

        self.V.value = brainir.nn.exp_euler_step(potential, V)
        return (self.V_spike > V) & (self.V.value >= self.V_spike)


def drive(strengths, steps: int, pbar: brainir.transform.ProgressBar | None = None):
    """Give each current a neuron; return potentials, gates and spikes of all steps."""
    neurons = brainir.nn.init_all_states(HodgkinHuxley(strengths.shape))

    def step(_):
        spikes = neurons(strengths)
        return neurons.V.value, (neurons.m.value, neurons.h.value, neurons.n.value), spikes

    return brainir.transform.for_loop(step, np.arange(steps), pbar=pbar)


@brainir.transform.jit(static_argnums=1)
def count(strengths, steps: int):
    """Return how often each neuron spikes; what else a step yields is not made."""
    return drive(strengths, steps)[-1].sum(axis=0)


def draw(strengths, rates, traced, potentials, gates, path: Path):
    """Save the potentials and gates in a few currents, and the rates in all."""
    times = np.arange(len(potentials)) * TIME_STEP
    figure = plt.figure(figsize=(12, 5))
    grid = figure.add_gridspec(2, 2)
    top, bottom = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
    for strength, potential in zip(traced, potentials.to_decimal(u.mV).T, strict=True):
        top.plot(times, potential, label=f"{strength:g} uA/cm$^2$")
    top.set(ylabel="V (mV)", ylim=(-85, 75), title="potentials")
    top.legend(loc="upper right", ncols=len(traced))
    for name, gate in zip("mhn", gates, strict=True):
        bottom.plot(times, gate[:, -1], label=name)
    bottom.set(
        xlabel="time (ms)", ylabel="open", ylim=(0, 1.3), title=f"gates at {traced[-1]:g} uA/cm$^2$"
    )
    bottom.legend(loc="upper right", ncols=3)
    right = figure.add_subplot(grid[:, 1])
    right.plot(strengths, rates, "o-", markersize=3)
    right.set(xlabel="current (uA/cm$^2$)", ylabel="rate (spikes/s)", title="rate for each current")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(f"  figure: {path}")


def main():
    parser = argparse.ArgumentParser(description="Sweep Hodgkin and Huxley's neuron over currents.")
    parser.add_argument("folder", nargs="?", default="figures", type=Path, help="for the figure")
    parser.add_argument("--currents", type=int, default=200, help="how many, from 0 to 20 uA/cm^2")
    parser.add_argument("--time", type=float, default=500.0, help="how long, in ms")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    with brainir.environ.context(dt=TIME_STEP * u.ms):
        density, steps = u.uA / u.cm**2, round(asked.time / TIME_STEP)

        traced = np.array([3.0, 6.5, 15.0])
        kept = min(steps, 5000)
        print(f"{len(traced)} currents, {kept} steps of which all is kept")
        bar = brainir.transform.ProgressBar(count=10)
        potentials, gates, _ = drive(traced * density, kept, pbar=bar)

        strengths = np.linspace(0.0, 20.0, asked.currents)
        print(f"{asked.currents} currents, {steps} steps of which spikes are counted")
        for call in ("first", "second"):
            start = time.perf_counter()
            counts = jax.block_until_ready(count(strengths * density, steps))
            print(f"  {call} call: {time.perf_counter() - start:.3f} s")
        rates = np.asarray(counts) / (asked.time * 1e-3)
        print(f"  spikes begin at {strengths[np.argmax(counts > 2)]:.1f} uA/cm^2")
        print(f"  from {rates.min():.0f} to {rates.max():.0f} spikes/s")
        draw(strengths, rates, traced, potentials, gates, asked.folder / "hodgkin_huxley.png")


if __name__ == "__main__":
    main()
