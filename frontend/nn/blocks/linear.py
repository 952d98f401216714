"""Layers that multiply the last axis by a matrix."""

from __future__ import annotations

from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from ...state import ParamState
from ...typing import Size
from .. import init
from ..module import Module
from .weights import check_joined, known, make_mask, make_weight, masked, product

__all__ = [
    "AllToAll",
    "Linear",
    "LoRA",
    "OneToOne",
    "ScaledWSLinear",
    "SignedWLinear",
    "SparseLinear",
    "weight_standardization",
]


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
    w_mask : array, callable or None
        What the weight is multiplied by at each use, or a function that makes it from the shape.
    name : str, optional
        A name for people to read.
    param_type : type
        The kind of state.

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
        w_mask: Any = None,
        name: str | None = None,
        param_type: type = ParamState,
    ):
        super().__init__(name)
        self.in_size = in_size
        self.out_size = out_size
        shape = check_joined(self)
        self.w_mask = make_mask(w_mask, shape)
        parameters = {"weight": make_weight(w_init, shape)}
        if b_init is not None:
            parameters["bias"] = make_weight(b_init, shape[1:])
        self.weight = param_type(parameters)

    def update(self, x: Any) -> Any:
        """Map `x`, of shape ``(..., in_size[-1])``, to shape ``(..., out_size[-1])``."""
        parameters = self.weight.value
        y = x @ masked(parameters["weight"], self.w_mask)
        return y + parameters["bias"] if "bias" in parameters else y


def weight_standardization(w: Any, eps: float = 1e-4, gain: Any = None, out_axis: int = -1) -> Any:
    r"""Return weights of mean 0 and variance 1 over the number of inputs, for each output.

    .. math:: g\,\frac{w - \mu}{\sqrt{\max(n \sigma^2, \epsilon)}}

    Source: Qiao et al. 2019, *Micro-batch training with batch-channel normalization and weight
    standardization*; scaled as in Brock et al. 2021, *Characterizing signal propagation to close
    the performance gap in unnormalized ResNets*.

    Parameters
    ----------
    w : array or Quantity
        Weights; all axes but one are inputs.
    eps : float
        The least variance, in numbers, that is divided by.
    gain : array, optional
        A factor for each output.
    out_axis : int
        The axis of the outputs.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir.nn import weight_standardization
    >>> weight_standardization(jnp.array([[1.0], [3.0]])).round(4).tolist()
    [[-0.707099974155426], [0.707099974155426]]
    """
    numbers = jnp.asarray(u.get_mantissa(w))
    axes = tuple(axis for axis in range(numbers.ndim) if axis != out_axis % numbers.ndim)
    inputs = numbers.size // max(numbers.shape[out_axis], 1)
    mean = jnp.mean(numbers, axes, keepdims=True)
    variance = jnp.var(numbers, axes, keepdims=True)
    scale = jax.lax.rsqrt(jnp.maximum(variance * inputs, eps))
    return (numbers - mean) * (scale if gain is None else scale * gain)


