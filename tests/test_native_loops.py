"""Loops as kernels: what machine code computes is what the reference does, without jax."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_kernels import run_native

from brainir.backends import reference
from brainir.backends.native.lower import lower
from brainir.frontend.testing.random_graphs import (
    assert_same_outcome,
    graphs,
    inputs_for,
)
from brainir.ir import (
    Builder,
    Graph,
    Node,
    Operand,
    Replacements,
    parse,
    replay_graph,
    spikes,
    walk,
)
from brainir.passes import inline_calls, outline_kernels

ALWAYS = 1e30
"""A rate at which every loop that can be a kernel is one."""


def with_machine_code(graph: Graph) -> Graph:
    """Return a graph of which the reference runs kernels as machine code, with checks."""

    def native(run: Any, *arrays: Any, regions: tuple[Graph, ...], dense: bool) -> tuple[Any, ...]:
        try:
            return tuple(run_native(regions[0], *arrays, dense=dense, checked=True))
        except LookupError:  # the C library has no such function
            return run(regions[0], *arrays)

    def rewrite(
        builder: Builder, node: Node, operands: tuple[Operand, ...], mapping: Replacements
    ) -> Any:
        if node.op.name != "kernel":
            return None
        op = dataclasses.replace(node.op, numpy=native)
        return builder.emit(op, operands, node.attrs, node.regions, loc=node.loc)

    return replay_graph(graph, rewrite)


OPS = ("add", "mul", "select_n", "broadcast_in_dim", "dynamic_slice", "dynamic_update_slice")


@settings(max_examples=2 * settings().max_examples)
@given(st.data())
def test_random_loops_mean_as_machine_code_what_they_mean(data: st.DataObject) -> None:
    graph = inline_calls(data.draw(graphs(states=False, ops=OPS)))
    outlined = outline_kernels(graph, rate=ALWAYS)
    inputs = data.draw(inputs_for(graph))
    expected = reference.evaluate(graph, inputs.arguments)
    assert_same_outcome(reference.evaluate(with_machine_code(outlined), inputs.arguments), expected)


def check(text: str, *arguments: Any, rtol: float = 1e-6) -> str:
    """Compare the machine code of a graph with the reference; return its kernels' text."""
    graph = parse(text)
    outlined = outline_kernels(graph, rate=ALWAYS)
    assert [n.op.name for n in walk(outlined)].count("kernel") >= 1, outlined
    assert not any(n.op.name in ("for_loop", "while") for n in outlined.nodes), outlined
    expected = reference.run(graph, *arguments)
    for run in (with_machine_code(outlined), outlined):
        for found, wanted in zip(reference.run(run, *arguments), expected, strict=True):
            assert found.dtype == wanted.dtype
            np.testing.assert_allclose(found, wanted, rtol=rtol, atol=1e-6)
    return str(outlined)


def numbers(*shape: int, seed: int = 0, dtype: str = "float32") -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("reverse", ["true", "false"])
@pytest.mark.parametrize(("steps", "lanes"), [(16, 16), (37, 5), (50, 33), (3, 20), (16, 1)])
def test_lanes_whose_steps_are_neighbours(steps: int, lanes: int, reverse: str) -> None:
    text = check(
        """graph @f(%x: LANES, %v: f32[N]) -> (LANES, f32[N]) {
          %t = transpose %x {permutation=(1, 0)}
          %end, %y = for_loop carry(%c = %v) over(%a = %t) {length=STEPS, reverse=REVERSE} do {
            %d = mul %c, 0.5:f32
            %e = add %d, %a
            yield %e, %e
          }
          %u = transpose %y {permutation=(1, 0)}
          return %u, %end
        }""".replace("LANES", f"f32[{lanes},{steps}]")
        .replace("[N]", f"[{lanes}]")
        .replace("STEPS", str(steps))
        .replace("REVERSE", reverse),
        numbers(lanes, steps),
        numbers(lanes),
    )
    outer = text[: text.index("kernel")]
    assert "transpose" not in outer, "what only lays out arrays for the loop is a part of it"


