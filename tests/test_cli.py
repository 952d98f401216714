"""The command line: what goes in, what comes out, and with which exit code."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir import ir
from brainir.frontend.program import listeners
from brainir.frontend.tools.cli import COMMANDS, main
from brainir.frontend.tools.graph_files import parse_graphs

SCRIPT = """
import sys
import brainunit as u
import jax.numpy as jnp
import brainir
import helper  # lies beside the script

V = brainir.HiddenState(jnp.zeros(3) * u.mV, name="V")

@brainir.transform.jit
def run(x):
    def step(current):
        V.value = 0.9 * V.value + current * helper.RESISTANCE
        return V.value
    return brainir.transform.for_loop(step, x)

@brainir.transform.jit
def scale(x):
    return x * float(sys.argv[1] if len(sys.argv) > 1 else 2)

if __name__ == "__main__":
    print("the script prints this")
    run(jnp.ones((4, 3)) * u.mA)
    run(jnp.zeros((4, 3)) * u.mA)
    scale(1.0)
    {more}
"""

GRAPH = """
graph @leak(%x: f32[3] "mA") -> (f32[3] "mV")
  states(@V: f32[3] hidden "mV") {
  %V = state.read @V : f32[3]
  %0 = mul %V, 0.5:f32 : f32[3]
  %1 = add %0, %x : f32[3]
  state.write @V, %1
  return %1
}
"""


@pytest.fixture
def script(tmp_path):
    """Return a function that writes a model's script, which may do more at the end."""

    def write(more="pass"):
        path = tmp_path / "model.py"
        path.write_text(SCRIPT.replace("{more}", more))
        (tmp_path / "helper.py").write_text("import brainunit as u\nRESISTANCE = 1.0 * u.ohm\n")
        return str(path)

    return write


@pytest.fixture
def leak(tmp_path):
    """The path of a graph in text."""
    path = tmp_path / "leak.bir"
    path.write_text(GRAPH)
    return str(path)


