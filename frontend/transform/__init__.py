"""Transformations of functions that read and write States."""

from ..program import foreign as foreign
from .bounded import bounded_while_loop
from .branches import cond, switch
from .checkpoints import checkpoint, remat
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
    "bounded_while_loop",
    "checkpoint",
    "checkpointed_for_loop",
    "checkpointed_scan",
    "cond",
    "for_loop",
    "fwd_grad",
    "grad",
    "hessian",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "map",
    "remat",
    "scan",
    "switch",
    "vector_grad",
    "vjp",
    "vmap",
    "while_loop",
]
