"""States, their kinds, and the tree that a model makes of them."""

from . import kinds
from .catching import NewStateCatcher, catch_new_states, catching_nothing, caught_so_far
from .epoch import Loss, epoch
from .flatted_dict import FlattedDict
from .kinds import *  # noqa: F403
from .pretty import render
from .recording import Recorder, recorders
from .state import State, assign_all, class_of_kind, in_foreign_trace, maybe_state
from .tree import COMPILED_METHODS, HOLDERS, Node

__all__ = [
    "COMPILED_METHODS",
    "HOLDERS",
    "FlattedDict",
    "Loss",
    "NewStateCatcher",
    "Node",
    "Recorder",
    "State",
    "assign_all",
    "catch_new_states",
    "catching_nothing",
    "caught_so_far",
    "class_of_kind",
    "epoch",
    "in_foreign_trace",
    "maybe_state",
    "recorders",
    "render",
]
__all__ += kinds.__all__
