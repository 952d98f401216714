"""The environment: layers, precision, threads, and noticing that a value has changed."""

import gc
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainir import environ, transform

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _restored_environment():
    before = environ.all()
    wide = jax.config.read("jax_enable_x64")
    yield
    for name in environ.all():
        environ.pop(name, None)
    del before["precision"]
    environ.set(**before)
    jax.config.update("jax_enable_x64", wide)


def in_another_thread(function):
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


# Looking up -------------------------------------------------------------------------------------


def test_the_innermost_context_wins_and_then_what_was_set_and_then_the_default():
    assert environ.get("depth", "default") == "default"
    environ.set(depth=0)
    with environ.context(depth=1, other=1):
        with environ.context(depth=2):
            assert environ.get("depth") == 2
            assert environ.get("other") == 1
        environ.set(depth=10)
        assert environ.get("depth") == 1
    assert environ.get("depth") == 10


def test_a_missing_name_raises_an_error_that_says_how_to_set_it():
    with pytest.raises(KeyError, match=r"environ\.set\(tau=\.\.\.\).*context\(tau=\.\.\.\)"):
        environ.get("tau")
    with pytest.raises(KeyError, match="the decay"):
        environ.get("tau", desc="the decay")
    with pytest.raises(KeyError, match=r"set\(dt="):
        environ.get_dt()


def test_none_is_a_value_and_a_default():
    environ.set(reset=None)
    assert environ.get("reset", 1) is None
    assert environ.get("missing", None) is None


def test_all_and_the_mapping_of_a_context_hold_everything_in_force():
    environ.set(a=1, b=2)
    with environ.context(b=3) as inside:
        assert environ.all() == {"a": 1, "b": 3, "precision": 32}
        assert inside == environ.all()
        assert len(inside) == 3
    assert environ.all()["b"] == 2


def test_an_error_inside_a_context_leaves_the_environment_as_it_was():
    environ.set(dt=0.1)
    with pytest.raises(ZeroDivisionError), environ.context(dt=0.2, precision=64):
        raise ZeroDivisionError
    assert environ.get_dt() == 0.1
    assert environ.get_precision() == 32
    assert not jax.config.read("jax_enable_x64")


@pytest.mark.parametrize("dt", [0.1, 1, np.float32(0.1), jnp.float32(0.1), 0.1 * u.ms])
def test_dt_may_be_any_real_scalar(dt):
    with environ.context(dt=dt):
        assert environ.get_dt() is dt


@pytest.mark.parametrize(
    "dt", ["0.1", True, 1j, None, [0.1], np.ones(1), jnp.ones(2), np.ones(2) * u.ms, jnp.bool(1)]
)
def test_dt_must_be_a_real_scalar(dt):
    with pytest.raises(TypeError, match="one real number"), environ.context(dt=dt):
        pass
    if dt is not None:
        with pytest.raises(TypeError, match="one real number"):
            environ.set(dt=dt)
    assert environ.get("dt", "unset") == "unset"


@pytest.mark.parametrize("option", [{"platform": "cpu"}, {"host_device_count": 2}])
def test_options_of_jax_are_not_for_a_context_nor_for_an_environment_of_its_own(option):
    with pytest.raises(ValueError, match="option of JAX"), environ.context(**option):
        pass
    with pytest.raises(ValueError, match="hold for the process"):
        environ.set(**option, env=environ.EnvironmentState())


def test_devices_that_are_there_can_be_chosen_and_others_no_more():
    platform, count = environ.get_platform(), environ.get_host_device_count()
    environ.set(platform=platform, host_device_count=count)
    assert (environ.get("platform"), environ.get("host_device_count")) == (platform, count)
    assert "platform" not in environ.all()
    other = next(p for p in environ.SUPPORTED_PLATFORMS if p != platform)
    with pytest.raises(RuntimeError, match="at the start of the program"):
        environ.set_platform(other)
    with pytest.raises(RuntimeError, match="at the start of the program"):
        environ.set(host_device_count=count + 1)
    with pytest.raises(ValueError, match="one of"):
        environ.set_platform("abacus")
    wrongs: list[Any] = [0, -1, 1.0, True, "2"]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="positive integer"):
            environ.set_host_device_count(wrong)


