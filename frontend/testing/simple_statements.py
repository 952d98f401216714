"""Statements of random programs that have no statements inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from hypothesis import strategies as st

from .program_expressions import (
    WIDTH,
    Local,
    Recipe,
    Statement,
    above_zero,
    evaluate,
    plain,
    positive,
    put,
)

if TYPE_CHECKING:
    from .stateful_programs import Runner

CHAINED = ("float32", "bfloat16", "float16", "int8", "uint8", "complex64")
"""What States that begin as Python numbers are given; one chain for each."""

GUARDED = {
    "log": jnp.log,
    "sqrt": jnp.sqrt,
    "root of the inverse": lambda x: 1 / jnp.sqrt(x),
    "inverse": lambda x: 1 / x,
    "power": lambda x: x**0.3,
}
"""Functions of numbers above 0, which have no slope at 0."""


def write(runner: Runner, local: Local, i: int, expression: Recipe) -> Any:
    """Write a State."""
    put(runner.states[i], evaluate(runner, expression, local))
    return plain(runner.states[i].value)


def let(runner: Runner, local: Local, expression: Recipe) -> Any:
    """Name a value."""
    return evaluate(runner, expression, local)


def count(runner: Runner, local: Local) -> Any:
    """Count on."""
    runner.world.count.value = runner.world.count.value + 1
    return local[-1]


def random(runner: Runner, local: Local) -> Any:
    """Draw random numbers."""
    return runner.random.uniform(-1.0, 1.0, (WIDTH,))


def maybe(runner: Runner, local: Local, test: Recipe) -> Any:
    """Draw only where an expression says so."""
    return runner.transform.cond(
        positive(evaluate(runner, test, local) - 0.3),
        lambda: runner.random.uniform(-1.0, 1.0, (WIDTH,)),
        lambda: jnp.zeros(WIDTH),
    )


def chain(runner: Runner, local: Local, dtype: str) -> Any:
    """Move on a chain of States that begin as Python numbers.

    In a loop, which gives all of them their types: outside of `jit`, a number that a program
    leaves behind without one is an array, of the dtype that JAX has for it.
    """
    first, second, last = runner.world.chains[dtype]

    def step() -> None:
        last.value = last.value + second.value
        second.value = second.value + first.value
        first.value = first.value + jnp.ones((), dtype)

    runner.transform.for_loop(lambda: step() or 0.0, length=2)
    return jnp.full((WIDTH,), 0.1) * jnp.real(jnp.asarray(last.value)).astype(jnp.float32)


def box(runner: Runner, local: Local, expression: Recipe) -> Any:
    """Change a dictionary in place."""
    held = runner.world.box
    held.value["v"] = jnp.tanh(evaluate(runner, expression, local))
    held.value["deep"][0] = held.value["deep"][0] * 0.5 + held.value["v"]
    return held.value["deep"][0]


# --- branches that guard their operands, and loops over the same data -----------------------------


def guarded(runner: Runner, local: Local, name: str, expression: Recipe) -> Any:
    """Let each element choose a branch; only one of them takes zeros."""
    x = evaluate(runner, expression, local)
    weight = jnp.mean(local[-1])

    def lane(one: Any) -> Any:
        outside, inside = (lambda: weight * one), lambda: weight * GUARDED[name](one)
        return runner.transform.cond(one > 0, inside, outside)

    return jnp.tanh(runner.transform.vmap(lane)(above_zero(x)))


def guarded_net(runner: Runner, local: Local, i: int, expression: Recipe) -> Any:
    """Let each lane choose how a State of its own goes on from step to step."""
    held = runner.library.ShortTermState(above_zero(evaluate(runner, expression, local)))
    gain = jnp.mean(plain(runner.states[i].value))

    def step(x: Any) -> Any:
        kinds = [jnp.log, jnp.sqrt, lambda v: 1 / v]
        run = [lambda f=f: gain * f(held.value) + x for f in kinds]
        near = jnp.where(held.value > 0.5, 2, 1)
        which = jnp.where(held.value > 0, near, 3)
        held.value = above_zero(jnp.tanh(runner.transform.switch(which, [*run, lambda: x * gain])))
        return held.value

    def lane(x: Any) -> Any:
        return runner.transform.for_loop(step, x * jnp.array([1.0, -1.0, 0.5])).sum()

    return jnp.tanh(runner.transform.vmap(lane, in_states=held)(local[-1]))


def nested(runner: Runner, local: Local, i: int, expression: Recipe, read: bool) -> Any:
    """Go over the same rows in each step of a loop, with sums of them and two products."""
    data = jnp.linspace(0.1, 1.0, 2 * WIDTH).reshape(2, WIDTH)
    matrix = jnp.outer(evaluate(runner, expression, local), jnp.array([0.3, -0.2, 0.1]))
    state = runner.states[i]

    def inner(x: Any) -> Any:
        large = x.sum() > 1.5
        kept = x * large.astype(x.dtype)
        put(state, jnp.tanh(plain(state.value) * 0.5 + kept @ matrix))
        return large, (plain(state.value) if read else x) @ matrix

    large, read_out = runner.transform.for_loop(
        lambda: runner.transform.for_loop(inner, data), length=2
    )
    return (read_out * large[..., None].astype(read_out.dtype)).sum((0, 1))


DELICATE: dict[str, Statement] = {
    "guarded": Statement(guarded, lambda p: (st.sampled_from(sorted(GUARDED)), p.expression)),
    "guarded_net": Statement(guarded_net, lambda p: (p.state, p.expression)),
    "nested": Statement(nested, lambda p: (p.state, p.expression, st.booleans())),
}

SIMPLE: dict[str, Statement] = {
    "write": Statement(write, lambda p: (p.state, p.expression)),
    "let": Statement(let, lambda p: (p.expression,)),
    "count": Statement(count, lambda p: ()),
    "random": Statement(random, lambda p: ()),
    "maybe": Statement(maybe, lambda p: (p.expression,)),
    "chain": Statement(chain, lambda p: (st.sampled_from(CHAINED),)),
    "box": Statement(box, lambda p: (p.expression,)),
}
