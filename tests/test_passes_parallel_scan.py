"""What parallel_scan makes of affine recurrences, what it leaves, and that results stay."""

from __future__ import annotations

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import brainir
from brainir.backends.reference import run
from brainir.ir import Builder, Carry, Graph, Literal, Loop, Slice, Stack, Type, Value, verify, walk
from brainir.passes import PASSES, dead_code, parallel_scan
from brainir.testing import check_pass

ALWAYS = {"step": 1e9, "any_factor": True}


def loops(graph: Graph) -> int:
    return sum(node.op.name in ("for_loop", "while") for node in walk(graph))


# --- random recurrences ---------------------------------------------------------------------------


@st.composite
def cascades(draw: st.DrawFn) -> tuple[Graph, int]:
    """A loop of affine carries, of which each may feed the next; and how many are not affine."""
    type = Type("float32", draw(st.sampled_from([(), (2,)])))
    number = Type("float32")
    length = draw(st.sampled_from([2, 3, 5, 8]))  # 2 is a width, too
    count = draw(st.integers(1, 3))
    held = [Value(type, f"v{i}") for i in range(count)]
    x, gain, build = Value(type, "x"), Value(type, "gain"), Builder()
    each, one = Value(number, "each"), Value(number, "one")  # a number for all elements
    following = []
    spoiled = 0
    for i, own in enumerate(held):
        # What it may be made of: the input, what comes from outside, and carries before it.
        pool = [x, gain, each, one, Literal(0.5, number), *held[:i], *following]

        def other() -> Value | Literal:
            picked = draw(st.sampled_from(pool))  # noqa: B023 - used at once
            return build("tanh", picked) if draw(st.booleans()) else picked

        value = own
        for _ in range(draw(st.integers(1, 3))):
            op = draw(st.sampled_from(["add", "sub", "mul", "rsub", "neg", "select", "twice"]))
            if op == "neg":
                value = build("neg", value)
            elif op == "rsub":
                value = build("sub", other(), value)
            elif op == "select":
                which = build("gt", x, build.zeros(type))
                value = build("select_n", which, value, build("mul", value, other()))
            elif op == "twice":
                value = build("add", value, build("mul", own, other()))
            else:
                value = build(op, value, other())
        if draw(st.integers(0, 5)) == 0:
            value, spoiled = build("mul", value, value), spoiled + 1
        following.append(value)
    arrays, numbers = Value(type.stacked(length), "xs"), Value(number.stacked(length))
    initial = [Value(type) for _ in held]
    yields = [draw(st.sampled_from([*held, *following, x])) for _ in range(2)]
    loop = Loop(
        tuple(Carry(*names) for names in zip(initial, held, following, strict=True)),
        (Slice(arrays, x), Slice(numbers, each)),
        tuple(map(Stack, yields)),
        tuple(build.nodes),
        length,
        draw(st.booleans()),
    )
    around = Builder()
    results = [value for values in loop.emit(around) for value in values]
    return dead_code(
        around.graph([*initial, arrays, numbers, gain, one], results, "cascade")
    ), spoiled


