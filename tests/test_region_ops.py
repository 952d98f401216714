"""Region ops that no pass knows: what their record says is enough for every analysis."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from brainir.backends.lax import emit
from brainir.backends.reference import evaluate, run
from brainir.frontend.tools.report.tracks import state_tracks
from brainir.ir import (
    PURE,
    Cost,
    GraphError,
    NotDifferentiable,
    Place,
    Strand,
    Type,
    Weight,
    Wiring,
    define_region,
    entering,
    equal,
    find_op,
    going_round,
    leaving,
    parse,
    temporary_ops,
    verify,
    walk,
)
from brainir.passes import (
    PIPELINE,
    common_subexpressions,
    dead_code,
    distribute_loops,
    hoist_invariant,
    run_pipeline,
)
from brainir.passes.activity import active_values
from brainir.passes.lane_dependence import lane_dependent
from brainir.passes.residuals import choose_residuals


def _types(values):
    return tuple(value.type for value in values)


def _repeat_twice():
    """Run the region twice: `kept` operands go round, the others are the same both times."""

    def infer(*types, regions, kept):
        (body,) = regions
        if types != _types(body.params) or types[:kept] != _types(body.results[:kept]):
            raise GraphError("what goes round must keep its type")
        return _types(body.results)

    def twice(run_, *arrays, regions, kept):
        first = run_(regions[0], *arrays)
        return run_(regions[0], *first[:kept], *arrays[kept:])

    def wiring(node):
        kept = node.attrs["kept"]
        shared, left = len(node.operands) - kept, len(node.results) - kept
        strands = (
            *going_round(kept),
            *entering(shared, first=kept),
            *leaving(left, first=kept),
        )
        return Wiring(strands, times=2, counted_by="kept")

    define_region(
        "repeat_twice",
        "Run the region twice.",
        infer=infer,
        numpy=twice,
        lax=lambda jax, run_, *arrays, **attrs: twice(run_, *arrays, **attrs),
        effects=PURE,
        cost=lambda *_: Cost(0, 0, Weight.HEAVY),
        wiring=wiring,
    )


def _pick():
    """Run the region that the first operand says, on the others."""

    def infer(which, *types, regions):
        if which != Type("bool") or any(_types(region.params) != types for region in regions):
            raise GraphError("two regions of the same parameters expected")
        return _types(regions[0].results)

    def wiring(node):
        count = len(node.operands) - 1
        given = (Strand((Place(None, i + 1),), (Place(0, i), Place(1, i))) for i in range(count))
        strands = (*given, *leaving(len(node.results), (0, 1)))
        return Wiring(strands, gates=(Place(None, 0),), chosen=True)

    def lax(jax, run_, which, *arrays, regions):
        no, yes = (lambda *xs, region=region: run_(region, *xs) for region in regions)
        return jax.lax.cond(which, yes, no, *arrays)

    define_region(
        "pick",
        "Run one of two regions.",
        infer=infer,
        numpy=lambda run_, which, *arrays, regions: run_(regions[bool(which)], *arrays),
        lax=lax,
        effects=PURE,
        cost=lambda *_: Cost(0, 0, Weight.HEAVY),
        wiring=wiring,
    )


@pytest.fixture(autouse=True)
def ops():
    with temporary_ops():
        _repeat_twice()
        _pick()
        yield
    assert find_op("repeat_twice") is None
    assert find_op("pick") is None


BOTH = """
graph @f(%p: bool[], %x: f32[3], %y: f32[3], %z: f32[3]) -> (f32[3], f32[3], f32[3]) {
  %a, %b, %t = repeat_twice %x, %y, %z {kept=2} : f32[3], f32[3], f32[3] do (%u: f32[3], %v: f32[3], %w: f32[3]) {
    %m = add %u, %w : f32[3]
    %n = add %v, 1.0:f32 : f32[3]
    %o = mul %u, %v : f32[3]
    yield %m, %n, %o
  }
  %c, %d = pick %p, %a, %b : f32[3], f32[3] do (%e: f32[3], %f: f32[3]) {
    %g = sin %e : f32[3]
    %h = cos %f : f32[3]
    yield %g, %h
  } and (%i: f32[3], %j: f32[3]) {
    %k = neg %i : f32[3]
    %l = neg %j : f32[3]
    yield %k, %l
  }
  return %c, %d, %t
}
"""  # noqa: E501


def named(graph, *hints):
    """Return the values of these names, at any depth."""
    values = {v.hint: v for v in graph.params}
    for node in walk(graph):
        values.update((v.hint, v) for v in node.results)
        values.update((p.hint, p) for region in node.regions for p in region.params)
    return [values[hint] for hint in hints]


def arrays(graph):
    rng = np.random.default_rng(1)
    kinds = {"bool": lambda shape: np.bool_(True)}
    draw = lambda shape: rng.normal(size=shape).astype("float32")  # noqa: E731
    return [kinds.get(p.type.dtype, draw)(p.type.shape) for p in graph.params]


def assert_same(after, before, *given):
    verify(after)
    for got, expected in zip(run(after, *given), run(before, *given), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_such_ops_are_verified_printed_and_parsed_again():
    graph = parse(BOTH)
    verify(graph)
    assert equal(parse(str(graph)), graph)


@pytest.mark.parametrize("which", [False, True])
def test_such_ops_run_and_compile_alike(which):
    graph = parse(BOTH)
    _, *given = arrays(graph)
    x, y, z = given
    a, b = x + 2 * z, y + 2
    expected = (-a, -b) if which else (np.sin(a), np.cos(b))
    for got in (run(graph, np.bool_(which), *given), emit(graph)(np.bool_(which), *given)):
        np.testing.assert_allclose(got[0], expected[0], rtol=1e-5)
        np.testing.assert_allclose(got[1], expected[1], rtol=1e-5)
        np.testing.assert_allclose(got[2], (x + z) * (y + 1), rtol=1e-5)


def test_lanes_go_along_strands_and_out_of_gates():
    graph = parse(BOTH)
    z, p = named(graph, "z", "p")
    from_z, from_p = lane_dependent(graph, [z]), lane_dependent(graph, [p])
    assert from_z >= set(named(graph, "w", "m", "u", "a", "t", "e", "i", "c"))
    assert from_z.isdisjoint(named(graph, "v", "b", "f", "j", "d"))
    assert from_p >= set(named(graph, "e", "i", "c", "d"))
    assert from_p.isdisjoint(named(graph, "a", "b", "t"))


def test_derivatives_follow_strands():
    graph = parse(BOTH)
    (y,) = named(graph, "y")
    c, d, t = graph.results
    active = active_values(graph.nodes, [y], [d])
    assert active >= set(named(graph, "y", "v", "n", "b", "f", "j", "h", "l", "d"))
    assert active.isdisjoint(named(graph, "x", "u", "m", "a", "e", "c", "t"))
    assert active_values(graph.nodes, [y], [c]) & {c} == set()
    assert t in active_values(graph.nodes, [y], [t])


def test_unused_strands_are_dropped_and_the_others_counted():
    graph = parse(BOTH)
    _, d, _ = graph.results
    only = graph.with_(results=(d,))
    after = dead_code(only)
    twice, pick = after.nodes
    assert twice.attrs == {"kept": 1}
    assert len(twice.operands) == len(twice.results) == 1
    assert len(twice.regions[0].params) == 1
    assert len(twice.regions[0].nodes) == 1
    assert len(pick.operands) == 2
    assert [len(r.nodes) for r in pick.regions] == [1, 1]
    assert_same(after, only, *arrays(only))
    assert equal(dead_code(graph), graph)


def test_what_does_not_change_leaves_what_repeats_but_not_what_is_chosen():
    graph = parse("""
    graph @f(%p: bool[], %x: f32[3], %w: f32[3]) -> (f32[3], f32[3]) {
      %y = repeat_twice %x {kept=1} : f32[3] do (%u: f32[3]) {
        %e = exp %w : f32[3]
        %v = add %u, %e : f32[3]
        yield %v
      }
      %z = pick %p, %x : f32[3] do (%a: f32[3]) {
        yield %a
      } and (%b: f32[3]) {
        %l = exp %w : f32[3]
        yield %l
      }
      return %y, %z
    }""")
    after = hoist_invariant(graph)
    assert [node.op.name for node in after.nodes] == ["exp", "repeat_twice", "pick"]
    assert [node.op.name for node in after.nodes[2].regions[1].nodes] == ["exp"]
    assert_same(after, graph, *arrays(graph))


def test_equal_nodes_of_such_ops_are_one():
    graph = parse("""
    graph @f(%x: f32[3]) -> (f32[3], f32[3], f32[3]) {
      %y = repeat_twice %x {kept=1} : f32[3] do (%a: f32[3]) {
        %b = sin %a : f32[3]
        yield %b
      }
      %z = repeat_twice %x {kept=1} : f32[3] do (%c: f32[3]) {
        %d = sin %c : f32[3]
        yield %d
      }
      %o = repeat_twice %x {kept=1} : f32[3] do (%e: f32[3]) {
        %g = cos %e : f32[3]
        yield %g
      }
      return %y, %z, %o
    }""")
    after = common_subexpressions(graph)
    assert [node.op.name for node in after.nodes] == ["repeat_twice"] * 2
    assert after.results[0] is after.results[1]
    assert_same(after, graph, *arrays(graph))


def test_what_such_an_op_gives_is_stored_and_what_is_cheap_is_computed_again():
    graph = parse("""
    graph @f(%x: f32[3]) -> (f32[2,3]) {
      %y = repeat_twice %x {kept=1} : f32[3] do (%a: f32[3]) {
        %b = sin %a : f32[3]
        yield %b
      }
      %s = broadcast_in_dim %y {shape=(2, 3), dims=(1,)} : f32[2,3]
      %r = mul %s, %s : f32[2,3]
      return %r
    }""")
    *forward, last = graph.nodes
    chosen = choose_residuals(forward, [last], last.results)
    assert chosen.inputs == tuple(named(graph, "y"))
    assert [node.op.name for node in chosen.again] == ["broadcast_in_dim"]


def test_a_loop_is_distributed_around_such_an_op():
    graph = parse("""
    graph @f(%x: f32[9,4], %v: f32[4], %w: f32[4,4]) -> (f32[4], f32[9,4]) {
      %last, %y = for_loop carry(%u = %v) over(%a = %x) {length=9} : f32[4], f32[9,4] do {
        %r = repeat_twice %u, %a {kept=1} : f32[4] do (%b: f32[4], %c: f32[4]) {
          %s = add %b, %c : f32[4]
          %d = tanh %s : f32[4]
          yield %d
        }
        %i = dot_general %r, %w {
          dimension_numbers=(((0,), (0,)), ((), ())), precision=none, preferred_element_type=none
        } : f32[4]
        yield %r, %i
      }
      return %last, %y
    }""")
    after = distribute_loops(graph)
    (loop,) = (node for node in after.nodes if node.op.name == "for_loop")
    inside = [node.op.name for node in loop.regions[0].nodes]
    assert "repeat_twice" in inside
    assert "dot_general" not in inside
    assert_same(after, graph, *arrays(graph))


STATES = """
graph @f(%p: bool[], %x: f32[3]) -> (f32[3])
  states(@V: f32[3] hidden, @w: f32[3] param) {
  %V = state.read @V : f32[3]
  %w = state.read @w : f32[3]
  %next, %y = repeat_twice %V, %x {kept=1} : f32[3], f32[3] do (%u: f32[3], %a: f32[3]) {
    %s = add %u, %a : f32[3]
    %t = mul %s, %w : f32[3]
    yield %t, %s
  }
  %last = pick %p, %next : f32[3] do (%b: f32[3]) {
    %c = neg %b : f32[3]
    yield %c
  } and (%d: f32[3]) {
    yield %d
  }
  state.write @V, %last
  return %y
}
"""


def test_the_report_follows_states_through_such_ops():
    graph = parse(STATES)
    V, w = graph.states
    tracks = state_tracks(graph)
    on_v = named(graph, "V", "u", "t", "next", "c", "d", "last")
    assert {value: tracks.get(value) for value in on_v} == dict.fromkeys(on_v, V)
    assert tracks[named(graph, "w")[0]] is w
    assert not {*named(graph, "x", "a", "s", "y", "p")} & tracks.keys()


def test_the_whole_pipeline_keeps_what_such_ops_mean():
    graph = parse(STATES)
    after = run_pipeline(graph, PIPELINE)
    verify(after, "pure")
    given = arrays(graph)
    V, w = graph.states
    held = {V: [np.full(3, 0.5, "float32")], w: [np.full(3, 2, "float32")]}
    (y,), states = evaluate(graph, given, held)
    leaves = [held[state][0] for state in after.states]
    for got in (run(after, *given, *leaves), jax.jit(emit(after))(*given, *leaves)):
        np.testing.assert_allclose(got[0], y, rtol=1e-6)
        np.testing.assert_allclose(got[1], states[V][0], rtol=1e-6)


@pytest.mark.parametrize("transformation", ["grad", "jvp", "vmap", "states"])
def test_a_rule_that_is_missing_is_named_with_where_to_write_it(transformation):
    inner = """repeat_twice %a {kept=1} : f32[] do (%b: f32[]) {
          %c = sin %b : f32[]
          WRITE
          yield %c
        }"""
    inner = inner.replace("WRITE", "state.write @V, %c" if transformation == "states" else "")
    bodies = {
        "grad": "%s, %o = grad (%a = %x) {wrt=(0,), states=(), losses=1} : f32[], f32[] do {",
        "jvp": "%o, %s = jvp %x, %x {wrt=(0,)} : f32[], f32[] do (%a: f32[]) {",
        "vmap": "%s = vmap (%a: f32[] = %xs) {size=2, in_axes=(0,), out_axes=(0,), in_states=(), "
        "out_states=(), axis_name=none} : f32[2] do {",
        "states": "%s = call (%a = %x) : f32[] do {",
    }
    result = "f32[2]" if transformation == "vmap" else "f32[]"
    graph = parse(f"""
    graph @f(%x: f32[], %xs: f32[2]) -> ({result})
      states(@V: f32[] hidden) {{
      {bodies[transformation]}
        %y = {inner}
        yield %y
      }}
      return %s
    }}""")
    where = {
        "grad": "reverse mode.*expand_grad.py",
        "jvp": "forward mode.*forward.py",
        "vmap": "lanes.*batching.py",
        "states": "state @V is written inside repeat_twice.*hoist_state.py",
    }
    error = NotDifferentiable if transformation in ("grad", "jvp") else GraphError
    with pytest.raises(error, match=f"repeat_twice.*{where[transformation].split('twice')[-1]}"):
        run_pipeline(graph, PIPELINE)