@pytest.fixture
def brainir_command(capsys, monkeypatch):
    """Return a function that runs a command and returns exit code, output and errors."""

    def run(*arguments, stdin=None):
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        capsys.readouterr()
        code = main(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def line_of(path, text):
    """The number of the only line of a file that has a text in it."""
    lines = Path(path).read_text().split("\n")
    (number,) = [i for i, line in enumerate(lines, 1) if text in line]
    return number


# --- dump -----------------------------------------------------------------------------------------


def test_dump_prints_each_graph_that_an_unmodified_script_compiles_once(script, brainir_command):
    code, out, err = brainir_command("dump", script())
    assert code == 0
    assert [graph.name for graph in parse_graphs(out, "out")] == ["run", "scale"]
    assert "the script prints this" in err
    assert "the script prints this" not in out


def test_dump_shows_the_source_lines(script, brainir_command):
    path = script()
    _, out, _ = brainir_command("dump", path)
    source = "V.value = 0.9 * V.value + current * helper.RESISTANCE"
    number = line_of(path, source)
    assert f"# model.py:{number} run.<locals>.step: {source}" in out


def test_dump_stops_at_the_stage_that_is_asked_for(script, brainir_command):
    path = script()
    code, captured, _ = brainir_command("dump", path, "--stage", "capture", "--select", "run")
    _, last, _ = brainir_command("dump", "--select", "r*", path)
    assert code == 0
    assert "state.read @V" in captured
    assert "state.read @V" not in last
    (graph,) = parse_graphs(captured, "captured")
    pure = brainir.passes.run_pipeline(graph, brainir.passes.PIPELINE)
    assert ir.equal(pure, parse_graphs(last, "last")[0])


def test_dump_hands_arguments_to_the_script(script, brainir_command):
    path = script()
    _, two, _ = brainir_command("dump", path, "3", "--select", "scale")
    _, three, _ = brainir_command("dump", path, "--select", "scale", "--", "-5")
    assert "3.0:f32" in two
    assert "-5.0:f32" in three


def test_dump_leaves_the_process_as_it_was(script, brainir_command):
    def surroundings():
        return sys.argv, list(sys.path), sys.modules["__main__"], list(listeners)

    before = surroundings()
    brainir_command("dump", script())
    assert surroundings() == before


def test_dump_prints_what_was_compiled_before_a_script_failed(script, brainir_command):
    path = script("raise ValueError('no such luck')")
    code, out, err = brainir_command("dump", path)
    assert code == 1
    assert [graph.name for graph in parse_graphs(out, "out")] == ["run", "scale"]
    assert "ValueError: no such luck" in err
    assert f'File "{path}"' in err
    assert "runpy" not in err


@pytest.mark.parametrize(
    ("more", "code"),
    [("sys.exit()", 0), ("sys.exit(0)", 0), ("sys.exit(3)", 1), ("sys.exit('x')", 1)],
)
def test_dump_minds_how_a_script_exits(script, brainir_command, more, code):
    assert brainir_command("dump", script(more))[0] == code


def test_dump_reports_a_script_that_is_not_python(tmp_path, brainir_command):
    path = tmp_path / "wrong.py"
    path.write_text("def (:\n")
    code, out, err = brainir_command("dump", str(path))
    assert (code, out) == (1, "")
    assert "SyntaxError" in err


def test_dump_says_so_if_nothing_was_compiled(tmp_path, brainir_command):
    path = tmp_path / "empty.py"
    path.write_text("")
    code, out, err = brainir_command("dump", str(path))
    assert (code, out) == (0, "")
    assert "compiled nothing" in err


def test_dump_names_the_graphs_if_none_is_selected(script, brainir_command):
    code, out, err = brainir_command("dump", script(), "--select", "other")
    assert (code, out) == (1, "")
    assert "no graph is called other; there are run, scale" in err


def test_dump_writes_json_that_tells_all_of_a_graph(script, brainir_command):
    path = script()
    code, out, _ = brainir_command("dump", path, "--format", "json", "--stage", "capture")
    run, scale = map(json.loads, out.splitlines())
    assert code == 0
    assert (run["name"], scale["name"]) == ("run", "scale")
    assert run["states"] == [{"name": "V", "types": ["f32[3]"], "kind": "hidden", "unit": "mV"}]
    assert run["params"] == [{"value": "%x", "type": "f32[4,3]", "unit": "mA"}]
    (loop,) = run["nodes"]
    inner = {node["op"]: node for node in loop["regions"][0]["nodes"]}
    assert inner["add"]["loc"]["line"] == line_of(path, "V.value = 0.9")
    assert inner["add"]["loc"]["source"].startswith("V.value = 0.9 * V.value")
    assert (inner["add"]["flops"], inner["add"]["bytes"]) == (3, 36)


def test_dump_writes_drawings(script, brainir_command):
    code, out, _ = brainir_command("dump", script(), "--format", "dot", "--stage", "capture")
    assert code == 0
    assert out.count("digraph") == 2
    assert 'label="for_loop step"' in out
    assert 'label="@V", shape=cylinder' in out


# --- opt ------------------------------------------------------------------------------------------


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
        ("purify{chunk=8}", "unexpected keyword argument 'chunk'"),
        ("purify{chunk", "not closed"),
        ("purify,,dead-code", "nothing is not a pass"),
    ],
)
def test_opt_refuses_passes_that_there_are_not(leak, brainir_command, passes, message):
    code, _, err = brainir_command("opt", leak, "-p", passes)
    assert code == 2
    assert message in err


# --- run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["reference", "xla"])
def test_run_computes_results_and_states(leak, brainir_command, backend, tmp_path):
    inputs, output = str(tmp_path / "in.npz"), str(tmp_path / "out.npz")
    arrays: dict[str, Any] = {"x": np.ones(3), "@V": np.arange(3)}
    np.savez(inputs, **arrays)
    code, out, _ = brainir_command(
        "run", leak, "--backend", backend, "--inputs", inputs, "--output", output
    )
    assert code == 0
    assert "0: f32[3] mV = [1. , 1.5, 2. ]" in out
    assert "@V: f32[3] mV = [1. , 1.5, 2. ]" in out
    with np.load(output) as arrays:
        np.testing.assert_array_equal(arrays["@V"], [1.0, 1.5, 2.0])


