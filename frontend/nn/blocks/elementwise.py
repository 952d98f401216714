"""Activation functions as modules, for use in :class:`brainir.nn.Sequential`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import jax.numpy as jnp

from ... import environ
from ...state import ParamState
from ...typing import ArrayLike, DTypeLike
from ..module import Module
from . import activations

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "ElementWiseBlock",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "Identity",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
]


class ElementWiseBlock(Module):
    """A module whose output has the shape of its input, whatever that is.

    Examples
    --------
    >>> import brainir
    >>> isinstance(brainir.nn.ReLU(), brainir.nn.ElementWiseBlock)
    True
    """


class _Activation(ElementWiseBlock):
    """An activation function; a subclass says which one, and what its attributes are to it."""

    function: ClassVar[Callable[..., Any]]
    settings: ClassVar[tuple[str, ...]] = ()
    """The attributes that are parameters of the function."""

    def update(self, x: ArrayLike) -> Any:
        """Apply the function to `x`."""
        return type(self).function(x, **{name: getattr(self, name) for name in self.settings})


# --- without settings -----------------------------------------------------------------------------


class Identity(_Activation):
    """The input itself.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.Identity()(jnp.array([-2.0, 0.5]))
    Array([-2. ,  0.5], dtype=float32)
    """

    function = staticmethod(lambda x: x)


class ReLU(_Activation):
    """:func:`brainir.nn.relu` as a module.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> net = brainir.nn.Sequential(brainir.nn.Linear(3, 2), brainir.nn.ReLU())
    >>> bool((net(jnp.ones(3)) >= 0).all())
    True
    """

    function = staticmethod(activations.relu)


class ReLU6(_Activation):
    """:func:`brainir.nn.relu6` as a module.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.ReLU6()(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([0.       , 0.5      , 3.0000002], dtype=float32)
    """

    function = staticmethod(activations.relu6)


class SELU(_Activation):
    """:func:`brainir.nn.selu` as a module.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.SELU()(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-1.5200001 ,  0.52500004,  3.1520002 ], dtype=float32)
    """

    function = staticmethod(activations.selu)


class Sigmoid(_Activation):
    """:func:`brainir.nn.sigmoid` as a module.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.Sigmoid()(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([0.119     , 0.62200004, 0.95300007], dtype=float32)
    """

    function = staticmethod(activations.sigmoid)


class LogSigmoid(_Activation):
    """:func:`brainir.nn.log_sigmoid` as a module.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.LogSigmoid()(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-2.127     , -0.47400004, -0.049     ], dtype=float32)
    """

    function = staticmethod(activations.log_sigmoid)


class Hardsigmoid(_Activation):
    """:func:`brainir.nn.hard_sigmoid` as a module.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.Hardsigmoid()(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([0.16700001, 0.583     , 1.        ], dtype=float32)
    """

    function = staticmethod(activations.hard_sigmoid)


class SiLU(_Activation):
    """:func:`brainir.nn.silu` as a module.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.SiLU()(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-0.238     ,  0.31100002,  2.858     ], dtype=float32)
    """

    function = staticmethod(activations.silu)


class Hardswish(_Activation):
    """:func:`brainir.nn.hard_swish` as a module.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.Hardswish()(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-0.333     ,  0.29200003,  3.0000002 ], dtype=float32)
    """

    function = staticmethod(activations.hard_swish)


class Mish(_Activation):
    """:func:`brainir.nn.mish` as a module.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.Mish()(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-0.25300002,  0.37500003,  2.9870002 ], dtype=float32)
    """

    function = staticmethod(activations.mish)


class Tanh(_Activation):
    """:func:`brainir.nn.tanh` as a module.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.Tanh()(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-0.96400005,  0.462     ,  0.99500006], dtype=float32)
    """

    function = staticmethod(activations.tanh)


class Tanhshrink(_Activation):
    """:func:`brainir.nn.tanh_shrink` as a module.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.Tanhshrink()(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-1.036,  0.038,  2.005], dtype=float32)
    """

    function = staticmethod(activations.tanh_shrink)


class Softplus(_Activation):
    """:func:`brainir.nn.softplus` as a module.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.Softplus()(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([0.127     , 0.97400004, 3.0490003 ], dtype=float32)
    """

    function = staticmethod(activations.softplus)


class Softsign(_Activation):
    """:func:`brainir.nn.soft_sign` as a module.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.Softsign()(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-0.66700006,  0.333     ,  0.75000006], dtype=float32)
    """

    function = staticmethod(activations.soft_sign)


# --- with settings --------------------------------------------------------------------------------


class LeakyReLU(_Activation):
    """:func:`brainir.nn.leaky_relu` as a module.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.LeakyReLU()(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-0.02     ,  0.5      ,  3.0000002], dtype=float32)
    """

    function = staticmethod(activations.leaky_relu)
    settings = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01):
        super().__init__()
        self.negative_slope = negative_slope


class RReLU(_Activation):
    """:func:`brainir.nn.rrelu` as a module.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> negative = nn.RReLU()(jnp.full(100, -1.0))
    >>> bool(jnp.all((negative < -1 / 8) & (negative > -1 / 3)))
    True
    """

    function = staticmethod(activations.rrelu)
    settings = ("lower", "upper")

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3):
        super().__init__()
        self.lower = lower
        self.upper = upper


class CELU(_Activation):
    """:func:`brainir.nn.celu` as a module.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.CELU()(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-0.86500007,  0.5       ,  3.0000002 ], dtype=float32)
    """

    function = staticmethod(activations.celu)
    settings = ("alpha",)

    def __init__(self, alpha: float = 1.0):
        super().__init__()
        self.alpha = alpha


class ELU(_Activation):
    """:func:`brainir.nn.elu` as a module.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.ELU()(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-0.86500007,  0.5       ,  3.0000002 ], dtype=float32)
    """

    function = staticmethod(activations.elu)
    settings = ("alpha",)

    def __init__(self, alpha: float = 1.0):
        super().__init__()
        self.alpha = alpha


class GELU(_Activation):
    """:func:`brainir.nn.gelu` as a module, by default the exact one.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.GELU()(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-0.046     ,  0.34600002,  2.996     ], dtype=float32)
    """

    function = staticmethod(activations.gelu)
    settings = ("approximate",)

    def __init__(self, approximate: bool = False):
        super().__init__()
        self.approximate = approximate


class Hardtanh(_Activation):
    """:func:`brainir.nn.hard_tanh` as a module.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.Hardtanh()(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-1. ,  0.5,  1. ], dtype=float32)
    """

    function = staticmethod(activations.hard_tanh)
    settings = ("min_val", "max_val")

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0):
        super().__init__()
        self.min_val = min_val
        self.max_val = max_val


class Hardshrink(_Activation):
    """:func:`brainir.nn.hard_shrink` as a module.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.Hardshrink()(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-2.       ,  0.       ,  3.0000002], dtype=float32)
    """

    function = staticmethod(activations.hard_shrink)
    settings = ("lambd",)

    def __init__(self, lambd: float = 0.5):
        super().__init__()
        self.lambd = lambd


class Softshrink(_Activation):
    """:func:`brainir.nn.soft_shrink` as a module.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.Softshrink()(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-1.5000001,  0.       ,  2.5      ], dtype=float32)
    """

    function = staticmethod(activations.soft_shrink)
    settings = ("lambd",)

    def __init__(self, lambd: float = 0.5):
        super().__init__()
        self.lambd = lambd


class _AlongAxis(_Activation):
    """A function along an axis: the last one unless `dim` names another."""

    settings = ("axis",)

    def __init__(self, dim: int | None = None):
        super().__init__()
        self.dim = dim

    @property
    def axis(self) -> int:
        """The axis as the function knows it."""
        return -1 if self.dim is None else self.dim


class Softmax(_AlongAxis):
    """:func:`brainir.nn.softmax` as a module, along axis `dim`, by default the last.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.Softmax()(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([0.006     , 0.075     , 0.91800004], dtype=float32)
    """

    function = staticmethod(activations.softmax)


class Softmin(_AlongAxis):
    """:func:`brainir.nn.softmin` as a module, along axis `dim`, by default the last.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.Softmin()(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([0.91800004, 0.075     , 0.006     ], dtype=float32)
    """

    function = staticmethod(activations.softmin)


class LogSoftmax(_AlongAxis):
    """:func:`brainir.nn.log_softmax` as a module, along axis `dim`, by default the last.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.LogSoftmax()(jnp.array([-2.0, 0.5, 3.0])).round(3)
    Array([-5.085, -2.585, -0.085], dtype=float32)
    """

    function = staticmethod(activations.log_softmax)


class GLU(_AlongAxis):
    """:func:`brainir.nn.glu` as a module, which halves axis `dim`, by default the last.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> nn.GLU()(jnp.array([1.0, 2.0, 0.0, 0.0])).round(3)
    Array([0.5, 1. ], dtype=float32)
    """

    function = staticmethod(activations.glu)


class Threshold(ElementWiseBlock):
    """The input where it is above a threshold, elsewhere a given value.

    Parameters
    ----------
    threshold, value : float
        The threshold, and what stands where the input is not above it.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> brainir.nn.Threshold(0.5, -1.0)(jnp.array([0.5, 2.0])).tolist()
    [-1.0, 2.0]
    """

    def __init__(self, threshold: float, value: float):
        super().__init__()
        self.threshold = threshold
        self.value = value

    def update(self, x: ArrayLike) -> Any:
        """Apply the threshold to `x`."""
        x = jnp.asarray(x)  # pyright: ignore[reportArgumentType]
        return jnp.where(x > self.threshold, x, jnp.asarray(self.value, x.dtype))


class PReLU(ElementWiseBlock):
    """:func:`brainir.nn.prelu` with a slope that is trained.

    Source: He et al. 2015, *Delving deep into rectifiers*.

    Parameters
    ----------
    num_parameters : int
        1, or one slope for each channel on the last axis.
    init : float
        The slope at the start.
    dtype : dtype, optional
        The type of the slope, by default ``environ.dftype()``.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> brainir.nn.PReLU()(jnp.array([-4.0, 2.0])).tolist()
    [-1.0, 2.0]
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, dtype: DTypeLike | None = None):
        super().__init__()
        self.num_parameters = num_parameters
        dtype = environ.dftype() if dtype is None else dtype
        self.weight = ParamState(jnp.full((num_parameters,), init, dtype))  # pyright: ignore[reportArgumentType]

    def update(self, x: ArrayLike) -> Any:
        """Apply the rectifier to `x`, of shape ``(..., channels)``."""
        return activations.prelu(x, self.weight.value)
