"""Vogels and Abbott's network: conductances, rare spikes, and few targets for each neuron.

What runs it best differs: a list of the spikes in `jax.lax`, events in brainpy.state, loops over
spikes in the C++ that Brian 2 writes. All have the same number of random targets for each neuron;
since the network is chaotic, rates are compared, and first steps where programs do the same.

Brian 2 runs in an environment of its own: ``BRIAN2_PYTHON`` is the path of a Python that has it.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

import brainir

from .machine import Work
from .side_by_side import BRIAN, BY_HAND, MINE, PEER, Row, Way, peer

DT, TARGETS = 0.1, 80
WEIGHTS = 0.6, 6.7
"""Of excitation and inhibition, in parts of the leak's conductance."""

SCRIPT = Path(__file__).with_name("brian2_network.py")


@dataclass(frozen=True)
class Network:
    """How large a network is, and for how many steps it runs."""

    size: int
    steps: int

    @property
    def excitatory(self) -> int:
        """The number of excitatory neurons, which are the first."""
        return self.size * 4 // 5

    @cached_property
    def targets(self) -> np.ndarray[Any, Any]:
        """Those of each neuron."""
        random = np.random.default_rng(0)
        return random.integers(0, self.size, (self.size, TARGETS)).astype(np.int32)

    def potentials(self) -> jax.Array:
        """Return those at the start."""
        return jnp.asarray(np.random.default_rng(1).normal(-55, 2, self.size), jnp.float32)

    def rate(self, spikes: Any) -> float:
        """Return how often a neuron spikes in a second."""
        return float(np.asarray(spikes).mean()) / (DT * 1e-3)


def advance(values: Sequence[Any], arrive: Sequence[Any]) -> tuple[Any, ...]:
    """Return potentials, conductances, time since the last spike, and spikes, after a step."""
    V, g_E, g_I, since = values
    g_E = g_E * np.exp(np.float32(-DT / 5)) + arrive[0]
    g_I = g_I * np.exp(np.float32(-DT / 10)) + arrive[1]
    slope = -(1 + g_E + g_I) / 20
    change = (-60 - V + g_E * (0 - V) + g_I * (-80 - V) + 20) / 20
    V = jnp.where(since < 5, V, V + change * jnp.expm1(DT * slope) / slope)
    spikes = V >= -50
    return jnp.where(spikes, -60.0, V), g_E, g_I, jnp.where(spikes, 0.0, since + DT), spikes


def start(network: Network) -> tuple[Any, ...]:
    """Return all before the first step."""
    zeros = jnp.zeros(network.size)
    return network.potentials(), zeros, zeros, jnp.full(network.size, 1e4), zeros > 0


def with_states(network: Network) -> Callable[[], Any]:
    """Return the simulation as a user of brainir writes it."""
    held = [brainir.HiddenState(value) for value in start(network)]
    matrices = [
        brainir.event.FixedNumPerPre(
            (jnp.float32(weight), network.targets[part]),
            shape=(part.stop - part.start, network.size),
        )
        for part, weight in zip(_parts(network), WEIGHTS, strict=True)
    ]

    def simulate() -> Any:
        for state, value in zip(held, start(network), strict=True):
            state.value = value

        def step(_: Any) -> Any:
            *values, spikes = (state.value for state in held)
            arrive = [spikes[part] @ m for part, m in zip(_parts(network), matrices, strict=True)]
            for state, value in zip(held, advance(values, arrive), strict=True):
                state.value = value
            return held[-1].value

        return brainir.transform.for_loop(step, jnp.arange(network.steps))

    return brainir.transform.jit(simulate)


def _parts(network: Network) -> tuple[slice, slice]:
    return slice(0, network.excitatory), slice(network.excitatory, network.size)