def test_run_takes_arguments_and_spreads_them(leak, brainir_command):
    code, out, _ = brainir_command("run", leak, "--arg", "x=1", "--arg", "@V=[2, 4, 6]")
    assert code == 0
    assert "0: f32[3] mV = [2., 3., 4.]" in out


def test_run_draws_the_same_random_inputs_for_the_same_seed(leak, brainir_command):
    outs = [brainir_command("run", leak, "--seed", seed)[1] for seed in "001"]
    assert outs[0] == outs[1] != outs[2]


def test_both_backends_agree_on_random_inputs_of_all_kinds(tmp_path, brainir_command):
    path = tmp_path / "kinds.bir"
    path.write_text("""
    graph (%b: bool[2], %i: i8[2], %u: u32[2], %h: bf16[2], %c: c64[2], %k: key<fry>[]) -> (
        bool[2], i8[2], u32[2], bf16[2], c64[2], u32[2], key<fry>[], f32[2]
      )
      consts(%table: f32[2]) {
      %bits = random_bits %k {bit_width=32, shape=(2,)}
      return %b, %i, %u, %h, %c, %bits, %k, %table
    }
    """)
    reference = brainir_command("run", str(path))
    assert reference[0] == 0, reference
    assert reference == brainir_command("run", str(path), "--backend", "xla")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("y=1", "nothing in the graph is called y; there are x, @V"),
        ("x=[1, 2]", "x is a f32[3]"),
        ("x=import os", "expected NAME=VALUE"),
    ],
)
def test_run_refuses_inputs_that_do_not_fit(leak, brainir_command, argument, message):
    code, _, err = brainir_command("run", leak, "--arg", argument)
    assert code == 2
    assert message in err


def test_run_says_what_a_backend_cannot_do(tmp_path, brainir_command):
    path = tmp_path / "grad.bir"
    path.write_text("""
    graph (%x: f32[]) -> (f32[], f32[]) {
      %g, %y = grad (%a = %x) {wrt=(0,), states=(), losses=1} : f32[], f32[] do {
        %s = mul %a, %a
        yield %s
      }
      return %g, %y
    }
    """)
    code, _, err = brainir_command("run", str(path), "--arg", "x=3")
    assert code == 1
    assert "expand-grad" in err
    code, out, _ = brainir_command("run", str(path), "--arg", "x=3", "--backend", "xla")
    assert (code, out) == (0, "0: f32[] = 6.\n1: f32[] = 9.\n")


def test_run_reads_artifacts_with_their_consts(tmp_path, brainir_command):
    table = np.arange(3, dtype=np.float32)
    brainir.save(brainir.transform.jit(lambda x: x + table), tmp_path / "add", jnp.zeros(3))
    code, out, _ = brainir_command("run", str(tmp_path / "add"), "--arg", "x=1")
    assert (code, out) == (0, "0: f32[3] = [1., 2., 3.]\n")


# --- diff -----------------------------------------------------------------------------------------


def test_diff_of_equal_graphs_is_empty_whatever_values_are_called(leak, brainir_command):
    other = GRAPH.replace("%0", "%decayed").replace("%1", "%next").replace("@leak", "@other")
    assert brainir_command("diff", leak, "-", stdin=other) == (0, "", "")


def test_diff_shows_only_what_differs(leak, brainir_command):
    other = GRAPH.replace("0.5:f32", "0.9:f32").replace("%0", "%decayed")
    code, out, _ = brainir_command("diff", leak, "-", stdin=other)
    assert code == 1
    assert [line for line in out.splitlines() if line[0] in "+-"] == [
        f"--- {leak} @leak",
        "+++ - @leak",
        "-  %0 = mul %V, 0.5:f32 : f32[3]",
        "+  %0 = mul %V, 0.9:f32 : f32[3]",
    ]


