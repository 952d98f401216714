"""How a mapping treats States: which of them have lanes, at which axis, and what a lane sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, cast

import jax

from ...ir import Node, Value
from ...passes import lane_dependent
from ..capture import (
    Frame,
    Handle,
    LaneAxis,
    Traced,
    View,
    current_frame,
    import_traced,
    state_ref,
)
from ..errors import BatchAxisError
from ..program import optimise_graph
from ..state import State
from .binding import frame_here, with_shape


class Mark(Enum):
    """What stands for an axis where there is more to say."""

    OPEN = "as it turns out once the function was traced"
    LOCAL = "stays inside, and is gone afterwards"


Leaving = int | Mark | None


class Axes(NamedTuple):
    """Where a State has its lanes on the way in and on the way out; None: all lanes share it."""

    entering: int | None
    leaving: Leaving


class Written(NamedTuple):
    """What lanes made of a State that nobody said the axes of.

    Attributes
    ----------
    state : State
        The State.
    differs : bool
        Whether what is left depends on the lane.
    used : bool
        Whether its value at entry was used.
    fits : bool
        Whether it was, and has as many rows as there are lanes.
    rows : bool
        Whether it has as many rows as there are lanes.
    row : bool
        Whether each lane leaves something like one of them.
    """

    state: State[Any]
    differs: bool
    used: bool
    fits: bool
    rows: bool
    row: bool


def _undeclared(state: State[Any]) -> Axes | None:
    return None


def _unsettled(written: Written) -> Axes:
    return Axes(None, None)


def _local(state: State[Any]) -> Leaving:
    return Mark.LOCAL


@dataclass(frozen=True, slots=True, eq=False)
class Treatment:
    """What one member of the family of mappings does with States; the table of its doors.

    Attributes
    ----------
    named : mapping
        The axes of States that were named outright.
    choose : callable
        ``choose(state)`` gives the axes of any other State that was there before, when a lane first
        touches it. Without any, lanes share it, and may only leave it alike.
    settle : callable
        ``settle(written)`` gives the axes of a State that was chosen to leave `Mark.OPEN`.
    born : callable
        ``born(state)`` says where a State that a lane creates has its lanes afterwards.
    """

    named: Mapping[State[Any], Axes] = field(default_factory=dict)
    choose: Callable[[State[Any]], Axes | None] = _undeclared
    settle: Callable[[Written], Axes] = _unsettled
    born: Callable[[State[Any]], Leaving] = _local


@dataclass(slots=True, eq=False)
class Declared:
    """A State that a mapping has axes of, from outside and from inside a lane."""

    handle: Handle
    lane: Handle
    outside: View
    inside: View
    entering: int | None
    leaving: Leaving


class Sizes:
    """What says how many lanes there are."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.found: dict[str, int] = {}

    def add(self, source: str, size: int) -> None:
        """Note what a source says.

        Raises
        ------
        ValueError
            If others disagree.
        """
        self.found[source] = size
        if len(set(self.found.values())) > 1:
            shown = ", ".join(f"{where}: {n}" for where, n in self.found.items())
            sources = f"the sources of {self.what}'s lanes"
            raise ValueError(f"{sources} disagree about their number: {shown}")

    @property
    def known(self) -> int | None:
        """The number of lanes, if anything has told."""
        return next(iter(self.found.values()), None)

    @property
    def value(self) -> int:
        """The number of lanes.

        Raises
        ------
        ValueError
            If nothing tells.
        """
        size = self.known
        if size is None:
            raise ValueError(
                f"{self.what} needs a mapped argument, a State that has lanes, or axis_size"
            )
        return size


class Views(dict[Handle, Handle]):
    """What stands for States inside a function; more views may be made when one is touched."""

    def __init__(self) -> None:
        super().__init__()
        self.made: set[Handle] = set()

    def owner(self, handle: Handle) -> Frame | None:
        """Return the frame of the function; None for what was created in it, and for its views."""
        view: Handle | None = handle
        while view is not None:
            if view in self.made:
                return None
            view = view.outer
        here = current_frame()
        for frame in () if here is None else here.chain():
            if handle in frame.born:
                return None
            if frame.lanes is self:
                return frame
        return None


