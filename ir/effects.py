"""What a node or region reads and writes, derived from the ops inside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .graph import Graph, Node
from .op import Effect
from .types import StateVar


@dataclass(frozen=True, slots=True)
class Touched:
    """States that are read and written, each in order of first touch; ``io`` for host effects.

    States created inside are left out: nobody outside can see them.
    """

    reads: tuple[StateVar, ...]
    writes: tuple[StateVar, ...]
    io: bool

    @property
    def states(self) -> tuple[StateVar, ...]:
        """All states touched, in order of first touch as far as reads and writes tell."""
        return tuple(dict.fromkeys((*self.reads, *self.writes)))

    @property
    def pure(self) -> bool:
        """Whether nothing outside is touched."""
        return not (self.reads or self.writes or self.io)


def touched_by(*graphs: Graph) -> Touched:
    """Return what graphs touch outside themselves, regions included."""
    return _touched(node for graph in graphs for node in graph.nodes)


def touched_by_node(node: Node) -> Touched:
    """Return what one node touches, regions included."""
    return _touched([node])


def is_pure(node: Node) -> bool:
    """Whether a node has no effect at all: it may be dropped, repeated or moved."""
    if node.op.effects:
        return False
    return not node.regions or touched_by_node(node).pure


def _touched(nodes: Iterable[Node]) -> Touched:
    reads: dict[StateVar, None] = {}
    writes: dict[StateVar, None] = {}
    created: set[StateVar] = set()
    io = False
    stack = list(nodes)[::-1]
    while stack:
        node = stack.pop()
        effects = node.op.effects
        if Effect.READ in effects:
            reads.setdefault(node.attrs["state"])
        if Effect.WRITE in effects:
            writes.setdefault(node.attrs["state"])
        if Effect.NEW in effects:
            created.add(node.attrs["state"])
        io = io or Effect.IO in effects
        for region in reversed(node.regions):
            stack.extend(reversed(region.nodes))
    return Touched(
        tuple(s for s in reads if s not in created),
        tuple(s for s in writes if s not in created),
        io,
    )
