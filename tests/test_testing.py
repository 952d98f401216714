"""`brainir.testing` notices mistakes, and shows the smallest example that has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir import transform
from brainir.frontend.testing import round_trip
from brainir.ir import (
    NOT_DIFFERENTIABLE,
    PURE,
    ZERO,
    Cost,
    GraphError,
    Op,
    Partials,
    Type,
    Weight,
    by_word,
    define,
    parse,
    replay_graph,
    temporary_ops,
    traffic,
)
from brainir.passes import PASSES, Pass, dead_code, simplify
from brainir.testing import (
    Sample,
    check_op,
    check_pass,
    check_round_trip,
    check_transformation,
    programs,
)


@pytest.fixture(autouse=True)
def own_ops() -> Iterator[None]:
    """Forget the ops that a test defines."""
    with temporary_ops():
        yield


def infer(type: Type) -> Type:
    if type.dtype not in ("float32", "float64"):
        raise GraphError(f"not defined on {type}")
    return type


def slope(builder: Any, result: Any, x: Any) -> tuple[Any]:
    one = builder("sub", builder.ones(x.type), builder("mul", result, result))
    return (one,)


def rules() -> dict[str, Any]:
    """The rules of a hyperbolic tangent; `slope` is its derivative."""

    def batch(builder: Any, operands: Any, batched: Any, size: int) -> Any:
        return builder(name, *operands)

    name = "tanh_of_a_test"
    return {
        "name": name,
        "doc": "A hyperbolic tangent of a test's own.",
        "infer": infer,
        "numpy": np.tanh,
        "lax": lambda jax, x: jax.lax.tanh(x),
        "batch": batch,
        "derivative": Partials(slope),
        "effects": PURE,
        "cost": lambda operands, results, attrs: Cost(
            results[0].size, traffic(operands, results), Weight.CHEAP
        ),
        "element": by_word("tanh"),
    }


def op_with(**wrong: Any) -> Op:
    """An op, some of whose rules are wrong."""
    return define(**{**rules(), **wrong})


def test_an_op_whose_rules_agree_passes() -> None:
    op = op_with()
    check_op(op, examples=10)
    check_op(op.name, (np.linspace(-1, 1, 3, dtype=np.float32),))


MISTAKES: dict[str, dict[str, Any]] = {
    "inference predicts what numpy gives": {"infer": lambda x: infer(x).with_shape(*x.shape, 1)},
    "lax agrees with numpy": {"lax": lambda jax, x: jax.lax.sinh(x)},
    "batching equals stacking": {
        "batch": lambda builder, operands, batched, size: builder("sinh", *operands)
    },
    "derivatives agree with finite differences": {"derivative": ZERO},
    "the cost is sane": {"cost": lambda *_: Cost(0, 10**6, Weight.CHEAP)},
}


@pytest.mark.parametrize("drawn", [True, False], ids=["drawn", "given"])
@pytest.mark.parametrize("law", MISTAKES)
def test_a_wrong_rule_is_noticed_and_shown(law: str, drawn: bool) -> None:
    op = op_with(**MISTAKES[law])
    samples = () if drawn else ((np.linspace(-1, 1, 3, dtype=np.float32),),)
    with pytest.raises(AssertionError) as caught:
        check_op(op, *samples)
    message = str(caught.value)
    assert f": {law}: this does not hold" in message
    graph = parse(message[message.index("graph @sample") :])
    assert [node.op for node in graph.nodes] == [op]


def test_a_reverse_rule_that_is_not_the_transpose_is_noticed() -> None:
    right = Partials(slope)

    class Wrong:
        jvp = staticmethod(right.jvp)

        @staticmethod
        def vjp(builder: Any, node: Any, cotangents: Any, wanted: Any = None) -> Any:
            return cotangents

    with pytest.raises(AssertionError, match="transpose of forward mode: this does not hold"):
        check_op(op_with(derivative=Wrong()), examples=10)


def test_a_law_that_compares_nothing_is_no_law() -> None:
    with pytest.raises(AssertionError, match="nothing was compared for lax agrees with numpy"):
        check_op(op_with(), (np.zeros((0,), np.float32),))


def test_an_op_without_derivative_has_none_to_compare() -> None:
    check_op(op_with(derivative=NOT_DIFFERENTIABLE("nobody asked")), examples=5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("for_loop", "has regions"),
        ("state.read", "has effects"),
        ("cumsum", r"needs axis, reverse: give samples, such as Sample\(\"cumsum\""),
    ],
)
def test_what_cannot_be_checked_is_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_op(name)


def test_a_sample_of_another_op_is_refused() -> None:
    with pytest.raises(ValueError, match="a sample of sin says nothing of cos"):
        check_op("cos", Sample("sin", (np.ones(2, np.float32),)))


def test_an_op_of_ones_own_goes_through_the_passes() -> None:
    name = op_with().name
    check_pass(simplify, after="expand-jvp", ops=[name], examples=10)
    check_pass(PASSES["expand-vmap"], after="hoist-state", ops=[name], examples=10)
    with pytest.raises(AssertionError, match="its output means the same") as caught:
        check_pass(swapping(name, "sin"), ops=[name], states=False, regions=False)
    assert name in str(caught.value)


# --- passes ---------------------------------------------------------------------------------------


def swapping(name: str, other: str) -> Callable[[Any], Any]:
    """A pass that takes one op for another."""

    def wrong_pass(graph: Any) -> Any:
        def rewrite(builder: Any, node: Any, operands: Any, mapping: Any) -> Any:
            if node.op.name != name:
                return None
            return builder.emit(other, operands, node.attrs)

        return replay_graph(graph, rewrite)

    return wrong_pass


def test_a_pass_that_changes_the_meaning_is_noticed_with_the_smallest_graph() -> None:
    with pytest.raises(AssertionError) as caught:
        check_pass(swapping("sub", "add"), regions=False, states=False, examples=300)
    message = str(caught.value)
    assert message.startswith("pass wrong-pass: its output means the same: this does not hold")
    graph = parse(message.split("the graph:\n")[1].split("\n\n")[0])
    names = [node.op.name for node in graph.nodes]
    assert "sub" in names
    assert len(names) < 8, "graphs have up to sixteen nodes"


def test_a_pass_that_breaks_the_form_is_noticed() -> None:
    def idle(graph: Any) -> Any:
        return graph

    with pytest.raises(AssertionError, match=r"its output is well formed \(pure\): this does not"):
        check_pass(Pass("idle", idle, "pure"))
    with pytest.raises(AssertionError, match="it changed none of 3 graphs"):
        check_pass(Pass("idle", idle, "any"), examples=3)
    check_pass(Pass("idle", idle, "any"), examples=3, may_be_idle=True)


def test_a_pass_that_never_ends_changing_is_noticed() -> None:
    def turning(graph: Any) -> Any:
        def rewrite(builder: Any, node: Any, operands: Any, mapping: Any) -> Any:
            if node.op.name != "add":
                return None
            return builder.emit("add", operands[::-1], node.attrs)

        return replay_graph(graph, rewrite)

    with pytest.raises(AssertionError, match="nothing to do a second time"):
        check_pass(turning, again=True, regions=False, states=False, examples=300)
    check_pass(turning, examples=10, ops=["add"])


def test_a_pass_is_given_what_the_pipeline_gives_it() -> None:
    check_pass(PASSES["expand-vmap"], after="hoist-state", again=True, examples=25)
    check_pass(simplify, after="expand-jvp", again=True, examples=10)
    check_pass(dead_code, after="purify", examples=5, may_be_idle=True)
    with pytest.raises(ValueError, match="no pass is called"):
        check_pass(simplify, after="lunch")


# --- transformations ------------------------------------------------------------------------------


def is_plain() -> bool:
    """Whether JAX runs every operation as it comes, under ``jax.disable_jit()``."""
    return jax.config.jax_disable_jit  # pyright: ignore[reportAttributeAccessIssue]


def twice(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: transform.for_loop(lambda _: function(x), jnp.arange(2)).sum(0)


def lanes(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: transform.vmap(function)(jnp.stack([x, -x])).sum(0)


def slopes(function: Callable[..., Any]) -> Callable[..., Any]:
    return transform.grad(lambda x: jnp.sum(jnp.tanh(function(x))))


def test_transformations_made_of_ours_pass() -> None:
    check_transformation(twice, examples=3)
    check_transformation(slopes, programs=programs(depth=1), gradient=True, examples=3)
    check_transformation(lanes, programs=programs(depth=0), lanes=True, examples=3)


def test_a_transformation_that_differs_when_compiled_is_noticed() -> None:
    def wrong(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(x: Any) -> Any:
            return function(x) + (0.0 if is_plain() else 1.0)

        return run

    with pytest.raises(AssertionError, match="compiled, it gives what plain Python gives") as found:
        check_transformation(wrong, programs=programs(depth=0))
    message = str(found.value)
    assert "the program:\n('return', " in message
    parse(message[message.index("graph @") :])


def test_a_compiler_that_refuses_everything_is_noticed() -> None:
    def refused(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(x: Any) -> Any:
            if not is_plain():
                raise brainir.BatchAxisError("no")
            return function(x)

        return run

    with pytest.raises(AssertionError):
        check_transformation(refused, programs=programs(depth=0))
    with pytest.raises(AssertionError, match="were compared, the others refused"):
        check_transformation(refused, programs=programs(depth=0), lanes=True)


# --- text -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"), [("cos", "another graph is read"), ("sni", "cannot be read")]
)
def test_a_graph_that_is_not_its_text_is_noticed(
    wrong: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def print_wrong(*given: Any, **how: Any) -> str:
        return printed(*given, **how).replace("sin", wrong)

    graph = parse("graph @f(%x: f32[3]) -> (f32[3]) { %y = sin %x\nreturn %y }")
    check_round_trip(graph)
    printed = round_trip.print_graph
    monkeypatch.setattr(round_trip, "print_graph", print_wrong)
    with pytest.raises(AssertionError, match=message):
        check_round_trip(graph)


def test_a_transformation_that_is_always_refused_says_why() -> None:
    with pytest.raises(AssertionError, match=r"The first was refused by TypeError: .*positional"):
        check_transformation(lambda f: lambda x: f(x, 1), examples=3)