class LaneViews(Views):
    """What stands for States in a lane; those that are not named get a view when first touched."""

    def __init__(self, states: Treatment, decided: Mapping[State[Any], Axes], sizes: Sizes) -> None:
        super().__init__()
        self.states, self.decided, self.sizes = states, decided, sizes
        self.around = frame_here()
        self.declared: list[Declared] = []
        for state, axes in states.named.items():
            self._see(self.around.resolve(state.handle), axes)

    @property
    def views(self) -> dict[Handle, View]:
        """What the handles of lanes look like."""
        return {d.lane: d.inside for d in self.declared}

    def get(self, handle: Handle, default: Any = None) -> Any:
        """Return what stands for a State in a lane, or the default if it has no view of its own."""
        if handle in self:
            return self[handle]
        owner = self.owner(handle)
        state = cast(State[Any], handle.state) if owner is not None and handle.alive else None
        if owner is None or state is None or state.kind == "rng":
            return default
        axes = self.decided.get(state) or self.states.choose(state)
        if axes is None:
            return default
        if not owner.alive:
            raise BatchAxisError(
                f"{state.describe()} is touched only by the rule of a custom derivative, too late "
                f"for {self.sizes.what} to choose it by a filter: name the State itself"
            )
        found = self._see(handle, axes)
        owner.views[found.lane] = found.inside
        return found.lane

    def _see(self, handle: Handle, axes: Axes) -> Declared:
        """Make a view of a State."""
        outside = self.around.view(handle)
        name, entering = cast(State[Any], handle.state).describe(), axes.entering
        if entering is not None:
            entering = entering % max(len(outside.avals[0].shape), 1) if entering < 0 else entering
            for aval in outside.avals:
                at = normal_axis(self.sizes.what, name, axes.entering, aval.shape, 0)
                self.sizes.add(name, aval.shape[at or 0])
        lane = Handle(handle.state, outer=handle)
        inside = View(outside.tree, tuple(lane_of(a, entering) for a in outside.avals))
        found = Declared(handle, lane, outside, inside, entering, axes.leaving)
        self.declared.append(found)
        self[handle] = lane
        self.made.add(lane)
        return found


def settle_open(
    states: Treatment, lanes: LaneViews, body: Traced, axes: list[int | None], size: int
) -> dict[State[Any], Axes]:
    """Decide on the States that were left open.

    Returns
    -------
    dict
        The States that have to enter otherwise than they did, so that the function must be traced
        once more; of the others, the way out stands in `Declared` now.
    """
    written = [d for d in lanes.declared if d.lane in body.frame.written]
    still = [d for d in written if d.leaving is Mark.OPEN]
    if not still:
        return {}
    lane = _Dependence(body, lanes, axes)
    differing = lane.states()
    again: dict[State[Any], Axes] = {}
    for d in still:
        left = body.frame.views[d.lane].avals
        rows = all(a.shape[:1] == (size,) for a in d.outside.avals)
        row = rows and [a.shape for a in left] == [a.shape[1:] for a in d.outside.avals]
        state = cast(State[Any], d.handle.state)
        differs, read = d.lane in differing, d.lane in lane.used
        found = states.settle(Written(state, differs, read, rows and read, rows, row))
        if found.entering != d.entering:
            again[state] = found
        d.leaving = found.leaving
    return again


