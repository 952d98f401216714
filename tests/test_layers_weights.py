"""Linear layers, connections, embeddings, dropout and metrics."""

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir import nn
from brainir.passes import kernels

X = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4)), jnp.float32)


def weights_of(layer):
    return layer.weight.value["weight"]


def test_linear_starts_with_cut_off_normal_numbers():
    brainir.random.seed(0)
    weight = weights_of(nn.Linear(30, 40))
    brainir.random.seed(0)
    sample = brainir.random.truncated_normal(-2.0, 2.0, (30, 40))
    np.testing.assert_allclose(weight, sample * np.sqrt(2 / 30) / 0.8796256610342398, rtol=1e-5)


def test_linear_takes_a_mask_and_a_kind_of_state():
    mask = np.array([[1, 0, 1]] * 4)
    layer = nn.Linear(4, 3, w_mask=mask, param_type=brainir.LongTermState)
    assert type(layer.weight) is brainir.LongTermState
    np.testing.assert_allclose(layer(X), X @ jnp.where(mask, weights_of(layer), 0), rtol=1e-5)
    assert (nn.Linear(4, 3, w_mask=jnp.zeros)(X) == 0).all()
    assert weights_of(nn.Linear(4, 3, w_init=2)).shape == (4, 3)
    with pytest.raises(ValueError, match="does not broadcast"):
        nn.Linear(4, 3, w_mask=np.ones(7))
    grads = brainir.transform.grad(lambda: layer(X).sum(), layer.states())()
    assert (grads[("weight",)]["weight"][:, 1] == 0).all()


def test_standardised_weights_have_mean_0_and_variance_1_over_inputs():
    layer = nn.ScaledWSLinear(4, 3)
    weight = nn.weight_standardization(weights_of(layer))
    np.testing.assert_allclose(weight.mean(0), 0.0, atol=1e-6)
    np.testing.assert_allclose(weight.var(0) * 4, 1.0, rtol=1e-5)
    layer.weight.value = {**layer.weight.value, "gain": jnp.array([[1.0, 2.0, 3.0]])}
    np.testing.assert_allclose(layer(X), X @ weight * jnp.arange(1.0, 4.0), rtol=1e-4, atol=1e-5)
    assert set(nn.ScaledWSLinear(4, 3, b_init=None, ws_gain=False).weight.value) == {"weight"}
    assert (nn.weight_standardization(jnp.ones((3, 2))) == 0).all()
    across = nn.weight_standardization(weights_of(layer), out_axis=0)
    np.testing.assert_allclose(across.mean(1), 0.0, atol=1e-6)


def test_signs_of_weights_are_held():
    sign = jnp.where(jnp.arange(3) == 0, -1.0, 1.0)
    layer = nn.SignedWLinear(4, 3, w_sign=sign)
    np.testing.assert_allclose(layer(X), X @ (abs(layer.weight.value) * sign), rtol=1e-5)


@pytest.mark.parametrize("outputs", [2, 4, 6])
@pytest.mark.parametrize("include_self", [True, False])
def test_one_weight_for_all_is_a_matrix_of_one_number(outputs, include_self):
    one = nn.AllToAll(4, outputs, w_init=2.0 * u.mS, include_self=include_self)
    assert weights_of(one).shape == ()
    matrix = nn.AllToAll(4, outputs, w_init=jnp.full((4, outputs), 2.0), include_self=include_self)
    expected = X @ (2.0 * (np.ones((4, outputs)) - (not include_self) * np.eye(4, outputs)))
    np.testing.assert_allclose(matrix(X), expected, rtol=1e-5, atol=1e-6)
    y = one(X * u.mV)
    np.testing.assert_allclose(y.to_decimal(u.nA), 1000 * expected, rtol=1e-4, atol=1e-2)


def test_one_to_one_and_low_rank_layers_follow_their_equations():
    layer = nn.OneToOne((5, 4), b_init=1.0)
    np.testing.assert_allclose(layer(X), X * weights_of(layer) + 1.0, rtol=1e-6)
    assert layer.out_size == (5, 4)
    base = nn.Linear(4, 3)
    lora = nn.LoRA(4, 2, 3, base_module=base)
    parameters = lora.weight.value
    expected = base(X) + X @ parameters["lora_a"] @ parameters["lora_b"]
    np.testing.assert_allclose(lora(X), expected, rtol=1e-5)
    assert list(lora.states()) == [("base_module", "weight"), ("weight",)]


