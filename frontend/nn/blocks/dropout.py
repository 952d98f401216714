"""Layers that do something else in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import brainunit as u

from ... import environ, random
from ..module import Module
from .elementwise import ElementWiseBlock

__all__ = ["Dropout", "EnvironContext"]


class Dropout(ElementWiseBlock):
    """In training, random elements become 0, and the others grow so that the mean is kept.

    Training is where the ``environ`` value ``fit`` is true; elsewhere the input is returned.

    Source: Srivastava et al. 2014, *Dropout: a simple way to prevent neural networks from
    overfitting*.

    Parameters
    ----------
    prob : float
        The probability that an element is **kept**; those are divided by it.
    broadcast_dims : sequence of int
        Axes along which all elements share one fate.
    name : str, optional
        A name for people to read.

    Raises
    ------
    ValueError
        If `prob` is not between 0 and 1.
    KeyError
        At a call, if ``fit`` is not set.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> dropout = brainir.nn.Dropout(0.5)
    >>> with brainir.environ.context(fit=True):
    ...     print(sorted(set(dropout(jnp.ones(100)).tolist())))
    [0.0, 2.0]
    """

    def __init__(
        self, prob: float = 0.5, broadcast_dims: Sequence[int] = (), name: str | None = None
    ):
        super().__init__(name)
        if not 0 <= prob <= 1:
            raise ValueError(f"prob, the probability to keep an element, is in [0, 1], not {prob}")
        self.prob = prob
        self.broadcast_dims = tuple(broadcast_dims)

    def update(self, x: Any) -> Any:
        """Drop elements of `x`, an array or Quantity of any shape."""
        fit = environ.get("fit", desc="whether the model is being trained, a bool")
        if not fit or self.prob == 1:
            return x
        if self.prob == 0:
            return u.math.zeros_like(x)
        shape = list(u.math.shape(x))
        for axis in self.broadcast_dims:
            shape[axis] = 1
        kept = random.bernoulli(self.prob, tuple(shape))
        grown = x / self.prob
        return u.math.where(kept, grown, u.math.zeros_like(grown))


class EnvironContext(Module):
    """A module that always runs with some values of the environment.

    Parameters
    ----------
    layer : Module
        The module.
    **context
        The values, as for ``brainir.environ.context``.

    Raises
    ------
    TypeError
        If `layer` is not a module.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> layer = brainir.nn.EnvironContext(brainir.nn.Dropout(0.5), fit=False)
    >>> layer(jnp.ones(2)).tolist()
    [1.0, 1.0]
    """

    def __init__(self, layer: Module, **context: Any):
        super().__init__()
        if not isinstance(layer, Module):
            raise TypeError(f"EnvironContext needs a module, not {layer!r}")
        self.layer = layer
        self.context = context
        if layer.in_size is not None:
            self.in_size = layer.in_size
        if layer.out_size is not None:
            self.out_size = layer.out_size

    def add_context(self, **context: Any) -> None:
        """Add values, or give others for those that there are."""
        self.context = {**self.context, **context}

    def update(self, *args: Any, context: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        """Run the module; values in `context` go before those that the module was given."""
        with environ.context(**{**self.context, **(context or {})}):
            return self.layer(*args, **kwargs)
