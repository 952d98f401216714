"""Normalisation: numbers shifted to mean 0 and scaled to variance 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from ... import environ
from ...state import BatchState, ParamState
from ...typing import Size
from .. import init
from ..module import Module
from .weights import known, make_weight

__all__ = ["BatchNorm0d", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "LayerNorm"]

Axes = int | Sequence[int]


def _as_axes(name: str, axes: Axes, count: int) -> tuple[int, ...]:
    """Return axes counted from the end, which holds with batches before them, too."""
    given = (axes,) if isinstance(axes, int) else tuple(axes)
    if not all(-count <= axis < count for axis in given) or not given:
        raise ValueError(f"{name} must name some of {count} axes, got {axes!r}")
    return tuple(sorted({axis % count - count for axis in given}))


class _Normalization(Module):
    """Statistics along some axes, then a trained scale and bias along others."""

    weight: Any

    def _set_parameters(
        self,
        features: tuple[int, ...],
        initials: dict[str, Any],
        dtype: Any,
        param_type: type,
    ) -> tuple[int, ...]:
        """Create the state ``weight`` with what `initials` name; return the shape of each."""
        count = len(known(self.in_size))
        shape = tuple(n if i - count in features else 1 for i, n in enumerate(known(self.in_size)))
        parameters = {
            name: make_weight(initial, shape).astype(dtype) for name, initial in initials.items()
        }
        self.weight = param_type(parameters) if parameters else None
        return shape

    def _normalized(self, x: Any, mean: Any, variance: Any, epsilon: float) -> Any:
        y = (x - mean) * jax.lax.rsqrt(variance + jnp.asarray(epsilon, variance.dtype))
        parameters = {} if self.weight is None else self.weight.value
        y = y * parameters["scale"] if "scale" in parameters else y
        return y + parameters["bias"] if "bias" in parameters else y


class LayerNorm(_Normalization):
    r"""Normalisation of each example by itself, :math:`y = (x - \mu) / \sqrt{\sigma^2 + \epsilon}`.

    Mean and variance are those of `reduction_axes`. Its state ``weight`` is a ``ParamState`` that
    holds a dictionary with "scale" and "bias", of the extent of `feature_axes` and of length 1
    along the others.

    Source: Ba, Kiros & Hinton 2016, *Layer normalization*.

    Parameters
    ----------
    in_size : int or sequence of int
        The shape of one input, and of one output.
    reduction_axes, feature_axes : int or sequence of int
        Axes of one input.
    epsilon : float
        What is added to the variance.
    use_bias, use_scale : bool
        Whether there are a bias and a scale.
    bias_init, scale_init : initialiser or array
        What they are at the start.
    dtype : dtype, optional
        Their type, by default ``environ.dftype()``.
    param_type : type
        The kind of state.

    Raises
    ------
    ValueError
        If an axis is none of `in_size`.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> y = brainir.nn.LayerNorm(4)(jnp.array([[1.0, 2.0, 3.0, 4.0]]))
    >>> bool(abs(y.mean()) < 1e-6), y.shape
    (True, (1, 4))
    """

    def __init__(
        self,
        in_size: Size,
        reduction_axes: Axes = -1,
        feature_axes: Axes = -1,
        *,
        epsilon: float = 1e-6,
        use_bias: bool = True,
        use_scale: bool = True,
        bias_init: Any = init.ZeroInit(),
        scale_init: Any = init.Constant(1.0),
        dtype: Any = None,
        param_type: type = ParamState,
    ):
        super().__init__()
        self.in_size = in_size
        self.out_size = in_size
        count = len(known(self.in_size))
        self.reduction_axes = _as_axes("reduction_axes", reduction_axes, count)
        self.feature_axes = _as_axes("feature_axes", feature_axes, count)
        self.epsilon = epsilon
        initials = ({"scale": scale_init} if use_scale else {}) | (
            {"bias": bias_init} if use_bias else {}
        )
        dtype = environ.dftype() if dtype is None else dtype
        self._set_parameters(self.feature_axes, initials, dtype, param_type)

    def update(self, x: Any, *, mask: Any = None) -> Any:
        """Normalise `x`, of shape ``(..., *in_size)``; only what `mask` is true for is counted."""
        mean = jnp.mean(x, self.reduction_axes, keepdims=True, where=mask)
        variance = jnp.var(x, self.reduction_axes, keepdims=True, where=mask)
        return self._normalized(x, mean, variance, self.epsilon)


class _BatchNorm(_Normalization):
    num_spatial_dims: ClassVar[int]

    def __init__(
        self,
        in_size: Size,
        feature_axis: Axes = -1,
        *,
        track_running_stats: bool = True,
        epsilon: float = 1e-5,
        momentum: float = 0.99,
        affine: bool = True,
        bias_initializer: Any = init.Constant(0.0),
        scale_initializer: Any = init.Constant(1.0),
        name: str | None = None,
        dtype: Any = None,
        param_type: type = ParamState,
        mean_type: type = BatchState,
    ):
        super().__init__(name)
        self.in_size = in_size
        self.out_size = in_size
        count = len(known(self.in_size))
        if count not in {self.num_spatial_dims + 1, max(self.num_spatial_dims, 1)}:
            raise ValueError(
                f"in_size of {type(self).__name__} needs {self.num_spatial_dims} spatial axes and "
                f"one of features, got {self.in_size}"
            )
        self.feature_axes = _as_axes("feature_axis", feature_axis, count)
        self.track_running_stats = track_running_stats
        self.epsilon = epsilon
        self.momentum = momentum
        initials = {"scale": scale_initializer, "bias": bias_initializer} if affine else {}
        dtype = environ.dftype() if dtype is None else dtype
        shape = self._set_parameters(self.feature_axes, initials, dtype, param_type)
        if track_running_stats:
            self.running_mean = mean_type(jnp.zeros(shape, dtype))
            self.running_var = mean_type(jnp.ones(shape, dtype))

    def update(self, x: Any, mask: Any = None) -> Any:
        """Normalise `x`, of shape ``in_size`` or ``(batch, *in_size)``.

        Where the ``environ`` value ``fit`` is true, the statistics are those of `x`, counted where
        `mask` is true, and the running ones move towards them; else they are the running ones.
        """
        count = len(known(self.in_size))
        if x.ndim not in (count, count + 1):
            raise ValueError(
                f"{type(self).__name__} takes arrays of shape {self.in_size}, or with one batch "
                f"axis before, not {x.shape}"
            )
        fit = environ.get("fit", desc="whether the model is being trained, a bool")
        if self.track_running_stats and not fit:
            mean, variance = self.running_mean.value, self.running_var.value
        else:
            axes = tuple(i for i in range(x.ndim) if i - x.ndim not in self.feature_axes)
            mean = jnp.mean(x, axes, keepdims=True, where=mask)
            variance = jnp.var(x, axes, keepdims=True, where=mask)
            if self.track_running_stats:
                self._move(self.running_mean, mean)
                self._move(self.running_var, variance)
        return self._normalized(x, mean, variance, self.epsilon)

    def _move(self, running: Any, target: jax.Array) -> None:
        old = running.value
        new = jax.lax.stop_gradient(target).reshape(old.shape).astype(old.dtype)
        running.value = self.momentum * old + (1 - self.momentum) * new


class BatchNorm0d(_BatchNorm):
    """Normalisation over a batch of vectors; everything else is as for :class:`BatchNorm2d`.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> norm = brainir.nn.BatchNorm0d(2)
    >>> with brainir.environ.context(fit=True):
    ...     y = norm(jnp.array([[1.0, 2.0], [3.0, 6.0]]))
    >>> y.round(2).tolist()
    [[-1.0, -1.0], [1.0, 1.0]]
    """

    num_spatial_dims = 0


class BatchNorm1d(_BatchNorm):
    """Normalisation over a batch of sequences; everything else is as for :class:`BatchNorm2d`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import brainir
    >>> from brainir import nn
    >>> norm = nn.BatchNorm1d((4, 2))
    >>> x = jnp.stack([jnp.zeros((4, 2)), jnp.ones((4, 2))])
    >>> with brainir.environ.context(fit=True):
    ...     y = norm(x)
    >>> y.shape, round(float(y.max()), 2)
    ((2, 4, 2), 1.0)
    """

    num_spatial_dims = 1


class BatchNorm2d(_BatchNorm):
    r"""Normalisation of each channel over a batch of images.

    .. math:: y = (x - \mu) / \sqrt{\sigma^2 + \epsilon}

    In training, that is where the ``environ`` value ``fit`` is true, mean and variance are those of
    the batch, and the running ones, the states ``running_mean`` and ``running_var``, move towards
    them: :math:`m \leftarrow \beta m + (1 - \beta) \mu`. Otherwise the running ones are used. Scale
    and bias are in the state ``weight``, a ``ParamState`` that holds a dictionary.

    Source: Ioffe & Szegedy 2015, *Batch normalization: accelerating deep network training by
    reducing internal covariate shift*.

    Parameters
    ----------
    in_size : sequence of int
        The shape of one input, ``(height, width, channels)``.
    feature_axis : int or sequence of int
        The axes of one input that are not averaged over.
    track_running_stats : bool
        Whether there are running statistics; without them, those of the batch are always used.
    epsilon : float
        What is added to the variance.
    momentum : float
        How much of the running statistics is kept, beta.
    affine : bool
        Whether there are a scale and a bias.
    bias_initializer, scale_initializer : initialiser or array
        What they are at the start.
    name : str, optional
        A name for people to read.
    dtype : dtype, optional
        The type of the states, by default ``environ.dftype()``.
    param_type, mean_type : type
        The kinds of the states.

    Raises
    ------
    ValueError
        If `in_size` has another number of axes or not those of features. At a call, if the input
        has another number of axes.
    KeyError
        At a call, if ``fit`` is not set.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> norm = brainir.nn.BatchNorm2d((8, 8, 3))
    >>> with brainir.environ.context(fit=False):
    ...     print(norm(jnp.ones((5, 8, 8, 3))).shape)
    (5, 8, 8, 3)
    """

    num_spatial_dims = 2


class BatchNorm3d(_BatchNorm):
    """Normalisation over a batch of volumes; everything else is as for :class:`BatchNorm2d`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import brainir
    >>> from brainir import nn
    >>> norm = nn.BatchNorm3d((2, 2, 2, 3))
    >>> x = jnp.stack([jnp.zeros((2, 2, 2, 3)), jnp.ones((2, 2, 2, 3))])
    >>> with brainir.environ.context(fit=True):
    ...     y = norm(x)
    >>> y.shape, round(float(y.max()), 2)
    ((2, 2, 2, 2, 3), 1.0)
    """

    num_spatial_dims = 3
