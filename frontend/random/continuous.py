"""The distributions of real numbers.

Names follow NumPy, numbers are those of :mod:`jax.random`. Locations and scales may have units,
which the sample then has; shape parameters may not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from brainunit import get_mantissa
from jax import random as jr
from jax.core import Tracer

from ..typing import ArrayLike, DTypeLike, SeedOrKey, Size
from . import formulas
from .parameters import (
    NOT_NEGATIVE,
    POSITIVE,
    Generator,
    bare,
    check,
    explained,
    fit,
    in_one_unit,
    real_type,
    to_unit,
    with_unit,
)

__all__ = ["Continuous"]

F = TypeVar("F", bound=Callable[..., Any])
Draw = Callable[..., jax.Array]

# --- families of distributions that differ in one function -------------------------------------


def _named(name: str, doc: str, example: str, sample: F) -> F:
    """Give a method of a family its name and its docstring."""
    sample.__name__, sample.__qualname__ = name, f"Continuous.{name}"
    sample.__doc__ = f"""{doc}

    >>> import brainunit as u
    >>> from brainir import random
    >>> random.{name}({example}size=3).shape
    (3,)
    """
    return sample


def _located(name: str, doc: str, draw: Draw) -> Callable[..., Any]:
    """Return a method that draws ``loc + scale * x`` for an x of a standard distribution."""

    def sample(
        self: Generator,
        loc: ArrayLike | None = None,
        scale: ArrayLike | None = None,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> Any:
        return _moved(self, draw, loc, scale, size, key, dtype)

    return _named(name, doc, "-65.0 * u.mV, 5.0 * u.mV, ", sample)


def _scaled(name: str, doc: str, draw: Draw) -> Callable[..., Any]:
    """Return a method that draws ``scale * x`` for an x of a standard distribution."""

    def sample(
        self: Generator,
        scale: ArrayLike | None = None,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> Any:
        return _moved(self, draw, None, scale, size, key, dtype)

    return _named(name, doc, "20.0 * u.ms, ", sample)


def _standard(name: str, doc: str, draw: Draw) -> Callable[..., jax.Array]:
    """Return a method that draws from a distribution without parameters."""

    def sample(
        self: Generator,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> jax.Array:
        return _moved(self, draw, None, None, size, key, dtype)

    return _named(name, doc, "", sample)


def _moved(
    generator: Generator,
    draw: Draw,
    loc: ArrayLike | None,
    scale: ArrayLike | None,
    size: Size | None,
    key: SeedOrKey | None,
    dtype: DTypeLike | None,
    *others: jax.Array,
) -> Any:
    unit, (loc, scale) = in_one_unit(loc, scale)
    dtype = real_type(dtype)
    given = [jnp.asarray(part, dtype) for part in (loc, scale) if part is not None]
    shape = fit(size, *given, *others)
    sample = draw(generator.take_key(key), shape, dtype)
    if scale is not None:
        sample = given[-1] * sample
    if loc is not None:
        sample = given[0] + sample
    return with_unit(sample, unit)


@explained("dftype")
class Continuous(Generator):
    """Samples of real numbers that are moved and stretched, and take the unit of what does that."""

    normal = _located(
        "normal",
        "Draw from the normal distribution of mean `loc` (0) and standard deviation `scale` (1).",
        jr.normal,
    )
    laplace = _located(
        "laplace",
        "Draw from the two-sided exponential distribution around `loc` (0), of width `scale` (1).",
        jr.laplace,
    )
    logistic = _located(
        "logistic",
        "Draw from the logistic distribution around `loc` (0), of width `scale` (1).",
        jr.logistic,
    )
    gumbel = _located(
        "gumbel",
        "Draw from the Gumbel distribution of mode `loc` (0) and width `scale` (1).",
        jr.gumbel,
    )
    cauchy = _located(
        "cauchy",
        "Draw from the Cauchy distribution around `loc` (0), of half width `scale` (1).",
        jr.cauchy,
    )
    exponential = _scaled(
        "exponential", "Draw from the exponential distribution of mean `scale` (1).", jr.exponential
    )
    rayleigh = _scaled(
        "rayleigh", "Draw from the Rayleigh distribution of mode `scale` (1).", formulas.rayleigh
    )
    standard_normal = _standard(
        "standard_normal",
        "Draw from the normal distribution of mean 0 and standard deviation 1.",
        jr.normal,
    )
    standard_cauchy = _standard(
        "standard_cauchy", "Draw from the Cauchy distribution around 0, of half width 1.", jr.cauchy
    )
    standard_exponential = _standard(
        "standard_exponential", "Draw from the exponential distribution of mean 1.", jr.exponential
    )
    maxwell = _standard(
        "maxwell", "Draw the length of a vector of three standard normal numbers.", jr.maxwell
    )

    def uniform(
        self,
        low: ArrayLike = 0.0,
        high: ArrayLike = 1.0,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> Any:
        """Draw evenly from `low` (included) to `high` (excluded).

        >>> import brainunit as u
        >>> from brainir import random
        >>> random.uniform(-70.0 * u.mV, -50.0 * u.mV, size=3).shape
        (3,)
        """
        unit, parts = in_one_unit(low, high)
        dtype = real_type(dtype)
        bottom, top = (jnp.asarray(part, dtype) for part in parts)
        shape = fit(size, bottom, top)
        return with_unit(jr.uniform(self.take_key(key), shape, dtype, bottom, top), unit)

    def random(
        self, size: Size | None = None, key: SeedOrKey | None = None, dtype: DTypeLike | None = None
    ) -> jax.Array:
        """Draw evenly from 0 (included) to 1 (excluded).

        >>> from brainir import random
        >>> random.random((2, 3)).shape
        (2, 3)
        """
        shape = fit(size)
        return jr.uniform(self.take_key(key), shape, real_type(dtype))

    sample = ranf = random_sample = random

    def rand(
        self, *shape: int, key: SeedOrKey | None = None, dtype: DTypeLike | None = None
    ) -> jax.Array:
        """Draw evenly from 0 to 1, the shape given number by number.

        >>> from brainir import random
        >>> random.rand(2, 3).shape
        (2, 3)
        """
        return self.random(shape, key, dtype)

    def rand_like(
        self, input: ArrayLike, *, dtype: DTypeLike | None = None, key: SeedOrKey | None = None
    ) -> jax.Array:
        """Draw evenly from 0 to 1, in the shape and, if it is real, the dtype of `input`.

        >>> import jax.numpy as jnp
        >>> from brainir import random
        >>> random.rand_like(jnp.zeros(3, jnp.float16)).dtype
        dtype('float16')
        """
        return self.random(np.shape(get_mantissa(input)), key, real_type(dtype, input))

    def randn(
        self, *shape: int, key: SeedOrKey | None = None, dtype: DTypeLike | None = None
    ) -> jax.Array:
        """Draw from the standard normal distribution, the shape given number by number.

        >>> from brainir import random
        >>> random.randn(2, 3).shape
        (2, 3)
        """
        return self.standard_normal(shape, key, dtype)

    def randn_like(
        self, input: ArrayLike, *, dtype: DTypeLike | None = None, key: SeedOrKey | None = None
    ) -> jax.Array:
        """Draw standard normal numbers, in the shape and, if it is real, the dtype of `input`.

        >>> import numpy as np
        >>> from brainir import random
        >>> random.randn_like(np.zeros((2, 3), np.float32)).shape
        (2, 3)
        """
        return self.standard_normal(np.shape(get_mantissa(input)), key, real_type(dtype, input))

    def truncated_normal(
        self,
        lower: ArrayLike,
        upper: ArrayLike,
        size: Size | None = None,
        loc: ArrayLike | None = None,
        scale: ArrayLike | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
        check_valid: bool = True,
    ) -> Any:
        """Draw from the normal distribution restricted to the interval from `lower` to `upper`.

        `loc` and `scale` are the mean (0) and standard deviation (1) before the restriction.

        >>> from brainir import random
        >>> sample = random.truncated_normal(-1.0, 3.0, size=100, loc=1.0, scale=5.0)
        >>> bool((sample >= -1).all() and (sample <= 3).all())
        True
        """
        unit, parts = in_one_unit(lower, upper, 0.0 if loc is None else loc, scale)
        if check_valid and not any(isinstance(part, Tracer) for part in parts[:2]):
            check(np.subtract(parts[1], parts[0]), "upper - lower", NOT_NEGATIVE)
        dtype = real_type(dtype)
        a, b, mean, deviation = (jnp.asarray(1.0 if p is None else p, dtype) for p in parts)
        shape = fit(size, a, b, mean, deviation)
        bounds = (a - mean) / deviation, (b - mean) / deviation
        sample = jr.truncated_normal(self.take_key(key), *bounds, shape, dtype)
        return with_unit(jnp.clip(mean + deviation * sample, a, b), unit)

    def lognormal(
        self,
        mean: ArrayLike = 0.0,
        sigma: ArrayLike = 1.0,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> jax.Array:
        """Draw the exponential of normal numbers of that `mean` and standard deviation `sigma`.

        >>> from brainir import random
        >>> bool((random.lognormal(size=10) > 0).all())
        True
        """
        dtype = real_type(dtype)
        mean, sigma = bare(mean, "mean", dtype), bare(sigma, "sigma", dtype)
        return jnp.exp(self.normal(mean, sigma, size, key, dtype))

    def multivariate_normal(
        self,
        mean: ArrayLike,
        cov: ArrayLike,
        size: Size | None = None,
        method: str = "cholesky",
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> Any:
        """Draw vectors of that `mean` and covariance `cov`, whose unit is that of the mean squared.

        `size` is the shape in front of the vector's own axis; `method`, ``"cholesky"``, ``"eigh"``
        or ``"svd"``, is how the covariance is factored.

        >>> import jax.numpy as jnp
        >>> from brainir import random
        >>> random.multivariate_normal(jnp.zeros(2), jnp.eye(2), size=5).shape
        (5, 2)
        """
        unit, [mean] = in_one_unit(mean)
        dtype = real_type(dtype)
        mean, cov = jnp.asarray(mean, dtype), jnp.asarray(to_unit(cov, unit**2), dtype)
        shape = None if size is None else fit(size)
        sample = jr.multivariate_normal(self.take_key(key), mean, cov, shape, dtype, method=method)
        return with_unit(sample, unit)

    def gamma(
        self,
        shape: ArrayLike,
        scale: ArrayLike | None = None,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> Any:
        """Draw from the gamma distribution of that `shape`, of mean `shape` times `scale` (1).

        >>> from brainir import random
        >>> random.gamma(2.0, size=3).shape
        (3,)
        """
        a = bare(shape, "shape", real_type(dtype), POSITIVE)

        def draw(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
            return jr.gamma(key, a, shape, dtype)

        return _moved(self, draw, None, scale, size, key, dtype, a)

    def standard_gamma(
        self,
        shape: ArrayLike,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> jax.Array:
        """Draw from the gamma distribution of that `shape`, which is also its mean.

        >>> from brainir import random
        >>> random.standard_gamma(2.0, size=3).shape
        (3,)
        """
        return self.gamma(shape, None, size, key, dtype)

    def weibull_min(
        self,
        a: ArrayLike,
        scale: ArrayLike | None = None,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> Any:
        """Draw from the Weibull distribution of shape `a` and of that `scale` (1).

        >>> import brainunit as u
        >>> from brainir import random
        >>> random.weibull_min(1.5, 20.0 * u.ms, size=3).shape
        (3,)
        """
        a = bare(a, "a", real_type(dtype), POSITIVE)

        def draw(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
            return formulas.weibull(key, a, shape, dtype)

        return _moved(self, draw, None, scale, size, key, dtype, a)

    def triangular(
        self,
        left: ArrayLike = 0.0,
        mode: ArrayLike = 0.5,
        right: ArrayLike = 1.0,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> Any:
        """Draw from `left` to `right` with a density that rises to `mode` and then falls.

        >>> import brainunit as u
        >>> from brainir import random
        >>> random.triangular(-70.0 * u.mV, -65.0 * u.mV, -50.0 * u.mV, size=3).shape
        (3,)
        """
        unit, (low, top, high) = in_one_unit(left, mode, right)
        if not any(isinstance(part, Tracer) for part in (low, top, high)):
            check(np.subtract(top, low), "mode - left", NOT_NEGATIVE)
            check(np.subtract(high, top), "right - mode", NOT_NEGATIVE)
            check(np.subtract(high, low), "right - left", POSITIVE)
        dtype = real_type(dtype)
        low, top, high = (jnp.asarray(part, dtype) for part in (low, top, high))
        shape = fit(size, low, top, high)
        return with_unit(jr.triangular(self.take_key(key), low, top, high, shape, dtype), unit)

    def wald(
        self,
        mean: ArrayLike,
        scale: ArrayLike,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> Any:
        """Draw when a drifting Brownian motion first reaches a level: the inverse Gaussian.

        Its variance is ``mean ** 3 / scale``.

        >>> import brainunit as u
        >>> from brainir import random
        >>> random.wald(20.0 * u.ms, 50.0 * u.ms, size=3).shape
        (3,)
        """
        unit, parts = in_one_unit(mean, scale)
        names: Any = {"mean": (parts[0], POSITIVE), "scale": (parts[1], POSITIVE)}
        return with_unit(self.draw_with(formulas.wald, names, size, key, dtype), unit)
