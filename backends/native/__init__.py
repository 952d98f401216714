"""Native kernels: whole loops as machine code, by LLVM."""

from __future__ import annotations

import importlib.util

from ...ir import Graph

AVAILABLE = importlib.util.find_spec("llvmlite") is not None
"""Whether there is what makes machine code."""


def code(region: Graph, dense: bool = False) -> str:
    """Return LLVM's text of a kernel's region, before LLVM's own passes.

    Examples
    --------
    >>> from brainir.backends import native
    >>> from brainir.ir import parse
    >>> region = parse('''graph @twice(%x: f32[8]) -> (f32[8]) {
    ...   %y = add %x, %x
    ...   return %y
    ... }''')
    >>> "fadd" in native.code(region)
    True
    """
    from .lower import lower  # which needs llvmlite

    return lower(region, dense).text
