"""Hoisting states where laws do not reach: lanes, random keys, derivatives, refusals."""

import jax
import numpy as np
import pytest

from brainir.backends import to_jax, to_numpy
from brainir.backends.reference import evaluate
from brainir.ir import Builder, Graph, GraphError, Loc, StateVar, Type, Value, equal, parse, verify
from brainir.passes import (
    PIPELINE,
    LaneDependentResult,
    LaneDependentWrite,
    hoist_state,
    run_pipeline,
)


def vmap(axes="0,", outs="0,", ins="", louts=""):
    """The attributes of a vmap of three lanes."""
    mapped = f"size=3, in_axes=({axes}), out_axes=({outs}), axis_name=none"
    return f"{{{mapped}, in_states=({ins}), out_states=({louts})}}"


def hoisted(text: str, expected: str | None = None) -> Graph:
    graph = hoist_state(parse(text))
    verify(graph, "hoisted")
    if expected is not None:
        assert equal(graph, parse(expected)), f"\n{graph}"
    return graph


def run(graph: Graph, *arguments, **states):
    """Results and final states of a graph once its lanes are expanded."""
    expanded = run_pipeline(graph, PIPELINE, until="expand-vmap")
    by_name = {state.name: state for state in expanded.states}
    given = {by_name[name]: [value] for name, value in states.items()}
    results, after = evaluate(expanded, arguments, given)
    return results, {state.name: held[0] for state, held in after.items()}


def floats(*numbers):
    return np.array(numbers, np.float32)


# --- lanes ----------------------------------------------------------------------------------------

TURNED = "(@V, @V.lane, 1),"


def test_a_declared_state_is_mapped_along_its_axis():
    graph = parse(f"""
    graph @f(%x: f32[3]) -> (f32[3])
      states(@V: f32[2,3] hidden, @V.lane: f32[2] hidden) {{
      %y = vmap (%a: f32[] = %x) {vmap(ins=TURNED, louts=TURNED)} : f32[3] do {{
        %v = state.read @V.lane : f32[2]
        %w = add %v, %a : f32[2]
        state.write @V.lane, %w
        %s = reduce_sum %v {{axes=(0,)}} : f32[]
        yield %s
      }}
      return %y
    }}""")
    held = np.arange(6, dtype=np.float32).reshape(2, 3)
    (sums,), after = run(graph, floats(10, 20, 30), V=held)
    np.testing.assert_array_equal(sums, held.sum(0))
    np.testing.assert_array_equal(after["V"], held + floats(10, 20, 30))
    assert [state.name for state in hoist_state(graph).states] == ["V"]


def test_a_declared_state_that_is_only_read_is_not_written():
    graph = hoisted(f"""
    graph @f() -> (f32[3])
      states(@V: f32[3] hidden, @V.lane: f32[] hidden) {{
      %y = vmap {vmap(axes="", ins="(@V, @V.lane, 0),", louts="(@V, @V.lane, 0),")} : f32[3] do {{
        %v = state.read @V.lane : f32[]
        yield %v
      }}
      return %y
    }}""")
    assert [node.op.name for node in graph.nodes] == ["state.read", "vmap"]


def test_a_state_declared_for_output_only_starts_shared_and_ends_with_lanes():
    graph = parse(f"""
    graph @f(%x: f32[3]) -> (f32[3])
      states(@V: f32[3] hidden, @W: f32[] hidden, @W.lane: f32[] hidden) {{
      %y = vmap (%a: f32[] = %x) {vmap(louts="(@V, @W.lane, 0),", ins="")} : f32[3] do {{
        %v = state.read @W : f32[]
        %w = add %v, %a : f32[]
        state.write @W.lane, %w
        yield %v
      }}
      return %y
    }}""")
    (shared,), after = run(graph, floats(1, 2, 3), W=floats(5)[0], V=floats(0, 0, 0))
    np.testing.assert_array_equal(shared, floats(5, 5, 5))
    np.testing.assert_array_equal(after["V"], floats(6, 7, 8))


