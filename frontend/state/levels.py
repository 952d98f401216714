"""How far inside a State counts as created, for who records which States a block touches."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cell import Facts

__all__ = ["Levelled"]


class Levelled:
    """An object that was created at some level of captures and recorders."""

    facts: Facts

    @property
    def stack_level(self) -> int:
        """How many captures and recorders were under way where the State was created.

        A `StateTraceStack` passes over the States that were created while it was active. One whose
        level has been decreased counts as one that was there before, and one whose level has been
        increased as one that was created inside.
        """
        return self.facts.level

    def increase_stack_level(self) -> None:
        """Count the State as created one level further inside: one more recorder passes over it.

        Examples
        --------
        >>> import brainir
        >>> scratch, total = brainir.State(0.0), brainir.State(0.0)
        >>> scratch.increase_stack_level()
        >>> with brainir.StateTraceStack() as trace:
        ...     scratch.value = 2.0
        ...     total.value += scratch.value
        >>> trace.states == [total]
        True
        """
        self.facts.level += 1
        self.facts.raised += 1

    def decrease_stack_level(self) -> None:
        """Count the State as created one level further outside; the outermost level is 0."""
        if self.facts.level:
            self.facts.level -= 1
            self.facts.raised -= 1
