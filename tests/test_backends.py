"""The backends: what the reference computes is what XLA computes, with regions and without."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from op_samples import all_samples
from structured_samples import structured_samples

import brainir
from brainir.backends import lax, reference, to_jax, to_numpy, type_of, xla
from brainir.ir import (
    Builder,
    Const,
    Graph,
    GraphError,
    Literal,
    Loc,
    Operand,
    StateVar,
    Type,
    Value,
    parse,
)

F32 = Type("float32")
I32 = Type("int32")
VEC = Type("float32", (3,))

Body = Callable[..., Sequence[Operand]]


def f32(values: Any) -> Any:
    """Return an array of single-precision numbers."""
    return np.asarray(values, np.float32)


def build(types: Sequence[Type], body: Body, name: str = "graph") -> Graph:
    """Return the graph or region that a function of a builder and parameters builds."""
    builder, params = Builder(), [Value(t) for t in types]
    return builder.graph(params, body(builder, *params), name)


def for_loop(
    build_in: Builder, carry: Sequence[Operand], over: Sequence[Operand], body: Body, **attrs: Any
) -> tuple[Value, ...]:
    types = [c.type for c in carry] + [o.type.with_shape(*o.type.shape[1:]) for o in over]
    attrs = {"carries": len(carry), "reverse": False, "unroll": 1, **attrs}
    return build_in.emit("for_loop", (*carry, *over), attrs, [build(types, body)])


def number(value: float) -> Literal:
    return Literal(value, F32)


def assert_agree(graph: Graph, *arguments: Any) -> tuple[Any, ...]:
    """Run a graph with both backends, and return what they agree on."""
    expected = reference.run(graph, *arguments)
    results = xla.compile(graph)(*arguments)
    assert len(results) == len(expected) == len(graph.results)
    for result, array, operand in zip(results, expected, graph.results, strict=True):
        assert type_of(result) == operand.type
        np.testing.assert_allclose(to_numpy(result), array, rtol=1e-6)
    return expected


def nested_loops(b: Builder, x: Value, xs: Value) -> Sequence[Operand]:
    """Sum products of a slice with what the loops around it capture."""
    doubled = b("add", x, x)

    def outer(b: Builder, total: Value, row: Value) -> Sequence[Operand]:
        shifted = b("add", row, doubled)

        def inner(b: Builder, part: Value) -> Sequence[Operand]:
            return [b("add", b("mul", part, shifted), row)]

        (part,) = for_loop(b, [row], [], inner, length=2)
        return [b("add", total, part), b("mul", part, total)]

    return for_loop(b, [x], [xs], outer, length=4)


def test_nested_loops_see_what_they_capture() -> None:
    graph = build([VEC, Type("float32", (4, 3))], nested_loops)
    x, xs = np.ones(3, np.float32), np.arange(12, dtype=np.float32).reshape(4, 3) / 12
    total = x
    for row in xs:
        part = row
        for _ in range(2):
            part = part * (row + 2 * x) + row
        total = total + part
    found, products = assert_agree(graph, x, xs)
    np.testing.assert_allclose(found, total, rtol=1e-5)
    assert products.shape == (4, 3)


@given(st.integers(0, 4), st.booleans(), st.integers(1, 3))
def test_loops_agree_for_any_length_and_direction(length: int, reverse: bool, unroll: int) -> None:
    def body(b: Builder, carry: Value, x: Value) -> Sequence[Operand]:
        new = b("sub", x, carry)
        return [new, b("mul", new, x), Literal(7, I32)]

    graph = build(
        [F32, Type("float32", (length,))],
        lambda b, c, xs: for_loop(
            b, [c], [xs], body, length=length, reverse=reverse, unroll=unroll
        ),
    )
    xs = np.linspace(1, 2, length, dtype=np.float32)
    carry, _, sevens = assert_agree(graph, np.float32(0.5), xs)
    assert sevens.tolist() == [7] * length
    expected = np.float32(0.5)
    for x in xs[::-1] if reverse else xs:
        expected = x - expected
    np.testing.assert_allclose(carry, expected, rtol=1e-5)


def test_a_while_loop_runs_until_its_condition_fails() -> None:
    def loop(b: Builder, x: Value, bound: Value) -> Sequence[Operand]:
        condition = build([F32, I32], lambda b, x, i: [b("lt", x, bound)])
        body = build(
            [F32, I32], lambda b, x, i: [b("mul", x, number(2)), b("add", i, Literal(1, I32))]
        )
        return b.emit("while", [x, Literal(0, I32)], {}, [condition, body])

    graph = build([F32, F32], loop)
    assert assert_agree(graph, np.float32(1), np.float32(20)) == (32, 5)
    assert assert_agree(graph, np.float32(30), np.float32(20)) == (30, 0)


def branches(b: Builder, index: Value, x: Value) -> Sequence[Operand]:
    regions = [
        build([], lambda b, k=k: [b("add", x, number(k)), Literal(float(k), F32)]) for k in range(3)
    ]
    chosen = regions[:2] if index.type.dtype == "bool" else regions
    return b.emit("cond", [index], {}, chosen)


@pytest.mark.parametrize("index", [-1, 0, 1, 2, 9])
def test_a_branch_index_is_clamped(index: int) -> None:
    _, k = assert_agree(build([I32, F32], branches), np.int32(index), np.float32(1))
    assert k == min(max(index, 0), 2)


@pytest.mark.parametrize("index", [False, True])
def test_the_second_branch_is_the_true_one(index: bool) -> None:
    _, k = assert_agree(build([Type("bool"), F32], branches), np.bool_(index), np.float32(1))
    assert k == index


@pytest.mark.parametrize(
    ("op", "attrs"),
    [("call", {}), ("checkpoint", {"prevent_cse": False}), ("checkpoint", {"prevent_cse": True})],
)
def test_a_called_region_gets_arguments_and_captures(op: str, attrs: dict[str, Any]) -> None:
    def caller(b: Builder, x: Value, y: Value) -> Sequence[Operand]:
        region = build([F32], lambda b, a: [b("sub", a, y), a])
        return b.emit(op, [x], attrs, [region])

    assert assert_agree(build([F32, F32], caller), np.float32(5), np.float32(2)) == (3, 5)


def vmapped(size: int) -> Graph:
    def lanes(b: Builder, x: Value, y: Value) -> Sequence[Operand]:
        region = build([F32, F32], lambda b, a, c: [b("mul", a, c), b("add", c, y), y])
        attrs = {"size": size, "in_axes": (0, None), "out_axes": (0, 0, None)}
        return b.emit("vmap", [x, number(3)], attrs, [region])

    return build([Type("float32", (size,)), F32], lanes)


def test_the_reference_runs_lanes_one_by_one() -> None:
    products, sums, shared = reference.run(vmapped(2), f32([1, 2]), np.float32(4))
    assert (products.tolist(), sums.tolist(), shared) == ([3, 6], [7, 7], 4)


def test_a_vmap_that_no_pass_expanded_is_left_to_jax() -> None:
    given = f32([1, 2]), np.float32(4)
    found = xla.compile(vmapped(2))(*given)
    for one, other in zip(found, reference.run(vmapped(2), *given), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_error_while_emitting_names_the_node() -> None:
    text = """
