"""Statements of random programs from the rest of the family: other mappings, units, and wrong ones.

Each is a function of the `Runner` that runs it, the values in scope, and what its recipe holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import brainunit as u
import jax.numpy as jnp
from hypothesis import strategies as st

if TYPE_CHECKING:
    from .stateful_programs import Recipe, Runner

WIDTH = 3

Local = Sequence[Any]


def mapped(runner: Runner, local: Local, i: int, policy: str, block: Recipe) -> Any:
    """Work on a State that holds a value for each of two lanes, chosen by a filter."""
    outer = runner.states[i]
    batched = runner.library.HiddenState(jnp.stack([outer.value, -outer.value]))
    runner.states[i] = batched
    try:
        run = runner.transform.vmap2(
            lambda x: runner.block(block, [*local, x]),
            in_axes=None,
            state_in_axes={0: [batched]},
            unexpected_out_state_mapping=policy,
        )
        out = run(local[-1])
    finally:
        runner.states[i] = outer
    outer.value = batched.value[0]
    return out[1]


def new_lanes(runner: Runner, local: Local, lanes: int, block: Recipe) -> Any:
    """Let each lane create a State, and work on it; afterwards one State holds all of them."""
    xs = jnp.linspace(-1.0, 1.0, lanes * WIDTH).reshape(lanes, WIDTH)
    outer, made = runner.states[1], []

    def lane(x: Any) -> Any:
        runner.states[1] = made_here = runner.library.ShortTermState(x * 0.5)
        made.append(made_here)
        try:
            return runner.block(block, [*local, x])
        finally:
            runner.states[1] = outer

    out = runner.transform.vmap_new_states(lane, axis_size=lanes)(xs)
    return out.sum(0) + made[-1].value.reshape(lanes, WIDTH).mean(0)


def hessian(runner: Runner, local: Local, block: Recipe) -> Any:
    """Differentiate twice."""

    def loss(x: Any) -> Any:
        return jnp.sum(jnp.tanh(runner.block(block, [*local, x])))

    return jnp.tanh(runner.transform.hessian(loss)(local[-1]).sum(0))


def units(runner: Runner, local: Local, length: int, expression: Recipe) -> Any:
    """Integrate a membrane potential, in millivolts and milliseconds, with its gradient."""
    x = jnp.tanh(runner.value(expression, local))
    potential = runner.library.HiddenState(x * u.mV)
    leak = runner.library.ShortTermState(10.0 * u.ms)

    def step(current: Any) -> Any:
        potential.value = potential.value + (current * u.volt - potential.value) / leak.value * u.ms
        return potential.value

    def charge(gain: Any) -> Any:
        runner.transform.for_loop(step, gain * jnp.linspace(0.0, 1.0, length))
        return potential.value.sum().to_decimal(u.mV)

    return jnp.tanh(x + runner.transform.grad(charge)(jnp.mean(x)) * 0.01)


def kept(runner: Runner, local: Local, i: int, block: Recipe) -> Any:
    """Run statements on a State that outlives them in a list of results."""
    state = runner.states[i]

    def step(x: Any) -> Any:
        y = runner.block(block, [*local, x])
        return {"y": y, "state": (state.value, jnp.sum(y) > 0.123)}

    seen = runner.transform.for_loop(step, jnp.stack([local[-1], -local[-1]]))
    held, positive = seen["state"]
    return jnp.where(positive[-1], held[0], seen["y"][-1])


FAMILY: dict[str, Callable[..., Any]] = {
    "mapped": mapped,
    "new_lanes": new_lanes,
    "hessian": hessian,
    "units": units,
    "kept": kept,
}

# --- what is wrong --------------------------------------------------------------------------------


def _wrong_carry(runner: Runner, x: Any) -> Any:
    return runner.transform.scan(lambda c, _: (c[:-1], c), x, None, length=2)


def _wrong_type(runner: Runner, x: Any) -> Any:
    return runner.transform.while_loop(lambda c: c.sum() > 9, lambda c: c.astype(jnp.int32), x)


def _wrong_structure(runner: Runner, x: Any) -> Any:
    return runner.transform.cond(jnp.sum(x) > 0, lambda: (x, x), lambda: [x, x])


def _wrong_shape(runner: Runner, x: Any) -> Any:
    return runner.transform.cond(jnp.sum(x) > 0, lambda: x, lambda: x[:2])


def _wrong_predicate(runner: Runner, x: Any) -> Any:
    return runner.transform.cond(x > 0, lambda: x, lambda: -x)


def _wrong_lengths(runner: Runner, x: Any) -> Any:
    return runner.transform.for_loop(lambda a, b: a + b, x, x[:2])


def _wrong_unit(runner: Runner, x: Any) -> Any:
    return runner.transform.for_loop(lambda a: a * u.mV + 1.0, x)


def _wrong_axis(runner: Runner, x: Any) -> Any:
    return runner.transform.vmap(lambda a: a, in_axes=4)(x)


def _wrong_sizes(runner: Runner, x: Any) -> Any:
    return runner.transform.vmap(lambda a, b: a + b)(x, x[:2])


def _no_scalar(runner: Runner, x: Any) -> Any:
    return runner.transform.grad(lambda a: a * 2)(x)


def _no_argument(runner: Runner, x: Any) -> Any:
    return runner.transform.grad(lambda a: a.sum(), argnums=3)(x)


def _no_state(runner: Runner, x: Any) -> Any:
    return runner.transform.grad(lambda: x.sum(), grad_states=[3.0])()


def _no_float(runner: Runner, x: Any) -> Any:
    return runner.transform.grad(lambda a: (a * 1.0).sum())(x.astype(jnp.int32))


def _no_branches(runner: Runner, x: Any) -> Any:
    return runner.transform.switch(jnp.int32(0), [], x)


def _undeclared(runner: Runner, x: Any) -> Any:
    state = runner.states[0]
    return runner.transform.vmap(lambda a: setattr(state, "value", state.value * a))(x)


def _state_in_state(runner: Runner, x: Any) -> Any:
    runner.states[0].value = runner.states[1]
    return x


def _state_as_argument(runner: Runner, x: Any) -> Any:
    return runner.transform.jit(lambda a: a.value)(runner.states[0])


def _python_decides(runner: Runner, x: Any) -> Any:
    return runner.transform.for_loop(lambda a: a if a > 0 else -a, x)


def _their_own(runner: Runner, x: Any) -> Any:
    def step(a: Any) -> Any:
        raise KeyError("of the program itself")

    return runner.transform.for_loop(step, x)


def _too_few(runner: Runner, x: Any) -> Any:
    return runner.transform.jit(lambda a, b: a + b)(x)


def _negative_length(runner: Runner, x: Any) -> Any:
    return runner.transform.scan(lambda c, _: (c, c), x, None, length=-1)


def _no_batch(runner: Runner, x: Any) -> Any:
    return runner.transform.map(lambda a: a, x, batch_size=0)


def _no_policy(runner: Runner, x: Any) -> Any:
    return runner.transform.vmap2(lambda a: a, unexpected_out_state_mapping="maybe")(x)


def _no_function(runner: Runner, x: Any) -> Any:
    return runner.transform.for_loop(3, x)


WRONG: dict[str, Callable[[Runner, Any], Any]] = {
    function.__name__.lstrip("_"): function
    for function in (
        _wrong_carry,
        _wrong_type,
        _wrong_structure,
        _wrong_shape,
        _wrong_predicate,
        _wrong_lengths,
        _wrong_unit,
        _wrong_axis,
        _wrong_sizes,
        _no_scalar,
        _no_argument,
        _no_state,
        _no_float,
        _no_branches,
        _undeclared,
        _state_in_state,
        _state_as_argument,
        _python_decides,
        _their_own,
        _too_few,
        _negative_length,
        _no_batch,
        _no_policy,
        _no_function,
    )
}
"""Programs that must be refused, by name."""


def wrong(runner: Runner, local: Local, name: str) -> Any:
    """Do something wrong with the newest value of shape ``(3,)``."""
    WRONG[name](runner, local[-1])
    return local[-1]


FAMILY["wrong"] = wrong


def family(
    inner: st.SearchStrategy[Recipe],
    simple: st.SearchStrategy[Recipe],
    expressions: st.SearchStrategy[Recipe],
    states: int,
) -> list[st.SearchStrategy[Recipe]]:
    """Return what draws these statements, but for wrong ones; those of ``simple`` compile fast."""
    state, policies = st.integers(0, states - 1), ["auto", "raise", "ignore"]
    return [
        st.tuples(st.just("mapped"), state, st.sampled_from(policies), inner),
        st.tuples(st.just("new_lanes"), st.integers(1, 2), inner),
        st.tuples(st.just("hessian"), simple),
        st.tuples(st.just("units"), st.integers(1, 4), expressions),
        st.tuples(st.just("kept"), state, inner),
    ]
