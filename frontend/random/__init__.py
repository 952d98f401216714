"""Random numbers. All functions draw from :data:`DEFAULT`, or from the `key` that they are given.

Names follow NumPy, and numbers are those of :mod:`jax.random` for the key that is drawn with.

Examples
--------
>>> from brainir import random
>>> random.seed(0)
>>> a = random.rand(3)
>>> random.seed(0)
>>> bool((a == random.rand(3)).all())
True
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import numpy as np
from jax.core import Tracer

from ..typing import SeedOrKey
from .rng import RandomState

__all__ = [
    "DEFAULT",
    "RandomState",
    "bernoulli",
    "beta",
    "binomial",
    "categorical",
    "cauchy",
    "chisquare",
    "choice",
    "clone_rng",
    "default_rng",
    "exponential",
    "gamma",
    "geometric",
    "get_key",
    "gumbel",
    "laplace",
    "logistic",
    "lognormal",
    "multivariate_normal",
    "normal",
    "pareto",
    "permutation",
    "poisson",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "random",
    "random_integers",
    "rayleigh",
    "seed",
    "seed_context",
    "set_key",
    "shuffle",
    "split_key",
    "split_keys",
    "standard_cauchy",
    "standard_exponential",
    "standard_gamma",
    "standard_normal",
    "standard_t",
    "truncated_normal",
    "uniform",
    "weibull",
]

DEFAULT = RandomState.lazy("random.DEFAULT")
"""The generator behind the functions of this module, seeded afresh in every process."""

bernoulli = DEFAULT.bernoulli
beta = DEFAULT.beta
binomial = DEFAULT.binomial
categorical = DEFAULT.categorical
cauchy = DEFAULT.cauchy
chisquare = DEFAULT.chisquare
choice = DEFAULT.choice
exponential = DEFAULT.exponential
gamma = DEFAULT.gamma
geometric = DEFAULT.geometric
gumbel = DEFAULT.gumbel
laplace = DEFAULT.laplace
logistic = DEFAULT.logistic
lognormal = DEFAULT.lognormal
multivariate_normal = DEFAULT.multivariate_normal
normal = DEFAULT.normal
pareto = DEFAULT.pareto
permutation = DEFAULT.permutation
poisson = DEFAULT.poisson
rand = DEFAULT.rand
rand_like = DEFAULT.rand_like
randint = DEFAULT.randint
randint_like = DEFAULT.randint_like
randn = DEFAULT.randn
randn_like = DEFAULT.randn_like
random = DEFAULT.random
random_integers = DEFAULT.random_integers
rayleigh = DEFAULT.rayleigh
shuffle = DEFAULT.shuffle
split_key = DEFAULT.split_key
standard_cauchy = DEFAULT.standard_cauchy
standard_exponential = DEFAULT.standard_exponential
standard_gamma = DEFAULT.standard_gamma
standard_normal = DEFAULT.standard_normal
standard_t = DEFAULT.standard_t
truncated_normal = DEFAULT.truncated_normal
uniform = DEFAULT.uniform
weibull = DEFAULT.weibull


def seed(seed_or_key: SeedOrKey | None = None) -> None:
    """Start the default generator again from a seed or key, and NumPy's global one with it.

    Without a seed the default generator takes fresh entropy, and NumPy's is left alone.

    Raises
    ------
    TypeError
        If it is neither a seed nor a key; nothing has changed then.

    Examples
    --------
    >>> from brainir import random
    >>> random.seed(42)
    """
    DEFAULT.seed(seed_or_key)
    words = jax.random.key_data(DEFAULT.value)
    if seed_or_key is not None and not isinstance(words, Tracer):
        np.random.seed(int(words[-1]))


@contextmanager
def seed_context(seed_or_key: SeedOrKey) -> Iterator[None]:
    """Seed for the length of a ``with`` block; afterwards both generators are where they were.

    Examples
    --------
    >>> from brainir import random
    >>> with random.seed_context(1):
    ...     a = random.rand(2)
    >>> with random.seed_context(1):
    ...     b = random.rand(2)
    >>> bool((a == b).all())
    True
    """
    key, numpy_state = DEFAULT.value, np.random.get_state()
    try:
        seed(seed_or_key)
        yield
    finally:
        DEFAULT.value = key
        np.random.set_state(numpy_state)


def split_keys(n: int) -> jax.Array:
    """Return an array of `n` fresh keys of the default generator.

    Raises
    ------
    ValueError
        If `n` is not a positive integer.

    Examples
    --------
    >>> from brainir import random
    >>> random.split_keys(3).shape
    (3,)
    """
    if not isinstance(n, int | np.integer):
        raise ValueError(f"the number of keys must be a positive integer, got {n!r}")
    return DEFAULT.split_key(int(n))


def get_key() -> jax.Array:
    """Return the key of the default generator, without drawing.

    Examples
    --------
    >>> from brainir import random
    >>> random.get_key().shape
    ()
    """
    return DEFAULT.value


def set_key(seed_or_key: SeedOrKey) -> None:
    """Set the key of the default generator; NumPy's is left alone.

    Raises
    ------
    TypeError
        If it is neither a seed nor a key.

    Examples
    --------
    >>> from brainir import random
    >>> random.set_key(random.get_key())
    """
    DEFAULT.seed(seed_or_key)


def clone_rng(seed_or_key: SeedOrKey | None = None, clone: bool = True) -> RandomState:
    """Return a generator of that seed or key, or a clone of the default one.

    Without a seed, `clone` draws a fresh key for a new generator; otherwise it is the default
    generator itself.

    Examples
    --------
    >>> from brainir import random
    >>> random.clone_rng() is random.DEFAULT
    False
    """
    if seed_or_key is not None:
        return RandomState(seed_or_key)
    return DEFAULT.clone() if clone else DEFAULT


def default_rng(seed_or_key: SeedOrKey | None = None) -> RandomState:
    """Return a new generator of that seed or key, or without one the default generator.

    Examples
    --------
    >>> from brainir import random
    >>> random.default_rng() is random.DEFAULT
    True
    """
    return DEFAULT if seed_or_key is None else RandomState(seed_or_key)
