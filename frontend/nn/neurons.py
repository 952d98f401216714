"""Spiking neurons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import brainunit as u
import jax

from .. import init
from ..state import HiddenState
from ..surrogate import surrogates as surrogate
from ..typing import Size
from .dynamics import Dynamics
from .integrate import exp_euler_step

__all__ = ["LIF"]


class LIF(Dynamics):
    r"""Leaky integrate-and-fire neurons.

    Between spikes the membrane potential :math:`V` follows

    .. math:: \tau \frac{dV}{dt} = -(V - V_{rest}) + R\,I(t),

    integrated with the exponential Euler method. A neuron spikes in the steps after which
    :math:`V \ge V_{th}`; before its next step its potential falls by :math:`V_{th} - V_{reset}`
    (soft reset), or to :math:`V_{reset}` (hard reset). The derivative of a spike is that of
    `spk_fun`, at :math:`(V - V_{th}) / (V_{th} - V_{reset})`.

    Parameters
    ----------
    in_size : int or sequence of int
        The shape of the population, without batch axes.
    R : Quantity or initialiser
        Membrane resistance.
    tau : Quantity or initialiser
        Membrane time constant.
    V_th, V_reset, V_rest : Quantity or initialiser
        Threshold, reset and resting potential.
    V_initializer : Quantity or initialiser
        The membrane potential at the start.
    spk_fun : callable
        A step function with a surrogate derivative.
    spk_reset : {"soft", "hard"}
        The kind of reset. The hard one passes no derivative through the potential at reset.
    name : str, optional
        A name for people to read.

    Raises
    ------
    ValueError
        If `spk_reset` is neither "soft" nor "hard".

    Examples
    --------
    >>> import brainir
    >>> import brainunit as u
    >>> neuron = brainir.nn.init_all_states(brainir.nn.LIF(1))
    >>> with brainir.environ.context(dt=0.1 * u.ms):
    ...     spikes = [float(neuron(1.5 * u.mA)[0]) for _ in range(60)]
    >>> spikes.index(1.0), neuron.V.value.unit
    (54, Unit("mV"))
    """

    V: HiddenState

    def __init__(
        self,
        in_size: Size,
        R: Any = 1.0 * u.ohm,
        tau: Any = 5.0 * u.ms,
        V_th: Any = 1.0 * u.mV,
        V_reset: Any = 0.0 * u.mV,
        V_rest: Any = 0.0 * u.mV,
        V_initializer: Any = init.Constant(u.Quantity(0.0, unit=u.mV)),
        spk_fun: Callable[[Any], Any] = surrogate.ReluGrad(),
        spk_reset: Literal["soft", "hard"] = "soft",
        name: str | None = None,
    ):
        super().__init__(in_size, name)
        if spk_reset not in ("soft", "hard"):
            raise ValueError(f"spk_reset must be 'soft' or 'hard', not {spk_reset!r}")
        self.R = init.param(R, self.varshape)
        self.tau = init.param(tau, self.varshape)
        self.V_th = init.param(V_th, self.varshape)
        self.V_reset = init.param(V_reset, self.varshape)
        self.V_rest = init.param(V_rest, self.varshape)
        self.V_initializer = V_initializer
        self.spk_fun = spk_fun
        self.spk_reset = spk_reset

    def init_state(self, batch_size: int | None = None, **kwargs: Any) -> None:
        """Create the membrane potential, of shape ``in_size`` after an optional batch axis."""
        self.V = HiddenState(self._first_potential(batch_size))

    def reset_state(self, batch_size: int | None = None, **kwargs: Any) -> None:
        """Set the membrane potential to its first value."""
        self.V.value = self._first_potential(batch_size)

    def _first_potential(self, batch_size: int | None) -> Any:
        batch = () if batch_size is None else (batch_size,)
        potential = init.param(self.V_initializer, self.varshape, batch_size)
        return u.math.broadcast_to(potential, (*batch, *self.varshape))

    def get_spike(self, V: Any = None) -> Any:
        """Return 1 where `V`, by default the present potential, has reached threshold, else 0."""
        V = self.V.value if V is None else V
        return self.spk_fun((V - self.V_th) / (self.V_th - self.V_reset))

    def update(self, x: Any = 0.0 * u.mA) -> Any:
        """Advance by one step under the input current `x` and return the spikes."""
        V = self.V.value
        top = self.V_th if self.spk_reset == "soft" else jax.lax.stop_gradient(V)
        V = V - (top - self.V_reset) * self.get_spike(V)
        V = exp_euler_step(lambda v: (-(v - self.V_rest) + self.R * x) / self.tau, V)
        self.V.value = V
        return self.get_spike(V)
