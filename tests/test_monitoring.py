"""Loops that Python looks at: they do what `for_loop` does, and can be watched and stopped."""

from __future__ import annotations

import gc
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir import transform
from tests.test_progress import Bar, bars  # noqa: F401 - a fixture


def accumulating() -> tuple[Any, Any]:
    total = brainir.ShortTermState(jnp.zeros(2) * u.mV)

    def step(x: Any, k: Any) -> Any:
        total.value = total.value * 0.5 + x * u.mV + jax.random.uniform(k) * u.mV
        return {"total": total.value, "x": x}

    return total, step


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("every", [1, 3, 10, 99])
def test_a_look_changes_nothing(every: int, reverse: bool) -> None:
    xs, keys = jnp.arange(20.0).reshape(10, 2), jax.random.split(jax.random.key(0), 10)
    expected_state, step = accumulating()
    expected = transform.for_loop(step, xs, keys, reverse=reverse)
    state, step = accumulating()
    looks: list[int] = []

    def look(done: int, ys: Any) -> None:
        looks.append(done)
        assert u.math.allclose(ys["total"][0 if reverse else -1], state.value)

    how: Any = {"every": every, "callback": look, "reverse": reverse}
    found = transform.monitored_for_loop(step, xs, keys, **how)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert u.math.allclose(state.value, expected_state.value)
    assert looks == sorted({*range(every, 10, every), 10})


def test_it_ends_and_fails_where_it_is_told_to() -> None:
    count = brainir.State(jnp.int32(0))

    def step() -> None:
        count.value = count.value + 1

    def run(callback: Any) -> Any:
        count.value = jnp.int32(0)
        return transform.monitored_for_loop(step, length=10, every=4, callback=callback)

    def fail(done: int, ys: Any) -> None:
        raise KeyboardInterrupt

    assert run(lambda done, ys: count.value == 4) is None
    assert count.value == 4
    last = transform.monitored_for_loop(
        lambda x: x, jnp.arange(10), every=4, callback=lambda done, ys: done == 8, reverse=True
    )
    np.testing.assert_array_equal(last, np.arange(2, 10))
    with pytest.raises(KeyboardInterrupt):
        run(fail)
    assert count.value == 4

    def reset(done: int, ys: Any) -> None:
        count.value = jnp.int32(100)

    run(reset)
    assert count.value == 100


def test_bars_are_drawn_at_looks(bars: list[Bar]) -> None:  # noqa: F811
    pbar = transform.ProgressBar(2, desc=("{y}", lambda d: {"y": d["y"]}))
    transform.monitored_for_loop(lambda x: x * 2, jnp.arange(8.0), every=3, pbar=pbar)
    (bar,) = bars
    assert bar.complete
    assert bar.updates == [3, 3, 2]
    assert bar.descriptions == ["", "4.0", "10.0", "14.0"]


def test_what_cannot_be_looked_at_is_refused() -> None:
    def run(xs: Any, **options: Any) -> Any:
        return transform.monitored_for_loop(jnp.sin, xs, **{"every": 2, **options})

    with pytest.raises(RuntimeError, match="call it outside"):
        transform.jit(run)(jnp.ones(4))
    with pytest.raises(RuntimeError, match="call it outside"):
        jax.jit(run)(jnp.ones(4))
    for wrong in (0, -1, 2.0):
        with pytest.raises(ValueError, match="every of monitored_for_loop"):
            run(jnp.ones(4), every=wrong)
    with pytest.raises(ValueError, match="number of steps"):
        run(jnp.ones(0))
    with pytest.raises(TypeError, match="callback"):
        run(jnp.ones(4), callback=3)


def test_thousands_of_calls_leave_nothing_behind() -> None:
    cells = [brainir.HiddenState(jnp.full(3, float(i))) for i in range(4)]

    @transform.jit
    def step(x: Any) -> Any:
        for cell in cells:
            cell.value = cell.value * 0.5 + x
        return cells[0].value

    def left(calls: int) -> tuple[int, int]:
        for i in range(calls):
            step(float(i))
        gc.collect()
        return len(jax.live_arrays()), len(gc.get_objects())

    left(10)
    arrays, objects = left(10)
    again = left(2000)
    assert again[0] <= arrays
    assert again[1] <= objects + 50
