"""What classes of models are mixed with: modes, types that are several at once, and descriptions.

Examples
--------
>>> import brainir
>>> from brainir.mixin import Batching, JointMode, Training
>>> mode = JointMode(Batching(16), Training())
>>> mode.has(Training), mode.batch_size
(True, 16)
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

__all__ = [
    "Batching",
    "JointMode",
    "JointTypes",
    "Mixin",
    "Mode",
    "OneOfTypes",
    "ParamDesc",
    "ParamDescriber",
    "Training",
]

T = TypeVar("T")


class Mixin:
    """The base of classes that others are mixed with.

    Examples
    --------
    >>> from brainir import mixin, nn
    >>> class Named(mixin.Mixin):
    ...     def title(self):
    ...         return type(self).__name__.lower()
    >>> class Layer(Named, nn.Linear):
    ...     pass
    >>> Layer(2, 1).title()
    'layer'
    """


# --- descriptions ---------------------------------------------------------------------------------


class ParamDesc(Mixin):
    """A class of which an object can be described now and made later; see :meth:`desc`.

    Examples
    --------
    >>> from brainir import mixin, nn
    >>> class Cell(nn.Module, mixin.ParamDesc):
    ...     def __init__(self, size, gain=1.0):
    ...         super().__init__()
    ...         self.size, self.gain = size, gain
    >>> later = Cell.desc(gain=2.0)
    >>> cell = later(3)
    >>> cell.size, cell.gain
    (3, 2.0)
    """

    @classmethod
    def desc(cls, *args: Any, **kwargs: Any) -> ParamDescriber[Any]:
        """Describe an object of this class: what it is to be made with.

        Returns
        -------
        ParamDescriber
            Calling it makes an object; further arguments follow, and further keywords win.

        Examples
        --------
        >>> import brainir
        >>> layer = brainir.nn.Linear.desc(out_size=2)
        >>> layer(3).weight.value["weight"].shape
        (3, 2)
        """
        return ParamDescriber(cls, *args, **kwargs)


class _DescriberType(type):
    """Lets ``isinstance(x, ParamDescriber[cls])`` ask what `x` describes."""

    def __getitem__(cls, described: type) -> _DescriberOf:
        return _DescriberOf(described)


class ParamDescriber(Generic[T], metaclass=_DescriberType):
    """An object to be made later: its class, and what to make it with.

    Parameters
    ----------
    cls : callable
        The class.
    *args, **kwargs
        What to call it with.

    Raises
    ------
    TypeError
        If `cls` is not callable.

    Examples
    --------
    >>> from brainir import mixin, nn
    >>> later = mixin.ParamDescriber(nn.Linear, out_size=3)
    >>> later(2).weight.value["weight"].shape
    (2, 3)
    """

    def __init__(self, cls: Any, *args: Any, **kwargs: Any) -> None:
        if not callable(cls):
            raise TypeError(f"a class is described, not {cls!r}")
        self.cls: Any = cls
        self.args, self.kwargs = args, kwargs

    def __call__(self, *args: Any, **kwargs: Any) -> T:
        """Make an object; these arguments follow the described ones, and these keywords win."""
        return self.cls(*self.args, *args, **{**self.kwargs, **kwargs})

    def init(self, *args: Any, **kwargs: Any) -> T:
        """Make an object, as a call does."""
        return self(*args, **kwargs)

    @property
    def identifier(self) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        """What tells this description from others: the class, the arguments and the keywords."""
        return self.cls, self.args, self.kwargs

    def __repr__(self) -> str:
        parts = [*map(repr, self.args), *(f"{k}={v!r}" for k, v in self.kwargs.items())]
        return f"ParamDescriber({getattr(self.cls, '__name__', self.cls)}({', '.join(parts)}))"


class _DescriberOf:
    """Descriptions of objects of one class, as a type."""

    def __init__(self, described: type) -> None:
        self._described = described

    def __instancecheck__(self, thing: Any) -> bool:
        cls = getattr(thing, "cls", None)
        fits = isinstance(cls, type) and issubclass(cls, self._described)
        return isinstance(thing, ParamDescriber) and fits

    def __repr__(self) -> str:
        return f"ParamDescriber[{self._described.__name__}]"


# --- types ----------------------------------------------------------------------------------------


class _Alias:
    """Several types as one. Two of the same kind and the same types, in any order, are equal."""

    kind = ""
    every = True

    def __init__(self, types: tuple[Any, ...]) -> None:
        self.types = types
        self.__args__ = types

    def __instancecheck__(self, thing: Any) -> bool:
        found = (thing is None if t is None else isinstance(thing, t) for t in self.types)
        return all(found) if self.every else any(found)

    def __subclasscheck__(self, cls: Any) -> bool:
        found = (t is not None and issubclass(cls, t) for t in self.types)
        return all(found) if self.every else any(found)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and set(self.types) == set(other.types)  # pyright: ignore

    def __hash__(self) -> int:
        return hash((self.kind, frozenset(self.types)))

    def __repr__(self) -> str:
        names = (getattr(t, "__qualname__", repr(t)) for t in self.types)
        return f"{self.kind}[{', '.join(names)}]"


class _Joint(_Alias):
    kind = "JointTypes"


class _OneOf(_Alias):
    kind, every = "OneOfTypes", False


class _Joining:
    """What makes one type of several, called or in brackets."""

    def __init__(self, alias: type[_Alias], meaning: str) -> None:
        self._alias, self.__doc__ = alias, meaning

    def __call__(self, *types: Any) -> Any:
        flat: dict[Any, None] = {}
        for part in types:
            if not (part is None or isinstance(part, type | _Alias)):
                raise TypeError(f"{self!r} is made of classes, and {part!r} is none")
            same = isinstance(part, _Alias) and type(part) is self._alias
            flat.update(dict.fromkeys(part.types if same else (part,)))  # pyright: ignore
        if not flat:
            raise TypeError(f"{self!r} is made of at least one class")
        return next(iter(flat)) if len(flat) == 1 else self._alias(tuple(flat))

    def __getitem__(self, types: Any) -> Any:
        return self(*types) if isinstance(types, tuple) else self(types)

    def __repr__(self) -> str:
        return self._alias.kind


JointTypes: Any = _Joining(_Joint, "The type of what is an instance of each of some classes.")
"""``isinstance(x, JointTypes[A, B])`` is whether `x` is both an `A` and a `B`."""

OneOfTypes: Any = _Joining(_OneOf, "The type of what is an instance of one of some classes.")
"""``isinstance(x, OneOfTypes[A, B])`` is whether `x` is an `A` or a `B`."""


# --- modes ----------------------------------------------------------------------------------------


class Mode(Mixin):
    """How a model is used. Modes with equal attributes are equal.

    Examples
    --------
    >>> from brainir import mixin
    >>> mixin.Mode() == mixin.Mode(), mixin.Mode() == mixin.Training()
    (True, False)
    """

    def is_a(self, mode: Any) -> bool:
        """Whether this is a mode of exactly that class."""
        return type(self) is mode

    def has(self, mode: Any) -> bool:
        """Whether this is a mode of that class, or one of a class made of it."""
        return isinstance(self, mode)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), frozenset(vars(self).items())))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={item!r}" for name, item in vars(self).items())
        return f"{type(self).__name__}({shown})"


class JointMode(Mode):
    """Several modes at once, whose attributes are attributes of this one.

    Parameters
    ----------
    *modes : Mode
        The modes; of those that have an attribute of one name, the first counts.

    Raises
    ------
    TypeError
        If one of them is not a mode.

    Examples
    --------
    >>> from brainir import mixin
    >>> mode = mixin.JointMode(mixin.Training(), mixin.Batching(4))
    >>> mode.has(mixin.Training), mode.batch_size
    (True, 4)
    """

    def __init__(self, *modes: Mode) -> None:
        for mode in modes:
            if not isinstance(mode, Mode):
                raise TypeError(f"a JointMode is made of modes, not of {mode!r}")
        self.modes = modes

    def has(self, mode: Any) -> bool:
        """Whether one of the modes is of that class; for `JointTypes`, each of them of some."""
        if isinstance(mode, _Joint):
            return all(map(self.has, mode.types))
        return isinstance(self, mode) or any(part.has(mode) for part in self.modes)

    def is_a(self, mode: Any) -> bool:
        """Whether the modes are of exactly these classes, one class or `JointTypes`."""
        wanted = set(mode.types) if isinstance(mode, _Joint) else {mode}
        return {type(part) for part in self.modes} == wanted

    def __getattr__(self, name: str) -> Any:
        for mode in vars(self).get("modes", ()):
            if hasattr(mode, name):
                return getattr(mode, name)
        raise AttributeError(f"none of the modes of {type(self).__name__} has {name!r}")

    def __repr__(self) -> str:
        return f"JointMode({', '.join(map(repr, self.modes))})"


class Batching(Mode):
    """That a model runs on a batch.

    Parameters
    ----------
    batch_size : int
        How many.
    batch_axis : int
        Along which axis.

    Examples
    --------
    >>> from brainir import mixin
    >>> mode = mixin.Batching(batch_size=8)
    >>> mode.batch_size, mode.batch_axis, mode == mixin.Batching(8)
    (8, 0, True)
    """

    def __init__(self, batch_size: int = 1, batch_axis: int = 0) -> None:
        self.batch_size, self.batch_axis = batch_size, batch_axis


class Training(Mode):
    """That a model is being trained.

    Examples
    --------
    >>> from brainir import environ, mixin
    >>> with environ.context(mode=mixin.Training()):
    ...     environ.get("mode").has(mixin.Training)
    True
    """
