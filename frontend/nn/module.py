"""Modules: objects that hold states and other modules."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np

from ..filter import Filter
from ..graph import treefy_states
from ..mixin import ParamDesc
from ..state import (
    FlattedDict,
    NewStateCatcher,
    ParamState,
    State,
    catch_new_states,
    epoch,
    render,
    tree,
)
from ..typing import Size

if TYPE_CHECKING:
    from .parameters.param import Param

__all__ = ["Module", "as_size"]

_MISSING = object()


class Module(tree.Node, ParamDesc):
    """A part of a model: an object whose attributes may be states, modules, and containers of them.

    Lists, tuples and dictionaries among the attributes are looked into. A state or module that is
    shared counts once, under the first of its paths (attributes in alphabetical order); a module
    may even hold itself. A subclass defines ``update``, which a call of the module runs, and, where
    it has states, ``init_state`` and ``reset_state``.

    Assigning to an attribute that held states tells the compiled functions that use these states:
    they trace again at their next call.

    Parameters
    ----------
    name : str, optional
        A name for people to read; it cannot be changed later.

    Raises
    ------
    AssertionError
        If `name` is not a string.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> class Accumulator(brainir.nn.Module):
    ...     def init_state(self):
    ...         self.total = brainir.State(jnp.zeros(()))
    ...     def update(self, x):
    ...         self.total.value += x
    ...         return self.total.value
    >>> accumulator = brainir.nn.init_all_states(Accumulator())
    >>> float(accumulator(2.0)), float(accumulator(3.0))
    (2.0, 5.0)
    >>> accumulator
    Accumulator(
      total=State(
        value=float32[]
      )
    )
    """

    _name: str | None = None
    _in_size: tuple[int, ...] | None = None
    _out_size: tuple[int, ...] | None = None

    def __init__(self, name: str | None = None):
        if name is not None and not isinstance(name, str):
            raise AssertionError(f"name must be a string, not {type(name).__name__}: {name!r}")
        self._name = name

    @property
    def name(self) -> str | None:
        """The name given at construction."""
        return self._name

    @property
    def in_size(self) -> tuple[int, ...] | None:
        """The shape of one input, without batch axes; an integer ``n`` is stored as ``(n,)``."""
        return self._in_size

    @in_size.setter
    def in_size(self, size: Size) -> None:
        self._in_size = self._checked_size("in_size", size)

    @property
    def out_size(self) -> tuple[int, ...] | None:
        """The shape of one output, without batch axes; an integer ``n`` is stored as ``(n,)``."""
        return self._out_size

    @out_size.setter
    def out_size(self, size: Size) -> None:
        self._out_size = self._checked_size("out_size", size)

    def _checked_size(self, attribute: str, size: object) -> tuple[int, ...]:
        checked = as_size(size)
        if checked is None:
            raise AssertionError(
                f"{type(self).__name__}.{attribute} must be a non-negative integer, or a tuple or "
                f"list of them, not {size!r}"
            )
        return checked

    if not TYPE_CHECKING:  # a type checker would take every attribute for granted

        def __getattr__(self, name: str) -> Any:
            """Tell who reads a State before ``init_state`` has made it what to do."""
            if hasattr(type(self), name):  # a property, which failed with an error of its own
                return object.__getattribute__(self, name)
            message = f"{type(self).__name__!r} object has no attribute {name!r}"
            if type(self).init_state is not Module.init_state:
                message += (
                    "; if its init_state() makes it, call brainir.nn.init_all_states(model) first"
                )
            raise AttributeError(message, name=name, obj=self)

    def update(self, *args: Any, **kwargs: Any) -> Any:
        """Run the module; a subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__} does not define update()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run ``update``."""
        return self.update(*args, **kwargs)

    def __rrshift__(self, inputs: Any) -> Any:
        """Run the module on what stands before ``>>``.

        A Quantity there is taken over by brainunit, which passes the module its bare numbers: call
        the module instead.
        """
        return self(inputs)

    __array_ufunc__ = None  # numpy arrays leave `>>` to this class, too

    def init_state(self, *args: Any, **kwargs: Any) -> None:
        """Create the states of this module, not of its parts; see ``init_all_states``."""

    def reset_state(self, *args: Any, **kwargs: Any) -> None:
        """Give the states of this module their first values; see ``reset_all_states``."""

    def init_all_states(
        self, *args: Any, state_tag: str | None = None, **kwargs: Any
    ) -> NewStateCatcher:
        """Call ``init_state`` on this module and its parts, and return the States this has made.

        Parameters
        ----------
        *args, **kwargs
            As for :func:`brainir.nn.init_all_states`.
        state_tag : str, optional
            A label that every new State gets.

        Examples
        --------
        >>> import brainir
        >>> brainir.nn.LIF(3).init_all_states(state_tag="new").states[0].tag
        {'new'}
        """
        from .collective import init_all_states

        with catch_new_states(state_tag) as caught:
            init_all_states(self, *args, **kwargs)
        return caught

    @overload
    def states(
        self, filter: Filter = ..., /, *, allowed_hierarchy: tree.Hierarchy = ...
    ) -> FlattedDict[State]: ...
    @overload
    def states(
        self,
        first: Filter,
        second: Filter,
        /,
        *more: Filter,
        allowed_hierarchy: tree.Hierarchy = ...,
    ) -> tuple[FlattedDict[State], ...]: ...
    def states(
        self, *filters: Filter, allowed_hierarchy: tree.Hierarchy = tree.EVERY_LEVEL
    ) -> FlattedDict[State] | tuple[FlattedDict[State], ...]:
        """Return the states by path, such as ``("layers", 0, "V")``.

        With one filter only the states that it chooses; with several a tuple of dictionaries, each
        state in that of the first filter that chooses it. See ``brainir.frontend.filter``.
        `allowed_hierarchy` bounds how many modules deep a state may lie: ``(0, 0)`` asks for this
        module's own states, ``(1, 1)`` for those of its direct parts; lists and dictionaries do not
        count.

        Raises
        ------
        ValueError
            If ``...`` or ``True`` stand before the last filter.
        TypeError
            If something that is not a filter is given.

        Examples
        --------
        >>> import brainir
        >>> net = brainir.nn.Sequential(brainir.nn.Linear(3, 2), brainir.nn.LIF(2))
        >>> list(brainir.nn.init_all_states(net).states())
        [('layers', 0, 'weight'), ('layers', 1, 'V')]
        >>> list(net.states(brainir.ParamState))
        [('layers', 0, 'weight')]
        """
        return tree.states(self, allowed_hierarchy).filter(*filters)

    def state_trees(self, *filters: Filter) -> Any:
        """Return the states as pytrees, in nested dictionaries: ``brainir.graph.treefy_states``.

        Examples
        --------
        >>> import brainir
        >>> brainir.nn.Linear(3, 2).state_trees()["weight"].type.__name__
        'ParamState'
        """
        return treefy_states(self, *filters)

    @overload
    def nodes(
        self, filter: Filter = ..., /, *, allowed_hierarchy: tree.Hierarchy = ...
    ) -> FlattedDict[Module]: ...
    @overload
    def nodes(
        self,
        first: Filter,
        second: Filter,
        /,
        *more: Filter,
        allowed_hierarchy: tree.Hierarchy = ...,
    ) -> tuple[FlattedDict[Module], ...]: ...
    def nodes(
        self, *filters: Filter, allowed_hierarchy: tree.Hierarchy = tree.EVERY_LEVEL
    ) -> FlattedDict[Module] | tuple[FlattedDict[Module], ...]:
        """Return the modules by path, each after its parts; this module, at path ``()``, is last.

        Filters and `allowed_hierarchy` are those of :meth:`states`; this module is at level 0.
        """
        found = cast(FlattedDict[Module], tree.nodes(self, allowed_hierarchy))
        return found.filter(*filters)

    def children(self) -> Iterator[Module]:
        """Iterate over the modules directly below this one."""
        return iter(self.nodes(allowed_hierarchy=(1, 1)).values())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Iterate over the modules directly below this one with their dotted paths."""
        return _dotted(self.nodes(allowed_hierarchy=(1, 1)))

    def modules(self, include_self: bool = True) -> Iterator[Module]:
        """Iterate over all modules, each after its parts."""
        return (module for _, module in self.named_modules(include_self=include_self))

    def named_modules(
        self, prefix: str = "", include_self: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """Iterate over all modules with their dotted paths, each after its parts."""
        lowest = 0 if include_self else 1
        return _dotted(self.nodes(allowed_hierarchy=(lowest, math.inf)), prefix)

    def parameters(self, recurse: bool = True) -> Iterator[ParamState]:
        """Iterate over the ``ParamState`` objects; without `recurse`, this module's own."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_parameters(
        self, prefix: str = "", recurse: bool = True
    ) -> Iterator[tuple[str, ParamState]]:
        """Iterate over the ``ParamState`` objects with their dotted paths."""
        hierarchy = tree.EVERY_LEVEL if recurse else (0, 0)
        found = self.states(ParamState, allowed_hierarchy=hierarchy)
        return _dotted(cast(FlattedDict[ParamState], found), prefix)

    def param_modules(
        self, allowed_hierarchy: tree.Hierarchy = tree.EVERY_LEVEL
    ) -> Iterator[Param]:
        """Iterate over the parts that are a ``Param``; see :meth:`nodes` for the levels."""
        return (parameter for _, parameter in self.named_param_modules(allowed_hierarchy))

    def named_param_modules(
        self, allowed_hierarchy: tree.Hierarchy = tree.EVERY_LEVEL
    ) -> Iterator[tuple[str, Param]]:
        """Iterate over the parts that are a ``Param`` with their dotted paths."""
        from .parameters.param import Param

        return _dotted(self.nodes(Param, allowed_hierarchy=allowed_hierarchy))

    def reg_loss(self) -> Any:
        """Return the sum of the penalties of all ``Param`` parts, 0 if there are none.

        Examples
        --------
        >>> import brainir
        >>> class Two(brainir.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.first = brainir.nn.Param(3.0, reg=brainir.nn.L2Reg(0.5))
        ...         self.second = [brainir.nn.Param(1.0), self.first]
        >>> float(Two().reg_loss()) == float(Two().first.reg_loss())
        True
        """
        return sum((parameter.reg_loss() for parameter in self.param_modules()), start=0.0)

    @contextmanager
    def param_precompute(
        self, allowed_hierarchy: tree.Hierarchy = tree.EVERY_LEVEL
    ) -> Iterator[None]:
        """Keep the values of all ``Param`` parts during a ``with`` block: see ``Param.cache``.

        Examples
        --------
        >>> import brainir
        >>> model = brainir.nn.Param(2.0, t=brainir.nn.ExpT(0.0))
        >>> with model.param_precompute():
        ...     model.cache_stats["valid"]
        True
        >>> model.cache_stats["valid"]
        False
        """
        parameters = list(self.param_modules(allowed_hierarchy))
        try:
            for parameter in parameters:
                parameter.cache()
            yield
        finally:
            for parameter in parameters:
                parameter.clear_cache()

    def __setattr__(self, name: str, value: Any) -> None:
        old = self.__dict__.get(name, _MISSING)
        super().__setattr__(name, value)
        if value is not old and tree.is_holder(value):
            _attach(value, self, name)
            if old is None:
                epoch.count += 1  # what was traced without it looks again
        if old is not value and tree.is_holder(old):
            _detach(old, value, self, name)

    def __delattr__(self, name: str) -> None:
        old = self.__dict__.get(name, _MISSING)
        super().__delattr__(name)
        if tree.is_holder(old):
            _detach(old, None, self, name)

    def __rich_repr__(self) -> Iterator[tuple[str, object]]:
        """Yield what is shown of the module: name, sizes, then the attributes in order of birth."""
        first = ("_name", "_in_size", "_out_size")
        attributes = vars(self)
        apart = (*first, tree.COMPILED_METHODS)
        for key in (*first, *(key for key in attributes if key not in apart)):
            if attributes.get(key) is not None:
                yield key.lstrip("_"), attributes[key]

    def __repr__(self) -> str:
        return render(self)


def _attach(value: object, module: Module, attribute: str) -> None:
    """Tell the states of an attribute's new value that a model holds them, and where."""
    hint = f"{type(module).__name__}.{attribute}"
    for path, state, _ in tree.iterate(value):
        if isinstance(state, State):
            state.suggest_name(hint + "".join(f"[{key!r}]" for key in path))
            state.note_return(module, attribute)


def _detach(old: object, new: object, module: Module, attribute: str) -> None:
    """Tell the states of an attribute's old value that are not in the new one."""
    kept = {id(item) for _, item, _ in tree.iterate(new)}
    for _, state, _ in tree.iterate(old):
        if isinstance(state, State) and id(state) not in kept:
            state.note_loss(module, attribute)


def _dotted(found: FlattedDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for path, item in found.items():
        keys = (prefix, *path) if prefix else path
        yield ".".join(map(str, keys)), item


def as_size(size: object) -> tuple[int, ...] | None:
    """Return a size as a tuple of integers, or None if it is not one."""
    elements = size if isinstance(size, list | tuple) else (size,)
    if not all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in elements):
        return None
    checked = tuple(operator.index(cast(int, n)) for n in elements)
    return checked if all(n >= 0 for n in checked) else None