class _Dependence:
    """What a lane computes, and which of it depends on the lane."""

    def __init__(self, body: Traced, lanes: LaneViews, in_axes: list[int | None]) -> None:
        axis = body.frame.axis
        axes = {} if axis is None else {axis[0]: LaneAxis("lanes", lanes.sizes.value)}
        self._imported = import_traced(body, "lane", rules=0, axes=axes)
        self.graph = optimise_graph(self._imported.graph, until="hoist-state")
        entering = {d.lane for d in lanes.declared if d.entering is not None}
        pairs = zip(self.graph.params, in_axes, strict=True)
        seeds = [param for param, axis in pairs if axis is not None]
        self.used: set[Handle] = set()
        for node in self.graph.nodes:
            if node.op.name == "state.read":
                handle = self._handle(node)
                self.used.add(handle)
                if handle in entering or node.attrs["state"].kind == "rng":
                    seeds.extend(node.results)
        self._dependent = lane_dependent(self.graph, seeds, "lanes")

    def _handle(self, node: Node) -> Handle:
        return self._imported.handles[node.attrs["state"]]

    def states(self) -> set[Handle]:
        """Return the States that lanes leave different."""
        return {
            self._handle(node)
            for node in self.graph.nodes
            if node.op.name == "state.write"
            and any(map(self._dependent.__contains__, values_of(node)))
        }

    def results(self) -> list[bool]:
        """Tell of each result whether it differs between lanes."""
        return [result in self._dependent for result in self.graph.results]


def settle_born(
    born: list[State[Any] | None],
    born_axes: list[Leaving],
    body: Traced,
    lanes: LaneViews,
    in_axes: list[int | None],
) -> None:
    """Decide on the new States that were left open.

    One that all lanes leave alike is kept, without lanes; any other is gone, and None in its place.
    """
    if Mark.OPEN not in born_axes:
        return
    _, values = jax.tree.unflatten(body.out_tree, _Dependence(body, lanes, in_axes).results())
    for i, (axis, differs) in enumerate(zip(born_axes, values, strict=True)):
        if axis is not Mark.OPEN:
            continue
        gone = any(jax.tree.leaves(differs))
        born_axes[i] = 0 if gone else None
        if gone:
            born[i] = None


def values_of(node: Node) -> list[Value]:
    """Return the operands of a node that are no literals."""
    return [operand for operand in node.operands if isinstance(operand, Value)]


def state_attributes(lanes: LaneViews, body: Traced, size: int) -> dict[str, tuple[Any, ...]]:
    """Return the attributes that tell passes about States; note what these look like afterwards."""
    frame = lanes.around
    entering: list[Any] = []
    leaving: list[Any] = []
    for d in lanes.declared:
        # The importer leaves out what nothing touches, not even a custom rule.
        outside, inside = state_ref(d.handle, d.outside), state_ref(d.lane, d.inside)
        entering.append((outside, inside, d.entering))
        if d.lane in body.frame.written:
            inside = body.frame.views[d.lane]
            name, what = d.handle.state.describe(), lanes.sizes.what
            axis: Any = d.leaving
            for aval in inside.avals[::-1]:
                axis = normal_axis(what, name, d.leaving, aval.shape, 1)
            d.leaving = axis
            after = View(inside.tree, tuple(batched(a, axis, size) for a in inside.avals))
            leaving.append((state_ref(d.handle, after), state_ref(d.lane, inside), axis))
            frame.views[d.handle] = after
            frame.written.setdefault(d.handle, body.frame.written[d.lane])
    return {"in_states": tuple(entering), "out_states": tuple(leaving)}


def normal_axis(what: str, array: str, axis: Any, shape: tuple[int, ...], extra: int) -> int | None:
    """Return an axis counted from the front.

    Raises
    ------
    ValueError
        If the array has no such axis.
    """
    if axis is None:
        return None
    rank = len(shape) + extra
    if not -rank <= axis < rank:
        raise ValueError(f"{what} maps axis {axis} of {array}, which has only {rank} axes")
    return axis % rank


def lane_of(aval: Any, axis: int | None) -> Any:
    """Return what one lane of an array looks like."""
    return aval if axis is None else with_shape(aval, (*aval.shape[:axis], *aval.shape[axis + 1 :]))


def batched(aval: Any, axis: int | None, size: int) -> Any:
    """Return what an array looks like with lanes."""
    if axis is None:
        return aval
    return with_shape(aval, (*aval.shape[:axis], size, *aval.shape[axis:]))
