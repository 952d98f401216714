"""Random numbers: which key a draw takes, what it gives, and that traced code draws the same."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainir import RandomState, TraceContextError, environ, random, transform

V = np.array([1.0, 2.0, 3.0], np.float32)
ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _seeded():
    with random.seed_context(0):
        yield


@pytest.fixture(autouse=True, scope="module")
def _compiled_in_less_time():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def numpy_state():
    return np.random.get_state(legacy=False)["state"]["key"].copy()


def same(a, b):
    if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
        a, b = jr.key_data(a), jr.key_data(b)
    return a.dtype == b.dtype and np.array_equal(a, b)


# Keys -------------------------------------------------------------------------------------------


@given(st.integers(0, 2**31), st.none() | st.integers(1, 5))
def test_splitting_keeps_the_first_key_and_returns_the_rest(seed, n):
    generator = RandomState(seed)
    expected = jr.split(jr.key(seed), 2 if n is None else n + 1)
    assert same(generator.split_key(n), expected[1] if n is None else expected[1:])
    assert same(generator.value, expected[0])


def test_splitting_refuses_what_is_no_positive_integer():
    wrongs: list[Any] = [1.5, "2"]
    for wrong in wrongs:
        with pytest.raises(TypeError):
            random.split_key(wrong)
        with pytest.raises(ValueError, match="positive integer"):
            random.split_keys(wrong)
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="at least 1"):
            random.split_key(wrong)
        with pytest.raises(ValueError, match="at least 1"):
            random.split_keys(wrong)
    assert same(random.get_key(), jr.key(0))
    assert random.split_keys(3).shape == (3,)


@pytest.mark.parametrize(
    "key", [7, np.int64(7), jr.key(7), jr.PRNGKey(7), np.array([0, 7], np.uint32)]
)
def test_seeds_and_keys_of_all_kinds_mean_the_same(key):
    expected = jr.key(7)
    assert same(RandomState(key).value, expected)
    random.set_key(key)
    assert same(random.get_key(), expected)
    assert same(random.normal(size=3, key=key), jr.normal(expected, (3,)))
    assert same(random.get_key(), expected)


@pytest.mark.parametrize(
    "key", ["7", 7.0, np.zeros(3), jnp.zeros(4, jnp.uint32), jr.split(jr.key(0)), [7]]
)
def test_other_things_are_refused_before_anything_changes(key):
    words = numpy_state()
    for use in (random.seed, random.set_key, RandomState, lambda key: random.rand(2, key=key)):
        with pytest.raises(TypeError, match="a seed is one integer"):
            use(key)
    assert same(random.get_key(), jr.key(0))
    assert np.array_equal(numpy_state(), words)


def test_seed_also_seeds_numpy_and_without_a_seed_takes_fresh_entropy():
    random.seed(5)
    a = np.random.rand()
    random.seed(jr.key(5))
    assert np.random.rand() == a
    state = numpy_state()
    random.seed()
    first = random.get_key()
    random.seed()
    assert not same(first, random.get_key())
    assert np.array_equal(numpy_state(), state)


def test_seed_context_puts_both_generators_back_also_after_an_error():
    key, words = random.get_key(), numpy_state()
    with random.seed_context(9):
        assert same(random.get_key(), jr.key(9))
        np.random.rand()
    with pytest.raises(ZeroDivisionError), random.seed_context(9):
        raise ZeroDivisionError
    assert same(random.get_key(), key)
    assert np.array_equal(numpy_state(), words)


def test_clones_start_from_a_fresh_key():
    keys = jr.split(jr.key(0))
    assert same(random.clone_rng().value, keys[1])
    assert same(random.get_key(), keys[0])
    assert random.clone_rng(clone=False) is random.DEFAULT
    assert random.default_rng() is random.DEFAULT
    assert same(random.clone_rng(5).value, random.default_rng(5).value)
    assert random.default_rng(5) is not random.default_rng(5)


def test_importing_starts_no_device():
    program = (
        "import brainir, jax\n"
        "from jax._src import xla_bridge\n"
        "assert not xla_bridge.backends_are_initialized()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_a_generator_without_a_seed_takes_fresh_entropy_once_also_inside_a_trace():
    lazy, another = RandomState.lazy("a"), RandomState.lazy("b")
    key = jax.jit(lambda: lazy.value)()
    assert same(key, lazy.value)
    assert len({jr.key_data(r.value).tobytes() for r in (lazy, another, RandomState())}) == 3


# Distributions ----------------------------------------------------------------------------------

N = (64, 64)
W = np.array([0.5, 1.5, 2.5], np.float32)
P = np.array([0.2, 0.3, 0.5], np.float32)
one = np.ones((), np.float32)

CASES = {  # what is drawn, and the same with jax.random
    "random": (lambda r: r.random(N), lambda k: jr.uniform(k, N)),
    "rand": (lambda r: r.rand(*N), lambda k: jr.uniform(k, N)),
    "rand_like": (lambda r: r.rand_like(np.zeros(N)), lambda k: jr.uniform(k, N)),
    "uniform": (lambda r: r.uniform(-1.0, V), lambda k: jr.uniform(k, (3,), None, -one, V)),
    "standard_normal": (lambda r: r.standard_normal(N), lambda k: jr.normal(k, N)),
    "randn": (lambda r: r.randn(*N), lambda k: jr.normal(k, N)),
    "randn_like": (lambda r: r.randn_like(np.zeros(N)), lambda k: jr.normal(k, N)),
    "normal": (lambda r: r.normal(V, 3.0), lambda k: V + 3.0 * jr.normal(k, (3,))),
    "lognormal": (lambda r: r.lognormal(V, 3.0), lambda k: jnp.exp(V + 3.0 * jr.normal(k, (3,)))),
    "laplace": (lambda r: r.laplace(V, 3.0), lambda k: V + 3.0 * jr.laplace(k, (3,))),
    "logistic": (lambda r: r.logistic(V, 3.0), lambda k: V + 3.0 * jr.logistic(k, (3,))),
    "gumbel": (lambda r: r.gumbel(V, 3.0), lambda k: V + 3.0 * jr.gumbel(k, (3,))),
    "cauchy": (lambda r: r.cauchy(V, 3.0), lambda k: V + 3.0 * jr.cauchy(k, (3,))),
    "standard_cauchy": (lambda r: r.standard_cauchy(N), lambda k: jr.cauchy(k, N)),
    "standard_t": (lambda r: r.standard_t(V), lambda k: jr.t(k, V, (3,))),
    "exponential": (lambda r: r.exponential(V), lambda k: V * jr.exponential(k, (3,))),
    "standard_exponential": (lambda r: r.standard_exponential(N), lambda k: jr.exponential(k, N)),
    "gamma": (lambda r: r.gamma(V, 3.0), lambda k: 3.0 * jr.gamma(k, V, (3,))),
    "standard_gamma": (lambda r: r.standard_gamma(V), lambda k: jr.gamma(k, V, (3,))),
    "chisquare": (lambda r: r.chisquare(V), lambda k: jr.chisquare(k, V, (3,))),
    "rayleigh": (lambda r: r.rayleigh(V), lambda k: V * jr.rayleigh(k, one, (3,))),
    "weibull": (lambda r: r.weibull(V), lambda k: jr.weibull_min(k, one, V, (3,))),
    "pareto": (lambda r: r.pareto(V), lambda k: jr.pareto(k, V, (3,))),
    "beta": (lambda r: r.beta(V, W), lambda k: jr.beta(k, V, W, (3,))),
    "multivariate_normal": (
        lambda r: r.multivariate_normal(V, np.eye(3), 2, "eigh"),
        lambda k: jr.multivariate_normal(k, V, jnp.eye(3), (2,), method="eigh"),
    ),
    "randint": (lambda r: r.randint(2, 9, N), lambda k: jr.randint(k, N, 2, 9)),
    "randint of one number": (lambda r: r.randint(9, size=N), lambda k: jr.randint(k, N, 0, 9)),
    "random_integers": (lambda r: r.random_integers(1, 6, N), lambda k: jr.randint(k, N, 1, 7)),
    "randint_like": (
        lambda r: r.randint_like(np.zeros(3, np.int8), 9),
        lambda k: jr.randint(k, (3,), 0, 9, jnp.int8),
    ),
    "bernoulli": (lambda r: r.bernoulli(0.3, N), lambda k: jr.bernoulli(k, one * 0.3, N)),
    "binomial": (
        lambda r: r.binomial(V, P),
        lambda k: jr.binomial(k, V, P, (3,)).astype(jnp.int32),
    ),
    "poisson": (lambda r: r.poisson(V), lambda k: jr.poisson(k, V, (3,))),
    "geometric": (
        lambda r: r.geometric(P),
        lambda k: (1 + jnp.floor(jnp.log1p(-jr.uniform(k, (3,))) / jnp.log1p(-P))).astype("int32"),
    ),
    "categorical": (
        lambda r: r.categorical(V, size=9),
        lambda k: jr.categorical(k, V, shape=(9,)),
    ),
    "choice": (lambda r: r.choice(9, 4), lambda k: jr.choice(k, 9, (4,))),
    "choice with probabilities": (
        lambda r: r.choice(V, 4, p=P),
        lambda k: jr.choice(k, V, (4,), p=P),
    ),
    "permutation": (lambda r: r.permutation(9), lambda k: jr.permutation(k, 9)),
    "shuffle": (lambda r: r.shuffle(V), lambda k: jr.permutation(k, V)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_draw_is_that_of_jax_with_one_split_key(name):
    draw, expected = CASES[name]

    def drawn(key):
        generator = RandomState(key)
        return draw(generator), generator.value

    def expected_of(key):
        keys = jr.split(key)
        rest, fresh = keys[0], keys[1]
        return expected(fresh), rest

    key = jr.key(0)
    programs = [str(jax.make_jaxpr(f)(key)) for f in (drawn, expected_of)]
    if programs[0] != programs[1]:  # equal programs need not be compiled
        assert all(map(same, drawn(key), expected_of(key)))


def test_the_functions_of_the_module_draw_from_the_default_generator():
    keys = jr.split(jr.key(0))
    assert same(random.normal(V, 3.0), V + 3.0 * jr.normal(keys[1], (3,)))
    assert same(random.get_key(), keys[0])
    for name in set(CASES) & set(random.__all__):
        assert getattr(random, name) == getattr(random.DEFAULT, name)


MOMENTS = {  # arguments, mean, and standard deviation
    "uniform": ((2.0, 5.0), 3.5, 3 * 12**-0.5),
    "normal": ((2.0, 3.0), 2.0, 3.0),
    "laplace": ((2.0, 3.0), 2.0, 3 * 2**0.5),
    "logistic": ((2.0, 3.0), 2.0, 3 * np.pi / 3**0.5),
    "gumbel": ((2.0, 3.0), 2 + 3 * np.euler_gamma, 3 * np.pi / 6**0.5),
    "lognormal": ((0.5, 0.25), np.exp(0.53125), np.exp(0.53125) * np.expm1(0.0625) ** 0.5),
    "exponential": ((3.0,), 3.0, 3.0),
    "gamma": ((4.0, 3.0), 12.0, 6.0),
    "rayleigh": ((2.0,), 2 * (np.pi / 2) ** 0.5, 2 * (2 - np.pi / 2) ** 0.5),
    "weibull": ((2.0,), np.pi**0.5 / 2, (1 - np.pi / 4) ** 0.5),
    "pareto": ((10.0,), 10 / 9, (10 / 8) ** 0.5 / 9),
    "random_integers": ((1, 6), 3.5, (35 / 12) ** 0.5),
    "bernoulli": ((0.3,), 0.3, 0.21**0.5),
    "geometric": ((0.4,), 2.5, 0.6**0.5 / 0.4),
}


@pytest.mark.parametrize("name", MOMENTS)
def test_samples_have_the_mean_and_deviation_of_their_distribution(name):
    args, mean, deviation = MOMENTS[name]
    sample = np.asarray(getattr(random, name)(*args, size=N), float)
    assert abs(sample.mean() - mean) < 4 * deviation / sample.size**0.5
    assert abs(sample.std() / deviation - 1) < 0.08


def test_a_truncated_normal_stays_within_its_bounds_and_keeps_its_scale():
    sample = random.truncated_normal(0.0, 4.0, N, loc=1.0, scale=2.0, key=1)
    assert np.allclose(sample, 1 + 2 * jr.truncated_normal(jr.key(1), -one / 2, one * 1.5, N))
    assert float(sample.min()) >= 0.0
    assert float(sample.max()) <= 4.0
    assert abs(float(sample.mean()) - 1.7402) < 0.06


def test_every_distribution_is_among_the_cases():
    names = set(random.__all__) & {name for name in dir(RandomState) if not name.startswith("_")}
    others = (ROOT / "tests" / "test_distributions.py").read_text()
    keys = {"restore_key", "seed", "self_assign_multi_keys", "set_key", "split_key"}
    missing = {n for n in names - keys - CASES.keys() if f'"{n}"' not in others}
    assert missing == {"dirichlet", "multinomial", "orthogonal"}  # asked for by name there


def test_a_generator_of_its_own_draws_the_same_and_leaves_the_default_alone():
    assert same(RandomState(0).rand(3), random.rand(3))
    assert same(random.get_key(), jr.split(jr.key(0))[0])


def test_drawing_without_replacement_repeats_nothing_and_permuting_loses_nothing():
    assert sorted(random.choice(10, 10, replace=False).tolist()) == list(range(10))
    x = np.arange(12).reshape(3, 4)
    rows = random.permutation(x)
    assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, x.tolist()))
    mixed = random.permutation(x, axis=1, independent=True)
    assert np.array_equal(np.sort(mixed, axis=1), x)


# Sizes, types, units ----------------------------------------------------------------------------


def shaped(draw, *args, **kwargs):
    """What a draw looks like; nothing is computed."""
    return jax.eval_shape(lambda: draw(*args, **kwargs, key=1))


@pytest.mark.parametrize("size", [None, 3, (3,), [2, 3], (2, 1, 3), np.int64(3)])
def test_a_size_is_any_shape_that_the_parameters_broadcast_to(size):
    expected = (3,) if size is None else tuple(np.atleast_1d(size))
    for draw in (random.normal, random.exponential, random.gamma, random.poisson, random.uniform):
        assert shaped(draw, V, size=size).shape == expected


@pytest.mark.parametrize("size", [(), 2, (3, 2), (1,)])
def test_a_size_that_parameters_do_not_fit_is_refused_and_draws_nothing(size):
    for draw in (random.normal, random.exponential, random.poisson, random.standard_t):
        with pytest.raises(ValueError, match=r"shape \(3,\) do not broadcast"):
            draw(V, size=size)
    assert same(random.get_key(), jr.key(0))


def test_types_follow_the_argument_and_then_the_environment():
    assert shaped(random.normal, dtype=jnp.bfloat16).dtype == jnp.bfloat16
    assert shaped(random.randint, 5, dtype=jnp.int8).dtype == jnp.int8
    assert shaped(random.normal, np.zeros(2)).dtype == jnp.float32
    assert shaped(random.rand_like, np.zeros(2, np.float16)).dtype == jnp.float16
    assert shaped(random.rand_like, np.zeros(2, np.int32)).dtype == jnp.float32
    with environ.context(precision=16):
        assert shaped(random.normal, 1.0, 2.0).dtype == jnp.float16
        assert shaped(random.poisson, 3.0).dtype == jnp.int16
    with environ.context(precision=64):
        assert shaped(random.uniform, V, 9.0).dtype == jnp.float64


def test_samples_have_the_unit_of_location_and_scale():
    bare = random.normal(3.0, 2.0, 4, key=1)
    quantity = random.normal(3.0 * u.mV, 0.002 * u.volt, 4, key=1)
    assert quantity.unit == u.mV
    np.testing.assert_allclose(quantity.mantissa, bare, rtol=1e-6)
    for sample in (
        shaped(random.uniform, 0.0, 2.0 * u.mV, 3),
        shaped(random.normal, scale=2.0 * u.mV),
        shaped(random.normal, 2.0 * u.mV),
        shaped(random.laplace, 1.0 * u.mV, 2.0 * u.mV),
        shaped(random.exponential, 2.0 * u.mV),
        shaped(random.gamma, 2.0, 3.0 * u.mV),
        shaped(random.rayleigh, 2.0 * u.mV),
        shaped(random.truncated_normal, 0.0, 2.0 * u.mV, loc=1.0 * u.mV, scale=1.0 * u.mV),
        shaped(random.multivariate_normal, V * u.mV, np.eye(3) * u.mV**2),
        shaped(random.choice, V * u.mV, 2),
        shaped(random.permutation, V * u.mV),
        shaped(random.shuffle, V * u.mV),
    ):
        assert sample.unit == u.mV


def test_units_that_do_not_go_together_are_refused():
    for draw in (
        lambda: random.normal(1.0, 2.0 * u.mV),
        lambda: random.normal(1.0 * u.mV, 2.0 * u.ms),
        lambda: random.uniform(1.0 * u.mV),
        lambda: random.multivariate_normal(V * u.mV, np.eye(3) * u.mV),
    ):
        with pytest.raises(u.UnitMismatchError):
            draw()
    for draw in (
        lambda: random.gamma(2.0 * u.mV, 3.0),
        lambda: random.lognormal(1.0 * u.mV),
        lambda: random.poisson(1.0 * u.mV),
        lambda: random.bernoulli(0.5 * u.mV),
        lambda: random.randint(3 * u.mV),
    ):
        with pytest.raises(ValueError, match="takes no unit"):
            draw()
    assert shaped(random.poisson, 3.0 * u.mV / u.volt).shape == ()


@pytest.mark.parametrize("p", [-0.1, 1.5, np.nan, [0.5, 2.0]])
def test_probabilities_outside_of_0_to_1_are_refused(p):
    for draw in (random.bernoulli, random.geometric, lambda p: random.binomial(3, p)):
        with pytest.raises(ValueError, match="between 0 and 1"):
            draw(p)


# Traced -----------------------------------------------------------------------------------------


def test_traced_code_draws_what_plain_python_draws():
    def program():
        loop = transform.for_loop(lambda i: random.rand(2) + i, jnp.arange(3.0))
        taken = transform.cond(loop[0, 0] < 100.0, lambda: random.rand(2), lambda: jnp.zeros(2))
        return loop, taken, random.rand(2)

    results = []
    for run in (program, transform.jit(program)):
        random.seed(3)
        results.append((*run(), random.get_key()))
    with jax.disable_jit():
        random.seed(3)
        results.append((*program(), random.get_key()))
    for other in results[1:]:
        assert all(same(a, b) for a, b in zip(results[0], other, strict=True))


def test_a_compiled_function_draws_anew_on_every_call():
    draw = transform.jit(lambda: random.rand(2))
    first, second = draw(), draw()
    random.seed(0)
    assert same(first, random.rand(2))
    assert same(second, random.rand(2))


def test_a_traced_seed_is_a_seed():
    drawn = transform.jit(lambda seed: random.rand(2, key=seed))(jnp.int32(7))
    assert same(drawn, random.rand(2, key=7))


def test_drawing_under_a_plain_jax_transformation_is_refused_and_changes_nothing():
    with pytest.raises(TraceContextError, match=r"random\.DEFAULT"):
        jax.jit(lambda: random.rand(2))()
    assert same(random.get_key(), jr.key(0))
    assert same(jax.jit(lambda: random.rand(2, key=1))(), random.rand(2, key=1))