def test_devices_are_chosen_before_jax_starts():
    program = (
        "import jax\n"
        "from brainir import environ\n"
        "environ.set(platform='cpu', host_device_count=3)\n"
        "assert len(jax.devices()) == 3 == environ.get_host_device_count()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_pop_removes_what_was_set_and_nothing_that_a_context_holds():
    environ.set(noise=0.5)
    with environ.context(noise=0.1), pytest.raises(ValueError, match="noise"):
        environ.pop("noise")
    assert environ.pop("noise") == 0.5
    assert environ.pop("noise", 7) == 7
    with pytest.raises(KeyError, match="noise"):
        environ.pop("noise")


# Precision --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("precision", "bits", "names"),
    [
        (8, 8, ["float8_e5m2", "int8", "uint8", "complex64"]),
        (16, 16, ["float16", "int16", "uint16", "complex64"]),
        ("bf16", 16, ["bfloat16", "int16", "uint16", "complex64"]),
        (32, 32, ["float32", "int32", "uint32", "complex64"]),
        (64, 64, ["float64", "int64", "uint64", "complex128"]),
    ],
)
def test_precision_chooses_the_default_types_and_the_mode_of_jax(precision, bits, names):
    kinds = environ.dftype, environ.ditype, environ.dutype, environ.dctype
    with environ.context(precision=precision):
        assert environ.get_precision() == bits
        assert [np.dtype(kind()).name for kind in kinds] == names
        assert jax.config.read("jax_enable_x64") == (precision == 64)
    assert not jax.config.read("jax_enable_x64")
    environ.set_precision(precision)
    assert np.dtype(environ.dftype()).name == names[0]
    assert jax.config.read("jax_enable_x64") == (precision == 64)


def test_unset_precision_follows_jax():
    with jax.enable_x64(True):
        assert environ.get_precision() == 64
        assert environ.dftype() is np.float64
    assert environ.dftype() is np.float32


@pytest.mark.parametrize("precision", [0, 7, "32", 128])
def test_an_unknown_precision_is_refused(precision):
    with pytest.raises(ValueError, match="precision must be one of"):
        environ.set(precision=precision)
    assert environ.get_precision() == 32


# Threads ----------------------------------------------------------------------------------------


def test_contexts_belong_to_one_thread():
    with environ.context(fit=True):
        assert in_another_thread(lambda: environ.get("fit", "unset")) == "unset"


def test_what_any_thread_sets_is_seen_by_all():
    environ.set(dt=0.1)
    assert in_another_thread(environ.get_dt) == 0.1
    in_another_thread(lambda: environ.set(dt=0.5))
    assert environ.get_dt() == 0.5


def test_a_context_of_one_thread_hides_what_another_sets():
    with environ.context(dt=0.1):
        in_another_thread(lambda: environ.set(dt=0.5))
        assert environ.get_dt() == 0.1
    assert environ.get_dt() == 0.5


# Fingerprints -----------------------------------------------------------------------------------

numbers = st.integers(-3, 3) | st.sampled_from([0.0, 0.5, 1.0]) | st.booleans()
values = (
    numbers
    | st.sampled_from(["a", "b", None])
    | st.builds(lambda n, unit: float(n) * unit, st.integers(0, 2), st.sampled_from([u.ms, u.mV]))
    | st.builds(lambda n: np.full(2, n, np.float32), st.integers(0, 2))
    | st.builds(lambda n: jnp.full((), n, jnp.int32), st.integers(0, 2))
    | st.tuples(numbers, numbers)
)


def spelled(value):
    """What a value is, spelled out by other means than a snapshot."""
    return f"{type(value)} {getattr(value, 'dtype', '')} {value!r}"


@given(values, values)
def test_fingerprints_are_equal_exactly_if_the_values_are(first, second):
    with environ.context(x=first):
        before = environ.fingerprint(["x"])
    with environ.context(x=second):
        after = environ.fingerprint(["x"])
    assert (before == after) == (spelled(first) == spelled(second))
    if before == after:
        assert hash(before) == hash(after)


