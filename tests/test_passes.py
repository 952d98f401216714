"""Laws of all passes, over random graphs: meaning, form, and doing a thing once."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from brainir.backends.reference import evaluate
from brainir.ir import (
    Builder,
    Effect,
    Graph,
    Node,
    Type,
    Value,
    copy_node,
    equal,
    is_pure,
    mapped,
    replay,
    replay_region,
    touched_by,
    verify,
    walk,
)
from brainir.passes import (
    CAPTURE,
    PASSES,
    PIPELINE,
    Options,
    insert,
    parse_pass,
    purify,
    run_pipeline,
    stages,
)
from brainir.testing import (
    COMMON,
    KEY,
    Inputs,
    assert_close,
    assert_same_outcome,
    check_pass,
    graphs,
    inputs_for,
)

HOISTED = PIPELINE[: 1 + [step.name for step in PIPELINE].index("hoist-state")]
ANYWHERE = [step.name for step in PIPELINE if step.name not in ("purify", "expand-vmap")]
"""Passes that take any graph; the others need hoisted states."""


def outcome(graph: Graph, inputs: Inputs):
    return evaluate(graph, inputs.arguments, inputs.states)


def drawn(data: st.DataObject, **options) -> tuple[Graph, Inputs]:
    graph = data.draw(graphs(**options))
    return graph, data.draw(inputs_for(graph))


HARDLY_MET = (
    *("group-steps", "expand-grad", "expand-jvp", "distribute-loops"),
    *("parallel-scan", "turn-matrices", "pack-alike", "sort-out-zeros"),
)
"""Passes of what random graphs hardly have: groups of steps, gradients, large products, many alike
carries, loops of nothing but affine recurrences. Their own tests draw it."""

LOOKED_FOR = {
    "inline-calls": ["call"],
    "expand-map": ["map"],
    "forget-derivatives": ["stop_gradient"],
    "hoist-invariant": ["for_loop"],
    "common-subexpressions": ["neg", "exp", "add"],
    "outline-kernels": ["for_loop"],
}
"""Ops without which a pass has nothing to do, which graphs have seldom."""


@pytest.mark.parametrize("name", ANYWHERE)
def test_every_pass_by_itself_keeps_the_meaning(name):
    check_pass(
        PASSES[name],
        form=PASSES[name].form if name == "hoist-state" else "any",
        transformations=name != "hoist-state",
        ops=LOOKED_FOR.get(name, ()),
        may_be_idle=name in HARDLY_MET,
        examples=3 * settings().max_examples,
    )


class Twins:
    """Near twins of what is in a graph: the same but for an operand, which is a new parameter."""

    def __init__(self) -> None:
        self.builder, self.strangers, self.results, self.count = Builder(), {}, [], 0

    def of_graph(self, graph: Graph) -> Graph:
        """The graph, with a twin of each of its nodes that can have one."""
        mapping = {}
        for node in graph.nodes:
            replay([node], self.builder, mapping)
            copy = self.builder.nodes[-1]
            if node.op.name == "for_loop" and node.attrs["carries"]:
                self._of_a_carry(copy)
            elif node.operands and not node.regions and is_pure(node):
                self._of_a_node(copy)
        results = (*mapped(graph.results, mapping), *self.results)
        params = (*graph.params, *self.strangers.values())
        new = self.builder.graph(params, results, like=graph)
        return new.with_(param_units=(), result_units=())

    def _stranger(self, type: Type) -> Value:
        return self.strangers.setdefault(type, Value(type, "stranger"))

    def _of_a_node(self, node: Node) -> None:
        self.count += 1
        place, operands = self.count % len(node.operands), list(node.operands)
        operands[place] = self._stranger(operands[place].type)
        self.results += [node.results[0], copy_node(self.builder, node, operands)[0]]

    def _of_a_carry(self, loop: Node) -> None:
        """A loop with one more carry, which starts differently from the first and ends alike."""
        count, body = loop.attrs["carries"], replay_region(loop.regions[0], {})
        first = body.params[0]
        twin = Value(first.type, "twin")
        body = body.with_(
            params=(*body.params[:count], twin, *body.params[count:]),
            results=(*body.results[:count], body.results[0], *body.results[count:], first, twin),
        )
        operands = list(loop.operands)
        operands.insert(count, self._stranger(first.type))
        attrs = {**loop.attrs, "carries": count + 1}
        self.results += self.builder.emit(loop.op, operands, attrs, [body])


@settings(max_examples=2 * settings().max_examples)
@given(data=st.data())
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_near_twins_are_told_apart(data):
    dtypes = data.draw(st.sampled_from([COMMON, (KEY, "uint32", "float32")]))
    drawn_graph = data.draw(graphs(states=False, dtypes=dtypes, nodes=12))
    # A twin of what tells where connections begin would be that of no matrix.
    assume(not any(node.op.name.startswith("csr_") for node in walk(drawn_graph)))
    graph = Twins().of_graph(drawn_graph)
    inputs = data.draw(inputs_for(graph))
    for name in ("simplify", "common-subexpressions", "dead-code"):
        after = PASSES[name](graph)
        verify(after)
        assert_same_outcome(outcome(after, inputs), outcome(graph, inputs))


@given(data=st.data())
def test_the_pipeline_keeps_the_meaning_and_reaches_the_form_of_every_pass(data):
    dtypes = data.draw(st.sampled_from([COMMON, (*COMMON, KEY)]))
    graph, inputs = drawn(data, transformations=True, nodes=20, dtypes=dtypes)
    expected, forms = outcome(graph, inputs), ["any"]

    def compare(step, before, after, seconds):
        forms.append(step.form)
        for form in forms:
            verify(after, form)
        if step.form != "pure":
            assert_same_outcome(outcome(after, inputs), expected)

    run_pipeline(graph, PIPELINE, [compare])


@given(data=st.data())
def test_purifying_turns_states_into_parameters_and_results(data):
    graph, inputs = drawn(data, transformations=True)
    hoisted = run_pipeline(graph, HOISTED)
    results, states = outcome(hoisted, inputs)
    leaves = [leaf for state in hoisted.states for leaf in inputs.states[state]]
    pure_results, rest = evaluate(purify(hoisted), (*inputs.arguments, *leaves))
    written = [leaf for state in purify(hoisted).writes for leaf in states[state]]
    assert rest == {}
    for given_, expected in zip(pure_results, (*results, *written), strict=True):
        assert_close(given_, expected)


@given(data=st.data())
def test_a_hoisted_graph_reads_first_and_writes_last(data):
    graph, _ = drawn(data, transformations=True)
    hoisted = run_pipeline(graph, HOISTED)
    kinds = [
        0 if Effect.READ in node.op.effects else 2 if Effect.WRITE in node.op.effects else 1
        for node in hoisted.nodes
    ]
    assert kinds == sorted(kinds)
    for effect in (Effect.READ, Effect.WRITE):
        touched = [n.attrs["state"] for n in hoisted.nodes if effect in n.op.effects]
        assert len(set(touched)) == len(touched)
    assert all(touched_by(*node.regions).pure for node in hoisted.nodes)


@pytest.mark.parametrize("name", [step.name for step in PIPELINE if step.name != "purify"])
@given(data=st.data())
def test_a_pass_finds_nothing_to_do_a_second_time(name, data):
    graph, _ = drawn(data, transformations=True, nodes=12)
    if name not in ANYWHERE:
        graph = run_pipeline(graph, HOISTED)
    once = PASSES[name](run_pipeline(graph, [PASSES["expand-map"]]))
    assert equal(PASSES[name](once), once)


@given(data=st.data())
def test_locations_survive_all_passes(data):
    graph, _ = drawn(data, transformations=True)
    known = {node.loc for node in walk(graph)} | {None}
    assert {node.loc for node in walk(run_pipeline(graph, PIPELINE))} <= known


@given(data=st.data())
def test_passes_leave_the_graph_that_they_are_given_as_it_was(data):
    graph, _ = drawn(data, transformations=True)
    text = str(graph)
    run_pipeline(graph, PIPELINE)
    assert str(graph) == text


# --- the manager ----------------------------------------------------------------------------------


def test_a_pipeline_stops_after_the_stage_asked_for():
    graph = Graph("empty", (), (), ())
    seen = []
    run_pipeline(graph, PIPELINE, [lambda step, *_: seen.append(step.name)], until="hoist-state")
    assert seen == [step.name for step in HOISTED]
    assert run_pipeline(graph, PIPELINE, until=CAPTURE) is graph
    assert stages(HOISTED) == (CAPTURE, *seen)


def test_a_stage_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(ValueError, match="no stage 'hoist'; the stages are capture, inline-calls"):
        run_pipeline(Graph("empty", (), (), ()), PIPELINE, until="hoist")


def test_a_pass_is_found_by_text_with_options():
    step = parse_pass("distribute-loops{memory=3, cache=64}")
    assert (step.name, step.options) == ("distribute-loops", {"memory": 3, "cache": 64})
    for wrong in ("distribut", "distribute-loops{memory}", "distribute-loops{memory=3"):
        with pytest.raises(ValueError, match="distribut"):
            parse_pass(wrong)
    with pytest.raises(ValueError, match="no option row; there is flops, near, far, cache"):
        parse_pass("distribute-loops{row=3}")
    with pytest.raises(ValueError, match="simplify has no option rounds; there is none"):
        parse_pass("simplify{rounds=3}")


def test_options_choose_passes_and_equal_ones_are_one_key():
    def twice(graph):
        return graph

    own = insert(twice, after="simplify")
    options = Options(
        passes={"distribute-loops": {"memory": 3}}, leave_out=["dead-code"], insert=[own]
    )
    steps = {step.name: step for step in options.pipeline()}
    assert steps["distribute-loops"].options == {"memory": 3}
    assert [*steps][[*steps].index("simplify") + 1] == "twice"
    assert steps["twice"].form == steps["simplify"].form
    assert [*steps] == [
        name
        for step in PIPELINE
        if step.name != "dead-code"
        for name in (step.name, *(["twice"] if step.name == "simplify" else []))
    ]
    again = Options(
        "xla", {"distribute-loops": {"memory": 3}, "simplify": {}}, ("dead-code",), (own,)
    )
    assert options == again
    assert {options: "kept"}[again] == "kept"
    assert Options() != options
    merged = Options(leave_out=["simplify"]).merged(options)
    assert [step.name for step in merged.pipeline()] == [
        name for name in steps if not name.startswith("simplify")
    ]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"passes": {"simplfy": {}}}, "no pass is called 'simplfy'"),
        ({"passes": {"distribute-loops": {"row": 1}}}, "no option row"),
        ({"leave_out": ["hoist-state"]}, "hoist-state cannot be left out"),
    ],
)
def test_options_that_cannot_be_met_are_refused(asked, message):
    with pytest.raises(ValueError, match=message):
        Options(**asked)


def test_observers_see_the_graphs_on_both_sides_and_the_time():
    steps = []
    graph = Graph("empty", (), (), ())
    run_pipeline(graph, HOISTED, [lambda *seen: steps.append(seen)])
    assert [seen[0].name for seen in steps] == [step.name for step in HOISTED]
    assert steps[0][1] is graph
    assert all(one[2] is following[1] for one, following in pairwise(steps))
    assert all(np.isfinite(seconds) and seconds >= 0 for *_, seconds in steps)
