"""Options: what is asked of the compiler is in force where it was asked for, and nowhere else."""

import copy
import json
import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import brainir
from brainir import Options, transform
from brainir.frontend.options import in_force
from brainir.frontend.program import executables
from brainir.frontend.tools.graph_files import parse_graphs
from brainir.frontend.tools.report import report_data
from brainir.frontend.tools.scripts import run_script
from brainir.ir import replay_graph
from brainir.passes import PIPELINE, insert
from brainir.testing import Runner, World, programs

SCRIPT = """
import jax.numpy as jnp
import brainir

@brainir.transform.jit
def run(x):
    return brainir.transform.for_loop(lambda v: 1.0 * v + 2.0, x)

run(jnp.ones(4))
with brainir.options(leave_out=["dead-code"]):
    run(jnp.ones(4))
run(jnp.zeros(4))
"""


def subtract(graph):
    """A wrong pass: what was added is subtracted."""

    def rewrite(builder, node, operands, mapping):
        return builder.emit("sub", operands) if node.op.name == "add" else None

    return replay_graph(graph, rewrite)


WRONG = Options(insert=[insert(subtract, after="dead-code")])


def ops(graph):
    return [node.op.name for node in graph.nodes]


# --- what is in force -----------------------------------------------------------------------------


def test_contexts_nest_and_end_also_by_an_error():
    outside = in_force.options

    def fail():
        with brainir.options(Options("reference")) as inner:
            assert in_force.options is inner
            assert (inner.backend, inner.leave_out) == ("reference", ("simplify",))
            with brainir.options(backend="xla", passes={"distribute-loops": {"memory": 0}}) as last:
                assert str(last) == "distribute-loops{memory=0}, without simplify"
                raise ZeroDivisionError

    with brainir.options(leave_out=["simplify"]) as outer:
        with pytest.raises(ZeroDivisionError):
            fail()
        assert in_force.options is outer
    assert in_force.options is outside


def test_options_hold_for_the_thread_that_asks():
    found = []
    double = transform.jit(lambda x: 1.0 * x + x)

    def look():
        found.append(ops(double.trace(2.0).graph()))

    with brainir.options(leave_out=["simplify"]):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        look()
    assert found == [["add"], ["mul", "add"]]


def test_nothing_stale_runs_after_a_context_has_ended_or_within_another():
    total = brainir.State(jnp.zeros(()))

    @transform.jit
    def accumulate(x):
        total.value = total.value + x
        return total.value

    assert accumulate(2.0) == 2
    for _ in range(2):
        with brainir.options(WRONG):
            assert accumulate(2.0) == 0
            assert accumulate(2.0) == -2
        assert accumulate(2.0) == 0
        assert accumulate(2.0) == 2
    with brainir.options(WRONG), brainir.options(backend="reference"):
        assert accumulate(3.0) == -1
    with brainir.options(backend="reference"):
        assert accumulate(3.0) == 2


def test_transformations_outside_jit_obey_the_options():
    def step(x):
        return x + 1.0

    xs = jnp.arange(3.0)
    for _ in range(2):
        np.testing.assert_array_equal(transform.for_loop(step, xs), [1, 2, 3])
        with brainir.options(WRONG):
            np.testing.assert_array_equal(transform.for_loop(step, xs), [-1, 0, 1])


def test_somebody_elses_trace_gets_what_the_options_ask_for():
    def run(x):
        return transform.for_loop(lambda v: v + 1.0, x).sum()

    with brainir.options(WRONG):
        assert jax.jit(run)(jnp.zeros(2)) == -2
        assert jax.jit(transform.jit(run))(jnp.zeros(2)) == -2
        assert transform.jit(lambda x: jax.vmap(run)(x))(jnp.zeros((1, 2))) == -2
    assert jax.jit(lambda x: run(x))(jnp.zeros(2)) == 2