def test_a_fingerprint_knows_the_unit_and_the_names():
    with environ.context(dt=0.1 * u.ms):
        milli, names = environ.fingerprint(["dt"]), environ.fingerprint()
    with environ.context(dt=0.1 * u.second):
        assert environ.fingerprint(["dt"]) != milli
    with environ.context(dt=0.1 * u.ms, fit=False):
        assert environ.fingerprint(["dt"]) == milli
        assert environ.fingerprint() != names


def test_large_arrays_and_functions_count_as_themselves_and_are_not_kept():
    big = jnp.zeros(1000)
    for thing, twin in [(big, jnp.zeros(1000)), (lambda: 1, lambda: 1)]:
        with environ.context(x=thing):
            before = environ.fingerprint(["x"])
        with environ.context(x=thing):
            assert environ.fingerprint(["x"]) == before
        with environ.context(x=twin):
            assert environ.fingerprint(["x"]) != before
    alive = weakref.ref(thing)
    del thing
    gc.collect()
    assert alive() is None


# Noticing change --------------------------------------------------------------------------------


def test_only_reads_of_the_outside_are_noted():
    environ.set(dt=0.1, unread=1)
    with environ.context(fit=True), environ.watch() as reads:
        environ.get_dt()
        environ.get("absent", None)
        with environ.context(i=3, fit=False) as inner:
            assert inner["i"] == 3
            environ.get("fit")
    assert set(reads) == {"dt", "absent"}


def test_watches_nest_and_a_reused_trace_counts_as_its_reads():
    environ.set(dt=0.1)
    with environ.watch() as inner:
        environ.get_dt()
    with environ.watch() as outer:
        assert environ.unchanged(inner)
        with environ.watch() as another:
            environ.get("fit", None)
    assert set(outer) == {"dt", "fit"}
    assert set(another) == {"fit"}


@pytest.mark.parametrize("read", [environ.all, lambda: environ.get("fit", False)])
def test_reads_hold_until_a_value_that_was_read_differs(read):
    environ.set(dt=0.1 * u.ms)
    with environ.watch() as reads:
        read()
    assert environ.unchanged(reads)
    environ.set(dt=0.1 * u.ms)
    assert environ.unchanged(reads)
    with environ.context(fit=True):
        assert not environ.unchanged(reads)
    assert environ.unchanged(reads)
    environ.set(fit=True)
    assert not environ.unchanged(reads)
    environ.pop("fit")
    assert environ.unchanged(reads)


def test_reads_that_hold_here_need_not_hold_in_another_thread():
    environ.set(dt=0.1)
    with environ.watch() as reads:
        environ.get_dt()
    assert environ.unchanged(reads)

    def other():
        with environ.context(dt=0.2):
            inside = environ.unchanged(reads)
        return inside, environ.unchanged(reads)

    assert in_another_thread(other) == (False, True)
    assert environ.unchanged(reads)


def test_reads_of_the_default_precision_follow_jax():
    with environ.watch() as reads:
        environ.dftype()
    assert environ.unchanged(reads)
    with jax.enable_x64(True):
        assert not environ.unchanged(reads)


def test_a_compiled_function_is_traced_again_when_what_it_read_differs_and_only_then():
    traces = []

    @transform.jit
    def step(x):
        traces.append(environ.get_dt())
        return x * environ.get_dt() if environ.get("fit", False) else x

    environ.set(dt=2.0)
    x = jnp.float32(3.0)
    assert step(x) == 3.0
    with environ.context(fit=True):
        assert step(x) == 6.0
    environ.set(dt=5.0)
    with environ.context(fit=True):
        assert step(x) == 15.0
    assert traces == [2.0, 2.0, 5.0]
    with environ.context(fit=True, i=1, note="unread"):
        assert step(x) == 15.0
    assert len(traces) == 3


def test_a_traced_value_in_a_context_inside_a_loop_needs_no_new_trace():
    traces = []

    @transform.jit
    def run(steps):
        def body(i):
            traces.append(i)
            with environ.context(i=i, t=i * 0.5):
                return environ.get("i") + environ.get("t")

        return transform.for_loop(body, steps)

    steps = jnp.arange(3, dtype=jnp.float32)
    for _ in range(2):
        assert run(steps).tolist() == [0.0, 1.5, 3.0]
    assert len(traces) == 1


# Environments of their own ----------------------------------------------------------------------