graph @f(%x: f32[2]) -> (f32[2]) {
  %y = map (%a: f32[] = %x) {length=2, batch_size=none} : f32[2] do {
    yield %a
  }
  return %y
}
"""
    with pytest.raises(GraphError, match="expand-map") as caught:
        xla.compile(parse(text))(f32([1, 2]))
    assert "while emitting map(f32[2])" in caught.value.__notes__[0]


# --- states ---------------------------------------------------------------------------------------


def test_the_reference_keeps_states_through_loops() -> None:
    voltage = StateVar("v", (VEC, I32))
    scratch = StateVar("scratch", (VEC,), "local")

    def step(b: Builder, x: Value) -> Sequence[Operand]:
        v, n = b.emit("state.read", (), {"state": voltage})
        b.emit("state.new", [b("add", v, x)], {"state": scratch})
        (new,) = b.emit("state.read", (), {"state": scratch})
        b.emit("state.write", [new, b("add", n, Literal(1, I32))], {"state": voltage})
        return [v]

    graph = build(
        [Type("float32", (4, 3))], lambda b, xs: for_loop(b, [], [xs], step, length=4)
    ).with_(states=(voltage,))
    before = {voltage: (np.zeros(3, np.float32), np.int32(0))}
    (seen,), after = reference.evaluate(graph, [np.ones((4, 3), np.float32)], before)
    assert seen[:, 0].tolist() == [0, 1, 2, 3]
    assert list(after) == [voltage]
    assert (after[voltage][0].tolist(), after[voltage][1]) == ([4, 4, 4], 4)
    assert before[voltage][1] == 0

    with pytest.raises(GraphError, match="state @v has no value"):
        reference.run(graph, np.ones((4, 3), np.float32))
    with pytest.raises(GraphError, match="purify"):
        jax.make_jaxpr(lax.emit(graph))(np.ones((4, 3), np.float32))


# --- arrays ---------------------------------------------------------------------------------------


def test_keys_survive_the_way_to_numpy_and_back() -> None:
    for impl in ("threefry2x32", "rbg", "unsafe_rbg"):
        keys = jax.random.split(jax.random.key(3, impl=impl), 6).reshape(2, 3)
        there = to_numpy(keys)
        assert there.shape == (2, 3)
        assert type_of(there) == type_of(keys)
        back = to_jax(there)
        assert back.dtype == keys.dtype
        assert (jax.random.key_data(back) == jax.random.key_data(keys)).all()


def test_keys_go_through_loops() -> None:
    def body(b: Builder, key: Value) -> Sequence[Operand]:
        (pair,) = b.emit("random_split", [key], {"shape": (2,)})
        first, second = (
            b(
                "reshape",
                b("slice", pair, start=(i,), limit=(i + 1,), strides=(1,)),
                shape=(),
            )
            for i in range(2)
        )
        return [first, b("random_bits", second, bit_width=32, shape=(2,))]

    key = Type("key<fry>")
    graph = build([key], lambda b, k: for_loop(b, [k], [], body, length=3))
    start = jax.random.key(1)
    last, bits = reference.run(graph, start)
    expected = start
    for row in bits:
        expected, use = jax.random.split(expected)
        assert (jax.random.bits(use, (2,)) == row).all()
    found, found_bits = xla.compile(graph)(start)
    assert found == expected
    assert (to_numpy(found) == last).all()
    assert (found_bits == bits).all()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int8", "uint32", "bool"])
def test_a_literal_has_just_its_dtype(dtype: str) -> None:
    value = {"bool": True, "int8": 3, "uint32": 2**32 - 1}.get(dtype, 1.5)
    literal = Literal(value, Type(dtype))
    graph = build([Type(dtype)], lambda b, x: [b("max", x, literal), literal])
    for array in assert_agree(graph, np.zeros((), jnp.dtype(dtype))):
        assert array == value
        assert array.dtype == jnp.dtype(dtype)


# --- compilation ----------------------------------------------------------------------------------


def with_const(data: Any) -> Graph:
    const = Value(Type("float32", (100,)))
    graph = build([Type("float32", (100,))], lambda b, x: [b("mul", x, const)], "scale")
    return graph.with_(consts=(Const(const, data),))


def test_consts_are_arguments_of_an_executable() -> None:
    data = np.linspace(3, 4, 100, dtype=np.float32)
    graph = with_const(jnp.asarray(data))
    x = np.full(100, 2, np.float32)
    (result,) = assert_agree(graph, x)
    np.testing.assert_allclose(result, 2 * data)
    executable = xla.compile(graph)
    text = executable.lower().as_text()
    assert "@jit_scale" in text
    assert "stablehlo.constant" not in text
    assert executable.function(x, 2 * data)[0][0] == 12

    for run in (reference.run, lambda graph, x: xla.compile(graph)(x)):
        with pytest.raises(GraphError, match=r"@scale has consts? .*data|const .* of @scale"):
            run(with_const(None), x)


def test_an_executable_takes_memory_over_and_knows_its_cost() -> None:
    graph = build([VEC, VEC], lambda b, x, y: [b("add", b("exp", x), y)])
    executable = xla.compile(graph, donate=[0])
    x = jnp.ones(3)
    executable(x, jnp.ones(3))
    assert x.is_deleted()
    compiled = executable.lower().compile()
    assert compiled.cost_analysis()["flops"] == 3  # pyright: ignore[reportOptionalSubscript]
    assert compiled.memory_analysis().output_size_in_bytes >= 12  # pyright: ignore[reportOptionalMemberAccess]


def test_graphs_lower_for_every_platform() -> None:
    def body(b: Builder, x: Value, xs: Value, key: Value) -> Sequence[Operand]:
        total, _ = nested_loops(b, x, xs)
        noise = b("random_bits", key, bit_width=32, shape=(3,))
        return [total, noise]

    types = [VEC, Type("float32", (4, 3)), Type("key<fry>")]
    exported = xla.export(build(types, body))
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert [a.shape for a in exported.out_avals] == [(3,), (3,)]


def test_every_op_lowers_for_every_platform() -> None:
    samples = {s.name: s for s in reversed([*all_samples(0), *structured_samples(0)])}.values()
    builder, params, results = Builder(), [], []
    for sample in samples:
        operands = [Value(t) for t in sample.types]
        params += operands
        results += builder.emit(sample.op, operands, sample.attrs)
    exported = xla.export(builder.graph(params, results))
    assert [a.shape for a in exported.out_avals] == [r.type.shape for r in results]


# --- errors ---------------------------------------------------------------------------------------


def test_wrong_arguments_are_refused() -> None:
    graph = build([VEC], lambda b, x: [b("neg", x)], "negate")
    with pytest.raises(GraphError, match=r"argument 0 should be f32\[3\], not f32\[2\]"):
        reference.run(graph, np.ones(2, np.float32))
    with pytest.raises(GraphError, match=r"argument 0 should be f32\[3\], not f64\[3\]"):
        reference.run(graph, np.ones(3))
    with pytest.raises(GraphError, match="expected 1 arguments, got 2"):
        reference.run(graph, np.ones(3, np.float32), np.ones(3, np.float32))
    with pytest.raises(GraphError, match="@negate takes 1 arrays"):
        xla.compile(graph)(np.ones(3, np.float32), np.ones(3, np.float32))


def test_an_error_names_the_nodes_around_it() -> None:
    ghost = StateVar("ghost", (F32,))
    builder = Builder(Loc("model.py", 12, 0, "update"))

    def body(b: Builder, x: Value) -> Sequence[Operand]:
        b.loc = Loc("model.py", 34)
        return b.emit("state.read", (), {"state": ghost})

    x = Value(VEC)
    results = for_loop(builder, [], [x], body, length=3)
    with pytest.raises(GraphError, match="@ghost") as caught:
        reference.run(builder.graph([x], results), np.zeros(3, np.float32))
    inner, outer = caught.value.__notes__
    assert inner.startswith("while running state.read()")
    assert inner.endswith("from model.py:34")
    assert outer.startswith("while running for_loop(f32[3])")
    assert outer.endswith("from model.py:12 update")


def test_no_tracer_outlives_the_emission_of_a_graph() -> None:
    @brainir.transform.grad
    def loss(x: Any) -> Any:
        potential = brainir.HiddenState(jnp.zeros(()))

        def step(current: Any) -> Any:
            potential.value = potential.value * 0.5 + current * x
            return brainir.transform.cond(x > 1, lambda: potential.value, lambda: x)

        return brainir.transform.for_loop(step, jnp.arange(3.0)).sum()

    def count(x: Any) -> Any:
        return brainir.transform.while_loop(lambda n: n < x, lambda n: n + 1, 0.0)

    with jax.checking_leaks():
        np.testing.assert_array_equal(brainir.transform.vmap(loss)(jnp.array([2.0])), [3.5])
        np.testing.assert_array_equal(brainir.transform.jit(count)(2.5), 3)
