"""Convolutions, pooling, flattening and normalisation."""

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir import nn

IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 5, 4)), jnp.float32)


def convolved(x, w):
    """Convolve by hand: strides of 1, no padding."""
    height, width = w.shape[:2]
    y = np.zeros((x.shape[0] - height + 1, x.shape[1] - width + 1, w.shape[3]))
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            y[i, j] = np.einsum("hwc,hwco->o", x[i : i + height, j : j + width], w)
    return y


def test_a_convolution_is_a_sum_over_the_kernel():
    conv = nn.Conv2d((6, 5, 4), 3, (2, 3), padding="VALID", b_init=brainir.init.Constant(0.5))
    assert conv.out_size == (5, 3, 3)
    weight = np.asarray(conv.weight.value["weight"])
    expected = convolved(np.asarray(IMAGES[0]), weight) + 0.5
    np.testing.assert_allclose(conv(IMAGES[0]), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(conv(IMAGES)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "padded", "size"),
    [
        ({"padding": 1}, ((1, 1), (1, 1)), (6, 5)),
        ({"padding": (1, 2)}, ((1, 1), (2, 2)), (6, 7)),
        ({"padding": [(1, 2), (0, 0)]}, ((1, 2), (0, 0)), (7, 3)),
        ({}, ((1, 1), (1, 1)), (6, 5)),
    ],
)
def test_padding_is_as_said(settings, padded, size):
    conv = nn.Conv2d((6, 5, 4), 3, 3, **settings)
    assert conv.out_size == (*size, 3)
    x = np.pad(np.asarray(IMAGES[0]), (*padded, (0, 0)))
    expected = convolved(x, np.asarray(conv.weight.value["weight"]))
    np.testing.assert_allclose(conv(IMAGES[0]), expected, rtol=1e-4, atol=1e-5)


def test_strides_groups_dilations_and_masks():
    assert nn.Conv2d((10, 8, 3), 4, (3, 2), stride=2, padding="VALID").out_size == (4, 4, 4)
    assert nn.Conv2d((10, 8, 3), 4, 3, rhs_dilation=2, padding="VALID").out_size == (6, 4, 4)
    assert nn.Conv2d((10, 8, 3), 4, 3, lhs_dilation=2, padding=1).out_size == (19, 15, 4)
    assert nn.Conv1d((10, 3), 4, 3, padding=(1, 2)).out_size == (11, 4)
    assert nn.Conv3d((6, 5, 4, 2), 4, 3)(jnp.ones((6, 5, 4, 2))).shape == (6, 5, 4, 4)
    grouped = nn.Conv2d((6, 5, 4), 8, 3, groups=4)
    assert grouped.weight.value["weight"].shape == (3, 3, 1, 8)
    alone = grouped(IMAGES.at[..., 1:].set(0))
    assert (alone[..., 2:] == 0).all()
    assert (alone[..., :2] != 0).any()
    masked = nn.Conv2d((6, 5, 4), 3, 3, w_mask=np.arange(3) == 1)
    assert (masked(IMAGES)[..., 0] == 0).all()
    assert (masked(IMAGES)[..., 1] != 0).any()


def test_channels_may_come_first():
    last = nn.Conv2d((6, 5, 4), 3, 3, b_init=jnp.arange(3.0))
    first = nn.Conv2d((4, 6, 5), 3, 3, b_init=jnp.ones(1), channel_first=True)
    first.weight.value = {
        "weight": last.weight.value["weight"],
        "bias": jnp.arange(3.0).reshape(3, 1, 1),
    }
    assert first.out_size == (3, 6, 5)
    x = jnp.moveaxis(IMAGES, -1, 1)
    np.testing.assert_allclose(jnp.moveaxis(first(x), 1, -1), last(IMAGES), rtol=1e-4, atol=1e-5)


def test_convolutions_multiply_units():
    conv = nn.Conv2d((6, 5, 4), 3, 3, w_init=brainir.init.Constant(1.0 * u.mS), b_init=1.0 * u.uA)
    plain = nn.Conv2d((6, 5, 4), 3, 3, w_init=brainir.init.Constant(1.0), b_init=1.0)
    y = conv(IMAGES * u.mV)
    np.testing.assert_allclose(y.to_decimal(u.uA), plain(IMAGES), rtol=1e-5)


