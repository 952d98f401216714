"""The command ``diff``: how graphs differ."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace

from ...ir import Graph, equal, first_difference
from .command import Command, Problem, UsageError, add_select
from .difference import Line, difference, hunks
from .graph_files import STDIN, read_graphs

_COLOURS = {"-": "31", "+": "32", "@": "36"}


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("a", metavar="A", help="graphs in text, or an artifact; - for stdin")
    parser.add_argument("b", metavar="B", help="what to compare them with, in the same order")
    add_select(parser)
    parser.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="auto: on a terminal, unless NO_COLOR is set (the default)",
    )


def _execute(options: Namespace) -> int:
    if options.a == options.b == STDIN:
        raise UsageError("only one of two graphs can come from the standard input")
    mine, other = (read_graphs(path, options.select) for path in (options.a, options.b))
    if len(mine) != len(other):
        raise Problem(f"{options.a} has {len(mine)} graphs, {options.b} has {len(other)}")
    on_terminal = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    coloured = options.color == "always" or (options.color == "auto" and on_terminal)
    different = [pair for pair in zip(mine, other, strict=True) if not equal(*pair)]
    for a, b in different:
        print(f"--- {options.a} @{a.name}\n+++ {options.b} @{b.name}")
        for line in _lines(a, b):
            print(_shown(line, coloured))
    return 1 if different else 0


def _lines(a: Graph, b: Graph) -> list[Line]:
    found = list(hunks(difference(a, b)))
    if found:
        return found
    # They differ in something that the text leaves out: an attribute that is not plain data.
    return [Line("@", line) for line in str(first_difference(a, b)).split("\n")]


def _shown(line: Line, coloured: bool) -> str:
    text = line.text if line.mark == "@" else f"{line.mark}{line.text}"
    colour = _COLOURS.get(line.mark)
    return f"\033[{colour}m{text}\033[0m" if coloured and colour else text


COMMAND = Command(
    "diff",
    "show how graphs differ",
    "Compare graphs by what they compute: names, comments and the data of consts do not count; "
    "units and kinds of states do. The exit code is 0 if they are equal, and 1 if not.",
    ("diff before.bir after.bir", "diff model.bir - --select update"),
    _configure,
    _execute,
)
