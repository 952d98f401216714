"""Initialisers that are made of others, and profiles of distance."""

from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainir import environ, init, random, transform

um = u.um
D = np.array([0.0, 10.0, 50.0, 100.0, 200.0], np.float32)
BAD: Any = "bad"


def bell(d, sigma):
    return np.exp(-(d**2) / (2 * sigma**2))


PROFILES = [  # the profile, the same as a formula of numbers in um, and how it prints
    (
        init.GaussianProfile(50.0 * um, 0.15 * u.mm),
        lambda d: np.where(d <= 150, bell(d, 50), 0),
        "GaussianProfile(sigma=50. um, max_distance=0.15 mm)",
    ),
    (
        init.ExponentialProfile(0.05 * u.mm),
        lambda d: np.exp(-d / 50),
        "ExponentialProfile(decay_constant=0.05 mm)",
    ),
    (
        init.PowerLawProfile(2.0, 10.0 * um),
        lambda d: (np.maximum(d, 10) / 10) ** -2,
        "PowerLawProfile(exponent=2.0, min_distance=10. um)",
    ),
    (
        init.PowerLawProfile(1.0),
        lambda d: 1 / np.maximum(d, 1),
        "PowerLawProfile(exponent=1.0)",
    ),
    (
        init.LinearProfile(100.0 * um),
        lambda d: np.maximum(1 - d / 100, 0),
        "LinearProfile(max_distance=100. um)",
    ),
    (
        init.StepProfile(50.0 * um, 0.8, 0.1),
        lambda d: np.where(d <= 50, 0.8, 0.1),
        "StepProfile(threshold=50. um, inside_prob=0.8, outside_prob=0.1)",
    ),
    (
        init.SigmoidProfile(50.0 * um, 0.1),
        lambda d: 1 / (1 + np.exp(0.1 * (d - 50))),
        "SigmoidProfile(midpoint=50. um, slope=0.1)",
    ),
    (
        init.LogisticProfile(100.0 / u.mm, 50.0 * um),
        lambda d: 1 / (1 + np.exp(0.1 * (d - 50))),
        None,
    ),
    (
        init.MexicanHatProfile(50.0 * um, 2.0),
        lambda d: np.maximum(2 * (1 - (d / 50) ** 2) * bell(d, 50), 0),
        "MexicanHatProfile(sigma=50. um, amplitude=2.0)",
    ),
    (
        init.DoGProfile(30.0 * um, 80.0 * um),
        lambda d: np.maximum(bell(d, 30) - 0.5 * bell(d, 80), 0),
        None,
    ),
    (
        init.BimodalProfile(20.0 * um, 30.0 * um, center2=0.1 * u.mm, amplitude2=0.5),
        lambda d: bell(d, 20) + 0.5 * bell(d - 100, 30),
        None,
    ),
]


