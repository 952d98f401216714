"""The network of `networks` in Brian 2, as a program in C++; run by a Python that has Brian 2.

``python brian2_network.py FOLDER SIZE STEPS TARGETS`` builds the program in a folder and prints
where it is; the numbers of the last run are what the program leaves in its folder ``results``.
"""

from __future__ import annotations

import sys

import brian2 as b  # pyright: ignore[reportMissingImports]
import numpy as np

EQUATIONS = """
dv/dt = (E_L - v + g_E * (0 * mV - v) + g_I * (-80 * mV - v) + 20 * mV) / (20 * ms)
    : volt (unless refractory)
dg_E/dt = -g_E / (5 * ms) : 1
dg_I/dt = -g_I / (10 * ms) : 1
"""


def build(folder: str, size: int, steps: int, targets: str) -> None:
    """Write, compile and run the program; ``targets`` is a file with those of each neuron."""
    b.set_device("cpp_standalone", build_on_run=False)
    b.defaultclock.dt = 0.1 * b.ms
    b.prefs.core.default_float_dtype = np.float32
    space = {"E_L": -60 * b.mV}
    neurons = b.NeuronGroup(
        size,
        EQUATIONS,
        threshold="v >= -50 * mV",
        reset="v = -60 * mV",
        refractory=5 * b.ms,
        method="exponential_euler",
        namespace=space,
    )
    neurons.v = "-55 * mV + 2 * mV * randn()"
    to = np.load(targets)
    excitatory = size * 4 // 5
    kinds = [(slice(0, excitatory), "g_E += 0.6"), (slice(excitatory, size), "g_I += 6.7")]
    synapses = []
    for part, on_pre in kinds:
        sources = np.repeat(np.arange(size)[part], to.shape[1])
        synapses.append(b.Synapses(neurons, neurons, on_pre=on_pre))
        synapses[-1].connect(i=sources, j=to[part].ravel())
    spikes = b.SpikeMonitor(neurons)
    network = b.Network(neurons, *synapses, spikes)
    network.run(steps * b.defaultclock.dt)
    b.device.build(directory=folder, compile=True, run=False)


if __name__ == "__main__":
    build(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
