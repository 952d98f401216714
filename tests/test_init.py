"""Initialisers: what they make, how they combine, and how ``param`` applies them."""

from pathlib import Path
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainir import HiddenState, ParamState, environ, init, random

Constant, Normal, param = init.Constant, init.Normal, init.param

N = (64, 64)
BAD: Any = "bad"
NOTHING: Any = None
QUANTITY: Any = 2.0 * u.mV


@pytest.fixture(autouse=True, scope="module")
def _compiled_in_less_time():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


# Each: the initialiser, how it prints, and the mean and standard deviation of what it makes.
INITIALISERS = [
    (Constant(2.0), "Constant(value=2.0)", 2.0, 0.0),
    (init.ZeroInit(), "ZeroInit(unit=1)", 0.0, 0.0),
    (init.Uniform(-1.0, 3.0), "Uniform(low=-1.0, high=3.0)", 1.0, 4 / 12**0.5),
    (Normal(1.0, 2.0), "Normal(mean=1.0, std=2.0)", 1.0, 2.0),
    (init.LogNormal(2.0, 1.0), "LogNormal(mean=2.0, std=1.0)", 2.0, 1.0),
    (init.Gamma(4.0, 0.5), "Gamma(shape=4.0, scale=0.5)", 2.0, 1.0),
    (init.Exponential(2.0), "Exponential(scale=2.0)", 2.0, 2.0),
    (init.TruncatedNormal(1.0, 2.0), "TruncatedNormal(mean=1.0, std=2.0)", 1.0, 2.0),
    (
        init.TruncatedNormal(0.0, 1.0, low=0.0),
        "TruncatedNormal(mean=0.0, std=1.0, low=0.0)",
        *((2 / np.pi) ** 0.5, (1 - 2 / np.pi) ** 0.5),
    ),
    (init.Beta(2.0, 3.0, 1.0, 6.0), "Beta(alpha=2.0, beta=3.0, low=1.0, high=6.0)", 3.0, 1.0),
    (init.Weibull(1.0, 3.0), "Weibull(shape=1.0, scale=3.0)", 3.0, 3.0),
    (
        init.VarianceScaling(2.0, "fan_out", "truncated_normal"),
        "VarianceScaling(scale=2.0, mode=fan_out, distribution=truncated_normal, unit=1)",
        *(0.0, (2 / 64) ** 0.5),
    ),
    (init.XavierUniform(), "XavierUniform(scale=1.0, unit=1)", 0.0, 1 / 8),
    (init.XavierNormal(4.0), "XavierNormal(scale=4.0, unit=1)", 0.0, 2 / 8),
    (init.LecunUniform(), "LecunUniform(scale=1.0, unit=1)", 0.0, 1 / 8),
    (init.LecunNormal(), "LecunNormal(scale=1.0, unit=1)", 0.0, 1 / 8),
    (
        init.KaimingUniform(),
        "KaimingUniform(mode=fan_in, nonlinearity=relu, negative_slope=0.01, unit=1)",
        *(0.0, 2**0.5 / 8),
    ),
    (
        init.KaimingNormal(nonlinearity="leaky_relu", negative_slope=1.0),
        "KaimingNormal(mode=fan_in, nonlinearity=leaky_relu, negative_slope=1.0, unit=1)",
        *(0.0, 1 / 8),
    ),
    (init.Orthogonal(), "Orthogonal(scale=1.0, unit=1)", 0.0, 1 / 8),
]


@pytest.mark.parametrize("case", INITIALISERS, ids=lambda case: type(case[0]).__name__)
def test_what_is_made_has_its_size_type_mean_and_deviation(case):
    make, text, mean, deviation = case
    made = make(N, rng=random.RandomState(3))
    assert repr(make) == text
    assert made.shape == N
    assert made.dtype == jnp.float32
    numbers = np.asarray(made, float)
    assert abs(numbers.mean() - mean) <= 4 * deviation / numbers.size**0.5
    assert abs(numbers.std() - deviation) <= 0.06 * deviation


def test_every_initialiser_is_tested():
    made = {type(case[0]).__name__ for case in INITIALISERS}
    others = Path(__file__).with_name("test_init_composite.py").read_text()
    made |= {name for name in init.__all__ if f"init.{name}(" in others or "Profile" in name}
    assert made | {"Initialization", "Initializer", "Identity", "param"} == set(init.__all__)


def test_draws_come_from_the_default_generator_or_the_one_that_is_given():
    make = Normal(0.0, 1.0)
    with random.seed_context(5):
        first = make(3)
        second = make(3)
        key = random.get_key()
        given_one = make(3, rng=random.RandomState(5))
        assert (random.get_key() == key).all()
    assert np.array_equal(first, given_one)
    assert not np.array_equal(first, second)


def test_types_follow_the_argument_the_value_and_the_environment():
    assert Normal(0.0, 1.0)(2, dtype=jnp.float16).dtype == jnp.float16
    assert Constant(0.0)(2, dtype=jnp.float16).dtype == jnp.float16
    assert Constant(3)(2).dtype == jnp.int32
    assert Constant(True)(2).dtype == jnp.bool
    assert Constant(np.float32(1.0) * u.mV)(2).dtype == jnp.float32
    with environ.context(precision="bf16"):
        for make in (Constant(1.0), init.ZeroInit(), init.Identity(), Normal(0.0, 1.0)):
            assert make((2, 2)).dtype == jnp.bfloat16
    assert not Constant(1.0)(2).weak_type


