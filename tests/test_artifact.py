"""Saving compiled functions and loading them: the same function, or a clear refusal."""

import contextlib
import dataclasses
import io
import json
import pickle
import subprocess
import sys
import textwrap
import zipfile
from collections import namedtuple
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import brainir
from brainir import transform
from brainir.frontend.artifact import container
from brainir.frontend.artifact.saving import VERSION
from tests.other_processes import environment

Pair = namedtuple("Pair", "a b")


class Neuron:
    """States of several kinds, and a step that uses all that an artifact has to keep."""

    def __init__(self):
        self.V = brainir.HiddenState(jnp.zeros(3) * u.mV, name="V")
        self.noise = brainir.random.RandomState(0, name="noise")
        self.weight = brainir.ParamState(
            {"w": jnp.eye(3), "b": jnp.ones(3, jnp.bfloat16)}, name="W"
        )
        self.steps = brainir.State(0, name="steps")
        self.table = np.linspace(0.0, 1.0, 9, dtype=np.float32).reshape(3, 3)

    def run(self, currents, *, gain):
        def step(current):
            inputs = (current / u.mA) @ self.weight.value["w"] @ self.table
            kick = self.noise.normal(size=3) + self.weight.value["b"].astype(jnp.float32)
            self.V.value = 0.9 * self.V.value + gain * (inputs + kick) * u.mV
            self.steps.value += 1
            return self.V.value

        return {"V": transform.for_loop(step, currents), "rest": [gain, (None, self.steps.value)]}


CURRENTS = np.linspace(0.0, 2.0, 12, dtype=np.float32).reshape(4, 3) * u.mA
CURRENTS_OF_TWO_STEPS = np.ones((2, 3), np.float32) * u.mA


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.brainir"


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_array_equal(x, y, strict=True)


# --- the same function ----------------------------------------------------------------------------


def test_a_loaded_function_gives_what_the_saved_one_gives(path):
    neuron = Neuron()
    run = transform.jit(neuron.run)
    brainir.save(run.trace(CURRENTS, gain=2.0), path)
    loaded = brainir.load(path)
    for _ in range(2):
        assert_same(loaded(CURRENTS, gain=2.0), run(CURRENTS, gain=2.0))
    for state in (neuron.V, neuron.noise, neuron.weight, neuron.steps):
        assert_same(loaded.states[str(state.name)].value, jax.tree.map(jnp.asarray, state.value))
        assert type(loaded.states[str(state.name)]) is type(state)


def test_values_of_states_are_those_at_the_time_of_saving(path):
    neuron = Neuron()
    run = transform.jit(neuron.run)
    run(CURRENTS, gain=1.0)
    brainir.save(run, path, CURRENTS, gain=1.0)
    saved = neuron.V.value
    run(CURRENTS, gain=1.0)
    assert_same(brainir.load(path).states["V"].value, saved)


