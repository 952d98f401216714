"""Whether all processes of a program on several machines are there, before JAX asks."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, suppress

PAUSE = 0.1
"""Seconds between two tries to reach the first process."""

ANSWER = 2.0
"""Seconds in which a process that was reached says something."""

LONGEST = 16
"""Digits that a process may send as its number."""


def await_processes(address: str, count: int, number: int, timeout: float = 300.0) -> None:
    """Return in every process when all are there, or raise in each that waits.

    To call before ``jax.distributed.initialize`` with the same address, count and number: if a
    process is missing, JAX ends the others from C++, with a stack trace and no exception, and does
    not say which one it is.

    Parameters
    ----------
    address : str
        Of the first process, with a port, such as ``"10.0.0.1:1234"``; the port is free afterwards.
    count, number : int
        How many processes there are, and which of them this is, from 0.
    timeout : float
        How many seconds to wait.

    Raises
    ------
    ValueError
        If there is no such process, or the address has no port.
    TimeoutError
        If others did not come, with their numbers.
    OSError
        In the first process, if somebody else has the port.

    Examples
    --------
    >>> import brainir
    >>> brainir.tools.await_processes("127.0.0.1:0", 1, 0)
    >>> brainir.tools.await_processes("127.0.0.1:0", 3, 0, timeout=0.1)
    Traceback (most recent call last):
        ...
    TimeoutError: of 3 processes, 1, 2 did not come to 127.0.0.1:0 within 0.1 seconds; ...
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"an address is a host and a port, as in 10.0.0.1:1234, not {address!r}")
    if not 0 <= number < count:
        raise ValueError(f"there is no process {number} of {count}: they count from 0")
    until = time.monotonic() + timeout
    if number == 0:
        missing = _gather(int(port), count, until)
    else:
        missing = _report(host.strip("[]"), int(port), number, until)
    if missing:
        raise TimeoutError(
            f"of {count} processes, {missing} did not come to {address} within {timeout:g} "
            "seconds; look whether each runs, with that address and a number of its own"
        )


def _gather(port: int, count: int, until: float) -> str:
    """Let processes report until all did, tell them which did not, and return that, too."""
    missing = set(range(1, count))
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    with ExitStack() as stack:
        server = stack.enter_context(
            socket.create_server(
                ("", port), family=family, dualstack_ipv6=family == socket.AF_INET6
            )
        )
        guests: list[socket.socket] = []
        while missing and (left := until - time.monotonic()) > 0:
            server.settimeout(left)
            with suppress(OSError, ValueError):  # nobody comes, or one that is none of us
                guest = stack.enter_context(server.accept()[0])
                guest.settimeout(ANSWER)
                missing.discard(int(guest.recv(LONGEST)))
                guests.append(guest)
        said = ", ".join(map(str, sorted(missing)))
        for guest in guests:
            with suppress(OSError):
                guest.sendall(f"{said}\n".encode())
    return said


def _report(host: str, port: int, number: int, until: float) -> str:
    """Report to the first process, again if it is not there yet, and return who is missing."""
    while (left := until - time.monotonic()) > 0:
        with suppress(OSError), socket.create_connection((host, port), timeout=left) as first:
            first.sendall(str(number).encode())
            # It may be about to say who is missing, as late as its own time is up.
            first.settimeout(left + ANSWER)
            if answer := first.makefile("rb").readline():
                return answer.decode().strip()
        time.sleep(PAUSE)
    return "0"
