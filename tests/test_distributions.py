"""The distributions that have formulas of their own: their moments, their functions, traced use."""

import math

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainir import RandomState, TraceContextError, environ, random, transform

N = 20_000


@pytest.fixture(autouse=True, scope="module")
def _compiled_in_less_time():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def drawn(name, *args, **options):
    return np.asarray(getattr(RandomState(11), name)(*args, size=N, **options), float)


def excess(sample, distribution):
    """Return the Kolmogorov-Smirnov distance, over what one in a million samples exceed."""
    x = np.sort(sample)
    want = distribution(x)
    steps = np.arange(x.size + 1) / x.size
    distance = max(np.max(steps[1:] - want), np.max(want - steps[:-1]))
    return distance / (math.sqrt(math.log(2e6) / 2) / math.sqrt(x.size))


def normal_function(x):
    return np.array([0.5 * math.erfc(-y / math.sqrt(2)) for y in np.asarray(x)])


def triangle(x, left=-1.0, mode=0.5, right=2.0):
    rises = (x - left) ** 2 / ((right - left) * (mode - left))
    falls = 1 - (right - x) ** 2 / ((right - left) * (right - mode))
    return np.where(x < mode, rises, falls)


def inverse_gaussian(x, mean=2.0, scale=3.0):
    root = np.sqrt(scale / x)
    second = np.exp(2 * scale / mean) * normal_function(-root * (x / mean + 1))
    return normal_function(root * (x / mean - 1)) + second


def maxwell(x):
    return np.array([math.erf(y / math.sqrt(2)) for y in x]) - math.sqrt(2 / math.pi) * x * np.exp(
        -x * x / 2
    )


def von_mises(x, kappa=2.5):
    grid = np.linspace(-np.pi, np.pi, 20_001)
    density = np.exp(kappa * np.cos(grid))
    area = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return np.interp(x, grid, area / area[-1])


