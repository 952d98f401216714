"""Connections between populations of neurons: dense or sparse, driven by numbers or by events.

An event is an input above 0, such as a spike. It counts as 1, whatever its height is, and the
gradient goes through as if it had been multiplied.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from ... import random
from ...event import BinaryArray, FixedNumPerPost, FixedNumPerPre
from ...random.parameters import with_unit
from ...state import ParamState
from ...transform import vmap
from ...typing import Size
from ..module import Module
from .weights import check_joined, known, make_weight, product

__all__ = ["EventFixedNumConn", "EventFixedProb", "EventLinear", "FixedNumConn"]


def _events(x: Any) -> Any:
    """Return 1 for each input above 0 and else 0, in the input's unit, with derivative 1."""
    numbers = jnp.asarray(u.get_mantissa(x))
    if not jnp.issubdtype(numbers.dtype, jnp.inexact):
        fired = numbers if numbers.dtype == np.bool else numbers > 0
        return with_unit(fired.astype(jnp.result_type(float)), u.get_unit(x))
    fired = (numbers > 0).astype(numbers.dtype)
    return with_unit(fired + (numbers - jax.lax.stop_gradient(numbers)), u.get_unit(x))


class EventLinear(Module):
    """Dense connections driven by events, without a bias.

    Its state ``weight`` is a ``ParamState`` of shape ``(in_size[-1], out_size[-1])``, or one
    number.

    Parameters
    ----------
    in_size, out_size : int or sequence of int
        The shapes of one input and one output; they may differ in the last axis only.
    weight : initialiser, array, number or Quantity
        The weight at the start; a single number stays one.
    float_as_event : bool
        Whether a real number above 0 counts as 1; otherwise real numbers are multiplied as they
        are.
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
    >>> import brainunit as u
    >>> import jax.numpy as jnp
    >>> layer = brainir.nn.EventLinear(3, 2, 0.5 * u.mS)
    >>> layer(jnp.array([True, False, True]))
    Quantity([1. 1.], "mS")
    """

    def __init__(
        self,
        in_size: Size,
        out_size: Size,
        weight: Any,
        float_as_event: bool = True,
        name: str | None = None,
        param_type: type = ParamState,
    ):
        super().__init__(name)
        self.in_size = in_size
        self.out_size = out_size
        self.float_as_event = float_as_event
        self.weight = param_type(make_weight(weight, check_joined(self), fill=False))

    def update(self, spk: Any) -> Any:
        """Map events of shape ``(..., in_size[-1])`` to shape ``(..., out_size[-1])``."""
        outputs = known(self.out_size)[-1]
        is_real = jnp.issubdtype(jnp.asarray(u.get_mantissa(spk)).dtype, jnp.inexact)
        x = spk if is_real and not self.float_as_event else _events(spk)

        def joined(x: jax.Array, weight: jax.Array) -> jax.Array:
            if weight.ndim:
                return x @ weight
            total = jnp.sum(x, axis=-1, keepdims=True) * weight
            return jnp.broadcast_to(total, (*total.shape[:-1], outputs))

        return product(joined, x, self.weight.value)