@pytest.mark.parametrize("form", ["csr", "coo", "csc"])
def test_sparse_layers_are_products_with_the_dense_matrix(form):
    dense = jnp.array([[0.0, 2.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 4.0], [1.0, 5.0, 0.0]])
    layer = nn.SparseLinear(getattr(u.sparse, f"{form}_fromdense")(dense), b_init=jnp.ones(3))
    assert (layer.in_size, layer.out_size, weights_of(layer).shape) == ((4,), (3,), (5,))
    np.testing.assert_allclose(layer(X), X @ dense + 1, rtol=1e-5)
    np.testing.assert_allclose(layer(X[0]), X[0] @ dense + 1, rtol=1e-5)
    compiled = brainir.transform.jit(
        lambda x: brainir.transform.grad(lambda: (layer(x) ** 2).sum(), layer.states())()
    )
    expected = jax.grad(lambda w: ((X @ w + 1) ** 2).sum())(dense)
    found = layer.spar_mat.with_data(compiled(X)[("weight",)]["weight"]).todense()
    np.testing.assert_allclose(found, jnp.where(dense != 0, expected, 0), rtol=1e-4)
    np.testing.assert_allclose(brainir.transform.vmap(layer)(X), layer(X), rtol=1e-5)
    volts = nn.SparseLinear(getattr(u.sparse, f"{form}_fromdense")(dense * u.mS))
    np.testing.assert_allclose(volts(X * u.mV).to_decimal(u.uA), X @ dense, rtol=1e-5)
    with pytest.raises(TypeError, match=r"brainunit\.sparse"):
        nn.SparseLinear(dense)
    with pytest.raises(ValueError, match="does not end with 4"):
        nn.SparseLinear(layer.spar_mat, in_size=3)


# --- connections ----------------------------------------------------------------------------------


def dense_of(layer, weight):
    """The matrix of a layer's connections, by hand."""
    dense = np.zeros((np.prod(layer.in_size), np.prod(layer.out_size)))
    weight = np.broadcast_to(weight, layer.indices.shape)
    for row, targets, values in zip(layer.rows, layer.indices, weight, strict=True):
        for target, value in zip(targets, values, strict=True):
            post = layer.efferent_target == "post"
            dense[(row, target) if post else (target, row)] += value
    return dense


CONNECTIONS = [
    {},
    {"efferent_target": "pre"},
    {"allow_multi_conn": False},
    {"allow_multi_conn": False, "conn_init": "for_loop"},
    {"afferent_ratio": 0.5},
]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("settings", CONNECTIONS, ids=str)
@pytest.mark.parametrize("weight", [2.0, brainir.init.Normal(0.0, 1.0)], ids=["one", "each"])
def test_connections_are_products_with_the_dense_matrix(settings, weight):
    layer = nn.FixedNumConn(10, 8, 3, weight, seed=1, **settings)
    dense = dense_of(layer, layer.weight.value)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(2, 10)), jnp.float32)
    np.testing.assert_allclose(layer(x), x @ dense, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer(x[0]), x[0] @ dense, rtol=1e-4, atol=1e-5)
    if not layer.allow_multi_conn:
        assert all(len(set(row)) == 3 for row in layer.indices.tolist())
    events = nn.EventFixedProb(10, 8, 3, weight, seed=1, **settings)
    fired = np.asarray(x > 0, np.float32)
    expected = fired @ dense_of(events, events.weight.value)
    for spikes in (fired, fired > 0, fired.astype(np.int32), x):
        np.testing.assert_allclose(events(jnp.asarray(spikes)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"efferent_target": "pre"}, {"afferent_ratio": 0.5}])
def test_loops_over_connections_are_kernels(settings):
    layer = nn.EventFixedNumConn(30, 20, 4, brainir.init.Normal(0.0, 1.0), seed=1, **settings)
    total = brainir.HiddenState(jnp.zeros(20))
    spikes = np.random.default_rng(0).random((9, 30)) < 0.3

    @brainir.transform.jit
    def run(spikes):
        def step(fired):
            total.value = 0.5 * total.value + layer(fired)

        brainir.transform.for_loop(step, spikes)

    ((_, refusal),) = kernels(run.trace(spikes).graph("dead-code"))
    assert refusal is None
    run(spikes)
    sent = spikes @ dense_of(layer, layer.weight.value)
    expected = (sent * 0.5 ** np.arange(9)[::-1, None]).sum(0)
    np.testing.assert_allclose(total.value, expected, rtol=1e-4, atol=1e-5)


