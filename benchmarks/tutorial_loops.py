"""The tutorial's neuron, alone and in a sweep: as users write it, and as a scan by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp

import brainir

from .machine import Work
from .side_by_side import BY_HAND, MINE, PEER, Row, Way, peer

TAU, THRESHOLD, DT = 5.0, 1.0, 0.1


def neuron_class(library: Any) -> type:
    """Return the tutorial's neuron, written for one library."""

    class Neuron(library.nn.Dynamics):
        def init_state(self) -> None:
            self.V = library.HiddenState(jnp.zeros(self.varshape) * u.mV)

        def update(self, x: Any) -> Any:
            v = self.V.value
            v = v - THRESHOLD * u.mV * _spike(v / (1.0 * u.mV) - THRESHOLD)
            v = library.nn.exp_euler_step(lambda v: (-v + 1.0 * u.ohm * x) / (TAU * u.ms), v)
            self.V.value = v
            return _spike(v / (1.0 * u.mV) - THRESHOLD)

    return Neuron


def _spike(x: Any) -> Any:
    return (u.get_magnitude(x) >= 0).astype(jnp.float32)


def modelled(library: Any, batch: int | None) -> Callable[[Any], Any]:
    """Return the simulation as a user of a library writes it."""
    kind, transform = neuron_class(library), library.transform

    def simulate(currents: Any) -> Any:
        neuron = kind(1)
        library.nn.init_all_states(neuron)

        def step(x: Any) -> Any:
            spike = neuron(x * u.mA)
            return neuron.V.value / u.mV, spike

        return transform.for_loop(step, currents)

    library.environ.set(dt=DT * u.ms)
    return transform.jit(simulate if batch is None else transform.vmap(simulate))


def by_hand(batch: int | None) -> Callable[[Any], Any]:
    """Return the simulation as somebody writes it with jax.lax alone."""
    # exp Euler: v + dt * (e^z - 1) / z * dv with z = -dt / tau
    z = -DT / TAU
    gain = jnp.expm1(z) / z * DT

    def simulate(currents: Any) -> Any:
        def step(v: Any, x: Any) -> Any:
            v = v - THRESHOLD * _spike(v - THRESHOLD)
            v = v + gain * (-v + x) / TAU
            return v, (v, _spike(v - THRESHOLD))

        return jax.lax.scan(step, jnp.zeros(1), currents)[1]

    return jax.jit(simulate if batch is None else jax.vmap(simulate))


def comparable(outputs: Any) -> Any:
    """Return the voltages of the first steps, and how many spikes there were.

    After a spike that came one step later, voltages differ.
    """
    voltages, spikes = outputs
    return voltages[..., :50, :], spikes.sum()


def ways(batch: int | None, length: int) -> dict[str, Way]:
    """Return the ways of a simulation."""
    shape = (length,) if batch is None else (batch, length)
    currents = 1.5 + 0.01 * jax.random.normal(jax.random.key(0), shape)
    made = {MINE: modelled(brainir, batch), BY_HAND: by_hand(batch)}
    if (library := peer()) is not None:
        made[PEER] = modelled(library, batch)
    return {name: Way(run, (currents,), comparable) for name, run in made.items()}


# --- a recurrence that is affine ------------------------------------------------------------------

DECAY = 0.95


def leaky(library: Any, width: int) -> Callable[..., Any]:
    """Return a readout that leaks, as users of a library write it."""
    held = library.HiddenState(jnp.zeros(width))

    def step(x: Any) -> Any:
        held.value = DECAY * held.value + x
        return held.value

    def run(xs: Any) -> Any:
        held.value = jnp.zeros(width)
        return library.transform.for_loop(step, xs)

    return library.transform.jit(run)


def leaky_as_a_tree(xs: Any) -> Any:
    """Return the same by JAX's parallel scan."""

    def combined(one: Any, other: Any) -> Any:
        return one[0] * other[0], other[0] * one[1] + other[1]

    return jax.lax.associative_scan(combined, (jnp.full_like(xs, DECAY), xs))[1]


def leaky_ways(width: int, length: int) -> dict[str, Way]:
    """Return the ways of computing the readout."""
    xs = (jnp.sin(jnp.arange(length * width, dtype=jnp.float32)).reshape(length, width),)
    made = {MINE: Way(leaky(brainir, width), xs), BY_HAND: Way(jax.jit(leaky_as_a_tree), xs)}
    if (library := peer()) is not None:
        made[PEER] = Way(leaky(library, width), xs)
    return made


def rows() -> Iterator[Row]:
    """Yield the rows: what no way can do without are the voltages and spikes that it returns."""
    for batch, length in ((None, 5000), (50, 2000), (1000, 1000)):
        count = batch or 1
        name = f"the tutorial's neuron, {count} lane{'s' * (count > 1)}, {length} steps: simulation"
        work = Work(bytes=12.0 * count * length, steps=length)
        yield Row(name, partial(ways, batch, length), 2e-3, work, repeat=5)
    for width, length in ((1, 4096), (16, 4096), (64, 4096), (256, 4096), (1024, 256)):
        name = f"leaky readout of {width}, {length} steps: beside an associative scan by hand"
        work = Work(bytes=8.0 * width * length, steps=length)
        yield Row(name, partial(leaky_ways, width, length), 1e-3, work, repeat=5)
