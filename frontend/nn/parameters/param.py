"""A parameter of a model: a value that may be transformed, penalised, or held fixed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
from jax.core import Tracer

from ... import environ, init
from ...state import ParamState
from ...typing import Size
from ..module import Module
from .regularization import Regularization
from .transforms import IdentityT, Transform

__all__ = ["Const", "Param"]


class Param(Module):
    """A parameter, which is trained in a space where an optimiser may move freely.

    ``val`` holds the free numbers, ``t.inverse(value)``: in a ``ParamState`` if the parameter is
    trained, else as they are. :meth:`value` gives what the model computes with. A fixed parameter
    is a constant for compiled functions.

    Parameters
    ----------
    value : array, number or Quantity
        The value at the start; numbers become real numbers.
    t : Transform
        From free numbers to values.
    reg : Regularization, optional
        A penalty on the value, see :meth:`reg_loss`.
    precompute : callable, optional
        What :meth:`value` applies at the end.
    fit : bool
        Whether it is trained.

    Raises
    ------
    TypeError
        If `t` is not a transform.
    ValueError
        If `reg` is not a regularisation.

    Examples
    --------
    >>> import brainir
    >>> import brainunit as u
    >>> tau = brainir.nn.Param(5.0 * u.ms, t=brainir.nn.SoftplusT(0.0 * u.ms))
    >>> round(float(tau.value() / u.ms), 4), type(tau.val).__name__
    (5.0, 'ParamState')
    """

    val: Any

    def __init__(
        self,
        value: Any,
        t: Transform = IdentityT(),
        reg: Regularization | None = None,
        precompute: Callable[[Any], Any] | None = None,
        fit: bool = True,
    ):
        super().__init__()
        if not isinstance(t, Transform):
            raise TypeError(f"t must be a Transform, such as brainir.nn.SoftplusT(0.0), not {t!r}")
        if reg is not None and not isinstance(reg, Regularization):
            raise ValueError(
                f"reg must be a Regularization, such as brainir.nn.L2Reg(), not {reg!r}"
            )
        self.fit = fit
        self.t = t
        self.reg = reg
        self.precompute = precompute
        free = t.inverse(_real(value))
        self.val = ParamState(free) if fit else free
        self._cached: tuple[Any, Any] | None = None

    @classmethod
    def init(
        cls, data: Any, sizes: Size | None = None, allow_none: bool = True, **settings: Any
    ) -> Any:
        """Make a parameter of a model from whatever its user gave.

        Parameters
        ----------
        data : Param, array, number, Quantity, initialiser or None
            A ``Param`` and None are returned as they are. Anything else becomes a parameter that
            is not trained, unless `settings` say ``fit=True``.
        sizes : int or sequence of int, optional
            The size; an array must broadcast to it, and an initialiser needs it.
        allow_none : bool
            Whether `data` may be None.
        **settings
            Handed to :class:`Param`.

        Raises
        ------
        ValueError
            If None is not allowed, an initialiser comes without a size, or a value does not fit.
        TypeError
            If `data` is none of these.

        Examples
        --------
        >>> import brainir
        >>> brainir.nn.Param.init(brainir.init.Constant(2.0), 3).value().tolist()
        [2.0, 2.0, 2.0]
        """
        if isinstance(data, Param):
            if sizes is not None:
                init.param(data.value(), sizes)
            return data
        if callable(data) and sizes is None:
            raise ValueError(f"{cls.__name__}.init needs sizes to call {data!r} with")
        if sizes is not None or data is None:
            data = init.param(data, () if sizes is None else sizes, allow_none=allow_none)
        if data is None:
            return None
        return Param(data, **settings) if settings.get("fit") else Const(data, **settings)

    def value(self) -> Any:
        """Return the value: the free numbers, transformed, and then precomputed."""
        free = self._free()
        if self._cached is not None and self._cached[0] is free:
            return self._cached[1]
        value = self.t.forward(free)
        return value if self.precompute is None else self.precompute(value)

    def set_value(self, value: Any) -> None:
        """Set the value that the transform gives, before `precompute`."""
        free = self.t.inverse(_real(value))
        if self.fit:
            self.val.value = free
        else:
            self.val = free

    def clip(self, min_val: Any = None, max_val: Any = None) -> None:
        """Keep the value, before `precompute`, between two bounds."""
        self.set_value(u.math.clip(self.t.forward(self._free()), min_val, max_val))

    def reg_loss(self) -> Any:
        """Return the penalty on the value before `precompute`: 0 if it is fixed, or has none."""
        if not self.fit or self.reg is None:
            return 0.0
        return self.reg.loss(self.t.forward(self._free()))

    def reset_to_prior(self) -> None:
        """Set all elements to the value that the penalty favours; without a penalty do nothing."""
        if self.reg is None:
            return
        value = self.t.forward(self._free())
        prior = self.reg.reset_value()
        if u.get_unit(prior).is_unitless:
            prior = u.get_mantissa(prior) * u.get_unit(value)
        self.set_value(u.math.broadcast_to(_real(prior), u.math.shape(value)))

    def cache(self) -> None:
        """Keep the value, so that :meth:`value` need not compute it until the numbers change.

        While something is traced there is no value to keep.
        """
        self._cached = None
        free, value = self._free(), self.value()
        if not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((free, value))):
            self._cached = (free, value)

    def clear_cache(self) -> None:
        """Forget what :meth:`cache` has kept."""
        self._cached = None

    @property
    def cache_stats(self) -> dict[str, bool]:
        """Whether a value is kept, and whether it still is that of the present numbers."""
        kept = self._cached is not None
        valid = self._cached is not None and self._cached[0] is self._free()
        return {"valid": valid, "has_cached_value": kept}

    def _free(self) -> Any:
        return self.val.value if self.fit else self.val


class Const(Param):
    """A parameter that is not trained: a :class:`Param` with ``fit=False``.

    Parameters
    ----------
    value : array, number or Quantity
        The value.
    **settings
        Handed to :class:`Param`.

    Examples
    --------
    >>> import brainir
    >>> const = brainir.nn.Const(2.0)
    >>> float(const.value()), list(const.states())
    (2.0, [])
    """

    def __init__(self, value: Any, **settings: Any):
        super().__init__(value, **{**settings, "fit": False})


def _real(value: Any) -> Any:
    """Return a value as an array of real or complex numbers, with its unit."""

    def as_real(leaf: Any) -> jax.Array:
        array = jnp.asarray(leaf)
        inexact = jnp.issubdtype(array.dtype, jnp.inexact)
        return array if inexact else array.astype(environ.dftype())

    if isinstance(value, u.Quantity):
        return u.Quantity(as_real(value.mantissa), unit=value.unit)
    return None if value is None else as_real(value)