def test_events_pass_gradients_as_products_do():
    layer = nn.EventFixedNumConn(10, 8, 0.5, brainir.init.Normal(0.0, 1.0), seed=1)
    x = jnp.linspace(-1.0, 1.0, 10)

    @brainir.transform.jit
    def gradients(x):
        inner = brainir.transform.grad(lambda x: (layer(x) ** 2).sum(), layer.states(), argnums=0)
        return inner(x)

    by_state, by_input = gradients(x)
    dense = jnp.asarray(dense_of(layer, layer.weight.value), jnp.float32)
    fired = jnp.asarray(x > 0, jnp.float32)
    np.testing.assert_allclose(by_input, 2 * (fired @ dense) @ dense.T, rtol=1e-4, atol=1e-5)
    expected = np.outer(fired, 2 * (fired @ dense))[np.arange(10)[:, None], layer.indices]
    np.testing.assert_allclose(by_state[("weight",)], expected, rtol=1e-4, atol=1e-5)


def test_connections_have_units_shapes_and_numbers():
    layer = nn.EventFixedProb((2, 5), (4, 2), 0.25, 0.5 * u.mS, seed=1)
    assert layer.conn_num == 2
    y = layer(jnp.ones((3, 2, 5)) * u.mV)
    assert y.shape == (3, 4, 2)
    np.testing.assert_allclose(u.math.sum(y).to_decimal(u.uA), 3 * 10 * 2 * 0.5, rtol=1e-6)
    assert (nn.FixedNumConn(10, 8, 0.01, 1.0)(jnp.ones(10)) == 0).all()
    brainir.random.seed(5)
    first = nn.FixedNumConn(10, 8, 3, 1.0).indices
    brainir.random.seed(5)
    np.testing.assert_array_equal(nn.FixedNumConn(10, 8, 3, 1.0).indices, first)
    np.testing.assert_array_equal(
        nn.FixedNumConn(10, 8, 3, 1.0, seed=1).indices,
        np.random.RandomState(1).randint(0, 8, (10, 3)),
    )
    silent = nn.FixedNumConn(10, 8, 3, np.arange(30.0).reshape(10, 3), seed=1, afferent_ratio=0.5)
    np.testing.assert_array_equal(silent.weight.value[:, 0], 3 * silent.rows)


def test_wrong_connections_are_refused():
    wrong = [
        ((-1,), {}, "-1 connections"),
        ((1.5,), {}, "probability"),
        ((9,), {"allow_multi_conn": False}, "without repetition"),
        ((2,), {"efferent_target": "x"}, "efferent_target"),
        ((2,), {"conn_init": "x"}, "conn_init"),
        ((2,), {"afferent_ratio": 2.0}, "afferent_ratio"),
    ]
    for numbers, settings, message in wrong:
        with pytest.raises(ValueError, match=message):
            nn.FixedNumConn(10, 8, *numbers, conn_weight=1.0, **settings)
    with pytest.raises(ValueError, match="takes arrays of shape"):
        nn.FixedNumConn((2, 5), 8, 2, 1.0)(jnp.ones(10))


def test_dense_events_count_what_is_above_0():
    x = jnp.array([[1.0, 0.5, -1.0, 0.0]])
    assert nn.EventLinear(4, 3, 2.0)(x).tolist() == [[4.0] * 3]
    assert nn.EventLinear(4, 3, 2.0, float_as_event=False)(x).tolist() == [[1.0] * 3]
    weight = jnp.arange(12.0).reshape(4, 3)
    y = nn.EventLinear(4, 3, weight * u.mS)(x[0] > 0)
    np.testing.assert_array_equal(y.to_decimal(u.mS), weight[0] + weight[1])


# --- others ---------------------------------------------------------------------------------------


