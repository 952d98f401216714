"""`validate`: whole models agree at every stage, and planted faults are found and made small."""

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir import transform
from brainir.backends import reference, to_numpy
from brainir.frontend.validation.checking import check_pass
from brainir.frontend.validation.comparison import Comparison
from brainir.frontend.validation.jax_derivatives import with_jax_derivatives
from brainir.frontend.validation.running import Outcome, inputs_for
from brainir.frontend.validation.validate import ValidationReport, validate_graph
from brainir.ir import Builder, Graph, GraphError, Node, by_word, parse, replay_graph, walk
from brainir.passes import PASSES, PIPELINE, Pass

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.bir"))


def passes_with(name: str, function: Any) -> tuple[Pass, ...]:
    """The pipeline, with something else in the place of a pass."""
    return tuple(replace(s, function=function) if s.name == name else s for s in PIPELINE)


def swapping(old: str, new: str) -> Any:
    """A pass that mistakes an op for another one."""

    def rewrite(builder: Builder, node: Node, operands: Any, mapping: Any) -> Any:
        return builder.emit(new, operands) if node.op.name == old else None

    return lambda graph: replay_graph(graph, rewrite)


def report_of(
    graph: Graph | str, name: str, function: Any, folder: Path | None = None, **given: Any
) -> ValidationReport:
    """What is found of a graph if a pass is something else."""
    graph = parse(graph) if isinstance(graph, str) else graph
    return validate_graph(
        inputs_for(graph, given, 0), folder=folder, passes=passes_with(name, function)
    )


# --- models that are right ------------------------------------------------------------------------


class Net:
    """Leaky neurons with noise and a learned weight."""

    def __init__(self) -> None:
        self.v = brainir.HiddenState(jnp.zeros(3), name="v")
        self.w = brainir.ParamState(jnp.eye(3) * 0.5 + 0.1, name="w")
        self.count = brainir.ShortTermState(jnp.int32(0), name="count")
        self.spike = brainir.surrogate.ReluGrad()

    def step(self, x: jax.Array) -> jax.Array:
        noise = brainir.random.normal(size=(3,)) * 0.1
        spikes = self.spike(self.v.value - 0.5)
        self.v.value = 0.8 * self.v.value * (1 - spikes) + x + noise + self.w.value @ spikes
        self.count.value = self.count.value + jnp.sum(spikes > 0).astype(jnp.int32)
        return spikes

    def run(self, xs: jax.Array) -> jax.Array:
        spikes = transform.for_loop(self.step, xs)
        return jnp.mean(spikes) + jnp.mean(self.v.value**2)

    def states(self) -> list[Any]:
        key = jax.random.key_data(brainir.random.get_key())
        return [np.asarray(x) for x in (self.v.value, self.w.value, self.count.value, key)]


