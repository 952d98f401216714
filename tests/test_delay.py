"""Delays: what is read is what was stored so long ago, everywhere, against lists in Python."""

import functools

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import brainir
from brainir import nn

DT = 0.1 * u.ms


@pytest.fixture(autouse=True)
def _time_step():
    with brainir.environ.context(dt=DT):
        yield


def filled(delay, values):
    delay.init_state()
    for value in values:
        delay.update(value)
    return delay


def numbered(length, count, **options):
    """A delay of so many steps, after so many updates with 0, 1, 2, ..."""
    delay = nn.Delay(jnp.zeros(2), time=length * DT, **options)
    return filled(delay, [jnp.full(2, float(i)) for i in range(count)])


# --- the buffer -----------------------------------------------------------------------------------


@given(st.integers(0, 5), st.lists(st.integers(-9, 9), max_size=14), st.integers(-3, 3))
def test_what_is_read_is_what_a_list_would_hold(longest, stored, first):
    with brainir.environ.context(dt=DT):
        delay = nn.Delay(jnp.zeros((), jnp.int32), time=longest * DT, init=first)
        delay = filled(delay, [jnp.asarray(value) for value in stored])
        past = [first] * (longest + 1) + stored
        assert delay.max_length == longest + 1
        for step in range(longest + 1):
            assert int(delay.retrieve_at_step(step)) == past[-1 - step]


def test_the_layout_is_as_the_docstring_says():
    delay = numbered(3, 6)
    history, pointer = delay.history.value, int(delay.write_ptr.value)
    assert history.shape == (4, 2)
    assert pointer == 6 % 4
    for age in range(4):
        np.testing.assert_array_equal(history[(pointer - 1 - age) % 4], 5.0 - age)
    assert type(delay.history) is brainir.DelayState
    assert type(delay.write_ptr) is brainir.NonBatchState


def test_an_update_writes_one_slot_and_moves_nothing():
    delay = numbered(3, 6)
    step = brainir.transform.jit(delay.update)
    text = step.trace(jnp.ones(2)).lower().as_text()
    assert "dynamic_update_slice" in text
    assert "concatenate" not in text


@pytest.mark.parametrize("times", [0.1, 0.2, 0.3, 0.6, 0.7, 1.1, 2.3, 4.7, 100.3])
def test_a_whole_number_of_steps_is_not_rounded_up(times):
    delay = nn.Delay(jnp.zeros(1), time=times * u.ms)
    assert delay.max_length == round(times * 10) + 1
    with_arrays = nn.Delay(jnp.zeros(1), time=jnp.asarray(times) * u.ms)
    assert with_arrays.max_length == delay.max_length


def test_a_delay_between_two_steps_is_rounded_up():
    delay = filled(nn.Delay(jnp.zeros(1), entries={"a": 0.25 * u.ms}), map(jnp.ones, [1] * 3))
    assert delay.max_length == 4
    np.testing.assert_array_equal(delay.at("a"), 0.0)


@pytest.mark.parametrize(
    ("init", "expected"),
    [
        (None, np.zeros((4, 2))),
        (3.0, np.full((4, 2), 3.0)),
        (np.arange(8.0).reshape(4, 2), np.arange(8.0).reshape(4, 2)),
        (jnp.ones, np.ones((4, 2))),
        (brainir.init.Constant(2.0), np.full((4, 2), 2.0)),
    ],
)
def test_the_first_history_is_what_init_gives(init, expected):
    delay = nn.Delay(jnp.zeros(2), time=3 * DT, init=init)
    delay.init_state()
    np.testing.assert_array_equal(delay.history.value, expected)
    delay.update(jnp.full(2, 9.0))
    delay.reset_state()
    np.testing.assert_array_equal(delay.history.value, expected)
    assert int(delay.write_ptr.value) == 0
    delay.init_state(5)
    assert delay.history.value.shape == (4, 5, 2)
    np.testing.assert_array_equal(delay.history.value, expected[:, None].repeat(5, 1))


