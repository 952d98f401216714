"""Transformations of functions that read and write States."""

from ..program import foreign as foreign
from .autodiff import GradientTransform, grad, vector_grad
from .bounded import bounded_while_loop
from .branches import cond, switch
from .checkpoints import checkpoint, remat
from .chunks import map
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
    "bounded_while_loop",
    "call_in_lanes",
    "checkpoint",
    "checkpointed_for_loop",
    "checkpointed_scan",
    "cond",
    "for_loop",
    "grad",
    "in_new_state_probe",
    "jit",
    "map",
    "pmap2",
    "pmap2_new_states",
    "remat",
    "scan",
    "switch",
    "unvmap",
    "vector_grad",
    "vmap",
    "vmap2",
    "vmap2_new_states",
    "vmap_new_states",
    "while_loop",
]