def test_a_model_agrees_at_every_stage_and_its_states_are_left_as_they_were(tmp_path):
    net, xs = Net(), jnp.linspace(0.1, 0.9, 12, dtype=jnp.float32).reshape(4, 3)
    brainir.random.seed(3)
    before = net.states()
    report = brainir.validate(net.run, xs, gradients=True, folder=tmp_path)
    assert report.ok, report
    stages = [*(step.name for step in PIPELINE), "xla"]
    assert list(report.stages) == [*stages, *(f"gradients: {name}" for name in stages)]
    errors = [error for error in report.stages.values() if error is not None]
    assert len(errors) > len(stages)
    assert max(errors) < 0.5
    for now, then in zip(net.states(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert list(tmp_path.iterdir()) == []
    assert "stages agree" in repr(report)


def test_gradients_and_lanes_that_a_function_asks_for_are_checked(tmp_path):
    net = Net()

    @transform.jit(static_argnums=1)
    def train(xs, rate, *, scale):
        slopes, loss = transform.grad(net.run, grad_states=[net.w], return_value=True)(xs * scale)
        net.w.value = net.w.value - rate * slopes[0]
        lanes = transform.vmap(lambda x: x + brainir.random.normal() * net.v.value.sum())(xs[0])
        return loss, lanes

    xs = jnp.linspace(0.1, 0.9, 6, dtype=jnp.float32).reshape(2, 3)
    report = brainir.validate(
        train, xs, 0.1, scale=2.0, gradients=False, edges=False, folder=tmp_path
    )
    assert report.ok, report
    compared = [name for name, error in report.stages.items() if error is not None]
    assert compared == [*(step.name for step in PIPELINE[3:]), "xla"]


def test_units_stay_outside(tmp_path):
    def energy(v, steps):
        return (v * v).sum(), steps + 1, v.shape

    report = brainir.validate(
        lambda v, n: energy(v, n)[:2], jnp.ones(3) * u.mV, 3, gradients=True, folder=tmp_path
    )
    assert report.ok, report


def test_numbers_of_64_bits_are_taken_as_jax_takes_them(tmp_path):
    weights = np.arange(3.0)
    report = brainir.validate(lambda x: x * weights, np.ones(3), gradients=True, folder=tmp_path)
    assert report.ok, report


def test_mixed_precision_is_compared_as_its_narrow_numbers_ask(tmp_path):
    w = brainir.ParamState(jnp.linspace(0.1, 0.9, 4))

    def loss(xs):
        def step(x):
            y = jnp.tanh(jnp.exp(w.value.astype(jnp.bfloat16)) * x.astype(jnp.bfloat16))
            return jnp.sum(y.astype(jnp.float32))

        return jnp.sum(transform.for_loop(step, xs))

    gradient = transform.grad(loss, w, return_value=True)
    xs = jnp.linspace(0.1, 0.5, 3)
    report = brainir.validate(gradient, xs, folder=tmp_path)
    assert report.ok, report
    exact = brainir.validate(gradient, xs, tolerances={"float32": 1e-6}, folder=tmp_path)
    assert not exact.ok


def test_a_gradient_may_create_states(tmp_path):
    def loss(w):
        v = brainir.HiddenState(jnp.zeros(()))

        def step(x):
            v.value = 0.9 * v.value + w * x

        transform.for_loop(step, jnp.linspace(0.1, 1.0, 4, dtype=jnp.float32))
        return v.value**2

    report = brainir.validate(transform.grad(loss), 1.5, gradients=True, folder=tmp_path)
    assert report.ok, report


def test_what_calling_the_function_raises_is_raised():
    shared = brainir.State(jnp.zeros(()))

    def lanes(xs):
        def lane(x):
            shared.value = x

        transform.vmap(lane)(xs)

    with pytest.raises(brainir.BatchAxisError):
        brainir.validate(lanes, jnp.ones(3))
    with pytest.raises(ValueError, match="while"):
        brainir.validate(
            transform.grad(lambda x: jax.lax.while_loop(lambda c: c < 9, lambda c: c * 2, x)), 1.0
        )


@pytest.mark.parametrize(
    ("function", "argument", "message"),
    [
        (lambda n: n * 2.5, 1, "no floating-point arguments"),
        (lambda x: x > 1, 1.0, "returns no floating-point numbers"),
    ],
)
def test_gradients_of_what_has_none_are_refused(function, argument, message):
    with pytest.raises(ValueError, match=message):
        brainir.validate(function, argument, gradients=True)


# --- faults that are found ------------------------------------------------------------------------

LOOP = """
graph @run(%x: f32[3], %xs: f32[5,3]) -> (f32[3], f32[])
  states(@V: f32[3] hidden, @n: i32[] short) {
  %a = cos %x
  %last, %ys = for_loop carry(%c = %a) over(%i = %xs) {length=5} do {
    %v = state.read @V
    %t = tanh %c           # model.py:7 update
    %m = mul %t, %i
    %w = add %v, %m
    state.write @V, %w
    yield %w, %t
  }
  %s = reduce_sum %ys {axes=(0, 1)}
  %k = state.read @n
  %k1 = add %k, 1:i32
  state.write @n, %k1
  return %last, %s
}"""


def still_fails(report: ValidationReport, passes: tuple[Pass, ...]) -> bool:
    """Whether the file of a report shows the fault all by itself."""
    assert report.path is not None
    path = Path(report.path)
    given: dict[str, Any] = {}
    if path.with_suffix(".npz").exists():
        with np.load(path.with_suffix(".npz")) as arrays:
            given.update(arrays)
    inputs = inputs_for(parse(path.read_text(), str(path)), given, 0)
    step = next(step for step in passes if step.name == report.first_pass)
    return check_pass(step, Comparison()).difference(inputs) is not None


@pytest.mark.parametrize(("old", "new"), [("tanh", "sin"), ("mul", "add"), ("cos", "sin")])
def test_a_wrong_op_is_found_wherever_it_is(old, new, tmp_path):
    passes = passes_with("simplify", swapping(old, new))
    report = report_of(LOOP, "simplify", swapping(old, new), tmp_path)
    assert not report.ok
    assert report.first_pass == "simplify"
    assert report.graph is not None
    assert [node.op.name for node in walk(report.graph)] == [old]
    assert report.node is not None
    assert report.node.startswith(f"{old}(f32[3]")
    assert still_fails(report, passes)
    assert f"{old} %" in repr(report)
    assert list(report.stages)[-1] != "xla"


def test_the_node_is_shown_with_its_place_in_the_users_source():
    def wave(x):
        return jnp.tanh(x) * 2  # here

    line = wave.__code__.co_firstlineno + 1
    graph = transform.jit(wave).trace(1.0).graph("capture")
    report = report_of(graph, "simplify", swapping("tanh", "sin"))
    assert report.node is not None
    assert f"test_validate.py:{line} " in report.node


def without_writes(graph: Graph) -> Graph:
    """A pass that forgets writes at the edge of a graph."""
    kept = tuple(node for node in graph.nodes if node.op.name != "state.write")
    return graph.with_(nodes=kept)


def test_a_forgotten_write_is_found(tmp_path):
    report = report_of(LOOP, "dead-code", without_writes, tmp_path)
    assert report.first_pass == "dead-code"
    assert report.difference is not None
    assert report.difference.where in ("@V", "@n")
    assert report.graph is not None
    assert [node.op.name for node in walk(report.graph)] == ["state.write"]
    assert still_fails(report, passes_with("dead-code", without_writes))


def test_results_in_the_wrong_order_are_found():
    def swapped(graph: Graph) -> Graph:
        pure = PASSES["purify"](graph)
        return pure.with_(results=pure.results[::-1])

    graph = """graph @f(%x: f32[]) -> (f32[])
      states(@V: f32[] hidden) {
      %v = state.read @V
      %y = add %v, %x
      state.write @V, %y
      return %x
    }"""
    report = report_of(graph, "purify", swapped)
    assert report.first_pass == "purify"
    assert report.difference is not None
    assert report.difference.where == "result 0"


def test_a_pass_that_fails_on_a_graph_is_found():
    def refuse(builder: Builder, node: Node, operands: Any, mapping: Any) -> None:
        if node.op.name == "tanh":
            raise GraphError("tanh is beyond me")

    report = report_of(LOOP, "hoist-invariant", lambda graph: replay_graph(graph, refuse))
    assert report.first_pass == "hoist-invariant"
    assert str(report.difference) == "GraphError: tanh is beyond me"
    assert report.graph is not None
    assert [node.op.name for node in walk(report.graph)] == ["tanh"]


def test_a_pass_that_does_not_reach_its_form_is_found():
    report = report_of(LOOP, "hoist-state", lambda graph: graph)
    assert report.first_pass == "hoist-state"
    assert report.difference is not None
    assert "states should be touched outside all regions" in report.difference.text
    assert report.graph is not None
    assert len(list(walk(report.graph))) == 2


GRADIENT = """
graph @f(%x: f32[3], %w: f32[3]) -> (f32[3], f32[]) {
  %n = neg %w
  %slope, %loss = grad (%a = %x) {wrt=(0,), states=(), losses=1} do {
    %b = mul %a, %n
    %e = exp %b
    %s = reduce_sum %e {axes=(0,)}
    yield %s
  }
  return %slope, %loss
}"""


def test_a_wrong_gradient_is_found():
    def half(graph: Graph) -> Graph:
        def rewrite(builder: Builder, node: Node, operands: Any, mapping: Any) -> Any:
            if node.op.name != "broadcast_in_dim":
                return None
            (result,) = builder.emit(node.op, operands, node.attrs)
            return [builder("sub", result, result)]

        return replay_graph(PASSES["expand-grad"](graph), rewrite)

    report = report_of(GRADIENT, "expand-grad", half)
    assert report.first_pass == "expand-grad"
    assert report.graph is not None
    assert "grad" in [node.op.name for node in walk(report.graph)]
    assert report_of(GRADIENT, "expand-grad", PASSES["expand-grad"].function).ok


def test_a_fault_of_the_other_backend_is_found(monkeypatch):
    graph = parse(LOOP)
    tanh = next(node.op for node in walk(graph) if node.op.name == "tanh")
    wrong = replace(tanh, lax=lambda jax, x: jax.lax.sin(x), element=by_word("sin"))

    def rewrite(builder: Builder, node: Node, operands: Any, mapping: Any) -> Any:
        return builder.emit(wrong, operands) if node.op is tanh else None

    report = validate_graph(inputs_for(replay_graph(graph, rewrite), {}, 0))
    assert report.first_pass == "xla"
    assert report.graph is not None
    assert [node.op.name for node in walk(report.graph)] == ["tanh"]


def test_inputs_that_a_fault_needs_are_kept(tmp_path):
    def rewrite(builder: Builder, node: Node, operands: Any, mapping: Any) -> Any:
        if node.op.name != "max":
            return None
        return [operands[0]]  # only right as long as the first one is larger

    graph = "graph @f(%file: i32[2]) -> (i32[2]) {\n%y = max %file, -5:i32\nreturn %y\n}"
    wrong = lambda graph: replay_graph(graph, rewrite)  # noqa: E731
    assert report_of(graph, "simplify", wrong).ok
    report = report_of(graph, "simplify", wrong, tmp_path, file=[1, -9])
    assert report.path is not None
    assert zipfile.is_zipfile(Path(report.path).with_suffix(".npz"))
    assert still_fails(report, passes_with("simplify", wrong))


def test_a_function_that_rounding_decides_is_reported_as_sensitive(tmp_path):
    def chaos(x):
        return jax.lax.fori_loop(0, 200, lambda i, x: 3.99 * x * (1 - x), x)

    def rounded_otherwise(graph: Graph) -> Graph:
        def rewrite(builder: Builder, node: Node, operands: Any, mapping: Any) -> Any:
            if node.op.name != "mul":
                return None
            three = builder.full(operands[0].type, 3.0)
            return [
                builder(
                    "mul", builder("mul", builder("div", operands[0], three), operands[1]), three
                )
            ]

        return replay_graph(graph, rewrite)

    graph = transform.jit(chaos).trace(jnp.float32(0.3)).graph("capture")
    report = report_of(graph, "simplify", rounded_otherwise, tmp_path, x=0.3)
    assert not report.ok
    assert report.sensitive
    assert report.path is None
    assert "cannot tell rounding from faults" in repr(report)
    assert "one rounding" in repr(report)


# --- comparing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "expected", "same"),
    [
        (np.array([1, 2], np.float32), np.array([1, 2.0001], np.float32), True),
        (np.array([1, 2], np.float32), np.array([1, 2.001], np.float32), False),
        (np.array([1e-9, 2], np.float32), np.array([0, 2], np.float32), True),
        (np.array([2e-9, 0], np.float32), np.array([1e-9, 0], np.float32), False),
        (np.array([1, 2], np.float64), np.array([1, 2.0001], np.float64), False),
        (np.array([np.nan, np.inf], np.float32), np.array([np.nan, np.inf], np.float32), True),
        (np.array([np.nan], np.float32), np.array([1], np.float32), False),
        (np.array([np.inf], np.float32), np.array([-np.inf], np.float32), False),
        (np.array([1 + 1j], np.complex64), np.array([1 + 1.00001j], np.complex64), True),
        (np.array([1 + 1j], np.complex64), np.array([1 - 1j], np.complex64), False),
        (np.array([10**6], np.int32), np.array([10**6 + 1], np.int32), False),
        (np.array([True], np.bool_), np.array([False], np.bool_), False),
        (np.array([1], np.float32), np.array([1], np.float64), False),
        (np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), True),
    ],
)
def test_arrays_are_compared_as_their_dtype_asks(found, expected, same):
    difference = Comparison().difference(Outcome((found,), {}), Outcome((expected,), {}))
    assert (difference is None) == same
    error = Comparison().error(Outcome((found,), {}), Outcome((expected,), {}))
    assert (error <= 1) == same


