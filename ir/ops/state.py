"""Ops on state: create, read, write.

The backends hold the store, so these have no meaning for arrays.
"""

from __future__ import annotations

from typing import Any, NoReturn

from ..derivative import ZERO
from ..element import NO_ELEMENT
from ..op import Cost, Effect, GraphError, Weight, define
from ..types import StateVar, Type


def _infer_read(*, state: StateVar) -> tuple[Type, ...]:
    return state.types


def _infer_store(*types: Type, state: StateVar) -> tuple[Type, ...]:
    if types != state.types:
        expected, given = (", ".join(map(str, ts)) for ts in (state.types, types))
        raise GraphError(f"state @{state.name} holds {expected}, not {given}")
    return ()


def _needs_a_store(*_: Any, state: StateVar, **__: Any) -> NoReturn:
    raise GraphError(f"state @{state.name} can only be touched where a backend keeps its value")


def _cost(*_: Any) -> Cost:
    return Cost(0, 0, Weight.FREE)


def _define(name: str, doc: str, infer: Any, effect: Effect) -> None:
    define(
        name,
        doc,
        infer=infer,
        numpy=_needs_a_store,
        lax=_needs_a_store,
        batch=_needs_a_store,
        derivative=ZERO,
        effects=frozenset({effect}),
        cost=_cost,
        element=NO_ELEMENT("it touches a state"),
    )


_define(
    "state.new", "Create a state that lives as long as the graph runs.", _infer_store, Effect.NEW
)
_define("state.read", "The present value of a state.", _infer_read, Effect.READ)
_define("state.write", "Give a state a new value.", _infer_store, Effect.WRITE)
