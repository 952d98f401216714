"""Statements of random programs that must be refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import brainunit as u
import jax.numpy as jnp

from .program_expressions import Local

if TYPE_CHECKING:
    from .stateful_programs import Runner


def _written(runner: Runner, value: Any) -> Callable[[Any], Any]:
    """Return a function that writes something into the first State."""

    def write(x: Any) -> Any:
        runner.states[0].value = value(x)
        return x

    return write


def _refused(a: Any) -> Any:
    raise KeyError("of the program itself")


WRONG: dict[str, Callable[[Runner, Any, Any], Any]] = {
    # loops
    "carry of another shape": lambda r, t, x: t.scan(lambda c, _: (c[:-1], c), x, None, length=2),
    "carry of another tree": lambda r, t, x: t.scan(lambda c, _: ((c, c), c), x, None, length=2),
    "carry of another unit": lambda r, t, x: t.scan(lambda c, _: (c * u.mV, c), x, None, length=2),
    "no pair": lambda r, t, x: t.scan(lambda c, _: c, x, None, length=2),
    "no length": lambda r, t, x: t.scan(lambda c, _: (c, c), x, None),
    "nothing to go over": lambda r, t, x: t.for_loop(lambda a: a),
    "negative length": lambda r, t, x: t.scan(lambda c, _: (c, c), x, None, length=-1),
    "other lengths": lambda r, t, x: t.for_loop(lambda a, b: a + b, x, x[:2]),
    "another length said": lambda r, t, x: t.for_loop(lambda a: a, x, length=2),
    "no function": lambda r, t, x: t.for_loop(3, x),
    "text as result": lambda r, t, x: t.for_loop(lambda a: "text", x),
    "no base": lambda r, t, x: t.checkpointed_for_loop(lambda a: a, x, base=1),
    "no steps": lambda r, t, x: t.checkpointed_for_loop(lambda a: a, x[:0]),
    "while of another type": lambda r, t, x: t.while_loop(
        lambda c: c.sum() > 9, lambda c: c.astype(jnp.int32), x
    ),
    "while by a number": lambda r, t, x: t.while_loop(lambda c: c.sum(), lambda c: c, x),
    "while by an array": lambda r, t, x: t.while_loop(lambda c: c > 9, lambda c: c, x),
    "while with a test that writes": lambda r, t, x: t.while_loop(
        lambda c: _written(r, lambda a: a)(c).sum() > 9, lambda c: c, x
    ),
    "fewer than no steps": lambda r, t, x: t.bounded_while_loop(
        lambda c: c.sum() > 9, lambda c: c, x, max_steps=-1
    ),
    "gradient of a while loop": lambda r, t, x: t.grad(
        lambda a: t.while_loop(lambda c: c.sum() < 9, lambda c: c * 2, a * a + 1).sum()
    )(x),
    "State of another shape": lambda r, t, x: t.for_loop(
        lambda a: _written(r, lambda _: x[:2])(a), x
    ),
    "State of another unit": lambda r, t, x: t.for_loop(
        lambda a: _written(r, lambda _: x * u.mV)(a), x
    ),
    "State of another tree": lambda r, t, x: t.for_loop(
        lambda a: _written(r, lambda _: (x, x))(a), x
    ),
    # branches
    "results of other trees": lambda r, t, x: t.cond(
        jnp.sum(x) > 0, lambda: (x, x), lambda: [x, x]
    ),
    "results of other shapes": lambda r, t, x: t.cond(jnp.sum(x) > 0, lambda: x, lambda: x[:2]),
    "results of other types": lambda r, t, x: t.cond(
        jnp.sum(x) > 0, lambda: x, lambda: x.astype(jnp.int32)
    ),
    "results of other units": lambda r, t, x: t.cond(
        jnp.sum(x) > 0, lambda: x * u.mV, lambda: x * u.ms
    ),
    "an array decides": lambda r, t, x: t.cond(x > 0, lambda: x, lambda: -x),
    "nothing decides": lambda r, t, x: t.cond(None, lambda: x, lambda: -x),
    "State of another shape in a branch": lambda r, t, x: t.cond(
        jnp.sum(x) > 0, lambda: _written(r, lambda a: a[:2])(x), lambda: x
    ),
    "no branches": lambda r, t, x: t.switch(jnp.int32(0), [], x),
    "no whole number": lambda r, t, x: t.switch(jnp.sum(x), [lambda a: a, lambda a: -a], x),
    "fewer branches than conditions": lambda r, t, x: t.ifelse([True, False], [lambda: x]),
    "no conditions": lambda r, t, x: t.ifelse([], []),
    # lanes
    "an axis that is not there": lambda r, t, x: t.vmap(lambda a: a, in_axes=4)(x),
    "no axis of the results": lambda r, t, x: t.vmap(lambda a: a, out_axes=4)(x),
    "other sizes": lambda r, t, x: t.vmap(lambda a, b: a + b)(x, x[:2]),
    "another size said": lambda r, t, x: t.vmap(lambda a: a, axis_size=5)(x),
    "axes of other arguments": lambda r, t, x: t.vmap(lambda a: a, in_axes=(0, 0))(x),
    "no size at all": lambda r, t, x: t.vmap(lambda a: a, in_axes=None)(x),
    "names in lanes": lambda r, t, x: t.vmap(lambda a: a)(a=x),
    "undeclared": lambda r, t, x: t.vmap(_written(r, lambda a: a))(x),
    "undeclared, and not to be": lambda r, t, x: t.vmap2(
        _written(r, lambda a: a), unexpected_out_state_mapping="raise"
    )(x),
    "no policy": lambda r, t, x: t.vmap2(lambda a: a, unexpected_out_state_mapping="maybe")(x),
    "a State in two axes": lambda r, t, x: t.vmap(
        lambda a: a, in_states={0: {"s": r.states[0]}, 1: {"s": r.states[0]}}
    )(x),
    "no lanes": lambda r, t, x: t.vmap_new_states(lambda: x, axis_size=0)(),
    "batches of nothing": lambda r, t, x: t.map(lambda a: a, x, batch_size=0),
    "nothing to map": lambda r, t, x: t.map(lambda a: a),
    "a batch that writes": lambda r, t, x: t.map(_written(r, lambda a: x * a), x, batch_size=2),
    # derivatives
    "no scalar": lambda r, t, x: t.grad(lambda a: a * 2)(x),
    "no argument": lambda r, t, x: t.grad(lambda a: a.sum(), argnums=3)(x),
    "no State": lambda r, t, x: t.grad(lambda: x.sum(), grad_states=[3.0])(),
    "no float": lambda r, t, x: t.grad(lambda a: a.astype(jnp.float32).sum())(x.astype(jnp.int32)),
    "no pair with what is extra": lambda r, t, x: t.grad(lambda a: a.sum(), has_aux=True)(x),
    "no State to differentiate by": lambda r, t, x: t.jacrev(lambda a: a, grad_states=x)(x),
    "a tangent of another shape": lambda r, t, x: t.jvp(jnp.sin, (x,), (x[:2],)),
    "a tangent too many": lambda r, t, x: t.jvp(jnp.sin, (x,), (x, x)),
    "a cotangent of another shape": lambda r, t, x: t.vjp(jnp.sin, x)[1](x[:2]),
    # units
    "a unit and a number": lambda r, t, x: t.for_loop(lambda a: a * u.mV + 1.0, x),
    "volts and seconds": lambda r, t, x: t.jit(lambda a: a * u.mV + a * u.ms)(x),
    "sine of volts": lambda r, t, x: t.jit(lambda a: u.math.sin(a * u.mV))(x),
    # States, and what is around them
    "a State in a State": lambda r, t, x: _written(r, lambda _: r.states[1])(x),
    "a State as argument": lambda r, t, x: t.jit(lambda a: a.value)(r.states[0]),
    "Python decides": lambda r, t, x: t.for_loop(lambda a: a if a > 0 else -a, x),
    "their own": lambda r, t, x: t.for_loop(_refused, x),
    "their own, in a branch": lambda r, t, x: t.cond(jnp.sum(x) > 0, _refused, lambda a: a, x),
    "their own, in lanes": lambda r, t, x: t.vmap(_refused)(x),
    "their own, in a gradient": lambda r, t, x: t.grad(_refused)(x),
    "too few": lambda r, t, x: t.jit(lambda a, b: a + b)(x),
    "a static argument that is not there": lambda r, t, x: t.jit(lambda a: a, static_argnums=3)(x),
    "a static array": lambda r, t, x: t.jit(lambda a: a, static_argnums=0)(x),
}
"""What must be refused, by name: functions of a runner, its transformations, and an array."""


def wrong(runner: Runner, local: Local, name: str) -> Any:
    """Do something wrong with the newest value of shape ``(3,)``."""
    WRONG[name](runner, runner.transform, local[-1])
    return local[-1]
