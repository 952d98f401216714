"""States that are spread over the devices of a mesh, of one process and of more."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import brainir
from tests.other_processes import environment

SCRIPT = str(Path(__file__).with_name("spread_programs.py"))


def start(devices: int, *arguments: str) -> subprocess.Popen[str]:
    """Run the script in a process that believes that it has so many devices."""
    return subprocess.Popen(
        [sys.executable, SCRIPT, *arguments],
        env=environment(devices),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_states_stay_spread_and_all_is_as_on_one_device() -> None:
    output = start(4).communicate()[0]
    assert "all agree on 4 devices of 1 processes" in output, output


@pytest.fixture
def address() -> str:
    """Return an address for processes to meet at."""
    return free_address()


def free_address() -> str:
    """Return an address that nobody has."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{found.getsockname()[1]}"


@pytest.mark.sampled(2)
@pytest.mark.parametrize("count", [2, 4])
def test_many_processes_do_what_one_does(address: str, count: int) -> None:
    run_together(address, count)


def run_together(address: str, count: int, *folder: str) -> None:
    """Run the script in so many processes, and see that all agree."""
    processes = [start(4 // count, *folder, address, str(count), str(i)) for i in range(count)]
    try:
        for process in processes:
            output = process.communicate(timeout=120)[0]
            assert f"all agree on 4 devices of {count} processes" in output, output
    finally:
        for process in processes:
            process.kill()


@pytest.mark.sampled(3)
@pytest.mark.parametrize(("count", "others"), [(2, 4), (4, 1), (1, 2)])
def test_a_checkpoint_of_some_processes_is_read_by_others(
    tmp_path: Path, count: int, others: int
) -> None:
    pytest.importorskip("orbax.checkpoint")
    for each in (count, others):
        run_together(free_address(), each, str(tmp_path))


@pytest.mark.parametrize(("there", "missing"), [((0, 1, 2), ""), ((0, 2), "1"), ((1,), "0")])
def test_processes_that_are_missing_are_told(
    address: str, there: tuple[int, ...], missing: str
) -> None:
    def come(number: int) -> str:
        try:
            brainir.tools.await_processes(address, 3, number, timeout=20 if not missing else 1)
        except TimeoutError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor() as threads:
        for said in threads.map(come, there):
            assert bool(said) == bool(missing)
            assert not missing or f"of 3 processes, {missing} did not come to {address}" in said


def test_what_is_no_process_is_refused_and_no_guest_counts(address: str) -> None:
    await_processes = brainir.tools.await_processes
    with pytest.raises(ValueError, match="no process 2 of 2"):
        await_processes(address, 2, 2)
    with pytest.raises(ValueError, match="a host and a port"):
        await_processes("localhost", 2, 0)
    with ThreadPoolExecutor() as threads:
        first = threads.submit(await_processes, address, 2, 0)
        host, port = address.split(":")
        with connected(host, int(port)) as guest:
            guest.sendall(b"GET / HTTP")
        await_processes(address, 2, 1)
        first.result()


def connected(host: str, port: int) -> socket.socket:
    """Return a connection to who may not be there yet."""
    while True:
        try:
            return socket.create_connection((host, port))
        except OSError:
            time.sleep(0.01)
