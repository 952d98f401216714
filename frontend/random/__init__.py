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
    "dirichlet",
    "exponential",
    "f",
    "gamma",
    "geometric",
    "get_key",
    "get_key_data",
    "gumbel",
    "hypergeometric",
    "laplace",
    "loggamma",
    "logistic",
    "lognormal",
    "logseries",
    "maxwell",
    "multinomial",
    "multivariate_normal",
    "negative_binomial",
    "noncentral_chisquare",
    "noncentral_f",
    "normal",
    "orthogonal",
    "pareto",
    "permutation",
    "poisson",
    "power",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "random",
    "random_integers",
    "random_sample",
    "ranf",
    "rayleigh",
    "restore_key",
    "sample",
    "seed",
    "seed_context",
    "self_assign_multi_keys",
    "set_key",
    "shuffle",
    "split_key",
    "split_keys",
    "standard_cauchy",
    "standard_exponential",
    "standard_gamma",
    "standard_normal",
    "standard_t",
    "t",
    "triangular",
    "truncated_normal",
    "uniform",
    "vonmises",
    "wald",
    "weibull",
    "weibull_min",
    "zipf",
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
dirichlet = DEFAULT.dirichlet
exponential = DEFAULT.exponential
f = DEFAULT.f
gamma = DEFAULT.gamma
geometric = DEFAULT.geometric
gumbel = DEFAULT.gumbel
hypergeometric = DEFAULT.hypergeometric
laplace = DEFAULT.laplace
loggamma = DEFAULT.loggamma
logistic = DEFAULT.logistic
lognormal = DEFAULT.lognormal
logseries = DEFAULT.logseries
maxwell = DEFAULT.maxwell
multinomial = DEFAULT.multinomial
multivariate_normal = DEFAULT.multivariate_normal
negative_binomial = DEFAULT.negative_binomial
noncentral_chisquare = DEFAULT.noncentral_chisquare
noncentral_f = DEFAULT.noncentral_f
normal = DEFAULT.normal
orthogonal = DEFAULT.orthogonal
pareto = DEFAULT.pareto
permutation = DEFAULT.permutation
poisson = DEFAULT.poisson
power = DEFAULT.power
rand = DEFAULT.rand
rand_like = DEFAULT.rand_like
randint = DEFAULT.randint
randint_like = DEFAULT.randint_like
randn = DEFAULT.randn
randn_like = DEFAULT.randn_like
random = DEFAULT.random
random_integers = DEFAULT.random_integers
random_sample = DEFAULT.random_sample
ranf = DEFAULT.ranf
rayleigh = DEFAULT.rayleigh
restore_key = DEFAULT.restore_key
sample = DEFAULT.sample
self_assign_multi_keys = DEFAULT.self_assign_multi_keys
shuffle = DEFAULT.shuffle
split_key = DEFAULT.split_key
standard_cauchy = DEFAULT.standard_cauchy
standard_exponential = DEFAULT.standard_exponential
standard_gamma = DEFAULT.standard_gamma
standard_normal = DEFAULT.standard_normal
standard_t = DEFAULT.standard_t
t = DEFAULT.t
triangular = DEFAULT.triangular
truncated_normal = DEFAULT.truncated_normal
uniform = DEFAULT.uniform
vonmises = DEFAULT.vonmises
wald = DEFAULT.wald
weibull = DEFAULT.weibull
weibull_min = DEFAULT.weibull_min
zipf = DEFAULT.zipf


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


def split_keys(n: int, backup: bool = False) -> jax.Array:
    """Return an array of `n` fresh keys of the default generator.

    Parameters
    ----------
    n : int
        How many keys, at least 1.
    backup : bool, optional
        Whether to put the generator's key aside first, for :func:`restore_key`.

    Raises
    ------
    ValueError
        If `n` is not a positive integer, or a key has been put aside already.

    Examples
    --------
    >>> from brainir import random
    >>> random.split_keys(3).shape
    (3,)
    """
    if not isinstance(n, int | np.integer):
        raise ValueError(f"the number of keys must be a positive integer, got {n!r}")
    return DEFAULT.split_key(int(n), backup)


def get_key() -> jax.Array:
    """Return the key of the default generator, without drawing.

    Examples
    --------
    >>> from brainir import random
    >>> random.get_key().shape
    ()
    """
    return DEFAULT.value


def get_key_data() -> jax.Array:
    """Return the words of the key of the default generator, ``uint32`` of shape ``(2,)``.

    Examples
    --------
    >>> from brainir import random
    >>> random.get_key_data().dtype
    dtype('uint32')
    """
    return jax.random.key_data(DEFAULT.value)


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
