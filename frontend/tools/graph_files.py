"""Reading graphs: text, artifacts, or what a script compiles."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from ...ir import Graph, Op, ParseError, parse
from ..artifact import load
from ..capture import PREFIX, resolve_opaque
from .command import Problem

STDIN = "-"

_BEGINNING = re.compile(r"^graph[ (]", re.MULTILINE)
_COMMENT = re.compile(r"#.*")


def read_graphs(path: str, select: Sequence[str] = ()) -> list[Graph]:
    """Return the graphs of a file.

    Parameters
    ----------
    path : str
        Of a text with one graph or more, or of an artifact, which has the data of its consts;
        ``"-"`` is the standard input, which is text.
    select : sequence of str
        Names of graphs, or patterns for them, as in a shell; ``f#2`` is the second graph ``f``;
        none selects all.

    Raises
    ------
    ParseError, ArtifactError
        If it is anything else.
    Problem
        If it is not text at all, there is nothing in it, or no graph has such a name.
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
    file = "<stdin>" if path == STDIN else path
    if not _COMMENT.sub("", text).strip():
        raise Problem(f"there are no graphs in {file}")
    return selected(parse_graphs(text, file), select)


def parse_graphs(text: str, file: str) -> list[Graph]:
    """Parse graphs that follow each other, each beginning on a line of its own.

    Raises
    ------
    ParseError
        Where the text is wrong.
    Problem
        If it has an operation that text cannot hold.
    """
    unknown: list[str] = []

    def resolve(name: str) -> Op | None:
        op = resolve_opaque(name)
        if op is None and name.startswith(PREFIX):
            unknown.append(name)
        return op

    starts = [match.start() for match in _BEGINNING.finditer(text)][1:]
    graphs: list[Graph] = []
    for start, stop in zip([0, *starts], [*starts, len(text)], strict=True):
        skipped = "\n" * text.count("\n", 0, start)  # for messages to count lines from the top
        try:
            graphs.append(parse(skipped + text[start:stop], file, resolve))
        except ParseError as error:
            if not unknown:
                raise
            raise Problem(
                f"{error}\n{unknown[0]} only means something in the process that traced "
                "it: it calls Python, or has parameters that are not plain data"
            ) from error
    return graphs


def labels(graphs: Sequence[Graph]) -> list[str]:
    """Return by what each graph can be selected: its name, with a number if others have it too."""
    counts, seen = Counter(graph.name for graph in graphs), Counter[str]()
    found: list[str] = []
    for graph in graphs:
        seen[graph.name] += 1
        number = f"#{seen[graph.name]}" if counts[graph.name] > 1 else ""
        found.append(f"{graph.name}{number}")
    return found


def selected(graphs: list[Graph], select: Sequence[str]) -> list[Graph]:
    """Return the graphs whose names match one of the patterns.

    Raises
    ------
    Problem
        If there is none, though there are others.
    """
    if not select:
        return graphs
    found = [
        graph
        for graph, label in zip(graphs, labels(graphs), strict=True)
        if any(fnmatchcase(name, pattern) for name in (graph.name, label) for pattern in select)
    ]
    if graphs and not found:
        names = ", ".join(label or "(no name)" for label in labels(graphs))
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
        names = ", ".join(labels(graphs))
        raise Problem(f"{path} has {len(graphs)} graphs; choose one with --select: {names}")
    return graphs[0]
