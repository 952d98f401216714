"""Pooling: the largest or the mean of each window; and flattening."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from ...random.parameters import with_unit
from ...typing import Size
from ..module import Module
from .weights import known
from .windows import Padding, as_extent, as_padding, result_shape

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "Flatten",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
]

Extent = int | Sequence[int]


class _Spatial(Module):
    """A layer that works on the last axes but that of channels, and keeps units."""

    num_spatial_dims: ClassVar[int]
    channel_axis: int | None

    def _finish(self, in_size: Size | None) -> None:
        """Set the sizes, once the rest is set."""
        if in_size is not None:
            self.in_size = in_size
            self.out_size = result_shape(self._pooled, known(self.in_size))

    def update(self, x: Any) -> Any:
        """Pool `x`, whose last axes are space and channels; any others are kept."""
        numbers = jnp.asarray(u.get_mantissa(x))
        return u.maybe_decimal(with_unit(self._pooled(numbers), u.get_unit(x)))

    def _pooled(self, x: jax.Array) -> jax.Array:
        raise NotImplementedError

    def _axes(self, x: jax.Array) -> tuple[int, ...]:
        """Return the spatial axes of `x`."""
        axes = list(range(x.ndim))
        if self.channel_axis is not None:
            if not -x.ndim <= self.channel_axis < x.ndim:
                raise ValueError(f"an array of shape {x.shape} has no axis {self.channel_axis}")
            axes.remove(self.channel_axis % x.ndim)
        if len(axes) < self.num_spatial_dims:
            raise ValueError(
                f"{type(self).__name__} needs {self.num_spatial_dims} spatial axes beside that of "
                f"channels (channel_axis={self.channel_axis}), got an array of shape {x.shape}"
            )
        return tuple(axes[-self.num_spatial_dims :])


# --- windows of one extent ------------------------------------------------------------------------


class _Pool(_Spatial):
    def __init__(
        self,
        kernel_size: Extent,
        stride: Extent | None,
        padding: Padding,
        channel_axis: int | None,
        name: str | None,
        in_size: Size | None,
    ):
        super().__init__(name)
        count = self.num_spatial_dims
        self.kernel_size = as_extent("kernel_size", kernel_size, count)
        self.stride = self.kernel_size if stride is None else as_extent("stride", stride, count)
        self.padding = as_padding(padding, count)
        self.channel_axis = channel_axis
        self._finish(in_size)

    def _reduced(self, x: jax.Array, start: Any, function: Any) -> jax.Array:
        axes = self._axes(x)

        def spread(extent: Sequence[Any], rest: Any) -> tuple[Any, ...]:
            by_axis = dict(zip(axes, extent, strict=True))
            return tuple(by_axis.get(axis, rest) for axis in range(x.ndim))

        words = isinstance(self.padding, str)
        padding = self.padding if words else spread(self.padding, (0, 0))
        window, steps = spread(self.kernel_size, 1), spread(self.stride, 1)
        return jax.lax.reduce_window(x, start, function, window, steps, padding)  # pyright: ignore[reportArgumentType]


class _MaxPool(_Pool):
    def __init__(
        self,
        kernel_size: Extent,
        stride: Extent | None = None,
        padding: Padding = "VALID",
        channel_axis: int | None = -1,
        name: str | None = None,
        in_size: Size | None = None,
    ):
        super().__init__(kernel_size, stride, padding, channel_axis, name, in_size)

    def _pooled(self, x: jax.Array) -> jax.Array:
        least = -np.inf if jnp.issubdtype(x.dtype, jnp.floating) else _least(x.dtype)
        return self._reduced(x, np.asarray(least, x.dtype), jax.lax.max)


class _AvgPool(_Pool):
    def __init__(
        self,
        kernel_size: Extent,
        stride: Extent | None = 1,
        padding: Padding = "VALID",
        channel_axis: int | None = -1,
        name: str | None = None,
        in_size: Size | None = None,
    ):
        super().__init__(kernel_size, stride, padding, channel_axis, name, in_size)

    def _pooled(self, x: jax.Array) -> jax.Array:
        x = x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(jnp.result_type(float))
        zero = np.zeros((), x.dtype)
        total = self._reduced(x, zero, jax.lax.add)
        return total / self._reduced(jnp.ones_like(x), zero, jax.lax.add)


def _least(dtype: np.dtype) -> int:
    return 0 if dtype == np.bool else int(jnp.iinfo(dtype).min)


class MaxPool1d(_MaxPool):
    """The largest of each window over one axis; everything else is as for :class:`MaxPool2d`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> pool = nn.MaxPool1d(2, 2, in_size=(4, 1))
    >>> pool(jnp.array([[1.0], [3.0], [2.0], [8.0]]))[:, 0]
    Array([3., 8.], dtype=float32)
    """

    num_spatial_dims = 1


class MaxPool2d(_MaxPool):
    """The largest of each window over two axes.

    Parameters
    ----------
    kernel_size : int or sequence of int
        The extent of the window; one integer stands for all spatial axes.
    stride : int or sequence of int, optional
        The steps of the window, by default its extent.
    padding : {"SAME", "VALID"}, int, or sequence of int or pairs
        What is added around the input, and never is the largest: so much that the output has the
        extent of the input over the stride, nothing, or a number for all sides, for each axis, or
        for each side.
    channel_axis : int or None
        The axis of channels, which stay apart. The spatial axes are the last ones beside it; others
        before them are batches. None if there are no channels.
    name : str, optional
        A name for people to read.
    in_size : sequence of int, optional
        The shape of one input; tells the layer its ``out_size``.

    Raises
    ------
    ValueError
        If an extent or the padding is none. At a call, if the input has too few axes.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> pool = brainir.nn.MaxPool2d(2, in_size=(8, 8, 3))
    >>> pool.out_size, pool(jnp.ones((5, 8, 8, 3))).shape
    ((4, 4, 3), (5, 4, 4, 3))
    """

    num_spatial_dims = 2


class MaxPool3d(_MaxPool):
    """The largest of each window over three axes; all else is as for :class:`MaxPool2d`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> pool = nn.MaxPool3d(2, 2, in_size=(4, 4, 2, 3))
    >>> pool.out_size, pool(jnp.ones((4, 4, 2, 3))).shape
    ((2, 2, 1, 3), (2, 2, 1, 3))
    """

    num_spatial_dims = 3


class AvgPool1d(_AvgPool):
    """The mean of each window over one axis; everything else is as for :class:`AvgPool2d`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> pool = nn.AvgPool1d(2, 2, in_size=(4, 1))
    >>> pool(jnp.array([[1.0], [3.0], [2.0], [8.0]]))[:, 0]
    Array([2., 5.], dtype=float32)
    """

    num_spatial_dims = 1


class AvgPool2d(_AvgPool):
    """The mean of each window over two axes.

    What padding adds is not counted. Parameters and errors are those of :class:`MaxPool2d`, but the
    window moves by 1 unless `stride` says otherwise; None stands for its extent.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> brainir.nn.AvgPool2d(2, stride=2)(jnp.arange(16.0).reshape(4, 4, 1))[..., 0].tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    """

    num_spatial_dims = 2


class AvgPool3d(_AvgPool):
    """The mean of each window over three axes; everything else is as for :class:`AvgPool2d`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> pool = nn.AvgPool3d(2, 2, in_size=(4, 4, 2, 3))
    >>> pool.out_size, pool(jnp.ones((4, 4, 2, 3))).shape
    ((2, 2, 1, 3), (2, 2, 1, 3))
    """

    num_spatial_dims = 3


# --- a given number of windows --------------------------------------------------------------------


class _AdaptivePool(_Spatial):
    def __init__(
        self,
        target_size: int | Sequence[int | None],
        channel_axis: int | None = -1,
        name: str | None = None,
        in_size: Size | None = None,
    ):
        super().__init__(name)
        count = self.num_spatial_dims
        target = (target_size,) * count if isinstance(target_size, int) else tuple(target_size)
        if len(target) != count or not all(n is None or n > 0 for n in target):
            raise ValueError(
                f"target_size must be a positive integer, or {count} of them or None, not "
                f"{target_size!r}"
            )
        self.target_size = target
        self.channel_axis = channel_axis
        self._finish(in_size)

    def _pooled(self, x: jax.Array) -> jax.Array:
        for axis, target in zip(self._axes(x), self.target_size, strict=True):
            if target is not None:
                x = self._along(x, axis, target)
        return x

    def _along(self, x: jax.Array, axis: int, target: int) -> jax.Array:
        if target > x.shape[axis]:
            raise ValueError(
                f"{type(self).__name__} cannot make {target} parts of an axis of {x.shape[axis]}"
            )
        pieces = jnp.array_split(x, target, axis)
        return jnp.concatenate([self._piece(piece, axis) for piece in pieces], axis)

    def _piece(self, piece: jax.Array, axis: int) -> jax.Array:
        raise NotImplementedError


class _AdaptiveAvgPool(_AdaptivePool):
    def _piece(self, piece: jax.Array, axis: int) -> jax.Array:
        return jnp.mean(piece, axis, keepdims=True)


class _AdaptiveMaxPool(_AdaptivePool):
    def _piece(self, piece: jax.Array, axis: int) -> jax.Array:
        return jnp.max(piece, axis, keepdims=True)


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """A given number of means over one axis; all else is as for :class:`AdaptiveAvgPool2d`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.AdaptiveAvgPool1d(3)(jnp.arange(6.0).reshape(6, 1))[:, 0]
    Array([0.5, 2.5, 4.5], dtype=float32)
    """

    num_spatial_dims = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """A given number of means over two axes.

    Each axis is cut into parts as ``numpy.array_split`` does it: if they cannot be of one length,
    the first ones are longer by 1.

    Parameters
    ----------
    target_size : int or sequence of int or None
        The number of parts of each spatial axis, at most its length; None leaves it as it is.
    channel_axis, name, in_size
        As for :class:`MaxPool2d`.

    Raises
    ------
    ValueError
        If `target_size` is none. At a call, if the input has too few axes or too short ones.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> brainir.nn.AdaptiveAvgPool2d((1, 2))(jnp.arange(6.0).reshape(2, 3, 1))[..., 0].tolist()
    [[2.0, 3.5]]
    """

    num_spatial_dims = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """A given number of means over three axes; all else is as for :class:`AdaptiveAvgPool2d`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.AdaptiveAvgPool3d((2, 2, 1))(jnp.ones((4, 4, 2, 3))).shape
    (2, 2, 1, 3)
    """

    num_spatial_dims = 3


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """The largest of each part of one axis; all else is as for :class:`AdaptiveAvgPool2d`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.AdaptiveMaxPool1d(3)(jnp.arange(6.0).reshape(6, 1))[:, 0]
    Array([1., 3., 5.], dtype=float32)
    """

    num_spatial_dims = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """The largest of each part of two axes; all else is as for :class:`AdaptiveAvgPool2d`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.AdaptiveMaxPool2d((2, 2))(jnp.arange(16.0).reshape(4, 4, 1))[..., 0]
    Array([[ 5.,  7.],
           [13., 15.]], dtype=float32)
    """

    num_spatial_dims = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """The largest of each part of three axes; all else is as for :class:`AdaptiveAvgPool2d`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.AdaptiveMaxPool3d((2, 2, 1))(jnp.ones((4, 4, 2, 3))).shape
    (2, 2, 1, 3)
    """

    num_spatial_dims = 3


# --- flattening -----------------------------------------------------------------------------------


class Flatten(Module):
    """Some neighbouring axes made one.

    Parameters
    ----------
    start_axis, end_axis : int
        The first and the last of the axes: of one input if `in_size` is given, so that batches
        before it are kept, else of whatever comes.
    in_size : sequence of int, optional
        The shape of one input.

    Raises
    ------
    ValueError
        If there are no such axes, or an input does not end with `in_size`.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> flatten = brainir.nn.Flatten(in_size=(4, 4, 3))
    >>> flatten.out_size, flatten(jnp.ones((5, 4, 4, 3))).shape
    ((48,), (5, 48))
    """

    def __init__(self, start_axis: int = 0, end_axis: int = -1, in_size: Size | None = None):
        super().__init__()
        self.start_axis = start_axis
        self.end_axis = end_axis
        if in_size is not None:
            self.in_size = in_size
            self.out_size = self._flat(known(self.in_size))

    def update(self, x: Any) -> Any:
        """Flatten `x`."""
        shape = u.math.shape(x)
        own = len(shape) if self.in_size is None else len(self.in_size)
        batch, rest = shape[: len(shape) - own], shape[len(shape) - own :]
        if self.in_size is not None and rest != self.in_size:
            raise ValueError(f"Flatten expects shapes that end with {self.in_size}, not {shape}")
        return u.math.reshape(x, (*batch, *self._flat(rest)))

    def _flat(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        count = len(shape)
        start, end = (n + count if n < 0 else n for n in (self.start_axis, self.end_axis))
        if not 0 <= start <= end < count:
            raise ValueError(
                f"Flatten cannot join axes {self.start_axis} to {self.end_axis} of a shape {shape}"
            )
        return (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])
