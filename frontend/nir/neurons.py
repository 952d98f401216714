"""The neurons of NIR: its differential equations, solved for inputs that hold for a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from .. import environ
from ..nn import Dynamics
from ..nn.integrate import exprel
from ..state import HiddenState
from ..surrogate import surrogates as surrogate

__all__ = ["IF", "LI", "LIF", "CubaLI", "CubaLIF", "I", "above", "as_numbers", "seconds"]


def as_numbers(parameter: Any) -> jax.Array:
    """Return a parameter as an array of the dtype that models compute with."""
    return jnp.asarray(parameter, environ.dftype())


def seconds(time: Any) -> Any:
    """Return a time as a number; one without a unit is in seconds already."""
    return time.to_decimal(u.second) if isinstance(time, u.Quantity) else time


def above(x: jax.Array, threshold: Any, spk_fun: Callable[[Any], Any]) -> jax.Array:
    """Return 1 where `x` is above a threshold, 0 at it and below, as NIR has it."""
    return 1.0 - spk_fun(as_numbers(threshold) - x)


class Neuron(Dynamics):
    """What the neurons have in common: parameters of one shape, a time step, and potentials.

    Parameters
    ----------
    dt : Quantity or float, optional
        The time step; a number is in seconds. Without one it is that of ``environ``.
    spk_fun : callable
        A step function with a surrogate derivative, for neurons that spike.
    **parameters
        What `fields` lists, as arrays of one shape or as numbers.
    """

    fields: ClassVar[tuple[str, ...]]
    """The names that the parameters have in NIR."""

    v: HiddenState

    def __init__(
        self,
        dt: Any = None,
        spk_fun: Callable[[Any], Any] = surrogate.ReluGrad(),
        name: str | None = None,
        **parameters: Any,
    ):
        if parameters.keys() != set(self.fields):
            raise TypeError(
                f"{type(self).__name__} takes the parameters {', '.join(self.fields)}, "
                f"not {', '.join(parameters) or 'none'}"
            )
        shape = np.broadcast_shapes(*map(np.shape, parameters.values()))
        super().__init__(shape or 1, name)
        for field, given in parameters.items():
            setattr(self, field, np.broadcast_to(np.asarray(given), self.varshape))
        self.dt = dt
        self.spk_fun = spk_fun

    def init_state(self, batch_size: int | None = None, **kwargs: Any) -> None:
        """Start at rest: all that changes is zero, with a batch axis in front if wanted."""
        self.v = HiddenState(self._zeros(batch_size))

    def reset_state(self, batch_size: int | None = None, **kwargs: Any) -> None:
        """Return to the start."""
        self.v.value = self._zeros(batch_size)

    def _zeros(self, batch_size: int | None) -> jax.Array:
        batch = () if batch_size is None else (batch_size,)
        return jnp.zeros((*batch, *self.varshape), environ.dftype())

    def _parameters(self) -> tuple[jax.Array, ...]:
        return tuple(as_numbers(getattr(self, field)) for field in self.fields)

    def _step(self) -> jax.Array:
        return as_numbers(seconds(environ.get_dt() if self.dt is None else self.dt))

    def _fire(self, v: jax.Array, threshold: jax.Array, reset: jax.Array) -> jax.Array:
        """Keep the potential, reset where it is above threshold, and return the spikes."""
        spikes = above(v, threshold, self.spk_fun)
        self.v.value = v + spikes * (reset - jax.lax.stop_gradient(v))
        return spikes


class I(Neuron):  # noqa: E742
    r"""Integrators, :math:`\dot v = R\,I`; the output is :math:`v`.

    Parameters
    ----------
    r : array
        Resistance.
    dt : Quantity or float, optional
        The time step; a number is in seconds. Without one it is that of ``environ``.

    Examples
    --------
    >>> import brainir
    >>> cell = brainir.nn.init_all_states(brainir.nir.I(r=[2.0], dt=0.5))
    >>> cell(3.0), cell(3.0)
    (Array([3.], dtype=float32), Array([6.], dtype=float32))
    """

    fields = ("r",)

    def update(self, x: Any) -> jax.Array:
        """Advance by one step under the current `x`, and return the potential."""
        (r,) = self._parameters()
        self.v.value = self.v.value + self._step() * r * x
        return self.v.value


class IF(Neuron):
    r"""Integrate-and-fire neurons, :math:`\dot v = R\,I`, reset above their threshold.

    Parameters
    ----------
    r, v_threshold, v_reset : array
        Resistance, threshold and reset potential.
    dt, spk_fun
        The time step as for :class:`I`, and a step function with a surrogate derivative.

    Examples
    --------
    >>> import brainir
    >>> cell = brainir.nir.IF(r=[1.0], v_threshold=[1.0], v_reset=[0.0], dt=0.5)
    >>> _ = brainir.nn.init_all_states(cell)
    >>> [int(cell(1.0)[0]) for _ in range(6)]  # at the threshold it does not spike
    [0, 0, 1, 0, 0, 1]
    """

    fields = ("r", "v_threshold", "v_reset")

    def update(self, x: Any) -> jax.Array:
        """Advance by one step under the current `x`, and return the spikes."""
        r, threshold, reset = self._parameters()
        return self._fire(self.v.value + self._step() * r * x, threshold, reset)


class LI(Neuron):
    r"""Leaky integrators, :math:`\tau \dot v = (v_{leak} - v) + R\,I`; the output is :math:`v`.

    Parameters
    ----------
    tau, r, v_leak : array
        Time constant in seconds, resistance, and the potential at rest.
    dt : Quantity or float, optional
        The time step; a number is in seconds. Without one it is that of ``environ``.

    Examples
    --------
    >>> import brainir
    >>> cell = brainir.nir.LI(tau=[0.01], r=[1.0], v_leak=[0.0], dt=0.001)
    >>> _ = brainir.nn.init_all_states(cell)
    >>> [round(float(cell(1.0)[0]), 4) for _ in range(3)]
    [0.0952, 0.1813, 0.2592]
    """

    fields = ("tau", "r", "v_leak")

    def update(self, x: Any) -> jax.Array:
        """Advance by one step under the current `x`, and return the potential."""
        tau, r, leak = self._parameters()
        self.v.value = self._relaxed(tau, r, leak, x)
        return self.v.value

    def _relaxed(self, tau: jax.Array, r: jax.Array, leak: jax.Array, x: Any) -> jax.Array:
        end = leak + r * x
        return end + (self.v.value - end) * jnp.exp(-self._step() / tau)


class LIF(LI):
    r"""Leaky integrate-and-fire neurons: :class:`LI`, reset above their threshold.

    Parameters
    ----------
    tau, r, v_leak, v_threshold, v_reset : array
        Time constant in seconds, resistance, and the potentials at rest, where a neuron fires and
        after it did.
    dt, spk_fun
        The time step as for :class:`LI`, and a step function with a surrogate derivative.

    Examples
    --------
    >>> import brainir
    >>> cell = brainir.nir.LIF(tau=0.01, r=2.0, v_leak=0.0, v_threshold=1.0, v_reset=0.0, dt=0.001)
    >>> _ = brainir.nn.init_all_states(cell)
    >>> [int(cell(1.0)[0]) for _ in range(8)]
    [0, 0, 0, 0, 0, 0, 1, 0]
    """

    fields = ("tau", "r", "v_leak", "v_threshold", "v_reset")

    def update(self, x: Any) -> jax.Array:
        """Advance by one step under the current `x`, and return the spikes."""
        tau, r, leak, threshold, reset = self._parameters()
        return self._fire(self._relaxed(tau, r, leak, x), threshold, reset)


class CubaLI(Neuron):
    r"""Leaky integrators of a current that decays by itself; the output is :math:`v`.

    .. math::
        \tau_{syn} \dot I = -I + w_{in} S, \qquad \tau_{mem} \dot v = (v_{leak} - v) + R\,I

    Both are solved together, exactly for an input :math:`S` that holds for the step.

    Parameters
    ----------
    tau_syn, tau_mem, r, v_leak, w_in : array
        Time constants in seconds, resistance, the potential at rest, and the weight of the input.
    dt : Quantity or float, optional
        The time step; a number is in seconds. Without one it is that of ``environ``.

    Examples
    --------
    >>> import brainir
    >>> times = dict(tau_syn=0.005, tau_mem=0.01, dt=0.001)
    >>> cell = brainir.nir.CubaLI(**times, r=1.0, v_leak=0.0, w_in=1.0)
    >>> _ = brainir.nn.init_all_states(cell)
    >>> [round(float(cell(1.0)[0]), 4) for _ in range(3)]
    [0.0091, 0.0329, 0.0672]
    """

    fields = ("tau_syn", "tau_mem", "r", "v_leak", "w_in")
    current: HiddenState

    def init_state(self, batch_size: int | None = None, **kwargs: Any) -> None:
        """Start at rest: current and potential are zero."""
        super().init_state(batch_size)
        self.current = HiddenState(self._zeros(batch_size))

    def reset_state(self, batch_size: int | None = None, **kwargs: Any) -> None:
        """Return to the start."""
        super().reset_state(batch_size)
        self.current.value = self._zeros(batch_size)

    def update(self, x: Any) -> jax.Array:
        """Advance by one step under the input `x`, and return the potential."""
        syn, mem, r, leak, w_in = self._parameters()
        self.v.value = self._relaxed(syn, mem, r, leak, w_in, x)
        return self.v.value

    def _relaxed(self, syn: Any, mem: Any, r: Any, leak: Any, w_in: Any, x: Any) -> jax.Array:
        """Advance the current, and return the potential that it leads to."""
        dt = self._step()
        target = w_in * x
        away = self.current.value - target
        self.current.value = target + away * jnp.exp(-dt / syn)
        decay, end = jnp.exp(-dt / mem), leak + r * target
        passed_on = decay * (dt / mem) * exprel(dt / mem - dt / syn)  # of the current that decays
        return end + (self.v.value - end) * decay + r * away * passed_on


class CubaLIF(CubaLI):
    r"""Leaky integrate-and-fire neurons of a current: :class:`CubaLI`, reset above threshold.

    Parameters
    ----------
    tau_syn, tau_mem, r, v_leak, v_threshold, v_reset, w_in : array
        As for :class:`CubaLI` and :class:`LIF`.
    dt, spk_fun
        The time step as for :class:`LI`, and a step function with a surrogate derivative.

    Examples
    --------
    >>> import brainir
    >>> times = dict(tau_syn=0.005, tau_mem=0.01, dt=0.001)
    >>> cell = brainir.nir.CubaLIF(**times, r=4, v_leak=0, v_threshold=1, v_reset=0, w_in=1)
    >>> _ = brainir.nn.init_all_states(cell)
    >>> [int(cell(1.0)[0]) for _ in range(8)]
    [0, 0, 0, 0, 0, 0, 1, 0]
    """

    fields = ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in")

    def update(self, x: Any) -> jax.Array:
        """Advance by one step under the input `x`, and return the spikes."""
        syn, mem, r, leak, threshold, reset, w_in = self._parameters()
        return self._fire(self._relaxed(syn, mem, r, leak, w_in, x), threshold, reset)
