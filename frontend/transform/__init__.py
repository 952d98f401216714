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
from .jit import Jitted, jit
from .loops import checkpointed_for_loop, checkpointed_scan, for_loop, scan, while_loop
from .mapping import map, vmap
from .progress import ProgressBar

__all__ = [
    "GradientTransform",
    "Jitted",
    "ProgressBar",
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
    "index_checks",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jit_error_if",
    "jvp",
    "map",
    "nan_checks",
    "remat",
    "scan",
    "switch",
    "user_checks",
    "vector_grad",
    "vjp",
    "vmap",
    "while_loop",
]
