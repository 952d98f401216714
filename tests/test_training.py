"""Training with optax, and what is trained in files of orbax and safetensors."""

import importlib.util
from pathlib import Path

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir

state_arrays, set_state_arrays = brainir.graph.state_arrays, brainir.graph.set_state_arrays
EXAMPLE = Path(__file__).parent.parent / "examples" / "train.py"


def a_net():
    weights = brainir.init.KaimingNormal(unit=u.mA)
    return brainir.nn.Sequential(
        brainir.nn.Linear(3, 4, w_init=weights, b_init=None),
        brainir.nn.LIF(4),
        brainir.nn.Linear(4, 2),
    )


def all_kinds():
    """Return States that hold all that an array can stand for."""
    return {
        "net": brainir.nn.init_all_states(a_net(), 2),
        "random": brainir.RandomState(1),
        "plain": brainir.State({"int": 3, "float": 0.5, "bool": True, "none": None}),
        "numpy": [brainir.State(np.arange(3.0)), brainir.State(np.float32(2.0))],
        "small": brainir.State(jnp.ones(2, jnp.bfloat16)),
        "keys": brainir.State(jax.random.split(jax.random.key(0, impl="rbg"), 3)),
        "empty": brainir.State((jnp.zeros((0, 2)), ())),
    }


def test_arrays_come_back_as_what_they_were():
    one, other = all_kinds(), all_kinds()
    kept = {name: np.asarray(array) for name, array in state_arrays(one).items()}
    set_state_arrays(other, kept)
    for path, state in brainir.graph.states(one).items():
        again = brainir.graph.states(other)[path].value
        assert jax.tree.structure(state.value) == jax.tree.structure(again)
        for old, new in zip(jax.tree.leaves(state.value), jax.tree.leaves(again), strict=True):
            assert type(old) is type(new)
            is_key = isinstance(old, jax.Array) and jnp.issubdtype(old.dtype, jax.dtypes.prng_key)
            unpack = jax.random.key_data if is_key else np.asarray
            np.testing.assert_array_equal(unpack(old), unpack(new), strict=True)


def test_a_state_alone_and_an_empty_model_have_arrays_too():
    assert state_arrays(brainir.State(2.0)) == {"value": 2.0}
    assert state_arrays({}) == {}
    set_state_arrays({}, {})


def test_names_that_would_be_one_are_refused():
    with pytest.raises(ValueError, match=r"two arrays would be called 'a\.b'"):
        state_arrays({"a": brainir.State({"b": 1.0}), "a.b": brainir.State(2.0)})


def change(name, to):
    return lambda arrays: {**arrays, name: to}


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (change("a [mV]", np.zeros(4, np.float32)), r"'a \[mV\]' has the shape \(3,\) in the"),
        (change("a [mV]", np.zeros(3, np.int8)), r"the dtype float32 in the model, and int8"),
        (lambda x: {"b": x["b"], "a [V]": x["a [mV]"]}, r"'a \[mV\]' of the model is 'a \[V\]'"),
        (lambda x: {"b": x["b"], "a": x["a [mV]"]}, r"'a \[mV\]' of the model is 'a' among"),
        (lambda x: {"b": x["b"]}, r"'a \[mV\]' of the model is not among the arrays"),
        (change("c", np.zeros(1)), r"'c' is not in the model"),
    ],
)
def test_what_does_not_fit_is_told_and_nothing_is_written(spoil, told):
    model = {"a": brainir.State(jnp.ones(3) * u.mV), "b": brainir.State(1.0)}
    arrays = spoil({**state_arrays(model), "b": np.float64(7.0)})
    with pytest.raises(ValueError, match=told):
        set_state_arrays(model, arrays)
    assert model["b"].value == 1.0


def test_a_filter_keeps_some_states_only():
    net, other = brainir.nn.init_all_states(a_net()), brainir.nn.init_all_states(a_net())
    weights = state_arrays(net, brainir.ParamState)
    assert len(weights) == 3
    set_state_arrays(other, weights, brainir.ParamState)
    with pytest.raises(ValueError, match=r"layers\.1\.V"):
        set_state_arrays(other, weights)


# --- with other libraries -------------------------------------------------------------------------


