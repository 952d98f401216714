"""Which matrices are turned before loops, that they are turned once, and that results stay."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from test_passes_distribute_loops import arguments_for, assert_same, in_a_loop, networks

import brainir
from brainir.ir import Graph, equal, verify, walk
from brainir.passes import turn_matrices


def turned(graph: Graph) -> int:
    return sum(node.op.name == "transpose" for node in graph.nodes)


def across(graph: Graph) -> list[Any]:
    """The products of loops that read a matrix of the graph's own across its rows."""
    loops = [node for node in graph.nodes if node.regions]
    products = (node for loop in loops for region in loop.regions for node in walk(region))
    return [
        node
        for node in products
        if node.op.name == "dot_general"
        and node.operands[1] in graph.params
        and node.attrs["dimension_numbers"][0][1] == (1,)
        and node.operands[0].type.rank == 2
    ]


@settings(max_examples=4 * settings().max_examples)
@given(graph=networks(), seed=st.integers(0, 9), data=st.data())
def test_turning_keeps_the_meaning_of_loops_and_loops_in_loops(graph, seed, data):
    for _ in range(data.draw(st.integers(0, 2))):
        graph = in_a_loop(graph, data.draw)
    after = turn_matrices(graph)
    verify(after, "expanded")
    assert_same(graph, after, arguments_for(graph, seed))
    assert not across(after)
    assert turned(after) <= len([p for p in graph.params if p.type.rank == 2])
    event(f"turns {turned(after)}")
    assert equal(turn_matrices(after), after)


def recurrent(rows: int, width: int) -> tuple[Any, Any, Any]:
    weight = jax.random.normal(jax.random.key(0), (width, width)) / width**0.5

    def loss(weight: Any, xs: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            h = jnp.tanh(h @ weight + x)
            return h, h.sum()

        return jax.lax.scan(step, jnp.zeros((rows, width)), xs)[1].mean()

    return loss, weight, jax.random.normal(jax.random.key(1), (7, rows, width))


@pytest.mark.parametrize(
    ("rows", "width", "turns"), [(1, 8, 0), (2, 8, 1), (32, 8, 1), (33, 8, 0), (4, 520, 0)]
)
def test_few_rows_and_matrices_of_the_cache_are_turned(rows, width, turns):
    loss, weight, xs = recurrent(rows, width)
    gradient = brainir.optimize(jax.grad(loss))
    stages = [gradient.trace(weight, xs).graph(s) for s in ("distribute-loops", "turn-matrices")]
    assert turned(stages[1]) - turned(stages[0]) == turns
    found = gradient(weight, xs)
    np.testing.assert_allclose(found, jax.grad(loss)(weight, xs), rtol=1e-4, atol=1e-5)
