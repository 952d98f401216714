"""How two graphs differ, line by line, whatever their values are called."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ...ir import Graph, print_graph
from .alignment import aligned

_NAME = re.compile(r"%\w+")
_RESULTS = re.compile(r"\s*((?:%\w+, )*%\w+) = ([\w.]+)")


class Line(NamedTuple):
    """A line that both graphs have (``" "``), or only the first (``"-"``) or second (``"+"``)."""

    mark: str
    text: str


def difference(a: Graph, b: Graph) -> list[Line]:
    """Return all lines of two graphs, those that mean the same side by side.

    Lines are aligned without regard to names. Then names are followed from where they are defined,
    so that two lines only count as the same if they use the same values. Lines of the second graph
    call values as the first does, and new values by names that it does not have.
    """
    return list(_Aligner(_lines(a), _lines(b)).lines())


_LAYOUT = (("(\n    ", "("), (",\n    ", ", "), ("\n  )", ")"))
"""How a long header is broken into lines, and how it looks otherwise."""


def _lines(graph: Graph) -> list[str]:
    """Return the lines of a graph, with a layout that does not depend on the lengths of names."""
    text = print_graph(graph, locations=False)
    for broken, whole in _LAYOUT:
        text = text.replace(broken, whole)
    lines: list[str] = []
    for line in text.split("\n"):
        header = line.startswith(("graph", "  states(", "  consts("))
        lines += re.sub(r", (?=[%@])", ",\n    ", line).split("\n") if header else [line]
    return lines


class _Aligner:
    def __init__(self, first: Sequence[str], second: Sequence[str]) -> None:
        self._first, self._second = first, second
        self._names: dict[str, str] = {}
        """What names of the second text are called in the first."""
        self._taken: set[str] = set()
        """Names of the first text that were met so far."""
        self._known = {name for line in first for name in _NAME.findall(line)}

    def lines(self) -> Iterator[Line]:
        keys = [[_NAME.sub("%", line) for line in text] for text in (self._first, self._second)]
        for tag, i, j, k, m in aligned(*keys):
            lines = self._pairs if tag == "equal" else self._only
            yield from lines(self._first[i:j], self._second[k:m])

    def _pairs(self, first: Sequence[str], second: Sequence[str]) -> Iterator[Line]:
        """Yield lines that look the same; a run of those that are not comes out as one change."""
        removed: list[str] = []
        added: list[str] = []
        for mine, other in zip(first, second, strict=True):
            if self._same(mine, other):
                yield from self._only(removed, added)
                removed, added = [], []
                yield Line(" ", mine)
            else:
                removed.append(mine)
                added.append(other)
        yield from self._only(removed, added)

    def _same(self, mine: str, other: str) -> bool:
        """Whether lines mean the same, if a name that is new in both is the same value."""
        same = True
        for name, other_name in zip(_NAME.findall(mine), _NAME.findall(other), strict=True):
            if other_name not in self._names and name not in self._taken:
                self._names[other_name] = name
                self._taken.add(name)
            same = same and self._names.get(other_name) == name
        return same

    def _only(self, first: Sequence[str], second: Sequence[str]) -> Iterator[Line]:
        if len(first) == len(second):
            for mine, other in zip(first, second, strict=True):
                self._replace(mine, other)
        for line in first:
            self._taken.update(_NAME.findall(line))
            yield Line("-", line)
        for line in second:
            yield Line("+", _NAME.sub(lambda match: self._renamed(match[0]), line))

    def _replace(self, mine: str, other: str) -> None:
        """Let the results of an op stand for those of the same op in its place."""
        found, other_found = _RESULTS.match(mine), _RESULTS.match(other)
        if found and other_found and found[2] == other_found[2]:
            names, other_names = _NAME.findall(found[1]), _NAME.findall(other_found[1])
            if len(names) == len(other_names) and self._names.keys().isdisjoint(other_names):
                self._names.update(zip(other_names, names, strict=True))

    def _renamed(self, name: str) -> str:
        """Return what a value of the second text is called in the first, or a name of its own."""
        found = self._names.get(name)
        if found is None:
            found = name
            while found in self._known:
                found += "'"
            self._names[name] = found
            self._known.add(found)
        return found


def hunks(lines: Sequence[Line], context: int = 3) -> Iterator[Line]:
    """Yield the lines that differ with some around them, and ``"@"`` where some are left out."""
    near = set()
    for i, line in enumerate(lines):
        if line.mark != " ":
            near.update(range(i - context, i + context + 1))
    last = -1
    for i in sorted(near & set(range(len(lines)))):
        if i != last + 1:
            yield Line("@", f"... {i - last - 1} lines ...")
        yield lines[i]
        last = i
