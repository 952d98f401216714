"""Building graphs: the only way that nodes come into being.

A pass never edits a graph. It *replays* the old one through a map from old to new values into a
`Builder`, which infers result types, carries locations over, and fails at once on a wrong node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .graph import Graph, Node
from .op import GraphError, Op, get_op
from .types import Literal, Loc, Operand, Scalar, Type, Value, at

Replacements = dict[Value, Operand]
"""From values of an old graph to what stands for them in the new one."""


class Builder:
    """Collects nodes of one graph or region.

    Attributes
    ----------
    nodes : list of Node
        What was built so far.
    loc : Loc or None
        Given to nodes that are emitted without a location of their own.

    Examples
    --------
    >>> from brainir.ir import Builder, Type, Value
    >>> x, build = Value(Type("float32", (3,)), "x"), Builder()
    >>> (y,) = build.emit("mul", [x, build.ones(x.type)], hints=["y"])
    >>> print(build.graph([x], [build("reduce_sum", y, axes=(0,))], "total"))
    graph @total(%x: f32[3]) -> (f32[]) {
      %0 = broadcast_in_dim 1.0:f32 {shape=(3,), dims=()} : f32[3]
      %y = mul %x, %0 : f32[3]
      %1 = reduce_sum %y {axes=(0,)} : f32[]
      return %1
    }
    """

    def __init__(self, loc: Loc | None = None) -> None:
        self.nodes: list[Node] = []
        self.loc = loc

    def emit(
        self,
        op: Op | str,
        operands: Sequence[Operand] = (),
        attrs: Mapping[str, Any] | None = None,
        regions: Sequence[Graph] = (),
        *,
        loc: Loc | None = None,
        hints: Sequence[str] = (),
    ) -> tuple[Value, ...]:
        """Append a node and return its results.

        Raises
        ------
        GraphError
            If the op's inference refuses the operands, attributes or regions.
        """
        op = get_op(op) if isinstance(op, str) else op
        operands, regions, attrs = tuple(operands), tuple(regions), dict(attrs or {})
        for name, value in op.defaults.items():
            attrs.setdefault(name, value)
        loc = loc or self.loc
        try:
            types = op.result_types(tuple(o.type for o in operands), attrs, regions)
        except (GraphError, TypeError, ValueError, IndexError) as error:
            described = ", ".join(str(o.type) for o in operands)
            raise GraphError(f"{op.name}({described}) {attrs}: {error}{at(loc)}") from error
        names = [*hints, *([""] * (len(types) - len(hints)))]
        results = tuple(Value(t, h) for t, h in zip(types, names, strict=True))
        self.nodes.append(Node(op, operands, attrs, regions, results, loc))
        return results

    def __call__(self, op: Op | str, *operands: Operand, **attrs: Any) -> Value:
        """Append a node that has one result, and return it."""
        (result,) = self.emit(op, operands, attrs)
        return result

    def extend(self, nodes: Iterable[Node], first: bool = False) -> None:
        """Take nodes that are built already as they are, at the end or before all others."""
        place = 0 if first else len(self.nodes)
        self.nodes[place:place] = nodes

    def full(self, type: Type, value: Scalar) -> Operand:
        """Return an array of one repeated value; a rank-0 one is a literal."""
        literal = Literal(value, Type(type.dtype))
        if not type.shape:
            return literal
        return self("broadcast_in_dim", literal, shape=type.shape, dims=())

    def zeros(self, type: Type) -> Operand:
        """Return an array of zeros."""
        return self.full(type, zero_of(type))

    def ones(self, type: Type) -> Operand:
        """Return an array of ones."""
        one = zero_of(type)
        return self.full(type, True if one is False else one + 1)

    def graph(
        self,
        params: Sequence[Value],
        results: Sequence[Operand],
        name: str = "",
        like: Graph | None = None,
    ) -> Graph:
        """Close the builder into a graph; ``like`` gives its name, states, consts and units."""
        if like is None:
            return Graph(name, tuple(params), tuple(self.nodes), tuple(results))
        return like.with_(params=tuple(params), nodes=tuple(self.nodes), results=tuple(results))


def zero_of(type: Type) -> Scalar:
    """Return the zero of a dtype as a Python scalar.

    Raises
    ------
    GraphError
        If the elements are random keys.

    Examples
    --------
    >>> from brainir.ir import Type, zero_of
    >>> [zero_of(Type(dtype)) for dtype in ("float32", "int8", "bool", "complex64")]
    [0.0, 0, False, 0j]
    """
    if type.dtype == "bool":
        return False
    if type.is_complex:
        return 0j
    if type.is_key:
        raise GraphError("a random key has no zero")
    return 0.0 if type.is_float else 0


def fresh(values: Iterable[Value]) -> tuple[Value, ...]:
    """Return new values of the same types and hints.

    Examples
    --------
    >>> from brainir.ir import Type, Value, fresh
    >>> old = Value(Type("float32", (3,)), "V")
    >>> (new,) = fresh([old])
    >>> new == old, new.hint, str(new.type)
    (False, 'V', 'f32[3]')
    """
    return tuple(Value(v.type, v.hint) for v in values)


def mapped(operands: Iterable[Operand], mapping: Mapping[Value, Operand]) -> tuple[Operand, ...]:
    """Look operands up in a map; those it does not hold (captures, literals) stay as they are.

    Examples
    --------
    >>> from brainir.ir import Literal, Type, Value, mapped
    >>> x, y, new = Value(Type("float32")), Value(Type("float32")), Value(Type("float32"))
    >>> two = Literal(2.0, Type("float32"))
    >>> mapped([x, y, two], {x: new}) == (new, y, two)
    True
    """
    return tuple(
        mapping.get(operand, operand) if isinstance(operand, Value) else operand
        for operand in operands
    )


Rewrite = Callable[[Builder, Node, tuple[Operand, ...], Replacements], "Sequence[Operand] | None"]
"""``rewrite(builder, node, operands, mapping)``: build something else for a node of the old graph,
whose operands are already mapped, and return what stands for its results; None: copy the node."""


def replay(
    nodes: Iterable[Node], builder: Builder, mapping: Replacements, rewrite: Rewrite | None = None
) -> None:
    """Build nodes again, through ``mapping``, which learns what stands for each old result.

    Raises
    ------
    GraphError
        If a rewrite gives another number of results than its node has, or builds a wrong node.

    Examples
    --------
    >>> from brainir.ir import Builder, parse, replay
    >>> graph = parse('''graph @f(%x: f32[3]) -> (f32[3]) {
    ...   %y = neg %x
    ...   return %y
    ... }''')
    >>> build, (x,) = Builder(), graph.params
    >>> mapping = {x: build("exp", x)}
    >>> replay(graph.nodes, build, mapping)
    >>> print(build.graph([x], [mapping[graph.results[0]]], "after_exp"))
    graph @after_exp(%x: f32[3]) -> (f32[3]) {
      %0 = exp %x : f32[3]
      %y = neg %0 : f32[3]
      return %y
    }
    """
    for node in nodes:
        operands = mapped(node.operands, mapping)
        results = rewrite(builder, node, operands, mapping) if rewrite else None
        if results is None:
            regions = [replay_region(region, mapping, rewrite) for region in node.regions]
            results = copy_node(builder, node, operands, regions)
        if len(results) != len(node.results):
            raise GraphError(
                f"a rewrite of {node.op.name} gave {len(results)} results for {len(node.results)}"
            )
        mapping.update(zip(node.results, results, strict=True))


def copy_node(
    builder: Builder,
    node: Node,
    operands: Sequence[Operand],
    regions: Sequence[Graph] | None = None,
) -> tuple[Value, ...]:
    """Emit a node like another one, with other operands and regions.

    Where the operands have the types that they had, so have the results, without inferring again.

    Examples
    --------
    >>> from brainir.ir import Builder, Type, Value, copy_node, parse
    >>> graph = parse('''graph @f(%x: f32[]) -> (f32[]) {
    ...   %y = neg %x
    ...   return %y
    ... }''')
    >>> (wider,) = copy_node(Builder(), graph.nodes[0], [Value(Type("float32", (8,)))])
    >>> wider.hint, str(wider.type)
    ('y', 'f32[8]')
    """
    if not node.regions and all(
        new.type is old.type or new.type == old.type
        for new, old in zip(operands, node.operands, strict=True)
    ):
        results = fresh(node.results)
        loc = node.loc or builder.loc
        builder.nodes.append(Node(node.op, tuple(operands), node.attrs, (), results, loc))
        return results
    return builder.emit(
        node.op,
        operands,
        node.attrs,
        node.regions if regions is None else regions,
        loc=node.loc,
        hints=[v.hint for v in node.results],
    )


def replay_region(region: Graph, mapping: Replacements, rewrite: Rewrite | None = None) -> Graph:
    """Build a region again, with fresh parameters; the outer ``mapping`` serves its captures.

    One map serves all depths, since a value is defined only once in a whole graph.

    Examples
    --------
    >>> from brainir.ir import Type, Value, parse, replay_region
    >>> graph = parse('''graph @f(%x: f32[3], %slope: f32[]) -> (f32[3]) {
    ...   %y = for_loop over(%a = %x) {length=3} do {
    ...     %b = mul %a, %slope
    ...     yield %b
    ...   }
    ...   return %y
    ... }''')
    >>> other = Value(Type("float32"), "other")
    >>> region = replay_region(graph.nodes[0].regions[0], {graph.params[1]: other})
    >>> region.nodes[0].operands == (region.params[0], other)
    True
    """
    params = fresh(region.params)
    mapping.update(zip(region.params, params, strict=True))
    builder = Builder()
    replay(region.nodes, builder, mapping, rewrite)
    return builder.graph(params, mapped(region.results, mapping), like=region)


def replay_graph(graph: Graph, rewrite: Rewrite | None = None) -> Graph:
    """Build a whole graph again; its parameters and consts are kept as they are.

    Examples
    --------
    >>> from brainir.ir import parse, replay_graph
    >>> graph = parse('''graph @f(%x: f32[3]) -> (f32[3]) {
    ...   %y = integer_pow %x {y=2}
    ...   return %y
    ... }''')
    >>> def prefer_square(builder, node, operands, mapping):
    ...     if node.op.name == "integer_pow" and node.attrs["y"] == 2:
    ...         return builder.emit("square", operands)
    ...     return None
    >>> print(replay_graph(graph, prefer_square))
    graph @f(%x: f32[3]) -> (f32[3]) {
      %0 = square %x : f32[3]
      return %0
    }
    """
    builder = Builder()
    mapping: Replacements = {}
    replay(graph.nodes, builder, mapping, rewrite)
    return builder.graph(graph.params, mapped(graph.results, mapping), like=graph)


def inline(
    builder: Builder,
    region: Graph,
    arguments: Sequence[Operand],
    mapping: Replacements | None = None,
) -> tuple[Operand, ...]:
    """Build the nodes of a region in place, with ``arguments`` for its parameters.

    Raises
    ------
    ValueError
        If there are not as many arguments as parameters.

    Examples
    --------
    >>> from brainir.ir import Builder, inline, parse
    >>> twice = parse('''graph @twice(%x: f32[3]) -> (f32[3]) {
    ...   %y = add %x, %x
    ...   return %y
    ... }''')
    >>> build, (x,) = Builder(), twice.params
    >>> results = inline(build, twice, inline(build, twice, [x]))
    >>> print(build.graph([x], results, "four_times"))
    graph @four_times(%x: f32[3]) -> (f32[3]) {
      %y = add %x, %x : f32[3]
      %y1 = add %y, %y : f32[3]
      return %y1
    }
    """
    mapping = {} if mapping is None else mapping
    mapping.update(zip(region.params, arguments, strict=True))
    replay(region.nodes, builder, mapping)
    return mapped(region.results, mapping)
