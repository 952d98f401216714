"""The first call of a stack of 16 LIF layers over 100 steps: trace, passes, emit and compile, for
jit and grad.

Every measurement is a process of its own, so nothing is warm. Run: ``python
benchmarks/first_call.py``
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

LAYERS, WIDTH, STEPS = 16, 64, 100


def stack(library: Any, surrogate: Any) -> tuple[Any, Any]:
    """Return a stack of LIF layers as a user writes it, and its weights."""

    class Layer(library.nn.Dynamics):
        def __init__(self, seed: int) -> None:
            super().__init__(WIDTH)
            key = jax.random.key(seed)
            self.weight = library.ParamState(jax.random.normal(key, (WIDTH, WIDTH)) * 0.3)
            self.spike = surrogate.ReluGrad()
            self.V = library.HiddenState(jnp.zeros(WIDTH) * u.mV)

        def update(self, x: Any) -> Any:
            v = self.V.value
            v = v - 1.0 * u.mV * self.spike((v - 1.0 * u.mV) / (1.0 * u.mV))
            current = (x @ self.weight.value) * u.mA
            v = library.nn.exp_euler_step(lambda v: (-v + u.ohm * current) / (5.0 * u.ms), v)
            self.V.value = v
            return self.spike((v - 1.0 * u.mV) / (1.0 * u.mV))

    layers = [Layer(i) for i in range(LAYERS)]

    def step(x: Any) -> Any:
        for layer in layers:
            x = layer(x)
        return x

    return step, [layer.weight for layer in layers]


def measure(name: str, what: str) -> float:
    """Return seconds of a first call, in this process."""
    if name == "brainir":
        import brainir as library

        surrogate = library.surrogate
    else:
        import brainstate as library  # pyright: ignore[reportMissingImports]
        from braintools import surrogate  # pyright: ignore[reportMissingImports]
    library.environ.set(dt=0.1 * u.ms)
    step, weights = stack(library, surrogate)
    xs = (jax.random.uniform(jax.random.key(1), (STEPS, WIDTH)) < 0.3).astype(jnp.float32) * 9

    def run(xs: Any) -> Any:
        return library.transform.for_loop(step, xs).sum()

    f = run if what == "jit" else library.transform.grad(run, grad_states=weights)
    compiled = library.transform.jit(f)
    start = time.perf_counter()
    jax.block_until_ready(compiled(xs))
    return time.perf_counter() - start


def main(rounds: int = 7) -> None:
    """Print a row for jit and one for grad."""
    for what in ("jit", "grad"):
        seconds: dict[str, list[float]] = {"brainir": [], "brainstate": []}
        for _ in range(rounds):
            for name, values in seconds.items():
                command = [sys.executable, __file__, name, what]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    print(f"{name} cannot be measured: {done.stderr.strip().splitlines()[-1]}")
                    continue
                values.append(float(done.stdout.strip().splitlines()[-1]))
        mine, theirs = (np.array(seconds[n]) for n in ("brainir", "brainstate"))
        line = f"first call, {what:4} of {LAYERS} layers: brainir {np.median(mine):.2f} s"
        if len(theirs):
            ratio = np.median(mine / theirs)
            line += f", brainstate {np.median(theirs):.2f} s, ratio {ratio:.2f}"
        print(line)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(measure(sys.argv[1], sys.argv[2]))
    else:
        main()
