"""Ctrl-C in the midst of a long run: it is heard, and States are as they were."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir import transform


@pytest.fixture(autouse=True)
def _signals_are_heard() -> Iterator[None]:
    """Whoever started the tests may have told them to hear of none."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


WAYS: dict[str, Callable[[Any], Any]] = {"bare": lambda f: f, "jit": transform.jit}
PASSES: dict[str, Any] = {"a kernel": {}, "no kernel": {"outline-kernels": {"rate": 0.0}}}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("passes", PASSES)
def test_an_interrupted_run_leaves_states_as_they_were(way: str, passes: str) -> None:
    v = brainir.State(jnp.zeros((1, 64)))
    w = brainir.ParamState(jnp.eye(64))

    def step(x: Any) -> Any:
        v.value = jnp.tanh(v.value @ w.value) + x
        return v.value.sum()

    run = WAYS[way](lambda xs: transform.for_loop(step, xs))
    xs, steps = jnp.zeros(300_000), 0
    with brainir.options(passes=PASSES[passes]):
        run(xs)  # compiles
        v.value = jnp.ones((1, 64))
        timer = threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012
            for steps in range(200):  # noqa: B007 - however fast the machine is
                v.value = jnp.ones((1, 64))
                run(xs)
        np.testing.assert_array_equal(v.value, 1)
    timer.join()
    assert steps < 199
    jax.block_until_ready(run(xs[:2]))


@pytest.mark.parametrize("passes", PASSES)
def test_a_loop_without_a_known_end_is_interrupted_too(passes: str) -> None:
    v = brainir.State(jnp.float32(1))

    @transform.jit
    def run(end: Any) -> None:
        def step(x: Any) -> Any:
            for _ in range(10):
                v.value = jnp.sin(v.value) + 1e-3
            return x + 1

        transform.while_loop(lambda x: x < end, step, jnp.int32(0))

    with brainir.options(passes=PASSES[passes]):
        run(3)  # compiles
        v.value = jnp.float32(2)
        timer = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            run(30_000_000)  # seconds, and then it ends
        assert time.monotonic() - start < 2
        assert v.value == 2
    timer.join()


def test_what_takes_long_is_known() -> None:
    def long(function: Callable[[Any], Any], length: int, width: int) -> bool:
        graph = transform.jit(function).trace(jnp.zeros((length, width))).graph()
        return brainir.backends.backend_named("xla").compile(graph).long

    def sines(xs: Any) -> Any:
        return transform.for_loop(jnp.sin, xs)

    def until(x: Any) -> Any:
        return transform.while_loop(lambda x: x.max() < 3, lambda x: x + 1, x)

    def maybe(x: Any) -> Any:
        def work(x: Any) -> Any:
            return jax.lax.fori_loop(0, 30, lambda i, x: jnp.sin(x + i), x)

        def loop(x: Any) -> Any:
            return transform.while_loop(lambda x: x.max() < 3, work, x)

        def many(x: Any) -> Any:
            return jax.lax.fori_loop(0, 100, lambda i, x: jnp.sin(x + i), x)

        return transform.cond(x.sum() > 0, loop, many, x)  # of which one step of a loop is less

    found = [long(sines, 10, 3), long(sines, 300_000, 1), long(sines, 20, 8_000_000)]
    assert found == [False, True, True]
    assert [long(until, 2, 3), long(maybe, 2, 3), long(until, 1000, 100)] == [False, True, True]


@pytest.mark.skipif(not brainir.backends.native.AVAILABLE, reason="there are no kernels")
def test_a_long_kernel_does_not_run_in_the_thread_that_calls() -> None:
    loop = transform.jit(lambda xs: transform.scan(lambda c, x: (jnp.sin(c + x), c), 0.0, xs)[0])
    graph = loop.trace(jnp.zeros(3_000_000)).graph()
    assert "kernel" in [node.op.name for node in graph.nodes]
    run = brainir.backends.backend_named("xla").compile(graph)
    jax.block_until_ready(run(jnp.zeros(3_000_000)))
    (last,) = run(jnp.zeros(3_000_000))
    assert not last.is_ready()
    jax.block_until_ready(last)
