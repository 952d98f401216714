"""The backends there are."""

from __future__ import annotations

from .protocol import Backend
from .reference import Reference
from .xla import Xla

BACKENDS: dict[str, Backend] = {backend.name: backend for backend in (Reference(), Xla())}
"""All backends by name. One of your own is one more line."""


def backend_named(name: str) -> Backend:
    """Return the backend of a name.

    Raises
    ------
    ValueError
        If there is none.

    Examples
    --------
    >>> backend_named("xla").traceable
    True
    """
    if name not in BACKENDS:
        raise ValueError(f"no backend is called {name!r}; there are {', '.join(BACKENDS)}")
    return BACKENDS[name]
