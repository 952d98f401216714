"""Statements of random programs that differentiate others, and that work with units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import brainunit as u
import jax
import jax.numpy as jnp
from hypothesis import strategies as st

from .program_expressions import WIDTH, Local, Recipe, Statement, evaluate, plain

if TYPE_CHECKING:
    from .stateful_programs import Runner


def grad(runner: Runner, local: Local, i: int, block: Recipe) -> Any:
    """Differentiate by a State and by the argument."""
    state = runner.states[i]

    def loss(x: Any) -> Any:
        return jnp.sum(jnp.tanh(runner.block(block, [*local, x])) * plain(state.value))

    (by_state, by_argument), value = runner.transform.grad(
        loss, grad_states=[state], argnums=0, return_value=True
    )(local[-1])
    return jnp.tanh(number(by_state) + by_argument + value)


def number(gradient: Any) -> Any:
    """Return the numbers of a gradient by one State, whatever unit it is given."""
    (leaf,) = jax.tree.leaves(gradient)
    return leaf


def jacobian(runner: Runner, local: Local, forward: bool, block: Recipe) -> Any:
    """Differentiate all results by all numbers of the argument."""
    kind = runner.transform.jacfwd if forward else runner.transform.jacrev
    return jnp.tanh(kind(bent(runner, local, block))(local[-1]).sum(0))


def by_state(runner: Runner, local: Local, kind: str, i: int, block: Recipe) -> Any:
    """Differentiate by a State, in one of the ways that give more than a gradient."""
    state, run = runner.states[i], bent(runner, local, block)

    def bent_by_state(x: Any) -> Any:
        y = run(x) * jnp.tanh(plain(state.value))
        return jnp.sum(y) if kind == "hessian" else y

    found = getattr(runner.transform, kind)(bent_by_state, grad_states=[state])(local[-1])
    return jnp.tanh(number(found).reshape(-1, WIDTH).sum(0))


def bent(runner: Runner, local: Local, block: Recipe) -> Any:
    """Return a function of one argument that runs a block and bends what it returns."""
    return lambda x: jnp.tanh(runner.block(block, [*local, x]))


def products(runner: Runner, local: Local, i: int, block: Recipe) -> Any:
    """Pull a cotangent back to a State and the argument."""
    state = runner.states[i]

    def run(x: Any) -> Any:
        return jnp.tanh(runner.block(block, [*local, x])) * plain(state.value)

    _, pull = runner.transform.vjp(run, local[-1], grad_states=[state], argnums=0)
    by_states, by_argument = pull(jnp.linspace(-1.0, 1.3, WIDTH))
    return jnp.tanh(number(by_states) + by_argument)


def pushed(runner: Runner, local: Local, block: Recipe) -> Any:
    """Push a tangent through statements."""
    run, tangent = bent(runner, local, block), jnp.linspace(-1.0, 1.3, WIDTH)
    y, change = runner.transform.jvp(run, (local[-1],), (tangent,))
    return y + change


def hessian(runner: Runner, local: Local, block: Recipe) -> Any:
    """Differentiate twice by the argument."""
    run = bent(runner, local, block)
    return jnp.tanh(runner.transform.hessian(lambda x: jnp.sum(run(x)))(local[-1]).sum(0))


# --- units ----------------------------------------------------------------------------------------


def membrane(runner: Runner, local: Local, length: int, expression: Recipe) -> Any:
    """Integrate a membrane potential, in millivolts and milliseconds, with its gradient."""
    x = jnp.tanh(evaluate(runner, expression, local))
    potential = runner.library.HiddenState(x * u.mV)
    leak = runner.library.ShortTermState(10.0 * u.ms)

    def step(current: Any) -> Any:
        potential.value = potential.value + (current * u.volt - potential.value) / leak.value * u.ms
        return potential.value

    def charge(gain: Any) -> Any:
        runner.transform.for_loop(step, gain * jnp.linspace(0.0, 1.0, length))
        return potential.value.sum().to_decimal(u.mV)

    return jnp.tanh(x + runner.transform.grad(charge)(jnp.mean(x)) * 0.01)


def quantity(runner: Runner, local: Local, i: int, block: Recipe) -> Any:
    """Run statements on a State in millivolts, with an argument in volts, inside `jit`."""
    state = runner.library.HiddenState(plain(runner.states[i].value) * u.mV)

    def run(x: Any) -> Any:
        return runner.block(block, [*local, x.to_decimal(u.volt)]) * u.mV

    y = runner.instead(i, state, lambda: runner.transform.jit(run)(local[-1] * u.volt))
    return plain(y) + plain(state.value)


DERIVATIVES: dict[str, Statement] = {
    "grad": Statement(grad, lambda p: (p.state, p.inner)),
    "jacobian": Statement(jacobian, lambda p: (st.booleans(), p.inner)),
    "by_state": Statement(
        by_state,
        lambda p: (st.sampled_from(["jacrev", "jacfwd", "vector_grad"]), p.state, p.inner),
    ),
    "hessian_by_state": Statement(by_state, lambda p: (st.just("hessian"), p.state, p.shallow)),
    "products": Statement(products, lambda p: (p.state, p.inner)),
    "pushed": Statement(pushed, lambda p: (p.inner,)),
    "hessian": Statement(hessian, lambda p: (p.shallow,)),
    "membrane": Statement(membrane, lambda p: (st.integers(1, 4), p.expression)),
    "quantity": Statement(quantity, lambda p: (p.state, p.inner)),
}
