"""What common_subexpressions, hoist_invariant and dead_code do, and what they leave alone."""

import numpy as np
import pytest

from brainir.backends.reference import run
from brainir.ir import Graph, parse, verify, walk
from brainir.passes import common_subexpressions, dead_code, hoist_invariant


def names(graph: Graph) -> list[str]:
    """The ops of a graph, regions included."""
    return [node.op.name for node in walk(graph)]


def after(pass_, text: str) -> Graph:
    graph = pass_(parse(text))
    verify(graph)
    return graph


# --- common subexpressions ------------------------------------------------------------------------


def test_equal_regions_are_merged_whatever_their_names():
    graph = after(
        common_subexpressions,
        """
    graph (%x: f32[3], %p: bool[]) -> (f32[3], f32[3], f32[3]) {
      %a = cond %p do {
        %s = sin %x
        yield %s
      } and {
        yield %x
      }
      %b = cond %p do {
        %t = sin %x
        yield %t
      } and {
        yield %x
      }
      %c = cond %p do {
        %t = cos %x
        yield %t
      } and {
        yield %x
      }
      return %a, %b, %c
    }""",
    )
    assert names(graph) == ["cond", "sin", "cond", "cos"]
    assert graph.results[0] is graph.results[1]


def test_a_branch_does_not_share_what_another_computed():
    graph = after(
        common_subexpressions,
        """
    graph (%x: f32[3], %p: bool[]) -> (f32[3], f32[3]) {
      %a = cond %p do {
        %s = sin %x
        yield %s
      } and {
        %s = sin %x
        %t = neg %s
        yield %t
      }
      %b = sin %x
      return %a, %b
    }""",
    )
    assert names(graph).count("sin") == 3


def test_attributes_and_types_tell_nodes_apart():
    graph = after(
        common_subexpressions,
        """
    graph (%x: f32[3,3]) -> (f32[3], f32[3], f32[3]) {
      %a = reduce_sum %x {axes=(0,)}
      %b = reduce_sum %x {axes=(1,)}
      %c = reduce_sum %x {axes=(0,)}
      return %a, %b, %c
    }""",
    )
    assert names(graph) == ["reduce_sum"] * 2


@pytest.mark.parametrize("prevent", ["true", "false"])
def test_a_checkpoint_computes_again(prevent):
    graph = after(
        common_subexpressions,
        f"""
    graph (%x: f32[3]) -> (f32[3], f32[3], f32[3]) {{
      %s = sin %x
      %a = checkpoint (%y = %x) {{prevent_cse={prevent}}} do {{
        %t = sin %x
        yield %t
      }}
      %b = checkpoint (%y = %x) {{prevent_cse={prevent}}} do {{
        %t = sin %x
        yield %t
      }}
      return %s, %a, %b
    }}""",
    )
    assert names(graph) == ["sin", "checkpoint", "sin", "checkpoint", "sin"]


def test_a_large_constant_is_not_brought_into_a_loop():
    graph = after(
        common_subexpressions,
        """
    graph (%x: f32[4,100]) -> (f32[4,100], f32[100]) {
      %o = broadcast_in_dim 1.0:f32 {shape=(100,), dims=()}
      %y = for_loop over(%i = %x) {length=4, reverse=false, unroll=1} do {
        %p = broadcast_in_dim 1.0:f32 {shape=(100,), dims=()}
        %q = add %p, %i
        yield %q
      }
      return %y, %o
    }""",
    )
    assert names(graph).count("broadcast_in_dim") == 2


def test_state_ops_and_writes_are_never_merged():
    graph = after(
        common_subexpressions,
        """
    graph () -> (f32[], f32[])
      states(@V: f32[] hidden) {
      %a = state.read @V
      state.write @V, 1.0:f32
      %b = state.read @V
      state.write @V, 1.0:f32
      return %a, %b
    }""",
    )
    assert len(graph.nodes) == 4


# --- invariants -----------------------------------------------------------------------------------


def test_what_is_invariant_leaves_all_the_loops_it_can():
    graph = after(
        hoist_invariant,
        """
    graph (%x: f32[4,3], %w: f32[3]) -> (f32[4,5,3]) {
      %y = for_loop over(%i = %x) {length=4, reverse=false, unroll=1} do {
        %z = for_loop {length=5, reverse=false, unroll=1} do {
          %a = exp %w
          %b = sin %i
          %c = mul %a, %b
          yield %c
        }
        yield %z
      }
      return %y
    }""",
    )
    assert names(graph) == ["exp", "for_loop", "sin", "mul", "for_loop"]


def test_a_free_node_stays_unless_it_is_needed_outside():
    graph = after(
        hoist_invariant,
        """
    graph (%x: f32[4,3], %w: f32[3], %s: f32[]) -> (f32[4,3], f32[4,3]) {
      %y, %z = for_loop over(%i = %x) {length=4, reverse=false, unroll=1} do {
        %o = broadcast_in_dim %s {shape=(3,), dims=()}
        %a = add %i, %o
        %b = mul %w, %o
        yield %a, %b
      }
      return %y, %z
    }""",
    )
    assert names(graph) == ["broadcast_in_dim", "mul", "for_loop", "broadcast_in_dim", "add"]


