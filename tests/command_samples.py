"""What the tests of commands share: a script, a graph, and a shell."""

import subprocess
import sys
from pathlib import Path

from tests.other_processes import environment

SCRIPT = """
import sys
import brainunit as u
import jax.numpy as jnp
import brainir
import helper  # lies beside the script

V = brainir.HiddenState(jnp.zeros(3) * u.mV, name="V")

@brainir.transform.jit
def run(x):
    def step(current):
        V.value = 0.9 * V.value + current * helper.RESISTANCE
        return V.value
    return brainir.transform.for_loop(step, x)

@brainir.transform.jit
def scale(x):
    return x * float(sys.argv[1] if len(sys.argv) > 1 else 2)

if __name__ == "__main__":
    print("the script prints this")
    run(jnp.ones((4, 3)) * u.mA)
    run(jnp.zeros((4, 3)) * u.mA)
    scale(1.0)
    {more}
"""

GRAPH = """
graph @leak(%x: f32[3] "mA") -> (f32[3] "mV")
  states(@V: f32[3] hidden "mV") {
  %V = state.read @V : f32[3]
  %0 = mul %V, 0.5:f32 : f32[3]
  %1 = add %0, %x : f32[3]
  state.write @V, %1
  return %1
}
"""


def line_of(path, text):
    """The number of the only line of a file that has a text in it."""
    lines = Path(path).read_text().split("\n")
    (number,) = [i for i, line in enumerate(lines, 1) if text in line]
    return number


def in_process(command, cwd):
    """Run a shell pipe with ``brainir`` in it."""
    return subprocess.run(
        [
            "bash",
            "-c",
            f"set -o pipefail; brainir() {{ '{sys.executable}' -m brainir \"$@\"; }}; {command}",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=environment(),
    )
