"""The language: text, equality, forms, and the rules of ops."""

from __future__ import annotations

from .mutant import FOREIGN, GRADIENTS, LANES, PASSES, PROGRAMS, TEXT, Mutant, op_laws

MUTANTS = (
    Mutant(
        "the first step of a reversed loop is taken for the last",
        "ir/views.py",
        "return self.length - 1 if self.reverse else 0",
        "return 0 if self.reverse else self.length - 1",
        (*GRADIENTS, "tests/test_residuals.py"),
    ),
    Mutant(
        "what is left of an op counts as many carries as before",
        "ir/wiring.py",
        "attrs[wiring.counted_by] = sum(strand.goes_round for strand in strands)",
        "attrs.update()",
        ("tests/test_region_ops.py",),
    ),
    Mutant(
        "what runs twice is taken for what runs once",
        "ir/wiring.py",
        "        return self.times != 0\n",
        "        return self.times is None\n",
        ("tests/test_region_ops.py", "tests/test_passes_code_motion.py"),
    ),
    Mutant(
        "what only the results of a region capture is missed",
        "ir/graph.py",
        "    for result in graph.results:\n        use(result)\n",
        "",
        (*LANES, *PASSES, *GRADIENTS),
    ),
    Mutant(
        "graphs with other attributes have one fingerprint",
        "ir/structure.py",
        "            if node.attrs:\n",
        "            if node.attrs and self._people:\n",
        TEXT,
    ),
    Mutant(
        "what is not defined is not noticed",
        "ir/verify.py",
        "        elif operand not in self._scope:\n",
        "        elif operand not in self._scope and False:\n",
        ("tests/test_verify.py",),
    ),
    Mutant(
        "the slope of tanh has the wrong sign",
        "ir/ops/elementwise.py",
        "np.tanh, lambda y, x: (1 - y) * (y + 1))",
        "np.tanh, lambda y, x: (y - 1) * (y + 1))",
        op_laws("tanh"),
    ),
    Mutant(
        "the slope along a divisor has the wrong sign",
        "ir/ops/arithmetic.py",
        'to_divisor = b("neg", b("mul", scaled, node.result))',
        'to_divisor = b("mul", scaled, node.result)',
        op_laws("div"),
    ),
    Mutant(
        "the slope of a power is off by one",
        "ir/ops/arithmetic.py",
        'return y * x.apply("pow", y - 1), base.apply("log") * z',
        'return y * x.apply("pow", y), base.apply("log") * z',
        op_laws("pow"),
    ),
    Mutant(
        "a transpose is undone by the same permutation",
        "ir/ops/shape.py",
        "inverse = tuple(permutation.index(i) for i in range(len(permutation)))",
        "inverse = permutation",
        op_laws("transpose"),
    ),
    Mutant(
        "the cotangent of a slice is put back at the wrong end",
        "ir/ops/shape.py",
        "return lo, length - lo - covered, step - 1",
        "return length - lo - covered, lo, step - 1",
        op_laws("slice"),
    ),
    Mutant(
        "lanes are reduced instead of the axes asked for",
        "ir/ops/reduction.py",
        '    return {"axes": shifted(axes), **attrs}\n',
        '    return {"axes": axes, **attrs}\n',
        (*op_laws("reduce_sum", "reduce_max"), *LANES),
    ),
    Mutant(
        "a running sum is reversed in the same direction",
        "ir/ops/reduction.py",
        'return (b("cumsum", ct, axis=axis, reverse=not reverse),)',
        'return (b("cumsum", ct, axis=axis, reverse=reverse),)',
        op_laws("cumsum"),
    ),
    Mutant(
        "the cotangent of a dynamic slice is added at the start",
        "ir/ops/indexing.py",
        'return (builder("dynamic_update_slice", zeros, cotangent, *starts), '
        "*(None for _ in starts))",
        "first = (Literal(0, s.type) for s in starts)\n"
        '    return (builder("dynamic_update_slice", zeros, cotangent, *first), '
        "*(None for _ in starts))",
        op_laws("dynamic_slice"),
    ),
    Mutant(
        "a lane of a gather reads from another lane",
        "ir/ops/windows.py",
        "            (0, *shifted(self.index_batching)),\n",
        "            (0, *self.index_batching),\n",
        (*op_laws("gather"), "tests/test_indexing.py"),
    ),
    Mutant(
        "cotangents of an index that is named twice replace each other",
        "ir/ops/indexing.py",
        'return builder("scatter-add", zeros, index, cotangent, **windows.attrs), None',
        'return builder("scatter", zeros, index, cotangent, **windows.attrs), None',
        (*op_laws("gather"), "tests/test_indexing.py"),
    ),
    Mutant(
        "a contraction is transposed with its free axes in the wrong order",
        "ir/ops/contraction.py",
        "contracted = tuple(inner[other_inner.index(d)] for d in sorted(other_inner))",
        "contracted = tuple(inner)",
        op_laws("dot_general"),
    ),
    Mutant(
        "an element takes its slope from where it went, not from where it came from",
        "ir/ops/sorting.py",
        "        else add_along_axis(builder, builder.zeros(cotangent.type), "
        "places, cotangent, axis)\n",
        "        else along_axis(builder, cotangent, places, axis)\n",
        op_laws("sort"),
    ),
    Mutant(
        "both branches of the emitted code are swapped",
        "ir/ops/region.py",
        "return jax.lax.cond(index, branches[1], branches[0])",
        "return jax.lax.cond(index, branches[0], branches[1])",
        ("tests/test_backends.py", *PROGRAMS),
    ),
    Mutant(
        "the emitted loop always runs forward",
        "ir/ops/region.py",
        "length=length, reverse=reverse, unroll=unroll",
        "length=length, reverse=False, unroll=unroll",
        ("tests/test_backends.py", *PROGRAMS),
    ),
    Mutant(
        "the slope of a Bessel function at zero is that of everywhere else",
        "ir/ops/elementwise.py",
        'zero = x.where("eq", 0)  # where',
        'zero = x.where("eq", 1)  # where',
        ("tests/test_ops.py::test_slopes_at_poles_limits_and_halves_agree_with_jax",),
    ),
    Mutant(
        "the carries of a loop keep the axes with which they begin",
        "ir/ops/manual_axes.py",
        "joined = [a | b for",
        "joined = [a for",
        FOREIGN,
    ),
    Mutant(
        "the first step of a loop that runs backwards is taken to be index 0",
        "ir/views.py",
        "return self.length - 1 if self.reverse else 0",
        "return 0",
        GRADIENTS,
    ),
    Mutant(
        "the lanes of a product are moved from a place that leaves out its batch axes",
        "ir/ops/contraction.py",
        "return move_axis(builder, result, len(left_batch) + free_before, 0)",
        "return move_axis(builder, result, free_before, 0)",
        (*op_laws("dot_general"), *LANES),
    ),
    Mutant(
        "a slice at a place of each lane is filled up where it lies outside",
        "ir/ops/indexing.py",
        'rows(len(axes), axes, "clip"), slice_sizes)',
        'rows(len(axes), axes, "fill"), slice_sizes)',
        (*op_laws("dynamic_slice"), *LANES),
    ),
    Mutant(
        "a slice at a place of each lane of an array is filled up where it lies outside",
        "ir/ops/indexing.py",
        'axes, (0,), (0,), "clip", unique=True, sorted=False)',
        'axes, (0,), (0,), "fill", unique=True, sorted=False)',
        (*op_laws("dynamic_slice"), *LANES),
    ),
)
