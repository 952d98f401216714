"""The tutorial's jitted loop and sweep against the same thing written by hand with jax.lax.scan,
and brainstate.

Run: ``python benchmarks/tutorial_loops.py``
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
from side_by_side import compare_outputs, peer, print_ratios, report_machine, time_ways

import brainir

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


def main() -> None:
    """Print a row for each size."""
    report_machine()
    for batch, length in ((None, 5000), (50, 2000), (1000, 1000)):
        shape = (length,) if batch is None else (batch, length)
        currents = 1.5 + 0.01 * jax.random.normal(jax.random.key(0), shape)
        ways: dict[str, Callable[[], Any]] = {}
        makers: dict[str, Callable[[Any], Any]] = {"brainir": modelled(brainir, batch)}
        makers["lax.scan"] = by_hand(batch)
        if (library := peer()) is not None:
            makers["brainstate"] = modelled(library, batch)
        for name, run in makers.items():
            ways[name] = lambda run=run, currents=currents: run(currents)
        _compare_spikes(ways)
        print_ratios(f"{batch or 1} trials x {length} steps", time_ways(ways, pairs=15, repeat=5))


def _compare_spikes(ways: dict[str, Callable[[], Any]]) -> None:
    """Spike counts must agree; voltages after a spike that came one step later need not."""
    compare_outputs({k: lambda run=run: run()[1].sum() for k, run in ways.items()}, 2e-3)
    compare_outputs({k: lambda run=run: run()[0][..., :50, :] for k, run in ways.items()}, 1e-4)


if __name__ == "__main__":
    main()
