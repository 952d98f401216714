"""Jaxprs through our graph: made simpler, written as Python, drawn."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any

import jax
import jax.core
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import brainir
from brainir import transform
from brainir.backends import lax, reference, to_jax, to_numpy
from brainir.frontend.testing.check_transformations import assert_same, outcome
from brainir.frontend.testing.stateful_programs import Recipe
from brainir.ir import Graph, walk
from brainir.passes import PIPELINE, run_pipeline
from brainir.testing import assert_close, graphs, inputs_for, programs

DOORS = {
    "constant_fold": transform.constant_fold,
    "algebraic_simplification": transform.algebraic_simplification,
    "copy_propagation": transform.copy_propagation,
    "cse": transform.common_subexpression_elimination,
    "dce": transform.dead_code_elimination,
    "all": transform.optimize_jaxpr,
}


def pure_graph(data: st.DataObject) -> tuple[Graph, list[Any]]:
    """Draw a graph of arrays alone, and what it is run on."""
    hoisted = run_pipeline(data.draw(graphs(transformations=True, nodes=10)), PIPELINE[:-1])
    inputs = data.draw(inputs_for(hoisted))
    held = [leaf for state in hoisted.states for leaf in inputs.states[state]]
    return PIPELINE[-1](hoisted), [*map(to_jax, map(to_numpy, (*inputs.arguments, *held)))]


def jaxpr_of(graph: Graph, arguments: list[Any]) -> Any:
    consts = [to_jax(to_numpy(const.data)) for const in graph.consts]
    return jax.make_jaxpr(lambda *arrays: lax.emit(graph)(*arrays, *consts))(*arguments)


IS_CLOSED = st.just(True) if jex.ClosedJaxpr is jex.Jaxpr else st.booleans()
"""Whether a jaxpr has its consts in it: since jax 0.11, all have."""


@given(st.data(), st.sampled_from(sorted(DOORS)), IS_CLOSED)
def test_simpler_jaxprs_of_random_graphs_compute_the_same(
    data: st.DataObject, door: str, closed: bool
) -> None:
    graph, arguments = pure_graph(data)
    jaxpr = jaxpr_of(graph, arguments)
    if closed:
        new = DOORS[door](jaxpr)
        found = jex.jaxpr_as_fun(new)(*arguments)
        assert isinstance(new, jex.ClosedJaxpr)
    else:
        new = DOORS[door](jaxpr.jaxpr)
        assert isinstance(new, jex.Jaxpr)
        assert list(new.constvars) == list(jaxpr.jaxpr.constvars)
        found = jax.core.eval_jaxpr(new, jaxpr.consts, *arguments)
    assert list(getattr(new, "jaxpr", new).invars) == list(jaxpr.jaxpr.invars)
    for one, other in zip(found, reference.run(graph, *arguments), strict=True):
        assert_close(to_numpy(one), other)


@given(programs(), st.sampled_from(sorted(DOORS)))
def test_simpler_jaxprs_of_programs_do_what_the_programs_do(recipe: Recipe, door: str) -> None:
    def wrap(function: Any) -> Any:
        def run(x: Any) -> Any:
            jaxpr, states = transform.make_jaxpr(function)(x)
            values, tree = jax.tree.flatten([state.value for state in states])
            out, *new = jax.jit(jex.jaxpr_as_fun(DOORS[door](jaxpr)))(x, *values)
            for state, value in zip(states, jax.tree.unflatten(tree, new), strict=True):
                state.value = value
            return out

        return run

    expected, _, left = outcome(recipe, transform.jit)
    found, _, after = outcome(recipe, wrap)
    if isinstance(expected, Exception):
        assert type(found) is type(expected)
    else:
        assert_same((expected, left), (found, after))


@given(st.data(), IS_CLOSED)
def test_the_source_of_random_jaxprs_computes_what_they_do(
    data: st.DataObject, closed: bool
) -> None:
    graph, arguments = pure_graph(data)
    # What these are as JAX code has primitives that are not written as Python.
    assume(not any(node.op.name.startswith(("csr_", "seeded_")) for node in walk(graph)))
    jaxpr = jaxpr_of(graph, arguments)
    text = transform.jaxpr_to_python_code(jaxpr if closed else jaxpr.jaxpr, "f")
    names: dict[str, Any] = {}
    exec(text, names)
    found = names["f"](*([] if closed else jaxpr.consts), *arguments)
    for one, other in zip(found, reference.run(graph, *arguments), strict=True):
        assert_close(to_numpy(one), other)


def names_of(jaxpr: Any) -> list[str]:
    return [eqn.primitive.name for eqn in jaxpr.eqns]


def test_each_optimization_does_what_it_is_called_by() -> None:
    def f(x: Any) -> Any:
        jnp.cos(x)
        y = jnp.asarray(2.0) * 3.0
        return jnp.sin(x) * 1.0 + jnp.sin(x) + y

    jaxpr = jax.make_jaxpr(f)(jnp.ones(3))
    assert names_of(jaxpr).count("sin") == 2
    assert names_of(transform.common_subexpression_elimination(jaxpr)).count("sin") == 1
    assert "cos" in names_of(transform.common_subexpression_elimination(jaxpr))
    assert "cos" not in names_of(transform.dead_code_elimination(jaxpr))
    simplified = transform.constant_fold(jaxpr)
    assert names_of(simplified).count("mul") < names_of(jaxpr).count("mul")
    assert names_of(transform.optimize_jaxpr(jaxpr)) == ["sin", "add", "add"]


def test_what_a_jaxpr_tells_the_host_stays(capsys: pytest.CaptureFixture[str]) -> None:
    def f(x: Any) -> Any:
        jax.debug.print("seen {}", x)
        return x * 1.0

    jaxpr = jax.make_jaxpr(f)(2.0)
    for door in DOORS.values():
        new = door(jaxpr)
        assert new.effects == jaxpr.effects
        jex.jaxpr_as_fun(new)(2.0)
        jax.effects_barrier()
        assert capsys.readouterr().out == "seen 2.0\n"
    text = str(transform.inline_jit(jax.make_jaxpr(jax.jit(f))(2.0)))
    assert "debug" in text
    assert "jit[" not in text


def test_custom_derivatives_stay_in_simpler_jaxprs() -> None:
    spike = brainir.surrogate.ReluGrad()
    f = lambda x: (spike(x) * 1.0).sum()  # noqa: E731
    x = jnp.array([-0.5, 0.25])
    new = transform.optimize_jaxpr(jax.make_jaxpr(f)(x))
    found = jax.grad(lambda x: jex.jaxpr_as_fun(new)(x)[0])(x)
    np.testing.assert_allclose(found, jax.grad(f)(x))


def test_numbers_are_not_changed_by_what_looks_like_an_identity() -> None:
    x = jnp.array([np.inf, np.nan, -0.0, 0.0])
    for f in (lambda x: x - x, lambda x: 0.0 * x, lambda x: x + 0.0, lambda x: 0.0 / x):
        new = transform.optimize_jaxpr(jax.make_jaxpr(f)(x))
        found = jex.jaxpr_as_fun(new)(x)[0]
        assert np.asarray(found).tobytes() == np.asarray(f(x)).tobytes()


def test_rounds_are_told_and_checked(capsys: pytest.CaptureFixture[str]) -> None:
    jaxpr = jax.make_jaxpr(lambda x: x * 1.0)(2.0)
    transform.optimize_jaxpr(jaxpr, max_iterations=5, optimizations="dce", verbose=True)
    assert capsys.readouterr().out == "round 1: 1 operations became 1\n"
    for wrong in (0, True, 1.5):
        with pytest.raises(transform.IRValidationError, match="max_iterations"):
            transform.optimize_jaxpr(jaxpr, max_iterations=wrong)  # pyright: ignore
    with pytest.raises(ValueError, match="no optimization is called 'loops'"):
        transform.optimize_jaxpr(jaxpr, optimizations=["loops"])
    takers: list[Any] = [*DOORS.values(), transform.inline_jit, transform.jaxpr_to_python_code]
    for taker in (*takers, transform.draw_dot_graph):
        with pytest.raises(transform.IRValidationError, match="takes a jaxpr"):
            taker(3)


# --- inline_jit, equations ------------------------------------------------------------------------


def all_names(jaxpr: Any) -> Iterator[str]:
    for eqn in jaxpr.eqns:
        yield eqn.params["name"] if eqn.primitive.name == "jit" else eqn.primitive.name


@jax.jit
def half(x: Any) -> Any:
    return x * 0.5


@jax.jit
def both(x: Any) -> Any:
    return half(x) + half(x + jnp.arange(3.0)), x


def test_calls_of_jit_are_inlined_where_that_is_wanted() -> None:
    x = jnp.ones(3)
    jaxpr = jax.make_jaxpr(lambda x: (half(x), both(half(x))))(x)
    for given_one in (jaxpr, jaxpr.jaxpr):
        whole = transform.inline_jit(given_one)
        assert type(whole) is type(given_one)
        assert "jit" not in names_of(whole)
        some = transform.inline_jit(given_one, lambda eqn: eqn.params["name"] == "both")
        assert list(all_names(some)).count("half") == 4
        assert "both" not in list(all_names(some))
    expected = jex.jaxpr_as_fun(jaxpr)(x)
    for wanted in (None, lambda eqn: eqn.params["name"] == "both"):
        new = transform.inline_jit(jaxpr, wanted)
        for one, other in zip(jex.jaxpr_as_fun(new)(x), expected, strict=True):
            np.testing.assert_array_equal(one, other)
        assert new.jaxpr.outvars[0] is jaxpr.jaxpr.outvars[0]


def test_equations_make_a_jaxpr() -> None:
    jaxpr = jax.make_jaxpr(lambda x, y: (jnp.sin(y) * x, jnp.cos(y)))(1.0, 2.0)
    x, y = jaxpr.jaxpr.invars
    made = transform.eqns_to_jaxpr(jaxpr.eqns)
    assert made.invars == [y, x]
    np.testing.assert_allclose(
        jax.core.eval_jaxpr(made, [], 2.0, 1.0), jex.jaxpr_as_fun(jaxpr)(1.0, 2.0)
    )
    part = transform.eqns_to_jaxpr(jaxpr.eqns[:1])
    assert part.outvars == jaxpr.eqns[0].outvars
    closed = transform.eqns_to_closed_jaxpr(jaxpr.eqns, constvars=[y], consts=[2.0])
    assert closed.jaxpr.invars == [x]
    np.testing.assert_allclose(jex.jaxpr_as_fun(closed)(1.0), jex.jaxpr_as_fun(jaxpr)(1.0, 2.0))
    with pytest.raises(transform.IRValidationError, match="as many consts"):
        transform.eqns_to_closed_jaxpr(jaxpr.eqns, constvars=[y])
    with pytest.raises(transform.IRValidationError, match="neither defined nor"):
        transform.eqns_to_jaxpr(jaxpr.eqns, invars=[x])
    with pytest.raises(transform.IRValidationError, match="not an equation"):
        transform.eqns_to_jaxpr([3])


# --- Python source and drawings -------------------------------------------------------------------


def test_the_source_of_a_function_takes_states_and_returns_those_it_writes() -> None:
    w, v = brainir.ParamState(jnp.arange(40.0), name="w"), brainir.State(jnp.zeros(40), name="v")
    table = np.linspace(0.0, 1.0, 40, dtype=np.float32)

    def step(x: Any, *, gain: Any) -> Any:
        v.value = v.value + w.value * x * gain + table
        return {"sum": v.value.sum()}

    text = transform.fn_to_python_code(step, 2.0, gain=jnp.float32(3.0))
    names: dict[str, Any] = {}
    exec(text, names)
    total, new = names["step"](2.0, jnp.float32(3.0), v.value, w.value)
    assert not v.value.any()
    np.testing.assert_allclose(total, step(2.0, gain=jnp.float32(3.0))["sum"])
    np.testing.assert_allclose(new, v.value)


def test_primitives_without_source_can_be_given_one() -> None:
    f = lambda x: jax.lax.cond(True, lambda: jax.pure_callback(np.sin, x, x), lambda: x)  # noqa: E731
    x = jnp.ones(())
    with pytest.raises(transform.UnsupportedPrimitiveError, match="register_prim_handler"):
        transform.fn_to_python_code(f, x)
    transform.register_prim_handler("pure_callback", lambda node, given: f"(jnp.sin({given[0]}),)")
    try:
        text = transform.fn_to_python_code(f, x)
    finally:
        transform.register_prim_handler("pure_callback", None)
    assert "jnp.sin(" in text
    with pytest.raises(TypeError, match="handler"):
        transform.register_prim_handler("sin", 3)  # pyright: ignore[reportArgumentType]


def test_functions_and_jaxprs_are_drawn() -> None:
    state = brainir.State(jnp.zeros(2), name="v")
    drawing = transform.draw(lambda x: transform.for_loop(lambda y: y + state.value, x))(
        jnp.ones(3)
    )
    assert "cluster" in drawing.to_string()
    assert "f32[3]" in drawing.text
    bare = transform.draw(lambda x: jnp.sin(x) + x, show_avals=False)(jnp.ones(3))
    assert "f32" not in bare.text.split("->", 1)[1]
    assert "sin" in transform.draw_dot_graph(jax.make_jaxpr(jnp.sin)(1.0)).text


def test_drawings_are_shown_where_graphviz_is(tmp_path: Any, monkeypatch: Any) -> None:
    drawing = transform.draw(jnp.sin)(1.0)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert drawing._repr_svg_() is None
    with pytest.raises(NotImplementedError, match="Graphviz"):
        drawing.create_svg()
    program = tmp_path / "dot"
    program.write_text(f"#!{sys.executable}\nimport sys\nprint(sys.argv[1], sys.stdin.read())\n")
    program.chmod(0o755)
    assert drawing._repr_svg_() == f"-Tsvg {drawing.text}\n"


def test_a_drawing_is_handed_to_the_notebook(tmp_path: Any, monkeypatch: Any) -> None:
    drawing = transform.draw(jnp.sin)(1.0)
    shown: list[Any] = []
    notebook: Any = types.ModuleType("IPython.display")
    notebook.SVG, notebook.display = lambda text: ("svg", text), shown.append
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", notebook)
    monkeypatch.setattr(type(drawing), "create_svg", lambda self: "<svg/>")
    transform.view_pydot(drawing)
    assert shown == [("svg", "<svg/>")]
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    with pytest.raises(NotImplementedError, match="notebooks"):
        transform.view_pydot(drawing)