def test_equal_options_share_what_was_compiled():
    traced = []

    @transform.jit
    def run(x):
        traced.append(x)
        return x * 3.0

    def loop(x):
        return transform.for_loop(lambda v: v * 3.125, x)

    def call_both():
        run(1.0)
        loop(jnp.ones(2))

    with brainir.options(leave_out=["simplify"]):
        call_both()
    count = len(executables)
    for asked in (Options("xla", leave_out=("simplify",)), Options(leave_out=["simplify"] * 2)):
        with brainir.options(asked):
            call_both()
    assert (len(traced), len(executables)) == (1, count)
    call_both()
    assert (len(traced), len(executables)) == (2, count + 1)


def test_going_from_options_to_others_and_back_traces_once_for_each():
    traced = []
    state = brainir.State(jnp.zeros(()))

    @transform.jit
    def step(x):
        traced.append(x)
        state.value = state.value + x

    for _ in range(5):
        step(1.0)
        with brainir.options(passes={"distribute-loops": {"memory": 3}}):
            step(1.0)
            step(1.0)
    assert (len(traced), state.value) == (2, 15)
    state.value = jnp.zeros(2)  # of another shape: traced once more for each, and no more
    for _ in range(2):
        step(1.0)
        with brainir.options(passes={"distribute-loops": {"memory": 3}}):
            step(1.0)
    assert len(traced) == 4
    np.testing.assert_array_equal(state.value, [4, 4])


def test_the_fast_way_stays_open_under_options():
    step = transform.jit(lambda x: x + 1.0)
    step(1.0)
    with brainir.options(leave_out=["simplify"]):
        step(1.0)
        assert step._only is not None
    step(1.0)
    assert step._only is not None
    before = step._only
    step(2.0)
    assert step._only is before


def test_what_depends_on_the_environment_too_is_found_under_its_own_options():
    @transform.jit
    def step(x):
        return x + brainir.environ.get("rate")

    with brainir.environ.context(rate=1.0), brainir.options(WRONG):
        assert step(3.0) == 2
    with brainir.environ.context(rate=2.0):
        assert step(3.0) == 5
    with brainir.environ.context(rate=1.0):
        assert step(3.0) == 4


def test_equal_options_that_came_about_otherwise_open_the_fast_way_again():
    step = transform.jit(lambda x: x + 1.0)
    with brainir.options(leave_out=["simplify", "dead-code"]):
        step(1.0)
        entry = step._only
    with brainir.options(leave_out=["simplify"]), brainir.options(leave_out=["dead-code"]):
        step(1.0)
        assert step._only is entry
        assert entry.context is in_force.options


# --- options of one function ----------------------------------------------------------------------


def test_a_function_has_options_over_those_around_it():
    function = transform.jit(lambda x: 1.0 * x + x, options=Options("xla", leave_out=["simplify"]))
    with brainir.options(backend="reference", leave_out=["dead-code"]):
        stages = function.trace(1.0)
    assert stages.options == Options(leave_out=["dead-code", "simplify"])
    assert ops(stages.graph()) == ["mul", "add"]
    assert ops(function.trace(1.0).graph()) == ["mul", "add"]


def test_methods_and_copies_keep_the_options_of_their_function():
    class Model(brainir.nn.Module):
        @transform.jit(options=WRONG)
        def update(self, x):
            return x + 1.0

    model = Model()
    assert model.update(3.0) == 2
    assert copy.deepcopy(model).update(3.0) == 2
    assert copy.copy(model.update).options == WRONG


def test_inside_another_function_the_options_of_the_outermost_count():
    inner = transform.jit(lambda x: x + 1.0, options=WRONG)
    assert inner(3.0) == 2
    assert transform.jit(lambda x: inner(x))(3.0) == 4
    assert transform.jit(lambda x: inner(x), options=WRONG)(3.0) == 2


# --- passes ---------------------------------------------------------------------------------------


def test_a_pass_of_ones_own_is_a_stage_like_all_others():
    function = transform.jit(lambda x: x + 1.0)
    with brainir.options(WRONG):
        traced = function.trace(1.0)
    assert ops(traced.graph("dead-code")) == ["add"]
    assert ops(traced.graph("subtract")) == ["sub"]
    with pytest.raises(ValueError, match="there is no stage 'subtract'"):
        function.trace(1.0).graph("subtract")


