"""What statements of random programs compute with: expressions of shape ``(3,)``, and their values.

``("state", i) ("local", i) ("const", c) ("count",) ("unary", name, e) ("binary", name, e, e)``.
A State may hold a quantity in millivolts; expressions see its number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import brainunit as u
import jax.numpy as jnp
from hypothesis import strategies as st

from .. import surrogate

if TYPE_CHECKING:
    from .stateful_programs import Runner

STATES = 3
WIDTH = 3

EDGE = 0.0517
"""What programs compare sums with. No sum of their numbers is near it, so that rounding, which is
not the same in all ways to run a program, decides nothing."""

Recipe = tuple[Any, ...]
Local = Sequence[Any]

UNARY = {
    "tanh": jnp.tanh,
    "sin": jnp.sin,
    "half": lambda x: x * 0.5,
    "neg": lambda x: -x,
    "clip": lambda x: jnp.clip(x, -1.0, 1.0),
    "cumsum": lambda x: jnp.tanh(jnp.cumsum(x)),
    "mean": lambda x: jnp.broadcast_to(jnp.mean(x), (WIDTH,)),
    "spike": lambda x: surrogate.ReluGrad()(x - EDGE),
}
BINARY = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: jnp.tanh(x) * jnp.tanh(y),
    "max": jnp.maximum,
    "where": lambda x, y: jnp.where(x > EDGE, x, y),
    "dot": lambda x, y: jnp.tanh(jnp.dot(x, y)) * x,
}


class Parts(NamedTuple):
    """What statements are drawn from: blocks inside them, shallow blocks, expressions, a State."""

    inner: st.SearchStrategy[Recipe]
    shallow: st.SearchStrategy[Recipe]
    expression: st.SearchStrategy[Recipe]
    state: st.SearchStrategy[int]


class Statement(NamedTuple):
    """How one kind of statement runs, and how what its recipe holds is drawn.

    ``run(runner, local, *rest)`` returns a value of shape ``(3,)`` that later statements can use;
    ``draw(parts)`` returns a strategy for each of ``rest``.
    """

    run: Any
    draw: Any


def expressions() -> st.SearchStrategy[Recipe]:
    """Draw an expression of shape ``(3,)``."""
    leaves = st.one_of(
        st.tuples(st.just("state"), st.integers(0, STATES - 1)),
        st.tuples(st.just("local"), st.integers(0, 3)),
        st.tuples(st.just("const"), st.sampled_from([0.0, 0.25, -1.5, 2.0])),
        st.just(("count",)),
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(st.just("unary"), st.sampled_from(sorted(UNARY)), inner),
            st.tuples(st.just("binary"), st.sampled_from(sorted(BINARY)), inner, inner),
        ),
        max_leaves=4,
    )


def evaluate(runner: Runner, expression: Recipe, local: Local) -> Any:
    """Return what an expression is worth."""
    kind, *rest = expression
    if kind == "state":
        return plain(runner.states[rest[0]].value)
    if kind == "local":
        return local[-1 - rest[0] % len(local)]
    if kind == "const":
        return jnp.full((WIDTH,), rest[0], jnp.float32)
    if kind == "count":
        return jnp.full((WIDTH,), 0.1, jnp.float32) * runner.world.count.value.astype(jnp.float32)
    operands = [evaluate(runner, operand, local) for operand in rest[1:]]
    return (UNARY if kind == "unary" else BINARY)[rest[0]](*operands)


def plain(x: Any) -> Any:
    """Return the number of something that may be a quantity in millivolts."""
    return x.to_decimal(u.mV) if isinstance(x, u.Quantity) else x


def put(state: Any, x: Any) -> None:
    """Write a number into a State, in the unit of what that holds."""
    state.value = x * u.mV if isinstance(state.value, u.Quantity) else x


def positive(x: Any) -> Any:
    """Tell whether the numbers of an array have a positive sum, far from rounding."""
    return jnp.sum(x) > EDGE


def above_zero(x: Any) -> Any:
    """Return something like x that is either 0 or far from it."""
    return jnp.where(x > EDGE, x + 0.25, 0.0)


def rows(length: int) -> Any:
    """Return numbers of shape ``(length, 3)``, with sums that are not 0."""
    return jnp.linspace(-1.0, 1.3, length * WIDTH).reshape(length, WIDTH)