def test_a_process_that_never_saw_the_source_runs_it(path):
    neuron = Neuron()
    run = transform.jit(neuron.run)
    brainir.save(run, path, CURRENTS, gain=2.0)
    program = f"""
        import jax, numpy as np, brainunit as u, brainir
        run = brainir.load({str(path)!r})
        currents = np.linspace(0.0, 2.0, 12, dtype=np.float32).reshape(4, 3) * u.mA
        V = run(currents, gain=2.0)["V"]
        print(V.unit, *np.asarray(V.mantissa).ravel().tolist())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
        cwd=path.parent,
        env=environment(),  # so that it rounds alike
    )
    assert done.returncode == 0, done.stderr
    unit, *numbers = done.stdout.split()
    expected = run(CURRENTS, gain=2.0)["V"]
    assert unit == str(expected.unit)
    np.testing.assert_array_equal(np.array(numbers, np.float32), expected.mantissa.ravel())


def test_a_loaded_function_works_inside_transformations(path):
    total = brainir.State(jnp.zeros(2), name="total")

    @transform.jit
    def add(x):
        total.value += x
        return total.value * 2.0

    brainir.save(add, path, jnp.ones(2))
    loaded = brainir.load(path)
    xs = jnp.arange(6.0).reshape(3, 2)
    outs = transform.for_loop(loaded, xs)
    np.testing.assert_array_equal(outs, np.cumsum(xs, 0) * 2.0)
    np.testing.assert_array_equal(loaded.states["total"].value, xs.sum(0))


def test_a_call_that_would_leave_a_traced_value_changes_no_state(path):
    count, total = brainir.State(jnp.zeros(()), name="count"), brainir.State(0.0, name="total")

    @transform.jit
    def step(x):
        count.value = count.value + 1.0
        total.value = total.value + x
        return x

    brainir.save(step, path, jnp.float32(1.0))
    loaded = brainir.load(path)
    with pytest.raises(brainir.TraceContextError, match="'total' would be given a traced value"):
        jax.grad(loaded)(jnp.float32(1.0))
    assert loaded.states["count"].value == 0.0
    assert loaded.states["total"].value == 0.0


def test_a_loaded_function_can_be_differentiated(path):
    brainir.save(transform.jit(lambda x: jnp.sin(x).sum()), path, jnp.ones(2))
    gradient = transform.grad(brainir.load(path))(jnp.ones(2))
    np.testing.assert_allclose(gradient, np.cos(np.ones(2)), rtol=1e-6)


def test_gradients_through_lost_custom_derivatives_are_refused(path):
    spike = brainir.surrogate.ReluGrad()
    brainir.save(transform.jit(lambda x: spike(x).sum()), path, jnp.ones(2))
    loaded = brainir.load(path)
    assert loaded(jnp.ones(2)) == 2.0
    with pytest.raises(brainir.ArtifactError, match="custom derivatives"):
        transform.grad(loaded)(jnp.ones(2))


def test_a_saved_gradient_keeps_its_custom_derivatives(path):
    spike = brainir.surrogate.ReluGrad()
    gradient = transform.jit(transform.grad(lambda x: spike(x).sum()))
    brainir.save(gradient, path, jnp.ones(2) * 0.5)
    given = jnp.ones(2) * 0.5
    assert_same(brainir.load(path)(given), gradient(given))


def test_equal_functions_give_equal_files(path):
    run = transform.jit(lambda x: x + 1.0)
    brainir.save(run, path, 1.0)
    first = path.read_bytes()
    brainir.save(run, path, 1.0)
    assert path.read_bytes() == first
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_graphs_are_in_the_file_at_every_stage(path):
    neuron = Neuron()
    traced = transform.jit(neuron.run).trace(CURRENTS, gain=2.0)
    brainir.save(traced, path)
    loaded = brainir.load(path)
    for stage in ("capture", "hoist-state", "purify", None):
        assert brainir.ir.equal(loaded.graph(stage), traced.graph(stage)), stage
    with zipfile.ZipFile(path) as archive:
        assert archive.read("graph.bir").decode() == str(traced.graph())
        assert json.loads(archive.read("meta.json"))["written_by"]["jax"] == jax.__version__


def test_stablehlo_is_kept_for_the_platforms_that_are_named(path):
    run = transform.jit(lambda x: {"y": x * 3.0})
    brainir.save(run, path, jnp.ones(2), platforms=["cpu", "cuda"])
    found = brainir.load(path).stablehlo
    assert found.platforms == ("cpu", "cuda")
    assert found.arguments == (0,)
    exported = brainir.backends.xla.export(run.trace(jnp.ones(2)).graph(), found.platforms)
    again = dataclasses.replace(exported, mlir_module_serialized=found.module)
    np.testing.assert_array_equal(again.call(jnp.ones(2))[0], [3.0, 3.0])
    brainir.save(run, path, jnp.ones(2))
    with pytest.raises(brainir.ArtifactError, match="platforms"):
        _ = brainir.load(path).stablehlo


def test_ops_derived_from_jax_primitives_are_found_again(path):
    factor = transform.jit(lambda x: jax.lax.linalg.cholesky(x))
    matrix = jnp.eye(3) + 1.0
    brainir.save(factor, path, matrix)
    assert "lax.cholesky" in str(brainir.load(path).graph())
    assert_same(brainir.load(path)(matrix), factor(matrix))


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint32", "float16", "bfloat16", "float8_e4m3fn", "int4", "complex64"]
)
def test_arrays_of_all_dtypes_come_back(path, dtype):
    table = brainir.State(jnp.asarray(np.arange(6).reshape(2, 3) % 2).astype(dtype), name="table")
    brainir.save(transform.jit(lambda: table.value), path)
    assert_same(brainir.load(path).states["table"].value, table.value)
    assert_same(brainir.load(path)(), table.value)


UNITS = [u.mV, u.nS, u.mV / u.ms, u.mV * u.nA**0.5 / u.ms, u.UNITLESS]


@pytest.mark.parametrize("unit", UNITS, ids=str)
def test_units_come_back_with_their_names(path, unit):
    run = transform.jit(lambda x: [x, x * x])
    brainir.save(run, path, u.Quantity(jnp.asarray(1.0), unit=unit))
    given = u.Quantity(jnp.asarray(1.5), unit=unit)
    assert repr(brainir.load(path)(given)) == repr(run(given))


def test_a_unit_without_a_name_comes_back_as_an_equal_one(path):
    unit = u.Unit(u.mV.dim, scale=-2.5)
    brainir.save(transform.jit(lambda x: x), path, u.Quantity(jnp.asarray(1.0), unit=unit))
    assert brainir.load(path)(u.Quantity(jnp.asarray(1.5), unit=unit)).unit == unit


def trees() -> st.SearchStrategy[Any]:
    """Draw containers with arrays in them."""
    leaves = st.sampled_from([jnp.asarray(1.0), jnp.ones(2), jnp.asarray(1) * u.mV, None])
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=2),
            st.tuples(inner, inner),
            st.dictionaries(st.text(max_size=2), inner, max_size=2),
            st.dictionaries(st.integers(-2, 2), inner, max_size=2),
        ),
        max_leaves=4,
    )


@given(tree=trees())
def test_structures_come_back(tree, tmp_path_factory):
    path = tmp_path_factory.mktemp("trees") / "tree.brainir"
    brainir.save(transform.jit(lambda x: (x, [x])), path, tree)
    assert_same(brainir.load(path)(tree), (tree, [tree]))


# --- what is refused ------------------------------------------------------------------------------


def test_arguments_must_be_what_was_saved(path):
    brainir.save(transform.jit(Neuron().run), path, CURRENTS, gain=2.0)
    loaded = brainir.load(path)
    with pytest.raises(TypeError, match=r"takes .*4, 3.*mA.*not .*2, 3"):
        loaded(CURRENTS_OF_TWO_STEPS, gain=2.0)
    with pytest.raises(TypeError, match="not"):
        loaded(CURRENTS / u.mA, gain=2.0)
    with pytest.raises(TypeError, match="keyword"):
        loaded(CURRENTS)
    with pytest.raises(TypeError, match="str"):
        loaded(CURRENTS, gain="much")
    with pytest.raises(TypeError):
        loaded(CURRENTS, gain=True)
    loaded(CURRENTS, gain=2)
    loaded.states["V"].value = jnp.zeros(3)
    with pytest.raises(TypeError, match=r"State 'V'.*mV"):
        loaded(CURRENTS, gain=2.0)


def test_a_state_that_changes_its_type_is_refused(path):
    grown = brainir.State(jnp.zeros(2), name="grown")

    def grow():
        grown.value = jnp.concatenate([grown.value, grown.value])

    with pytest.raises(brainir.ArtifactError, match="'grown' changes"):
        brainir.save(transform.jit(grow), path)
    assert not path.exists()


def test_a_container_that_cannot_be_described_is_named(path):
    with pytest.raises(brainir.ArtifactError, match=r"the arguments\[0\] is a .*Pair"):
        brainir.save(transform.jit(lambda x: x.a), path, Pair(1.0, 2.0))


def test_callbacks_are_refused(path):
    def shout(x):
        jax.debug.print("{}", x)
        return x

    told = r"cannot be saved as text: it calls Python at .*test_artifact.py:\d+ .*shout"
    with pytest.raises(brainir.ArtifactError, match=told):
        brainir.save(transform.jit(shout), path, 1.0)


def test_only_compiled_functions_are_saved(path):
    with pytest.raises(TypeError, match="save takes a function"):
        brainir.save(lambda x: x, path)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="traced already"):
        brainir.save(transform.jit(lambda x: x).trace(1.0), path, 1.0)


def test_a_function_of_64_bits_is_not_run_with_32(path):
    with jax.enable_x64(True):
        brainir.save(transform.jit(lambda x: x + 1.0), path, np.float64(1.0))
        assert brainir.load(path)(np.float64(1.0)).dtype == np.float64
    with pytest.raises(brainir.ArtifactError, match="jax_enable_x64"):
        brainir.load(path)


def test_a_file_that_is_something_else_is_refused(path):
    path.write_text("graph () -> () {\n return\n}")
    with pytest.raises(brainir.ArtifactError, match="not an artifact"):
        brainir.load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("meta.json", "{}")
    with pytest.raises(brainir.ArtifactError, match="seal"):
        brainir.load(path)
    with pytest.raises(FileNotFoundError):
        brainir.load(path.with_name("nowhere"))


# --- files that somebody has changed --------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of an artifact, and a place to write others."""
    path = tmp_path_factory.mktemp("whole") / "model.brainir"
    brainir.save(transform.jit(Neuron().run), path, CURRENTS, gain=2.0, platforms=["cpu"])
    return path.read_bytes(), path


