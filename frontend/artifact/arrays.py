"""Arrays as ``.npy`` bytes, without pickles; elements unknown to plain numpy are held as words."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np

from ...backends import to_jax, to_numpy, type_of
from ...ir import Type, numpy_dtype
from .errors import ArtifactError


def array_bytes(array: Any) -> bytes:
    """Return an array as the bytes of an ``.npy`` file."""
    held = to_numpy(array)
    words, shape = _held_as(type_of(held))
    plain = np.ascontiguousarray(held).reshape(-1).view(words).reshape(shape)
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, plain, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def array_of_bytes(data: bytes, type: Type, name: str) -> Any:
    """Return the JAX array of a type from the bytes of an ``.npy`` file; ``name`` is for messages.

    Raises
    ------
    ArtifactError
        If the bytes are not just such an array.
    """
    words, shape = _held_as(type)
    buffer = io.BytesIO(data)
    try:
        np.lib.format.read_magic(buffer)
        found, fortran, dtype = np.lib.format.read_array_header_1_0(buffer)
    except (ValueError, TypeError, LookupError, EOFError, SyntaxError, RuntimeError) as error:
        raise ArtifactError(f"{name} is not an array: {error}") from error
    if (found, fortran, dtype) != (shape, False, words):
        raise ArtifactError(f"{name} holds {dtype}{list(found)}, which is not how {type} is held")
    content = data[buffer.tell() :]
    if len(content) != words.itemsize * math.prod(shape):
        raise ArtifactError(f"{name} does not have the size of {type}")
    plain = np.frombuffer(content, words)
    if type.dtype == "bool":
        plain = plain.view(np.uint8) != 0  # other bytes than 0 and 1 would not be booleans
    return to_jax(plain.view(numpy_dtype(type.dtype)).reshape(type.shape))


def _held_as(type: Type) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return dtype and shape of the array that holds one of a type.

    Raises
    ------
    ArtifactError
        If nothing is known of such elements.
    """
    try:
        element = numpy_dtype(type.dtype)
    except TypeError as error:
        raise ArtifactError(f"there are no arrays of type {type}: {error}") from error
    if element.names:  # a random key: its words are on a last axis of their own
        words = element[0]
        return words.base, (*type.shape, *words.shape)
    if element.isbuiltin == 1:
        return element, type.shape
    return np.dtype(f"u{element.itemsize}"), type.shape
