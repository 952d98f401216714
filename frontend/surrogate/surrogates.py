"""The surrogates, as classes and as functions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.scipy.special import erfc
from jax.scipy.stats import norm

from .spike import Parameter, Surrogate, as_function


@dataclass(frozen=True, eq=False)
class Sigmoid(Surrogate):
    r"""The derivative of the logistic function.

    .. math:: g(x) = \alpha\,\sigma(\alpha x)\,(1 - \sigma(\alpha x))

    Source: Zenke & Vogels 2021, *The remarkable robustness of surrogate gradient learning*.

    Examples
    --------
    >>> import jax
    >>> from brainir import surrogate
    >>> spike = surrogate.Sigmoid()
    >>> float(spike(0.1)), round(float(jax.grad(spike)(0.1)), 3)
    (1.0, 0.961)
    """

    alpha: Parameter = 4.0

    def surrogate_grad(self, x):
        s = jax.nn.sigmoid(self.alpha * x)
        return self.alpha * s * (1 - s)

    def surrogate_fun(self, x):
        return jax.nn.sigmoid(self.alpha * x)


@dataclass(frozen=True, eq=False)
class PiecewiseQuadratic(Surrogate):
    r"""A triangle of area 1, the derivative of two parabolas.

    .. math:: g(x) = \max(0,\ \alpha - \alpha^2 |x|)

    Source: Esser et al. 2016, *Convolutional networks for fast, energy-efficient neuromorphic
    computing*; Bellec et al. 2018, *Long short-term memory and learning-to-learn in networks of
    spiking neurons*.

    Examples
    --------
    >>> import jax
    >>> from brainir import surrogate
    >>> spike = surrogate.PiecewiseQuadratic()
    >>> float(spike(0.1)), round(float(jax.grad(spike)(0.1)), 3)
    (1.0, 0.9)
    """

    alpha: Parameter = 1.0

    def surrogate_grad(self, x):
        return jnp.maximum(self.alpha - self.alpha**2 * jnp.abs(x), 0)

    def surrogate_fun(self, x):
        z = jnp.clip(self.alpha * x, -1, 1)
        return z - 0.5 * z * jnp.abs(z) + 0.5


@dataclass(frozen=True, eq=False)
class PiecewiseExp(Surrogate):
    r"""A two-sided exponential of area 1.

    .. math:: g(x) = \frac{\alpha}{2} e^{-\alpha |x|}

    Source: Shrestha & Orchard 2018, *SLAYER: spike layer error reassignment in time*.

    Examples
    --------
    >>> import jax
    >>> from brainir import surrogate
    >>> spike = surrogate.PiecewiseExp()
    >>> float(spike(0.1)), round(float(jax.grad(spike)(0.1)), 3)
    (1.0, 0.452)
    """

    alpha: Parameter = 1.0

    def surrogate_grad(self, x):
        return self.alpha / 2 * jnp.exp(-self.alpha * jnp.abs(x))

    def surrogate_fun(self, x):
        tail = 0.5 * jnp.exp(-self.alpha * jnp.abs(x))
        return jnp.where(x < 0, tail, 1 - tail)


@dataclass(frozen=True, eq=False)
class SoftSign(Surrogate):
    r"""The derivative of the fast sigmoid.

    .. math:: g(x) = \frac{\alpha}{2 (1 + |\alpha x|)^2}

    Source: Zenke & Ganguli 2018, *SuperSpike: supervised learning in multilayer spiking neural
    networks*.

    Examples
    --------
    >>> import jax
    >>> from brainir import surrogate
    >>> spike = surrogate.SoftSign()
    >>> float(spike(0.1)), round(float(jax.grad(spike)(0.1)), 3)
    (1.0, 0.413)
    """

    alpha: Parameter = 1.0

    def surrogate_grad(self, x):
        return self.alpha / (2 * (1 + jnp.abs(self.alpha * x)) ** 2)

    def surrogate_fun(self, x):
        return 0.5 * (self.alpha * x / (1 + jnp.abs(self.alpha * x)) + 1)


@dataclass(frozen=True, eq=False)
class Arctan(Surrogate):
    r"""The derivative of the arc tangent.

    .. math:: g(x) = \frac{\alpha}{2 (1 + (\frac{\pi}{2} \alpha x)^2)}

    Source: Fang et al. 2021, *Incorporating learnable membrane time constant to enhance learning of
    spiking neural networks*.

    Examples
    --------
    >>> import jax
    >>> from brainir import surrogate
    >>> spike = surrogate.Arctan()
    >>> float(spike(0.1)), round(float(jax.grad(spike)(0.1)), 3)
    (1.0, 0.488)
    """

    alpha: Parameter = 1.0

    def surrogate_grad(self, x):
        return self.alpha / (2 * (1 + (math.pi / 2 * self.alpha * x) ** 2))

    def surrogate_fun(self, x):
        return jnp.arctan(math.pi / 2 * self.alpha * x) / math.pi + 0.5


@dataclass(frozen=True, eq=False)
class NonzeroSignLog(Surrogate):
    r"""The derivative of a logarithm that was mirrored at the origin; its tails fall slowly.

    .. math:: g(x) = \frac{\alpha}{1 + |\alpha x|}

    Source: Fang et al. 2023, *SpikingJelly: an open-source machine learning infrastructure platform
    for spike-based intelligence*.

    Examples
    --------
    >>> import jax
    >>> from brainir import surrogate
    >>> spike = surrogate.NonzeroSignLog()
    >>> float(spike(0.1)), round(float(jax.grad(spike)(0.1)), 3)
    (1.0, 0.909)
    """

    alpha: Parameter = 1.0

    def surrogate_grad(self, x):
        return self.alpha / (1 + jnp.abs(self.alpha * x))

    def surrogate_fun(self, x):
        return jnp.sign(x) * jnp.log1p(jnp.abs(self.alpha * x))


@dataclass(frozen=True, eq=False)
class ERF(Surrogate):
    r"""The derivative of the Gaussian error function.

    .. math:: g(x) = \frac{\alpha}{\sqrt{\pi}} e^{-\alpha^2 x^2}

    Source: Wu et al. 2018, *Spatio-temporal backpropagation for training high-performance spiking
    neural networks*.

    Examples
    --------
    >>> import jax
    >>> from brainir import surrogate
    >>> spike = surrogate.ERF()
    >>> float(spike(0.1)), round(float(jax.grad(spike)(0.1)), 3)
    (1.0, 0.559)
    """

    alpha: Parameter = 1.0

    def surrogate_grad(self, x):
        return self.alpha / math.sqrt(math.pi) * jnp.exp(-((self.alpha * x) ** 2))

    def surrogate_fun(self, x):
        return 0.5 * erfc(-self.alpha * x)


@dataclass(frozen=True, eq=False)
class PiecewiseLeakyRelu(Surrogate):
    r"""A rectangle around the threshold, and a small constant outside of it.

    .. math:: g(x) = \frac{1}{2w} \text{ where } |x| \le w,\qquad c \text{ elsewhere}

    Source: Wu et al. 2018, *Spatio-temporal backpropagation for training high-performance spiking
    neural networks*.

    Examples
    --------
    >>> import jax
    >>> from brainir import surrogate
    >>> spike = surrogate.PiecewiseLeakyRelu()
    >>> float(spike(0.1)), round(float(jax.grad(spike)(0.1)), 3)
    (1.0, 0.5)
    """

    c: Parameter = 0.01
    w: Parameter = 1.0

    def surrogate_grad(self, x):
        return jnp.where(jnp.abs(x) <= self.w, 1 / (2 * self.w), self.c)

    def surrogate_fun(self, x):
        inside = jnp.clip(x, -self.w, self.w)
        return inside / (2 * self.w) + 0.5 + self.c * (x - inside)


@dataclass(frozen=True, eq=False)
class SquarewaveFourierSeries(Surrogate):
    r"""The derivative of the first `n` terms of the Fourier series of a square wave.

    .. math:: g(x) = \frac{4}{T} \sum_{i=1}^{n} \cos\frac{2\pi (2i-1) x}{T}

    Source: Fang et al. 2023, *SpikingJelly: an open-source machine learning infrastructure platform
    for spike-based intelligence*.

    Examples
    --------
    >>> import jax
    >>> from brainir import surrogate
    >>> spike = surrogate.SquarewaveFourierSeries()
    >>> float(spike(0.1)), round(float(jax.grad(spike)(0.1)), 3)
    (1.0, 0.985)
    """

    n: int = 2
    t_period: Parameter = 8.0

    def surrogate_grad(self, x):
        terms = sum((jnp.cos(w * x) for w in self._frequencies()), jnp.zeros_like(x))
        return 4 / self.t_period * terms

    def surrogate_fun(self, x):
        terms = sum((jnp.sin(w * x) / w for w in self._frequencies()), jnp.zeros_like(x))
        return 0.5 + 4 / self.t_period * terms

    def _frequencies(self):
        return [2 * math.pi * (2 * i + 1) / self.t_period for i in range(self.n)]


@dataclass(frozen=True, eq=False)
class S2NN(Surrogate):
    r"""A sigmoid below the threshold and a logarithm above it.

    .. math::
        g(x) = \alpha\,\sigma(\alpha x)\,(1 - \sigma(\alpha x)) \text{ where } x < 0,\qquad
        \frac{\beta}{x + 1 + \epsilon} \text{ elsewhere}

    Source: Suetake et al. 2023, *S3NN: time step reduction of spiking surrogate gradients for
    training energy efficient single-step spiking neural networks*.

    Examples
    --------
    >>> import jax
    >>> from brainir import surrogate
    >>> spike = surrogate.S2NN()
    >>> float(spike(0.1)), round(float(jax.grad(spike)(0.1)), 3)
    (1.0, 0.909)
    """

    alpha: Parameter = 4.0
    beta: Parameter = 1.0
    epsilon: Parameter = 1e-8

    def surrogate_grad(self, x):
        s = jax.nn.sigmoid(self.alpha * x)
        return jnp.where(
            x < 0, self.alpha * s * (1 - s), self.beta / (jnp.abs(x) + 1 + self.epsilon)
        )

    def surrogate_fun(self, x):
        above = self.beta * jnp.log(jnp.abs(x) + 1 + self.epsilon) + 0.5
        return jnp.where(x < 0, jax.nn.sigmoid(self.alpha * x), above)


@dataclass(frozen=True, eq=False)
class QPseudoSpike(Surrogate):
    r"""A power law whose tails grow heavier as `alpha` falls.

    .. math:: g(x) = \left(1 + \frac{2 |x|}{\alpha + 1}\right)^{-\alpha}

    Source: Herranz-Celotti & Rouat 2022, *Surrogate gradients design*, with :math:`\alpha + 1`
    where they have :math:`\alpha - 1`. ``surrogate_fun`` needs ``alpha != 1``.

    Examples
    --------
    >>> import jax
    >>> from brainir import surrogate
    >>> spike = surrogate.QPseudoSpike()
    >>> float(spike(0.1)), round(float(jax.grad(spike)(0.1)), 3)
    (1.0, 0.879)
    """

    alpha: Parameter = 2.0

    def surrogate_grad(self, x):
        return (1 + 2 * jnp.abs(x) / (self.alpha + 1)) ** -self.alpha

    def surrogate_fun(self, x):
        base = 1 + 2 * jnp.abs(x) / (self.alpha + 1)
        area = (self.alpha + 1) / (2 * (self.alpha - 1)) * (1 - base ** (1 - self.alpha))
        return 0.5 + jnp.sign(x) * area


@dataclass(frozen=True, eq=False)
class LeakyRelu(Surrogate):
    r"""One slope below the threshold and another above.

    .. math:: g(x) = \alpha \text{ where } x < 0,\qquad \beta \text{ elsewhere}

    Source: Maas et al. 2013, *Rectifier nonlinearities improve neural network acoustic models*.

    Examples
    --------
    >>> import jax
    >>> from brainir import surrogate
    >>> spike = surrogate.LeakyRelu()
    >>> float(spike(0.1)), round(float(jax.grad(spike)(0.1)), 3)
    (1.0, 1.0)
    """

    alpha: Parameter = 0.1
    beta: Parameter = 1.0

    def surrogate_grad(self, x):
        return jnp.where(x < 0, self.alpha, self.beta)

    def surrogate_fun(self, x):
        return jnp.where(x < 0, self.alpha * x, self.beta * x)


@dataclass(frozen=True, eq=False)
class LogTailedRelu(Surrogate):
    r"""The derivative of a rectifier that turns into a logarithm.

    .. math::
        g(x) = \alpha \text{ where } x \le 0,\qquad 1 \text{ where } 0 < x \le 1,\qquad
        \frac{1}{x} \text{ elsewhere}

    Source: Cai et al. 2017, *Deep learning with low precision by half-wave Gaussian quantization*.

    Examples
    --------
    >>> import jax
    >>> from brainir import surrogate
    >>> spike = surrogate.LogTailedRelu()
    >>> float(spike(0.1)), round(float(jax.grad(spike)(0.1)), 3)
    (1.0, 1.0)
    """

    alpha: Parameter = 0.0

    def surrogate_grad(self, x):
        return jnp.where(x <= 0, self.alpha, 1 / jnp.maximum(x, 1))

    def surrogate_fun(self, x):
        above = jnp.maximum(x, 1)
        return jnp.where(x <= 0, self.alpha * x, jnp.minimum(x, 1) + jnp.log(above))


@dataclass(frozen=True, eq=False)
class ReluGrad(Surrogate):
    r"""A triangle of height :math:`\alpha w`, zero outside the width.

    .. math:: g(x) = \max(0,\ \alpha (w - |x|))

    Source: Neftci, Mostafa & Zenke 2019, *Surrogate gradient learning in spiking neural networks*.

    Examples
    --------
    >>> import jax
    >>> from brainir import surrogate
    >>> spike = surrogate.ReluGrad()
    >>> float(spike(0.1)), round(float(jax.grad(spike)(0.1)), 3)
    (1.0, 0.27)
    """

    alpha: Parameter = 0.3
    width: Parameter = 1.0

    def surrogate_grad(self, x):
        return jnp.maximum(self.alpha * (self.width - jnp.abs(x)), 0)


@dataclass(frozen=True, eq=False)
class GaussianGrad(Surrogate):
    r"""A Gaussian of area :math:`\alpha`.

    .. math:: g(x) = \frac{\alpha}{\sqrt{2\pi}\,\sigma} e^{-x^2 / 2\sigma^2}

    Source: Yin, Corradi & Bohté 2021, *Accurate and efficient time-domain classification with
    adaptive spiking recurrent neural networks*.

    Examples
    --------
    >>> import jax
    >>> from brainir import surrogate
    >>> spike = surrogate.GaussianGrad()
    >>> float(spike(0.1)), round(float(jax.grad(spike)(0.1)), 3)
    (1.0, 0.391)
    """

    sigma: Parameter = 0.5
    alpha: Parameter = 0.5

    def surrogate_grad(self, x):
        return self.alpha * norm.pdf(x, scale=self.sigma)


@dataclass(frozen=True, eq=False)
class MultiGaussianGrad(Surrogate):
    r"""A Gaussian between two broader negative ones.

    With :math:`N(x; \mu, \sigma)` the density of the normal distribution,

    .. math::
        g(x) = \gamma\,[(1 + h) N(x; 0, \sigma)
        - h N(x; \sigma, s\sigma) - h N(x; -\sigma, s\sigma)]

    and :math:`\gamma` is `scale`. Source: as :class:`GaussianGrad`.

    Examples
    --------
    >>> import jax
    >>> from brainir import surrogate
    >>> spike = surrogate.MultiGaussianGrad()
    >>> float(spike(0.1)), round(float(jax.grad(spike)(0.1)), 3)
    (1.0, 0.43)
    """

    h: Parameter = 0.15
    s: Parameter = 6.0
    sigma: Parameter = 0.5
    scale: Parameter = 0.5

    def surrogate_grad(self, x):
        wide = self.s * self.sigma
        centre = (1 + self.h) * norm.pdf(x, scale=self.sigma)
        sides = norm.pdf(x, self.sigma, wide) + norm.pdf(x, -self.sigma, wide)
        return self.scale * (centre - self.h * sides)


@dataclass(frozen=True, eq=False)
class InvSquareGrad(Surrogate):
    r"""An inverse square of height 1.

    .. math:: g(x) = \frac{1}{(1 + \alpha |x|)^2}

    Source: Zenke & Ganguli 2018, *SuperSpike: supervised learning in multilayer spiking neural
    networks*.

    Examples
    --------
    >>> import jax
    >>> from brainir import surrogate
    >>> spike = surrogate.InvSquareGrad()
    >>> float(spike(0.1)), round(float(jax.grad(spike)(0.1)), 3)
    (1.0, 0.008)
    """

    alpha: Parameter = 100.0

    def surrogate_grad(self, x):
        return 1 / (1 + self.alpha * jnp.abs(x)) ** 2


@dataclass(frozen=True, eq=False)
class SlayerGrad(Surrogate):
    r"""A two-sided exponential of height 1.

    .. math:: g(x) = e^{-\alpha |x|}

    Source: Shrestha & Orchard 2018, *SLAYER: spike layer error reassignment in time*.

    Examples
    --------
    >>> import jax
    >>> from brainir import surrogate
    >>> spike = surrogate.SlayerGrad()
    >>> float(spike(0.1)), round(float(jax.grad(spike)(0.1)), 3)
    (1.0, 0.905)
    """

    alpha: Parameter = 1.0

    def surrogate_grad(self, x):
        return jnp.exp(-self.alpha * jnp.abs(x))


sigmoid = as_function("sigmoid", Sigmoid)
piecewise_quadratic = as_function("piecewise_quadratic", PiecewiseQuadratic)
piecewise_exp = as_function("piecewise_exp", PiecewiseExp)
soft_sign = as_function("soft_sign", SoftSign)
arctan = as_function("arctan", Arctan)
nonzero_sign_log = as_function("nonzero_sign_log", NonzeroSignLog)
erf = as_function("erf", ERF)
piecewise_leaky_relu = as_function("piecewise_leaky_relu", PiecewiseLeakyRelu)
squarewave_fourier_series = as_function("squarewave_fourier_series", SquarewaveFourierSeries)
s2nn = as_function("s2nn", S2NN)
q_pseudo_spike = as_function("q_pseudo_spike", QPseudoSpike)
leaky_relu = as_function("leaky_relu", LeakyRelu)
log_tailed_relu = as_function("log_tailed_relu", LogTailedRelu)
relu_grad = as_function("relu_grad", ReluGrad)
gaussian_grad = as_function("gaussian_grad", GaussianGrad)
multi_gaussian_grad = as_function("multi_gaussian_grad", MultiGaussianGrad)
inv_square_grad = as_function("inv_square_grad", InvSquareGrad)
slayer_grad = as_function("slayer_grad", SlayerGrad)