def changed(whole, **entries):
    """Write an artifact with other entries, sealed as if it were right."""
    data, path = whole
    path.write_bytes(container.pack({**container.unpack(data), **entries}))
    return path


def assert_refused_or_loaded(path):
    """Load a file, which may well have nothing wrong with it; any other error fails the test."""
    with contextlib.suppress(brainir.ArtifactError):
        brainir.load(path)


@given(data=st.data())
def test_damage_anywhere_is_noticed(whole, data):
    good, path = whole
    start = data.draw(st.integers(0, len(good) - 1))
    stop = data.draw(st.integers(start, min(start + 8, len(good))))
    other = data.draw(st.binary(max_size=8))
    if good[start:stop] == other:
        return
    path.write_bytes(good[:start] + other + good[stop:])
    with pytest.raises(brainir.ArtifactError):
        brainir.load(path)


@given(data=st.binary(max_size=200))
@example(b"")
@example(b"PK")
@example(b"PK" + b"0" * 100)
def test_any_bytes_are_refused(whole, data):
    path = whole[1]
    for content in (data, b"PK" + data + container.seal_of(b"PK" + data)):
        path.write_bytes(content)
        with pytest.raises(brainir.ArtifactError):
            brainir.load(path)


@given(data=st.data())
def test_a_damaged_zip_that_was_sealed_again_is_no_surprise(whole, data):
    good, path = whole
    body = bytearray(good[: -container.SEAL_LENGTH])
    directory = body.rindex(b"PK\1\2")
    for _ in range(data.draw(st.integers(1, 3))):
        where = st.integers(directory - 300, len(body) - 1)
        body[data.draw(st.one_of(where, st.integers(0, len(body) - 1)))] = data.draw(
            st.integers(0, 255)
        )
    path.write_bytes(bytes(body) + container.seal_of(bytes(body)))
    assert_refused_or_loaded(path)