@pytest.mark.parametrize("case", PROFILES, ids=lambda case: type(case[0]).__name__)
def test_a_profile_is_its_formula_in_any_unit_of_length_plain_and_compiled(case):
    profile, formula, text = case
    want = formula(D.astype(float))
    assert text is None or repr(profile) == text
    np.testing.assert_allclose(profile(D * um), want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(profile.weight_scaling(D * um), want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        transform.jit(profile.probability)(D * um), want, rtol=1e-5, atol=1e-6
    )
    if "min_distance=None" not in repr(profile) and type(profile) is not init.PowerLawProfile:
        np.testing.assert_allclose(profile(D / 1000 * u.mm), want, rtol=1e-4, atol=1e-5)
    assert profile(D[:0] * um).shape == (0,)


def test_profiles_without_units_take_distances_without_units():
    profile = init.GaussianProfile(2.0) * 0.5
    np.testing.assert_allclose(profile(2.0), 0.5 * np.exp(-0.5), rtol=1e-6)
    with environ.context(precision=64):
        assert init.LinearProfile(2.0)(1.0).dtype == np.float64


def test_distances_and_scales_of_different_dimensions_are_refused():
    for profile, distance in (
        (init.GaussianProfile(2.0 * um), 1.0),
        (init.GaussianProfile(2.0), 1.0 * um),
        (init.LinearProfile(2.0 * um), 1.0 * u.ms),
    ):
        with pytest.raises((u.UnitMismatchError, u.DimensionMismatchError)):
            profile(distance)


@pytest.mark.parametrize(
    "make",
    [
        lambda: init.GaussianProfile(0.0 * um),
        lambda: init.LinearProfile(-1.0),
        lambda: init.DoGProfile(1.0, np.nan),
        lambda: init.ExponentialProfile(1.0, 0.0),
    ],
)
def test_widths_must_be_positive(make):
    with pytest.raises(ValueError, match="must be positive"):
        make()


def test_profiles_combine_by_arithmetic_and_functions():
    g, e = init.GaussianProfile(50.0), init.ExponentialProfile(50.0)
    x, y = bell(D, 50), np.exp(-D / 50)
    for made, want, text in (
        (g + e, x + y, f"({g} + {e})"),
        (1.0 - g, 1 - x, f"(1.0 - {g})"),
        (2.0 * g / e, 2 * x / y, f"((2.0 * {g}) / {e})"),
        (1.0 + g - e, 1 + x - y, f"((1.0 + {g}) - {e})"),
        (1.0 / e, 1 / y, f"(1.0 / {e})"),
        (g | jnp.sqrt, np.sqrt(x), f"({g} | sqrt)"),
        (g.apply(jnp.square), x * x, f"{g}.apply(square)"),
        (g.clip(0.2, 0.5), np.clip(x, 0.2, 0.5), f"{g}.clip(0.2, 0.5)"),
    ):
        np.testing.assert_allclose(made(D), want, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(made.weight_scaling(D), want, rtol=1e-5, atol=1e-6)
        assert repr(made) == text
    with pytest.raises(TypeError, match="joined with"):
        print(g | e)


def test_weight_scaling_of_ones_own_goes_through_what_is_made_of_it():
    class Signed(init.DistanceProfile):
        def probability(self, distances):
            return jnp.ones(jnp.shape(u.get_mantissa(distances)))

        def weight_scaling(self, distances):
            return -jnp.ones(jnp.shape(u.get_mantissa(distances)))

    made = (Signed() * 2.0 | jnp.square).clip(0.0, 3.0) - 1.0
    assert made(D).tolist() == [2.0] * 5
    assert (2.0 * Signed().apply(jnp.negative)).weight_scaling(D).tolist() == [2.0] * 5


# --- initialisers ---------------------------------------------------------------------------------

C = init.Constant


def test_weights_are_modulated_by_distances_or_positions_through_what_is_made_of_them():
    weight = init.DistanceModulated(C(2.0 * u.nS), init.LinearProfile(10.0 * um))
    pre = np.array([[0.0, 0.0], [3.0, 4.0]], np.float32) * um
    post = np.array([[0.0, 0.0], [0.0, 4.0], [6.0, 8.0]], np.float32) * um
    made = weight((2, 3), pre_positions=pre, post_positions=post)
    np.testing.assert_allclose(
        made.to_decimal(u.nS), [[2, 1.2, 0], [1, 1.4, 1]], rtol=1e-5, atol=1e-6
    )
    twice: Any = (init.Scaled(weight, 2.0) + C(1.0 * u.nS)).clip(0.0 * u.nS, 4.5 * u.nS)
    near = twice((2,), distances=np.array([0.0, 5.0], np.float32) * um)
    np.testing.assert_allclose(near.to_decimal(u.nS), [4.5, 3.0], rtol=1e-5)
    with pytest.raises(ValueError, match="needs distances="):
        weight((2,))
    with pytest.raises(TypeError, match="uses distances"):
        init.Scaled(C(1.0), 2.0)((2,), distances=D)


def test_a_condition_chooses_by_the_index_of_the_neuron():
    made = init.Conditional(lambda i: i % 2 == 0, C(1.0 * u.mV), C(-2.0 * u.mV))
    assert made((2, 3)).to_decimal(u.mV).tolist() == [[1, -2, 1]] * 2
    assert made(3, neuron_indices=np.array([1, 3, 4])).to_decimal(u.mV).tolist() == [-2, -2, 1]
    assert made((0,)).shape == (0,)


def test_a_mixture_draws_as_often_as_its_weights_say():
    mixture = init.Mixture([C(1.0 * u.mV), C(2.0 * u.mV), C(3.0 * u.mV)], [0.2, 0.3, 0.5])
    made = mixture((10_000,), rng=random.RandomState(1)).to_decimal(u.mV)
    shares = [np.mean(np.isclose(made, n)) for n in (1, 2, 3)]
    np.testing.assert_allclose(shares, [0.2, 0.3, 0.5], atol=0.02)
    even = init.Mixture([init.Normal(0.0, 1.0), C(5.0)])((4_000,), rng=random.RandomState(1))
    assert abs(np.mean(even == 5) - 0.5) < 0.03
    assert abs(np.std(even[even != 5]) - 1) < 0.06


@pytest.mark.parametrize(
    "make",
    [
        lambda: init.Mixture([]),
        lambda: init.Mixture([C(1.0)], [0.3, 0.7]),
        lambda: init.Mixture([C(1.0), C(2.0)], [0.3, 0.3]),
        lambda: init.Mixture([C(1.0), C(2.0)], [-0.5, 1.5]),
        lambda: init.Compose(),
    ],
)
def test_mixtures_that_are_none_are_refused(make):
    with pytest.raises(ValueError, match=r"Mixture|weights|needs an initialiser"):
        make()


def test_compose_maps_from_left_to_right_and_takes_only_functions_after_the_first():
    made = init.Compose(C(2.0), jnp.square, jnp.negative)
    assert made((2,)).tolist() == [-4.0, -4.0]
    for wrong in ((jnp.square, C(1.0)), (C(1.0), C(2.0)), (C(1.0), BAD)):
        with pytest.raises(TypeError, match="part"):
            init.Compose(*wrong)


def test_composites_draw_the_same_plain_and_compiled_and_take_the_type_asked_for():
    made = init.Clipped(init.Scaled(init.Mixture([init.Normal(0.0, 1.0), C(1.0)]), 2.0), -1.0, 1.0)
    draw = lambda: made((50,), rng=random.RandomState(4))  # noqa: E731
    np.testing.assert_allclose(draw(), transform.jit(draw)(), rtol=1e-6)
    assert float(jnp.abs(draw()).max()) <= 1.0
    assert init.Scaled(C(1.0), 2.0)((2,), dtype=jnp.float16).dtype == jnp.float16


@pytest.mark.parametrize("size", [(3, 4, 4), (5, 3, 2, 4), (2, 2, 2, 3, 3)])
def test_a_delta_orthogonal_kernel_keeps_the_norm_of_a_signal(size):
    w = np.asarray(init.DeltaOrthogonal(2.0)(size, rng=random.RandomState(0)))
    rows, columns = size[-2:]
    middle = w[tuple((n - 1) // 2 for n in size[:-2])]
    np.testing.assert_allclose(middle @ middle.T, 4 * np.eye(rows), atol=1e-5)
    assert np.count_nonzero(w) <= rows * columns
    np.testing.assert_allclose(np.sum(w**2), 4 * rows, rtol=1e-5)


@pytest.mark.parametrize("size", [(4, 4), (3, 5, 4), 3])
def test_a_delta_orthogonal_kernel_needs_an_extent_and_enough_outputs(size):
    with pytest.raises(ValueError, match="extent"):
        init.DeltaOrthogonal()(size)


def test_param_takes_composites_and_refuses_text():
    assert init.param(init.Scaled(C(1.0), 2.0), 3, batch_size=2).shape == (2, 3)
    with pytest.raises(TypeError, match="a parameter is"):
        init.param(BAD, 3)
    made = init.param(
        init.DistanceModulated(C(1.0), init.LinearProfile(2.0)), (2,), distances=np.ones(2)
    )
    assert made.tolist() == [0.5, 0.5]


def test_profiles_can_be_differentiated_by_the_distance():
    slope = jax.grad(lambda d: init.GaussianProfile(2.0)(d))(jnp.float32(1.0))
    np.testing.assert_allclose(slope, -0.25 * np.exp(-1 / 8), rtol=1e-5)
