"""Penalties on the values of parameters."""

from __future__ import annotations

from typing import Any

import brainunit as u

from ..module import Module

__all__ = ["ElasticNetReg", "L1Reg", "L2Reg", "Regularization"]


class Regularization(Module):
    """A penalty on the value of a parameter, to be added to a loss.

    A subclass defines :meth:`loss`, and :meth:`reset_value` if the value it favours is not 0.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir.nn import Param, Regularization
    >>> class NearOne(Regularization):
    ...     def loss(self, value):
    ...         return jnp.sum((value - 1.0) ** 2)
    ...     def reset_value(self):
    ...         return 1.0
    >>> float(Param(jnp.array([1.0, 3.0]), reg=NearOne()).reg_loss())
    4.0
    """

    def loss(self, value: Any) -> Any:
        """Return the penalty on `value`, in the space of the parameter's values."""
        raise NotImplementedError(f"{type(self).__name__} does not define loss()")

    def reset_value(self) -> Any:
        """Return the value that the penalty favours, a number or an array."""
        return 0.0


class L1Reg(Regularization):
    r"""The sum of absolute values, :math:`\lambda \sum_i |x_i|`.

    Source: Tibshirani 1996, *Regression shrinkage and selection via the lasso*.

    Parameters
    ----------
    weight : float
        The factor.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir.nn import L1Reg
    >>> float(L1Reg(0.5).loss(jnp.array([1.0, -3.0])))
    2.0
    """

    def __init__(self, weight: Any = 1.0):
        super().__init__()
        self.weight = weight

    def loss(self, value: Any) -> Any:
        return self.weight * u.math.sum(u.math.abs(value))


class L2Reg(Regularization):
    r"""The sum of squares, :math:`\lambda \sum_i x_i^2`.

    Source: Hoerl & Kennard 1970, *Ridge regression: biased estimation for nonorthogonal problems*.

    Parameters
    ----------
    weight : float
        The factor.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir.nn import L2Reg
    >>> float(L2Reg(0.5).loss(jnp.array([1.0, -3.0])))
    5.0
    """

    def __init__(self, weight: Any = 1.0):
        super().__init__()
        self.weight = weight

    def loss(self, value: Any) -> Any:
        return self.weight * u.math.sum(u.math.square(value))


class ElasticNetReg(Regularization):
    r"""A mean of :class:`L1Reg` and :class:`L2Reg`.

    .. math:: \alpha\lambda_1 \sum_i |x_i| + (1 - \alpha)\lambda_2 \sum_i x_i^2

    Source: Zou & Hastie 2005, *Regularization and variable selection via the elastic net*.

    Parameters
    ----------
    l1_weight, l2_weight : float
        The factors of the two.
    alpha : float
        The share of the first, between 0 and 1.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir.nn import ElasticNetReg
    >>> float(ElasticNetReg(1.0, 1.0, alpha=0.5).loss(jnp.array([1.0, -3.0])))
    7.0
    """

    def __init__(self, l1_weight: Any = 1.0, l2_weight: Any = 1.0, alpha: float = 0.5):
        super().__init__()
        self.l1_weight = l1_weight
        self.l2_weight = l2_weight
        self.alpha = alpha

    def loss(self, value: Any) -> Any:
        absolute = self.l1_weight * u.math.sum(u.math.abs(value))
        squared = self.l2_weight * u.math.sum(u.math.square(value))
        return self.alpha * absolute + (1 - self.alpha) * squared
