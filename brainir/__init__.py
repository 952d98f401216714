"""brainir: a compiler for stateful brain models on JAX.

Write one step of a model in Python, with States, JAX arrays and physical units, and wrap it in
`transform.for_loop`, `jit`, `vmap`, `map`, `cond` or `grad`. brainir turns that into a graph that
can be seen, checked and rewritten, and runs it with XLA.
"""

import sys as _sys

from . import backends, frontend, ir, passes
from .frontend import *  # noqa: F403

__version__ = "0.1.0"

__all__ = ["backends", "frontend", "ir", "passes"]
__all__ += frontend.__all__

# `import brainir.nn` works like `from brainir import nn`, though the file lies in the frontend.
_PARTS = "environ event graph init mixin nn random surrogate tools transform typing util"
for _part in _PARTS.split():
    _sys.modules[f"{__name__}.{_part}"] = getattr(frontend, _part)
for _part in ("filter", "struct"):
    _sys.modules[f"{__name__}.util.{_part}"] = getattr(frontend.util, _part)
