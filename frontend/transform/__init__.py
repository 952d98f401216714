"""Transformations of functions that read and write States."""

from ..errors import IRValidationError, UnsupportedPrimitiveError
from ..program import foreign as foreign
from .autodiff import GradientTransform, grad, vector_grad
from .bounded import bounded_while_loop
from .branches import cond, switch
from .checkpoints import checkpoint, remat
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
from .mapping import map, vmap
from .names import named_call, named_scope
from .progress import ProgressBar
from .stateful_function import StatefulFunction, make_jaxpr

__all__ = [
    "GradientTransform",
    "IRValidationError",
    "Jitted",
    "ProgressBar",
    "StateFinder",
    "StatefulFunction",
    "UnsupportedPrimitiveError",
    "algebraic_simplification",
    "bounded_while_loop",
    "checkpoint",
    "checkpointed_for_loop",
    "checkpointed_scan",
    "common_subexpression_elimination",
    "cond",
    "constant_fold",
    "copy_propagation",
    "dead_code_elimination",
    "draw",
    "draw_dot_graph",
    "eqns_to_closed_jaxpr",
    "eqns_to_jaxpr",
    "eval_shape",
    "fn_to_python_code",
    "for_loop",
    "grad",
    "inline_jit",
    "jaxpr_to_python_code",
    "jit",
    "make_jaxpr",
    "map",
    "named_call",
    "named_scope",
    "optimize_jaxpr",
    "register_prim_handler",
    "remat",
    "scan",
    "switch",
    "vector_grad",
    "view_pydot",
    "vmap",
    "while_loop",
]
