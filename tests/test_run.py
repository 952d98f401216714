"""The command ``run``: a graph on given or random inputs."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import brainir


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


def test_run_writes_to_the_very_file_that_is_named(leak, brainir_command, tmp_path):
    assert brainir_command("run", leak, "--output", str(tmp_path / "out"))[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["leak.bir", "out"]
    with np.load(tmp_path / "out") as arrays:
        assert set(arrays) == {"0", "@V"}


def test_run_refuses_what_is_no_file_of_arrays(leak, brainir_command, tmp_path):
    code, _, err = brainir_command("run", leak, "--inputs", leak)
    assert (code, "is not an .npz file" in err, "pickle" in err) == (2, True, False)
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, x=np.array([{}], dtype=object))
    code, _, err = brainir_command("run", leak, "--inputs", str(pickled))
    assert (code, "is no array" in err) == (2, True)
    assert brainir_command("run", leak, "--seed", "-1")[0] == 2
