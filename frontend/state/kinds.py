"""The kinds of States. A kind is a name to select by; the machinery is the same for all.

What stands in ``__all__`` is offered by this room, by the frontend and by ``brainir``.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import brainunit
import jax
import jax.numpy as jnp
import numpy as np

from ..capture import Cell
from .state import State, T

__all__ = [
    "BatchState",
    "DelayState",
    "FakeState",
    "HiddenGroupState",
    "HiddenState",
    "HiddenTreeState",
    "LongTermState",
    "NonBatchState",
    "ParamState",
    "ShortTermState",
]


ARRAYS = (np.ndarray, jax.Array, brainunit.Quantity)


class ShortTermState(State[T]):
    """A State that one run of a simulation uses up, such as a membrane potential.

    Parameters
    ----------
    value : pytree of arrays or Quantities
        What it holds at first.
    name, **metadata
        As for every `State`.

    Examples
    --------
    >>> import brainir
    >>> import brainunit as u
    >>> import jax.numpy as jnp
    >>> class Neuron(brainir.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.V = brainir.ShortTermState(jnp.zeros(2) * u.mV)
    ...         self.mean_rate = brainir.LongTermState(jnp.zeros(2))
    >>> list(Neuron().states(brainir.ShortTermState).keys())
    [('V',)]
    """

    kind = "short"


class LongTermState(State[T]):
    """A State that outlives a run, such as a running mean.

    Parameters
    ----------
    value : pytree of arrays or Quantities
        What it holds at first.
    name, **metadata
        As for every `State`.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> rate = brainir.LongTermState(jnp.zeros(()))
    >>> def step(spike):
    ...     rate.value = 0.5 * rate.value + 0.5 * spike
    >>> brainir.transform.for_loop(step, jnp.array([1.0, 0.0, 1.0]))
    >>> rate.value
    Array(0.625, dtype=float32)
    """

    kind = "long"


class HiddenState(ShortTermState[T]):
    """The hidden state of a dynamical model: one array or Quantity.

    Parameters
    ----------
    value : array or Quantity, any shape
        What it holds at first.
    name, **metadata
        As for every `State`.

    Raises
    ------
    TypeError
        If the initial value is not an array or Quantity.

    Examples
    --------
    >>> import brainir
    >>> import brainunit as u
    >>> import jax.numpy as jnp
    >>> V = brainir.HiddenState(jnp.full(3, -65.0) * u.mV, name="V")
    >>> V.varshape, V.num_state
    ((3,), 1)
    >>> brainir.HiddenState(-65.0)
    Traceback (most recent call last):
        ...
    TypeError: a HiddenState holds an array or a Quantity, not float; for ...
    """

    kind = "hidden"

    def __init__(self, value: T, name: str | None = None, **metadata: Any) -> None:
        held = value.peek() if isinstance(value, Cell) else value
        if not isinstance(held, ARRAYS):
            raise TypeError(
                f"a {type(self).__name__} holds an array or a Quantity, not "
                f"{type(value).__name__}; for {value!r} use jax.numpy.asarray, or a plain State"
            )
        super().__init__(value, name, **metadata)

    @property
    def varshape(self) -> tuple[int, ...]:
        """The shape of the value."""
        value: Any = self.value
        return tuple(value.shape)

    @property
    def num_state(self) -> int:
        """How many variables it holds."""
        return 1


class HiddenGroupState(HiddenState[T]):
    """Several hidden variables of one shape and unit in one array, along its last axis.

    Parameters
    ----------
    value : array or Quantity, shape (..., n)
        The `n` variables; the whole array is the value of the State.
    name, **metadata
        As for every `State`.

    Attributes
    ----------
    name2index : dict of str to int
        Where on the last axis each variable stands; their names are ``"0"``, ``"1"``, ...

    Raises
    ------
    TypeError
        If `value` is not an array or a Quantity.
    ValueError
        If it has fewer than two axes.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> group = brainir.HiddenGroupState(jnp.zeros((3, 2)))
    >>> group.set_value({"1": jnp.ones(3)})
    >>> float(group.get_value(1).sum()), group.varshape, group.num_state
    (3.0, (3,), 2)
    """

    name2index: dict[str, int]

    def __init__(self, value: T, name: str | None = None, **metadata: Any) -> None:
        super().__init__(value, name, **metadata)
        shape = super().varshape
        if len(shape) < 2:
            raise ValueError(
                "a HiddenGroupState needs an axis for its variables behind the axes of each, "
                f"but the shape is {shape}"
            )
        self.name2index = {str(i): i for i in range(shape[-1])}

    @property
    def varshape(self) -> tuple[int, ...]:
        """The shape of each variable."""
        return super().varshape[:-1]

    @property
    def num_state(self) -> int:
        """How many variables there are."""
        return super().varshape[-1]

    def get_value(self, item: int | str) -> Any:
        """Return one variable, by its number or name.

        Raises
        ------
        IndexError, KeyError, TypeError
            If there is no such number or name, or `item` is neither.
        """
        value: Any = self.value
        return value[..., self._index(item)]

    def set_value(self, val: Mapping[int | str, Any] | Sequence[Any]) -> None:
        """Give some of the variables new values; units are converted.

        Parameters
        ----------
        val : mapping or sequence
            Values by number or name, or for the first variables in their order.

        Raises
        ------
        TypeError
            If `val` is neither, or a key is neither a number nor a name.
        KeyError
            If there is no variable of a name.
        ValueError
            If there is none of a number, a value has another shape, or nothing is given.
        """
        value: Any = self.value
        unit = brainunit.get_unit(value)
        array = jnp.asarray(brainunit.get_mantissa(value))
        for index, new in self._places(val):
            new = jnp.asarray(self._in_unit(index, new)).astype(array.dtype)
            array = array.at[..., index].set(new)
        with_unit: Any = brainunit.Quantity(array, unit=unit)
        self.value = with_unit if isinstance(value, brainunit.Quantity) else array  # pyright: ignore

    def _in_unit(self, index: int, new: Any) -> Any:
        """Return the numbers of a new value, in the unit in which the variable is held."""
        return _numbers_in(brainunit.get_unit(self.value), new)

    def _index(self, item: int | str) -> int:
        if isinstance(item, str):
            if item not in self.name2index:
                raise KeyError(
                    f"{self.describe()} has no variable {item!r}; "
                    f"it has {', '.join(self.name2index)}"
                )
            return self.name2index[item]
        if isinstance(item, bool) or not isinstance(item, int | np.integer):
            raise TypeError(
                "a variable is named by a number or a string, "
                f"not by {item!r} of type {type(item).__name__}"
            )
        index, count = operator.index(item), self.num_state
        if not -count <= index < count:
            raise IndexError(f"{self.describe()} has {count} variables, and none numbered {index}")
        return index % count

    def _places(self, val: Mapping[int | str, Any] | Sequence[Any]) -> list[tuple[int, Any]]:
        if isinstance(val, list | tuple):
            val = dict(enumerate(val))
        if not isinstance(val, Mapping):
            raise TypeError(
                f"new values come in a dictionary, list or tuple, not {type(val).__name__}"
            )
        if not val:
            raise ValueError(f"{self.describe()} is given no variable")
        places: list[tuple[int, Any]] = []
        for item, new in val.items():
            try:
                index = self._index(item)
            except IndexError as error:
                raise ValueError(str(error)) from None
            if np.shape(brainunit.get_mantissa(new)) != self.varshape:
                raise ValueError(
                    f"variable {item!r} of {self.describe()} has the shape {self.varshape}, "
                    f"not {np.shape(brainunit.get_mantissa(new))}"
                )
            places.append((index, new))
        return places


class HiddenTreeState(HiddenGroupState[T]):
    """Several hidden variables of one shape in one array of numbers, each with a unit of its own.

    The value of the State is that array; :meth:`get_value` and :meth:`set_value` add and convert
    the units.

    Parameters
    ----------
    value : dict or sequence of array or Quantity
        The variables, all of one shape; those of a sequence are named ``"0"``, ``"1"``, ...
    name, **metadata
        As for every `State`.

    Attributes
    ----------
    name2index, index2name : dict
        Where on the last axis of the value each variable stands.
    name2unit, index2unit : dict
        The unit of each variable.

    Raises
    ------
    TypeError
        If `value` is neither a dictionary nor a sequence, or one of the variables no array.
    ValueError
        If there are none, or they differ in shape.

    Examples
    --------
    >>> import brainir
    >>> import brainunit as u
    >>> import jax.numpy as jnp
    >>> cell = brainir.HiddenTreeState({"V": jnp.zeros(2) * u.mV, "w": jnp.ones(2)})
    >>> cell.set_value({"V": jnp.full(2, 0.001) * u.volt})
    >>> cell.get_value("V"), cell.value.shape
    (Quantity([1. 1.], "mV"), (2, 2))
    """

    def __init__(self, value: Any, name: str | None = None, **metadata: Any) -> None:
        if isinstance(value, list | tuple):
            value = {str(i): part for i, part in enumerate(value)}
        self._check(value)
        units = [brainunit.get_unit(part) for part in value.values()]
        numbers = [jnp.asarray(brainunit.get_mantissa(part)) for part in value.values()]
        # Not HiddenGroupState's own, which makes names of its own.
        ShortTermState.__init__(self, jnp.stack(numbers, axis=-1), name, **metadata)  # pyright: ignore
        self.name2unit = dict(zip(value, units, strict=True))
        self.name2index = {key: i for i, key in enumerate(value)}
        self.index2unit = dict(enumerate(units))
        self.index2name = dict(enumerate(value))

    @staticmethod
    def _check(value: Any) -> None:
        if not isinstance(value, Mapping):
            raise TypeError(
                "a HiddenTreeState is made of a dictionary, list or tuple of arrays, "
                f"not {type(value).__name__}"
            )
        if not value:
            raise ValueError("a HiddenTreeState holds at least one variable")
        for key, part in value.items():
            if not isinstance(part, ARRAYS):
                raise TypeError(
                    f"variable {key!r} is an array or a Quantity, not {type(part).__name__}"
                )
        shapes = {key: part.shape for key, part in value.items()}
        if len(set(shapes.values())) > 1:
            raise ValueError(f"the variables have one shape, but these are {shapes}")

    def get_value(self, item: int | str) -> Any:
        """Return one variable, by its number or name, in its unit."""
        unit = self.index2unit[self._index(item)]
        numbers = super().get_value(item)
        return numbers if unit == brainunit.UNITLESS else brainunit.Quantity(numbers, unit=unit)

    def _in_unit(self, index: int, new: Any) -> Any:
        return _numbers_in(self.index2unit[index], new)


def _numbers_in(unit: Any, new: Any) -> Any:
    quantity = new if isinstance(new, brainunit.Quantity) else brainunit.Quantity(new)
    return quantity.to(unit).mantissa


class FakeState:
    """A holder of a value where a State is expected but none is wanted: nothing follows it.

    Parameters
    ----------
    value : any
        What it holds.
    name : str, optional
        A name for people to read.
    **metadata
        Kept as attributes.

    Examples
    --------
    >>> import brainir
    >>> fixed = brainir.FakeState(1.0, name="gain")
    >>> fixed.value, isinstance(fixed, brainir.State)
    (1.0, False)
    """

    def __init__(self, value: Any, name: str | None = None, **metadata: Any) -> None:
        self.value, self.name = value, name
        for key, item in metadata.items():
            setattr(self, key, item)

    def __repr__(self) -> str:
        return f"FakeState(value={self.value!r}, name={self.name!r})"


class ParamState(LongTermState[T]):
    """A trainable parameter.

    Parameters
    ----------
    value : pytree of arrays or Quantities
        What it holds at first.
    name, **metadata
        As for every `State`.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> weight = brainir.ParamState(jnp.array([1.0, -2.0]), name="weight")
    >>> gradients = brainir.transform.grad(lambda: (weight.value**2).sum(), {"w": weight})()
    >>> gradients["w"]
    Array([ 2., -4.], dtype=float32)
    """

    kind = "param"


class BatchState(LongTermState[T]):
    """A State that holds a batch of data.

    Parameters
    ----------
    value : pytree of arrays or Quantities
        What it holds at first.
    name, **metadata
        As for every `State`.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> images = brainir.BatchState(jnp.zeros((2, 3)), name="images")
    >>> mean = brainir.transform.jit(lambda: images.value.mean(axis=1))
    >>> images.value = jnp.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    >>> mean()
    Array([2., 5.], dtype=float32)
    """

    kind = "batch"


class DelayState(ShortTermState[T]):
    """The history that a delay keeps.

    Parameters
    ----------
    value : pytree of arrays or Quantities
        What it holds at first.
    name, **metadata
        As for every `State`.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> line = brainir.DelayState(jnp.zeros(3), name="line")
    >>> def step(x):
    ...     oldest, line.value = line.value[-1], jnp.roll(line.value, 1).at[0].set(x)
    ...     return oldest
    >>> brainir.transform.for_loop(step, jnp.arange(1.0, 6.0))
    Array([0., 0., 0., 1., 2.], dtype=float32)
    """

    kind = "delay"


class NonBatchState(ShortTermState[T]):
    """A State that is the same for every lane of a batch.

    Parameters
    ----------
    value : pytree of arrays or Quantities
        What it holds at first.
    name, **metadata
        As for every `State`.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> class Cell(brainir.nn.Module):
    ...     def init_state(self):
    ...         self.V = brainir.HiddenState(jnp.zeros(2))
    ...         self.time = brainir.NonBatchState(jnp.zeros(()))
    >>> cell = Cell()
    >>> _ = brainir.transform.vmap_new_states(cell.init_state, axis_size=8)()
    >>> cell.V.value.shape, cell.time.value.shape
    ((8, 2), ())
    """

    kind = "nonbatch"
