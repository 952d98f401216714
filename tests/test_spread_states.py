"""States that are spread over the devices of a mesh, of one process and of two."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import brainir

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = Path(brainir.__file__).parent.parent
SCRIPT = str(ROOT / "tests" / "spread_programs.py")


def start(devices: int, *arguments: str) -> subprocess.Popen[str]:
    """Run the script in a process that believes that it has so many devices."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        [sys.executable, SCRIPT, *arguments],
        env={**environment, "PYTHONPATH": f"{LIBRARY}{os.pathsep}{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_states_stay_spread_and_all_is_as_on_one_device() -> None:
    output = start(4).communicate()[0]
    assert "all agree on 4 devices of 1 processes" in output, output


def test_two_processes_do_what_one_does() -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{found.getsockname()[1]}"
    processes = [start(2, address, str(i)) for i in range(2)]
    try:
        for process in processes:
            output = process.communicate(timeout=120)[0]
            assert "all agree on 4 devices of 2 processes" in output, output
    finally:
        for process in processes:
            process.kill()
