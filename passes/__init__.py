"""Passes: functions from graph to graph."""

from .errors import LaneDependentResult, LaneDependentWrite
from .hoist_state import hoist_state
from .lane_dependence import lane_dependent
from .manager import CAPTURE, Observer, Pass, run_pipeline, stages
from .pipelines import PASSES, PIPELINE, parse_pass
from .purify import StateInterface, purify, state_interface

__all__ = [
    "CAPTURE",
    "PASSES",
    "PIPELINE",
    "LaneDependentResult",
    "LaneDependentWrite",
    "Observer",
    "Pass",
    "StateInterface",
    "hoist_state",
    "lane_dependent",
    "parse_pass",
    "purify",
    "run_pipeline",
    "stages",
    "state_interface",
]
