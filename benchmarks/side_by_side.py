"""Rows of the benchmark: ways of doing the same work, measured side by side in one process.

Runs alternate (A B A B ...), so that a drift of the machine's speed hits all; what is reported is
the median of the ratios pair by pair, with its quartiles. Outputs are compared before anything is
timed.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from .machine import NOTHING, Limits, Work

MINE, BY_HAND, PEER, BRIAN = "brainir", "jax", "brainstate", "Brian 2"
"""The ways: a program on brainir, the best that somebody writes with jax alone, brainstate with
what is built on it, and the C++ of Brian 2."""

OTHERS = (BY_HAND, PEER)
"""The ways that most tables compare with."""

Seconds = dict[str, "np.ndarray[Any, Any]"]


@dataclass(frozen=True)
class Way:
    """A compiled function, and what it is called with.

    ``view`` is what is compared of the outputs, where rounding may become more. ``took`` returns
    the seconds of the last call, if its function measures itself.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    view: Callable[[Any], Any] = lambda outputs: outputs
    took: Callable[[], float] | None = None

    def __call__(self) -> Any:
        """Call it."""
        return self.function(*self.args)

    def temporary(self) -> float | None:
        """Return the MiB that XLA plans to hold besides arguments and results, if it tells."""
        lower = getattr(self.function, "lower", None)
        if lower is None:
            return None
        with suppress(Exception):  # brainstate's does not tell of every function
            said = lower(*self.args).compile().memory_analysis()
            return said.temp_size_in_bytes / 2**20
        return None


@dataclass(frozen=True)
class Row:
    """One line of the tables.

    Attributes
    ----------
    name : str
        What is done, and how large it is.
    ways : callable
        Returns the ways by their names, `MINE` first.
    tolerance : float
        How much outputs may differ.
    work : Work
        What no way can do without.
    pairs, repeat : int
        How often each way is timed, and how many calls are timed as one.
    others : tuple of str
        The ways that the table has columns for.
    """

    name: str
    ways: Callable[[], Mapping[str, Way]]
    tolerance: float = 1e-4
    work: Work = NOTHING
    pairs: int = 15
    repeat: int = 1
    others: tuple[str, ...] = OTHERS

    def measure(self, limits: Limits) -> Result:
        """Run it all in this process."""
        jax.block_until_ready(jax.jit(lambda x: x + 1)(1.0))  # what JAX does once is nobody's
        ways, first = dict(self.ways()), {}
        outputs: dict[str, list[Any]] = {}
        for name, way in ways.items():
            start = time.perf_counter()
            found = jax.block_until_ready(way())
            first[name] = time.perf_counter() - start
            outputs[name] = [np.asarray(x) for x in jax.tree.leaves(way.view(found))]
        for name, found in outputs.items():
            for mine, other in zip(outputs[MINE], found, strict=True):
                close: Any = {"rtol": self.tolerance, "atol": self.tolerance * np.abs(other).max()}
                np.testing.assert_allclose(mine, other, **close, err_msg=f"{self.name}: {name}")
        seconds = time_ways(ways, self.pairs, self.repeat)
        sizes = {name: size for name, way in ways.items() if (size := way.temporary()) is not None}
        return Result(self.name, seconds, first, sizes, limits.seconds(self.work), self.others)


@dataclass(frozen=True)
class Result:
    """What was measured of a row.

    Attributes
    ----------
    name : str
        That of the row.
    seconds : dict of str to array
        Of a call, by way and round.
    first : dict of str to float
        Seconds of the first call.
    sizes : dict of str to float
        MiB that XLA holds besides arguments and results.
    limit : float
        Seconds that the machine needs for what no way can do without.
    others : sequence of str
        The ways that the table has columns for.
    """

    name: str
    seconds: Seconds
    first: Mapping[str, float] = field(default_factory=dict)
    sizes: Mapping[str, float] = field(default_factory=dict)
    limit: float = 0.0
    others: Sequence[str] = OTHERS

    def ratio(self, other: str) -> tuple[float, float, float] | None:
        """Return the quartiles of what brainir takes by what another way takes."""
        if other not in self.seconds:
            return None
        low, middle, high = np.percentile(self.seconds[MINE] / self.seconds[other], [25, 50, 75])
        return float(low), float(middle), float(high)

    def cells(self) -> Iterator[str]:
        """Yield the cells of the row in a table."""
        mine = float(np.median(self.seconds[MINE]))
        yield self.name
        yield spelled(mine)
        for other in self.others:
            found = self.ratio(other)
            yield "" if found is None else f"{found[1]:.2f} [{found[0]:.2f}, {found[2]:.2f}]"
        for table in (self.first, self.sizes):
            other = BY_HAND if BY_HAND in table else PEER
            yield f"{table[MINE] / table[other]:.2f}" if MINE in table and table.get(other) else ""
        yield f"{self.limit / mine:.0%}" if self.limit else ""

    @property
    def head(self) -> tuple[str, ...]:
        """What stands above the cells."""
        columns = (f"to {other}" for other in self.others)
        return "", MINE, *columns, "first call", "memory", "of the limit"


def spelled(seconds: float) -> str:
    """Spell a time with a unit in which it is a readable number."""
    for unit, factor in (("s", 1), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def peer() -> Any:
    """Return brainstate, which brainir is compared with where it is installed, or None."""
    try:
        import brainstate  # pyright: ignore[reportMissingImports]
        import braintools  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    return brainstate


def surrogates(library: Any) -> Any:
    """Return where a library has its surrogate gradients."""
    if library.__name__ == MINE:
        return library.surrogate
    from braintools import surrogate  # pyright: ignore[reportMissingImports]

    return surrogate


def time_ways(ways: Mapping[str, Way], pairs: int = 15, repeat: int = 1) -> Seconds:
    """Return seconds for one call of each way, one entry a round."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for run in ways.values():
        jax.block_until_ready(run())
    gc.collect()
    for _ in range(pairs):
        for name, run in ways.items():
            start = time.perf_counter()
            for _ in range(repeat - 1):
                run()
            jax.block_until_ready(run())
            elapsed = (time.perf_counter() - start) / repeat
            seconds[name].append(elapsed if run.took is None else run.took())
    return {name: np.array(values) for name, values in seconds.items()}
