"""Activation functions, over ``jax.nn``.

Those that scale with their input (:func:`relu`, :func:`leaky_relu`, :func:`prelu`, :func:`rrelu`)
keep its unit. The others need numbers: of a quantity with a dimension they raise ``TypeError``.

Examples
--------
>>> import brainunit as u
>>> import jax.numpy as jnp
>>> from brainir import nn
>>> nn.relu(jnp.array([-1.0, 2.0]) * u.mV)
Quantity([0. 2.], "mV")
>>> nn.softmax(jnp.zeros(2)).tolist()
[0.5, 0.5]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp

from ... import environ, random
from ...typing import ArrayLike, DTypeLike

__all__ = [
    "celu",
    "elu",
    "gelu",
    "glu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "log_sigmoid",
    "log_softmax",
    "logsumexp",
    "mish",
    "one_hot",
    "prelu",
    "relu",
    "relu6",
    "rrelu",
    "selu",
    "sigmoid",
    "silu",
    "soft_shrink",
    "soft_sign",
    "softmax",
    "softmin",
    "softplus",
    "sparse_plus",
    "sparse_sigmoid",
    "squareplus",
    "standardize",
    "swish",
    "tanh",
    "tanh_shrink",
]

Axis = int | tuple[int, ...] | None
Number = float | jax.Array


def _numbers(x: Any) -> Any:
    """Return plain numbers as they are, and a quantity without dimension as numbers."""
    if not isinstance(x, u.Quantity):
        return x
    if not x.dim.is_dimensionless:
        raise TypeError(f"an activation needs numbers, not a quantity in {x.unit}: divide it")
    return x.to_decimal(u.UNITLESS)


def _keeping_unit(function: Callable[..., Any], x: Any, *args: Any) -> Any:
    """Apply a function that scales with its input."""
    if isinstance(x, u.Quantity):
        return u.Quantity(function(x.mantissa, *args), unit=x.unit)
    return function(x, *args)


# --- functions that scale with their input --------------------------------------------------------


def relu(x: ArrayLike) -> Any:
    r"""Return the rectified input, :math:`\max(x, 0)`, in its unit.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.relu(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([0.       , 0.5      , 3.0000002], dtype=float32)
    """
    return _keeping_unit(jax.nn.relu, x)


def leaky_relu(x: ArrayLike, negative_slope: Number = 0.01) -> Any:
    """Return the input, times `negative_slope` where it is negative, in its unit.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.leaky_relu(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-0.02     ,  0.5      ,  3.0000002], dtype=float32)
    """
    return _keeping_unit(jax.nn.leaky_relu, x, negative_slope)


def prelu(x: ArrayLike, a: Number = 0.25) -> Any:
    """Return the input, times `a` where it is negative, in its unit; `a` may be trained.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.prelu(jnp.array([-2.0, 0.5]), 0.25)
    Array([-0.5,  0.5], dtype=float32)
    """
    return _keeping_unit(jax.nn.leaky_relu, x, a)


def rrelu(x: ArrayLike, lower: float = 1 / 8, upper: float = 1 / 3) -> Any:
    """Return the input, times random numbers between two bounds where it is negative.

    Source: Xu et al. 2015, *Empirical evaluation of rectified activations in convolutional
    network*.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.rrelu(jnp.array([-2.0, 0.5]), training=False).round(3)
    Traceback (most recent call last):
        ...
    TypeError: rrelu() got an unexpected keyword argument 'training'
    """
    slopes = random.uniform(lower, upper, u.math.shape(x))
    return leaky_relu(x, slopes.astype(jnp.result_type(float, u.get_mantissa(x))))


# --- functions of numbers -------------------------------------------------------------------------


def relu6(x: ArrayLike) -> Any:
    r"""Return :math:`\min(\max(x, 0), 6)`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.relu6(jnp.array([-2.0, 0.5, 9.0]))
    Array([0. , 0.5, 6. ], dtype=float32)
    """
    return jax.nn.relu6(_numbers(x))


def celu(x: ArrayLike, alpha: Number = 1.0) -> Any:
    r"""Return :math:`\max(x, 0) + \min(0, \alpha (e^{x / \alpha} - 1))`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.celu(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-0.86500007,  0.5       ,  3.0000002 ], dtype=float32)
    """
    return jax.nn.celu(_numbers(x), alpha)


def elu(x: ArrayLike, alpha: Number = 1.0) -> Any:
    r"""Return the input, and :math:`\alpha (e^x - 1)` where it is negative.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.elu(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-0.86500007,  0.5       ,  3.0000002 ], dtype=float32)
    """
    return jax.nn.elu(_numbers(x), alpha)


def selu(x: ArrayLike) -> Any:
    """Return the :func:`elu` whose two constants keep mean 0 and variance 1.

    Source: Klambauer et al. 2017, *Self-normalizing neural networks*.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.selu(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-1.5200001 ,  0.52500004,  3.1520002 ], dtype=float32)
    """
    return jax.nn.selu(_numbers(x))


def gelu(x: ArrayLike, approximate: bool = True) -> Any:
    r"""Return :math:`x \Phi(x)`, by default with a tanh in place of the normal distribution.

    Source: Hendrycks & Gimpel 2016, *Gaussian error linear units*.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.gelu(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-0.045     ,  0.34600002,  2.996     ], dtype=float32)
    """
    return jax.nn.gelu(_numbers(x), approximate)


def glu(x: ArrayLike, axis: int = -1) -> Any:
    """Return the first half of an axis times the :func:`sigmoid` of the second half.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.glu(jnp.array([1.0, 2.0, 0.0, 0.0])).round(3)
    Array([0.5, 1. ], dtype=float32)
    """
    return jax.nn.glu(_numbers(x), axis)


def sigmoid(x: ArrayLike) -> Any:
    r"""Return the logistic function, :math:`1 / (1 + e^{-x})`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.sigmoid(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([0.119     , 0.62200004, 0.95300007], dtype=float32)
    """
    return jax.nn.sigmoid(_numbers(x))


def silu(x: ArrayLike) -> Any:
    r"""Return :math:`x \sigma(x)`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.silu(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-0.238     ,  0.31100002,  2.858     ], dtype=float32)

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.swish(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-0.238     ,  0.31100002,  2.858     ], dtype=float32)
    """
    return jax.nn.silu(_numbers(x))


swish = silu


def mish(x: ArrayLike) -> Any:
    r"""Return :math:`x \tanh(\log(1 + e^x))`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.mish(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-0.25300002,  0.37500003,  2.9870002 ], dtype=float32)
    """
    return jax.nn.mish(_numbers(x))


def tanh(x: ArrayLike) -> Any:
    """Return the hyperbolic tangent.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.tanh(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-0.96400005,  0.462     ,  0.99500006], dtype=float32)
    """
    return jnp.tanh(_numbers(x))


def tanh_shrink(x: ArrayLike) -> Any:
    r"""Return :math:`x - \tanh x`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.tanh_shrink(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-1.036,  0.038,  2.005], dtype=float32)
    """
    x = jnp.asarray(_numbers(x))
    return x - jnp.tanh(x)


def soft_sign(x: ArrayLike) -> Any:
    r"""Return :math:`x / (1 + |x|)`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.soft_sign(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-0.66700006,  0.333     ,  0.75000006], dtype=float32)
    """
    return jax.nn.soft_sign(_numbers(x))


def softplus(x: ArrayLike) -> Any:
    r"""Return :math:`\log(1 + e^x)`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.softplus(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([0.127     , 0.97400004, 3.0490003 ], dtype=float32)
    """
    return jax.nn.softplus(_numbers(x))


def squareplus(x: ArrayLike, b: Number = 4) -> Any:
    r"""Return :math:`(x + \sqrt{x^2 + b}) / 2`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.squareplus(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([0.41400003, 1.281     , 3.3030002 ], dtype=float32)
    """
    return jax.nn.squareplus(_numbers(x), b)


def sparse_plus(x: ArrayLike) -> Any:
    """Return 0 below -1, the input above 1, and a parabola that joins them between.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.sparse_plus(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([0.        , 0.56200004, 3.0000002 ], dtype=float32)
    """
    return jax.nn.sparse_plus(_numbers(x))


def sparse_sigmoid(x: ArrayLike) -> Any:
    """Return 0 below -1, 1 above 1, and a line that joins them between.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.sparse_sigmoid(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([0.        , 0.75000006, 1.        ], dtype=float32)
    """
    return jax.nn.sparse_sigmoid(_numbers(x))


def hard_sigmoid(x: ArrayLike) -> Any:
    r"""Return :math:`\min(\max(x + 3, 0), 6) / 6`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.hard_sigmoid(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([0.16700001, 0.583     , 1.        ], dtype=float32)
    """
    return jax.nn.hard_sigmoid(_numbers(x))


def hard_silu(x: ArrayLike) -> Any:
    """Return the input times its :func:`hard_sigmoid`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.hard_silu(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-0.333     ,  0.29200003,  3.0000002 ], dtype=float32)

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.hard_swish(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-0.333     ,  0.29200003,  3.0000002 ], dtype=float32)
    """
    return jax.nn.hard_silu(_numbers(x))


hard_swish = hard_silu


def hard_tanh(x: ArrayLike, min_val: Number = -1.0, max_val: Number = 1.0) -> Any:
    """Return the input, kept between two bounds.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.hard_tanh(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-1. ,  0.5,  1. ], dtype=float32)
    """
    x = jnp.asarray(_numbers(x))
    return jnp.where(x > max_val, max_val, jnp.where(x < min_val, min_val, x))


def hard_shrink(x: ArrayLike, lambd: Number = 0.5) -> Any:
    """Return the input, and 0 where it is within `lambd` of 0.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.hard_shrink(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-2.       ,  0.       ,  3.0000002], dtype=float32)
    """
    x = jnp.asarray(_numbers(x))
    return jnp.where(jnp.abs(x) > lambd, x, jnp.zeros_like(x))


def soft_shrink(x: ArrayLike, lambd: Number = 0.5) -> Any:
    """Return the input moved by `lambd` towards 0, and 0 where that would pass it.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.soft_shrink(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-1.5000001,  0.       ,  2.5      ], dtype=float32)
    """
    x = jnp.asarray(_numbers(x))
    moved = jnp.where(x > lambd, x - lambd, x + lambd)
    return jnp.where(jnp.abs(x) > lambd, moved, jnp.zeros_like(moved))


def log_sigmoid(x: ArrayLike) -> Any:
    r"""Return :math:`\log \sigma(x)`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.log_sigmoid(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-2.127     , -0.47400004, -0.049     ], dtype=float32)
    """
    return jax.nn.log_sigmoid(_numbers(x))


# --- functions along an axis ----------------------------------------------------------------------


def softmax(x: ArrayLike, axis: Axis = -1, where: Any = None) -> Any:
    r"""Return shares that sum to 1, :math:`e^{x_i} / \sum_j e^{x_j}`; 0 outside of `where`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.softmax(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([0.006     , 0.075     , 0.91800004], dtype=float32)
    """
    return jax.nn.softmax(jnp.asarray(_numbers(x)), axis, where)


def softmin(x: ArrayLike, axis: Axis = -1) -> Any:
    """Return the :func:`softmax` of the negative input.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.softmin(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([0.91800004, 0.075     , 0.006     ], dtype=float32)
    """
    return jax.nn.softmax(-jnp.asarray(_numbers(x)), axis)


def log_softmax(x: ArrayLike, axis: Axis = -1, where: Any = None) -> Any:
    """Return the logarithm of :func:`softmax`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.log_softmax(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-5.085, -2.585, -0.085], dtype=float32)
    """
    return jax.nn.log_softmax(jnp.asarray(_numbers(x)), axis, where)


def logsumexp(
    a: ArrayLike,
    axis: Axis = None,
    b: Any = None,
    keepdims: bool = False,
    return_sign: bool = False,
    where: Any = None,
) -> Any:
    r"""Return :math:`\log \sum_i b_i e^{a_i}`, computed without overflow.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> float(nn.logsumexp(jnp.zeros(4)).round(3))
    1.3860000371932983
    """
    a = jnp.asarray(_numbers(a))
    return jax.nn.logsumexp(a, axis, b, keepdims, return_sign, where)


def standardize(
    x: ArrayLike,
    axis: Axis = -1,
    variance: Any = None,
    epsilon: Number = 1e-5,
    where: Any = None,
) -> Any:
    """Return the input with mean 0 and variance 1 along an axis.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.standardize(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-1.225,  0.   ,  1.225], dtype=float32)
    """
    x = jnp.asarray(_numbers(x))
    return jax.nn.standardize(x, axis, None, variance, epsilon, where)


def one_hot(
    x: ArrayLike,
    num_classes: int,
    *,
    dtype: DTypeLike | None = None,
    axis: int | Sequence[int] = -1,
) -> jax.Array:
    """Return, along a new axis, 1 at the place that an integer names and 0 elsewhere.

    An integer outside of the classes gives zeros. The type is ``environ.dftype()`` by default.

    >>> from brainir import nn
    >>> nn.one_hot(2, 4).tolist()
    [0.0, 0.0, 1.0, 0.0]
    """
    dtype = environ.dftype() if dtype is None else dtype
    return jax.nn.one_hot(jnp.asarray(x), num_classes, dtype=dtype, axis=axis)  # pyright: ignore[reportArgumentType]
