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

    Examples
    --------
    >>> from brainir.ir import parse, touched_by
    >>> graph = parse('''graph @step(%x: f32[]) -> ()
    ...   states(@cell.V: f32[] hidden, @cell.w: f32[] param) {
    ...   %w = state.read @cell.w
    ...   %dv = mul %w, %x
    ...   state.write @cell.V, %dv
    ...   return
    ... }''')
    >>> touched = touched_by(graph)
    >>> [state.name for state in touched.reads], [state.name for state in touched.writes]
    (['cell.w'], ['cell.V'])
    >>> touched.pure
    False
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
    """Return what graphs touch outside themselves, regions included.

    Examples
    --------
    >>> from brainir.ir import parse, touched_by
    >>> graph = parse('''graph @run(%x: f32[3]) -> ()
    ...   states(@cell.V: f32[] hidden) {
    ...   for_loop over(%a = %x) {length=3} do {
    ...     state.write @cell.V, %a
    ...     yield
    ...   }
    ...   return
    ... }''')
    >>> [state.name for state in touched_by(graph).writes]
    ['cell.V']
    """
    return _touched(node for graph in graphs for node in graph.nodes)


def touched_by_node(node: Node) -> Touched:
    """Return what one node touches, regions included.

    Examples
    --------
    >>> from brainir.ir import parse, touched_by_node
    >>> graph = parse('''graph @run(%x: f32[3]) -> (f32[3])
    ...   states(@cell.V: f32[] hidden) {
    ...   for_loop over(%a = %x) {length=3} do {
    ...     state.write @cell.V, %a
    ...     yield
    ...   }
    ...   %y = neg %x
    ...   return %y
    ... }''')
    >>> [touched_by_node(node).pure for node in graph.nodes]
    [False, True]
    """
    return _touched([node])


def is_pure(node: Node) -> bool:
    """Whether a node has no effect at all: it may be dropped, repeated or moved.

    Examples
    --------
    >>> from brainir.ir import is_pure, parse
    >>> graph = parse('''graph @step(%x: f32[]) -> (f32[])
    ...   states(@cell.V: f32[] hidden) {
    ...   %y = neg %x
    ...   state.write @cell.V, %x
    ...   return %y
    ... }''')
    >>> [(node.op.name, is_pure(node)) for node in graph.nodes]
    [('neg', True), ('state.write', False)]
    """
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
