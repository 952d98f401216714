"""JAX functions whose derivatives are known from JAX, and the graphs that ask for them.

Each case covers a way in which a derivative passes through, or is stopped by, control flow.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from brainir.backends import type_of
from brainir.frontend.capture.importer import import_function
from brainir.ir import Builder, Graph, Type, Value, fresh, replay_region

Function = Callable[..., Any]


@dataclass
class Case:
    """A function that returns a loss and whatever else, with arguments to differentiate it at.

    ``twice`` says whether it is worth the time to look at second derivatives as well.
    """

    function: Function
    arguments: list[Any]
    wrt: tuple[int, ...]
    reverse_only: bool = False
    losses: int = 1
    twice: bool = False
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.function.__name__

    def __call__(self, *arguments: Any) -> list[Any]:
        return jax.tree.leaves(self.function(*arguments))

    @property
    def graph(self) -> Graph:
        return traced(self, [type_of(a) for a in self.arguments])

    def loss(self, *arguments: Any) -> Any:
        leaves = self(*arguments)
        return sum(leaf.sum() for leaf in leaves[: self.losses]), leaves


CASES: list[Case] = []


def case(*shapes: tuple[int, ...], wrt: tuple[int, ...] | None = None, **options: Any) -> Any:
    """Add a function to the cases, with random arguments of the shapes; all count by default."""

    def add(function: Function) -> Function:
        random = np.random.default_rng(len(CASES))
        arguments = [jnp.asarray(random.normal(size=s), jnp.float32) for s in shapes]
        CASES.append(Case(function, arguments, wrt or tuple(range(len(shapes))), **options))
        return function

    return add


def traced(function: Function, types: Sequence[Type]) -> Graph:
    """A function of arrays as a graph."""
    params, builder = tuple(Value(t) for t in types), Builder()
    return builder.graph(params, import_function(builder, function, params), "f")


def gradient_graph(
    region: Graph, wrt: Sequence[int], losses: int = 1, lanes: int | None = None
) -> Graph:
    """A graph of one `grad` node around a copy of a region; with lanes, it takes seeds last."""
    seeds = () if lanes is None else (Value(r.type.stacked(lanes)) for r in region.results[:losses])
    params, builder = (*fresh(region.params), *seeds), Builder()
    attrs = {"wrt": tuple(wrt), "states": (), "losses": losses, "lanes": lanes}
    results = builder.emit("grad", params, attrs, [_as_region(region)])
    return builder.graph(params, results, "gradient").with_(consts=region.consts)


def tangent_graph(region: Graph, wrt: Sequence[int], lanes: int | None = None) -> Graph:
    """A graph of one `jvp` node around a copy of a region."""
    moved = [region.params[i].type for i in wrt]
    tangents = (Value(t if lanes is None else t.stacked(lanes)) for t in moved)
    params, builder = (*fresh(region.params), *tangents), Builder()
    attrs = {"wrt": tuple(wrt), "lanes": lanes}
    results = builder.emit("jvp", params, attrs, [_as_region(region)])
    return builder.graph(params, results, "tangent").with_(consts=region.consts)


def _as_region(graph: Graph) -> Graph:
    return replay_region(graph, {}).with_(consts=(), param_units=(), result_units=())


# --- straight lines -------------------------------------------------------------------------------


@case(())
def a_loss_that_is_the_argument(x):
    return x, x


@case((3,), (3,))
def an_argument_that_is_not_used(x, y):
    return x.sum(), y


@case((3,))
def a_constant_loss(x):
    return jnp.float32(3), x


@case((3,), losses=2)
def two_losses_and_an_integer(x):
    return jnp.sin(x), x * x, jnp.int32(2)


@case((3,), (3, 3))
def many_uses_of_a_value(x, w):
    y = jnp.tanh(w @ x)
    return (y * y * x + y).sum(), y


@case((4,))
def a_stopped_gradient(x):
    return (jax.lax.stop_gradient(jnp.sin(x)) * x).sum()


# --- loops ----------------------------------------------------------------------------------------


@case((3, 3), (3,), (5, 3), twice=True)
def a_recurrent_net(w, v, xs):
    def step(v, x):
        v = 0.9 * v + jnp.tanh(w @ v) + x
        return v, (v * v, jnp.cos(x))

    v, (ys, zs) = jax.lax.scan(step, v, xs)
    return ys.sum() + (v * zs).sum(), v


@case((3, 3), (3,), (5, 3), twice=True)
def a_loop_in_reverse(w, v, xs):
    v, ys = jax.lax.scan(lambda v, x: (jnp.tanh(w @ v + x), v * x), v, xs, reverse=True)
    return ys.sum() + v.sum()


@case((3,), (0, 3))
def a_loop_of_no_steps(v, xs):
    c, ys = jax.lax.scan(lambda c, x: (c * x, jnp.sin(c)), v, xs)
    return (c**2).sum() + ys.sum(), ys


@case((3,), (1, 3))
def a_loop_of_one_step(v, xs):
    c, ys = jax.lax.scan(lambda c, x: (jnp.sin(c) * x, jnp.sin(c)), v, xs)
    return (c**2).sum() + ys.sum(), ys


@case((3, 3), (3,), (5, 3), twice=True)
def carries_that_stand_still_and_that_count(w, v, xs):
    def step(c, x):
        a, b, i = c
        k = (jnp.abs(w) * 0.3) @ (w * 2.0)
        return (jnp.tanh(k @ a + b) * x, b, i + 1), (a + b) * i.astype(a.dtype)

    (a, b, i), ys = jax.lax.scan(step, (v, jnp.cos(v), 0), xs)
    return ys.sum() + a.sum() + b.sum(), i


@case((3,), (3,), (5, 3))
def carries_that_swap(a, b, xs):
    def step(c, x):
        a, b = c
        return (b, jnp.sin(a) * x), a * b

    (a, b), ys = jax.lax.scan(step, (a, b), xs)
    return ys.sum() + (a * jnp.cos(b)).sum()


@case((3,), (6, 3))
def the_mean_over_a_loop(v, xs):
    def step(v, x):
        v = jnp.sin(v + x)
        return v, v * x

    _, ys = jax.lax.scan(step, v, xs)
    return (ys.mean(0) ** 2).sum() + ys.mean()


@case((3, 3), (3,), (4, 3), twice=True)
def a_loop_in_a_loop(w, v, xs):
    def inner(h, k):
        h = jnp.tanh(w @ h) + k * v
        return h, h.sum()

    def outer(c, x):
        h, ks = jax.lax.scan(inner, c + x, jnp.arange(3, dtype=jnp.float32))
        return h * 0.5, (ks**2).sum() + h.sum()

    c, ys = jax.lax.scan(outer, v, xs)
    return ys.sum() + c.prod(), c


@case((3,), (3, 3))
def a_stopped_carry(x, w):
    def step(c, r):
        return (jax.lax.stop_gradient(c) * r + c).at[0].set(0.0), None

    c, _ = jax.lax.scan(step, x, w)
    return (c * x).sum()


@case((3,), (4, 3))
def what_a_loop_captures_twice(x, w):
    def step(c, r):
        return c + (x * r).sum() * jnp.sin(x).sum(), x * c

    c, ys = jax.lax.scan(step, jnp.float32(1.0), w)
    return c + (ys * x).sum()


@case((3,), (3,), (5, 3), twice=True)
def carries_that_are_functions_of_others(a, x, xs):
    def step(c, y):
        v, r, k = c
        v = v * 0.5 + y * y + 1 + 0.1 * r * x
        return (v, jnp.sqrt(v), jnp.sin(k * v)), r * y * k

    # The root has no slope at what the loop starts from, nor is it ever taken there.
    c, ys = jax.lax.scan(step, (a * 0, a, a), xs)
    return ys.sum() + sum(jnp.sum(leaf) for leaf in c)


@case((3, 3), (3,), (6, 3), twice=True)
def carries_that_were_decided_by_a_contraction(w, v, xs):
    def step(c, x):
        v, gate, last = c
        h = w @ v
        fired = (h > 0.1).astype(v.dtype)
        return (0.9 * v + gate * x + 0.1 * last, fired * 2, x), h * gate

    c, ys = jax.lax.scan(step, (v, jnp.full(3, 0.7), v), xs)
    return ys.sum() + (c[0] * c[2]).sum()


@case((3,), (4, 3))
def a_line_of_delays(v, xs):
    def step(c, x):
        a, b, d = c
        return (jnp.sin(x + d), a, b), a * b * d

    c, ys = jax.lax.scan(step, (v, v, 2 * v), xs, reverse=True)
    return ys.sum() + (c[0] * c[1] * c[2]).sum()


# --- branches -------------------------------------------------------------------------------------


@case((3,), (5, 3), twice=True)
def branches_in_a_loop(v, xs):
    def step(v, x):
        v = jax.lax.cond(x.sum() > 0, lambda: jnp.sin(v) * x, lambda: v + jnp.cos(x * v))
        k = jax.lax.switch(
            (x[0] > 0).astype(jnp.int32) + (x[1] > 0).astype(jnp.int32),
            [lambda: v.sum(), lambda: (v * x).sum(), lambda: jnp.float32(0)],
        )
        return v, k

    v, ys = jax.lax.scan(step, v, xs)
    return ys.sum() + (v**2).sum()


@case((), (3,), (3, 3), twice=True)
def a_loop_in_a_branch_in_a_loop(p, v, xs):
    def step(v, x):
        def yes():
            return jax.lax.scan(lambda h, y: (jnp.sin(h * y) * p, None), v, x)[0]

        return jax.lax.cond(x.sum() > 0, yes, lambda: v * x), v

    v, ys = jax.lax.scan(step, v, xs)
    return (ys**2).sum() + v.sum()


@case((3,), (3,))
def branches_that_pass_things_through(x, y):
    a, b = jax.lax.cond(x.sum() > 100, lambda: (x, y), lambda: (y, y))
    return (a * jnp.exp(b)).sum()


# --- rules of one's own ---------------------------------------------------------------------------


@jax.custom_jvp
def spike(x):
    return (x > 0).astype(x.dtype)


@spike.defjvp
def _spike_jvp(primals, tangents):
    (x,), (t,) = primals, tangents
    return (x > 0).astype(x.dtype), t / (1 + jnp.abs(x)) ** 2


@jax.custom_vjp
def scaled_spike(x, k):
    return (x > 0).astype(x.dtype) * k, jnp.int32(3)


def _scaled_spike_forward(x, k):
    return ((x > 0).astype(x.dtype) * k, jnp.int32(3)), (x, k)


def _scaled_spike_backward(kept, cotangents):
    (x, k), (c, _) = kept, cotangents
    return c / (1 + jnp.abs(x)) ** 2 * k, (c * jnp.sin(x)).sum()


scaled_spike.defvjp(_scaled_spike_forward, _scaled_spike_backward)


@case((3, 3), (3,), (6, 3), twice=True)
def a_spiking_net(w, v, xs):
    def step(c, x):
        v, s = c
        v = 0.9 * v * (1 - s) + x + w @ s
        s = spike(v - 0.5)
        return (v, s), s

    (v, _), ss = jax.lax.scan(step, (v, jnp.full(3, 0.3)), xs)
    return (ss.mean(0) ** 2).sum() + v.sum(), ss


@case((3, 3), (3,), (6, 3), reverse_only=True, twice=True)
def a_spiking_net_with_a_vjp(w, v, xs):
    def step(c, x):
        v, s = c
        v = 0.9 * v * (1 - s) + x + w @ s
        s, i = scaled_spike(v - 0.5, jnp.float32(2))
        return (v, s), s * i.astype(s.dtype)

    (_, _), ss = jax.lax.scan(step, (v, jnp.zeros(3)), xs)
    return (ss.mean(0) ** 2).sum(), ss


@case((3,), (3,), reverse_only=True)
def a_vjp_with_an_integer_result(x, k):
    a, i = scaled_spike(x, k.sum())
    return (a * x).sum(), i


@jax.custom_jvp
def product(x, y):
    return x * y


@product.defjvp
def _product_jvp(primals, tangents):
    (x, y), (s, t) = primals, tangents
    return x * y, x * t * 2 + y * s + s


@case((3,), (3,), twice=True)
def a_rule_of_two_arguments(x, y):
    return product(jnp.sin(x), product(x, y)).sum() + product(x, jnp.ones(3)).sum()


# --- checkpoints and while loops ------------------------------------------------------------------


@case((3, 3), (3,))
def checkpoints(w, x):
    f = jax.checkpoint(lambda w, x: jnp.sin(w @ jnp.tanh(w @ x)))
    return (f(w, f(w, x)) ** 2).sum()


@case((3, 3), (3,), (4, 3), twice=True)
def a_loop_in_a_checkpoint_in_a_loop(w, x, xs):
    @jax.checkpoint
    def f(x, y):
        return jax.lax.scan(lambda c, _: (jnp.sin(w @ c) * y, None), x, None, length=2)[0]

    c, ys = jax.lax.scan(lambda c, x: (f(c, x), c.sum()), x, xs)
    return ys.sum() + c.sum()


@case((3,))
def a_while_loop_beside_the_gradient(x):
    k = jax.lax.while_loop(lambda c: c < 30, lambda c: c * 2, jnp.float32(1))
    return (jnp.sin(x) * k).sum(), k


# --- derivatives of derivatives -------------------------------------------------------------------


@case((4,), twice=True)
def a_second_derivative(x):
    return jax.grad(lambda x: (jnp.sin(x) * x).sum())(x).prod()
