"""Elements as LLVM values: the words of element rules, each as the instructions that it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir

from ...ir import Type
from . import elementary

FLOATS = {"float32": ir.FloatType(), "float64": ir.DoubleType()}
WIDTHS = {f"{sign}int{bits}": bits for sign in ("", "u") for bits in (8, 16, 32, 64)}

DTYPES = ("bool", *WIDTHS, *FLOATS)
"""What elements may be."""

BIT, BYTE, LONG = ir.IntType(1), ir.IntType(8), ir.IntType(64)
POINTER = ir.PointerType()

FORESEEN = (1, 2000)
"""How often a branch is taken that processors are to foresee, and how often it is not."""

FUSED = ("contract",)
"""A product and a sum may be rounded once, as XLA's own code does."""

TURNED = (*FUSED, "arcp")
"""A quotient by a number may be a product with its reciprocal, which XLA's own code makes of it."""


def llvm_type(dtype: str) -> Any:
    """Return the LLVM type of an element, as registers hold it."""
    if dtype == "bool":
        return BIT
    return FLOATS[dtype] if dtype in FLOATS else ir.IntType(WIDTHS[dtype])


def stored_type(dtype: str) -> Any:
    """Return the LLVM type of an element, as memory holds it: a bool is a byte."""
    return BYTE if dtype == "bool" else llvm_type(dtype)


@dataclass(frozen=True, slots=True)
class Number:
    """One element: an LLVM value, and what it means.

    Attributes
    ----------
    value : ir.Value
        The element.
    dtype : str
        As in `Type`.
    spike : tuple of ir.Value, optional
        A test and a height, if it is that high where the test holds, and 0 elsewhere.
    """

    value: Any
    dtype: str
    spike: tuple[Any, Any] | None = None


