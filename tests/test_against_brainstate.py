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
from brainir.frontend.testing.stateful_programs import kinds_of
from brainir.frontend.testing.wrong_statements import WRONG
from brainir.testing import Runner, World, gradient_programs, programs

brainstate: Any = pytest.importorskip("brainstate")

REFUSED_OTHERWISE = {
    "no argument": "an argument number that is not there is a ValueError, as `argnums` says",
    "negative length": "is a ValueError; theirs fails in XLA, when it runs",
    "no policy": "is refused at once; theirs looks when a lane leaves a State different",
    "a State in two axes": "is refused; theirs takes one of the two",
    "a tangent too many": "is a ValueError that counts them; JAX says that trees differ",
    "a static array": "is a ValueError, as for jax.jit",
}
"""What is wrong and refused otherwise than there, and why."""

INPUT = jnp.array([0.5, -1.0, 2.0])
OTHERWISE = {"box", "hold", "chain", "nested"}


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
    theirs = outcome(brainstate, recipe, compiled=False)
    if "Unable to determine the mapped axis size" in str(theirs):
        return  # in lanes that touch no State of theirs; here the declared States tell
    for compiled in (True, False):
        ours = outcome(brainir, recipe, compiled)
        if isinstance(ours, brainir.BatchAxisError) and "new_lanes" in kinds_of(recipe):
            return  # lanes that create States leak what they write to others there
        if isinstance(theirs, Exception) or isinstance(ours, Exception):
            assert type(ours).__name__ == type(theirs).__name__, (ours, theirs)
            continue
        for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", sorted(WRONG))
def test_what_is_wrong_is_refused_as_on_brainstate(name: str) -> None:
    recipe = ((("wrong", name),), ("count",))
    if name in REFUSED_OTHERWISE:
        theirs, ours = (outcome(library, recipe, False) for library in (brainstate, brainir))
        assert isinstance(ours, Exception)
        assert type(ours).__name__ != type(theirs).__name__, "the same by now: take it out"
    else:
        compare(recipe)


@given(programs(depth=2, without=OTHERWISE))
def test_random_programs_do_what_they_do_on_brainstate(recipe: Any) -> None:
    compare(recipe)


@given(gradient_programs(without=OTHERWISE))
def test_random_gradients_are_those_of_brainstate(recipe: Any) -> None:
    compare(recipe)
