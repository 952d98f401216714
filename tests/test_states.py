"""Kinds of States, recording and catching them, checks of what is written, and threads."""

from __future__ import annotations

import copy
import threading
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir

transform: Any = brainir.transform


# --- kinds ----------------------------------------------------------------------------------------


def test_a_group_gives_and_takes_its_variables_by_number_and_name() -> None:
    group: Any = brainir.HiddenGroupState(np.zeros((2, 3), np.float32) * u.mV)
    group.set_value({0: jnp.ones(2) * u.volt, "2": np.full(2, 5.0, np.float32) * u.mV})
    np.testing.assert_array_equal(
        group.value.to_decimal(u.mV), [[1000.0, 0.0, 5.0], [1000.0, 0.0, 5.0]]
    )
    assert group.get_value(-1).unit == u.mV
    np.testing.assert_array_equal(group.get_value("0").to_decimal(u.mV), [1000.0, 1000.0])
    assert (group.varshape, group.num_state) == ((2,), 3)
    assert brainir.HiddenState(jnp.zeros(3)).num_state == 1


def test_a_tree_keeps_a_unit_for_each_variable() -> None:
    tree = brainir.HiddenTreeState(
        {"V": jnp.zeros(2) * u.mV, "i": jnp.ones(2) * u.mA, "w": jnp.ones(2)}
    )
    tree.set_value({"V": jnp.full(2, 0.5) * u.volt, 2: jnp.full(2, 3.0)})
    assert tree.value.shape == (2, 3)
    np.testing.assert_array_equal(tree.get_value("V").to_decimal(u.mV), [500.0, 500.0])
    assert tree.get_value(1).unit == u.mA
    np.testing.assert_array_equal(tree.get_value("w"), [3.0, 3.0])
    for other in (tree.copy(), tree.to_state_ref().to_state()):
        assert other.get_value("V").unit == u.mV  # pyright: ignore
    assert brainir.HiddenTreeState([jnp.ones(2)]).name2index == {"0": 0}


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (TypeError, lambda g: brainir.HiddenGroupState(1.0)),
        (ValueError, lambda g: brainir.HiddenGroupState(jnp.ones(3))),
        (TypeError, lambda g: brainir.HiddenTreeState(jnp.ones(3))),
        (TypeError, lambda g: brainir.HiddenTreeState({"a": 1.0})),
        (ValueError, lambda g: brainir.HiddenTreeState({})),
        (ValueError, lambda g: brainir.HiddenTreeState([jnp.ones(2), jnp.ones(3)])),
        (IndexError, lambda g: g.get_value(3)),
        (KeyError, lambda g: g.get_value("x")),
        (TypeError, lambda g: g.get_value(1.5)),
        (TypeError, lambda g: g.set_value(jnp.ones(3))),
        (ValueError, lambda g: g.set_value({})),
        (ValueError, lambda g: g.set_value({7: jnp.ones(2)})),
        (ValueError, lambda g: g.set_value({0: jnp.ones(5)})),
        (KeyError, lambda g: g.set_value({"x": jnp.ones(2)})),
        (u.UnitMismatchError, lambda g: g.set_value({0: jnp.ones(2) * u.mV})),
    ],
)
def test_a_group_refuses_what_is_no_variable_of_it(error: Any, call: Any) -> None:
    for group in (
        brainir.HiddenGroupState(jnp.ones((2, 3))),
        brainir.HiddenTreeState([jnp.ones(2)] * 3),
    ):
        with pytest.raises(error):
            call(group)
        np.testing.assert_array_equal(group.value, np.ones((2, 3)))


