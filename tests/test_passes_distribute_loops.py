"""What distribute_loops takes out of loops, what it leaves in them, and that results stay."""

from __future__ import annotations

import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import brainir
from brainir.backends.reference import run
from brainir.ir import (
    Builder,
    Graph,
    Node,
    Operand,
    Type,
    Value,
    captures,
    equal,
    parse,
    verify,
    walk,
)
from brainir.passes import PIPELINE, dead_code, distribute_loops, run_pipeline, simplify

LENGTH, WIDTH = 5, 3
DOT = {"precision": None, "preferred_element_type": None}


def loops(graph: Graph) -> list[Node]:
    return [node for node in walk(graph) if node.op.name == "for_loop"]


def loops_in(region: Graph) -> bool:
    return bool(loops(region))


def products_in_loops(graph: Graph) -> int:
    inside = (node for loop in loops(graph) for node in walk(loop.regions[0]))
    return sum(node.op.name == "dot_general" for node in inside)


def waits_for_itself(body: Graph, carries: int, node: Node) -> bool:
    """Whether a node of a step needs what it gave in a step before."""
    reached = set(node.results)
    while True:
        before = len(reached)
        for other in body.nodes:
            if not reached.isdisjoint((*other.operands, *captures(*other.regions))):
                reached.update(other.results)
        for param, result in zip(body.params[:carries], body.results[:carries], strict=True):
            if result in reached:
                reached.add(param)
        if len(reached) == before:
            return not reached.isdisjoint(node.operands)


def assert_same(graph: Graph, after: Graph, arguments: list[np.ndarray]) -> None:
    for given_, expected in zip(run(after, *arguments), run(graph, *arguments), strict=True):
        np.testing.assert_allclose(given_, expected, rtol=1e-4, atol=1e-5)


# --- any network of layers ------------------------------------------------------------------------


@st.composite
def networks(draw: st.DrawFn, late: bool = False) -> Graph:
    """A loop over layers that are wired at random, some recurrent, with sums of outer products.

    Rows may be added up later than by the product that leaves them; see `sums_of_products`.
    """
    rows = draw(st.sampled_from([(), (2,)]))
    layer, matrix = Type("float32", (*rows, WIDTH)), Type("float32", (WIDTH, WIDTH))
    weights = [Value(matrix, f"w{i}") for i in range(draw(st.integers(1, 2)))]
    arrays = [Value(Type("float32", (LENGTH, *layer.shape)), "xs") for _ in range(2)]
    count, sums = draw(st.integers(0, 3)), draw(st.integers(0, 2))
    held = [Value(layer, f"v{i}") for i in range(count)]
    gains = [Value(Type("float32"), f"g{i}") for i in range(draw(st.integers(0, 1)))]
    totals = [Value(matrix, f"t{i}") for i in range(sums)]
    slices = [Value(layer, "x") for _ in arrays]
    build = Builder()
    pool: list[Operand] = [*held, *slices]

    def one() -> Operand:
        return draw(st.sampled_from(pool))

    for _ in range(draw(st.integers(1, 10))):
        op = draw(st.sampled_from(NETWORK_OPS))
        pool.append(piece(draw, build, op, one, weights, gains))
    added, outers = sums_of_products(draw, build, one, totals, late)
    ends = [draw(st.sampled_from(["tanh", "spike", "add"])) for _ in held]
    nexts = [piece(draw, build, end, one, weights, gains) for end in ends]
    axes = tuple(range(layer.rank))
    seen = [draw(st.sampled_from([gain, build("reduce_max", one(), axes=axes)])) for gain in gains]
    turned = [build("cos", value) for value in seen]
    pool += draw(st.sampled_from([[], added, outers]))
    yields = draw(st.lists(st.sampled_from(pool), max_size=3))
    body = build.graph([*held, *gains, *totals, *slices], [*nexts, *turned, *added, *yields])
    around = Builder()
    starts = [Value(v.type, f"s{i}") for i, v in enumerate((*held, *gains, *totals))]
    attrs = {
        "carries": len(starts),
        "length": LENGTH,
        "reverse": draw(st.booleans()),
        "unroll": 1,
    }
    results = around.emit("for_loop", [*starts, *arrays], attrs, [body])
    return around.graph([*weights, *starts, *arrays], results)