FUNCTIONS = {  # arguments, and the distribution function in closed form
    "power": ((3.0,), lambda x: x**3),
    "triangular": ((-1.0, 0.5, 2.0), triangle),
    "wald": ((2.0, 3.0), inverse_gaussian),
    "maxwell": ((), maxwell),
    "weibull_min": ((1.5, 2.0), lambda x: -np.expm1(-((x / 2) ** 1.5))),
    "vonmises": ((0.0, 2.5), von_mises),
    "f": ((2.0, 6.0), lambda x: 1 - (1 + x / 3) ** -3.0),
    "t": ((2.0,), lambda x: 0.5 + x / (2 * np.sqrt(2 + x * x))),
    "loggamma": ((1.0,), lambda x: -np.expm1(-np.exp(x))),
    "noncentral_chisquare": (
        (1.0, 4.0),
        lambda x: normal_function(np.sqrt(x) - 2) - normal_function(-np.sqrt(x) - 2),
    ),
    "ranf": ((), lambda x: x),
    "sample": ((), lambda x: x),
    "random_sample": ((), lambda x: x),
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_samples_follow_the_distribution_function(name):
    args, function = FUNCTIONS[name]
    assert excess(drawn(name, *args), function) < 1


def test_the_measure_notices_a_wrong_distribution():
    assert excess(drawn("power", 3.0), lambda x: x**2.9) > 1


MASSES = {  # arguments, and numbers that the probabilities of 0, 1, 2, ... are proportional to
    "zipf": ((2.5,), lambda k: np.where(k > 0, np.maximum(k, 1.0) ** -2.5, 0)),
    "logseries": ((0.8,), lambda k: np.where(k > 0, 0.8**k / np.maximum(k, 1), 0)),
    "geometric": ((0.3,), lambda k: np.where(k > 0, 0.7 ** (k - 1.0), 0)),
    "negative_binomial": (
        (3.0, 0.4),
        lambda k: np.array([math.comb(int(n) + 2, 2) * 0.6**n for n in k]),
    ),
    "hypergeometric": (
        (7, 5, 6),
        lambda k: np.array([math.comb(7, int(n)) * math.comb(5, max(6 - int(n), 0))
                            * (6 - int(n) in range(6)) for n in k], float),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MASSES)
def test_counts_have_the_probabilities_of_their_distribution(name):
    args, mass = MASSES[name]
    sample = drawn(name, *args).astype(int)
    weights = mass(np.arange(2_000.0)) if name != "negative_binomial" else mass(np.arange(200.0))
    p = weights / weights.sum()
    seen = np.bincount(sample[sample < 12], minlength=12)[:12] / N
    assert np.all(np.abs(seen - p[:12]) < 5 * np.sqrt(p[:12] / N) + 1e-4)
    assert not np.any(seen[p[:12] == 0])


@pytest.mark.parametrize("df", [0.5, 3.0])
def test_noncentral_distributions_have_their_moments(df):
    sample = drawn("noncentral_chisquare", df, 4.0)
    deviation = math.sqrt(2 * (df + 8))
    assert abs(sample.mean() - (df + 4)) < 5 * deviation / math.sqrt(N)
    assert abs(sample.std() / deviation - 1) < 0.05
    ratio = drawn("noncentral_f", df, 12.0, 4.0)
    mean = 12 * (df + 4) / (df * 10)
    assert abs(ratio.mean() - mean) < 5 * ratio.std() / math.sqrt(N)


def test_shares_add_up_and_have_their_means():
    shares = random.dirichlet(np.array([1.0, 2.0, 5.0]), N, key=3)
    assert np.allclose(shares.sum(-1), 1, atol=1e-5)
    assert np.allclose(shares.mean(0), [1 / 8, 2 / 8, 5 / 8], atol=0.005)
    assert random.dirichlet(np.ones((4, 3)), key=3).shape == (4, 3)
    with pytest.raises(ValueError, match="needs an axis"):
        random.dirichlet(1.0)


def test_multinomial_counts_add_up_and_the_last_outcome_has_the_rest():
    counts = random.multinomial(50, np.array([0.1, 0.3, 0.0]), N // 10, key=3)
    assert counts.dtype == jnp.int32
    assert np.all(counts.sum(-1) == 50)
    assert np.allclose(counts.mean(0), [5, 15, 30], atol=0.3)
    assert random.multinomial(np.array([3, 9]), np.array([0.5, 0.5]), key=3).sum(-1).tolist() == [
        3,
        9,
    ]
    with pytest.raises(ValueError, match="must be 0 or more"):
        random.multinomial(5, np.array([0.8, 0.8, 0.1]))


def test_orthogonal_matrices_are_so_and_have_no_preferred_direction():
    turns = random.orthogonal(3, 2_000, key=5)
    assert turns.shape == (2_000, 3, 3)
    assert np.allclose(turns @ turns.mT, np.eye(3), atol=1e-5)
    assert np.allclose(turns.mean(0), 0, atol=0.06)


def test_angles_without_a_preference_are_even_and_turn_round():
    even = drawn("vonmises", 0.0, 0.0)
    assert excess(even, lambda x: (x + np.pi) / (2 * np.pi)) < 1
    turned = drawn("vonmises", 3.0, 4.0)
    assert abs(turned).max() <= np.pi + 1e-6
    assert abs(np.angle(np.exp(1j * turned).mean()) - 3.0) < 0.02


def test_extreme_parameters_give_numbers():
    assert drawn("zipf", 1.01).min() >= 1
    assert random.zipf(1.01, size=500, key=1, dtype=jnp.int8).max() == 127
    assert set(drawn("logseries", 0.0)) == {1.0}
    assert drawn("logseries", 0.99999).max() > 10_000
    assert set(drawn("geometric", 1.0)) == {1.0}
    assert set(drawn("hypergeometric", 3, 0, 2)) == {2.0}
    assert set(drawn("hypergeometric", 3, 4, 0)) == {0.0}


SHAPES = {
    "f": (2.0, 3.0),
    "loggamma": (2.0,),
    "power": (2.0,),
    "vonmises": (0.0, 2.0),
    "wald": (1.0, 2.0),
    "zipf": (2.0,),
    "logseries": (0.5,),
    "negative_binomial": (3.0, 0.5),
    "hypergeometric": (4, 5, 3),
    "noncentral_chisquare": (2.0, 1.0),
    "noncentral_f": (2.0, 3.0, 1.0),
    "triangular": (0.0, 0.5, 1.0),
    "weibull_min": (1.0, 2.0),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", SHAPES)
def test_sizes_are_kept_and_parameters_broadcast(name):
    args = SHAPES[name]
    draw = getattr(random, name)
    assert draw(*args).shape == ()
    assert draw(*args, size=(0, 3)).shape == (0, 3)
    assert draw(*(np.full(2, a) for a in args)).shape == (2,)
    with pytest.raises(ValueError, match="do not broadcast"):
        draw(*(np.full(2, a) for a in args), size=3)


LOOPED = ("zipf", "vonmises", "hypergeometric", "negative_binomial", "wald", "noncentral_f")
"""Those that draw in loops of their own, or split their key."""


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", LOOPED)
def test_plain_compiled_and_looped_draws_are_the_same(name):
    args = SHAPES[name]

    def program():
        loop = transform.for_loop(lambda _: getattr(random, name)(*args, size=2), np.arange(2))
        return loop, getattr(random, name)(*args, size=3)

    results = []
    for run in (program, transform.jit(program)):
        with random.seed_context(3):
            results.append((*run(), random.get_key_data()))
    with jax.disable_jit(), random.seed_context(3):
        results.append((*program(), random.get_key_data()))
    with random.seed_context(3):
        plain = [getattr(random, name)(*args, size=2) for _ in range(2)]
    np.testing.assert_allclose(results[0][0], np.stack(plain), rtol=1e-4, atol=1e-5)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["zipf", "vonmises", "hypergeometric", "wald"])
def test_lanes_are_distinct_and_come_again(name):
    draw = transform.jit(transform.vmap(lambda _: getattr(random, name)(*SHAPES[name], size=20)))
    with random.seed_context(3):
        first = draw(np.arange(3.0))
    with random.seed_context(3):
        assert np.array_equal(first, draw(np.arange(3.0)))
    assert len({row.tobytes() for row in np.asarray(first)}) == 3


def test_wide_and_narrow_types_are_drawn():
    with environ.context(precision=64):
        assert random.power(2.0, key=1).dtype == jnp.float64
        assert random.zipf(2.0, key=1).dtype == jnp.int64
        assert random.hypergeometric(4, 5, 3, key=1).dtype == jnp.int64
    with environ.context(precision=16):
        assert random.wald(1.0, 2.0, key=1).dtype == jnp.float16


def test_units_go_in_and_come_out():
    for sample in (
        random.wald(20.0 * u.ms, 0.05 * u.second, 3, key=1),
        random.triangular(0.0, 1.0 * u.ms, 2000.0 * u.us, 3, key=1),
        random.weibull_min(2.0, 3.0 * u.ms, 3, key=1),
    ):
        assert sample.unit == u.ms
    bare = random.wald(20.0, 50.0, 3, key=1)
    quantity = random.wald(20.0 * u.ms, 0.05 * u.second, 3, key=1)
    np.testing.assert_allclose(quantity.mantissa, bare, rtol=1e-5)
    for draw in (
        lambda: random.power(2.0 * u.ms),
        lambda: random.zipf(2.0 * u.ms),
        lambda: random.f(2.0, 3.0 * u.ms),
        lambda: random.vonmises(1.0 * u.ms, 1.0),
    ):
        with pytest.raises(ValueError, match="takes no unit"):
            draw()


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("power", (0.0,)),
        ("zipf", (1.0,)),
        ("logseries", (1.0,)),
        ("f", (2.0, -1.0)),
        ("chisquare", (0.0,)),
        ("vonmises", (0.0, -1.0)),
        ("negative_binomial", (0.0, 0.5)),
        ("negative_binomial", (1.0, np.nan)),
        ("hypergeometric", (3, 2, 6)),
        ("triangular", (0.0, 2.0, 1.0)),
        ("triangular", (1.0, 1.0, 1.0)),
        ("wald", (-1.0, 1.0)),
        ("truncated_normal", (1.0, 0.0)),
        ("poisson", (-1.0,)),
    ],
)
def test_parameters_out_of_their_range_are_refused_also_inside_jit_and_draw_nothing(name, args):
    with random.seed_context(0):
        for run in (lambda f: f(), lambda f: transform.jit(f)()):
            with pytest.raises(ValueError, match="must be"):
                run(lambda: getattr(random, name)(*args))
        assert random.get_key_data().tolist() == [0, 0]


def test_a_check_can_be_left_out():
    assert random.power(-1.0, check_valid=False).shape == ()
    assert random.bernoulli(2.0, check_valid=False, size=3).all()


# --- keys -----------------------------------------------------------------------------------------


def test_a_key_that_was_put_aside_comes_back_once():
    generator = RandomState(0)
    with pytest.raises(ValueError, match="put aside here"):
        generator.restore_key()
    first = generator.split_key(2, backup=True)
    with pytest.raises(ValueError, match="put aside already"):
        generator.backup_key()
    generator.restore_key()
    assert np.array_equal(jax.random.key_data(generator.split_key(2)), jax.random.key_data(first))
    with pytest.raises(ValueError, match="put aside here"):
        generator.restore_key()


def test_a_backup_belongs_to_the_function_that_made_it():
    generator = RandomState(0)

    @transform.jit
    def again():
        generator.backup_key()
        first = generator.rand(2)
        generator.restore_key()
        return first, generator.rand(2)

    generator.backup_key()
    draws = [again() for _ in range(2)]
    for first, second in draws:
        assert np.array_equal(first, second)
    assert not np.array_equal(draws[0][0], draws[1][0])
    with pytest.raises(ValueError, match="put aside here"):
        transform.jit(generator.restore_key)()
    generator.restore_key()
    assert jax.random.key_data(generator.value).tolist() == [0, 0]


def test_a_generator_may_hold_a_key_for_each_lane():
    with random.seed_context(2):
        random.self_assign_multi_keys(3)
        assert random.get_key().shape == (3,)
        assert len({key.tobytes() for key in np.asarray(random.get_key_data())}) == 3
        with pytest.raises(ValueError, match="at least 1"):
            random.self_assign_multi_keys(0)
        random.restore_key()
        assert random.get_key_data().tolist() == [0, 2]


def test_the_text_of_a_generator_shows_its_key():
    assert "key=[0, 3]" in repr(RandomState(3))
    assert "key=" in repr(RandomState.lazy("never drawn"))
    texts = []
    transform.jit(lambda: texts.append(repr(RandomState(3))))()
    assert "[0, 3]" not in texts[0]
    generator = RandomState(3)
    generator.self_assign_multi_keys(4)
    assert "4" in repr(generator)


@pytest.mark.parametrize("seed", [lambda k: k, lambda k: 7])
def test_a_generator_made_in_lanes_of_plain_jax_draws_inside_jit_as_outside(seed):
    def draw(key):
        generator = RandomState(key)
        first = generator.rand(2)
        generator.seed(seed(key))
        return first, generator.normal(), transform.for_loop(lambda i: generator.rand(), np.ones(2))

    keys = jax.random.split(jax.random.key(0), 3)
    plain = jax.vmap(draw)(keys)
    for run in (transform.jit(jax.vmap(draw)), transform.jit(jax.jit(jax.vmap(draw)))):
        jax.tree.map(np.testing.assert_array_equal, run(keys), plain)


def test_a_generator_from_outside_is_given_no_lanes_by_plain_jax():
    generator = RandomState(0)
    keys = jax.random.split(jax.random.key(0), 3)
    with pytest.raises(TraceContextError):
        transform.jit(jax.vmap(generator.seed))(keys)
    assert jax.random.key_data(generator.value).tolist() == [0, 0]
