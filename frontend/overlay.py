"""Members that stand in the place of others for a while, on classes and modules of other people."""

from __future__ import annotations

from typing import Any

__all__ = ["Overlay"]

_absent = object()


class Overlay:
    """What stands for something else at present, and what to put back."""

    def __init__(self) -> None:
        self._before: list[tuple[Any, str, Any]] = []

    def put(self, owner: Any, name: str, member: Any) -> None:
        """Give a class or module another member of a name."""
        self._before.append((owner, name, vars(owner).get(name, _absent)))
        setattr(owner, name, member)

    def take_off(self) -> None:
        """Let everything be as it was, the last member first."""
        while self._before:
            owner, name, member = self._before.pop()
            if member is _absent:
                delattr(owner, name)
            else:
                setattr(owner, name, member)