def sums_of_products(
    draw: st.DrawFn, build: Builder, one: Callable[[], Operand], totals: list[Value], late: bool
) -> tuple[list[Operand], list[Operand]]:
    """What totals become by outer products that are added to them, and what is added.

    Where sums may be ``late``, products may leave their rows to one, which may be the only sum.
    """
    added: list[Operand] = []
    outers: list[Operand] = []
    for total in totals:
        parts: list[Operand] = [total]
        for _ in range(draw(st.integers(1, 3))):
            x = one()
            axes = tuple(range(x.type.rank - 1))
            rows = draw(st.sampled_from(["product", "sum", "tanh"])) if late and axes else "product"
            each = ((axes, axes), ((), ())) if rows == "product" else (((), ()), (axes, axes))
            outer = build("dot_general", x, one(), dimension_numbers=each, **DOT)
            if rows == "tanh":
                outer = build("tanh", outer)
            if rows != "product":
                outer = build("reduce_sum", outer, axes=axes)
            outers.append(outer)
            turned = draw(st.booleans())
            parts.append(build("transpose", outer, permutation=(1, 0)) if turned else outer)
        while len(parts) > 1:
            a, b, *rest = draw(st.permutations(parts))
            parts = [build("add", a, b), *rest]
        added += parts
    return added, outers


NETWORK_OPS = ("product", "product", "tanh", "add", "mul", "scaled", "spike")


def piece(
    draw: st.DrawFn,
    build: Builder,
    op: str,
    one: Callable[[], Operand],
    weights: list[Value],
    gains: list[Value],
) -> Operand:
    """One more value of the shape of a layer, made of some that there are."""
    x = one()
    shape, last = x.type.shape, x.type.rank - 1
    match op:
        case "product":
            dims = (((last,), (draw(st.integers(0, 1)),)), ((), ()))
            weight = draw(st.sampled_from(weights))
            return build("dot_general", x, weight, dimension_numbers=dims, **DOT)
        case "tanh":
            return build("tanh", x)
        case "spike":
            fires = build("gt", x, build.full(x.type, 0.17))
            return build("convert_element_type", fires, new_dtype="float32")
        case "scaled":
            by = draw(st.sampled_from([one(), *gains]))
            scale = build("reduce_max", by, axes=(last,)) if by.type.shape else by
            dims = tuple(range(scale.type.rank))
            return build("mul", x, build("broadcast_in_dim", scale, shape=shape, dims=dims))
        case _:
            return build(op, x, one())


def arguments_for(graph: Graph, seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.uniform(-0.7, 0.7, p.type.shape).astype(np.float32) for p in graph.params]


@settings(max_examples=8 * settings().max_examples)
@given(graph=networks(), seed=st.integers(0, 9))
def test_distribution_keeps_the_meaning_and_leaves_no_product_that_need_not_wait(graph, seed):
    after = distribute_loops(graph)
    verify(after, "expanded")
    assert_same(graph, after, arguments_for(graph, seed))
    for loop in loops(after):
        (body,), carries = loop.regions, loop.attrs["carries"]
        for node in body.nodes:
            varies = not set(body.params).isdisjoint(node.operands) or any(
                o in other.results for o in node.operands for other in body.nodes
            )
            if carries and node.op.name == "dot_general" and varies:
                fixed = [o for o in node.operands if o in graph.params]
                assert waits_for_itself(body, carries, node) or not fixed
    again = distribute_loops(after)
    assert equal(again, after), f"{graph}\n{after}\n{again}"


def in_a_loop(graph: Graph, draw: st.DrawFn) -> Graph:
    """The graph once more in each step of a loop, which carries what comes out for what came in."""
    (inner,) = graph.nodes
    count = inner.attrs["carries"]
    carried = [Value(o.type, "c") for o in inner.operands[:count]]
    build, around = Builder(), Builder()
    results = build.emit(inner.op, [*carried, *inner.operands[count:]], inner.attrs, inner.regions)
    if draw(st.booleans()):
        results = [build("tanh", r) for r in results]
    attrs = {**inner.attrs, "length": draw(st.integers(2, 3)), "reverse": draw(st.booleans())}
    body = build.graph(carried, results)
    return around.graph(
        graph.params, around.emit(inner.op, inner.operands[:count], attrs, [body]), "nested"
    )


