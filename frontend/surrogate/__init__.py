r"""Surrogate gradients: spikes that can be trained through.

A spike is a step function of the distance to threshold, :math:`s(x) = 1` where :math:`x \ge 0` and
0 elsewhere, whose derivative is zero almost everywhere. A surrogate leaves the step alone and puts
a function :math:`g(x)` in the place of its derivative. All surrogates here share one mechanism and
differ in :math:`g` alone. Each comes as a class, for a model to hold, and as a function.

To make another one, derive from :class:`Surrogate` and give it a ``surrogate_grad``:

>>> import jax
>>> import jax.numpy as jnp
>>> from brainir.surrogate import Surrogate
>>> class Rectangle(Surrogate):
...     def surrogate_grad(self, x):
...         return jnp.where(jnp.abs(x) < 0.5, 1.0, 0.0)
>>> float(jax.grad(Rectangle())(0.25))
1.0
"""

from .spike import Surrogate
from .surrogates import (
    ERF,
    S2NN,
    Arctan,
    GaussianGrad,
    InvSquareGrad,
    LeakyRelu,
    LogTailedRelu,
    MultiGaussianGrad,
    NonzeroSignLog,
    PiecewiseExp,
    PiecewiseLeakyRelu,
    PiecewiseQuadratic,
    QPseudoSpike,
    ReluGrad,
    Sigmoid,
    SlayerGrad,
    SoftSign,
    SquarewaveFourierSeries,
    arctan,
    erf,
    gaussian_grad,
    inv_square_grad,
    leaky_relu,
    log_tailed_relu,
    multi_gaussian_grad,
    nonzero_sign_log,
    piecewise_exp,
    piecewise_leaky_relu,
    piecewise_quadratic,
    q_pseudo_spike,
    relu_grad,
    s2nn,
    sigmoid,
    slayer_grad,
    soft_sign,
    squarewave_fourier_series,
)

__all__ = [
    "ERF",
    "S2NN",
    "Arctan",
    "GaussianGrad",
    "InvSquareGrad",
    "LeakyRelu",
    "LogTailedRelu",
    "MultiGaussianGrad",
    "NonzeroSignLog",
    "PiecewiseExp",
    "PiecewiseLeakyRelu",
    "PiecewiseQuadratic",
    "QPseudoSpike",
    "ReluGrad",
    "Sigmoid",
    "SlayerGrad",
    "SoftSign",
    "SquarewaveFourierSeries",
    "Surrogate",
    "arctan",
    "erf",
    "gaussian_grad",
    "inv_square_grad",
    "leaky_relu",
    "log_tailed_relu",
    "multi_gaussian_grad",
    "nonzero_sign_log",
    "piecewise_exp",
    "piecewise_leaky_relu",
    "piecewise_quadratic",
    "q_pseudo_spike",
    "relu_grad",
    "s2nn",
    "sigmoid",
    "slayer_grad",
    "soft_sign",
    "squarewave_fourier_series",
]
