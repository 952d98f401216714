"""Graphs as Python source: run by itself, it computes what the graph means."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import settings
from op_samples import all_samples

import brainir
from brainir import transform
from brainir.backends import BACKENDS, Executable, reference, to_jax, to_numpy
from brainir.ir import Builder, Const, Graph, GraphError, Type, Value, get_op, parse, to_python
from brainir.testing import assert_close, check_backend, check_transformation, gradient_programs


class FromSource:
    """A backend that runs the Python source of graphs."""

    name, title, traceable, donates = "source", "Python source", True, False

    def __init__(self) -> None:
        self.texts: list[str] = []

    def advice(self) -> Mapping[str, Mapping[str, Any]]:
        return {}

    def compile(
        self,
        graph: Graph,
        *,
        donate: Sequence[int | str] = (),
        options: Mapping[str, Any] | None = None,
        around: Any = None,
    ) -> Executable:
        open_consts = graph.with_(consts=tuple(Const(c.value) for c in graph.consts))
        source = to_python(open_consts)
        self.texts.append(source.text)
        names: dict[str, Any] = {}
        exec(source.text, names)
        count, consts = len(graph.params), list(source.constants)[: len(graph.consts)]

        def flat(*arrays: Any) -> Any:
            data = dict(zip(consts, arrays[count:], strict=True))
            constants = {**source.constants, **data}
            given = {"constants": constants} if constants else {}
            return names[source.name](*arrays[:count], **given)

        function = jax.jit(flat if around is None else around(flat))
        return Executable(self, graph, function, function)


def test_the_source_of_random_graphs_computes_what_they_mean() -> None:
    check_backend(FromSource())


EXAMPLES = max(settings().max_examples // 3, 4)
"""Of programs, which test_programs.py tries by itself."""


@pytest.mark.parametrize("programs", [None, gradient_programs()], ids=["programs", "gradients"])
def test_the_source_of_random_programs_does_what_plain_python_does(programs: Any) -> None:
    backend = BACKENDS["source"] = FromSource()
    try:
        with brainir.options(backend="source"):
            check_transformation(lambda f: f, programs=programs, examples=EXAMPLES)
    finally:
        del BACKENDS["source"]
    assert any("lax.scan" in text for text in backend.texts)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("sample", all_samples(3), ids=str)
def test_the_source_of_every_op_computes_what_it_means(sample: Any) -> None:
    source = sample.graph().to_python()
    assert not source.constants
    found = source.function()(*map(to_jax, sample.operands))
    for one, other in zip(found, reference.run(sample.graph(), *sample.operands), strict=True):
        assert_close(to_numpy(one), other)


LOOPS = """
graph @f.g(%x: f32[3] "mV", %n: i32[], %def: f32[3]) -> (f32[3], i32[], f32[3]) consts(%w: f32[3]) {
  %a, %b = while carry(%i = %n, %c = %x) : i32[], f32[3] do {
    %more = lt %i, 3:i32 : bool[]
    yield %more
  } and {
    %j = add %i, 1:i32 : i32[]
    %d = mul %c, %w : f32[3]
    yield %j, %d
  }
  %k = cond %n : f32[3] do {
    yield %b
  } and {
    %m = sub 1.0:f32, %def : f32[3]
    yield %m
  } and @three {
    %m2 = call (%lax = %x) {name="three"} : f32[3] do @three {
      %y = checkpoint (%p = %lax) {prevent_cse=true} : f32[3] do {
        %q = max %p, nan:f32 : f32[3]
        yield %q
      }
      yield %y
    }
    yield %m2
  }
  %z, %ys = for_loop carry(%s = 0.0:f32) over(%o = %k) {length=3,reverse=true} : f32[], f32[3] do {
    %t = add %s, %o : f32[]
    yield %t, %s
  }
  return %ys, 7:i32, %k
}
"""


@pytest.mark.parametrize("n", [-1, 0, 1, 2, 5])
def test_regions_are_functions_inside_and_names_are_those_of_the_graph(n: int) -> None:
    graph = parse(LOOPS)
    (const,) = graph.consts
    graph = graph.with_(consts=(Const(const.value, np.array([2.0, np.inf, -0.0], np.float32)),))
    source = graph.to_python()
    assert not source.constants
    arguments = jnp.array([1.0, 2.0, 3.0]), jnp.int32(n), jnp.ones(3)
    expected = reference.run(graph, *arguments)
    for one, other in zip(source.function()(*arguments), expected, strict=True):
        assert_close(to_numpy(one), other)
    for line in (
        "def f_g(x, n, def0):",
        "# x: f32[3] mV",
        "w = np.array([2.0, float",
        "def three(",
    ):
        assert line in source.text


def test_larger_constants_stand_beside_the_text() -> None:
    w = np.arange(40, dtype=np.float32)
    graph = transform.jit(lambda x: x + w + jnp.arange(2.0).sum()).trace(1.0).graph()
    source = to_python(graph)
    assert list(source.constants) == ["const"]
    assert_close(source.function()(jnp.float32(1.0))[0], w + 2)
    whole = to_python(graph, small=None, name="whole")
    assert not whole.constants
    assert_close(whole.function()(jnp.float32(1.0))[0], w + 2)


def test_data_of_all_types_are_written_exactly() -> None:
    values: dict[str, list[Any]] = {
        "float32": [1 / 3, -0.0, np.nan, -np.inf, 1e-45],
        "float16": [1 / 3, 65504.0],
        "bfloat16": [1 / 3, 3e38],
        "complex64": [complex(1 / 3, -0.0), complex(np.nan, np.inf)],
        "bool": [True, False],
        "int8": [-128, 127],
        "uint32": [2**32 - 1],
        "float32_empty": [],
    }
    for dtype, items in values.items():
        data = np.array(items, jnp.dtype(dtype.removesuffix("_empty")))
        value = Value(Type(data.dtype.name, data.shape), "w")
        graph = Graph("g", (), (), (value,), consts=(Const(value, data),))
        (found,) = graph.to_python().function()()
        assert found.dtype == data.dtype
        assert found.tobytes() == data.tobytes()


def test_the_source_of_a_model_runs_in_a_process_without_brainir(tmp_path: Any) -> None:
    state = brainir.HiddenState(jnp.zeros(2), name="V")

    def simulate(current: Any) -> Any:
        def step(x: Any) -> Any:
            state.value = transform.cond(x > 1, lambda: state.value * 0.5, lambda: state.value + x)
            return state.value + brainir.random.rand(2)

        return transform.for_loop(step, current)

    brainir.random.seed(1)
    traced = transform.jit(simulate).trace(jnp.arange(3.0))
    source = traced.graph().to_python()
    assert not source.constants
    assert "of the state V" in source.text
    ast.parse(source.text)
    path = tmp_path / "model.py"
    path.write_text(
        f"{source.text}\nimport sys\n"
        "rows, V, key = simulate(jnp.arange(3.0), jnp.zeros(2), jax.random.key(1))\n"
        "assert 'brainir' not in sys.modules\nprint(V.tolist())\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", str(path)], capture_output=True, text=True, check=True
    )
    simulate(jnp.arange(3.0))
    assert done.stdout.strip() == str(state.value.tolist())


def test_operations_that_only_jax_knows_are_bound_by_their_names() -> None:
    graph = transform.jit(lambda x: jnp.linalg.eigh(x)[0]).trace(jnp.eye(3)).graph()
    source = graph.to_python()
    assert "jax.extend.core.primitives.eigh_p.bind(" in source.text
    assert not source.constants
    np.testing.assert_allclose(source.function()(2 * jnp.eye(3))[0], [2.0, 2.0, 2.0])


def test_operations_without_a_public_name_are_given_beside_the_text() -> None:
    twice = jax.extend.core.Primitive("twice")
    twice.def_abstract_eval(lambda x: x)
    twice.def_impl(lambda x: x + x)
    source = transform.jit(lambda x: twice.bind(x) + 1).trace(jnp.ones(3)).graph().to_python()
    (name,) = source.constants
    assert f'constants["{name}"](' in source.text
    np.testing.assert_allclose(source.function()(jnp.ones(3))[0], [3.0, 3.0, 3.0])


def test_ops_can_be_written_in_another_way() -> None:
    x, build = Value(Type("float32"), "x"), Builder()
    graph = build.graph([x], [build("sin", build("cos", x))], "g")
    handlers = {"sin": lambda node, given: f"jnp.sin({given[0]})", "cos": lambda node, given: None}
    source = to_python(graph, handlers=handlers)
    assert "t1 = jnp.sin(t0)" in source.text
    assert "t0 = lax.cos(x)" in source.text


@pytest.mark.parametrize("stage", ["capture", "expand-map"])
def test_what_passes_have_not_expanded_yet_has_no_source(stage: str) -> None:
    state = brainir.State(jnp.zeros(3))
    run = transform.jit(lambda: transform.vmap(lambda x: state.value.sum() + x)(jnp.ones(2)))
    with pytest.raises(GraphError, match="has no Python source"):
        run.trace().graph(stage).to_python()
    x, build = Value(Type("float32"), "x"), Builder()
    body = Builder().graph([y := Value(Type("float32"))], [y])
    outs = build.emit(get_op("grad"), [x], {"wrt": (0,), "states": (), "losses": 1}, [body])
    graph = build.graph([x], outs)
    with pytest.raises(GraphError, match="has no Python source"):
        graph.to_python()


def test_integers_beside_an_array_that_no_32_bits_hold_keep_their_type() -> None:
    graph = parse("""graph @f(%x: u32[2]) -> (u32[2]) {
      %y = add %x, 2654435769:u32
      return %y
    }""")
    names: dict[str, Any] = {}
    exec(to_python(graph).text, names)
    x = np.array([1, 2**31], np.uint32)
    (expected,) = reference.run(graph, x)
    np.testing.assert_array_equal(names["f"](jnp.asarray(x))[0], expected)
