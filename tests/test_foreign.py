"""Plain JAX transformations inside captured code, and captured code inside theirs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir import transform
from tests.other_processes import environment

Function = Callable[..., Any]
ROOT = Path(__file__).resolve().parent.parent

# --- States that are made and used up inside ------------------------------------------------------


class Kept:
    """A value that a plain twin of a program keeps in place of a State."""

    def __init__(self, value: Any) -> None:
        self.value = value


def accumulates(y: Any, kind: Any, loop: Any) -> Any:
    """Carry a State that is born without tangents or lanes."""
    s = kind(jnp.float32(0))

    def step(k: Any) -> Any:
        s.value = s.value * y + k
        return s.value

    return loop(step, jnp.arange(3.0)).sum() + s.value


def holds_two(y: Any, kind: Any, loop: Any) -> Any:
    """Read a State of two leaves in a loop."""
    s = kind({"a": y * 1.0, "b": jnp.zeros(2)})
    s.value = {"a": s.value["a"] * 2, "b": s.value["b"] + y}
    return loop(lambda x: (s.value["b"] * x).sum() * s.value["a"], jnp.ones(2)).sum()


def nests(y: Any, kind: Any, loop: Any) -> Any:
    """Make a State inside a derivative inside another one."""
    s = kind(y * 2.0)

    def inner(z: Any) -> Any:
        q = kind(z * 1.0)
        q.value = q.value * z * s.value
        return q.value

    s.value = s.value + jax.grad(inner)(y)
    return s.value


def is_read_in_a_scan(y: Any, kind: Any, loop: Any) -> Any:
    """Close over a State in loops of JAX."""
    s = kind(jnp.float32(2))
    s.value = jax.lax.scan(lambda c, x: (c * s.value * x, None), y, jnp.ones(2))[0]
    return s.value * jax.jit(lambda z: z * s.value)(y)


def branches(y: Any, kind: Any, loop: Any) -> Any:
    """Write a State in a step and read it in a branch."""
    s = kind(jnp.zeros(2))

    def step(x: Any) -> Any:
        s.value = jnp.tanh(s.value + x * y)
        if kind is Kept:
            return jnp.where(s.value.sum() > 0.5, s.value.sum(), y)
        return transform.cond(s.value.sum() > 0.5, lambda: s.value.sum(), lambda: y)

    return loop(step, jnp.ones((3, 2))).sum()


PLAIN: dict[str, Callable[[Function], Function]] = {
    "grad": jax.grad,
    "jvp": lambda f: lambda y: jax.jvp(f, (y,), (jnp.float32(1),))[1],
    "jacfwd": jax.jacfwd,
    "jacrev": jax.jacrev,
    "vmap": lambda f: lambda y: jax.vmap(f)(jnp.stack([y, 2 * y])),
    "vmap of grad": lambda f: lambda y: jax.vmap(jax.grad(f))(jnp.stack([y, 2 * y])),
    "grad of grad": lambda f: jax.grad(jax.grad(f)),
    "linearize": lambda f: lambda y: jax.linearize(f, y)[1](jnp.float32(1)),
}


def unrolled(step: Function, xs: Any) -> Any:
    """Run a loop in Python."""
    return jnp.stack([step(x) for x in xs])


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize(
    "program",
    [accumulates, holds_two, nests, is_read_in_a_scan, branches],
    ids=lambda f: f.__name__,
)
def test_a_state_that_is_used_up_inside_a_plain_transformation_works(
    program: Function, name: str
) -> None:
    y, way = jnp.float32(1.3), PLAIN[name]
    expected = way(lambda y: program(y, Kept, unrolled))(y)

    def ours(y: Any) -> Any:
        return way(lambda y: program(y, brainir.State, transform.for_loop))(y)

    for found in (
        ours(y),
        transform.jit(ours)(y),
        transform.for_loop(lambda scale: ours(y * scale), jnp.ones(2))[1],
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_our_transformations_differentiate_and_map_such_a_state() -> None:
    def by_state(y: Any) -> Any:
        s = brainir.State(jnp.float32(1) * y)
        return transform.grad(lambda: s.value**3 * y, grad_states=s)()

    def by_lane(y: Any) -> Any:
        s = brainir.State(jnp.arange(3.0))

        def lane(x: Any) -> Any:
            s.value = s.value * x
            return s.value

        return transform.vmap(lane, in_states=s)(jnp.ones(3) * y).sum() + s.value.sum()

    def by_while(y: Any) -> Any:
        s = brainir.State(y * 1.0)

        def step(n: Any) -> Any:
            s.value = s.value * y
            return n + 1

        transform.while_loop(lambda n: n < 3, step, 0)
        return s.value

    # d/dy of 3 y^3, of 6 y, of y^4.
    for program, slope in ((by_state, 9 * 1.5**2), (by_lane, 6), (by_while, 4 * 1.5**3)):
        found = transform.jit(PLAIN["jvp"](program))(jnp.float32(1.5))
        np.testing.assert_allclose(found, slope, rtol=1e-5)


OUTSIDE = brainir.State(jnp.float32(1))


def _writes(y: Any) -> Any:
    OUTSIDE.value = y * 1.0
    return OUTSIDE.value


def _writes_in_a_loop(y: Any) -> Any:
    def step(x: Any) -> None:
        OUTSIDE.value = OUTSIDE.value * x * y

    transform.for_loop(step, jnp.ones(2))
    return OUTSIDE.value


def _writes_in_a_scan(y: Any) -> Any:
    s = brainir.State(y * 1.0)

    def step(c: Any, x: Any) -> Any:
        s.value = s.value * x
        return c, x

    jax.lax.scan(step, 0, jnp.ones(3))
    return s.value


@pytest.mark.parametrize("program", [_writes, _writes_in_a_loop, _writes_in_a_scan])
def test_a_state_from_outside_gets_no_tangents_or_lanes(program: Function) -> None:
    for run in (jax.grad(program), lambda y: jax.vmap(program)(jnp.stack([y, y]))):
        with pytest.raises(brainir.TraceContextError, match="or create the State inside"):
            transform.jit(run)(jnp.float32(1))
    assert OUTSIDE.value == 1


def test_a_state_that_outlives_the_transformation_says_so() -> None:
    kept: list[Any] = []

    def loss(y: Any) -> Any:
        kept.append(brainir.State(y * 1.0))
        return kept[0].value

    assert transform.jit(jax.grad(loss))(1.0) == 1
    with pytest.raises(brainir.TraceContextError, match="created inside a trace that has ended"):
        _ = kept[0].value


# --- lanes of States ------------------------------------------------------------------------------

V = brainir.State(jnp.arange(3.0) + 1)
ROW = np.arange(3.0) + 1
INSIDE: dict[str, tuple[Function, Any]] = {
    "cond": (lambda y: transform.cond(y > 0, lambda: V.value * y, lambda: y), ROW),
    "loop": (
        lambda y: transform.for_loop(lambda k: V.value * y * k, jnp.arange(3.0)).sum(),
        3 * ROW,
    ),
    "grad": (lambda y: transform.grad(lambda z: z * V.value * y)(y), ROW),
    "vmap": (lambda y: transform.vmap(lambda q: q * V.value * y)(jnp.arange(3.0)).sum(), 3 * ROW),
}


@pytest.mark.parametrize("wrap", [lambda f: f, transform.jit], ids=["bare", "jit"])
@pytest.mark.parametrize("name", INSIDE)
def test_a_lane_of_a_state_is_seen_inside_plain_transformations(name: str, wrap: Any) -> None:
    program, slope = INSIDE[name]
    for way, expected in (
        (jax.grad(program), slope),
        (PLAIN["jvp"](program), slope),
        (lambda x: jax.vmap(program)(jnp.stack([x, 2 * x]))[1], 2 * slope),
    ):
        found = wrap(transform.vmap(way, in_states=V))(jnp.ones(3))
        np.testing.assert_allclose(found, expected, rtol=1e-6)


# --- conditions of loops that differ by lane ------------------------------------------------------


def of_jax(k: Any) -> Any:
    """Return carries of several shapes, and a key."""
    return jax.lax.while_loop(
        lambda c: c[0] < k,
        lambda c: (c[0] + 1, c[1] + c[0], jax.random.split(c[2])[0]),
        (jnp.int32(0), jnp.zeros((2, 3), jnp.int32), jax.random.key(0)),
    )


def nested(k: Any) -> Any:
    """Run a loop whose steps are loops."""
    inner = lambda i: jax.lax.fori_loop(0, i, lambda j, u: u + j, 0)  # noqa: E731
    return jax.lax.fori_loop(0, k, lambda i, v: v + inner(i), 0)


def ours(k: Any) -> Any:
    """Run our own loop."""
    return transform.while_loop(lambda c: c[0] < k, lambda c: (c[0] + 1, c[1] + c[0]), (0, 0))[1]


def with_state(k: Any) -> Any:
    """Run our own loop, which carries a State."""
    s = brainir.State(jnp.int32(0))

    def step(c: Any) -> Any:
        s.value = s.value + c
        return c + 1

    transform.while_loop(lambda c: c < k, step, 0)
    return s.value


COUNTS = jnp.arange(4)


@pytest.mark.parametrize(
    ("program", "twin"),
    [
        (lambda k: jax.random.key_data(of_jax(k)[2]), None),
        (lambda k: of_jax(k)[1], None),
        (nested, None),
        (ours, lambda k: k * (k - 1) // 2),
        (with_state, lambda k: k * (k - 1) // 2),
    ],
)
def test_a_while_of_a_plain_vmap_may_end_differently_in_each_lane(
    program: Function, twin: Function | None
) -> None:
    expected = jax.vmap(twin or program)(COUNTS)
    pairs = jnp.stack([COUNTS, COUNTS[::-1]])
    for found in (
        jax.vmap(program)(COUNTS),
        transform.jit(jax.vmap(program))(COUNTS),
        transform.jit(jax.vmap(jax.vmap(program)))(pairs)[0],
        transform.vmap(jax.vmap(program))(pairs)[0],
        transform.for_loop(jax.vmap(program), pairs)[0],
    ):
        np.testing.assert_array_equal(found, expected)


def test_poisson_numbers_of_lanes_are_those_of_jax() -> None:
    def lanes(keys: Any) -> Any:
        return jax.vmap(lambda key: jax.random.poisson(key, jnp.float32(3)))(keys)

    keys = jax.random.split(jax.random.key(0), 8)
    np.testing.assert_array_equal(transform.jit(lanes)(keys), lanes(keys))


def test_tangents_go_through_a_while_that_ends_differently_in_each_lane() -> None:
    def power(y: Any) -> Any:
        def lane(k: Any) -> Any:
            step = lambda c: (c[0] + 1, c[1] * y)  # noqa: E731
            return jax.lax.while_loop(lambda c: c[0] < k, step, (0, jnp.float32(1)))[1]

        return jax.vmap(lane)(COUNTS)

    found = transform.jit(PLAIN["jvp"](power))(jnp.float32(1.5))
    np.testing.assert_allclose(found, [k * 1.5 ** (k - 1) for k in range(4)], rtol=1e-6)


def test_tangents_of_integers_can_be_printed_and_compared() -> None:
    def slope(x: Any) -> Any:
        return jax.grad(
            lambda y: transform.for_loop(lambda i: y * jnp.float32(i), jnp.arange(3)).sum()
        )(x)

    graph = transform.jit(slope).trace(1.0).graph("capture")
    assert brainir.ir.equal(brainir.ir.parse(str(graph)), graph)
    np.testing.assert_array_equal(transform.vmap(slope)(jnp.ones(2)), [3, 3])


# --- meshes ---------------------------------------------------------------------------------------


@pytest.mark.sampled(2)
@pytest.mark.parametrize("devices", [4, 1])
def test_the_body_of_a_shard_map_does_as_plain_jax_does(devices: int) -> None:
    """In a process of its own, which believes that it has so many devices."""
    script = ROOT / "tests" / "sharded_programs.py"
    done = subprocess.run(
        [sys.executable, str(script)],
        env=environment(devices),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"all agree on {devices}" in done.stdout