@given(data=st.data())
def test_changed_entries_are_no_surprise(whole, data):
    entries = container.unpack(whole[0])
    name = data.draw(st.sampled_from(sorted(entries)))
    content = entries[name]
    start = data.draw(st.integers(0, len(content) - 1))
    stop = data.draw(st.integers(start, min(start + 4, len(content))))
    other = data.draw(st.one_of(st.binary(max_size=4), st.sampled_from([b"9" * 20, b"(", b"inf"])))
    assert_refused_or_loaded(changed(whole, **{name: content[:start] + other + content[stop:]}))


def anything() -> st.SearchStrategy[Any]:
    """Draw JSON."""
    return st.recursive(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(),
            st.sampled_from(["array", "mV"]),
        ),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(["tuple", "list", "dict", "quantity", "scale"]), inner, max_size=2
            ),
        ),
        max_leaves=4,
    )


def replaced(data: st.DataObject, item: Any) -> Any:
    """Return JSON in which something, somewhere, is something else."""
    children = (
        item if isinstance(item, dict) else dict(enumerate(item)) if isinstance(item, list) else {}
    )
    if not children or data.draw(st.integers(0, 5)) == 0:
        return data.draw(anything())
    key = data.draw(st.sampled_from(list(children)))
    new = {**children, key: replaced(data, children[key])}
    return new if isinstance(item, dict) else list(new.values())


