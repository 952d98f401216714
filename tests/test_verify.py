"""Verification: well-formed graphs pass, and every planted fault is found and shown."""

import pytest
from hypothesis import given

from brainir.ir import (
    FORMS,
    Builder,
    Const,
    Form,
    Graph,
    Literal,
    Loc,
    Node,
    StateVar,
    Type,
    Value,
    VerificationError,
    get_op,
    parse,
    verify,
)
from brainir.testing import ALL, graphs

F32 = Type("float32")
VECTOR = Type("float32", (3,))

TEXT = """
graph @f(%x: f32[3], %n: i32[]) -> (f32[3])
  states(@V: f32[3] hidden)
  consts(%w: f32[3]) {
  %y = add %x, %w : f32[3]
  %z = call (%a = %y) : f32[3] do {
    %b = mul %a, %x : f32[3]
    yield %b
  }
  state.write @V, %z
  return %z
}
"""


@pytest.fixture
def graph() -> Graph:
    return parse(TEXT)


def changed(node: Node, **changes) -> Node:
    """Return a node with some fields changed, which no inference sees."""
    fields = {name: getattr(node, name) for name in Node.__slots__}
    return Node(**{**fields, **changes})


def with_node(graph: Graph, index: int, node: Node) -> Graph:
    """Return a graph in which one node is replaced, and its results stand for the old ones."""
    nodes = list(graph.nodes)
    nodes[index] = node
    return graph.with_(nodes=tuple(nodes))


def complaint(graph: Graph, form: str | Form = "any") -> str:
    with pytest.raises(VerificationError) as caught:
        verify(graph, form)
    return str(caught.value)


@given(graphs(dtypes=ALL, transformations=True))
def test_drawn_graphs_are_well_formed(graph):
    verify(graph)


def test_a_fault_is_shown_with_its_lines_and_the_users_own(graph):
    node = changed(graph.nodes[1], operands=(Value(VECTOR, "lost"),), loc=Loc("m.py", 3, 0, "up"))
    assert complaint(with_node(graph, 1, node)) == (
        "call: %lost is not defined here\n"
        "from m.py:3 up\n"
        "in the graph:\n"
        "  3 |   consts(%w: f32[3]) {\n"
        "  4 |   %y = add %x, %w : f32[3]\n"
        "  5 |   %z = call (%a = %lost) : f32[3] do {\n"
        "    |        ^\n"
        "  6 |     %b = mul %a, %x : f32[3]\n"
        "  7 |     yield %b"
    )


# --- planted faults -------------------------------------------------------------------------------


def test_an_operand_must_be_defined_before(graph):
    late = graph.with_(nodes=graph.nodes[::-1])
    assert "state.write: %z is not defined here" in complaint(late)


def test_a_result_must_be_defined(graph):
    assert "the result %0 is not defined here" in complaint(graph.with_(results=(Value(VECTOR),)))


def test_what_a_region_defines_is_not_seen_outside(graph):
    (inner,) = graph.nodes[1].regions[0].results
    assert "%b is not defined here" in complaint(graph.with_(results=(inner,)))


def test_a_region_does_not_see_what_comes_later(graph):
    _, call, _ = graph.nodes
    (body,) = call.regions
    y, z = Value(VECTOR), Value(VECTOR)
    late = Node(get_op("neg"), (graph.params[0],), {}, (), (y,))
    region = body.with_(results=(y,))
    call = changed(call, operands=graph.params[:1], regions=(region,), results=(z,))
    wrong = graph.with_(nodes=(call, late), results=(z,))
    assert "call: the result %1 is not defined here" in complaint(wrong)


def test_a_value_is_defined_once(graph):
    assert "add: %y is defined a second time" in complaint(
        graph.with_(nodes=(graph.nodes[0], *graph.nodes))
    )
    assert "%x is defined a second time" in complaint(
        graph.with_(params=(*graph.params, graph.params[0]))
    )


def test_two_regions_may_not_define_the_same_value(graph):
    _, call, write = graph.nodes
    other = changed(call, results=(Value(VECTOR),))
    assert "call: %a is defined a second time" in complaint(
        graph.with_(nodes=(graph.nodes[0], call, other, write))
    )


def test_types_must_be_what_inference_says(graph):
    wrong = Value(Type("float32", (4,)), "y")
    node = changed(graph.nodes[0], results=(wrong,))
    assert "add: the results should be (f32[3]), not (f32[4])" in complaint(
        with_node(graph, 0, node)
    )