def test_trees_and_units_are_kept():
    kinds = {"V": jnp.zeros(2) * u.mV, "n": (jnp.zeros((), jnp.int32), jnp.zeros(3, bool))}
    delay = nn.Delay(kinds, time=2 * DT)
    stored = [
        {"V": jnp.full(2, i) * u.volt, "n": (jnp.asarray(i), jnp.arange(3) == i)} for i in range(4)
    ]
    filled(delay, stored)
    read = delay.retrieve_at_step(1)
    np.testing.assert_allclose(read["V"].to_decimal(u.mV), 2000.0)
    assert read["V"].unit == u.mV
    assert read["n"][0] == 2
    np.testing.assert_array_equal(read["n"][1], [False, False, True])
    with brainir.environ.context(t=0.3 * u.ms):
        between = delay.retrieve_at_time(0.15 * u.ms)
    np.testing.assert_allclose(between["V"].to_decimal(u.mV), 1500.0, rtol=1e-5)
    np.testing.assert_allclose(between["n"][0], 1.5, rtol=1e-5)
    np.testing.assert_allclose(between["n"][1], [0.0, 0.5, 0.5], rtol=1e-5, atol=1e-5)


def test_an_initial_value_takes_the_unit_of_the_target():
    delay = nn.Delay(jnp.zeros(2) * u.mV, time=DT, init=1.0 * u.volt)
    delay.init_state()
    np.testing.assert_array_equal(delay.history.value.to_decimal(u.mV), 1000.0)


def test_an_unknown_unit_is_taken_from_what_is_stored():
    delay = nn.Delay(jnp.zeros(2), time=DT, take_aware_unit=True)
    filled(delay, [jnp.ones(2) * u.mA])
    assert delay.retrieve_at_step(0).unit == u.mA
    delay.update(jnp.ones(2) * u.uA)
    np.testing.assert_allclose(delay.retrieve_at_step(0).to_decimal(u.mA), 1e-3)


def test_wide_floats_stay_wide():
    with brainir.environ.context(precision=64):
        delay = nn.Delay(jnp.zeros(1), time=2 * DT)
        filled(delay, [jnp.full(1, 1 / 3) * i for i in range(3)])
        assert delay.retrieve_at_step(1).dtype == np.float64
        with brainir.environ.context(t=0.2 * u.ms):
            np.testing.assert_allclose(delay.retrieve_at_time(0.05 * u.ms), 1 / 6, rtol=1e-12)


def test_a_value_without_elements_and_a_delay_of_nothing():
    delay = filled(nn.Delay(jnp.zeros((0, 3))), [jnp.zeros((0, 3))] * 2)
    assert delay.max_length == 1
    assert delay.retrieve_at_step(0).shape == (0, 3)


# --- names and times ------------------------------------------------------------------------------


def test_delays_are_read_by_name():
    delay = nn.Delay(jnp.zeros(2), entries={"a": 0.1 * u.ms, "b": (0.3 * u.ms, 1)})
    access = delay.access("c", 0.4 * u.ms, slice(0, 1))
    delay.register_entry("now", None)
    filled(delay, [jnp.asarray([i, -i], jnp.float32) for i in range(9)])
    np.testing.assert_array_equal(delay.at("a"), [7, -7])
    assert float(delay.at("b")) == -5
    np.testing.assert_array_equal(access(), [4])
    np.testing.assert_array_equal(delay.at("now"), [8, -8])
    with pytest.raises(KeyError, match=r"no delay 'd'.*'a', 'b', 'c'"):
        delay.at("d")
    with pytest.raises(KeyError, match="use another name"):
        delay.register_entry("a", 0.2 * u.ms)


@pytest.mark.parametrize(
    "time", [-1.0 * u.ms, 3.0, 3.0 * u.mV, np.inf * u.ms, np.ones((2, 2)) * DT]
)
def test_a_delay_that_is_no_time_is_refused(time):
    with pytest.raises(ValueError, match="delay"):
        nn.Delay(jnp.zeros(1), time=time)


def test_other_wrong_use_is_refused_at_once():
    with pytest.raises(ValueError, match="interpolation must be one of"):
        nn.Delay(jnp.zeros(1), interpolation="spline")
    with pytest.raises(ValueError, match="needs a time"):
        nn.Delay(jnp.zeros(1)).register_delay()
    delay = numbered(3, 2)
    for step in (4, -1, np.array([0, 4])):
        with pytest.raises(ValueError, match="keeps those of 0 to 3"):
            delay.retrieve_at_step(step)
    with pytest.raises(TypeError, match="an integer"):
        delay.retrieve_at_step(1.0)
    with pytest.raises(ValueError, match="was given shape"):
        delay.update(jnp.zeros(3))
    with pytest.raises(ValueError, match="was given"):
        delay.update({"x": jnp.zeros(2)})
    with pytest.raises(KeyError, match="time of the last update"):
        delay.retrieve_at_time(0.1 * u.ms)
    assert int(delay.write_ptr.value) == 2
    delay.register_entry("late", 0.9 * u.ms)
    with pytest.raises(ValueError, match="before init_state"):
        delay.at("late")
    with pytest.raises(AttributeError, match="init_all_states"):
        nn.Delay(jnp.zeros(1)).retrieve_at_step(0)


