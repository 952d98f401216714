"""Delays: a history of past values in a ring buffer, and what reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from .. import environ
from ..state import DelayState, NonBatchState, State
from . import ring_buffer
from .collective import call_order
from .module import Module

__all__ = ["Delay", "DelayAccess", "StateWithDelay"]

INTERPOLATIONS = {
    None: "linear",
    "linear": "linear",
    "linear_interp": "linear",
    "nearest": "nearest",
    "round": "nearest",
}
"""How values between two steps are found, by all the names that it can be asked for."""


class Delay(Module):
    r"""The values of something in the past, kept in a ring buffer.

    Each `update` stores a value; ``retrieve_at_step(d)`` returns the value stored `d` updates ago,
    0 being the last one. Delays are registered under names, and ``at(name)`` reads them. The
    buffer is as long as the longest delay that is registered when `init_state` makes it.

    Parameters
    ----------
    target_info : pytree of arrays, Quantities or jax.ShapeDtypeStruct
        What one value looks like, without batch axes: shapes, dtypes and units.
    time : Quantity, number or None
        The longest delay, with the unit of ``environ.get_dt()``. Registered delays may be longer.
    init : number, array, Quantity, callable or None
        The values before the first update: what broadcasts to the whole history, with its batch
        axes or without them, or a function ``(shape, dtype=dtype)``. None is zero.
    entries : dict, optional
        Delays by name: a time, or a tuple of a time and indices; see :meth:`register_entry`.
    interpolation : {"linear", "nearest"}
        How :meth:`retrieve_at_time` finds values between two steps: on the line between the two
        values, or as the value of the nearer step. "linear_interp" and "round" are the same two.
    take_aware_unit : bool
        Where the unit is not known yet: a unit that updates have, but `target_info` does not, is
        remembered and given to what is read after.
    name : str, optional
        A name for people to read.

    Attributes
    ----------
    history : DelayState
        The buffer; see below.
    write_ptr : NonBatchState
        The slot that the next update writes, an integer of type ``environ.ditype()``.
    max_time, max_length
        The longest delay, and how many slots that takes: its steps, and one for the last value.

    Raises
    ------
    ValueError
        If `interpolation` is unknown, or a time is negative or has another dimension than ``dt``.

    Notes
    -----
    *Layout of the data.* ``history.value`` has the structure of one value. Each of its arrays has
    the shape ``(max_length, *batch, *shape)``, C order, so that one slot, which is one step of
    time, is one block of memory. With :math:`L` slots and the pointer :math:`p` (``0 <= p < L``),

    .. math:: \text{value } d \text{ updates ago} = \text{history}[(p - 1 - d) \bmod L],
       \quad 0 \le d < L.

    An update writes the slot :math:`p` in place, and nothing else, then sets :math:`p` to
    :math:`(p + 1) \bmod L`. All lanes of a batch share the pointer. Right after `init_state`
    :math:`p = 0`, and each slot holds a value of `init`; slot :math:`L - 1 - d` is the value `d`
    updates ago then.

    Examples
    --------
    >>> import brainir
    >>> import brainunit as u
    >>> import jax.numpy as jnp
    >>> with brainir.environ.context(dt=0.1 * u.ms):
    ...     delay = brainir.nn.Delay(jnp.zeros(2), entries={"slow": 0.3 * u.ms})
    ...     delay.init_state()
    ...     for i in range(5):
    ...         delay.update(jnp.full(2, float(i)))
    ...     print(delay.at("slow"), delay.retrieve_at_step(0))
    ...     with brainir.environ.context(t=0.4 * u.ms):  # the time of the last update
    ...         print(delay.retrieve_at_time(0.25 * u.ms))
    [1. 1.] [4. 4.]
    [2.5 2.5]
    """

    history: DelayState
    write_ptr: NonBatchState

    def __init__(
        self,
        target_info: Any,
        time: Any = None,
        init: Any = None,
        entries: Mapping[str, Any] | None = None,
        interpolation: str | None = None,
        take_aware_unit: bool = False,
        name: str | None = None,
    ):
        super().__init__(name)
        if interpolation not in INTERPOLATIONS:
            known = ", ".join(map(repr, filter(None, INTERPOLATIONS)))
            raise ValueError(f"interpolation must be one of {known}, not {interpolation!r}")
        self.interpolation = INTERPOLATIONS[interpolation]
        self.take_aware_unit = take_aware_unit
        self.target_info = jax.tree.map(ring_buffer.type_of, target_info)
        self.max_time: Any = None
        self.init = init
        self._unit: u.Unit | None = None
        self._entries: dict[str, tuple[Any, ...]] = {}
        if time is not None:
            self.register_delay(time)
        for entry, given in (entries or {}).items():
            self.register_entry(entry, *(given if isinstance(given, tuple) else (given,)))

    # --- which delays there are -------------------------------------------------------------------

    @property
    def max_length(self) -> int:
        """How many slots the longest delay takes: its steps of ``dt``, and one more."""
        return 1 if self.max_time is None else 1 + int(ring_buffer.whole_steps(self.max_time))

    def register_delay(self, *time_and_idx: Any) -> tuple[Any, ...] | None:
        """Make room for a delay; the first is None for none, a time, or a vector of times.

        Returns
        -------
        tuple or None
            The delay in whole steps, rounded up, and the indices.

        Raises
        ------
        ValueError
            If there is no time, or it is negative, is not a time, or has more than one axis.
        """
        if not time_and_idx:
            raise ValueError("a delay needs a time; give None for the value of the last update")
        time, *indices = time_and_idx
        if time is None:
            return None
        steps = ring_buffer.whole_steps(time)
        if steps.ndim > 1:
            raise ValueError(
                f"delays are one time or a vector of times, not of shape {steps.shape}"
            )
        longest = time[int(np.argmax(steps))] if steps.ndim and steps.size else time
        if steps.size and int(np.max(steps)) >= self.max_length:
            self.max_time = longest
        return steps, *indices

    def register_entry(self, entry: str, *time_and_idx: Any) -> Delay:
        """Give a delay a name.

        Parameters
        ----------
        entry : str
            The name.
        *time_and_idx
            A time, None for no delay, or a vector of times; then indices into one value. A vector
            of `n` times with the index ``jnp.arange(n)`` gives each element a delay of its own.

        Raises
        ------
        KeyError
            If the name is in use.
        ValueError
            As :meth:`register_delay` does.
        """
        if entry in self._entries:
            raise KeyError(
                f"the delay {entry!r} is registered as {self._entries[entry]}; use another name"
            )
        self.register_delay(*time_and_idx)
        self._entries[entry] = time_and_idx
        return self

    def access(self, entry: str, *time_and_idx: Any) -> DelayAccess:
        """Register a delay under a name, and return what reads it when it is called."""
        return DelayAccess(self, *time_and_idx, entry=entry)

    # --- the buffer -------------------------------------------------------------------------------

    def init_state(self, batch_size: int | None = None, **kwargs: Any) -> None:
        """Make the buffer, with an axis for the batch after that for the slots."""
        self.history = DelayState(self._first_history(batch_size))
        self.write_ptr = NonBatchState(jnp.zeros((), environ.ditype()), tag="INIT_NO_BATCHING")

    def reset_state(self, batch_size: int | None = None, **kwargs: Any) -> None:
        """Fill the buffer with its first values."""
        history = self._first_history(batch_size)
        self.write_ptr.value = jnp.zeros((), environ.ditype())
        self.history.value = history

    def _first_history(self, batch_size: int | None) -> Any:
        batch = () if batch_size is None else (batch_size,)
        length = self.max_length

        def first(info: Any) -> Any:
            unit = info.unit if isinstance(info, u.Quantity) else None
            kind: Any = u.get_mantissa(info)
            return ring_buffer.filled(self.init, (length, batch, kind.shape), kind.dtype, unit)

        return jax.tree.map(first, self.target_info, is_leaf=ring_buffer.is_quantity)

    def update(self, current: Any) -> None:
        """Store a value as that of now; all others become one step older.

        Raises
        ------
        ValueError
            If it has another structure or shape than one value of this delay, or another unit.
        """
        history, pointer = self.history.value, self.write_ptr.value
        if (
            self.take_aware_unit
            and ring_buffer.is_quantity(current)
            and not ring_buffer.is_quantity(self.target_info)
        ):
            self._unit = current.unit
            current = current.mantissa
        stored = jax.tree.leaves(history, is_leaf=ring_buffer.is_quantity)
        given, structure = jax.tree.flatten(current, is_leaf=ring_buffer.is_quantity)
        if structure != jax.tree.structure(history, is_leaf=ring_buffer.is_quantity):
            raise ValueError(
                f"a delay of {jax.tree.structure(self.target_info)} was given {structure}"
            )
        written = [ring_buffer.write(*pair, pointer) for pair in zip(stored, given, strict=True)]
        slots = jax.tree.leaves(history)[0].shape[0] if stored else 1
        self.history.value = jax.tree.unflatten(structure, written)
        self.write_ptr.value = jax.lax.rem(pointer + 1, jnp.asarray(slots, pointer.dtype))

    def _without_unit(self, current: Any) -> Any:
        """Remember the unit of a value, for what is read later, and return the rest."""
        if self._unit is None and ring_buffer.is_quantity(current):
            self._unit = current.unit
        return current if self._unit is None else u.Quantity(current).to_decimal(self._unit)

    # --- reading ----------------------------------------------------------------------------------

    def at(self, entry: str) -> Any:
        """Return the value that is as old as the delay of that name says.

        Raises
        ------
        KeyError
            If there is no delay of that name.
        ValueError
            If the buffer was made before a delay of that length was registered.
        """
        if entry not in self._entries:
            known = ", ".join(map(repr, self._entries)) or "none"
            raise KeyError(f"there is no delay {entry!r}; there are: {known}")
        return self.after(*self._entries[entry])

    def after(self, time: Any, *indices: Any) -> Any:
        """Return the value of some time ago, in whole steps, rounded up; None is the last one."""
        return self.retrieve_at_step(0 if time is None else ring_buffer.whole_steps(time), *indices)

    def retrieve_at_step(self, delay_step: Any, *indices: Any) -> Any:
        """Return the value of so many updates ago.

        Parameters
        ----------
        delay_step : int or array of int
            0 is the last update. For a vector, and without indices, the result has an axis for it
            in front.
        *indices
            Integers, arrays or slices into one value, as in ``value[indices]``. With an array of
            steps they are matched element by element.

        Returns
        -------
        pytree
            With batch axes, where there are any, before the others.

        Raises
        ------
        ValueError
            If a step, known as a number, is negative or older than the buffer; others are taken
            for the oldest one or the newest.
        TypeError
            If a step is not an integer.
        """
        step = jnp.asarray(delay_step)
        if not jnp.issubdtype(step.dtype, jnp.integer):
            raise TypeError(f"delay_step is a number of steps, an integer, not {delay_step!r}")
        slots = self._slots()
        ring_buffer.check_range(delay_step, slots)
        return self._with_unit(self._read(self.history.value, step, indices))

    def retrieve_at_time(self, delay_time: Any, *indices: Any) -> Any:
        """Return the value at a time, between steps as `interpolation` says.

        Parameters
        ----------
        delay_time : Quantity or number, perhaps a vector
            The time, not the delay: the last update was at the time ``environ.get("t")``. May be
            traced; with linear interpolation a gradient by it goes through.
        *indices
            As in :meth:`retrieve_at_step`.

        Raises
        ------
        KeyError
            If ``t`` or ``dt`` is not set in the environment.
        ValueError
            If the time, known as a number, is later than ``t`` or earlier than what is kept.
        """
        now = environ.get("t", desc="the time of the last update")
        age = jnp.asarray(ring_buffer.in_steps(now - delay_time))
        age = age if jnp.issubdtype(age.dtype, jnp.floating) else age.astype(environ.dftype())
        slots = self._slots()
        ring_buffer.check_range(age, slots)
        age = jnp.clip(age, 0, slots - 1)
        history, integer = self.history.value, environ.ditype()
        if self.interpolation == "nearest":
            nearest = jnp.round(age).astype(integer)
            return self._with_unit(self._read(history, nearest, indices))
        below = jnp.floor(jax.lax.stop_gradient(age))
        step = below.astype(integer)
        newer, structure = jax.tree.flatten(self._read(history, step, indices))
        older = jax.tree.leaves(self._read(history, jnp.minimum(step + 1, slots - 1), indices))
        kinds = jax.tree.leaves(self.target_info)
        taken = sum(not isinstance(index, slice) for index in indices)
        blend = []
        for one, other, kind in zip(newer, older, kinds, strict=True):
            behind = len(kind.shape) - taken if indices else one.ndim - age.ndim
            weight = jnp.reshape(age - below, (*age.shape, *[1] * behind))
            blend.append(ring_buffer.between(one, other, weight))
        return self._with_unit(jax.tree.unflatten(structure, blend))

    def _slots(self) -> int:
        leaves = jax.tree.leaves(self.history.value)
        return leaves[0].shape[0] if leaves else self.max_length

    def _with_unit(self, value: Any) -> Any:
        return value if self._unit is None else u.Quantity(value, unit=self._unit)

    def _read(self, history: Any, step: jax.Array, indices: tuple[Any, ...]) -> Any:
        pointer = self.write_ptr.value
        shapes = [leaf.shape for leaf in jax.tree.leaves(self.target_info)]
        leaves, structure = jax.tree.flatten(history)
        slots = leaves[0].shape[0] if leaves else 1
        step = jnp.clip(step, 0, slots - 1).astype(pointer.dtype)
        slot = jax.lax.rem(pointer + (slots - 1) - step, jnp.full_like(step, slots))
        values = [
            ring_buffer.read(leaf, slot, indices, leaf.ndim - 1 - len(shape))
            for leaf, shape in zip(leaves, shapes, strict=True)
        ]
        return jax.tree.unflatten(structure, values)


class DelayAccess(Module):
    """Reads a delay that is registered under a name, when it is called.

    Examples
    --------
    >>> import brainir
    >>> import brainunit as u
    >>> import jax.numpy as jnp
    >>> with brainir.environ.context(dt=0.1 * u.ms):
    ...     delay = brainir.nn.Delay(jnp.zeros(1))
    ...     read = delay.access("slow", 0.2 * u.ms)
    ...     delay.init_state()
    ...     for i in range(4):
    ...         delay.update(jnp.full(1, float(i)))
    ...     print(read())
    [1.]
    """

    def __init__(self, delay: Delay, *time_and_idx: Any, entry: str):
        super().__init__()
        self.delay = delay
        self.entry = entry
        delay.register_entry(entry, *time_and_idx)

    def update(self) -> Any:
        """Return the value."""
        return self.delay.at(self.entry)


class StateWithDelay(Delay):
    """The past of a State that a module has; `update` takes its present value.

    Parameters
    ----------
    target : Module
        The module.
    item : str
        The name of the attribute that is a State, perhaps only after ``init_state``.
    init, interpolation
        As for :class:`Delay`.

    Examples
    --------
    >>> import brainir
    >>> import brainunit as u
    >>> neuron = brainir.nn.LIF(1)
    >>> with brainir.environ.context(dt=0.1 * u.ms):
    ...     past = brainir.nn.StateWithDelay(neuron, "V")
    ...     past.register_entry("slow", 0.2 * u.ms)
    ...     _ = brainir.nn.init_all_states([neuron, past])
    StateWithDelay(...)
    >>> past.history.value.shape
    (3, 1)
    """

    _not_receive_update_output = True  # as an after-update, it looks at the State instead
    _batch: int | None = None

    def __init__(
        self, target: Module, item: str, init: Any = None, interpolation: str | None = None
    ):
        super().__init__((), init=init, interpolation=interpolation)
        self.target = target
        self.target_term = item

    @property
    def state(self) -> State:
        """The State.

        Raises
        ------
        AttributeError
            If the module has no such attribute, or it is not a State.
        """
        found = getattr(self.target, self.target_term)
        if not isinstance(found, State):
            raise AttributeError(
                f"only a State has a past, and {type(self.target).__name__}.{self.target_term} is "
                f"a {type(found).__name__}"
            )
        return found

    @call_order(3)
    def init_state(self, batch_size: int | None = None, **kwargs: Any) -> None:
        """Make the buffer, after the State was made; the State says whether it has a batch."""
        self._look_at_state(batch_size)
        super().init_state(self._batch)

    @call_order(3)
    def reset_state(self, batch_size: int | None = None, **kwargs: Any) -> None:
        """Fill the buffer with its first values."""
        self._look_at_state(batch_size)
        super().reset_state(self._batch)

    def _look_at_state(self, batch_size: int | None) -> None:
        types = jax.tree.map(ring_buffer.type_of, self.state.value)
        shapes = [leaf.shape for leaf in jax.tree.leaves(types)]
        in_front = batch_size is not None and all(s[:1] == (batch_size,) for s in shapes)
        self._batch = batch_size if in_front else None
        self.target_info = jax.tree.map(
            lambda kind: jax.ShapeDtypeStruct(kind.shape[1 if in_front else 0 :], kind.dtype), types
        )

    def update(self, current: Any = None) -> None:
        """Store the present value of the State, whatever is given."""
        super().update(self.state.value)
