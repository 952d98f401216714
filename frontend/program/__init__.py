"""Captured programs: the executables they become, and running them on real States."""

from ...backends import without_garbage_collection
from .executables import (
    Compiled,
    Listener,
    compile_program,
    executables,
    listeners,
    optimise,
    optimise_graph,
    outermost,
)
from .foreign import evaluate, import_region, read_entering, run_graph
from .homes import homes_of
from .programs import Program, Slot, argument_aval, capture, is_sharded, is_wide, strong
from .running import give_back, in_capture, tell_recorders

__all__ = [
    "Compiled",
    "Listener",
    "Program",
    "Slot",
    "argument_aval",
    "capture",
    "compile_program",
    "evaluate",
    "executables",
    "give_back",
    "homes_of",
    "import_region",
    "in_capture",
    "is_sharded",
    "is_wide",
    "listeners",
    "optimise",
    "optimise_graph",
    "outermost",
    "read_entering",
    "run_graph",
    "strong",
    "tell_recorders",
    "without_garbage_collection",
]
