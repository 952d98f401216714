"""Reverse mode: gradients agree with JAX, with finite differences and with forward mode."""

import jax
import numpy as np
import pytest
from derivative_cases import CASES, gradient_graph, tangent_graph, traced
from hypothesis import given, note, settings
from hypothesis import strategies as st
from jax import numpy as jnp
from test_passes_distribute_loops import arguments_for, networks

from brainir.backends.reference import run
from brainir.ir import (
    Builder,
    Effect,
    Graph,
    NotDifferentiable,
    Type,
    inline,
    parse,
    replay,
    replay_graph,
    verify,
    walk,
)
from brainir.passes import ReverseOfWhile, expand_grad, expand_jvp
from brainir.testing import graphs, inputs_for

F32 = Type("float32")
TWICE = [case for case in CASES if case.twice]


def close(found, expected, tolerance=1e-4):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_gradients_agree_with_jax(case):
    graph = expand_grad(gradient_graph(case.graph, case.wrt, case.losses))
    verify(graph, "expanded")
    function = jax.jit(jax.grad(case.loss, argnums=case.wrt, has_aux=True))
    gradients, values = function(*case.arguments)
    close(run(graph, *case.arguments), [*gradients, *values])


@pytest.mark.parametrize("case", TWICE, ids=lambda case: case.name)
def test_gradients_of_gradients_agree_with_jax(case):
    count = len(case.wrt)
    first = expand_grad(gradient_graph(case.graph, case.wrt, case.losses))
    second = expand_grad(gradient_graph(first, case.wrt, count))

    def slopes(*arguments):
        found, _ = jax.grad(case.loss, argnums=case.wrt, has_aux=True)(*arguments)
        return sum(jnp.sum(g) for g in found)

    expected = jax.jit(jax.grad(slopes, argnums=case.wrt))(*case.arguments)
    close(run(second, *case.arguments)[:count], expected, 1e-3)


# --- laws over random graphs ---------------------------------------------------------------------


@st.composite
def smooth(draw):
    """A graph whose first results are f64, how many they are, which parameters are, and inputs."""
    graph = draw(graphs(states=False, differentiable=True, dtypes=("float64", "int32", "bool")))
    inputs = draw(inputs_for(graph)).arguments
    results = sorted(graph.results, key=lambda r: r.type.dtype != "float64")
    losses = sum(r.type.dtype == "float64" for r in results)
    wrt = [i for i, p in enumerate(graph.params) if p.type.dtype == "float64"]
    return graph.with_(results=tuple(results)), losses, wrt, inputs


def directions(inputs, wrt):
    random = np.random.default_rng(1)
    return [random.normal(size=inputs[i].shape) for i in wrt]


def moved(inputs, wrt, steps, size):
    changed = dict(zip(wrt, steps, strict=True))
    return [x + size * changed[i] if i in changed else x for i, x in enumerate(inputs)]


def total(arrays):
    return sum(float(np.sum(a)) for a in arrays)


@given(smooth())
def test_gradients_agree_with_finite_differences(drawn):
    graph, losses, wrt, inputs = drawn
    note(str(graph))
    gradients = run(expand_grad(gradient_graph(graph, wrt, losses)), *inputs)[: len(wrt)]
    steps = directions(inputs, wrt)
    slope = total(g * d for g, d in zip(gradients, steps, strict=True))
    ends = [total(run(graph, *moved(inputs, wrt, steps, h))[:losses]) for h in (1e-6, -1e-6)]
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-6, rtol=1e-4, atol=1e-4)


@given(smooth())
def test_reverse_mode_is_the_transpose_of_forward_mode(drawn):
    graph, losses, wrt, inputs = drawn
    note(str(graph))
    found = run(expand_grad(gradient_graph(graph, wrt, losses)), *inputs)
    steps = directions(inputs, wrt)
    pushed = run(expand_jvp(tangent_graph(graph, wrt)), *inputs, *steps)
    count = len(graph.results)
    np.testing.assert_allclose(
        total(g * d for g, d in zip(found, steps, strict=False)),
        total(pushed[count : count + losses]),
        rtol=1e-9,
        atol=1e-9,
    )
    close(found[len(wrt) :], pushed[:count], 1e-12)


def unrolled(graph):
    """The graph with the steps of its loops one after the other."""

    def rewrite(builder, node, operands, mapping):
        if node.op.name != "for_loop":
            return None
        count, length = node.attrs["carries"], node.attrs["length"]
        carry, rows = operands[:count], []
        order = range(length)
        for i in reversed(order) if node.attrs["reverse"] else order:
            slices = [row(builder, array, i) for array in operands[count:]]
            results = inline(builder, node.regions[0], (*carry, *slices), mapping)
            carry = results[:count]
            rows.append(results[count:])
        if node.attrs["reverse"]:
            rows.reverse()
        if not rows:
            return (*carry, *(builder.zeros(result.type) for result in node.results[count:]))
        stacks = [builder("stack", *column, axis=0) for column in zip(*rows, strict=True)]
        return (*carry, *stacks)

    return replay_graph(graph, rewrite)


def row(builder, array, i):
    """One slice of an array along its leading axis."""
    start, limit = (i, *(0 for _ in array.type.shape[1:])), (i + 1, *array.type.shape[1:])
    part = builder("slice", array, start=start, limit=limit, strides=(1,) * array.type.rank)
    return builder("squeeze", part, dimensions=(0,))


