"""Modules that are described before they can be made."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

__all__ = ["ParamDescriber"]

M = TypeVar("M")


class ParamDescriber(Generic[M]):
    """A class and some of its arguments; a call with the others makes an object.

    Modules give one with ``desc``. `Sequential` takes them as layers, and tells each its
    ``in_size``.

    Parameters
    ----------
    cls : type
        The class.
    *args, **kwargs
        Arguments, which stand before those of the call; a keyword of the call counts more.

    Examples
    --------
    >>> import brainir
    >>> narrow = brainir.nn.Linear.desc(out_size=2)
    >>> narrow
    ParamDescriber(Linear(out_size=2))
    >>> narrow(in_size=5).in_size, narrow(in_size=7).in_size
    ((5,), (7,))
    """

    def __init__(self, cls: type[M], *args: Any, **kwargs: Any):
        self.cls = cls
        self.args = args
        self.kwargs = kwargs

    def __call__(self, *args: Any, **kwargs: Any) -> M:
        """Make an object, with more arguments."""
        return self.cls(*self.args, *args, **{**self.kwargs, **kwargs})

    def init(self, *args: Any, **kwargs: Any) -> M:
        """Make an object, with more arguments."""
        return self(*args, **kwargs)

    @property
    def identifier(self) -> tuple[type[M], tuple[Any, ...], dict[str, Any]]:
        """The class and the arguments."""
        return self.cls, self.args, self.kwargs

    def __repr__(self) -> str:
        keywords = (f"{name}={value!r}" for name, value in self.kwargs.items())
        return (
            f"ParamDescriber({self.cls.__name__}({', '.join([*map(repr, self.args), *keywords])}))"
        )
