"""The command ``opt``: passes over graphs in text."""

import pytest
from command_samples import GRAPH

import brainir
from brainir.frontend.tools.graph_files import parse_graphs


def test_opt_runs_the_passes_that_are_named(leak, brainir_command):
    code, out, _ = brainir_command("opt", leak, "-p", "hoist-state, purify", "--verify")
    assert code == 0
    (graph,) = parse_graphs(out, "out")
    assert [param.hint for param in graph.params] == ["x", "V"]
    assert len(graph.results) == 2


def test_opt_without_passes_prints_what_it_reads(leak, brainir_command):
    code, out, _ = brainir_command("opt", leak)
    assert (code, out.strip()) == (0, GRAPH.strip())


def test_opt_reads_standard_input_and_several_graphs(brainir_command):
    two = GRAPH + "# another one\n" + GRAPH.replace("@leak", "@other")
    code, out, _ = brainir_command("opt", "-", "-p", "all", stdin=two)
    assert code == 0
    assert [graph.name for graph in parse_graphs(out, "out")] == ["leak", "other"]
    _, out, _ = brainir_command("opt", "-", "--select", "other", stdin=two)
    assert out.strip() == GRAPH.replace("@leak", "@other").strip()


def test_opt_tells_what_passes_do_on_the_standard_error(leak, brainir_command):
    code, out, err = brainir_command("opt", leak, "-p", "all", "--print-after-all", "--time")
    assert code == 0
    for name in brainir.passes.PASSES:
        assert f"# after {name}\n" in err
        assert any(line.startswith(f"{name} ") for line in err.splitlines())
    assert "# after" not in out


def test_opt_finds_a_pass_that_breaks_a_graph(leak, brainir_command, monkeypatch):
    broken = brainir.passes.Pass("simplify", lambda graph: graph.with_(results=()), "any")
    monkeypatch.setitem(brainir.passes.PASSES, "simplify", broken)
    code, out, err = brainir_command("opt", leak, "-p", "simplify", "--verify")
    assert (code, out) == (1, "")
    assert "after simplify, the graph is wrong" in err
    assert "1 units for 0 results" in err


def test_opt_points_at_what_it_cannot_read(tmp_path, brainir_command):
    path = tmp_path / "wrong.bir"
    path.write_text(GRAPH + GRAPH.replace("mul", "mull"))
    code, out, err = brainir_command("opt", str(path))
    assert (code, out) == (1, "")
    assert f"{path}:14:8: no op is called mull; did you mean mul?" in err
    assert err.endswith("\n14 |   %0 = mull %V, 0.5:f32 : f32[3]\n            ^\n")


@pytest.mark.parametrize(
    ("passes", "message"),
    [
        ("nosuch", "no pass is called 'nosuch'"),
        ("purify{chunk=8}", "purify has no option chunk; there is none"),
        ("purify{chunk", "not closed"),
        ("purify,,dead-code", "no pass between two commas"),
    ],
)
def test_opt_refuses_passes_that_there_are_not(leak, brainir_command, passes, message):
    code, _, err = brainir_command("opt", leak, "-p", passes)
    assert code == 2
    assert message in err
