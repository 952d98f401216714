"""What a user calls: transformations, programs, validation."""

from __future__ import annotations

from .mutant import FOREIGN, PROGRAMS, Mutant

MUTANTS = (
    Mutant(
        "States get the values of other States back",
        "frontend/program/programs.py",
        "            start = stop\n",
        "",
        (*PROGRAMS, "tests/test_jit.py"),
    ),
    Mutant(
        "a State that was replaced by another one goes on being used",
        "frontend/transform/entries.py",
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
        "what was read of the environment may change unnoticed",
        "frontend/transform/entries.py",
        "    if program.reads:\n        yield functools",
        "    if False:\n        yield functools",
        ("tests/test_jit.py", "tests/test_environ.py"),
    ),
    Mutant(
        "a compiled function leaves traced values in its states",
        "frontend/transform/entries.py",
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
        "frontend/transform/binding.py",
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
        "frontend/transform/binding.py",
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
        "a compiled call gives a State another container",
        "frontend/transform/entries.py",
        "values[i] = merge(self._written[i].state.peek(), values[i])",
        "pass",
        ("tests/test_containers.py",),
    ),
    Mutant(
        "the key of a lane is split only if some lane draws",
        "frontend/transform/branches.py",
        "        if i != chosen:\n            plain.pass_by",
        "        if False:\n            plain.pass_by",
        (*PROGRAMS, "tests/test_mapping.py"),
    ),
    Mutant(
        "the gradient by what all devices share is that of one device",
        "frontend/program/executables.py",
        "base = SHARDED_PIPELINE if is_sharded() else",
        "base = SHARDED_PIPELINE if not is_sharded and is_sharded() else",
        FOREIGN,
    ),
)