def test_a_state_that_gains_lanes_has_no_value_in_a_lane_before_it_is_written():
    text = f"""
    graph @f() -> ()
      states(@V: f32[3] hidden, @V.lane: f32[] hidden) {{
      vmap {vmap(axes="", outs="", louts="(@V, @V.lane, 0),")} do {{
        %v = state.read @V.lane : f32[]
        state.write @V.lane, %v
        yield
      }}
      return
    }}"""
    with pytest.raises(GraphError, match=r"state @V\.lane is touched, where it has no value"):
        hoist_state(parse(text))


def test_an_undeclared_state_is_shared_by_all_lanes():
    graph = parse(f"""
    graph @f(%x: f32[3]) -> (f32[3])
      states(@V: f32[] hidden) {{
      %y = vmap (%a: f32[] = %x) {vmap()} : f32[3] do {{
        %v = state.read @V : f32[]
        %next = add %v, 1.0:f32 : f32[]
        state.write @V, %next
        %s = add %next, %a : f32[]
        yield %s
      }}
      return %y
    }}""")
    (sums,), after = run(graph, floats(10, 20, 30), V=floats(1)[0])
    np.testing.assert_array_equal(sums, floats(12, 22, 32))
    assert after["V"] == 2


def lane_write(declared: StateVar, loc: Loc) -> Graph:
    """A vmap that writes what a loop over lane values computes."""
    x, outer, body, step = Value(Type("float32", (3, 2))), Builder(), Builder(), Builder()
    lane, part = Value(Type("float32", (2,))), Value(Type("float32"))
    step.emit("state.write", [step("sin", part)], {"state": declared}, loc=loc)
    attrs = {"carries": 0, "length": 2, "reverse": False, "unroll": 1}
    body.emit("for_loop", [lane], attrs, [step.graph([part], [])])
    axes = {"in_axes": (0,), "out_axes": (), "in_states": (), "out_states": ()}
    outer.emit("vmap", [x], {"size": 3, "axis_name": None, **axes}, [body.graph([lane], [])])
    return Graph("f", (x,), tuple(outer.nodes), (), (declared,))


def test_a_lane_dependent_write_is_refused_by_name_and_place():
    state, loc = StateVar("cell.V", (Type("float32"),)), Loc("model.py", 12, 4, "update")
    with pytest.raises(
        LaneDependentWrite, match=r"@cell.V .* at model.py:12 update.*out_states"
    ) as e:
        hoist_state(lane_write(state, loc))
    assert (e.value.state, e.value.loc) == ("cell.V", loc)


def test_what_a_lane_writes_last_decides():
    graph = parse(f"""
    graph @f(%x: f32[3]) -> ()
      states(@V: f32[] hidden) {{
      vmap (%a: f32[] = %x) {vmap(outs="")} do {{
        state.write @V, %a
        state.write @V, 7.0:f32
        yield
      }}
      return
    }}""")
    assert run(graph, floats(1, 2, 3), V=floats(0)[0])[1]["V"] == 7


def test_a_choice_that_lanes_make_differently_makes_what_it_writes_differ():
    text = f"""
    graph @f(%x: bool[3]) -> ()
      states(@V: f32[] hidden) {{
      vmap (%a: bool[] = %x) {vmap(outs="")} do {{
        cond %a do {{
          yield
        }} and {{
          state.write @V, 7.0:f32
          yield
        }}
        yield
      }}
      return
    }}"""
    with pytest.raises(LaneDependentWrite, match="@V"):
        hoist_state(parse(text))


