"""JAX's cache of compiled programs on disk: what one process has compiled, the next one finds."""

import subprocess
import sys
import textwrap

from tests.other_processes import environment

PROGRAM = """
    import os, sys
    import jax, jax.numpy as jnp
    import brainir

    jax.config.update("jax_compilation_cache_dir", sys.argv[1])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    weights = {name: brainir.ParamState(jnp.full((3, 3), 0.1)) for name in "abc"}
    potentials = [brainir.HiddenState(jnp.zeros(3)) for _ in weights]
    spike = brainir.surrogate.ReluGrad()

    def step(x):
        for potential, weight in zip(potentials, weights.values()):
            potential.value = 0.9 * potential.value + x @ weight.value
            x = spike(potential.value - 1.0)
        return x

    def loss(xs):
        return brainir.transform.for_loop(step, xs).mean()

    @brainir.transform.jit
    def train(xs):
        for name, gradient in brainir.transform.grad(loss, weights)(xs).items():
            weights[name].value = weights[name].value - 0.1 * gradient

    xs = jnp.ones((5, 3))
    before = set(os.listdir(sys.argv[1]))
    train(xs)
    print(len(set(os.listdir(sys.argv[1])) - before))
"""


def test_another_process_finds_what_was_compiled(tmp_path):
    """Also where Python orders sets otherwise, which it does by a number that it draws."""
    new = []
    for seed in "12":
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(PROGRAM), str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
            env=environment(PYTHONHASHSEED=seed),
        )
        assert done.returncode == 0, done.stderr
        new.append(int(done.stdout))
    assert new[0] > 0
    assert new[1] == 0
