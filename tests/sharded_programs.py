"""What bodies of `jax.shard_map` do with our transformations, and what plain JAX does instead.

Run by `test_foreign.py` on the devices that there are, and as a script on four.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import brainir
from brainir import transform

Function = Callable[..., Any]
MESH = jax.make_mesh((jax.device_count(),), ("i",), axis_types=(AxisType.Auto,))
X, W = jnp.arange(8.0) + 1, jnp.float32(2)
SHARED = brainir.ParamState(jnp.float32(3))


def sharded(function: Function, given: Any = P("i"), returned: Any = P("i")) -> Function:
    """Return a function that runs on the devices of the mesh."""
    return jax.shard_map(function, mesh=MESH, in_specs=given, out_specs=returned)


def running(x: Any) -> Any:
    """Sum in a State that begins at a constant."""
    s = brainir.State(jnp.float32(0))

    def step(v: Any) -> Any:
        s.value = s.value + v
        return s.value

    return transform.for_loop(step, x)


def scanned(x: Any) -> Any:
    """Sum in a carry that begins at a constant."""
    return transform.scan(lambda c, v: (c + v, c + v), jnp.float32(0), x)[1]


def counted(x: Any) -> Any:
    """Run a while whose carries vary, in the end."""
    start = 0, jnp.float32(0)
    step = lambda c: (c[0] + 1, c[1] + x.sum())  # noqa: E731
    return x + transform.while_loop(lambda c: c[0] < 3, step, start)[1]


def chosen(x: Any) -> Any:
    """Take a branch that varies, or one that does not."""
    return transform.cond(x.sum() > 8, lambda: x * 2, lambda: jnp.zeros(x.shape))


def nested(x: Any) -> Any:
    """Run loops in branches in loops."""

    def step(v: Any) -> Any:
        return transform.cond(v > 3, lambda: running(x)[-1] * v, lambda: jnp.float32(1))

    return transform.for_loop(step, x)


def squares(x: Any) -> Any:
    """Return something to differentiate."""
    return (running(x) ** 2).sum()


def squares_of_jax(x: Any) -> Any:
    """Return the same."""
    return (jnp.cumsum(x) ** 2).sum()


@jax.custom_vjp
def clip(w: Any) -> Any:
    """Return the argument; its cotangent is clipped."""
    return w * 1.0


clip.defvjp(lambda w: (w * 1.0, None), lambda _, g: (jnp.clip(g, -1.0, 1.0),))

BY_DEVICE: dict[str, tuple[Function, Function]] = {
    "running": (running, jnp.cumsum),
    "scanned": (scanned, jnp.cumsum),
    "counted": (counted, lambda x: x + 3 * x.sum()),
    "chosen": (chosen, lambda x: jnp.where(x.sum() > 8, x * 2, 0.0)),
    "nested": (nested, lambda x: jnp.where(x > 3, x.sum() * x, 1.0)),
    "a State is read": (
        lambda x: transform.for_loop(lambda v: SHARED.value * v, x),
        lambda x: 3 * x,
    ),
    "lanes": (lambda x: transform.vmap(lambda v: v * SHARED.value)(x), lambda x: 3 * x),
    "batches": (lambda x: transform.map(lambda v: v * 2, x, batch_size=1), lambda x: 2 * x),
    "sums over devices": (
        lambda x: transform.for_loop(lambda v: jax.lax.psum(v, "i") * v, x),
        lambda x: jax.lax.psum(x, "i") * x,
    ),
    "our gradient": (lambda x: transform.grad(squares)(x), jax.grad(squares_of_jax)),
    "their gradient": (jax.grad(squares), jax.grad(squares_of_jax)),
    "a gradient of lanes": (
        lambda x: transform.vmap(transform.grad(lambda v: running(v * x).sum()))(x),
        lambda x: jnp.ones(x.shape) * jnp.cumsum(x).sum(),
    ),
    "of a branch": (
        lambda x: transform.grad(lambda y: chosen(y).sum())(x),
        lambda x: jnp.where(x.sum() > 8, 2.0, 0.0) * jnp.ones(x.shape),
    ),
    "of a sum over devices": (
        transform.grad(lambda x: jax.lax.psum(squares(x), "i")),
        jax.grad(lambda x: jax.lax.psum(squares_of_jax(x), "i")),
    ),
    "of a rule": (
        transform.grad(lambda x: transform.for_loop(lambda v: clip(v) * 5, x).sum()),
        lambda x: jnp.ones_like(x),
    ),
    "by a State": (
        lambda x: (
            x
            + transform.grad(
                lambda: transform.for_loop(lambda v: SHARED.value**2 * v, x).sum(),
                grad_states=SHARED,
            )()
        ),
        lambda x: x + jax.grad(lambda s: (s**2 * x).sum())(jnp.float32(3)),
    ),
}
BY_SHARED: dict[str, tuple[Function, Function]] = {
    "sum of losses": (
        lambda w, x: transform.grad(lambda w: transform.for_loop(lambda v: (w * v) ** 2, x).sum())(
            w
        ),
        lambda w, x: jax.grad(lambda w: ((w * x) ** 2).sum())(w),
    ),
    "loss of sums": (
        lambda w, x: transform.grad(
            lambda w: jax.lax.psum(transform.for_loop(lambda v: (w * v) ** 2, x).sum(), "i")
        )(w),
        lambda w, x: jax.grad(lambda w: jax.lax.psum(((w * x) ** 2).sum(), "i"))(w),
    ),
}


def agree(name: str, found: Any, expected: Any) -> None:
    """Compare, and say which program it was."""
    np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=name)


def main() -> None:
    """Compare everything."""
    for name, (ours, theirs) in BY_DEVICE.items():
        expected = sharded(theirs)(X)
        agree(name, sharded(ours)(X), expected)
        agree(name, sharded(transform.jit(ours))(X), expected)
        agree(name, jax.jit(sharded(ours))(X), expected)
        agree(name, transform.jit(sharded(ours))(X), expected)
    for name, (ours, theirs) in BY_SHARED.items():
        expected = sharded(theirs, (P(), P("i")), P())(W, X)
        agree(name, sharded(ours, (P(), P("i")), P())(W, X), expected)
        agree(name, transform.jit(sharded(ours, (P(), P("i")), P()))(W, X), expected)

    def loss(w: Any) -> Any:
        steps = lambda w, x: transform.for_loop(lambda v: (w * v) ** 2, x)  # noqa: E731
        return sharded(steps, (P(), P("i")))(w, X).sum()

    expected = jax.grad(lambda w: ((w * X) ** 2).sum())(W)
    for gradient in (jax.grad(loss), transform.grad(loss), transform.jit(transform.grad(loss))):
        agree("around", gradient(W), expected)
    print("all agree on", jax.device_count())


if __name__ == "__main__":
    main()