def test_groups_work_inside_transformations() -> None:
    tree = brainir.HiddenTreeState({"V": jnp.zeros(2) * u.mV, "n": jnp.zeros(2)})

    def step(x: Any) -> Any:
        tree.set_value({"V": tree.get_value("V") + x * u.mV, "n": tree.get_value("n") + 1})
        return tree.get_value("V")

    out = transform.jit(lambda xs: transform.for_loop(step, xs))(jnp.arange(1.0, 4.0))
    np.testing.assert_array_equal(out.to_decimal(u.mV)[:, 0], [1.0, 3.0, 6.0])
    np.testing.assert_array_equal(tree.get_value("n"), [3.0, 3.0])


def test_a_fake_state_is_followed_by_nobody() -> None:
    with brainir.catch_new_states() as caught:
        fake = brainir.FakeState(jnp.zeros(2), name="f", note=1)
    assert len(caught) == 0
    assert (fake.name, fake.note) == ("f", 1)  # pyright: ignore


def test_a_dictionary_of_states_splits_and_assigns() -> None:
    w, n = brainir.ParamState(1.0), brainir.State(0)
    states = brainir.StateDictManager({"w": w}, n=n)
    assert states.split_values(brainir.ParamState) == ({"w": 1.0}, {"n": 0})
    with pytest.raises(KeyError, match="'x'"):
        states.assign_values({"w": 3.0, "x": 1})
    assert w.value == 1.0
    with pytest.raises(TypeError, match="holds States"):
        states["z"] = 3


def test_a_state_is_made_of_an_initialiser() -> None:
    state = brainir.ParamState.init(lambda shape: jnp.ones(shape), (2,), batch_size=3, tag="t")
    assert (state.value.shape, state.tag) == ((3, 2), {"t"})


def test_a_state_knows_where_it_was_created() -> None:
    state = brainir.State(1.0)
    assert state.source_info is not None
    assert state.source_info.file == __file__
    with pytest.raises(ValueError, match="bad") as caught:
        state.raise_error_with_source_info(ValueError("bad"))
    assert "test_states.py" in caught.value.__notes__[0]


# --- recording ------------------------------------------------------------------------------------


def test_a_trace_tells_reads_from_writes_in_the_order_of_touches() -> None:
    a, b, c = brainir.State(1.0), brainir.State(2.0), brainir.State({"x": [1]})
    with brainir.StateTraceStack(name="t") as trace:
        b.value = a.value + b.value
        local = brainir.State(0)
        local.value = 3
        c.value["x"].append(2)
    assert trace.states == [a, b, c]
    assert trace.been_writen == [False, True, True]
    assert trace.original_state_values[:2] == (1.0, 2.0)
    assert trace.get_state_values() == (1.0, 3.0, {"x": [1, 2]})
    assert trace.get_state_values(separate=True, replace=True)[1] == (1.0, None, None)
    assert trace.get_write_states() == (b, c)
    assert trace.get_read_state_values(True) == (1.0, None, None)
    assert trace.state_subset(brainir.ParamState) == []
    trace.assign_state_vals([1.0, 9.0, {"x": [0, 0]}])
    assert b.value == 9.0
    with pytest.raises(ValueError, match="3 States"):
        trace.assign_state_vals([1.0])
    trace.recovery_original_values()
    assert b.value == 2.0
    trace.release_original_values()
    with pytest.raises(RuntimeError, match="released"):
        trace.recovery_original_values()


def test_traces_nest_and_are_left_in_the_reverse_order() -> None:
    a, b = brainir.State(1.0), brainir.State(2.0)
    with brainir.StateTraceStack() as outer:
        _ = a.value
        with brainir.StateTraceStack() as inner:
            b.value = 1.0
    assert (outer.states, inner.states) == ([a, b], [b])
    both = inner + outer
    assert (both.states, both.been_writen) == ([b, a], [True, False])
    first, second = brainir.StateTraceStack(), brainir.StateTraceStack()
    first.__enter__()
    second.__enter__()
    with pytest.raises(RuntimeError, match="reverse order"):
        first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    first.__exit__(None, None, None)


