"""How two graphs differ, line by line, whatever their values are called."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from ...ir import Graph, print_graph

_NAME = re.compile(r"%\w+")
_NUMBER = re.compile(r"(%[^\W\d]*(?:\w*[^\W\d])?)\d+")


class Line(NamedTuple):
    """A line that both graphs have (``" "``), or only the first (``"-"``) or second (``"+"``)."""

    mark: str
    text: str


def difference(a: Graph, b: Graph) -> list[Line]:
    """Return all lines of two graphs, those that mean the same side by side.

    Lines are aligned without regard to the numbers in names. Then names are followed from where
    they are defined, so that two lines only count as the same if they use the same values.
    """
    first, second = (print_graph(graph, locations=False).split("\n") for graph in (a, b))
    return list(_Aligner(first, second).lines())


class _Aligner:
    def __init__(self, first: Sequence[str], second: Sequence[str]) -> None:
        self._first, self._second = first, second
        self._names: dict[str, str] = {}
        """What a name of the second text is called in the first, as far as it is known there."""
        self._taken: set[str] = set()

    def lines(self) -> Iterator[Line]:
        keys = [[_NUMBER.sub(r"\1", line) for line in text] for text in (self._first, self._second)]
        matcher = SequenceMatcher(None, *keys, autojunk=False)
        for tag, i, j, k, m in matcher.get_opcodes():
            if tag == "equal":
                yield from self._pairs(self._first[i:j], self._second[k:m])
            else:
                yield from self._only(self._first[i:j], self._second[k:m])

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
        for line in first:
            self._taken.update(_NAME.findall(line))
            yield Line("-", line)
        for line in second:
            for name in _NAME.findall(line):
                self._names.setdefault(name, "")
            yield Line("+", line)


def hunks(lines: Sequence[Line], context: int = 3) -> Iterator[Line]:
    """Yield the lines that differ with some around them, and a line ``"@"`` where some are left
    out."""
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
