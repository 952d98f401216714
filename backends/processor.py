"""What the processor can do, read from its description: what passes are advised with."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path

FLOPS, NEAR, FAR = 100e9, 25e9, 10e9
"""Of one core with vectors of eight numbers: operations of products in a second, and bytes in one
to and from its caches; and bytes to and from memory, which a few cores use up."""

ELEMENTS = 10e9
"""Elements in a second that one such core computes by one op, out of its nearest cache."""

CACHE, SHARE = 2**25, 2**23
"""The bytes of the last cache, where the description does not tell; and those of it that a core may
count on, which shares it with others, perhaps of other machines."""

WIDE = {"avx2", "avx512f", "sve"}
"""The flags of processors that have such vectors."""


@functools.cache
def advice() -> Mapping[str, float]:
    """Return the options of `distribute_loops` for this processor."""
    narrow = 1.0 if WIDE & flags(_read("/proc/cpuinfo")) else 0.5
    cache = last_cache(Path("/sys/devices/system/cpu/cpu0/cache"))
    return {
        "flops": cores() * narrow * FLOPS,
        "near": cores() * NEAR,
        "far": FAR,
        "cache": min(cache / 2, cores() * SHARE),
    }


@functools.cache
def kernels() -> Mapping[str, float]:
    """Return the options of passes that make kernels, for this processor."""
    return {"rate": advice()["flops"] / cores() / FLOPS * ELEMENTS, "cores": cores()}


def cores() -> int:
    """Return how many cores this process may use."""
    chosen = getattr(os, "sched_getaffinity", None)  # not everywhere
    return len(chosen(0)) if chosen else os.cpu_count() or 1


def flags(description: str) -> set[str]:
    """Return what a description says that a processor has; all, if it says nothing."""
    lines = [line for line in description.splitlines() if line.startswith(("flags", "Features"))]
    return set(lines[0].split()) if lines else WIDE


def last_cache(folder: Path) -> float:
    """Return the bytes of the last of the caches that a folder describes."""
    sizes = [_read(path).strip() for path in sorted(folder.glob("index*/size"))]
    units = {"K": 2**10, "M": 2**20}
    found = (float(size[:-1]) * units[size[-1]] for size in sizes if size[-1:] in units)
    return max(found, default=CACHE)


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
