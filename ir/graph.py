"""Nodes and graphs: the whole of the intermediate representation on one page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .types import Const, Loc, Operand, StateVar, Value

if TYPE_CHECKING:
    from .op import Cost, Op
    from .python_source import PythonSource


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operation: operands in, results out, in program order among its neighbours.

    Examples
    --------
    >>> from brainir.ir import Builder, Type, Value
    >>> x, build = Value(Type("float32", (3,)), "x"), Builder()
    >>> y = build("mul", x, x)
    >>> (node,) = build.nodes
    >>> node.op, node.result is y, node.cost.flops
    (<op mul>, True, 3)
    """

    op: Op
    operands: tuple[Operand, ...]
    attrs: Mapping[str, Any]
    regions: tuple[Graph, ...]
    results: tuple[Value, ...]
    loc: Loc | None = None

    @property
    def result(self) -> Value:
        """The only result of a node that has just one."""
        (result,) = self.results
        return result

    @property
    def cost(self) -> Cost:
        """Work and memory traffic of one run, without those of its regions."""
        operands = tuple(operand.type for operand in self.operands)
        return self.op.cost(operands, tuple(result.type for result in self.results), self.attrs)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Graph:
    """A straight line of nodes from ``params`` to ``results``.

    A graph that stands inside a node is a *region*: it may refer to any value of the graphs
    around it that is defined before that node (see `captures`), and has no states or consts of
    its own; those belong to the outermost graph. Units are for people to read; nothing computes
    with them.

    Of a graph in which states have become arrays (see the pass ``purify``), the last parameters are
    the leaves of ``states``, and the last results those of ``writes``, in order.

    Examples
    --------
    >>> from brainir.ir import parse
    >>> graph = parse('''graph @square(%x: f32[3] "mV") -> (f32[3]) {
    ...   %y = mul %x, %x
    ...   return %y
    ... }''')
    >>> graph.name, graph.params[0].type, [node.op.name for node in graph.nodes]
    ('square', Type(dtype='float32', shape=(3,)), ['mul'])
    >>> print(graph.with_(name="power"))
    graph @power(%x: f32[3] "mV") -> (f32[3]) {
      %y = mul %x, %x : f32[3]
      return %y
    }
    """

    name: str
    params: tuple[Value, ...]
    nodes: tuple[Node, ...]
    results: tuple[Operand, ...]
    states: tuple[StateVar, ...] = ()
    consts: tuple[Const, ...] = ()
    param_units: tuple[str | None, ...] = field(default=())
    result_units: tuple[str | None, ...] = field(default=())
    writes: tuple[StateVar, ...] = ()

    def with_(self, **changes: Any) -> Graph:
        """Return a copy of this graph in which some fields are changed."""
        return replace(self, **changes)

    def to_python(self) -> PythonSource:
        """Return Python source that computes the same with `jax.lax`; see `to_python`."""
        from .python_source import to_python

        return to_python(self)

    def __str__(self) -> str:
        from .printer import print_graph

        return print_graph(self)

    __repr__ = __str__


def walk(graph: Graph) -> Iterator[Node]:
    """Yield every node of a graph and of its regions, a node before the nodes inside it.

    Examples
    --------
    >>> from brainir.ir import parse, walk
    >>> graph = parse('''graph @f(%x: f32[3]) -> (f32[3]) {
    ...   %y = for_loop over(%a = %x) {length=3} do {
    ...     %b = neg %a
    ...     yield %b
    ...   }
    ...   return %y
    ... }''')
    >>> [node.op.name for node in walk(graph)]
    ['for_loop', 'neg']
    """
    for node in graph.nodes:
        yield node
        for region in node.regions:
            yield from walk(region)


def captures(*graphs: Graph) -> tuple[Value, ...]:
    """Return the values that regions use but do not define, in order of first use.

    Examples
    --------
    >>> from brainir.ir import captures, parse
    >>> graph = parse('''graph @f(%x: f32[3], %slope: f32[]) -> (f32[3]) {
    ...   %y = for_loop over(%a = %x) {length=3} do {
    ...     %b = mul %a, %slope
    ...     yield %b
    ...   }
    ...   return %y
    ... }''')
    >>> [value.hint for value in captures(graph.nodes[0].regions[0])]
    ['slope']
    """
    found: dict[Value, None] = {}
    for graph in graphs:
        _collect_captures(graph, set(), found)
    return tuple(found)


def _collect_captures(graph: Graph, defined: set[Value], found: dict[Value, None]) -> None:
    defined.update(graph.params)
    defined.update(const.value for const in graph.consts)

    def use(operand: Operand) -> None:
        if isinstance(operand, Value) and operand not in defined:
            found.setdefault(operand)

    for node in graph.nodes:
        for operand in node.operands:
            use(operand)
        for region in node.regions:
            # Sharing `defined` is safe: every value is defined once in the whole graph.
            _collect_captures(region, defined, found)
        defined.update(node.results)
    for result in graph.results:
        use(result)
