"""What pack_alike and pack_states merge, what they leave, and that results stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import brainir
from brainir.backends.reference import run
from brainir.ir import (
    Builder,
    Carry,
    Graph,
    Literal,
    Loop,
    Operand,
    Slice,
    Stack,
    StateVar,
    Type,
    Value,
    verify,
    walk,
)
from brainir.passes import PASSES, dead_code, pack_alike, pack_states
from brainir.testing import check_pass

F32 = Type("float32")
LENGTH = 3

Recipe = Callable[[Builder, int], Operand]


def literal(number: float) -> Literal:
    return Literal(number, F32)


def assert_same(graph: Graph, after: Graph, arguments: Sequence[np.ndarray]) -> None:
    verify(after, "expanded")
    for found, expected in zip(run(after, *arguments), run(graph, *arguments), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def numbers(graph: Graph) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.normal(size=p.type.shape).astype(np.float32) for p in graph.params]


# --- random lanes ---------------------------------------------------------------------------------


@st.composite
def recipes(draw: st.DrawFn, rows: Sequence[Sequence[Operand]], shared: Sequence[Operand]):
    """Return what one lane computes of rows of values and of what all lanes share."""
    size = len(rows[0])
    made: list[Recipe] = []

    def leaf() -> Recipe:
        kind = draw(st.sampled_from(["own", "own", "next", "mirrored", "shared", "number", "each"]))
        row, one = draw(st.sampled_from(rows)), draw(st.sampled_from(shared))
        if kind in ("own", "next"):
            shift = draw(st.integers(1, size - 1)) if kind == "next" else 0
            return lambda build, lane: row[(lane + shift) % size]
        if kind == "mirrored":
            return lambda build, lane: row[size - 1 - lane]
        if kind == "shared":
            return lambda build, lane: one
        step = 0.25 if kind == "each" else 0.0
        return lambda build, lane: literal(0.5 + step * lane)

    def node() -> Recipe:
        op = draw(st.sampled_from(["add", "mul", "sub", "tanh", "neg", "max"]))
        count = 1 if op in ("tanh", "neg") else 2
        inner = [draw(st.sampled_from(made)) if made else leaf() for _ in range(count)]
        inner[-1] = leaf() if draw(st.booleans()) else inner[-1]
        return lambda build, lane: build(op, *(one(build, lane) for one in inner))

    for _ in range(draw(st.integers(1, 3))):
        made.append(node())
    return made[-1]


@st.composite
def loops_of_lanes(draw: st.DrawFn) -> Graph:
    """A loop over rows of carries, slices and captures, lane by lane, that yields some of it."""
    size = draw(st.sampled_from([4, 5]))
    wide = Type("float32", draw(st.sampled_from([(), (2,), (4,)])))  # 4: as many as lanes
    carries = [
        [Value(wide, f"v{k}_{i}") for i in range(size)] for k in range(draw(st.integers(1, 2)))
    ]
    slices, outside = ([Value(type) for _ in range(size)] for type in (F32, wide))
    extra, x = Value(wide, "extra"), Value(F32, "x")
    around, build = Builder(), Builder()
    initial = [[Value(wide) for _ in row] for row in carries]
    arrays = [Value(F32.stacked(LENGTH)) for _ in slices]
    xs = Value(F32.stacked(LENGTH))
    rows, shared = [*carries, slices, outside], [x, extra, literal(2.0)]
    if draw(st.booleans()):
        total = build("stack", *draw(st.sampled_from(rows)), axis=0)
        shared.append(build("reduce_sum", total, axes=(0,)))
    following = []
    for row in carries:
        recipe = draw(recipes(rows, shared))
        following.append([build("add", v, recipe(build, lane)) for lane, v in enumerate(row)])
    yielded = [following[0][0], *following[-1]] if draw(st.booleans()) else []
    if draw(st.booleans()):  # the sum of all, term by term
        sums = build("add", x, following[0][0])
        for term in following[0][1:]:
            sums = build("add", sums, term)
        yielded.append(sums)
    flat = zip(*(list(chain(*rows)) for rows in (initial, carries, following)), strict=True)
    loop = Loop(
        tuple(Carry(*names) for names in flat),
        (*map(Slice, arrays, slices), Slice(xs, x)),
        tuple(map(Stack, yielded)),
        tuple(build.nodes),
        LENGTH,
        draw(st.booleans()),
    )
    results = [value for values in loop.emit(around) for value in values]
    params = [*chain(*initial), *arrays, xs, *outside, extra]
    return dead_code(around.graph(params, results, "lanes"))


@settings(max_examples=60)
@given(loops_of_lanes())
def test_packing_what_loops_carry_preserves_meaning(graph):
    assert_same(graph, pack_alike(graph), numbers(graph))


def test_most_random_lanes_are_packed():
    """So that the law above is about something."""
    packed: list[bool] = []

    @settings(max_examples=40, database=None, derandomize=True)
    @given(loops_of_lanes())
    def count(graph: Graph) -> None:
        before, after = (
            Loop.of(next(n for n in walk(g) if n.op.name == "for_loop"))
            for g in (graph, pack_alike(graph))
        )
        packed.append(len(after.carries) < len(before.carries))

    count()
    assert sum(packed) > len(packed) / 2


def test_packing_keeps_the_meaning_of_random_graphs():
    step = PASSES["pack-alike"].with_options(least=2)
    check_pass(step, after="dead-code", may_be_idle=True)


# --- states ---------------------------------------------------------------------------------------


@st.composite
def steps_of_lanes(draw: st.DrawFn) -> Graph:
    """A step over rows of states that are written lane by lane, and some that are only read."""
    size = draw(st.sampled_from([4, 5]))
    names = ["v", "u", "w"][: draw(st.integers(2, 3))]
    rows = {name: [Value(F32, name) for _ in range(size)] for name in names}
    x, build = Value(F32, "x"), Builder()
    written = {}
    for name in names[:-1]:
        recipe = draw(recipes([*rows.values()], [x, literal(2.0)]))
        written[name] = [recipe(build, lane) for lane in range(size)]
    result = draw(st.sampled_from([x, written["v"][-1]]))
    state = {name: [StateVar(f"{name}{i}", (F32,)) for i in range(size)] for name in names}
    order = [(name, i) for i in range(size) for name in names]  # as models have them
    ends = [(name, i) for name, i in order if name in written]
    graph = build.graph(
        [x, *(rows[name][i] for name, i in order)],
        [result, *(written[name][i] for name, i in ends)],
        "step",
    )
    return graph.with_(
        states=tuple(state[name][i] for name, i in order),
        writes=tuple(state[name][i] for name, i in ends),
    )


@settings(max_examples=60)
@given(steps_of_lanes())
def test_packing_states_preserves_meaning(graph):
    packed = pack_states(graph)
    x, *values = numbers(graph)
    found = dict(zip(graph.states, values, strict=True))
    given_ = [
        np.stack([found[s] for s in packed.packs[state]]) if state in packed.packs else found[state]
        for state in packed.graph.states
    ]
    result, *after = run(packed.graph, x, *given_)
    left = {}
    for state, value in zip(packed.graph.writes, after, strict=True):
        if state in packed.packs:
            left |= dict(zip(packed.packs[state], value, strict=True))
        else:
            left[state] = value
    expected, *ends = run(graph, x, *values)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)
    for state, end in zip(graph.writes, ends, strict=True):
        np.testing.assert_allclose(left[state], end, rtol=1e-5, atol=1e-6)


def step_over(count: int, lane: Callable[[Builder, Sequence[Value], int], Operand]) -> Graph:
    values, build = [Value(F32, "v") for _ in range(count)], Builder()
    states = tuple(StateVar(f"v{i}", (F32,)) for i in range(count))
    ends = [lane(build, values, i) for i in range(count)]
    return build.graph(values, ends, "step").with_(states=states, writes=states)


def test_states_that_wait_for_each_other_stand_apart():
    last = []

    def lane(build, values, i):  # each takes what the one before has become
        last.append(build("add", values[i], last[-1] if last else values[0]))
        return last[-1]

    assert not pack_states(step_over(6, lane)).packs


def test_a_ring_of_states_is_two_slices_of_one_array():
    graph = step_over(6, lambda build, values, i: build("neg", values[(i + 1) % 6]))
    packed = pack_states(graph)
    assert len(packed.graph.params) == 1
    assert [node.op.name for node in packed.graph.nodes].count("neg") == 1


def test_states_that_are_used_one_by_one_stand_apart():
    graph = step_over(6, lambda build, values, i: build("neg", values[i]))
    shown = graph.with_(results=(*graph.results[:6], *graph.results))
    assert not pack_states(shown).packs
    shown = graph.with_(results=(graph.results[0], *graph.results))
    assert len(pack_states(shown).packs) == 1


def test_large_states_few_states_and_those_named_stand_apart():
    graph = step_over(6, lambda build, values, i: build("neg", values[i]))
    assert not pack_states(graph, largest=2).packs
    assert not pack_states(graph, least=7).packs
    assert not pack_states(graph, least=0).packs
    (members,) = pack_states(graph, apart=graph.states[:1]).packs.values()
    assert members == graph.states[1:]


def test_products_of_lanes_are_left_to_themselves():
    """One after the other they run in a library, side by side in slow loops."""
    wide = Type("float32", (40, 40))
    rows, build = [Value(Type("float32", (40,))) for _ in range(4)], Builder()
    weights = [Value(wide) for _ in range(4)]
    attrs = {"precision": None, "preferred_element_type": None}
    dims = (((0,), (0,)), ((), ()))
    ends = [
        build("dot_general", row, weight, dimension_numbers=dims, **attrs)
        for row, weight in zip(rows, weights, strict=True)
    ]
    states = tuple(StateVar(f"v{i}", (row.type,)) for i, row in enumerate(rows))
    graph = build.graph([*weights, *rows], ends, "step").with_(states=states, writes=states)
    assert not pack_states(graph).packs


# --- derivatives ----------------------------------------------------------------------------------


@pytest.mark.parametrize("coupled", [False, True])
def test_the_gradient_of_many_scalars_is_one_loop_each_way_over_one_array(coupled):
    def gradient(least: int):
        units = [brainir.HiddenState(jnp.float32(0.1 * i)) for i in range(6)]
        weights = [brainir.ParamState(jnp.float32(0.3 * i)) for i in range(6)]

        def step(x):
            mean = jnp.stack([u.value for u in units]).mean() if coupled else 1.0
            for unit, weight in zip(units, weights, strict=True):
                unit.value = jnp.tanh(0.9 * unit.value + weight.value * x + 0.1 * mean)
            return jnp.stack([u.value for u in units]).sum()

        def loss(xs):
            return brainir.transform.for_loop(step, xs).sum()

        @brainir.transform.jit(options=brainir.Options(passes={"pack-alike": {"least": least}}))
        def train(xs):
            for weight, change in zip(
                weights, brainir.transform.grad(loss, grad_states=weights)(xs), strict=True
            ):
                weight.value = weight.value - 0.1 * change

        xs = jnp.linspace(-1, 1, 5)
        graph = train.trace(xs).graph()
        train(xs)
        train(xs)
        loops = [Loop.of(node) for node in walk(graph) if node.op.name == "for_loop"]
        return [len(loop.carries) for loop in loops], [w.value for w in weights]

    counts, values = gradient(4)
    _, expected = gradient(0)
    assert counts == [1, 2]
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


def test_states_of_which_nothing_is_computed_are_packed_too():
    graph = step_over(5, lambda build, values, i: values[(i + 2) % 5])
    packed = pack_states(graph)
    assert len(packed.packs) == 1
    np.testing.assert_allclose(
        run(packed.graph, np.arange(5.0, dtype=np.float32))[0], [2, 3, 4, 0, 1]
    )
    zeros = step_over(5, lambda build, values, i: literal(float(i)))
    np.testing.assert_allclose(run(pack_states(zeros).graph, np.ones(5, np.float32))[0], range(5))


def test_states_that_are_only_stacked_are_handed_over_as_one():
    values, build = [Value(F32, "v") for _ in range(5)], Builder()
    total = build("reduce_sum", build("stack", *values, axis=0), axes=(0,))
    states = tuple(StateVar(f"v{i}", (F32,)) for i in range(5))
    graph = build.graph(values, [total], "total").with_(states=states)
    packed = pack_states(graph)
    assert [node.op.name for node in packed.graph.nodes] == ["reduce_sum"]
    other = graph.with_(results=(total, *values))
    assert not pack_states(other).packs
