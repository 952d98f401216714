"""Which lines of two stages of a graph belong together, whatever values are called in each."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..alignment import Block, aligned

_NUMBERED = re.compile(r"%([A-Za-z_][\w.]*?)?\d+\b")
_COMMENT = re.compile(r"\s+# (\S+:\d+).*$")


def aligned_texts(before: Sequence[str], after: Sequence[str]) -> list[Block]:
    """Return what became of blocks of lines.

    Numbers that only keep the names of values apart do not matter.

    Examples
    --------
    >>> [tuple(block) for block in aligned_texts(["%1 = sin %0"], ["%0 = cos %x", "%2 = sin %1"])]
    [('insert', 0, 0, 0, 1), ('equal', 0, 1, 1, 2)]
    """
    return aligned(_keys(before), _keys(after))


def _keys(lines: Sequence[str]) -> list[str]:
    return [_COMMENT.sub(r" # \1", _NUMBERED.sub(r"%\1", line)) for line in lines]
