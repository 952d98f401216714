"""Transformations of functions that read and write States."""

from ..program import foreign as foreign
from .autodiff import GradientTransform, grad, vector_grad
from .bounded import bounded_while_loop
from .branches import cond, switch
from .checkpoints import checkpoint, remat
from .inspection import StateFinder, eval_shape
from .jit import Jitted, jit
from .loops import checkpointed_for_loop, checkpointed_scan, for_loop, scan, while_loop
from .mapping import map, vmap
from .names import named_call, named_scope
from .progress import ProgressBar
from .stateful_function import StatefulFunction, make_jaxpr

__all__ = [
    "GradientTransform",
    "Jitted",
    "ProgressBar",
    "StateFinder",
    "StatefulFunction",
    "bounded_while_loop",
    "checkpoint",
    "checkpointed_for_loop",
    "checkpointed_scan",
    "cond",
    "eval_shape",
    "for_loop",
    "grad",
    "jit",
    "make_jaxpr",
    "map",
    "named_call",
    "named_scope",
    "remat",
    "scan",
    "switch",
    "vector_grad",
    "vmap",
    "while_loop",
]
