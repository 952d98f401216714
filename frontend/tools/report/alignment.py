"""Which lines of two texts of a graph belong together, whatever its values are called in each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher

_NUMBERED = re.compile(r"%([A-Za-z_][\w.]*?)?\d+\b")
_COMMENT = re.compile(r"\s+# (\S+:\d+).*$")


def aligned(before: Sequence[str], after: Sequence[str]) -> list[tuple[str, int, int, int, int]]:
    """Return what became of blocks of lines: ``(tag, start, stop, start, stop)``, as `difflib`.

    Numbers that only keep the names of values apart do not matter.

    Examples
    --------
    >>> aligned(["%1 = sin %0"], ["%0 = cos %x", "%2 = sin %1"])
    [('insert', 0, 0, 0, 1), ('equal', 0, 1, 1, 2)]
    """
    first, second = _keys(before), _keys(after)
    # What both begin and end with needs no search, and is most of it after most passes.
    head = _common(first, second)
    tail = _common(first[head:][::-1], second[head:][::-1])
    stops = len(first) - tail, len(second) - tail
    matcher = SequenceMatcher(None, first[head : stops[0]], second[head : stops[1]], False)
    blocks: list[tuple[str, int, int, int, int]] = []
    if head:
        blocks.append(("equal", 0, head, 0, head))
    for tag, i, j, k, m in matcher.get_opcodes():
        blocks.append((tag, i + head, j + head, k + head, m + head))
    if tail:
        blocks.append(("equal", stops[0], len(first), stops[1], len(second)))
    return blocks


def _keys(lines: Sequence[str]) -> list[tuple[str, int]]:
    """Return what is compared: a line, and how many before it look the same.

    Without that number, graphs of many equal lines would take a time that grows with its square.
    """
    seen: Counter[str] = Counter()
    keys: list[tuple[str, int]] = []
    for line in lines:
        text = _COMMENT.sub(r" # \1", _NUMBERED.sub(r"%\1", line))
        keys.append((text, seen[text]))
        seen[text] += 1
    return keys


def _common(first: Sequence[object], second: Sequence[object]) -> int:
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return count
