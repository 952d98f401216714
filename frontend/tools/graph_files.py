"""Reading graphs: text, artifacts, or what a script compiles."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from ...ir import Graph, parse
from ..artifact import load
from ..opaque import resolve_opaque
from .command import Problem

STDIN = "-"

_BEGINNING = re.compile(r"^graph[ (]", re.MULTILINE)


def read_graphs(path: str, select: Sequence[str] = ()) -> list[Graph]:
    """Return the graphs of a file.

    Parameters
    ----------
    path : str
        Of a text with one graph or more, or of an artifact, which has the data of its consts;
        ``"-"`` is the standard input, which is text.
    select : sequence of str
        Names of graphs, or patterns for them, as in a shell; none selects all.

    Raises
    ------
    ParseError, ArtifactError
        If it is anything else.
    Problem
        If it is not text at all, or no graph has such a name.
    OSError
        If it cannot be read.
    """
    data = sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    if data.startswith(b"PK") and path != STDIN:
        return selected([load(path).graph()], select)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Problem(f"{path} is not text: {error}") from error
    return selected(parse_graphs(text, "<stdin>" if path == STDIN else path), select)


def parse_graphs(text: str, file: str) -> list[Graph]:
    """Parse graphs that follow each other, each beginning on a line of its own."""
    starts = [match.start() for match in _BEGINNING.finditer(text)][1:]
    graphs: list[Graph] = []
    for start, stop in zip([0, *starts], [*starts, len(text)], strict=True):
        skipped = "\n" * text.count("\n", 0, start)  # for messages to count lines from the top
        graphs.append(parse(skipped + text[start:stop], file, resolve_opaque))
    return graphs


def selected(graphs: list[Graph], select: Sequence[str]) -> list[Graph]:
    """Return the graphs whose names match one of the patterns.

    Raises
    ------
    Problem
        If there is none, though there are others.
    """
    found = [g for g in graphs if not select or any(fnmatchcase(g.name, p) for p in select)]
    if graphs and not found:
        names = ", ".join(dict.fromkeys(graph.name or "(no name)" for graph in graphs))
        raise Problem(f"no graph is called {' or '.join(select)}; there are {names}")
    return found


def read_one(path: str, select: Sequence[str]) -> Graph:
    """Return the only graph of a file.

    Raises
    ------
    Problem
        If there are more.
    """
    graphs = read_graphs(path, select)
    if len(graphs) != 1:
        names = ", ".join(graph.name for graph in graphs)
        raise Problem(f"{path} has {len(graphs)} graphs ({names}); choose one with --select")
    return graphs[0]
