"""`vjp` and `jvp`: products with directions of one's own, now or later."""

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

X = jnp.array([0.3, -0.5, 0.8])
XS = jax.random.normal(jax.random.key(1), (4, 3))


def wave(x: Any, y: Any = 1.0) -> Any:
    return {"a": jnp.sin(x) * x[0] * y, "b": (x * y).sum()}


COTANGENT = {"a": jnp.array([1.0, -2.0, 0.5]), "b": jnp.float32(3.0)}


class Counter:
    """A State that a function reads, changes and counts with."""

    def __init__(self) -> None:
        self.w = brainir.ParamState(jnp.array([1.0, 2.0, 3.0]), name="w")
        self.count = brainir.ShortTermState(jnp.int32(0), name="count")

    def run(self, x: Any) -> Any:
        self.count.value += 1
        out = {"a": jnp.sin(self.w.value) * x, "n": self.count.value}
        self.w.value = self.w.value * 2
        return out


# --- vjp ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argnums", [0, 1, -1, (0, 1), [-1, 0], np.int64(1)])
def test_cotangents_go_back_as_in_jax(argnums: Any) -> None:
    out, pull = jax.vjp(wave, X, jnp.float32(2.0))
    both = pull(COTANGENT)
    chosen = both[argnums] if np.ndim(argnums) == 0 else tuple(both[i] for i in argnums)

    def ours() -> Any:
        found, mine = T.vjp(wave, X, jnp.float32(2.0), argnums=argnums)
        return found, mine(COTANGENT)

    always(ours, (out, chosen))


@pytest.mark.parametrize("mode", ["outside jit", "compiled", "plain"])
def test_states_are_written_once_and_cotangents_are_at_entry(mode: str) -> None:
    m = Counter()
    w = m.w.value

    def run() -> Any:
        out, pull, aux = T.vjp(lambda x: (m.run(x), x), X, grad_states={"w": m.w}, has_aux=True)
        ct = {"a": jnp.ones(3), "n": out["n"]}
        # Called later, twice, after somebody has changed the State.
        m.w.value = m.w.value + 1
        return out, pull(ct), pull(jax.tree.map(lambda c: c * 2, ct)), aux

    if mode == "plain":
        with jax.disable_jit():
            out, one, two, aux = run()
    else:
        out, one, two, aux = T.jit(run)() if mode == "compiled" else run()
    close(out, {"a": jnp.sin(w) * X, "n": jnp.int32(1)})
    expected = {"w": jnp.cos(w) * X}, jnp.sin(w)
    close(one, expected)
    close(two, jax.tree.map(lambda x: x * 2, expected))
    close(aux, X)
    assert m.count.value == 1
    np.testing.assert_array_equal(m.w.value, w * 2 + 1)


def test_states_alone_give_their_structure() -> None:
    m = Counter()
    for given in ((X, None), (X, ())):
        out, pull = T.vjp(m.run, given[0], grad_states=[m.w], argnums=given[1])
        (found,) = pull(out)
        assert found.shape == (3,)
    out, pull = T.vjp(lambda: m.run(X), grad_states=m.w)
    assert pull(out).shape == (3,)


def test_what_is_read_for_nothing_or_only_written_has_no_cotangent() -> None:
    state = brainir.State(jnp.float32(1.0))

    def read(x: Any) -> Any:
        return state.value * 0 + x

    def become(shape: Any) -> Any:
        def write(x: Any) -> Any:
            state.value = jnp.zeros(shape)
            return x

        return write

    def ours(f: Any) -> Any:
        state.value = jnp.float32(1.0)
        _, pull = T.vjp(f, X, grad_states=[state])
        return pull(X)

    for f in (read, become(()), become((3,))):
        for found in (ours(f), T.jit(lambda f=f: T.vjp(f, X, grad_states=[state])[1](X))()):
            close(found[1], X)
            assert not np.any(found[0][0])
        with jax.disable_jit():
            close(ours(f), ([jnp.float32(0.0)], X))


