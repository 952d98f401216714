"""From Python to graphs, and everything that a user imports."""

from ..passes import Options
from . import environ, init, nn, random, surrogate, tools, transform, typing
from .artifact import ArtifactError, load, save
from .errors import BatchAxisError, BrainIRError, TraceContextError
from .options import options
from .random import RandomState
from .state import (
    BatchState,
    DelayState,
    HiddenState,
    LongTermState,
    NewStateCatcher,
    NonBatchState,
    ParamState,
    ShortTermState,
    State,
    catch_new_states,
    maybe_state,
)
from .validation import validate

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
    "catch_new_states",
    "environ",
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
