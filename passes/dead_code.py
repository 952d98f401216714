"""The pass `dead_code`: what nobody uses is not computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ..ir import Builder, Effect, Graph, Node, Operand, Value, fresh, mapped

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
        self._node_of: dict[Value, tuple[Node, int]] = {}
        self._loop_of: dict[Value, tuple[Node, int]] = {}
        self._reached_by: dict[str, Callable[[Node, int], None]] = {
            "for_loop": self._reach_for_loop,
            "while": self._reach_while,
            "cond": self._reach_branches,
            "call": self._reach_branches,
            "checkpoint": self._reach_branches,
        }
        self._index(graph, ())
        self._use(graph.results)
        while self._waiting:
            self._reach(self._waiting.pop())

    def _index(self, graph: Graph, owners: tuple[Node, ...]) -> None:
        for node in graph.nodes:
            for i, result in enumerate(node.results):
                self._node_of[result] = node, i
            for region in node.regions:
                for i, param in enumerate(region.params):
                    self._loop_of[param] = node, i
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
        name = node.op.name
        if name == "while":
            self._use(node.regions[0].results)
        elif name == "cond" or not node.regions:
            self._use(node.operands)
        elif name not in self._reached_by:
            # The regions of a transformation or of a custom derivative belong together.
            self._use(node.operands)
            for region in node.regions:
                self._use((*region.params, *region.results))

    def _reach(self, value: Value) -> None:
        if value in self._node_of:
            node, i = self._node_of[value]
            self._keep(node)
            if node.op.name in self._reached_by:
                self._reached_by[node.op.name](node, i)
        elif value in self._loop_of:
            node, i = self._loop_of[value]
            self._keep(node)
            if node.op.name == "while" or (
                node.op.name == "for_loop" and i < node.attrs["carries"]
            ):
                self._use([node.results[i]])
            elif len(node.operands) > i:
                self._use([node.operands[i]])

    def _reach_for_loop(self, node: Node, i: int) -> None:
        (body,) = node.regions
        if i < node.attrs["carries"]:
            self._use((body.params[i], node.operands[i]))
        self._use([body.results[i]])

    def _reach_while(self, node: Node, i: int) -> None:
        condition, body = node.regions
        self._use((condition.params[i], body.params[i], body.results[i], node.operands[i]))

    def _reach_branches(self, node: Node, i: int) -> None:
        self._use(region.results[i] for region in node.regions)


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
        operands, params, results = self._parts(node)
        attrs = node.attrs
        if node.op.name == "for_loop":
            attrs = {**attrs, "carries": sum(i < attrs["carries"] for i in results)}
        regions = [
            self._region(region, params if params is not None else range(len(region.params)), ends)
            for region, ends in self._ends(node, results)
        ]
        kept = [node.results[i] for i in results]
        new = builder.emit(
            node.op,
            mapped([node.operands[i] for i in operands], self.mapping),
            attrs,
            regions,
            loc=node.loc,
            hints=[value.hint for value in kept],
        )
        self.mapping.update(zip(kept, new, strict=True))

    def _parts(self, node: Node) -> tuple[Sequence[int], Sequence[int] | None, Sequence[int]]:
        """Number the operands, region parameters (None: all) and results to be kept."""
        live, name = self.live.values, node.op.name
        results = [i for i, result in enumerate(node.results) if result in live]
        if name in ("for_loop", "while"):
            carries = node.attrs.get("carries", len(node.operands))
            over = [i for i, p in enumerate(node.regions[-1].params) if i >= carries and p in live]
            entering = [*(i for i in results if i < carries), *over]
            return entering, entering, results
        if name in ("call", "checkpoint"):
            entering = [i for i, param in enumerate(node.regions[0].params) if param in live]
            return entering, entering, results
        if name != "cond":
            results = range(len(node.results))
        return range(len(node.operands)), None, results

    def _ends(self, node: Node, results: Sequence[int]) -> list[tuple[Graph, Sequence[Operand]]]:
        """Pair each region with what it is still to yield."""
        if len(results) == len(node.results):
            return [(region, region.results) for region in node.regions]
        whole = node.regions[:1] if node.op.name == "while" else ()
        return [
            (r, r.results if r in whole else [r.results[i] for i in results]) for r in node.regions
        ]

    def _region(self, region: Graph, params: Sequence[int], results: Sequence[Operand]) -> Graph:
        entering = [region.params[i] for i in params]
        new, builder = fresh(entering), Builder()
        self.mapping.update(zip(entering, new, strict=True))
        self._nodes(builder, region.nodes)
        return builder.graph(new, mapped(results, self.mapping), like=region)
