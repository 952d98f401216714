"""What graphs cost, and how they are drawn."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

import brainir
from brainir import ir, tools, transform
from brainir.frontend.tools.cli import main
from brainir.testing import ALL, graphs

LOOPS = """
graph @loops(%x: f32[5,3], %p: bool[]) -> (f32[3], f32[3], f32[2,3])
  states(@V: f32[3] hidden, @W: (f32[2,2], i32[]) param)
  consts(%table: f32[3]) {
  %end = for_loop carry(%a = %table) over(%s = %x) {length=5} do @step {
    %inner = for_loop carry(%b = %a) {length=4} do {
      %t = tanh %b
      yield %t
    }
    %sum = add %inner, %s
    yield %sum
  }
  %out = cond %p do {
    %one = sin %end
    yield %one
  } and {
    %two = cos %end
    %three = exp %two
    yield %three
  }
  %lanes = broadcast_in_dim %out {shape=(2, 3), dims=(1,)}
  %mapped = vmap (%lane: f32[3] = %lanes) {size=2, in_axes=(0,), out_axes=(0,)} do {
    %n = neg %lane
    yield %n
  }
  return %end, %out, %mapped
}
"""


def counts(statistics):
    return {op.op: (op.nodes, op.flops, op.bytes) for op in statistics.ops}


def test_loops_count_as_often_as_they_run_and_branches_once():
    found = tools.statistics(ir.parse(LOOPS))
    by_op = counts(found)
    assert by_op["tanh"] == (1, 5 * 4 * 3, 5 * 4 * 24)
    assert by_op["add"] == (1, 5 * 3, 5 * 36)
    assert by_op["neg"] == (1, 2 * 3, 2 * 24)
    assert (by_op["sin"][1], by_op["cos"][1], by_op["exp"][1]) == (0, 3, 3)
    assert found.nodes == 11
    assert found.flops == 60 + 15 + 6 + 6
    assert found.bounded


def test_states_and_consts_are_counted_with_all_their_leaves():
    found = tools.statistics(ir.parse(LOOPS))
    assert (found.states, found.state_bytes) == (2, 12 + 16 + 4)
    assert (found.consts, found.const_bytes) == (1, 12)


def test_a_while_makes_the_count_a_lower_bound():
    graph = ir.parse("""graph (%x: f32[]) -> (f32[]) {
      %y = while carry(%a = %x) do {
        %more = lt %a, 1.0:f32
        yield %more
      } and {
        %b = add %a, 0.5:f32
        yield %b
      }
      return %y
    }""")
    assert not tools.statistics(graph).bounded
    assert tools.statistics(graph).flops == 2


def test_what_a_gradient_keeps_is_told_by_loop():
    def loss(xs):
        def step(carry, x):
            return jnp.tanh(carry * x), None

        return transform.scan(step, jnp.zeros(3), xs)[0].sum()

    xs = jnp.ones((7, 3))
    forward = tools.statistics(transform.jit(loss).trace(xs).graph())
    assert forward.residual_bytes == 0
    both = tools.statistics(transform.jit(transform.grad(loss)).trace(xs).graph())
    assert [loop.length for loop in both.loops] == [7, 7]
    first, second = both.loops
    assert first.name == "step"
    assert first.place.startswith("test_stats.py:")
    assert first.residuals == first.stacked == both.residual_bytes == 7 * 3 * 4
    assert second.residuals == 0


def test_residuals_are_recognised_when_they_are_laid_out_anew():
    graph = ir.parse("""graph (%x: f32[4]) -> (f32[], f32[]) {
      %e, %kept = for_loop carry(%a = 0.0:f32) over(%s = %x) {length=4} do {
        %t = add %a, %s
        yield %t, %a
      }
      %column = reshape %kept {shape=(4, 1)}
      %f = for_loop carry(%b = 0.0:f32) over(%k = %column) {length=4, reverse=true} do {
        %r = reduce_sum %k {axes=(0,)}
        %u = add %b, %r
        yield %u
      }
      return %e, %f
    }""")
    assert [loop.residuals for loop in tools.statistics(graph).loops] == [16, 0]


@given(graph=graphs(dtypes=ALL, transformations=True))
def test_every_graph_has_statistics_that_add_up(graph):
    found = tools.statistics(graph)
    assert found.nodes == sum(op.nodes for op in found.ops) == len(list(ir.walk(graph)))
    assert found.flops == sum(op.flops for op in found.ops) >= 0
    assert json.loads(json.dumps(found.data())) is not None


def test_xla_is_asked_about_graphs_of_any_stage():
    state = brainir.State(jnp.ones((8, 8)), name="W")

    def step(x):
        state.value = state.value @ x
        return state.value.sum()

    traced = transform.jit(step).trace(jnp.ones((8, 8)))
    asked = [tools.xla_statistics(traced.graph(stage)) for stage in ("capture", None)]
    assert asked[0] == asked[1]
    assert asked[0].arguments == 2 * 8 * 8 * 4
    assert asked[0].flops is not None
    assert asked[0].flops >= 2 * 8**3


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def loops(tmp_path):
    path = tmp_path / "loops.bir"
    path.write_text(LOOPS)
    return str(path)


def test_stats_of_a_file_are_printed_as_tables(loops, capsys):
    assert main(["stats", loops, "--no-xla"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0][:5] == ["@loops:", "11", "nodes,", "87", "flops,"]
    assert ["tanh", "1", "60", "480"] in lines
    assert ["step", "5", "3", "12", "0", "0"] in lines


def test_stats_in_json_hold_what_xla_says(loops, capsys):
    assert main(["stats", loops, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["flops"] == 87
    assert found["xla"]["results"] >= (3 + 3 + 6) * 4
    assert main(["stats", loops, "--format", "json", "--no-xla"]) == 0
    assert json.loads(capsys.readouterr().out)["xla"] is None


def test_stats_of_a_script_are_those_of_what_it_compiles(tmp_path, capsys):
    path = tmp_path / "model.py"
    path.write_text("""
