"""What a capture knows of a State: a cell with a value, and a handle that may outlive it."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import jax

from ..errors import TraceContextError


class _OpenClass(type):
    """The class of `Cell`, to which classes of other libraries can be added for a while."""

    def __instancecheck__(cls, thing: object) -> bool:
        if type.__instancecheck__(cls, thing):
            return True
        return bool(Cell.adopted) and cls is Cell and issubclass(type(thing), Cell.adopted)


class Cell(metaclass=_OpenClass):
    """What a capture, and a program that was captured, need of a State.

    The objects of classes that were adopted count as cells; see ``brainir.adopt``.

    Attributes
    ----------
    kind : str
        What graphs say of it: hidden, param, rng, ...
    handle : Handle
        What stands for it in captured programs.
    adopted : tuple of type
        The classes of other libraries that count as cells.
    """

    adopted: ClassVar[tuple[type, ...]] = ()
    kind: ClassVar[str] = "state"
    may_be_lent: ClassVar[bool] = False
    """Whether a plain JAX transformation may write it that puts something else there afterwards."""
    handle: Handle

    if TYPE_CHECKING:

        @property
        def value(self) -> Any:
            """What it holds here; reading and writing it is what captures see."""
            ...

        @value.setter
        def value(self, value: Any) -> None: ...

        @property
        def losses(self) -> Iterable[Any]:
            """The places in which something else stands now, and since when."""
            ...

        def describe(self) -> str:
            """Return what error messages call it."""
            ...

        def peek(self) -> Any:
            """Return what it holds, without anybody noticing."""
            ...

        def note_touch(self, written: bool) -> None:
            """Tell who runs transformations as plain Python that a program reads or writes it."""
            ...

        def accept(self, value: Any) -> None:
            """Take a new value from a finished program."""
            ...

        def check_writable(self, value: Any) -> None:
            """Raise if it cannot take a value where we are."""
            ...

        def is_leaked(self, value: Any) -> bool:
            """Whether a value holds what only exists in a trace that is not the cell's."""
            ...

        def without_value(self) -> TraceContextError:
            """Return the error of reading it after the trace that it was created in."""
            ...


class Handle:
    """What a captured program knows of a State: a light name that does not keep it alive.

    Inside ``vmap`` a batched State is seen one lane at a time: that view is a handle of its own,
    with ``outer`` the handle it is a view of.

    Attributes
    ----------
    name : str
        What graphs call the State.
    kind : str
        What it was declared as.
    reference : weakref.ref
        The way to the State.
    """

    __slots__ = ("__weakref__", "kind", "name", "outer", "reference")

    def __init__(self, state: Cell, outer: Handle | None = None) -> None:
        self.reference = weakref.ref(state)
        self.outer = outer
        self.name, self.kind = type(state).__name__, type(state).kind

    @property
    def state(self) -> Cell:
        """The State itself.

        Raises
        ------
        TraceContextError
            If it was garbage collected.
        """
        state = self.reference()
        if state is None:
            raise TraceContextError("a State that a compiled function uses no longer exists")
        return state

    @property
    def alive(self) -> bool:
        """Whether the State still exists."""
        return self.reference() is not None


def reject_states(what: str, tree: Any) -> None:
    """Raise if a pytree of arguments or results contains a State.

    Raises
    ------
    ValueError
        Naming the State and where it stands.
    """
    for leaf in jax.tree.leaves(tree, is_leaf=lambda x: isinstance(x, Cell)):
        if isinstance(leaf, Cell):
            raise ValueError(
                f"{what} cannot be an instance of State, but {leaf.describe()} is one of them. "
                "Transformed functions see States by themselves: refer to it in the function, "
                "or pass its .value."
            )