def test_inference_must_accept_a_node(graph):
    node = changed(graph.nodes[0], operands=graph.params)
    assert "add: operands of one dtype expected" in complaint(with_node(graph, 0, node))
    node = changed(graph.nodes[0], attrs={"axis": 1})
    assert "unexpected keyword argument 'axis'" in complaint(with_node(graph, 0, node))


def test_regions_must_fit_their_node(graph):
    node = graph.nodes[1]
    (body,) = node.regions
    other = body.with_(params=(Value(F32, "a"),), nodes=(), results=graph.params[:1])
    assert "call: arguments: expected" in complaint(
        with_node(graph, 1, changed(node, regions=(other,)))
    )
    other = body.with_(results=(Literal(1.0, F32),))
    assert "the results should be (f32[]), not (f32[3])" in complaint(
        with_node(graph, 1, changed(node, regions=(other,)))
    )
    assert "call: has no regions" in complaint(with_node(graph, 1, changed(node, regions=())))
    node = graph.nodes[0]
    region = Graph("", (), (), ())
    assert "add: has regions" in complaint(with_node(graph, 0, changed(node, regions=(region,))))


def test_only_the_outermost_graph_has_states_consts_and_units(graph):
    node = graph.nodes[1]
    (body,) = node.regions
    const = Const(Value(F32))
    for region in (
        body.with_(states=(StateVar("S", (F32,)),)),
        body.with_(consts=(const,)),
        body.with_(param_units=("mV",)),
        body.with_(result_units=("mV",)),
    ):
        assert "a region cannot have states, consts or units" in complaint(
            with_node(graph, 1, changed(node, regions=(region,)))
        )


def test_states_must_be_declared(graph):
    assert "state.write: state @V is not declared here" in complaint(graph.with_(states=()))
    twice = graph.with_(states=(*graph.states, *graph.states))
    assert "state @V is declared twice" in complaint(twice)


def test_states_in_other_attributes_must_be_declared(graph):
    text = """
    graph (%x: f32[]) -> (f32[]) states(@V: f32[] hidden) {
      %g, %y = grad (%a = %x) {wrt=(), states=(@V,), losses=1} do {
        yield %a
      }
      return %g
    }"""
    verify(parse(text))
    assert "grad: state @V is not declared here" in complaint(parse(text).with_(states=()))


LOCAL = """
graph (%x: f32[]) -> (f32[]) {
  %y = call do {
    state.new @S: f32[] local, %x
    %v = state.read @S
    yield %v
  }
  return %y
}"""


def test_a_state_created_in_a_region_is_not_seen_outside():
    graph = parse(LOCAL)
    verify(graph)
    (call,) = graph.nodes
    new, _ = call.regions[0].nodes
    read = Node(get_op("state.read"), (), {"state": new.attrs["state"]}, (), (Value(F32),))
    outside = graph.with_(nodes=(call, read))
    assert "state.read: state @S is not declared here" in complaint(outside)


def test_a_state_is_created_once():
    graph = parse(LOCAL)
    (call,) = graph.nodes
    new, read = call.regions[0].nodes
    twice = call.regions[0].with_(nodes=(new, new, read))
    wrong = with_node(graph, 0, changed(call, regions=(twice,)))
    assert "state.new: state @S is created a second time" in complaint(wrong)
    declared = graph.with_(states=(new.attrs["state"],))
    assert "state.new: state @S is created a second time" in complaint(declared)


LANES = """
graph @f(%x: f32[3]) -> (f32[3])
  states(@V: f32[3] hidden, @m: f32[] short) {
  %y = vmap (%a: f32[] = %x) {
    size=3, in_axes=(0,), out_axes=(0,), in_states=((@V, @lane: f32[] hidden, 0),),
    out_states=((@V, @lane, 0),), axis_name=none
  } : f32[3] do {
    %v = state.read @lane : f32[]
    %w = add %v, %a : f32[]
    state.write @lane, %w
    yield %w
  }
  return %y
}
"""


