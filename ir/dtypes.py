"""How elements are held in numpy arrays, random keys among them."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .types import Type

KEY_WORDS = {"fry": 2, "rbg": 4, "urbg": 4}
"""How many 32-bit words a key of each JAX generator has."""


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return the numpy dtype of a dtype named as in `Type`.

    A key is a structured element whose one field is called like its generator, so that all that
    moves elements about (indexing, stacking, selecting) works on keys unchanged.

    Examples
    --------
    >>> numpy_dtype("key<fry>")
    dtype([('fry', '<u4', (2,))])
    """
    if not name.startswith("key<"):
        return np.dtype(name)
    generator = name[len("key<") : -1]
    if generator not in KEY_WORDS:
        raise TypeError(f"nothing is known of the random generator {generator!r}")
    return np.dtype([(generator, np.uint32, (KEY_WORDS[generator],))])


@functools.cache  # numpy spells the name of a dtype anew each time it is asked
def dtype_name(dtype: np.dtype[Any]) -> str:
    """Return the name that `Type` has for a numpy dtype; the inverse of `numpy_dtype`."""
    return f"key<{dtype.names[0]}>" if dtype.names else dtype.name


def type_of_array(array: np.ndarray[Any, Any]) -> Type:
    """Return the type of a numpy array."""
    return Type(dtype_name(array.dtype), array.shape)


def key_words(keys: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the words of keys, on a new trailing axis."""
    assert keys.dtype.names is not None, f"{keys.dtype} is no dtype of keys"
    return keys[keys.dtype.names[0]]


def keys_of_words(words: np.ndarray[Any, Any], name: str) -> np.ndarray[Any, Any]:
    """Return the keys whose words are on the trailing axis; the inverse of `key_words`."""
    return np.ascontiguousarray(words).view(numpy_dtype(name))[..., 0]