@pytest.mark.parametrize("dtype", ["i8", "bool", "f64"])
def test_tiles_of_other_numbers(dtype: str) -> None:
    x = (numbers(20, 40, dtype="float64") * 3).astype(
        {"i8": "int8", "bool": bool}.get(dtype, float)
    )
    check(
        f"""graph @f(%x: {dtype}[20,40]) -> ({dtype}[20,40]) {{
          %t = transpose %x {{permutation=(1, 0)}}
          %y = for_loop over(%a = %t) {{length=40}} do {{
            %b = max %a, %a
            yield %b
          }}
          %u = transpose %y {{permutation=(1, 0)}}
          return %u
        }}""",
        x,
    )


@pytest.mark.parametrize("height", [0.5, -0.5, 0.0, np.inf, np.nan])
@pytest.mark.parametrize("lanes", [(), (5,)])
def test_potentials_that_fall_with_spikes(lanes: tuple[int, ...], height: float) -> None:
    text = """graph @f(%V: f32[ROW], %xs: f32[50STEP], %h: f32[]) -> (f32[ROW], f32[50STEP]) {
          %end, %all = for_loop carry(%v = %V) over(%x = %xs) {length=50} do {
            %fired = ge %v, 1.0:f32
            %s = convert_element_type %fired {new_dtype=f32}
            %high = mul 0.75:f32, %s
            %a = sub %v, %high
            %other = mul %s, %h
            %b = sub %a, %other
            %up = mul -2.0:f32, %s
            %c = sub %b, %up
            %next = add %c, %x
            yield %next, %next
          }
          return %end, %all
        }"""
    row = "".join(map(str, lanes))
    text = text.replace("ROW", row).replace("STEP", row and f",{row}")
    check(text, numbers(*lanes), numbers(50, *lanes), np.float32(height))


RING = """graph @f(%ring: f32[6,4], %V: f32[4], %is: i32[15]) -> (f32[6,4], f32[4], f32[15,4]) {
          %end, %last, %all = for_loop carry(%r = %ring, %v = %V) over(%i = %is) {length=15} do {
            %at = rem %i, 6:i32
            %next = add %i, 1:i32
            %later = rem %next, 6:i32
            %row = expand_dims %v {dimensions=(0,)}
            BODY
            %half = mul %new, 0.5:f32
            %w = add %half, 0.25:f32
            yield %UPDATED, %w, %new
          }
          return %end, %last, %all
        }"""
READ = """%read = dynamic_slice %FROM, %later, 0:i32 {slice_sizes=(1, 4)}
            %new = reshape %read {shape=(4,)}"""
WRITE = "%x = dynamic_update_slice %r, %row, %at, 0:i32"
AGAIN = "%y = dynamic_update_slice %x, %row, %later, 0:i32"
ADDED = """%d = add %r, 1.0:f32
            %x = dynamic_update_slice %d, %row, %at, 0:i32"""


@pytest.mark.parametrize(
    ("body", "read", "updated"),
    [
        ((READ, WRITE), "r", "x"),
        ((WRITE, READ), "r", "x"),
        ((WRITE, READ), "x", "x"),
        ((READ, WRITE, AGAIN), "r", "y"),
        ((WRITE, AGAIN, READ), "r", "y"),
        ((WRITE, AGAIN, READ), "x", "y"),
        ((WRITE, AGAIN, READ), "y", "y"),
        ((READ, ADDED), "r", "x"),
        ((ADDED, AGAIN, READ), "r", "y"),
        ((ADDED, AGAIN, READ), "d", "y"),
        ((WRITE, AGAIN, READ), "y", "x"),
    ],
)
def test_updates_read_before_and_after(body: tuple[str, ...], read: str, updated: str) -> None:
    lines = "\n            ".join(body).replace("FROM", read)
    text = RING.replace("BODY", lines).replace("UPDATED", updated)
    check(text, numbers(6, 4), numbers(4), np.arange(15, dtype=np.int32))


