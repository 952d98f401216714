"""What we say that brainevent's primitives compute is what they compute, and kernels hold them."""

from __future__ import annotations

from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir.frontend.event.meanings import KNOWN
from brainir.ir import walk

PRE, POST, EACH, MANY = 7, 5, 3, 4


def dense(weights: Any, indices: Any, rows: Any) -> Any:
    """Return a matrix of connections."""
    matrix = np.zeros((PRE, POST), np.float32)
    np.add.at(matrix, (rows, indices), np.broadcast_to(weights, indices.shape))
    return matrix


OF_NUMBERS = "csrmv", "csrmm"
"""Products with any numbers; the others are with spikes."""


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *product(OF_NUMBERS, ["float32"]),
        *product(sorted(KNOWN.keys() - OF_NUMBERS), ["bool", "float32"]),
    ],
)
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("transpose", [True, False])
def test_a_meaning_is_a_product_with_the_dense_matrix(
    name: str, transpose: bool, shared: bool, kind: str
) -> None:
    rng = np.random.default_rng(0)
    lengths = np.full(PRE, EACH) if "csr" not in name else rng.integers(0, POST, PRE)
    rows = np.repeat(np.arange(PRE), lengths)
    indices = rng.integers(0, POST, rows.size).astype(np.int32)
    weights = (
        np.full(1, 0.5, np.float32) if shared else rng.normal(size=rows.size).astype(np.float32)
    )
    shape = (PRE if transpose else POST, *((MANY,) if name.endswith("mm") else ()))
    vector = rng.normal(size=shape).astype(np.float32)
    given = vector > 0 if kind == "bool" else vector
    matrix = dense(weights, indices, rows)
    values = vector if name in OF_NUMBERS else vector > 0
    wanted = (matrix.T if transpose else matrix) @ values.astype(np.float32)
    if "csr" in name:
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        arrays = [weights, indices, indptr, given, jnp.arange(2)]
    else:
        table = (PRE, EACH)
        arrays = [weights if shared else weights.reshape(table), indices.reshape(table), given]
    meaning = jax.jit(lambda *arrays: KNOWN[name](*arrays, shape=(PRE, POST), transpose=transpose))
    found, *rest = meaning(*map(jnp.asarray, arrays))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    assert [x.tolist() for x in rest] == ([[0, 1]] if "csr" in name else [])


# --- beside brainevent ----------------------------------------------------------------------------


@pytest.fixture
def brainevent() -> Any:
    return pytest.importorskip("brainevent")


def equations(jaxpr: Any) -> Any:
    """Yield the equations of a jaxpr, and of those inside."""
    for eqn in jaxpr.eqns:
        yield eqn
        for value in eqn.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


@pytest.mark.parametrize("kind", ["bool", "float32"])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("matrix", ["CSR", "FixedNumPerPre"])
def test_meanings_are_those_of_brainevent(
    brainevent: Any, matrix: str, many: bool, side: str, shared: bool, kind: str
) -> None:
    rng = np.random.default_rng(1)
    indices = rng.integers(0, POST, (PRE, EACH)).astype(np.int32)
    weights = rng.normal(size=1 if shared else PRE * EACH).astype(np.float32)
    if matrix == "CSR":
        parts = weights, indices.ravel(), np.arange(PRE + 1, dtype=np.int32) * EACH
    else:
        parts = weights if shared else weights.reshape(PRE, EACH), indices
    numbers = rng.normal(size=PRE if side == "left" else POST).astype(np.float32)
    numbers = np.stack([numbers * sign for sign in (1, -1)]) if many else numbers
    spikes = numbers > 0 if kind == "bool" else np.maximum(numbers, 0)

    connections = getattr(brainevent, matrix)(tuple(map(jnp.asarray, parts)), shape=(PRE, POST))

    def multiplied(spikes: Any) -> Any:
        events = brainevent.BinaryArray(spikes if side == "left" else spikes.T)
        return events @ connections if side == "left" else connections @ events

    def steps(spikes: Any) -> Any:
        return brainir.transform.for_loop(multiplied, jnp.stack([spikes] * 40))

    wanted = multiplied(spikes)  # before it is traced: it keeps arrays
    closed = jax.make_jaxpr(multiplied)(spikes)
    met = {eqn.primitive.name for eqn in equations(closed.jaxpr)} & set(KNOWN)
    run = brainir.transform.jit(steps)
    names = {node.op.name for node in walk(run.trace(spikes).graph("outline-kernels"))}
    np.testing.assert_allclose(run(spikes)[-1], wanted, rtol=1e-5, atol=1e-6)
    # Where each row has as many connections, what rows receive is no primitive, but indexing.
    assert bool(met) == (matrix == "CSR" or side == "left")
    assert not met or "kernel" in names


def test_gradients_through_spikes_are_those_of_brainevent(brainevent: Any) -> None:
    """Numbers that are spikes have derivatives, which only their library says."""
    rng = np.random.default_rng(2)
    indices = jnp.asarray(rng.integers(0, POST, (PRE, EACH)).astype(np.int32))
    weights = jnp.asarray(rng.normal(size=(PRE, EACH)).astype(np.float32))
    spikes = jnp.asarray((rng.random(PRE) < 0.5).astype(np.float32))

    def loss(weights: Any, spikes: Any) -> Any:
        matrix = brainevent.FixedNumPerPre((weights, indices), shape=(PRE, POST))
        return ((brainevent.BinaryArray(spikes) @ matrix) ** 2).sum()

    def steps(weights: Any, spikes: Any) -> Any:
        return brainir.transform.for_loop(lambda x: loss(weights, x), jnp.stack([spikes] * 9)).sum()

    found = brainir.transform.jit(
        lambda *given: brainir.transform.grad(steps, argnums=(0, 1))(*given)
    )(weights, spikes)
    wanted = jax.grad(loss, argnums=(0, 1))(weights, spikes)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, 9 * other, rtol=1e-5, atol=1e-5)
