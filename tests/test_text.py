"""The text form: what is printed is read back, and what cannot be read is pointed at."""

import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from brainir.frontend.testing.graph_recipes import RECIPES
from brainir.ir import (
    Builder,
    Const,
    Graph,
    Literal,
    Loc,
    ParseError,
    StateVar,
    Type,
    Value,
    all_ops,
    equal,
    find_op,
    parse,
    print_graph,
    verify,
)
from brainir.ir.printer import literal_text
from brainir.testing import ALL, check_round_trip, graphs

F32 = Type("float32")
VECTOR = Type("float32", (3,))

REGIONS = """
graph @regions(%x: f32[3] "mV", %rows: f32[2,3], %n: i32[]) -> (f32[3] "mV", f32[], f32[])
  states(@cell.V: f32[3] hidden "mV", @"layers[0]": (f32[], i32[2]) long, @rng: key<fry>[] rng)
  consts(%weight: f32[3,3]) {
  %V = state.read @cell.V : f32[3]
  %w, %i = state.read @"layers[0]" : f32[], i32[2]
  %end, %ys = for_loop carry(%v = %V) over(%r = %rows) {length=2} : f32[3], f32[2,3] do {
    state.new @tmp: f32[3] local, %r
    %t = state.read @tmp : f32[3]
    %next = add %t, %v : f32[3]
    state.write @cell.V, %next
    yield %next, %x
  }
  %forever = for_loop {length=0, reverse=true, unroll=2} : f32[0] do {
    yield 1.0:f32
  }
  %k, %same = while carry(%a = 0:i32, %c = %x) : i32[], f32[3] do {
    %more = lt %a, %n : bool[]
    yield %more
  } and {
    %a1 = add %a, 1:i32 : i32[]
    yield %a1, %c
  }
  %branch = cond %n : f32[3] do {
    yield %x
  } and @other {
    yield %end
  } and {
    yield %V
  }
  %called = call (%d = %branch) : f32[3] do @f {
    yield %d
  }
  %ran = checkpoint (%e = %called) {prevent_cse=false} : f32[3] do {
    yield %e
  }
  %custom = custom_derivative (%p = %w) {mode="vjp"} : f32[] do @primal {
    %q = mul %p, %p : f32[]
    yield %q
  } and {
    %q1 = mul %p, %p : f32[]
    yield %q1, %p
  } and (%residual: f32[], %ct: f32[]) {
    %dw = mul %residual, %ct : f32[]
    yield %dw
  }
  %b = vmap (%l: f32[2] = %rows, %s = %w) {size=3, in_axes=(1, none), out_axes=(0,)} : f32[3,2] do {
    %scaled = mul %l, %s : f32[2]
    yield %scaled
  }
  vmap {size=3, in_axes=(), out_axes=(), in_states=((@cell.V, @lane: f32[] hidden "mV", 0),)} do {
    %lane = state.read @lane : f32[]
    yield
  }
  %mapped = map over(%one = %rows) {length=2} : f32[2,3] do {
    yield %one
  }
  %h, %g, %loss = grad (%y = %w) {wrt=(0,), states=(@cell.V,), losses=1} : f32[3], f32[], f32[] do {
    yield %y
  }
  %out, %dout = jvp %w, 1.0:f32 {wrt=(0,)} : f32[], f32[] do (%z: f32[]) {
    yield %z
  }
  state.write @"layers[0]", %g, %i
  return %end, %out, %dout
}
"""
"""Every region op, with all that the syntax of regions has."""


def without_locations(text: str) -> str:
    return re.sub(r" +# .*", "", text)


# --- round trips ----------------------------------------------------------------------------------


@given(graphs(dtypes=ALL, transformations=True))
def test_what_is_printed_is_read_back(graph):
    check_round_trip(graph)


def test_every_op_without_regions_has_a_recipe_for_random_graphs():
    names = {op.name for op in all_ops() if not op.has_regions and not op.effects and not op.opaque}
    assert names - set(RECIPES) == {"gather_lanes", "sum_lanes", "lane_index"}  # need named lanes
    assert set(RECIPES) <= names


