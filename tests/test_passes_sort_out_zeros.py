"""Large products with spikes: both ways give what the product was, each where it should."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

import brainir
from brainir.backends import reference
from brainir.ir import Graph, parse, verify, walk
from brainir.passes import sort_out_zeros

SLOW = 1e5
"""A rate at which every product is large."""


@st.composite
def products(draw: st.DrawFn) -> tuple[Graph, list[Any]]:
    """Return a product of a comparison with something, with axes in any order, and arguments."""
    summed = draw(st.lists(st.integers(1, 12), min_size=1, max_size=2))
    rows = draw(st.sampled_from([[64], [8, 9], [1, 70], [65, 1]]))
    stays = [draw(st.lists(st.integers(1, 9), max_size=2)), rows]
    dtype = draw(st.sampled_from(["f32", "f64"]))
    shapes: list[list[int]] = []
    places: list[list[int]] = []
    for mine in stays:
        lengths = [*mine, *summed]
        order = draw(st.permutations(range(len(lengths))))
        shapes.append([lengths[i] for i in order])
        places.append([order.index(len(mine) + k) for k in range(len(summed))])
    side = draw(st.sampled_from([0, 1]))
    one, other = (0, 1) if side == 0 else (1, 0)
    result = ",".join(
        map(str, (*_staying(shapes[one], places[one]), *_staying(shapes[other], places[other])))
    )
    shape = [",".join(map(str, s)) for s in shapes]
    names = ["%s", "%m"]
    text = f"""graph @f(%x: {dtype}[{shape[0]}], %m: {dtype}[{shape[1]}]) -> ({dtype}[{result}]) {{
      %z = broadcast_in_dim 0.0:{dtype} {{shape={tuple(shapes[0])}, dims=()}}
      %t = gt %x, %z
      %s = convert_element_type %t {{new_dtype={dtype}}}
      %y = dot_general {names[one]}, {names[other]} {{
        dimension_numbers=(({tuple(places[one])}, {tuple(places[other])}), ((), ())),
        precision=none, preferred_element_type=none
      }}
      return %y
    }}"""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    share = draw(st.sampled_from([0.0, 0.03, 0.1, 0.5, 1.0]))
    kind = np.float32 if dtype == "f32" else np.float64
    x = (rng.random(shapes[0]) - 1 + share).astype(kind)
    m = rng.normal(size=shapes[1]).astype(kind)
    for value in draw(st.lists(st.sampled_from([np.inf, -np.inf, np.nan]), max_size=2)):
        m.flat[rng.integers(m.size)] = value
    return parse(text), [x, m]


def _staying(shape: list[int], places: list[int]) -> list[int]:
    return [length for axis, length in enumerate(shape) if axis not in places]


@settings(max_examples=4 * settings().max_examples)
@given(products())
def test_the_product_is_what_it_was(product: tuple[Graph, list[Any]]) -> None:
    graph, arguments = product
    after = sort_out_zeros(graph, rate=SLOW)
    verify(after, "expanded")
    assert [node.op.name for node in walk(after)].count("kernel") == 2
    (wanted,) = reference.run(graph, *arguments)
    (found,) = reference.run(after, *arguments)
    tolerance = 1e-5 if wanted.dtype == np.float32 else 1e-12
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)
    event(f"finite {np.isfinite(arguments[1]).all()}")


@settings(max_examples=4 * settings().max_examples)
@given(products())
def test_a_kernel_is_chosen_where_few_are_set_and_all_they_meet_is_finite(
    product: tuple[Graph, list[Any]],
) -> None:
    graph, (x, m) = product
    after = sort_out_zeros(graph, rate=SLOW)
    (choice,) = (node for node in after.nodes if node.op.name == "cond")
    (chosen,) = reference.run(after.with_(results=choice.operands), x, m)
    few = (x > 0).sum() <= x.size / 8
    assert bool(chosen) == bool(few and np.isfinite(m).all())
    event(f"chosen {bool(chosen)}")


def gradient(w: Any, xs: Any) -> Any:
    """A product of all steps with spikes, made the way a training step makes it."""
    fired = (xs > 0).astype(xs.dtype)
    return jax.grad(lambda w: ((fired @ w) ** 2).sum())(w)


def test_each_factor_keeps_its_precision() -> None:
    text = """graph @f(%x: bool[20,64], %m: f32[20,64]) -> (f32[64,64]) {
      %s = convert_element_type %x {new_dtype=f32}
      %y = dot_general %m, %s {
        dimension_numbers=(((0,), (0,)), ((), ())),
        precision=("HIGHEST", "DEFAULT"), preferred_element_type=none
      }
      return %y
    }"""
    after = sort_out_zeros(parse(text), rate=SLOW)
    of_all = next(node for node in walk(after) if node.op.name == "dot_general")
    assert of_all.operands[0] == after.nodes[0].result
    assert of_all.attrs["precision"] == ("DEFAULT", "HIGHEST")


@pytest.mark.parametrize("share", [0.02, 0.3])
@pytest.mark.parametrize("broken", [False, True])
def test_a_gradient_chooses_as_it_runs(share: float, broken: bool) -> None:
    xs = jax.random.uniform(jax.random.key(0), (600, 192)) - 1 + share
    w = jax.random.normal(jax.random.key(1), (192, 160))
    w = w.at[3, 5].set(jnp.nan) if broken else w
    run = brainir.optimize(gradient)
    names = [node.op.name for node in walk(run.trace(w, xs).graph())]
    assert (names.count("cond"), names.count("kernel")) == (2, 4)
    found, wanted = run(w, xs), gradient(w, xs)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-3)
    assert bool(jnp.isnan(found).any()) is broken


@pytest.mark.parametrize(
    ("shapes", "why"),
    [
        (((600, 192), (192, 32)), "rows are short"),
        (((20, 30), (30, 160)), "it is small"),
    ],
)
def test_what_does_not_gain_stays_a_product(shapes: Any, why: str) -> None:
    def product(x: Any, m: Any) -> Any:
        return (x > 0).astype(float) @ m

    run = brainir.optimize(product)
    graph = run.trace(*map(jnp.ones, shapes)).graph()
    assert "cond" not in [node.op.name for node in walk(graph)], why


def test_it_can_be_left_out() -> None:
    w, xs = jnp.ones((192, 160)), jnp.ones((600, 192))
    for how in (
        brainir.Options(leave_out=["sort-out-zeros"]),
        brainir.Options(passes={"sort-out-zeros": {"share": 0}}),
    ):
        with brainir.options(how):
            graph = brainir.optimize(gradient).trace(w, xs).graph()
        assert "cond" not in [node.op.name for node in walk(graph)]
