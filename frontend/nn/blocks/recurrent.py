"""Recurrent cells: one step of a recurrent network.

A cell keeps its hidden state in ``h``, of shape ``(num_out,)`` after an optional batch axis, which
``init_state`` makes. Run it over time with ``brainir.transform.for_loop``.

Examples
--------
>>> import brainir
>>> import jax.numpy as jnp
>>> cell = brainir.nn.init_all_states(brainir.nn.GRUCell(3, 4), batch_size=2)
>>> brainir.transform.for_loop(cell, jnp.ones((10, 2, 3))).shape
(10, 2, 4)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ... import random
from ...state import HiddenState, ParamState
from .. import init
from ..module import Module
from . import activations
from .linear import Linear
from .weights import make_weight

__all__ = ["GRUCell", "LSTMCell", "MGUCell", "RNNCell", "URLSTMCell", "ValinaRNNCell"]

Activation = str | Callable[[Any], Any]


class RNNCell(Module):
    """One step of a recurrent network; a subclass says which.

    Examples
    --------
    >>> import brainir
    >>> isinstance(brainir.nn.LSTMCell(3, 4), brainir.nn.RNNCell)
    True
    """


class _Cell(RNNCell):
    """A cell with hidden states of one size."""

    hidden: tuple[str, ...] = ("h",)
    h: HiddenState

    def _set_up(self, num_in: int, num_out: int, state_init: Any, activation: Activation) -> None:
        self.num_in = num_in
        self.num_out = num_out
        self.in_size = (num_in,)
        self.out_size = (num_out,)
        self.state_init = state_init
        self.activation = _as_function(activation)

    def init_state(self, batch_size: int | None = None, **kwargs: Any) -> None:
        """Create the hidden states, of shape ``(num_out,)`` after an optional batch axis."""
        for name in self.hidden:
            setattr(self, name, HiddenState(self._first(batch_size)))

    def reset_state(self, batch_size: int | None = None, **kwargs: Any) -> None:
        """Give the hidden states their first values."""
        for name in self.hidden:
            getattr(self, name).value = self._first(batch_size)

    def _first(self, batch_size: int | None) -> Any:
        shape = (self.num_out,) if batch_size is None else (batch_size, self.num_out)
        value = init.param(self.state_init, self.num_out, batch_size, allow_none=False)
        return jnp.broadcast_to(make_weight(value, shape, fill=False), shape)

    def _gates(self, weights: Linear, x: Any, count: int) -> list[jax.Array]:
        """Return some gates of one layer of the input and the hidden state."""
        joined = jnp.concatenate([x, self.h.value], axis=-1)
        return jnp.split(weights(joined), count, axis=-1)


def _as_function(activation: Activation) -> Callable[[Any], Any]:
    if callable(activation):
        return activation
    if activation not in activations.__all__:
        raise ValueError(
            f"activation must be a function or the name of one in brainir.nn, not {activation!r}"
        )
    return getattr(activations, activation)


class ValinaRNNCell(_Cell):
    r"""The plain recurrent cell, :math:`h_t = \phi([x_t, h_{t-1}] W + b)`.

    Source: Elman 1990, *Finding structure in time*.

    Parameters
    ----------
    num_in, num_out : int
        The lengths of the input's last axis and of the hidden state's.
    state_init : initialiser or array
        The hidden state at the start.
    w_init, b_init : initialiser or array
        The weight of :class:`Linear` and its bias at the start; a bias of None is left out.
    activation : str or callable
        The function phi, or the name of one in ``brainir.nn``.
    name : str, optional
        A name for people to read.

    Raises
    ------
    ValueError
        If no function has the name `activation`.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> cell = brainir.nn.init_all_states(brainir.nn.ValinaRNNCell(3, 4))
    >>> cell(jnp.ones(3)).shape
    (4,)
    """

    def __init__(
        self,
        num_in: int,
        num_out: int,
        state_init: Any = init.ZeroInit(),
        w_init: Any = init.XavierNormal(),
        b_init: Any = init.ZeroInit(),
        activation: Activation = "relu",
        name: str | None = None,
    ):
        super().__init__(name)
        self._set_up(num_in, num_out, state_init, activation)
        self.W = Linear(num_in + num_out, num_out, w_init, b_init)

    def update(self, x: Any) -> Any:
        """Advance by one step with the input `x`, ``(..., num_in)``; return the hidden state."""
        (h,) = self._gates(self.W, x, 1)
        self.h.value = self.activation(h)
        return self.h.value


class GRUCell(_Cell):
    r"""The gated recurrent unit.

    .. math::

        r_t, z_t &= \sigma([x_t, h_{t-1}] W_{rz} + b_{rz}) \\
        h_t &= (1 - z_t)\,h_{t-1} + z_t\,\phi([x_t, r_t h_{t-1}] W_h + b_h)

    Source: Cho et al. 2014, *Learning phrase representations using RNN encoder-decoder for
    statistical machine translation*.

    Parameters
    ----------
    num_in, num_out, w_init, b_init, state_init, activation, name
        As for :class:`ValinaRNNCell`; weights are orthogonal and phi is tanh by default.

    Raises
    ------
    ValueError
        If no function has the name `activation`.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> cell = brainir.nn.init_all_states(brainir.nn.GRUCell(3, 4))
    >>> cell(jnp.ones(3)).shape
    (4,)
    """

    def __init__(
        self,
        num_in: int,
        num_out: int,
        w_init: Any = init.Orthogonal(),
        b_init: Any = init.ZeroInit(),
        state_init: Any = init.ZeroInit(),
        activation: Activation = "tanh",
        name: str | None = None,
    ):
        super().__init__(name)
        self._set_up(num_in, num_out, state_init, activation)
        self.Wrz = Linear(num_in + num_out, 2 * num_out, w_init, b_init)
        self.Wh = Linear(num_in + num_out, num_out, w_init, b_init)

    def update(self, x: Any) -> Any:
        """Advance by one step with the input `x`, ``(..., num_in)``; return the hidden state."""
        r, z = map(jax.nn.sigmoid, self._gates(self.Wrz, x, 2))
        old = self.h.value
        new = self.activation(self.Wh(jnp.concatenate([x, r * old], axis=-1)))
        self.h.value = (1 - z) * old + z * new
        return self.h.value


class MGUCell(_Cell):
    r"""The minimal gated unit, a :class:`GRUCell` whose two gates are one.

    .. math::

        f_t &= \sigma([x_t, h_{t-1}] W_f + b_f) \\
        h_t &= (1 - f_t)\,h_{t-1} + f_t\,\phi([x_t, f_t h_{t-1}] W_h + b_h)

    Source: Zhou et al. 2016, *Minimal gated unit for recurrent neural networks*.

    Parameters
    ----------
    num_in, num_out, w_init, b_init, state_init, activation, name
        As for :class:`GRUCell`.

    Raises
    ------
    ValueError
        If no function has the name `activation`.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> cell = brainir.nn.init_all_states(brainir.nn.MGUCell(3, 4))
    >>> cell(jnp.ones(3)).shape
    (4,)
    """

    def __init__(
        self,
        num_in: int,
        num_out: int,
        w_init: Any = init.Orthogonal(),
        b_init: Any = init.ZeroInit(),
        state_init: Any = init.ZeroInit(),
        activation: Activation = "tanh",
        name: str | None = None,
    ):
        super().__init__(name)
        self._set_up(num_in, num_out, state_init, activation)
        self.Wf = Linear(num_in + num_out, num_out, w_init, b_init)
        self.Wh = Linear(num_in + num_out, num_out, w_init, b_init)

    def update(self, x: Any) -> Any:
        """Advance by one step with the input `x`, ``(..., num_in)``; return the hidden state."""
        (f,) = map(jax.nn.sigmoid, self._gates(self.Wf, x, 1))
        old = self.h.value
        new = self.activation(self.Wh(jnp.concatenate([x, f * old], axis=-1)))
        self.h.value = (1 - f) * old + f * new
        return self.h.value


class LSTMCell(_Cell):
    r"""Long short-term memory, with a second state ``c``.

    .. math::

        i_t, g_t, f_t, o_t &= [x_t, h_{t-1}] W + b \\
        c_t &= \sigma(f_t + 1)\,c_{t-1} + \sigma(i_t)\,\phi(g_t) \\
        h_t &= \sigma(o_t)\,\phi(c_t)

    Sources: Hochreiter & Schmidhuber 1997, *Long short-term memory*; the 1 is that of Jozefowicz,
    Zaremba & Sutskever 2015, *An empirical exploration of recurrent network architectures*.

    Parameters
    ----------
    num_in, num_out, w_init, b_init, state_init, activation, name
        As for :class:`ValinaRNNCell`; phi is tanh by default.

    Raises
    ------
    ValueError
        If no function has the name `activation`.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> cell = brainir.nn.init_all_states(brainir.nn.LSTMCell(3, 4))
    >>> cell(jnp.ones(3)).shape, cell.c.value.shape
    ((4,), (4,))
    """

    hidden = ("h", "c")
    c: HiddenState

    def __init__(
        self,
        num_in: int,
        num_out: int,
        w_init: Any = init.XavierNormal(),
        b_init: Any = init.ZeroInit(),
        state_init: Any = init.ZeroInit(),
        activation: Activation = "tanh",
        name: str | None = None,
    ):
        super().__init__(name)
        self._set_up(num_in, num_out, state_init, activation)
        self.W = Linear(num_in + num_out, 4 * num_out, w_init, b_init)

    def update(self, x: Any) -> Any:
        """Advance by one step with the input `x`, ``(..., num_in)``; return the hidden state."""
        i, g, f, o = self._gates(self.W, x, 4)
        kept = jax.nn.sigmoid(f + 1) * self.c.value
        self.c.value = kept + jax.nn.sigmoid(i) * self.activation(g)
        self.h.value = jax.nn.sigmoid(o) * self.activation(self.c.value)
        return self.h.value


class URLSTMCell(_Cell):
    r"""An :class:`LSTMCell` whose forget gate is refined, and starts with all time scales.

    .. math::

        f_t, r_t, u_t, o_t &= [x_t, h_{t-1}] W \\
        f_t &\leftarrow \sigma(f_t + b), \qquad r_t \leftarrow \sigma(r_t - b) \\
        g_t &= 2 r_t f_t + (1 - 2 r_t) f_t^2 \\
        c_t &= g_t\,c_{t-1} + (1 - g_t)\,\phi(u_t) \\
        h_t &= \sigma(o_t)\,\phi(c_t)

    The bias ``b``, the ``ParamState`` ``bias``, starts as :math:`-\log(1/s - 1)` with ``s`` uniform
    between ``1 / num_out`` and ``1 - 1 / num_out``.

    Source: Gu et al. 2020, *Improving the gating mechanism of recurrent neural networks*.

    Parameters
    ----------
    num_in, num_out, w_init, state_init, activation, name
        As for :class:`LSTMCell`.

    Raises
    ------
    ValueError
        If no function has the name `activation`.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> cell = brainir.nn.init_all_states(brainir.nn.URLSTMCell(3, 4))
    >>> cell(jnp.ones(3)).shape
    (4,)
    """

    hidden = ("h", "c")
    c: HiddenState

    def __init__(
        self,
        num_in: int,
        num_out: int,
        w_init: Any = init.XavierNormal(),
        state_init: Any = init.ZeroInit(),
        activation: Activation = "tanh",
        name: str | None = None,
    ):
        super().__init__(name)
        self._set_up(num_in, num_out, state_init, activation)
        self.W = Linear(num_in + num_out, 4 * num_out, w_init, None)
        share = random.uniform(1 / num_out, 1 - 1 / num_out, (num_out,))
        self.bias = ParamState(-jnp.log(1 / share - 1))

    def update(self, x: Any) -> Any:
        """Advance by one step with the input `x`, ``(..., num_in)``; return the hidden state."""
        f, r, candidate, o = self._gates(self.W, x, 4)
        f = jax.nn.sigmoid(f + self.bias.value)
        r = jax.nn.sigmoid(r - self.bias.value)
        g = 2 * r * f + (1 - 2 * r) * f**2
        self.c.value = g * self.c.value + (1 - g) * self.activation(candidate)
        self.h.value = jax.nn.sigmoid(o) * self.activation(self.c.value)
        return self.h.value
