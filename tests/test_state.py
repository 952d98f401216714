"""What happens to States: nothing is lost, nothing leaks, nothing is stale."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir.frontend.state import class_of_kind

transform: Any = brainir.transform  # some tests pass what its types forbid


def test_a_failed_trace_leaves_every_state_as_it_was() -> None:
    state = brainir.ShortTermState(jnp.arange(3.0))
    held = state.value

    def fail(x: Any) -> Any:
        state.value = state.value + x
        raise KeyboardInterrupt

    for run in (
        lambda: transform.jit(fail)(1.0),
        lambda: transform.for_loop(fail, jnp.ones(3)),
        lambda: transform.grad(fail)(1.0),
        lambda: transform.vmap(fail)(jnp.ones(2)),
        lambda: transform.cond(True, lambda: fail(1.0), lambda: None),
        lambda: transform.while_loop(lambda x: x < 3, fail, 1.0),
    ):
        with pytest.raises(KeyboardInterrupt):
            run()
        assert state.value is held


def test_an_error_on_the_host_leaves_every_state_as_it_was() -> None:
    state = brainir.ShortTermState(jnp.zeros(()))

    def complain(x: Any) -> None:
        raise RuntimeError("on the host")

    @transform.jit
    def step(x: Any) -> None:
        state.value = state.value + x
        jax.debug.callback(complain, x)

    with pytest.raises(Exception, match="on the host"):
        step(1.0)
    assert state.value == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.value * 0 + jnp.zeros((2, 3)),
        lambda s: s.value.astype(jnp.int32),
        lambda s: s.value * u.mV,
        lambda s: {"x": s.value},
    ],
    ids=["shape", "dtype", "unit", "structure"],
)
def test_a_state_that_looks_different_is_traced_anew(change: Callable[[Any], Any]) -> None:
    state = brainir.State(jnp.ones(3))
    double = transform.jit(lambda: jax.tree.map(lambda x: x + x, state.value))
    double()
    state.value = change(state)
    expected = jax.tree.map(lambda x: x + x, state.value)
    found = double()
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


def test_compiled_functions_keep_no_model_alive() -> None:
    class Big(brainir.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = brainir.ParamState(jnp.ones((4, 4)))
            self.fixed = jnp.ones((5, 5))

        def update(self, x: Any) -> Any:
            return (self.weight.value @ x).sum() + self.fixed.sum()

    models = [Big()]
    (model,) = models
    transform.for_loop(lambda x: models[0](x), jnp.ones((2, 4)))
    transform.grad(lambda x: models[0](x), grad_states=model.weight)(jnp.ones(4))
    transform.vmap(lambda x: models[0](x))(jnp.ones((2, 4)))
    dead = [weakref.ref(thing) for thing in (model, model.weight, model.fixed)]
    models.clear()
    del model
    gc.collect()
    assert [ref() for ref in dead] == [None, None, None]


def test_a_state_created_inside_has_no_value_afterwards() -> None:
    kept: list[brainir.State[Any]] = []

    def body(x: Any) -> Any:
        kept.append(brainir.HiddenState(jnp.zeros(2)))
        kept[-1].value = kept[-1].value + x
        return kept[-1].value

    for run in (transform.jit(body), transform.vmap(body, axis_size=2, in_axes=None)):
        run(1.0)
        with pytest.raises(brainir.TraceContextError, match="created inside a trace"):
            kept[-1].value  # noqa: B018 - reading it is what fails
        assert "invalidated" in repr(kept[-1])
        kept[-1].value = jnp.ones(1)
        assert kept[-1].value == 1


def test_traced_values_do_not_leak_through_plain_jax() -> None:
    state = brainir.ShortTermState(jnp.zeros(3))

    def write(x: Any) -> Any:
        state.value = x
        return x

    for run in (
        jax.jit(write),
        jax.vmap(write),
        jax.grad(lambda x: write(x).sum()),
        transform.jit(lambda x: jax.vmap(write)(x)),
        transform.jit(jax.grad(lambda x: write(x).sum())),
    ):
        with pytest.raises(brainir.TraceContextError, match="plain JAX"):
            run(jnp.ones(3))
    np.testing.assert_array_equal(state.value, np.zeros(3))


def test_a_state_made_in_plain_jax_may_be_written_there() -> None:
    def run(x: Any) -> Any:
        state = brainir.ShortTermState(x)
        state.value = state.value * 2
        return state.value

    assert jax.jit(run)(3.0) == 6


def test_a_users_own_jit_never_replays_what_it_did_to_states() -> None:
    state = brainir.ShortTermState(jnp.float32(1))

    @jax.jit
    def inner(x: Any) -> Any:
        state.value = state.value + x
        return state.value

    assert transform.jit(lambda x: inner(x))(1.0) == 2
    assert transform.jit(lambda x: (inner(x), inner(x)))(1.0) == (3, 4)
    state.value = jnp.zeros(2)
    np.testing.assert_array_equal(transform.jit(lambda x: inner(x) * 2)(1.0), [2.0, 2.0])
    np.testing.assert_array_equal(transform.for_loop(inner, jnp.ones(2)), [[2.0, 2.0], [3.0, 3.0]])


def test_states_cannot_be_arguments_or_results() -> None:
    state = brainir.ShortTermState(jnp.zeros(()))
    for run in (
        lambda: transform.jit(lambda x: x)({"a": state}),
        lambda: transform.jit(lambda: state)(),
        lambda: transform.for_loop(lambda: state, length=2),
        lambda: transform.grad(lambda s: s.value)(state),
        lambda: transform.cond(True, lambda s: s.value, lambda s: s.value, state),
    ):
        with pytest.raises(ValueError, match="State"):
            run()


def test_a_state_without_arrays_says_so_where_it_is_used() -> None:
    for value, error in (("text", TypeError), (None, ValueError)):
        state = brainir.State(value)
        with pytest.raises(error, match="State"):
            transform.jit(lambda s=state: s.value)()


def test_a_hidden_state_holds_an_array() -> None:
    with pytest.raises(TypeError, match="HiddenState"):
        brainir.HiddenState(1.0)


def test_a_write_of_another_shape_persists() -> None:
    state = brainir.ShortTermState(jnp.zeros(2))

    @transform.jit
    def grow() -> Any:
        state.value = jnp.concatenate([state.value, state.value + 1])
        return state.value.sum()

    assert grow() == 2
    assert state.value.shape == (4,)
    assert grow() == 8
    assert state.value.shape == (8,)


def test_new_states_are_caught() -> None:
    with brainir.catch_new_states("new", state_to_exclude=brainir.ParamState) as caught:
        first = brainir.State(1)
        brainir.ParamState(2)
    assert caught.states == [first]
    assert first.tag == {"new"}


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_and_pickles_are_states_of_their_own(how: Any) -> None:
    state = brainir.HiddenState(jnp.zeros(2), name="V", tag="fast", limit=3)
    twin: Any = how(state)
    kind: Any = type(twin)
    assert kind is brainir.HiddenState
    assert (twin.name, twin.tag, twin.limit, twin.handle.name) == ("V", {"fast"}, 3, "V")

    @brainir.transform.jit
    def advance() -> None:
        twin.value = twin.value + 1

    advance()
    np.testing.assert_array_equal(state.value, [0, 0])
    np.testing.assert_array_equal(twin.value, [1, 1])


def test_a_copied_model_keeps_its_shared_parts_and_leaves_the_original_alone() -> None:
    layers = brainir.nn.LIF(2), brainir.nn.LIF(2)
    model: Any = brainir.nn.init_all_states(brainir.nn.Sequential(*layers))
    model.first = model.layers[0]
    twin = copy.deepcopy(model)
    assert twin.first is twin.layers[0]
    assert not set(twin.states().values()) & set(model.states().values())
    with brainir.environ.context(dt=0.1 * u.ms):
        brainir.transform.for_loop(twin.first, jnp.ones((3, 2)) * u.mA)
    assert float(model.first.V.value.mantissa[0]) == 0
    assert float(twin.first.V.value.mantissa[0]) > 0


def test_a_copy_made_in_a_trace_starts_from_the_traced_value() -> None:
    state = brainir.ShortTermState(jnp.zeros(2))

    def step(x: Any) -> Any:
        state.value = state.value + x
        twin = copy.deepcopy(state)
        twin.value = twin.value * 10
        return twin.value

    found = brainir.transform.for_loop(step, jnp.array([1.0, 2.0]))
    np.testing.assert_array_equal(found, [[10, 10], [30, 30]])
    np.testing.assert_array_equal(state.value, [3, 3])


def test_a_copy_of_a_state_whose_trace_has_ended_has_no_value_either() -> None:
    kept: list[Any] = []
    brainir.transform.jit(lambda: kept.append(brainir.State(jnp.ones(2))))()
    twin = copy.deepcopy(kept[0])
    with pytest.raises(brainir.TraceContextError, match="trace that has ended"):
        _ = twin.value


def test_a_kind_is_a_word_of_graphs() -> None:
    with pytest.raises(TypeError, match="the kind of Synapse is a word in graphs"):

        class Synapse(brainir.State):
            kind = "my synapse"


def test_a_class_is_found_by_its_kind_and_told_of_if_there_is_none() -> None:
    class Synapse(brainir.HiddenState):
        kind = "synapse_of_a_test"

    assert class_of_kind("synapse_of_a_test") is Synapse
    assert class_of_kind("hidden") is brainir.HiddenState
    assert class_of_kind("state") is brainir.State
    with pytest.warns(UserWarning, match="no class of States of the kind 'unheard'"):
        assert class_of_kind("unheard") is brainir.State
