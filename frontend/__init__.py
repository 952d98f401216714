"""From Python to graphs, and everything that a user imports."""

from ..passes import Options
from . import (
    environ,
    event,
    graph,
    hooks,
    init,
    mixin,
    nn,
    random,
    surrogate,
    tools,
    transform,
    typing,
    util,
)
from .artifact import ArtifactError, load, save
from .errors import BatchAxisError, BrainIRError, TraceContextError
from .errors import BrainIRError as BrainStateError
from .hooks import *  # noqa: F403
from .options import options
from .random import RandomState
from .state import (
    Adoption,
    NewStateCatcher,
    State,
    StateDictManager,
    StateTraceStack,
    TreefyState,
    adopt,
    catch_new_states,
    check_state_jax_tracer,
    check_state_value_tree,
    kinds,
    maybe_state,
)
from .state.kinds import *  # noqa: F403
from .transform import optimize
from .validation import validate

__all__ = [
    "Adoption",
    "ArtifactError",
    "BatchAxisError",
    "BrainIRError",
    "BrainStateError",
    "NewStateCatcher",
    "Options",
    "RandomState",
    "State",
    "StateDictManager",
    "StateTraceStack",
    "TraceContextError",
    "TreefyState",
    "adopt",
    "catch_new_states",
    "check_state_jax_tracer",
    "check_state_value_tree",
    "environ",
    "event",
    "graph",
    "init",
    "load",
    "maybe_state",
    "mixin",
    "nn",
    "optimize",
    "options",
    "random",
    "save",
    "surrogate",
    "tools",
    "transform",
    "typing",
    "util",
    "validate",
]
__all__ += hooks.__all__
__all__ += kinds.__all__
