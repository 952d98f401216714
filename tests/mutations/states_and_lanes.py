"""States that become values, and lanes that become an axis."""

from __future__ import annotations

from .mutant import LANES, PASSES, PROGRAMS, STATES, Mutant

MUTANTS = (
    Mutant(
        "what one lane gathers is taken for the lane's own",
        "passes/lane_dependence.py",
        'return named and node.attrs["axis_name"] == axis_name',
        "return False",
        ("tests/test_collectives.py",),
    ),
    Mutant(
        "a State that has a row for each lane gains an axis at every call",
        "frontend/transform/mapping.py",
        'if self.policy == "auto" and written.fits:',
        'if self.policy == "auto" and not written.fits:',
        (
            "tests/test_mapping_states.py::test_what_already_has_a_row_for_each_lane_keeps_its_shape",
        ),
    ),
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
    Mutant(
        "a call gives its results in the wrong order",
        "passes/inline_calls.py",
        "        return mapped(region.results, mapping)\n",
        "        return mapped(region.results[::-1], mapping)\n",
        PASSES,
    ),
    Mutant(
        "a lane axis takes all others with it as it moves",
        "ir/ops/rules.py",
        "    order.insert(target, source)\n",
        "    order.insert(target, source)\n    order = order if len(order) < 3 else order[::-1]\n",
        LANES,
    ),
    Mutant(
        "a lane that has left a loop may come back",
        "passes/batching.py",
        "still = self._goes_on(step, old, kept)",
        "still = self._goes_on(step, old, following)",
        LANES,
    ),
    Mutant(
        "a lane brings its own values into a branch that it does not take",
        "passes/batching.py",
        "                self.mapping.update(guarded)\n",
        "",
        PROGRAMS,
    ),
)
