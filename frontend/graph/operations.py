"""What a model holds: its States and modules, and changes of them by path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from ..capture import Cell
from ..filter import Filter
from ..state import FlattedDict, State, TreefyState, as_flat, tree
from ..state.flatted_dict import Path

__all__ = [
    "iter_leaf",
    "iter_node",
    "nodes",
    "pop_states",
    "states",
    "treefy_states",
    "update_states",
]


def states(
    node: Any, *filters: Filter, allowed_hierarchy: tree.Hierarchy = tree.EVERY_LEVEL
) -> Any:
    """Return the States of a model by path, each once, under the first of its paths.

    Parameters
    ----------
    node : Module, or list, tuple or dict of modules
        The model.
    *filters
        With one, only what it chooses; with several, a tuple of dictionaries, each State in that of
        the first to choose it.
    allowed_hierarchy : (low, high)
        How many modules may stand above a State; lists and dictionaries do not count.

    Examples
    --------
    >>> import brainir
    >>> brainir.graph.states({"a": brainir.ParamState(1.0), "b": brainir.State(2.0)}).keys()
    dict_keys([('a',), ('b',)])
    """
    return tree.states(node, allowed_hierarchy).filter(*filters)


def nodes(node: Any, *filters: Filter, allowed_hierarchy: tree.Hierarchy = tree.EVERY_LEVEL) -> Any:
    """Return the modules of a model by path, each once and after its parts; see :func:`states`.

    Examples
    --------
    >>> import brainir
    >>> list(brainir.graph.nodes([brainir.nn.Linear(2, 3), brainir.nn.LIF(3)]))
    [(0,), (1,)]
    """
    return tree.nodes(node, allowed_hierarchy).filter(*filters)


def iter_leaf(
    node: Any, allowed_hierarchy: tree.Hierarchy = tree.EVERY_LEVEL
) -> Iterator[tuple[Path, Any]]:
    """Iterate over all that is neither module nor container, such as States, with the paths.

    Examples
    --------
    >>> import brainir
    >>> list(brainir.graph.iter_leaf({"a": 1.0, "b": [2.0]}))
    [(('a',), 1.0), (('b', 0), 2.0)]
    """
    return ((path, item) for path, item, _ in tree.leaves(node, allowed_hierarchy))


def iter_node(
    node: Any, allowed_hierarchy: tree.Hierarchy = tree.EVERY_LEVEL
) -> Iterator[tuple[Path, Any]]:
    """Iterate over the modules with their paths, each after its parts.

    Examples
    --------
    >>> from brainir import graph, nn
    >>> for path, module in graph.iter_node({"in": nn.Linear(2, 3), "out": nn.Tanh()}):
    ...     print(path, type(module).__name__)
    ('in',) Linear
    ('out',) Tanh
    """
    return iter(tree.nodes(node, allowed_hierarchy).items())


def treefy_states(node: Any, *filters: Filter) -> Any:
    """Return the States of a model as pytrees, nested by path; what no filter chooses is left out.

    Examples
    --------
    >>> import brainir
    >>> brainir.graph.treefy_states({"a": brainir.State(1.0)})["a"].value
    1.0
    """
    chosen = states(node, *filters)
    parts = chosen if isinstance(chosen, tuple) else (chosen,)
    treefied = tuple(part.treefy_state().to_nest() for part in parts)
    return treefied if isinstance(chosen, tuple) else treefied[0]


def update_states(
    node: Any, state_dict: Mapping[Any, Any], /, *state_dicts: Mapping[Any, Any]
) -> None:
    """Give the States of a model what stands at their paths.

    Parameters
    ----------
    node : Module, or list, tuple or dict of modules
        The model.
    state_dict, *state_dicts : NestedDict or FlattedDict
        ``TreefyState`` objects, such as those of :func:`treefy_states`, States or values. At a path
        where there is nothing yet, a module or dictionary gets a new State.

    Raises
    ------
    ValueError
        If a path leads to something that is not a State, or nowhere; nothing is changed then.

    Examples
    --------
    >>> import brainir
    >>> import jax
    >>> model = {"a": brainir.State(1.0)}
    >>> doubled = jax.tree.map(lambda x: 2 * x, brainir.graph.treefy_states(model))
    >>> brainir.graph.update_states(model, doubled)
    >>> model["a"].value
    2.0
    """
    entries = FlattedDict.merge(state_dict, *map(as_flat, state_dicts))
    plan = [(path, given, *_place(node, path)) for path, given in entries.items()]
    for path, given, _, present in plan:
        if present is None and not isinstance(given, TreefyState | State):
            raise ValueError(f"there is no State at {path}, and {given!r} does not make one")
        if isinstance(given, TreefyState) and type(present) not in (type(None), given.type):
            raise ValueError(
                f"at {path} is a {type(present).__name__}, which does not become a "
                f"{given.type.__name__}"
            )
    for path, given, holder, present in plan:
        if present is None:
            made = given.to_state() if isinstance(given, TreefyState) else given
            _set_part(holder, path[-1], made)
        elif isinstance(given, TreefyState):
            cast(State, present).update_from_ref(given)
        else:
            present.value = given.value if isinstance(given, Cell) else given


def _place(root: Any, path: Path) -> tuple[Any, Cell | None]:
    """Return what holds the State at a path, and the State, or None if a new one can be there."""
    holder, found = None, root
    for depth, key in enumerate(path):
        holder, inside = found, dict(tree.parts(found))
        found = inside.get(key)
        if found is None and depth + 1 < len(path):
            raise ValueError(f"the path {path} leads nowhere: nothing is at {path[: depth + 1]}")
    if found is None and (tree.is_node(holder) or isinstance(holder, dict)):
        return holder, None
    if not isinstance(found, Cell):
        raise ValueError(f"what is at {path} is no State but {found!r}")
    return holder, found


def _set_part(holder: Any, key: Any, part: Any) -> None:
    """Give a holder a part as its user would, so that a module tells compiled functions of it."""
    kind = tree.kind_of(holder)
    assert kind is not None
    if isinstance(holder, tree.Node):
        setattr(holder, key, part)
    else:
        kind.set_key(holder, key, part)


def pop_states(node: Any, *filters: Filter) -> Any:
    """Take the States that filters choose out of a model, wherever it holds them.

    Parameters
    ----------
    node : Module, or list, tuple or dict of modules
        The model.
    *filters
        At least one; with several, a tuple of dictionaries is returned.

    Returns
    -------
    NestedDict
        The States by path, as ``TreefyState``; :func:`update_states` puts them back.

    Raises
    ------
    ValueError
        If there is no filter, or a list or tuple holds one of the States; none is taken then.

    Examples
    --------
    >>> import brainir
    >>> neuron = brainir.nn.init_all_states(brainir.nn.LIF(3))
    >>> popped = brainir.graph.pop_states(neuron, brainir.HiddenState)
    >>> hasattr(neuron, "V"), popped["V"].type.__name__
    (False, 'HiddenState')
    >>> brainir.graph.update_states(neuron, popped)
    >>> neuron.V.value.shape
    (3,)
    """
    if not filters:
        raise ValueError("pop_states needs a filter; give ... to take all States")
    found = states(node, *filters)
    groups: tuple[FlattedDict[State], ...] = found if isinstance(found, tuple) else (found,)
    chosen = {id(state) for group in groups for state in group.values()}
    places = [
        (holder, key)
        for holder in _holders(node)
        for key, part in tree.parts(holder)
        if id(part) in chosen
    ]
    for holder, key in places:
        if isinstance(holder, list | tuple):
            tree.KINDS[list].pop_key(holder, key)
    popped = tuple(group.treefy_state().to_nest() for group in groups)
    for holder, key in places:
        _pop_part(holder, key)
    return popped if isinstance(found, tuple) else popped[0]


def _pop_part(holder: Any, key: Any) -> None:
    kind = tree.kind_of(holder)
    assert kind is not None
    if isinstance(holder, tree.Node):
        delattr(holder, key)
    else:
        kind.pop_key(holder, key)


def _holders(root: Any) -> list[Any]:
    """Return every module and container of a model, each once."""
    found: dict[int, Any] = {}
    waiting = [root]
    while waiting:
        holder = waiting.pop()
        if id(holder) not in found and tree.kind_of(holder) is not None:
            found[id(holder)] = holder
            waiting += [part for _, part in tree.parts(holder)]
    return list(found.values())