def test_a_vmap_declares_what_a_lane_sees_of_a_state():
    graph = parse(LANES)
    verify(graph)
    (node,) = graph.nodes
    ((outer, lane, _),) = node.attrs["in_states"]
    other = graph.states[1]

    def declared(*triples):
        return with_node(graph, 0, changed(node, attrs={**node.attrs, "in_states": triples}))

    for triples, message in (
        ([(StateVar("no", outer.types), lane, 0)], "vmap: state @no is not declared here"),
        ([(outer, other, 0)], "vmap: state @m is declared already, so it cannot be a lane"),
        ([(outer, lane, None)], "vmap: a lane of state @V is f32[3], unlike @lane"),
        ([(outer, lane)], "vmap: in_states is a tuple of triples"),
        ([7], "vmap: in_states is a tuple of triples"),
    ):
        assert message in complaint(declared(*triples))
    wrong = changed(node, attrs={**node.attrs, "in_states": 7})
    assert "in_states is a tuple of triples" in complaint(with_node(graph, 0, wrong))
    silent = changed(node, attrs={**node.attrs, "in_states": (), "out_states": ()})
    assert "state.read: state @lane is not declared here" in complaint(with_node(graph, 0, silent))
    after = Node(get_op("state.read"), (), {"state": lane}, (), (Value(F32),))
    assert "state.read: state @lane is not declared here" in complaint(
        graph.with_(nodes=(node, after))
    )


@pytest.mark.parametrize(
    ("literal", "problem"),
    [
        (Literal(300, Type("uint8")), "%s does not fit its dtype"),
        (Literal(-1, Type("uint8")), "%s does not fit its dtype"),
        (Literal(2**31, Type("int32")), "%s does not fit its dtype"),
        (Literal(1.0, Type("int32")), "%s is not an integer"),
        (Literal(2, Type("bool")), "%s does not fit its dtype"),
        (Literal(1j, F32), "%s is not real"),
        (Literal(0, Type("key<fry>")), "%s cannot be a literal"),
    ],
)
def test_literals_must_fit_their_dtype(literal, problem):
    graph = Graph("f", (), (), (literal,))
    text = str(graph).split("return ")[1].split("\n")[0]
    assert problem % text in complaint(graph)


@pytest.mark.parametrize(
    "literal",
    [
        Literal(255, Type("uint8")),
        Literal(-(2**63), Type("int64")),
        Literal(1, F32),
        Literal(1, Type("bool")),
        Literal(float("nan"), Type("bfloat16")),
        Literal(1.0, Type("complex64")),
    ],
)
def test_fitting_literals_pass(literal):
    verify(Graph("f", (), (), (literal,)))


def test_units_must_be_as_many_as_values(graph):
    assert "1 units for 2 parameters" in complaint(graph.with_(param_units=("mV",)))
    assert "2 units for 1 results" in complaint(graph.with_(result_units=("mV", None)))


def test_deep_nesting_is_verified():
    x = Value(F32, "x")
    inner = Graph("", (), (), (x,))
    values: list[Value] = []
    for _ in range(200):
        values.append(Value(F32))
        node = Node(get_op("call"), (), {}, (inner,), (values[-1],))
        inner = Graph("", (), (node,), (values[-1],))
    verify(inner.with_(params=(x,), results=tuple(values[-1:])))


# --- forms ----------------------------------------------------------------------------------------

INSIDE = LOCAL.replace("state.new @S: f32[] local, %x", "").replace(
    "(f32[]) {", "(f32[]) states(@S: f32[] hidden) {"
)
NEW = "graph (%x: f32[]) -> () {\n state.new @S: f32[] local, %x\n return\n}"
VMAP = """
graph (%x: f32[2]) -> (f32[2]) {
  %y = vmap (%a: f32[] = %x) {size=2, in_axes=(0,), out_axes=(0,)} do {
    yield %a
  }
  return %y
}"""


@pytest.mark.parametrize(
    ("form", "text", "message"),
    [
        ("hoisted", INSIDE, "state.read: states should be touched outside all regions only"),
        ("hoisted", NEW, "state.new: states created in the graph should have become values"),
        ("pure", TEXT, "state.write: no states should be left in the form 'pure'"),
        ("pure", INSIDE, "state.read: no states should be left"),
        ("expanded", VMAP, "vmap: should have been expanded"),
    ],
)
def test_a_form_refuses(form, text, message):
    graph = parse(text)
    verify(graph)
    assert message in complaint(graph, form)


@pytest.mark.parametrize(
    ("form", "text"), [("hoisted", TEXT), ("expanded", TEXT), ("expanded", INSIDE), ("pure", VMAP)]
)
def test_a_form_accepts(form, text):
    verify(parse(text), form)
    verify(parse(text), FORMS[form])


def test_a_form_of_ones_own(graph):
    flat = Form("flat", "No regions.", lambda node, depth: "is nested" if depth else None)
    assert "mul: is nested in the form 'flat'" in complaint(graph, flat)


def test_the_builder_does_not_need_verification():
    x, build = Value(VECTOR, "x"), Builder()
    verify(build.graph([x], [build("add", x, Literal(1.0, F32))]))