def test_all_region_ops_are_read_back():
    graph = parse(REGIONS)
    verify(graph)
    assert str(graph) == REGIONS.strip()
    check_round_trip(graph)


def test_the_example_of_the_grammar_is_read_back():
    page = (Path(__file__).parent.parent / "docs" / "grammar.md").read_text(encoding="utf-8")
    example = page.split("```")[1]
    graph = parse(example)
    verify(graph)
    assert without_locations(example).split("\n")[2:] == [*str(graph).split("\n")[0:], ""]
    check_round_trip(graph)


@given(
    st.one_of(
        st.floats().map(lambda v: Literal(v, F32)),
        st.floats().map(lambda v: Literal(v, Type("bfloat16"))),
        st.complex_numbers(allow_nan=True).map(lambda v: Literal(v, Type("complex64"))),
        st.integers().map(lambda v: Literal(v, Type("int64"))),
        st.integers().map(lambda v: Literal(v, F32)),
        st.booleans().map(lambda v: Literal(v, Type("bool"))),
    )
)
@example(Literal(-0.0, F32))
@example(Literal(complex(-0.0, float("nan")), Type("complex128")))
@example(Literal(complex(float("-inf"), -0.0), Type("complex64")))
@example(Literal(1e-320, Type("float64")))
def test_literals_are_read_back_exactly(literal):
    graph = Graph("f", (), (), (literal,))
    check_round_trip(graph)
    (again,) = parse(str(graph)).results
    assert isinstance(again, Literal)
    assert type(again.value) is type(literal.value)
    assert repr(again.value) == repr(literal.value)


attributes = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.complex_numbers(),
        st.text(),
        st.sampled_from(["float32", "bool", "f32", "none", "key<fry>", '"', "\n", "\ud800"]),
        st.just(Type("int8", (0, 2))),
    ),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
)


@given(attributes)
def test_attributes_are_read_back(value):
    graph = Builder()
    graph.emit("call", (), {"note": value, "more": 1}, [Graph("", (), (), ())])
    graph = graph.graph((), ())
    check_round_trip(graph)
    assert repr(parse(str(graph)).nodes[0].attrs["note"]) == repr(value)


@given(st.lists(st.text(max_size=3) | st.sampled_from(["x", "x1", "x11", "1", "é"]), max_size=8))
def test_any_hints_give_distinct_names(hints):
    params = tuple(Value(VECTOR, hint) for hint in hints)
    graph = Graph("f", params, (), params)
    names = re.findall(r"%\w+(?=:)", str(graph))
    assert len(set(names)) == len(hints)
    check_round_trip(graph)


@given(st.lists(st.text(), max_size=4), st.text(), st.text())
def test_any_names_of_states_and_units_are_read_back(names, graph_name, unit):
    states = tuple(StateVar(name, (F32,), "hidden", unit) for name in names)
    value = Value(F32)
    graph = Graph(graph_name, (value,), (), (value,), states, (), (unit,), (None,))
    check_round_trip(graph)
    again = parse(str(graph))
    assert again.name == graph_name
    assert again.param_units == (unit,)
    assert [s.unit for s in again.states] == [unit] * len(names)


def test_consts_are_named_but_not_printed():
    weight = Value(Type("float32", (100, 100)), "weight")
    graph = Graph("f", (), (), (weight,), consts=(Const(weight, np.ones((100, 100))),))
    assert "consts(%weight: f32[100,100])" in str(graph)
    (const,) = parse(str(graph)).consts
    assert const.value.type == weight.type
    assert const.data is None


def test_long_headers_are_broken_into_lines():
    params = tuple(Value(VECTOR, f"a_rather_long_name_{i}") for i in range(9))
    graph = Graph("f", params, (), params[:1])
    assert max(map(len, str(graph).split("\n"))) < 100
    check_round_trip(graph)


