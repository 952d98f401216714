"""The pass `dead_code`: what nobody uses is not computed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..ir import (
    Builder,
    Effect,
    Graph,
    Node,
    Operand,
    Part,
    Strand,
    Value,
    fresh,
    mapped,
    part_of,
    sources,
    target,
    targets,
)

_LASTING = frozenset(Effect) - {Effect.READ}
"""Effects that somebody notices."""


def dead_code(graph: Graph) -> Graph:
    """Leave out nodes without effect whose results are not used.

    This goes inside: carries that only feed themselves, what is iterated over in vain, yields and
    results of branches that nobody asks for, arguments of calls that they do not use. Consts that
    are not used go too.

    Notes
    -----
    *before*::

        graph @f(%x: f32[3], %w: f32[3]) -> (f32[3]) {
          %y, %n, %trace = for_loop carry(%a = %x, %b = %w) {
            length=9, reverse=false, unroll=1
          } : f32[3], f32[3], f32[9,3] do {
            %c = sin %a : f32[3]
            %d = add %b, %a : f32[3]
            yield %c, %d, %d
          }
          return %y
        }

    *after*::

        graph @f(%x: f32[3], %w: f32[3]) -> (f32[3]) {
          %y = for_loop carry(%a = %x) {length=9, reverse=false, unroll=1} : f32[3] do {
            %c = sin %a : f32[3]
            yield %c
          }
          return %y
        }

    Examples
    --------
    >>> from brainir.ir import parse
    >>> from brainir.passes import dead_code
    >>> graph = parse('''graph @f(%x: f32[3]) -> (f32[3]) {
    ...   %y = exp %x
    ...   %z = sin %x
    ...   return %z
    ... }''')
    >>> [node.op.name for node in dead_code(graph).nodes]
    ['sin']
    """
    live = _Liveness(graph)
    return _Sweep(live).run(graph)


class _Liveness:
    """Which values of a graph are used, at any depth, by a walk back from what is noticed.

    Attributes
    ----------
    values : set of Value
        Those that are used.
    kept : set of Node
        Nodes that compute one of them, or have a lasting effect.
    """

    def __init__(self, graph: Graph) -> None:
        self.values: set[Value] = set()
        self.kept: set[Node] = set()
        self._waiting: list[Value] = []
        self._node_of: dict[Value, Node] = {}
        self._strand_of: dict[Value, Strand] = {}
        self._index(graph, ())
        self._use(graph.results)
        while self._waiting:
            self._reach(self._waiting.pop())

    def _index(self, graph: Graph, owners: tuple[Node, ...]) -> None:
        for node in graph.nodes:
            self._node_of.update(dict.fromkeys(node.results, node))
            if node.op.wiring is not None:
                for strand in node.op.wiring(node).strands:
                    ends = targets(node, strand.targets)
                    self._node_of.update(dict.fromkeys(ends, node))
                    self._strand_of.update(dict.fromkeys(ends, strand))
            for region in node.regions:
                self._index(region, (*owners, node))
            if node.op.effects & _LASTING:
                for owner in (*owners, node):
                    self._keep(owner)

    def _use(self, operands: Iterable[Operand]) -> None:
        for operand in operands:
            if isinstance(operand, Value) and operand not in self.values:
                self.values.add(operand)
                self._waiting.append(operand)

    def _keep(self, node: Node) -> None:
        """Use what a node needs whichever of its results are used."""
        if node in self.kept:
            return
        self.kept.add(node)
        wiring = node.op.wiring(node) if node.op.wiring is not None else None
        if wiring is None or wiring.together:
            self._use(node.operands)
            for region in node.regions:
                self._use((*region.params, *region.results))
        else:
            self._use(sources(node, wiring.gates))

    def _reach(self, value: Value) -> None:
        """Use what a value comes from, by way of its strand if it stands on one."""
        node, strand = self._node_of.get(value), self._strand_of.get(value)
        if node is None:
            return
        self._keep(node)
        if strand is not None:
            self._use((*sources(node, strand.sources), *targets(node, strand.targets)))


class _Sweep:
    """One replay in which only what is used is built again."""

    def __init__(self, live: _Liveness) -> None:
        self.live = live
        self.mapping: dict[Value, Operand] = {}

    def run(self, graph: Graph) -> Graph:
        builder = Builder()
        self._nodes(builder, graph.nodes)
        swept = builder.graph(graph.params, mapped(graph.results, self.mapping), like=graph)
        consts = tuple(const for const in graph.consts if const.value in self.live.values)
        return swept.with_(consts=consts)

    def _nodes(self, builder: Builder, nodes: Iterable[Node]) -> None:
        for node in nodes:
            if node in self.live.kept:
                self._node(builder, node)

    def _node(self, builder: Builder, node: Node) -> None:
        if node.op.wiring is None or node.op.wiring(node).together:
            left = _whole(node)
        else:
            strands = node.op.wiring(node).strands
            live = [s for s in strands if target(node, s.targets[0]) in self.live.values]
            left = part_of(node, live)
        regions = [
            self._region(region, params, yields)
            for region, params, yields in zip(node.regions, left.params, left.yields, strict=True)
        ]
        kept = [node.results[i] for i in left.results]
        new = builder.emit(
            node.op,
            mapped([node.operands[i] for i in left.operands], self.mapping),
            left.attrs,
            regions,
            loc=node.loc,
            hints=[value.hint for value in kept],
        )
        self.mapping.update(zip(kept, new, strict=True))

    def _region(self, region: Graph, params: Sequence[int], yields: Sequence[int]) -> Graph:
        entering = [region.params[i] for i in params]
        new, builder = fresh(entering), Builder()
        self.mapping.update(zip(entering, new, strict=True))
        self._nodes(builder, region.nodes)
        results = [region.results[i] for i in yields]
        return builder.graph(new, mapped(results, self.mapping), like=region)


def _whole(node: Node) -> Part:
    """Return all of a node."""
    return Part(
        list(range(len(node.operands))),
        list(range(len(node.results))),
        [list(range(len(region.params))) for region in node.regions],
        [list(range(len(region.results))) for region in node.regions],
        node.attrs,
    )
