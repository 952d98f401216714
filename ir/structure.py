"""Whether two graphs are the same, and a key that is the same for graphs that compute the same."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest
from typing import Any, cast

import numpy as np

from .graph import Graph, Node
from .printer import Printer, literal_text
from .types import Operand, StateVar, Type, Value

Entry = tuple[Any, ...]


class Fingerprint:
    """A hashable key for what a graph computes: equal keys mean equal programs, never by chance.

    It keeps alive the ops and attributes that it tells apart by identity.

    Examples
    --------
    >>> from brainir.ir import fingerprint, parse
    >>> graph = parse('''graph @f(%x: f32[]) -> (f32[]) {
    ...   return %x
    ... }''')
    >>> kept = {fingerprint(graph): "compiled"}
    >>> kept[fingerprint(graph.with_(name="called otherwise"))]
    'compiled'
    """

    __slots__ = ("_hash", "_key")

    def __init__(self, key: tuple[Entry, ...]) -> None:
        self._key = key
        self._hash = hash(key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Fingerprint) and self._hash == other._hash and self._key == other._key
        )

    def __repr__(self) -> str:
        return f"<fingerprint {self._hash & 0xFFFFFFFF:08x}>"


def fingerprint(graph: Graph) -> Fingerprint:
    """Return the key under which what was compiled from a graph can be kept.

    Ops, operands, literals, attributes and types count; names, hints, locations, units, the kinds
    of states and the data of consts do not. Graphs that are `equal` have equal fingerprints. Of a
    region by itself, it does not matter what it captures.

    Examples
    --------
    >>> from brainir.ir import fingerprint, parse
    >>> one = parse('''graph @one(%a: f32[3]) -> (f32[3]) {
    ...   %b = neg %a
    ...   return %b
    ... }''')
    >>> other = parse('''graph @other(%x: f32[3] "mV") -> (f32[3] "mV") {
    ...   %y = neg %x
    ...   return %y
    ... }''')
    >>> fingerprint(one) == fingerprint(other)
    True
    """
    return Fingerprint(tuple(_Encoder(graph, people=False).entries))


def equal(a: Graph, b: Graph) -> bool:
    """Return whether graphs are the same but for names, hints, locations and the data of consts.

    Other than for `fingerprint`, units and the kinds of states count.

    Examples
    --------
    >>> from brainir.ir import equal, parse
    >>> graph = parse('''graph @f(%x: f32[] "mV") -> (f32[]) {
    ...   return %x
    ... }''')
    >>> equal(graph, graph.with_(name="g")), equal(graph, graph.with_(param_units=("V",)))
    (True, False)
    """
    return _Encoder(a).entries == _Encoder(b).entries


def first_difference(a: Graph, b: Graph) -> str | None:
    """Return the first line in which two graphs differ, as each has it; None if they are equal.

    Examples
    --------
    >>> from brainir.ir import first_difference, parse, replay_graph
    >>> graph = parse('''graph @f(%x: f32[]) -> (f32[]) {
    ...   %y = sin %x
    ...   return %y
    ... }''')
    >>> other = replay_graph(graph, lambda builder, node, x, mapping: builder.emit("cos", x))
    >>> print(first_difference(graph, other))
    - %y = sin %x : f32[]
    + %0 = cos %x : f32[]
    """
    mine, other = _Encoder(a), _Encoder(b)
    pairs = zip_longest(mine.entries, other.entries)
    for i, (entry, other_entry) in enumerate(pairs):
        if entry != other_entry:
            return f"- {mine.describe(i)}\n+ {other.describe(i)}"
    return None


class _Encoder:
    """Writes a graph as one flat list of hashable entries, with values and states numbered.

    An entry is a header, a node, or the beginning or end of a region. With ``people``, it also has
    what only people care for.
    """

    def __init__(self, graph: Graph, people: bool = True) -> None:
        self.entries: list[Entry] = []
        self._graph = graph
        self._people = people
        self._owners: list[Node | None] = []
        self._numbers: dict[Value | StateVar, int] = {}
        self._header(graph)
        self._body(graph, None)

    def describe(self, index: int) -> str:
        """Return the printed line behind an entry."""
        if index >= len(self.entries):
            return "(the graph ends here)"
        printer, node = Printer(self._graph), self._owners[index]
        line = printer.lines[0 if node is None else printer.line_of[node]].strip()
        marks = {"do": "a region begins in: ", "yield": "a region ends in: "}
        if self.entries[index][0] == "return":
            return printer.lines[-2].strip()
        return marks.get(self.entries[index][0], "") + line

    def _add(self, owner: Node | None, entry: Entry) -> None:
        self.entries.append(entry)
        self._owners.append(owner)

    def _number(self, symbol: Value | StateVar) -> int:
        return self._numbers.setdefault(symbol, len(self._numbers))

    def _define(self, values: Iterable[Value]) -> tuple[Entry, ...]:
        types: list[Entry] = []
        for value in values:
            self._number(value)
            types.append(_type(value.type))
        return tuple(types)

    def _header(self, graph: Graph) -> None:
        entry: Entry = (
            self._define(graph.params),
            self._define(const.value for const in graph.consts),
            tuple(self._declared(state) for state in graph.states),
            tuple(self._number(state) for state in graph.writes),
        )
        if self._people:
            # No units at all may be written as () or as a None each.
            entry += tuple(
                units if any(unit is not None for unit in units) else ()
                for units in (graph.param_units, graph.result_units)
            )
        self._add(None, entry)

    def _declared(self, state: StateVar) -> Entry:
        self._number(state)
        described = (state.kind, state.unit) if self._people else ()
        return (*map(_type, state.types), *described)

    def _codes(self, operands: Iterable[Operand]) -> list[Any]:
        numbers = self._numbers
        return [
            numbers.setdefault(o, len(numbers)) if type(o) is Value else literal_text(o)  # pyright: ignore[reportArgumentType]
            for o in operands
        ]

    def _body(self, graph: Graph, owner: Node | None) -> None:
        numbers, codes = self._numbers, self._codes
        for node in graph.nodes:
            entry = [node.op, *codes(node.operands)]
            if node.attrs:
                entry.append(self._attributes(node))
            self._add(node, tuple(entry))
            for region in node.regions:
                self._add(node, ("do", *self._define(region.params)))
                self._body(region, node)
            for value in node.results:
                numbers[value] = len(numbers)
        self._add(owner, ("return" if owner is None else "yield", *codes(graph.results)))

    def _attributes(self, node: Node) -> Entry:
        attrs = node.attrs
        entry: list[Any] = []
        for name in sorted(attrs) if len(attrs) > 1 else attrs:
            value = attrs[name]
            if type(value) is StateVar and value not in self._numbers:
                entry.append(self._declared(value))
            entry += (name, self._attribute(value))
        return tuple(entry)

    def _attribute(self, value: Any) -> Any:
        """Return something hashable that is equal for attributes that mean the same.

        What is not itself a number, string or tuple begins with its class, so kinds never mix.
        """
        kind = cast(Any, type(value))
        if kind is int or kind is str or value is None:
            return value
        if kind is tuple:
            return tuple([self._attribute(item) for item in value])
        if kind is bool:
            return (bool, value)
        if kind is float or kind is complex:
            return (kind, repr(value))
        if kind is StateVar:
            return (StateVar, self._number(value))
        if kind is np.ndarray:
            return (kind, value.dtype.str, value.shape, value.tobytes())
        if kind is list:
            return (kind, *map(self._attribute, value))
        if kind is dict:
            return (kind, frozenset((k, self._attribute(v)) for k, v in value.items()))
        try:
            hash(value)
        except TypeError:
            value = _Identity(value)
        return (kind, value)


class _Identity:
    """Stands for an object that can only be told by identity."""

    __slots__ = ("_object",)

    def __init__(self, object: object) -> None:
        self._object = object

    def __hash__(self) -> int:
        return id(self._object)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self._object is other._object


def _type(type: Type) -> Entry:
    return (type.dtype, *type.shape)