def test_an_environment_of_its_own_is_seen_only_where_it_is_given():
    sandbox = environ.EnvironmentState()
    environ.set(dt=0.1)
    environ.set(dt=0.5, precision=64, env=sandbox)
    assert not jax.config.read("jax_enable_x64")
    assert environ.get_dt() == 0.1
    assert environ.get_dt(env=sandbox) == 0.5
    assert environ.dftype(env=sandbox) is np.float64
    assert environ.dftype() is np.float32
    with environ.context(a=1, env=sandbox) as inside:
        assert inside == {"a": 1, "dt": 0.5, "precision": 64} == environ.all(env=sandbox)
        assert environ.get("a", "unset") == "unset"
        with environ.context(a=2):
            assert environ.get("a", env=sandbox) == 1
        with pytest.raises(ValueError, match="holds it"):
            environ.pop("a", env=sandbox)
    assert "dt=0.5" in repr(sandbox)
    assert environ.pop("dt", env=sandbox) == 0.5
    with pytest.raises(KeyError):
        environ.get_dt(env=sandbox)
    assert environ.get_dt() == 0.1


def test_a_change_of_an_environment_of_its_own_is_noticed_too():
    sandbox = environ.EnvironmentState()
    traces = []

    @transform.jit
    def scaled(x):
        traces.append(x)
        return x * environ.get("gain", 1.0, env=sandbox)

    x = jnp.float32(3.0)
    assert scaled(x) == 3.0
    environ.set(gain=2.0, env=sandbox)
    assert scaled(x) == 6.0
    with environ.context(gain=5.0, env=sandbox):
        assert scaled(x) == 15.0
    environ.set(gain=7.0)
    assert scaled(x) == 6.0
    assert len(traces) == 3


def test_a_context_inside_a_trace_provides_for_its_own_environment_only():
    sandbox = environ.EnvironmentState()
    with environ.watch() as reads, environ.context(gain=2.0, env=sandbox):
        environ.get("gain", None)
        environ.get("gain", env=sandbox)
    assert list(reads) == ["gain"]


def test_reset_forgets_values_and_behaviors_and_leaves_contexts_alone():
    environ.set(dt=0.1, precision=64)
    environ.register_default_behavior("dt", lambda value: None)
    with environ.watch() as reads:
        environ.get_dt()
    with environ.context(fit=True):
        environ.reset()
        assert environ.get("fit")
    assert environ.all() == {"precision": 32}
    assert environ.list_registered_behaviors() == []
    assert not environ.unchanged(reads)


@pytest.mark.parametrize(
    ("precision", "tolerance"), [(8, 1e-2), ("bf16", 1e-2), (32, 1e-5), (64, 1e-12)]
)
def test_the_tolerance_goes_with_the_precision(precision, tolerance):
    with environ.context(precision=precision):
        assert float(environ.tolerance()) == pytest.approx(tolerance, rel=1e-3)


# Behaviors --------------------------------------------------------------------------------------


def test_a_behavior_is_told_every_value_that_comes_into_force():
    told = []
    environ.register_default_behavior("gain", told.append)
    try:
        with environ.context(gain=0):
            pass
        environ.set(gain=1)
        with pytest.raises(ZeroDivisionError), environ.context(gain=2, other=3):
            raise ZeroDivisionError
        environ.set(gain=9, env=environ.EnvironmentState())
    finally:
        assert environ.unregister_default_behavior("gain")
    environ.set(gain=5)
    assert told == [0, 1, 2, 1]
    assert not environ.unregister_default_behavior("gain")


def test_a_behavior_that_fails_warns_and_the_value_is_set():
    def fail(value):
        raise ZeroDivisionError("no")

    environ.register_default_behavior("gain", print)
    with pytest.raises(ValueError, match="already"):
        environ.register_default_behavior("gain", fail)
    environ.register_default_behavior("gain", fail, replace_if_exist=True)
    try:
        with pytest.warns(RuntimeWarning, match="ZeroDivisionError: no"):
            environ.set(gain=1)
        assert environ.get("gain") == 1
    finally:
        environ.unregister_default_behavior("gain")
    wrong: Any = 3
    with pytest.raises(TypeError, match="a function"):
        environ.register_default_behavior("gain", wrong)
