"""The same random programs, written with brainir and with brainstate, do the same.

Outputs, States, random keys and the classes of what is raised are compared. It needs brainstate,
and is skipped where that is not installed. Left out is what brainstate is known to do otherwise: it
does not see what is changed in place, gives Python numbers other types, and cannot run a loop over
nothing but a length.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

import brainir
from brainir.testing import Runner, World, gradient_programs, programs, wrong_programs

brainstate: Any = pytest.importorskip("brainstate")

EARLIER = {
    "no_argument": "an argument number that is not there is a ValueError, as `argnums` says",
    "negative_length": "is a ValueError; theirs fails in XLA, when it runs",
    "no_policy": "is refused at once; theirs looks when a lane leaves a State different",
}
"""What is refused otherwise than there, and why."""

INPUT = jnp.array([0.5, -1.0, 2.0])
OTHERWISE = {"box", "hold", "chain", "nested"}


def uses(recipe: Any, names: set[str]) -> bool:
    """Whether one of some statements is anywhere in a program."""
    if not isinstance(recipe, tuple) or not recipe:
        return False
    first = isinstance(recipe[0], str) and recipe[0] in names
    return first or any(uses(part, names) for part in recipe)


def outcome(library: Any, recipe: Any, compiled: bool) -> Any:
    """Return what a program returns, and what it leaves; or what it raises."""
    world = World(library)

    def program(x: Any) -> Any:
        return Runner(world).block(recipe, [x])

    try:
        result = (library.transform.jit(program) if compiled else program)(INPUT)
    except Exception as error:
        return error
    key = jax.random.key_data(library.random.get_key())
    return result, [state.value for state in world.states], world.count.value, key


def compare(recipe: Any) -> None:
    if uses(recipe, OTHERWISE):
        return
    theirs = outcome(brainstate, recipe, compiled=False)
    if "Unable to determine the mapped axis size" in str(theirs):
        return  # in lanes that touch no State of theirs; here the declared States tell
    for compiled in (True, False):
        ours = outcome(brainir, recipe, compiled)
        if isinstance(ours, brainir.BatchAxisError) and uses(recipe, {"new_lanes"}):
            return  # lanes that create States leak what they write to others there
        if isinstance(theirs, Exception) or isinstance(ours, Exception):
            assert type(ours).__name__ == type(theirs).__name__, (ours, theirs)
            continue
        for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-5)


@given(wrong_programs())
def test_what_is_wrong_is_refused_as_on_brainstate(recipe: Any) -> None:
    if not any(name in repr(recipe) for name in EARLIER):
        compare(recipe)


def test_the_programs_that_are_left_out_are_few() -> None:
    kept: list[bool] = []

    @given(programs(depth=2))
    def law(recipe: Any) -> None:
        kept.append(not uses(recipe, OTHERWISE))

    law()
    assert sum(kept) > len(kept) / 2


@given(programs(depth=2))
def test_random_programs_do_what_they_do_on_brainstate(recipe: Any) -> None:
    compare(recipe)


@given(gradient_programs())
def test_random_gradients_are_those_of_brainstate(recipe: Any) -> None:
    compare(recipe)
