"""The arguments of a compiled function: which are Python values, and which may be overwritten."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from ..capture import name_of
from ..snapshot import identity

_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Arguments:
    """What the options of `jit` say of arguments.

    A static argument is one whether it is given by position or by name, as far as the signature of
    the function tells.

    Attributes
    ----------
    static : frozenset of int
        The positions of arguments that are Python values rather than arrays.
    names : frozenset of str
        Their names.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        static_argnums: int | Iterable[int],
        static_argnames: str | Iterable[str],
        donate_argnums: int | Iterable[int],
    ) -> None:
        numbers = _argument_numbers("static_argnums", static_argnums, fun)
        names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
        parameters = _parameters(fun)
        places = {p.name: i for i, p in enumerate(parameters or ()) if p.kind in _BY_POSITION}
        self.static = frozenset((*numbers, *(places[name] for name in names if name in places)))
        self.names = frozenset((*names, *(name for name, i in places.items() if i in numbers)))
        self._fun, self._numbers, self._static_names = fun, numbers, names
        self._donate = _argument_numbers("donate_argnums", donate_argnums, fun)

    def __bool__(self) -> bool:
        """Whether any argument is static."""
        return bool(self.static or self.names)

    def of_method(self, method: Callable[..., Any]) -> Arguments:
        """Return what is so for a method that the function was bound as: it has one less."""
        numbers, donate = ([i - 1 for i in old if i] for old in (self._numbers, self._donate))
        return Arguments(method, numbers, self._static_names, donate)

    def dynamic(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what is not static."""
        if not self:
            return args, kwargs
        kept = tuple(a for i, a in enumerate(args) if i not in self.static)
        return kept, {k: v for k, v in kwargs.items() if k not in self.names}

    def static_values(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
        """Return what tells static arguments from others: values, their types, signs of zeros.

        Raises
        ------
        ValueError
            If it is not hashable.
        """
        static: list[tuple[int | str, Any]] = [
            *((i, a) for i, a in enumerate(args) if i in self.static),
            *((k, v) for k, v in sorted(kwargs.items()) if k in self.names),
        ]
        for which, value in static:
            try:
                hash(value)
            except TypeError:
                raise ValueError(
                    f"the static argument {which!r} of {name_of(self._fun)} is a "
                    f"{type(value).__name__}, which is not hashable: pass a tuple, or let it be a "
                    "dynamic argument"
                ) from None
        return tuple((which, identity(value)) for which, value in static)

    def closed(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[..., Any]:
        """Return a function of the dynamic arguments."""
        if not self:
            return self._fun
        fixed = {k: v for k, v in kwargs.items() if k in self.names}

        def function(*given: Any, **named: Any) -> Any:
            rest = iter(given)
            full = [a if i in self.static else next(rest) for i, a in enumerate(args)]
            return self._fun(*full, **named, **fixed)

        return function

    def donated(self, count: int) -> tuple[int, ...]:
        """Return which of the dynamic ones among ``count`` positional arguments are donated."""
        dynamic = [i for i in range(count) if i not in self.static]
        return tuple(dynamic.index(i) for i in self._donate if i in dynamic)


def _parameters(fun: Callable[..., Any]) -> list[inspect.Parameter] | None:
    try:
        return list(inspect.signature(fun).parameters.values())
    except (TypeError, ValueError):
        return None


def _argument_numbers(
    what: str, given: int | Iterable[int], fun: Callable[..., Any]
) -> tuple[int, ...]:
    """Return argument numbers as a tuple.

    Raises
    ------
    ValueError
        If the function has no such argument.
    """
    numbers = (given,) if isinstance(given, int) else tuple(given)
    parameters = _parameters(fun)
    if parameters is None:
        return numbers
    count = sum(p.kind in _BY_POSITION for p in parameters)
    variadic = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
    for number in numbers:
        if number < 0 or (number >= count and not variadic):
            raise ValueError(
                f"{what} names argument {number}, but {name_of(fun)} has arguments 0 to {count - 1}"
            )
    return numbers