@pytest.mark.parametrize("collected", ["new", "w"])
def test_a_ring_that_is_read_before_it_is_written_is_not_copied(collected: str) -> None:
    text = RING.replace("BODY", f"{READ}\n{WRITE}").replace("FROM", "r").replace("UPDATED", "x")
    text = text.replace("6,4", "6000,4").replace("%w, %new", f"%w, %{collected}")
    assert lower(parse(text)).scratch == 0


def test_carries_that_change_places() -> None:
    check(
        """graph @f(%x: f32[5], %y: f32[5], %z: f32[5]) -> (f32[5], f32[5], f32[5], f32[7,5]) {
          %a, %b, %c, %d = for_loop carry(%u = %x, %v = %y, %w = %z) {length=7} do {
            %s = add %u, %w
            yield %v, %u, %s, %w
          }
          return %a, %b, %c, %d
        }""",
        *(numbers(5, seed=seed) for seed in range(3)),
    )


def test_a_carry_that_is_read_after_its_next_value_is_known() -> None:
    check(
        """graph @f(%x: f32[6], %y: f32[6]) -> (f32[6], f32[6]) {
          %a, %b = for_loop carry(%u = %x, %v = %y) {length=5} do {
            %n = mul %u, 0.5:f32
            %r = rev %u {dimensions=(0,)}
            %t = add %r, %n
            %total = reduce_sum %u {axes=(0,)}
            %m = add %t, %total
            yield %n, %m
          }
          return %a, %b
        }""",
        numbers(6),
        numbers(6, seed=1),
    )


def test_a_ring_buffer_is_written_in_place() -> None:
    text = """graph @f(%ring: f32[8,4], %xs: f32[20,4]) -> (f32[8,4], f32[20,4]) {
      %end, %at, %y = for_loop carry(%r = %ring, %i = 0:i32) over(%x = %xs) {length=20} do {
        %old = dynamic_slice %r, %i, 0:i32 {slice_sizes=(1, 4)}
        %row = reshape %x {shape=(1, 4)}
        %new = dynamic_update_slice %r, %row, %i, 0:i32
        %next = add %i, 1:i32
        %j = rem %next, 8:i32
        %out = reshape %old {shape=(4,)}
        yield %new, %j, %out
      }
      return %end, %y
    }"""
    check(text, numbers(8, 4), numbers(20, 4))


def test_branches_and_loops_inside_of_each_other() -> None:
    check(
        """graph @f(%x: f32[3,4], %n: i32[]) -> (f32[3,4], i32[], f32[]) {
          %y, %count, %last = for_loop carry(%a = %x, %k = 0:i32, %s = 0.0:f32) {length=6} do {
            %odd = and %k, 1:i32
            %which = eq %odd, 1:i32
            %b, %t = cond %which do {
              %h = mul %a, 0.5:f32
              yield %h, %s
            } and {
              %g = tanh %a
              %p = reduce_max %g {axes=(0, 1)}
              yield %g, %p
            }
            %c, %m = while carry(%e = %b, %i = 0:i32) do {
              %more = lt %i, %n
              yield %more
            } and (%f: f32[3,4], %j: i32[]) {
              %f2 = add %f, %t
              %j2 = add %j, 1:i32
              yield %f2, %j2
            }
            %d = for_loop carry(%q = %c) over(%row = %x) {length=3} do {
              %wide = broadcast_in_dim %row {shape=(3, 4), dims=(1,)}
              %q2 = sub %q, %wide
              yield %q2
            }
            %k2 = add %k, 1:i32
            yield %d, %k2, %t
          }
          return %y, %count, %last
        }""",
        numbers(3, 4),
        np.int32(2),
    )