@pytest.mark.parametrize(("interpolation", "rounds"), [("linear", False), ("nearest", True)])
def test_values_between_steps(interpolation, rounds):
    delay = numbered(8, 20, interpolation=interpolation)
    with brainir.environ.context(t=1.9 * u.ms):
        for steps in (0.0, 0.3, 0.6, 2.0, 4.7, 8.0):
            read = delay.retrieve_at_time((1.9 - 0.1 * steps) * u.ms)
            expected = 19 - (round(steps) if rounds else steps)
            np.testing.assert_allclose(read, expected, rtol=1e-5)
        for time in (2.1, 0.9):
            with pytest.raises(ValueError, match="keeps those"):
                delay.retrieve_at_time(time * u.ms)


def test_the_step_in_force_counts_when_a_delay_is_read():
    delay = nn.Delay(jnp.zeros(1), entries={"a": 0.4 * u.ms})
    filled(delay, [jnp.full(1, float(i)) for i in range(9)])
    assert float(delay.at("a")[0]) == 4
    with brainir.environ.context(dt=0.2 * u.ms):
        assert float(delay.at("a")[0]) == 6


# --- lanes ----------------------------------------------------------------------------------------


def lanes(delay, batch=None):
    """Fill with values that differ by time, batch row and element."""
    delay.init_state(batch)
    rows = np.arange(batch or 1) * 100
    past = []
    for i in range(9):
        value = (i + rows[:, None] + 10 * np.arange(3)).astype(np.float32)
        past.append(value if batch else value[0])
        delay.update(jnp.asarray(past[-1]))
    return np.stack(past[::-1])  # by age


@pytest.mark.parametrize("batch", [None, 1, 4])
def test_each_element_may_have_a_delay_of_its_own(batch):
    times = jnp.asarray([0.1, 0.5, 0.3]) * u.ms
    delay = nn.Delay(jnp.zeros(3), entries={"own": (times, jnp.arange(3))})
    past = lanes(delay, batch)
    ages = np.array([1, 5, 3])
    np.testing.assert_array_equal(delay.at("own"), past[ages, ..., np.arange(3)].T)
    with brainir.environ.context(t=0.8 * u.ms):
        between = delay.retrieve_at_time(0.8 * u.ms - times + 0.05 * u.ms, jnp.arange(3))
    expected = (past[ages, ..., np.arange(3)].T + past[ages - 1, ..., np.arange(3)].T) / 2
    np.testing.assert_allclose(between, expected, rtol=1e-5)


@pytest.mark.parametrize("batch", [None, 2])
def test_a_vector_of_delays_gives_an_axis_in_front(batch):
    delay = nn.Delay(jnp.zeros(3), time=0.6 * u.ms)
    past = lanes(delay, batch)
    np.testing.assert_array_equal(delay.retrieve_at_step(jnp.asarray([0, 4])), past[[0, 4]])
    with brainir.environ.context(t=0.8 * u.ms):
        between = delay.retrieve_at_time(jnp.asarray([0.75, 0.35]) * u.ms)
    np.testing.assert_allclose(between, (past[[0, 4]] + past[[1, 5]]) / 2, rtol=1e-5)


def test_indices_may_be_numbers_slices_and_arrays():
    delay = nn.Delay(jnp.zeros((3, 4)), time=3 * DT)
    delay.init_state(2)
    value = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
    delay.update(jnp.asarray(value))
    rows, columns = np.array([[0], [2]]), np.array([1, 3])
    zeros = np.zeros((2, 2), int)
    for step, indices, expected in [
        (0, (1,), value[:, 1]),
        (0, (slice(0, 2), 3), value[:, :2, 3]),
        (0, (rows, columns), value[:, rows, columns]),
        (zeros, (rows, columns), value[:, rows, columns]),
        (zeros[0], (columns - 1,), value[:, columns - 1]),
    ]:
        np.testing.assert_array_equal(delay.retrieve_at_step(step, *indices), expected)


