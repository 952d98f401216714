"""Where the arguments and results of a compiled function live: devices, and parts of arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax


@dataclass(frozen=True, slots=True)
class Placement:
    """What `jit` was told of devices.

    Attributes
    ----------
    arguments : Sharding, or tuple or list of these
        For all arguments that are not static, or for each of those by position; each stands for
        all arrays of its argument, or is a pytree like it. None leaves arrays where they are.
    results : pytree of Sharding
        Likewise, for the result.
    device : jax.Device or None
        For all arguments that no sharding is given for.
    """

    arguments: Any = None
    results: Any = None
    device: Any = None

    @classmethod
    def asked(cls, arguments: Any, results: Any, device: Any, backend: Any) -> Placement | None:
        """Return what arguments of `jit` say; None if they say nothing.

        Raises
        ------
        ValueError
            If both a device and a backend are given.
        """
        if backend is not None:
            if device is not None:
                raise ValueError("give jit a device or a backend, not both")
            device = jax.devices(backend)[0]
        placement = cls(arguments, results, device)
        return None if placement == cls() else placement

    def call(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        static: frozenset[int],
        names: frozenset[str],
    ) -> Any:
        """Call a function with its arguments where they belong, and bring its result where it does.

        Raises
        ------
        ValueError
            If there is not a sharding for each argument.
        """
        dynamic = [i for i in range(len(args)) if i not in static]
        shardings = self.arguments
        if not isinstance(shardings, tuple | list):
            shardings = [shardings] * len(dynamic)
        if len(shardings) != len(dynamic):
            raise ValueError(
                f"in_shardings are for {len(shardings)} arguments, but there are {len(dynamic)} "
                "that are not static and are given by position"
            )
        placed = list(args)
        for i, sharding in zip(dynamic, shardings, strict=True):
            placed[i] = _put(args[i], self.device if sharding is None else sharding)
        named = {k: v if k in names else _put(v, self.device) for k, v in kwargs.items()}
        return _put(function(*placed, **named), self.results)


def _put(tree: Any, where: Any) -> Any:
    return tree if where is None else jax.device_put(tree, where)
