"""What mappings say of States: filters and names of States as the treatment of them in lanes."""

from __future__ import annotations

import functools
import operator
import warnings
import weakref
from collections.abc import Callable, Mapping
from typing import Any, cast

import jax

from ..capture import Cell
from ..errors import BatchAxisError
from ..filter import Filter, Predicate, to_predicate
from ..state import State
from .lane_states import Axes, Leaving, Mark, Treatment, Written
from .lanes import Lanes, Prefix


def _is_shared(path: Any, state: Any) -> bool:
    return state.kind == "nonbatch"


UNBATCHED = (_is_shared, "INIT_NO_BATCHING")
"""A filter: States of which there is one for all lanes, whoever creates them."""


def kept(
    axes: Mapping[Any, Filter], state_tag: str | None = None, excluded: Filter = None
) -> Callable[[State[Any]], Leaving]:
    """Return what says where a new State has its lanes, and gives it a label.

    Parameters
    ----------
    axes : mapping
        From each axis to what is there; the first that fits counts.
    state_tag : str, optional
        The label.
    excluded : filter
        States that get no lanes: they are kept if all lanes leave them alike.
    """
    leave_out, unbatched = to_predicate(excluded), to_predicate(UNBATCHED)
    groups = [(axis, _predicate(group)) for axis, group in axes.items()]

    def born(state: State[Any]) -> Leaving:
        if leave_out((), state):
            return Mark.OPEN
        if state_tag is not None:
            state.add_tag(state_tag)
        if unbatched((), state):
            return None
        return next((axis for axis, fits in groups if fits((), state)), Mark.LOCAL)

    return born


def by_filters(entering: Any, leaving: Any, policy: str) -> Treatment:
    """Return the treatment of States that filters choose, others by a policy."""
    if policy not in ("auto", "raise", "warn", "ignore"):
        raise ValueError(
            f"unexpected_out_state_mapping is 'auto', 'raise', 'warn' or 'ignore', not {policy!r}"
        )
    ways = [
        [(axis, _predicate(group)) for axis, group in _by_axis(given).items()]
        for given in (entering, leaving)
    ]
    undeclared = None if policy == "raise" else Axes(None, Mark.OPEN)
    nowhere = Mark.LOCAL  # no group has it

    def choose(state: State[Any]) -> Axes | None:
        into, out = (
            next((axis for axis, fits in groups if fits((), state)), nowhere) for groups in ways
        )
        if isinstance(into, int):
            if isinstance(out, int) and out != into:
                raise BatchAxisError(
                    f"{state.describe()} has its lanes at axis {into} in state_in_axes but at axis "
                    f"{out} in state_out_axes"
                )
            return Axes(into, into)
        return undeclared if out is nowhere else Axes(None, out)

    return Treatment(choose=choose, settle=_Policy(policy).settle)


class _Policy:
    """What becomes of a State that nobody declared and that lanes leave different."""

    def __init__(self, policy: str) -> None:
        self.policy = policy
        self.told: weakref.WeakSet[State[Any]] = weakref.WeakSet()

    def settle(self, written: Written) -> Axes:
        """Return the axes of a State."""
        if not written.differs:
            return Axes(None, None)
        if self.policy == "auto" and written.fits:
            return Axes(0, 0)
        state = written.state
        tell = self.policy == "warn"
        if self.policy == "auto" and written.used and state not in self.told:
            self.told.add(state)
            tell = True
        if tell:
            warnings.warn(
                f"{state.describe()} is left with another value by each lane, but is not in "
                "state_out_axes: it gets an axis of lanes in front. Declare it, or choose "
                "unexpected_out_state_mapping='ignore'",
                stacklevel=2,
            )
        return Axes(None, 0)


def is_by_axis(given: Any) -> bool:
    """Whether it is said for each axis what is there."""
    axes = isinstance(given, Mapping) and all(k is None or isinstance(k, int) for k in given)
    return axes and bool(given)


def _by_axis(given: Any) -> Mapping[int | None, Any]:
    return given if is_by_axis(given) else {0: given}


def _predicate(group: Any) -> Predicate:
    """Return a predicate of a filter, a State, or a collection of both."""
    if isinstance(group, Cell):
        return lambda path, state: state is group
    if isinstance(group, Mapping):
        group = list(group.values())
    if isinstance(group, list | tuple):
        parts = list(map(_predicate, group))
        return lambda path, state: any(part(path, state) for part in parts)
    return to_predicate(group)


def state_axes(what: str, given: Any) -> dict[State[Any], int]:
    """Return where each State that was named has its lanes."""
    if given is None:
        return {}
    groups = given.items() if is_by_axis(given) and None not in given else [(0, given)]
    axes: dict[State[Any], int] = {}
    for axis, tree in groups:
        for leaf in jax.tree.leaves(tree, is_leaf=lambda x: isinstance(x, Cell)):
            if not isinstance(leaf, Cell):
                raise TypeError(f"{what} holds {leaf!r}, which is not a State")
            if axes.setdefault(cast(State[Any], leaf), axis) != axis:
                raise BatchAxisError(f"{leaf.describe()} stands in {what} with two axes")
    return axes


def axes_of(in_axes: Prefix) -> Prefix:
    return tuple(in_axes) if isinstance(in_axes, list) else in_axes


def check_lanes(what: str, size: Any) -> None:
    """Refuse what is not a number of lanes.

    Raises
    ------
    ValueError
        If it is not a positive integer.
    """
    if isinstance(size, bool) or not hasattr(size, "__index__") or operator.index(size) < 1:
        raise ValueError(f"{what} is a positive integer, not {size!r}")


def by_position(lanes: Lanes) -> Callable[..., Any]:
    """Return a function of a mapping that takes no keyword arguments."""

    @functools.wraps(lanes.fn, updated=())
    def mapped(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            raise NotImplementedError(
                f"a function returned by {lanes.what} takes no keyword arguments: pass them by "
                "position"
            )
        return lanes(*args)

    return mapped
