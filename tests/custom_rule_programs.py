"""Random programs of functions with rules of their own, none of which is linear in the cotangent.

A recipe is plain data. It is run twice: with brainir's transformations, and with those of `jax.lax`
that mean the same. Where a rule closes over a value, the twin hands it over as an argument, since
JAX cannot differentiate such a rule once it is staged. All rules are continuous, so that rounding
does not decide.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from brainir import transform

WIDTH = 2
Recipe = tuple[Any, ...]
Function = Callable[..., Any]


def _reverse_only(backward: Function) -> Function:
    @jax.custom_vjp
    def function(x: Any) -> Any:
        return jnp.sin(x)

    function.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (backward(g) * jnp.cos(x),))
    return function


@jax.custom_jvp
def _doubled(x: Any) -> Any:
    return jnp.tanh(x)


_doubled.defjvp(lambda p, t: (_doubled(*p), 2 * t[0] * p[0]))


@jax.custom_vjp
def _with_sign(x: Any) -> Any:
    return jnp.sin(x), x > 0, jnp.int32(x)


_with_sign.defvjp(
    lambda x: (_with_sign(x), x),
    lambda x, g: (jnp.clip(g[0], -0.3, 0.3) * x,),
)


@jax.custom_jvp
def _with_exponent(x: Any) -> Any:
    return x * 0.5, jnp.int32(x), x > 0


def _push_exponent(p: Any, t: Any) -> Any:
    none = np.zeros(p[0].shape, jax.dtypes.float0)
    return _with_exponent(*p), (t[0] * jnp.cos(p[0]), none, none)


_with_exponent.defjvp(_push_exponent)


def _signed(x: Any) -> Any:
    y, positive, _ = _with_sign(x)
    return jnp.where(positive, y, 2 * y)


def _exponent(x: Any) -> Any:
    y, whole, positive = _with_exponent(x)
    return y * jnp.float32(whole) + jnp.float32(positive)


RULES: dict[str, Function] = {
    "clip": _reverse_only(lambda g: jnp.clip(g, -0.2, 0.2)),
    "squash": _reverse_only(lambda g: g / (1 + jnp.abs(g))),
    "normalise": _reverse_only(lambda g: g / (1 + jnp.sum(g * g))),
    "doubled": _doubled,
    "signed": _signed,
    "exponent": _exponent,
}


def _closing(x: Any, scale: Any) -> Any:
    @jax.custom_vjp
    def function(x: Any) -> Any:
        return x * 0.5

    function.defvjp(lambda x: (x * 0.5, None), lambda _, g: (jnp.clip(g, -1, 1) * scale,))
    return function(x)


@jax.custom_vjp
def _given(x: Any, scale: Any) -> Any:
    # JAX runs a rule for all lanes at once if no result has lanes, even if what the rule does
    # differs between them. So that lanes mean what they mean one by one, the result has them.
    return x * 0.5 + 0 * scale


_given.defvjp(
    lambda x, scale: (x * 0.5 + 0 * scale, scale),
    lambda scale, g: (jnp.clip(g, -1, 1) * scale, jnp.zeros_like(scale)),
)


class Ours:
    """What recipes name, as brainir has it."""

    closing = staticmethod(_closing)
    grad = staticmethod(transform.grad)

    @staticmethod
    def loop(step: Function, xs: Any) -> Any:
        return transform.for_loop(step, xs)

    @staticmethod
    def lanes(lane: Function, xs: Any) -> Any:
        return transform.vmap(lane)(xs)

    @staticmethod
    def batches(lane: Function, xs: Any) -> Any:
        return transform.map(lane, xs, batch_size=2)

    @staticmethod
    def cond(index: Any, yes: Function, no: Function) -> Any:
        return transform.cond(index, yes, no)


class Theirs:
    """The same in plain JAX."""

    closing = staticmethod(_given)
    grad = staticmethod(jax.grad)

    @staticmethod
    def loop(step: Function, xs: Any) -> Any:
        return jax.lax.scan(lambda carry, x: (carry, step(x)), 0, xs)[1]

    @staticmethod
    def lanes(lane: Function, xs: Any) -> Any:
        return jax.vmap(lane)(xs)

    @staticmethod
    def batches(lane: Function, xs: Any) -> Any:
        return jax.lax.map(lane, xs, batch_size=2)

    @staticmethod
    def cond(index: Any, yes: Function, no: Function) -> Any:
        return jax.lax.cond(index, yes, no)


def recipes() -> st.SearchStrategy[Recipe]:
    """Draw a function from ``(w, x)`` to an array of shape ``(2,)``."""
    leaves = st.sampled_from([("w",), ("x",), ("local", 0), ("local", 1)])
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(st.just("rule"), st.sampled_from(sorted(RULES)), inner),
            st.tuples(st.just("rule"), st.sampled_from(sorted(RULES)), inner),
            st.tuples(st.just("mul"), inner, inner),
            st.tuples(st.just("closing"), inner, inner),
            st.tuples(st.sampled_from(["loop", "lanes", "batches"]), inner),
            st.tuples(st.just("cond"), inner, inner),
            st.tuples(st.sampled_from(["checkpoint", "jit", "slope"]), inner),
        ),
        max_leaves=5,
    )


def run(kit: type[Ours] | type[Theirs], recipe: Recipe, w: Any, x: Any) -> Any:
    """Return what a recipe makes of two arrays, with the transformations of a kit."""
    rows = jnp.linspace(0.5, 3.0, 3 * WIDTH).reshape(3, WIDTH)

    def value(recipe: Recipe, local: tuple[Any, ...]) -> Any:
        kind, *parts = recipe
        if kind in ("w", "x"):
            return w if kind == "w" else x
        if kind == "local":
            return local[parts[0] % len(local)]
        if kind == "rule":
            return RULES[parts[0]](value(parts[1], local))
        if kind == "mul":
            return value(parts[0], local) * value(parts[1], local)
        if kind == "closing":
            scale = jax.lax.stop_gradient(value(parts[1], local))
            return kit.closing(value(parts[0], local), scale)
        return within(kind, parts, local)

    def within(kind: str, parts: list[Recipe], local: tuple[Any, ...]) -> Any:
        if kind == "cond":
            yes, no = (lambda part=part: value(part, local) for part in parts)
            return kit.cond(local[0].sum() > 1, yes, no)
        (body,) = parts
        if kind in ("loop", "lanes", "batches"):
            run = getattr(kit, kind)
            return (run(lambda row: value(body, (row, *local)) * row, rows) * rows).sum(0)
        if kind == "slope":
            return kit.grad(lambda y: value(body, (y, *local)).sum())(local[0])
        wrap = jax.checkpoint if kind == "checkpoint" else jax.jit
        return wrap(lambda y: value(body, (y, *local[1:])))(local[0])

    return value(recipe, (x,)).sum()
