"""Which lines of two texts belong together, in a time that hardly grows faster than their length.

Unique runs of lines are anchors, of which the longest chain is kept: that is the patience diff of
B. Cohen. What lies between anchors is aligned by shorter runs, and in the end by `difflib`, whose
time grows with the square of the length and more.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

WIDTHS = (32, 8, 2, 1)
"""How many lines a run has, in the order in which they are tried."""

SMALL = 200 * 200
"""How many pairs of lines are left to `difflib`."""

Pair = tuple[int, int]


class Block(NamedTuple):
    """What became of the lines ``start_a:stop_a``; the tags are those of `difflib`."""

    tag: str
    start_a: int
    stop_a: int
    start_b: int
    stop_b: int


def aligned(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[Block]:
    """Return blocks that cover two texts in order, none of them empty.

    Examples
    --------
    >>> [tuple(block) for block in aligned(["sin", "add"], ["cos", "sin", "add"])]
    [('insert', 0, 0, 0, 1), ('equal', 0, 2, 1, 3)]
    """
    blocks: list[Block] = []
    i = k = first = 0  # the next lines, and where the equal ones before them begin
    for x, y in [*sorted(_pairs(a, b)), (len(a), len(b))]:
        end = x == len(a) and y == len(b)
        if (x, y) != (i, k) or end:
            if first < i:
                blocks.append(Block("equal", first, i, k - i + first, k))
            if (x, y) != (i, k):
                tag = "insert" if x == i else "delete" if y == k else "replace"
                blocks.append(Block(tag, i, x, k, y))
            first = x
        i, k = x + 1, y + 1
    return blocks


class _Gap(NamedTuple):
    """What is still to be aligned, and by runs of which of the widths."""

    start_a: int
    stop_a: int
    start_b: int
    stop_b: int
    level: int


def _pairs(a: Sequence[Hashable], b: Sequence[Hashable]) -> Iterator[Pair]:
    """Yield the numbers of lines that belong together, in any order."""
    stack = [_Gap(0, len(a), 0, len(b), 0)]
    while stack:
        i, j, k, m, level = stack.pop()
        while i < j and k < m and a[i] == b[k]:
            yield i, k
            i, k = i + 1, k + 1
        while i < j and k < m and a[j - 1] == b[m - 1]:
            j, m = j - 1, m - 1
            yield j, m
        if i == j or k == m:
            continue
        if (j - i) * (m - k) <= SMALL:
            matcher = SequenceMatcher(None, a[i:j], b[k:m], autojunk=False)
            for x, y, size in matcher.get_matching_blocks():
                yield from ((i + x + n, k + y + n) for n in range(size))
            continue
        anchors: list[Pair] = []
        while not anchors and level <= len(WIDTHS):
            anchors = [(i + x, k + y) for x, y in _anchors(a[i:j], b[k:m], level)]
            level += 1
        yield from anchors
        if anchors:
            starts = [(i, k), *((x + 1, y + 1) for x, y in anchors)]
            stops = [*anchors, (j, m)]
            for start, stop in zip(starts, stops, strict=True):
                stack.append(_Gap(start[0], stop[0], start[1], stop[1], level))


def _anchors(a: Sequence[Hashable], b: Sequence[Hashable], level: int) -> list[Pair]:
    """Return the longest chain of lines with which the same unique run begins in both texts."""
    if level < len(WIDTHS):
        first, second = (_unique(_runs(text, WIDTHS[level])) for text in (a, b))
    else:  # no run is unique, so that lines belong together that are the n-th of their kind
        first, second = (_unique(_numbered(text)) for text in (a, b))
    return _longest_chain([(x, second[run]) for run, x in first.items() if run in second])


def _runs(text: Sequence[Hashable], width: int) -> list[Hashable]:
    return [tuple(text[i : i + width]) for i in range(len(text) - width + 1)]


def _numbered(text: Sequence[Hashable]) -> list[Hashable]:
    seen: Counter[Hashable] = Counter()
    keys: list[Hashable] = []
    for line in text:
        keys.append((line, seen[line]))
        seen[line] += 1
    return keys


def _unique(keys: Sequence[Hashable]) -> dict[Hashable, int]:
    """Return where keys stand that occur once."""
    counts = Counter(keys)
    return {key: i for i, key in enumerate(keys) if counts[key] == 1}


def _longest_chain(pairs: Sequence[Pair]) -> list[Pair]:
    """Return as many pairs as possible in which both numbers grow; the first grows as they come."""
    ends: list[int] = []  # the smallest number that a chain of each length ends with
    last: list[int] = []  # the pair that it is in
    before: list[int] = []
    for n, (_, y) in enumerate(pairs):
        length = bisect_left(ends, y)
        before.append(last[length - 1] if length else -1)
        if length == len(ends):
            ends.append(y)
            last.append(n)
        else:
            ends[length], last[length] = y, n
    chain: list[Pair] = []
    n = last[-1] if last else -1
    while n >= 0:
        chain.append(pairs[n])
        n = before[n]
    return chain[::-1]
