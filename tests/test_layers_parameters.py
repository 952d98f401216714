"""Parameters, their transforms and penalties, and what training needs of them."""

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir import nn

X = jnp.array([-1.5, 0.25, 3.0])

TRANSFORMS = [
    nn.IdentityT(),
    nn.SigmoidT(-1.0, 3.0),
    nn.ScaledSigmoidT(-1.0, 3.0, beta=2.0),
    nn.TanhT(-1.0, 3.0),
    nn.SoftsignT(-1.0, 3.0),
    nn.SoftplusT(1.0),
    nn.NegSoftplusT(1.0),
    nn.ExpT(1.0),
    nn.LogT(1.0),
    nn.PositiveT(),
    nn.NegativeT(),
    nn.AffineT(-2.0, 1.0),
    nn.OrderedT(),
    nn.SimplexT(),
    nn.ChainT(nn.AffineT(2.0, 1.0), nn.SoftplusT(0.0)),
    nn.MaskedT(jnp.array([True, False, True]), nn.SoftplusT(0.0)),
]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)
def test_inverse_undoes_forward(transform):
    np.testing.assert_allclose(transform.inverse(transform.forward(X)), X, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("transform", [t for t in TRANSFORMS if t.elementwise], ids=repr)
def test_the_logarithm_of_the_jacobian_is_that_of_jax(transform):
    y = transform.forward(X)
    expected = jnp.linalg.slogdet(jax.jacfwd(transform.forward)(X))[1]
    np.testing.assert_allclose(transform.log_abs_det_jacobian(X, y), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "transform", [nn.SigmoidT, nn.TanhT, nn.SoftsignT, nn.ScaledSigmoidT, nn.ClipT]
)
def test_values_stay_between_bounds_of_any_unit(transform):
    between = transform(-1000.0 * u.uvolt, 3.0 * u.mV)
    x = 50 * X * u.mV if transform is nn.ClipT else 50 * X
    y = between.forward(x).to_decimal(u.mV)
    assert (y >= -1.0 - 1e-6).all()
    assert (y <= 3.0 + 1e-6).all()
    with pytest.raises(ValueError, match="lower < upper"):
        transform(1.0, 1.0)
    if transform is not nn.ClipT:
        np.testing.assert_allclose(between.inverse(between.forward(X)), X, rtol=1e-4)


@pytest.mark.parametrize("transform", [nn.SoftplusT, nn.ExpT, nn.NegSoftplusT, nn.ReluT])
def test_a_bound_gives_values_its_unit(transform):
    y = transform(2.0 * u.ms).forward(X)
    expected = transform(2.0).forward(X)
    np.testing.assert_allclose(y.to_decimal(u.ms), expected)
    inverse = transform(2.0 * u.ms).inverse(expected * 1000 * u.usecond)
    np.testing.assert_allclose(inverse, transform(2.0).inverse(expected), rtol=1e-3, atol=1e-5)
    with pytest.raises(u.UnitMismatchError):
        transform(2.0 * u.ms).inverse(expected)


def test_softplus_is_inverted_where_the_exponential_overflows():
    transform = nn.SoftplusT(0.0)
    np.testing.assert_allclose(transform.inverse(jnp.array([1e-3, 200.0])), [-6.907255, 200.0])
    assert float(jax.grad(transform.inverse)(200.0)) == 1.0


def test_dependent_values_have_the_form_they_promise():
    x = jnp.stack([X, 2 * X])
    assert (jnp.diff(nn.OrderedT().forward(x), axis=-1) > 0).all()
    shares = nn.SimplexT().forward(x)
    assert shares.shape == (2, 4)
    np.testing.assert_allclose(shares.sum(-1), 1.0, rtol=1e-6)
    z = jax.nn.sigmoid(X)
    expected = [z[0], z[1] * (1 - z[0]), z[2] * (1 - z[0]) * (1 - z[1])]
    np.testing.assert_allclose(nn.SimplexT().forward(X)[:3], expected, rtol=1e-5)
    np.testing.assert_allclose(jnp.linalg.norm(nn.UnitVectorT().forward(x), axis=-1), 1.0)
    np.testing.assert_allclose(nn.PowerT(0.5).forward(jnp.array([1.0, 9.0])), [0.0, 4.0])
    np.testing.assert_allclose(nn.PowerT(0.0).inverse(nn.PowerT(0.0).forward(2.0)), 2.0, rtol=1e-6)
    with pytest.raises(NotImplementedError, match="mixes elements"):
        nn.SimplexT().log_abs_det_jacobian(X, shares)


def test_masked_elements_keep_clean_gradients():
    transform = nn.MaskedT(jnp.array([True, False]), nn.LogT(0.0))
    inverse = jax.grad(lambda y: transform.inverse(y).sum())(jnp.array([2.0, -1.0]))
    np.testing.assert_allclose(inverse, [0.5, 1.0])


def test_what_is_not_a_transform_is_refused():
    with pytest.raises(TypeError, match="Transform"):
        nn.ChainT(3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="Transform"):
        nn.Param(1.0, t=jnp.exp)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="Regularization"):
        nn.Param(1.0, reg=3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="cannot be 0"):
        nn.AffineT(0.0, 1.0)


