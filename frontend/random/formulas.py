"""How to draw from distributions that :mod:`jax.random` lacks.

Each takes a key, parameters that broadcast to the shape, the shape and the dtype, as the functions
of :mod:`jax.random` do.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax import random as jr
from jax.scipy.special import zeta

__all__ = [
    "f",
    "geometric",
    "hypergeometric",
    "logseries",
    "negative_binomial",
    "noncentral_chisquare",
    "noncentral_f",
    "power",
    "rayleigh",
    "vonmises",
    "wald",
    "weibull",
    "zipf",
]

Shape = tuple[int, ...]


def rayleigh(key: jax.Array, shape: Shape, dtype: Any) -> jax.Array:
    """Draw from the Rayleigh distribution of mode 1."""
    return jr.rayleigh(key, jnp.ones((), dtype), shape, dtype)


def weibull(key: jax.Array, a: jax.Array, shape: Shape, dtype: Any) -> jax.Array:
    """Draw from the Weibull distribution of scale 1."""
    return jr.weibull_min(key, jnp.ones((), dtype), a, shape, dtype)


def wald(key: jax.Array, mean: jax.Array, scale: jax.Array, shape: Shape, dtype: Any) -> jax.Array:
    """Draw from the inverse Gaussian; c times one of (mean, scale) is one of (c mean, c scale)."""
    return scale * jr.wald(key, mean / scale, shape, dtype)


def power(key: jax.Array, a: jax.Array, shape: Shape, dtype: Any) -> jax.Array:
    """Draw from the density a x^(a-1) on 0 to 1: its distribution function is x^a."""
    return jr.uniform(key, shape, dtype, jnp.finfo(dtype).tiny, 1.0) ** (1 / a)


def noncentral_chisquare(
    key: jax.Array, df: jax.Array, nonc: jax.Array, shape: Shape, dtype: Any
) -> jax.Array:
    """Draw one shifted square and a central rest, or, where df is too small, a Poisson mixture.

    Both are in Johnson, Kotz & Balakrishnan 1995, *Continuous Univariate Distributions 2*, ch. 29.
    """
    keys = jr.split(key, 3)
    count = jr.poisson(keys[0], nonc / 2, shape).astype(dtype)
    shifted = jr.normal(keys[1], shape, dtype) + jnp.sqrt(nonc)
    splits = df > 1
    rest = 2 * jr.gamma(keys[2], jnp.where(splits, df - 1, df + 2 * count) / 2, shape, dtype)
    return jnp.where(splits, rest + shifted**2, rest)


def f(key: jax.Array, dfnum: jax.Array, dfden: jax.Array, shape: Shape, dtype: Any) -> jax.Array:
    """Draw the ratio of two chi-square numbers, each by its degrees of freedom."""
    above, below = jr.split(key)
    return _by_freedom(above, dfnum, shape, dtype) / _by_freedom(below, dfden, shape, dtype)


def noncentral_f(
    key: jax.Array,
    dfnum: jax.Array,
    dfden: jax.Array,
    nonc: jax.Array,
    shape: Shape,
    dtype: Any,
) -> jax.Array:
    """Draw the ratio of a noncentral and a central chi-square, each by its degrees of freedom."""
    above, below = jr.split(key)
    upper = noncentral_chisquare(above, dfnum, nonc, shape, dtype) / dfnum
    return upper / _by_freedom(below, dfden, shape, dtype)


def _by_freedom(key: jax.Array, df: jax.Array, shape: Shape, dtype: Any) -> jax.Array:
    return 2 * jr.gamma(key, df / 2, shape, dtype) / df


def vonmises(
    key: jax.Array, mu: jax.Array, kappa: jax.Array, shape: Shape, dtype: Any
) -> jax.Array:
    """Draw angles by rejection from a wrapped Cauchy distribution, between -pi and pi.

    Source: Best & Fisher 1979, *Efficient simulation of the von Mises distribution*.
    """
    even, key = jr.split(key)
    pi = jnp.asarray(math.pi, dtype)
    flat = kappa <= 0
    kappa = jnp.broadcast_to(jnp.where(flat, 1, kappa), shape).astype(dtype)
    tau = 1 + jnp.sqrt(1 + 4 * kappa**2)
    rho = (tau - jnp.sqrt(2 * tau)) / (2 * kappa)
    # For small kappa rho is a difference of nearly equal numbers, and its limit is kappa.
    s = jnp.where(kappa > 0.02, (1 + rho**2) / (2 * rho), 1 / kappa)

    def again(state: tuple[Any, ...]) -> tuple[Any, ...]:
        key, done, _, cosine = state
        first, second, key = jr.split(key, 3)
        angle = pi * jr.uniform(first, shape, dtype, -1.0, 1.0)
        z = jnp.cos(angle)
        w = jnp.where(done, cosine, (1 + s * z) / (s + z))
        y = kappa * (s - w)
        v = jr.uniform(second, shape, dtype)
        accepted = (y * (2 - y) >= v) | (jnp.log(y / v) + 1 >= y)
        return key, done | accepted, angle < 0, w  # one side is as good as any later one

    none = jnp.zeros(shape, bool)
    start = key, none, none, jnp.zeros(shape, dtype)
    _, _, below, cosine = lax.while_loop(lambda state: ~state[1].all(), again, start)
    turned = jnp.arccos(jnp.clip(cosine, -1, 1))
    turned = jnp.where(below, -turned, turned)
    angle = jnp.where(flat, jr.uniform(even, shape, dtype, -pi, pi), turned) + mu
    return jnp.remainder(angle + pi, 2 * pi) - pi


def geometric(key: jax.Array, p: jax.Array, shape: Shape, dtype: Any) -> jax.Array:
    """Invert the distribution function, 1 - (1 - p)^k, at a uniform number."""
    return _to_integer(
        1 + jnp.floor(jnp.log1p(-jr.uniform(key, shape, p.dtype)) / jnp.log1p(-p)), dtype
    )


def negative_binomial(
    key: jax.Array, n: jax.Array, p: jax.Array, shape: Shape, dtype: Any
) -> jax.Array:
    """Draw Poisson numbers of a rate that is itself a gamma number."""
    first, second = jr.split(key)
    rate = jr.gamma(first, n, shape, p.dtype) * (1 - p) / p
    return jr.poisson(second, rate, shape, dtype)


def logseries(key: jax.Array, p: jax.Array, shape: Shape, dtype: Any) -> jax.Array:
    """Draw a geometric number whose probability is drawn first.

    Source: Kemp 1981, *Efficient generation of logarithmically distributed pseudo-random
    variables*, algorithm LK.
    """
    first, second = jr.split(key)
    exponent = jnp.log1p(-p) * jr.uniform(first, shape, p.dtype)
    v = jr.uniform(second, shape, p.dtype, jnp.finfo(p.dtype).tiny, 1.0)
    # The logarithm of 1 - exp(exponent), in the form that is exact on each side of log(1/2).
    near_one = exponent < -math.log(2)
    log_q = jnp.where(
        near_one,
        jnp.log1p(-jnp.exp(exponent)),
        jnp.log(-jnp.expm1(jnp.where(near_one, -1, exponent))),
    )
    return _to_integer(jnp.floor(1 + jnp.log(v) / log_q), dtype)


def zipf(key: jax.Array, a: jax.Array, shape: Shape, dtype: Any) -> jax.Array:
    """Find the smallest k of which the distribution function reaches a uniform number.

    That function is ``1 - zeta(a, k + 1) / zeta(a, 1)``, with Hurwitz' zeta function. The search
    halves an interval of integers as often as the dtype has bits; what would be above the largest
    integer of the dtype is that integer.
    """
    ones = jnp.ones(shape, a.dtype)
    a = a * ones
    u = jr.uniform(key, shape, a.dtype, jnp.finfo(a.dtype).tiny, 1.0)
    beyond = (1 - u) * zeta(a, ones)

    def halve(_: Any, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds
        middle = low + (high - low) // 2
        reached = zeta(a, middle.astype(a.dtype) + 1) <= beyond
        return jnp.where(reached, low, middle), jnp.where(reached, middle, high)

    limit = jnp.iinfo(dtype)
    start = jnp.zeros(shape, dtype), jnp.full(shape, limit.max, dtype)
    return lax.fori_loop(0, limit.bits, halve, start)[1]


def hypergeometric(
    key: jax.Array,
    ngood: jax.Array,
    nbad: jax.Array,
    nsample: jax.Array,
    shape: Shape,
    dtype: Any,
) -> jax.Array:
    """Draw one ball after the other from an urn, and count the good ones."""
    real = jnp.float64 if jnp.iinfo(dtype).bits == 64 else jnp.float32

    def one(key: jax.Array, good: jax.Array, bad: jax.Array, draws: jax.Array) -> jax.Array:
        def draw(state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
            key, good, bad, left = state
            key, fresh = jr.split(key)
            share = good.astype(real) / (good + bad).astype(real)
            is_good = (jr.uniform(fresh, (), real) < share).astype(dtype)
            return key, good - is_good, bad - (1 - is_good), left - 1

        left = jnp.minimum(draws, good + bad)
        state = lax.while_loop(lambda state: state[3] > 0, draw, (key, good, bad, left))
        return good - state[1]

    count = math.prod(shape)
    keys = jr.split(key, count + 1)[1:]
    numbers = (jnp.broadcast_to(n, shape).reshape(count) for n in (ngood, nbad, nsample))
    return jax.vmap(one)(keys, *numbers).reshape(shape)


def _to_integer(x: jax.Array, dtype: Any) -> jax.Array:
    limit = jnp.iinfo(dtype).max
    return jnp.where(x >= limit, limit, x).astype(dtype)