@given(data=st.data())
def test_changed_descriptions_are_no_surprise(whole, data):
    meta = json.loads(container.unpack(whole[0])["meta.json"])
    text = json.dumps(replaced(data, meta)).encode()
    assert_refused_or_loaded(changed(whole, **{"meta.json": text}))


def test_a_newer_version_of_the_format_is_refused_by_number(whole):
    meta = json.loads(container.unpack(whole[0])["meta.json"])
    path = changed(whole, **{"meta.json": json.dumps({**meta, "version": VERSION + 1}).encode()})
    with pytest.raises(brainir.ArtifactError, match=f"version {VERSION + 1}"):
        brainir.load(path)


def test_a_missing_entry_is_named(whole):
    good, path = whole
    entries = container.unpack(good)
    for name in set(entries) - {"captured.bir"}:
        path.write_bytes(container.pack({k: v for k, v in entries.items() if k != name}))
        with pytest.raises(brainir.ArtifactError, match=name):
            brainir.load(path)


def test_deep_nesting_is_refused(whole):
    deep = b"[" * 100_000 + b"]" * 100_000
    with pytest.raises(brainir.ArtifactError):
        brainir.load(changed(whole, **{"meta.json": deep}))
    meta = json.loads(container.unpack(whole[0])["meta.json"])
    tree: Any = "array"
    for _ in range(150):
        tree = {"list": [tree]}
    text = json.dumps({**meta, "arguments": tree}).encode()
    with pytest.raises(brainir.ArtifactError, match="too deep"):
        brainir.load(changed(whole, **{"meta.json": text}))
    regions = "%x = call () : f32[] do {" * 3000
    graph = f"graph () -> () {{\n{regions}\n".encode()
    with pytest.raises(brainir.ArtifactError):
        brainir.load(changed(whole, **{"graph.bir": graph}))


def test_nothing_unfolds(whole, tmp_path):
    path = tmp_path / "bomb.brainir"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("meta.json", b" " * 10_000_000)
        archive.comment = b"0" * container.SEAL_LENGTH
    body = path.read_bytes()[: -container.SEAL_LENGTH]
    path.write_bytes(body + container.seal_of(body))
    with pytest.raises(brainir.ArtifactError, match="compressed"):
        brainir.load(path)


def test_pickles_are_not_read(whole):
    class Trap:
        def __reduce__(self):
            return print, ("a pickle was run",)

    entries = container.unpack(whole[0])
    name = next(name for name in entries if name.endswith(".npy"))
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "|O", "fortran_order": False, "shape": (3, 3)}
    )
    trapped = buffer.getvalue() + pickle.dumps([Trap()])
    with pytest.raises(brainir.ArtifactError, match="is not an array of"):
        brainir.load(changed(whole, **{name: trapped}))
