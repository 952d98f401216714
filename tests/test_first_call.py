"""The first call: what is alike is traced and lowered once, and garbage collection waits."""

import gc
from collections.abc import Iterator
from typing import Any

import brainunit as u
import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import pytest

import brainir

STEPS, WIDTH = 5, 3
INPUTS = jnp.linspace(-1, 1, STEPS * WIDTH).reshape(STEPS, WIDTH)


class Net:
    """Layers one behind the other, a loop for each; what a layer is like is said by its letters.

    "f" forgets faster, "s" skips: its input is added to its output, "r" runs backwards, "m" has
    its potential in mV, and "o" has its mean for each step as a result, too.
    """

    def __init__(self, kinds: str) -> None:
        self.kinds = kinds.split()
        keys = jax.random.split(jax.random.key(0), len(self.kinds))
        weights = (0.5 * jax.random.normal(key, (WIDTH, WIDTH)) for key in keys)
        self.weights = [*map(brainir.ParamState, weights)]
        units = [u.mV if "m" in kind else 1.0 for kind in self.kinds]
        self.potentials = [brainir.HiddenState(jnp.ones(WIDTH) * unit) for unit in units]

    def __call__(self, xs: Any) -> Any:
        means: list[Any] = []
        for kind, weight, potential in zip(self.kinds, self.weights, self.potentials, strict=True):
            ys, each = self._layer(kind, weight, potential, xs)
            xs = xs + ys if "s" in kind else ys
            means += [each] if "o" in kind else []
        return xs.sum() + sum(jnp.sin(each).sum() for each in means)

    def _layer(self, kind: str, weight: Any, potential: Any, xs: Any) -> Any:
        unit = u.mV if "m" in kind else 1.0

        def step(x: Any) -> Any:
            decay = 0.5 if "f" in kind else 0.9
            potential.value = decay * potential.value + unit * (x @ weight.value)
            y = jnp.tanh(u.get_mantissa(potential.value / unit))
            return y, y.mean()

        return brainir.transform.for_loop(step, xs, reverse="r" in kind)

    def run(self, gradient: bool, **options: Any) -> tuple[list[Any], str]:
        """Return the results of two calls with the States after them, and the lowered program."""
        asked = brainir.transform.grad(self, self.weights) if gradient else self
        run = brainir.transform.jit(asked, options=brainir.Options(**options))
        text = "" if options.get("backend") else run.lower(INPUTS).as_text()
        values = [run(INPUTS), run(2 * INPUTS), [potential.value for potential in self.potentials]]
        return jax.tree.leaves(values), text


WHOLE = {"distribute-loops": {"memory": 0}, "outline-kernels": {"rate": 0}}
"""Loops stay as they are written, and with XLA."""

CHAINS = {"a a a a": 1, "a a f a a": 2, "m m a m": 2, "s s o o": 2, "r a r a s": 2, "a": 1}
"""Nets, and how many kinds of loops there are in each."""


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("kinds", CHAINS)
def test_layers_that_are_alike_are_lowered_once(kinds: str, gradient: bool) -> None:
    found, text = Net(kinds).run(gradient, passes=WHOLE)
    expected, _ = Net(kinds).run(gradient, backend="reference")
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    if not gradient:
        assert text.count("stablehlo.while") == CHAINS[kinds]


def test_a_deep_net_has_as_many_loops_as_a_shallow_one() -> None:
    """At its ends, a gradient stores and hands on something else."""
    counts = [
        Net(" ".join("a" * depth)).run(True, passes=WHOLE)[1].count("stablehlo.while")
        for depth in (4, 7)
    ]
    assert counts[0] == counts[1] < 8


def test_they_can_stand_in_the_transformations_of_jax() -> None:
    weights = jnp.stack([jnp.eye(3) * scale for scale in (0.1, 0.2, 0.3, 0.4)])

    def loss(weights: Any, x: Any, loop: Any) -> Any:
        for weight in weights:
            x = loop(lambda h, _, w=weight: (jnp.tanh(h @ w + h), h), x, jnp.zeros(4))[0]
        return x.sum()

    ours = brainir.transform.jit(lambda w, x: loss(w, x, brainir.transform.scan))
    many = jnp.arange(6.0).reshape(2, 3)
    mine = jax.vmap(jax.hessian(ours), (None, 0))(weights, many)
    other = jax.vmap(jax.hessian(lambda w, x: loss(w, x, jax.lax.scan)), (None, 0))
    np.testing.assert_allclose(mine, other(weights, many), rtol=1e-4, atol=1e-5)


def test_what_talks_to_the_host_does_so_in_its_order() -> None:
    said: list[float] = []

    def step(x: Any) -> Any:
        jax.debug.callback(lambda x: said.append(float(x)), x, ordered=True)
        return x + 1

    @brainir.transform.jit
    def run(xs: Any) -> Any:
        for _ in range(3):
            xs = brainir.transform.for_loop(step, xs)
        return xs

    run(jnp.arange(2.0))
    jax.effects_barrier()
    assert said == [0, 1, 1, 2, 2, 3]


@pytest.mark.parametrize(("names", "loops"), [(["a", "a", "a"], 1), (["a", "b", "a"], 2)])
def test_parts_keep_their_names(names: list[str], loops: int) -> None:
    @brainir.transform.jit(options=brainir.Options(passes=WHOLE))
    def run(xs: Any) -> Any:
        for name in names:
            with jax.named_scope(name):
                xs = brainir.transform.scan(lambda h, x: (h, jnp.sin(h + x)), xs[0], xs)[1]
        return xs

    lowered = run.lower(INPUTS)
    assert lowered.as_text().count("stablehlo.while") == loops
    assert all(f"/{name}/" in lowered.compile().as_text() for name in names)


# --- garbage collection ---


@pytest.fixture
def compiling() -> Iterator[list[bool]]:
    """Whether garbage was collected, whenever XLA compiled."""
    enabled: list[bool] = []

    def listen(event: str, duration_secs: float, **_: Any) -> None:
        if "backend_compile" in event:
            enabled.append(gc.isenabled())

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield enabled
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("jitted", [True, False])
@pytest.mark.parametrize("on", [True, False])
def test_garbage_collection_waits_for_the_first_call(
    jitted: bool, on: bool, compiling: list[bool]
) -> None:
    tracing: list[bool] = []

    def step(h: Any, x: Any) -> Any:
        tracing.append(gc.isenabled())
        return h + 7 * x, h

    def run(start: Any, xs: Any) -> Any:
        return brainir.transform.scan(step, start, xs)

    compiled = brainir.transform.jit(run) if jitted else run
    xs = np.ones((3, 2 + jitted + 2 * on), np.float32)  # nobody has compiled for that shape
    if not on:
        gc.disable()
    try:
        compiled(xs[0], xs)
        assert not any(tracing)
        assert compiling
        assert not any(compiling)
        assert gc.isenabled() is on
    finally:
        gc.enable()


def test_garbage_is_collected_again_after_an_error() -> None:
    @brainir.transform.jit
    def run(x: Any) -> Any:
        return x + jnp.zeros(7)

    with pytest.raises(TypeError):
        run(jnp.zeros(3))
    assert gc.isenabled()