def test_an_outer_product_stays_where_it_takes_no_memory():
    graph = after(
        hoist_invariant,
        """
    graph (%x: f32[4,3,3], %v: f32[3]) -> (f32[4,3,3]) {
      %y = for_loop over(%i = %x) {length=4, reverse=false, unroll=1} do {
        %a = broadcast_in_dim %v {shape=(3, 3), dims=(0,)}
        %b = broadcast_in_dim %v {shape=(3, 3), dims=(1,)}
        %c = mul %a, %b
        %d = add %c, %i
        yield %d
      }
      return %y
    }""",
    )
    assert names(graph)[0] == "for_loop"


def test_nothing_leaves_a_branch_and_a_while_leaves_no_loop():
    graph = after(
        hoist_invariant,
        """
    graph (%x: f32[4], %w: f32[], %p: bool[]) -> (f32[4], f32[4]) {
      %y, %z = for_loop over(%i = %x) {length=4, reverse=false, unroll=1} do {
        %q = gt %i, 0.0:f32
        %a = cond %q do {
          %e = exp %w
          yield %e
        } and {
          yield %i
        }
        %b = while carry(%c = %w) do {
          %m = lt %c, 3.0:f32
          yield %m
        } and {
          %d = add %c, 1.0:f32
          yield %d
        }
        yield %a, %b
      }
      return %y, %z
    }""",
    )
    assert names(graph)[0] == "for_loop"


def test_a_branch_on_something_invariant_leaves_as_a_whole():
    graph = after(
        hoist_invariant,
        """
    graph (%x: f32[4], %w: f32[], %p: bool[]) -> (f32[4]) {
      %y = for_loop over(%i = %x) {length=4, reverse=false, unroll=1} do {
        %a = cond %p do {
          %e = exp %w
          yield %e
        } and {
          yield %w
        }
        %b = add %a, %i
        yield %b
      }
      return %y
    }""",
    )
    assert names(graph) == ["cond", "exp", "for_loop", "add"]


# --- dead code ------------------------------------------------------------------------------------


def test_carries_that_only_feed_each_other_go():
    graph = after(
        dead_code,
        """
    graph (%x: f32[], %n: f32[4]) -> (f32[]) {
      %a, %b, %c = for_loop carry(%p = %x, %q = %x, %r = %x) over(%i = %n) {
        length=4, reverse=false, unroll=1
      } do {
        %s = sin %p
        %t = add %r, %i
        yield %s, %t, %q
      }
      return %a
    }""",
    )
    (loop,) = graph.nodes
    assert (len(loop.operands), names(graph)) == (1, ["for_loop", "sin"])


def test_a_carry_that_the_condition_needs_stays():
    graph = after(
        dead_code,
        """
    graph (%x: f32[]) -> (f32[]) {
      %k, %y, %z = while carry(%c = 0:i32, %d = %x, %e = %x) do {
        %m = lt %c, 3:i32
        yield %m
      } and {
        %n = add %c, 1:i32
        %f = mul %d, %d
        yield %n, %f, %f
      }
      return %y
    }""",
    )
    (loop,) = graph.nodes
    assert len(loop.operands) == 2
    assert run(graph, np.array(2, np.float32))[0] == 256


def test_results_of_branches_and_arguments_of_calls_go():
    graph = after(
        dead_code,
        """
    graph (%x: f32[], %p: bool[]) -> (f32[]) {
      %a, %b = cond %p do {
        %s = sin %x
        yield %x, %s
      } and {
        %c = cos %x
        yield %c, %x
      }
      %y, %z = call (%q = %a, %r = %b) {name="f"} do {
        %e = exp %r
        yield %q, %e
      }
      return %y
    }""",
    )
    assert names(graph) == ["cond", "cos", "call"]
    assert len(graph.nodes[1].operands) == 1


def test_what_writes_states_stays_with_all_that_it_needs():
    text = """
    graph (%x: f32[], %n: f32[4]) -> ()
      states(@V: f32[] hidden, @W: f32[] hidden) {
      %w = state.read @W
      %a = for_loop carry(%p = %x) over(%i = %n) {length=4, reverse=false, unroll=1} do {
        %s = sin %p
        %q = gt %s, 0.0:f32
        cond %q do {
          yield
        } and {
          state.write @V, %i
          yield
        }
        yield %s
      }
      return
    }"""
    graph = after(dead_code, text)
    assert names(graph) == ["for_loop", "sin", "gt", "cond", "state.write"]


def test_consts_that_nobody_uses_go():
    graph = after(
        dead_code,
        """
    graph (%x: f32[]) -> (f32[])
      consts(%a: f32[9], %b: f32[]) {
      %c = add %x, %b
      return %c
    }""",
    )
    assert [const.value.hint for const in graph.consts] == ["b"]
