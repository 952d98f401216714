"""When models were changed: what compiled functions compare with when they were traced."""

from __future__ import annotations

import weakref
from typing import Any


class _Epoch:
    """Counts replacements of States anywhere, so that compiled functions know when to look."""

    count = 0


epoch = _Epoch()


class Loss:
    """That a module no longer holds a State under one of its attributes.

    Attributes
    ----------
    module : weakref.ref
        The way to the module.
    attribute : str
        Its attribute.
    epoch : int
        When, by `epoch`.
    """

    __slots__ = ("attribute", "epoch", "module")

    def __init__(self, module: Any, attribute: str) -> None:
        self.module, self.attribute = weakref.ref(module), attribute
        self.epoch = epoch.count
