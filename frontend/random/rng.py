"""Random numbers as a State: the key is what it holds, and drawing writes the next one."""

from __future__ import annotations

import operator
import secrets
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..state import State
from ..typing import SeedOrKey
from .continuous import Continuous
from .discrete import Discrete

__all__ = ["RandomState", "as_key"]


class RandomState(State[jax.Array], Continuous, Discrete):
    """A generator of random numbers whose key is the value of a State.

    Every draw splits the key and keeps one half, so that equal seeds give equal sequences, and code
    that draws inside a transformation draws the same numbers as it does in plain Python.

    Parameters
    ----------
    seed_or_key
        An integer, a key of ``jax.random.key``, or its ``uint32`` words. Without one the seed is
        fresh entropy of the operating system.
    name, **metadata
        As for every :class:`~brainir.State`.

    Raises
    ------
    TypeError
        If it is neither a seed nor a key.

    Examples
    --------
    >>> from brainir.random import RandomState
    >>> first, second = RandomState(7), RandomState(7)
    >>> bool((first.normal(size=3) == second.normal(size=3)).all())
    True
    """

    kind = "rng"

    def __init__(self, seed_or_key: SeedOrKey | None = None, name: str | None = None, **metadata):
        super().__init__(as_key(seed_or_key), name, **metadata)

    @classmethod
    def lazy(cls, name: str) -> RandomState:
        """Return a generator that takes its seed when first used: making it starts no device."""
        generator = object.__new__(cls)
        State.__init__(generator, None, name)
        del generator._value
        return generator

    def __getattr__(self, name: str) -> Any:
        if name != "_value":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        with jax.ensure_compile_time_eval():
            self._value = as_key(None)
        return self._value

    def seed(self, seed_or_key: SeedOrKey | None = None) -> None:
        """Start again from a seed or key; without one, from fresh entropy.

        >>> from brainir.random import RandomState
        >>> generator = RandomState(0)
        >>> generator.seed(7)
        """
        self.value = as_key(seed_or_key)

    def split_key(self, n: int | None = None) -> jax.Array:
        """Return a fresh key, or an array of `n` of them, and move on.

        The key of the generator is split into 2, or ``n + 1``, with ``jax.random.split``; the first
        is kept and the rest returned.

        Raises
        ------
        TypeError
            If `n` is not an integer.
        ValueError
            If it is less than 1.

        >>> from brainir.random import RandomState
        >>> RandomState(0).split_key(3).shape
        (3,)
        """
        count = 1 if n is None else operator.index(n)
        if count < 1:
            raise ValueError(f"the number of keys must be at least 1, got {n}")
        keys = jax.random.split(self.value, count + 1)
        self.value = keys[0]
        return keys[1] if n is None else keys[1:]

    def take_key(self, key: SeedOrKey | None = None) -> jax.Array:
        """Return `key` as a typed key, or, without one, :meth:`split_key`."""
        return self.split_key() if key is None else as_key(key)

    def clone(self) -> RandomState:
        """Return a new generator that starts from a fresh key of this one."""
        return RandomState(self.split_key())


def as_key(seed_or_key: SeedOrKey | None) -> jax.Array:
    """Return a typed key of shape ``()`` for a seed or key, or for None one of fresh entropy.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if seed_or_key is None:
        return jax.random.key(secrets.randbits(32))
    if isinstance(seed_or_key, int | np.integer):
        return jax.random.key(int(seed_or_key))
    given = repr(seed_or_key)
    if isinstance(seed_or_key, np.ndarray | jax.Array):
        array = jnp.asarray(seed_or_key)
        if array.shape == () and jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
            return array
        if array.shape == () and jnp.issubdtype(array.dtype, jnp.integer):
            return jax.random.key(array)
        if array.shape == (2,) and array.dtype == jnp.uint32:
            return jax.random.wrap_key_data(array)
        given = f"an array of type {array.dtype} and shape {array.shape}"
    raise TypeError(
        "a seed is one integer, and a key comes from jax.random.key(seed) or "
        f"jax.random.PRNGKey(seed); got {given}"
    )
