"""Wrong rules to plant in the compiler, one at a time, and the laws that must notice each.

A mutant replaces a piece of text, which must occur just once in its file. So each line here says
what the mistake would look like. `mutation_check.py` plants them and runs the laws. There is a file
for each part of the compiler.
"""

from . import (
    capture,
    derivatives,
    frontend,
    language,
    layers,
    models,
    native,
    optimisation,
    states_and_lanes,
)
from .mutant import Mutant

PARTS = (
    *(derivatives, states_and_lanes, optimisation, language),
    *(capture, frontend, models, layers, native),
)

MUTANTS: tuple[Mutant, ...] = tuple(mutant for part in PARTS for mutant in part.MUTANTS)
"""All of them; names are told apart by words of theirs."""

SAMPLE: dict[str, str] = {
    "the reversed loop runs forward": (
        "tests/test_grad_pass.py::test_gradients_agree_with_jax[a_recurrent_net]"
    ),
    "a choice by 'not' keeps the order of its cases": (
        "tests/test_laws.py::test_a_graph_means_the_same_at_every_stage[a_choice_by_not]"
    ),
    "the cotangent of what was broadcast is not summed": (
        "tests/test_ops.py::test_reverse_mode_is_the_transpose_of_forward_mode[mul]"
    ),
    "what is left of an op counts as many carries as before": (
        "tests/test_region_ops.py::test_unused_strands_are_dropped_and_the_others_counted"
    ),
    "a static zero has no sign": (
        "tests/test_jit.py::test_static_arguments_are_told_apart_and_found_again"
    ),
    "an index that is too large for the last branch wraps around": (
        "tests/test_branches.py::test_an_index_of_every_integer_dtype_is_clamped[uint32-2]"
    ),
}
"""Names of some, and for each a test that notices it within seconds: tried in every `.ci/run`."""

__all__ = ["MUTANTS", "PARTS", "SAMPLE", "Mutant"]
