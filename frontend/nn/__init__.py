"""Building blocks of models: modules, time steps, and calls on all parts of a model."""

from ..state import FlattedDict
from .collective import (
    assign_state_values,
    call_all_fns,
    call_order,
    init_all_states,
    reset_all_states,
)
from .dynamics import Dynamics, not_receive_update_output, receive_update_input
from .integrate import exp_euler_step
from .layers import Linear, Sequential
from .mapped import (
    Map,
    Vmap,
    vmap_call_all_fns,
    vmap_init_all_states,
    vmap_reset_all_states,
)
from .module import Module
from .neurons import LIF

__all__ = [
    "LIF",
    "Dynamics",
    "FlattedDict",
    "Linear",
    "Map",
    "Module",
    "Sequential",
    "Vmap",
    "assign_state_values",
    "call_all_fns",
    "call_order",
    "exp_euler_step",
    "init_all_states",
    "not_receive_update_output",
    "receive_update_input",
    "reset_all_states",
    "vmap_call_all_fns",
    "vmap_init_all_states",
    "vmap_reset_all_states",
]
