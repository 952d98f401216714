"""Programs written for brainstate: on brainstate, and on brainir by one line before them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from .apart import Apart
from .side_by_side import MINE, PEER

SECONDS = 2.0

# pyright: reportMissingImports=false


def spiking_training() -> Callable[[], Any]:
    """Return a step of training of the spiking net of ``examples/brainstate_training.py``."""
    import brainstate
    import braintools

    sys.path.append(str(Path(__file__).parents[1] / "examples"))
    from brainstate_training import LIF, Readout, linear

    steps, rows, width = 100, 16, 128
    brainstate.environ.set(dt=1.0 * u.ms)
    brainstate.random.seed(0)
    out = brainstate.nn.Linear(width, 10)
    layers = [linear(200, width), LIF(width), linear(width, width), LIF(width), out, Readout(10)]
    net = brainstate.nn.Sequential(*layers)
    spikes = (brainstate.random.rand(steps, rows, 200) < 0.02).astype(jnp.float32)
    classes = brainstate.random.randint(0, 10, rows)
    return _trained(net, rows, spikes, lambda ys: _entropy(braintools, ys.mean(axis=0), classes))


def gated_training() -> Callable[[], Any]:
    """Return a step of training of a recurrent layer of gated units that remembers a number."""
    import brainstate

    steps, rows, width = 100, 16, 128
    brainstate.random.seed(0)
    net = brainstate.nn.Sequential(brainstate.nn.GRUCell(4, width), brainstate.nn.Linear(width, 1))
    xs = brainstate.random.randn(steps, rows, 4)
    return _trained(net, rows, xs, lambda ys: ((ys[-1] - xs[0, :, :1]) ** 2).mean())


def _entropy(braintools: Any, scores: Any, classes: Any) -> Any:
    return braintools.metric.softmax_cross_entropy_with_integer_labels(scores, classes).mean()


def _trained(net: Any, rows: int, xs: Any, judge: Callable[[Any], Any]) -> Callable[[], Any]:
    import brainstate
    import braintools

    weights = net.states(brainstate.ParamState)
    optimizer = braintools.optim.Adam(lr=2e-3)
    optimizer.register_trainable_weights(weights)

    def loss() -> Any:
        return judge(brainstate.transform.for_loop(net, xs))

    @brainstate.transform.jit
    def train() -> Any:
        brainstate.nn.init_all_states(net, rows)
        gradients, value = brainstate.transform.grad(loss, weights, return_value=True)()
        optimizer.update(gradients)
        return value

    return train


def conductances() -> Callable[[], Any]:
    """Return 1,000 steps of a network of 4,000 neurons with synapses of conductances.

    Reference: T. P. Vogels and L. F. Abbott, Signal propagation and logic gating in networks of
    integrate-and-fire neurons, Journal of Neuroscience 25 (2005).
    """
    import brainpy.state as bp
    import brainstate
    import braintools

    excitatory, inhibitory = 3200, 800
    brainstate.environ.set(dt=0.1 * u.ms)
    brainstate.random.seed(0)

    class Network(brainstate.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            size = excitatory + inhibitory
            start = braintools.init.Normal(-55.0, 2.0, unit=u.mV)
            rest: Any = {"V_rest": -60.0 * u.mV, "V_th": -50.0 * u.mV, "V_reset": -60.0 * u.mV}
            times: Any = {"tau": 20.0 * u.ms, "tau_ref": 5.0 * u.ms}
            self.cells = bp.LIFRef(size, V_initializer=start, **rest, **times)
            self.E = self._projection(excitatory, 0.6 * u.mS, 5.0 * u.ms, 0.0 * u.mV)
            self.I = self._projection(inhibitory, 6.7 * u.mS, 10.0 * u.ms, -80.0 * u.mV)

        def _projection(self, count: int, weight: Any, tau: Any, reversal: Any) -> Any:
            size = excitatory + inhibitory
            return bp.AlignPostProj(
                comm=brainstate.nn.EventFixedProb(count, size, conn_num=0.02, conn_weight=weight),
                syn=bp.Expon.desc(size, tau=tau),
                out=bp.COBA.desc(E=reversal),
                post=self.cells,
            )

        def update(self, t: Any) -> Any:
            with brainstate.environ.context(t=t):
                spikes = self.cells.get_spike() != 0.0
                self.E(spikes[:excitatory])
                self.I(spikes[excitatory:])
                self.cells(20.0 * u.mA)
                return self.cells.get_spike().sum()

    net = Network()
    brainstate.nn.init_all_states(net)
    times = jnp.arange(1000) * 0.1 * u.ms

    def run() -> Any:
        """Return how many spikes there were in each tenth of the time, in which chaos is lost."""
        return brainstate.transform.for_loop(net.update, times).reshape(10, -1).sum(axis=1)

    return brainstate.transform.jit(run)


def sweep() -> Callable[[], Any]:
    """Return 500 steps of 1,000 neurons that differ in their input, one of them in each lane.

    Reference: A. L. Hodgkin and A. F. Huxley, A quantitative description of membrane current,
    Journal of Physiology 117 (1952).
    """
    import brainstate

    brainstate.environ.set(dt=0.01 * u.ms)
    decay = brainstate.nn.exp_euler_step

    class Cell(brainstate.nn.Dynamics):
        def init_state(self) -> None:
            self.V = brainstate.HiddenState(jnp.full(1, -65.0) * u.mV)
            hidden = brainstate.HiddenState
            self.m, self.n, self.h = (hidden(jnp.full(1, x)) for x in (0.05, 0.3, 0.6))

        def update(self, current: Any) -> Any:
            V, per = self.V.value / u.mV, 1.0 / u.ms
            rates = {
                "m": (0.1 * (V + 40) / -jnp.expm1(-(V + 40) / 10), 4 * jnp.exp(-(V + 65) / 18)),
                "n": (0.01 * (V + 55) / -jnp.expm1(-(V + 55) / 10), jnp.exp(-(V + 65) / 80) / 8),
                "h": (0.07 * jnp.exp(-(V + 65) / 20), 1 / (1 + jnp.exp(-(V + 35) / 10))),
            }
            m, n, h = self.m.value, self.n.value, self.h.value

            def slope(v: Any) -> Any:
                ions = 120 * m**3 * h * (v - 50 * u.mV) + 36 * n**4 * (v + 77 * u.mV)
                return (current - (ions + 0.3 * (v + 54.4 * u.mV)) * u.mS) / (1.0 * u.uF)

            self.V.value = decay(slope, self.V.value)
            for name, (up, down) in rates.items():
                state = getattr(self, name)

                def rise(x: Any, up: Any = up, down: Any = down) -> Any:
                    return (up * (1 - x) - down * x) * per

                state.value = decay(rise, state.value)
            return self.V.value

    cell = Cell(1)

    def lane(current: Any) -> Any:
        cell.init_state()
        return brainstate.transform.for_loop(lambda _: cell(current), jnp.arange(500))[-1]

    run = brainstate.transform.jit(brainstate.transform.vmap(lane))
    return lambda: run(jnp.linspace(0.0, 20.0, 1000)[:, None] * u.uA)


def call() -> Callable[[], Any]:
    """Return one step of a cell of gated units, called from Python."""
    import brainstate

    brainstate.random.seed(0)
    cell = brainstate.nn.GRUCell(4, 8)
    brainstate.nn.init_all_states(cell)
    step, x = brainstate.transform.jit(cell), jnp.ones(4)
    return lambda: step(x)


PROGRAMS = {
    "spiking net, training step": (spiking_training, ()),
    "gated units, training step": (gated_training, ()),
    "network of conductances, 1,000 steps": (conductances, ("brainpy",)),
    "sweep of a neuron, 500 steps": (sweep, ()),
    "one small step: call": (call, ()),
}


def measure(build: Callable[[], Callable[[], Any]], way: str) -> dict[str, Any]:
    """Return what a program takes in this process, and what it returned first."""
    if way == MINE:
        import brainir.as_brainstate  # noqa: F401
    import resource

    run = build()
    start = time.perf_counter()
    outputs = [jax.block_until_ready(run())]
    first = time.perf_counter() - start
    outputs.append(run())
    seconds: list[float] = []
    until = time.perf_counter() + SECONDS
    while (start := time.perf_counter()) < until or len(seconds) < 5:
        jax.block_until_ready(run())
        seconds.append(time.perf_counter() - start)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "outputs": [np.asarray(u.get_magnitude(x), float).ravel()[-10:].tolist() for x in outputs],
        "seconds": float(np.median(seconds)),
        "first": first,
        "size": kilobytes / 2**10,
    }


def rows() -> Iterator[Apart]:
    """Yield the rows; there is nothing written by hand to compare with."""
    for name, (build, needs) in PROGRAMS.items():
        once = partial(measure, build)
        yield Apart(name, once, (MINE, PEER), 5, ("brainstate", "braintools", *needs))
