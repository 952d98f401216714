"""Hooks see what happens to States, change and refuse what is written, and cost others nothing."""

from __future__ import annotations

import copy
import gc
from typing import Any

import brainunit as u
import jax
import jax.core
import jax.numpy as jnp
import numpy as np
import pytest

import brainir

transform: Any = brainir.transform


@pytest.fixture(autouse=True)
def no_hooks_are_left():
    yield
    brainir.clear_state_hooks()
    brainir.GlobalHookRegistry.reset()


def doubling(context: Any) -> None:
    context.transformed_value = context.transformed_value * 2


def test_hooks_see_reads_writes_and_restores() -> None:
    state = brainir.State(jnp.zeros(2), name="x")
    seen: list[Any] = []
    for kind in ("read", "write_before", "write_after", "restore"):
        state.register_hook(kind, lambda c: seen.append((c.operation, c.state_name, c.state)))
    _ = state.value
    state.value = jnp.ones(2)
    state.restore_value(jnp.zeros(2))
    kinds = ["read", "write_before", "write_after", "restore"]
    assert seen == [(kind, "x", state) for kind in kinds]


def test_priorities_order_hooks_and_those_of_all_states_come_first() -> None:
    state, order = brainir.State(1.0), []
    state.register_hook("read", lambda c: order.append("late"), priority=-1)
    state.register_hook("read", lambda c: order.append("early"), priority=5)
    brainir.register_state_hook("read", lambda c: order.append("everywhere"), priority=-9)
    _ = state.value
    assert order == ["everywhere", "early", "late"]


def test_what_hooks_make_of_a_value_goes_from_one_to_the_next() -> None:
    state = brainir.State(0.0)
    given: list[Any] = []
    state.register_hook("write_before", doubling, priority=2)
    state.register_hook("write_before", lambda c: setattr(c, "transformed_value", c.value + 0.5))
    state.register_hook("write_before", doubling, priority=-1)
    state.register_hook("write_after", lambda c: given.append((c.value, c.old_value)))
    state.value = 3.0
    assert state.value == 7.0
    assert given == [(7.0, 0.0)]


@pytest.mark.parametrize("disabled", [False, True])
@pytest.mark.parametrize(
    "run",
    [
        lambda f: f(1.0),
        lambda f: transform.jit(f)(1.0),
        lambda f: transform.cond(True, lambda: f(1.0), lambda: None),
        lambda f: transform.for_loop(f, jnp.ones(1)),
        lambda f: transform.grad(lambda x: (f(x), x)[1])(1.0),
        lambda f: transform.jit(transform.jit(f))(1.0),
    ],
)
def test_a_value_is_transformed_once_however_it_is_written(run: Any, disabled: bool) -> None:
    state = brainir.State(jnp.float32(0.0))
    state.register_hook("write_before", doubling)

    def write(x: Any) -> None:
        state.value = state.value + x

    with jax.disable_jit(disabled):
        run(write)
    assert float(state.value) == 2.0


def test_a_loop_transforms_every_step() -> None:
    state = brainir.State(jnp.float32(0.0))
    state.register_hook("write_before", doubling)

    def write(x: Any) -> None:
        state.value = state.value + x

    expected = 0.0
    for x in (1.0, 2.0, 3.0):
        expected = 2 * (expected + x)
    transform.jit(lambda xs: transform.for_loop(write, xs))(jnp.arange(1.0, 4.0))
    assert float(state.value) == expected


def test_under_jit_hooks_see_the_traced_value_once_and_each_result() -> None:
    state = brainir.State(jnp.zeros(2) * u.mV)
    seen: list[Any] = []
    state.register_hook("write_after", lambda c: seen.append(c.value))

    @transform.jit
    def step(x: Any) -> None:
        state.value = state.value + x * u.mV

    for _ in range(3):
        step(1.0)
    assert [isinstance(v.mantissa, jax.core.Tracer) for v in seen] == [True, False, False, False]
    for i, value in enumerate(seen[1:], 1):
        np.testing.assert_array_equal(value.to_decimal(u.mV), [i, i])


def test_a_compiled_function_notices_hooks_that_come_and_go() -> None:
    state = brainir.State(jnp.float32(0.0))
    traces = 0

    @transform.jit
    def step() -> None:
        nonlocal traces
        traces += 1
        state.value = state.value + 1

    step()
    handle = state.register_hook("write_before", doubling)
    step()
    assert float(state.value) == 4.0
    handle.disable()
    step()
    assert float(state.value) == 5.0
    assert traces == 2  # what was compiled without the hook is found again
    handle.enable()
    step()
    assert float(state.value) == 12.0
    everywhere = brainir.register_state_hook("write_before", doubling)
    step()
    assert float(state.value) == 52.0
    everywhere.remove()
    handle.remove()
    step()
    assert float(state.value) == 53.0
    assert traces == 3


def test_a_refused_write_leaves_every_state_as_it_was() -> None:
    first, second = brainir.State(jnp.zeros(2)), brainir.State(jnp.zeros(2))

    def refuse(context: Any) -> None:
        if not isinstance(context.value, jax.core.Tracer) and context.value.max() > 2:
            context.cancel, context.cancel_reason = True, "too large"

    second.register_hook("write_before", refuse)

    def step(x: Any) -> None:
        first.value = first.value + x
        second.value = second.value + x

    compiled = transform.jit(step)
    compiled(1.0)
    for run in (compiled, lambda x: transform.for_loop(step, jnp.full(1, x))):
        with pytest.raises(brainir.HookCancellationError, match="too large"):
            run(5.0)
        np.testing.assert_array_equal(first.value, [1.0, 1.0])
        np.testing.assert_array_equal(second.value, [1.0, 1.0])
    with pytest.raises(brainir.HookCancellationError):
        second.value = jnp.full(2, 3.0)
    np.testing.assert_array_equal(second.value, [1.0, 1.0])