def test_a_parameter_is_trained_in_free_space():
    tau = nn.Param(jnp.array([1.0, 5.0]) * u.ms, t=nn.SigmoidT(0.0 * u.ms, 10.0 * u.ms))
    np.testing.assert_allclose(tau.value().to_decimal(u.ms), [1.0, 5.0], rtol=1e-6)
    assert isinstance(tau.val, brainir.ParamState)
    assert list(tau.states(brainir.ParamState)) == [("val",)]

    def loss():
        return jnp.sum((tau.value().to_decimal(u.ms) - 2.0) ** 2)

    @brainir.transform.jit
    def step():
        grads = brainir.transform.grad(loss, tau.states())()
        tau.val.value = tau.val.value - 0.02 * grads[("val",)]

    before = float(loss())
    expected = jax.grad(lambda x: jnp.sum((tau.t.forward(x).to_decimal(u.ms) - 2.0) ** 2))
    first = tau.val.value - 0.02 * expected(tau.val.value)
    step()
    np.testing.assert_allclose(tau.val.value, first, rtol=1e-5)
    for _ in range(30):
        step()
    assert float(loss()) < 0.2 * before


def test_a_parameter_can_be_set_clipped_and_reset():
    param = nn.Param(jnp.array([3.0, -4.0]), reg=nn.L2Reg(0.5))
    assert float(param.reg_loss()) == 12.5
    param.clip(0.0, 1.0)
    np.testing.assert_array_equal(param.value(), [1.0, 0.0])
    param.set_value(jnp.array([2, 7]))
    assert param.value().dtype == jnp.float32
    param.reset_to_prior()
    np.testing.assert_array_equal(param.value(), [0.0, 0.0])
    volts = nn.Param(jnp.ones(2) * u.mV, reg=nn.L1Reg(2.0))
    assert float(volts.reg_loss() / u.mV) == 4.0
    volts.reset_to_prior()
    assert float(u.math.max(u.math.abs(volts.value())) / u.mV) == 0.0
    assert nn.Const(3.0, reg=nn.L2Reg()).reg_loss() == 0.0
    assert float(nn.Param(2.0, precompute=lambda x: 10 * x).value()) == 20.0


def test_a_kept_value_is_left_when_the_numbers_change():
    calls = []

    def noted(x):
        calls.append(1)
        return x + 1

    param = nn.Param(1.0, precompute=noted)
    assert param.cache_stats == {"valid": False, "has_cached_value": False}
    param.cache()
    assert float(param.value()) == float(param.value()) == 2.0
    assert len(calls) == 1
    param.val.value = jnp.float32(5.0)
    assert not param.cache_stats["valid"]
    assert float(param.value()) == 6.0
    param.cache()

    @brainir.transform.jit
    def doubled():
        param.cache()
        param.val.value = 2 * param.val.value
        return param.value()

    assert float(doubled()) == 11.0
    assert float(param.value()) == 11.0
    param.clear_cache()
    assert not param.cache_stats["has_cached_value"]