def test_random_numbers_are_drawn_once() -> None:
    brainir.random.seed(5)
    out, pull = T.vjp(lambda x: x * brainir.random.rand(3), X)
    noise = pull(jnp.ones(3))
    close(out, X * noise)
    brainir.random.seed(5)
    close(brainir.random.rand(3), noise)


def net(w: Any, xs: Any) -> Any:
    h = brainir.HiddenState(jnp.zeros(3))

    def step(x: Any) -> Any:
        h.value = jnp.tanh(w * h.value + x)
        return h.value

    return T.for_loop(step, xs)


def net_of_jax(w: Any, xs: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        h = jnp.tanh(w * h + x)
        return h, h

    return jax.lax.scan(step, jnp.zeros(3), xs)[1]


def test_what_takes_cotangents_back_can_be_called_in_other_traces() -> None:
    _, pull = T.vjp(net, X, XS, argnums=(0, 1))
    _, theirs = jax.vjp(net_of_jax, X, XS)
    expected = theirs(XS)
    close(pull(XS), expected)
    close(T.jit(pull)(XS), expected)
    close(jax.jit(pull)(XS), expected)
    many = jnp.stack([XS, XS * 2, XS * 0])
    close(T.vmap(pull)(many), jax.vmap(theirs)(many))
    close(jax.vmap(pull)(many), jax.vmap(theirs)(many))
    close(T.for_loop(pull, many), jax.vmap(theirs)(many))
    with jax.disable_jit():
        close(pull(XS), expected)
    close(T.jacrev(lambda c: pull(c)[0])(XS), jax.jacrev(lambda c: theirs(c)[0])(XS))


def test_it_leaves_and_enters_compiled_functions_as_a_pytree() -> None:
    _, theirs = jax.vjp(net_of_jax, X, XS)
    run = T.jit(lambda x: T.vjp(net, x, XS, argnums=(0, 1)))
    out, pull = run(X)
    close(out, net_of_jax(X, XS))
    close(pull(XS), theirs(XS))
    close(T.jit(lambda pull, c: pull(c))(pull, XS), theirs(XS))
    _, other = run(X * 2)
    close(other(XS), jax.vjp(net_of_jax, X * 2, XS)[1](XS))
    assert repr(pull) == "vjp_fn(net, argnums=(0, 1))"


def test_the_function_does_not_run_again_for_cotangents() -> None:
    graph = T.jit(lambda x, c: T.vjp(net, x, XS)[1](c)).trace(X, XS).graph("expand-grad")
    tanh = [n for n in brainir.ir.walk(graph) if n.op.name == "tanh"]
    assert len(tanh) == 1


NESTED = {
    "a gradient of a product": (
        lambda: T.grad(lambda x: (T.vjp(wave, x)[1](COTANGENT) ** 2).sum())(X),
        lambda: jax.grad(lambda x: (jax.vjp(wave, x)[1](COTANGENT)[0] ** 2).sum())(X),
    ),
    "a jacobian of a product": (
        lambda: T.jacfwd(lambda x: T.vjp(wave, x)[1](COTANGENT))(X),
        lambda: jax.jacfwd(lambda x: jax.vjp(wave, x)[1](COTANGENT)[0])(X),
    ),
    "products in a loop": (
        lambda: T.for_loop(lambda x: T.vjp(wave, x)[1](COTANGENT), XS),
        lambda: jax.vmap(lambda x: jax.vjp(wave, x)[1](COTANGENT)[0])(XS),
    ),
    "products in lanes": (
        lambda: T.vmap(lambda x: T.vjp(wave, x)[1](COTANGENT))(XS),
        lambda: jax.vmap(lambda x: jax.vjp(wave, x)[1](COTANGENT)[0])(XS),
    ),
    "products in lanes of jax": (
        lambda: jax.vmap(lambda x: T.vjp(wave, x)[1](COTANGENT))(XS),
        lambda: jax.vmap(lambda x: jax.vjp(wave, x)[1](COTANGENT)[0])(XS),
    ),
    "products in a branch": (
        lambda: T.cond(X[0] > 0, lambda: T.vjp(wave, X)[1](COTANGENT), lambda: X),
        lambda: jax.vjp(wave, X)[1](COTANGENT)[0],
    ),
    "a rule of a surrogate": (
        lambda: T.grad(lambda x: T.vjp(lambda x: spike(x) * x, x)[1](X).sum())(X),
        lambda: jax.grad(lambda x: jax.vjp(lambda x: spike(x) * x, x)[1](X)[0].sum())(X),
    ),
    "tangents in a loop": (
        lambda: T.for_loop(lambda x: T.jvp(wave, (x,), (X,))[1], XS),
        lambda: jax.vmap(lambda x: jax.jvp(wave, (x,), (X,))[1])(XS),
    ),
    "a jacobian of tangents": (
        lambda: T.jacrev(lambda x: T.jvp(wave, (x,), (x * 2,))[1])(X),
        lambda: jax.jacrev(lambda x: jax.jvp(wave, (x,), (x * 2,))[1])(X),
    ),
    "tangents of tangents": (
        lambda: T.jvp(lambda x: T.jvp(wave, (x,), (X,))[1], (X,), (X * 3,)),
        lambda: jax.jvp(lambda x: jax.jvp(wave, (x,), (X,))[1], (X,), (X * 3,)),
    ),
}

spike = brainir.surrogate.ReluGrad()


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", list(NESTED))
def test_products_nest_in_everything(name: str) -> None:
    ours, theirs = NESTED[name]
    always(ours, theirs())


def test_states_of_lanes_and_steps_have_cotangents_of_their_own() -> None:
    state = brainir.HiddenState(XS)

    def lane(x: Any) -> Any:
        def step(k: Any) -> Any:
            _, pull = T.vjp(lambda x: state.value * x * k, x, grad_states=state)
            state.value = state.value + k
            return pull(jnp.ones(3))

        return T.for_loop(step, jnp.array([1.0, 2.0]))

    by_state, by_argument = T.vmap(lane, in_states=state)(XS)
    close(by_state, jnp.stack([XS, XS * 2], 1))
    close(by_argument, jnp.stack([XS, (XS + 1) * 2], 1))
    close(state.value, XS + 3)


def test_units_may_be_left_out_of_cotangents() -> None:
    out, pull = T.vjp(lambda v: v**2, X * u.mV)
    assert out.unit == u.mV**2
    for cotangent in (jnp.ones(3), jnp.ones(3) * u.mV**2):
        found = pull(cotangent)
        assert found.unit == u.mV  # as the argument looks
        close(found.mantissa, 2 * X)


def test_complex_cotangents_are_those_of_jax() -> None:
    def f(z: Any) -> Any:
        return z**2 * z[0]

    z = X.astype(jnp.complex64) + 1j
    always(lambda: T.vjp(f, z)[1](z - 3j), jax.vjp(f, z)[1](z - 3j)[0])


def test_integers_take_and_give_no_cotangent() -> None:
    def f(x: Any, n: Any) -> Any:
        return x * n.astype(x.dtype), n + 1

    def ours() -> Any:
        out, pull = T.vjp(f, X, jnp.arange(3), argnums=(0, 1))
        return out, pull((jnp.ones(3), out[1]))

    always(ours, (f(X, jnp.arange(3)), (jnp.arange(3.0), jnp.zeros(3, jnp.int32))))


HELD = Counter()


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (lambda: T.vjp(wave, X, argnums=1), ValueError, "argument 1, but there are 1"),
        (lambda: T.vjp(wave, X, argnums=-2), ValueError, "argument -2, but there are 1"),
        (lambda: T.vjp(wave, X, 1.0, argnums=(0, -2)), ValueError, "twice"),
        (lambda: T.vjp(wave, X, argnums=None), ValueError, "nothing to differentiate by"),
        (lambda: T.vjp(lambda: X), ValueError, "nothing to differentiate by"),
        (lambda: T.vjp(wave, X, grad_states=[X]), TypeError, "not a State"),
        (lambda: T.vjp(wave, X, grad_states=HELD.w), ValueError, "'w' is among grad_states"),
        (lambda: T.vjp(3, X), TypeError, "callable"),
        (lambda: T.vjp(lambda x: x, X, has_aux=True), TypeError, "has_aux"),
        (lambda: T.vjp(wave, X)[1](X), ValueError, "structure of its result"),
        (lambda: T.vjp(lambda x: x, X)[1](X[:2]), ValueError, "shape"),
        (lambda: T.vjp(lambda x: x, X)[1](X.astype(jnp.float16)), TypeError, "float16"),
        (lambda: T.jvp(wave, X, (X,)), TypeError, "tuple or a list"),
        (lambda: T.jvp(wave, (X,), X), TypeError, "tuple or a list"),
        (lambda: T.jvp(wave, (X,), (X, X)), ValueError, "1 primals and 2 tangents"),
        (lambda: T.jvp(wave, (), ()), ValueError, "at least one"),
        (lambda: T.jvp(wave, (X,), ((X, X),)), TypeError, "structure of primals"),
        (lambda: T.jvp(wave, (X,), (X[:2],)), ValueError, "shape"),
        (lambda: T.jvp(wave, (X,), (X.astype(jnp.float16),)), TypeError, "float16"),
        (lambda: T.jvp(3, (X,), (X,)), TypeError, "callable"),
    ],
)
def test_bad_products_are_refused_clearly(run: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        run()
    with jax.disable_jit(), pytest.raises(error, match=message):
        run()


def test_a_while_loop_is_refused_when_it_is_to_be_reversed() -> None:
    m = Counter()

    def f(x: Any) -> Any:
        m.count.value += 1
        return T.while_loop(lambda c: c.sum() < 50, lambda c: c * 2 * x, jnp.ones(3))

    with pytest.raises(ValueError, match="while loop"):
        T.vjp(f, X + 1)
    assert m.count.value == 0


# --- jvp ------------------------------------------------------------------------------------------


def test_tangents_are_those_of_jax_and_states_are_constants() -> None:
    m = Counter()
    tangents = (jnp.cos(X), 2.0)
    expected = jax.jvp(wave, (X, 3.0), tangents)
    always(lambda: T.jvp(wave, [X, 3.0], tangents), expected)
    for found in in_all_ways(lambda: T.jvp(lambda x: (m.run(x), x), (X,), (X,), has_aux=True)):
        out, tangent, aux = found
        close(tangent, {"a": out["a"], "n": jnp.int32(0)})
        close(aux, X)
    assert m.count.value == 3
    np.testing.assert_array_equal(m.w.value, np.array([1, 2, 3]) * 8)


def test_tangents_keep_units_and_go_through_while_loops() -> None:
    out, tangent = T.jvp(lambda v: v**2, (X * u.mV,), (jnp.ones(3) * u.mV,))
    assert (out.unit, tangent.unit) == (u.mV**2, u.mV**2)
    close(tangent.mantissa, 2 * X)

    def f(loop: Any) -> Any:
        return lambda x: loop(lambda c: c.sum() < 50, lambda c: c * 2 * x, jnp.ones(3))

    expected = jax.jvp(f(jax.lax.while_loop), (X + 1,), (X,))
    always(lambda: T.jvp(f(T.while_loop), (X + 1,), (X,)), expected)


def test_integers_and_keys_stand_still() -> None:
    def f(x: Any, n: Any, key: Any) -> Any:
        return x * n.astype(x.dtype) + jax.random.uniform(key, (3,))

    given = X, jnp.arange(3), jax.random.key(0)
    for found in in_all_ways(lambda: T.jvp(f, given, (X, jnp.ones(3), given[2]))):
        close(found, (f(*given), X * jnp.arange(3.0)))
