"""What all initialisers share: how they are called, printed and combined."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import brainunit as u
import numpy as np

from ..random import DEFAULT, RandomState
from ..typing import ArrayLike, DTypeLike, Size

__all__ = ["Clipped", "Composite", "Initialization", "Initializer", "made", "to_size"]


def to_size(size: Size) -> tuple[int, ...]:
    """Return a size as a tuple: ``3`` as ``(3,)``.

    Raises
    ------
    TypeError
        If it is neither an integer nor a sequence of them.
    ValueError
        If it is a bool or any of it is negative.
    """
    if isinstance(size, bool | float | np.bool | np.floating):
        raise ValueError(f"a size is an integer or a tuple of them, got {size!r}")
    sizes = tuple(operator.index(n) for n in (size if isinstance(size, Sequence) else (size,)))
    if any(n < 0 for n in sizes):
        raise ValueError(f"a size cannot be negative, got {size!r}")
    return sizes


class Initialization:
    """Something that makes an array of a given size.

    Initialisers combine with ``+ - * /`` among each other and with numbers, arrays and, on their
    right, quantities and units; ``init | function`` (or :meth:`apply`) maps what is made. A new one
    is a dataclass that overrides ``__call__(size, *, rng, dtype)``: `rng` is the generator to draw
    from, by default ``brainir.random.DEFAULT``, and `dtype` the type of what is made, by default
    ``environ.dftype()``.

    Examples
    --------
    >>> from brainir.init import Constant
    >>> doubled = (Constant(1.0) + 2.0) * 2.0
    >>> doubled, doubled((2,)).tolist()
    (((Constant(value=1.0) + 2.0) * 2.0), [6.0, 6.0])
    """

    @property
    def uses(self) -> frozenset[str]:
        """What it may be called with, beside the size, `rng` and `dtype`."""
        return frozenset()

    def __call__(
        self, size: Size, *, rng: RandomState = DEFAULT, dtype: DTypeLike | None = None
    ) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not say what it makes")

    def __add__(self, other: Initialization | ArrayLike) -> Initialization:
        return Combined(operator.add, "+", self, other)

    def __radd__(self, other: ArrayLike) -> Initialization:
        return Combined(operator.add, "+", other, self)

    def __sub__(self, other: Initialization | ArrayLike) -> Initialization:
        return Combined(operator.sub, "-", self, other)

    def __rsub__(self, other: ArrayLike) -> Initialization:
        return Combined(operator.sub, "-", other, self)

    def __mul__(self, other: Initialization | ArrayLike) -> Initialization:
        return Combined(operator.mul, "*", self, other)

    def __rmul__(self, other: ArrayLike) -> Initialization:
        return Combined(operator.mul, "*", other, self)

    def __truediv__(self, other: Initialization | ArrayLike) -> Initialization:
        return Combined(operator.truediv, "/", self, other)

    def __rtruediv__(self, other: ArrayLike) -> Initialization:
        return Combined(operator.truediv, "/", other, self)

    def __or__(self, function: Callable[[Any], Any]) -> Initialization:
        if isinstance(function, Initialization) or not callable(function):
            raise TypeError(f"the right side of | must map values to values, got {function!r}")
        return Applied(function, self)

    def add(self, other: Initialization | ArrayLike) -> Initialization:
        """Return this initialiser plus another or a value, like ``+``.

        >>> from brainir.init import Constant
        >>> Constant(1.0).add(2.0)((2,)).tolist()
        [3.0, 3.0]
        """
        return self + other

    def multiply(self, other: Initialization | ArrayLike) -> Initialization:
        """Return this initialiser times another or a value, like ``*``.

        >>> from brainir.init import Constant
        >>> Constant(3.0).multiply(2.0)((2,)).tolist()
        [6.0, 6.0]
        """
        return self * other

    def apply(self, function: Callable[[Any], Any]) -> Initialization:
        """Return an initialiser that maps what this one makes, like ``|``.

        >>> import jax.numpy as jnp
        >>> from brainir.init import Constant
        >>> Constant(4.0).apply(jnp.sqrt)((2,)).tolist()
        [2.0, 2.0]
        """
        return self | function

    def clip(
        self, min_val: ArrayLike | None = None, max_val: ArrayLike | None = None
    ) -> Initialization:
        """Return an initialiser that keeps what this one makes between two bounds.

        >>> from brainir.init import Normal
        >>> bool((Normal(0.0, 1.0).clip(0.0)((10,)) >= 0).all())
        True
        """
        return Clipped(self, min_val, max_val)

    def __repr__(self) -> str:
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # pyright: ignore[reportArgumentType]
        given = ", ".join(f"{name}={value}" for name, value in values.items() if value is not None)
        return f"{type(self).__name__}({given})"


def made(part: Any, size: Size, options: Mapping[str, Any]) -> Any:
    """Return what a part of an initialiser makes, or the part itself if it is a value."""
    if not isinstance(part, Initialization):
        return part
    given = {k: v for k, v in options.items() if k in (*part.uses, "rng", "dtype")}
    return part(size, **given)


class Composite(Initialization):
    """An initialiser that is made of others, and hands on to each what that one uses."""

    def _parts(self) -> tuple[Any, ...]:
        return tuple(getattr(self, f.name) for f in dataclasses.fields(self))  # pyright: ignore[reportArgumentType]

    @property
    def uses(self) -> frozenset[str]:
        """What the parts may be called with, beside the size, `rng` and `dtype`."""
        parts = (part for part in self._parts() if isinstance(part, Initialization))
        return frozenset[str]().union(*(part.uses for part in parts))

    def __call__(self, size: Size, **options: Any) -> Any:
        unknown = options.keys() - self.uses - {"rng", "dtype"}
        if unknown:
            raise TypeError(f"nothing in {self} uses {', '.join(sorted(unknown))}")
        return self._make(size, options)

    def _make(self, size: Size, options: Mapping[str, Any]) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not say what it makes")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Combined(Composite):
    """Two operands, of which at least one is an initialiser, joined by an operator."""

    function: Callable[[Any, Any], Any]
    symbol: str
    left: Initialization | ArrayLike
    right: Initialization | ArrayLike

    def _make(self, size, options):
        return self.function(made(self.left, size, options), made(self.right, size, options))

    def __repr__(self) -> str:
        return f"({self.left} {self.symbol} {self.right})"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Applied(Composite):
    """A function of what another initialiser makes."""

    function: Callable[[Any], Any]
    base: Initialization

    def _make(self, size, options):
        return self.function(made(self.base, size, options))

    def __repr__(self) -> str:
        return f"{self.base}.apply({getattr(self.function, '__name__', self.function)})"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Clipped(Composite):
    """What another initialiser makes, kept between two bounds, which have its unit.

    Examples
    --------
    >>> from brainir.init import Clipped, Constant
    >>> Clipped(Constant(3.0), max_val=2.0)((2,)).tolist()
    [2.0, 2.0]
    """

    base_dist: Initialization
    min_val: ArrayLike | None = None
    max_val: ArrayLike | None = None

    def _make(self, size, options):
        return u.math.clip(made(self.base_dist, size, options), self.min_val, self.max_val)


Initializer = Initialization | ArrayLike
"""What :func:`~brainir.init.param` takes for a parameter: an initialiser, or a value."""
