"""Convolutions over one, two or three spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import jax

from ...state import ParamState
from .. import init
from ..module import Module
from .weights import known, make_mask, make_weight, masked, product
from .windows import Padding, as_extent, as_padding, result_shape

__all__ = ["Conv1d", "Conv2d", "Conv3d"]

Extent = int | Sequence[int]


class _Conv(Module):
    num_spatial_dims: ClassVar[int]

    def __init__(
        self,
        in_size: Sequence[int],
        out_channels: int,
        kernel_size: Extent,
        stride: Extent = 1,
        padding: Padding = "SAME",
        lhs_dilation: Extent = 1,
        rhs_dilation: Extent = 1,
        groups: int = 1,
        w_init: Any = init.XavierNormal(),
        b_init: Any = None,
        w_mask: Any = None,
        channel_first: bool = False,
        name: str | None = None,
        param_type: type = ParamState,
    ):
        super().__init__(name)
        count = self.num_spatial_dims
        self.in_size = tuple(in_size)
        self._check_rank()
        self.channel_first = channel_first
        self.in_channels = known(self.in_size)[0 if channel_first else -1]
        self.out_channels = out_channels
        for channels in (self.in_channels, out_channels):
            if channels % groups:
                raise ValueError(f"{channels} channels cannot be divided into {groups} groups")
        self.groups = groups
        self.kernel_size = as_extent("kernel_size", kernel_size, count)
        self.stride = as_extent("stride", stride, count)
        self.padding = as_padding(padding, count)
        self.lhs_dilation = as_extent("lhs_dilation", lhs_dilation, count)
        self.rhs_dilation = as_extent("rhs_dilation", rhs_dilation, count)
        if isinstance(self.padding, str) and any(n > 1 for n in self.lhs_dilation):
            raise ValueError("with lhs_dilation, say in numbers how much padding there is")
        shape = (*self.kernel_size, self.in_channels // groups, out_channels)
        self.w_mask = make_mask(w_mask, shape)
        parameters = {"weight": make_weight(w_init, shape)}
        if b_init is not None:
            ones = (1,) * count
            bias = (out_channels, *ones) if channel_first else (*ones, out_channels)
            parameters["bias"] = make_weight(b_init, bias)
        self.weight = param_type(parameters)
        self.out_size = result_shape(self._convolved, (1, *known(self.in_size)), shape)[1:]

    def update(self, x: Any) -> Any:
        """Convolve `x`, of shape ``in_size`` or ``(batch, *in_size)``."""
        shape = tuple(x.shape)
        alone = shape == self.in_size
        if not alone and shape[1:] != self.in_size:
            raise ValueError(
                f"{type(self).__name__} takes arrays of shape {self.in_size}, or with one batch "
                f"axis before, not {shape}"
            )
        parameters = self.weight.value
        y = product(
            self._convolved, x[None] if alone else x, masked(parameters["weight"], self.w_mask)
        )
        y = y[0] if alone else y
        return y + parameters["bias"] if "bias" in parameters else y

    def _convolved(self, x: jax.Array, weight: jax.Array) -> jax.Array:
        space = "DHW"[-self.num_spatial_dims :]
        order = f"NC{space}" if self.channel_first else f"N{space}C"
        return jax.lax.conv_general_dilated(
            x,
            weight,
            self.stride,
            self.padding,
            self.lhs_dilation,
            self.rhs_dilation,
            (order, f"{space}IO", order),
            self.groups,
        )

    def _check_rank(self) -> None:
        if len(known(self.in_size)) != self.num_spatial_dims + 1:
            raise ValueError(
                f"in_size of {type(self).__name__} needs {self.num_spatial_dims} spatial axes and "
                f"one of channels, got {self.in_size}"
            )


class Conv1d(_Conv):
    """Convolution over one axis; everything else is as for :class:`Conv2d`.

    Examples
    --------
    >>> import brainir
    >>> brainir.nn.Conv1d((100, 3), 8, kernel_size=5).out_size
    (100, 8)
    """

    num_spatial_dims = 1


class Conv2d(_Conv):
    """Convolution over two axes.

    Its state ``weight`` is a ``ParamState`` that holds a dictionary: "weight", of shape
    ``(*kernel_size, in_channels // groups, out_channels)``, and "bias", if there is one. Units of
    inputs and weights are multiplied.

    Parameters
    ----------
    in_size : tuple of int
        The shape of one input, ``(height, width, channels)``.
    out_channels : int
        The number of channels of the output.
    kernel_size : int or sequence of int
        The extent of the kernel; one integer stands for all spatial axes.
    stride : int or sequence of int
        The steps of the kernel.
    padding : {"SAME", "VALID"}, int, or sequence of int or pairs
        Zeros around the input: so many that the output has the extent of the input over the stride,
        none, or a number for all sides, for each axis, or for each side.
    lhs_dilation, rhs_dilation : int or sequence of int
        The distance of elements of the input, and of the kernel.
    groups : int
        Into how many groups the channels are divided, which do not mix.
    w_init : initialiser, array or Quantity
        The weight at the start.
    b_init : initialiser, array, Quantity or None
        The bias at the start; None leaves it out.
    w_mask : array, callable or None
        What the weight is multiplied by at each use, or a function that makes it from the shape.
    channel_first : bool
        Whether channels are the first axis instead of the last.
    name : str, optional
        A name for people to read.
    param_type : type
        The kind of state.

    Raises
    ------
    ValueError
        If `in_size` has another number of axes, the channels cannot be divided into `groups`, or an
        extent or the padding is none. At a call, if the input has another shape.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> conv = brainir.nn.Conv2d((28, 28, 1), 8, kernel_size=3, stride=2)
    >>> conv.out_size, conv(jnp.ones((5, 28, 28, 1))).shape
    ((14, 14, 8), (5, 14, 14, 8))
    """

    num_spatial_dims = 2


class Conv3d(_Conv):
    """Convolution over three axes; everything else is as for :class:`Conv2d`.

    Examples
    --------
    >>> import brainir
    >>> brainir.nn.Conv3d((8, 8, 8, 1), 4, kernel_size=3, padding="VALID").out_size
    (6, 6, 6, 4)
    """

    num_spatial_dims = 3
