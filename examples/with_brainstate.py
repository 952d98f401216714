"""Run a training script for brainstate on brainstate, and on brainir with one line before it.

Run ``python examples/with_brainstate.py [-- ARGS]``: the losses are compared, and the time of the
first step, of each later one and the peak of memory are printed; what brainir compiled is a page,
``brainstate_training.html``. It needs ``pip install brainstate braintools``.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent / "brainstate_training.py"
ADDED = "import brainir.as_brainstate"
NUMBERS = {"first step": r"first step: ([\d.]+ s)", "each step": r"each step: ([\d.]+ ms)"}


def run(line: str, arguments: list[str]) -> tuple[list[float], dict[str, str]]:
    """Run the script in a process of its own, after a line; return its losses, and what it took."""
    path = str(SCRIPT)
    code = f"{line}; import runpy, sys; sys.argv = {[path, *arguments]!r}; "
    code += f"runpy.run_path({path!r}, run_name='__main__')"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(process.returncode)
    losses = [float(x) for x in re.findall(r"loss ([\d.]+)", printed)]
    took = {name: re.findall(pattern, printed)[0] for name, pattern in NUMBERS.items()}
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return losses, {**took, "peak memory": f"{used.ru_maxrss / unit:.0f} MiB"}


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare brainstate with brainir.")
    parser.add_argument("arguments", nargs="*", help="arguments of the script, after --")
    arguments = parser.parse_args().arguments
    before, took_before = run("pass", arguments)
    after, took_after = run(ADDED, arguments)
    print(f"losses on brainstate: {before}\nlosses on brainir:    {after}\n")
    print(f"{'':12} {'brainstate':>12} {'brainir':>12}")
    for name in took_before:
        print(f"{name:12} {took_before[name]:>12} {took_after[name]:>12}")
    page = SCRIPT.with_suffix(".html").name
    command = ["report", "--as", "brainstate", "-o", page, str(SCRIPT), "--", *arguments]
    subprocess.run([sys.executable, "-m", "brainir", *command], check=True)


if __name__ == "__main__":
    main()
