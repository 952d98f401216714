"""Which States of a program may stand in one array between its calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

from ..program import Program
from ..state import Pack, State, may_stand, pack_of


def apart(program: Program) -> set[int] | None:
    """Return the slots of States that do not stand in packs; None if none does.

    In a pack stand States of one array each, whose type and structure stay as they are, and which
    are not spread over devices. What talks to the host, is checked, or is differentiated by
    somebody else has none.
    """
    if program.foreign or program.checks or program.has_io:
        return None
    uses = Counter(slot.handle for slot in program.slots)
    return {
        i
        for i, slot in enumerate(program.slots)
        if uses[slot.handle] > 1
        or not slot.final
        or slot.in_place
        or slot.homes
        or slot.before.tree != slot.after.tree
        or not slot.before.same_types(slot.after)
        or not may_stand(slot.handle.state)
    }


def pack_for(program: Program, inside: Sequence[int]) -> Pack:
    """Return the pack of the States of some slots."""
    slots = [program.slots[i] for i in inside]
    states = [cast(State[Any], slot.handle.state) for slot in slots]
    return pack_of(states, [slot.before for slot in slots])
