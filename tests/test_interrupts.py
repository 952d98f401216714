"""Ctrl-C in the midst of a long run: it is heard, and States are as they were."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir import transform

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


def test_what_takes_long_is_known() -> None:
    def long(length: int, width: int) -> bool:
        xs = jnp.zeros((length, width))
        graph = transform.jit(lambda xs: transform.for_loop(jnp.sin, xs)).trace(xs).graph()
        return brainir.backends.backend_named("xla").compile(graph).long

    assert [long(10, 3), long(300_000, 1), long(20, 8_000_000)] == [False, True, True]


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
