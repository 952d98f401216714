"""`shard_map`, and mappings with a device for each lane."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

import brainir
from brainir import transform
from tests import shard_map_programs
from tests.other_processes import environment

ROOT = Path(__file__).resolve().parent.parent
MESH, SPLIT, X = shard_map_programs.MESH, shard_map_programs.SPLIT, shard_map_programs.X


@pytest.mark.sampled(4)
@pytest.mark.parametrize("program", shard_map_programs.PROGRAMS, ids=lambda f: f.__name__)
def test_on_the_devices_that_there_are(program: Callable[[], None]) -> None:
    program()


def test_on_four_devices_all_is_as_on_one() -> None:
    """In a process of its own, which believes that it has four devices."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "shard_map_programs.py")],
        env=environment(4),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all agree on 4" in done.stdout


def test_there_is_a_spec_for_each_argument() -> None:
    run = transform.shard_map(lambda x: x, MESH, (SPLIT, SPLIT), SPLIT)
    for wrap in (lambda f: f, transform.jit):
        with pytest.raises(ValueError, match=r"in_specs of shard_map has 2.* 1 argument"):
            wrap(run)(X)


def test_a_table_of_states_holds_states_and_specs() -> None:
    s = brainir.State(X)
    tables: list[Any] = [[s], {s: "i"}, {"s": SPLIT}, "i"]
    for table in tables:
        with pytest.raises(TypeError, match="state_in_specs"):
            transform.shard_map(lambda x: x, MESH, SPLIT, SPLIT, state_in_specs=table)
        with pytest.raises(TypeError, match="state_out_specs"):
            transform.shard_map(lambda x: x, MESH, SPLIT, SPLIT, state_out_specs=table)
    with pytest.raises(TypeError, match=r"jax\.sharding\.Mesh"):
        transform.shard_map(lambda x: x, None, SPLIT, SPLIT)
    with pytest.raises(TypeError, match="must be callable"):
        transform.shard_map(3, MESH, SPLIT, SPLIT)  # pyright: ignore


@pytest.mark.parametrize("table", ["named", "bare"])
def test_a_state_that_cannot_be_split_is_named(table: str) -> None:
    s = brainir.State(jnp.float32(1), name="gain")
    specs: Any = {s: SPLIT} if table == "named" else SPLIT
    run = transform.shard_map(lambda x: x * s.value, MESH, SPLIT, SPLIT, state_in_specs=specs)
    with pytest.raises(ValueError, match=r"gain.* shape \(\), which shard_map cannot split"):
        run(X)


def test_an_axis_that_the_mesh_does_not_have_is_named() -> None:
    s = brainir.State(X, name="gain")
    run = transform.shard_map(lambda x: x, MESH, SPLIT, SPLIT, state_in_specs={s: P("other")})
    with pytest.raises(ValueError, match=r"gain.*only the axes \('i',\)"):
        run(X)


def test_effects_on_devices_happen_whatever_ran_before() -> None:
    def quiet(x: Any) -> Any:
        return x

    def loud(x: Any) -> Any:
        jax.debug.callback(lambda _: seen.append(1), x)
        return x

    seen: list[int] = []
    for wrap in (lambda f: f, transform.jit):
        for body, count in ((quiet, 0), (loud, jax.device_count()), (quiet, 0)):
            seen.clear()
            run = transform.shard_map(body, MESH, SPLIT, SPLIT)
            wrap(lambda x, run=run: (run(x), x)[1])(X)
            jax.effects_barrier()
            assert len(seen) == count, body


def test_a_failed_call_leaves_all_states_as_they_were() -> None:
    s, v = brainir.State(jnp.float32(1)), brainir.State(X)
    key = jax.random.key_data(brainir.random.DEFAULT.value)

    def body(x: Any) -> Any:
        s.value = s.value + brainir.random.rand()
        v.value = v.value + 1
        raise KeyError("the user's own")

    run = transform.shard_map(body, MESH, SPLIT, SPLIT, state_in_specs={v: SPLIT})
    for wrap in (lambda f: f, transform.jit):
        with pytest.raises(KeyError, match="own"):
            wrap(run)(X)
    assert s.value == 1
    np.testing.assert_array_equal(v.value, X)
    np.testing.assert_array_equal(jax.random.key_data(brainir.random.DEFAULT.value), key)


