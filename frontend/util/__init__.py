"""Helpers: filters, frozen classes and dictionaries, nested dictionaries, and how objects print."""

from .. import filter
from ..filter import (
    All,
    Any,
    Everything,
    Not,
    Nothing,
    OfType,
    PathContains,
    WithTag,
    to_predicate,
)
from ..state import DictManager, FlattedDict, NestedDict
from . import mappings, others, struct
from .mappings import *  # noqa: F403
from .others import *  # noqa: F403
from .struct import *  # noqa: F403

__all__ = [
    "All",
    "Any",
    "DictManager",
    "Everything",
    "FlattedDict",
    "NestedDict",
    "Not",
    "Nothing",
    "OfType",
    "PathContains",
    "WithTag",
    "filter",
    "struct",
    "to_predicate",
]
__all__ += mappings.__all__
__all__ += others.__all__
__all__ += struct.__all__