def test_init_makes_a_parameter_of_what_a_user_gave():
    param = nn.Param(jnp.ones(3))
    assert nn.Param.init(param, 3) is param
    assert nn.Param.init(None) is None
    assert isinstance(nn.Param.init(2.0 * u.mV), nn.Const)
    np.testing.assert_array_equal(nn.Param.init(brainir.init.Constant(2.0), 3).value(), 2.0)
    trained = nn.Param.init(1.0, 3, fit=True, t=nn.SoftplusT(0.0))
    assert isinstance(trained.val, brainir.ParamState)
    with pytest.raises(ValueError, match="does not broadcast"):
        nn.Param.init(jnp.ones(2), 3)
    with pytest.raises(ValueError, match="does not broadcast"):
        nn.Param.init(param, 2)
    with pytest.raises(ValueError, match="None"):
        nn.Param.init(None, 3, allow_none=False)
    with pytest.raises(ValueError, match="needs sizes"):
        nn.Param.init(brainir.init.Constant(2.0))


def test_an_elastic_net_is_between_the_two():
    x = jnp.array([1.0, -2.0, 0.5])
    expected = 0.25 * 2.0 * 3.5 + 0.75 * 3.0 * 5.25
    np.testing.assert_allclose(nn.ElasticNetReg(2.0, 3.0, alpha=0.25).loss(x), expected)


@pytest.mark.parametrize("order", [1, 2.0, 3, "inf", None, np.inf])
def test_clipped_gradients_are_as_long_as_allowed(order):
    grads = {"w": jnp.array([3.0, -4.0]), "b": [jnp.array([[12.0]]), jnp.zeros((0,))]}
    flat = np.array([3.0, -4.0, 12.0])
    norm = np.linalg.norm(flat, 2 if order is None else float(order))
    clipped, found = nn.clip_grad_norm(grads, 5.0, order, return_norm=True)
    np.testing.assert_allclose(found, norm, rtol=1e-6)
    np.testing.assert_allclose(clipped["w"], flat[:2] * 5.0 / norm, rtol=1e-6)
    np.testing.assert_allclose(clipped["b"][0], [[12.0 * 5.0 / norm]], rtol=1e-6)
    np.testing.assert_array_equal(nn.clip_grad_norm(grads, norm + 1, order)["w"], grads["w"])


def test_clipping_keeps_units_types_and_nothing():
    grads = {"w": jnp.array([3.0, 4.0]) * u.mV, "h": jnp.zeros(2, jnp.float16)}
    clipped = nn.clip_grad_norm(grads, 1.0)
    np.testing.assert_allclose(clipped["w"].to_decimal(u.mV), [0.6, 0.8], rtol=1e-6)
    assert clipped["h"].dtype == jnp.float16
    assert nn.clip_grad_norm({}, 1.0) == {}
    zeros = nn.clip_grad_norm({"w": jnp.zeros(2)}, 1.0)
    assert not jnp.isnan(zeros["w"]).any()
    assert float(jax.jit(nn.clip_grad_norm)(jnp.float32(-3.0), 2.0)) == -2.0
    with pytest.raises(ValueError, match="negative"):
        nn.clip_grad_norm(grads, -1.0)
    for order in ("foo", 0, 0.5):
        with pytest.raises(ValueError, match="norm_type"):
            nn.clip_grad_norm(grads, 1.0, order)


def test_parameters_are_counted_once(capsys):
    shared = nn.Linear(3, 4)
    net = nn.Sequential(shared, shared, nn.Param(jnp.ones((2, 5))), nn.Const(jnp.ones(7)))
    table, count = nn.count_parameters(net, return_table=True)
    assert count == 3 * 4 + 4 + 10
    assert capsys.readouterr().out == table + "\n"
    assert [line.split()[-1] for line in table.splitlines()] == ["parameters", "16", "10", "26"]
    assert nn.count_parameters(nn.Linear(1000, 2000)) == 2_002_000
    assert "2.00M" in capsys.readouterr().out
    with pytest.raises(TypeError, match="needs a Module"):
        nn.count_parameters(3)  # pyright: ignore[reportArgumentType]
