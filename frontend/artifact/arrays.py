"""Arrays as ``.npy`` bytes, without pickles; elements unknown to plain numpy are held as words."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np

from ...backends import to_jax, to_numpy, type_of
from ...ir import Type, numpy_dtype
from .errors import ArtifactError

MOST_AXES = 32
"""Of an array, as all versions of numpy have it."""


def array_bytes(array: Any) -> bytes:
    """Return an array as the bytes of an ``.npy`` file.

    Raises
    ------
    ArtifactError
        If other processes have parts of it.
    """
    if isinstance(array, jax.Array) and not (
        array.is_fully_addressable or array.is_fully_replicated
    ):
        raise ArtifactError(
            f"other processes have parts of an array of type {type_of(array)}: before saving, "
            "assign jax.experimental.multihost_utils.process_allgather(state.value, tiled=True) to "
            "States, and gather arrays that the function closes over, in all processes"
        )
    held = to_numpy(array)
    words, shape = _held_as(type_of(held))
    return _header(words, shape) + np.ascontiguousarray(held).tobytes()


def array_of_bytes(data: bytes, type: Type, name: str) -> Any:
    """Return the JAX array of a type from the bytes of an ``.npy`` file; ``name`` is for messages.

    Raises
    ------
    ArtifactError
        If the bytes are not just such an array.
    """
    words, shape = _held_as(type)
    header = _header(words, shape)
    if not data.startswith(header):
        raise ArtifactError(f"{name} is not an array of {words}{list(shape)}, as {type} is held")
    content = data[len(header) :]
    if len(content) != words.itemsize * math.prod(shape):
        raise ArtifactError(f"{name} does not have the size of {type}")
    plain = np.frombuffer(content, words)
    if type.dtype == "bool":
        plain = plain.view(np.uint8) != 0  # other bytes than 0 and 1 would not be booleans
    return to_jax(plain.view(numpy_dtype(type.dtype)).reshape(type.shape))


def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Return what an ``.npy`` file of version 1.0 begins with.

    There is just one header for each array here, so headers are compared rather than parsed.
    """
    text = f"{{'descr': {dtype.str!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    magic = b"\x93NUMPY\x01\x00"
    padded = text + " " * (-(len(magic) + 2 + len(text) + 1) % 64) + "\n"
    return magic + len(padded).to_bytes(2, "little") + padded.encode("latin1")


def _held_as(type: Type) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return dtype and shape of the array that holds one of a type.

    Raises
    ------
    ArtifactError
        If there are no such arrays.
    """
    if type.rank > MOST_AXES:
        raise ArtifactError(f"an array has at most {MOST_AXES} axes, not {type.rank}")
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
