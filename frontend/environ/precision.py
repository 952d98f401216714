"""The default number types, by the precision in force."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from .layers import DEFAULT, EnvironmentState
from .values import Precision, get, set

__all__ = [
    "dctype",
    "dftype",
    "ditype",
    "dutype",
    "get_precision",
    "set_precision",
    "tolerance",
]

_TYPES = {
    8: (jnp.float8_e5m2, jnp.int8, jnp.uint8, jnp.complex64),
    16: (jnp.float16, jnp.int16, jnp.uint16, jnp.complex64),
    "bf16": (jnp.bfloat16, jnp.int16, jnp.uint16, jnp.complex64),
    32: (jnp.float32, jnp.int32, jnp.uint32, jnp.complex64),
    64: (jnp.float64, jnp.int64, jnp.uint64, jnp.complex128),
}


def set_precision(precision: Precision, *, env: EnvironmentState = DEFAULT) -> None:
    """Choose the width of the default number types, ``set(precision=precision)``.

    Raises
    ------
    ValueError
        If it is not one of ``SUPPORTED_PRECISIONS``.

    Examples
    --------
    >>> from brainir import environ
    >>> environ.set_precision(32)
    >>> environ.pop("precision")
    32
    """
    set(precision=precision, env=env)


def get_precision(*, env: EnvironmentState = DEFAULT) -> int:
    """Return the number of bits of the default number types; 16 also for ``"bf16"``.

    Where nothing has been set it follows JAX: 64 in its 64-bit mode, otherwise 32.

    Examples
    --------
    >>> from brainir import environ
    >>> with environ.context(precision="bf16"):
    ...     environ.get_precision(), environ.dftype().__name__
    (16, 'bfloat16')
    """
    precision = get("precision", env=env)
    return 16 if precision == "bf16" else precision


def dftype(*, env: EnvironmentState = DEFAULT) -> type[np.generic]:
    """Return the default type of real numbers.

    Examples
    --------
    >>> from brainir import environ
    >>> with environ.context(precision=16):
    ...     environ.dftype()
    <class 'numpy.float16'>
    """
    return _number_type(0, env)


def ditype(*, env: EnvironmentState = DEFAULT) -> type[np.generic]:
    """Return the default type of signed integers.

    Examples
    --------
    >>> from brainir import environ
    >>> with environ.context(precision=32):
    ...     environ.ditype()
    <class 'numpy.int32'>
    """
    return _number_type(1, env)


def dutype(*, env: EnvironmentState = DEFAULT) -> type[np.generic]:
    """Return the default type of unsigned integers.

    Examples
    --------
    >>> from brainir import environ
    >>> with environ.context(precision=32):
    ...     environ.dutype()
    <class 'numpy.uint32'>
    """
    return _number_type(2, env)


def dctype(*, env: EnvironmentState = DEFAULT) -> type[np.generic]:
    """Return the default type of complex numbers.

    Examples
    --------
    >>> from brainir import environ
    >>> with environ.context(precision=64):
    ...     environ.dctype()
    <class 'numpy.complex128'>
    """
    return _number_type(3, env)


def tolerance(*, env: EnvironmentState = DEFAULT) -> np.ndarray:
    """Return how far numbers of the precision in force may be from equal ones.

    That is 1e-12 for 64 bits, 1e-5 for 32, and 1e-2 for fewer.

    Examples
    --------
    >>> from brainir import environ
    >>> with environ.context(precision=64):
    ...     float(environ.tolerance())
    1e-12
    """
    bits = get_precision(env=env)
    values = {64: np.float64(1e-12), 32: np.float32(1e-5)}
    return np.asarray(values.get(bits, np.float16(1e-2)))


def _number_type(column: int, env: EnvironmentState) -> type[np.generic]:
    return np.dtype(_TYPES[get("precision", env=env)][column]).type
