"""Random numbers as a State: the key is what it holds, and drawing writes the next one."""

from __future__ import annotations

import operator
import secrets
import weakref
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ..capture import current_frame
from ..state import State
from ..state.pretty import summary
from ..typing import SeedOrKey
from .continuous import Continuous
from .discrete import Discrete
from .shaped import Shaped

__all__ = ["RandomState", "as_key"]


class _OutsideOfFrames:
    """Stands for the place that is in no function that is being captured."""


_OUTSIDE = _OutsideOfFrames()

_backups: weakref.WeakKeyDictionary[RandomState, weakref.WeakKeyDictionary[Any, jax.Array]]
_backups = weakref.WeakKeyDictionary()
"""The keys that generators have put aside, each by the captured function that this was done in."""


class RandomState(State[jax.Array], Continuous, Shaped, Discrete):
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

    def set_key(self, seed_or_key: SeedOrKey) -> None:
        """Go on from a seed or key, as :meth:`seed` does.

        Raises
        ------
        TypeError
            If it is neither a seed nor a key.

        Examples
        --------
        >>> from brainir.random import RandomState
        >>> generator = RandomState(0)
        >>> generator.set_key(7)
        """
        self.value = as_key(seed_or_key)

    def split_key(self, n: int | None = None, backup: bool = False) -> jax.Array:
        """Return a fresh key, or an array of `n` of them, and move on.

        The key of the generator is split into 2, or ``n + 1``, with ``jax.random.split``; the first
        is kept and the rest returned.

        Parameters
        ----------
        n : int, optional
            How many keys to return; by default one, without an axis.
        backup : bool, optional
            Whether to :meth:`backup_key` first.

        Raises
        ------
        TypeError
            If `n` is not an integer.
        ValueError
            If it is less than 1, or there is a backup already.

        Examples
        --------
        >>> from brainir.random import RandomState
        >>> RandomState(0).split_key(3).shape
        (3,)
        """
        count = 1 if n is None else _positive(n)
        if backup:
            self.backup_key()
        keys = jax.random.split(self.value, count + 1)
        self.value = keys[0]
        return keys[1] if n is None else keys[1:]

    def backup_key(self) -> None:
        """Put the key aside, for :meth:`restore_key` to go back to.

        A backup belongs to where it was made: what a compiled function puts aside is for that
        function to restore, since each of its runs has a key of its own.

        Raises
        ------
        ValueError
            If there is a backup that was not restored.

        Examples
        --------
        >>> from brainir.random import RandomState
        >>> generator = RandomState(0)
        >>> generator.backup_key()
        >>> first = generator.rand()
        >>> generator.restore_key()
        >>> bool(first == generator.rand())
        True
        """
        kept = _backups.setdefault(self, weakref.WeakKeyDictionary())
        here = current_frame() or _OUTSIDE
        if here in kept:
            raise ValueError(
                f"the key of {self.describe()} has been put aside already: call restore_key() first"
            )
        kept[here] = self.value

    def restore_key(self) -> None:
        """Go back to the key that was put aside with :meth:`backup_key`, which is used up by it.

        Raises
        ------
        ValueError
            If none was put aside in this function.

        Examples
        --------
        >>> from brainir.random import RandomState
        >>> generator = RandomState(0)
        >>> keys = generator.split_key(3, backup=True)
        >>> generator.restore_key()
        >>> bool((generator.split_key(3) == keys).all())
        True
        """
        here = current_frame() or _OUTSIDE
        key = _backups.get(self, {}).pop(here, None)
        if key is None:
            raise ValueError(
                f"no key of {self.describe()} has been put aside here: call backup_key() before, "
                "in the same function"
            )
        self.value = key

    def self_assign_multi_keys(self, n: int, backup: bool = True) -> None:
        """Hold an array of `n` fresh keys instead of one, to give a key to each lane of a mapping.

        Nothing can be drawn from such a generator until :meth:`restore_key` or :meth:`seed`.

        Parameters
        ----------
        n : int
            How many keys, at least 1.
        backup : bool, optional
            Whether to :meth:`backup_key` first.

        Raises
        ------
        TypeError
            If `n` is not an integer.
        ValueError
            If it is less than 1, or there is a backup already.

        Examples
        --------
        >>> from brainir.random import RandomState
        >>> generator = RandomState(0)
        >>> generator.self_assign_multi_keys(3)
        >>> generator.value.shape
        (3,)
        >>> generator.restore_key()
        """
        keys = jax.random.split(self.value, _positive(n))
        if backup:
            self.backup_key()
        self.value = keys

    def take_key(self, key: SeedOrKey | None = None) -> jax.Array:
        """Return `key` as a typed key, or, without one, :meth:`split_key`.

        >>> from brainir.random import RandomState
        >>> RandomState(0).take_key(7) == RandomState(7).value
        Array(True, dtype=bool)
        """
        return self.split_key() if key is None else as_key(key)

    def clone(self) -> RandomState:
        """Return a new generator that starts from a fresh key of this one.

        >>> from brainir.random import RandomState
        >>> generator = RandomState(0)
        >>> generator.clone() is generator
        False
        """
        return RandomState(self.split_key())

    def __rich_repr__(self) -> Iterator[tuple[str, object]]:
        """Yield the words of the key, where they are known, and the metadata."""
        for name, item in super().__rich_repr__():
            yield ("key", self._shown()) if name == "value" else (name, item)

    def _shown(self) -> object:
        key = self.peek()
        return jax.random.key_data(key).tolist() if _is_known_key(key) else summary(key)


def _is_known_key(value: Any) -> bool:
    known = isinstance(value, jax.Array) and not isinstance(value, Tracer)
    return known and value.ndim == 0 and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)


def _positive(n: int) -> int:
    count = operator.index(n)
    if count < 1:
        raise ValueError(f"the number of keys must be at least 1, got {n}")
    return count


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
