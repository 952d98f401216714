"""The nodes of NIR that are no neurons and that `nn` has no module of the same meaning for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import environ, nn
from ..state import DelayState, NonBatchState, ParamState
from ..surrogate import surrogates as surrogate
from .neurons import above, as_numbers, seconds

__all__ = ["AvgPool2d", "Delay", "Scale", "SumPool2d", "Threshold"]


class Scale(nn.Module):
    """Multiplies each element by a factor of its own, ``scale``, which is a ``ParamState``.

    Parameters
    ----------
    scale : array
        The factors.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> brainir.nir.Scale([1.0, 3.0])(jnp.ones(2))
    Array([1., 3.], dtype=float32)
    """

    def __init__(self, scale: Any, name: str | None = None):
        super().__init__(name)
        self.in_size = self.out_size = np.shape(scale) or 1
        self.scale = ParamState(as_numbers(scale))

    def update(self, x: Any) -> Any:
        """Multiply `x`, perhaps with batch axes in front."""
        return x * self.scale.value


class Threshold(nn.Module):
    """Gives 1 where its input is above a threshold, and 0 elsewhere.

    Parameters
    ----------
    threshold : array
        Of the shape of the input.
    spk_fun : callable
        A step function with a surrogate derivative.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> brainir.nir.Threshold([1.0, 1.0])(jnp.array([1.0, 1.5]))
    Array([0., 1.], dtype=float32)
    """

    def __init__(
        self,
        threshold: Any,
        spk_fun: Callable[[Any], Any] = surrogate.ReluGrad(),
        name: str | None = None,
    ):
        super().__init__(name)
        self.in_size = self.out_size = np.shape(threshold) or 1
        self.threshold = np.asarray(threshold)
        self.spk_fun = spk_fun

    def update(self, x: Any) -> Any:
        """Compare `x`, perhaps with batch axes in front."""
        return above(x, self.threshold, self.spk_fun)


class Delay(nn.Module):
    """Gives what it was given some time ago; before that, zero.

    Parameters
    ----------
    delay : array
        The times in seconds, one for each element. They are rounded to whole steps.
    dt : Quantity or float, optional
        The time step; a number is in seconds. Without one it is that of ``environ`` when the
        States are made.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> delay = brainir.nn.init_all_states(brainir.nir.Delay([0.0, 0.002], dt=0.001))
    >>> for i in range(1, 4):
    ...     print(delay(jnp.full(2, float(i))))
    [1. 0.]
    [2. 0.]
    [3. 1.]
    """

    history: DelayState
    write_ptr: NonBatchState

    def __init__(self, delay: Any, dt: Any = None, name: str | None = None):
        super().__init__(name)
        shape = np.shape(delay) or (1,)
        self.in_size = self.out_size = shape
        self.delay = np.broadcast_to(np.asarray(delay), shape)
        self.dt = dt

    def init_state(self, batch_size: int | None = None, **kwargs: Any) -> None:
        """Make room for the past: one slot for each step, and one for the present."""
        self.history = DelayState(self._zeros(batch_size))
        self.write_ptr = NonBatchState(jnp.zeros((), environ.ditype()), tag="INIT_NO_BATCHING")

    def reset_state(self, batch_size: int | None = None, **kwargs: Any) -> None:
        """Forget the past."""
        self.history.value = self._zeros(batch_size)

    def _zeros(self, batch_size: int | None) -> jax.Array:
        batch = () if batch_size is None else (batch_size,)
        slots = 1 + int(self._steps().max(initial=0))
        return jnp.zeros((slots, *batch, self.delay.size), environ.dftype())

    def _steps(self) -> np.ndarray:
        dt = float(seconds(environ.get_dt() if self.dt is None else self.dt))
        return np.rint(self.delay.ravel() / dt).astype(np.int32)

    def update(self, x: Any) -> jax.Array:
        """Store `x`, and return each element as it was so long ago."""
        shape, pointer = jnp.shape(x), self.write_ptr.value
        batch = shape[: len(shape) - self.delay.ndim]
        now = jnp.reshape(x, (*batch, self.delay.size))
        history = self.history.value.at[pointer].set(now)
        slots = np.asarray(history.shape[0], pointer.dtype)
        self.history.value = history
        self.write_ptr.value = jax.lax.rem(pointer + 1, slots)
        steps = jnp.asarray(self._steps(), pointer.dtype)
        slot = jax.lax.rem(pointer + slots - steps, jnp.full_like(steps, slots))
        seen = history[slot, ..., np.arange(self.delay.size)]  # the elements, then the batch
        return jnp.reshape(jnp.moveaxis(seen, 0, -1), shape)


class SumPool2d(nn.Module):
    """The sum of each window over the last two axes; padding adds zeros.

    Parameters
    ----------
    kernel_size, stride, padding : pair of int
        For the two axes.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> brainir.nir.SumPool2d((2, 2), (2, 2), (0, 0))(jnp.ones((1, 2, 4)))
    Array([[[4., 4.]]], dtype=float32)
    """

    def __init__(
        self,
        kernel_size: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        name: str | None = None,
    ):
        super().__init__(name)
        pairs = (kernel_size, stride, padding)
        self.kernel_size, self.stride, self.padding = (
            tuple(int(n) for n in np.broadcast_to(pair, 2)) for pair in pairs
        )

    def update(self, x: Any) -> jax.Array:
        """Sum `x`, of shape ``(..., height, width)``."""
        before = (1,) * (x.ndim - 2)
        padding = [*((0, 0) for _ in before), *((n, n) for n in self.padding)]
        return jax.lax.reduce_window(
            x, 0.0, jax.lax.add, (*before, *self.kernel_size), (*before, *self.stride), padding
        )


class AvgPool2d(SumPool2d):
    """The mean of each window over the last two axes; the zeros of the padding count.

    Parameters
    ----------
    kernel_size, stride, padding : pair of int
        For the two axes.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> brainir.nir.AvgPool2d((2, 2), (2, 2), (0, 0))(jnp.ones((1, 2, 4)))
    Array([[[1., 1.]]], dtype=float32)
    """

    def update(self, x: Any) -> jax.Array:
        """Average `x`, of shape ``(..., height, width)``."""
        return super().update(x) / float(np.prod(self.kernel_size))