def test_a_pass_that_is_left_out_is_no_stage():
    with brainir.options(leave_out=["simplify"]):
        traced = transform.jit(lambda x: 1.0 * x).trace(1.0)
    assert ops(traced.graph()) == ["mul"]
    with pytest.raises(ValueError, match="there is no stage 'simplify'"):
        traced.graph("simplify")
    with brainir.options(backend="reference"):
        assert ops(traced.graph()) == ["mul"]  # as it was traced


def test_every_pass_that_can_be_left_out_leaves_results_as_they_are():
    def loss(w):
        def step(carry, x):
            return jnp.tanh(carry * w + x), carry * 1.0

        last, all = transform.scan(step, jnp.ones(3), jnp.ones((4, 3)))
        return (last * all).sum()

    expected = transform.grad(loss)(0.5)
    optional = [step.name for step in PIPELINE if step.optional]
    for left_out in (*([name] for name in optional), optional):
        with brainir.options(leave_out=left_out):
            np.testing.assert_allclose(transform.grad(loss)(0.5), expected, rtol=1e-5)


def test_validate_runs_the_passes_that_are_asked_for(tmp_path):
    def function(x):
        return x + 1.0

    with brainir.options(WRONG):
        report = brainir.validate(function, 1.0, folder=tmp_path)
    assert report.first_pass == "subtract"
    assert [*report.stages][-1] == "dead-code" or not report.ok
    asked = Options("reference", leave_out=["simplify"])
    report = brainir.validate(transform.jit(function, options=asked), 1.0)
    assert report.ok
    names = [step.name for step in PIPELINE if step.family != "simplify"]
    assert [*report.stages] == [
        f"{prefix}{name}" for prefix in ("", "gradients: ") for name in (*names, "reference")
    ]


# --- random programs ------------------------------------------------------------------------------

OPTIONAL = [step.name for step in PIPELINE if step.optional]


def outcome(recipe, asked):
    """What a program returns and leaves behind, jitted and not; None if it is refused."""
    found = []
    for wrap in (transform.jit, lambda f: f):
        world = World()
        run = wrap(lambda x, world=world: Runner(world).block(recipe, [x]))
        with brainir.options(asked):
            try:
                result = run(jnp.array([0.3, -0.7, 1.1], jnp.float32))
            except (brainir.BrainIRError, ValueError, TypeError):
                return None
        found.append((result, world.values()))
    return found


def test_random_programs_mean_the_same_whatever_is_asked_for():
    compared = []

    @given(
        programs(depth=2),
        st.sampled_from(["xla", "reference"]),
        st.lists(st.sampled_from(OPTIONAL), unique=True),
    )
    def law(recipe, backend, left_out):
        expected = outcome(recipe, Options())
        found = outcome(recipe, Options(backend, leave_out=left_out))
        assert (found is None) == (expected is None)
        compared.append(found is not None)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            assert isinstance(a, jax.Array) == isinstance(b, jax.Array)
            if jnp.issubdtype(jnp.result_type(a), jax.dtypes.prng_key):
                a, b = jax.random.key_data(a), jax.random.key_data(b)
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)

    law()
    assert sum(compared) > len(compared) / 2 > 0


# --- what cannot be -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"backend": "gpu"}, "no backend is called 'gpu'; there are reference, xla"),
        ({"leave_out": ["purify"]}, "purify cannot be left out, since others build on it"),
        ({"leave_out": ["simplfy"]}, "no pass is called 'simplfy'"),
        ({"passes": {"simplify": {"rounds": 1}}}, "simplify has no option rounds"),
    ],
)
def test_what_cannot_be_met_is_refused_where_it_is_asked_for(asked, message):
    with pytest.raises(ValueError, match=message), brainir.options(**asked):
        pass
    with pytest.raises(ValueError, match=message):
        transform.jit(lambda x: x, options=Options(**asked))


def test_options_are_options():
    with pytest.raises(TypeError, match=r"an instance of brainir\.Options, not \{'backend'"):
        transform.jit(lambda x: x, options={"backend": "xla"})  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="not both"), brainir.options(Options(), backend="xla"):
        pass


# --- commands -------------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.py"
    path.write_text(SCRIPT)
    return str(path)