def test_one_shard_map_does_not_stand_in_another() -> None:
    inner = transform.shard_map(lambda x: x, MESH, SPLIT, SPLIT)

    def loop(x: Any) -> Any:
        return transform.for_loop(inner, x[None])[0]

    for body in (inner, loop):
        for outer in (transform.shard_map, jax.shard_map):
            run = outer(body, mesh=MESH, in_specs=(SPLIT,), out_specs=SPLIT)
            with pytest.raises(ValueError, match="in the body of another"):
                run(X)


def test_without_its_checks_one_device_speaks_for_all() -> None:
    s = brainir.State(jnp.float32(1))

    def body(x: Any) -> Any:
        s.value = x.max() * 0 + 5
        return x

    transform.jit(transform.shard_map(body, MESH, SPLIT, SPLIT, check_vma=False))(X)
    assert s.value == 5


def test_a_state_created_on_a_device_stays_there() -> None:
    kept: list[Any] = []

    def body(x: Any) -> Any:
        kept.append(brainir.State(x))
        kept[-1].value = kept[-1].value * 2
        return kept[-1].value

    found = transform.shard_map(body, MESH, SPLIT, SPLIT, state_in_specs=SPLIT)(X)
    np.testing.assert_array_equal(found, 2 * X)
    with pytest.raises(brainir.TraceContextError, match="trace that has ended"):
        _ = kept[-1].value


def test_a_state_that_is_only_read_is_not_written() -> None:
    w, d = brainir.ParamState(X), brainir.State({"a": X})
    run = transform.shard_map(
        lambda x: x * w.value * d.value["a"],
        MESH,
        SPLIT,
        SPLIT,
        state_in_specs={w: SPLIT, d: SPLIT},
    )
    trace = transform.StatefulFunction(run).get_state_trace(X)
    assert set(trace.states) == {w, d}
    assert not any(trace.been_writen)


def test_containers_empty_arrays_and_wide_numbers_are_split() -> None:
    empty, flags = brainir.State(jnp.zeros((0, 2))), brainir.State((X > 3,))

    def body(x: Any) -> Any:
        empty.value = empty.value + 1
        flags.value = (~flags.value[0],)
        return {"half": (x["a"] / 2, None)}

    run = transform.shard_map(
        body, MESH, SPLIT, SPLIT, state_in_specs={empty: SPLIT, flags: P(("i",))}
    )
    with jax.enable_x64(True):
        found = run({"a": np.arange(8.0)})
        assert found["half"][0].dtype == jnp.float64
        np.testing.assert_array_equal(found["half"][0], np.arange(8.0) / 2)
    assert empty.value.shape == (0, 2)
    np.testing.assert_array_equal(flags.value[0], X <= 3)


def test_derivatives_may_be_computed_again_from_what_devices_have() -> None:
    w = brainir.ParamState(jnp.float32(3))
    run = transform.shard_map(
        lambda x: jax.lax.psum((jnp.sin(w.value) * x).sum(), "i"), MESH, SPLIT, P()
    )
    again = transform.grad(transform.checkpoint(run), grad_states=w)
    np.testing.assert_allclose(again(X), jnp.cos(3.0) * X.sum(), rtol=1e-5)


def test_a_replaced_or_changed_state_is_noticed() -> None:
    model: Any = brainir.nn.Module()
    model.v = brainir.State(X)

    def body(x: Any) -> Any:
        model.v.value = model.v.value + x
        return model.v.value

    run = transform.jit(transform.shard_map(body, MESH, SPLIT, SPLIT, state_in_specs=SPLIT))
    np.testing.assert_array_equal(run(X), 2 * X)
    model.v.value = jnp.zeros(8)
    np.testing.assert_array_equal(run(X), X)
    model.v = brainir.State(jnp.ones(8))
    np.testing.assert_array_equal(run(X), X + 1)
    np.testing.assert_array_equal(model.v.value, X + 1)
