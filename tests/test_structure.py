"""Equality and fingerprints: what makes a difference and what does not."""

import gc
import time
import weakref

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from brainir.ir import (
    Builder,
    Const,
    Graph,
    Literal,
    Loc,
    Node,
    StateVar,
    Type,
    Value,
    equal,
    fingerprint,
    first_difference,
    get_op,
    parse,
    replay_graph,
)
from brainir.testing import ALL, graphs

F32 = Type("float32")

TEXT = """
graph @f(%x: f32[3] "mV", %n: i32[]) -> (f32[3], f32[3])
  states(@V: f32[3] hidden "mV", @W: f32[3] short)
  consts(%w: f32[3]) {
  %v = state.read @V : f32[3]
  %y = add %x, 1.0:f32 : f32[3]
  %r = round %y {rounding_method=1} : f32[3]
  %a, %b = while carry(%i = %n, %c = %r) : i32[], f32[3] do {
    %more = lt %i, 3:i32 : bool[]
    yield %more
  } and {
    %j = add %i, %n : i32[]
    %d = mul %c, %w : f32[3]
    yield %j, %d
  }
  state.write @W, %b
  return %v, %b
}
"""


def assert_same(a: Graph, b: Graph) -> None:
    assert first_difference(a, b) is None
    assert equal(a, b)
    assert fingerprint(a) == fingerprint(b)
    assert hash(fingerprint(a)) == hash(fingerprint(b))


def assert_different(a: Graph, b: Graph) -> None:
    assert first_difference(a, b) is not None
    assert not equal(a, b)
    assert fingerprint(a) != fingerprint(b)


# --- what makes no difference ---------------------------------------------------------------------


@given(graphs(dtypes=ALL, transformations=True))
def test_a_replayed_graph_is_the_same(graph):
    assert_same(graph, replay_graph(graph))


@given(graphs(), graphs())
def test_equal_graphs_have_equal_fingerprints(a, b):
    assert not equal(a, b) or fingerprint(a) == fingerprint(b)
    assert equal(a, b) == (first_difference(a, b) is None)


def test_names_hints_and_locations_make_no_difference():
    graph = parse(TEXT)
    renamed = TEXT.replace("%y", "%other").replace("@V", "@U").replace("@f", "@g")
    assert_same(graph, parse(renamed))
    located = graph.with_(
        nodes=tuple(
            Node(n.op, n.operands, n.attrs, n.regions, n.results, Loc("model.py", 3))
            for n in graph.nodes
        )
    )
    assert_same(graph, located)


def test_the_data_of_consts_make_no_difference():
    graph = parse(TEXT)
    (const,) = graph.consts
    assert_same(graph, graph.with_(consts=(Const(const.value, np.ones(3, np.float32)),)))


def test_units_and_kinds_of_states_count_for_people_only():
    graph = parse(TEXT)
    for old, new in (('"mV", %n', '"nA", %n'), ('hidden "mV"', 'hidden "V"'), ("hidden", "short")):
        other = parse(TEXT.replace(old, new, 1))
        assert not equal(graph, other)
        assert fingerprint(graph) == fingerprint(other)


def test_no_units_are_no_units_however_they_are_written():
    graph = parse(TEXT)
    assert_same(graph, graph.with_(result_units=(None, None)))


def test_the_order_of_attributes_makes_no_difference():
    texts = "{axis=0, reverse=true}", "{reverse=true, axis=0}"
    text = "graph (%x: f32[2,3]) -> (f32[2,3]) {{\n %y = cumsum %x {}\n return %y\n}}"
    assert_same(*(parse(text.format(t)) for t in texts))


# --- what does ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("add %x, 1.0:f32", "add %x, 1.5:f32"),
        ("add %x, 1.0:f32", "add 1.0:f32, %x"),
        ("add %x, 1.0:f32", "sub %x, 1.0:f32"),
        ("add %x, 1.0:f32", "add %x, %v"),
        ("rounding_method=1", "rounding_method=0"),
        ("lt %i, 3:i32", "lt %i, %n"),
        ("lt %i, 3:i32", "le %i, 3:i32"),
        ("mul %c, %w", "mul %c, %r"),
        ("state.write @W", "state.write @V"),
        ("state.read @V", "state.read @W"),
        ("yield %j, %d", "yield %i, %d"),
        ("yield %j, %d", "yield %n, %d"),
        ("return %v, %b", "return %b, %v"),
        ("return %v, %b", "return %r, %b"),
    ],
)
def test_a_change_makes_a_difference(old, new):
    assert TEXT.count(old) == 1
    a, b = parse(TEXT), parse(TEXT.replace(old, new))
    assert_different(a, b)
    mine, other = (first_difference(a, b) or "").split("\n")
    line = next(line for line in TEXT.split("\n") if old in line).strip()
    if "yield" in old:
        assert mine == "- a region ends in: " + next(
            line.strip() for line in TEXT.split("\n") if "while" in line
        )
    else:
        assert mine == f"- {line}"
        assert other == f"+ {line.replace(old, new)}"


