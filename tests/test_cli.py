"""The command line as a whole: help, exit codes, pipes, and the lists of ops and passes."""

import json

import numpy as np
import pytest
from command_samples import in_process

import brainir
from brainir import ir
from brainir.frontend.tools.cli import COMMANDS


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


def test_ops_lists_an_op_whose_derivative_is_of_a_form_of_its_own(brainir_command):
    class Secant:
        def vjp(self, builder, node, cotangents, wanted=None):
            return cotangents

        def jvp(self, builder, node, tangents):
            return tangents

    plain = ir.get_op("tanh")
    fields = ("infer", "numpy", "lax", "batch", "effects", "cost", "element")
    with ir.temporary_ops():
        rules = {name: getattr(plain, name) for name in fields}
        ir.define("roughly", "The same, roughly.", derivative=Secant(), **rules)
        _, out, _ = brainir_command("ops", "--format", "json")
    rows = {row["op"]: row for row in json.loads(out)}
    assert rows["roughly"]["derivative"] == "Secant"


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


def test_arguments_that_look_like_those_of_the_script_are_told_where_to_go(brainir_command):
    code, _, err = brainir_command("dump", "model.py", "7", "--steps", "3")
    assert code == 2
    assert "unrecognized arguments: --steps 3" in err
    assert "brainir dump ... -- 7 --steps 3" in err
    assert "--" not in brainir_command("opt", "model.bir", "extra")[2].splitlines()[-1]


def test_a_closed_or_full_output_is_no_traceback(tmp_path):
    closed = in_process("brainir ops >&-", tmp_path)
    assert (closed.returncode, closed.stderr) == (0, "")
    full = in_process("brainir ops > /dev/full", tmp_path)
    assert (full.returncode, full.stderr) == (2, "brainir ops: No space left on device\n")


def test_graphs_can_be_chosen_by_number_where_names_are_not_enough(tmp_path, brainir_command):
    path = tmp_path / "two.bir"
    text = "graph @{}(%x: f32[{}]) -> (f32[{}]) {{\n  return %x\n}}\n"
    path.write_text("".join(text.format(f, n, n) for f, n in zip("fffg", "1234", strict=True)))
    _, out, _ = brainir_command("opt", str(path), "--select", "f#2", "--select", "g")
    assert [line for line in out.splitlines() if line.startswith("graph")] == [
        "graph @f(%x: f32[2]) -> (f32[2]) {",
        "graph @g(%x: f32[4]) -> (f32[4]) {",
    ]
    code, _, err = brainir_command("run", str(path), "--select", "f")
    assert (code, err.strip().rpartition(" with ")[2]) == (1, "--select: f#1, f#2, f#3")
    assert "there are f#1, f#2, f#3, g" in brainir_command("run", str(path), "--select", "h")[2]


def test_a_file_without_graphs_and_one_that_is_no_file_say_so(tmp_path, brainir_command):
    path = tmp_path / "empty.bir"
    path.write_text("\n# nothing but a comment\n")
    code, _, err = brainir_command("opt", str(path))
    assert (code, err) == (1, f"brainir opt: there are no graphs in {path}\n")
    code, _, err = brainir_command("opt", str(tmp_path))
    assert (code, err) == (2, f"brainir opt: {tmp_path}: Is a directory\n")


def test_operations_that_text_cannot_hold_are_explained(tmp_path):
    (tmp_path / "model.py").write_text("""
import brainir, jax

def show(x):
    jax.debug.callback(print, x)
    return x

brainir.transform.jit(show)(1.0)
""")
    done = in_process("brainir dump model.py > model.bir && brainir opt model.bir", tmp_path)
    assert done.returncode == 1
    assert "model.bir:2:3: no op is called lax.debug_callback" in done.stderr
    assert "only means something in the process that traced it" in done.stderr
