"""From Python to graphs, and everything that a user imports."""

from ..passes import Options
from . import environ, graph, init, nn, random, surrogate, tools, transform, typing
from .artifact import ArtifactError, load, save
from .errors import BatchAxisError, BrainIRError, TraceContextError
from .options import options
from .random import RandomState
from .state import NewStateCatcher, State, TreefyState, catch_new_states, kinds, maybe_state
from .state.kinds import *  # noqa: F403
from .validation import validate

__all__ = [
    "ArtifactError",
    "BatchAxisError",
    "BrainIRError",
    "NewStateCatcher",
    "Options",
    "RandomState",
    "State",
    "TraceContextError",
    "TreefyState",
    "catch_new_states",
    "environ",
    "graph",
    "init",
    "load",
    "maybe_state",
    "nn",
    "options",
    "random",
    "save",
    "surrogate",
    "tools",
    "transform",
    "typing",
    "validate",
]
__all__ += kinds.__all__
