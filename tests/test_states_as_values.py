"""A State as a value: copies, and references that are pytrees."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir


def test_a_reference_holds_what_the_state_is_and_holds() -> None:
    state = brainir.ParamState({"w": jnp.ones(3)}, name="w", tag={"a", "b"}, note=[1, 2])
    reference = state.to_state_ref()
    assert reference.type is brainir.ParamState
    assert reference.name == "w"
    assert reference.tag == {"a", "b"}
    assert reference.metadata == {"note": [1, 2]}
    assert reference.note == [1, 2]
    with pytest.raises(AttributeError, match="nothing"):
        _ = reference.nothing


def test_equal_references_have_one_structure_and_compile_once() -> None:
    count = 0

    @jax.jit
    def double(reference):
        nonlocal count
        count += 1
        return jax.tree.map(lambda x: 2 * x, reference)

    for i in range(3):
        state = brainir.State(
            jnp.full(2, float(i)), tag="t", table=np.arange(3), numbers={"list": [1]}
        )
        result = double(state.to_state_ref())
        np.testing.assert_array_equal(result.value, 2.0 * i * np.ones(2))
        made = result.to_state()
        assert type(made) is brainir.State
        assert made.tag == {"t"}
        np.testing.assert_array_equal(made.table, np.arange(3))  # pyright: ignore
    assert count == 1


@pytest.mark.parametrize(
    "other",
    [
        brainir.ParamState(jnp.ones(2), name="x"),
        brainir.State(jnp.ones(2), name="y"),
        brainir.State(jnp.ones(2), name="x", tag="t"),
        brainir.State(jnp.ones(2), name="x", table=np.ones(3)),
    ],
)
def test_references_to_what_differs_have_another_structure(other: brainir.State) -> None:
    one = brainir.State(jnp.ones(2), name="x", table=np.zeros(3)).to_state_ref()
    assert jax.tree.structure(one) != jax.tree.structure(other.to_state_ref())


def test_a_state_takes_over_a_reference() -> None:
    state = brainir.State(jnp.zeros(2), old=1)
    read = brainir.transform.jit(lambda: state.value + 1)
    read()
    state.update_from_ref(brainir.State(jnp.ones(2), name="n", tag="t", new=2).to_state_ref())
    np.testing.assert_array_equal(read(), [2.0, 2.0])
    assert (state.name, state.tag, state.new) == ("n", {"t"}, 2)  # pyright: ignore
    assert not hasattr(state, "old")
    with pytest.raises(ValueError, match="own class"):
        state.update_from_ref(brainir.ParamState(jnp.ones(1)).to_state_ref())


def test_a_state_takes_over_another_of_its_class_only() -> None:
    state, other = brainir.ParamState(1.0, a=1), brainir.ParamState(2.0, name="o", b=2)
    state.copy_from(other)
    assert (state.value, state.name, state.b) == (2.0, "o", 2)  # pyright: ignore
    other.value = 3.0
    assert state.value == 2.0
    with pytest.raises(ValueError, match="own class"):
        state.copy_from(brainir.State(1.0))


def test_a_copy_has_the_private_attributes_of_a_class_of_the_user() -> None:
    class Named(brainir.State):
        def __init__(self, value):
            super().__init__(value)
            self._order = [1, 2]

    copy = Named(1.0).copy()
    assert type(copy) is Named
    assert copy._order == [1, 2]
    assert Named(1.0).to_state_ref().to_state()._order == [1, 2]  # pyright: ignore


def test_a_state_can_be_replaced_by_one_that_holds_none() -> None:
    assert brainir.State(1.0).replace(None).value is None
    assert brainir.State(1.0).replace(name="n").value == 1.0


def test_the_value_of_a_reference_is_traced_inside_jit() -> None:
    state = brainir.ShortTermState(jnp.ones(2))

    @brainir.transform.jit
    def step(x):
        state.update_from_ref(jax.tree.map(lambda v: v + x, state.to_state_ref()))
        return state.to_state_ref()

    result = step(2.0)
    np.testing.assert_array_equal(state.value, [3.0, 3.0])
    np.testing.assert_array_equal(result.value, [3.0, 3.0])
