"""Rows of which every measurement is a process of its own: first calls, and the peak of memory."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .machine import Limits
from .side_by_side import PEER, Result

Measured = dict[str, Any]
"""``seconds``, and where they are told ``first`` (seconds), ``size`` (MiB) and ``outputs``."""


@dataclass(frozen=True)
class Apart:
    """A row whose ways run in processes of their own, in turns.

    Attributes
    ----------
    name : str
        What is done, and how large it is.
    once : callable
        Measures the way of a name in this process.
    ways : tuple of str
        The names.
    rounds : int
        How often each runs.
    needs : tuple of str
        Packages without which there is no such row.
    """

    name: str
    once: Callable[[str], Measured]
    ways: tuple[str, ...]
    rounds: int
    needs: tuple[str, ...] = ()

    def measure(self, limits: Limits) -> Result:
        """Run all ways in turns, and compare what they say."""
        there = [way for way in self.ways if way != PEER or importlib.util.find_spec(PEER)]
        found: dict[str, list[Measured]] = {way: [] for way in there}
        for _ in range(self.rounds):
            for way, rounds in found.items():
                rounds.append(self._in_a_process(way))
        first, *others = (rounds[0].get("outputs", ()) for rounds in found.values())
        for other in others:
            close: Any = {"rtol": 1e-4, "atol": 1e-4, "err_msg": self.name}
            for mine, theirs in zip(first, other, strict=True):
                np.testing.assert_allclose(mine, theirs, **close)

        def median(what: str) -> dict[str, float]:
            told = what in found[there[0]][0]
            pairs = found.items() if told else ()
            return {way: float(np.median([r[what] for r in rounds])) for way, rounds in pairs}

        seconds = {way: np.array([r["seconds"] for r in rounds]) for way, rounds in found.items()}
        return Result(self.name, seconds, median("first"), median("size"))

    def _in_a_process(self, way: str) -> Measured:
        command = [sys.executable, "-m", "benchmarks", "--way", way, self.name]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(done.stdout.splitlines()[-1])
