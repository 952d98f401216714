"""Native kernels: whole loops as machine code, by LLVM."""

from __future__ import annotations

import importlib.util

AVAILABLE = importlib.util.find_spec("llvmlite") is not None
"""Whether there is what makes machine code."""
