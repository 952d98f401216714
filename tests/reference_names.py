"""Which of brainstate's public names brainir has; ``reference_names.txt`` lists them by room.

Run it to count them, and with ``--write`` to bring the table in docs/coming-from-brainstate.md up
to date after names were added.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "coming-from-brainstate.md"
TABLE = re.compile(r"(<!-- names -->\n).*?(<!-- end of names -->)", re.DOTALL)


def rooms() -> dict[str, list[str]]:
    """Return the names of the reference by the module that has them."""
    text = (HERE / "reference_names.txt").read_text()
    parts = re.findall(r"^\[(.+)\]\n((?:[^\[\n].*\n)+)", text, re.MULTILINE)
    return {room: names.split() for room, names in parts}


def here(room: str) -> str:
    """Return what a module of the reference is called here."""
    return re.sub("^(brainstate|braintools)", "brainir", room)


def missing(room: str, names: list[str]) -> list[str]:
    """Return the names of a room that brainir does not have there."""
    module = importlib.import_module("brainir")
    for part in here(room).split(".")[1:]:
        module = getattr(module, part, None)
    return [name for name in names if not hasattr(module, name)]


def lines() -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| there | here | names | not here |"
    yield "|---|---|---|---|"
    for room, names in rooms().items():
        without = missing(room, names)
        listed = ", ".join(f"`{name}`" for name in without)
        count = f"{len(names) - len(without)} of {len(names)}"
        yield f"| `{room}` | `{here(room)}` | {count} | {listed} |"


def with_table(page: str) -> str:
    """Return the page with the table as it is now."""
    return TABLE.sub(lambda found: found[1] + "\n".join(lines()) + "\n" + found[2], page)


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(with_table(PAGE.read_text()))
    else:
        for room, names in rooms().items():
            print(f"{room:24} {len(names) - len(missing(room, names)):4} of {len(names)}")