@settings(max_examples=8 * settings().max_examples)
@given(graph=networks(late=True), seed=st.integers(0, 9), data=st.data())
def test_loops_inside_loops_over_the_same_data_keep_their_meaning(graph, seed, data):
    for _ in range(data.draw(st.integers(1, 2))):
        graph = in_a_loop(graph, data.draw)
    after = distribute_loops(graph)
    verify(after, "expanded")
    assert_same(graph, after, arguments_for(graph, seed))


@settings(max_examples=2 * settings().max_examples)
@given(graph=networks(late=True), seed=st.integers(0, 9), data=st.data())
def test_any_machine_keeps_the_meaning(graph, seed, data):
    options = {
        "flops": data.draw(st.sampled_from([1e3, 1e9])),
        "near": data.draw(st.sampled_from([1e3, 1e9])),
        "far": data.draw(st.sampled_from([1e2, 1e9])),
        "cache": data.draw(st.sampled_from([0, 100, 200, 400, 10**9])),
        "call": data.draw(st.sampled_from([0.0, 1e-6, 1.0])),
        "step": data.draw(st.sampled_from([0.0, 1e-6])),
        "message": data.draw(st.sampled_from([0.0, 1.0])),
        "memory": data.draw(st.sampled_from([0, 100, 10**9])),
    }
    with pytest.MonkeyPatch.context() as patch:  # loops as short as these would have no blocks
        patch.setattr(sys.modules[distribute_loops.__module__], "BLOCK", 1)
        after = distribute_loops(graph, **options)
    verify(after, "expanded")
    assert_same(graph, after, arguments_for(graph, seed))


# --- cases ----------------------------------------------------------------------------------------

PRODUCT = "dimension_numbers=(((0,), (0,)), ((), ())), precision=none, preferred_element_type=none"
OUTER = "dimension_numbers=(((), ()), ((), ())), precision=none, preferred_element_type=none"


def step(body: str, carry: str = "%u = %v", over: str = "%a = %x", results: str = "f32[3]") -> str:
    count = results.count("f32")
    names = ", ".join(f"%r{i}" for i in range(count))
    return f"""
graph (%x: f32[4,3], %v: f32[3], %w: f32[3,3], %z: f32[3,3]) -> ({results}) {{
  {names} = for_loop carry({carry}) over({over}) {{length=4}} : {results} do {{
    {body}
  }}
  return {names}
}}"""


RECURRENT = f"""
    %i = dot_general %u, %w {{{PRODUCT}}}
    %n = add %i, %a
    yield %n"""

LAYERS = f"""
    %i = dot_general %a, %w {{{PRODUCT}}}
    %n = add %u, %i
    %s = tanh %n
    %j = dot_general %s, %w {{{PRODUCT}}}
    %t = tanh %j
    yield %n, %t"""

DELAYED = f"""
    %i = dot_general %u, %w {{{PRODUCT}}}
    yield %a, %i"""

SUMMED = f"""
    %n = tanh %u
    %o = dot_general %n, %a {{{OUTER}}}
    %p = transpose %o {{permutation=(1, 0)}}
    %q = add %t, %p
    yield %n, %q"""

SUMMED_TWICE = f"""
    %n = tanh %u
    %o = dot_general %n, %a {{{OUTER}}}
    %m = dot_general %a, %u {{{OUTER}}}
    %p = add %o, %m
    %q = add %p, %t
    yield %n, %q"""

SUMMED_MIXED = f"""
    %n = tanh %u
    %o = dot_general %n, %a {{{OUTER}}}
    %m = tanh %o
    %p = dot_general %n, %u {{{OUTER}}}
    %s = add %p, %m
    %q = add %s, %t
    yield %n, %q"""

READ_TOTAL = f"""
    %o = dot_general %u, %a {{{OUTER}}}
    %q = add %t, %o
    yield %u, %q, %q"""

READ_TERM = f"""
    %o = dot_general %u, %a {{{OUTER}}}
    %p = transpose %o {{permutation=(1, 0)}}
    %q = add %t, %p
    yield %u, %q, %o"""

CROSSED = f"""
    %n = tanh %u
    %o = dot_general %n, %a {{{OUTER}}}
    %q = add %t, %o
    yield %n, %s, %q"""

READ_OUT = f"""
    %n = tanh %u
    %i = dot_general %n, %w {{{PRODUCT}}}
    %s = tanh %i
    yield %n, %s"""

