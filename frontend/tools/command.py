"""What the commands of the command line have in common."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...backends import BACKENDS
from ...passes import DEFAULTS, PIPELINE, Options, parse_pass, stages
from ..ecosystem import LIBRARIES


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
    parser.add_argument(
        "--as",
        dest="library",
        metavar="LIBRARY",
        choices=LIBRARIES,
        help="the library that the script is written for, if not brainir: "
        + " or ".join(sorted(LIBRARIES)),
    )


def add_stage(parser: ArgumentParser) -> None:
    """Add the option that chooses a stage of the pipeline."""
    parser.add_argument(
        "--stage",
        metavar="NAME",
        choices=stages(PIPELINE),
        help="the graph after that pass: capture for none, or a name that `brainir passes` lists",
    )


def add_options(parser: ArgumentParser) -> None:
    """Add what can be asked of the compiler."""
    parser.add_argument(
        "-O",
        "--option",
        metavar="PASS{KEY=VALUE}",
        action="append",
        default=[],
        help="options of a pass, those that `brainir passes` lists, such as "
        "'distribute-loops{memory=4}'; may be repeated",
    )
    parser.add_argument(
        "--leave-out",
        metavar="PASS",
        action="append",
        default=[],
        help="do not run that pass, if no other one builds on it; may be repeated",
    )
    parser.add_argument("--backend", choices=BACKENDS, help="what runs the graphs")


def asked_options(arguments: Namespace) -> Options:
    """Return what a command line asks of the compiler.

    Raises
    ------
    UsageError
        If there is no such pass or option, or it cannot be left out.
    """
    passes: dict[str, dict[str, object]] = {}
    try:
        for text in arguments.option:
            step = parse_pass(text)
            if not step.options:
                raise ValueError(f"-O {text}: give options in braces, as in {step.name}{{key=1}}")
            passes.setdefault(step.name, {}).update(step.options)
        return Options(arguments.backend or "", passes, arguments.leave_out)
    except ValueError as error:
        raise UsageError(str(error)) from error


def shown_options(options: Options, mark: str = "") -> str:
    """Return a line that tells what was asked of the compiler; nothing if all is as usual."""
    text = " ".join(str(options).split())
    return "" if options == DEFAULTS else f"{mark}options: {text}\n"


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
