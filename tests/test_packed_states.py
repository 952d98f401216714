"""Small States that stand in one array between calls: nobody notices but by the time it takes."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
from itertools import pairwise

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.core import Tracer

import brainir
from brainir.frontend.capture import view_of
from brainir.frontend.state.packs import Pack, Place

COUNT = 6


def states(count=COUNT, kind=brainir.HiddenState, value=float):
    return [kind(jnp.full(2, value(i)), name=f"s{i}") for i in range(count)]


def held(state):
    return state._value


def stand_in_a_pack(some) -> bool:
    return all(type(held(state)) is Place for state in some)


def stepped(some, factor=0.5):
    @brainir.transform.jit
    def step(x):
        for state in some:
            state.value = state.value * factor + x
        return some[0].value.sum()

    return step


def values(some):
    return [np.asarray(state.value).tolist() for state in some]


def test_states_stand_in_one_array_between_calls():
    some = states()
    step = stepped(some)
    assert float(step(1.0)) == 2.0
    assert stand_in_a_pack(some)
    assert len({held(state).pack for state in some}) == 1
    assert float(step(1.0)) == 3.0
    assert values(some) == [[1.5 + i / 4] * 2 for i in range(COUNT)]


def test_what_was_read_is_read_again_as_the_same_object():
    some = states()
    before = [state.value for state in some]
    step = stepped(some)
    step(0.0)
    once = some[2].value
    assert once is some[2].value
    assert isinstance(once, jax.Array)
    step(0.0)
    assert once.tolist() == [1.0, 1.0]
    assert some[2].value.tolist() == [0.5, 0.5]
    assert before[2].tolist() == [2.0, 2.0]


def test_states_that_are_only_read_keep_the_very_object_they_hold():
    weights = [brainir.ParamState(np.float32(i)) for i in range(COUNT)]
    some = states()
    kept = [w.value for w in weights]

    @brainir.transform.jit
    def step():
        for state, weight in zip(some, weights, strict=True):
            state.value = state.value + weight.value

    step()
    step()
    assert stand_in_a_pack(weights)
    assert all(w.value is k for w, k in zip(weights, kept, strict=True))
    assert values(some)[3] == [9.0, 9.0]


@pytest.mark.parametrize("how_many", [1, COUNT])
def test_what_is_assigned_counts_in_the_next_call(how_many):
    some = states(12)
    step = stepped(some)
    step(1.0)
    for state in some[:how_many]:
        state.value = jnp.full(2, 10.0)
    step(0.0)
    expected = [[5.0] * 2] * how_many
    assert values(some)[:how_many] == expected
    assert values(some)[-1] == [(11 / 2 + 1) / 2] * 2
    assert stand_in_a_pack(some)


def test_a_failed_call_leaves_all_states_as_they_were():
    some = states()

    @brainir.transform.jit
    def step(x):
        for state in some:
            state.value = state.value + x

    step(jnp.ones(2))
    before = values(some)
    with pytest.raises(TypeError):
        step(jnp.ones(3))
    with pytest.raises(TypeError):
        step("nonsense")
    assert values(some) == before
    step(jnp.ones(2))
    assert values(some)[0] == [2.0, 2.0]


@pytest.mark.parametrize("other", ["the same", "in reverse", "some of them", "no pack"])
def test_several_functions_share_states(other):
    some, count = states(), brainir.ShortTermState(0.0)
    chosen = {"the same": some, "in reverse": some[::-1], "some of them": some[1:]}
    if other == "no pack":

        @brainir.transform.jit
        def second(x):
            some[1].value = some[1].value + x
            count.value += x

    else:
        second = stepped(chosen[other], factor=1.0)
    first = stepped(some)
    expected = [np.full(2, float(i)) for i in range(COUNT)]
    touched = {"some of them": range(1, COUNT), "no pack": [1]}.get(other, range(COUNT))
    for _ in range(3):
        first(1.0)
        second(2.0)
        expected = [value / 2 + 1 for value in expected]
        for i in touched:
            expected[i] = expected[i] + 2
        np.testing.assert_allclose(values(some), expected)


def test_alternating_functions_give_packs_up_rather_than_put_in_and_take_out_for_ever():
    some = states(40)
    first, second = stepped(some), stepped(some[::-1], factor=1.0)
    for _ in range(60):
        first(1.0)
        second(0.0)
    assert not any(type(held(state)) is Place for state in some)
    np.testing.assert_allclose(values(some), 2.0, rtol=1e-5)


def test_reading_all_states_at_each_step_gives_packs_up():
    some = states(16)
    step = stepped(some)
    for _ in range(60):
        step(1.0)
        for state in some:
            state.value  # noqa: B018
    assert not any(type(held(state)) is Place for state in some)


def test_copies_and_pickles_are_states_of_their_own():
    some = states()
    step = stepped(some)
    step(1.0)
    other, third = copy.deepcopy(some), pickle.loads(pickle.dumps(some))
    step(1.0)
    assert values(other) == values(third) == [[1 + i / 2] * 2 for i in range(COUNT)]
    assert values(some) != values(other)
    assert "2.25" not in repr(some[0])
    assert repr(some[0]) == repr(brainir.HiddenState(jnp.zeros(2), name="s0"))


def test_a_state_that_changes_its_type_is_compiled_for_again():
    some = states()
    step = stepped(some)
    step(1.0)
    some[0].value = jnp.zeros(3)
    assert step(1.0) == 3.0
    assert some[0].value.shape == (3,)
    assert some[1].value.shape == (2,)
    some[0].value = jnp.zeros(2)
    assert step(1.0) == 2.0
    some[1].value = np.zeros(2, np.float16)
    step(1.0)
    assert values(some)[1] == [1.0, 1.0]


def test_units_stay_with_each_state():
    volts = [brainir.HiddenState(jnp.float32(i) * u.mV) for i in range(4)]
    amps = [brainir.HiddenState(jnp.float32(i) * u.nA) for i in range(4)]

    @brainir.transform.jit
    def step():
        for state in (*volts, *amps):
            state.value = state.value * 2

    step()
    step()
    assert stand_in_a_pack([*volts, *amps])
    assert u.math.allclose(volts[3].value, 12.0 * u.mV)
    assert u.math.allclose(amps[3].value, 12.0 * u.nA)
    volts[0].value = 1.0 * u.mV
    step()
    assert u.math.allclose(volts[0].value, 2.0 * u.mV)
    volts[0].value = 1.0 * u.nA  # that is another program
    step()
    assert u.math.allclose(volts[0].value, 2.0 * u.nA)


def test_numbers_stay_compiled_for():
    some = [brainir.ShortTermState(float(i)) for i in range(5)]
    traced = []

    @brainir.transform.jit
    def step():
        traced.append(None)
        for state in some:
            state.value = state.value + 1

    for _ in range(3):
        step()
    some[0].value = 7
    some[1].value = 7.0
    step()
    assert [float(state.value) for state in some] == [8, 8, 6, 7, 8]
    assert len(traced) <= 2  # 7 is an integer: that is another program, or the same


def test_states_that_are_replaced_or_gone_are_not_read_from_a_pack():
    some = states()
    step = stepped(some)
    step(1.0)
    some[2] = brainir.HiddenState(jnp.full(2, 100.0))
    gc.collect()
    step(0.0)
    assert values(some)[2] == [50.0, 50.0]
    assert values(some)[0] == [0.5, 0.5]


def test_a_state_that_dies_unseen_is_not_read_from_a_pack():
    class Hidden:  # nobody looks into this
        __slots__ = ("state",)

        def __init__(self, state):
            self.state = state

    some = states()
    cell = Hidden(some.pop())

    @brainir.transform.jit
    def step():
        for state in (*some, cell.state):
            state.value = state.value + 1
        return cell.state.value[0]

    assert float(step()) == COUNT
    cell.state = brainir.HiddenState(jnp.full(2, 100.0))
    gc.collect()
    assert float(step()) == 101.0


def test_hooks_are_told_of_every_value():
    some, told = states(), []
    step = stepped(some)

    def told_of(context):
        if not isinstance(context.value, Tracer):
            told.append(context.value.tolist())

    step(1.0)
    some[1].register_hook("write_after", told_of)
    step(1.0)
    step(1.0)
    assert told == [[1.75, 1.75], [1.875, 1.875]]
    assert values(some)[1] == [1.875, 1.875]


@pytest.mark.parametrize("around", [jax.jit, brainir.transform.jit, lambda f: f])
def test_packed_states_are_seen_inside_other_transformations(around):
    some = states()
    step = stepped(some)
    step(1.0)
    total = around(lambda x: sum(state.value.sum() for state in some) * x)
    assert float(total(1.0)) == sum(2 + i for i in range(COUNT))
    assert float(jax.grad(total)(1.0)) == sum(2 + i for i in range(COUNT))
    step(1.0)
    assert values(some)[0] == [1.5, 1.5]


def test_a_call_inside_a_plain_jax_transformation_is_refused_as_before():
    some = states()
    step = stepped(some)
    step(1.0)
    before = values(some)
    with pytest.raises(brainir.TraceContextError):
        jax.jit(step)(1.0)
    assert values(some) == before
    step(1.0)
    assert values(some)[0] == [1.5, 1.5]


def test_threads_may_read_and_call():
    some = states(30)
    step, stop, seen = stepped(some, factor=1.0), threading.Event(), []

    def look():
        while not stop.is_set():
            seen.append(float(some[3].value[0]))

    reader = threading.Thread(target=look)
    reader.start()
    for _ in range(200):
        step(1.0)
    stop.set()
    reader.join()
    assert values(some)[3] == [203.0, 203.0]
    assert all(a <= b for a, b in pairwise(seen))


def test_states_on_another_device_stay_there():
    device = jax.devices()[0]
    some = [brainir.HiddenState(jax.device_put(jnp.ones(2), device)) for _ in range(5)]
    step = stepped(some)
    step(1.0)
    assert stand_in_a_pack(some)
    assert all(state.value.devices() == {device} and state.value.committed for state in some)


def test_packing_can_be_left_out():
    some = states()
    with brainir.options(passes={"pack-alike": {"least": 0}}):
        stepped(some)(1.0)
    assert not any(type(held(state)) is Place for state in some)
    with brainir.options(leave_out=["pack-alike"]):
        stepped(some)(1.0)
    assert not any(type(held(state)) is Place for state in some)


def test_the_environment_and_other_states_still_count():
    some = states()

    @brainir.transform.jit
    def step():
        for state in some:
            state.value = state.value + brainir.environ.get_dt()

    with brainir.environ.context(dt=1.0):
        step()
    with brainir.environ.context(dt=2.0):
        step()
        step()
    assert values(some)[0] == [5.0, 5.0]


def test_generators_and_long_loops_in_the_same_function():
    some, generator = states(), brainir.random.RandomState(3)

    @brainir.transform.jit
    def run(steps):
        def one(x):
            noise = generator.normal(size=2)
            for i, state in enumerate(some):
                state.value = 0.5 * state.value + x + noise * (i + 1)

        brainir.transform.for_loop(one, steps)

    run(jnp.arange(3.0))
    run(jnp.arange(3.0))
    generator.seed(3)
    again = states()
    with brainir.options(passes={"pack-alike": {"least": 0}}):
        some, packed = again, values(some)
        run(jnp.arange(3.0))
        run(jnp.arange(3.0))
    np.testing.assert_allclose(values(again), packed, rtol=1e-5)


def test_saved_and_restored_states():
    some = states()
    step = stepped(some)
    step(1.0)
    saved = [state.value for state in some]
    step(1.0)
    for state, value in zip(some, saved, strict=True):
        state.restore_value(value)
    step(1.0)
    assert values(some)[0] == [1.5, 1.5]


# --- a pack by itself: what compiled functions rely on --------------------------------------------


def filled(some):
    pack = Pack(some, [view_of(state) for state in some])
    assert pack.fill()
    assert pack.whole
    return pack


def test_a_pack_that_has_lost_a_state_is_not_whole_and_cannot_be_filled():
    some = states()
    pack = filled(some)
    some.pop()
    gc.collect()
    assert not pack.whole
    assert not pack.fill()


def test_what_a_call_leaves_replaces_what_was_assigned_while_it_ran():
    some = states()
    pack = filled(some)
    some[2].value = jnp.full(2, 100.0)
    assert not pack.whole
    pack.take(jnp.arange(2.0 * COUNT).reshape(COUNT, 2))
    assert pack.whole
    assert values(some) == [[2.0 * i, 2.0 * i + 1] for i in range(COUNT)]


def test_a_pack_that_is_released_leaves_each_state_its_value():
    some = states()
    pack = filled(some)
    pack.take(jnp.ones((COUNT, 2)))
    pack.release()
    assert values(some) == [[1.0, 1.0]] * COUNT
    assert not any(type(held(state)) is Place for state in some)


def test_states_of_another_type_are_not_put_in():
    some = states()
    pack = filled(some)
    some[1].value = jnp.zeros(3)
    assert not pack.fill()
    some[1].value = jnp.zeros(2)
    assert pack.fill()
