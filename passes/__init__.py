"""Passes: functions from graph to graph, and the order in which they run."""

from .common_subexpressions import common_subexpressions
from .dead_code import dead_code
from .distribute_loops import Choice, distribute_loops, distribution
from .errors import (
    DerivativeOfClosedOver,
    ForwardOfCustomVjp,
    LaneDependentResult,
    LaneDependentWrite,
    ReverseOfWhile,
)
from .expand_grad import expand_grad
from .expand_jvp import expand_jvp
from .expand_map import expand_map
from .expand_vmap import expand_vmap
from .forget_derivatives import forget_derivatives
from .group_steps import group_steps
from .hoist_invariant import hoist_invariant
from .hoist_state import hoist_state
from .inline_calls import inline_calls
from .lane_dependence import lane_dependent
from .manager import CAPTURE, Observer, Pass, run_pipeline, stages
from .options import DEFAULT_BACKEND, DEFAULTS, Insertion, Options, insert
from .outline_kernels import Refusal, kernels, outline_kernels
from .pack_alike import pack_alike
from .pack_states import PackedStates, pack_states
from .parallel_scan import parallel_scan
from .pipelines import (
    ARRAY_PIPELINE,
    FOREIGN_PIPELINE,
    PASSES,
    PIPELINE,
    SHARDED_PIPELINE,
    parse_pass,
)
from .pullback import pullback
from .purify import purify
from .simplify import simplify
from .sort_out_zeros import sort_out_zeros
from .turn_matrices import turn_matrices

__all__ = [
    "ARRAY_PIPELINE",
    "CAPTURE",
    "DEFAULTS",
    "DEFAULT_BACKEND",
    "FOREIGN_PIPELINE",
    "PASSES",
    "PIPELINE",
    "SHARDED_PIPELINE",
    "Choice",
    "DerivativeOfClosedOver",
    "ForwardOfCustomVjp",
    "Insertion",
    "LaneDependentResult",
    "LaneDependentWrite",
    "Observer",
    "Options",
    "PackedStates",
    "Pass",
    "Refusal",
    "ReverseOfWhile",
    "common_subexpressions",
    "dead_code",
    "distribute_loops",
    "distribution",
    "expand_grad",
    "expand_jvp",
    "expand_map",
    "expand_vmap",
    "forget_derivatives",
    "group_steps",
    "hoist_invariant",
    "hoist_state",
    "inline_calls",
    "insert",
    "kernels",
    "lane_dependent",
    "outline_kernels",
    "pack_alike",
    "pack_states",
    "parallel_scan",
    "parse_pass",
    "pullback",
    "purify",
    "run_pipeline",
    "simplify",
    "sort_out_zeros",
    "stages",
    "turn_matrices",
]
