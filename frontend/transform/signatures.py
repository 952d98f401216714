"""The ways in which a function can be called: what tells them apart, and a capture of each."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import jax

from ...passes import Options
from ..capture import parameter_names, reject_states
from ..options import given
from ..program import Program, argument_aval, capture, is_sharded, is_wide
from ..state import in_foreign_trace
from .arguments import Arguments


class Signatures:
    """A function with static arguments, as it is captured.

    Parameters
    ----------
    fun : callable
        What is captured.
    arguments : Arguments
        Which of its arguments are static.
    name : str
        What graphs and messages call it.
    """

    def __init__(self, fun: Callable[..., Any], arguments: Arguments, name: str) -> None:
        self._fun, self._arguments, self._name = fun, arguments, name

    def key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
        """Return what tells calls apart for which the function is captured anew.

        Raises
        ------
        ValueError
            If an argument is a State, or a static one is not hashable.
        TypeError
            If a dynamic argument is not an array.
        """
        static = self._arguments.static_values(args, kwargs)
        dynamic = self._arguments.dynamic(args, kwargs)
        reject_states(f"an argument of {self._name}", dynamic)
        leaves, tree = jax.tree.flatten(dynamic)
        avals = [argument_aval(self._name, leaf) for leaf in leaves]
        shapes = tuple((a.shape, a.dtype, a.weak_type) for a in avals)
        return static, tree, shapes, in_foreign_trace(), is_wide(), is_sharded()

    def capture(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        asked: Options,
        foreign: bool | None = None,
    ) -> Program:
        """Capture the function for a way of calling it, with what is asked of the compiler."""
        closed = self._arguments.closed(args, kwargs)
        positional, named = self._arguments.dynamic(args, kwargs)
        keys = sorted(named)

        def function(*arrays: Any) -> Any:
            rest = dict(zip(keys, arrays[len(positional) :], strict=True))
            return closed(*arrays[: len(positional)], **rest)

        function.__name__ = self._name
        function.__wrapped__ = self._fun  # pyright: ignore[reportFunctionMemberAccess]
        static = self._arguments.static
        names = parameter_names(self._fun)[: len(args)]
        names = [name for i, name in enumerate(names) if i not in static]
        names += [""] * (len(positional) - len(names))
        flat = (*positional, *(named[key] for key in keys))
        with given(asked):
            return capture(function, flat, self._name, [*names, *keys], foreign=foreign)