def test_delays_run_in_lanes():
    delay = nn.Delay(jnp.zeros(()), time=3 * DT)

    def run(xs, step):
        delay.init_state()

        def one(x):
            delay.update(x)
            return delay.retrieve_at_step(step)

        return brainir.transform.for_loop(one, xs)

    xs = jnp.arange(10.0).reshape(2, 5)
    steps = jnp.asarray([1, 3])
    ys = brainir.transform.jit(brainir.transform.vmap(run))(xs, steps)
    for row, step in enumerate((1, 3)):
        expected = np.concatenate([np.zeros(step), xs[row]])[:5]
        np.testing.assert_array_equal(ys[row], expected)


# --- in transformations ---------------------------------------------------------------------------


def run_plain(function, *arguments):
    return function(*arguments)


def run_jitted(function, *arguments):
    return brainir.transform.jit(function)(*arguments)


def run_disabled(function, *arguments):
    with jax.disable_jit():
        return function(*arguments)


WAYS = [run_plain, run_jitted, run_disabled]


def history_of(xs, weight, steps=2):
    """The echo y[i] = x[i] + weight * y[i - steps], with arrays."""
    ys = []
    for i in range(len(xs)):
        ys.append(xs[i] + (weight * ys[i - steps] if i >= steps else 0.0))
    return jnp.stack(ys)


