"""Functions of floats in kernels: accuracy over all exponents, and what they are at borders."""

import ctypes
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from llvmlite import ir

from brainir.backends.native import compile
from brainir.backends.native.elementary import FUNCTIONS, TWO, define
from brainir.ir.ops import special_functions

DTYPES = ("float32", "float64")


def loops(dtype: str) -> str:
    """Return a module with a loop over elements for each function."""
    module, pointer, long = ir.Module(), ir.PointerType(), ir.IntType(64)
    kind: Any = ir.FloatType() if dtype == "float32" else ir.DoubleType()
    for name in FUNCTIONS:
        function = define(module, name, kind)
        count = len(function.args)
        kinds = [pointer] * (count + 1) + [long]
        loop = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), f"all_{name}")
        *read, written, size = loop.args
        for argument in (*read, written):
            argument.add_attribute("noalias")
        entry, body, end = (loop.append_basic_block() for _ in range(3))
        build: Any = ir.IRBuilder(entry)
        build.branch(body)
        build.position_at_end(body)
        place = build.phi(long)
        place.add_incoming(ir.Constant(long, 0), entry)
        given = [build.load(build.gep(p, [place], source_etype=kind), typ=kind) for p in read]
        build.store(build.call(function, given), build.gep(written, [place], source_etype=kind))
        following = build.add(place, ir.Constant(long, 1))
        place.add_incoming(following, body)
        build.cbranch(build.icmp_unsigned("<", following, size), body, end)
        build.position_at_end(end)
        build.ret_void()
    return str(module)


@pytest.fixture(scope="module", params=DTYPES)
def functions(request: Any) -> Any:
    """Yield a dtype, and the functions for arrays of it."""
    dtype = request.param
    engine = compile.load(compile.object_code(loops(dtype)))

    def of(name: str) -> Callable[..., Any]:
        kinds = [ctypes.c_void_p] * (3 if name in TWO else 2) + [ctypes.c_int64]
        loop = ctypes.CFUNCTYPE(None, *kinds)(engine.get_function_address(f"all_{name}"))

        def call(*operands: Any) -> Any:
            arrays = [np.ascontiguousarray(operand, dtype) for operand in operands]
            result = np.empty_like(arrays[0])
            loop(*(array.ctypes.data for array in (*arrays, result)), result.size)
            return result

        return call

    # A generator keeps the engine, and with it the machine code.
    yield dtype, {name: of(name) for name in FUNCTIONS}  # noqa: PT022


LONG: dict[str, Any] = {
    "logistic": lambda x: np.where(x < 0, np.exp(-abs(x)), 1) / (1 + np.exp(-abs(x))),
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "pow": np.power,
}
"""Functions that numpy does not have under their names."""


def known(name: str) -> Callable[..., Any]:
    """Return a function as numpy has it."""
    return LONG[name] if name in LONG else getattr(np, name)


def finite_bits(random: np.random.Generator, dtype: str, count: int) -> Any:
    """Return numbers of all exponents."""
    bits = np.dtype(dtype).itemsize * 8
    numbers = random.integers(0, 2**bits, count, dtype=f"uint{bits}").view(dtype)
    return numbers[np.isfinite(numbers)]


def arguments(name: str, dtype: str) -> tuple[Any, ...]:
    """Return numbers of all exponents, and more of those where a function is busy."""
    random = np.random.default_rng(len(name))
    bits = finite_bits(random, dtype, 2000)
    near = random.uniform(-1, 1, 3000) * 10.0 ** random.uniform(-3, 3, 3000)
    borders = random.choice([-1, 1], 500) * (1 - 10 ** random.uniform(-17, -1, 500))
    numbers = np.concatenate([bits, near, borders]).astype(dtype)
    if name not in TWO:
        return (numbers,)
    other = random.permutation(numbers)
    if name == "pow":  # Where no power is an overflow, as well.
        size = np.abs(np.log(np.abs(numbers.astype("float64"))))
        near = random.uniform(-720, 720, numbers.size) / np.maximum(size, 1e-18)
        numbers, other = np.concatenate([np.abs(numbers), numbers]), np.concatenate([near, other])
    return numbers, other.astype(dtype)


def error(result: Any, wide: Any, dtype: str) -> Any:
    """Return how far a result is off, in units of the last place of what it should be."""
    about = np.finfo(dtype)
    _, exponent = np.frexp(wide)
    unit = np.ldexp(np.ones_like(wide), np.maximum(exponent - 1, about.minexp) - about.nmant)
    return np.abs((result.astype(wide.dtype) - wide) / unit)


