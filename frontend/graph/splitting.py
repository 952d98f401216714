"""Taking a model apart into description and States, and putting it together again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from ..filter import Filter
from ..state import FlattedDict, NestedDict, State, TreefyState, as_flat, tree
from ..state.flatted_dict import Path
from .definition import (
    Edge,
    GraphDef,
    NodeEdge,
    NodeSpec,
    RefMap,
    StateEdge,
    StateMapping,
    StaticEdge,
)

__all__ = [
    "MergeContext",
    "SplitContext",
    "clone",
    "flatten",
    "graphdef",
    "merge_context",
    "register_graph_node_type",
    "split_context",
    "treefy_merge",
    "treefy_split",
    "unflatten",
]

# --- apart ----------------------------------------------------------------------------------------


class _Flattener:
    """Numbers the objects of a model, and notes how they are put together."""

    def __init__(self, numbers: RefMap[Any, int]) -> None:
        self.numbers = numbers
        self.specs: list[NodeSpec | None] = []
        self.states: dict[Path, State] = {}

    def edge(self, value: Any, path: Path) -> Edge:
        """Describe what stands at a path."""
        if value in self.numbers:
            return NodeEdge(self.numbers[value])
        if isinstance(value, State):
            index = self.numbers[value] = len(self.numbers)
            self.states[path] = value
            return StateEdge(index, path, type(value))
        kind = tree.kind_of(value)
        if kind is None or _is_constant(value):
            return StaticEdge(value)
        index = self.numbers[value] = len(self.numbers)
        place = len(self.specs)
        self.specs.append(None)
        parts, metadata = kind.flatten(value)
        fields = tuple((key, self.edge(part, (*path, key))) for key, part in parts)
        self.specs[place] = NodeSpec(type(value), index, StaticEdge(metadata), fields)
        return NodeEdge(index)


def _is_constant(value: Any) -> bool:
    """Whether a value is a tuple, perhaps of tuples, that no State or container is in."""
    return isinstance(value, tuple) and all(
        _is_constant(part) or not tree.is_holder(part) for part in value
    )


def _described(
    node: Any, numbers: RefMap[Any, int] | None = None
) -> tuple[GraphDef, FlattedDict[State]]:
    if tree.kind_of(node) is None:
        raise ValueError(
            f"a model is a module, or a list, tuple or dictionary of modules, not {node!r} of type "
            f"{type(node).__name__}"
        )
    flattener = _Flattener(RefMap() if numbers is None else numbers)
    root = flattener.edge(node, ())
    specs = tuple(spec for spec in flattener.specs if spec is not None)
    return GraphDef(root, specs), FlattedDict(flattener.states)


def flatten(
    node: Any, /, ref_index: RefMap[Any, int] | None = None, treefy_state: bool = True
) -> tuple[GraphDef, NestedDict]:
    """Take a model apart into its description and its States.

    Parameters
    ----------
    node : Module, or list, tuple or dict of modules
        The model.
    ref_index : RefMap, optional
        The numbers of objects that were described before; those of this model are added.
    treefy_state : bool
        Whether the States are given as ``TreefyState``, or as they are.

    Returns
    -------
    graphdef : GraphDef
        The description.
    states : NestedDict
        The States by path.

    Raises
    ------
    ValueError
        If `node` is not a model.

    Examples
    --------
    >>> import brainir
    >>> graphdef, states = brainir.graph.flatten(brainir.nn.LIF(3), treefy_state=False)
    >>> states
    {}
    """
    definition, states = _described(node, ref_index)
    return definition, (states.treefy_state() if treefy_state else states).to_nest()


def graphdef(node: Any) -> GraphDef:
    """Return the description of a model: the first result of :func:`flatten`.

    Examples
    --------
    >>> from brainir import graph, nn
    >>> graph.graphdef(nn.Linear(2, 1)) == graph.graphdef(nn.Linear(2, 1))
    True
    >>> graph.graphdef(nn.Linear(2, 1)) == graph.graphdef(nn.Linear(3, 1))
    False
    """
    return _described(node)[0]


def treefy_split(node: Any, *filters: Filter) -> tuple[Any, ...]:
    """Take a model apart into its description and, by filter, its States.

    What comes out are pytrees, which plain functions of JAX take. ``treefy_merge`` puts a model
    together again from them.

    Parameters
    ----------
    node : Module, or list, tuple or dict of modules
        The model.
    *filters
        One result for each; together they choose all States. Without filters, one for all.

    Returns
    -------
    graphdef : GraphDef
        The description, without leaves.
    *states : NestedDict
        The States by path, as ``TreefyState``.

    Raises
    ------
    ValueError
        If `node` is not a model, or no filter chooses one of its States.

    Examples
    --------
    >>> import brainir, jax
    >>> import jax.numpy as jnp
    >>> net = brainir.nn.Sequential(brainir.nn.Linear(3, 2), jnp.tanh)
    >>> graphdef, weights = brainir.graph.treefy_split(net, brainir.ParamState)
    >>> def loss(weights, x):
    ...     return jnp.sum(brainir.graph.treefy_merge(graphdef, weights)(x) ** 2)
    >>> slopes = jax.jit(jax.grad(loss))(weights, jnp.ones(3))
    >>> slopes["layers"][0]["weight"].value["bias"].shape
    (2,)
    """
    return _split(*_described(node), filters)


def _split(
    definition: GraphDef, states: FlattedDict[State], filters: tuple[Filter, ...]
) -> tuple[Any, ...]:
    chosen = states.split(*filters)
    parts = chosen if isinstance(chosen, tuple) else (chosen,)
    return definition, *(part.treefy_state().to_nest() for part in parts)


# --- together -------------------------------------------------------------------------------------


class _Unflattener:
    """Makes objects by their numbers; what can hold itself is made empty first, then filled."""

    def __init__(
        self, definition: GraphDef, states: FlattedDict[Any], made: MutableMapping[int, Any]
    ) -> None:
        specs = definition.node_specs
        self.specs = {spec.index: spec for spec in specs}
        edges = (edge for spec in specs for _, edge in spec.fields)
        self.paths = {edge.index: edge.path for edge in edges if isinstance(edge, StateEdge)}
        self.states = states
        self.made = made
        self.empty: list[tuple[Any, NodeSpec]] = []

    def build(self, root: Edge) -> Any:
        """Make what an edge leads to, with all of its parts."""
        result = self._make(root)
        while self.empty:
            holder, spec = self.empty.pop()
            kind = tree.kind_of(holder)
            assert kind is not None
            for key, edge in spec.fields:
                part = self._make(edge)
                kind.set_key(holder, key, part)
                if kind.is_node and isinstance(part, State):
                    part.suggest_name(f"{spec.type.__name__}.{key}")
        return result

    def _make(self, edge: Edge) -> Any:
        if isinstance(edge, StaticEdge):
            return edge.value
        index = edge.index
        if index not in self.made:
            known = index in self.paths
            self.made[index] = self._state(self.paths[index]) if known else self._holder(index)
        return self.made[index]

    def _state(self, path: Path) -> State:
        if path not in self.states:
            raise ValueError(
                f"there is no State at {path} in what was given; treefy_merge needs all parts that "
                "treefy_split gave"
            )
        given = self.states[path]
        if isinstance(given, TreefyState):
            return given.to_state()
        if isinstance(given, State):
            return given
        raise ValueError(
            f"what stands at {path} is of type {type(given).__name__}, not a TreefyState; map over "
            "the leaves with jax.tree.map, or use TreefyState.replace(value)"
        )

    def _holder(self, index: int) -> Any:
        if index not in self.specs:
            raise ValueError(
                "the model holds an object that was split off before, in a split_context: merge "
                "the parts in the same order, in a merge_context"
            )
        spec = self.specs[index]
        kind = next(tree.KINDS[base] for base in spec.type.__mro__ if base in tree.KINDS)
        if kind.create_empty is not None:
            holder = kind.create_empty(spec.metadata.value)
            self.empty.append((holder, spec))
            return holder
        items = [self._make(edge) for _, edge in spec.fields]
        if hasattr(spec.type, "_make"):  # a named tuple
            return spec.type._make(items)  # pyright: ignore[reportAttributeAccessIssue]
        return spec.type(items)


def unflatten(
    graphdef: GraphDef,
    state_mapping: StateMapping,
    /,
    *,
    index_ref: MutableMapping[int, Any] | None = None,
) -> Any:
    """Put a model together from a description and the States by path.

    Parameters
    ----------
    graphdef : GraphDef
        The description.
    state_mapping : NestedDict or FlattedDict
        ``TreefyState`` objects, of which new States are made, or States, which are taken as they
        are. What the description does not ask for is left alone.
    index_ref : dict, optional
        Objects by number that were made before; those of this model are added.

    Raises
    ------
    ValueError
        If a State is missing, or something else stands in its place.

    Examples
    --------
    >>> from brainir import graph, nn
    >>> graphdef, states = graph.flatten(nn.Linear(2, 1))
    >>> graph.unflatten(graphdef, states).out_size
    (1,)
    """
    made: MutableMapping[int, Any] = {} if index_ref is None else index_ref
    return _Unflattener(graphdef, as_flat(state_mapping), made).build(graphdef.root)


def treefy_merge(graphdef: GraphDef, *state_mappings: StateMapping) -> Any:
    """Put a model together from what :func:`treefy_split` gave: a new model, with new States.

    What was shared is shared again, also what a model holds of itself. Settings that are not
    States, and do not hold any, are the very objects of the model that was split.

    Parameters
    ----------
    graphdef : GraphDef
        The description.
    *state_mappings : NestedDict or FlattedDict
        The States, in one dictionary or several; if two have a path, the last counts.

    Raises
    ------
    ValueError
        If a State is missing, or something else stands in its place.

    Examples
    --------
    >>> import brainir
    >>> linear = brainir.nn.Linear(3, 2)
    >>> other = brainir.graph.treefy_merge(*brainir.graph.treefy_split(linear))
    >>> other.weight is linear.weight, other.out_size
    (False, (2,))
    """
    return unflatten(graphdef, FlattedDict.merge(*state_mappings))


def clone(node: Any) -> Any:
    """Return a model like this one, with States of its own.

    Examples
    --------
    >>> import brainir
    >>> counter = brainir.State(1)
    >>> other = brainir.graph.clone({"counter": counter})["counter"]
    >>> other.value += 1
    >>> counter.value, other.value
    (1, 2)
    """
    return treefy_merge(*treefy_split(node))


# --- several models that share parts --------------------------------------------------------------


class SplitContext(NamedTuple):
    """Splits models one after the other; what two of them hold goes with the first.

    Examples
    --------
    >>> from brainir import graph, nn
    >>> first, second = nn.Linear(1, 2), nn.Linear(2, 1)
    >>> with graph.split_context() as (split, numbers):
    ...     parts = [split.treefy_split(layer) for layer in (first, second)]
    >>> type(split).__name__, numbers[first], numbers[second]
    ('SplitContext', 0, 2)
    """

    ref_index: RefMap[Any, int]

    def treefy_split(self, node: Any, *filters: Filter) -> tuple[Any, ...]:
        """Take a model apart: see :func:`treefy_split`."""
        return _split(*_described(node, self.ref_index), filters)


class MergeContext(NamedTuple):
    """Merges models one after the other, in the order in which they were split.

    Examples
    --------
    >>> from brainir import graph, nn
    >>> with graph.split_context() as (split, _):
    ...     graphdef, states = split.treefy_split(nn.Linear(1, 2))
    >>> with graph.merge_context() as (merge, made):
    ...     layer = merge.treefy_merge(graphdef, states)
    >>> made[0] is layer
    True
    """

    index_ref: dict[int, Any]

    def treefy_merge(self, graphdef: GraphDef, *state_mappings: StateMapping) -> Any:
        """Put a model together: see :func:`treefy_merge`."""
        merged = FlattedDict.merge(*state_mappings)
        return unflatten(graphdef, merged, index_ref=self.index_ref)


@contextmanager
def split_context() -> Iterator[tuple[SplitContext, RefMap[Any, int]]]:
    """Split several models that share parts; `merge_context` makes models that share them again.

    Yields
    ------
    context : SplitContext
        Has a method ``treefy_split``.
    ref_index : RefMap
        The numbers of the objects met so far.

    Examples
    --------
    >>> import brainir
    >>> shared = brainir.nn.Linear(2, 2)
    >>> with brainir.graph.split_context() as (context, _):
    ...     parts = [context.treefy_split(model) for model in ({"a": shared}, [shared])]
    >>> with brainir.graph.merge_context() as (context, _):
    ...     first, second = (context.treefy_merge(*part) for part in parts)
    >>> first["a"] is second[0]
    True
    """
    numbers: RefMap[Any, int] = RefMap()
    yield SplitContext(numbers), numbers


@contextmanager
def merge_context() -> Iterator[tuple[MergeContext, dict[int, Any]]]:
    """Merge what was split in a :func:`split_context`.

    Yields
    ------
    context : MergeContext
        Has a method ``treefy_merge``.
    index_ref : dict
        The objects made so far, by number.

    Examples
    --------
    >>> from brainir import graph, nn
    >>> shared = nn.Linear(2, 2)
    >>> with graph.split_context() as (split, _):
    ...     parts = [split.treefy_split(model) for model in ([shared], [shared, nn.Tanh()])]
    >>> with graph.merge_context() as (merge, _):
    ...     first, second = [merge.treefy_merge(*part) for part in parts]
    >>> first[0] is second[0]
    True
    """
    made: dict[int, Any] = {}
    yield MergeContext(made), made


def register_graph_node_type(
    type: type,
    flatten: Callable[[Any], tuple[Any, Any]],
    set_key: Callable[[Any, Any, Any], None],
    pop_key: Callable[[Any, Any], Any],
    create_empty: Callable[[Any], Any],
    clear: Callable[[Any], None] | None = None,
) -> None:
    """Let objects of a class count as modules, where the class is not a ``Node``.

    Parameters
    ----------
    type : type
        The class; its subclasses count, too.
    flatten : callable
        From an object to its parts, ``[(key, part), ...]``, and what else it takes to make it.
    set_key : callable
        ``(object, key, part)``: give an object a part.
    pop_key : callable
        ``(object, key)``: take a part away and return it.
    create_empty : callable
        From the second result of `flatten` to an object without parts.
    clear : callable, optional
        Not used: models are made anew, never emptied.

    Examples
    --------
    >>> import brainir
    >>> class Box:
    ...     content = None
    >>> def create(metadata):
    ...     return Box()
    >>> def pop(box, key):
    ...     return box.__dict__.pop(key)
    >>> brainir.graph.register_graph_node_type(
    ...     Box, lambda box: (sorted(vars(box).items()), None), setattr, pop, create
    ... )
    >>> box = Box()
    >>> box.content = brainir.State(1.0)
    >>> brainir.graph.clone([box])[0].content.value
    1.0
    """
    tree.KINDS[type] = tree.HolderKind(True, flatten, create_empty, set_key, pop_key)