def test_a_state_whose_level_was_decreased_counts_as_one_from_outside() -> None:
    with brainir.StateTraceStack() as trace:
        state = brainir.State(1.0)
        assert state.stack_level == 1
        _ = state.value
        assert trace.states == []
        state.decrease_stack_level()
        state.decrease_stack_level()
        assert state.stack_level == 0
        _ = state.value
    assert trace.states == [state]


def test_a_state_whose_level_was_increased_counts_as_one_from_inside() -> None:
    scratch, total = brainir.State(0.0), brainir.State(0.0)
    scratch.increase_stack_level()
    with brainir.StateTraceStack() as outer, brainir.StateTraceStack() as inner:
        scratch.value += 1.0
        total.value += scratch.value
    assert (outer.states, inner.states) == ([total], [scratch, total])
    outer.recovery_original_values()
    assert (scratch.value, total.value) == (1.0, 0.0)
    scratch.decrease_stack_level()
    with brainir.StateTraceStack() as trace:
        scratch.value += 1.0
    assert trace.states == [scratch]
    assert copy.copy(scratch).stack_level == 0


def test_a_state_whose_level_went_down_and_up_again_is_where_it_was() -> None:
    with brainir.StateTraceStack():
        state = brainir.State(1.0)
        state.decrease_stack_level()
        state.increase_stack_level()
    with brainir.StateTraceStack() as later:
        _ = state.value
    assert later.states == [state]


def test_compiled_functions_follow_a_state_of_any_level() -> None:
    count = brainir.State(jnp.float32(0.0))
    count.increase_stack_level()

    @transform.jit
    def step() -> Any:
        count.value = count.value + 1.0
        return count.value

    assert [float(step()), float(step())] == [1.0, 2.0]
    with jax.disable_jit():
        assert float(step()) == 3.0
    assert float(count.value) == 3.0


def test_values_from_a_trace_are_given_back_apart() -> None:
    read = brainir.State({"x": u.Quantity(jnp.ones(2), unit=u.mV)})
    written = brainir.State(jnp.zeros(()))
    with brainir.StateTraceStack() as trace:
        written.value = read.value["x"].to_decimal(u.mV).sum()
    new, old = trace.get_state_values(separate=True, replace=True)
    assert (new[0], old[1]) == (None, None)
    trace.recovery_original_values()
    assert float(written.value) == 0.0
    trace.assign_state_vals_v2(old, new)
    assert float(written.value) == 2.0
    for few in (([], new), (old, [])):
        with pytest.raises(ValueError, match=r"2 States, so 2 .* values are needed, not 0"):
            trace.assign_state_vals_v2(*few)


def _none(assign: Any, values: Any) -> None:
    with pytest.raises(ValueError, match="structure"):
        assign(*values)


@pytest.mark.parametrize("wrap", [transform.jit, lambda f: f])
def test_values_of_which_one_does_not_fit_change_no_state(wrap: Any) -> None:
    first, second = brainir.State(jnp.float32(0.0)), brainir.State({"x": jnp.float32(1.0)})

    @wrap
    def run() -> Any:
        with brainir.StateTraceStack() as trace:
            first.value = first.value + second.value["x"]
        wrong = jnp.float32(7.0)
        _none(trace.assign_state_vals, [[wrong, wrong]])
        _none(trace.assign_state_vals_v2, [[None, wrong], [wrong, None]])
        return first.value

    assert float(run()) == 1.0
    assert (float(first.value), second.value) == (1.0, {"x": 1.0})
    with jax.disable_jit():
        assert float(run()) == 2.0


@pytest.mark.parametrize("wrap", [transform.jit, lambda f: f])
def test_what_states_hold_inside_a_trace_can_be_said_later(wrap: Any) -> None:
    weight = brainir.State(jnp.float32(3.0))

    @wrap
    def run(x: Any) -> Any:
        trace = brainir.StateTraceStack()
        trace.set_new_arg(lambda state: 10.0 * x)
        with trace:
            out = weight.value + 1.0
        trace.recovery_original_values()
        with brainir.StateTraceStack(new_arg=lambda state: 0.0 * x) as plain:
            plain.set_new_arg(None)
            return out, weight.value

    for _ in range(2):
        assert [float(value) for value in run(jnp.float32(2.0))] == [21.0, 3.0]
    with jax.disable_jit():
        assert [float(value) for value in run(jnp.float32(2.0))] == [21.0, 3.0]
    assert float(weight.value) == 3.0


