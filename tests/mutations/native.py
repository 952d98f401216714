"""Kernels: what is written where, in which order, and what is left to XLA."""

from __future__ import annotations

from .mutant import Mutant

LOOPS, OPS = ("tests/test_native_loops.py",), ("tests/test_native_ops.py",)
FUNCTIONS = ("tests/test_native_functions.py",)

MUTANTS = (
    Mutant(
        "the next value of a carry is written over what is still read",
        "backends/native/blocks.py",
        "free = [target for target in targets if target.memory not in read]",
        "free = list(targets)",
        LOOPS,
    ),
    Mutant(
        "what a step reads at other places does not count as read",
        "backends/native/blocks.py",
        "                found |= source.roots",
        "                pass",
        LOOPS,
    ),
    Mutant(
        "carries that change places overwrite each other",
        "backends/native/blocks.py",
        "            if source.roots & held:",
        "            if not held:",
        LOOPS,
    ),
    Mutant(
        "the last steps of a loop are left in their tile",
        "backends/native/tiles.py",
        'ends = machine("or", last,',
        'ends = machine("and", last,',
        LOOPS,
    ),
    Mutant(
        "an index beyond an array is not clamped",
        "ir/ops/windows.py",
        'starts[axis] = e("max", e("min", start, last), zero)',
        "starts[axis] = start",
        OPS,
    ),
    Mutant(
        "the maximum of a number and nan is the number",
        "backends/native/machine.py",
        'return build.select(build.or_(wins, build.fcmp_unordered("!=", x, x)), x, y)',
        "return build.select(wins, x, y)",
        OPS,
    ),
    Mutant(
        "an angle has as many digits of pi as its kind",
        "backends/native/elementary/circle.py",
        "m.fma(turns, low, m.fma(turns_low, high, rest_low))",
        "m.number(0)",
        FUNCTIONS,
    ),
    Mutant(
        "a power of a negative number is positive",
        "backends/native/elementary/power.py",
        'm.select(odd, m.intrinsic("copysign", result, x), result)',
        "result",
        FUNCTIONS,
    ),
    Mutant(
        "the logarithm in a power has as many digits as its kind",
        "backends/native/elementary/power.py",
        "lost = m.fma(y, log_low, lost)",
        "lost = m.fma(y, m.number(0), lost)",
        FUNCTIONS,
    ),
    Mutant(
        "an exported program calls machine code of this process",
        "backends/native/call.py",
        "kernel = None if exported else called.kernel()",
        "kernel = called.kernel()",
        ("tests/test_native_calls.py",),
    ),
)
