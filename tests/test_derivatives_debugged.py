"""`debug_nan`: a derivative that is not finite says where that began."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivative_modes import always, close

import brainir

T: Any = brainir.transform
HERE = r".*test_derivatives_debugged.py:\d+ "


class Model:
    def __init__(self) -> None:
        self.w = brainir.ParamState(jnp.array([0.0, 1.0]))
        self.count = brainir.ShortTermState(jnp.int32(0))

    def loss(self, x: Any) -> Any:
        self.count.value += 1
        y = self.w.value * x * brainir.random.rand()
        return T.for_loop(lambda v: jnp.sqrt(v * y).sum(), jnp.arange(1.0, 3.0)).sum()


def fails(run: Any, message: str) -> None:
    """Check that something fails with a message, in all ways to run it."""
    for wrap in (lambda f: f, T.jit):
        with pytest.raises(RuntimeError, match=message):
            wrap(run)()
    with jax.disable_jit(), pytest.raises(RuntimeError, match=message):
        run()


@pytest.mark.sampled(3)
@pytest.mark.parametrize("kind", ["grad", "vector_grad", "jacrev", "jacfwd", "hessian", "fwd_grad"])
def test_the_first_operation_that_makes_a_number_that_is_not_finite_is_named(kind: str) -> None:
    m = Model()
    run = getattr(T, kind)(m.loss, grad_states=[m.w], debug_nan=True)
    fails(lambda: run(1.0), f"a derivative of loss: the first was made by .* div at {HERE}")
    assert m.count.value == 0
    m.w.value = jnp.array([1.0, 2.0])
    run(1.0)
    assert m.count.value == 1


def test_what_came_in_is_told_from_what_was_made() -> None:
    fails(lambda: T.grad(lambda x: x * x, debug_nan=True)(jnp.nan), "among those that came in")
    fails(lambda: T.grad(lambda x: x * jnp.log(x), debug_nan=True)(0.0), f"operation log at {HERE}")


def test_it_works_in_loops_and_lanes() -> None:
    one = T.grad(lambda x: jnp.sqrt(x), debug_nan=True)
    for many in (T.vmap(one), lambda xs: T.for_loop(one, xs)):
        always(many, jnp.array([0.5, 0.25]), jnp.array([1.0, 4.0]))
        fails(lambda many=many: many(jnp.array([1.0, 0.0])), f"operation div at {HERE}")


def test_derivatives_that_are_looked_at_can_be_differentiated() -> None:
    always(T.grad(T.grad(lambda x: x**3, debug_nan=True)), jnp.float32(12.0), 2.0)
    always(T.jacfwd(T.jacrev(lambda x: x**3, debug_nan=True)), jnp.float32(12.0), 2.0)


def test_without_it_they_are_returned() -> None:
    m = Model()
    (found,) = T.grad(m.loss, grad_states=[m.w])(1.0)
    assert not np.all(np.isfinite(found))
    close(m.count.value, jnp.int32(1))
