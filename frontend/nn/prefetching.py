"""References to what a module has, or had some time ago, that can be made before it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax

from .. import environ
from ..state import maybe_state
from .delays import Delay, StateWithDelay
from .module import Module

if TYPE_CHECKING:
    from .dynamics import Dynamics

__all__ = [
    "OutputDelayAt",
    "Prefetch",
    "PrefetchDelay",
    "PrefetchDelayAt",
    "init_maybe_prefetch",
]


class Prefetch(Module):
    """A reference to an attribute of a module; a call gives its value.

    Parameters
    ----------
    module : Module
        The module.
    item : str
        The name of the attribute, which need not be there yet.

    Examples
    --------
    >>> import brainir
    >>> neuron = brainir.nn.LIF(2)
    >>> potential = neuron.prefetch("V")
    >>> _ = brainir.nn.init_all_states(neuron)
    >>> potential()
    Quantity([0. 0.], "mV")
    """

    def __init__(self, module: Module, item: str):
        super().__init__()
        self.module = module
        self.item = item

    @property
    def delay(self) -> PrefetchDelay:
        """The past of the attribute: ``.delay.at(time)`` is what it was then."""
        return PrefetchDelay(self.module, self.item)

    def get_item(self) -> Any:
        """Return the attribute: for a State, the State."""
        return getattr(self.module, self.item)

    def get_item_value(self) -> Any:
        """Return the attribute: for a State, its value."""
        return maybe_state(self.get_item())

    def update(self) -> Any:
        """Return the attribute: for a State, its value."""
        return self.get_item_value()


class PrefetchDelay(Module):
    """The past of a State of a module: ``at(time)`` refers to what it was then.

    Examples
    --------
    >>> import brainir
    >>> import brainunit as u
    >>> import jax.numpy as jnp
    >>> from brainir import environ, nn
    >>> class Neuron(nn.Dynamics):
    ...     def init_state(self):
    ...         self.v = brainir.HiddenState(jnp.zeros(1))
    ...     def update(self, x):
    ...         self.v.value = x
    >>> with environ.context(dt=0.1 * u.ms):
    ...     neuron = Neuron(1)
    ...     before = neuron.prefetch("v").delay.at(0.2 * u.ms)
    ...     _ = nn.init_all_states([neuron, before])
    ...     for i in range(4):
    ...         with environ.context(i=i, t=i * 0.1 * u.ms):
    ...             past = before()
    ...             _ = neuron(jnp.array([i + 1.0]))
    >>> past.tolist()
    [1.0]
    """

    def __init__(self, module: Any, item: str):
        super().__init__()
        self.module = module
        self.item = item

    def at(self, *delay_time: Any) -> PrefetchDelayAt:
        """Return a reference to the value of some time ago; see :class:`PrefetchDelayAt`."""
        return PrefetchDelayAt(self.module, self.item, delay_time)


class PrefetchDelayAt(Module):
    """A reference to what a State of a module was some time ago; a call gives it.

    The module keeps the past of the State from its next ``init_state`` on: as an after-update, so
    that the last value is that after the last call of the module. All references to one State read
    one buffer.

    Parameters
    ----------
    module : Dynamics
        The module.
    item : str
        The name of the State, which need not be there yet.
    time : Quantity, number, tuple or None
        How long ago, or a tuple of that and indices: see :meth:`Delay.register_entry`.
    init, interpolation
        As for :class:`Delay`.

    Raises
    ------
    ValueError
        If the time is not one, or another `init` was given for the same State before.

    Examples
    --------
    >>> import brainir
    >>> import brainunit as u
    >>> import jax.numpy as jnp
    >>> class Counter(brainir.nn.Dynamics):
    ...     def init_state(self):
    ...         self.count = brainir.ShortTermState(jnp.zeros(self.varshape))
    ...     def update(self):
    ...         self.count.value += 1.0
    >>> counter = Counter(1)
    >>> with brainir.environ.context(dt=0.1 * u.ms):
    ...     past = counter.prefetch_delay("count", 0.2 * u.ms)
    ...     _ = brainir.nn.init_all_states(counter)
    ...     for _ in range(5):
    ...         counter()
    ...     print(past())
    [3.]
    """

    def __init__(
        self,
        module: Dynamics,
        item: str,
        time: Any = None,
        init: Any = None,
        interpolation: str | None = None,
    ):
        super().__init__()
        self.module = module
        self.item = item
        self.delay_time = time if isinstance(time, tuple) else (time,)
        key = f"{item}-prefetch-delay"
        if not module.has_after_update(key):
            past = StateWithDelay(module, item, init=init, interpolation=interpolation)
            past.register_delay(*self.delay_time)
            module.add_after_update(key, past)
        self.state_delay = _registered(module, key, self.delay_time, init)

    def update(self) -> Any:
        """Return the value."""
        return self.state_delay.after(*self.delay_time)


class OutputDelayAt(Module):
    """A reference to what a module returned some time ago; a call gives it.

    One output has the shape ``module.out_size``; where it has a unit, that is known, and given to
    what is read, after the first call of the module.

    Parameters
    ----------
    module : Dynamics
        The module.
    time, init, interpolation
        As for :class:`PrefetchDelayAt`.

    Examples
    --------
    >>> import brainunit as u
    >>> import jax.numpy as jnp
    >>> from brainir import environ, nn
    >>> class Neuron(nn.Dynamics):
    ...     def update(self, x):
    ...         return 2 * x
    >>> with environ.context(dt=0.1 * u.ms):
    ...     neuron = Neuron(1)
    ...     before = neuron.output_delay(0.2 * u.ms)
    ...     _ = nn.init_all_states([neuron, before])
    ...     for i in range(4):
    ...         with environ.context(i=i, t=i * 0.1 * u.ms):
    ...             past = before()
    ...             _ = neuron(jnp.array([i + 1.0]))
    >>> past.tolist()
    [2.0]
    """

    def __init__(
        self, module: Dynamics, time: Any = None, init: Any = None, interpolation: str | None = None
    ):
        super().__init__()
        self.module = module
        self.delay_time = time if isinstance(time, tuple) else (time,)
        key = "output-delay"
        if not module.has_after_update(key):
            output = jax.ShapeDtypeStruct(module.out_size or (), environ.dftype())
            past = Delay(output, init=init, interpolation=interpolation, take_aware_unit=True)
            past.register_delay(*self.delay_time)
            module.add_after_update(key, past)
        self.out_delay = _registered(module, key, self.delay_time, init)

    def update(self) -> Any:
        """Return the output."""
        return self.out_delay.after(*self.delay_time)


def _registered(module: Dynamics, key: str, delay_time: tuple[Any, ...], init: Any) -> Delay:
    """Return the delay that a module keeps under a key, with room for one more time."""
    past: Any = module.get_after_update(key)
    if init is not None and init is not past.init:
        raise ValueError(
            f"{type(module).__name__} keeps that past already, with init={past.init!r}, so "
            f"init={init!r} would not be used; give it where the first reference is made"
        )
    past.register_delay(*delay_time)
    return past


def init_maybe_prefetch(target: Any, *args: Any, **kwargs: Any) -> None:
    """Check that what a :class:`Prefetch` refers to is there; leave anything else alone.

    Raises
    ------
    AttributeError
        If the module does not have the attribute.

    Examples
    --------
    >>> from brainir import nn
    >>> reference = nn.Dynamics(1).prefetch("V")
    >>> nn.init_maybe_prefetch(reference)
    Traceback (most recent call last):
        ...
    AttributeError: 'Dynamics' object has no attribute 'V'
    """
    if isinstance(target, Prefetch):
        target.get_item()
