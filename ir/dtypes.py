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
    """Return the name that `Type` has for a numpy dtype; the inverse of `numpy_dtype`.

    Examples
    --------
    >>> import numpy as np
    >>> from brainir.ir import dtype_name, numpy_dtype
    >>> dtype_name(np.dtype(np.float32)), dtype_name(numpy_dtype("key<fry>"))
    ('float32', 'key<fry>')
    """
    return f"key<{dtype.names[0]}>" if dtype.names else dtype.name


def type_of_array(array: np.ndarray[Any, Any]) -> Type:
    """Return the type of a numpy array.

    Examples
    --------
    >>> import numpy as np
    >>> from brainir.ir import type_of_array
    >>> str(type_of_array(np.zeros((500, 4), np.float32)))
    'f32[500,4]'
    """
    return Type(dtype_name(array.dtype), array.shape)


def key_words(keys: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the words of keys, on a new trailing axis.

    Parameters
    ----------
    keys : array of keys, any shape
        Of a dtype that `numpy_dtype` gives for keys.

    Returns
    -------
    array of uint32, shape (*keys.shape, words)
        Two words for each key of the generator ``fry``.

    Examples
    --------
    >>> import numpy as np
    >>> from brainir.ir import key_words, numpy_dtype
    >>> keys = np.zeros(5, numpy_dtype("key<fry>"))
    >>> key_words(keys).shape
    (5, 2)
    """
    assert keys.dtype.names is not None, f"{keys.dtype} is no dtype of keys"
    return keys[keys.dtype.names[0]]


def keys_of_words(words: np.ndarray[Any, Any], name: str) -> np.ndarray[Any, Any]:
    """Return the keys whose words are on the trailing axis; the inverse of `key_words`.

    Examples
    --------
    >>> import numpy as np
    >>> from brainir.ir import keys_of_words
    >>> keys = keys_of_words(np.arange(6, dtype=np.uint32).reshape(3, 2), "key<fry>")
    >>> keys.shape, keys[1]["fry"]
    ((3,), array([2, 3], dtype=uint32))
    """
    return np.ascontiguousarray(words).view(numpy_dtype(name))[..., 0]
