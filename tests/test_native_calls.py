"""Kernels as a part of what JAX compiles: called where that is right, left to XLA elsewhere."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.core
import jax.export
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest
from jax.interpreters import mlir

import brainir
from brainir.backends import native, xla
from brainir.backends.native import cache
from brainir.ir import walk

CALL = "custom_call @brainir_"
WITHOUT = brainir.Options(leave_out=["outline-kernels"])

XS = jnp.linspace(-1.0, 2.0, 40).reshape(20, 2)


def potentials(xs: Any) -> Any:
    """A loop with a carry, slices and stacks."""

    def step(v: Any, x: Any) -> Any:
        v = 0.9 * v + jnp.tanh(x)
        return v, (v, v > 0.5)

    return brainir.transform.scan(step, jnp.zeros(2), xs)[1]


def close(found: Any, wanted: Any) -> None:
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-6, atol=1e-6)


def test_a_compiled_loop_is_a_call_of_machine_code() -> None:
    run = brainir.transform.jit(potentials)
    assert CALL in run.lower(XS).as_text()
    close(run(XS), brainir.transform.jit(potentials, options=WITHOUT)(XS))


@pytest.mark.sampled(3)
@pytest.mark.parametrize("divisor", [5.0, -3.0, 0.1, 1e30, 3e38, 0.0, jnp.inf, jnp.nan])
@pytest.mark.parametrize("turned", [False, True])
def test_quotients_by_numbers_are_those_of_xla(divisor: float, turned: bool) -> None:
    xs = jnp.sin(jnp.arange(2000.0)).at[:3].set(jnp.array([0.0, jnp.inf, jnp.nan]))

    def divide(xs: Any) -> Any:
        return brainir.transform.for_loop(lambda x: divisor / x if turned else x / divisor, xs)

    run, plain = brainir.transform.jit(divide), brainir.transform.jit(divide, options=WITHOUT)
    assert any(node.op.name == "kernel" for node in walk(run.trace(xs).graph()))
    np.testing.assert_array_equal(run(xs), plain(xs))


def test_quotients_by_the_smallest_numbers_are_finite() -> None:
    xs, smallest = jnp.sin(jnp.arange(2000.0)), 1e-38  # of which XLA makes infinities
    run = brainir.transform.jit(lambda: brainir.transform.for_loop(lambda x: x / smallest, xs))
    np.testing.assert_allclose(run(), np.asarray(xs) / np.float32(smallest), rtol=3e-7)


def test_one_kernel_may_be_called_from_several_places() -> None:
    def twice(xs: Any) -> Any:
        return potentials(xs)[0] + potentials(2 * xs)[0]

    run = brainir.transform.jit(twice)
    text = run.lower(XS).as_text()
    assert len({word for word in text.split() if word.startswith("@brainir_")}) == 1
    close(run(XS), brainir.transform.jit(twice, options=WITHOUT)(XS))


TRANSFORMED: dict[str, Callable[[Any], Callable[[Any], Any]]] = {
    "jit": jax.jit,
    "vmap": lambda f: lambda xs: jax.vmap(f)(jnp.stack([xs, 2 * xs])),
    "grad": lambda f: jax.grad(lambda xs: f(xs)[0].sum()),
    "jit of hessian": lambda f: jax.jit(jax.hessian(lambda xs: f(xs)[0].sum())),
    "grad of scan": lambda f: jax.grad(
        lambda xs: jax.lax.scan(lambda c, _: (c + f(xs)[0].sum(), None), 0.0, None, 3)[0]
    ),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_inside_of_what_somebody_else_does(name: str) -> None:
    transform = TRANSFORMED[name]
    ours, plain = (
        brainir.transform.jit(potentials),
        brainir.transform.jit(potentials, options=WITHOUT),
    )
    close(transform(ours)(XS), transform(plain)(XS))


def test_gradients_are_kernels_in_both_directions() -> None:
    weight = brainir.ParamState(jnp.float32(0.7))

    def loss(xs: Any) -> Any:
        def step(v: Any, x: Any) -> Any:
            v = jnp.tanh(weight.value * v + x)
            return v, brainir.surrogate.relu_grad(v - 0.5)

        return brainir.transform.scan(step, jnp.zeros(2), xs)[1].sum()

    gradient = brainir.transform.grad(loss, weight)
    run = brainir.transform.jit(gradient)
    names = [node.op.name for node in run.trace(XS).graph().nodes]
    assert names.count("kernel") == 2
    assert "for_loop" not in names
    close(run(XS), brainir.transform.jit(gradient, options=WITHOUT)(XS))


def test_what_is_exported_holds_no_machine_code(tmp_path: Path) -> None:
    run = brainir.transform.jit(potentials)
    graph = run.trace(XS).graph()
    assert any(node.op.name == "kernel" for node in walk(graph))
    assert "brainir_" not in xla.export(graph).mlir_module()
    exported = jax.export.export(jax.jit(run))(XS)
    assert "brainir_" not in exported.mlir_module()
    close(exported.call(XS), run(XS))
    brainir.save(run, tmp_path / "model", XS)
    close(brainir.load(tmp_path / "model")(XS), run(XS))


def test_a_loop_that_cannot_be_compiled_runs_with_xla(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise RuntimeError("out of registers")

    monkeypatch.setattr(cache, "lower", refuse)
    run = brainir.transform.jit(lambda xs: potentials(xs + 0.25))
    expected = brainir.transform.jit(lambda xs: potentials(xs + 0.25), options=WITHOUT)(XS)
    monkeypatch.setattr(cache, "KERNELS", cache.Kernels())
    monkeypatch.setattr("brainir.backends.native.call.KERNELS", cache.KERNELS)
    assert CALL not in run.lower(XS).as_text()
    close(run(XS), expected)
    assert "out of registers" in "".join(cache.KERNELS.refused.values())


def test_without_llvmlite_loops_stay_with_xla(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "AVAILABLE", False)
    run = brainir.transform.jit(lambda xs: potentials(xs - 0.25))
    assert not any(node.op.name == "kernel" for node in walk(run.trace(XS).graph()))
    assert CALL not in run.lower(XS).as_text()


def test_machine_code_is_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "folder", lambda: tmp_path / "kept")
    graph = brainir.transform.jit(potentials).trace(XS).graph()
    (region,) = [n.regions[0] for n in walk(graph) if n.op.name == "kernel"]
    made = cache.object_code_of("kernel", native.code(region))
    assert (tmp_path / "kept" / "kernel.o").read_bytes() == made

    def refuse(text: str) -> bytes:
        raise AssertionError("it is there already")

    monkeypatch.setattr(cache.compile, "object_code", refuse)
    assert cache.object_code_of("kernel", native.code(region)) == made


def test_a_big_array_that_only_a_step_uses_needs_memory_of_its_own() -> None:
    def total(xs: Any) -> Any:
        def step(c: Any, x: Any) -> Any:
            wide = jnp.sin(c[:, None] + jnp.arange(64.0)) * x
            return c + wide[:, ::-1].sum(1) + wide[0, 3], wide.max()

        return brainir.transform.scan(step, jnp.zeros(64), xs)

    run = brainir.transform.jit(total)
    xs = jnp.linspace(0, 0.01, 5)
    close(run(xs), brainir.transform.jit(total, options=WITHOUT)(xs))


def test_random_numbers_are_drawn_in_kernels() -> None:
    def walk_about(key: Any, xs: Any) -> Any:
        def step(carry: Any, x: Any) -> Any:
            key, v = carry
            key, one, other = jax.random.split(key, 3)
            many = jax.random.split(other, (3, 2))
            v = jnp.where(jax.random.bernoulli(one, 0.3, (2,)), v, x)
            key = jax.lax.cond(v[0] > 0.5, lambda: key, lambda: jax.random.fold_in(key, 7))
            bits = jax.random.bits(many[1, 0], (2,), "uint16"), jax.random.bits(one, (), "uint8")
            v += jax.random.uniform(many[2, 0], (2,)) + jax.random.uniform(other, (9, 2))[4]
            return (key, v), (v, key, bits, jax.random.key_data(many))

        key = jax.random.wrap_key_data(key)
        (key, v), rows = brainir.transform.scan(step, (key, jnp.zeros(2)), xs)
        return jax.random.key_data(key), v, rows[0], jax.random.key_data(rows[1]), rows[2:]

    run = brainir.transform.jit(walk_about)
    assert CALL in run.lower(jax.random.key_data(jax.random.key(5)), XS).as_text()
    for seed in range(3):
        key = jax.random.key_data(jax.random.key(seed))
        expected = brainir.transform.jit(walk_about, options=WITHOUT)(key, XS)
        jax.tree.map(np.testing.assert_array_equal, run(key, XS), expected)


def test_a_state_of_random_keys_goes_through_kernels() -> None:
    def noisy(options: Any) -> Any:
        v = brainir.State(jnp.zeros(4))

        def step(x: Any) -> Any:
            v.value = 0.5 * v.value + x[0] * brainir.random.uniform(size=4)
            return v.value, brainir.random.bernoulli(0.2, size=3)

        brainir.random.seed(4)
        run = brainir.transform.jit(
            lambda xs: brainir.transform.for_loop(step, xs), options=options
        )
        return run(XS), run(XS), brainir.random.split_key()

    found, expected = noisy(None), noisy(WITHOUT)
    close(found[:2], expected[:2])
    assert (jax.random.key_data(found[2]) == jax.random.key_data(expected[2])).all()


def primitive(name: str, meaning: Callable[..., Any], impl: Callable[..., Any]) -> Any:
    """Return a primitive as a library makes it: with an implementation and a lowering."""
    new = jax.extend.core.Primitive(name)
    new.def_impl(impl)
    new.def_abstract_eval(lambda x, **_: jax.core.ShapedArray(x.shape, x.dtype))
    mlir.register_lowering(new, mlir.lower_fun(meaning, multiple_results=False))
    return new


def twice(x: Any, times: int) -> Any:
    return x * times


@pytest.mark.parametrize("in_jax", [True, False])
def test_primitives_of_others_that_are_made_of_what_jax_has(in_jax: bool) -> None:
    def by_numpy(x: Any, times: int) -> Any:
        return jnp.asarray(np.asarray(x) * times)

    times = primitive(f"times_{in_jax}", twice, twice if in_jax else by_numpy)

    def total(xs: Any) -> Any:
        step = lambda v, x: (v + times.bind(x, times=3), None)  # noqa: E731
        return brainir.transform.scan(step, jnp.zeros(2), xs)[0]

    run = brainir.transform.jit(total)
    assert (CALL in run.lower(XS).as_text()) is in_jax
    close(run(XS), 3 * XS.sum(0))


MASK = jnp.array([1.0, 0.0] * 10)
FORMS: dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    "converted": (lambda v: (v >= 1).astype(jnp.float32), lambda s, w: s @ w),
    "surrogate": (lambda v: brainir.surrogate.ReluGrad()(v - 1), lambda s, w: s @ w),
    "chosen": (lambda v: jnp.where(v >= 1, 1.0, 0.0), lambda s, w: s @ w),
    "chosen by the other test": (lambda v: jnp.where(v < 1, 0.0, 1.0), lambda s, w: s @ w),
    "heaviside": (lambda v: jnp.heaviside(v - 1, 1.0), lambda s, w: s @ w),
    "masked": (lambda v: (v >= 1).astype(jnp.float32), lambda s, w: (s * MASK) @ w),
    "in parts": (
        lambda v: (v >= 1).astype(jnp.float32),
        lambda s, w: s[:12] @ w[:12] + s[12:] @ w[12:],
    ),
    "joined": (
        lambda v: (v >= 1).astype(jnp.float32),
        lambda s, w: jnp.concatenate([s, s[::-1]]) @ jnp.concatenate([w, w]),
    ),
    "from the left": (lambda v: (v >= 1).astype(jnp.float32), lambda s, w: w @ s),
    "from the left, turned": (lambda v: (v >= 1).astype(jnp.float32), lambda s, w: w.T @ s),
    "einsum": (lambda v: jnp.where(v >= 1, 1.0, 0.0), lambda s, w: jnp.einsum("i,ij->j", s, w)),
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("form", FORMS)
def test_spikes_are_known_however_they_are_written(form: str) -> None:
    spike, send = FORMS[form]

    def total(weights: Any, xs: Any) -> Any:
        def step(carry: Any, x: Any) -> Any:
            v, s = carry
            v = 0.9 * v * (1 - s) + send(s, weights) + x
            return (v, spike(v)), (v, spike(v))

        return brainir.transform.scan(step, (jnp.zeros(20), jnp.zeros(20)), xs)[1]

    run = brainir.transform.jit(total)
    xs = jnp.linspace(0.0, 1.5, 600).reshape(30, 20)
    weights = jnp.cos(jnp.arange(400.0)).reshape(20, 20)
    expected = brainir.transform.jit(total, options=WITHOUT)(weights, xs)
    assert CALL in run.lower(weights, xs).as_text()
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4), run(weights, xs), expected)
    # Rows of zeros are not looked at: infinity times zero would be nan.
    endless = jnp.full((20, 20), jnp.inf)
    assert not jnp.isnan(run(endless, 0.001 * xs)[0]).any()
