"""Modules one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .module import Module

__all__ = ["Sequential"]


class Sequential(Module):
    """Modules and functions one after the other.

    Parameters
    ----------
    *layers : callable
        Each is called with what the one before returned, the first with the inputs.
    name : str, optional
        A name for people to read.

    Raises
    ------
    TypeError
        If a layer is not callable.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> net = brainir.nn.Sequential(brainir.nn.Linear(3, 2), jnp.tanh, brainir.nn.Linear(2, 1))
    >>> net(jnp.ones(3)).shape, net.in_size, net.out_size, len(net)
    ((1,), (3,), (1,), 3)
    """

    def __init__(self, *layers: Callable[..., Any], name: str | None = None):
        super().__init__(name)
        for index, layer in enumerate(layers):
            if not callable(layer):
                raise TypeError(f"layer {index} of Sequential is not callable: {layer!r}")
        sizes = [(layer.in_size, layer.out_size) for layer in layers if isinstance(layer, Module)]
        if sizes and sizes[0][0] is not None:
            self.in_size = sizes[0][0]
        if sizes and sizes[-1][1] is not None:
            self.out_size = sizes[-1][1]
        self.layers = layers

    def update(self, *inputs: Any, **kwargs: Any) -> Any:
        """Run the layers; all arguments go to the first."""
        first, *others = self.layers
        x = first(*inputs, **kwargs)
        for layer in others:
            x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return Sequential(*self.layers[index])
        return self.layers[index]
