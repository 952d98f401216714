"""Models inside pytrees: each made a pytree, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax

from ..state import NestedDict, State, tree
from .definition import GraphDef
from .splitting import merge_context, split_context

__all__ = ["NodeStates", "graph_to_tree", "tree_to_graph"]


@jax.tree_util.register_pytree_with_keys_class
class NodeStates:
    """A model as a pytree: its description, which is static, and its States.

    Attributes
    ----------
    graphdef : GraphDef
        The description.
    states : tuple of NestedDict
        The States by path, as ``TreefyState``.

    Examples
    --------
    >>> import jax
    >>> from brainir import graph, nn
    >>> tree = graph.graph_to_tree(nn.Linear(2, 1))[0]
    >>> type(tree).__name__
    'NodeStates'
    >>> jax.tree.map(lambda leaf: leaf.shape, jax.tree.leaves(tree))
    [(1,), (2, 1)]
    """

    def __init__(self, graphdef: GraphDef, states: tuple[NestedDict, ...]) -> None:
        self.graphdef, self.states = graphdef, states

    @classmethod
    def from_split(cls, graphdef: GraphDef, *states: NestedDict) -> NodeStates:
        """Make one from what ``treefy_split`` gives."""
        return cls(graphdef, states)

    @property
    def state(self) -> NestedDict:
        """The States, where they are in one dictionary."""
        if len(self.states) != 1:
            raise ValueError(f"there are {len(self.states)} dictionaries of States, not one")
        return self.states[0]

    def tree_flatten_with_keys(self):
        """Flatten for JAX: the States, and the description as a static part."""
        return [(jax.tree_util.GetAttrKey("states"), self.states)], self.graphdef

    @classmethod
    def tree_unflatten(cls, graphdef: GraphDef, children: Iterable[Any]) -> NodeStates:
        """Rebuild from the description and the States."""
        (states,) = children
        return cls(graphdef, states)


def _is_model(value: object) -> bool:
    return tree.is_node(value)


def graph_to_tree(may_have_graph_nodes: Any, /) -> tuple[Any, dict[int, State]]:
    """Put a pytree in the place of every module that a pytree holds.

    Parameters
    ----------
    may_have_graph_nodes : pytree
        Modules and arrays in containers. Modules may share parts.

    Returns
    -------
    tree : pytree
        The same with a :class:`NodeStates` for each module.
    states : dict
        The States, by their number in the descriptions.

    Examples
    --------
    >>> import brainir
    >>> linear = brainir.nn.Linear(2, 3)
    >>> tree, _ = brainir.graph.graph_to_tree({"net": linear, "again": linear, "x": 1.0})
    >>> back = brainir.graph.tree_to_graph(tree)
    >>> back["net"] is back["again"], back["x"]
    (True, 1.0)
    """
    with split_context() as (context, numbers):
        made = jax.tree.map(
            lambda leaf: (
                NodeStates(*_first_rest(context.treefy_split(leaf))) if _is_model(leaf) else leaf
            ),
            may_have_graph_nodes,
            is_leaf=_is_model,
        )
    return made, {n: item for item, n in numbers.items() if isinstance(item, State)}


def _first_rest(parts: tuple[Any, ...]) -> tuple[GraphDef, tuple[NestedDict, ...]]:
    return parts[0], parts[1:]


def tree_to_graph(tree: Any, /) -> Any:
    """Make modules again of what :func:`graph_to_tree` gave; their States are new.

    Parameters
    ----------
    tree : pytree
        With a :class:`NodeStates` for each module.

    Raises
    ------
    ValueError
        If States are missing.

    Examples
    --------
    >>> from brainir import graph, nn
    >>> layer = nn.Linear(2, 1)
    >>> tree = graph.graph_to_tree([layer, layer])[0]
    >>> first, second = graph.tree_to_graph(tree)
    >>> first is second, first is layer
    (True, False)
    """
    with merge_context() as (context, _):
        return jax.tree.map(
            lambda leaf: (
                context.treefy_merge(leaf.graphdef, *leaf.states)
                if isinstance(leaf, NodeStates)
                else leaf
            ),
            tree,
            is_leaf=lambda leaf: isinstance(leaf, NodeStates),
        )