def test_dump_shows_options_that_are_not_the_usual_ones(model, brainir_command):
    code, out, _ = brainir_command("dump", model)
    assert code == 0
    first, second = out.split("\n\n")[:2]
    assert first.startswith("graph @run")
    assert second.startswith("# options: without dead-code\ngraph @run")
    code, out, _ = brainir_command(
        "dump", model, "-O", "distribute-loops{memory=4}", "--leave-out", "simplify"
    )
    assert code == 0
    assert out.startswith("# options: distribute-loops{memory=4}, without simplify\n")
    assert "mul" in out.split("\n\n")[0]
    text = "\n".join(line.partition("  #")[0] for line in out.splitlines())
    assert len(parse_graphs(text, "out")) == 2


def test_dump_says_options_in_other_formats_too(model, brainir_command):
    _, out, _ = brainir_command("dump", model, "--backend", "reference", "--format", "json")
    first, second = map(json.loads, out.splitlines())
    assert first["options"] == "backend=reference"
    assert second["options"] == "backend=reference, without dead-code"
    _, out, _ = brainir_command("dump", model, "--format", "json")
    assert "options" not in json.loads(out.splitlines()[0])
    _, out, _ = brainir_command("dump", model, "--leave-out", "simplify", "--format", "dot")
    assert out.startswith("// options: without simplify\ndigraph")


def test_stats_are_those_of_the_passes_and_the_backend_that_are_asked_for(model, brainir_command):
    def first(*arguments):
        code, out, _ = brainir_command("stats", model, *arguments)
        assert code == 0
        return out

    def products(*arguments):
        (found, *_) = map(
            json.loads, first("--no-xla", "--format", "json", *arguments).splitlines()
        )
        return sum(op["nodes"] for op in found["ops"] if op["op"] == "mul")

    left_out = "--no-xla", "--leave-out", "simplify", "--leave-out", "distribute-loops"
    assert (products(), products(*left_out)) == (0, 1)
    assert "  options: without simplify, without distribute-loops\n" in first(*left_out)
    found = first("--backend", "reference")
    assert "numpy, work: does not say" in found
    assert "numpy, memory: arguments 16 B, results 16 B" in found


def test_stats_of_a_graph_in_text_take_options(tmp_path, brainir_command):
    path = tmp_path / "double.bir"
    path.write_text(
        "graph @f(%x: f32[2]) -> (f32[2]) {\n %0 = mul 1.0:f32, %x : f32[2]\n"
        " %1 = add %0, %x : f32[2]\n return %1\n}\n"
    )
    for more, nodes in (((), 1), (("--leave-out", "simplify"), 2)):
        _, out, _ = brainir_command("stats", str(path), "--no-xla", "--stage", "purify", *more)
        assert f"@f: {nodes} nodes" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--leave-out", "purify"), "purify cannot be left out"),
        (("-O", "simplify"), "give options in braces"),
        (("-O", "simplify{x=1}"), "simplify has no option x"),
        (("-O", "simplfy{x=1}"), "no pass is called 'simplfy'"),
        (("--backend", "gpu"), "invalid choice: 'gpu'"),
    ],
)
def test_wrong_options_on_the_command_line_are_refused(model, brainir_command, arguments, message):
    for command in ("dump", "stats", "report"):
        code, out, err = brainir_command(command, model, *arguments)
        assert (code, out) == (2, "")
        assert message in err


def test_the_report_tells_the_options_of_each_function(model):
    asked = Options("reference")
    data = report_data(model, run_script(model, asked=asked).programs)
    first, second = data["functions"]
    assert first["options"] == "backend=reference"
    assert second["options"] == "backend=reference, without dead-code"
    assert first["xla"] is None
    usual = report_data(model, run_script(model).programs, measure_xla=False)
    assert [function["options"] for function in usual["functions"]] == ["", "without dead-code"]


def test_a_script_leaves_the_options_as_they_were(model):
    before = in_force.options
    run_script(model, asked=Options("reference"))
    assert in_force.options is before


def test_a_pass_of_ones_own_says_where_it_runs():
    own: Any = [lambda graph: graph]
    with pytest.raises(TypeError, match=r"use brainir\.passes\.insert\(step, after=\.\.\.\)"):
        Options(insert=own)
