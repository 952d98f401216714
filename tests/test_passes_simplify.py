"""What `simplify` does, and what it must not do, node by node."""

import jax
import numpy as np
import pytest

from brainir.backends.lax import emit
from brainir.backends.reference import run
from brainir.ir import Builder, Literal, Type, parse, verify
from brainir.passes import dead_code, simplify

F = "f32[2,3]"


def simplified(body: str, result: str = F, params: str = f"%x: {F}, %i: i32[2,3], %p: bool[2,3]"):
    """The graph of a body that ends with %y, simplified and swept."""
    graph = dead_code(simplify(parse(f"graph ({params}) -> ({result}) {{\n{body}\nreturn %y\n}}")))
    verify(graph)
    return graph


@pytest.mark.parametrize(
    "body",
    [
        "%y = mul %x, 1.0:f32",
        "%y = mul 1.0:f32, %x",
        "%y = div %x, 1.0:f32",
        "%y = sub %x, 0.0:f32",
        "%y = add %x, -0.0:f32",
        "%o = broadcast_in_dim 1.0:f32 {shape=(2, 3), dims=()}\n%y = mul %x, %o",
        "%n = neg %x\n%y = neg %n",
        "%y = integer_pow %x {y=1}",
        "%y = convert_element_type %x {new_dtype=f32}",
        "%y = copy %x",
        "%y = reshape %x {shape=(2, 3)}",
        "%r = reshape %x {shape=(6,)}\n%y = reshape %r {shape=(2, 3)}",
        "%e = expand_dims %x {dimensions=(0,)}\n%y = squeeze %e {dimensions=(0,)}",
        "%t = transpose %x {permutation=(1, 0)}\n%y = transpose %t {permutation=(1, 0)}",
        "%y = broadcast_in_dim %x {shape=(2, 3), dims=(0, 1)}",
        "%y = slice %x {start=(0, 0), limit=(2, 3), strides=(1, 1)}",
        "%y = concatenate %x {dimension=0}",
        "%y = pad %x, 1.0:f32 {config=((0, 0, 0), (0, 0, 0))}",
        "%y = dynamic_slice %x, 1:i32, 1:i32 {slice_sizes=(2, 3)}",
        "%y = select_n %p, %x, %x",
        "%z = sin %x\n%y = select_n true, %z, %x",
        "%z = sin %x\n%y = select_n 7:i32, %z, %z, %x",
        "%y = max %x, %x",
        "%y = cond true : f32[2,3] do {\n%s = sin %x\nyield %s\n} and {\nyield %x\n}",
        "%y = cond %q : f32[2,3] do {\nyield %x\n} and {\nyield %x\n}",
        "%y = while carry(%c = %x) do {\nyield false\n} and {\nyield %x\n}",
        "%y = for_loop carry(%c = %x) {length=0, reverse=false, unroll=1} do {\n"
        "%s = sin %c\nyield %s\n}",
        "%n, %y = for_loop carry(%a = %i, %c = %x) {length=4, reverse=false, unroll=1} do {\n"
        "%b = add %a, %a\nyield %b, %c\n}",
        "%y = for_loop over(%a = %x) {length=2, reverse=true, unroll=1} do {\nyield %a\n}",
    ],
)
def test_these_are_just_their_operand(body):
    graph = simplified(body, params=f"%x: {F}, %i: i32[2,3], %p: bool[2,3], %q: bool[]")
    assert graph.nodes == ()
    assert graph.results == graph.params[:1]


@pytest.mark.parametrize(
    "body",
    [
        "%y = add %x, 0.0:f32",  # -0.0 becomes 0.0
        "%y = sub 0.0:f32, %x",  # neg makes -0.0 of 0.0
        "%y = sub %x, %x",  # inf - inf is nan
        "%y = mul %x, 0.0:f32",  # and so is inf times 0
        "%y = div %x, %x",
        "%y = div 0.0:f32, %x",
        "%y = mul %x, 2.0:f32",
    ],
)
def test_what_does_not_hold_for_every_float_is_left_alone(body):
    (node,) = simplified(body).nodes
    assert node.op.name in body


@pytest.mark.parametrize(
    ("body", "number"),
    [
        ("%y = mul %i, 0:i32", 0),
        ("%y = sub %i, %i", 0),
        ("%a = add 2147483647:i32, 1:i32\n"
         "%y = broadcast_in_dim %a {shape=(2, 3), dims=()}", -(2**31)),
        ("%a = convert_element_type 2.5:f32 {new_dtype=i32}\n%b = add %a, 1:i32\n"
         "%y = broadcast_in_dim %b {shape=(2, 3), dims=()}", 3),
    ],
)  # fmt: skip
def test_these_are_whole_numbers(body, number):
    (node,) = simplified(body, "i32[2,3]").nodes
    assert node.op.name == "broadcast_in_dim"
    assert node.operands == (Literal(number, Type("int32")),)


@pytest.mark.parametrize(
    "body",
    [
        "%y = div 7:i32, 2:i32",
        "%y = div 0.0:f32, 0.0:f32",
        "%y = div 1e-20:f32, 1e20:f32",
        "%y = exp 1.0:f32",
        "%y = mul 1e-30:f32, 1e-10:f32",
        "%y = sub inf:f32, inf:f32",
        "%y = convert_element_type 3e9:f32 {new_dtype=i32}",
    ],
)
def test_constants_that_machines_may_compute_differently_are_not_folded(body):
    result = "i32[]" if "i32" in body else "f32[]"
    assert len(simplified(body, result, "").nodes) == 1


