"""What a planted mistake is, and the laws that are to notice those of a part."""

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
DIRECTIONS = (
    "tests/test_directions.py::test_gradients_with_many_seeds_agree_with_jax",
    "tests/test_directions.py::test_many_tangents_agree_with_jax",
)
JACOBIANS = (
    "tests/test_derivatives.py::test_blocks_stand_where_jax_has_them",
    "tests/test_derivatives.py::test_states_are_differentiated_by_as_arguments_are_and_written_once",
)
PRODUCTS = (
    "tests/test_derivatives_products.py::test_cotangents_go_back_as_in_jax",
    "tests/test_derivatives_products.py::test_states_are_written_once_and_cotangents_are_at_entry",
)
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