@given(st.data())
def test_changing_one_operand_makes_a_difference(data):
    graph = data.draw(graphs())
    values = [*graph.params, *(v for n in graph.nodes for v in n.results)]
    places = [(i, k) for i, n in enumerate(graph.nodes) for k in range(len(n.operands))]
    assume(places)
    i, k = data.draw(st.sampled_from(places))
    node = graph.nodes[i]
    old = node.operands[k]
    others: list[Value | Literal] = [v for v in values if v.type == old.type and v is not old]
    if isinstance(old, Literal):
        others.append(Literal(not old.value if old.type.dtype == "bool" else 9, old.type))
    assume(others)
    operands = list(node.operands)
    operands[k] = data.draw(st.sampled_from(others))
    nodes = list(graph.nodes)
    nodes[i] = Node(node.op, tuple(operands), node.attrs, node.regions, node.results)
    assert_different(graph, graph.with_(nodes=tuple(nodes)))


@given(st.data())
def test_leaving_out_or_swapping_nodes_makes_a_difference(data):
    graph = data.draw(graphs())
    assume(len(graph.nodes) > 1)
    i = data.draw(st.integers(0, len(graph.nodes) - 2))
    nodes = list(graph.nodes)
    del nodes[i]
    assert_different(graph, graph.with_(nodes=tuple(nodes)))


def with_attribute(value: object) -> Graph:
    builder = Builder()
    builder.emit("call", (), {"a": value}, [Graph("", (), (), ())])
    return builder.graph((), ())


DISTINCT = [
    None, 0, 1, False, True, 0.0, -0.0, 1.0, float("inf"), 1j, "", "1", (), (1,), (True,), (1.0,),
    ((1,),), (1, 1), Type("float32"), Type("float32", (1,)), [1], {"a": 1}, {"a": 2}, print, len,
    np.ones(2), np.ones(3), np.ones(2, np.float32), frozenset([1]), (None,), bool, int,
]  # fmt: skip


@pytest.mark.parametrize("i", range(len(DISTINCT)))
def test_attributes_differ_by_type_and_value(i):
    for k, other in enumerate(DISTINCT):
        if i == k:
            assert_same(with_attribute(DISTINCT[i]), with_attribute(other))
        else:
            assert_different(with_attribute(DISTINCT[i]), with_attribute(other))


def test_not_a_number_is_itself():
    assert_same(with_attribute(float("nan")), with_attribute(float("nan") * -1))
    nan = [Graph("", (), (), (Literal(v, F32),)) for v in (float("nan"), -float("nan"))]
    assert_same(*nan)


def test_what_cannot_be_hashed_is_told_by_identity_and_kept_alive():
    class Opaque:
        def __eq__(self, other: object) -> bool:
            return True

    one = Opaque()
    graph = with_attribute(one)
    assert_same(graph, with_attribute(one))
    assert_different(graph, with_attribute(Opaque()))
    key, alive = fingerprint(graph), weakref.ref(one)
    del one, graph
    gc.collect()
    assert alive() is not None
    del key
    gc.collect()
    assert alive() is None


def test_states_correspond_by_position():
    states = [StateVar("a", (F32,)), StateVar("b", (F32,))]

    def reading(state: StateVar) -> Graph:
        value = Value(F32)
        node = Node(get_op("state.read"), (), {"state": state}, (), (value,))
        return Graph("", (), (node,), (value,), tuple(states))

    assert_same(reading(states[0]), reading(states[0]))
    assert_different(reading(states[0]), reading(states[1]))


def test_a_longer_graph_differs_at_its_end():
    short = parse("graph (%x: f32[]) -> (f32[]) {\n return %x\n}")
    long = parse("graph (%x: f32[]) -> (f32[]) {\n %y = neg %x\n return %x\n}")
    assert first_difference(short, long) == "- return %x\n+ %y = neg %x : f32[]"
    assert first_difference(long, short) == "- %y = neg %x : f32[]\n+ return %x"


def test_fingerprints_of_large_graphs_are_fast():
    x, builder = Value(Type("float32", (3,)), "x"), Builder()
    value = x
    for _ in range(5000):
        value = builder("mul", value, Literal(0.5, F32))
        value = builder("integer_pow", value, y=2)
    graph = builder.graph([x], [value])
    start = time.process_time()
    fingerprint(graph)
    # About 20 ms on a machine that is not busy.
    assert time.process_time() - start < 0.2


def test_values_of_a_state_are_called_by_the_last_word_of_its_name():
    names = ("V", "Layer.V", "Layer.V.2", "2")
    assert [StateVar(name, ()).hint for name in names] == ["V", "V", "V", "2"]
