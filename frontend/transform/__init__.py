"""Transformations of functions that read and write States."""

from ..errors import IRValidationError, UnsupportedPrimitiveError
from ..program import foreign as foreign
from .bounded import bounded_while_loop
from .branches import cond, ifelse, switch
from .checkpoints import checkpoint, remat
from .checks import (
    all_checks,
    automatic_checks,
    check,
    check_error,
    checkify,
    div_checks,
    float_checks,
    index_checks,
    jit_error_if,
    nan_checks,
    user_checks,
)
from .chunks import map
from .debugging import breakpoint_if, debug_nan, debug_nan_if
from .derivatives import (
    GradientTransform,
    fwd_grad,
    grad,
    hessian,
    jacfwd,
    jacobian,
    jacrev,
    jvp,
    vector_grad,
    vjp,
)
from .devices import pmap2, pmap2_new_states
from .inspection import StateFinder, eval_shape
from .jaxpr_tools import (
    algebraic_simplification,
    common_subexpression_elimination,
    constant_fold,
    copy_propagation,
    dead_code_elimination,
    draw,
    draw_dot_graph,
    eqns_to_closed_jaxpr,
    eqns_to_jaxpr,
    fn_to_python_code,
    inline_jit,
    jaxpr_to_python_code,
    optimize_jaxpr,
    register_prim_handler,
    view_pydot,
)
from .jit import Jitted, jit
from .loops import checkpointed_for_loop, checkpointed_scan, for_loop, scan, while_loop
from .mapping import StatefulMapping, vmap, vmap2
from .monitoring import monitored_for_loop
from .names import named_call, named_scope
from .new_states import in_new_state_probe, vmap2_new_states, vmap_new_states
from .optimize import optimize
from .progress import ProgressBar
from .shards import shard_map
from .stateful_function import StatefulFunction, make_jaxpr
from .unvmap import unvmap

__all__ = [
    "GradientTransform",
    "IRValidationError",
    "Jitted",
    "ProgressBar",
    "StateFinder",
    "StatefulFunction",
    "StatefulMapping",
    "UnsupportedPrimitiveError",
    "algebraic_simplification",
    "all_checks",
    "automatic_checks",
    "bounded_while_loop",
    "breakpoint_if",
    "check",
    "check_error",
    "checkify",
    "checkpoint",
    "checkpointed_for_loop",
    "checkpointed_scan",
    "common_subexpression_elimination",
    "cond",
    "constant_fold",
    "copy_propagation",
    "dead_code_elimination",
    "debug_nan",
    "debug_nan_if",
    "div_checks",
    "draw",
    "draw_dot_graph",
    "eqns_to_closed_jaxpr",
    "eqns_to_jaxpr",
    "eval_shape",
    "float_checks",
    "fn_to_python_code",
    "for_loop",
    "fwd_grad",
    "grad",
    "hessian",
    "ifelse",
    "in_new_state_probe",
    "index_checks",
    "inline_jit",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jaxpr_to_python_code",
    "jit",
    "jit_error_if",
    "jvp",
    "make_jaxpr",
    "map",
    "monitored_for_loop",
    "named_call",
    "named_scope",
    "nan_checks",
    "optimize",
    "optimize_jaxpr",
    "pmap2",
    "pmap2_new_states",
    "register_prim_handler",
    "remat",
    "scan",
    "shard_map",
    "switch",
    "unvmap",
    "user_checks",
    "vector_grad",
    "view_pydot",
    "vjp",
    "vmap",
    "vmap2",
    "vmap2_new_states",
    "vmap_new_states",
    "while_loop",
]
