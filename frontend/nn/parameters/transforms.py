"""One-to-one maps between numbers that an optimiser may move freely and the values of parameters.

``forward`` goes from free numbers, which have no unit, to values, ``inverse`` back. Bounds carry
the unit of the values. A transform is a plain value: it holds no States.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ...typing import ArrayLike

__all__ = [
    "AffineT",
    "ChainT",
    "IdentityT",
    "MaskedT",
    "OrderedT",
    "PowerT",
    "SimplexT",
    "Transform",
    "UnitVectorT",
    "inverse_softplus",
]


class Transform:
    """A one-to-one map from free numbers to the values of a parameter.

    A subclass defines :meth:`forward` and :meth:`inverse`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir.nn import Transform
    >>> class CubeT(Transform):
    ...     def forward(self, x):
    ...         return x**3
    ...     def inverse(self, y):
    ...         return jnp.cbrt(y)
    >>> CubeT()(2.0)
    8.0
    """

    elementwise = True
    """Whether each element of the result depends on the one element at its place."""

    def __call__(self, x: Any) -> Any:
        """Run :meth:`forward`."""
        return self.forward(x)

    def forward(self, x: Any) -> Any:
        """Map free numbers to values."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward()")

    def inverse(self, y: Any) -> Any:
        """Map values to the free numbers that they come from."""
        raise NotImplementedError(f"{type(self).__name__} does not define inverse()")

    def log_abs_det_jacobian(self, x: ArrayLike, y: Any) -> jax.Array:
        """Return the logarithm of how much :meth:`forward` stretches volumes at `x`.

        Units are left out: it is that of the numbers in the unit of `y`, which is ``forward(x)``.

        Raises
        ------
        NotImplementedError
            If the transform mixes elements.
        """
        if not self.elementwise:
            raise NotImplementedError(
                f"{type(self).__name__} mixes elements, and says nothing of its Jacobian"
            )
        x = jnp.asarray(x)
        unit = u.get_unit(y)

        def numbers(x: jax.Array) -> Any:
            return u.Quantity(self.forward(x)).to_decimal(unit)

        slope = jax.jvp(numbers, (x,), (jnp.ones_like(x),))[1]
        return jnp.sum(jnp.log(jnp.abs(slope)))


def inverse_softplus(y: Any) -> Any:
    """Return the ``x`` with ``softplus(x) == y``."""
    return y + jnp.log(-jnp.expm1(-y))


class IdentityT(Transform):
    """The values themselves.

    Examples
    --------
    >>> from brainir.nn import IdentityT
    >>> IdentityT().forward(2.0)
    2.0
    """

    def forward(self, x: Any) -> Any:
        return x

    def inverse(self, y: Any) -> Any:
        return y

    def __repr__(self) -> str:
        return "IdentityT()"


# --- other maps of single values ------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class AffineT(Transform):
    """Values stretched and shifted: ``scale * x + shift``.

    Parameters
    ----------
    scale, shift : float, array or Quantity
        The factor, and what is added.

    Raises
    ------
    ValueError
        If the factor is 0 somewhere.

    Examples
    --------
    >>> from brainir.nn import AffineT
    >>> AffineT(2.0, 1.0).forward(3.0), AffineT(2.0, 1.0).inverse(7.0)
    (7.0, 3.0)
    """

    scale: Any
    shift: Any

    def __post_init__(self) -> None:
        factor = u.get_mantissa(self.scale)
        if not isinstance(factor, Tracer) and not np.all(np.asarray(factor) != 0):
            raise ValueError(f"the scale of AffineT cannot be 0, got {self.scale}")

    def forward(self, x: Any) -> Any:
        return self.scale * x + self.shift

    def inverse(self, y: Any) -> Any:
        return u.maybe_decimal((y - self.shift) / self.scale)


@dataclass(frozen=True, eq=False)
class PowerT(Transform):
    r"""The Box-Cox transformation of positive numbers.

    .. math:: y = (x^\lambda - 1) / \lambda, \qquad y = \log x \text{ for } \lambda = 0

    Source: Box & Cox 1964, *An analysis of transformations*.

    Parameters
    ----------
    lmbda : float
        The power.

    Examples
    --------
    >>> from brainir.nn import PowerT
    >>> float(PowerT(0.5).forward(4.0))
    2.0
    """

    lmbda: float = 0.5

    def forward(self, x: Any) -> Any:
        return jnp.log(x) if self.lmbda == 0 else (jnp.power(x, self.lmbda) - 1) / self.lmbda

    def inverse(self, y: Any) -> Any:
        if self.lmbda == 0:
            return jnp.exp(y)
        return jnp.power(y * self.lmbda + 1, 1 / self.lmbda)


# --- values that depend on each other -------------------------------------------------------------


