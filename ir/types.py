"""What graphs are made of: types, values, literals, state symbols and source locations."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from math import prod

import numpy as np

SHORT_NAMES: dict[str, str] = {
    "bool": "bool",
    "bfloat16": "bf16",
    **{f"float{n}": f"f{n}" for n in (16, 32, 64)},
    **{f"int{n}": f"i{n}" for n in (2, 4, 8, 16, 32, 64)},
    **{f"uint{n}": f"u{n}" for n in (2, 4, 8, 16, 32, 64)},
    **{f"complex{n}": f"c{n}" for n in (64, 128)},
}
"""Short spelling of a dtype in the text form; a dtype not named here is spelled out."""

NARROW = ("float32", "float16", "bfloat16")
"""Dtypes of real numbers that have fewer digits than Python's."""

LONG_NAMES: dict[str, str] = {short: name for name, short in SHORT_NAMES.items()}


@dataclass(frozen=True, slots=True)
class Type:
    """The dtype and shape of an array, printed as ``f32[500,1]``.

    A JAX random key is an element of its own dtype, such as ``key<fry>``. There are no weak types.

    Examples
    --------
    >>> from brainir.ir import Type
    >>> trace = Type("float32", (500, 4))
    >>> str(trace), trace.size, trace.nbytes
    ('f32[500,4]', 2000, 8000)
    >>> str(trace.stacked(10)), str(Type("key<fry>"))
    ('f32[10,500,4]', 'key<fry>[]')
    """

    dtype: str
    shape: tuple[int, ...] = ()

    def __str__(self) -> str:
        dims = ",".join(map(str, self.shape))
        return f"{SHORT_NAMES.get(self.dtype, self.dtype)}[{dims}]"

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return prod(self.shape)

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return _itemsize(self.dtype)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array."""
        return self.size * self.itemsize

    @property
    def is_key(self) -> bool:
        """Whether the elements are random keys."""
        return self.dtype.startswith("key<")

    @property
    def is_float(self) -> bool:
        """Whether the elements are real floating-point numbers."""
        return self.dtype.startswith(("float", "bfloat"))

    @property
    def is_complex(self) -> bool:
        """Whether the elements are complex numbers."""
        return self.dtype.startswith("complex")

    @property
    def is_integer(self) -> bool:
        """Whether the elements are signed or unsigned integers."""
        return self.dtype.startswith(("int", "uint"))

    @property
    def is_differentiable(self) -> bool:
        """Whether a derivative with respect to such an array makes sense."""
        return self.is_float or self.is_complex

    def with_shape(self, *shape: int) -> Type:
        """Return the type of the same elements in another shape."""
        return Type(self.dtype, shape)

    def stacked(self, length: int) -> Type:
        """Return the type of so many such arrays, along a new leading axis."""
        return Type(self.dtype, (length, *self.shape))

    def with_dtype(self, dtype: str) -> Type:
        """Return the type of the same shape with other elements."""
        return Type(dtype, self.shape)


@cache
def _itemsize(dtype: str) -> int:
    if dtype == "bool" or dtype.startswith("float8"):
        return 1
    if dtype.startswith("key<"):
        return 8
    digits = "".join(c for c in dtype.split("_")[0] if c.isdigit())
    return max(1, int(digits or 32) // 8)


@dataclass(frozen=True, slots=True)
class Loc:
    """A place in the user's own source.

    ``scope`` is what the user calls that part of the computation, such as ``layer/attention``.

    Examples
    --------
    >>> from brainir.ir import Loc
    >>> str(Loc("model.py", 12, function="update", scope="cell"))
    'model.py:12 update'
    """

    file: str
    line: int
    column: int = 0
    function: str = ""
    scope: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}"
        return f"{where} {self.function}" if self.function else where


def at(loc: Loc | None) -> str:
    """Return where something is, for use within a sentence; nothing where that is not known.

    Examples
    --------
    >>> f"the loop{at(Loc('model.py', 3))} has no end, the call{at(None)} has"
    'the loop at model.py:3 has no end, the call has'
    """
    return f" at {loc}" if loc else ""


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """One array in a graph; a value is itself, whatever it looks like (identity equality).

    ``hint`` is a wish for its printed name; the printer keeps names unique.

    Examples
    --------
    >>> from brainir.ir import Type, Value, parse
    >>> graph = parse('''graph @f(%x: f32[3]) -> (f32[3]) {
    ...   return %x
    ... }''')
    >>> graph.results[0] is graph.params[0], graph.params[0].hint
    (True, 'x')
    >>> Value(Type("float32"), "x") == Value(Type("float32"), "x")
    False
    """

    type: Type
    hint: str = ""


Scalar = bool | int | float | complex
"""The value of a literal."""


@dataclass(frozen=True, slots=True, eq=False)
class Literal:
    """A rank-0 constant written inline where it is used; a real number is one that its dtype has.

    Two literals are equal when their types are and their bits are, so ``nan`` equals ``nan`` and
    ``0.0`` differs from ``-0.0``.

    Raises
    ------
    ValueError
        If the type has axes.

    Examples
    --------
    >>> from brainir.ir import Literal, Type
    >>> Literal(0.1, Type("float32")).value, Literal(0.1, Type("float64")).value
    (0.10000000149011612, 0.1)
    >>> nan = float("nan")
    >>> Literal(nan, Type("float32")) == Literal(nan, Type("float32"))
    True
    """

    value: Scalar
    type: Type

    def __post_init__(self) -> None:
        if self.type.shape:
            raise ValueError(f"a literal is a rank-0 constant, not {self.type}")
        if isinstance(self.value, float) and self.type.dtype in NARROW:
            with np.errstate(over="ignore", under="ignore"):
                nearest = float(np.dtype(self.type.dtype).type(self.value))
            object.__setattr__(self, "value", nearest)

    def _bits(self) -> tuple[object, ...]:
        if isinstance(self.value, complex):
            return (self.type, struct.pack("dd", self.value.real, self.value.imag))
        if isinstance(self.value, float):
            return (self.type, struct.pack("d", self.value))
        return (self.type, int(self.value))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and self._bits() == other._bits()

    def __hash__(self) -> int:
        return hash(self._bits())


Operand = Value | Literal
"""What a node takes."""


@dataclass(frozen=True, slots=True, eq=False)
class StateVar:
    """A symbol for a piece of state that lives outside the graph.

    A state holds a pytree, so it has one type for each leaf. ``kind`` is what the user declared:
    hidden, short, long, param, delay, rng, ..., or ``local`` for one created inside the graph.

    Examples
    --------
    >>> from brainir.ir import StateVar, Type
    >>> potential = StateVar("cell.V", (Type("float32", (100,)),), "hidden", "mV")
    >>> potential.hint
    'V'
    """

    name: str
    types: tuple[Type, ...]
    kind: str = "state"
    unit: str | None = None

    @property
    def hint(self) -> str:
        """A wish for the printed names of its values: the last word of its name."""
        words = [word for word in self.name.split(".") if not word.isdecimal()]
        return words[-1] if words else self.name


@dataclass(frozen=True, slots=True, eq=False)
class Const:
    """A named array that a graph refers to; it is handed to executables as an argument.

    ``data`` is None in a graph that was read from text.

    Examples
    --------
    >>> import numpy as np
    >>> from brainir.ir import Const, parse
    >>> graph = parse('''graph @f(%x: f32[2]) -> (f32[2])
    ...   consts(%weight: f32[2]) {
    ...   %y = mul %x, %weight
    ...   return %y
    ... }''')
    >>> (const,) = graph.consts
    >>> const.value.hint, const.data
    ('weight', None)
    >>> filled = graph.with_(consts=(Const(const.value, np.array([0.5, 2.0], np.float32)),))
    >>> filled.consts[0].data
    array([0.5, 2. ], dtype=float32)
    """

    value: Value
    data: object = None