def test_diff_is_coloured_if_asked_to(leak, brainir_command):
    other = GRAPH.replace("0.5", "0.9")
    plain = brainir_command("diff", leak, "-", stdin=other)[1]
    coloured = brainir_command("diff", leak, "-", "--color", "always", stdin=other)[1]
    assert "\033[31m-  %0 = mul %V, 0.5:f32 : f32[3]\033[0m" in coloured
    assert "\033" not in plain


def test_diff_of_units_and_of_different_numbers_of_graphs(leak, brainir_command):
    assert brainir_command("diff", leak, "-", stdin=GRAPH.replace('"mA"', '"nA"'))[0] == 1
    code, _, err = brainir_command("diff", leak, "-", stdin=GRAPH + GRAPH)
    assert code == 1
    assert "has 1 graphs" in err


# --- ops, passes, and the rest --------------------------------------------------------------------


def test_ops_lists_every_op(brainir_command):
    code, out, _ = brainir_command("ops", "--format", "json")
    rows = {row["op"]: row for row in json.loads(out)}
    assert code == 0
    assert set(rows) == {op.name for op in ir.all_ops()}
    assert rows["tanh"]["derivative"] == "partials"
    assert rows["dot_general"]["derivative"] == "linear"
    assert rows["for_loop"]["derivative"] == "by structure"
    assert rows["add"] | {"meaning": ""} == {
        "op": "add", "rules": "modelled", "derivative": "linear", "cost": "cheap", "meaning": ""
    }  # fmt: skip
    assert len(brainir_command("ops")[1].splitlines()) == len(rows) + 1


def test_passes_lists_every_pass_in_order(brainir_command):
    code, out, _ = brainir_command("passes")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["pass", *brainir.passes.PASSES]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_help(brainir_command, command):
    code, out, err = brainir_command(command.name, "--help")
    assert (code, err) == (0, "")
    assert "Exit codes: 0" in out
    assert command.summary in brainir_command("--help")[1].replace("\n" + " " * 14, " ")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["dump"],
        ["dump", "model.py", "--stage", "nosuch"],
        ["dump", "model.py", "--stag", "capture"],
        ["dump", "nosuch.py"],
        ["opt", "nosuch.bir"],
        ["ops", "--", "x"],
    ],
)
def test_wrong_command_lines_have_exit_code_2(brainir_command, arguments):
    code, out, err = brainir_command(*arguments)
    assert (code, out) == (2, "")
    assert "brainir" in err


def test_the_version_is_that_of_the_package(brainir_command):
    assert brainir_command("--version") == (0, f"brainir {brainir.__version__}\n", "")


def test_bytes_that_are_not_text_are_a_problem(tmp_path, brainir_command):
    path = tmp_path / "noise.bir"
    path.write_bytes(b"\xff\xfe\x00")
    code, _, err = brainir_command("opt", str(path))
    assert code == 1
    assert "is not text" in err


def in_process(command, cwd):
    """Run a shell pipe with ``brainir`` in it."""
    return subprocess.run(
        [
            "bash",
            "-c",
            f"set -o pipefail; brainir() {{ '{sys.executable}' -m brainir \"$@\"; }}; {command}",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={
            "PYTHONPATH": ":".join(p for p in sys.path if p),
            "JAX_PLATFORMS": "cpu",
            "PATH": "/usr/bin:/bin",
        },
    )


def test_commands_work_in_pipes(script, tmp_path):
    path = script()
    done = in_process(
        f"brainir dump {path} --stage capture --select run | "
        "brainir run - --backend xla --arg x=1 --arg @V=0 --output out.npz",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "out.npz") as arrays:
        np.testing.assert_allclose(arrays["0"][:, 0], [1.0, 1.9, 2.71, 3.439], rtol=1e-6)


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    # More text than fits in a pipe, so that writing it meets the end of the reader.
    nodes = "\n".join(f"%{i} = sin %x : f32[3]" for i in range(20_000))
    text = f"graph (%x: f32[3]) -> (f32[3]) {{\n{nodes}\n return %x\n}}"
    (tmp_path / "long.bir").write_text(text)
    done = in_process("brainir opt long.bir | head -1", tmp_path)
    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout == "graph(%x: f32[3]) -> (f32[3]) {\n"
