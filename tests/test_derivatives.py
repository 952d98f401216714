"""Jacobians and Hessians: they agree with JAX, whatever they are nested in, and with States."""

from __future__ import annotations

from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivative_modes import always, close, in_all_ways

import brainir

T: Any = brainir.transform  # some tests pass what its types forbid

W = jax.random.normal(jax.random.key(0), (3, 3))
X = jnp.array([0.3, -0.5, 0.8])
XS = jax.random.normal(jax.random.key(1), (4, 3))


def wave(x: Any) -> Any:
    return jnp.sin(x) * x[0] * x


def tree(x: Any, y: Any) -> Any:
    return {"a": x * y, "b": (jnp.cos(x[0]), x.reshape(3, 1) + y**2)}


def net(w: Any, xs: Any) -> Any:
    h = brainir.HiddenState(jnp.zeros(3))

    def step(x: Any) -> Any:
        h.value = jnp.tanh(w @ h.value + x)
        return h.value

    return T.for_loop(step, xs)


def net_of_jax(w: Any, xs: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        h = jnp.tanh(w @ h + x)
        return h, h

    return jax.lax.scan(step, jnp.zeros(3), xs)[1]


# --- values and structures ------------------------------------------------------------------------


@pytest.mark.sampled(3)
@pytest.mark.parametrize("kind", ["jacrev", "jacfwd", "jacobian", "hessian"])
@pytest.mark.parametrize("argnums", [0, 1, (0, 1), [1], np.int64(1), np.array([1, 0]), range(2)])
def test_blocks_stand_where_jax_has_them(kind: str, argnums: Any) -> None:
    theirs = getattr(jax, {"jacobian": "jacrev"}.get(kind, kind))
    numbers = int(argnums) if np.ndim(argnums) == 0 else tuple(map(int, argnums))
    expected = theirs(tree, argnums=numbers)(X, 2.0)
    close(getattr(T, kind)(tree, argnums=argnums)(X, 2.0), expected)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", ["jacrev", "jacfwd", "hessian"])
def test_loops_with_states_inside_have_the_derivatives_of_a_scan(kind: str) -> None:
    expected = getattr(jax, kind)(net_of_jax, argnums=(0, 1))(W, XS)
    always(getattr(T, kind)(net, argnums=(0, 1)), expected, W, XS)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", ["jacrev", "jacfwd", "hessian"])
def test_holomorphic_functions_have_complex_derivatives(kind: str) -> None:
    z = X.astype(jnp.complex64) + 1j
    expected = getattr(jax, kind)(wave, holomorphic=True)(z)
    always(getattr(T, kind)(wave, holomorphic=True), expected, z)


def test_derivatives_of_nothing_are_empty() -> None:
    always(T.jacrev(lambda x: x[:0] * 2), jnp.zeros((0, 3)), X)
    always(T.jacfwd(lambda x: x.sum() * X), jnp.zeros((3, 0)), X[:0])
    always(T.hessian(lambda x: x.sum() * X), jnp.zeros((3, 0, 0)), X[:0])


def test_mixed_dtypes_keep_those_of_jax() -> None:
    def f(x: Any, y: Any) -> Any:
        return x.astype(jnp.float32) * y

    given = X.astype(jnp.float16), jnp.float32(2.0)
    for kind in ("jacrev", "jacfwd"):
        with jax.numpy_dtype_promotion("standard"):  # which JAX needs for its own basis
            expected = getattr(jax, kind)(f, argnums=(0, 1))(*given)
        found = getattr(T, kind)(f, argnums=(0, 1))(*given)
        assert [a.dtype for a in found] == [a.dtype for a in expected]
        close(found, expected)


def test_double_precision_stays() -> None:
    with jax.enable_x64(True):
        x = jnp.linspace(0.0, 1.0, 3, dtype=jnp.float64)
        found = T.hessian(wave)(x)
        assert found.dtype == jnp.float64
        np.testing.assert_allclose(found, jax.hessian(wave)(x), rtol=1e-12)


def test_integers_have_zeros_where_they_are_allowed() -> None:
    found = T.jacrev(lambda x, n: x * n.astype(x.dtype), argnums=(0, 1), allow_int=True)(
        X, jnp.arange(3)
    )
    close(found, (jnp.diag(jnp.arange(3.0)), jnp.zeros((3, 3), jnp.int32)))


# --- States ---------------------------------------------------------------------------------------


class Model:
    """States of several kinds, and a function that reads and writes them."""

    def __init__(self) -> None:
        self.w = brainir.ParamState(jnp.array([1.0, 2.0]), name="w")
        self.b = brainir.State({"k": jnp.ones(3), "l": [jnp.float32(0.5)]}, name="b")
        self.count = brainir.ShortTermState(jnp.int32(0), name="count")

    def run(self, x: Any) -> Any:
        self.count.value += 1
        w, noise = self.w.value, brainir.random.rand()
        out = self.pure(w, self.b.value, x)
        self.w.value = w * 2 + noise
        return out, noise

    @staticmethod
    def pure(w: Any, b: Any, x: Any) -> Any:
        return {"y": w * x * b["k"].sum(), "z": jnp.sin(w[0]) * b["k"] ** 2 + b["l"][0] * x.sum()}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("mode", ["outside jit", "compiled", "plain"])
@pytest.mark.parametrize("kind", ["jacrev", "jacfwd", "hessian"])
def test_states_are_differentiated_by_as_arguments_are_and_written_once(
    kind: str, mode: str
) -> None:
    m = Model()
    w, b, x = m.w.value, m.b.value, jnp.array([3.0, -1.0])
    brainir.random.seed(3)
    f = getattr(T, kind)(m.run, {"w": m.w, "b": [m.b]}, 0, has_aux=True, return_value=True)
    run = T.jit(f) if mode == "compiled" else f
    if mode == "plain":
        with jax.disable_jit():
            found, value, aux = run(x)
    else:
        found, value, aux = run(x)
    brainir.random.seed(3)
    noise = brainir.random.rand()
    close((value, aux), (m.pure(w, b, x), noise))
    assert m.count.value == 1
    np.testing.assert_allclose(m.w.value, w * 2 + noise, rtol=1e-6)

    def pure(states: Any, x: Any) -> Any:
        return m.pure(states["w"], states["b"][0], x)

    expected = getattr(jax, kind)(pure, argnums=(0, 1))({"w": w, "b": [b]}, x)
    # Of one kind there are pairs in place of each array; ours are one pair of such trees.
    pair = jax.tree.structure({"w": 0, "b": [{"k": 0, "l": [0]}]}), jax.tree.structure(0)
    outs = jax.tree.structure(value)
    leaves = jax.tree.leaves(expected, is_leaf=lambda x: isinstance(x, tuple))
    if kind == "hessian":
        for i, rows in enumerate(found):
            for j, block in enumerate(rows):
                flat = outs.flatten_up_to(block)
                for mine, theirs in zip(flat, (expected[k] for k in ("y", "z")), strict=True):
                    row = theirs[i]
                    inner = pair[i].flatten_up_to(row)
                    close(pair[i].flatten_up_to(mine), [cell[j] for cell in inner])
    else:
        close(found, tuple(outs.unflatten([leaf[j] for leaf in leaves]) for j in range(2)))


@pytest.mark.parametrize("kind", ["grad", "jacrev", "jacfwd", "hessian"])
def test_states_may_stand_in_any_container_and_twice(kind: str) -> None:
    m = Model()

    def loss() -> Any:
        return (m.w.value**3).sum()

    derive = getattr(T, kind)
    once = derive(loss, grad_states=m.w)()
    odd = brainir.nn.FlattedDict({("net", "w"): m.w, ("net", 0): m.w})
    plain = brainir.nn.FlattedDict({("net", "w"): m.w, ("a",): m.w})

    def fill(container: Any, by: Any) -> Any:
        return jax.tree.map(lambda _: by, container, is_leaf=lambda x: isinstance(x, brainir.State))

    containers: Any = (
        ([m.w], list),
        ((m.w, [m.w]), tuple),
        ({"b": {"a": m.w}, "a": m.w}, dict),
        (odd, brainir.nn.FlattedDict),
        (plain, dict),
    )
    for container, kept in containers:
        found = derive(loss, grad_states=container)()
        assert type(found) is kept
        model: Any = container if kept is not dict else {**container}
        close(found, fill(model, fill(model, once) if kind == "hessian" else once))


def test_the_function_runs_once_for_each_trace() -> None:
    calls: list[int] = []

    def f(x: Any) -> Any:
        calls.append(1)
        return jnp.sin(x) * x

    for kind in ("grad", "vector_grad", "fwd_grad", "jacrev", "jacfwd", "hessian"):
        target = (lambda x: f(x).sum()) if "grad" in kind else f
        calls.clear()
        run = T.jit(getattr(T, kind)(target))
        run(X)
        run(X)
        assert len(calls) == 1, kind
    calls.clear()
    T.vjp(f, X)[1](X)
    T.jvp(f, (X,), (X,))
    assert len(calls) == 2


def test_states_without_a_use_are_an_error_or_zeros() -> None:
    m = Model()

    def f(x: Any) -> Any:
        return x * 2

    for kind in ("jacrev", "jacfwd", "hessian"):
        derive = getattr(T, kind)
        for found in in_all_ways(
            lambda d=derive: d(f, {"b": m.b}, check_states=False, return_value=True)(X)[0]
        ):
            blocks = found["b"]["k"]["b"]["k"] if kind == "hessian" else found["b"]["k"]
            assert blocks.shape == ((3, 3, 3) if kind == "hessian" else (3, 3))
            assert not np.any(blocks)
        with pytest.raises(ValueError, match="'b' is among grad_states"):
            derive(f, m.b)(X)


# --- units ----------------------------------------------------------------------------------------


def test_blocks_carry_the_unit_of_the_result_over_that_of_the_source() -> None:
    def f(v: Any, r: Any) -> Any:
        return {"power": v**2 / r, "time": v / (1.0 * u.mV) * u.ms}

    given: Any = (jnp.array([1.0, 2.0]) * u.mV, 2.0 * u.ohm)
    expected = jax.jacrev(lambda v, r: {"power": v**2 / r, "time": v}, argnums=(0, 1))(
        given[0].mantissa, 2.0
    )
    for kind in ("jacrev", "jacfwd"):
        for found in in_all_ways(getattr(T, kind)(f, argnums=(0, 1), unit_aware=True), *given):
            by_voltage, by_resistance = found["power"]
            close(by_voltage.to_decimal(u.mV / u.ohm), expected["power"][0])
            close(by_resistance.to_decimal(u.mV**2 / u.ohm**2), expected["power"][1])
            close(found["time"][0].to_decimal(u.ms / u.mV), expected["time"][0])
            assert not np.any(found["time"][1].mantissa)
        bare = getattr(T, kind)(f, argnums=(0, 1))(*given)
        assert not any(isinstance(x, u.Quantity) for x in jax.tree.leaves(bare, is_leaf=_quantity))
        close(bare, expected)


def test_second_derivatives_carry_the_units_of_both() -> None:
    def f(v: Any, r: Any) -> Any:
        return (v**3 / r).sum()

    given: Any = (jnp.array([1.0, 2.0]) * u.mV, 2.0 * u.ohm)
    expected = jax.hessian(f, argnums=(0, 1))(given[0].mantissa, 2.0)
    units = ((u.mV / u.ohm, u.mV**2 / u.ohm**2), (u.mV**2 / u.ohm**2, u.mV**3 / u.ohm**3))
    run = T.hessian(f, argnums=(0, 1), unit_aware=True, return_value=True)
    for found, value in in_all_ways(run, *given):
        assert value.unit == u.mV**3 / u.ohm
        for i in range(2):
            for j in range(2):
                close(found[i][j].to_decimal(units[i][j]), expected[i][j])
    close(T.hessian(f, argnums=(0, 1))(*given), expected)


def test_units_that_cancel_leave_plain_arrays() -> None:
    found = T.jacrev(lambda v: v * 2, unit_aware=True)(X * u.mV)
    assert isinstance(found, jax.Array)


def test_the_sum_of_numbers_of_several_units_has_no_gradient_with_a_unit() -> None:
    def f(x: Any) -> Any:
        return x * u.mV, x * u.ms

    with pytest.raises(TypeError, match=r"whose sum has none; .*jacrev"):
        T.vector_grad(f, unit_aware=True)(X)


def _quantity(x: Any) -> bool:
    return isinstance(x, u.Quantity)


# --- nesting --------------------------------------------------------------------------------------


def branch(x: Any) -> Any:
    return T.cond(x[0] > 0, lambda: jnp.log(x[0]) * x, lambda: x**2)


def branch_of_jax(x: Any) -> Any:
    safe = jnp.where(x[0] > 0, x[0], 1)
    return jnp.where(x[0] > 0, jnp.log(safe) * x, x**2)


NESTED = {
    "a jacobian in a loop": (
        lambda: T.for_loop(T.jacrev(wave), XS),
        lambda: jax.vmap(jax.jacrev(wave))(XS),
    ),
    "a jacobian in a scan": (
        lambda: T.scan(lambda c, x: (c @ T.jacfwd(wave)(x), c.sum()), jnp.eye(3), XS),
        lambda: jax.lax.scan(lambda c, x: (c @ jax.jacfwd(wave)(x), c.sum()), jnp.eye(3), XS),
    ),
    "a hessian in lanes": (lambda: T.vmap(T.hessian(wave))(XS), None),
    "a hessian in lanes of jax": (lambda: jax.vmap(T.hessian(wave))(XS), None),
    "a jacobian of lanes": (
        lambda: T.jacrev(T.vmap(wave))(XS),
        lambda: jax.jacrev(jax.vmap(wave))(XS),
    ),
    "a jacobian of lanes that branch": (
        lambda: T.jacfwd(T.vmap(branch))(XS),
        lambda: jax.jacfwd(jax.vmap(branch_of_jax))(XS),
    ),
    "a hessian of lanes that branch": (
        lambda: T.hessian(T.vmap(branch))(XS),
        lambda: jax.hessian(jax.vmap(branch_of_jax))(XS),
    ),
    "a gradient of a hessian": (
        lambda: T.grad(lambda x: T.hessian(wave)(x).sum())(X),
        lambda: jax.grad(lambda x: jax.hessian(wave)(x).sum())(X),
    ),
    "a gradient of jax of a jacobian": (
        lambda: jax.grad(lambda x: T.jacfwd(wave)(x).sum())(X),
        lambda: jax.grad(lambda x: jax.jacfwd(wave)(x).sum())(X),
    ),
    "a jacobian of a gradient": (
        lambda: T.jacrev(T.grad(lambda x: wave(x).sum()))(X),
        lambda: jax.jacrev(jax.grad(lambda x: wave(x).sum()))(X),
    ),
    "a hessian of a checkpoint": (
        lambda: T.hessian(T.checkpoint(wave))(X),
        lambda: jax.hessian(wave)(X),
    ),
    "a jacobian in a branch": (
        lambda: T.cond(X[0] > 0, T.jacrev(wave), T.jacfwd(lambda x: x), X),
        lambda: jax.jacrev(wave)(X),
    ),
    "a jacobian of a surrogate": (
        lambda: T.jacrev(lambda x: brainir.surrogate.ReluGrad()(x) * x)(X),
        lambda: jax.jacrev(lambda x: brainir.surrogate.ReluGrad()(x) * x)(X),
    ),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", list(NESTED))
def test_derivatives_nest_in_everything(name: str) -> None:
    ours, theirs = NESTED[name]
    always(ours, jax.vmap(jax.hessian(wave))(XS) if theirs is None else theirs())


def test_lanes_of_a_state_have_jacobians_of_their_own() -> None:
    state = brainir.HiddenState(XS)

    def lane(x: Any) -> Any:
        found = T.jacrev(lambda x: state.value * x[0], grad_states=state, argnums=0)(x)
        state.value = state.value + 1
        return found

    by_state, by_argument = T.vmap(lane, in_states=state)(XS + 1)
    close(by_state, jax.vmap(lambda x: jnp.eye(3) * x[0])(XS + 1))
    close(by_argument, jax.vmap(lambda s: jnp.outer(s, jnp.array([1.0, 0, 0])))(XS))
    close(state.value, XS + 1)


@pytest.mark.parametrize("kind", ["jacrev", "jacfwd", "hessian"])
def test_a_checkpoint_writes_its_state_once(kind: str) -> None:
    m = Model()

    @T.checkpoint
    def step(x: Any) -> Any:
        m.count.value += 1
        m.w.value = jnp.sin(m.w.value) * x
        return m.w.value * x

    w = m.w.value
    (expected,) = jax.tree.leaves(getattr(jax, kind)(lambda w: jnp.sin(w) * 4.0)(w))
    run = getattr(T, kind)(step, grad_states=m.w)

    def again(x: Any) -> Any:
        m.w.value = w
        return run(x)

    always(again, expected, 2.0)
    assert m.count.value == 3
    close(m.w.value, jnp.sin(w) * 2)


def test_a_while_loop_has_columns_but_no_rows() -> None:
    def ours(x: Any) -> Any:
        return T.while_loop(lambda c: c.sum() < 50, lambda c: c * 2 * x, jnp.ones(3))

    def theirs(x: Any) -> Any:
        return jax.lax.while_loop(lambda c: c.sum() < 50, lambda c: c * 2 * x, jnp.ones(3))

    always(T.jacfwd(ours), jax.jacfwd(theirs)(X + 1), X + 1)
    with pytest.raises(ValueError, match="while loop"):
        T.jacrev(ours)(X + 1)


# --- forward gradients ----------------------------------------------------------------------------


def test_forward_gradients_are_slopes_along_directions_times_these() -> None:
    def loss(x: Any) -> Any:
        return jnp.sum(jnp.sin(x) * x)

    expected = jax.grad(loss)(X)
    for clip in (None, 0.1):
        for found in in_all_ways(T.fwd_grad(loss, key=3, drct_der_clip=clip), X):
            # A multiple of the direction: along it, the slope is that of the true gradient.
            key = jax.random.split(jax.random.key(3), 1)[0]
            direction = jax.random.normal(key, (1, 3))[0]
            slope = direction @ expected
            slope = slope if clip is None else jnp.clip(slope, -clip, clip)
            close(found, slope * direction)
    many = T.fwd_grad(loss, tangent_size=20_000, key=1, return_value=True)
    found, value = many(X)
    close(value, loss(X))
    np.testing.assert_allclose(found, expected, atol=0.1)


def test_forward_gradients_draw_new_directions_each_time() -> None:
    state = brainir.ParamState(X)
    run = T.jit(T.fwd_grad(lambda x: (state.value * x).sum(), grad_states=[state], argnums=0))
    brainir.random.seed(1)
    first, second = run(2.0), run(2.0)
    brainir.random.seed(1)
    close(run(2.0), first)
    assert not np.allclose(first[0][0], second[0][0])
    with jax.disable_jit():
        brainir.random.seed(1)
        close(
            T.fwd_grad(lambda x: (state.value * x).sum(), grad_states=[state], argnums=0)(2.0),
            first,
        )


def test_decorators_take_options_first() -> None:
    @T.fwd_grad(tangent_size=2, key=0)
    def one(x: Any) -> Any:
        return (x**2).sum()

    @T.vector_grad(return_value=True)
    def two(x: Any) -> Any:
        return x**2

    assert one(X).shape == (3,)
    close(two(X), (2 * X, X**2))


# --- one class for all ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["grad", "vector_grad", "jacrev", "jacfwd", "hessian"])
def test_the_class_makes_every_kind_by_its_name_or_its_door(kind: str) -> None:
    target = (lambda x: wave(x).sum()) if kind == "grad" else wave
    expected = getattr(T, kind)(target)(X)
    for transform in (kind, getattr(T, kind)):
        found = T.GradientTransform(
            target=target, transform=transform, grad_states=None, argnums=0, return_value=True
        )
        assert isinstance(getattr(T, kind)(target), T.GradientTransform)
        close(found(X)[0], expected)
    assert repr(T.GradientTransform(wave, kind, argnums=0)) == f"{kind}(wave, argnums=0)"


def test_the_class_takes_what_doors_take_by_name() -> None:
    found = T.GradientTransform(
        lambda v: (v**2, 1), jax.jacrev, has_aux=True, transform_params={"unit_aware": True}
    )(X * u.mV)
    close(found[0].to_decimal(u.mV), jnp.diag(2 * X))


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (lambda: T.jacrev(lambda x: x * 1.0)(1), TypeError, "jacrev cannot .* int32.* allow_int"),
        (lambda: T.jacfwd(lambda x: x * 1.0)(1), TypeError, "jacfwd cannot .* int32"),
        (lambda: T.hessian(lambda x: x * 1.0)(1), TypeError, "hessian cannot .* int32"),
        (lambda: T.jacfwd(lambda x: x)(1j), TypeError, "two directions"),
        (lambda: T.jacrev(lambda x: x * 1j)(1.0), TypeError, "complex"),
        (lambda: T.jacrev(lambda x: jnp.int32(1))(1.0), TypeError, "returned int32"),
        (lambda: T.jacfwd(lambda x: jnp.int32(1))(1.0), TypeError, "returned int32"),
        (lambda: T.jacrev(lambda x: x, argnums=-1), ValueError, "argnums of jacrev count from 0"),
        (lambda: T.jacfwd(lambda x: x, argnums=True), ValueError, "integers"),
        (lambda: T.hessian(lambda x: x, argnums=1.5), ValueError, "integers"),
        (lambda: T.hessian(lambda x: x, argnums=(0, 0)), ValueError, "twice"),
        (lambda: T.hessian(lambda x: x, argnums=3)(1.0), ValueError, "hessian asks for argument 3"),
        (lambda: T.jacrev(lambda x: x, grad_states={"a": 1}), TypeError, "not a State"),
        (lambda: T.fwd_grad(lambda x: x)(jnp.ones(2)), ValueError, "fwd_grad needs a scalar"),
        (lambda: T.fwd_grad(lambda x: x)(1), TypeError, "int32"),
        (lambda: T.fwd_grad(lambda x: x, tangent_size=0), ValueError, "tangent_size"),
        (lambda: T.fwd_grad(lambda x: x * u.mV)(1.0), TypeError, "unit mV"),
        (lambda: T.jacrev(lambda x: (x, x, x), has_aux=True)(1.0), ValueError, "3 things"),
        (lambda: T.jacrev(3), TypeError, "callable"),
        (lambda: T.GradientTransform(wave, "slope"), TypeError, "there are grad, vector_grad"),
        (lambda: T.GradientTransform(wave, jnp.sin), TypeError, "there are grad, vector_grad"),
        (
            lambda: T.GradientTransform(wave, transform_params={"key": 1}),
            TypeError,
            "grad has no parameter 'key'; it takes holomorphic",
        ),
    ],
)
def test_bad_derivatives_are_refused_clearly(
    run: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run()
    with jax.disable_jit(), pytest.raises(error, match=message):
        run()


@pytest.mark.parametrize("kind", ["grad", "jacrev", "jacfwd", "hessian"])
def test_a_failure_leaves_states_as_they_were(kind: str) -> None:
    m = Model()

    def broken(x: Any) -> Any:
        m.count.value += 1
        m.w.value = m.w.value * x
        raise KeyError("no")

    def unused(x: Any) -> Any:
        m.count.value += 1
        m.w.value = jnp.ones(2) * x
        return x * 2

    for function, states, error in ((broken, m.w, KeyError), (unused, m.b, ValueError)):
        run = getattr(T, kind)(function, grad_states=states)
        for wrap in (lambda f: f, T.jit):
            with pytest.raises(error):
                wrap(run)(2.0)
        with jax.disable_jit(), pytest.raises(error):
            run(2.0)
    assert m.count.value == 0
    np.testing.assert_array_equal(m.w.value, [1, 2])
