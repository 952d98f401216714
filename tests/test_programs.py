"""Random stateful programs mean the same compiled and as plain Python."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

import brainir
from brainir import transform
from brainir.frontend.program import optimise
from brainir.frontend.testing.check_transformations import assert_same
from brainir.frontend.testing.stateful_programs import Recipe
from brainir.frontend.testing.wrong_statements import WRONG
from brainir.ir import equal, parse, verify
from brainir.testing import (
    Runner,
    World,
    check_round_trip,
    check_transformation,
    gradient_programs,
    programs,
    wrong_programs,
)

INPUT = jnp.array([0.3, -0.7, 1.1], jnp.float32)


def test_compiled_programs_equal_plain_python() -> None:
    check_transformation(lambda f: f)


def test_gradients_of_programs_equal_plain_python() -> None:
    """Where plain Python has a number, so has the compiler: it compares nan with nan only."""
    check_transformation(lambda f: f, programs=gradient_programs())


@pytest.mark.parametrize("name", sorted(WRONG))
def test_each_thing_that_is_wrong_is_refused_and_leaves_everything_as_it_was(name: str) -> None:
    refuse(((("wrong", name),), ("count",)))


@given(wrong_programs())
def test_what_is_wrong_is_refused_wherever_it_stands(recipe: Recipe) -> None:
    refuse(recipe)


def refuse(recipe: Recipe) -> None:
    """Run a program compiled and alone, and see that it fails and leaves States as they were."""
    world = World()
    before = world.values()
    with pytest.raises(Exception) as compiled:  # noqa: PT011 - of many kinds
        transform.jit(lambda x: Runner(world).block(recipe, [x]))(INPUT)
    assert_same(before, world.values())
    with pytest.raises(Exception) as alone:  # noqa: PT011
        Runner(World()).block(recipe, [INPUT])
    assert type(compiled.value) is type(alone.value)


def test_graphs_of_programs_are_well_formed_and_read_back() -> None:
    captured: list[bool] = []

    @given(programs())
    def law(recipe: Recipe) -> None:
        world = World()
        try:
            traced = transform.jit(lambda x: Runner(world).block(recipe, [x])).trace(INPUT)
        except (brainir.BrainIRError, ValueError, TypeError):
            captured.append(False)  # what is wrong with it, the laws above see
            return
        captured.append(True)
        for stage in ("capture", "inline-calls", "expand-map"):
            graph = traced.graph(stage=stage)
            verify(graph)
            check_round_trip(graph)

    law()
    assert sum(captured) > len(captured) / 2


def test_loops_inside_loops_over_the_same_data_are_well_formed_after_every_pass() -> None:
    rows, matrix = jnp.linspace(0.1, 1.0, 6).reshape(2, 3), jnp.ones((3, 3))
    state = brainir.State(jnp.zeros(3))

    def inner(x: Any) -> Any:
        large = x.sum() > 0.7
        state.value = state.value + (x * large.astype(x.dtype)) @ matrix
        return large, state.value @ matrix

    for results in (slice(0, 1), slice(1, 2), slice(0, 2)):

        def program(results: slice = results) -> Any:
            step = lambda: transform.for_loop(inner, rows)[results]  # noqa: E731
            return transform.for_loop(step, length=2)

        with jax.disable_jit():
            state.value = jnp.zeros(3)
            expected = program()
        state.value = jnp.zeros(3)
        traced = transform.jit(program).trace()
        optimise(traced.program, [lambda step, before, after, seconds: verify(after, step.form)])
        assert_same(expected, transform.jit(program)())


def test_graphs_with_states_of_lanes_and_of_called_functions_are_well_formed() -> None:
    state = brainir.HiddenState(jnp.ones(3))

    @jax.jit
    def with_a_state_of_its_own(x: Any) -> Any:
        own = brainir.ShortTermState(jnp.zeros(()))
        own.value = own.value + jnp.stack([x, state.value.sum()])  # now of another shape
        transform.cond(x > 0, lambda: setattr(own, "value", own.value * x), lambda: None)
        return own.value.sum()

    def twice(x: Any) -> Any:
        return with_a_state_of_its_own(x) + with_a_state_of_its_own(x + 1)

    for program, argument, expected in (
        (transform.vmap(twice, in_states=state), jnp.arange(3.0), [3, 8, 18]),
        (
            transform.vmap(twice, in_axes=None, in_states=state, axis_size=3),
            jnp.float32(0),
            [3, 3, 3],
        ),
        (lambda xs: transform.map(twice, xs, batch_size=2), jnp.arange(3.0), [7, 14, 28]),
    ):
        report = brainir.validate(program, argument)
        assert report.ok, report
        np.testing.assert_allclose(transform.jit(program)(argument), expected)
        graph = transform.jit(program).trace(argument).graph(stage="expand-map")
        assert equal(parse(str(graph)), graph)