def test_wrong_convolutions_are_refused():
    with pytest.raises(ValueError, match="2 spatial axes"):
        nn.Conv2d((6, 5), 3, 3)
    with pytest.raises(ValueError, match="divided into 3 groups"):
        nn.Conv2d((6, 5, 4), 3, 3, groups=3)
    with pytest.raises(ValueError, match="kernel_size"):
        nn.Conv2d((6, 5, 4), 3, (3, 3, 3))
    with pytest.raises(ValueError, match="padding"):
        nn.Conv2d((6, 5, 4), 3, 3, padding="foo")
    with pytest.raises(ValueError, match="lhs_dilation"):
        nn.Conv2d((6, 5, 4), 3, 3, lhs_dilation=2)
    conv = nn.Conv2d((6, 5, 4), 3, 3)
    for shape in ((6, 5, 3), (2, 2, 6, 5, 4), (5, 4), (2, 5, 5, 4)):
        with pytest.raises(ValueError, match=r"takes arrays of shape \(6, 5, 4\)"):
            conv(jnp.ones(shape))


def test_pools_take_the_largest_and_the_mean_of_windows():
    blocks = np.asarray(IMAGES[:, :, :4]).reshape(2, 3, 2, 2, 2, 4)
    np.testing.assert_allclose(nn.MaxPool2d(2)(IMAGES), blocks.max((2, 4)))
    np.testing.assert_allclose(nn.AvgPool2d(2, 2)(IMAGES), blocks.mean((2, 4)), rtol=1e-5)
    assert nn.AvgPool2d(2, in_size=(6, 5, 4)).out_size == (5, 4, 4)
    assert nn.MaxPool2d(2, padding="SAME", in_size=(6, 5, 4)).out_size == (3, 3, 4)
    assert nn.MaxPool2d((2, 3), 2, padding=(1, 0))(IMAGES).shape == (2, 4, 2, 4)
    assert nn.MaxPool1d(3)(jnp.ones((4, 9, 2))).shape == (4, 3, 2)
    assert nn.AvgPool3d(2)(jnp.ones((4, 4, 4, 2))).shape == (3, 3, 3, 2)


def test_pools_find_space_beside_channels_and_keep_batches():
    first = jnp.moveaxis(IMAGES, -1, 1)
    found = nn.MaxPool2d(2, channel_axis=1)(first)
    np.testing.assert_array_equal(jnp.moveaxis(found, 1, -1), nn.MaxPool2d(2)(IMAGES))
    np.testing.assert_array_equal(
        nn.MaxPool2d(2, channel_axis=None)(IMAGES[..., 0]), nn.MaxPool2d(2)(IMAGES)[..., 0]
    )
    np.testing.assert_array_equal(nn.MaxPool2d(2)(IMAGES[None])[0], nn.MaxPool2d(2)(IMAGES))
    with pytest.raises(ValueError, match="2 spatial axes"):
        nn.MaxPool2d(2)(jnp.ones((4, 4)))


def test_padding_is_neither_counted_nor_the_largest():
    np.testing.assert_array_equal(nn.AvgPool2d(2, 1, padding=1)(jnp.ones((3, 3, 1))), 1.0)
    assert (nn.MaxPool2d(2, 1, padding=1)(-jnp.ones((3, 3, 1))) == -1).all()
    assert (nn.MaxPool2d(2, 1, padding=1)(-jnp.ones((3, 3, 1), jnp.int8)) == -1).all()
    assert nn.MaxPool2d(3)(jnp.ones((3, 3, 1), bool)).dtype == bool


def test_pools_keep_units():
    for pool in (nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(2)):
        np.testing.assert_array_equal(pool(IMAGES * u.mV).to_decimal(u.mV), pool(IMAGES))


def test_adaptive_pools_split_as_numpy_does():
    x = jnp.arange(7.0)[:, None]
    parts = np.array_split(np.arange(7.0), 3)
    np.testing.assert_array_equal(nn.AdaptiveAvgPool1d(3)(x)[:, 0], [p.mean() for p in parts])
    np.testing.assert_array_equal(nn.AdaptiveMaxPool1d(3)(x)[:, 0], [p.max() for p in parts])
    pool = nn.AdaptiveAvgPool2d((None, 1), in_size=(6, 5, 4))
    assert pool.out_size == (6, 1, 4)
    np.testing.assert_allclose(pool(IMAGES), IMAGES.mean(2, keepdims=True), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="cannot make 9 parts"):
        nn.AdaptiveAvgPool2d(9)(IMAGES)
    with pytest.raises(ValueError, match="target_size"):
        nn.AdaptiveAvgPool2d((1, 2, 3))


