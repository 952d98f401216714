"""The family of mappings: States chosen by filters, policies, States that lanes create."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir

transform: Any = brainir.transform
XS = jnp.arange(3.0)
WAYS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "as it is": (contextlib.nullcontext, lambda f: f),
    "compiled": (contextlib.nullcontext, transform.jit),
    "without jit": (jax.disable_jit, lambda f: f),
}


@pytest.fixture(params=WAYS)
def way(request: Any) -> Any:
    """How a mapping is run: outside of `jit`, inside, and where that is disabled."""
    context, wrap = WAYS[request.param]
    with context():
        yield wrap


def adding(state: Any) -> Callable[[Any], Any]:
    def add(x: Any) -> Any:
        state.value = state.value + x
        return state.value

    return add


def keys() -> Any:
    return jax.random.key_data(brainir.random.get_key())


# --- States chosen by filters ---------------------------------------------------------------------


def test_filters_choose_the_states_that_have_lanes(way: Any) -> None:
    for chosen in (
        brainir.ShortTermState,
        "mine",
        {0: brainir.ShortTermState},
        lambda path, state: True,
        [brainir.ParamState, "mine"],
        ...,
    ):
        state = brainir.ShortTermState(jnp.zeros((3, 2)), tag="mine")
        out = way(transform.vmap2(adding(state), state_in_axes=chosen))(XS)
        np.testing.assert_array_equal(out, [[0, 0], [1, 1], [2, 2]])
        np.testing.assert_array_equal(state.value, out)


def test_states_may_be_named_beside_filters(way: Any) -> None:
    state, other = brainir.State(jnp.zeros((2, 3))), brainir.HiddenState(jnp.ones(3))

    def step(x: Any) -> None:
        state.value = state.value + x
        other.value = other.value * x

    axes = {1: state, 0: [brainir.HiddenState]}
    way(transform.vmap2(step, state_in_axes=axes, state_out_axes=axes))(XS)
    np.testing.assert_array_equal(state.value, [[0, 1, 2]] * 2)
    np.testing.assert_array_equal(other.value, [0, 1, 2])


def test_a_shared_state_is_read_whole_and_refuses_lanes() -> None:
    weights, state = brainir.ParamState(jnp.ones(3)), brainir.ShortTermState(jnp.zeros(3))

    def step(x: Any) -> None:
        state.value = state.value + x + weights.value.sum()

    axes = {0: brainir.ShortTermState, None: brainir.ParamState}
    transform.vmap2(step, state_in_axes=axes)(XS)
    np.testing.assert_array_equal(state.value, [3, 4, 5])
    with pytest.raises(brainir.BatchAxisError, match="lane to lane"):
        transform.vmap2(adding(weights), state_out_axes={None: brainir.ParamState})(XS)
    np.testing.assert_array_equal(weights.value, np.ones(3))


def test_axes_that_contradict_each_other_are_refused() -> None:
    state = brainir.ShortTermState(jnp.zeros((3, 3)))
    mapped = transform.vmap2(adding(state), state_in_axes={1: ...}, state_out_axes={0: ...})
    with pytest.raises(brainir.BatchAxisError, match="axis 1 in state_in_axes but at axis 0"):
        mapped(XS)
    np.testing.assert_array_equal(state.value, np.zeros((3, 3)))


@pytest.mark.parametrize("shape", [(2,), ()])
def test_a_chosen_state_that_does_not_fit_the_lanes_is_refused(shape: tuple[int, ...]) -> None:
    state = brainir.ShortTermState(jnp.zeros(shape))
    with pytest.raises(ValueError, match=r"disagree|only 0 axes"):
        transform.vmap2(adding(state), state_in_axes=...)(XS)
    assert state.value.shape == shape


def test_a_state_tells_the_number_of_lanes_where_no_argument_does(way: Any) -> None:
    state = brainir.ShortTermState(jnp.arange(3.0))

    def step() -> Any:
        state.value = state.value * 2
        return state.value

    np.testing.assert_array_equal(way(transform.vmap2(step, state_in_axes=...))(), [0, 2, 4])
    with pytest.raises(ValueError, match="axis_size"):
        transform.vmap2(lambda: 1.0)()


def test_units_and_containers_have_lanes_too(way: Any) -> None:
    voltage = brainir.ShortTermState(jnp.zeros(3) * u.mV)
    box = brainir.ShortTermState({"a": jnp.zeros((3, 2)), "b": [jnp.ones(3)]})

    def step(x: Any) -> Any:
        voltage.value = voltage.value + x * u.mV
        box.value["b"][0] = box.value["b"][0] + x
        return voltage.value

    out = way(transform.vmap2(step, state_in_axes=brainir.ShortTermState))(XS)
    assert u.get_unit(out) == u.mV
    np.testing.assert_array_equal((voltage.value / u.mV), XS)
    np.testing.assert_array_equal(box.value["b"][0], [1, 2, 3])


# --- lanes that leave what nobody declared --------------------------------------------------------


@pytest.mark.parametrize(("policy", "warned"), [("auto", True), ("warn", True), ("ignore", False)])
def test_an_undeclared_state_gains_an_axis(way: Any, policy: str, warned: bool) -> None:
    state = brainir.ShortTermState(jnp.zeros(2))
    mapped = transform.vmap2(adding(state), unexpected_out_state_mapping=policy)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        way(mapped)(XS)
    np.testing.assert_array_equal(state.value, [[0, 0], [1, 1], [2, 2]])
    assert len([w for w in caught if "axis of lanes" in str(w.message)]) == warned


def test_what_already_has_a_row_for_each_lane_keeps_its_shape(way: Any) -> None:
    state, weights = brainir.ShortTermState(jnp.zeros((3, 2))), brainir.ParamState(jnp.ones(3))

    def step(x: Any) -> Any:
        state.value = state.value + x * weights.value.sum()
        return state.value

    mapped = way(transform.vmap2(step))
    for count in (1, 2):
        out = mapped(XS)
        np.testing.assert_array_equal(out, jnp.outer(XS, jnp.full(2, 3.0 * count)))
        np.testing.assert_array_equal(state.value, out)


def test_a_state_is_warned_of_once() -> None:
    state = brainir.ShortTermState(jnp.zeros(()))
    mapped = transform.vmap2(adding(state))
    with pytest.warns(UserWarning, match="axis of lanes"):
        mapped(XS)
    state.value = jnp.zeros(())
    mapped(XS)  # a second warning would fail this test


def test_only_what_differs_between_lanes_gets_an_axis(way: Any) -> None:
    count, last = brainir.ShortTermState(jnp.float32(1)), brainir.ShortTermState(jnp.zeros(()))

    def step(x: Any) -> None:
        count.value = count.value * 2
        transform.cond(x > 1, lambda: setattr(last, "value", x), lambda: None)

    mapped = transform.vmap2(step, unexpected_out_state_mapping="ignore")
    way(mapped)(XS)
    assert count.value == 2
    np.testing.assert_array_equal(last.value, [0, 0, 2])


def test_to_raise_is_to_refuse_and_change_nothing(way: Any) -> None:
    state = brainir.ShortTermState(jnp.zeros(2))
    brainir.random.seed(1)
    before = keys()

    def step(x: Any) -> None:
        state.value = state.value + x + brainir.random.rand()

    with pytest.raises(brainir.BatchAxisError):
        way(transform.vmap2(step, unexpected_out_state_mapping="raise"))(XS)
    np.testing.assert_array_equal(state.value, np.zeros(2))
    np.testing.assert_array_equal(keys(), before)
    with pytest.raises(ValueError, match="'auto'"):
        transform.vmap2(step, unexpected_out_state_mapping="perhaps")


def test_a_state_that_is_drawn_gets_lanes() -> None:
    state = brainir.ShortTermState(jnp.zeros(()))
    mapped = transform.vmap2(
        lambda: setattr(state, "value", brainir.random.rand()),
        axis_size=3,
        unexpected_out_state_mapping="ignore",
    )
    brainir.random.seed(2)
    mapped()
    brainir.random.seed(2)
    drawn = transform.vmap(lambda: brainir.random.rand(), axis_size=3)()
    np.testing.assert_array_equal(state.value, drawn)


# --- arguments ------------------------------------------------------------------------------------


def test_keyword_arguments_have_their_lanes_in_front(way: Any) -> None:
    mapped = transform.vmap2(lambda x, *, by, plus=0.0: x * by["b"] + plus)
    np.testing.assert_array_equal(way(mapped)(XS, by={"b": XS}), XS**2)
    np.testing.assert_array_equal(way(mapped)(XS, by={"b": XS}, plus=XS), XS**2 + XS)


def test_static_arguments_are_python_values() -> None:
    f = lambda x, n, y: [x, x * y][n]  # noqa: E731
    for options in (
        {"static_argnums": 1},
        {"static_argnums": (-2,)},
        {"static_argnums": 1, "in_axes": (0, None, 0)},
        {"static_argnums": np.int64(1), "in_axes": (0, 0)},
    ):
        mapped = transform.StatefulMapping(f, **options)
        np.testing.assert_array_equal(mapped(XS, 1, XS), XS**2)
        np.testing.assert_array_equal(mapped(XS, 0, XS), XS)
    named = transform.StatefulMapping(lambda x, how: x * len(how), static_argnames="how")
    np.testing.assert_array_equal(named(XS, how="ab"), XS * 2)
    with pytest.raises(ValueError, match="argument 5"):
        transform.StatefulMapping(f, static_argnums=5)(XS, 1, XS)


def test_a_mapping_is_called_like_its_function() -> None:
    def step(x: Any) -> Any:
        """What it does."""
        return x

    mapped = transform.vmap2(step)
    assert isinstance(mapped, transform.StatefulMapping)
    assert (mapped.__name__, mapped.__doc__) == ("step", "What it does.")
    assert repr(mapped) == "StatefulMapping(step)"
    assert step(3) == 3  # and is left alone
    decorated = transform.vmap2(in_axes=1)(lambda x: x.sum())
    np.testing.assert_array_equal(decorated(jnp.ones((2, 3))), [2, 2, 2])


@pytest.mark.parametrize("name", ["vmap", "vmap2", "vmap_new_states"])
def test_of_no_lanes_there_is_nothing(way: Any, name: str) -> None:
    state = brainir.ShortTermState(jnp.zeros((0, 2)))
    mapped = getattr(transform, name)(lambda x: (x.sum(), brainir.random.rand()))
    total, drawn = way(mapped)(jnp.zeros((0, 3)))
    assert (total.shape, drawn.shape) == ((0,), (0,))
    way(transform.vmap2(adding(state), state_in_axes=...))(jnp.zeros(0))
    assert state.value.shape == (0, 2)


# --- States that lanes create ---------------------------------------------------------------------


def making(made: list[Any], **options: Any) -> Callable[[Any], Any]:
    def make(x: Any) -> Any:
        made[:] = [
            brainir.ShortTermState(x * jnp.ones(2)),
            brainir.HiddenState(brainir.random.rand(2) + x),
            brainir.NonBatchState(jnp.ones(2)),
            brainir.State(jnp.zeros(()), tag="INIT_NO_BATCHING"),
        ]
        made[0].value = made[0].value + 1
        return x * 2

    return make


def test_states_that_lanes_create_hold_a_value_for_each(way: Any) -> None:
    made: list[Any] = []
    brainir.random.seed(3)
    out = transform.vmap_new_states(making(made), state_tag="new")(XS)
    np.testing.assert_array_equal(out, XS * 2)
    first, drawn, shared, tagged = made
    np.testing.assert_array_equal(first.value, [[1, 1], [2, 2], [3, 3]])
    assert (shared.value.shape, tagged.value.shape) == ((2,), ())
    assert all("new" in state.tag for state in made)
    left = keys()
    brainir.random.seed(3)
    expected = transform.vmap(lambda x: brainir.random.rand(2) + x)(XS)
    np.testing.assert_array_equal(drawn.value, expected)
    np.testing.assert_array_equal(keys(), left)


def test_states_that_lanes_create_are_states_like_others() -> None:
    made: list[Any] = []
    transform.vmap_new_states(making(made))(XS)
    first = made[0]
    transform.vmap(adding(first), in_states=first)(XS)
    np.testing.assert_array_equal(first.value, [[1, 1], [3, 3], [5, 5]])
    transform.jit(lambda: setattr(first, "value", first.value * 2))()
    np.testing.assert_array_equal(first.value, [[2, 2], [6, 6], [10, 10]])
    first.value = jnp.zeros(1)
    with pytest.raises(brainir.TraceContextError):
        jax.jit(lambda x: setattr(first, "value", x))(1.0)


def test_states_are_made_in_lanes_inside_other_transformations() -> None:
    def run(scale: Any) -> Any:
        made: list[Any] = []
        transform.vmap_new_states(making(made))(XS * scale)
        first = made[0]

        def step() -> Any:
            transform.vmap(adding(first), in_states=first)(XS)
            return first.value.sum()

        return transform.for_loop(step, length=2)[-1] + first.value[1, 0]

    expected = 2 * (3 + 3 * 2.0 + 2 * 3) + (2.0 + 1 + 2)
    assert run(2.0) == transform.jit(run)(2.0) == expected
    assert transform.grad(run)(2.0) == 2 * 3 + 1
    np.testing.assert_array_equal(transform.vmap(run)(jnp.array([2.0, 2.0])), [expected, expected])
    np.testing.assert_array_equal(
        transform.for_loop(run, jnp.array([2.0, 0.0])), [expected, expected - 14]
    )


def test_lanes_of_lanes_create_states_with_two_axes() -> None:
    made: list[Any] = []

    def outer(row: Any) -> None:
        transform.vmap_new_states(lambda x: made.append(brainir.State(x)))(row)

    xs = jnp.arange(6.0).reshape(2, 3)
    transform.vmap_new_states(outer)(xs)
    np.testing.assert_array_equal(made[0].value, xs)


def test_what_is_excluded_stays_inside() -> None:
    made: list[Any] = []
    for excluded in (
        brainir.HiddenState,
        [brainir.HiddenState],
        lambda path, s: s.kind == "hidden",
    ):
        transform.vmap_new_states(making(made), state_to_exclude=excluded)(XS)
        assert made[0].value.shape == (3, 2)
        with pytest.raises(brainir.TraceContextError):
            _ = made[1].value


def test_a_state_for_all_lanes_must_not_differ_and_nothing_is_drawn() -> None:
    brainir.random.seed(4)
    before = keys()

    def make() -> None:
        brainir.NonBatchState(brainir.random.rand()).add_tag("kept")

    made: list[Any] = []
    with pytest.raises(ValueError, match="differs from lane to lane"):
        transform.vmap_new_states(
            lambda: made.append(brainir.NonBatchState(brainir.random.rand())), axis_size=3
        )()
    np.testing.assert_array_equal(keys(), before)
    transform.vmap_new_states(make, axis_size=3)()  # nobody keeps it, so nobody minds


def test_lanes_that_create_states_leave_others_alone() -> None:
    state = brainir.State(jnp.zeros(3))
    with pytest.raises(brainir.BatchAxisError):
        transform.vmap_new_states(adding(state))(XS)
    np.testing.assert_array_equal(state.value, np.zeros(3))
    for wrong in ({"in_states": state}, {"out_states": state}, {"axis_size": 0}):
        with pytest.raises(ValueError, match=r"created inside|positive"):
            transform.vmap_new_states(lambda: None, **wrong)
    with pytest.raises(NotImplementedError, match="keyword"):
        transform.vmap_new_states(lambda x: x)(x=XS)


def test_new_states_are_caught_once() -> None:
    made: list[Any] = []
    with brainir.catch_new_states() as caught:
        transform.vmap_new_states(making(made))(XS)
    assert caught.states == made
    state = brainir.ShortTermState(jnp.zeros(3))

    def step(x: Any) -> None:  # traced twice, since what it leaves is not declared
        state.value = state.value + brainir.State(x).value

    with brainir.catch_new_states() as caught:
        transform.vmap2(step)(XS)
    assert len(caught) == 1


def test_the_user_is_called_once_where_everything_is_said() -> None:
    calls: list[int] = []
    state = brainir.ShortTermState(jnp.zeros(3))

    def step(x: Any) -> Any:
        calls.append(1)
        state.value = state.value + x + brainir.random.rand()
        return brainir.State(x).value

    transform.vmap(step, in_states=state)(XS)
    transform.vmap2(step, state_in_axes=...)(XS)
    transform.vmap2(step, state_in_axes={0: state})(XS)
    assert len(calls) == 3
    state.value = jnp.zeros(())
    transform.vmap2(step, unexpected_out_state_mapping="ignore")(XS)
    transform.vmap_new_states(lambda x: calls.append(1))(XS)
    assert len(calls) == 5
    assert not transform.in_new_state_probe()


# --- nesting --------------------------------------------------------------------------------------


def test_mappings_nest_in_every_order(way: Any) -> None:
    xs = jnp.arange(6.0).reshape(2, 3)
    inner_of = {
        "vmap": lambda f, s: transform.vmap(f, in_states=s),
        "vmap2": lambda f, s: transform.vmap2(f, state_in_axes=brainir.ShortTermState),
        "auto": lambda f, s: transform.vmap2(f),
    }
    for inner in inner_of.values():
        for outer in (inner_of["vmap"], inner_of["vmap2"]):
            state = brainir.ShortTermState(xs * 10)
            run = outer(lambda row, i=inner, s=state: i(adding(s), s)(row), state)
            np.testing.assert_array_equal(way(run)(xs), xs * 11)
            np.testing.assert_array_equal(state.value, xs * 11)


def test_plain_lanes_see_what_captured_lanes_in_them_do() -> None:
    state = brainir.ShortTermState(jnp.zeros((2, 3)))
    other = brainir.ShortTermState(jnp.zeros(2))

    def row(xs: Any) -> Any:
        other.value = other.value + 1
        out = transform.vmap2(adding(state), state_in_axes={0: state})(xs)
        return out + other.value + brainir.random.rand()

    found = []
    for context in (contextlib.nullcontext, jax.disable_jit):
        state.value, other.value = jnp.ones((2, 3)), jnp.zeros(2)
        brainir.random.seed(5)
        with context():
            out = transform.vmap(row, in_states=[state, other])(jnp.arange(6.0).reshape(2, 3))
        found.append([out, state.value, other.value, keys()])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), *found)
    np.testing.assert_array_equal(state.value, 1 + np.arange(6.0).reshape(2, 3))


def test_loops_carry_what_mappings_leave(way: Any) -> None:
    state = brainir.ShortTermState(jnp.zeros(3))
    mapped = transform.vmap2(adding(state))
    out = way(lambda xs: transform.for_loop(lambda x: mapped(x), xs))(jnp.ones((4, 3)))
    np.testing.assert_array_equal(out, np.outer([1, 2, 3, 4], np.ones(3)))
    np.testing.assert_array_equal(state.value, [4, 4, 4])


def test_gradients_go_through_mappings() -> None:
    weights, state = brainir.ParamState(jnp.float32(2)), brainir.ShortTermState(jnp.ones(3))

    def step(x: Any) -> Any:
        state.value = state.value * weights.value * x
        return state.value

    def loss(xs: Any) -> Any:
        return transform.vmap2(step, state_in_axes=brainir.ShortTermState)(xs).sum()

    (by_weights,), by_xs = transform.grad(loss, [weights], argnums=0)(XS)
    assert by_weights == XS.sum()
    np.testing.assert_array_equal(by_xs, [2, 2, 2])
    np.testing.assert_array_equal(state.value, 2 * XS)


def test_an_error_in_a_lane_changes_nothing() -> None:
    state = brainir.ShortTermState(jnp.zeros(3))
    brainir.random.seed(6)
    before = keys()

    def step(x: Any) -> None:
        state.value = state.value + brainir.random.rand()
        raise RuntimeError("no more")

    for mapped in (
        transform.vmap(step, in_states=state),
        transform.vmap2(step),
        transform.vmap_new_states(step),
        lambda xs: transform.map(step, xs, batch_size=2),
    ):
        with pytest.raises(RuntimeError, match="no more"):
            mapped(XS)
        np.testing.assert_array_equal(state.value, np.zeros(3))
        np.testing.assert_array_equal(keys(), before)
