"""From Python to graphs."""

from __future__ import annotations

from .mutant import FOREIGN, GRADIENTS, PROGRAMS, RULES, Mutant

MUTANTS = (
    Mutant(
        "whether code on devices has effects is what the first such code had",
        "frontend/capture/opaque.py",
        "if effectful and holds_code else",
        "if effectful and not holds_code else",
        ("tests/test_shard_map.py::test_effects_on_devices_happen_whatever_ran_before",),
    ),
    Mutant(
        "a random State goes on with the key that it gave away",
        "frontend/random/rng.py",
        "        self.value = keys[0]\n",
        "        self.value = keys[1]\n",
        ("tests/test_random.py",),
    ),
    Mutant(
        "the direction of a scan is not read",
        "frontend/capture/equations.py",
        '        "reverse": params["reverse"],\n',
        '        "reverse": False,\n',
        ("tests/test_loops.py", *GRADIENTS),
    ),
    Mutant(
        "changes in place are only noticed when the State is read again",
        "frontend/capture/containers.py",
        "    settle(frame, trace, write)\n    for handle, one in frame.held.doubtful():",
        "    for handle, one in frame.held.doubtful():",
        (*PROGRAMS, "tests/test_containers.py"),
    ),
    Mutant(
        "who holds a container does not see what a loop does to it",
        "frontend/capture/containers.py",
        "if one.trace == trace and not assigned and one.local:",
        "if False:",
        (*PROGRAMS, "tests/test_containers.py"),
    ),
    Mutant(
        "a lane of plain Python changes the container of all",
        "frontend/state/recording.py",
        "value = jax.tree.map(lambda leaf: leaf, value)",
        "pass",
        (*PROGRAMS, "tests/test_containers.py"),
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
        "frontend/capture/explain.py",
        "    if where is None or not (raised_in.startswith(_JAX) or advice):",
        "    if True:",
        ("tests/test_jit.py",),
    ),
    Mutant(
        "a rule means by a variable what it was at the first call",
        "frontend/capture/custom_rules.py",
        "if revived == importer.revived:",
        "if revived <= importer.revived:",
        RULES,
    ),
    Mutant(
        "a cotangent keeps the dtype that the backward rule gave it",
        "frontend/capture/custom_rules.py",
        "jax.numpy.astype(found[i], shape_struct(t).dtype)",
        "found[i]",
        RULES,
    ),
    Mutant(
        "a rule reads a State as it is outside of the lane",
        "frontend/capture/equations.py",
        "        with within(body.frame):\n",
        "        if True:\n",
        RULES,
    ),
    Mutant(
        "a lane that is done goes on while another one does",
        "frontend/capture/while_lanes.py",
        'builder("select_n", which, old, new)',
        'builder("select_n", which, new, new)',
        FOREIGN,
    ),
    Mutant(
        "a State that is local to a plain transformation forgets its tangents",
        "frontend/capture/state_primitives.py",
        "    if handle in frame.lifted:  #",
        "    if handle in frame.lanes:  #",
        FOREIGN,
    ),
    Mutant(
        "a region does not hand over the States that are local to a transformation",
        "frontend/capture/state_primitives.py",
        "(frame.born.get(handle) == token or handle in frame.lent)",
        "frame.born.get(handle) != token",
        FOREIGN,
    ),
)
