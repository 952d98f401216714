"""What is computed alike, lane by lane: found by walking backwards from results of the same form.

A *lane* is one of several computations that differ only in what they start from. Lanes are found
from rows of values: the row of their results, then the rows of the operands of what makes those,
and so on, until a row is made of nothing alike. A row of alike nodes is a *group*.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..ir import Literal, Node, Operand, Value, captures, is_pure, walk
from .common_subexpressions import attrs_key, region_key

Row = tuple[Operand, ...]
"""An operand for each lane."""

APART = ("checkpoint", "optimization_barrier", "custom_derivative")
"""Ops that are there to keep things apart."""

WORK = 1000
"""Arithmetic of one lane from which on a node is better off alone: products, mostly."""


class Maker(NamedTuple):
    """What makes a value: a node, and which of its results it is."""

    node: Node
    number: int


class Place(NamedTuple):
    """Where a value stands in a larger one: at which index of which axis."""

    source: Value
    axis: int
    at: int


class Rows:
    """What is known of the values of a straight line of nodes.

    Parameters
    ----------
    nodes : sequence of Node
        Without their regions: what is alike inside of one is another matter.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.makers = {
            value: Maker(node, i) for node in nodes for i, value in enumerate(node.results)
        }
        self._numbers: dict[object, int] = {}
        self._keys = {node: self._number(_key(node)) for node in nodes}
        self._forms: dict[Value, int] = {}
        for node in nodes:
            form, parts = self._form_of(node), node.op.name == "unstack"
            for i, value in enumerate(node.results):
                self._forms[value] = self._number((form, 0 if parts else i))

    def maker(self, operand: Operand) -> Maker | None:
        """Return what makes an operand; None for what comes from elsewhere."""
        return self.makers.get(operand) if isinstance(operand, Value) else None

    def form(self, operand: Operand) -> int:
        """Return a number that is the same for operands that are computed alike.

        It does not matter from which values of the same types.
        """
        if isinstance(operand, Literal):
            return self._number(("literal", operand.type))
        return self._forms.get(operand) or self._number(("given", operand.type))

    def _number(self, key: object) -> int:
        try:
            return self._numbers.setdefault(key, len(self._numbers) + 1)
        except TypeError:  # an attribute that can only be told by identity
            return self._number(object())

    def _form_of(self, node: Node) -> object:
        if _taken_by(node) is not None:
            return ("part", node.results[0].type)
        return (self._keys[node], *map(self.form, given(node)))

    def place(self, operand: Operand) -> Place | None:
        """Return where an operand stands in a larger value that it was taken from."""
        maker = self.maker(operand)
        if maker is None:
            return None
        (source, *_), attrs = maker.node.operands or (None,), maker.node.attrs
        if maker.node.op.name == "unstack" and isinstance(source, Value):
            return Place(source, attrs["axis"], maker.number)
        part = None if source is None else self.maker(source)
        if maker.node.op.name != "squeeze" or part is None:
            return None
        place = _taken_by(part.node)
        return place if place is not None and attrs["dimensions"] == (place.axis,) else None

    def in_one(self, row: Row) -> bool:
        """Whether all of a row was taken from one value, along one axis."""
        places = [self.place(operand) for operand in row]
        return None not in places and len({place[:2] for place in places if place}) == 1

    def alike(self, row: Row) -> tuple[Node, ...] | None:
        """Return the nodes that make a row, a different one for each lane, if they are alike."""
        makers = [self.maker(x) for x in row]
        found = [maker for maker in makers if maker is not None]
        nodes = tuple(maker.node for maker in found)
        if len(set(nodes)) < len(row) or len({maker.number for maker in found}) > 1:
            return None
        if len({self._keys[node] for node in nodes}) > 1 or not _may_be_grouped(nodes[0]):
            return None
        return nodes


def given(node: Node) -> Row:
    """Return all that a node takes: its operands, and what its regions capture."""
    return (*node.operands, *captures(*node.regions))


def _taken_by(node: Node) -> Place | None:
    """Return what a `slice` of length 1 along one axis takes."""
    if node.op.name != "slice" or not isinstance(node.operands[0], Value):
        return None
    source, attrs = node.operands[0], node.attrs
    bounds = [*zip(attrs["start"], attrs["limit"], source.type.shape, strict=True)]
    narrow = [axis for axis, (start, stop, size) in enumerate(bounds) if (start, stop) != (0, size)]
    if len(narrow) != 1 or any(step != 1 for step in attrs["strides"] or ()):
        return None
    start, stop, _ = bounds[narrow[0]]
    return Place(source, narrow[0], start) if stop == start + 1 else None


def _may_be_grouped(node: Node) -> bool:
    inside = [node, *(inner for region in node.regions for inner in walk(region))]
    if any(n.op.name in APART or n.cost.flops > WORK for n in inside) or not is_pure(node):
        return False
    return node.op.has_regions or node.op.batch is not None


def _key(node: Node) -> tuple[object, ...]:
    """Return what alike nodes have in common."""
    types = tuple(operand.type for operand in given(node))
    regions: list[object] = []
    for region in node.regions:
        numbers = {value: -1 - i for i, value in enumerate(captures(*node.regions))}
        regions.append(region_key(region, numbers))
    return (node.op, len(node.operands), attrs_key(node.attrs), types, *regions)
