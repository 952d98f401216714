"""brainir: a compiler for stateful brain models on JAX.

Write one step of a model in Python, with States, JAX arrays and physical units, and wrap it in
`transform.for_loop`, `jit`, `vmap`, `map`, `cond` or `grad`. brainir turns that into a graph that
can be seen, checked and rewritten, and runs it with XLA.
"""

import sys as _sys

from . import backends, frontend, ir, passes
from .frontend import (
    ArtifactError,
    BatchAxisError,
    BatchState,
    BrainIRError,
    DelayState,
    HiddenState,
    LongTermState,
    NewStateCatcher,
    NonBatchState,
    Options,
    ParamState,
    RandomState,
    ShortTermState,
    State,
    TraceContextError,
    catch_new_states,
    environ,
    init,
    load,
    maybe_state,
    nn,
    options,
    random,
    save,
    surrogate,
    tools,
    transform,
    typing,
    validate,
)

__version__ = "0.1.0"

__all__ = [
    "ArtifactError",
    "BatchAxisError",
    "BatchState",
    "BrainIRError",
    "DelayState",
    "HiddenState",
    "LongTermState",
    "NewStateCatcher",
    "NonBatchState",
    "Options",
    "ParamState",
    "RandomState",
    "ShortTermState",
    "State",
    "TraceContextError",
    "backends",
    "catch_new_states",
    "environ",
    "frontend",
    "init",
    "ir",
    "load",
    "maybe_state",
    "nn",
    "options",
    "passes",
    "random",
    "save",
    "surrogate",
    "tools",
    "transform",
    "typing",
    "validate",
]

# `import brainir.nn` works like `from brainir import nn`, though the file lies in the frontend.
for _part in (environ, init, nn, random, surrogate, tools, transform, typing):
    _sys.modules[f"{__name__}.{_part.__name__.rpartition('.')[2]}"] = _part