def test_a_trace_can_be_told_of_touches_that_it_does_not_see() -> None:
    a, b = brainir.State(1.0), brainir.State(2.0)
    checked: list[Any] = []
    trace = brainir.StateTraceStack(check_read=checked.append)
    trace.read_its_value(a)
    trace.write_its_value(b)
    trace.write_its_value(a)
    assert checked == [a]
    assert (trace.states, trace.been_writen) == ([a, b], [True, True])
    b.value = 5.0
    trace.recovery_original_values()
    assert (a.value, b.value) == (1.0, 2.0)
    other = brainir.StateTraceStack()
    other.read_its_value(a)
    assert (other.get_read_states(), other.get_write_states()) == ((a,), ())


def test_a_trace_makes_a_pure_function_for_plain_jax() -> None:
    weight, count = brainir.State(jnp.float32(3.0)), brainir.State(jnp.float32(0.0))

    def model(x: Any) -> Any:
        count.value = count.value + 1
        return weight.value * x

    def pure(values: Any, x: Any) -> Any:
        given = dict(zip((count, weight), values, strict=True))
        with brainir.StateTraceStack(new_arg=lambda state: given[state]) as trace:
            out = model(x)
        written = trace.get_write_state_values()
        trace.recovery_original_values()
        return out, written

    values = count.value, weight.value
    (out, (left,)) = jax.jit(pure)(values, 2.0)
    slope = jax.grad(lambda v: pure(v, 2.0)[0])(values)
    assert (float(out), float(left), float(count.value)) == (6.0, 1.0, 0.0)
    assert [float(s) for s in slope] == [0.0, 2.0]


@pytest.mark.parametrize("wrap", [transform.jit, lambda f: f])
def test_a_trace_sees_through_compiled_functions_and_loops(wrap: Any) -> None:
    a, b = brainir.State(jnp.float32(1.0)), brainir.State(jnp.float32(0.0))

    def step(x: Any) -> None:
        b.value = b.value + a.value * x

    run = wrap(lambda xs: transform.for_loop(step, xs))
    run(jnp.ones(2))
    for _ in range(2):
        with brainir.StateTraceStack() as trace:
            run(jnp.ones(2))
        assert set(trace.get_write_states()) == {b}
        assert set(trace.get_read_states()) == {a}
        trace.recovery_original_values()
        assert float(b.value) == 2.0
    with brainir.StateTraceStack() as trace:
        jax.make_jaxpr(lambda x: run(jnp.ones(2) * x))(1.0)
        trace.recovery_original_values()
    assert float(b.value) == 2.0


def test_a_trace_works_inside_a_compiled_function() -> None:
    a = brainir.State(jnp.float32(1.0))

    @transform.jit
    def run(x: Any) -> Any:
        with brainir.StateTraceStack() as trace:
            a.value = a.value + x
            transform.for_loop(lambda y: setattr(a, "value", a.value + y), jnp.ones(2))
        assert trace.get_write_states() == (a,)
        left = trace.get_state_values()[0]
        trace.recovery_original_values()
        return left

    for _ in range(2):
        assert float(run(2.0)) == 5.0
        assert float(a.value) == 1.0


# --- catching -------------------------------------------------------------------------------------


def test_new_states_are_caught_but_for_what_a_filter_excludes() -> None:
    for excluded in (brainir.ParamState, [brainir.ParamState, "no"], lambda p, s: s.value == 1.0):
        with brainir.catch_new_states("new", excluded) as caught:
            brainir.ParamState(1.0)
            kept = brainir.State(2.0)
        assert caught.get_states() == [kept]
        assert caught.get_by_tag("new") == [kept]
        assert caught.get_state_values() == [2.0]