@pytest.mark.parametrize(
    "make",
    [
        Constant(1.0 * u.mV),
        init.ZeroInit(u.mV),
        init.Uniform(0.0, 1.0 * u.mV),
        Normal(0.0, 1.0 * u.mV),
        init.LogNormal(1.0 * u.mV, 1.0 * u.mV),
        init.Gamma(1.0, 1.0 * u.mV),
        init.Exponential(1.0 * u.mV),
        init.TruncatedNormal(0.0, 1.0 * u.mV, high=2.0 * u.mV),
        init.Beta(1.0, 2.0, 0.0, 1.0 * u.mV),
        init.Weibull(1.0, 1.0 * u.mV),
        init.XavierNormal(unit=u.mV),
        init.KaimingUniform(unit=u.mV),
        init.Orthogonal(unit=u.mV),
        init.Identity(unit=u.mV),
        Normal(0.0, 1.0) * u.mV,
        Constant(1.0) * (2.0 * u.mV),
    ],
    ids=repr,
)
def test_parameters_bring_their_unit_along(make):
    made = jax.eval_shape(lambda: make((2, 3), rng=random.RandomState(0)))
    assert made.unit == u.mV
    assert made.shape == (2, 3)


def test_units_print_in_short():
    assert repr(Constant(0.0 * u.mV)) == "Constant(value=0. mV)"
    assert repr(Normal(0.0, 2.0 * u.ms)) == "Normal(mean=0.0, std=2. ms)"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(NOTHING), "needs a value"),
        (lambda: Constant(np.ones(2))((3,)), "does not broadcast to the size"),
        (lambda: init.Uniform(1.0, 0.0), "low must be below high"),
        (lambda: init.Uniform(1.0 * u.volt, 2.0 * u.mV), "low must be below high"),
        (lambda: Normal(0.0, -1.0), "std must not be negative"),
        (lambda: init.LogNormal(0.0, 1.0), "mean must be positive"),
        (lambda: init.Gamma(-1.0, 1.0), "shape must be positive"),
        (lambda: init.Exponential(0.0), "scale must be positive"),
        (lambda: init.TruncatedNormal(0.0, 1.0, 2.0, 1.0), "low must be below high"),
        (lambda: init.Beta(1.0, 0.0), "beta must be positive"),
        (lambda: init.VarianceScaling(0.0), "scale must be a positive number"),
        (lambda: init.XavierNormal(QUANTITY), "a unit goes to unit="),
        (lambda: init.VarianceScaling(mode=BAD), "mode must be one of fan_in"),
        (lambda: init.KaimingNormal(mode=BAD), "mode must be one of fan_in"),
        (lambda: init.VarianceScaling(distribution=BAD), "distribution must be one of"),
        (lambda: init.KaimingNormal(nonlinearity=BAD), "nonlinearity must be one of"),
        (lambda: init.Orthogonal()((3,)), "at least two axes"),
        (lambda: Normal(0.0, 1.0)((-1,)), "cannot be negative"),
    ],
)
def test_bad_parameters_are_refused_with_the_reason(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("size", "fan_in", "fan_out"),
    [((2, 5), 2, 5), ((3, 3, 4, 6), 36, 54), ((7,), 7, 7), ((), 1, 1)],
)
def test_the_variance_counts_inputs_and_outputs_of_matrices_and_kernels(size, fan_in, fan_out):
    standard = random.RandomState(0).normal(size=size)
    fans: dict[Any, float] = {
        "fan_in": fan_in,
        "fan_out": fan_out,
        "fan_avg": (fan_in + fan_out) / 2,
    }
    for mode, fan in fans.items():
        made = init.VarianceScaling(3.0, mode)(size, rng=random.RandomState(0))
        np.testing.assert_allclose(made, standard * (3.0 / fan) ** 0.5, rtol=1e-5)


@pytest.mark.parametrize("size", [(4, 4), (3, 5), (5, 3), (2, 3, 4)])
def test_orthogonal_matrices_have_orthonormal_rows_or_columns(size):
    w = np.asarray(init.Orthogonal(2.0)(size)).reshape(-1, size[-1])
    small = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(small, 4.0 * np.eye(len(small)), atol=1e-5)


def test_identity_is_repeated_over_further_axes_and_fills_vectors():
    assert np.array_equal(init.Identity(2.0)((2, 2, 3)), [2 * np.eye(2, 3)] * 2)
    assert np.array_equal(init.Identity(2.0)(3), [2, 2, 2])


# Combined ---------------------------------------------------------------------------------------

numbers = st.floats(0.5, 4.0, width=32)


