"""What is left of a model without the values of its States: a hashable description."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias, TypeVar

import jax

from ..snapshot import static_key
from ..state.flatted_dict import Path

__all__ = [
    "Edge",
    "GraphDef",
    "NodeEdge",
    "NodeSpec",
    "RefMap",
    "StateEdge",
    "Static",
    "StaticEdge",
]

K = TypeVar("K")
V = TypeVar("V")


class RefMap(MutableMapping[K, V]):
    """A dictionary whose keys are told apart by identity, and kept alive.

    Examples
    --------
    >>> from brainir.graph import RefMap
    >>> first, second = [], []
    >>> numbers = RefMap([(first, 1)])
    >>> first in numbers, second in numbers
    (True, False)
    """

    def __init__(self, items: Any = ()) -> None:
        self._items: dict[int, tuple[K, V]] = {}
        self.update(items)

    def __getitem__(self, key: K) -> V:
        try:
            return self._items[id(key)][1]
        except KeyError:
            raise KeyError(key) from None

    def __setitem__(self, key: K, value: V) -> None:
        self._items[id(key)] = (key, value)

    def __delitem__(self, key: K) -> None:
        del self._items[id(key)]

    def __iter__(self) -> Iterator[K]:
        return (key for key, _ in self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: object) -> bool:
        return id(key) in self._items

    def __repr__(self) -> str:
        return f"RefMap({list(self.items())!r})"


@dataclass(frozen=True)
class NodeEdge:
    """The object that has the number `index`: a module, a container, or a State met before.

    Examples
    --------
    >>> from brainir import graph, nn
    >>> layer = nn.Tanh()
    >>> dict(graph.graphdef([layer, layer]).node_specs[0].fields)
    {0: NodeEdge(index=1), 1: NodeEdge(index=1)}
    """

    index: int


@dataclass(frozen=True)
class StateEdge:
    """A State: its number, the path at which its value is kept, and its class.

    Examples
    --------
    >>> from brainir import graph, nn
    >>> dict(graph.graphdef(nn.Linear(2, 1)).node_specs[0].fields)["weight"].path
    ('weight',)
    """

    index: int
    path: Path
    type: type


@dataclass(frozen=True, eq=False)
class StaticEdge:
    """Anything that is not a State, a module or a container; it is kept as it is.

    Examples
    --------
    >>> from brainir import graph, nn
    >>> dict(graph.graphdef(nn.LeakyReLU(0.1)).node_specs[0].fields)["negative_slope"].value
    0.1
    """

    value: Any

    @cached_property
    def key(self) -> Hashable:
        """What is equal for equal values; arrays are compared by their numbers."""
        return static_key(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StaticEdge) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


Edge: TypeAlias = NodeEdge | StateEdge | StaticEdge


@dataclass(frozen=True)
class NodeSpec:
    """How a module or container is made.

    Attributes
    ----------
    type : type
        Its class.
    index : int
        Its number.
    metadata : StaticEdge
        What its class needs to make one without parts; see ``register_graph_node_type``.
    fields : tuple of (key, edge)
        Its parts.

    Examples
    --------
    >>> from brainir import graph, nn
    >>> spec = graph.graphdef(nn.Linear(2, 1)).node_specs[0]
    >>> spec.type.__name__, spec.index, "weight" in dict(spec.fields)
    ('Linear', 0, True)
    """

    type: type
    index: int
    metadata: StaticEdge
    fields: tuple[tuple[Hashable, Edge], ...]


@jax.tree_util.register_static
@dataclass(frozen=True, eq=False)
class GraphDef:
    """The description of a model without the values of its States.

    Two are equal if the same classes are put together in the same way, with equal settings. One can
    be hashed, and is a JAX pytree without leaves, so that functions under ``jax.jit`` may take and
    return it; they are compiled anew for another description.

    Attributes
    ----------
    root : NodeEdge or StateEdge
        The model.
    node_specs : tuple of NodeSpec
        Its modules and containers.

    Examples
    --------
    >>> import brainir
    >>> first, second = (brainir.nn.Linear(2, 3) for _ in range(2))
    >>> brainir.graph.graphdef(first) == brainir.graph.graphdef(second)
    True
    >>> brainir.graph.graphdef(first) == brainir.graph.graphdef(brainir.nn.Linear(2, 4))
    False
    """

    root: Edge
    node_specs: tuple[NodeSpec, ...] = field(repr=False)

    @property
    def index(self) -> int:
        """The number of the model."""
        assert isinstance(self.root, NodeEdge)
        return self.root.index

    @property
    def type(self) -> type:
        """The class of the model; of a model that another description holds, None's."""
        return next((s.type for s in self.node_specs if s.index == self.index), type(None))

    @cached_property
    def _key(self) -> Hashable:
        return self.root, self.node_specs

    @cached_property
    def _hash(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GraphDef) and self._key == other._key

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"GraphDef({self.type.__name__}, {len(self.node_specs)} modules and containers)"


@jax.tree_util.register_static
@dataclass(frozen=True)
class Static:
    """A value that is a part of the structure of a pytree, not a leaf; it must be hashable.

    Examples
    --------
    >>> import jax
    >>> from brainir.graph import Static
    >>> jax.tree.leaves([1.0, Static("relu")])
    [1.0]
    """

    value: Any


StateMapping: TypeAlias = Mapping[Any, Any]
