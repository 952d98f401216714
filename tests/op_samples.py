"""Samples of every op: operands and attributes on which the laws of `test_ops` are tried.

A family is a generator of samples that is given a source of random numbers; another source gives
other elements, but the same ops, types and attributes. To add an op, add a sample to a family.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from brainir.testing import Sample

Array = np.ndarray[Any, Any]
Random = np.random.Generator


def floats(rng: Random, *shape: int, low: float = -2.0, high: float = 2.0) -> Array:
    """Return numbers that are nowhere near each other or 0, so that no kink is near."""
    size = int(np.prod(shape))
    spaced = (np.arange(size) + rng.uniform(0.3, 0.7, size)) / max(size, 1)
    return (low + (high - low) * rng.permutation(spaced)).astype(np.float32).reshape(shape)


def complexes(rng: Random, *shape: int) -> Array:
    """Return complex numbers of moderate size."""
    return (floats(rng, *shape) + 1j * floats(rng, *shape)).astype(np.complex64)


def integers(rng: Random, *shape: int, low: int = -9, high: int = 9, dtype: str = "int32") -> Array:
    """Return integers in a range."""
    return rng.integers(low, high, shape, endpoint=True).astype(dtype)


# --- functions of one operand ---------------------------------------------------------------------

RANGES = {
    "log": (0.3, 3.0),
    "log1p": (-0.8, 2.0),
    "sqrt": (0.3, 3.0),
    "rsqrt": (0.3, 3.0),
    "cbrt": (0.3, 3.0),
    "asin": (-0.9, 0.9),
    "acos": (-0.9, 0.9),
    "atanh": (-0.9, 0.9),
    "acosh": (1.2, 3.0),
    "tan": (-1.2, 1.2),
    "erf_inv": (-0.9, 0.9),
    "lgamma": (0.3, 6.0),
    "digamma": (0.3, 6.0),
}
FUNCTIONS = (
    *("exp", "exp2", "log", "log1p", "expm1", "sin", "cos", "tan", "asin", "acos", "atan", "sinh"),
    *("cosh", "tanh", "asinh", "acosh", "atanh", "logistic", "sqrt", "rsqrt", "square", "neg"),
    *("sign", "abs"),
)
"""Those that are also defined on complex numbers."""
REAL_FUNCTIONS = (
    *("cbrt", "erf", "erfc", "erf_inv", "lgamma", "digamma", "bessel_i0e", "bessel_i1e", "floor"),
    *("ceil", "is_finite"),
)
SPECIAL = np.array(
    [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, -1.5, 1e-30, 7.25, -3.0, 1e9],
    np.float32,
)
"""Where floating-point functions have their poles, limits and halves."""

EXTREMES = {
    "int32": [0, 1, -1, 2, -7, 7, 31, 32, 33, -(2**31), 2**31 - 1],
    "int8": [0, 1, -1, 3, 7, 8, -8, -128, 127],
    "uint32": [0, 1, 2, 31, 32, 33, 2**31, 2**32 - 1],
}


def function_samples(rng: Random) -> Iterator[Sample]:
    for name in (*FUNCTIONS, *REAL_FUNCTIONS):
        low, high = RANGES.get(name, (-2.0, 2.0))
        yield Sample(name, (floats(rng, 2, 3, low=low, high=high),))
        # Libraries differ on sines of huge numbers, beside a root of lgamma, and on digamma(0).
        highest = {"sin": 100, "cos": 100, "tan": 100, "lgamma": 0.5}.get(name, np.inf)
        special = np.minimum(SPECIAL, np.float32(highest))
        yield Sample(
            name, (special[special != 0] if name == "digamma" else special,), slopes="none"
        )
    for name in ("exp", "logistic", "rsqrt", "sign", "erf", "lgamma"):
        yield Sample(name, (floats(rng, low=0.5),), slopes="none")
        yield Sample(name, (floats(rng, 3, low=0.5).astype("bfloat16"),), slopes="none")
    for name in FUNCTIONS:
        # JAX has the slope of acosh on the wrong branch where x < 0, and that of sign as 0.
        slopes = {"acosh": "ours", "sign": "kinks"}.get(name, "smooth")
        yield Sample(name, (complexes(rng, 4),), {}, slopes, rtol=1e-4)
    for name, dtype in itertools.product(("square", "neg", "sign", "abs"), EXTREMES):
        if name != "abs" or dtype != "uint32":
            yield Sample(name, (np.array(EXTREMES[dtype], dtype),))
    yield Sample("abs", (np.zeros(2, np.float32),), slopes="kinks")
    yield Sample("abs", (np.zeros(2, np.complex64),), slopes="kinks")
    for y in (-2, -1, 0, 1, 2, 3, 4, 7):
        yield Sample("integer_pow", (floats(rng, 4, low=0.5),), {"y": y})
    yield Sample("integer_pow", (complexes(rng, 4),), {"y": 3}, rtol=1e-4)
    yield Sample("integer_pow", (integers(rng, 5),), {"y": 11})
    for order in (1, 2, 4):
        yield Sample("polygamma", (floats(rng, 4, low=0.5, high=20.0),), {"order": order})
    halves = np.array([0.5, 1.5, -0.5, -2.5, 0.49999997, 0.2, -0.0, np.nan, np.inf], np.float32)
    for method in (0, 1):
        yield Sample("round", (halves,), {"rounding_method": method}, slopes="none")
        yield Sample("round", (floats(rng, 4),), {"rounding_method": method})
    yield Sample("stop_gradient", (floats(rng, 3),), slopes="kinks")


# --- arithmetic -----------------------------------------------------------------------------------


def _pairs(values: Any, dtype: str) -> tuple[Array, Array]:
    first, second = zip(*itertools.product(values, values), strict=True)
    return np.array(first, dtype), np.array(second, dtype)


ARITHMETIC = ("add", "sub", "mul", "div", "rem", "max", "min", "atan2", "nextafter", "pow")
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
BITWISE = ("and", "or", "xor")
SHIFTS = ("shift_left", "shift_right_logical", "shift_right_arithmetic")


def arithmetic_samples(rng: Random) -> Iterator[Sample]:
    shapes = [((), (3,)), ((2, 3), ()), ((2, 1), (1, 3)), ((0,), ())]
    for name in (*ARITHMETIC, *COMPARISONS):
        slopes = "none" if name == "nextafter" else "smooth"
        x, y = floats(rng, 3, low=0.5, high=2.0), floats(rng, 3, low=2.1, high=4.0)
        yield Sample(name, (x, y), slopes=slopes)
        yield Sample(name, (y, x), slopes=slopes)
        for first, second in shapes if name in ARITHMETIC else shapes[:2]:
            x = floats(rng, *first, low=0.5, high=2.0)
            y = floats(rng, *second, low=2.1, high=4.0)
            yield Sample(name, (x, y), slopes=slopes)
        yield Sample(name, _pairs(SPECIAL, "float32"), slopes="none")
    for name in [
        "add",
        "sub",
        "mul",
        "div",
        "rem",
        "max",
        "min",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
    ]:
        for dtype in ("int32", "uint32"):
            yield Sample(name, _pairs(EXTREMES[dtype], dtype))
    for name in ("div", "rem", "mul"):
        yield Sample(name, _pairs(EXTREMES["int8"], "int8"))
    for name in ("max", "min", "eq", "lt"):
        yield Sample(name, _pairs([False, True], "bool"))
    for name in ("add", "sub", "mul", "div", "eq", "pow"):
        yield Sample(name, (complexes(rng, 3), complexes(rng, 3)), rtol=1e-4)
    for name in ("max", "min"):
        yield Sample(name, _pairs([1.0, 2.0, np.inf], "float32"), slopes="kinks")
    for dtype in ("int32", "uint32"):
        powers = np.array([0, 1, 2, 3], dtype)
        yield Sample("pow", (floats(rng, 4, low=0.5), powers))
        yield Sample("pow", (np.zeros(4, np.float32), powers), slopes="kinks")
    yield Sample("pow", (floats(rng, 4, low=0.5), np.array(-3, np.int32)))
    zero_base = (np.zeros(3, np.float32), np.array([1.0, 1.5, 2.0], np.float32))
    yield Sample("pow", zero_base, slopes="kinks")


def bit_samples(rng: Random) -> Iterator[Sample]:
    for name in (*BITWISE, *SHIFTS):
        for dtype, values in EXTREMES.items():
            yield Sample(name, _pairs(values, dtype))
    for name in BITWISE:
        yield Sample(name, _pairs([False, True], "bool"))
        yield Sample(name, (integers(rng, 2, 3), integers(rng)))
    for name in ("not", "population_count", "clz"):
        for dtype, values in EXTREMES.items():
            yield Sample(name, (np.array(values, dtype),))
    yield Sample("not", (np.array([False, True]),))


def selection_samples(rng: Random) -> Iterator[Sample]:
    for shape in ((), (2, 3)):
        which = rng.random(shape) < 0.5
        yield Sample("select_n", (np.asarray(which), floats(rng, 2, 3), floats(rng, 2, 3)))
        which, cases = integers(rng, *shape, low=0, high=2), [floats(rng, 2, 3) for _ in range(3)]
        yield Sample("select_n", (which, *cases))
        outside = integers(rng, *shape, low=3, high=5) * rng.choice([-1, 1], shape)
        yield Sample("select_n", (outside.astype(np.int32), *cases), slopes="ours")
    yield Sample("select_n", (np.array(True), floats(rng), floats(rng)))
    yield Sample("select_n", (rng.random(4) < 0.5, integers(rng, 4), integers(rng, 4)))
    yield Sample("select_n", (np.zeros(3, np.bool_), floats(rng, 3)), slopes="ours")
    for low, high in itertools.product(((), (5,)), ((), (5,))):
        bounds = floats(rng, *low, low=-1.05, high=-0.95), floats(rng, *high, low=0.95, high=1.05)
        slopes = "smooth" if low and high else "ours"  # JAX cannot, by a bound of rank 0
        yield Sample("clamp", (bounds[0], floats(rng, 5), bounds[1]), slopes=slopes)
    edges = np.array([-1.0, 0.0, 1.0, np.nan], np.float32)
    bounds = np.full(4, -1, np.float32), np.full(4, 1, np.float32)
    yield Sample("clamp", (bounds[0], edges, bounds[1]), slopes="kinks")
    yield Sample("clamp", (np.array(-3, np.int32), integers(rng, 5), np.array(3, np.int32)))


# --- conversion -----------------------------------------------------------------------------------

DTYPES = ("bool", "int8", "int32", "uint8", "uint32", "float16", "bfloat16", "float32", "complex64")


def conversion_samples(rng: Random) -> Iterator[Sample]:
    convert = "convert_element_type"
    for new_dtype in DTYPES:
        huge = np.array([*SPECIAL, 3e9, -3e9, 130.5, -130.5, 300.0], np.float32)
        yield Sample(convert, (huge,), {"new_dtype": new_dtype}, slopes="none")
        yield Sample(convert, (np.array(EXTREMES["int32"], "int32"),), {"new_dtype": new_dtype})
    for new_dtype in ("float32", "complex64", "bool", "int8"):
        yield Sample(convert, (np.array(EXTREMES["uint32"], "uint32"),), {"new_dtype": new_dtype})
        yield Sample(convert, (np.array([False, True]),), {"new_dtype": new_dtype})
        yield Sample(convert, (complexes(rng, 3),), {"new_dtype": new_dtype}, slopes="kinks")
        yield Sample(convert, (floats(rng, 2, 3),), {"new_dtype": new_dtype}, slopes="kinks")
    for dtype in ("float16", "bfloat16"):
        yield Sample(convert, (floats(rng, 3).astype(dtype),), {"new_dtype": "float32"}, "kinks")
    bitcast = "bitcast_convert_type"
    for new_dtype in ("int32", "uint32", "uint8", "int16", "float32"):
        yield Sample(bitcast, (floats(rng, 2, 3),), {"new_dtype": new_dtype}, slopes="kinks")
    yield Sample(bitcast, (integers(rng, 3, 2, dtype="int16"),), {"new_dtype": "float32"})
    yield Sample(bitcast, (integers(rng, 4, dtype="uint8"),), {"new_dtype": "uint32"})
    yield Sample(bitcast, (np.array([True, False]),), {"new_dtype": "bool"})
    yield Sample(bitcast, (floats(rng, 0, 2),), {"new_dtype": "uint32"}, slopes="kinks")
    edges = np.array([65504, 65519, 65520, 1e5, 6.2e-5, 6.1e-5, 6.0e-5, 1 + 2**-11, 0.1, -0.0])
    for bits in ((5, 10), (8, 7), (5, 2), (8, 23), (4, 3)):
        attrs = {"exponent_bits": bits[0], "mantissa_bits": bits[1]}
        values = np.concatenate([edges.astype(np.float32), SPECIAL, floats(rng, 8)])
        yield Sample("reduce_precision", (values,), attrs, slopes="none")
        yield Sample("reduce_precision", (floats(rng, 3),), attrs, "kinks", rtol=0.5 ** bits[1])
    yield Sample("copy", (floats(rng, 2, 3),))
    yield Sample("copy", (integers(rng),))
    for name in ("real", "imag", "conj"):
        yield Sample(name, (complexes(rng, 2, 3),))
    yield Sample("conj", (floats(rng, 3),))
    for shapes in (((3,), (3,)), ((), (3,)), ((2, 1), (1, 3))):
        re, im = (floats(rng, *shape) for shape in shapes)
        yield Sample("complex", (re, im))


# --- shape ----------------------------------------------------------------------------------------


def shape_samples(rng: Random) -> Iterator[Sample]:
    x, row, one = floats(rng, 2, 3), floats(rng, 3), floats(rng)
    for operand, shape, dims in (
        (x, (2, 3), (0, 1)),
        (x, (4, 2, 5, 3), (1, 3)),
        (row, (2, 3), (1,)),
        (one, (2, 3), ()),
        (one, (), ()),
        (floats(rng, 2, 1), (2, 3), (0, 1)),
        (floats(rng, 1, 3), (0, 3), (0, 1)),
        (integers(rng, 3), (3, 2), (0,)),
    ):
        yield Sample("broadcast_in_dim", (operand,), {"shape": shape, "dims": dims})
    for operand, shape in ((x, (3, 2)), (x, (6,)), (x, (1, 2, 1, 3)), (one, (1, 1))):
        yield Sample("reshape", (operand,), {"shape": shape})
    yield Sample("reshape", (floats(rng, 1, 1),), {"shape": ()})
    yield Sample("reshape", (floats(rng, 0, 2),), {"shape": (3, 0)})
    yield Sample("squeeze", (floats(rng, 1, 3, 1),), {"dimensions": (0, 2)})
    yield Sample("squeeze", (floats(rng, 1, 3, 1),), {"dimensions": (2,)})
    yield Sample("squeeze", (x,), {"dimensions": ()})
    for dimensions in ((0,), (1,), (0, 3), (1, 2), ()):
        yield Sample("expand_dims", (x,), {"dimensions": dimensions})
    yield Sample("transpose", (x,), {"permutation": (1, 0)})
    yield Sample("transpose", (floats(rng, 2, 3, 4),), {"permutation": (1, 2, 0)})
    yield Sample("transpose", (one,), {"permutation": ()})
    for dimensions in ((0,), (1,), (0, 1), ()):
        yield Sample("rev", (x,), {"dimensions": dimensions})
    for config in (
        ((0, 0, 0), (0, 0, 0)),
        ((1, 2, 0), (0, 1, 2)),
        ((-1, 0, 0), (1, -1, 0)),
        ((-1, 3, 2), (-2, -1, 1)),
        ((0, -1, 3), (0, 0, 0)),
    ):
        yield Sample("pad", (x, one), {"config": config})
    yield Sample("pad", (floats(rng, 0, 2), one), {"config": ((1, 2, 1), (0, 0, 0))})
    yield Sample("pad", (one, floats(rng)), {"config": ()})
    yield Sample("pad", (integers(rng, 3), integers(rng)), {"config": ((1, 1, 0),)})
    for start, limit, strides in (
        ((0, 0), (2, 3), (1, 1)),
        ((1, 0), (2, 3), (1, 2)),
        ((0, 1), (2, 3), (2, 3)),
        ((1, 1), (1, 3), (1, 1)),
    ):
        yield Sample("slice", (x,), {"start": start, "limit": limit, "strides": strides})


def joining_samples(rng: Random) -> Iterator[Sample]:
    x = floats(rng, 2, 3)
    yield Sample("concatenate", (x, floats(rng, 2, 1), floats(rng, 2, 0)), {"dimension": 1})
    yield Sample("concatenate", (x, floats(rng, 1, 3)), {"dimension": 0})
    yield Sample("concatenate", (integers(rng, 2),), {"dimension": 0})
    yield Sample("split", (x,), {"sizes": (1, 0, 2), "axis": 1})
    yield Sample("split", (x,), {"sizes": (2,), "axis": 0})
    for axis in (0, 1, 2):
        yield Sample("stack", (x, floats(rng, 2, 3)), {"axis": axis})
    yield Sample("stack", (floats(rng), floats(rng), floats(rng)), {"axis": 0})
    for axis in (0, 1):
        yield Sample("unstack", (x,), {"axis": axis})
    yield Sample("tile", (x,), {"reps": (2, 1)})
    yield Sample("tile", (x,), {"reps": (1, 3)})
    yield Sample("tile", (integers(rng, 3),), {"reps": (0,)})
    for dtype in ("int32", "float32", "uint8", "bfloat16", "complex64"):
        yield Sample("iota", (), {"dtype": dtype, "shape": (2, 3), "dimension": 1})
    yield Sample("iota", (), {"dtype": "int32", "shape": (4,), "dimension": 0})
    yield Sample("iota", (), {"dtype": "int32", "shape": (0, 2), "dimension": 1})
    yield Sample("optimization_barrier", (x, integers(rng, 3), floats(rng)))


# --- reductions -----------------------------------------------------------------------------------


def reduction_samples(rng: Random) -> Iterator[Sample]:
    for name in ("reduce_sum", "reduce_prod", "reduce_max", "reduce_min"):
        for axes in ((), (0,), (2,), (0, 2), (1, 0), (0, 1, 2)):
            yield Sample(name, (floats(rng, 2, 3, 2),), {"axes": axes})
        slopes = "smooth" if name in ("reduce_sum", "reduce_prod") else "none"
        yield Sample(name, (floats(rng, 0, 2),), {"axes": (0,)}, slopes)
        yield Sample(name, (floats(rng),), {"axes": ()})
        for dtype, values in EXTREMES.items():
            yield Sample(name, (np.array(values, dtype),), {"axes": (0,)})
            yield Sample(name, (np.zeros((0, 2), dtype),), {"axes": (0,)})
        yield Sample(name, (floats(rng, 9, low=0.5).astype("bfloat16"),), {"axes": (0,)}, "none")
        yield Sample(name, (SPECIAL.reshape(3, 5),), {"axes": (0,)}, slopes="none")
    for name in ("reduce_sum", "reduce_prod"):
        yield Sample(name, (complexes(rng, 3, 2),), {"axes": (0,)}, rtol=1e-4)
    ties = np.array([[1, 2, 2], [0, 0, 3]], np.float32)
    for name, axes in itertools.product(
        ("reduce_max", "reduce_min", "reduce_prod"), ((0,), (1,), (0, 1))
    ):
        yield Sample(name, (ties,), {"axes": axes}, slopes="kinks")
    for name, axes in itertools.product(("reduce_and", "reduce_or", "reduce_xor"), ((0,), (0, 1))):
        yield Sample(name, (rng.random((2, 3)) < 0.5,), {"axes": axes})
        yield Sample(name, (integers(rng, 2, 3),), {"axes": axes})
        yield Sample(name, (np.zeros((0, 2), np.uint32),), {"axes": axes})
    for name, axis in itertools.product(("argmax", "argmin"), (0, 1)):
        attrs = {"axes": (axis,), "index_dtype": "int32"}
        yield Sample(name, (floats(rng, 2, 3),), attrs)
        yield Sample(name, (ties,), attrs)
        yield Sample(name, (SPECIAL.reshape(3, 5),), attrs, slopes="none")
        yield Sample(name, (integers(rng, 2, 3),), {**attrs, "index_dtype": "uint8"})
        yield Sample(name, (SPECIAL[axis:],), {**attrs, "axes": (0,)}, "none")
        yield Sample(name, (rng.random((2, 5, 3)) < 0.5,), {**attrs, "axes": (axis + 1,)})


def cumulative_samples(rng: Random) -> Iterator[Sample]:
    for name in ("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"):
        for axis, reverse in ((0, False), (1, True), (1, False)):
            attrs = {"axis": axis, "reverse": reverse}
            yield Sample(name, (floats(rng, 2, 5),), attrs)
            yield Sample(name, (floats(rng, 2, 0),), attrs)
        if name != "cumlogsumexp":
            yield Sample(name, (integers(rng, 5),), {"axis": 0, "reverse": True})
            yield Sample(name, (integers(rng, 5).astype("uint8"),), {"axis": 0, "reverse": False})
        middle = {"axis": 1, "reverse": True}
        yield Sample(name, (floats(rng, 2, 4, 3),), middle)
        with_nan = np.array([1.0, -np.inf, 2.0, np.nan, 0.0], np.float32)
        yield Sample(name, (with_nan,), {"axis": 0, "reverse": False}, slopes="none")
        yield Sample(name, (floats(rng, 1),), {"axis": 0, "reverse": False})
    with_zeros = np.array([2.0, 0.0, 3.0, 0.0, 5.0], np.float32)
    yield Sample("cumprod", (with_zeros,), {"axis": 0, "reverse": False}, slopes="kinks")
    empty = np.array([-np.inf, -np.inf, 1.0, -np.inf, 2.0], np.float32)
    yield Sample("cumlogsumexp", (empty,), {"axis": 0, "reverse": False}, slopes="none")


def lane_samples(rng: Random) -> Iterator[Sample]:
    """A single lane, which meets nobody; what many make of it is in `test_collectives`."""
    attrs = {"axis_name": "i", "lanes": 1}
    for name in ("gather_lanes", "sum_lanes"):
        yield Sample(name, (floats(rng, 2, 3),), attrs)
        yield Sample(name, (floats(rng),), attrs)
        yield Sample(name, (integers(rng, 4),), attrs)
        yield Sample(name, (floats(rng, 0, 3),), attrs)
    yield Sample("lane_index", (), attrs)


FAMILIES: list[Callable[[Random], Iterator[Sample]]] = [
    function_samples,
    arithmetic_samples,
    bit_samples,
    selection_samples,
    conversion_samples,
    shape_samples,
    joining_samples,
    reduction_samples,
    cumulative_samples,
    lane_samples,
]


def all_samples(seed: int) -> list[Sample]:
    """Return the samples of all families; the seed decides nothing but their elements."""
    rng = np.random.default_rng(seed)
    return [sample for family in FAMILIES for sample in family(rng)]
