"""Transformations of functions that read and write States."""

from ..program import foreign as foreign
from .autodiff import GradientTransform, grad, vector_grad
from .branches import cond, switch
from .jit import Jitted, jit
from .loops import for_loop, scan, while_loop
from .mapping import map, vmap
from .progress import ProgressBar

__all__ = [
    "GradientTransform",
    "Jitted",
    "ProgressBar",
    "cond",
    "for_loop",
    "grad",
    "jit",
    "map",
    "scan",
    "switch",
    "vector_grad",
    "vmap",
    "while_loop",
]