WITH_LONG = [name for name in FUNCTIONS if name not in ("erf", "erfc", "erf_inv")]


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 60, reason="no wider type to compare with")
@pytest.mark.parametrize("name", WITH_LONG)
def test_a_function_is_within_two_units_of_a_wider_type(functions: Any, name: str) -> None:
    dtype, those = functions
    operands = arguments(name, dtype)
    with np.errstate(all="ignore"):
        wide = known(name)(*(x.astype(np.longdouble) for x in operands))
        rounded, result = wide.astype(dtype), those[name](*operands)
        off = error(result, wide, dtype)
    finite = np.isfinite(rounded) & np.isfinite(result)
    edge = np.abs(wide) > np.finfo(dtype).max * (1 - 4 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(result[~finite & ~edge], rounded[~finite & ~edge])
    worst = np.argmax(np.where(finite, off, 0))
    assert off[worst] <= 2, [x[worst] for x in operands]


SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 1.5, -2.5, 1e-30, -1e-30)
FAR = (100.0, -100.0, 88.8, -104.0, 710.0, -745.0, 2.0**24 - 1, 2.0**24 + 2, -1e30)


def special_values(dtype: str) -> Any:
    """Return numbers at which functions are something of their own."""
    about, one = np.finfo(dtype), np.ones((), dtype)
    last = [about.tiny, about.smallest_subnormal, about.max, np.inf]
    beside = [np.nextafter(one, 0), np.nextafter(one, 2)]
    signed = [sign * number for number in (*last, *beside) for sign in (1, -1)]
    return np.array([*SPECIAL, *FAR, *signed, np.nan], dtype)


def meaning(name: str) -> Callable[..., Any]:
    """Return a function as numpy knows it."""
    own = getattr(special_functions, name, None)
    if own is not None:
        return lambda x: np.asarray(own(x.astype("float64"))).astype(x.dtype)
    return known(name)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values_are_those_of_numpy(functions: Any, name: str) -> None:
    dtype, those = functions
    numbers = special_values(dtype)
    operands = [numbers]
    if name in TWO:
        operands = [grid.ravel() for grid in np.meshgrid(numbers, numbers)]
    with np.errstate(all="ignore"):
        expected = meaning(name)(*operands)
    result = those[name](*operands)
    rtol = 1e-6 if dtype == "float32" else 1e-13
    tiny = float(np.finfo(dtype).smallest_subnormal)
    np.testing.assert_allclose(result, expected, rtol=rtol, atol=2 * tiny)
    zero = expected == 0
    np.testing.assert_array_equal(np.signbit(result[zero]), np.signbit(expected[zero]))


def narrow(name: str, dtype: str) -> tuple[Any, Any]:
    """Return arguments of an error function, and what it is there."""
    random = np.random.default_rng(0)
    numbers = np.concatenate([random.uniform(-6, 27, 3000), random.uniform(-1, 1, 3000)])
    if name == "erf_inv":
        far = 1 - 10 ** random.uniform(-15.5, 0, 3000)
        numbers = np.concatenate([numbers[3000:], far, random.normal(size=500) * 1e-20])
    numbers = numbers.astype(dtype)
    if name == "erf_inv":
        numbers = numbers[np.abs(numbers) < 1]
    return numbers, getattr(special_functions, name)(numbers.astype("float64"))


@pytest.mark.parametrize("name", ["erf", "erfc", "erf_inv"])
def test_error_functions_are_as_near_as_those_of_the_c_library(functions: Any, name: str) -> None:
    """The C library itself is up to a unit off in float64, and in the inverse of our own more."""
    dtype, those = functions
    numbers, wide = narrow(name, dtype)
    off = error(those[name](numbers), wide, dtype)
    worst = np.argmax(off)
    bound = 2 if dtype == "float32" else {"erf_inv": 6}.get(name, 3.5)
    assert off[worst] <= bound, numbers[worst]


@pytest.mark.parametrize("dtype", DTYPES)
def test_loops_of_functions_use_vectors(dtype: str) -> None:
    """No element is a call of its own."""
    text = str(compile.optimised(loops(dtype)))
    for name in FUNCTIONS:
        body = re.search(rf"@all_{name}\(.*?\n}}", text, re.DOTALL)
        assert body is not None
        assert re.search(r"store <\d+ x ", body[0]), name
        assert not re.search(r"call [^@]*@(?!llvm)", body[0]), name
