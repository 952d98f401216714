"""Which states of the graph around it a region reads and writes, transformations included.

Beyond the state ops themselves, a `vmap` touches the states that it declares (its region knows them
under the name of the lane), and goes on from every random state that its lanes use.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..ir import Effect, Graph, Node, StateVar

Ordered = dict[StateVar, None]


@dataclass(frozen=True, slots=True)
class LaneStates:
    """How the body of a vmap meets its states.

    ``enter`` maps a lane state to the state outside that it starts from and the axis of its lanes,
    ``leave`` to the state outside that it ends as and the axis of its lanes there (None: the same
    for all). A lane state that only leaves starts from the state in ``shared``. Every lane gets its
    own part of the random states in ``split``.
    """

    enter: dict[StateVar, tuple[StateVar, int]] = field(default_factory=dict)
    leave: dict[StateVar, tuple[StateVar, int | None]] = field(default_factory=dict)
    shared: dict[StateVar, StateVar] = field(default_factory=dict)
    split: Ordered = field(default_factory=dict)


class TouchedStates:
    """Answers, for any region, what it touches; each region is looked at once."""

    def __init__(self) -> None:
        self._known: dict[Graph, tuple[Ordered, Ordered]] = {}
        self._lanes: dict[Node, LaneStates] = {}

    def writes(self, *regions: Graph) -> tuple[StateVar, ...]:
        """Return the states of the graph around that regions write, in order of first write."""
        return tuple(dict.fromkeys(s for region in regions for s in self._touch(region)[1]))

    def _touch(self, region: Graph) -> tuple[Ordered, Ordered]:
        if region in self._known:
            return self._known[region]
        reads: Ordered = {}
        writes: Ordered = {}
        created: Ordered = {}
        for node in region.nodes:
            effects = node.op.effects
            if Effect.READ in effects:
                reads[node.attrs["state"]] = None
            elif Effect.WRITE in effects:
                writes.setdefault(node.attrs["state"])
            elif Effect.NEW in effects:
                created[node.attrs["state"]] = None
            elif node.op.name == "vmap":
                self._touch_lanes(node, reads, writes)
            else:
                for inner in node.regions:
                    inner_reads, inner_writes = self._touch(inner)
                    reads.update(inner_reads)
                    writes.update(inner_writes)
        outside = tuple({s: None for s in found if s not in created} for found in (reads, writes))
        self._known[region] = (outside[0], outside[1])
        return self._known[region]

    def _touch_lanes(self, node: Node, reads: Ordered, writes: Ordered) -> None:
        lanes = self.lanes(node)
        inner_reads, _ = self._touch(node.regions[0])
        reads.update(
            (s, None) for s in inner_reads if s not in lanes.enter and s not in lanes.shared
        )
        reads.update((outer, None) for outer, _ in lanes.enter.values())
        reads.update((outer, None) for outer in lanes.shared.values())
        writes.update((outer, None) for outer, _ in lanes.leave.values())
        reads.update(lanes.split)
        writes.update(lanes.split)

    def lanes(self, node: Node) -> LaneStates:
        """Return how a vmap node's body meets its states."""
        if node in self._lanes:
            return self._lanes[node]
        reads, writes = self._touch(node.regions[0])
        lanes = self._lanes[node] = LaneStates()
        for outer, lane, axis in node.attrs.get("in_states", ()):
            if axis is None:
                lanes.shared[lane] = outer
                continue
            lanes.enter[lane] = outer, axis
            if lane in writes:
                lanes.leave[lane] = outer, axis
        for outer, lane, axis in node.attrs.get("out_states", ()):
            if lane not in lanes.enter:
                lanes.shared.setdefault(lane, outer)
            if lane in writes or lanes.enter.get(lane) != (outer, axis):
                lanes.leave[lane] = outer, axis
        for state in dict.fromkeys((*reads, *writes)):
            if state in lanes.enter or state in lanes.shared:
                continue
            if state.kind == "rng":
                lanes.split[state] = None
            elif state in writes:  # of checks that fail, the first lane's counts: see hoist-state
                lanes.leave[state] = state, 0 if state.kind == "check" else None
        return lanes
