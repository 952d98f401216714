"""The distributions of integers, and draws from what is given. Names follow NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
from jax import random as jr
from jax.core import Tracer

from .. import environ
from ..typing import ArrayLike, DTypeLike, SeedOrKey, Size
from . import formulas
from .parameters import (
    ABOVE_ONE,
    BELOW_ONE,
    NOT_NEGATIVE,
    POSITIVE,
    PROBABILITY,
    Generator,
    Range,
    bare,
    check,
    explained,
    fit,
    integer_type,
    with_unit,
)

__all__ = ["Discrete"]


@explained("ditype")
class Discrete(Generator):
    """Samples of integers and of given things."""

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
        self,
        p: ArrayLike = 0.5,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        check_valid: bool = True,
    ) -> jax.Array:
        """Draw True with probability `p`, False otherwise.

        >>> from brainir import random
        >>> random.bernoulli(0.1, size=3).dtype
        dtype('bool')
        """
        p = bare(p, "p", environ.dftype(), PROBABILITY if check_valid else None)
        shape = fit(size, p)
        return jr.bernoulli(self.take_key(key), p, shape)

    def binomial(
        self,
        n: ArrayLike,
        p: ArrayLike,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
        check_valid: bool = True,
    ) -> jax.Array:
        """Draw how many of `n` trials succeed that each do so with probability `p`.

        >>> from brainir import random
        >>> bool((random.binomial(10, 0.3, size=5) <= 10).all())
        True
        """
        real = environ.dftype()
        valid = (NOT_NEGATIVE, PROBABILITY) if check_valid else (None, None)
        n, p = bare(n, "n", real, valid[0]), bare(p, "p", real, valid[1])
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
        lam = bare(lam, "lam", environ.dftype(), NOT_NEGATIVE)
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
        parameters = {"p": (p, PROBABILITY)}
        return self._count(formulas.geometric, parameters, size, key, dtype)

    def negative_binomial(
        self,
        n: ArrayLike,
        p: ArrayLike,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> jax.Array:
        """Draw how many trials fail before `n` have succeeded, each with probability `p`.

        `n` need not be an integer.

        >>> from brainir import random
        >>> random.negative_binomial(3.5, 0.3, size=3).shape
        (3,)
        """
        parameters = {"n": (n, POSITIVE), "p": (p, PROBABILITY)}
        return self._count(formulas.negative_binomial, parameters, size, key, dtype)

    def logseries(
        self,
        p: ArrayLike,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> jax.Array:
        """Draw integers k from 1 upwards with probabilities proportional to ``p ** k / k``.

        >>> from brainir import random
        >>> bool((random.logseries(0.6, size=5) >= 1).all())
        True
        """
        return self._count(formulas.logseries, {"p": (p, BELOW_ONE)}, size, key, dtype)

    def zipf(
        self,
        a: ArrayLike,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> jax.Array:
        """Draw integers k from 1 upwards with probabilities proportional to ``k ** -a``.

        `a` must be above 1. What would be above the largest integer of the dtype is that integer.

        >>> from brainir import random
        >>> bool((random.zipf(2.0, size=5) >= 1).all())
        True
        """
        return self._count(formulas.zipf, {"a": (a, ABOVE_ONE)}, size, key, dtype)

    def hypergeometric(
        self,
        ngood: ArrayLike,
        nbad: ArrayLike,
        nsample: ArrayLike,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
    ) -> jax.Array:
        """Draw how many of `nsample` balls are good, taken from an urn of `ngood` and `nbad`.

        The balls are taken one by one, so that a sample takes time in proportion to `nsample`. More
        balls than there are cannot be taken.

        >>> from brainir import random
        >>> int(random.hypergeometric(4, 0, 3))
        3
        """
        dtype = integer_type(dtype)
        given = {"ngood": ngood, "nbad": nbad, "nsample": nsample}
        good, bad, taken = (bare(n, name, dtype, NOT_NEGATIVE) for name, n in given.items())
        known = [u.get_mantissa(n) for n in given.values()]
        if not any(isinstance(n, Tracer) for n in known):
            left = np.asarray(known[0]) + np.asarray(known[1]) - np.asarray(known[2])
            check(left, "ngood + nbad - nsample", NOT_NEGATIVE)
        shape = fit(size, good, bad, taken)
        return formulas.hypergeometric(self.take_key(key), good, bad, taken, shape, dtype)

    def multinomial(
        self,
        n: ArrayLike,
        pvals: ArrayLike,
        size: Size | None = None,
        key: SeedOrKey | None = None,
        dtype: DTypeLike | None = None,
        check_valid: bool = True,
    ) -> jax.Array:
        """Draw how often each of several outcomes comes up in `n` trials.

        `pvals` are the probabilities of the outcomes, along the last axis; what they lack to 1 is
        the last one's. `size` is the shape in front of that axis, and by default what `n` and
        `pvals` have in front of it.

        >>> from brainir import random
        >>> int(random.multinomial(20, [0.2, 0.3, 0.5]).sum())
        20
        """
        real = environ.dftype()
        n = bare(n, "n", real, NOT_NEGATIVE if check_valid else None)
        p = bare(pvals, "pvals", real, PROBABILITY if check_valid else None)
        if p.ndim == 0:
            raise ValueError("the parameter 'pvals' needs an axis, got one number")
        if check_valid and not isinstance(p, Tracer):
            rounding = len(p) * jnp.finfo(real).eps
            check(1 + rounding - p[..., :-1].sum(-1), "1 - sum(pvals[:-1])", NOT_NEGATIVE)
        shape = (*fit(size, n, p[..., 0]), p.shape[-1])
        others = p[..., :-1]
        p = jnp.concatenate([others, jnp.maximum(1 - others.sum(-1, keepdims=True), 0)], -1)
        counts = jr.multinomial(
            self.take_key(key), jnp.broadcast_to(n, shape[:-1]), p, shape=shape, dtype=real
        )
        return counts.astype(integer_type(dtype))

    def _count(
        self,
        draw: Callable[..., jax.Array],
        parameters: Mapping[str, tuple[ArrayLike, Range | None]],
        size: Size | None,
        key: SeedOrKey | None,
        dtype: DTypeLike | None,
    ) -> jax.Array:
        """Draw integers from a distribution whose parameters are real numbers."""
        real = environ.dftype()
        arrays = [bare(value, name, real, must) for name, (value, must) in parameters.items()]
        shape = fit(size, *arrays)
        return draw(self.take_key(key), *arrays, shape, np.dtype(integer_type(dtype)))

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
            p = bare(p, "p", environ.dftype(), PROBABILITY)
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