class ScaledWSLinear(Module):
    r"""A :class:`Linear` layer whose weight is standardised at each use.

    The weight is what :func:`weight_standardization` makes of the state's "weight" and, with
    `ws_gain`, "gain", of shape ``(1, out_size[-1])``.

    Parameters
    ----------
    in_size, out_size, w_init, b_init, w_mask, name, param_type
        As for :class:`Linear`.
    ws_gain : bool
        Whether each output has a factor that is trained.
    eps : float
        The least variance that is divided by.

    Raises
    ------
    ValueError
        As for :class:`Linear`.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> layer = brainir.nn.ScaledWSLinear(3, 2)
    >>> sorted(layer.weight.value), layer(jnp.ones((4, 3))).shape
    (['bias', 'gain', 'weight'], (4, 2))
    """

    def __init__(
        self,
        in_size: Size,
        out_size: Size,
        w_init: Any = init.KaimingNormal(),
        b_init: Any = init.ZeroInit(),
        w_mask: Any = None,
        ws_gain: bool = True,
        eps: float = 1e-4,
        name: str | None = None,
        param_type: type = ParamState,
    ):
        super().__init__(name)
        self.in_size = in_size
        self.out_size = out_size
        shape = check_joined(self)
        self.w_mask = make_mask(w_mask, shape)
        self.eps = eps
        parameters = {"weight": make_weight(w_init, shape)}
        if b_init is not None:
            parameters["bias"] = make_weight(b_init, shape[1:])
        if ws_gain:
            parameters["gain"] = jnp.ones((1, shape[1]), parameters["weight"].dtype)
        self.weight = param_type(parameters)

    def update(self, x: Any) -> Any:
        """Map `x`, of shape ``(..., in_size[-1])``, to shape ``(..., out_size[-1])``."""
        parameters = self.weight.value
        weight = weight_standardization(parameters["weight"], self.eps, parameters.get("gain"))
        y = x @ masked(weight, self.w_mask)
        return y + parameters["bias"] if "bias" in parameters else y


class SignedWLinear(Module):
    r"""Product of the last axis with a matrix of given signs, :math:`y = x\,(|W| \cdot S)`.

    Its state ``weight`` is a ``ParamState`` of shape ``(in_size[-1], out_size[-1])``.

    Parameters
    ----------
    in_size, out_size, w_init, name, param_type
        As for :class:`Linear`.
    w_sign : array, optional
        The signs, of a shape that broadcasts to the weight; by default all are positive.

    Raises
    ------
    ValueError
        As for :class:`Linear`.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> inhibition = brainir.nn.SignedWLinear(3, 2, w_sign=-jnp.ones((3, 2)))
    >>> bool((inhibition(jnp.ones(3)) < 0).all())
    True
    """

    def __init__(
        self,
        in_size: Size,
        out_size: Size,
        w_init: Any = init.KaimingNormal(),
        w_sign: Any = None,
        name: str | None = None,
        param_type: type = ParamState,
    ):
        super().__init__(name)
        self.in_size = in_size
        self.out_size = out_size
        shape = check_joined(self)
        self.w_sign = make_mask(w_sign, shape)
        self.weight = param_type(make_weight(w_init, shape))

    def update(self, x: Any) -> Any:
        """Map `x`, of shape ``(..., in_size[-1])``, to shape ``(..., out_size[-1])``."""
        return x @ masked(u.math.abs(self.weight.value), self.w_sign)


class AllToAll(Module):
    """Connections from all inputs to all outputs, with weights of their own or one for all.

    Its state ``weight`` holds a dictionary as that of :class:`Linear` does. A single number as
    `w_init` stays one, which takes no matrix product.

    Parameters
    ----------
    in_size, out_size, w_init, b_init, name, param_type
        As for :class:`Linear`; by default there is no bias.
    include_self : bool
        Whether input ``i`` reaches output ``i``.

    Raises
    ------
    ValueError
        As for :class:`Linear`.

    Examples
    --------
    >>> import brainir
    >>> import brainunit as u
    >>> import jax.numpy as jnp
    >>> layer = brainir.nn.AllToAll(3, 3, w_init=2.0 * u.mS, include_self=False)
    >>> layer(jnp.array([1.0, 0.0, 0.0]))
    Quantity([0. 2. 2.], "mS")
    """

    def __init__(
        self,
        in_size: Size,
        out_size: Size,
        w_init: Any = init.KaimingNormal(),
        b_init: Any = None,
        include_self: bool = True,
        name: str | None = None,
        param_type: type = ParamState,
    ):
        super().__init__(name)
        self.in_size = in_size
        self.out_size = out_size
        shape = check_joined(self)
        self.include_self = include_self
        parameters = {"weight": make_weight(w_init, shape, fill=False)}
        if b_init is not None:
            parameters["bias"] = make_weight(b_init, shape[1:])
        self.weight = param_type(parameters)

    def update(self, pre_val: Any) -> Any:
        """Map `pre_val`, of shape ``(..., in_size[-1])``, to shape ``(..., out_size[-1])``."""
        parameters = self.weight.value
        weight = parameters["weight"]
        one_for_all = u.math.ndim(weight) == 0
        y = self._sum(pre_val) * weight if one_for_all else pre_val @ self._without_self(weight)
        return y + parameters["bias"] if "bias" in parameters else y

    def _without_self(self, weight: Any) -> Any:
        if self.include_self:
            return weight
        return masked(weight, 1 - jnp.eye(*weight.shape))

    def _sum(self, x: Any) -> Any:
        """Return the sum of all inputs for each output, without its own if that is left out."""
        x = x if isinstance(x, u.Quantity) else jnp.asarray(x)
        total = u.math.sum(x, axis=-1, keepdims=True)
        total = u.math.broadcast_to(total, (*total.shape[:-1], known(self.out_size)[-1]))
        if self.include_self:
            return total
        shared = min(x.shape[-1], known(self.out_size)[-1])
        own = total[..., :shared] - x[..., :shared]
        return u.math.concatenate([own, total[..., shared:]], axis=-1)


