"""Which devices JAX uses: options of JAX, which hold for the whole process."""

from __future__ import annotations

import jax

__all__ = ["SUPPORTED_PLATFORMS", "get_host_device_count", "get_platform"]
__all__ += ["set_host_device_count", "set_platform"]

SUPPORTED_PLATFORMS = ("cpu", "gpu", "tpu")
"""What :func:`set_platform` takes."""


def set_platform(platform: str) -> None:
    """Choose the platform that JAX runs on, before it has started any device.

    Raises
    ------
    ValueError
        If it is not one of ``SUPPORTED_PLATFORMS``.
    RuntimeError
        If JAX has started the devices of another platform already.

    Examples
    --------
    >>> from brainir import environ
    >>> environ.set_platform(environ.get_platform())
    """
    if platform not in SUPPORTED_PLATFORMS:
        raise ValueError(f"platform must be one of {SUPPORTED_PLATFORMS}, got {platform!r}")
    if not _has_started():
        jax.config.update("jax_platforms", platform)
    elif jax.default_backend() != platform:
        raise RuntimeError(
            f"JAX runs on {jax.default_backend()} already: choose {platform} at the start of the "
            "program, before anything is computed"
        )


def get_platform() -> str:
    """Return the platform that JAX runs on; asking starts its devices.

    Examples
    --------
    >>> from brainir import environ
    >>> environ.get_platform() in environ.SUPPORTED_PLATFORMS
    True
    """
    return jax.default_backend()


def set_host_device_count(n: int) -> None:
    """Choose as how many devices the CPU counts, before JAX has started any.

    Raises
    ------
    ValueError
        If `n` is not a positive integer.
    RuntimeError
        If JAX has started with another number already.

    Examples
    --------
    >>> from brainir import environ
    >>> environ.set_host_device_count(environ.get_host_device_count())
    """
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise ValueError(f"the number of devices must be a positive integer, got {n!r}")
    if not _has_started():
        jax.config.update("jax_num_cpu_devices", n)
    elif get_host_device_count() != n:
        raise RuntimeError(
            f"JAX has started with {get_host_device_count()} CPU devices already: choose {n} at "
            "the start of the program, before anything is computed"
        )


def get_host_device_count() -> int:
    """Return as how many devices the CPU counts; asking starts them.

    Examples
    --------
    >>> from brainir import environ
    >>> environ.get_host_device_count() >= 1
    True
    """
    return len(jax.devices("cpu"))


def _has_started() -> bool:
    """Whether JAX has started devices, which is when it refuses another number of them."""
    present: int = getattr(jax.config, "jax_num_cpu_devices")  # noqa: B009  (JAX adds it)
    try:
        jax.config.update("jax_num_cpu_devices", present + 1 if present > 0 else 1)
    except RuntimeError:
        return True
    jax.config.update("jax_num_cpu_devices", present)
    return False
