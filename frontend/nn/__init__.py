"""Building blocks of models: modules, time steps, and calls on all parts of a model."""

from ..state import FlattedDict, NestedDict
from . import blocks, init, metrics, parameters
from .blocks import *  # noqa: F403
from .collective import (
    assign_state_values,
    call_all_fns,
    call_order,
    init_all_states,
    reset_all_states,
)
from .delays import Delay, DelayAccess, StateWithDelay
from .dynamics import Dynamics, not_receive_update_output, receive_update_input
from .integrate import exp_euler_step
from .layers import Sequential
from .mapped import (
    Map,
    Vmap,
    vmap_call_all_fns,
    vmap_init_all_states,
    vmap_reset_all_states,
)
from .metrics import *  # noqa: F403
from .module import Module
from .neurons import LIF
from .parameters import *  # noqa: F403
from .prefetching import (
    OutputDelayAt,
    Prefetch,
    PrefetchDelay,
    PrefetchDelayAt,
    init_maybe_prefetch,
)

__all__ = [
    "LIF",
    "Delay",
    "DelayAccess",
    "Dynamics",
    "FlattedDict",
    "Map",
    "Module",
    "NestedDict",
    "OutputDelayAt",
    "Prefetch",
    "PrefetchDelay",
    "PrefetchDelayAt",
    "Sequential",
    "StateWithDelay",
    "Vmap",
    "assign_state_values",
    "call_all_fns",
    "call_order",
    "exp_euler_step",
    "init",
    "init_all_states",
    "init_maybe_prefetch",
    "not_receive_update_output",
    "receive_update_input",
    "reset_all_states",
    "vmap_call_all_fns",
    "vmap_init_all_states",
    "vmap_reset_all_states",
]
__all__ += blocks.__all__
__all__ += metrics.__all__
__all__ += parameters.__all__