@settings(max_examples=60)
@given(cascades())
def test_affine_recurrences_mean_the_same_as_trees(drawn):
    graph, spoiled = drawn
    after = parallel_scan(graph, **ALWAYS)
    verify(after, "expanded")
    if not spoiled:
        assert not loops(after)
    random = np.random.default_rng(0)
    given_ = [random.uniform(-1, 1, p.type.shape).astype(np.float32) for p in graph.params]
    for found, expected in zip(run(after, *given_), run(graph, *given_), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_random_graphs_mean_the_same():
    check_pass(PASSES["parallel-scan"].with_options(**ALWAYS), after="dead-code", may_be_idle=True)


# --- programs -------------------------------------------------------------------------------------


def outcome(function, *args, on: bool, states=(), **options):
    """Run a function compiled with and without the pass; return also its loops and the States."""
    asked = {"parallel-scan": {**ALWAYS, **options} if on else {"step": 0}}
    before = [state.value for state in states]
    compiled = brainir.transform.jit(function, options=brainir.Options(passes=asked))
    result = (
        compiled(*args),
        [state.value for state in states],
        loops(compiled.trace(*args).graph()),
    )
    for state, value in zip(states, before, strict=True):
        state.value = value
    return result


def assert_same(function, *args, states=(), left=0, **options):
    found, ends, count = outcome(function, *args, on=True, states=states, **options)
    expected, others, _ = outcome(function, *args, on=False, states=states)
    assert count == left
    pairs = zip(*map(jax.tree.leaves, ((found, ends), (expected, others))), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("length", [2, 7, 33])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_synapse_into_a_leaky_readout_with_units_and_its_gradients(length, reverse):
    g, V = brainir.HiddenState(jnp.ones(3) * u.mS), brainir.HiddenState(jnp.zeros(3) * u.mV)
    weight = brainir.ParamState(jnp.ones(3))

    def step(spikes):
        g.value = g.value * 0.9 + spikes * weight.value * u.mS
        V.value = V.value + 0.1 * (g.value / u.mS * u.mV - V.value)
        return V.value

    def simulate(xs):
        return brainir.transform.for_loop(step, xs, reverse=reverse)

    def loss(xs):
        return ((simulate(xs) / u.mV) ** 2).sum()

    xs = jnp.sin(jnp.arange(length * 3.0)).reshape(length, 3)
    assert_same(simulate, xs, states=(g, V))
    gradient = brainir.transform.grad(loss, weight, argnums=0)
    assert_same(gradient, xs, states=(g, V))


def test_linear_state_spaces_with_complex_numbers():
    rates = jnp.exp(jax.lax.complex(jnp.full(4, -0.1), jnp.arange(4.0)))

    def run_(xs, h):
        return jax.lax.scan(lambda h, x: (rates * h + x, (h * h).real), h, xs)

    xs = jnp.ones((9, 4), jnp.complex64)
    assert_same(run_, xs, xs[0])
    assert_same(jax.vmap(run_), jnp.stack([xs, 2 * xs]), jnp.stack([xs[0], xs[1]]))


def test_lanes_and_plain_gradients():
    def total(xs, a):
        return jax.lax.scan(lambda h, x: (a * h + x, h), jnp.zeros(2), xs)[1].sum()

    xs = jnp.ones((5, 2))
    assert_same(jax.grad(total, (0, 1)), xs, 0.5)
    assert_same(jax.vmap(jax.grad(total, (0, 1)), (0, None)), jnp.stack([xs, -xs]), 0.5)


# --- what stays -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "step",
    [
        lambda h, x: (jnp.tanh(h) + x, h),
        lambda h, x: (h * h, h),
        lambda h, x: (x / (1 + h), h),
        lambda h, x: (jnp.where(h > 1, 0.0, h) + x, h),
        lambda h, x: (h[::-1] * 0.5 + x, h),
    ],
    ids=["tanh", "square", "divisor", "reset", "mixed"],
)
def test_what_is_not_affine_stays_a_loop(step):
    def run_(xs):
        return jax.lax.scan(step, jnp.ones(3), xs)

    assert_same(run_, jnp.ones((6, 3)), left=1)


def test_integers_stay_a_loop():
    def run_(xs):
        return jax.lax.scan(lambda h, x: (3 * h + x, h), jnp.int32(1), xs)

    assert_same(run_, jnp.arange(6), left=1)


def test_factors_that_may_overflow_stay_a_loop_unless_they_are_asked_for():
    def run_(xs, a):
        return jax.lax.scan(lambda h, x: (a * h + x, h), jnp.ones(3), xs)

    xs = jnp.ones((6, 3))
    assert_same(run_, xs, 0.5, left=0)
    assert_same(run_, xs, 0.5, left=1, any_factor=False)
    assert_same(lambda xs: run_(xs, 0.5), xs, left=0, any_factor=False)
    assert_same(lambda xs: run_(xs, 1.5), xs, left=1, any_factor=False)


def test_a_product_of_factors_that_underflows_is_no_fault():
    def run_(xs):
        return jax.lax.scan(lambda h, x: (1e-3 * h + x, h), jnp.float32(1e30), xs)

    assert_same(run_, jnp.ones(100), any_factor=False)


def test_a_loop_stays_where_its_steps_cost_less_than_the_levels_of_a_tree():
    def run_(xs):
        return jax.lax.scan(lambda h, x: (0.5 * h + x, h), jnp.zeros(3), xs)

    graph = brainir.optimize(run_).trace(jnp.ones((1000, 3))).graph("simplify-again")
    assert loops(graph) == loops(parallel_scan(graph, step=1e-8)) == 1
    assert not loops(parallel_scan(graph, step=1e-5))


def test_a_loop_stays_if_a_value_of_all_its_steps_would_be_too_large():
    def run_(xs):  # the state is small, but what a step makes is not
        return jax.lax.scan(lambda h, x: (0.5 * h + jnp.outer(x, x).sum(0), h), jnp.zeros(30), xs)

    graph = brainir.optimize(run_).trace(jnp.ones((100, 30))).graph("simplify-again")
    largest = 4 * 100 * 30 * 30
    assert not loops(parallel_scan(graph, step=1.0, memory=largest))
    assert loops(parallel_scan(graph, step=1.0, memory=largest - 1)) == 1


def test_on_a_cpu_loops_stay():
    def run_(xs):
        return jax.lax.scan(lambda h, x: (0.5 * h + x, h), jnp.zeros(3), xs)

    if jax.default_backend() == "cpu":
        assert loops(brainir.transform.jit(run_).trace(jnp.ones((10000, 3))).graph()) == 1
