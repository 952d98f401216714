"""A compiled function keeps a program for each way in which it is called in turns."""

from __future__ import annotations

import gc
import itertools
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import brainunit as u
import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir import environ

transform: Any = brainir.transform  # some tests pass what its types forbid


class Counter:
    """How often Python was traced, and how often XLA compiled."""

    def __init__(self) -> None:
        self.traces = self.compilations = 0

    def trace(self) -> None:
        self.traces += 1


@contextmanager
def counting() -> Iterator[Counter]:
    transform.jit(lambda: 0.0)()  # what is compiled once in a process
    counter = Counter()

    def listen(event: str, duration_secs: float, **_: Any) -> None:
        counter.compilations += event.endswith("backend_compile_duration")

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield counter
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def test_training_and_evaluating_in_turns_compiles_twice() -> None:
    total, x = brainir.State(jnp.zeros(3)), jnp.ones(3)
    with counting() as count:

        @transform.jit
        def step(x: Any) -> Any:
            count.trace()
            factor = 2.0 if environ.get("fit") else 1.0
            total.value = total.value + factor * x
            return total.value

        for _ in range(4):
            with environ.context(fit=True):
                step(x)
            with environ.context(fit=False):
                step(x)
    np.testing.assert_array_equal(total.value, [12.0] * 3)
    assert (count.traces, count.compilations) == (2, 2)


@pytest.mark.parametrize("number", [0, 0.0, jnp.asarray(0), {"count": 0, "rest": jnp.ones(2)}])
@pytest.mark.parametrize("jitted", [True, False])
def test_states_that_begin_as_numbers_compile_once(number: Any, jitted: bool) -> None:
    state, rate = brainir.State(number), brainir.State(0.5)

    def step() -> Any:
        state.value = jax.tree.map(lambda x: x + 1, state.value)
        return rate.value

    run = transform.jit(step) if jitted else lambda: transform.for_loop(step, length=1)
    run()
    state.value = number
    with counting() as count:
        run = transform.jit(step) if jitted else lambda: transform.for_loop(step, length=1)
        for _ in range(3):
            run()
        if not isinstance(number, dict):
            state.value = number
        run()
    assert count.compilations == jitted
    assert int(jax.tree.leaves(state.value)[0]) == 1 + 3 * isinstance(number, dict)


@pytest.mark.parametrize(
    ("first", "then", "left"),
    [
        (0, 0.5, 1.5),
        (0, jnp.asarray(2.5), 3.5),
        (0, jnp.float32(2.5), 3.5),
        (0.5, 2, 3),
        (0, jnp.arange(2), [1, 2]),
        ({"count": 0}, {"count": 0.5}, 1.5),
        ({"count": 0}, {"total": 2}, 3),
    ],
)
def test_a_number_of_another_type_is_not_taken_for_the_one_before(
    first: Any, then: Any, left: Any
) -> None:
    state = brainir.State(first)
    step = transform.jit(
        lambda: setattr(state, "value", jax.tree.map(lambda x: x + 1, state.value))
    )
    for value in (first, then):
        state.value = value
        step()
    np.testing.assert_array_equal(jax.tree.leaves(state.value)[0], left)


