"""How values go through an op whose nodes contain graphs: where they enter, go round and leave.

A region op says this once, in its record, as a `Wiring`. Analyses that follow values, forwards or
backwards, ask for it and need not know the op: what depends on what, what is used, what is the same
value under another name. MLIR's ``RegionBranchOpInterface`` is the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from .types import Operand, Value

if TYPE_CHECKING:
    from .graph import Node


class Place(NamedTuple):
    """Where a node, or one of its regions, takes or gives a value.

    As a source it is an operand of the node, or a yield of a region; as a target a result of the
    node, or a parameter of a region.

    Examples
    --------
    >>> from brainir.ir import Place, parse, source, target
    >>> graph = parse('''graph @decay(%V: f32[]) -> (f32[]) {
    ...   %end = for_loop carry(%v = %V) {length=10} do {
    ...     %next = mul %v, 0.9:f32
    ...     yield %next
    ...   }
    ...   return %end
    ... }''')
    >>> (loop,) = graph.nodes
    >>> source(loop, Place(None, 0)).hint, source(loop, Place(0, 0)).hint
    ('V', 'next')
    >>> target(loop, Place(0, 0)).hint
    'v'
    """

    region: int | None
    """The number of the region; None for the node itself."""
    number: int


@dataclass(frozen=True, slots=True)
class Strand:
    """One piece of data on its way through a node, under all of its names.

    Every source reaches every target. So a carry of a loop has two sources, its initial value and
    what a step yields, and two targets, the parameter of the body and what is left in the end. What
    stands on one strand is kept or dropped together.

    Attributes
    ----------
    sources, targets : tuple of Place
        Where it comes from, and where it goes.
    whole : bool
        Whether it is the same value under each name. If not, one is a part of another: a slice, a
        lane, a step.

    Examples
    --------
    >>> from brainir.ir import parse, sources, targets
    >>> graph = parse('''graph @decay(%V: f32[]) -> (f32[]) {
    ...   %end = for_loop carry(%v = %V) {length=10} do {
    ...     %next = mul %v, 0.9:f32
    ...     yield %next
    ...   }
    ...   return %end
    ... }''')
    >>> (loop,) = graph.nodes
    >>> (strand,) = loop.op.wiring(loop).strands
    >>> [value.hint for value in sources(loop, strand.sources)], strand.goes_round
    (['V', 'next'], True)
    >>> [value.hint for value in targets(loop, strand.targets)]
    ['v', 'end']
    """

    sources: tuple[Place, ...]
    targets: tuple[Place, ...]
    whole: bool = True

    @property
    def goes_round(self) -> bool:
        """Whether a region hands it to its next run."""
        inside = (any(p.region is not None for p in ps) for ps in (self.sources, self.targets))
        return all(inside)


@dataclass(frozen=True, slots=True)
class Wiring:
    """How values go through one node.

    Attributes
    ----------
    strands : tuple of Strand
        All data that enters, goes round or leaves.
    gates : tuple of Place
        Sources that decide which region runs, or whether one runs again: they show in every target.
    mixed : tuple of Place
        Results in which everything that the node takes or captures may show: those of derivatives.
    together : bool
        Whether all strands are kept or dropped together, since something relies on the form of the
        regions.
    times : int or None
        How often the regions run; None if only running tells.
    chosen : bool
        Whether a single region runs: the one that the gate says.
    rules : int
        How many regions, the last ones, never run: passes use them.
    counted_by : str, optional
        The attribute that counts the strands that go round; these come first.
    linear : bool
        Whether the reverse of the node is linear in its cotangents, if that of its regions is. A
        rule that somebody wrote may do anything with a cotangent.

    Examples
    --------
    >>> from brainir.ir import parse
    >>> graph = parse('''graph @f(%x: f32[], %high: bool[]) -> (f32[]) {
    ...   %y = cond %high do {
    ...     yield 0.0:f32
    ...   } and {
    ...     yield %x
    ...   }
    ...   return %y
    ... }''')
    >>> (node,) = graph.nodes
    >>> wiring = node.op.wiring(node)
    >>> wiring.gates, wiring.chosen, len(wiring.strands)
    ((Place(region=None, number=0),), True, 1)
    """

    strands: tuple[Strand, ...]
    gates: tuple[Place, ...] = ()
    mixed: tuple[Place, ...] = ()
    together: bool = False
    times: int | None = 1
    chosen: bool = False
    rules: int = 0
    counted_by: str | None = None
    linear: bool = True

    @property
    def repeats(self) -> bool:
        """Whether the regions run step by step, or lane by lane; not if they surely never run."""
        if self.times == 1:
            return any(strand.goes_round or not strand.whole for strand in self.strands)
        return self.times != 0


@dataclass(frozen=True, slots=True)
class Part:
    """What is left of a node of which only some strands are kept, by number.

    Attributes
    ----------
    operands, results : list of int
        Of the node.
    params, yields : list of list of int
        Of each region.
    attrs : dict
        The attributes of a node with so many strands.

    Examples
    --------
    >>> from brainir.ir import parse, part_of
    >>> graph = parse('''graph @f(%xs: f32[3]) -> (f32[3]) {
    ...   %ys, %zs = for_loop over(%x = %xs) {length=3} do {
    ...     %y = neg %x
    ...     yield %x, %y
    ...   }
    ...   return %zs
    ... }''')
    >>> (loop,) = graph.nodes
    >>> entering, first, second = loop.op.wiring(loop).strands
    >>> part = part_of(loop, [entering, second])
    >>> part.operands, part.results, part.yields
    ([0], [1], [[1]])
    """

    operands: list[int]
    results: list[int]
    params: list[list[int]]
    yields: list[list[int]]
    attrs: Mapping[str, Any]


def part_of(node: Node, strands: Sequence[Strand]) -> Part:
    """Return what is left of a node if only some of its strands are kept, and what gates them.

    Examples
    --------
    >>> from brainir.ir import parse, part_of
    >>> graph = parse('''graph @f(%V: f32[], %w: f32[]) -> (f32[]) {
    ...   %end, %rest = for_loop carry(%v = %V, %u = %w) {length=10} do {
    ...     %next = mul %v, 0.9:f32
    ...     yield %next, %u
    ...   }
    ...   return %end
    ... }''')
    >>> (loop,) = graph.nodes
    >>> part = part_of(loop, loop.op.wiring(loop).strands[:1])
    >>> part.operands, part.params, part.results, part.attrs["carries"]
    ([0], [[0]], [0], 1)
    """
    assert node.op.wiring is not None
    wiring = node.op.wiring(node)
    taken = {*wiring.gates, *(place for strand in strands for place in strand.sources)}
    given = {place for strand in strands for place in strand.targets}
    regions = range(len(node.regions))
    attrs = dict(node.attrs)
    if wiring.counted_by is not None:
        attrs[wiring.counted_by] = sum(strand.goes_round for strand in strands)
    return Part(
        _numbers(taken, None),
        _numbers(given, None),
        [_numbers(given, region) for region in regions],
        [_numbers(taken, region) for region in regions],
        attrs,
    )


def surely_ends(node: Node) -> bool:
    """Return whether a node comes to an end by itself: no loop in it asks whether to go on.

    Examples
    --------
    >>> from brainir.ir import parse
    >>> graph = parse('''graph @f(%x: f32[]) -> (f32[]) {
    ...   %y = while carry(%a = %x) : f32[] do {
    ...     %c = lt %a, 3.0:f32 : bool[]
    ...     yield %c
    ...   } and (%b: f32[]) {
    ...     %d = add %b, 1.0:f32 : f32[]
    ...     yield %d
    ...   }
    ...   %z = neg %y : f32[]
    ...   return %z
    ... }''')
    >>> [surely_ends(node) for node in graph.nodes]
    [False, True]
    """
    if node.op.wiring is not None and node.op.wiring(node).times is None:
        return False
    return all(surely_ends(inner) for region in node.regions for inner in region.nodes)


def _numbers(places: Iterable[Place], region: int | None) -> list[int]:
    return sorted(place.number for place in places if place.region == region)


def source(node: Node, place: Place) -> Operand:
    """Return the operand or yield that stands at a place.

    Examples
    --------
    >>> from brainir.ir import Place, parse, source
    >>> graph = parse('''graph @negated(%xs: f32[3]) -> (f32[3]) {
    ...   %ys = for_loop over(%x = %xs) {length=3} do {
    ...     %y = neg %x
    ...     yield %y
    ...   }
    ...   return %ys
    ... }''')
    >>> (loop,) = graph.nodes
    >>> source(loop, Place(None, 0)).hint, source(loop, Place(0, 0)).hint
    ('xs', 'y')
    """
    return (node.operands if place.region is None else node.regions[place.region].results)[
        place.number
    ]


def target(node: Node, place: Place) -> Value:
    """Return the result or parameter that stands at a place.

    Examples
    --------
    >>> from brainir.ir import Place, parse, target
    >>> graph = parse('''graph @negated(%xs: f32[3]) -> (f32[3]) {
    ...   %ys = for_loop over(%x = %xs) {length=3} do {
    ...     %y = neg %x
    ...     yield %y
    ...   }
    ...   return %ys
    ... }''')
    >>> (loop,) = graph.nodes
    >>> target(loop, Place(None, 0)).hint, target(loop, Place(0, 0)).hint
    ('ys', 'x')
    """
    return (node.results if place.region is None else node.regions[place.region].params)[
        place.number
    ]


def sources(node: Node, places: Iterable[Place]) -> list[Operand]:
    """Return the operands and yields that stand at some places.

    Examples
    --------
    >>> from brainir.ir import parse, sources
    >>> graph = parse('''graph @f(%x: f32[], %high: bool[]) -> (f32[]) {
    ...   %y = cond %high do {
    ...     yield %x
    ...   } and {
    ...     %z = neg %x
    ...     yield %z
    ...   }
    ...   return %y
    ... }''')
    >>> (node,) = graph.nodes
    >>> (strand,) = node.op.wiring(node).strands
    >>> [value.hint for value in sources(node, strand.sources)]
    ['x', 'z']
    """
    return [source(node, place) for place in places]


def targets(node: Node, places: Iterable[Place]) -> list[Value]:
    """Return the results and parameters that stand at some places.

    Examples
    --------
    >>> from brainir.ir import parse, targets
    >>> graph = parse('''graph @count(%start: i32[]) -> (i32[]) {
    ...   %end = while carry(%n = %start) do {
    ...     %more = lt %n, 3:i32
    ...     yield %more
    ...   } and (%k: i32[]) {
    ...     %next = add %k, 1:i32
    ...     yield %next
    ...   }
    ...   return %end
    ... }''')
    >>> (node,) = graph.nodes
    >>> (strand,) = node.op.wiring(node).strands
    >>> [value.hint for value in targets(node, strand.targets)]
    ['k', 'n', 'end']
    """
    return [target(node, place) for place in places]


# --- the common forms ---------------------------------------------------------------------------


def entering(count: int, region: int = 0, first: int = 0, whole: bool = True) -> list[Strand]:
    """Return strands from operands to the parameters of the same numbers of a region.

    Examples
    --------
    >>> from brainir.ir import entering
    >>> first, second = entering(2)
    >>> second.sources, second.targets
    ((Place(region=None, number=1),), (Place(region=0, number=1),))
    """
    return [
        Strand((Place(None, i),), (Place(region, i),), whole) for i in range(first, first + count)
    ]


def leaving(
    count: int, regions: Sequence[int] = (0,), first: int = 0, whole: bool = True, shift: int = 0
) -> list[Strand]:
    """Return strands from yields of regions to the results of the same numbers, plus ``shift``.

    Examples
    --------
    >>> from brainir.ir import leaving
    >>> (strand,) = leaving(1, regions=(0, 1))
    >>> strand.sources
    (Place(region=0, number=0), Place(region=1, number=0))
    """
    return [
        Strand(tuple(Place(region, i) for region in regions), (Place(None, i + shift),), whole)
        for i in range(first, first + count)
    ]


def going_round(count: int, body: int = 0, tests: Sequence[int] = ()) -> list[Strand]:
    """Return strands of carries; regions that only look at carries are ``tests``.

    Examples
    --------
    >>> from brainir.ir import going_round
    >>> (strand,) = going_round(1)
    >>> strand.goes_round, strand.sources
    (True, (Place(region=None, number=0), Place(region=0, number=0)))
    """
    return [
        Strand(
            (Place(None, i), Place(body, i)),
            (*(Place(region, i) for region in (body, *tests)), Place(None, i)),
        )
        for i in range(count)
    ]