def test_a_state_created_in_a_lane_is_its_own():
    graph = parse(f"""
    graph @f(%x: f32[3]) -> (f32[3]) {{
      %y = vmap (%a: f32[] = %x) {vmap()} : f32[3] do {{
        state.new @V: f32[] local, 0.0:f32
        %go = gt %a, 1.5:f32 : bool[]
        cond %go do {{
          yield
        }} and {{
          state.write @V, %a
          yield
        }}
        %v = state.read @V : f32[]
        yield %v
      }}
      return %y
    }}""")
    (held,), after = run(graph, floats(1, 2, 3))
    np.testing.assert_array_equal(held, floats(0, 2, 3))
    assert after == {}
    assert hoist_state(graph).states == ()


def test_a_result_that_differs_but_has_no_axis_is_refused():
    graph = parse("""
    graph @f(%x: f32[3], %z: f32[]) -> (f32[], f32[]) {
      %y, %w = vmap (%a: f32[] = %x, %b = %z) {
        size=3, in_axes=(0, none), out_axes=(none, none),
        in_states=(), out_states=(), axis_name=none
      } : f32[], f32[] do {
        %c = sin %b : f32[]
        yield %c, %a
      }
      return %y, %w
    }""")
    with pytest.raises(LaneDependentResult, match="result 1 of the vmap"):
        run(graph, floats(1, 2, 3), floats(1)[0])


# --- random keys ----------------------------------------------------------------------------------

DRAW = """
        %k = state.read @rng : key<fry>[]
        %both = random_split %k {shape=(2,)} : key<fry>[2]
        %next = slice %both {start=(0,), limit=(1,), strides=(1,)} : key<fry>[1]
        %first = squeeze %next {dimensions=(0,)} : key<fry>[]
        state.write @rng, %first
        %use = slice %both {start=(1,), limit=(2,), strides=(1,)} : key<fry>[1]
        %drawn = squeeze %use {dimensions=(0,)} : key<fry>[]
"""


class Generator:
    """What a user's random state does, in plain JAX."""

    def __init__(self, key):
        self.key = key

    def split(self, count=None):
        keys = jax.random.split(self.key, 2 if count is None else count + 1)
        self.key = keys[0]
        return keys[1] if count is None else keys[1:]

    def mapped(self, size, lane):
        """Run a function for each lane, on a generator of its own."""
        lanes, self.key = self.split(size), self.split()
        return [lane(Generator(key)) for key in lanes]


def words(keys):
    return np.asarray(jax.random.key_data(to_jax(np.asarray(keys))))


def test_a_random_state_gives_every_lane_its_own_key():
    graph = parse(f"""
    graph @f() -> (key<fry>[3])
      states(@rng: key<fry>[] rng) {{
      %y = vmap {vmap(axes="")} : key<fry>[3] do {{{DRAW}
        yield %drawn
      }}
      return %y
    }}""")
    start = jax.random.key(7)
    (drawn,), after = run(graph, rng=to_numpy(start))
    generator = Generator(start)
    expected = generator.mapped(3, lambda own: own.split())
    np.testing.assert_array_equal(words(drawn), [jax.random.key_data(k) for k in expected])
    np.testing.assert_array_equal(words(after["rng"]), jax.random.key_data(generator.key))


def test_random_states_are_split_in_each_of_nested_vmaps_and_in_loops():
    graph = parse(f"""
    graph @f() -> (key<fry>[2,3,3])
      states(@rng: key<fry>[] rng) {{
      %y = for_loop {{length=2, reverse=false, unroll=1}} : key<fry>[2,3,3] do {{
        %z = vmap {vmap(axes="")} : key<fry>[3,3] do {{
          %u = vmap {vmap(axes="")} : key<fry>[3] do {{{DRAW}
            yield %drawn
          }}
          yield %u
        }}
        yield %z
      }}
      return %y
    }}""")
    start = jax.random.key(7)
    (drawn,), after = run(graph, rng=to_numpy(start))
    generator = Generator(start)
    expected = [
        generator.mapped(3, lambda lane: lane.mapped(3, lambda own: own.split())) for _ in range(2)
    ]
    flat = [jax.random.key_data(k) for step in expected for lane in step for k in lane]
    np.testing.assert_array_equal(words(drawn).reshape(-1, 2), flat)
    np.testing.assert_array_equal(words(after["rng"]), jax.random.key_data(generator.key))


