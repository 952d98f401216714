"""Wrong rules to plant in the compiler, one at a time, and the laws that must notice each.

A mutant replaces a piece of text, which must occur just once in its file. So each line here says
what the mistake would look like. `mutation_check.py` plants them and runs the laws.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """A mistake.

    Attributes
    ----------
    name : str
        What is wrong, in words.
    file : str
        The file in which it is made.
    old, new : str
        What stands there, and what stands there instead.
    laws : tuple of str
        The tests that are to notice: files, or names as pytest spells them. They run in this order.
    """

    name: str
    file: str
    old: str
    new: str
    laws: tuple[str, ...]


PASSES = (
    "tests/test_passes.py::test_the_pipeline_keeps_the_meaning_and_reaches_the_form_of_every_pass",
    "tests/test_passes.py::test_every_pass_by_itself_keeps_the_meaning",
    "tests/test_passes.py::test_near_twins_are_told_apart",
    "tests/test_laws.py",
)
GRADIENTS = (
    "tests/test_grad_pass.py::test_gradients_agree_with_finite_differences",
    "tests/test_grad_pass.py::test_gradients_agree_with_jax",
    "tests/test_grad_pass.py::test_the_gradient_of_a_recurrent_net_is_that_of_its_steps_in_a_row",
    "tests/test_laws.py",
)
TANGENTS = ("tests/test_jvp_pass.py", "tests/test_laws.py")
LANES = (
    "tests/test_passes_lanes.py::test_batching_equals_stacking",
    "tests/test_passes_lanes.py::test_what_does_not_depend_on_lanes_is_the_same_whatever_they_hold",
    "tests/test_passes_lanes.py::test_a_lane_that_has_left_a_while_stays_outside",
    "tests/test_passes_lanes.py",
    "tests/test_laws.py",
)
STATES = ("tests/test_passes_hoist_state.py", "tests/test_laws.py")
PROGRAMS = ("tests/test_programs.py",)
RULES = ("tests/test_custom_rules.py",)
FOREIGN = ("tests/test_foreign.py",)
TEXT = ("tests/test_text.py", "tests/test_structure.py")


def op_laws(*ops: str) -> tuple[str, ...]:
    """Return the laws of some ops by themselves."""
    laws = (
        "lax_agrees_with_numpy",
        "batching_equals_stacking",
        "tangents_agree_with_jax",
        "reverse_mode_is_the_transpose_of_forward_mode",
        "derivatives_agree_with_finite_differences",
    )
    return tuple(f"tests/test_ops.py::test_{law}[{op}]" for op in ops for law in laws)


MUTANTS = (
    # --- reverse mode -----------------------------------------------------------------------------
    Mutant(
        "a cotangent is dropped where a value is used twice",
        "passes/reverse.py",
        'cotangent if present is None else self.builder("add", present, cotangent)',
        "cotangent if present is None else present",
        GRADIENTS,
    ),
    Mutant(
        "the cotangent of a captured value is that of one step, not the sum over all",
        "passes/reverse_loops.py",
        'more = self.inner.builder("add", total, cotangent)',
        "more = cotangent",
        GRADIENTS,
    ),
    Mutant(
        "the reversed loop runs forward",
        "passes/reverse_loops.py",
        "reverse=not loop.reverse,",
        "reverse=loop.reverse,",
        GRADIENTS,
    ),
    Mutant(
        "cotangents of carries reach the results of the step in the wrong order",
        "passes/reverse_loops.py",
        "self._carry(outer, carry, given[carry.last]) for carry in carries]",
        "self._carry(outer, carry, given[carries[0].last]) for carry in carries]",
        GRADIENTS,
    ),
    Mutant(
        "the reversed branches are swapped",
        "passes/reverse_branches.py",
        "Branch(tuple(nodes)) for nodes, _ in backward)",
        "Branch(tuple(nodes)) for nodes, _ in backward[::-1])",
        GRADIENTS,
    ),
    Mutant(
        "two residuals of a branch share a slot",
        "passes/reverse_branches.py",
        "            used[value.type] += 1\n",
        "",
        GRADIENTS,
    ),
    Mutant(
        "the reverse of a checkpoint forgets what it captures",
        "passes/reverse_rules.py",
        "found = [(operand, again.take(param)) for param, operand in inputs]",
        "found = [(o, again.take(p)) for p, o in inputs[: len(copy.params)]]",
        GRADIENTS,
    ),
    Mutant(
        "what goes round a loop is thought not to depend on itself",
        "passes/activity.py",
        "((one, first) for one in sources(node, strand.sources))",
        "((one, first) for one in sources(node, strand.sources[:1]))",
        GRADIENTS,
    ),
    Mutant(
        "a residual of the step before is taken from this step",
        "passes/loop_residuals.py",
        "self.now[value] = self._hold(self.step.ends[start], self.now[start])",
        "self.now[value] = self.now[start]",
        (*GRADIENTS, "tests/test_residuals.py"),
    ),
    Mutant(
        "the first step of a reversed loop is taken for the last",
        "ir/views.py",
        "return self.length - 1 if self.reverse else 0",
        "return 0 if self.reverse else self.length - 1",
        (*GRADIENTS, "tests/test_residuals.py"),
    ),
    Mutant(
        "what a step needs of itself is not stored but read from the end of the loop",
        "passes/loop_residuals.py",
        "            self.now[value] = self._hold(delay.end, delay.slice)\n",
        "            self.now[value] = delay.slice\n",
        (*GRADIENTS, "tests/test_residuals.py"),
    ),
    Mutant(
        "a custom backward rule gets its cotangents before its residuals",
        "passes/reverse_rules.py",
        "inline(reverse.builder, backward_rule, (*kept, *given))",
        "inline(reverse.builder, backward_rule, (*given, *kept))",
        GRADIENTS,
    ),
    # --- forward mode -----------------------------------------------------------------------------
    Mutant(
        "tangents of a loop's yields are given to its carries",
        "passes/forward.py",
        "in yielded), (stack.result for stack in stacks))",
        "in yielded), (stack.result for stack in stacks[::-1]))",
        TANGENTS,
    ),
    Mutant(
        "a slice has the tangent of a carry",
        "passes/forward.py",
        "slices = [Slice(forward.get_or_zeros(p.array), moved[p.param]) for p in over]",
        "slices = [Slice(forward.get_or_zeros(over[0].array), moved[p.param]) for p in over]",
        TANGENTS,
    ),
    # --- states -----------------------------------------------------------------------------------
    Mutant(
        "states that a loop carries come out in the wrong order",
        "passes/hoist_state.py",
        "return _Region(new, tuple(entered), _values(leave, scope))",
        "return _Region(new, tuple(entered), _values(tuple(leave)[::-1], scope))",
        (*PASSES, *STATES),
    ),
    Mutant(
        "the first write of a state counts, not the last",
        "passes/hoist_state.py",
        '        self.written_at[node.attrs["state"]] = node.loc\n'
        '        scope.values[node.attrs["state"]] = operands\n',
        '        self.written_at[node.attrs["state"]] = node.loc\n'
        '        scope.values.setdefault(node.attrs["state"], operands)\n',
        (*PASSES, *STATES),
    ),
    Mutant(
        "a write inside a region is not seen from outside",
        "passes/touched_states.py",
        "                    writes.update(inner_writes)\n",
        "",
        (*PASSES, *STATES),
    ),
    Mutant(
        "all lanes draw from one random key",
        "passes/touched_states.py",
        'if state.kind == "rng":',
        'if state.kind == "random":',
        (*STATES, *PROGRAMS),
    ),
    Mutant(
        "after the lanes have drawn, the next key is one that they had",
        "passes/hoist_state.py",
        "scope.values[state] = (take(builder, after, 1),)",
        "scope.values[state] = (take(builder, keys, 1),)",
        (*STATES, *PROGRAMS),
    ),
    Mutant(
        "a state without lanes may be written by each of them",
        "passes/hoist_state.py",
        "if leaf.axis is None and leaf.inside in dependent:",
        "if leaf.axis is None and leaf.inside in dependent and False:",
        (*STATES, *PROGRAMS),
    ),
    Mutant(
        "results for states come in the wrong order",
        "passes/purify.py",
        "*(leaf for leaves in writes.values() for leaf in leaves)),",
        "*(leaf for leaves in reversed(writes.values()) for leaf in leaves)),",
        (*PASSES, "tests/test_passes.py::test_purifying_turns_states_into_parameters_and_results"),
    ),
    Mutant(
        "States get the values of other States back",
        "frontend/program.py",
        "            start = stop\n",
        "",
        (*PROGRAMS, "tests/test_jit.py"),
    ),
    Mutant(
        "a random State goes on with the key that it gave away",
        "frontend/random/rng.py",
        "        self.value = keys[0]\n",
        "        self.value = keys[1]\n",
        ("tests/test_random.py",),
    ),
    Mutant(
        "a quotient of constants is folded where machines may round otherwise",
        "passes/identities.py",
        "return not node.result.type.shape or bool(same)",
        "return True",
        ("tests/test_passes_simplify.py",),
    ),
    Mutant(
        "what may be a zero with a minus sign is taken for one without",
        "passes/known_values.py",
        '_NO_MINUS_0 = frozenset(("abs", "exp",',
        '_NO_MINUS_0 = frozenset(("abs", "sin", "mul", "exp",',
        ("tests/test_passes_simplify.py",),
    ),
    Mutant(
        "what only one of two chosen elements is not is taken for what neither is",
        "passes/known_values.py",
        "return node.op.name not in _MOVES or any(",
        "return node.op.name not in _MOVES or all(",
        ("tests/test_passes_simplify.py",),
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
    # --- lanes ------------------------------------------------------------------------------------
    Mutant(
        "a node is taken for shared by all lanes although its region captures one",
        "passes/batching.py",
        "return any(map(self.differs, (*node.operands, *captures(*node.regions))))",
        "return any(map(self.differs, node.operands))",
        LANES,
    ),
    Mutant(
        "lanes choose the other branch",
        "passes/batching.py",
        "return [choose(builder, which, cases, result.hint) for cases, result in choices]",
        "return [choose(builder, which, cases[::-1], result.hint) for cases, result in choices]",
        LANES,
    ),
    Mutant(
        "the index of a branch is not brought into range for each lane",
        "passes/batching.py",
        'return builder("clamp", bounds[0], index, bounds[1])',
        'return builder("rem", index, Literal(branches, Type("int32")))',
        LANES,
    ),
    Mutant(
        "a lane that has left a loop goes on",
        "passes/batching.py",
        "kept = [choose(step, flags, pair, pair[0].hint) for pair in pairs]",
        "kept = following",
        LANES,
    ),
    Mutant(
        "lanes of what a loop yields stand behind the time",
        "passes/batching.py",
        "move_axis(builder, x, 1, 0) if has else x for x, has in pairs",
        "move_axis(builder, x, 0, 0) if has else x for x, has in pairs",
        LANES,
    ),
    Mutant(
        "the lane axis of an argument is always its first",
        "passes/expand_vmap.py",
        "= array if axis is None else move_axis(builder, array, axis, 0)",
        "= array if axis is None else move_axis(builder, array, 0, 0)",
        LANES,
    ),
    Mutant(
        "what goes round a loop does not make it depend on the lane",
        "passes/lane_dependence.py",
        "_join(edges, sources(node, strand.sources), targets(node, strand.targets))",
        "_join(edges, sources(node, strand.sources[:1]), targets(node, strand.targets))",
        LANES,
    ),
    Mutant(
        "how many steps a lane takes is forgotten",
        "passes/lane_dependence.py",
        "    if wiring.gates:\n",
        "    if wiring.gates and wiring.times is not None:\n",
        LANES,
    ),
    Mutant(
        "the cotangent of what lanes share is that of the first lane",
        "passes/batching.py",
        'total = builder("reduce_sum", self.lanes(builder, result), axes=(0,))',
        "total = take(builder, self.lanes(builder, result), 0)",
        LANES,
    ),
    Mutant(
        "what is left over of a map comes before the rest",
        "passes/expand_map.py",
        'return [builder("concatenate", *pair, dimension=0) for pair in pairs]',
        'return [builder("concatenate", *pair[::-1], dimension=0) for pair in pairs]',
        (*PASSES, "tests/test_mapping.py"),
    ),
    # --- simplification ---------------------------------------------------------------------------
    Mutant(
        "x times 0 is 0, also of floats",
        "passes/identities.py",
        "if known.equals(other, 0) and node.result.type.is_integer:",
        "if known.equals(other, 0):",
        ("tests/test_passes_simplify.py", *PASSES),
    ),
    Mutant(
        "x plus 0.0 is x, also of -0.0",
        "passes/identities.py",
        "zero = -0.0 if node.result.type.is_float else 0",
        "zero = 0.0 if node.result.type.is_float else 0",
        ("tests/test_passes_simplify.py", *PASSES),
    ),
    Mutant(
        "two transposes are composed the wrong way round",
        "passes/identities.py",
        "order = tuple(first[axis] for axis in permutation)",
        "order = tuple(permutation[axis] for axis in first)",
        (*PASSES, "tests/test_passes_simplify.py"),
    ),
    Mutant(
        "a choice by 'not' keeps the order of its cases",
        "passes/identities.py",
        'return builder("select_n", turned.operands[0], *cases[::-1])',
        'return builder("select_n", turned.operands[0], *cases)',
        (*PASSES, "tests/test_passes_simplify.py"),
    ),
    Mutant(
        "a branch that is known is the other one",
        "passes/simplify.py",
        "number = min(max(int(literal.value.real), 0), last)",
        "number = last - min(max(int(literal.value.real), 0), last)",
        (*PASSES, "tests/test_passes_simplify.py"),
    ),
    Mutant(
        "a carry that starts as another one stays the same as it",
        "passes/simplify.py",
        "seen.setdefault((initial, following), (param, last))",
        "seen.setdefault((initial, initial), (param, last))",
        (*PASSES, "tests/test_passes_simplify.py"),
    ),
    Mutant(
        "a loop of two steps is run once",
        "passes/simplify.py",
        "if loop.length <= 1:\n",
        "if loop.length <= 2 and not loop.stacks:\n"
        "            loop = loop.rebuilt(length=1)\n"
        "        if loop.length <= 1:\n",
        (*PASSES, "tests/test_passes_simplify.py"),
    ),
    # --- code motion ------------------------------------------------------------------------------
    Mutant(
        "a branch shares what the other branch computed",
        "passes/common_subexpressions.py",
        "self.nodes(builder, region.nodes, _Scope(around))",
        "self.nodes(builder, region.nodes, around)",
        (*PASSES, "tests/test_passes_code_motion.py"),
    ),
    Mutant(
        "nodes with other attributes count as equal",
        "passes/common_subexpressions.py",
        "key = (node.op, tuple(operands), _attrs_key(node.attrs), "
        "*(_region_key(r, {}) for r in regions))",
        "key = (node.op, tuple(operands), *(_region_key(r, {}) for r in regions))",
        (*PASSES, "tests/test_passes_code_motion.py"),
    ),
    Mutant(
        "a region that captures what changes leaves its loop",
        "passes/hoist_invariant.py",
        "inputs = (*operands, *mapped(captures(*node.regions), self.mapping))",
        "inputs = operands",
        (*PASSES, "tests/test_passes_code_motion.py"),
    ),
    Mutant(
        "a node leaves a branch that may not be taken",
        "passes/hoist_invariant.py",
        "self.outermost.append(self.outermost[-1] if repeats else len(self.builders))",
        "self.outermost.append(self.outermost[-1] if self.builders else 0)",
        (*PASSES, "tests/test_passes_code_motion.py"),
    ),
    Mutant(
        "what has effects leaves its loop",
        "passes/hoist_invariant.py",
        "return is_pure(node) and surely_ends(node)",
        "return surely_ends(node)",
        (*PASSES, "tests/test_passes_code_motion.py"),
    ),
    Mutant(
        "what talks to the host is dropped as dead",
        "passes/dead_code.py",
        "_LASTING = frozenset(Effect) - {Effect.READ}",
        "_LASTING = frozenset(Effect) - {Effect.READ, Effect.IO}",
        ("tests/test_passes_code_motion.py", *PASSES, "tests/test_loops.py", "tests/test_jit.py"),
    ),
    Mutant(
        "writes inside regions are dropped as dead",
        "passes/dead_code.py",
        "                for owner in (*owners, node):\n",
        "                for owner in (node,):\n",
        (*PASSES, "tests/test_passes_code_motion.py"),
    ),
    Mutant(
        "what the condition of a while needs is dropped as dead",
        "passes/dead_code.py",
        "self._use(sources(node, wiring.gates))",
        "self._use(sources(node, [g for g in wiring.gates if g.region is None]))",
        (*PASSES, "tests/test_passes_code_motion.py"),
    ),
    Mutant(
        "what a carry starts from is not kept alive",
        "passes/dead_code.py",
        "self._use((*sources(node, strand.sources), *targets(node, strand.targets)))",
        "self._use((*sources(node, strand.sources[-1:]), *targets(node, strand.targets)))",
        (*PASSES, "tests/test_passes_code_motion.py"),
    ),
    Mutant(
        "a call gives its results in the wrong order",
        "passes/inline_calls.py",
        "        return mapped(region.results, mapping)\n",
        "        return mapped(region.results[::-1], mapping)\n",
        PASSES,
    ),
    # --- the language -----------------------------------------------------------------------------
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
    # --- ops and their rules ----------------------------------------------------------------------
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
        "the cotangent of what was broadcast is not summed",
        "ir/derivative.py",
        '        return builder("reduce_sum", cotangent, axes=tuple(range(len(shape))))\n',
        '        return builder("reduce_max", cotangent, axes=tuple(range(len(shape))))\n',
        (*op_laws("mul", "add"), *GRADIENTS),
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
    # --- from Python to graphs --------------------------------------------------------------------
    Mutant(
        "the direction of a scan is not read",
        "frontend/importer.py",
        '        "reverse": params["reverse"],\n',
        '        "reverse": False,\n',
        ("tests/test_loops.py", *GRADIENTS),
    ),
    Mutant(
        "a State that was replaced by another one goes on being used",
        "frontend/transform/jit.py",
        "return all(handle.alive for handle in self.views) and self._watch.in_place(self.views)",
        "return all(h.alive for h in self._states)",
        ("tests/test_replaced_states.py",),
    ),
    Mutant(
        "a State that has moved to another module counts as put back",
        "frontend/transform/watch.py",
        "if any(now.get(name) is not thing() for name, thing in attributes.places.items()):",
        "if False:",
        ("tests/test_kept_programs.py",),
    ),
    Mutant(
        "a program is taken whatever the environment is by then",
        "frontend/transform/kept_programs.py",
        "program.usable() and (unlike is None",
        "(unlike is None",
        ("tests/test_kept_programs.py",),
    ),
    Mutant(
        "inputs are never set to what they are compared with",
        "frontend/validation/edges.py",
        "if (site, 0) not in self._met:",
        "if False:",
        ("tests/test_validate_edges.py",),
    ),
    Mutant(
        "points where rounding decides a comparison are tried",
        "frontend/validation/edges.py",
        "if (new or always) and self._is_firm(arrays, meetings):",
        "if new or always:",
        ("tests/test_validate_edges.py",),
    ),
    Mutant(
        "what a function replaces while it is traced counts as in its place",
        "frontend/transform/watch.py",
        "loss.epoch <= self._made or not self._looks_at(loss)",
        "not self._looks_at(loss)",
        ("tests/test_kept_programs.py",),
    ),
    Mutant(
        "the slope of a Bessel function at zero is that of everywhere else",
        "ir/ops/elementwise.py",
        'zero = x.where("eq", 0)  # where',
        'zero = x.where("eq", 1)  # where',
        ("tests/test_ops.py::test_slopes_at_poles_limits_and_halves_agree_with_jax",),
    ),
    Mutant(
        "a loop is split at a product that waits for itself",
        "passes/loop_stages.py",
        'odd = parts.nodes[part]["members"] <= products',
        'odd = not products.isdisjoint(parts.nodes[part]["members"])',
        ("tests/test_passes_distribute_loops.py",),
    ),
    Mutant(
        "what a loop makes and a later stage uses is not handed on",
        "passes/distribute_loops.py",
        "                self._users[value].add(stage)",
        "                self._users[value]",
        ("tests/test_passes_distribute_loops.py",),
    ),
    Mutant(
        "a sum of products that something reads becomes one product",
        "passes/loop_stages.py",
        "return made if isinstance(made, Node) and self.uses[operand] == 1 else None",
        "return made if isinstance(made, Node) else None",
        ("tests/test_passes_distribute_loops.py",),
    ),
    Mutant(
        "a product over all steps forgets what the sum starts from",
        "passes/distribute_loops.py",
        "result = None if total.carry.param in self.empty else total.carry.initial",
        "result = None",
        ("tests/test_passes_distribute_loops.py",),
    ),
    Mutant(
        "what is small in each step is made large for all of them",
        "passes/loop_stages.py",
        "return any(v.type.size > self._source[v] for v in taken)",
        "return False",
        ("tests/test_passes_distribute_loops.py",),
    ),
    Mutant(
        "a loop that was split runs in the other direction",
        "passes/distribute_loops.py",
        "            stacks=tuple(Stack(step(v)) for v in handed_on),",
        "            stacks=tuple(Stack(step(v)) for v in handed_on), reverse=False,",
        ("tests/test_passes_distribute_loops.py",),
    ),
    Mutant(
        "what was read of the environment may change unnoticed",
        "frontend/transform/jit.py",
        "    if program.reads:\n        yield functools",
        "    if False:\n        yield functools",
        ("tests/test_jit.py", "tests/test_environ.py"),
    ),
    Mutant(
        "a compiled function leaves traced values in its states",
        "frontend/transform/jit.py",
        "                self._check_writable(values)\n",
        "",
        ("tests/test_jit.py",),
    ),
    Mutant(
        "what stands in a list may be replaced unnoticed",
        "frontend/transform/watch.py",
        "                    if holder[key] is not thing():",
        "                    if False:",
        ("tests/test_replaced_states.py",),
    ),
    Mutant(
        "a list may get more entries unnoticed",
        "frontend/transform/watch.py",
        "if len(reach()) != length:",
        "if False:",
        ("tests/test_replaced_states.py",),
    ),
    Mutant(
        "the types of States are joined once more, then no further",
        "frontend/transform/regions.py",
        "    while check_carried(what, body, frame_here()):\n        body",
        "    if check_carried(what, body, frame_here()):\n        body",
        (*PROGRAMS, "tests/test_loops.py"),
    ),
    Mutant(
        "branches do not join what they leave in States",
        "frontend/transform/branches.py",
        "cast = functools.partial(_cast, results, states)",
        "cast = functools.partial(_cast, results, {})",
        (*PROGRAMS, "tests/test_branches.py"),
    ),
    Mutant(
        "a weak type that stands first hides a strong one",
        "frontend/transform/regions.py",
        "        return a if b.weak_type else b\n",
        "        return a\n",
        ("tests/test_branches.py",),
    ),
    Mutant(
        "an index that is too large for the last branch wraps around",
        "frontend/transform/branches.py",
        "    return within.astype(np.int32)",
        "    return index.astype(np.int32)",
        (*PROGRAMS, "tests/test_branches.py"),
    ),
    Mutant(
        "changes in place are only noticed when the State is read again",
        "frontend/containers.py",
        "    settle(frame, trace, write)\n    for handle, one in frame.held.doubtful():",
        "    for handle, one in frame.held.doubtful():",
        (*PROGRAMS, "tests/test_containers.py"),
    ),
    Mutant(
        "who holds a container does not see what a loop does to it",
        "frontend/containers.py",
        "if one.trace == trace and not assigned and one.local:",
        "if False:",
        (*PROGRAMS, "tests/test_containers.py"),
    ),
    Mutant(
        "a compiled call gives a State another container",
        "frontend/transform/jit.py",
        "values[i] = merge(self._written[i].state.peek(), values[i])",
        "pass",
        ("tests/test_containers.py",),
    ),
    Mutant(
        "a lane of plain Python changes the container of all",
        "frontend/recording.py",
        "value = jax.tree.map(lambda leaf: leaf, value)",
        "pass",
        (*PROGRAMS, "tests/test_containers.py"),
    ),
    Mutant(
        "the key of a lane is split only if some lane draws",
        "frontend/transform/branches.py",
        "        if i != chosen:\n            plain.pass_by",
        "        if False:\n            plain.pass_by",
        (*PROGRAMS, "tests/test_mapping.py"),
    ),
    Mutant(
        "a static zero has no sign",
        "frontend/snapshot.py",
        "        return value.hex()\n",
        "        return value\n",
        ("tests/test_jit.py",),
    ),
    Mutant(
        "a static argument inside a tuple has no type",
        "frontend/snapshot.py",
        "return tuple(map(identity, value))",
        "return value",
        ("tests/test_jit.py",),
    ),
    Mutant(
        "JAX's refusals name no line",
        "frontend/explain.py",
        "    if where is None or not (raised_in.startswith(_JAX) or advice):",
        "    if True:",
        ("tests/test_jit.py",),
    ),
    Mutant(
        "a lane axis takes all others with it as it moves",
        "passes/lanes.py",
        "    order.insert(target, source)\n",
        "    order.insert(target, source)\n    order = order if len(order) < 3 else order[::-1]\n",
        LANES,
    ),
    # --- rules of the user, and plain JAX ---------------------------------------------------------
    Mutant(
        "a rule that is not linear is moved out of a loop before it is differentiated",
        "passes/expand_grad.py",
        "hoist_invariant(node.regions[0], differentiable=True)",
        "hoist_invariant(node.regions[0])",
        RULES,
    ),
    Mutant(
        "a node with such a rule inside counts as linear",
        "passes/linearity.py",
        "(node, *inside)",
        "(node,)",
        RULES,
    ),
    Mutant(
        "a loop is distributed around a rule that is to run in each step",
        "passes/distribute_loops.py",
        "if not all(has_linear_reverse(n) or step.varying.issuperset(n.results)",
        "if not all(True or step.varying.issuperset(n.results)",
        RULES,
    ),
    Mutant(
        "equal calls share their cotangents for whom JAX differentiates",
        "passes/common_subexpressions.py",
        "apart = self.differentiable and not has_linear_reverse(node)",
        "apart = False",
        RULES,
    ),
    Mutant(
        "a rule means by a variable what it was at the first call",
        "frontend/custom_rules.py",
        "if revived == importer.revived:",
        "if revived <= importer.revived:",
        RULES,
    ),
    Mutant(
        "a derivative by what a custom function closes over is zero",
        "passes/reverse_rules.py",
        "if not reverse.active.isdisjoint(captures(node.regions[0])):",
        "if reverse.active.isdisjoint(node.results):",
        RULES,
    ),
    Mutant(
        "a cotangent keeps the dtype that the backward rule gave it",
        "frontend/custom_rules.py",
        "jax.numpy.astype(found[i], shape_struct(t).dtype)",
        "found[i]",
        RULES,
    ),
    Mutant(
        "a rule reads a State as it is outside of the lane",
        "frontend/importer.py",
        "        with within(body.frame):\n",
        "        if True:\n",
        RULES,
    ),
    Mutant(
        "a lane that is done goes on while another one does",
        "frontend/while_lanes.py",
        'builder("select_n", which, old, new)',
        'builder("select_n", which, new, new)',
        FOREIGN,
    ),
    Mutant(
        "a State that is local to a plain transformation forgets its tangents",
        "frontend/capture.py",
        "    if handle in frame.lifted:\n        return",
        "    if handle in frame.lanes:\n        return",
        FOREIGN,
    ),
    Mutant(
        "a region does not hand over the States that are local to a transformation",
        "frontend/capture.py",
        "return token != frame.trace and frame.born.get(handle) == token",
        "return token != frame.trace and frame.born.get(handle) != token",
        FOREIGN,
    ),
    Mutant(
        "the gradient by what all devices share is that of one device",
        "frontend/program.py",
        "passes = SHARDED_PIPELINE if is_sharded() else",
        "passes = SHARDED_PIPELINE if not is_sharded and is_sharded() else",
        FOREIGN,
    ),
    Mutant(
        "the carries of a loop keep the axes with which they begin",
        "ir/ops/manual_axes.py",
        "joined = [a | b for",
        "joined = [a for",
        FOREIGN,
    ),
    # --- what laws once did not see ---------------------------------------------------------------
    Mutant(
        "the first step of a loop that runs backwards is taken to be index 0",
        "ir/views.py",
        "return self.length - 1 if self.reverse else 0",
        "return 0",
        GRADIENTS,
    ),
    Mutant(
        "random bits of one shape are merged whatever their keys",
        "passes/common_subexpressions.py",
        "key = (node.op, tuple(operands), _attrs_key",
        "key = (node.op, tuple(o for o in operands if not o.type.is_key), _attrs_key",
        PASSES,
    ),
    Mutant(
        "carries that become the same are merged although they start differently",
        "passes/simplify.py",
        "seen.setdefault((initial, following), (param, last))",
        "seen.setdefault((following, following), (param, last))",
        PASSES,
    ),
    Mutant(
        "a carry without axes is taken to be at hand in all steps",
        "passes/loop_stages.py",
        "at_hand = {piece.param for piece in loop.slices}",
        "at_hand = {p for p in self.params if p not in self._carry or not p.type.shape}",
        ("tests/test_passes_distribute_loops.py",),
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
    Mutant(
        "a lane that has left a loop may come back",
        "passes/batching.py",
        "still = self._goes_on(step, old, kept)",
        "still = self._goes_on(step, old, following)",
        LANES,
    ),
    Mutant(
        "a cotangent that is repeated along another axis is taken for the same in all steps",
        "passes/reverse_loops.py",
        "dims is None or 0 in dims:",
        "dims is None:",
        GRADIENTS,
    ),
    Mutant(
        "what an inner loop leaves in each step is not built before the stages",
        "passes/distribute_loops.py",
        "        self._at_once(self.step.fixed)\n",
        "",
        ("tests/test_passes_distribute_loops.py",),
    ),
    Mutant(
        "a lane brings its own values into a branch that it does not take",
        "passes/batching.py",
        "                self.mapping.update(guarded)\n",
        "",
        PROGRAMS,
    ),
    Mutant(
        "a sum over lanes goes to what they share though none of them takes the branch",
        "passes/guards.py",
        "guarded.update((v, gate(builder, some, self.now(v))) for v in shared)",
        "pass",
        ("tests/test_guarded_branches.py",),
    ),
)
"""All of them."""
