"""Spiking nets, simulated and trained: as users of a library write them, and as a scan by hand.

A net is layers of leaky integrate-and-fire neurons, one behind the other; each may drive itself,
too. What is trained is read from the mean of what the last layer does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, pairwise
from typing import Any

import jax
import jax.numpy as jnp

import brainir

from .machine import Work
from .side_by_side import BY_HAND, MINE, PEER, Row, Way, peer, surrogates

DECAY, SLOPE = 0.9, 0.3


@dataclass(frozen=True)
class Net:
    """How large a net is.

    Attributes
    ----------
    steps, rows : int
        Of the input.
    sizes : tuple of int
        The width of the input and of each layer.
    recurrent : bool
        Whether all layers but the last drive themselves.
    gain : float
        What weights are multiplied by: with 2, a quarter of the neurons or more spike in a step.
    booleans : bool
        Whether the input is booleans, which steps make numbers of.
    """

    steps: int
    rows: int
    sizes: tuple[int, ...]
    recurrent: bool = False
    gain: float = 2.0
    booleans: bool = False

    def __str__(self) -> str:
        kind = "recurrent" if self.recurrent else "feed-forward"
        parts: list[str] = []
        for width, same in groupby(self.sizes):
            count = len([*same])
            parts += [f"{count}x{width}"] if count > 2 else [f"{width}"] * count
        sizes = "-".join(parts)
        return f"{kind} {sizes}, {self.steps} steps of {self.rows} row{'s' * (self.rows > 1)}"

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """The shapes of the matrices: those between layers, then those within."""
        within = [(n, n) for n in self.sizes[1:-1]] if self.recurrent else []
        return [*pairwise(self.sizes), *within]

    def weights(self) -> list[Any]:
        """Return the weights."""
        keys = jax.random.split(jax.random.key(0), len(self.shapes))
        pairs = zip(keys, self.shapes, strict=True)
        return [self.gain * jax.random.normal(key, shape) / shape[0] ** 0.5 for key, shape in pairs]

    def spikes(self) -> Any:
        """Return the input."""
        shape = (self.steps, self.rows, self.sizes[0])
        fired = jax.random.uniform(jax.random.key(1), shape) < 0.1
        return fired if self.booleans else fired.astype(jnp.float32)

    def work(self, times: int) -> Work:
        """Return the work of so many products with each matrix in a step, and of their steps."""
        elements = sum(a * b for a, b in self.shapes)
        flops = 2.0 * times * self.steps * self.rows * elements
        return Work(flops, 4.0 * times * elements, times * self.steps)


def with_states(library: Any, net: Net, **how: Any) -> tuple[Any, Any]:
    """Return the simulation and the gradient as users of a library write them.

    ``how`` is asked of the gradient.
    """
    params = [library.ParamState(weight) for weight in net.weights()]
    transform, spike = library.transform, surrogates(library).ReluGrad(alpha=SLOPE)
    layers = len(net.sizes) - 1
    between, within = params[:layers], [*params[layers:], *[None] * layers][:layers]

    def simulate(xs: Any) -> Any:
        zeros = [jnp.zeros((net.rows, n)) for n in net.sizes[1:]]
        potentials = [library.HiddenState(z) for z in zeros]
        before = [library.HiddenState(z) for z in zeros]

        def step(x: Any) -> Any:
            x = x.astype(jnp.float32)
            for V, S, weight, recurrent in zip(potentials, before, between, within, strict=True):
                v = V.value * DECAY + x @ weight.value
                if recurrent is not None:
                    v = v + S.value @ recurrent.value
                x = spike(v - 1.0)
                V.value = v - x
                if recurrent is not None:
                    S.value = x
            return x

        return transform.for_loop(step, xs).mean(0)

    def gradient(xs: Any) -> Any:
        return transform.grad(lambda: (simulate(xs) ** 2).sum(), grad_states=params, **how)()

    return transform.jit(simulate), transform.jit(gradient)


def spike_by_hand() -> Any:
    """Return a spike with a surrogate gradient, as somebody writes it with jax alone."""

    @jax.custom_jvp
    def spike(x: Any) -> Any:
        return (x >= 0).astype(jnp.float32)

    def rule(primals: Any, tangents: Any) -> Any:
        slope = jnp.maximum(SLOPE * (1 - jnp.abs(primals[0])), 0)
        return spike(primals[0]), tangents[0] * slope

    spike.defjvp(rule)
    return spike


def by_hand(net: Net) -> tuple[Any, Any]:
    """Return both as somebody writes them with jax alone."""

    spike = spike_by_hand()
    layers = len(net.sizes) - 1

    def simulate(weights: Any, xs: Any) -> Any:
        def step(carry: Any, x: Any) -> Any:
            after: list[Any] = []
            x = x.astype(jnp.float32)
            for i, (v, s) in enumerate(carry):
                v = v * DECAY + x @ weights[i]
                if net.recurrent and i < layers - 1:
                    v = v + s @ weights[layers + i]
                x = spike(v - 1.0)
                after.append((v - x, x if s is not None else None))
            return after, x

        zeros = [jnp.zeros((net.rows, n)) for n in net.sizes[1:]]
        drive = [net.recurrent and i < layers - 1 for i in range(layers)]
        start = [(z, z if drives else None) for z, drives in zip(zeros, drive, strict=True)]
        return jax.lax.scan(step, start, xs)[1].mean(0)

    def loss(weights: Any, xs: Any) -> Any:
        return (simulate(weights, xs) ** 2).sum()

    return simulate, jax.grad(loss)


def ways(net: Net, which: int, **how: Any) -> dict[str, Way]:
    """Return the ways of simulating, or with 1 of the gradient, of which brainir asks ``how``."""
    xs = net.spikes()
    made = {MINE: Way(with_states(brainir, net, **how)[which], (xs,))}
    made[BY_HAND] = Way(jax.jit(by_hand(net)[which]), (net.weights(), xs))
    if (library := peer()) is not None:
        made[PEER] = Way(with_states(library, net)[which], (xs,))
    return made


def optimized(net: Net) -> dict[str, Way]:
    """Return the gradient that was written with jax alone, as it is, and taken through brainir."""
    gradient, args = by_hand(net)[1], (net.weights(), net.spikes())
    return {MINE: Way(brainir.optimize(gradient), args), BY_HAND: Way(jax.jit(gradient), args)}


def of_all_steps(share: float) -> dict[str, Way]:
    """Return the product that is the gradient of a matrix, of which a share of the input spikes."""
    fired = jax.random.uniform(jax.random.key(0), (800, 512)) < share
    args = (fired, jax.random.normal(jax.random.key(1), (800, 512)))

    def product(fired: Any, back: Any) -> Any:
        return fired.astype(back.dtype).T @ back

    return {MINE: Way(brainir.optimize(product), args), BY_HAND: Way(jax.jit(product), args)}


def rows() -> Iterator[Row]:
    """Yield the rows."""
    deep = [Net(100, rows, (700, 256, 256, 20)) for rows in (1, 8, 32, 128)]
    wide = [Net(100, rows, (700, n, n, 20)) for n in (512, 1024) for rows in (1, 8)]
    many = [Net(100, 4, (64,) * 17), Net(500, 1, (512,) * 4)]
    driven = [Net(100, rows, (700, 256, 20), True) for rows in (1, 8, 32, 128)]
    for net in (*deep, *wide, *many, *driven):
        yield Row(f"{net}: training step", partial(ways, net, 1), 1e-3, net.work(3), 9)
    for net in (deep[1], deep[3], many[1], driven[1]):
        yield Row(f"{net}: simulation", partial(ways, net, 0), 1e-3, net.work(1), 9)
    for net, booleans in ((driven[0], False), (driven[0], True), (driven[1], False)):
        rare = replace(net, gain=1.1, booleans=booleans)
        given = ", input as booleans" if booleans else ""
        name = f"{rare}, of 256 one in twenty spikes{given}: training step"
        yield Row(name, partial(ways, rare, 1), 1e-3, rare.work(3), 9)
    long = Net(1000, 16, (100, 256, 20), True)
    yield Row(f"{long}: training step", partial(ways, long, 1), 1e-3, long.work(3), 5)
    name = f"{long}: training step with a tenth of the memory"
    yield Row(name, partial(ways, long, 1, memory=0.1), 1e-3, long.work(4), 5)
    for net in (deep[1], driven[1]):
        name = f"{net}: training step of plain JAX through brainir.optimize"
        yield Row(name, partial(optimized, net), 1e-3, net.work(3), 9)
    for name, share in (("one in twenty", 1 / 20), ("one in ten", 1 / 10), ("one in four", 1 / 4)):
        name = f"product of 800 steps of 512, {name} set, with what came back"
        work = Work(2.0 * 800 * 512 * 512 * share)
        yield Row(name, partial(of_all_steps, share), 1e-3, work, 15)