def test_products_sums_and_scatters() -> None:
    check(
        """graph @f(%w: f32[6,5], %x: f32[2,6], %at: i32[4,1]) -> (f32[2,6], f32[9], f32[2]) {
          %y, %h, %s = for_loop carry(%a = %x, %g = 0:i32, %z = %x) {length=4} do {
            %p = dot_general %a, %w {
              dimension_numbers=(((1,), (0,)), ((), ())),
              precision=none, preferred_element_type=none
            }
            %q = dot_general %p, %w {
              dimension_numbers=(((1,), (1,)), ((), ())),
              precision=none, preferred_element_type=none
            }
            %r = tanh %q
            %g2 = add %g, 1:i32
            yield %r, %g2, %q
          }
          %zeros = broadcast_in_dim 0.0:f32 {shape=(9,), dims=()}
          %ups = broadcast_in_dim 1.0:f32 {shape=(4,), dims=()}
          %hist = for_loop carry(%c = %zeros) {length=3} do {
            %d = scatter-add %c, %at, %ups {
              offset_dims=(), collapsed_dims=(0,), index_map=(0,), batching_dims=(),
              index_batching=(), mode="fill", unique=false, sorted=false
            }
            yield %d
          }
          %rows = for_loop over(%b = %y) {length=2} do {
            %t = reduce_sum %b {axes=(0,)}
            yield %t
          }
          return %s, %hist, %rows
        }""",
        numbers(6, 5),
        numbers(2, 6),
        np.array([[0], [3], [3], [11]], np.int32),
        rtol=1e-4,
    )


SPIKES = """graph @f(%w: f32[40,24], %v: f32[3,40]) -> (f32[3,24], f32[3,40]) {
  %zeros = broadcast_in_dim 0.0:f32 {shape=(3, 40), dims=()}
  %none = broadcast_in_dim 0.0:f32 {shape=(3, 24), dims=()}
  %y, %s, %u = for_loop carry(%a = %none, %b = %zeros, %c = %v) {length=5} do {
    %p = dot_general %b, %w {
      dimension_numbers=(((1,), (0,)), ((), ())), precision=none, preferred_element_type=none
    }
    %q = add %a, %p
    %d = mul %c, 0.7:f32
    %fired = gt %d, 0.2:f32
    %n = convert_element_type %fired {new_dtype=f32}
    yield %q, %n, %d
  }
  return %y, %s
}"""


def test_products_with_spikes_add_the_rows_of_ones() -> None:
    assert {value.hint for value in spikes(parse(SPIKES))} == {"n", "b", "s"}
    check(SPIKES, numbers(40, 24), numbers(3, 40), rtol=1e-5)


def test_a_buffer_that_spikes_are_written_to_holds_spikes() -> None:
    text = """graph @f(%ring: f32[6,4], %other: f32[6,4], %v: f32[1,4]) -> (f32[6,4], f32[6,4]) {
      %fired = gt %v, 0.0:f32
      %s = convert_element_type %fired {new_dtype=f32}
      %a, %b = for_loop carry(%r = %ring, %o = %other, %i = 0:i32) {length=5} do {
        %next = add %i, 1:i32
        %x = dynamic_update_slice %r, %s, %i, 0:i32
        %y = dynamic_update_slice %o, %v, %i, 0:i32
        yield %x, %y, %next
      }
      return %a, %b
    }""".replace("%a, %b =", "%a, %b, %last =")
    assert {value.hint for value in spikes(parse(text))} == {"s", "x", "r", "a"}


def test_zeros_times_infinity_are_left_out_unless_products_are_dense() -> None:
    weight = np.full((40, 24), np.inf, np.float32)
    v = np.zeros((3, 40), np.float32)
    sparse, dense = (
        outline_kernels(parse(SPIKES), rate=ALWAYS, dense=dense) for dense in (False, True)
    )
    assert (reference.run(with_machine_code(sparse), weight, v)[0] == 0).all()
    assert np.isnan(reference.run(with_machine_code(dense), weight, v)[0]).all()