import jax.numpy as jnp
import brainir

def body(x):
    return jnp.sin(x) * 2.0

brainir.transform.for_loop(body, jnp.ones((5, 3)))
""")
    assert main(["stats", str(path), "--no-xla"]) == 0
    out = capsys.readouterr().out
    assert "@body: 4 nodes, 30 flops" in out  # one is the kernel, which the loop is in
    assert ["body", "model.py:8", "<module>", *"5 2 0 60 0".split()] in [
        line.split() for line in out.splitlines()
    ]
    assert main(["stats", str(path), "--no-xla", "--stage", "capture"]) == 0
    assert "@body: " in capsys.readouterr().out


def test_stats_take_a_file_to_a_stage(loops, capsys):
    assert main(["stats", loops, "--no-xla", "--stage", "expand-vmap"]) == 0
    assert "vmap" not in capsys.readouterr().out
    assert main(["stats", loops, "more"]) == 2
    assert "not a script" in capsys.readouterr().err


# --- drawings -------------------------------------------------------------------------------------


@given(graph=graphs(dtypes=ALL, transformations=True))
def test_a_drawing_has_every_node_and_every_use_of_a_value(graph):
    drawn = tools.to_networkx(graph)
    kinds = [data["kind"] for _, data in drawn.nodes(data=True)]
    nodes = list(ir.walk(graph))
    bodies = [graph, *(region for node in nodes for region in node.regions)]
    assert kinds.count("op") == len(nodes)
    assert kinds.count("param") == sum(len(body.params) for body in bodies)
    assert kinds.count("result") == sum(len(body.results) for body in bodies)
    used = [o for node in nodes for o in node.operands] + [r for b in bodies for r in b.results]
    touches = sum(node.op.name.startswith("state.") for node in nodes)
    assert drawn.number_of_edges() == touches + sum(isinstance(o, ir.Value) for o in used)


def test_a_drawing_tells_regions_and_states():
    state = brainir.State(jnp.zeros(3), name="V")

    def step(x):
        state.value = state.value + x
        return state.value

    graph = transform.jit(lambda xs: transform.for_loop(step, xs)).trace(jnp.ones((4, 3)))
    drawn = tools.to_networkx(graph.graph("capture"))
    labels = {name: data["label"] for name, data in drawn.nodes(data=True)}
    (cell,) = [name for name, label in labels.items() if label == "@V"]
    assert {labels[end] for end in drawn.successors(cell)} == {"state.read"}
    assert {labels[start] for start in drawn.predecessors(cell)} == {"state.write"}
    (add,) = [name for name, label in labels.items() if label == "add"]
    assert drawn.nodes[add]["region"] == (0,)
    assert drawn.nodes[add]["loc"].file == __file__


def test_drawings_escape_what_they_show():
    graph = ir.parse('graph @"a\\"b\\\\" (%x: f32[]) -> (f32[]) {\n return %x\n}')
    assert tools.to_dot(graph).startswith('digraph "a\\"b\\\\" {')


def test_a_traced_function_shows_its_graph_in_a_notebook():
    html = transform.jit(lambda x: x < 1.0, name="<script>").trace(np.float32(0))._repr_html_()
    assert html.startswith("<pre>graph")
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