def test_what_is_wrong_with_a_hook_is_warned_of_raised_or_ignored() -> None:
    def fail(context: Any) -> None:
        context.transformed_value = 9.0
        raise KeyError("oh")

    state = brainir.State(1.0)
    handle = state.register_hook("write_before", fail, name="wrong")
    with pytest.warns(brainir.HookWarning, match="'wrong' failed at write_before.*KeyError"):
        state.value = 2.0
    assert state.value == 2.0
    state.hooks.config = brainir.HookConfig("raise")
    with pytest.raises(brainir.HookExecutionError, match="wrong"):
        state.value = 3.0
    assert state.value == 2.0
    state.hooks.config = brainir.HookConfig("ignore", disable_on_error=True, max_errors_per_hook=3)
    state.value = 4.0
    assert state.value == 4.0
    assert not handle.is_enabled()
    logged: list[str] = []
    state.hooks.config = brainir.HookConfig(error_logger=lambda *a: logged.append(a[0]))
    handle.enable()
    state.value = 5.0
    assert "wrong" in logged[0]


def test_registration_is_checked_and_can_be_undone() -> None:
    state = brainir.State(1.0)
    with pytest.raises(brainir.HookRegistrationError, match="'written'"):
        state.register_hook("written", print)  # pyright: ignore
    with pytest.raises(brainir.HookRegistrationError, match="function"):
        state.register_hook("read", 3)  # pyright: ignore
    handle = state.register_hook("read", lambda c: None, name="n", priority=2)
    assert (handle.name, handle.priority, handle.is_enabled()) == ("n", 2, True)
    assert [h.name for h in state.list_hooks("read")] == ["n"]
    assert state.has_hooks()
    assert not state.has_hooks("restore")
    assert state.unregister_hook(handle)
    assert not state.unregister_hook(handle)
    assert handle.is_removed()
    with pytest.raises(brainir.HookError, match="removed"):
        handle.enable()
    state.register_hook("read", lambda c: None)
    state.clear_hooks("restore")
    assert state.has_hooks()
    state.clear_hooks()
    assert not state.has_hooks()
    with pytest.raises(ValueError, match="no hooks of the type"):
        state.clear_hooks("x")  # pyright: ignore
    with state.temporary_hook("read", lambda c: None):
        assert state.has_hooks("read")
    assert not state.has_hooks("read")


def test_hooks_on_all_states_are_told_of_new_ones() -> None:
    made: list[Any] = []
    handle = brainir.register_state_hook(
        "init", lambda c: made.append((c.value, c.init_metadata["name"], c.init_metadata["unit"]))
    )
    brainir.State(3.0, name="q", unit="mV")
    assert brainir.has_state_hooks("init")
    assert len(brainir.list_state_hooks()) == 1
    assert brainir.unregister_state_hook(handle)
    brainir.State(4.0, unit="mV")
    assert made == [(3.0, "q", "mV")]
    assert not brainir.has_state_hooks()


def test_copies_have_no_hooks() -> None:
    state = brainir.State(1.0)
    state.register_hook("write_before", doubling)
    taken = brainir.State(0.0)
    taken.copy_from(state)
    made = [state.copy(), state.replace(2.0), copy.deepcopy(state), taken]
    made.append(state.to_state_ref().to_state())
    for other in made:
        assert not other.has_hooks()
        other.value = 5.0
        assert other.value == 5.0


def test_what_a_hook_does_with_its_own_state_calls_it_once() -> None:
    state, other = brainir.State(1.0), brainir.State(0.0)
    calls: list[str] = []

    def on_read(context: Any) -> None:
        calls.append("read")
        other.value = context.state.value

    def on_write(context: Any) -> None:
        calls.append("write")
        context.state.value = 7.0

    state.register_hook("read", on_read)
    state.register_hook("write_after", on_write)
    assert state.value == 1.0
    state.value = 2.0
    assert calls == ["read", "write"]
    assert (state.value, other.value) == (7.0, 7.0)


def test_hooks_do_not_keep_a_state_alive_nor_do_programs_keep_hooks() -> None:
    class Big:
        def __call__(self, context: Any) -> None: ...

    state = brainir.State(jnp.zeros(2))
    step = transform.jit(lambda: state.value + 1)
    with state.temporary_hook("read", Big()):
        step()
    gc.collect()
    assert not [x for x in gc.get_objects() if isinstance(x, Big)]


def test_containers_changed_in_place_are_told_to_hooks() -> None:
    state = brainir.State({"a": jnp.float32(0.0)})
    seen: list[float] = []

    def note(context: Any) -> None:
        if not isinstance(context.value["a"], jax.core.Tracer):
            seen.append(float(context.value["a"]))

    state.register_hook("write_after", note)
    held = state.value

    @transform.jit
    def step() -> None:
        state.value["a"] = state.value["a"] + 1

    step()
    assert state.value is held
    step()
    assert seen == [1.0, 2.0]
