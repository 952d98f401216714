"""The distributions of real numbers whose parameters take no unit. Names follow NumPy."""

from __future__ import annotations

import jax
from jax import random as jr

from ..typing import ArrayLike, DTypeLike, SeedOrKey, Size
from . import formulas
from .parameters import NOT_NEGATIVE, POSITIVE, Generator, bare, explained, fit, real_type

__all__ = ["Shaped"]


@explained("dftype")
class Shaped(Generator):
    """Samples of real numbers that have no unit, by parameters that have none either."""

    def beta(
        self,
        a: ArrayLike,
        b: ArrayLike,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> jax.Array:
        """Draw from the beta distribution, whose mean is ``a / (a + b)``.

        >>> from brainir import random
        >>> random.beta(2.0, 3.0, size=3).shape
        (3,)
        """
        parameters = {"a": (a, POSITIVE), "b": (b, POSITIVE)}
        return self.draw_with(jr.beta, parameters, size, key, dtype)

    def standard_t(
        self,
        df: ArrayLike,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> jax.Array:
        """Draw from Student's distribution with `df` degrees of freedom.

        >>> from brainir import random
        >>> random.standard_t(3.0, size=3).shape
        (3,)
        """
        parameters = {"df": (df, POSITIVE)}
        return self.draw_with(jr.t, parameters, size, key, dtype)

    def t(
        self,
        df: ArrayLike,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> jax.Array:
        """Draw from Student's distribution, as :meth:`standard_t` does.

        >>> from brainir import random
        >>> random.t(3.0, size=3).shape
        (3,)
        """
        parameters = {"df": (df, POSITIVE)}
        return self.draw_with(jr.t, parameters, size, key, dtype)

    def chisquare(
        self,
        df: ArrayLike,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
        check_valid: bool = True,
    ) -> jax.Array:
        """Draw from the chi-square distribution with `df` degrees of freedom.

        >>> from brainir import random
        >>> random.chisquare(3.0, size=3).shape
        (3,)
        """
        parameters = {"df": (df, POSITIVE if check_valid else None)}
        return self.draw_with(jr.chisquare, parameters, size, key, dtype)

    def noncentral_chisquare(
        self,
        df: ArrayLike,
        nonc: ArrayLike,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> jax.Array:
        """Draw the sum of the squares of `df` normal numbers whose squared means add up to `nonc`.

        >>> from brainir import random
        >>> random.noncentral_chisquare(3.0, 1.5, size=3).shape
        (3,)
        """
        parameters = {"df": (df, POSITIVE), "nonc": (nonc, NOT_NEGATIVE)}
        return self.draw_with(formulas.noncentral_chisquare, parameters, size, key, dtype)

    def f(
        self,
        dfnum: ArrayLike,
        dfden: ArrayLike,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> jax.Array:
        """Draw from the F distribution with `dfnum` and `dfden` degrees of freedom.

        >>> from brainir import random
        >>> random.f(2.0, 9.0, size=3).shape
        (3,)
        """
        parameters = {"dfnum": (dfnum, POSITIVE), "dfden": (dfden, POSITIVE)}
        return self.draw_with(formulas.f, parameters, size, key, dtype)

    def noncentral_f(
        self,
        dfnum: ArrayLike,
        dfden: ArrayLike,
        nonc: ArrayLike,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> jax.Array:
        """Draw from the F distribution whose numerator has the noncentrality `nonc`.

        >>> from brainir import random
        >>> random.noncentral_f(2.0, 9.0, 1.5, size=3).shape
        (3,)
        """
        parameters = {
            "dfnum": (dfnum, POSITIVE),
            "dfden": (dfden, POSITIVE),
            "nonc": (nonc, NOT_NEGATIVE),
        }
        return self.draw_with(formulas.noncentral_f, parameters, size, key, dtype)

    def loggamma(
        self,
        a: ArrayLike,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> jax.Array:
        """Draw the logarithm of a gamma number of shape `a`, also where that itself would be 0.

        >>> from brainir import random
        >>> random.loggamma(0.01, size=3).shape
        (3,)
        """
        parameters = {"a": (a, POSITIVE)}
        return self.draw_with(jr.loggamma, parameters, size, key, dtype)

    def power(
        self,
        a: ArrayLike,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
        check_valid: bool = True,
    ) -> jax.Array:
        """Draw from 0 to 1 with a density proportional to ``x ** (a - 1)``.

        >>> from brainir import random
        >>> random.power(3.0, size=3).shape
        (3,)
        """
        parameters = {"a": (a, POSITIVE if check_valid else None)}
        return self.draw_with(formulas.power, parameters, size, key, dtype)

    def weibull(
        self,
        a: ArrayLike,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> jax.Array:
        """Draw from the Weibull distribution of shape `a` and scale 1.

        >>> from brainir import random
        >>> random.weibull(1.5, size=3).shape
        (3,)
        """
        parameters = {"a": (a, POSITIVE)}
        return self.draw_with(formulas.weibull, parameters, size, key, dtype)

    def pareto(
        self,
        a: ArrayLike,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> jax.Array:
        """Draw from the Pareto distribution of shape `a`, from 1 upwards (NumPy's starts at 0).

        >>> from brainir import random
        >>> bool((random.pareto(3.0, size=10) >= 1).all())
        True
        """
        parameters = {"a": (a, POSITIVE)}
        return self.draw_with(jr.pareto, parameters, size, key, dtype)

    def vonmises(
        self,
        mu: ArrayLike,
        kappa: ArrayLike,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> jax.Array:
        """Draw angles in radians, from -pi to pi, around `mu` and the closer the larger `kappa`.

        An angle may have a unit such as ``u.radian``; a `kappa` of 0 draws evenly.

        >>> from brainir import random
        >>> random.vonmises(0.0, 4.0, size=3).shape
        (3,)
        """
        parameters = {"mu": (mu, None), "kappa": (kappa, NOT_NEGATIVE)}
        return self.draw_with(formulas.vonmises, parameters, size, key, dtype)

    def dirichlet(
        self,
        alpha: ArrayLike,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> jax.Array:
        """Draw positive numbers along the last axis that add up to 1 and have means like `alpha`.

        `size` is the shape in front of that axis, and by default what `alpha` has in front of it.

        >>> import jax.numpy as jnp
        >>> from brainir import random
        >>> random.dirichlet(jnp.asarray([1.0, 2.0, 3.0]), size=5).shape
        (5, 3)
        """
        dtype = real_type(dtype)
        alpha = bare(alpha, "alpha", dtype, POSITIVE)
        if alpha.ndim == 0:
            raise ValueError("the parameter 'alpha' needs an axis, got one number")
        shape = alpha.shape[:-1] if size is None else fit(size, alpha[..., 0])
        return jr.dirichlet(self.take_key(key), alpha, shape, dtype)

    def orthogonal(
        self,
        n: int,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> jax.Array:
        """Draw orthogonal matrices of `n` rows, all rotations and reflections alike.

        `size` is the shape in front of the two axes of a matrix.

        >>> import jax.numpy as jnp
        >>> from brainir import random
        >>> turn = random.orthogonal(3)
        >>> bool(jnp.allclose(turn @ turn.T, jnp.eye(3), atol=1e-5))
        True
        """
        shape = () if size is None else fit(size)
        return jr.orthogonal(self.take_key(key), n, shape, real_type(dtype))
