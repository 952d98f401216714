"""Forward mode: tangents agree with JAX. That it agrees with reverse mode is in test_grad_pass."""

import jax
import numpy as np
import pytest
from derivative_cases import CASES, Case, tangent_graph, traced
from jax import numpy as jnp

import brainir
from brainir.backends.reference import run
from brainir.ir import NotDifferentiable, Type, verify
from brainir.passes import ForwardOfCustomVjp, expand_jvp

F32 = Type("float32")


def a_while_loop_with_a_tangent(x):
    def more(c):
        return c[0].sum() < 20

    def double(c):
        a, b, i = c
        return a * jnp.abs(x) * 2, b, i + 1

    a, b, i = jax.lax.while_loop(more, double, (jnp.ones(3), x, 0))
    return (jnp.sin(a) * b).sum(), i


def what_a_branch_captures(x):
    y = jnp.sin(x)
    return jax.lax.cond(x[0] > 0, lambda: y, lambda: jnp.zeros_like(y)).sum(), y


def a_loop_over_two_arrays(x):
    def step(total, slices):
        a, b = slices
        return total * a + b, total - b

    total, ys = jax.lax.scan(step, x.sum(), (jnp.sin(x), x * x))
    return total, ys.sum()


ARGUMENT = jnp.asarray([0.9, -1.3, 1.7], jnp.float32)
OWN = [
    Case(f, [ARGUMENT], (0,))
    for f in (a_while_loop_with_a_tangent, what_a_branch_captures, a_loop_over_two_arrays)
]
FORWARD = [*OWN, *(case for case in CASES if not case.reverse_only)]


@pytest.mark.parametrize("case", FORWARD, ids=lambda case: case.name)
def test_tangents_agree_with_jax(case):
    random = np.random.default_rng(1)
    tangents = [
        jnp.asarray(random.normal(size=case.arguments[i].shape), jnp.float32) for i in case.wrt
    ]

    def partly(*moving):
        arguments = list(case.arguments)
        for i, value in zip(case.wrt, moving, strict=True):
            arguments[i] = value
        return case(*arguments)

    graph = expand_jvp(tangent_graph(case.graph, case.wrt))
    verify(graph, "expanded")
    found = run(graph, *case.arguments, *tangents)
    moving = [case.arguments[i] for i in case.wrt]
    values, pushed = jax.jit(lambda *args: jax.jvp(partly, args[0], args[1]))(moving, tangents)
    count = len(values)
    assert len(found) == 2 * count
    for a, b in zip(found, [*values, *pushed], strict=True):
        if b.dtype == jax.dtypes.float0:
            assert not np.any(a)  # of an integer: zeros of its own type
        else:
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_loops_only_carry_the_tangents_that_there_are():
    def f(x, y):
        def step(c, _):
            a, b, i = c
            return (a * jnp.sin(b), b * 2, i + 1), b

        return jax.lax.scan(step, (x, y, 0), None, length=4)

    graph = expand_jvp(tangent_graph(traced(lambda *xs: jax.tree.leaves(f(*xs)), [F32, F32]), (0,)))
    (loop,) = (node for node in graph.nodes if node.op.name == "for_loop")
    assert loop.attrs["carries"] == 4
    assert len(loop.results) == 5


def test_a_function_with_a_rule_for_reverse_mode_only_is_refused():
    @jax.custom_vjp
    def f(x):
        return jnp.sin(x)

    f.defvjp(lambda x: (jnp.sin(x), x), lambda x, ct: (ct * jnp.cos(x),))
    with pytest.raises(ForwardOfCustomVjp, match=r"custom_vjp function at .*test_jvp_pass.py:\d+"):
        expand_jvp(tangent_graph(traced(lambda x: f(x), [F32]), (0,)))


@pytest.mark.parametrize("around", [lambda f: f, brainir.transform.jit])
def test_who_pushes_a_tangent_into_such_a_function_gets_the_error_that_jax_gives(around):
    @jax.custom_vjp
    def f(x):
        return jnp.sin(x)

    f.defvjp(lambda x: (jnp.sin(x), x), lambda x, ct: (ct * jnp.cos(x),))
    with pytest.raises(TypeError, match="custom_vjp"):
        jax.jvp(f, (1.0,), (1.0,))
    push = around(lambda x: brainir.transform.jvp(f, (x,), (x,)))
    with pytest.raises(TypeError, match="custom_vjp"):
        push(jnp.float32(1.0))
    with jax.disable_jit(), pytest.raises(TypeError, match="custom_vjp"):
        push(jnp.float32(1.0))


def test_an_op_without_derivative_is_refused_only_where_one_is_wanted():
    graph = traced(lambda x, y: x * jnp.nextafter(y, jnp.float32(0)), [F32, F32])
    expand_jvp(tangent_graph(graph, (0,)))
    with pytest.raises(NotDifferentiable, match="nextafter"):
        expand_jvp(tangent_graph(graph, (1,)))
