"""Loops in groups of steps: the same values and gradients, with less kept."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir import transform
from brainir.frontend.tools.residuals import residuals


def model(loop: Any) -> Any:
    """A leaky unit with a weight, noise and a readout, run by a kind of `for_loop`."""
    weight = brainir.ParamState(jnp.array([0.3, -0.2, 0.9]))

    def loss(xs: Any) -> Any:
        v = brainir.State(jnp.zeros(3))

        def step(i: Any, x: Any) -> Any:
            noise = brainir.random.uniform(size=3)
            v.value = jnp.tanh(v.value * weight.value + x + noise * i)
            return v.value.sum()

        ys = loop(step, jnp.arange(xs.shape[0], dtype=jnp.float32) / 10, xs)
        return (ys * jnp.arange(1.0, 1.0 + xs.shape[0])).sum() + v.value.sum()

    return transform.grad(loss, weight, 0, return_value=True)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("wrap", [lambda f: f, transform.jit], ids=["plain", "jit"])
@pytest.mark.parametrize(("length", "base"), [(1, 2), (2, 2), (7, 2), (8, 2), (10, 3), (30, 16)])
def test_groups_change_no_value_and_no_gradient(length: int, base: int, wrap: Any) -> None:
    xs = jnp.sin(jnp.arange(length * 3.0)).reshape(length, 3)
    found = []
    for loop in (
        transform.for_loop,
        lambda *args: transform.checkpointed_for_loop(*args, base=base),
    ):
        brainir.random.seed(3)
        found.append((wrap(model(loop))(xs), jax.random.key_data(brainir.random.get_key())))
    for one, two in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(one, two, rtol=2e-6)
    with jax.disable_jit():
        brainir.random.seed(3)
        plain = model(lambda *args: transform.checkpointed_for_loop(*args, base=base))(xs)
    for one, two in zip(*map(jax.tree.leaves, (found[0][0], plain)), strict=True):
        np.testing.assert_allclose(one, two, rtol=2e-5)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("length", [5, 9])
def test_a_scan_in_groups_works_in_lanes_and_through_both_modes(length: int) -> None:
    def run(scan: Any, x: Any, **options: Any) -> Any:
        def step(carry: Any, y: Any) -> Any:
            return jnp.sin(carry * y + x), carry * x

        ys = jnp.linspace(0.5, 1.5, length)
        last, outs = scan(step, jnp.float32(0.1), ys, **options)
        return last + outs.sum()

    xs = jnp.array([0.2, 1.0, -0.7])
    kinds = [
        lambda x: run(jax.lax.scan, x),
        lambda x: run(transform.checkpointed_scan, x, base=2),
    ]
    expected, found = (
        (jax.vmap(f)(xs), jax.vmap(jax.grad(f))(xs), jax.grad(jax.grad(f))(0.3)) for f in kinds
    )
    ours = transform.vmap(kinds[1])(xs), transform.vmap(transform.grad(kinds[1]))(xs)
    for group in (found, ours):
        for one, two in zip(group, expected, strict=False):
            np.testing.assert_allclose(one, two, rtol=1e-5)
    twice = transform.grad(transform.grad(kinds[1]))(0.3)
    np.testing.assert_allclose(twice, expected[2], rtol=1e-4)


def test_the_reverse_of_groups_keeps_what_they_start_from() -> None:
    def kept(loop: Any, length: int) -> int:
        traced = transform.jit(model(loop)).trace(jnp.zeros((length, 3)))
        return sum(found.stacked.type.nbytes for found in residuals(traced.graph("dead-code")))

    def grouped(*args: Any) -> Any:
        return transform.checkpointed_for_loop(*args, base=4)

    for length in (64, 256):
        assert kept(grouped, length) < kept(transform.for_loop, length) / 2
    # A loop of base**k steps keeps k * base starts; four times the steps is one level more.
    assert kept(grouped, 256) < 2 * kept(grouped, 64)


def test_groups_are_seen_in_the_graph_and_in_its_text() -> None:
    graph = (
        transform.jit(lambda xs: transform.checkpointed_scan(lambda c, x: (c + x, c), 0.0, xs))
        .trace(jnp.arange(20.0))
        .graph("capture")
    )
    assert "base=16" in str(graph)
    report = brainir.validate(
        lambda xs: transform.checkpointed_scan(lambda c, x: (c * x, c), 1.0, xs, base=3)[0],
        jnp.linspace(0.5, 1.5, 11),
    )
    assert report.ok, report


@pytest.mark.parametrize("run", [transform.checkpointed_for_loop, transform.checkpointed_scan])
def test_what_loops_in_groups_refuse(run: Any) -> None:
    def call(**options: Any) -> Any:
        xs = options.pop("xs", jnp.arange(3.0))
        if run is transform.checkpointed_scan:
            return run(lambda c, x: (c, x), 0.0, xs, **options)
        return run(lambda x: x, xs, **options)

    for wrong in (1, 0, 2.0, True):
        with pytest.raises(ValueError, match="base of checkpointed_"):
            call(base=wrong)
    with pytest.raises(ValueError, match="needs at least one step"):
        call(xs=jnp.zeros(0))
    with pytest.raises(TypeError, match="pbar"):
        call(pbar="slow")


def test_a_loop_in_groups_shows_its_progress_to_the_end(capsys: Any) -> None:
    bar = transform.ProgressBar(count=4)
    transform.checkpointed_for_loop(lambda x: x + 1, jnp.arange(20.0), base=3, pbar=bar)
    assert "20/20" in "".join(capsys.readouterr())