def test_time_steps_that_alternate_compile_once_each() -> None:
    v = brainir.HiddenState(jnp.ones(2) * u.mV)
    with counting() as count:

        @transform.jit
        def step() -> Any:
            count.trace()
            v.value = v.value + 1.0 * u.mV / u.ms * environ.get_dt()

        for _ in range(3):
            for dt in (0.1, 0.2, 0.5):
                with environ.context(dt=dt * u.ms):
                    step()
    np.testing.assert_allclose(u.get_magnitude(v.value), [3.4, 3.4], rtol=1e-6)
    assert (count.traces, count.compilations) == (3, 3)


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize(
    "values",
    [
        (np.zeros(2, np.float32), np.zeros(5, np.float32)),
        (np.zeros(2, np.float32), np.zeros(2, np.float16)),
        (np.zeros(2, np.float32), {"a": np.zeros(2, np.float32), "b": np.zeros(2, np.float32)}),
        (np.zeros(2, np.float32), np.zeros(2, np.float32) * u.mV),
    ],
    ids=["shapes", "dtypes", "structures", "units"],
)
def test_states_that_alternate_between_types_compile_once_each(values: Any, static: bool) -> None:
    state, other = brainir.State(values[0]), brainir.State(jnp.ones(2))
    arrays = [jax.tree.map(jnp.asarray, value) for value in values]
    with counting() as count:

        def step(way: int) -> Any:
            count.trace()
            state.value = jax.tree.map(lambda x: x + 1, state.value)
            return other.value * way

        step = transform.jit(step, static_argnums=(0,) if static else ())
        step(1)
        for _ in range(3):
            for array in arrays:
                state.value = array
                step(1)
                for leaf in jax.tree.leaves(state.value):
                    np.testing.assert_array_equal(leaf, np.ones_like(leaf))
    assert count.traces == 2


def test_a_type_and_the_environment_may_change_at_once() -> None:
    state = brainir.State(jnp.zeros(1))
    traces = 0

    @transform.jit
    def step() -> Any:
        nonlocal traces
        traces += 1
        return state.value.sum() + environ.get("a", 0.0)

    for _ in range(3):
        for size in (1, 2, 3):
            for a in (1.0, 2.0):
                state.value = jnp.ones(size)
                with environ.context(a=a):
                    assert step() == size + a
    assert traces == 6


