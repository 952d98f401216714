"""`validate` tries what comparisons decide otherwise, and gradients, by itself."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir import transform
from brainir.frontend.validation.edges import find_edges
from brainir.frontend.validation.running import Inputs, inputs_for
from brainir.ir import Builder, Graph, Node, get_op, parse, replay_graph
from brainir.passes import PIPELINE

X = jnp.array([0.5, -1.25, 2.0])


validation = importlib.import_module("brainir.frontend.validation.validate")


@pytest.fixture
def planted(monkeypatch: Any) -> Callable[[Callable[[Graph], Graph]], None]:
    """Return a way to put a mistake behind the last pass but one."""

    def plant(mistake: Callable[[Graph], Graph]) -> None:
        def after(graph: Graph) -> Graph:
            return mistake(simplify.function(graph))

        simplify = next(step for step in PIPELINE[::-1] if step.name.startswith("simplify"))
        wrong = replace(simplify, function=after)
        monkeypatch.setattr(
            validation, "PIPELINE", tuple(wrong if p is simplify else p for p in PIPELINE)
        )

    return plant


def swapping(old: str, new: str) -> Callable[[Graph], Graph]:
    """Return a pass that takes one op for another."""

    def rewrite(builder: Builder, node: Node, operands: Any, _: Any) -> Any:
        return builder.emit(get_op(new), operands) if node.op.name == old else None

    return lambda graph: replay_graph(graph, rewrite)


def with_products(graph: Graph) -> Graph:
    """A pass that selects by products, so that infinities of the other case come through."""

    def rewrite(builder: Builder, node: Node, operands: Any, _: Any) -> Any:
        if node.op.name != "select_n" or operands[0].type.dtype != "bool":
            return None
        which, no, yes = operands
        if not no.type.is_float:
            return None
        weight = builder("convert_element_type", which, new_dtype=no.type.dtype)
        other = builder("sub", builder.ones(which.type.with_dtype(no.type.dtype)), weight)
        return [builder("add", builder("mul", weight, yes), builder("mul", other, no))]

    return replay_graph(graph, rewrite)


MEMBRANE = brainir.HiddenState(jnp.array([0.25, 0.5, 0.75]), name="membrane")
THRESHOLD = brainir.ParamState(jnp.array([1.0, 1.5, 2.0]), name="threshold")


def in_lanes(x: Any) -> Any:
    return transform.vmap(lambda v: transform.cond(v > 0.75, lambda: v + 1, lambda: v))(x)


def in_a_loop(x: Any) -> Any:
    return transform.for_loop(lambda v: jnp.where(v > 0.75, v + 1, v), x)


def of_a_state(x: Any) -> Any:
    MEMBRANE.value = jnp.where(MEMBRANE.value > 1.0, 0.0, MEMBRANE.value)
    return MEMBRANE.value + x


def of_two_states(x: Any) -> Any:
    return jnp.where(THRESHOLD.value > MEMBRANE.value, x, -x)


def in_a_gradient(x: Any) -> Any:
    return transform.grad(lambda x: jnp.where(x > 0.75, x * x, x).sum())(x)


def with_units(x: Any) -> Any:
    potential = x * u.mV
    return u.math.where(potential > 0.75 * u.mV, potential, 2 * potential)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "function", [in_lanes, in_a_loop, of_a_state, of_two_states, in_a_gradient, with_units]
)
def test_a_mistake_at_equality_is_found_wherever_the_comparison_is(
    function: Any, planted: Any, tmp_path: Any
) -> None:
    assert brainir.validate(function, X, folder=tmp_path).ok
    planted(swapping("gt", "ge"))
    assert brainir.validate(function, X, edges=False, folder=tmp_path).ok
    report = brainir.validate(function, X, folder=tmp_path)
    assert not report.ok
    assert report.edge is not None
    assert "equal to" in report.edge
    assert "test_validate_edges.py" in report.edge
    assert report.first_pass is not None
    assert report.first_pass.startswith("simplify")
    assert report.edge in repr(report)
    assert list(tmp_path.glob("*.bir"))


def test_a_mistake_on_the_other_side_is_found(planted: Any, tmp_path: Any) -> None:
    def bounded(x: Any) -> Any:
        return jnp.where(jnp.sum(x * x) > 9.0, jnp.sin(x), x)

    def forget(builder: Builder, node: Node, operands: Any, _: Any) -> Any:
        return [operands[0]] if node.op.name == "sin" else None

    planted(lambda graph: replay_graph(graph, forget))
    assert brainir.validate(bounded, X, edges=False, folder=tmp_path).ok
    assert not brainir.validate(bounded, X, folder=tmp_path).ok


def test_what_a_branch_was_guarded_against_is_found_to_reach_it(
    planted: Any, tmp_path: Any
) -> None:
    x = jnp.array([0.5, 0.25])
    planted(with_products)

    def guarded(x: Any) -> Any:
        return jnp.where(x > 0, jnp.log(x), 0.0)

    assert brainir.validate(guarded, x, edges=False, folder=tmp_path).ok
    report = brainir.validate(guarded, x, folder=tmp_path)
    assert not report.ok
    assert report.difference is not None
    assert "nan" in report.difference.text


def test_a_mistake_that_only_gradients_show_is_found_at_an_edge(
    planted: Any, tmp_path: Any
) -> None:
    def continuous(x: Any) -> Any:
        return jnp.where(x > 0, x * x + x, 0.0)

    planted(swapping("gt", "ge"))
    assert brainir.validate(continuous, X, gradients=False, folder=tmp_path).ok
    report = brainir.validate(continuous, X, folder=tmp_path)
    assert report.name.startswith("gradients_of")
    assert report.edge is not None


def test_gradients_are_checked_by_default_and_a_wrong_one_is_found(
    planted: Any, tmp_path: Any
) -> None:
    planted(swapping("cos", "sin"))
    assert brainir.validate(jnp.sin, X, gradients=False, folder=tmp_path).ok
    report = brainir.validate(jnp.sin, X, folder=tmp_path)
    assert report.name.startswith("gradients_of")
    assert any(stage.startswith("gradients: ") for stage in report.stages)


@pytest.mark.parametrize(
    ("function", "argument", "note"),
    [
        (lambda n: n * 2, 3, "no floating-point arguments"),
        (lambda x: x > 1, 1.0, "returns no floating-point numbers"),
        (lambda x: jax.lax.while_loop(lambda c: c < 9, lambda c: c * 2, x), 1.0, "while"),
    ],
)
def test_a_report_says_why_gradients_were_not_checked(
    function: Any, argument: Any, note: str
) -> None:
    report = brainir.validate(function, argument)
    assert report.ok
    (said,) = report.notes
    assert said.startswith("gradients were not checked: ")
    assert note in said
    assert said in repr(report)


def test_a_gradient_that_is_nothing_but_rounding_is_a_note() -> None:
    report = brainir.validate(lambda x: jnp.sin(x) / jnp.sin(x), X)
    assert report.ok
    assert not report.notes or "rounding" in report.notes[0]


# --- no false alarms ------------------------------------------------------------------------------


def spiking(x: Any) -> Any:
    spike = brainir.surrogate.ReluGrad()

    def step(i: Any) -> Any:
        spikes = spike(MEMBRANE.value - THRESHOLD.value)
        MEMBRANE.value = 0.9 * MEMBRANE.value * (1 - spikes) + x * i
        return spikes

    return transform.for_loop(step, jnp.linspace(0.0, 2.0, 6)).sum()


def rounded(x: Any) -> Any:
    return jnp.where(x * 0.1 * 10.0 > 3.0, x, -x)


FUNCTIONS: dict[str, Any] = {
    "relu": jax.nn.relu,
    "elu": jax.nn.elu,
    "hard tanh": jax.nn.hard_tanh,
    "maximum": lambda x: jnp.maximum(x, 0.5),
    "clip": lambda x: jnp.clip(x, -1.0, 1.0),
    "double where": lambda x: jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 1.0)), 0.0),
    "sinc": lambda x: jnp.where(x != 0, jnp.sin(x) / jnp.where(x != 0, x, 1.0), 1.0),
    "quotient": lambda x: x / jnp.where(jnp.abs(x) < 1, x * x, x),
    "sum": lambda x: transform.cond(jnp.sum(x * 0.3) > 0.4, lambda: x, lambda: -x),
    "difference": lambda x: jnp.where(x - MEMBRANE.value > 0, x, MEMBRANE.value),
    "interpolation": lambda x: jnp.interp(x, jnp.arange(4.0), jnp.array([0.0, 1.0, -1.0, 3.0])),
    "spikes": spiking,
    "rounded": rounded,
    "half": lambda x: jnp.where(x.astype(jnp.float16) > 0.3, x.astype(jnp.float16), 0),
    "slope": lambda x: transform.grad(lambda x: jnp.where(x > 0, x**3, x**2).sum())(x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_right_function_is_right_at_its_edges(name: str, tmp_path: Any) -> None:
    report = brainir.validate(FUNCTIONS[name], X, folder=tmp_path)
    assert report.ok, report
    assert list(tmp_path.iterdir()) == []


def test_states_are_left_as_they_were() -> None:
    before = np.asarray(MEMBRANE.value)
    assert brainir.validate(of_a_state, X).edges > 0
    np.testing.assert_array_equal(MEMBRANE.value, before)


# --- where edges are ------------------------------------------------------------------------------


def edges_of(text: str, **given: Any) -> list[Inputs]:
    return [edge.inputs for edge in find_edges(inputs_for(parse(text), given, 0))]


THRESHOLDS = """
graph @f(%x: f32[4], %t: f32[4]) -> (f32[4]) {
  %c = gt %x, %t : bool[4]
  %y = select_n %c, %t, %x : f32[4]
  return %y
}"""


def test_inputs_are_set_to_what_they_are_compared_with() -> None:
    x, t = np.array([4, 5, 6, 7], np.float32), np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    found = edges_of(THRESHOLDS, x=x, t=t)
    differences = [np.sign(i.arguments[0] - i.arguments[1]) for i in found]
    assert any((d == 0).all() for d in differences)
    assert any((d == 0).any() and (d == 1).any() for d in differences)
    assert any((d == -1).all() for d in differences)
    assert len(found) <= 8


def test_the_same_edges_are_found_each_time() -> None:
    first, second = (edges_of(THRESHOLDS) for _ in range(2))
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        for a, b in zip(one.arguments, other.arguments, strict=True):
            np.testing.assert_array_equal(a, b)


def test_equality_of_what_is_computed_is_left_out_where_rounding_decides() -> None:
    text = """
    graph @f(%x: f32[3]) -> (bool[]) {
      %m = mul %x, 0.1:f32 : f32[3]
      %s = reduce_sum %m {axes=(0,)} : f32[]
      %c = gt %s, 0.3:f32 : bool[]
      return %c
    }"""
    found = edges_of(text, x=np.array([1.0, 0.5, 2.0]))
    sums = [float(np.sum(i.arguments[0] * np.float32(0.1))) for i in found]
    assert sums
    assert all(abs(s - 0.3) > 1e-4 for s in sums)


def test_a_loop_that_might_not_end_is_not_tried_on_other_inputs() -> None:
    doubled = transform.jit(
        lambda x: transform.while_loop(lambda c: c < 9, lambda c: c * 2, x)
    ).trace(1.0)
    inputs = inputs_for(doubled.graph("capture"), {}, 0)
    assert find_edges(inputs) == []


def test_callbacks_are_not_called_more_often_for_edges() -> None:
    calls: list[float] = []

    def told(x: Any) -> Any:
        jax.debug.callback(lambda x: calls.append(float(x)), x)
        return jnp.where(x > 0.5, x, 0.0)

    brainir.validate(told, 1.0, gradients=False, edges=False)
    alone = len(calls)
    calls.clear()
    assert brainir.validate(told, 1.0, gradients=False).edges == 0
    assert len(calls) == alone
