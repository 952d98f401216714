"""Putting our objects in the place of another library's, wherever it stands, and back again."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from ..overlay import Overlay

_own = __name__.partition(".")[0]


class Takeover(Overlay):
    """What stands for something of another library at present, and what to put back.

    Attributes
    ----------
    active : bool
        Whether ours stand for theirs. A stand-in that somebody still holds afterwards is theirs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.active = True

    def standing_in(self, theirs: Callable[..., Any], ours: Callable[..., Any]) -> Any:
        """Return a function that is ours as long as this lasts, and theirs after that."""

        @functools.wraps(ours)
        def stand_in(*args: Any, **kwargs: Any) -> Any:
            return (ours if self.active else theirs)(*args, **kwargs)

        return stand_in

    def replace(self, pairs: Mapping[Any, Any]) -> None:
        """Put objects in the place of others in every module that was imported so far.

        A module that holds one of these as a global under whatever name gets the other.
        """
        wanted = {id(theirs): ours for theirs, ours in pairs.items()}
        for module in list(sys.modules.values()):
            if isinstance(module, ModuleType) and not _is_ours(module):
                for name, item in list(vars(module).items()):
                    if id(item) in wanted:
                        self.put(module, name, wanted[id(item)])

    def give_back(self) -> None:
        """Put everything back."""
        self.active = False
        self.take_off()


def _is_ours(module: ModuleType) -> bool:
    return module.__name__.partition(".")[0] == _own