class OrderedT(IdentityT):
    r"""Values that grow along the last axis.

    .. math:: y_1 = x_1, \qquad y_i = y_{i-1} + \log(1 + e^{x_i})

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir.nn import OrderedT
    >>> y = OrderedT().forward(jnp.array([3.0, -1.0, -2.0]))
    >>> bool((jnp.diff(y) > 0).all())
    True
    """

    elementwise = False

    def forward(self, x: Any) -> Any:
        x = jnp.asarray(x)
        steps = jnp.concatenate([x[..., :1], jax.nn.softplus(x[..., 1:])], axis=-1)
        return jnp.cumsum(steps, axis=-1)

    def inverse(self, y: Any) -> Any:
        y = jnp.asarray(y)
        return jnp.concatenate([y[..., :1], inverse_softplus(jnp.diff(y, axis=-1))], axis=-1)

    def __repr__(self) -> str:
        return "OrderedT()"


class SimplexT(Transform):
    r"""Shares: ``n`` positive values that sum to 1, from ``n - 1`` free numbers, on the last axis.

    Pieces are broken off a stick of length 1, one after the other: :math:`\sigma(x_i)` of what is
    left of it, and the last value is the rest.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir.nn import SimplexT
    >>> SimplexT().forward(jnp.zeros(2)).tolist()
    [0.5, 0.25, 0.25]
    """

    elementwise = False

    def forward(self, x: Any) -> Any:
        x = jnp.asarray(x)
        log_left = jnp.cumsum(jax.nn.log_sigmoid(-x), axis=-1)
        start = jnp.zeros_like(log_left[..., :1])
        broken = jax.nn.log_sigmoid(x) + jnp.concatenate([start, log_left[..., :-1]], axis=-1)
        return jnp.exp(jnp.concatenate([broken, log_left[..., -1:]], axis=-1))

    def inverse(self, y: Any) -> Any:
        y = jnp.asarray(y)
        rest = jnp.flip(jnp.cumsum(jnp.flip(y, -1), axis=-1), -1)  # each value and those behind it
        return jnp.log(y[..., :-1]) - jnp.log(rest[..., 1:])

    def __repr__(self) -> str:
        return "SimplexT()"


class UnitVectorT(Transform):
    """Vectors of length 1 on the last axis.

    Not one-to-one: ``inverse`` gives the vector itself.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir.nn import UnitVectorT
    >>> UnitVectorT().forward(jnp.array([0.0, 2.0])).tolist()
    [0.0, 1.0]
    """

    elementwise = False

    def forward(self, x: Any) -> Any:
        x = jnp.asarray(x)
        return x / jnp.linalg.norm(x, axis=-1, keepdims=True)

    def inverse(self, y: Any) -> Any:
        return y

    def __repr__(self) -> str:
        return "UnitVectorT()"


# --- transforms made of others --------------------------------------------------------------------


class ChainT(Transform):
    """Transforms one after the other; the first given is the first that ``forward`` runs.

    Raises
    ------
    TypeError
        If something that is not a transform is given.

    Examples
    --------
    >>> from brainir.nn import AffineT, ChainT, PositiveT
    >>> float(ChainT(AffineT(2.0, -2.0), PositiveT()).forward(1.0))
    1.0
    """

    def __init__(self, *transforms: Transform) -> None:
        for transform in transforms:
            _check_transform(transform)
        self.transforms = transforms

    def forward(self, x: Any) -> Any:
        for transform in self.transforms:
            x = transform.forward(x)
        return x

    def inverse(self, y: Any) -> Any:
        for transform in reversed(self.transforms):
            y = transform.inverse(y)
        return y

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        total = jnp.zeros(())
        for transform in self.transforms:
            after = transform.forward(x)
            total, x = total + transform.log_abs_det_jacobian(x, after), after
        return total

    def __repr__(self) -> str:
        return f"ChainT({', '.join(map(repr, self.transforms))})"


@dataclass(frozen=True, eq=False)
class MaskedT(Transform):
    """A transform of some elements; the others stay as they are.

    Parameters
    ----------
    mask : array of bool
        Which elements are transformed.
    transform : Transform
        An elementwise transform.
    safe_value : float
        What the transform is given in place of the others, so that their gradients stay clean.

    Raises
    ------
    TypeError
        If `transform` is not a transform.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir.nn import MaskedT, PositiveT
    >>> MaskedT(jnp.array([True, False]), PositiveT()).forward(jnp.zeros(2)).tolist()
    [1.0, 0.0]
    """

    mask: Any
    transform: Transform
    safe_value: Any = 1.0

    def __post_init__(self) -> None:
        _check_transform(self.transform)

    @property
    def elementwise(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether the inner transform is."""
        return self.transform.elementwise

    def forward(self, x: Any) -> Any:
        return self._where(self.transform.forward, x)

    def inverse(self, y: Any) -> Any:
        return self._where(self.transform.inverse, y)

    def _where(self, function: Any, value: Any) -> Any:
        chosen = jnp.asarray(self.mask, bool)
        safe = jnp.asarray(self.safe_value, jnp.result_type(value))
        return jnp.where(chosen, function(jnp.where(chosen, value, safe)), value)


def _check_transform(transform: object) -> None:
    if not isinstance(transform, Transform):
        raise TypeError(f"a Transform is needed, such as SoftplusT(0.0), not {transform!r}")
