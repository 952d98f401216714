"""Models that are dropped are gone, and transformations keep no traced value."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir

transform: Any = brainir.transform


class Neuron(brainir.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = brainir.ParamState(jnp.ones(4))
        self.V = brainir.HiddenState(jnp.zeros(4))

    def update(self, x: Any) -> Any:
        self.V.value = self.V.value * 0.5 + self.w.value * x
        return self.V.value


def live_states() -> int:
    gc.collect()
    return sum(isinstance(thing, brainir.State) for thing in gc.get_objects())


def create_compile_and_drop(times: int) -> None:
    for _ in range(times):
        neuron = Neuron()
        transform.jit(neuron)(1.0)
        with neuron.V.temporary_hook("read", lambda c: None):
            neuron(2.0)


def own_objects() -> int:
    """Count objects of ours, but for handles, of which JAX keeps the latest in its caches."""
    gc.collect()
    kinds = (type(thing) for thing in gc.get_objects())
    return sum(str(k.__module__).startswith("brainir") and k.__name__ != "Handle" for k in kinds)


def test_models_that_are_compiled_and_dropped_leave_nothing_behind() -> None:
    create_compile_and_drop(10)
    before, arrays, objects = live_states(), len(jax.live_arrays()), own_objects()
    create_compile_and_drop(50)
    assert live_states() <= before
    assert len(jax.live_arrays()) <= arrays
    assert own_objects() <= objects


def test_states_that_are_made_while_tracing_are_gone_with_their_trace() -> None:
    def body(x: Any) -> Any:
        local = brainir.State(x)
        local.value = local.value * 2
        return local.value

    run = transform.jit(lambda xs: transform.for_loop(body, xs))
    run(jnp.ones(3))
    before = live_states()
    for length in range(4, 12):
        run(jnp.ones(length))
        transform.for_loop(body, jnp.ones(length))
    assert live_states() == before


@pytest.fixture(autouse=True)
def _frozen() -> Iterator[None]:
    """Let collections, of which there are many here, leave out what was there before."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def test_nested_transformations_leak_no_traced_value() -> None:
    neuron = Neuron()
    seen = brainir.State(jnp.zeros(()))
    neuron.V.register_hook("write_before", lambda c: None)

    def step(x: Any) -> Any:
        seen.value = seen.value + 1
        inner = brainir.State(x)
        out = transform.cond(x > 1, lambda: neuron(x), lambda: neuron(-x))
        with brainir.StateTraceStack() as trace, brainir.catch_new_states():
            inner.value = inner.value + out.sum()
        assert trace.get_write_states() == (inner,)
        return inner.value

    def loss(xs: Any) -> Any:
        return transform.for_loop(step, xs).sum()

    gradient = transform.grad(loss, neuron.states(brainir.ParamState))
    expected = gradient(jnp.arange(3.0))
    neuron.V.value = jnp.zeros(4)
    with jax.checking_leaks():
        found = transform.jit(gradient)(jnp.arange(3.0))
        neuron.V.value = jnp.zeros(4)
        again = transform.jit(lambda x: transform.vmap(lambda y: y * gradient(x)["w",])(x))
        assert again(jnp.arange(3.0)).shape == (3, 4)
    np.testing.assert_allclose(found["w",], expected["w",], rtol=1e-6)
