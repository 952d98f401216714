"""Transformations of functions that read and write States."""

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
from .jit import Jitted, jit
from .loops import checkpointed_for_loop, checkpointed_scan, for_loop, scan, while_loop
from .mapping import (
    StatefulMapping,
    call_in_lanes,
    in_new_state_probe,
    vmap,
    vmap2,
    vmap2_new_states,
    vmap_new_states,
)
from .progress import ProgressBar
from .unvmap import unvmap

__all__ = [
    "GradientTransform",
    "Jitted",
    "ProgressBar",
    "StatefulMapping",
    "all_checks",
    "automatic_checks",
    "bounded_while_loop",
    "breakpoint_if",
    "call_in_lanes",
    "check",
    "check_error",
    "checkify",
    "checkpoint",
    "checkpointed_for_loop",
    "checkpointed_scan",
    "cond",
    "debug_nan",
    "debug_nan_if",
    "div_checks",
    "float_checks",
    "for_loop",
    "fwd_grad",
    "grad",
    "hessian",
    "ifelse",
    "in_new_state_probe",
    "index_checks",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jit_error_if",
    "jvp",
    "map",
    "nan_checks",
    "pmap2",
    "pmap2_new_states",
    "remat",
    "scan",
    "switch",
    "unvmap",
    "user_checks",
    "vector_grad",
    "vjp",
    "vmap",
    "vmap2",
    "vmap2_new_states",
    "vmap_new_states",
    "while_loop",
]
