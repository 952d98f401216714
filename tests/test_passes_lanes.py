"""Lanes: batching equals stacking, for whole programs and for what needs care."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainir.backends.reference import evaluate, run
from brainir.ir import Builder, Graph, GraphError, Type, Value, parse, verify
from brainir.passes import PIPELINE, expand_map, expand_vmap, lane_dependent, run_pipeline
from brainir.testing import ALL, COMMON, assert_close, assert_same_outcome, graphs, inputs_for


def floats(*numbers):
    return np.array(numbers, np.float32)


def with_lanes(type: Type, axis: int | None, size: int) -> Type:
    shape = type.shape if axis is None else (*type.shape[:axis], size, *type.shape[axis:])
    return Type(type.dtype, shape)


def mapped_over(data: st.DataObject, body: Graph, size: int) -> Graph:
    """A vmap of a whole graph, over some of its parameters and any of their axes."""
    in_axes = [
        data.draw(st.sampled_from([0, None, *range(1, p.type.rank + 1)])) for p in body.params
    ]
    types = [with_lanes(p.type, axis, size) for p, axis in zip(body.params, in_axes, strict=True)]
    params, builder = [Value(t) for t in types], Builder()
    attrs = {
        "size": size,
        "in_axes": tuple(in_axes),
        "out_axes": tuple(data.draw(st.integers(0, r.type.rank)) for r in body.results),
        "in_states": (),
        "out_states": (),
        "axis_name": None,
    }
    region = body.with_(consts=(), param_units=(), result_units=())
    results = builder.emit("vmap", params, attrs, [region])
    return builder.graph(params, results, "mapped").with_(consts=body.consts)


@pytest.mark.parametrize("dtypes", [COMMON, ALL])
@given(data=st.data())
def test_batching_equals_stacking(dtypes, data):
    body = data.draw(graphs(states=False, transformations=True, dtypes=dtypes))
    graph = expand_map(mapped_over(data, body, data.draw(st.sampled_from([2, 3, 1, 0]))))
    inputs = data.draw(inputs_for(graph))
    expanded = expand_vmap(graph)
    verify(expanded, "expanded")
    assert_same_outcome(evaluate(expanded, inputs.arguments), evaluate(graph, inputs.arguments))


@given(data=st.data())
def test_what_does_not_depend_on_lanes_is_the_same_whatever_they_hold(data):
    body = data.draw(graphs(states=False, nodes=10))
    lanes = [p for p in body.params if data.draw(st.booleans())]
    dependent = lane_dependent(body, lanes)
    one, other = (data.draw(inputs_for(body)).arguments for _ in range(2))
    mixed = [b if p in lanes else a for p, a, b in zip(body.params, one, other, strict=True)]
    for result, a, b in zip(body.results, run(body, *one), run(body, *mixed), strict=True):
        if result not in dependent:
            assert_close(a, b)


# --- by hand --------------------------------------------------------------------------------------

VMAP = "size=3, in_axes=({}), out_axes=({}), in_states=(), out_states=(), axis_name=none"


def expanded(body: str, axes: str, params: str, results: str, outs: str) -> Graph:
    """A graph whose parameters are mapped by the text of a vmap, and what it becomes."""
    graph = parse(
        f"graph @f({params}) -> ({results}) {{\n"
        f"%r = vmap {body.replace('ATTRS', VMAP.format(axes, outs), 1)}\nreturn %r\n}}"
    )
    after = run_pipeline(graph, PIPELINE, until="expand-vmap")
    verify(after, "expanded")
    return after


def test_every_lane_leaves_a_while_when_its_own_condition_says_so():
    graph = expanded(
        """(%a: f32[] = %x) {ATTRS} : f32[3] do {
          %n, %y = while carry(%k = 0.0:f32, %v = 1.0:f32) : f32[], f32[] do {
            %c = lt %k, %a : bool[]
            yield %c
          } and {
            %k1 = add %k, 1.0:f32 : f32[]
            %d = sub %k, %a : f32[]
            %i = div 1.0:f32, %d : f32[]
            %v1 = add %v, %i : f32[]
            yield %k1, %v1
          }
          yield %y
        }""",
        "0,",
        "%x: f32[3]",
        "f32[3]",
        "0,",
    )
    # Run one step too far, a lane would divide by zero.
    expected = [1 + sum(1 / (k - n) for k in range(n)) for n in (1, 4, 0)]
    np.testing.assert_allclose(run(graph, floats(1, 4, 0))[0], expected, rtol=1e-6)


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=3, max_size=3))
def test_a_lane_that_has_left_a_while_stays_outside(table):
    graph = expanded(
        """(%a: bool[5] = %x) {ATTRS} : i32[3] do {
          %n = while carry(%k = 0:i32) : i32[] do {
            %s = dynamic_slice %a, %k {slice_sizes=(1,)} : bool[1]
            %c = squeeze %s {dimensions=(0,)} : bool[]
            yield %c
          } and {
            %k1 = add %k, 1:i32 : i32[]
            yield %k1
          }
          yield %n
        }""",
        "0,",
        "%x: bool[3,5]",
        "i32[3]",
        "0,",
    )
    goes_on = np.array([[*row, False] for row in table])
    np.testing.assert_array_equal(run(graph, goes_on)[0], goes_on.argmin(1))


def test_a_while_that_all_lanes_leave_together_keeps_its_condition():
    graph = expanded(
        """(%a: f32[] = %x) {ATTRS} : f32[3] do {
          %n, %y = while carry(%k = 0:i32, %v = %a) : i32[], f32[] do {
            %c = lt %k, 3:i32 : bool[]
            yield %c
          } and {
            %k1 = add %k, 1:i32 : i32[]
            %v1 = add %v, %v : f32[]
            yield %k1, %v1
          }
          yield %y
        }""",
        "0,",
        "%x: f32[3]",
        "f32[3]",
        "0,",
    )
    (loop,) = (node for node in graph.nodes if node.op.name == "while")
    assert [carry.type for carry in loop.operands] == [Type("int32"), Type("float32", (3,))]
    np.testing.assert_array_equal(run(graph, floats(1, 2, 3))[0], floats(8, 16, 24))


@pytest.mark.parametrize(
    ("index", "chosen"), [("i32", [0, 1, 2]), ("i32", [-5, 9, 1]), ("bool", [True, False, True])]
)
def test_every_lane_takes_its_own_branch(index, chosen):
    branches = [f"yield {value}.0:f32" for value in (10, 20, 30)][: 2 if index == "bool" else 3]
    regions = " and ".join(f"{{\n{branch}\n}}" for branch in branches)
    graph = expanded(
        f"(%i: {index}[] = %x) {{ATTRS}} : f32[3] do {{\n"
        f"%y = cond %i : f32[] do {regions}\nyield %y\n}}",
        "0,",
        f"%x: {index}[3]",
        "f32[3]",
        "0,",
    )
    assert all(node.op.name != "cond" for node in graph.nodes)
    dtype = {"i32": np.int32, "bool": np.bool_}[index]
    picked = [floats(10, 20, 30)[np.clip(int(i), 0, 2)] for i in chosen]
    np.testing.assert_array_equal(run(graph, np.array(chosen, dtype))[0], picked)


def test_a_branch_that_all_lanes_take_together_stays_a_branch():
    graph = expanded(
        """(%a: f32[] = %x, %p = %c) {ATTRS} : f32[3] do {
          %y = cond %p : f32[] do {
            yield 0.0:f32
          } and {
            yield %a
          }
          yield %y
        }""",
        "0, none",
        "%x: f32[3], %c: bool[]",
        "f32[3]",
        "0,",
    )
    assert [node.op.name for node in graph.nodes] == ["cond"]
    for choice, expected in ((True, floats(1, 2, 3)), (False, floats(0, 0, 0))):
        np.testing.assert_array_equal(run(graph, floats(1, 2, 3), np.array(choice))[0], expected)


def test_what_all_lanes_share_is_computed_once():
    graph = expanded(
        """(%a: f32[] = %x, %b = %w) {ATTRS} : f32[3] do {
          %s = sin %b : f32[]
          %p = mul %a, %s : f32[]
          yield %p
        }""",
        "0, none",
        "%x: f32[3], %w: f32[]",
        "f32[3]",
        "0,",
    )
    (shared,) = (node for node in graph.nodes if node.op.name == "sin")
    assert shared.result.type == Type("float32")


def test_states_must_be_hoisted_before_lanes_are_expanded():
    graph = parse(f"""
    graph @f(%x: f32[3]) -> ()
      states(@V: f32[] hidden) {{
      vmap (%a: f32[] = %x) {{{VMAP.format("0,", "")}}} do {{
        %v = state.read @V : f32[]
        yield
      }}
      return
    }}""")
    with pytest.raises(GraphError, match="state @V is touched inside a vmap: hoist it first"):
        expand_vmap(graph)


CUSTOM = {
    "jvp": """(%a1 = %a, %b1 = %b) {mode="jvp"} : f32[2] do {
          %m = mul %a1, %b1 : f32[2]
          yield %m
        } and (%p: f32[2], %q: f32[2], %dp: f32[2], %dq: f32[2]) {
          %m = mul %p, %q : f32[2]
          %u = mul %dp, %q : f32[2]
          %v = mul %dq, 5.0:f32 : f32[2]
          %t = add %u, %v : f32[2]
          yield %m, %t
        }""",
    "vjp": """(%a1 = %a, %b1 = %b) {mode="vjp"} : f32[2] do {
          %m = mul %a1, %b1 : f32[2]
          yield %m
        } and (%p: f32[2], %q: f32[2]) {
          %m = mul %p, %q : f32[2]
          yield %m, %q
        } and (%r: f32[2], %ct: f32[2]) {
          %u = mul %ct, %r : f32[2]
          %v = mul %ct, 5.0:f32 : f32[2]
          yield %u, %v
        }""",
}


@pytest.mark.parametrize("mode", CUSTOM)
def test_a_custom_rule_of_a_lane_serves_them_all(mode):
    """The rules are wrong on purpose: the slope along the second operand is 5 in every lane."""
    lanes = VMAP.format("0, none", "0,")
    graph = parse(f"""
    graph @f(%x: f32[3,2], %w: f32[2]) -> (f32[3,2], f32[2], f32[]) {{
      %dx, %dw, %loss = grad (%c = %x, %d = %w) {{
        wrt=(0, 1), states=(), losses=1
      }} : f32[3,2], f32[2], f32[] do {{
        %y = vmap (%a: f32[2] = %c, %b = %d) {{{lanes}}} : f32[3,2] do {{
        %z = custom_derivative {CUSTOM[mode]}
        yield %z
        }}
        %s = reduce_sum %y {{axes=(0, 1)}} : f32[]
        yield %s
      }}
      return %dx, %dw, %loss
    }}""")
    graph = run_pipeline(graph, PIPELINE, until="forget-derivatives")
    x, w = np.arange(6, dtype=np.float32).reshape(3, 2), floats(2, 3)
    dx, dw, loss = run(graph, x, w)
    np.testing.assert_array_equal(dx, np.broadcast_to(w, (3, 2)))
    np.testing.assert_array_equal(dw, floats(15, 15))
    assert loss == (x * w).sum()
