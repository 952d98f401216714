"""What the commands of the command line have in common."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...passes import PIPELINE, stages


class Problem(Exception):
    """Something is wrong with what a command was asked to look at: exit code 1."""


class UsageError(Exception):
    """The command line itself asks for what cannot be: exit code 2."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes
    ----------
    name, summary, description : str
        What it is called, its line in the overview, and what its own help begins with.
    examples : tuple of str
        Command lines that its own help ends with, without ``brainir``.
    configure : callable
        Adds its arguments to a parser.
    execute : callable
        Does it, and returns the exit code.
    """

    name: str
    summary: str
    description: str
    examples: tuple[str, ...]
    configure: Callable[[ArgumentParser], None]
    execute: Callable[[Namespace], int]


def add_select(parser: ArgumentParser) -> None:
    """Add the option that chooses graphs."""
    parser.add_argument(
        "--select",
        metavar="FUNCTION",
        action="append",
        default=[],
        help="only graphs of that name; * and ? stand for other letters, NAME#2 for the second "
        "graph of a name; may be repeated",
    )


def add_script(parser: ArgumentParser, what: str, metavar: str = "SCRIPT") -> None:
    """Add a script, and the arguments that it gets."""
    parser.add_argument("script", metavar=metavar, help=what)
    parser.add_argument(
        "arguments",
        metavar="ARGS",
        nargs="*",
        help="arguments for the script; put -- before those that begin with a dash",
    )


def add_stage(parser: ArgumentParser) -> None:
    """Add the option that chooses a stage of the pipeline."""
    parser.add_argument(
        "--stage",
        metavar="NAME",
        choices=stages(PIPELINE),
        help="the graph after that pass: capture for none, or a name that `brainir passes` lists",
    )


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], indent: str = "") -> str:
    """Return rows in columns as wide as they need to be; numbers are on the right."""
    cells = [[_cell(item) for item in row] for row in (headers, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    columns = zip(*rows, strict=True)
    numeric = [all(isinstance(item, (int, float)) for item in column) for column in columns]
    lines: list[str] = []
    for row in cells:
        aligned = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, numeric or [False] * len(row), strict=True)
        ]
        lines.append((indent + "  ".join(aligned)).rstrip())
    return "\n".join(lines)


def _cell(item: object) -> str:
    return f"{item:,}" if isinstance(item, (int, float)) else str(item)
