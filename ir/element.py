"""How one element of a result is made of elements of the operands: what native kernels are made of.

The record of an op says this with one of five values:

`Pointwise`
    An element is made of the elements of all operands at its own place.
`Indexed`
    An element is made of elements at places that its own place tells.
`Spelled`
    The op can be spelled out in others.
`WHOLE`
    A result is made as a whole, by loops that a backend has for the op.
`NO_ELEMENT`
    There is no such rule, for a reason; loops with the op stay with the other backends.

A rule speaks in words that a machine has (see `Elements`), so that it serves any machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .types import Scalar, Type


class Element(Protocol):
    """One number, as the code that is being written has it.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Symbol:
    ...     dtype: str
    ...     text: str
    >>> Symbol("float32", "x").dtype
    'float32'
    """

    @property
    def dtype(self) -> str:
        """Of which dtype it is, as in `Type`."""
        ...


class Elements(Protocol):
    """What writes code that computes elements.

    Called with a word and elements, it gives the element that the word makes of them. The words:

    ``add sub mul div rem neg min max``
        Arithmetic. Integers wrap; they are not divided by zero, nor the smallest by -1.
    ``and or xor not shl lshr ashr popcount clz``
        Bits. Shifts are by fewer bits than there are.
    ``eq ne lt le gt ge select``
        Comparison; and the second operand where the first holds, else the third.
    ``abs floor ceil trunc round sqrt copysign``
        What processors have for floats; ``round`` takes halves to even.
    ``exp expm1 tanh ...``
        All other words are functions of floats.

    Examples
    --------
    What writes formulas in place of instructions:

    >>> from brainir.ir import get_op
    >>> class Formulas:
    ...     def __call__(self, word, *elements):
    ...         return f"{word}({', '.join(elements)})"
    >>> get_op("square").element.rule(Formulas(), "x")
    'mul(x, x)'
    """

    def __call__(self, word: str, *elements: Any) -> Any:
        """Return what a word makes of elements of one dtype."""
        ...

    def constant(self, value: Scalar, dtype: str) -> Any:
        """Return a number."""
        ...

    def convert(self, element: Any, dtype: str) -> Any:
        """Return a number in another dtype: floats are truncated to integers in range."""
        ...

    def bitcast(self, element: Any, dtype: str) -> Any:
        """Return the same bits as another dtype of the same width."""
        ...


class Source(Protocol):
    """An operand of which elements can be had.

    Examples
    --------
    >>> from brainir.ir import Type, get_op
    >>> class Named:
    ...     type = Type("float32", (4,))
    ...     def at(self, index):
    ...         return f"x[{', '.join(index)}]"
    >>> class Place:
    ...     index, type, number = ("i", "j"), Type("float32", (4, 8)), 0
    >>> class Numbers:
    ...     def constant(self, value, dtype):
    ...         return str(value)
    >>> rule = get_op("broadcast_in_dim").element.rule
    >>> rule(Numbers(), Place(), Named(), shape=(4, 8), dims=(0,))
    'x[i]'
    """

    @property
    def type(self) -> Type:
        """Of the whole operand."""
        ...

    def at(self, index: Sequence[Any]) -> Any:
        """Return the element at an index, of one int64 for each axis."""
        ...


@dataclass(frozen=True, slots=True)
class Pointwise:
    """``rule(e, *elements, **attrs)`` makes an element of those of the operands at its place.

    Examples
    --------
    >>> from brainir.ir import Pointwise, get_op
    >>> isinstance(get_op("add").element, Pointwise)
    True
    """

    rule: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Indexed:
    """``rule(e, index, type, *sources, **attrs)`` makes the element at an index of a result.

    ``type`` is that of the result. A rule asks for no element that is not there.

    Examples
    --------
    >>> from brainir.ir import Indexed, get_op
    >>> isinstance(get_op("transpose").element, Indexed)
    True
    """

    rule: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Spelled:
    """``rule(builder, *operands, **attrs)`` builds nodes of other ops that mean the same.

    It returns what stands for the results; None if it cannot say it with ops that have records.

    Examples
    --------
    >>> from brainir.ir import Builder, Spelled, parse
    >>> twice = Spelled(lambda builder, x: [builder("add", x, x)], "nobody knows it")
    >>> (x,), build = parse("graph @f(%x: f32[]) -> (f32[]) { return %x }").params, Builder()
    >>> [str(result.type) for result in twice.rule(build, x)]
    ['f32[]']
    """

    rule: Callable[..., Sequence[Any] | None]
    why: str
    """What is the matter with the op itself."""


@dataclass(frozen=True, slots=True)
class NotByElement:
    """There is no rule for an element; ``whole`` says whether kernels have loops for the op.

    Examples
    --------
    >>> from brainir.ir import NO_ELEMENT
    >>> NO_ELEMENT("it sorts").why
    'it sorts'
    """

    why: str
    whole: bool = False


ElementRule = Pointwise | Indexed | Spelled | NotByElement
"""What the record of an op says of its elements."""

NO_ELEMENT = NotByElement
"""``NO_ELEMENT("why")``: kernels cannot hold the op."""

WHOLE = NotByElement("its result is made as a whole", whole=True)
"""Kernels have loops for the op."""


def _itself(e: Elements, x: Any) -> Any:
    return x


ITSELF = Pointwise(_itself)
"""The rule of an op that gives its operand."""


def by_word(word: str) -> Pointwise:
    """Return the rule of an op for which there is a word.

    Examples
    --------
    >>> from brainir.ir import by_word
    >>> by_word("tanh").rule(lambda word, *elements: (word, *elements), "x")
    ('tanh', 'x')
    """

    def rule(e: Elements, *elements: Any, **_: Any) -> Any:
        return e(word, *elements)

    return Pointwise(rule)