@given(numbers, numbers, st.sampled_from(["+", "-", "*", "/"]))
def test_operators_combine_what_is_made(a, b, symbol):
    operate = {
        "+": lambda x, y: x + y,
        "-": lambda x, y: x - y,
        "*": lambda x, y: x * y,
        "/": lambda x, y: x / y,
    }[symbol]
    expected = operate(np.float32(a), np.float32(b))
    for left, right in ((Constant(a), Constant(b)), (Constant(a), b), (a, Constant(b))):
        combined = operate(left, right)
        np.testing.assert_allclose(combined((2,)), [expected, expected], rtol=1e-6)
        assert repr(combined) == f"({left} {symbol} {right})"


def test_operands_of_a_combination_draw_one_after_the_other():
    total = (Normal(0.0, 1.0) + Normal(0.0, 1.0))(3, rng=random.RandomState(1))
    rng = random.RandomState(1)
    np.testing.assert_allclose(total, rng.normal(size=3) + rng.normal(size=3))


def test_methods_do_what_operators_do():
    four = Constant(4.0)
    assert four.add(1.0)(2).tolist() == [5.0, 5.0]
    assert four.multiply(2.0)(2).tolist() == [8.0, 8.0]
    assert four.apply(jnp.sqrt)(2).tolist() == (four | jnp.sqrt)(2).tolist() == [2.0, 2.0]
    assert four.clip(0.0, 1.0)(2).tolist() == [1.0, 1.0]
    assert four.clip(5.0)(2).tolist() == [5.0, 5.0]
    assert repr(four.clip(5.0)) == "Clipped(base_dist=Constant(value=4.0), min_val=5.0)"
    assert repr(four | jnp.sqrt) == "Constant(value=4.0).apply(sqrt)"
    volts = Constant(4.0 * u.mV).clip(None, 2.0 * u.mV)
    assert u.math.allclose(volts(2), 2.0 * u.mV)
    wrongs: list[Any] = [four, 3.0]
    for wrong in wrongs:
        with pytest.raises(TypeError, match="must map values to values"):
            _ = four | wrong


# param ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scalar", [1.0, 2, True, np.float32(1.0), jnp.ones(()), 5.0 * u.ms])
@pytest.mark.parametrize("batch", [None, 4])
def test_scalars_and_none_are_returned_as_they_are(scalar, batch):
    assert param(scalar, 3, batch) is scalar
    assert param(None, 3, batch) is None
    with pytest.raises(TypeError, match="a scalar is not enough"):
        param(scalar, 3, batch, allow_scalar=False)


def test_none_may_be_refused():
    with pytest.raises(ValueError, match="a parameter is needed"):
        param(None, 3, allow_none=False)


@given(st.data())
def test_an_array_is_accepted_exactly_if_it_broadcasts_to_the_size(data):
    lengths = st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple)
    shape, size = data.draw(lengths), data.draw(lengths)
    array = np.zeros(shape, np.float32) * u.mV
    try:
        np.broadcast_to(np.zeros(shape), size)
    except ValueError:
        with pytest.raises(ValueError, match="does not broadcast"):
            param(array, size)
    else:
        assert param(array, size) is array
        batched = param(array, size, 5)
        assert batched.shape == (5, *size)
        assert batched.unit == u.mV


def test_an_array_with_a_batch_axis_keeps_it():
    array = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    assert param(array, 3, 2) is array
    with pytest.raises(ValueError, match="a batch of 2, not 4"):
        param(array, 3, 4)
    assert np.array_equal(param(array[0], 3, 2), [array[0]] * 2)


def test_a_callable_is_called_with_the_whole_size():
    assert param(Constant(1.0 * u.mV), 3).shape == (3,)
    assert param(Constant(1.0), (2, 3), 4).shape == (4, 2, 3)
    assert param(lambda size, fill: jnp.full(size, fill), 2, fill=3.0).tolist() == [3.0, 3.0]
    assert param(Constant(1.0), ()).shape == ()
    assert param(Constant(1.0), np.int64(2)).shape == (2,)
    rng = random.RandomState(0)
    assert np.array_equal(param(Normal(0.0, 1.0), 2, rng=rng), random.RandomState(0).randn(2))


def test_a_state_gets_its_own_value_fitted_and_is_returned():
    state = ParamState(jnp.ones(3))
    assert param(state, 3) is state
    assert param(state, 3, 2) is state
    assert state.value.shape == (2, 3)
    assert param(state, 3, 2).value.shape == (2, 3)
    with pytest.raises(ValueError, match="does not broadcast"):
        param(HiddenState(jnp.ones(2)), 3)


@pytest.mark.parametrize("wrong", [[1.0, 2.0], "a", {"a": 1.0}, (1.0,)])
def test_other_things_are_no_parameters(wrong):
    with pytest.raises(TypeError, match="a parameter is a number"):
        param(wrong, 2)


@pytest.mark.parametrize(
    ("size", "error"),
    [(None, TypeError), ("3", TypeError), (True, ValueError), (1.5, ValueError), (-1, ValueError)],
)
def test_a_size_is_one_integer_or_several(size, error):
    with pytest.raises(error):
        param(Constant(1.0), size)
    with pytest.raises(error):
        Constant(1.0)(size)
    if size is not None:
        with pytest.raises(error):
            param(Constant(1.0), 3, size)
