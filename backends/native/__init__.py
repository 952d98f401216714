"""Native kernels: whole loops as machine code, by LLVM."""

from __future__ import annotations

from ...ir import Graph

try:
    import llvmlite.binding  # noqa: F401 - here, so that no first call waits until it is loaded
except (ImportError, OSError):  # it is not installed, or not for this machine
    AVAILABLE = False
else:
    AVAILABLE = True
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