class Cell(brainir.nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.h = brainir.HiddenState(jnp.full(2, value))

    def update(self) -> Any:
        return self.h.value


class Pair(brainir.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = Cell(1.0), Cell(2.0)
        self.extra: Any = None
        self.parts = [Cell(3.0)]

    def update(self) -> Any:
        total = 100 * self.a() + 10 * self.b() + self.parts[0]()
        return total if self.extra is None else total + 1000 * self.extra()


def _swap(pair: Pair) -> Callable[[], Any]:
    def swap() -> None:
        pair.a, pair.b = pair.b, pair.a

    return swap


def _swap_states(pair: Pair) -> Callable[[], Any]:
    def swap() -> None:
        pair.a.h, pair.b.h = pair.b.h, pair.a.h

    return swap


def _replace(pair: Pair, name: str, new: Any) -> Callable[[], Any]:
    things = [new, getattr(pair, name)]

    def replace() -> None:
        setattr(pair, name, things[0])
        things.reverse()

    return replace


CHANGES: dict[str, Callable[[Pair], Callable[[], Any]]] = {
    "a module and back": lambda pair: _replace(pair, "a", Cell(5.0)),
    "a state and back": lambda pair: _replace(pair.a, "h", Cell(6.0).h),  # pyright: ignore
    "nothing and something": lambda pair: _replace(pair, "extra", Cell(7.0)),
    "a list and back": lambda pair: _replace(pair, "parts", [Cell(8.0)]),
    "one cell for two": lambda pair: _replace(pair, "a", pair.b),
    "two modules swapped": _swap,
    "two states swapped": _swap_states,
}


@pytest.mark.parametrize(
    ("change", "hidden"),
    # That a part appeared where there was none, nothing tells if the model is not found.
    [(c, h) for c in CHANGES for h in (False, True) if not (h and c == "nothing and something")],
)
def test_parts_that_are_replaced_and_put_back_are_compiled_once_each(
    change: str, hidden: bool
) -> None:
    pair = Pair()
    alter = CHANGES[change](pair)
    traces = 0
    pairs = itertools.repeat(pair)  # no variable leads from there to the pair

    def found() -> Any:
        nonlocal traces
        traces += 1
        return pair()

    step = transform.jit((lambda: next(pairs)()) if hidden else found)
    for _ in range(3):
        np.testing.assert_array_equal(step(), pair())
        alter()
        np.testing.assert_array_equal(step(), pair())
        alter()
    assert traces == (0 if hidden else 2)


def test_a_state_that_moves_elsewhere_is_not_taken_for_put_back() -> None:
    pair, other = Pair(), Pair()
    step = transform.jit(lambda: pair())
    step()
    old = pair.a.h
    pair.a.h = brainir.HiddenState(jnp.full(2, 9.0))
    other.a.h = old
    np.testing.assert_array_equal(step(), pair())


def test_a_function_that_replaces_its_own_states_is_traced_at_every_call() -> None:
    cell = Cell(1.0)
    old = cell.h
    traces = 0

    @transform.jit
    def step() -> Any:
        nonlocal traces
        traces += 1
        before = cell.h.value
        cell.h = brainir.HiddenState(jnp.full(2, 5.0))
        return before

    np.testing.assert_array_equal(step(), [1.0, 1.0])
    with pytest.raises(brainir.TraceContextError):
        step()  # as the State of the first call was made in a trace
    assert traces == 2
    assert old.value[0] == 1
    assert len(step._kept) == 0


def test_programs_of_models_that_are_gone_go_with_them() -> None:
    data = np.ones(1000)
    held: dict[str, Any] = {}
    step = transform.jit(lambda: held["model"]()[0] * held["data"])
    gone: list[Any] = []
    for _ in range(3):
        held["model"], held["data"] = Cell(1.0), jnp.asarray(data)
        step()
        gone += [weakref.ref(held["model"]), weakref.ref(held["model"].h)]
    gone.append(weakref.ref(held["data"]))
    held.clear()
    gc.collect()
    assert not any(thing() for thing in gone)
    assert len(step._kept) == 0


def test_at_most_so_many_programs_are_kept_and_the_oldest_go_first(monkeypatch: Any) -> None:
    monkeypatch.setattr("brainir.frontend.transform.kept_programs.PROGRAMS", 3)
    traces: list[Any] = []

    @transform.jit
    def step(x: Any) -> Any:
        traces.append(environ.get("k"))
        return x * environ.get("k")

    for k in (1, 2, 3, 1, 4, 1, 3, 2):
        with environ.context(k=k):
            assert step(2.0) == 2 * k
    assert traces == [1, 2, 3, 4, 2]
    for size in range(5):
        with environ.context(k=1):
            step(jnp.ones(size))
    assert len(step._kept) == 3


def test_traced_values_of_the_environment_are_not_collected() -> None:
    step = transform.jit(lambda x: x * environ.get("k"))

    @jax.jit
    def outer(k: Any) -> Any:
        with environ.context(k=k):
            return step(2.0)

    for size in range(6):
        np.testing.assert_array_equal(outer(jnp.ones(size)), 2 * np.ones(size))
    assert len(step._kept) <= 2


def test_a_cleared_cache_compiles_again() -> None:
    traces = 0

    @transform.jit
    def step() -> Any:
        nonlocal traces
        traces += 1
        return jnp.zeros(2) + environ.get("k")

    def run() -> None:
        for k in (1.0, 2.0, 1.0, 2.0):
            with environ.context(k=k):
                assert step()[0] == k

    run()
    step.clear_cache()
    assert len(step._kept) == 0
    run()
    assert traces == 4


def test_threads_have_programs_of_their_own_environment() -> None:
    traces: list[int] = []
    barrier = threading.Barrier(4)
    faults: list[str] = []

    @transform.jit
    def step(x: Any) -> Any:
        traces.append(environ.get("k"))
        return x * environ.get("k")

    def work(k: int) -> None:
        barrier.wait()
        for i in range(40):
            with environ.context(k=k) if i % 2 else nullcontext(), environ.context(k=k + i % 3):
                if step(1.0) != k + i % 3:
                    faults.append(f"{k} {i}")

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert sorted(traces) == list(range(6))


def test_tools_are_told_of_each_program_once() -> None:
    from brainir.frontend import program

    told: list[Any] = []
    step = transform.jit(lambda x: x * environ.get("k"), name="told")
    program.listeners.append(told.append)
    try:
        for k in (1.0, 2.0, 1.0, 2.0):
            with environ.context(k=k):
                step(1.0)
    finally:
        program.listeners.remove(told.append)
    assert [p.graph.name for p in told] == ["told", "told"]
