"""Derivatives of random programs: compiled they are what JAX finds, step by step in plain Python.

Under ``jax.disable_jit()`` a derivative is JAX's own, of the program as plain Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import pytest
from hypothesis import settings

from brainir import HiddenState, transform
from brainir.testing import check_transformation, programs

Function = Callable[[Any], Any]


def rows_and_columns(f: Function) -> Function:
    def run(x: Any) -> Any:
        by_rows = transform.jacrev(lambda x: jnp.tanh(f(x)))(x)
        return by_rows.sum(0) + jnp.tanh(by_rows[:, 0])

    return run


def columns(f: Function) -> Function:
    def run(x: Any) -> Any:
        found, value = transform.jacfwd(lambda x: jnp.tanh(f(x)), return_value=True)(x)
        return found.sum(0) + found[:, 1] * value

    return run


def second_by_a_state_and_the_argument(f: Function) -> Function:
    def run(x: Any) -> Any:
        state = HiddenState(x * 0.5)

        def loss(x: Any) -> Any:
            state.value = state.value * 0.5 + jnp.sin(x)
            return (jnp.tanh(f(x)) * state.value).sum()

        found = transform.hessian(loss, grad_states={"s": state}, argnums=0)(x)
        (by_state, mixed), (again, by_argument) = found
        blocks = by_state["s"]["s"], mixed["s"], again["s"], by_argument
        return jnp.tanh(sum(block.sum(0) for block in blocks)) + state.value

    return run


def pulled_back_twice(f: Function) -> Function:
    def run(x: Any) -> Any:
        state = HiddenState(x * 0.5)

        def inner(x: Any) -> Any:
            return {"y": jnp.tanh(f(x + state.value)), "n": jnp.int32(1)}

        out, pull = transform.vjp(inner, x, grad_states=[state])
        (by_state,), by_argument = pull({"y": out["y"], "n": out["n"]})
        _, again = pull({"y": by_argument, "n": out["n"]})
        return jnp.tanh(by_state + by_argument) + jnp.tanh(again)

    return run


def pushed_forward(f: Function) -> Function:
    def run(x: Any) -> Any:
        out, tangent = transform.jvp(lambda x: jnp.tanh(f(x)), (x,), (jnp.cos(x),))
        return out + tangent

    return run


def gradient_of_a_pullback(f: Function) -> Function:
    def run(x: Any) -> Any:
        def loss(x: Any) -> Any:
            out, pull = transform.vjp(lambda x: jnp.tanh(f(x)), x)
            return jnp.tanh(pull(out)).sum()

        return jnp.tanh(transform.grad(loss)(x))

    return run


@pytest.mark.parametrize(
    "f",
    [
        rows_and_columns,
        columns,
        pulled_back_twice,
        pushed_forward,
        second_by_a_state_and_the_argument,
        gradient_of_a_pullback,
    ],
    ids=lambda f: f.__name__,
)
def test_derivatives_of_random_programs_are_those_of_plain_python(f: Any) -> None:
    check_transformation(f, programs=programs(depth=1), gradient=True, examples=EXAMPLES)


EXAMPLES = max(settings.get_profile(settings.get_current_profile_name()).max_examples // 10, 4)