GROWING = f"""
    %n = tanh %u
    %i = dot_general %n, %w {{{PRODUCT}}}
    %o = dot_general %i, %i {{{OUTER}}}
    %p = reduce_max %o {{axes=(0,)}}
    yield %n, %p"""

ONE_HOT = f"""
    %b = reduce_max %a {{axes=(0,)}}
    %h = broadcast_in_dim %b {{shape=(3,), dims=()}}
    %i = dot_general %h, %w {{{PRODUCT}}}
    %n = add %u, %i
    yield %n, %n"""

TWO_LOOPS = f"""
    %m = add %u, %a
    %n = tanh %m
    %i = dot_general %n, %w {{{PRODUCT}}}
    %o = add %p, %i
    %q = tanh %o
    yield %n, %q, %o"""

TWO_CARRIES = "%u = %v, %p = %v"

BRANCHES = f"""
    %i = dot_general %a, %w {{{PRODUCT}}}
    %g = reduce_max %i {{axes=(0,)}}
    %p = gt %g, 0.0:f32
    %c = cond %p : f32[3] do {{
      yield %i
    }} and {{
      %k = dot_general %i, %w {{{PRODUCT}}}
      yield %k
    }}
    yield %c, %u"""


@pytest.mark.parametrize(
    ("text", "loops_left", "products_left"),
    [
        pytest.param(step(RECURRENT), 1, 1, id="a recurrent product stays"),
        pytest.param(step(LAYERS, results="f32[3], f32[4,3]"), 1, 0, id="layers come apart"),
        pytest.param(
            step(DELAYED, results="f32[3], f32[4,3]"), 1, 0, id="a delay is no recurrence"
        ),
        pytest.param(
            step(SUMMED, carry="%u = %v, %t = %z", results="f32[3], f32[3,3]"),
            1,
            0,
            id="a sum of products is a product",
        ),
        pytest.param(
            step(SUMMED_TWICE, carry="%u = %v, %t = %z", results="f32[3], f32[3,3]"),
            1,
            0,
            id="a sum of sums of products is one of products",
        ),
        pytest.param(
            step(SUMMED_MIXED, carry="%u = %v, %t = %z", results="f32[3], f32[3,3]"),
            1,
            2,
            id="a sum of a product and something else stays",
        ),
        pytest.param(
            step(READ_TOTAL, carry="%u = %v, %t = %z", results="f32[3], f32[3,3], f32[4,3,3]"),
            1,
            1,
            id="a sum that is read stays",
        ),
        pytest.param(
            step(READ_TERM, carry="%u = %v, %t = %z", results="f32[3], f32[3,3], f32[4,3,3]"),
            1,
            1,
            id="a product that is read stays",
        ),
        pytest.param(
            step(CROSSED, carry="%u = %v, %t = %z, %s = %w", results="f32[3], f32[3,3], f32[3,3]"),
            1,
            1,
            id="sums that change places are none",
        ),
        pytest.param(
            step(READ_OUT, results="f32[3], f32[4,3]"), 1, 0, id="what is read out needs no loop"
        ),
        pytest.param(
            step(GROWING, results="f32[3], f32[4,3]"), 2, 1, id="what grows is made step by step"
        ),
        pytest.param(
            step(ONE_HOT, over="%a: f32[1] = %y", results="f32[3], f32[4,3]").replace(
                "(%x: f32[4,3]", "(%y: f32[4,1]"
            ),
            1,
            1,
            id="a product of what was small stays",
        ),
        pytest.param(
            step(BRANCHES, results="f32[3], f32[4,3]"), 1, 1, id="a product in a branch stays there"
        ),
    ],
)
def test_what_leaves_the_loop(text, loops_left, products_left):
    graph = parse(text)
    after = distribute_loops(graph)
    verify(after)
    assert (len(loops(after)), products_in_loops(after)) == (loops_left, products_left)
    assert_same(graph, after, arguments_for(graph, 1))


