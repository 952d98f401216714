"""Tools that look at graphs: what they cost, as drawings, as data, and beside the user's source."""

from ..export import annotated_text, to_dot, to_networkx
from ..validation import ValidationReport, validate
from .communication import Communication, communication
from .costs import (
    LoopStatistics,
    OpStatistics,
    Statistics,
    XlaStatistics,
    statistics,
    xla_statistics,
)
from .graph_data import graph_data
from .processes import await_processes
from .scripts import ScriptRun, run_script

__all__ = [
    "Communication",
    "LoopStatistics",
    "OpStatistics",
    "ScriptRun",
    "Statistics",
    "ValidationReport",
    "XlaStatistics",
    "annotated_text",
    "await_processes",
    "communication",
    "graph_data",
    "run_script",
    "statistics",
    "to_dot",
    "to_networkx",
    "validate",
    "xla_statistics",
]