class Machine:
    """Writes instructions at one place of a function; see `brainir.ir.Elements`.

    Attributes
    ----------
    builder : ir.IRBuilder
        What appends instructions.
    alone : bool
        Whether they are for one element, rather than for as many as fit into an instruction.
    """

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.builder: Any = builder
        self.alone = True

    def __call__(self, word: str, *elements: Number) -> Number:
        """Return what a word makes of elements."""
        dtype = elements[-1].dtype
        if word == "sub" and elements[1].spike is not None and self.alone:
            return Number(self._without_spike(elements[0].value, *elements[1].spike), dtype)
        if word == "mul" and elements[1].spike is not None:
            return self._higher(*elements)
        if word == "mul" and elements[0].spike is not None:
            return self._higher(*elements[::-1])
        if word == "select":
            test, yes, no = (element.value for element in elements)
            return Number(self.builder.select(test, yes, no), dtype)
        if word in _RELATIONS:
            return Number(self._compare(word, *elements), "bool")
        values = [element.value for element in elements]
        if dtype in FLOATS:
            return Number(self._of_floats(word, values, dtype), dtype)
        return Number(self._of_integers(word, values, dtype), dtype)

    def constant(self, value: Any, dtype: str) -> Number:
        """Return a number."""
        if dtype in FLOATS:
            return Number(ir.Constant(llvm_type(dtype), float(np.dtype(dtype).type(value))), dtype)
        bits = 1 if dtype == "bool" else WIDTHS[dtype]
        return Number(ir.Constant(ir.IntType(bits), int(value) & ((1 << bits) - 1)), dtype)

    def index(self, value: int) -> Number:
        """Return a place along an axis."""
        return self.constant(value, "int64")

    # --- spikes -----------------------------------------------------------------------------------

    def _without_spike(self, x: Any, test: Any, height: Any) -> Any:
        """Return x less a spike, by a branch.

        A step of a neuron waits for the step before, and a branch that is rarely taken is foreseen:
        what is usual goes on without waiting for the comparison and the difference.
        """
        build = self.builder
        usual, rare, end = build.block, *(build.function.append_basic_block() for _ in range(2))
        branch = build.cbranch(test, rare, end)
        weights = (ir.Constant(ir.IntType(32), weight) for weight in FORESEEN)
        name = ir.MetaDataString(build.module, "branch_weights")
        branch.set_metadata("prof", build.module.add_metadata([name, *weights]))
        build.position_at_end(rare)
        less = build.fsub(x, height)
        build.branch(end)
        build.position_at_end(end)
        result = build.phi(x.type)
        result.add_incoming(x, usual)
        result.add_incoming(less, rare)
        return result

    def _higher(self, factor: Number, element: Number) -> Number:
        """Return a product with a spike: a spike, where zeros stay zeros of the same sign."""
        value, dtype = (
            self._of_floats("mul", [factor.value, element.value], factor.dtype),
            factor.dtype,
        )
        assert element.spike is not None
        test, height = element.spike
        known = isinstance(factor.value, ir.Constant) and 0 < factor.value.constant < np.inf
        if not known or height.constant != 1:
            return Number(value, dtype)
        return Number(value, dtype, (test, factor.value))

    # --- words ------------------------------------------------------------------------------------

    def _compare(self, word: str, x: Number, y: Number) -> Any:
        relation, build = _RELATIONS[word], self.builder
        if x.dtype in FLOATS:
            compare = build.fcmp_unordered if word == "ne" else build.fcmp_ordered
            return compare(relation, x.value, y.value)
        if x.dtype.startswith("int"):
            return build.icmp_signed(relation, x.value, y.value)
        return build.icmp_unsigned(relation, x.value, y.value)

    def _of_floats(self, word: str, values: Sequence[Any], dtype: str) -> Any:
        build, kind = self.builder, llvm_type(dtype)
        if word in _FLOAT_INSTRUCTIONS:
            by_number = word == "div" and isinstance(values[1], ir.Constant)
            flags = TURNED if by_number else FUSED
            return getattr(build, _FLOAT_INSTRUCTIONS[word])(*values, flags=flags)
        if word in ("rem",):
            return build.frem(*values)
        if word in ("max", "min"):
            return self._extreme(word, *values)
        if word in _INTRINSICS:
            return self._intrinsic(_INTRINSICS[word], kind, values)
        function = elementary.define(build.module, word, kind)
        return build.call(function, values)

    def _extreme(self, word: str, x: Any, y: Any) -> Any:
        """Return the larger or the smaller; nan if one is."""
        build = self.builder
        wins = build.fcmp_ordered(">" if word == "max" else "<", x, y)
        return build.select(build.or_(wins, build.fcmp_unordered("!=", x, x)), x, y)

    def _of_integers(self, word: str, values: Sequence[Any], dtype: str) -> Any:
        build = self.builder
        signed = dtype.startswith("int")
        if word in ("div", "rem"):
            return getattr(build, f"{'s' if signed else 'u'}{word}")(*values)
        if word in ("max", "min"):
            x, y = values
            wins = self._compare(
                "gt" if word == "max" else "lt", Number(x, dtype), Number(y, dtype)
            )
            return build.select(wins, x, y)
        if word == "abs":
            (x,) = values
            negative = self._compare("lt", Number(x, dtype), self.constant(0, dtype))
            return build.select(negative, build.neg(x), x)
        if word == "popcount":
            return self._intrinsic("llvm.ctpop", values[0].type, values)
        if word == "clz":
            return self._intrinsic("llvm.ctlz", values[0].type, [*values, ir.Constant(BIT, 0)])
        return getattr(build, _INTEGER_INSTRUCTIONS[word])(*values)

    def _intrinsic(self, name: str, kind: Any, values: Sequence[Any]) -> Any:
        function = self.builder.module.declare_intrinsic(
            name, [kind], ir.FunctionType(kind, [value.type for value in values])
        )
        return self.builder.call(function, values)

    # --- conversion -------------------------------------------------------------------------------

    def convert(self, element: Number, dtype: str) -> Number:
        """Return a number in another dtype: floats are truncated to integers in range."""
        if element.dtype == dtype:
            return element
        value = self._converted(element, dtype)
        one = ir.Constant(value.type, 1.0) if dtype in FLOATS else None
        is_spike = element.dtype == "bool" and one is not None
        return Number(value, dtype, (element.value, one) if is_spike else None)

    def _converted(self, element: Number, dtype: str) -> Any:
        build, value, kind = self.builder, element.value, llvm_type(dtype)
        if dtype == "bool":
            return self._compare("ne", element, self.constant(0, element.dtype))
        if element.dtype in FLOATS:
            if dtype in FLOATS:
                return (build.fpext if dtype == "float64" else build.fptrunc)(value, kind)
            return self._saturated(value, dtype)
        unsigned = element.dtype == "bool" or element.dtype.startswith("u")
        if element.dtype == "bool" and dtype in FLOATS:
            # Faster than by way of an integer, for a single number.
            return build.select(value, ir.Constant(kind, 1.0), ir.Constant(kind, 0.0))
        if dtype in FLOATS:
            return (build.uitofp if unsigned else build.sitofp)(value, kind)
        if kind.width == value.type.width:
            return value
        if kind.width < value.type.width:
            return build.trunc(value, kind)
        return (build.zext if unsigned else build.sext)(value, kind)

    def _saturated(self, value: Any, dtype: str) -> Any:
        kind, sign = llvm_type(dtype), "s" if dtype.startswith("int") else "u"
        function = self.builder.module.declare_intrinsic(
            f"llvm.fpto{sign}i.sat", [kind, value.type], ir.FunctionType(kind, [value.type])
        )
        return self.builder.call(function, [value])

    def bitcast(self, element: Number, dtype: str) -> Number:
        """Return the same bits as another dtype of the same width."""
        kind = llvm_type(dtype)
        same = kind == element.value.type
        return Number(element.value if same else self.builder.bitcast(element.value, kind), dtype)

    # --- memory -----------------------------------------------------------------------------------

    def copy(self, target: Any, source: Any, nbytes: int) -> Any:
        """Copy bytes to memory that is the same or does not overlap."""
        module, kinds = self.builder.module, [POINTER, POINTER, LONG]
        function = module.globals.get("copy bytes")
        if function is None:
            function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), "copy bytes")
            function.linkage = "internal"
            # Many in a row would be one block, and LLVM's schedulers take a square of its length.
            function.attributes.add("noinline")
            kind = ir.FunctionType(ir.VoidType(), [*kinds, BIT])
            intrinsic = module.declare_intrinsic("llvm.memcpy", kinds, kind)
            inside = ir.IRBuilder(function.append_basic_block())
            inside.call(intrinsic, [*function.args, ir.Constant(BIT, 0)])
            inside.ret_void()
        return self.builder.call(function, [target, source, ir.Constant(LONG, nbytes)])

    def address(self, pointer: Any, dtype: str, offset: Any) -> Any:
        """Return where an element is, from that of the first one."""
        return self.builder.gep(pointer, [offset], inbounds=True, source_etype=stored_type(dtype))

    def load(self, address: Any, dtype: str) -> tuple[Number, Any]:
        """Return an element from memory, and the instruction that reads it."""
        kind = stored_type(dtype)
        read = self.builder.load(address, typ=kind, align=Type(dtype).itemsize)
        value = self.builder.trunc(read, BIT) if dtype == "bool" else read
        return Number(value, dtype), read

    def store(self, element: Number, address: Any) -> Any:
        """Write an element to memory, and return the instruction that does."""
        value = element.value
        if element.dtype == "bool":
            value = self.builder.zext(value, BYTE)
        return self.builder.store(value, address, align=Type(element.dtype).itemsize)


Word = Callable[..., Any]

_RELATIONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}

_FLOAT_INSTRUCTIONS = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv", "neg": "fneg"}

_INTRINSICS = {
    "abs": "llvm.fabs",
    "floor": "llvm.floor",
    "ceil": "llvm.ceil",
    "trunc": "llvm.trunc",
    "round": "llvm.rint",
    "sqrt": "llvm.sqrt",
    "copysign": "llvm.copysign",
}

_INTEGER_INSTRUCTIONS = {
    "add": "add",
    "sub": "sub",
    "mul": "mul",
    "neg": "neg",
    "and": "and_",
    "or": "or_",
    "xor": "xor",
    "not": "not_",
    "shl": "shl",
    "lshr": "lshr",
    "ashr": "ashr",
}