@given(smooth())
def test_the_gradient_of_a_loop_is_that_of_its_steps_in_a_row(drawn):
    graph, losses, wrt, inputs = drawn
    note(str(graph))
    looped, straight = (
        run(expand_grad(gradient_graph(g, wrt, losses)), *inputs) for g in (graph, unrolled(graph))
    )
    close(looped, straight, 1e-9)


@st.composite
def read_out(draw):
    """A net, of whose results a nonlinear function of the sums along some of their axes is left."""
    graph, build = draw(networks()), Builder()
    replay(graph.nodes, build, {param: param for param in graph.params})
    results = []
    for result in build.nodes[0].results:
        axes = tuple(axis for axis in range(result.type.rank) if draw(st.booleans()))
        results.append(build("sin", build("reduce_sum", result, axes=axes)))
    return build.graph(graph.params, results)


@settings(max_examples=4 * settings().max_examples)
@given(graph=read_out(), seed=st.integers(0, 9))
def test_the_gradient_of_a_recurrent_net_is_that_of_its_steps_in_a_row(graph, seed):
    note(str(graph))
    inputs, wrt = arguments_for(graph, seed), range(len(graph.params))
    count = len(graph.results)
    looped, straight = (
        run(expand_grad(gradient_graph(g, wrt, count)), *inputs) for g in (graph, unrolled(graph))
    )
    close(looped, straight)


# --- what is and is not there ---------------------------------------------------------------------


def test_a_gradient_through_a_while_loop_is_refused_at_the_line_of_the_loop():
    def f(x):
        return jax.lax.while_loop(lambda c: c.sum() < 9, lambda c: c * 2, x).sum()

    with pytest.raises(ReverseOfWhile, match=r"while loop at .*test_grad_pass.py:\d+.*for_loop"):
        expand_grad(gradient_graph(traced(f, [F32.with_shape(3)]), (0,)))


NEXT = """
graph @f(%x: f32[], %y: f32[]) -> (f32[], f32[]) {
  %g, %loss = grad(%a = %x, %b = %y) {wrt=(WRT,), states=(), losses=1} do {
    %n = nextafter %b, 0.0:f32
    %c = mul %a, %n
    yield %c
  }
  return %g, %loss
}
"""


def test_an_op_without_derivative_is_refused_only_where_one_is_wanted():
    graph = expand_grad(parse(NEXT.replace("WRT", "0")))
    close(run(graph, np.float32(2), np.float32(3)), [3, 6])
    with pytest.raises(NotDifferentiable, match="nextafter has no derivative"):
        expand_grad(parse(NEXT.replace("WRT", "1")))


def test_jax_is_asked_only_for_the_derivatives_that_are_wanted():
    def beta(a, x):
        return jax.scipy.special.betainc(a, 3.0, x)

    graph = traced(beta, [F32, F32])
    slope = jax.grad(beta, 1)(2.0, 0.4)
    close(
        run(expand_grad(gradient_graph(graph, (1,))), np.float32(2), np.float32(0.4))[:1], [slope]
    )
    with pytest.raises(ValueError, match="not supported") as refusal:
        expand_grad(gradient_graph(graph, (0,)))
    assert any("test_grad_pass.py" in note for note in refusal.value.__notes__)


def test_integers_have_gradients_of_zero():
    graph = traced(lambda x, k: x * k.astype(x.dtype), [F32, Type("int32")])
    close(run(expand_grad(gradient_graph(graph, (0, 1))), np.float32(2), np.int32(3)), [3, 0, 6])


def test_the_host_is_talked_to_once():
    @jax.checkpoint
    def kept(c):
        jax.debug.callback(print, c)
        return jnp.cos(c)

    def f(x):
        def step(c, y):
            jax.debug.callback(print, c)
            return kept(jnp.sin(c * y)), None

        return jax.lax.scan(step, x.sum(), x)[0]

    graph = expand_grad(gradient_graph(traced(f, [F32.with_shape(3)]), (0,)))
    assert sum(Effect.IO in node.op.effects for node in walk(graph)) == 2


def test_what_does_not_depend_on_the_arguments_has_no_reverse():
    def f(x, y):
        z, _ = jax.lax.scan(lambda c, _: (jnp.sin(c), None), y, None, length=9)
        return x * z

    graph = expand_grad(gradient_graph(traced(f, [F32, F32]), (0,)))
    assert [node.op.name for node in graph.nodes].count("for_loop") == 1


def test_what_stands_still_in_a_loop_is_differentiated_once():
    def f(w, v):
        step = lambda v, _: (jnp.exp(w) @ v, None)  # noqa: E731
        return jax.lax.scan(step, v, None, length=9)[0].sum()

    graph = traced(f, [F32.with_shape(3, 3), F32.with_shape(3)])
    expanded = expand_grad(gradient_graph(graph, (0,)))
    assert sum(node.op.name == "exp" for node in expanded.nodes) == 1
    assert names_in_loops(expanded).count("exp") == 0


def names_in_loops(graph: Graph) -> list[str]:
    loops = [node for node in graph.nodes if node.op.name == "for_loop"]
    return [node.op.name for loop in loops for node in walk(loop.regions[0])]


def test_a_checkpoint_runs_again_in_the_reverse():
    function = jax.checkpoint(lambda x: jnp.sin(jnp.sin(x)))
    graph = expand_grad(gradient_graph(traced(function, [F32]), (0,)))
    first, again = (node for node in graph.nodes if node.op.name == "checkpoint")
    assert again.attrs["prevent_cse"]
    assert [node.op.name for node in first.regions[0].nodes] == ["sin", "sin"]
    assert again.operands[0] is first.operands[0]
    assert [node.op.name for node in again.regions[0].nodes].count("sin") == 1