def test_a_random_state_that_a_vmap_does_not_use_stays_as_it_is():
    graph = hoisted(f"""
    graph @f(%x: f32[3]) -> (f32[3])
      states(@rng: key<fry>[] rng) {{
      %y = vmap (%a: f32[] = %x) {vmap()} : f32[3] do {{
        yield %a
      }}
      return %y
    }}""")
    assert [node.op.name for node in graph.nodes] == ["vmap"]


def test_a_declared_random_state_is_mapped_like_any_other():
    graph = hoisted(f"""
    graph @f() -> ()
      states(@rngs: key<fry>[3] rng, @rng: key<fry>[] rng) {{
      vmap {vmap(axes="", outs="", ins="(@rngs, @rng, 0),", louts="(@rngs, @rng, 0),")} do {{{DRAW}
        yield
      }}
      return
    }}""")
    assert [node.op.name for node in graph.nodes] == ["state.read", "vmap", "state.write"]


# --- control flow ---------------------------------------------------------------------------------


def test_a_state_written_in_one_branch_passes_through_the_others():
    hoisted(
        """
    graph @f(%p: bool[]) -> ()
      states(@A: f32[] hidden, @B: f32[] hidden) {
      cond %p do {
        %a = state.read @A : f32[]
        state.write @B, %a
        yield
      } and {
        state.write @A, 1.0:f32
        yield
      }
      return
    }""",
        """
    graph @f(%p: bool[]) -> ()
      states(@A: f32[] hidden, @B: f32[] hidden) {
      %A = state.read @A : f32[]
      %B = state.read @B : f32[]
      %B1, %A1 = cond %p : f32[], f32[] do {
        yield %A, %A
      } and {
        yield %B, 1.0:f32
      }
      state.write @B, %B1
      state.write @A, %A1
      return
    }""",
    )


def test_the_condition_of_a_while_sees_what_the_body_writes():
    hoisted(
        """
    graph @f() -> ()
      states(@V: f32[] hidden, @w: f32[] param) {
      while {} do {
        %v = state.read @V : f32[]
        %c = lt %v, 3.0:f32 : bool[]
        yield %c
      } and {
        %v = state.read @V : f32[]
        %w = state.read @w : f32[]
        %n = add %v, %w : f32[]
        state.write @V, %n
        yield
      }
      return
    }""",
        """
    graph @f() -> ()
      states(@V: f32[] hidden, @w: f32[] param) {
      %V = state.read @V : f32[]
      %w = state.read @w : f32[]
      %V1 = while carry(%V2 = %V) : f32[] do {
        %c = lt %V2, 3.0:f32 : bool[]
        yield %c
      } and {
        %n = add %V2, %w : f32[]
        yield %n
      }
      state.write @V, %V1
      return
    }""",
    )


def test_a_condition_that_writes_a_state_is_refused():
    text = """
    graph @f() -> ()
      states(@V: f32[] hidden) {
      while {} do {
        state.write @V, 1.0:f32
        yield false
      } and {
        yield
      }
      return
    }"""
    with pytest.raises(GraphError, match="condition of a while writes state @V"):
        hoist_state(parse(text))


def test_a_write_of_another_type_in_a_loop_is_refused_by_name():
    state = StateVar("V", (Type("float32", (3,)),))
    with pytest.raises(GraphError, match=r"state @V holds f32\[3\], not f32\[\]"):
        Builder().emit("state.write", [Value(Type("float32"))], {"state": state})


# --- derivatives ----------------------------------------------------------------------------------


