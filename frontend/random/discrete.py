"""The distributions of integers, and draws from what is given. Names follow NumPy."""

from __future__ import annotations

from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
from jax import random as jr

from .. import environ
from ..typing import ArrayLike, DTypeLike, SeedOrKey, Size
from .parameters import Generator, bare, check_probability, fit, integer_type, with_unit

__all__ = ["Discrete"]


class Discrete(Generator):
    """Samples of integers and of given things.

    All methods take

    size
        The shape of the sample, to which the parameters must broadcast; by default theirs.
    key
        A key or seed to use instead of the generator's own, which then stays as it is.
    dtype
        The type of the sample; by default ``environ.ditype()``.

    and raise ``ValueError`` for parameters that do not fit the size, that have a unit, or that are
    probabilities outside of 0 to 1 (as far as they are known when the code is traced).
    """

    def randint(
        self,
        low: ArrayLike,
        high: ArrayLike | None = None,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> jax.Array:
        """Draw integers evenly from `low` (included) to `high` (excluded), or from 0 to `low`.

        >>> from brainir import random
        >>> bool((random.randint(3, 5, size=10) < 5).all())
        True
        """
        if high is None:
            low, high = 0, low
        dtype = integer_type(dtype)
        low, high = bare(low, "low", dtype), bare(high, "high", dtype)
        shape = fit(size, low, high)
        return jr.randint(self.take_key(key), shape, low, high, dtype)

    def random_integers(
        self,
        low: ArrayLike,
        high: ArrayLike | None = None,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> jax.Array:
        """Draw integers evenly from `low` to `high`, both included, or from 1 to `low`.

        >>> from brainir import random
        >>> bool((random.random_integers(6, size=10) >= 1).all())
        True
        """
        if high is None:
            low, high = 1, low
        above = bare(high, "high", integer_type(dtype)) + 1
        return self.randint(low, above, size, key, dtype)

    def randint_like(
        self,
        input: ArrayLike,
        low: ArrayLike = 0,
        high: ArrayLike | None = None,
        *,
        dtype: DTypeLike | None = None,
        key: SeedOrKey | None = None,
    ) -> jax.Array:
        """Draw integers as :meth:`randint` does, in the shape and, if integer, dtype of `input`.

        >>> import numpy as np
        >>> from brainir import random
        >>> random.randint_like(np.zeros((2, 3), np.int32), 10).shape
        (2, 3)
        """
        shape = np.shape(u.get_mantissa(input))
        if high is None:
            low, high = 0, low
        return self.randint(low, high, shape, key, integer_type(dtype, input))

    def bernoulli(
        self, p: ArrayLike = 0.5, size: Size | None = None, key: SeedOrKey | None = None
    ) -> jax.Array:
        """Draw True with probability `p`, False otherwise.

        >>> from brainir import random
        >>> random.bernoulli(0.1, size=3).dtype
        dtype('bool')
        """
        p = bare(p, "p", environ.dftype())
        check_probability(p)
        shape = fit(size, p)
        return jr.bernoulli(self.take_key(key), p, shape)

    def binomial(
        self,
        n: ArrayLike,
        p: ArrayLike,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> jax.Array:
        """Draw how many of `n` trials succeed that each do so with probability `p`.

        >>> from brainir import random
        >>> bool((random.binomial(10, 0.3, size=5) <= 10).all())
        True
        """
        real = environ.dftype()
        n, p = bare(n, "n", real), bare(p, "p", real)
        check_probability(p)
        shape = fit(size, n, p)
        return jr.binomial(self.take_key(key), n, p, shape, real).astype(integer_type(dtype))

    def poisson(
        self,
        lam: ArrayLike = 1.0,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> jax.Array:
        """Draw how many events happen where `lam` are expected.

        >>> from brainir import random
        >>> random.poisson(4.0, size=3).shape
        (3,)
        """
        lam = bare(lam, "lam", environ.dftype())
        shape = fit(size, lam)
        return jr.poisson(self.take_key(key), lam, shape, integer_type(dtype))

    def geometric(
        self,
        p: ArrayLike,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> jax.Array:
        """Draw how many trials it takes to the first success, each with probability `p`.

        >>> from brainir import random
        >>> bool((random.geometric(0.3, size=5) >= 1).all())
        True
        """
        p = bare(p, "p", environ.dftype())
        check_probability(p)
        shape = fit(size, p)
        return jr.geometric(self.take_key(key), p, shape, integer_type(dtype))

    def categorical(
        self,
        logits: ArrayLike,
        axis: int = -1,
        size: Size | None = None,
        key: SeedOrKey | None = None,
    ) -> jax.Array:
        """Draw indices along `axis` with probabilities proportional to the exponential of `logits`.

        `size` must end in the other axes of `logits`, and is them by default.

        >>> import jax.numpy as jnp
        >>> from brainir import random
        >>> int(random.categorical(jnp.asarray([-jnp.inf, 0.0])))
        1
        """
        logits = bare(logits, "logits", environ.dftype())
        shape = None if size is None else fit(size)
        return jr.categorical(self.take_key(key), logits, axis, shape)

    def choice(
        self,
        a: ArrayLike,
        size: Size | None = None,
        replace: bool = True,
        p: ArrayLike | None = None,
        key: SeedOrKey | None = None,
    ) -> Any:
        """Draw elements of `a`, or of ``arange(a)``, with probabilities `p` or all alike.

        Without `replace` none is drawn twice. Elements keep their unit.

        >>> from brainir import random
        >>> sorted(random.choice(3, size=3, replace=False).tolist())
        [0, 1, 2]
        """
        shape = fit(size)
        if p is not None:
            p = bare(p, "p", environ.dftype())
            check_probability(p)
        values = _elements(a)
        return with_unit(jr.choice(self.take_key(key), values, shape, replace, p), u.get_unit(a))

    def permutation(
        self,
        x: ArrayLike,
        axis: int = 0,
        independent: bool = False,
        key: SeedOrKey | None = None,
    ) -> Any:
        """Return `x`, or ``arange(x)``, with its slices along `axis` in random order.

        With `independent` every vector along the axis has an order of its own.

        >>> from brainir import random
        >>> sorted(random.permutation(4).tolist())
        [0, 1, 2, 3]
        """
        values = _elements(x)
        return with_unit(
            jr.permutation(self.take_key(key), values, axis, independent), u.get_unit(x)
        )

    def shuffle(self, x: ArrayLike, axis: int = 0, key: SeedOrKey | None = None) -> Any:
        """Return a copy of `x` with its slices along `axis` in random order; `x` stays as it is.

        >>> import jax.numpy as jnp
        >>> from brainir import random
        >>> sorted(random.shuffle(jnp.asarray([3, 1, 2])).tolist())
        [1, 2, 3]
        """
        return self.permutation(x, axis, key=key)


def _elements(a: ArrayLike) -> Any:
    values = u.get_mantissa(a)
    return int(values) if isinstance(values, int | np.integer) else jnp.asarray(values)
