"""Layers without dynamics of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import init
from ..state import ParamState
from ..typing import Size
from .module import Module

__all__ = ["Linear", "Sequential"]


class Linear(Module):
    r"""Affine map of the last axis, :math:`y = x W + b`.

    Its one state, ``weight``, is a ``ParamState`` that holds a dictionary: "weight", of shape
    ``(in_size[-1], out_size[-1])``, and, unless `b_init` is None, "bias", of shape
    ``(out_size[-1],)``. Any leading axes of the input are kept.

    Parameters
    ----------
    in_size, out_size : int or sequence of int
        The shapes of one input and one output; they may differ in the last axis only.
    w_init : initialiser, array or Quantity
        The weight at the start.
    b_init : initialiser, array, Quantity or None
        The bias at the start; None leaves it out.
    name : str, optional
        A name for people to read.

    Raises
    ------
    ValueError
        If `in_size` and `out_size` differ before their last axis, or have no axis.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> linear = brainir.nn.Linear(3, 2, w_init=brainir.init.Constant(0.5))
    >>> linear(jnp.ones((4, 3)))[0]
    Array([1.5, 1.5], dtype=float32)
    """

    def __init__(
        self,
        in_size: Size,
        out_size: Size,
        w_init: Any = init.KaimingNormal(),
        b_init: Any = init.ZeroInit(),
        name: str | None = None,
    ):
        super().__init__(name)
        self.in_size = in_size
        self.out_size = out_size
        inputs, outputs = self.in_size or (), self.out_size or ()
        if not inputs or not outputs or inputs[:-1] != outputs[:-1]:
            raise ValueError(
                f"in_size {self.in_size} and out_size {self.out_size} of {type(self).__name__} "
                "may differ in the last axis only, and need one"
            )
        weight = init.param(w_init, (inputs[-1], outputs[-1]), allow_none=False)
        parameters = {"weight": weight}
        if b_init is not None:
            parameters["bias"] = init.param(b_init, outputs[-1:])
        self.weight = ParamState(parameters)

    def update(self, x: Any) -> Any:
        """Map `x`, of shape ``(..., in_size[-1])``, to shape ``(..., out_size[-1])``."""
        parameters = self.weight.value
        y = x @ parameters["weight"]
        return y + parameters["bias"] if "bias" in parameters else y


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