class OneToOne(Module):
    r"""A weight for each element, :math:`y = x \cdot w + b`.

    Its state ``weight`` holds a dictionary with "weight" and, unless `b_init` is None, "bias", of
    shape `in_size`. A single number stays one.

    Parameters
    ----------
    in_size : int or sequence of int
        The shape of one input and one output.
    w_init, b_init, name, param_type
        As for :class:`Linear`; by default weights are normal numbers, and there is no bias.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> brainir.nn.OneToOne(2, w_init=jnp.array([1.0, 3.0]))(jnp.array([2.0, 2.0])).tolist()
    [2.0, 6.0]
    """

    def __init__(
        self,
        in_size: Size,
        w_init: Any = init.Normal(),
        b_init: Any = None,
        name: str | None = None,
        param_type: type = ParamState,
    ):
        super().__init__(name)
        self.in_size = in_size
        self.out_size = in_size
        parameters = {"weight": make_weight(w_init, known(self.in_size), fill=False)}
        if b_init is not None:
            parameters["bias"] = make_weight(b_init, known(self.in_size), fill=False)
        self.weight = param_type(parameters)

    def update(self, pre_val: Any) -> Any:
        """Map `pre_val`, of shape ``(..., *in_size)``, to the same shape."""
        parameters = self.weight.value
        y = pre_val * parameters["weight"]
        return y + parameters["bias"] if "bias" in parameters else y