def by_hand(network: Network) -> Callable[[], Any]:
    """Return the simulation as a scan, in which the targets of a list of spikes are counted.

    The list has room for a few times as many spikes as a step has; a step with more takes all.
    """
    targets, size = jnp.asarray(network.targets), network.size
    room = max(64, size // 100)
    # Inhibition arrives in the second half of one array.
    targets = targets + jnp.where(jnp.arange(size) < network.excitatory, 0, size)[:, None]

    def counts(at: Any) -> Any:
        return jnp.zeros(2 * size).at[at.ravel()].add(1.0, mode="drop")

    def some(spikes: Any) -> Any:
        (who,) = jnp.nonzero(spikes, size=room, fill_value=size)
        return counts(jnp.take(targets, who, axis=0, mode="fill", fill_value=2 * size))

    def all_of(spikes: Any) -> Any:
        return counts(jnp.where(spikes[:, None], targets, 2 * size))

    def step(carry: Any, _: Any) -> Any:
        *values, spikes = carry
        found = jax.lax.cond(spikes.sum() <= room, some, all_of, spikes)
        arrive = [w * part for w, part in zip(WEIGHTS, found.reshape(2, size), strict=True)]
        carry = advance(values, arrive)
        return carry, carry[-1]

    return jax.jit(lambda: jax.lax.scan(step, start(network), None, length=network.steps)[1])


def with_events(library: Any, network: Network) -> Callable[[], Any] | None:
    """Return the simulation as a user of brainpy.state writes it, where that is installed."""
    try:
        import brainpy  # pyright: ignore[reportMissingImports]
        import braintools  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    models, n = brainpy.state, network.size
    first = braintools.init.Normal(-55.0 * u.mV, 2.0 * u.mV)
    taken = {"V_rest": -60.0 * u.mV, "V_th": -50.0 * u.mV, "V_reset": -60.0 * u.mV}
    times = {"tau": 20.0 * u.ms, "tau_ref": 5.0 * u.ms}
    neurons = models.LIFRef(n, **taken, **times, V_initializer=first, spk_reset="hard")
    projections: list[Any] = []
    reversals, decays = (0.0 * u.mV, -80.0 * u.mV), (5.0 * u.ms, 10.0 * u.ms)
    for part, weight, E, tau in zip(_parts(network), WEIGHTS, reversals, decays, strict=True):
        sources = part.stop - part.start
        connections = library.nn.EventFixedNumConn(sources, n, TARGETS, weight * u.siemens)
        synapse, current = models.Expon.desc(n, tau=tau), models.COBA.desc(E=E)
        projections.append(
            models.AlignPostProj(comm=connections, syn=synapse, out=current, post=neurons)
        )
    library.nn.init_all_states(neurons)

    def simulate() -> Any:
        library.nn.reset_all_states(neurons)

        def step(i: Any) -> Any:
            with library.environ.context(t=i * DT * u.ms, dt=DT * u.ms):
                spikes = neurons.get_spike() != 0
                for part, projection in zip(_parts(network), projections, strict=True):
                    projection(spikes[part])
                return neurons(20.0 * u.mA) != 0

        return library.transform.for_loop(step, jnp.arange(network.steps))

    return library.transform.jit(simulate)


class InBrian:
    """The simulation in C++ by Brian 2, which tells itself how long its steps took.

    Starting a program and making its synapses is left out.
    """

    def __init__(self, python: str, network: Network) -> None:
        self.network = network
        self._folder = tempfile.TemporaryDirectory()
        targets = f"{self._folder.name}/targets.npy"
        np.save(targets, network.targets)
        self.program = Path(self._folder.name, "program")
        sizes = [str(network.size), str(network.steps)]
        command = [python, str(SCRIPT), str(self.program), *sizes, targets]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self._folder.name)

    def __call__(self) -> float:
        """Run the program; return the rate."""
        subprocess.run("./main", check=True, cwd=self.program)
        (spikes,) = (self.program / "results").glob("_array_spikemonitor_count_*")
        counts = np.fromfile(spikes, np.int32)
        return float(counts.sum()) / len(counts) / (self.network.steps * DT * 1e-3)

    def took(self) -> float:
        """Return the seconds of the steps of the last run."""
        return float((self.program / "results" / "last_run_info.txt").read_text().split()[0])


def ways(network: Network) -> dict[str, Way]:
    """Return the ways of a simulation, of which rates are compared."""
    short = Network(network.size, 100)
    np.testing.assert_array_equal(with_states(short)(), by_hand(short)())
    view = network.rate
    made = {MINE: Way(with_states(network), view=view), BY_HAND: Way(by_hand(network), view=view)}
    library = peer()
    if library is not None and (simulate := with_events(library, network)) is not None:
        made[PEER] = Way(simulate, view=view)
    if python := os.environ.get("BRIAN2_PYTHON"):
        program = InBrian(python, network)
        made[BRIAN] = Way(program, took=program.took)
    return made


def rows() -> Iterator[Row]:
    """Yield the rows: what no way can do without are the spikes that it returns."""
    for network in (Network(4000, 10_000), Network(40_000, 1000)):
        name = f"Vogels and Abbott's network of {network.size}, {network.steps} steps: simulation"
        work = Work(bytes=1.0 * network.size * network.steps, steps=network.steps)
        yield Row(name, partial(ways, network), 0.1, work, 5, others=(BY_HAND, PEER, BRIAN))