def test_locations_are_comments():
    x, builder = Value(VECTOR, "x"), Builder(Loc("/home/me/net\nwork.py", 12, 3, "up\ndate"))
    graph = builder.graph([x], [builder("neg", x)], "f")
    assert "# net work.py:12 up date" in str(graph)
    assert "#" not in print_graph(graph, locations=False)
    check_round_trip(graph)


# --- what cannot be read --------------------------------------------------------------------------


def fault(body: str, header: str = "graph @f(%x: f32[3], %n: i32[]) -> (f32[3])") -> ParseError:
    with pytest.raises(ParseError) as caught:
        parse(f"{header} {{\n{body}\n}}", "model.bir")
    return caught.value


@pytest.mark.parametrize(
    ("body", "place", "message"),
    [
        ("  %y = negg %x\n  return %y", (2, 8), "no op is called negg; did you mean neg"),
        ("  %y = neg %z\n  return %y", (2, 12), "%z is not defined here"),
        ("  %y = neg %xx\n  return %y", (2, 12), "did you mean %x?"),
        (
            "  %y = neg %x : f32[4]\n  return %y",
            (2, 17),
            "this result of neg is f32[3], not f32[4]",
        ),
        ("  %y = neg %x : f32[3], f32[3]\n  return %y", (2, 17), "expected 1 types"),
        ("  %y, %z = neg %x\n  return %y", (2, 12), "neg has 1 results, not 2"),
        ("  %x = neg %x\n  return %x", (2, 3), "%x is already defined"),
        ("  %y = add %x, %n\n  return %y", (2, 8), "operands of one dtype expected"),
        ("  %y = add %x 1.0:f32\n  return %y", (2, 15), "the end of the line, found '1.0:f32'"),
        ("  %y = add %x, 1.0\n  return %y", (2, 16), "a literal needs a dtype, such as 1.0:f32"),
        ("  %y = add %x, 1.0:f23\n  return %y", (2, 16), "f23 is not a dtype; did you mean f32"),
        ("  %y = add %x, 1.0:float32\n  return %y", (2, 16), "did you mean f32"),
        ("  %y = iota {dtype=float}\n  return %y", (2, 20), "a string needs quotes"),
        ("  %y = neg %x {a=1, a=2}\n  return %y", (2, 21), "a is given twice"),
        ("  %y = neg %x {a=<function>}\n  return %y", (2, 18), "does not hold this attribute"),
        ('  %y = neg %x {a="b}\n  return %y', (2, 18), "a string that does not end"),
        ('  %y = neg %x {a="\\x"}\n  return %y', (2, 18), "not a string"),
        ("  %y = neg %x ; %x\n  return %y", (2, 15), "unexpected ';'"),
        ("  %y = state.read @v\n  return %y", (2, 19), "state @v is not declared"),
        ("  %y = call (%a = %x)\n  return %y", (2, 8), "call expects regions"),
        ("  %y = neg %x do {\n  yield\n  }\n  return %y", (2, 8), "neg has no regions"),
        (
            "  %y = call (%a = %x) do {\n  return %a\n  }\n  return %y",
            (3, 3),
            "a region ends with 'yield'",
        ),
        ("  return %n", (1, 36), "the graph returns (i32[]), which is not what is said here"),
        ("  return %x\n  %y = neg %x", (3, 3), "expected '}', found '%y'"),
        ("  return %x\n}\n}", (4, 1), "expected the end of the text"),
        ("  %y = neg %x", (3, 1), "expected an op, found '}'"),
    ],
)
def test_a_fault_is_pointed_at(body, place, message):
    error = fault(body)
    assert message in str(error)
    assert (error.line, error.column) == place
    first, line, caret = str(error).split("\n")
    assert first.startswith(f"model.bir:{place[0]}:{place[1]}: ")
    assert line[caret.index("^") :] == f"{body}\n}}".split("\n")[place[0] - 2][place[1] - 1 :] or (
        place[0] == 1
    )


