"""A State as a value: what it is and holds, as a JAX pytree that no capture follows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import jax
import numpy as np

from .pretty import render, summary
from .state import State

__all__ = ["TreefyState"]

T = TypeVar("T")
U = TypeVar("U")


@jax.tree_util.register_pytree_with_keys_class
class TreefyState(Generic[T]):
    """What a State is and holds, as a pytree: its value is data, all else belongs to the structure.

    Two of them have one structure if their class, name, tags and metadata are equal, so that
    ``jax.tree.map`` goes over both and ``jax.jit`` does not compile again.

    Parameters
    ----------
    type : type
        The class of the State.
    value : pytree
        What it holds.
    name : str, optional
        Its name.
    tag : set of str, optional
        Its labels.
    **metadata
        Its other attributes, which can be read as attributes of this object, too.

    Examples
    --------
    >>> import brainir
    >>> import jax
    >>> reference = brainir.ParamState(2.0, name="gain").to_state_ref()
    >>> doubled = jax.tree.map(lambda x: 2 * x, reference)
    >>> doubled.value, doubled.name, doubled.to_state().value
    (4.0, 'gain', 4.0)
    """

    def __init__(
        self,
        type: type[State[Any]],
        value: T,
        name: str | None = None,
        tag: set[str] | None = None,
        **metadata: Any,
    ) -> None:
        self.type = type
        self.value = value
        self.name = name
        self.tag = tag
        self.metadata = metadata

    def __getattr__(self, name: str) -> Any:
        metadata = vars(self).get("metadata", {})
        if name in metadata:
            return metadata[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def get_metadata(self) -> dict[str, Any]:
        """Return all but the class and the value: the name, the tags, and the other attributes."""
        return {"name": self.name, "tag": self.tag, **self.metadata}

    def replace(self, value: U) -> TreefyState[U]:
        """Return the same with another value."""
        return TreefyState(self.type, value, **self.get_metadata())

    def copy(self) -> TreefyState[T]:
        """Return the same with new containers in the value; arrays are shared."""
        return jax.tree.map(lambda leaf: leaf, self)

    def to_state(self) -> State[T]:
        """Return a new State of this class, value and metadata."""
        return State.made_as(self.type, self.value, **self.get_metadata())

    def tree_flatten_with_keys(self) -> tuple[Any, _Structure]:
        """Flatten for JAX: the value, and all else."""
        keyed = ((jax.tree_util.GetAttrKey("value"), self.value),)
        return keyed, _Structure(self.type, self.get_metadata())

    def tree_flatten(self) -> tuple[Any, _Structure]:
        """Flatten for JAX, without names."""
        return (self.value,), _Structure(self.type, self.get_metadata())

    @classmethod
    def tree_unflatten(cls, structure: _Structure, children: Any) -> TreefyState[Any]:
        """Rebuild from what was flattened."""
        return cls(structure.type, children[0], **structure.metadata)

    def __rich_repr__(self) -> Iterator[tuple[str, object]]:
        """Yield what is shown: the class, the types in the value, and the metadata."""
        yield "type", self.type
        yield "value", summary(self.value)
        for name, item in self.get_metadata().items():
            if item is not None and not name.startswith("_"):
                yield name, item

    def __repr__(self) -> str:
        return render(self)


class _Structure:
    """What of a State is no data. It is compared by what it says, whatever the metadata are."""

    __slots__ = ("metadata", "type")

    def __init__(self, type: type[State[Any]], metadata: dict[str, Any]) -> None:
        tag = metadata["tag"]
        self.type = type
        self.metadata = {**metadata, "tag": None if tag is None else set(tag)}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Structure) or self.type is not other.type:
            return False
        mine, its = self.metadata, other.metadata
        return mine.keys() == its.keys() and all(same(mine[name], its[name]) for name in mine)

    def __hash__(self) -> int:
        return hash((self.type, self.metadata["name"], frozenset(self.metadata)))


def same(one: object, other: object) -> bool:
    """Whether two pieces of metadata are equal; those that cannot be compared are not."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray | jax.Array):
        return bool(np.array_equal(one, other))  # pyright: ignore[reportArgumentType]
    try:
        return bool(one == other)
    except Exception:  # whatever a user's class says to being compared
        return False
