"""Models as data: their States and modules by path, and models as pytrees.

The graphs that functions become are elsewhere: see ``brainir.ir``.
"""

from ..state import FlattedDict, NestedDict, Node, TreefyState
from .arrays import set_state_arrays, state_arrays
from .conversion import NodeStates, graph_to_tree, tree_to_graph
from .definition import GraphDef, NodeEdge, NodeSpec, RefMap, StateEdge, Static, StaticEdge
from .operations import (
    iter_leaf,
    iter_node,
    nodes,
    pop_states,
    states,
    treefy_states,
    update_states,
)
from .splitting import (
    MergeContext,
    SplitContext,
    clone,
    flatten,
    graphdef,
    merge_context,
    register_graph_node_type,
    split_context,
    treefy_merge,
    treefy_split,
    unflatten,
)

__all__ = [
    "FlattedDict",
    "GraphDef",
    "MergeContext",
    "NestedDict",
    "Node",
    "NodeEdge",
    "NodeSpec",
    "NodeStates",
    "RefMap",
    "SplitContext",
    "StateEdge",
    "Static",
    "StaticEdge",
    "TreefyState",
    "clone",
    "flatten",
    "graph_to_tree",
    "graphdef",
    "iter_leaf",
    "iter_node",
    "merge_context",
    "nodes",
    "pop_states",
    "register_graph_node_type",
    "set_state_arrays",
    "split_context",
    "state_arrays",
    "states",
    "tree_to_graph",
    "treefy_merge",
    "treefy_split",
    "treefy_states",
    "unflatten",
    "update_states",
]