@pytest.mark.parametrize("way", WAYS)
def test_an_echo_and_its_gradient(way):
    delay = nn.Delay(jnp.zeros(2), entries={"echo": 0.1 * u.ms})  # read before the update: 2 steps
    weight = brainir.ParamState(jnp.asarray(0.5))
    delay.init_state()

    def one(x):
        y = x + weight.value * delay.at("echo")
        delay.update(y)
        return y

    def loss(xs):
        delay.reset_state()
        ys = brainir.transform.for_loop(one, xs)
        return jnp.sum(ys**2), ys

    xs = jnp.linspace(-1.0, 1.0, 14).reshape(7, 2)
    slope = brainir.transform.grad(loss, weight, argnums=0, has_aux=True, return_value=True)
    (by_weight, by_xs), value, ys = way(slope, xs)

    def pure(w, xs):
        return jnp.sum(history_of(xs, w) ** 2)

    np.testing.assert_allclose(ys, history_of(xs, 0.5), rtol=1e-6)
    np.testing.assert_allclose(value, pure(0.5, xs), rtol=1e-6)
    expected = jax.grad(pure, (0, 1))(0.5, xs)
    np.testing.assert_allclose(by_weight, expected[0], rtol=1e-5)
    np.testing.assert_allclose(by_xs, expected[1], rtol=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_a_gradient_goes_by_the_time_that_is_read(way):
    delay = numbered(8, 20)

    def read(age):
        with brainir.environ.context(t=1.9 * u.ms):
            return jnp.sum(delay.retrieve_at_time(1.9 * u.ms - age * u.ms))

    slope = way(brainir.transform.grad(read), jnp.asarray(0.23))
    np.testing.assert_allclose(slope, -20.0, rtol=1e-4)  # two elements, 10 steps in a ms


@pytest.mark.parametrize("way", WAYS)
def test_a_delay_inside_a_branch(way):
    delay = numbered(2, 5)

    def maybe(flag):
        def store():
            delay.update(jnp.full(2, 9.0))

        brainir.transform.cond(flag, store, lambda: None)
        return delay.retrieve_at_step(1)

    np.testing.assert_array_equal(way(maybe, jnp.asarray(True)), 4.0)
    np.testing.assert_array_equal(way(maybe, jnp.asarray(False)), 4.0)
    assert int(delay.write_ptr.value) == 6 % 3


def test_steps_that_are_only_known_later_are_taken_for_the_nearest_one_there_is():
    delay = numbered(3, 9)
    read = brainir.transform.jit(delay.retrieve_at_step)
    for step, age in ((-5, 0), (2, 2), (77, 3)):
        np.testing.assert_array_equal(read(step), 8.0 - age)


# --- the past of a module -------------------------------------------------------------------------


class Counter(nn.Dynamics):
    def init_state(self, batch_size=None):
        batch = () if batch_size is None else (batch_size,)
        self.V = brainir.HiddenState(jnp.zeros((*batch, *self.varshape)) * u.mV)
        self.constant = 3.0

    def reset_state(self, batch_size=None):
        self.V.value = self.V.value * 0.0

    def update(self, x):
        self.V.value += x * u.mV
        return self.V.value.to_decimal(u.mV) * 10 * u.mA


def test_references_are_made_before_what_they_refer_to():
    counter = Counter(2)
    now, constant = counter.prefetch("V"), counter.prefetch("constant")
    with pytest.raises(AttributeError, match="init_all_states"):
        now()
    past = counter.prefetch_delay("V", 0.2 * u.ms)
    longer = counter.prefetch("V").delay.at(0.4 * u.ms)
    own = counter.prefetch_delay("V", jnp.asarray([0.1, 0.3]) * u.ms, jnp.arange(2))
    none = counter.prefetch_delay("V", None)
    output = counter.output_delay(0.1 * u.ms)
    nn.init_all_states(counter)
    assert past.state_delay is longer.state_delay
    assert past.state_delay.history.value.shape == (5, 2)
    for _ in range(6):
        counter(1.0)
    expected = {now: 6, past: 4, longer: 2, none: 6}
    for reference, value in expected.items():
        np.testing.assert_array_equal(reference().to_decimal(u.mV), value)
    np.testing.assert_array_equal(own().to_decimal(u.mV), [5, 3])
    np.testing.assert_array_equal(output().to_decimal(u.mA), 50.0)
    assert constant() == 3.0
    assert now.get_item() is counter.V
    nn.init_maybe_prefetch(now)
    nn.init_maybe_prefetch(3)
    with pytest.raises(AttributeError, match="nothing"):
        nn.init_maybe_prefetch(counter.prefetch("nothing"))
    nn.reset_all_states(counter)
    np.testing.assert_array_equal(past().to_decimal(u.mV), 0.0)


class Follower(nn.Module):
    """Holds only a reference; its name comes before that of what it refers to."""

    def __init__(self, counter):
        super().__init__()
        self.a_reference = counter.prefetch_delay("V", 0.3 * u.ms)
        self.counter = counter

    def update(self, x):
        before = self.a_reference()
        self.counter(x)
        return before


@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize("way", WAYS)
def test_the_past_of_a_state_in_a_larger_model(way, batch):
    model = Follower(Counter(2))
    nn.init_all_states(model, batch)
    past = model.a_reference.state_delay
    assert past.history.value.shape == (4, 2) if batch is None else (4, batch, 2)
    ys = way(functools.partial(brainir.transform.for_loop, model), jnp.ones(7))
    expected = np.maximum(np.arange(7.0) - 3, 0)
    shape = (7, *[1] * (ys.ndim - 1))
    np.testing.assert_array_equal(
        ys.to_decimal(u.mV), np.broadcast_to(expected.reshape(shape), ys.shape)
    )
    other = brainir.graph.clone(model)
    assert other.a_reference.state_delay.target is other.counter
    np.testing.assert_array_equal(other(1.0).to_decimal(u.mV), 4.0)
    np.testing.assert_array_equal(model(1.0).to_decimal(u.mV), 4.0)


def test_wrong_references_are_refused():
    counter = Counter(2)
    counter.prefetch_delay("V", 0.1 * u.ms, init=1.0)
    with pytest.raises(ValueError, match="keeps that past already"):
        counter.prefetch_delay("V", 0.1 * u.ms, init=2.0)
    missing = Counter(2)
    missing.prefetch_delay("constant", 0.1 * u.ms)
    with pytest.raises(AttributeError, match="only a State has a past"):
        nn.init_all_states(missing)


def test_a_compiled_loop_writes_into_its_history_in_place():
    """A copy of the history at each step would take as much memory again."""
    delay = nn.Delay(jnp.zeros(100), entries={"a": 50 * u.ms})
    delay.init_state()

    def one(x):
        before = delay.at("a")
        delay.update(x + before)
        return before[0]

    run = brainir.transform.jit(lambda xs: brainir.transform.for_loop(one, xs))
    compiled = run.trace(jnp.ones((600, 100))).lower().compile()
    history = delay.history.value.nbytes
    assert compiled.memory_analysis().temp_size_in_bytes < history / 10
