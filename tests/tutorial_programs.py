"""The six transformations of the tutorial, each in a program as short as can be, with its input.

Their graphs at every stage stand in ``golden/``: they show what a transformation becomes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import brainunit as u
import jax.numpy as jnp

import brainir
from brainir import transform

Program = tuple[Callable[..., Any], tuple[Any, ...]]


class Leaky(brainir.nn.Dynamics):
    """Neurons that integrate a current, and start again after a spike."""

    def init_state(self) -> None:
        """Start at rest."""
        self.V = brainir.HiddenState(jnp.zeros(self.varshape) * u.mV)

    def update(self, current: Any) -> Any:
        """Run one step of forward Euler, and return the spikes."""
        V = self.V.value
        V = V + 0.1 * u.ms * (current * 1.0 * u.ohm - V) / (5.0 * u.ms)
        spike = brainir.surrogate.relu_grad((V - 1.0 * u.mV) / u.mV)
        self.V.value = V - 1.0 * u.mV * spike
        return spike


def _neurons(size: int = 3) -> Leaky:
    return brainir.nn.init_all_states(Leaky(size))


def _currents(*shape: int) -> Any:
    return jnp.linspace(0.0, 60.0, int(jnp.prod(jnp.array(shape)))).reshape(shape) * u.mA


def for_loop() -> Program:
    """Two hundred steps of three neurons."""
    neurons = _neurons()
    return lambda currents: transform.for_loop(neurons, currents), (_currents(200, 3),)


def jit() -> Program:
    """One step, called in another compiled function."""
    neurons = _neurons()
    step = transform.jit(neurons)

    def two_steps(current: Any) -> Any:
        return step(current) + step(current)

    return two_steps, (_currents(3),)


def vmap() -> Program:
    """Five trials, each with neurons of its own."""

    def trial(currents: Any) -> Any:
        return transform.for_loop(_neurons(), currents).sum(0)

    return transform.vmap(trial), (_currents(5, 200, 3),)


def map() -> Program:
    """Five trials, two at a time."""

    def trial(currents: Any) -> Any:
        return transform.for_loop(_neurons(), currents).sum(0)

    return lambda trials: transform.map(trial, trials, batch_size=2), (_currents(5, 200, 3),)


def cond() -> Program:
    """A state that only one branch writes."""
    neurons = _neurons()

    def rest(current: Any) -> Any:
        return jnp.zeros(3)

    def step(current: Any) -> Any:
        return transform.cond(current.sum() > 1.0 * u.mA, neurons, rest, current)

    return step, (_currents(3),)


def grad() -> Program:
    """The gradient of a count of spikes by a weight."""
    neurons, weight = _neurons(), brainir.ParamState(jnp.ones(3))

    def loss(currents: Any) -> Any:
        return transform.for_loop(lambda x: neurons(x * weight.value), currents).sum()

    return transform.grad(loss, weight, return_value=True), (_currents(200, 3),)


PROGRAMS = (for_loop, jit, vmap, map, cond, grad)
