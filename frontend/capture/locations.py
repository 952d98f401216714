"""Where equations come from in the user's own source."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
from typing import Any

import brainunit
from jax.extend import source_info_util

from ...ir import Loc
from .explain import HERE

# A node's location is the innermost line that is neither ours nor the unit library's.
for _library in (HERE, os.path.dirname(inspect.getfile(brainunit.Quantity))):
    source_info_util.register_exclusion(_library)


def loc_of(source_info: Any, outer: Loc | None) -> Loc | None:
    """Return the user's line of an equation, our own frames left out.

    Without one, it is where what holds the equation stands, ``outer``. Names that the user gave to
    parts of the computation follow those that were given around it.
    """
    loc = _loc_of_traceback(_ByTraceback(source_info)) or outer
    around = outer.scope if outer else ""
    names = "/".join(filter(None, (around, str(getattr(source_info, "name_stack", "")))))
    return loc if loc is None or loc.scope == names else dataclasses.replace(loc, scope=names)


class _ByTraceback:
    """Where an equation comes from, equal to others of the same frames and places in these."""

    __slots__ = ("source_info", "traceback")

    def __init__(self, source_info: Any) -> None:
        self.source_info = source_info
        self.traceback = getattr(source_info, "traceback", None) or source_info

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByTraceback) and self.traceback == other.traceback

    def __hash__(self) -> int:
        return hash(self.traceback)


@functools.lru_cache(maxsize=4096)  # an equation that is traced anew comes from the same place
def _loc_of_traceback(place: _ByTraceback) -> Loc | None:
    return parse_summary(source_info_util.summarize(place.source_info))


@functools.lru_cache(maxsize=4096)
def parse_summary(text: str) -> Loc | None:
    """Read JAX's ``file:line:column (function)``."""
    place, _, function = text.partition(" (")
    parts = place.rsplit(":", 2)
    if len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit():
        return Loc(parts[0], int(parts[1]), int(parts[2]), function.rstrip(")"))
    if len(parts) >= 2 and parts[-1].isdigit():
        return Loc(place.rsplit(":", 1)[0], int(parts[-1]), 0, function.rstrip(")"))
    return None