def test_constants_are_folded_with_the_precision_of_their_type():
    graph = simplified("%y = add 0.1:f32, 0.2:f32", "f32[]", "")
    assert graph.results == (
        Literal(float(np.float32(0.1) + np.float32(0.2)), graph.results[0].type),
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(), (3,)])
def test_a_quotient_of_constants_is_the_one_that_xla_would_give(shape, dtype):
    """Where XLA multiplies an array by the reciprocal, only if that rounds alike."""
    rng, build = np.random.default_rng(0), Builder()
    numbers = [1.0, -1.0, 0.0, -0.0, 3.0, 5.0, 7.0, 8.0, 64.0, 1e30, *rng.normal(size=10)]
    pairs = [(x, y) for x in numbers for y in numbers if y]
    type = Type(dtype, shape)
    for pair in pairs:
        x, y = (Literal(float(np.dtype(dtype).type(number)), Type(dtype)) for number in pair)
        build("div", build.full(type, x.value), y)
    quotients = [node.result for node in build.nodes if node.op.name == "div"]
    graph = build.graph([], quotients)
    after = dead_code(simplify(graph))
    left = sum(node.op.name == "div" for node in after.nodes)
    assert left == 0 if not shape else 0 < left < len(pairs) / 2
    with jax.enable_x64(True):
        compiled = jax.jit(emit(graph))()
    for found, mine, xla in zip(run(after), run(graph), compiled, strict=True):
        np.testing.assert_array_equal(found, mine)
        if not shape or left == 0:
            np.testing.assert_array_equal(np.signbit(found), np.signbit(xla))
            np.testing.assert_array_equal(found, xla)


@pytest.mark.parametrize(
    "made",
    [
        "%z = abs %x",
        "%z = exp %x",
        "%e = square %x\n%z = transpose %e {permutation=(0, 1)}",
        "%z = convert_element_type %i {new_dtype=f32}",
        "%e = logistic %x\n%o = abs %x\n%z = select_n %p, %e, %o",
    ],
)
def test_a_zero_is_not_added_to_what_is_never_minus_zero(made):
    graph = simplified(f"{made}\n%y = add 0.0:f32, %z")
    assert all(node.op.name != "add" for node in graph.nodes)
    x = np.array([[-0.0, 0.0, 1.0], [-np.inf, np.nan, -2.0]], np.float32)
    before = parse(
        f"graph (%x: {F}, %i: i32[2,3], %p: bool[2,3]) -> ({F}) {{\n{made}\n"
        "%y = add 0.0:f32, %z\nreturn %y\n}"
    )
    given = x, np.arange(-3, 3, dtype=np.int32).reshape(2, 3), x > 0
    (found,), (expected,) = run(graph, *given), run(before, *given)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


@pytest.mark.parametrize(
    "made", ["%z = sin %x", "%z = mul %x, 2.0:f32", "%a = abs %x\n%z = select_n %p, %x, %a"]
)
def test_a_zero_is_added_to_what_may_be_minus_zero(made):
    graph = simplified(f"{made}\n%y = add %z, 0.0:f32")
    assert graph.nodes[-1].op.name == "add"


def test_a_constant_array_becomes_a_literal_where_the_other_operand_has_the_shape():
    (node,) = simplified(
        "%o = broadcast_in_dim 2.0:f32 {shape=(2, 3), dims=()}\n%y = mul %x, %o"
    ).nodes
    assert node.operands[1] == Literal(2.0, node.operands[1].type)


def test_a_loop_of_one_step_is_run_in_place():
    graph = simplified(
        "%c, %y = for_loop carry(%a = %x) over(%b = %z) {length=1, reverse=true, unroll=1} do {\n"
        "%s = add %a, %b\nyield %s, %s\n}",
        "f32[1,2,3]",
        f"%x: {F}, %z: f32[1,2,3]",
    )
    assert all(not node.regions for node in graph.nodes)
    x, z = np.ones((2, 3), np.float32), np.ones((1, 2, 3), np.float32)
    np.testing.assert_array_equal(run(graph, x, z)[0], x + z)


LOOP = """
graph (%x: f32[3], %w: f32[3]) -> (f32[3], f32[3], f32[4,3], f32[4,3], f32[4,3]) {{
  %r = broadcast_in_dim %w {{shape=(4, 3), dims=(1,)}}
  {0}
  return %a, %b, %s, %t, %u
}}"""


def test_carries_and_yields_that_say_the_same_are_merged():
    graph = simplify(
        parse(
            LOOP.format("""
      %a, %b, %s, %t, %u = for_loop carry(%c = %x, %d = %x) over(%i = %r) {
        length=4, reverse=false, unroll=1
      } do {
        %e = add %c, %i
        yield %e, %e, %c, %c, %w
      }""")
        )
    )
    (loop,) = (node for node in graph.nodes if node.op.name == "for_loop")
    assert [value.type.shape for value in loop.results] == [(3,), (4, 3)]
    assert [operand.type.shape for operand in loop.operands] == [(3,)]
    (body,) = loop.regions
    assert body.nodes[0].operands[1] is graph.params[1]


def test_a_carry_of_a_while_that_never_changes_is_captured():
    graph = simplify(
        parse("""
    graph (%x: f32[], %w: f32[]) -> (f32[], f32[]) {
      %a, %b = while carry(%c = %x, %d = %w) do {
        %m = lt %c, %d
        yield %m
      } and {
        %e = add %c, %d
        yield %e, %d
      }
      return %a, %b
    }""")
    )
    (loop,) = graph.nodes
    assert len(loop.operands) == 1
    assert graph.results == (loop.result, graph.params[1])


def test_random_numbers_and_host_effects_are_not_folded():
    text = """
    graph (%k: key<fry>[]) -> (u32[4], u32[4]) {
      %a = random_bits %k {bit_width=32, shape=(4,)}
      %b = random_bits %k {bit_width=32, shape=(4,)}
      return %a, %b
    }"""
    assert len(simplify(parse(text)).nodes) == 2
