"""The arguments of a compiled function: which are Python values, and which may be overwritten."""

from __future__ import annotations

import inspect
import operator
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
        static_argnums: int | Iterable[int] | None = None,
        static_argnames: str | Iterable[str] | None = None,
        donate_argnums: int | Iterable[int] | None = None,
        donate_argnames: str | Iterable[str] | None = None,
    ) -> None:
        numbers = _argument_numbers("static_argnums", static_argnums, fun)
        names = _argument_names("static_argnames", static_argnames, fun)
        donated = _argument_names("donate_argnames", donate_argnames, fun)
        parameters = _parameters(fun)
        places = {p.name: i for i, p in enumerate(parameters or ()) if p.kind in _BY_POSITION}
        self.static = frozenset((*numbers, *(places[name] for name in names if name in places)))
        self.names = frozenset((*names, *(name for name, i in places.items() if i in numbers)))
        self._fun, self._numbers, self._static_names = fun, numbers, names
        self._donate, self._donate_names = (
            _argument_numbers("donate_argnums", donate_argnums, fun),
            donated,
        )
        self._donated_places = {*self._donate, *(places[n] for n in donated if n in places)}

    def __bool__(self) -> bool:
        """Whether any argument is static."""
        return bool(self.static or self.names)

    def of_method(self, method: Callable[..., Any]) -> Arguments:
        """Return what is so for a method that the function was bound as: it has one less."""
        numbers, donate = ([i - 1 for i in old if i] for old in (self._numbers, self._donate))
        return Arguments(method, numbers, self._static_names, donate, self._donate_names)

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

    def donated(self, count: int, names: Iterable[str] = ()) -> tuple[int | str, ...]:
        """Return which dynamic ones of ``count`` positional and some named arguments are donated.

        Those given by position are numbered without the static ones.
        """
        dynamic = [i for i in range(count) if i not in self.static]
        places = (dynamic.index(i) for i in sorted(self._donated_places) if i in dynamic)
        return *places, *(name for name in names if name in self._donate_names)


def _parameters(fun: Callable[..., Any]) -> list[inspect.Parameter] | None:
    try:
        return list(inspect.signature(fun).parameters.values())
    except (TypeError, ValueError):
        return None


def _argument_names(
    what: str, given: str | Iterable[str] | None, fun: Callable[..., Any]
) -> tuple[str, ...]:
    """Return argument names as a tuple.

    Raises
    ------
    TypeError
        If one is not a string.
    ValueError
        If the function has no such argument.
    """
    names = () if given is None else (given,) if isinstance(given, str) else tuple(given)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"{what} are names, not {name!r}")
    parameters = _parameters(fun)
    if parameters is None or any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        return names
    known = [p.name for p in parameters]
    for name in names:
        if name not in known:
            raise ValueError(
                f"{what} names {name!r}, but {name_of(fun)} has arguments {', '.join(known)}"
            )
    return names


def _argument_numbers(
    what: str, given: int | Iterable[int] | None, fun: Callable[..., Any]
) -> tuple[int, ...]:
    """Return argument numbers as a tuple.

    Raises
    ------
    ValueError
        If the function has no such argument.
    """
    if given is None:
        return ()
    several = given if isinstance(given, Iterable) else (given,)
    numbers = tuple(map(operator.index, several))
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