def test_flattening_keeps_batches_if_it_knows_the_input():
    assert nn.Flatten()(IMAGES).shape == (240,)
    assert nn.Flatten(1)(IMAGES * u.mV).shape == (2, 120)
    flatten = nn.Flatten(in_size=(6, 5, 4))
    assert flatten.out_size == (120,)
    np.testing.assert_array_equal(flatten(IMAGES), IMAGES.reshape(2, 120))
    assert flatten(IMAGES[0]).shape == (120,)
    assert nn.Flatten(1, 2, in_size=(6, 5, 4))(IMAGES).shape == (2, 6, 20)
    for wrong in (jnp.ones((6, 5, 3)), jnp.ones((5, 4))):
        with pytest.raises(ValueError, match="end with"):
            flatten(wrong)
    with pytest.raises(ValueError, match="cannot join"):
        nn.Flatten(3, 1)(IMAGES)


def test_layer_norm_gives_mean_0_and_variance_1():
    norm = nn.LayerNorm((6, 5, 4), reduction_axes=(-2, -1), feature_axes=-1)
    assert norm.weight.value["scale"].shape == (1, 1, 4)
    y = norm(IMAGES)
    np.testing.assert_allclose(y.mean((-2, -1)), 0.0, atol=1e-6)
    np.testing.assert_allclose(y.var((-2, -1)), 1.0, rtol=1e-4)
    norm.weight.value = {"scale": jnp.full((1, 1, 4), 2.0), "bias": jnp.ones((1, 1, 4))}
    np.testing.assert_allclose(norm(IMAGES), 2 * y + 1, rtol=1e-5)
    assert nn.LayerNorm(4, use_bias=False, use_scale=False).weight is None
    masked = nn.LayerNorm(4)(IMAGES, mask=jnp.arange(4) < 2)
    np.testing.assert_allclose(masked[..., :2].mean(-1), 0.0, atol=1e-5)
    with pytest.raises(ValueError, match="feature_axes"):
        nn.LayerNorm(4, feature_axes=-2)


def test_batch_norm_uses_the_batch_in_training_and_its_memory_elsewhere():
    norm = nn.BatchNorm2d((6, 5, 4), momentum=0.9)
    assert norm.running_mean.value.shape == (1, 1, 4)
    mean, variance = IMAGES.mean((0, 1, 2)), IMAGES.var((0, 1, 2))

    @brainir.transform.jit
    def trained(x):
        with brainir.environ.context(fit=True):
            return norm(x)

    expected = (IMAGES - mean) / jnp.sqrt(variance + 1e-5)
    np.testing.assert_allclose(trained(IMAGES), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norm.running_mean.value[0, 0], 0.1 * mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(norm.running_var.value[0, 0], 0.9 + 0.1 * variance, rtol=1e-4)
    with brainir.environ.context(fit=False):
        y = norm(IMAGES)
    expected = (IMAGES - 0.1 * mean) / jnp.sqrt(0.9 + 0.1 * variance + 1e-5)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(KeyError, match="fit"):
        norm(IMAGES)


def test_batch_norm_without_memory_always_uses_the_batch():
    norm = nn.BatchNorm0d(3, affine=False, track_running_stats=False)
    assert not norm.states()
    x = jnp.arange(6.0).reshape(2, 3)
    with brainir.environ.context(fit=False):
        np.testing.assert_allclose(norm(x), [[-1.0] * 3, [1.0] * 3], rtol=1e-4)
    with pytest.raises(ValueError, match="takes arrays"), brainir.environ.context(fit=True):
        norm(jnp.ones((2, 2, 3)))
    with pytest.raises(ValueError, match="spatial axes"):
        nn.BatchNorm2d((3,))


def test_gradients_of_spatial_layers_are_those_of_jax():
    conv, pool = nn.Conv2d((6, 5, 4), 3, 3), nn.MaxPool2d(2)
    mean, norm = nn.AvgPool2d(2, 2), nn.LayerNorm((3, 2, 3))

    def loss():
        return (norm(pool(conv(IMAGES))) ** 3).sum() + (mean(conv(IMAGES)) ** 2).sum()

    found = brainir.transform.jit(lambda: brainir.transform.grad(loss, conv.states())())()

    def pure(weight):
        x = jax.lax.conv_general_dilated(
            IMAGES, weight, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        largest = x[:, :, :4].reshape(2, 3, 2, 2, 2, 3).max((2, 4))
        means = x[:, :, :4].reshape(2, 3, 2, 2, 2, 3).mean((2, 4))
        centred = largest - largest.mean(-1, keepdims=True)
        scaled = centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
        return (scaled**3).sum() + (means**2).sum()

    expected = jax.grad(pure)(conv.weight.value["weight"])
    np.testing.assert_allclose(found[("weight",)]["weight"], expected, rtol=1e-3, atol=1e-4)