class SparseLinear(Module):
    """Product of the last axis with a sparse matrix whose entries are trained.

    Its state ``weight`` holds a dictionary with "weight", the stored entries of the matrix, and,
    unless `b_init` is None, "bias", of shape ``(outputs,)``.

    Parameters
    ----------
    spar_mat : brainunit.sparse.CSR, CSC or COO
        The matrix, of shape ``(inputs, outputs)``.
    b_init : initialiser, array, Quantity or None
        The bias at the start; None leaves it out.
    in_size : int or sequence of int, optional
        The shape of one input, by default ``(inputs,)``.
    name : str, optional
        A name for people to read.
    param_type : type
        The kind of state.

    Raises
    ------
    TypeError
        If `spar_mat` is not a sparse matrix.
    ValueError
        If `in_size` does not end with the number of inputs.

    Examples
    --------
    >>> import brainir
    >>> import brainunit as u
    >>> import jax.numpy as jnp
    >>> matrix = u.sparse.csr_fromdense(jnp.array([[0.0, 2.0], [3.0, 0.0]]))
    >>> brainir.nn.SparseLinear(matrix)(jnp.array([1.0, 10.0])).tolist()
    [30.0, 2.0]
    """

    def __init__(
        self,
        spar_mat: Any,
        b_init: Any = None,
        in_size: Size | None = None,
        name: str | None = None,
        param_type: type = ParamState,
    ):
        super().__init__(name)
        if not isinstance(spar_mat, u.sparse.SparseMatrix):
            raise TypeError(
                f"SparseLinear needs a matrix of brainunit.sparse, not {type(spar_mat).__name__}"
            )
        inputs, outputs = spar_mat.shape
        self.in_size = inputs if in_size is None else in_size
        if known(self.in_size)[-1:] != (inputs,):
            raise ValueError(f"in_size {self.in_size} does not end with {inputs} inputs")
        self.out_size = (*known(self.in_size)[:-1], outputs)
        self.spar_mat = spar_mat
        self._places = _places_of(spar_mat)
        parameters = {"weight": spar_mat.data}  # pyright: ignore[reportAttributeAccessIssue]
        if b_init is not None:
            parameters["bias"] = make_weight(b_init, (outputs,))
        self.weight = param_type(parameters)

    def update(self, x: Any) -> Any:
        """Map `x`, of shape ``(..., inputs)``, to shape ``(..., outputs)``."""
        parameters = self.weight.value
        y = product(self._scattered, x, parameters["weight"])
        return y + parameters["bias"] if "bias" in parameters else y

    def _scattered(self, x: jax.Array, entries: jax.Array) -> jax.Array:
        """Add to each output what the stored entries of its column send there.

        Written out, since the products of brainunit's own matrices have no rule for lanes, and
        gradients of some entries of CSR and COO are those of others.
        """
        rows, columns = self._places
        y = jnp.zeros((*x.shape[:-1], self.spar_mat.shape[1]), x.dtype)
        return y.at[..., columns].add(x[..., rows] * entries)


def _places_of(matrix: Any) -> tuple[Any, Any]:
    """Return the rows and the columns of the stored entries of a sparse matrix."""
    if isinstance(matrix, u.sparse.COO):
        return np.asarray(matrix.row), np.asarray(matrix.col)
    lengths = np.diff(np.asarray(matrix.indptr, np.int64))
    major, minor = np.repeat(np.arange(len(lengths)), lengths), np.asarray(matrix.indices)
    return (minor, major) if isinstance(matrix, u.sparse.CSC) else (major, minor)


class LoRA(Module):
    r"""A product with two thin matrices, added to what another module gives.

    .. math:: y = f(x) + x A B

    Its state ``weight`` holds a dictionary: "lora_a", of shape ``(in_features, lora_rank)``, and
    "lora_b", of shape ``(lora_rank, out_features)``.

    Source: Hu et al. 2021, *LoRA: low-rank adaptation of large language models*.

    Parameters
    ----------
    in_features, lora_rank, out_features : int
        The lengths of the input's last axis, of what lies between, and of the output's.
    base_module : Module, optional
        What is adapted; without it, only the product is returned.
    kernel_init : initialiser, array or Quantity
        Both matrices at the start.
    param_type : type
        The kind of state.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> layer = brainir.nn.LoRA(10, 2, 5, base_module=brainir.nn.Linear(10, 5))
    >>> layer(jnp.ones((3, 10))).shape
    (3, 5)
    """

    def __init__(
        self,
        in_features: int,
        lora_rank: int,
        out_features: int,
        *,
        base_module: Module | None = None,
        kernel_init: Any = init.LecunNormal(),
        param_type: type = ParamState,
    ):
        super().__init__()
        if base_module is not None and not callable(base_module):
            raise TypeError(f"base_module must be a module, not {base_module!r}")
        self.in_size = in_features
        self.out_size = out_features
        self.base_module = base_module
        self.weight = param_type(
            {
                "lora_a": make_weight(kernel_init, (in_features, lora_rank)),
                "lora_b": make_weight(kernel_init, (lora_rank, out_features)),
            }
        )

    def update(self, x: Any) -> Any:
        """Map `x`, of shape ``(..., in_features)``, to shape ``(..., out_features)``."""
        parameters = self.weight.value
        y = x @ parameters["lora_a"] @ parameters["lora_b"]
        return y if self.base_module is None else self.base_module(x) + y