def test_keys_are_compared_word_by_word():
    keys = [to_numpy(jax.random.split(jax.random.key(seed), 2)) for seed in (1, 2)]
    for key in keys:
        difference = Comparison().difference(Outcome((keys[0],), {}), Outcome((key,), {}))
        assert (difference is None) == (key is keys[0])


def test_a_tolerance_of_ones_own_counts():
    outcomes = [Outcome((np.array([x], np.float32),), {}) for x in (1, 1.01)]
    assert Comparison({"float32": 0.1}).difference(*outcomes) is None
    assert Comparison({"float64": 0.1}).difference(*outcomes) is not None


def test_the_worst_element_is_named():
    found = np.array([[1, 2, 3], [4, 9, 6]], np.float32)
    expected = np.array([[1, 2.5, 3], [4, 5, 6]], np.float32)
    difference = Comparison().difference(Outcome((found,), {}), Outcome((expected,), {}))
    assert str(difference) == "result 0: 9.0 where 5.0 was expected at [1, 1]"


# --- derivatives by JAX ---------------------------------------------------------------------------

NESTED = """
graph @f(%x: f32[3], %t: f32[3], %w: f32[]) -> (f32[3], f32[3], f32[3], f32[3]) {
  %slope, %loss = vmap (%a: f32[] = %x, %c = %w) {
    size=3, in_axes=(0, none), out_axes=(0, 0), in_states=(), out_states=(), axis_name=none
  } do {
    %g, %l = grad (%b = %a) {wrt=(0,), states=(), losses=1} do {
      %d = mul %b, %c
      %e = sin %d
      yield %e
    }
    yield %g, %l
  }
  %y, %s = jvp (%a = %x, %t) {wrt=(0,)} do (%p: f32[3]) {
    %q = mul %p, %p
    yield %q
  }
  return %slope, %loss, %y, %s
}"""


def test_derivatives_by_jax_are_derivatives():
    graph = parse(NESTED.replace("(%a = %x, %t)", "%x, %t"))
    x, t = np.array([0.1, 0.5, 2], np.float32), np.array([1, 2, 3], np.float32)
    slope, loss, y, s = reference.run(with_jax_derivatives(graph), x, t, np.float32(2))
    np.testing.assert_allclose(slope, 2 * np.cos(2 * x), rtol=1e-5)
    np.testing.assert_allclose(loss, np.sin(2 * x), rtol=1e-5)
    np.testing.assert_allclose(y, x * x, rtol=1e-6)
    np.testing.assert_allclose(s, 2 * x * t, rtol=1e-6)


# --- what once failed -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_what_once_failed_is_right_now(path):
    report = validate_graph(inputs_for(parse(path.read_text(), str(path)), {}, 0))
    assert report.ok, report
