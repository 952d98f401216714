"""What tests tell the processes that they start."""

from __future__ import annotations

import os
import sys


def environment(devices: int | None = None, **more: str) -> dict[str, str]:
    """Return the environment of a process that imports what this one does, mistakes included.

    With a number of ``devices``, it believes that it has so many.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if devices is not None:
        flags = f"{flags} --xla_force_host_platform_device_count={devices}"
    path = os.pathsep.join(folder for folder in sys.path if folder)
    own = {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    return {**os.environ, **own, **more}