def test_a_value_of_a_region_is_not_seen_outside():
    body = "  %y = call (%a = %x) do {\n    %b = neg %a\n    yield %b\n  }\n  return %b"
    assert "%b is not defined here" in str(fault(body))


def test_nothing_but_parse_errors_comes_of_wrong_types_of_attributes():
    for attribute in ("1", '"a"', "none", "(1, (2,))", "f32[2]", "-1", "nan"):
        fault(f"  %y = transpose %x {{permutation={attribute}}}\n  return %y")


def test_opaque_ops_are_found_by_the_resolver():
    neg = find_op("neg")
    text = "graph @f(%x: f32[3]) -> (f32[3]) {\n  %y = lax.whatever %x : f32[3]\n  return %y\n}"
    with pytest.raises(ParseError, match=r"no op is called lax\.whatever"):
        parse(text)
    graph = parse(text, resolve=lambda name: neg if name == "lax.whatever" else find_op(name))
    assert graph.nodes[0].op is neg


def test_an_attribute_without_text_makes_the_text_unreadable():
    builder = Builder()
    builder.emit("call", (), {"fun": print}, [Graph("", (), (), ())])
    text = str(builder.graph((), ()))
    assert "{fun=<builtin_function_or_method>}" in text
    with pytest.raises(ParseError, match="does not hold this attribute"):
        parse(text)


def mutated(draw: st.DrawFn) -> str:
    text = str(parse(REGIONS))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = start + draw(st.integers(0, 9))
        other = draw(st.integers(0, len(text)))
        cut = draw(
            st.sampled_from(["", "(", "}", "%x", "0", '"', "{", "-1", text[other : other + 9]])
        )
        text = text[:start] + cut + text[end:]
    return text


@given(st.one_of(st.composite(mutated)(), st.text()))
def test_damaged_text_gives_parse_errors_only(text):
    with suppress(ParseError):
        parse(text)


# --- size -----------------------------------------------------------------------------------------


def nested(depth: int) -> str:
    lines = ["graph (%x: f32[]) -> (f32[]) {"]
    lines += [f"%y{i} = checkpoint {{prevent_cse=false}} do {{" for i in range(depth)]
    lines += ["yield %x", *(f"}}\nyield %y{i}" for i in range(depth - 1, 0, -1)), "}", "return %y0"]
    return "\n".join([*lines, "}"])


def test_deep_nesting_is_printed_and_read():
    graph = parse(nested(200))
    verify(graph)
    check_round_trip(graph)


def test_nesting_deeper_than_the_recursion_limit_is_read():
    assert len(str(parse(nested(1500))).split("\n")) > 4500


def test_large_graphs_are_printed_and_read():
    x, builder = Value(VECTOR, "x"), Builder(Loc("/home/me/model.py", 12, 0, "update"))
    value = x
    for _ in range(2500):
        value = builder("mul", value, Literal(0.5, F32))
        value = builder("add", value, x)
        value = builder("neg", builder("tanh", value))
    graph = builder.graph([x], [value], "large")
    assert equal(parse(str(graph)), graph)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_every_narrow_number_is_read_back_from_its_few_digits(dtype):
    with np.errstate(invalid="ignore"):
        numbers = np.arange(2**16, dtype=np.uint16).view(np.dtype(dtype)).astype(float)
    for number in numbers[np.isfinite(numbers)]:
        literal = Literal(float(number), Type(dtype))
        text = literal_text(literal)
        assert literal.value == number
        assert Literal(float(text.partition(":")[0]), Type(dtype)) == literal, text


def test_a_literal_is_the_nearest_number_of_its_dtype_and_shown_in_few_digits():
    for number, text in ((0.9, "0.9:f32"), (1e39, "inf:f32"), (-0.0, "-0.0:f32"), (3.0, "3.0:f32")):
        literal = Literal(number, Type("float32"))
        assert literal_text(literal) == text
        assert literal == Literal(literal.value, Type("float32"))
    assert Literal(0.9, Type("float32")).value == float(np.float32(0.9))