def test_caught_states_can_be_removed_and_added() -> None:
    with brainir.catch_new_states("new") as caught:
        a, b = brainir.State(1.0), brainir.State(2.0)
    caught.remove(a)
    assert (caught.states, a.tag) == ([b], None)
    with pytest.raises(ValueError, match="was not caught"):
        caught.remove(a)
    caught.append(b)
    caught.append(a)
    assert (caught.states, a.tag) == ([b, a], {"new"})
    caught.clear()
    assert len(caught) == 0


# --- checks ---------------------------------------------------------------------------------------


def test_a_change_of_structure_is_refused_if_asked_for() -> None:
    state: Any = brainir.State({"x": jnp.zeros(2)})

    def write() -> None:
        state.value = {"y": jnp.zeros(2)}

    with brainir.check_state_value_tree(True):
        state.value = {"x": jnp.zeros(3)}
        for run in (write, transform.jit(write), lambda: transform.cond(True, write, lambda: None)):
            with pytest.raises(ValueError, match="check_state_value_tree"):
                run()
            assert list(state.value) == ["x"]
        with brainir.check_state_value_tree(False):
            write()
    assert list(state.value) == ["y"]
    state.value = 1.0


def test_a_write_that_jax_would_run_once_is_refused_if_asked_for() -> None:
    state = brainir.State(0)

    def write(x: Any) -> Any:
        state.value = 5
        inner = brainir.State(1)
        inner.value = 2
        return x

    jax.jit(write)(1.0)
    state.value = 0
    with brainir.check_state_jax_tracer():
        with pytest.raises(brainir.TraceContextError, match="written inside a plain JAX"):
            jax.vmap(write)(jnp.ones(2))
        assert state.value == 0
        write(1.0)
        transform.jit(write)(1.0)
    assert state.value == 5


def test_restoring_cannot_leave_a_traced_value_behind() -> None:
    state = brainir.State(jnp.zeros(2))
    with pytest.raises(brainir.TraceContextError):
        jax.jit(lambda x: state.restore_value(x))(jnp.ones(2))
    np.testing.assert_array_equal(state.value, [0.0, 0.0])


def test_a_state_of_an_ended_trace_that_got_a_value_is_guarded_again() -> None:
    made: list[Any] = []
    transform.jit(lambda: made.append(brainir.State(jnp.zeros(2))))()
    made[0].value = jnp.ones(2)
    with pytest.raises(brainir.TraceContextError):
        jax.jit(lambda x: setattr(made[0], "value", x))(jnp.zeros(2))
    np.testing.assert_array_equal(made[0].value, [1.0, 1.0])


# --- threads --------------------------------------------------------------------------------------


def test_threads_catch_record_trace_and_hook_apart_from_each_other() -> None:
    shared = brainir.State(jnp.float32(1.0))
    barrier = threading.Barrier(4, timeout=60)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            own = brainir.State(jnp.float32(0.0))

            @transform.jit
            def step(x: Any) -> Any:
                barrier.wait()  # all threads trace at the same time
                own.value = own.value + x * shared.value
                return own.value

            with brainir.catch_new_states(f"t{number}") as caught:
                barrier.wait()
                states = [brainir.State(i) for i in range(50)]
            assert caught.states == states
            assert all(state.tag == {f"t{number}"} for state in states)
            step(float(number))
            for _ in range(20):
                step(float(number))
            with brainir.StateTraceStack() as trace:
                barrier.wait()
                for state in states:
                    state.value += 1
                step(0.0)
            assert trace.get_write_states() == (*states, own)
            with own.temporary_hook("write_before", lambda c: None):
                own.value = own.value + 1
            assert float(own.value) == 21.0 * number + 1
        except BaseException as error:
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert float(shared.value) == 1.0