def test_the_gradients_of_states_come_first():
    hoisted(
        """
    graph @f(%x: f32[]) -> (f32[], f32[], f32[])
      states(@w: f32[] param, @n: f32[] short) {
      %dw, %dx, %y = grad (%a = %x) {wrt=(0,), states=(@w,), losses=1} : f32[], f32[], f32[] do {
        %w = state.read @w : f32[]
        %n = state.read @n : f32[]
        %m = mul %w, %a : f32[]
        state.write @n, %m
        state.write @w, %n
        yield %m
      }
      return %dw, %dx, %y
    }""",
        """
    graph @f(%x: f32[]) -> (f32[], f32[], f32[])
      states(@w: f32[] param, @n: f32[] short) {
      %w = state.read @w : f32[]
      %n = state.read @n : f32[]
      %dw, %dx, %y, %n1, %w1 = grad (%a = %x, %v = %w) {
        wrt=(1, 0), states=(), losses=1
      } : f32[], f32[], f32[], f32[], f32[] do {
        %m = mul %v, %a : f32[]
        yield %m, %m, %n
      }
      state.write @n, %n1
      state.write @w, %w1
      return %dw, %dx, %y
    }""",
    )


def test_a_state_asked_for_twice_gets_its_gradient_twice():
    graph = hoisted("""
    graph @f() -> (f32[], f32[], f32[])
      states(@w: f32[] param) {
      %a, %b, %y = grad {wrt=(), states=(@w, @w), losses=1} : f32[], f32[], f32[] do {
        %w = state.read @w : f32[]
        yield %w
      }
      return %a, %b, %y
    }""")
    assert graph.nodes[1].attrs["wrt"] == (0, 0)


def test_states_are_written_beside_the_tangents_of_forward_mode():
    x, t, body, outer = Value(Type("float32")), Value(Type("float32")), Builder(), Builder()
    state, a = StateVar("n", (Type("float32"),)), Value(Type("float32"))
    body.emit("state.write", [a], {"state": state})
    y, dy = outer.emit("jvp", [x, t], {"wrt": (0,)}, [body.graph([a], [body("sin", a)])])
    graph = hoist_state(Graph("f", (x, t), tuple(outer.nodes), (y, dy), (state,)))
    jvp, write = graph.nodes
    assert graph.results == (jvp.results[0], jvp.results[2])
    assert write.operands == (jvp.results[1],)


def test_a_custom_rule_yields_the_states_that_it_or_the_primal_writes():
    hoisted(
        """
    graph @f(%x: f32[]) -> (f32[])
      states(@n: f32[] short) {
      %y = custom_derivative (%a = %x) {mode="jvp"} : f32[] do {
        state.write @n, %a
        yield %a
      } and (%b: f32[], %t: f32[]) {
        yield %b, %t
      }
      return %y
    }""",
        """
    graph @f(%x: f32[]) -> (f32[])
      states(@n: f32[] short) {
      %n = state.read @n : f32[]
      %y, %n1 = custom_derivative (%a = %x) {mode="jvp"} : f32[], f32[] do {
        yield %a, %a
      } and (%b: f32[], %t: f32[]) {
        yield %b, %n, %t, 0.0:f32
      }
      state.write @n, %n1
      return %y
    }""",
    )


def test_a_backward_rule_takes_cotangents_of_states_and_may_not_write():
    text = """
    graph @f(%x: f32[]) -> (f32[])
      states(@n: f32[] short) {{
      %y = custom_derivative (%a = %x) {{mode="vjp"}} : f32[] do {{
        yield %a
      }} and (%b: f32[]) {{
        state.write @n, %b
        yield %b, 2.0:f32
      }} and (%r: f32[], %ct: f32[]) {{
        %g = mul %r, %ct : f32[]
        {backward}
        yield %g
      }}
      return %y
    }}"""
    custom = hoisted(text.format(backward="")).nodes[1]
    backward = custom.regions[2]
    assert [len(region.results) for region in custom.regions] == [2, 3, 1]
    assert len(backward.params) == 3
    with pytest.raises(GraphError, match=r"backward rule .*writes state @n"):
        hoist_state(parse(text.format(backward="state.write @n, %g")))
