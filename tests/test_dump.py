"""The command ``dump``: the graphs of everything that a script compiles."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from command_samples import in_process, line_of

import brainir
from brainir import ir
from brainir.backends import reference
from brainir.frontend.program import listeners
from brainir.frontend.tools.graph_files import parse_graphs
from brainir.passes import PIPELINE


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


def test_transformations_outside_jit_have_the_line_that_calls_them(tmp_path, brainir_command):
    path = tmp_path / "model.py"
    path.write_text("""
import jax.numpy as jnp
from brainir import transform

def work(x):
    return (x * x).sum()

transform.for_loop(work, jnp.ones((5, 3)))
transform.vmap(transform.grad(work))(jnp.ones((2, 3)))
transform.jit(transform.grad(work))(jnp.ones(4))
transform.while_loop(lambda i: i < 3, lambda i: i + 1, 0)
""")
    _, out, _ = brainir_command("dump", str(path), "--format", "json", "--stage", "capture")
    assert [
        (node["op"], node["loc"]["line"])
        for graph in map(json.loads, out.splitlines())
        for top in graph["nodes"]
        for node in [top, *(inner for body in top["regions"] for inner in body["nodes"])]
        if node["regions"]
    ] == [("for_loop", 8), ("vmap", 9), ("grad", 9), ("grad", 10), ("while", 11)]


def test_only_graphs_are_on_the_standard_output_whatever_a_script_does(tmp_path):
    (tmp_path / "model.py").write_text("""
import atexit, os, subprocess
import brainir

atexit.register(lambda: print("at exit"))
os.write(1, b"below Python\\n")
subprocess.run(["echo", "by another program"])
brainir.transform.jit(lambda ξ: ξ + 1.0)(1.0)
""")
    done = in_process("LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 brainir dump model.py", tmp_path)
    assert done.returncode == 0
    assert [graph.name for graph in parse_graphs(done.stdout, "out")] == ["lambda"]
    assert "%ξ" in done.stdout
    for text in ("at exit", "below Python", "by another program"):
        assert text in done.stderr
        assert text not in done.stdout


def test_dump_of_a_graph_says_what_reads_graphs(leak, brainir_command):
    code, out, err = brainir_command("dump", leak)
    assert (code, out) == (2, "")
    assert "is a graph, not a script" in err


@pytest.mark.skipif(shutil.which("dot") is None, reason="there is no Graphviz here")
def test_graphviz_reads_the_drawings(script, brainir_command):
    _, out, _ = brainir_command("dump", script(), "--format", "dot", "--stage", "capture")
    done = subprocess.run(
        ["dot", "-Tplain"], input=out, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "@V" in done.stdout


def test_dump_writes_python_that_computes_what_the_script_does(script, brainir_command):
    code, out, _ = brainir_command("dump", script(), "--format", "python", "--select", "run")
    assert code == 0
    assert "import brainir" not in out
    names = {}
    exec(out, names)
    (program,) = [
        p for p in brainir.tools.run_script(script(), []).programs if p.graph.name == "run"
    ]
    given = [np.ones(a.shape, a.dtype) for a in program.in_avals]
    held = [np.zeros(t.shape, t.dtype) for state in program.graph.states for t in state.types]
    found = names["run"](*given, *held)
    expected = reference.run(brainir.passes.run_pipeline(program.graph, PIPELINE), *given, *held)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_dump_says_that_a_graph_with_states_has_no_python_source(script, brainir_command):
    code, out, err = brainir_command("dump", script(), "--format", "python", "--stage", "capture")
    assert code == 1
    assert out == ""
    assert "has no Python source" in err


def test_dump_as_llvm_shows_the_code_of_kernels(script, brainir_command):
    code, out, _ = brainir_command("dump", script(), "--format", "llvm", "--select", "run")
    assert code == 0
    assert "; kernel of @run: for_loop" in out
    assert "fmul" in out
    _, out, _ = brainir_command("dump", script(), "--format", "llvm", "--stage", "capture")
    assert "has no kernels" in out