def test_rows_of_an_embedding_are_looked_up_and_held():
    table = nn.Embedding(5, (2, 3), padding_idx=3)
    index = jnp.array([[1, 3], [4, 1]])
    np.testing.assert_array_equal(table(index), table.weight.value[index])
    assert (table(3) == 0).all()
    found = brainir.transform.jit(
        lambda: brainir.transform.grad(lambda: table(index).sum(), table.states())()
    )()
    expected = np.zeros((5, 2, 3))
    expected[1], expected[4] = 2, 1
    np.testing.assert_array_equal(found[("weight",)], expected)
    frozen = nn.Embedding.from_pretrained(jnp.eye(3) * u.mV)
    assert frozen(jnp.array([0, 7])).shape == (2, 3)
    held = brainir.transform.grad(lambda: frozen(1).sum() / u.mV, frozen.states())()
    assert (u.get_mantissa(held[("weight",)]) == 0).all()
    with pytest.raises(ValueError, match="not one of 5 rows"):
        nn.Embedding(5, 3, padding_idx=5)
    with pytest.raises(TypeError, match="integers"):
        table(jnp.ones(2))


def test_dropout_keeps_the_mean_in_training_only():
    dropout = nn.Dropout(0.8)
    x = jnp.ones((100, 100)) * u.mV
    brainir.random.seed(0)
    with brainir.environ.context(fit=True):
        y = brainir.transform.jit(dropout)(x).to_decimal(u.mV)
    brainir.random.seed(0)
    kept = brainir.random.bernoulli(0.8, (100, 100))
    np.testing.assert_allclose(y, jnp.where(kept, 1.25, 0.0))
    assert dropout.prob == 0.8
    with brainir.environ.context(fit=False):
        np.testing.assert_array_equal(dropout(x).mantissa, 1.0)
    with brainir.environ.context(fit=True):
        rows = nn.Dropout(0.5, broadcast_dims=(1,))(jnp.ones((50, 3)))
        assert (nn.Dropout(0.0)(jnp.ones(3)) == 0).all()
        assert (nn.Dropout(1.0)(jnp.ones(3)) == 1).all()
    assert (rows == rows[:, :1]).all()
    assert len(set(rows[:, 0].tolist())) == 2
    with pytest.raises(KeyError, match="fit"):
        dropout(x)
    with pytest.raises(ValueError, match="in \\[0, 1\\]"):
        nn.Dropout(1.5)


def test_each_step_of_a_loop_drops_other_elements():
    dropout = nn.EnvironContext(nn.Dropout(0.5), fit=True)
    ys = brainir.transform.for_loop(dropout, jnp.ones((2, 100)))
    assert (ys[0] != ys[1]).any()
    assert (dropout(jnp.ones(9), context={"fit": False}) == 1).all()
    dropout.add_context(fit=False)
    assert (dropout(jnp.ones(9)) == 1).all()
    with pytest.raises(TypeError, match="needs a module"):
        nn.EnvironContext(3)  # pyright: ignore[reportArgumentType]


def test_metrics_count_in_loops_and_start_anew():
    metrics = nn.MultiMetric(accuracy=nn.AccuracyMetric(), loss=nn.AverageMetric("loss"))
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(3, 6, 4)), jnp.float32)
    labels = jnp.arange(18).reshape(3, 6) % 4
    brainir.transform.for_loop(
        lambda x, y: metrics.update(logits=x, labels=y, loss=x[0, 0]), logits, labels
    )
    found = metrics.compute()
    right = (np.asarray(logits).argmax(-1) == np.asarray(labels)).mean()
    np.testing.assert_allclose(found["accuracy"], right, rtol=1e-6)
    np.testing.assert_allclose(found["loss"], logits[:, 0, 0].mean(), rtol=1e-5)
    metrics.reset()
    assert np.isnan(metrics.compute()["loss"])
    with pytest.raises(TypeError, match="needs the keyword 'loss'"):
        metrics.loss.update(values=1.0)
    with pytest.raises(TypeError, match="mV"):
        metrics.loss.update(loss=1.0 * u.mV)
    with pytest.raises(ValueError, match="labels must be integers"):
        metrics.accuracy.update(logits=logits, labels=labels[0])
    with pytest.raises(ValueError, match="cannot be called 'update'"):
        nn.MultiMetric(update=nn.AverageMetric())
    with pytest.raises(TypeError, match="must be a Metric"):
        nn.MultiMetric(loss=3)  # pyright: ignore[reportArgumentType]
