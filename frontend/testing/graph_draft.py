"""A random graph while it is being drawn: what is in scope, and how large it can become.

Numbers stay tame, so that backends agree on graphs as a whole: for every value, the draft knows how
large its elements can be, and whether rounding has touched them. Ops that jump (comparisons,
rounding to whole numbers, sorting with others) are only given numbers that are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf, log2
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ...ir import (
    Builder,
    Const,
    Graph,
    Literal,
    Loc,
    Operand,
    StateVar,
    Type,
    Value,
    get_op,
    keys_of_words,
    numpy_dtype,
)

KEY = "key<fry>"
"""The dtype of random keys."""
HINTS = ("", "x", "", "V", "x1", "")
MANTISSA = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}
LARGEST = {"float16": 8.0, "bfloat16": 8.0}
"""How large floating-point numbers may become; 64 for the dtypes not named."""


@dataclass(frozen=True)
class Range:
    """What is known of the elements of a value.

    They are at most ``bound`` in magnitude; if there is a ``grid``, multiples of ``2**-grid`` that
    no rounding has touched.
    """

    bound: float
    grid: int | None = None


def largest(dtype: str) -> float:
    """Return how large elements may become before they are squashed (or wrap, for integers)."""
    if dtype == "bool":
        return 1.0
    if Type(dtype).is_integer:
        return float(np.iinfo(dtype).max) + 1
    return LARGEST.get(dtype, 64.0)


def normal(dtype: str, range: Range) -> Range:
    """Return a range as it is once the elements are of that dtype."""
    if dtype == "bool" or Type(dtype).is_integer:
        return Range(min(range.bound, largest(dtype)), 0)
    bits = MANTISSA.get(dtype, 0)
    if range.grid is None or log2(max(range.bound, 1.0)) + range.grid > bits:
        return Range(range.bound)
    return range


def resting_range(dtype: str) -> Range:
    """Return the range of what is carried by loops and kept in states."""
    return normal(dtype, Range(4.0) if largest(dtype) < 100 else Range(inf))


def elements(dtype: str) -> st.SearchStrategy[Any]:
    """Return a strategy of input elements: dyadic fractions up to 2, whole numbers up to 4."""
    if dtype == "bool":
        return st.booleans()
    if Type(dtype).is_integer:
        return st.integers(0 if dtype.startswith("u") else -4, 4)
    quarters = st.integers(-8, 8).map(lambda n: n / 4)
    if Type(dtype).is_complex:
        return st.builds(lambda re, im: complex(re, im) / 2, quarters, quarters)
    return quarters


def input_range(dtype: str) -> Range:
    """Return the range of `elements`."""
    if Type(dtype).is_key:
        return Range(inf)
    return normal(dtype, Range(4.0, 0) if Type(dtype).is_integer else Range(2.0, 2))


@st.composite
def arrays(draw: st.DrawFn, type: Type) -> np.ndarray[Any, Any]:
    """Draw a numpy array of a type; keys are structured elements, as numpy holds them."""
    if type.is_key:
        shape = (*type.shape, 2)
        words = draw(st.lists(st.integers(0, 9), min_size=type.size * 2, max_size=type.size * 2))
        return keys_of_words(np.array(words, np.uint32).reshape(shape), type.dtype)
    items = st.lists(elements(type.dtype), min_size=type.size, max_size=type.size)
    return np.array(draw(items), numpy_dtype(type.dtype)).reshape(type.shape)


@dataclass(frozen=True)
class Options:
    """What may occur in a drawn graph; see `random_graphs.graphs`."""

    states: bool
    regions: bool
    transformations: bool
    differentiable: bool
    dtypes: tuple[str, ...]
    nodes: int
    ops: tuple[str, ...] = ()


@dataclass
class Block:
    """The graph or region at hand."""

    builder: Builder
    values: list[Value]
    states: list[StateVar] = field(default_factory=list)
    pure: bool = False


class Draft:
    """A graph being drawn.

    Attributes
    ----------
    blocks : list of Block
        The graph and the regions around the place at hand, innermost last.
    params, consts : list
        Of the graph; more are added as operands are needed.
    ranges : dict
        What is known of each value.
    left : int
        How many more nodes may be drawn.
    """

    def __init__(self, draw: st.DrawFn, options: Options) -> None:
        self.draw = draw
        self.options = options
        self.blocks = [Block(Builder(), [])]
        self.params: list[Value] = []
        self.consts: list[Const] = []
        self.states: list[StateVar] = []
        self.ranges: dict[Value, Range] = {}
        self.left = options.nodes
        self._emitted = 0

    # --- drawing ----------------------------------------------------------------------------------

    def integer(self, low: int, high: int) -> int:
        """Draw an integer."""
        return self.draw(st.integers(low, high))

    def choose(self, options: Sequence[Any]) -> Any:
        """Draw one of several things, the simplest of which comes first."""
        return self.draw(st.sampled_from(options))

    def subset(self, options: Sequence[int]) -> tuple[int, ...]:
        """Draw some of several numbers, in their order."""
        return tuple(n for n in options if self.draw(st.booleans()))

    def shape(self) -> tuple[int, ...]:
        """Draw a shape."""
        return self.choose([(), (3,), (2, 3), (1,), (0,), (2,), (3, 1), (2, 0)])

    # --- values -----------------------------------------------------------------------------------

    @property
    def block(self) -> Block:
        """The graph or region at hand."""
        return self.blocks[-1]

    def range_of(self, operand: Operand) -> Range:
        """Return what is known of an operand."""
        if isinstance(operand, Value):
            return self.ranges[operand]
        grid = 2 if operand.type.dtype != "bool" else 0
        return normal(operand.type.dtype, Range(abs(operand.value), grid))

    def pick(self, fits: Callable[[Value], bool]) -> Value | None:
        """Draw a value in scope that fits, or return None if there is none."""
        fitting = [v for block in self.blocks for v in block.values if fits(v)]
        if not fitting:
            return None
        # Half of the time the newest one, so that much of a graph hangs together.
        return fitting[-1] if self.draw(st.booleans()) else self.choose(fitting)

    def pick_kind(self, kinds: str) -> Value | None:
        """Draw a value of some kinds: b(ool) i(nt) u(nsigned) f(loat) c(omplex) k(ey)."""
        return self.pick(lambda v: kind(v.type.dtype) in kinds)

    def leaf(self, type: Type) -> Operand:
        """Draw a literal, parameter or const of a type."""
        if not type.is_key and not type.shape and self.draw(st.booleans()):
            return Literal(self.draw(elements(type.dtype)), type)
        value = Value(type, f"p{len(self.params)}")
        if self.choose(["param", "param", "const"]) == "param":
            self.params.append(value)
        else:
            self.consts.append(Const(value, self.draw(arrays(type))))
        self.blocks[0].values.append(value)
        self.ranges[value] = input_range(type.dtype)
        return value

    def operand(self, type: Type, exact: bool = False) -> Operand:
        """Draw an operand of a type: a value in scope if there is one, or something new."""
        found = self.pick(lambda v: v.type == type and (not exact or self.is_exact(v)))
        return self.leaf(type) if found is None or self.integer(0, 3) == 3 else found

    def is_exact(self, value: Operand) -> bool:
        """Whether no rounding has touched a value."""
        return self.range_of(value).grid is not None

    # --- nodes ------------------------------------------------------------------------------------

    def emit(
        self,
        op: str,
        operands: Sequence[Operand],
        attrs: dict[str, Any] | None = None,
        ranges: Sequence[Range] = (),
        regions: Sequence[Graph] = (),
    ) -> list[Value]:
        """Build a node and bring its results into scope; what could be large only as its tanh."""
        record = get_op(op)
        types = record.result_types(tuple(o.type for o in operands), attrs or {}, tuple(regions))
        self._emitted += 1
        number = self._emitted
        hints = [HINTS[(number + i) % len(HINTS)] for i in range(len(types))]
        loc = Loc("/home/me/model.py", number, 4, "update") if number % 2 else None
        results = self.block.builder.emit(record, operands, attrs, regions, loc=loc, hints=hints)
        for i, value in enumerate(results):
            range_ = normal(value.type.dtype, ranges[i] if i < len(ranges) else Range(inf))
            self.ranges[value] = range_
            if range_.bound <= largest(value.type.dtype) or kind(value.type.dtype) in "kiub":
                self.block.values.append(value)
            elif kind(value.type.dtype) == "f":
                self.emit("tanh", [value], ranges=[Range(1.0)])
        return list(results)

    def squashed(self, operand: Operand, bound: float) -> Operand:
        """Return an operand, or something like it that is not larger than a bound up to 4."""
        range, dtype = self.range_of(operand), operand.type.dtype
        if kind(dtype) not in "fc" or range.bound <= bound:
            return operand
        if kind(dtype) == "c":
            literal, small = Literal(0.01 + 0j, Type(dtype)), Range(range.bound / 100)
            return self.emit("mul", [operand, literal], ranges=[small])[0]
        (small,) = self.emit("tanh", [operand], ranges=[Range(1.0)])
        if bound >= 1:
            return small
        half = Literal(0.5, Type(dtype))
        return self.emit("mul", [small, half], ranges=[Range(0.5)])[0]

    def above(self, operand: Operand, low: float) -> Operand:
        """Return something like a real operand that lies between ``low`` and ``low + 1``."""
        (unit,) = self.emit("logistic", [operand], ranges=[Range(1.0)])
        literal = Literal(low, Type(operand.type.dtype))
        return self.emit("add", [unit, literal], ranges=[Range(low + 1)])[0]

    # --- regions ----------------------------------------------------------------------------------

    @contextmanager
    def region(
        self, params: Sequence[Value], ranges: Sequence[Range], pure: bool
    ) -> Iterator[Block]:
        """Build a region: in the block, nodes go there and see its parameters."""
        block = Block(Builder(), list(params), pure=pure or self.block.pure)
        self.ranges.update(zip(params, ranges, strict=True))
        self.blocks.append(block)
        yield block
        self.blocks.pop()


def kind(dtype: str) -> str:
    """Return one letter for what elements are: b(ool) i(nt) u(nsigned) f(loat) c(omplex) k(ey)."""
    if dtype.startswith(("float", "bfloat")):
        return "f"
    return dtype[0]
