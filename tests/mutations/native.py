"""Kernels: what is written where, in which order, and what is left to XLA."""

from __future__ import annotations

from .mutant import Mutant

LOOPS, OPS = ("tests/test_native_loops.py",), ("tests/test_native_ops.py",)
CALLS, FUNCTIONS = ("tests/test_native_calls.py",), ("tests/test_native_functions.py",)
EVENTS = ("tests/test_event.py",)
ZEROS = ("tests/test_passes_sort_out_zeros.py",)

MUTANTS = (
    Mutant(
        "elements beyond whole groups of a product are left out",
        "backends/native/products.py",
        "        if length % together:\n",
        "        if not length // together:\n",
        LOOPS,
    ),
    Mutant(
        "zeros are left out, though what they meet is not finite",
        "passes/sort_out_zeros.py",
        'builder("and", few, _over_all(builder, "reduce_and", is_finite))',
        "few",
        ZEROS,
    ),
    Mutant(
        "few are many",
        "passes/sort_out_zeros.py",
        'builder("le", _over_all(builder, "reduce_sum", numbers), most)',
        'builder("le", most, _over_all(builder, "reduce_sum", numbers))',
        ZEROS,
    ),
    Mutant(
        "the result of a product lies as if the spikes came first",
        "passes/sort_out_zeros.py",
        "        if self.side == 0:\n",
        "        if self.side in (0, 1):\n",
        ZEROS,
    ),
    Mutant(
        "nan is as extreme as its bits say",
        "backends/native/running.py",
        'return machine("select", machine("ne", element, element), most, rank)',
        "return rank",
        OPS,
    ),
    Mutant(
        "the last connection of a row is left out",
        "backends/native/sparse.py",
        'writer.up_to(machine("sub", end, first))',
        'writer.up_to(machine("sub", machine("sub", end, first), machine.index(1)))',
        OPS,
    ),
    Mutant(
        "the gaps of a row are drawn again after the first ones",
        "backends/native/seeded.py",
        'state.store(drawn, machine("add", before, machine.index(DRAWN)))',
        "state.store(drawn, before)",
        EVENTS,
    ),
    Mutant(
        "the first word of a hash is that of another count",
        "backends/native/key_words.py",
        'numbers = builder("iota", dtype="uint32", shape=(count,), dimension=0)',
        "numbers = builder.full(key[0].type.with_shape(count), 1)",
        CALLS,
    ),
    Mutant(
        "a spike is subtracted where there is none",
        "backends/native/machine.py",
        "        result.add_incoming(x, usual)\n        result.add_incoming(less, rare)",
        "        result.add_incoming(x, rare)\n        result.add_incoming(less, usual)",
        LOOPS,
    ),
    Mutant(
        "a transpose between two loops belongs to both",
        "passes/outline_kernels.py",
        "if node in taken or not isinstance",
        "if not isinstance",
        ("tests/test_custom_rules.py",),
    ),
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
        "what somebody else traces holds calls of machine code",
        "backends/xla.py",
        "jax.jit(function(False), **donated)",
        "jax.jit(function(native.AVAILABLE), **donated)",
        CALLS,
    ),
    Mutant(
        "an update does not let those go first who read what was there",
        "backends/native/blocks.py",
        "alone and self._is_ready(node) and not self._waits(node)",
        "alone and self._is_ready(node)",
        LOOPS,
    ),
    Mutant(
        "what is looked up in an array is not brought away before that is written over",
        "backends/native/blocks.py",
        "            self._move_before(node)",
        "            pass",
        LOOPS,
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
)