class FixedNumConn(Module):
    """Sparse random connections: as many for each neuron of one side.

    Which ones is drawn once, with numpy's generator, and kept in ``indices``. The state ``weight``
    is a ``ParamState``: one number for all, or one for each connection, in the shape of
    ``indices``.

    Parameters
    ----------
    in_size, out_size : int or sequence of int
        The shapes of one input and one output.
    conn_num : int or float
        The number of connections of each neuron, or the probability of each connection: then their
        number is that share of the other side, rounded down.
    conn_weight : initialiser, array, number or Quantity
        The weights at the start.
    efferent_target : {"post", "pre"}
        Whether each input reaches so many outputs, or each output is reached by so many inputs.
    afferent_ratio : float
        The share of inputs that reach anything, each chosen at random; for "post" only.
    allow_multi_conn : bool
        Whether two neurons may be connected more than once.
    seed : int, optional
        Where the draw starts; by default ``brainir.random.seed`` has said that.
    name : str, optional
        A name for people to read.
    conn_init : {"vmap", "for_loop"}
        How connections without repetition are drawn: all at once, or neuron by neuron.
    param_type : type
        The kind of state.

    Raises
    ------
    ValueError
        If there are more connections without repetition than neurons, a number is out of its range,
        or a word is none of these. At a call, if the input does not end with `in_size`.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> layer = brainir.nn.FixedNumConn(100, 10, 3, conn_weight=0.5, seed=1)
    >>> layer.indices.shape, float(layer(jnp.ones(100)).sum())
    ((100, 3), 150.0)
    """

    _by_events = False

    def __init__(
        self,
        in_size: Size,
        out_size: Size,
        conn_num: float,
        conn_weight: Any,
        efferent_target: Literal["post", "pre"] = "post",
        afferent_ratio: float = 1.0,
        allow_multi_conn: bool = True,
        seed: int | None = None,
        name: str | None = None,
        conn_init: Literal["vmap", "for_loop"] = "vmap",
        param_type: type = ParamState,
    ):
        super().__init__(name)
        self.in_size = in_size
        self.out_size = out_size
        if efferent_target not in ("post", "pre"):
            raise ValueError(f"efferent_target must be 'post' or 'pre', not {efferent_target!r}")
        if conn_init not in ("vmap", "for_loop"):
            raise ValueError(f"conn_init must be 'vmap' or 'for_loop', not {conn_init!r}")
        if not 0 <= afferent_ratio <= 1 or (efferent_target == "pre" and afferent_ratio != 1):
            raise ValueError(
                f"afferent_ratio must be in [0, 1], and 1 if efferent_target is 'pre', not "
                f"{afferent_ratio}"
            )
        self.efferent_target = efferent_target
        self.allow_multi_conn = allow_multi_conn
        self.seed = seed
        inputs, outputs = math.prod(known(self.in_size)), math.prod(known(self.out_size))
        near, far = (inputs, outputs) if efferent_target == "post" else (outputs, inputs)
        self.conn_num = _as_number(conn_num, far, allow_multi_conn)
        generator = np.random if seed is None else np.random.RandomState(seed)
        if allow_multi_conn:
            indices = generator.randint(0, max(far, 1), (near, self.conn_num))
        else:
            indices = _distinct(near, far, self.conn_num, seed, conn_init == "vmap")
        rows = np.arange(near)
        if afferent_ratio < 1:
            rows = np.flatnonzero(generator.random(near) < afferent_ratio)
        self.rows = rows.astype(np.int32)
        kind, shape = FixedNumPerPost, (inputs, outputs)
        if efferent_target == "post":
            kind, shape = FixedNumPerPre, (len(rows), outputs)
        self._connected = kind((1.0, np.asarray(indices, np.int32)[rows]), shape=shape)
        self.weight = param_type(self._weights(conn_weight, near))

    @property
    def indices(self) -> Any:
        """The neurons of the other side that each is connected with, of shape ``(n, conn_num)``."""
        return self._connected.indices

    def _weights(self, initial: Any, near: int) -> Any:
        """Make the weights; an array may also be given for all neurons, the silent ones too."""
        shape, whole = self.indices.shape, (near, self.conn_num)
        if shape != whole and not callable(initial) and u.math.shape(initial) == whole:
            return make_weight(initial, whole)[self.rows]
        return make_weight(initial, shape, fill=False)

    def update(self, x: Any) -> Any:
        """Map `x`, of shape ``(..., *in_size)``, to shape ``(..., *out_size)``."""
        shape = u.math.shape(x)
        batch = shape[: len(shape) - len(known(self.in_size))]
        if shape[len(batch) :] != self.in_size:
            raise ValueError(
                f"{type(self).__name__} takes arrays of shape {self.in_size}, after any batch "
                f"axes, not {shape}"
            )
        flat = u.math.reshape(self._driven(x), (*batch, math.prod(known(self.in_size))))
        if self.efferent_target == "post" and len(self.rows) < flat.shape[-1]:
            flat = flat[..., self.rows]
        rows = u.math.reshape(flat, (math.prod(batch), flat.shape[-1])) if len(batch) > 1 else flat
        y = (BinaryArray(rows) if self._by_events else rows) @ self._matrix(self.weight.value)
        return u.math.reshape(y, (*batch, *known(self.out_size)))

    def _driven(self, x: Any) -> Any:
        """Return what the connections carry."""
        return x

    def _matrix(self, weight: Any) -> FixedNumPerPre | FixedNumPerPost:
        """Return the matrix of the connections with their weights."""
        if u.math.size(weight) != 1:
            weight = u.math.broadcast_to(weight, self.indices.shape)
        return self._connected.with_data(weight)


class EventFixedNumConn(FixedNumConn):
    """The connections of :class:`FixedNumConn`, driven by events; also called ``EventFixedProb``.

    Examples
    --------
    >>> import brainir
    >>> import brainunit as u
    >>> import jax.numpy as jnp
    >>> layer = brainir.nn.EventFixedNumConn(100, 10, 0.2, conn_weight=0.5 * u.mS, seed=1)
    >>> layer(jnp.arange(100) < 4).sum()
    Quantity(4., "mS")
    """

    _by_events = True

    def _driven(self, x: Any) -> Any:
        return _events(x)


EventFixedProb = EventFixedNumConn


def _as_number(conn_num: float, far: int, repeat: bool) -> int:
    """Return how many connections each neuron has."""
    if isinstance(conn_num, float):
        if not 0 <= conn_num <= 1:
            raise ValueError(f"a probability of connections must be in [0, 1], not {conn_num}")
        return int(conn_num * far)
    if conn_num < 0 or (conn_num > 0 and far == 0):
        raise ValueError(f"there cannot be {conn_num} connections to {far} neurons")
    if not repeat and conn_num > far:
        raise ValueError(
            f"a neuron cannot have {conn_num} connections to {far} others without repetition; "
            "allow_multi_conn=True allows repetition"
        )
    return conn_num


def _distinct(near: int, far: int, count: int, seed: int | None, at_once: bool) -> Any:
    """Draw, for each neuron, some different ones of the other side."""
    if not near or not count:
        return np.zeros((near, count))
    generator = random.DEFAULT if seed is None else random.RandomState(seed)
    if at_once:
        lanes = np.arange(near, dtype=np.int32)
        return vmap(lambda _: generator.choice(far, (count,), replace=False))(lanes)
    return np.stack([generator.choice(far, (count,), replace=False) for _ in range(near)])
