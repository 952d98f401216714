"""Measure brainir beside hand-written JAX, and beside brainstate where it is installed.

Run ``python -m benchmarks`` for all rows, and with words for those that have one of them in their
names: ``python -m benchmarks GRU "training step"``. Every row is a process of its own. A run of all
rows writes ``docs/benchmarks.md``, one of some brings its lines up to date. Load from elsewhere
makes numbers worthless: let the machine be quiet.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from .apart import Apart
from .machine import Limits, described
from .side_by_side import BY_HAND, OTHERS, Result, Row

GROUPS = {
    "dispatch": "Many small States",
    "eager": "Calls outside of `jit`",
    "tutorial_loops": "Small loops",
    "hodgkin_huxley": "Neurons with ion channels",
    "nets": "Spiking nets",
    "networks": "Networks with rare spikes",
    "gated": "Gated units",
    "convolutions": "Convolutions",
    "first_call": "First calls",
    "with_brainstate": "Programs written for brainstate, as they are",
}
"""The modules that have rows, and what these are called in the page."""

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"

NOTE = f"""\
Medians of ratios of brainir's time to that of others, with their quartiles: below 1 is better.
*{BY_HAND}* is the best that somebody writes by hand with `jax.jit`, `jax.lax.scan` and `jax.grad`;
*first call* and *memory* are ratios to that, or else to brainstate. Outputs are compared before
anything is timed. *Of the limit* is the part of the time in which the machine, at the rates above,
does what no way can do without: the products, the bytes that come from memory, and the steps that
wait for one another.
"""


def rows(group: str) -> Iterator[Row | Apart]:
    """Yield the rows of a module, those whose packages are installed."""
    for row in importlib.import_module(f".{group}", __package__).rows():
        needs = row.needs if isinstance(row, Apart) else ()
        if all(importlib.util.find_spec(name.partition(".")[0]) for name in needs):
            yield row


def find(name: str) -> Row | Apart:
    """Return the row of a name."""
    return next(row for group in GROUPS for row in rows(group) if row.name == name)


def measured(name: str, limits: Limits) -> Result:
    """Measure a row in a process of its own."""
    command = [sys.executable, "-m", "benchmarks", "--measure", json.dumps(limits.as_dict()), name]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    said = json.loads(done.stdout.splitlines()[-1])
    said["seconds"] = {way: np.array(values) for way, values in said["seconds"].items()}
    return Result(**said)


def spelled(result: Result) -> str:
    """Spell a result as JSON."""
    seconds = {way: values.tolist() for way, values in result.seconds.items()}
    parts = {key: getattr(result, key) for key in ("first", "sizes", "limit", "others")}
    return json.dumps({"name": result.name, "seconds": seconds, **parts})


def line(cells: Iterable[str]) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(cells)} |"


def mean(results: Iterable[Result], other: str) -> str:
    """Spell the geometric mean of the ratios to another way."""
    ratios = [found[1] for result in results if (found := result.ratio(other)) is not None]
    return f"{np.exp(np.log(ratios).mean()):.2f} over {len(ratios)} rows" if ratios else "none"


def update(found: Iterable[Result]) -> None:
    """Bring the lines of the page up to date that tell of some rows, if it has them."""
    new = {result.name: line(result.cells()) for result in found}
    lines = PAGE.read_text().splitlines()
    PAGE.write_text("\n".join(new.get(cells_of(old)[0], old) for old in lines) + "\n")


def cells_of(text: str) -> list[str]:
    """Return the cells of a row of a table; one empty one, of other text."""
    return [cell.strip() for cell in text.split("|")[1:-1]] or [""]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="ROW", help="a part of the names of rows")
    parser.add_argument("--list", action="store_true", help="only name the rows")
    parser.add_argument("--measure", metavar="LIMITS", help=argparse.SUPPRESS)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way:
        row = find(asked.words[0])
        assert isinstance(row, Apart)
        print(json.dumps(row.once(asked.way)))
        return
    if asked.measure:
        print(spelled(find(asked.words[0]).measure(Limits(**json.loads(asked.measure)))))
        return

    def wanted(name: str) -> bool:
        return not asked.words or any(word in name for word in asked.words)

    chosen = {group: [r.name for r in rows(group) if wanted(r.name)] for group in GROUPS}
    if asked.list:
        print("\n".join(name for names in chosen.values() for name in names))
        return
    limits = Limits.measured()
    text = [f"{described()}: {limits}.", "", NOTE]
    print(text[0], flush=True)
    found: list[Result] = []
    for group, names in chosen.items():
        if not names:
            continue
        text += [f"## {GROUPS[group]}", ""]
        for name in names:
            found.append(measured(name, limits))
            lines = [line(found[-1].cells())]
            if name == names[0]:
                head = found[-1].head
                lines = [line(head), line("-" * 3 for _ in head), *lines]
            print("\n".join(lines), flush=True)
            text += lines
        text.append("")
    if asked.words and PAGE.exists():
        update(found)
    ends = ", ".join(f"to {other}: {mean(found, other)}" for other in OTHERS)
    print(f"geometric means {ends}")
    if not asked.words:
        title = "# Benchmarks\n\nWritten by `python -m benchmarks`; "
        PAGE.write_text(f"{title}{chr(10).join(text)}\nGeometric means {ends}.\n")


if __name__ == "__main__":
    main()