@pytest.fixture
def code_of_others():
    """Let optax promote dtypes."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.usefixtures("code_of_others")
@pytest.mark.parametrize("in_loop", [False, True])
def test_optax_in_a_compiled_step_is_optax_in_plain_jax(in_loop):
    optax = pytest.importorskip("optax")
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(0.05))
    layer = brainir.nn.Linear(3, 2, w_init=jnp.arange(6.0).reshape(3, 2) * u.mA, b_init=None)
    weights = layer.states(brainir.ParamState)
    moments = brainir.State(optimizer.init(weights.to_dict_values()))
    inputs = jnp.linspace(-1.0, 1.0, 12).reshape(4, 3)

    def loss():
        return ((layer(inputs) / u.mA - 1.0) ** 2).mean()

    def step(_):
        gradients, value = brainir.transform.grad(loss, weights, return_value=True)()
        before = weights.to_dict_values()
        updates, moments.value = optimizer.update(gradients, moments.value, before)
        weights.assign_dict_values(optax.apply_updates(before, updates))
        return value

    if in_loop:
        run = brainir.transform.jit(lambda: brainir.transform.for_loop(step, jnp.arange(5)))
        losses = run()
    else:
        compiled = brainir.transform.jit(step)
        losses = jnp.stack([compiled(i) for i in range(5)])

    w, opt_state, expected = jnp.arange(6.0).reshape(3, 2), None, []
    opt_state = optimizer.init(w)
    for _ in range(5):
        value, slope = jax.value_and_grad(lambda w: ((inputs @ w - 1.0) ** 2).mean())(w)
        updates, opt_state = optimizer.update(slope, opt_state, w)
        w = optax.apply_updates(w, updates)
        expected.append(value)
    np.testing.assert_allclose(losses, jnp.stack(expected), rtol=1e-5)
    held = layer.weight.value["weight"]
    assert held.unit == u.mA
    np.testing.assert_allclose(held.mantissa, w, rtol=1e-5)


def test_orbax_saves_what_was_there_when_it_was_asked_to(tmp_path):
    ocp = pytest.importorskip("orbax.checkpoint")
    model = {key: kind for key, kind in all_kinds().items() if key != "empty"}  # orbax refuses it
    before = {name: np.array(array) for name, array in state_arrays(model).items()}
    with ocp.AsyncCheckpointer(ocp.StandardCheckpointHandler()) as saver:
        saver.save(tmp_path / "model", args=ocp.args.StandardSave(state_arrays(model)))
        weight = model["net"].layers[2].weight
        weight.value = jax.tree.map(lambda x: x + 1.0, weight.value)
        model["random"].rand()
    with ocp.StandardCheckpointer() as reader:
        read = reader.restore(tmp_path / "model", state_arrays(model))
    set_state_arrays(model, read)
    for name, array in state_arrays(model).items():
        np.testing.assert_array_equal(array, before[name])


def test_safetensors_writes_and_reads_weights(tmp_path):
    files = pytest.importorskip("safetensors.flax")
    one, other = all_kinds(), all_kinds()
    path = tmp_path / "weights.safetensors"
    files.save_file(state_arrays(one["net"]), path)
    set_state_arrays(other["net"], files.load_file(path))
    np.testing.assert_array_equal(
        one["net"].layers[0].weight.value["weight"].mantissa,
        other["net"].layers[0].weight.value["weight"].mantissa,
    )


@pytest.mark.usefixtures("code_of_others")
def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path):
    for library in ("optax", "orbax.checkpoint", "safetensors"):
        pytest.importorskip(library)
    spec = importlib.util.spec_from_file_location("train_example", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    key = brainir.random.get_key()

    def run(folder, *more):
        return example.main(
            ["--quiet", "--steps", "6", "--save-every", "2", "--folder", folder, *more]
        )

    try:
        whole = run(str(tmp_path / "one"))
        stopped = run(str(tmp_path / "two"), "--stop-after", "3")
        assert run(str(tmp_path / "two"), "--resume") == whole != stopped
    finally:
        brainir.random.set_key(key)
    assert (tmp_path / "two" / "weights.safetensors").exists()
    with pytest.raises(SystemExit, match="--resume"):
        run(str(tmp_path / "two"))