def test_a_loop_without_carries_is_one_by_intention():
    text = f"""
graph (%x: f32[4,3], %w: f32[3,3]) -> (f32[4,3]) {{
  %y = for_loop over(%a = %x) {{length=4}} do {{
    %i = dot_general %a, %w {{{PRODUCT}}}
    yield %i
  }}
  return %y
}}"""
    graph = parse(text)
    assert equal(distribute_loops(graph), graph)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"call": 0.0, "far": 1e3, "cache": 0}, id="memory is slow"),
        pytest.param({"step": 1.0}, id="steps of loops are slow"),
        pytest.param({"memory": 3 * 4 - 1}, id="it must not hand on what one step does"),
    ],
)
def test_a_loop_stays_whole_where_it_does_not_pay(options):
    graph = parse(step(TWO_LOOPS, TWO_CARRIES, results="f32[3], f32[3], f32[4,3]"))
    assert len(loops(distribute_loops(graph))) == 2
    assert equal(distribute_loops(graph, **options), graph)


@pytest.mark.parametrize(
    ("length", "cache", "sizes"), [(20, 400, {4}), (17, 400, {4, 1}), (20, 100, set())]
)
@pytest.mark.parametrize("reverse", [False, True])
def test_loops_that_would_fill_the_caches_run_in_blocks(length, cache, sizes, reverse):
    text = step(TWO_LOOPS, TWO_CARRIES, results="f32[3], f32[3], f32[4,3]").replace(
        "[4,3]", f"[{length},3]"
    )
    graph = parse(text.replace("length=4", f"length={length}, reverse={str(reverse).lower()}"))
    after = distribute_loops(graph, cache=cache, call=1.0, far=1.0)
    verify(after)
    around = [node for node in loops(after) if any(map(loops_in, node.regions))]
    inner = {node.attrs["length"] for node in loops(after) if node not in around}
    assert inner == (sizes or {length})
    assert bool(around) == bool(sizes)
    assert_same(graph, after, arguments_for(graph, 3))


def test_what_a_machine_gains_by_a_product_decides():
    graph = parse(step(LAYERS, results="f32[3], f32[4,3]"))
    assert products_in_loops(distribute_loops(graph)) == 0
    free = {"call": 0.0, "near": 1e12, "flops": 1e15}
    assert products_in_loops(distribute_loops(graph, **free)) == 2


def test_a_step_that_touches_a_state_is_not_taken_apart():
    text = step(
        LAYERS.replace("yield", "state.write @seen, %s\n    yield"), results="f32[3], f32[4,3]"
    )
    graph = parse(text.replace(") {\n", ") states(@seen: f32[3] short) {\n", 1))
    assert equal(distribute_loops(graph), graph)


def test_inner_loops_are_distributed_inside_the_outer_ones():
    inner = step(LAYERS, results="f32[3], f32[4,3]").splitlines()
    body = "\n".join(inner[2:-2])
    text = f"""
graph (%x: f32[4,3], %v: f32[3], %w: f32[3,3]) -> (f32[3]) {{
  %r = for_loop carry(%v1 = %v) {{length=2}} : f32[3] do {{
    {body.replace("%u = %v", "%u = %v1")}
    yield %r0
  }}
  return %r
}}"""
    graph = parse(text)
    after = distribute_loops(graph)
    verify(after)
    (outer, first, *_) = loops(after)
    assert outer.regions[0].nodes
    assert "dot_general" not in [node.op.name for node in first.regions[0].nodes]
    assert_same(graph, after, arguments_for(graph, 2))


@pytest.mark.parametrize(("start", "additions"), [("0.0", 0), ("-0.0", 1), ("2.0", 1)])
def test_a_sum_over_the_steps_starts_without_zeros(start, additions):
    graph = parse(f"""
graph (%x: f32[4,3]) -> (f32[3,3]) {{
  %v = broadcast_in_dim {start}:f32 {{shape=(3, 3), dims=()}}
  %t = for_loop carry(%u = %v) over(%a = %x) {{length=4}} do {{
    %o = dot_general %a, %a {{{OUTER}}}
    %s = add %u, %o
    yield %s
  }}
  return %t
}}""")
    after = distribute_loops(graph)
    assert [node.op.name for node in after.nodes].count("add") == additions
    assert not loops(after)
    assert_same(graph, after, arguments_for(graph, 3))


