"""States, their kinds, and the tree that a model makes of them."""

from . import kinds
from .adopting import Adoption, adopt
from .catching import NewStateCatcher, catch_new_states, catching_nothing, caught_so_far
from .checks import check_state_jax_tracer, check_state_value_tree
from .dictionaries import DictManager, StateDictManager
from .epoch import Loss, epoch
from .flatted_dict import FlattedDict, NestedDict, as_flat
from .hooked import hook_marks
from .kinds import *  # noqa: F403
from .packs import Pack, Place, may_stand, pack_of, release_all
from .pretty import render
from .recording import Recorder, recorders, recording
from .settling import assign_all, maybe_state, telling_hooks
from .state import State, class_of_kind
from .trace_stack import StateTraceStack
from .traces import in_foreign_trace
from .tree import COMPILED_METHODS, HOLDERS, Node, is_node
from .treefy import TreefyState

__all__ = [
    "COMPILED_METHODS",
    "HOLDERS",
    "Adoption",
    "DictManager",
    "FlattedDict",
    "Loss",
    "NestedDict",
    "NewStateCatcher",
    "Node",
    "Pack",
    "Place",
    "Recorder",
    "State",
    "StateDictManager",
    "StateTraceStack",
    "TreefyState",
    "adopt",
    "as_flat",
    "assign_all",
    "catch_new_states",
    "catching_nothing",
    "caught_so_far",
    "check_state_jax_tracer",
    "check_state_value_tree",
    "class_of_kind",
    "epoch",
    "hook_marks",
    "in_foreign_trace",
    "is_node",
    "may_stand",
    "maybe_state",
    "pack_of",
    "recorders",
    "recording",
    "release_all",
    "render",
    "telling_hooks",
]
__all__ += kinds.__all__
