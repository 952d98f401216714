"""Products with sparse connections: what dense ones say, whatever runs them."""

from __future__ import annotations

from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir import event
from brainir.passes import kernels

CSC, CSR, BinaryArray = event.CSC, event.CSR, event.BinaryArray
FixedNumPerPost, FixedNumPerPre = event.FixedNumPerPost, event.FixedNumPerPre

KINDS = (CSR, CSC, FixedNumPerPre, FixedNumPerPost)


def sparse(*shape: int, seed: int = 0, density: float = 0.3, dtype: Any = "float32") -> Any:
    """Return an array of which most elements are zero."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-5, 6, shape).astype(dtype) / (1 if dtype == "int32" else 4)
    return np.where(rng.random(shape) < density, values, 0).astype(dtype)


def assert_close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-5, atol=1e-5)


def parts(kind: type, dense: Any) -> tuple[Any, Any]:
    return kind.fromdense(dense), dense


def test_a_weight_may_be_a_python_number_in_a_unit():
    matrix = FixedNumPerPre((6.0 * u.nS, np.array([[0, 1], [1, 2]])), shape=(2, 3))
    assert (np.array([True, False]) @ matrix).to_decimal(u.nS).tolist() == [6, 6, 0]
    assert (matrix @ np.array([True, False, True])).to_decimal(u.nS).tolist() == [6, 6]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(30, 50), (1, 7), (0, 4)])
def test_products_are_those_of_the_dense_matrix(kind, shape):
    matrix, dense = parts(kind, sparse(*shape))
    assert_close(matrix.todense(), dense)
    one, many = sparse(shape[0], seed=1), sparse(3, shape[0], seed=2)
    left = [one, many, one > 0, many > 0]
    other, others = sparse(shape[1], seed=3), sparse(shape[1], 3, seed=4)
    right = [other, others, other > 0, others > 0]

    @jax.jit
    def products(matrix, left, right):
        turned, doubled = matrix.T, -matrix * 2
        return (
            [x @ matrix for x in left] + [BinaryArray(x) @ matrix for x in left[:2]],
            [matrix @ x for x in right] + [matrix @ BinaryArray(x) for x in right[:2]],
            [right[0] @ turned, turned @ left[0], left[0] @ doubled],
        )

    sent, received, others = products(matrix, left, right)
    for found, given in zip(sent, [*left, *left[:2]], strict=True):
        assert_close(found, given @ dense)
    for found, given in zip(received, [*right, *right[:2]], strict=True):
        assert_close(found, dense @ given)
    expected = other @ dense.T, dense.T @ one, -2 * one @ dense
    for found, given in zip(others, expected, strict=True):
        assert_close(found, given)


def test_integers_stay_integers():
    dense = sparse(6, 9, dtype="int32")
    product = sparse(6, seed=1, dtype="int32") @ CSR.fromdense(dense)
    assert product.dtype == "int32"
    assert product.tolist() == (sparse(6, seed=1, dtype="int32") @ dense).tolist()


def test_double_precision_is_kept():
    with jax.enable_x64(True):
        dense = sparse(40, 60, dtype="float64")
        values = np.random.default_rng(0).random(40)
        product = values @ CSR.fromdense(dense)
        assert product.dtype == "float64"
        np.testing.assert_allclose(np.asarray(product), values @ dense, rtol=1e-13)


def test_connections_between_the_same_two_add_up():
    matrix = CSR((jnp.array([1.0, 2.0, 4.0]), [1, 1, 0], [0, 3, 3]), shape=(2, 2))
    assert (jnp.array([True, True]) @ matrix).tolist() == [4.0, 3.0]
    assert (matrix @ jnp.array([1.0, 10.0])).tolist() == [34.0, 0.0]
    assert matrix.todense().tolist() == [[4.0, 3.0], [0.0, 0.0]]


def test_one_number_is_the_weight_of_all():
    rng = np.random.default_rng(0)
    indices = rng.integers(0, 8, (11, 4))
    one = FixedNumPerPost((0.5, indices), shape=(8, 11))
    all_of_them = FixedNumPerPost(np.full(indices.shape, 0.5, "f4"), indices, shape=(8, 11))
    values = rng.random(8).astype("f4")
    assert_close(values @ one, values @ all_of_them)
    slopes = jax.grad(lambda w: jnp.sum((values @ one.with_data(w)) ** 2))(0.5)
    each = jax.grad(lambda w: jnp.sum((values @ all_of_them.with_data(w)) ** 2))(all_of_them.data)
    assert_close(slopes, each.sum())


def test_units_multiply():
    dense = sparse(6, 9)
    matrix = CSR.fromdense(dense * u.nS)
    current = (jnp.ones(6) * u.mV) @ matrix
    assert_close(current.to_decimal(u.pA), dense.sum(0))
    assert_close((matrix @ (jnp.ones(9) * u.mV)).to_decimal(u.pA), dense.sum(1))
    conductance = (np.arange(6) < 3) @ matrix
    assert_close(conductance.to_decimal(u.nS), dense[:3].sum(0))
    assert_close(matrix.todense().to_decimal(u.nS), dense)
    without = (jnp.ones(6) / u.nS) @ matrix
    assert not isinstance(without, u.Quantity)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CSR((1.0, [0, 3], [0, 1, 2]), shape=(2, 3)), "leads to column 3"),
        (lambda: CSR((1.0, [0, -1], [0, 1, 2]), shape=(2, 3)), "leads to column -1"),
        (lambda: CSC((1.0, [2], [0, 1]), shape=(2, 1)), "leads to row 2"),
        (lambda: CSR((1.0, [0, 1], [0, 2]), shape=(2, 3)), "indptr has one element more"),
        (lambda: CSR((1.0, [0, 1], [0, 2, 1]), shape=(2, 3)), "from 0 to 1"),
        (lambda: CSR((1.0, [0, 1], [1, 1, 2]), shape=(2, 3)), "from 1 to 2"),
        (lambda: CSR((np.ones(3), [0, 1], [0, 1, 2]), shape=(2, 3)), "neither one number"),
        (lambda: FixedNumPerPre((1.0, [[0], [1]]), shape=(3, 3)), "not of 3 neurons"),
        (lambda: np.ones(4) @ CSR.fromdense(np.eye(3)), r"expected \(3,\) or \(n, 3\)"),
        (lambda: CSR.fromdense(np.eye(3)) @ np.ones((4, 2)), r"expected \(3,\) or \(3, n\)"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_what_is_no_number_is_refused():
    with pytest.raises(TypeError, match="not booleans"):
        CSR((True, [0], [0, 1]), shape=(1, 1))
    with pytest.raises(TypeError, match="integers, not float"):
        CSR((1.0, [0.5], [0, 1]), shape=(1, 1))


def test_a_matrix_says_what_it_is():
    matrix = CSR.fromdense(np.eye(3, dtype="f4") * u.mV)
    assert repr(matrix) == "CSR(shape=(3, 3), data=float32[3] mV)"
    with pytest.raises(TypeError, match="no product of two"):
        _ = matrix @ matrix


def test_a_saved_program_has_the_same_connections(tmp_path):
    matrix = CSR.fromdense(sparse(6, 9))
    seeded = event.JITCScalarR((0.5, 0.3, 7), shape=(9, 4))
    values = sparse(6, seed=1)
    function = brainir.transform.jit(lambda v: (v @ matrix) @ seeded)
    expected = function(values)
    brainir.save(function, tmp_path / "net.brainir", values)
    assert_close(brainir.load(tmp_path / "net.brainir")(values), expected)


# --- transformations -----------------------------------------------------------------------------


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("grad", [jax.grad, brainir.transform.grad])
def test_derivatives_are_those_of_the_dense_matrix(kind, grad):
    matrix, dense = parts(kind, sparse(8, 12, density=0.5))
    values = sparse(8, seed=3)
    ones = matrix.with_data(jnp.ones_like(matrix.data))
    # What fills up rows goes to a place several times.
    times = np.asarray(ones.todense())

    def of_values(v):
        return jnp.sum(jnp.tanh(v @ matrix))

    def of_data(data):
        return jnp.sum(jnp.tanh(BinaryArray(values) @ matrix.with_data(data)))

    def of_dense(v, d):
        return jnp.sum(jnp.tanh(v @ d))

    by_values, by_dense = jax.grad(of_dense, (0, 1))(values, dense)
    assert_close(jax.jit(grad(of_values, argnums=0))(jnp.asarray(values)), by_values)
    found = matrix.with_data(jax.jit(grad(of_data, argnums=0))(matrix.data))
    assert_close(found.todense(), by_dense * times)


@pytest.mark.parametrize("vmap", [jax.vmap, brainir.transform.vmap])
def test_lanes_are_what_each_lane_is(vmap):
    dense = sparse(5, 6, density=0.6)
    matrix = CSR.fromdense(dense)
    values, data = sparse(4, 5, seed=1, density=1), sparse(4, matrix.nse, seed=2, density=1)

    @jax.jit
    def send(v, w):
        return v @ matrix.with_data(w), matrix.with_data(w) @ jnp.ones(6)

    for axes in ((0, 0), (0, None), (None, 0)):
        given = [x if axis == 0 else x[0] for x, axis in zip((values, data), axes, strict=True)]
        found = jax.jit(vmap(send, in_axes=axes))(*map(jnp.asarray, given))
        for lane in range(4):
            one = [x if axis is None else x[lane] for x, axis in zip(given, axes, strict=True)]
            for left, right in zip(found, send(*one), strict=True):
                assert_close(left[lane], right)


def test_a_matrix_is_a_pytree_of_its_data():
    matrix = FixedNumPerPre.fromdense(sparse(6, 6))
    assert len(jax.tree.leaves(matrix)) == 1
    doubled = jax.tree.map(lambda x: 2 * x, matrix)
    assert_close(doubled.todense(), 2 * matrix.todense())
    product = brainir.transform.jit(lambda m, v: v @ m)(matrix, jnp.ones(6))
    assert_close(product, np.asarray(matrix.todense()).sum(0))


def network(kind: type, native: bool = True) -> tuple[Any, Any]:
    """Return a recurrent net whose weights are trained, and a function that runs it."""
    matrix = kind.fromdense(sparse(20, 20, density=0.4))
    weights = brainir.ParamState(matrix.data)
    V, spikes = brainir.HiddenState(jnp.zeros(20)), brainir.HiddenState(jnp.zeros(20))
    fires = brainir.surrogate.Sigmoid(alpha=4.0)

    def step(x):
        current = BinaryArray(spikes.value) @ matrix.with_data(weights.value)
        V.value = 0.8 * V.value + x + current - spikes.value
        spikes.value = fires(V.value - 1.0)
        return V.value

    def loss(xs):
        return jnp.mean(brainir.transform.for_loop(step, xs) ** 2)

    def dense_loss(data, xs):
        full = matrix.with_data(data).todense()

        def one(carry, x):
            v, s = carry
            v = 0.8 * v + x + s @ full - s
            return (v, fires(v - 1.0)), v

        _, vs = jax.lax.scan(one, (jnp.zeros(20), jnp.zeros(20)), xs)
        return jnp.mean(vs**2)

    xs = jnp.asarray(np.random.default_rng(5).random((12, 20)), "float32")
    slopes = brainir.transform.jit(brainir.transform.grad(loss, weights, return_value=True))
    return slopes(xs), jax.value_and_grad(dense_loss)(matrix.data, xs)


@pytest.mark.parametrize("leave_out", [(), ("outline-kernels",)])
@pytest.mark.parametrize("kind", [CSR, FixedNumPerPost])
def test_surrogate_gradients_go_through_spikes(kind, leave_out):
    with brainir.options(leave_out=leave_out):
        (slopes, value), (expected, gradient) = network(kind)
    assert_close(value, expected)
    np.testing.assert_allclose(slopes, gradient, rtol=1e-3, atol=1e-6)


def test_a_matrix_may_be_the_value_of_a_parameter():
    matrix = brainir.ParamState(CSR.fromdense(sparse(5, 5, density=0.6)))
    values = jnp.arange(5.0)
    gradient = brainir.transform.grad(lambda: jnp.sum((values @ matrix.value) ** 2), matrix)()
    dense = np.asarray(matrix.value.todense())
    expected = np.outer(values, 2 * (np.asarray(values) @ dense)) * (dense != 0)
    assert_close(gradient.todense(), expected)


@pytest.mark.parametrize(("rows", "often"), [(64, 0.0), (70, 0.03), (70, 1.0)])
def test_a_loop_with_spikes_is_one_kernel(rows, often):
    rng = np.random.default_rng(1)
    matrix = FixedNumPerPre(
        (rng.random((rows, 9), "f4"), rng.integers(0, 40, (rows, 9))), shape=(rows, 40)
    )
    spikes = (rng.random((7, rows)) < often).astype("f4")
    total = brainir.HiddenState(jnp.zeros(40))

    def step(s):
        total.value = 0.5 * total.value + s @ matrix
        return total.value

    def simulate(s):
        return brainir.transform.for_loop(step, s)

    run = brainir.transform.jit(simulate)
    (refusal,) = [why for _, why in kernels(run.trace(spikes).graph("dead-code"))]
    assert refusal is None
    expected, sums = [], np.zeros(40, "f4")
    for s in spikes:
        sums = 0.5 * sums + s @ np.asarray(matrix.todense())
        expected.append(sums)
    assert_close(run(spikes), expected)
    total.value = jnp.zeros(40)
    with brainir.options(leave_out=["outline-kernels"]):
        assert_close(run(spikes), expected)


def test_traced_connections_that_lead_nowhere_do_not_count():
    def send(indices):
        matrix = CSR((jnp.ones(3), indices, jnp.array([0, 2, 3])), shape=(2, 3))
        return jnp.ones(2) @ matrix, matrix @ jnp.ones(3), jnp.array([True] * 3) @ matrix.T

    to_columns, to_rows, turned = jax.jit(send)(jnp.array([-1, 1, 3]))
    assert to_columns.tolist() == [0.0, 1.0, 0.0]
    assert to_rows.tolist() == turned.tolist() == [1.0, 0.0]


def test_rows_of_zeros_send_nothing_of_what_is_infinite():
    matrix = CSR.fromdense(np.array([[np.inf, 1.0], [2.0, 3.0]], "f4"))
    assert (jnp.array([0.0, 1.0]) @ matrix).tolist() == [2.0, 3.0]


# --- connections from a seed ---------------------------------------------------------------------

JITCScalarC, JITCScalarR = event.JITCScalarC, event.JITCScalarR

PATTERN = ["x...........", "..........x.", "x....x..xxxx", "...x.x....xx"]


@pytest.mark.parametrize("kind", [JITCScalarR, JITCScalarC])
def test_a_seed_means_one_matrix_in_all_products(kind):
    matrix = kind((0.5 * u.nS, 0.2, 7), shape=(90, 70))
    dense = np.asarray(matrix.todense().to_decimal(u.nS))
    assert set(np.unique(dense)) == {0.0, 0.5}
    left, right = sparse(90, seed=1), sparse(70, 3, seed=2)
    rare = np.arange(90) % 50 == 3

    @jax.jit
    def products(matrix):
        return left @ matrix, matrix @ right, rare @ matrix, right.T @ matrix.T

    expected = left @ dense, dense @ right, rare @ dense, right.T @ dense.T
    for found, product in zip(products(matrix), expected, strict=True):
        assert_close(found.to_decimal(u.nS), product)


@pytest.mark.parametrize("chance", [0.01, 0.3, 0.9])
def test_each_pair_is_connected_with_the_same_chance(chance):
    dense = np.asarray(JITCScalarR((1.0, chance, 3), shape=(300, 200)).todense())
    deviation = np.sqrt(chance * (1 - chance))
    for axis, count in ((None, 60000), (0, 300), (1, 200)):
        standard = (dense.mean(axis) - chance) / (deviation / np.sqrt(count))
        assert np.abs(standard).max() < 5
        assert axis is None or 0.75 < standard.std() < 1.25
    for one in (dense, dense.T):
        alike = np.corrcoef(one[one.std(1) > 0]) * np.sqrt(one.shape[1])
        assert 0.9 < alike[np.triu_indices_from(alike, 1)].std() < 1.1


def test_chances_of_none_and_of_all():
    ones = jnp.ones(4)
    assert (ones @ JITCScalarR((2.0, 0.0, 1), shape=(4, 3))).tolist() == [0.0] * 3
    assert (ones @ JITCScalarR((2.0, 1.0, 1), shape=(4, 3))).tolist() == [8.0] * 3


def test_a_seed_keeps_its_meaning():
    dense = np.asarray(JITCScalarR((1.0, 0.3, 42), shape=(4, 12)).todense())
    rows = ["".join("x" if one else "." for one in row) for row in dense]
    assert rows == PATTERN


def test_derivatives_of_connections_from_a_seed():
    matrix = JITCScalarR((0.5, 0.3, 5), shape=(6, 9))
    ones = np.asarray(matrix.todense()) / 0.5
    values = sparse(6, seed=1, density=1)

    def loss(v, w):
        return jnp.sum(jnp.tanh(v @ matrix.with_data(w)))

    expected = jax.grad(lambda v, w: jnp.sum(jnp.tanh(v @ ones * w)), (0, 1))(values, 0.5)
    for grad in (jax.grad(loss, (0, 1)), brainir.transform.grad(loss, argnums=(0, 1))):
        for found, slope in zip(jax.jit(grad)(values, 0.5), expected, strict=True):
            assert_close(found, slope)


def test_lanes_may_have_seeds_of_their_own():
    def sums(seed):
        return jnp.ones(5) @ JITCScalarR((1.0, 0.5, seed), shape=(5, 8))

    seeds = jnp.arange(3)
    expected = [sums(int(seed)) for seed in seeds]
    for vmap in (jax.vmap, brainir.transform.vmap):
        assert_close(vmap(sums)(seeds), expected)


def test_a_loop_with_a_seed_is_one_kernel():
    matrix = JITCScalarR((0.25, 0.6, 9), shape=(100, 60))
    spikes = np.random.default_rng(0).random((5, 100)) < 0.1

    def step(s):
        return s @ matrix, matrix @ jnp.ones(60)

    run = brainir.transform.jit(lambda s: brainir.transform.for_loop(step, s))
    (refusal,) = [why for _, why in kernels(run.trace(spikes).graph("dead-code"))]
    assert refusal is None
    sent, received = run(spikes)
    dense = np.asarray(matrix.todense())
    assert_close(sent, spikes @ dense)
    assert_close(received, np.tile(dense.sum(1), (5, 1)))


def test_what_is_no_chance_or_seed_is_refused():
    with pytest.raises(ValueError, match="not a probability"):
        JITCScalarR((1.0, 1.5, 1), shape=(2, 2))
    with pytest.raises(TypeError, match="one integer"):
        JITCScalarR((1.0, 0.5, 0.5), shape=(2, 2))
    with pytest.raises(ValueError, match="one number"):
        JITCScalarR((np.ones(2), 0.5, 1), shape=(2, 2))