@pytest.mark.parametrize(("message", "left"), [(0.0, 1), (1.0, 0)])
def test_a_sum_over_lanes_leaves_where_it_takes_a_message(message, left):
    graph = parse("""
graph (%x: f32[4,5,3], %v: f32[5,3], %b: f32[3]) -> (f32[5,3], f32[3]) {
  %r, %t = for_loop carry(%u = %v, %c = %b) over(%a = %x) {length=4} do {
    %y = tanh %u
    %n = mul %y, %a
    %one = reshape %n {shape=(5, 1, 3)}
    %s = reduce_sum %one {axes=(0,)}
    %f = reduce_sum %s {axes=(0,)}
    %d = add %c, %f
    yield %n, %d
  }
  return %r, %t
}""")
    after = distribute_loops(graph, message=message)
    inside = [node.op.name for loop in loops(after) for node in loop.regions[0].nodes]
    assert ("reduce_sum" in inside) == bool(left)
    assert_same(graph, after, arguments_for(graph, 3))


@given(graph=networks())
def test_nothing_is_left_to_simplify_at_the_end(graph):
    end = run_pipeline(graph, PIPELINE, until="dead-code")
    assert equal(dead_code(simplify(end)), end)


@pytest.mark.parametrize(
    ("strides", "padding", "dilations", "layout"),
    [
        ((1, 1), ((1, 1), (1, 1)), ((1, 1), (1, 1)), ((0, 1, 2, 3), (0, 1, 2, 3), (0, 1, 2, 3))),
        ((2, 1), ((0, 2), (-1, 1)), ((1, 2), (2, 1)), ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))),
        ((1, 2), ((3, 0), (0, 0)), ((2, 1), (1, 1)), ((1, 0, 2, 3), (1, 0, 3, 2), (2, 3, 0, 1))),
    ],
)
def test_convolutions_leave_loops_and_so_do_their_sums(strides, padding, dilations, layout):
    steps, random = 6, np.random.default_rng(0)
    (batch, features, *space), (outs, ins, *window), _ = layout
    x, w = np.zeros(4, int), np.zeros(4, int)
    x[[batch, features, *space]], w[[outs, ins, *window]] = (2, 3, 7, 6), (4, 3, 3, 2)
    attrs = {
        **{"strides": strides, "padding": padding, "layout": layout},
        **{"input_dilation": dilations[0], "kernel_dilation": dilations[1]},
        **{"feature_groups": 1, "batch_groups": 1, **DOT},
    }
    build, kernel = Builder(), Value(Type("float32", tuple(map(int, w))), "w")
    one, other = (Value(Type("float32", tuple(map(int, s)))) for s in (x, w))
    result = build("conv_general_dilated", one, kernel, **attrs)
    total, last = Value(result.type, "total"), Value(result.type, "last")
    moved = build("tanh", last)
    term = build("conv_general_dilated", one, other, **attrs)
    body = build.graph(
        [total, last, one, other], [build("add", total, term), build("add", moved, result)]
    )
    around = Builder()
    starts = [Value(result.type, name) for name in ("a", "b")]
    arrays = [Value(v.type.stacked(steps)) for v in (one, other)]
    attrs = {"carries": 2, "length": steps, "reverse": True}
    results = around.emit("for_loop", [*starts, *arrays], attrs, [body])
    graph = around.graph([kernel, *starts, *arrays], results)
    after = distribute_loops(graph)
    verify(after)
    (loop,) = loops(after)
    assert "conv_general_dilated" not in [node.op.name for node in walk(loop.regions[0])]
    given_ = [random.uniform(-1, 1, p.type.shape).astype(np.float32) for p in graph.params]
    assert_same(graph, after, given_)
    # A block of steps would be in a loop again, where convolutions are slow.
    assert len(loops(distribute_loops(graph, cache=2000))) == 1


def test_convolutions_in_groups_are_not_summed_as_one():
    def loss(kernel: jax.Array, xs: jax.Array) -> jax.Array:
        def step(total, x):
            y = jax.lax.conv_general_dilated(x, kernel, (1,), "SAME", feature_group_count=2)
            return jnp.sin(total) + y.sum(), y

        return jax.lax.scan(step, jnp.float32(0), xs)[1].sum()

    xs = jax.random.normal(jax.random.key(0), (5, 2, 4, 8))
    kernel = jax.random.normal(jax.random.key(1), (6, 2, 3))
    found = brainir.optimize(jax.grad(loss))(kernel, xs)
    np.testing.assert_allclose(found, jax.grad(loss)(kernel, xs), rtol=1e-4)
