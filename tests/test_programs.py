"""Random stateful programs mean the same compiled and as plain Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, note
from hypothesis import strategies as st

import brainir
from brainir import transform
from brainir.frontend.program import optimise
from brainir.ir import equal, parse, verify
from tests.stateful_programs import Recipe, Runner, World, blocks, gradients, has_lanes

INPUT = jnp.array([0.3, -0.7, 1.1], jnp.float32)


def outcome(recipe: Recipe, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Any:
    """Return what a program returns and leaves behind, or what it raises."""
    world = World()
    before = world.values()
    program = wrap(lambda x: Runner(world).block(recipe, [x]))
    try:
        result = program(INPUT)
    except (brainir.BrainIRError, ValueError, TypeError) as error:
        note(f"{type(error).__name__}: {error}")
        return error, before, world.values()
    return result, before, world.values()


def assert_same(one: Any, other: Any) -> None:
    """Compare results and states; keys exactly, floats up to the order of operations."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    for a, b in pairs:
        if jnp.issubdtype(jnp.result_type(a), jax.dtypes.prng_key):
            np.testing.assert_array_equal(jax.random.key_data(a), jax.random.key_data(b))
        else:
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def may_be_refused(error: Exception, recipe: Recipe) -> bool:
    """Whether a program may run as plain Python and be refused by the compiler.

    Plain Python compares what lanes wrote, the compiler what it depends on: lanes may agree by
    chance, and only the compiler refuses them. Nor does plain Python come by everything that a
    batch may not do. And it can go back through a loop of which it has seen every step.
    """
    if "does not work for the while loop" in str(error):
        return "'grad'" in str(recipe) and "'while'" in str(recipe)
    lanes = isinstance(error, brainir.BatchAxisError) or "map with a batch_size" in str(error)
    return lanes and has_lanes(recipe)


def compared(recipe: Recipe) -> bool:
    """Compare a program with plain Python and verify it after every pass, if it can be run."""
    with jax.disable_jit():
        expected, _, left = outcome(recipe, lambda f: f)
    for wrap in (transform.jit, lambda f: f):
        found, before, after = outcome(recipe, wrap)
        if not isinstance(found, Exception):
            assert_same((expected, left), (found, after))
            continue
        assert may_be_refused(found, recipe) or type(found) is type(expected)
        if wrap is transform.jit:
            assert_same(before, after)
    if isinstance(found, Exception):
        return False
    program = transform.jit(lambda x: Runner(World()).block(recipe, [x])).trace(INPUT).program
    optimise(program, [lambda step, before, after, seconds: verify(after, step.form)])
    return True


def assert_most_are_compared(programs: st.SearchStrategy[Recipe]) -> None:
    """Compare programs, also those with lanes, of which some are refused; most are not."""
    seen: list[tuple[bool, bool]] = []

    @given(programs)
    def law(recipe: Recipe) -> None:
        seen.append((has_lanes(recipe), compared(recipe)))

    law()
    for lanes in (False, True):
        kind = [ran for has, ran in seen if has is lanes]
        assert sum(kind) > len(kind) / 2 > 0


def test_compiled_programs_equal_plain_python() -> None:
    assert_most_are_compared(blocks(depth=2))


def test_gradients_of_programs_equal_plain_python() -> None:
    """Where plain Python has a number, so has the compiler: it compares nan with nan only."""
    assert_most_are_compared(gradients(depth=2))


@given(blocks(depth=2))
def test_graphs_of_programs_are_well_formed_and_read_back(recipe: Recipe) -> None:
    world = World()
    try:
        traced = transform.jit(lambda x: Runner(world).block(recipe, [x])).trace(INPUT)
    except (brainir.BrainIRError, ValueError, TypeError):
        return  # what is wrong with it, the laws above see
    for stage in ("capture", "inline-calls", "expand-map"):
        graph = traced.graph(stage=stage)
        verify(graph)
        assert equal(parse(str(graph)), graph)


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
