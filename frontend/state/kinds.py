"""The kinds of States. A kind is a name to select by; the machinery is the same for all.

What stands in ``__all__`` is offered by this room, by the frontend and by ``brainir``.
"""

from __future__ import annotations

from typing import Any

import brainunit
import jax
import numpy as np

from .state import State, T

__all__ = [
    "BatchState",
    "DelayState",
    "HiddenState",
    "LongTermState",
    "NonBatchState",
    "ParamState",
    "ShortTermState",
]


class ShortTermState(State[T]):
    """A State that one run of a simulation uses up, such as a membrane potential."""

    kind = "short"


class LongTermState(State[T]):
    """A State that outlives a run, such as a running mean."""

    kind = "long"


class HiddenState(ShortTermState[T]):
    """The hidden state of a dynamical model: one array or Quantity.

    Raises
    ------
    TypeError
        If the initial value is not an array or Quantity.
    """

    kind = "hidden"

    def __init__(self, value: T, name: str | None = None, **metadata: Any) -> None:
        held = value.peek() if isinstance(value, State) else value
        if not isinstance(held, (np.ndarray, jax.Array, brainunit.Quantity)):
            raise TypeError(
                "a HiddenState holds an array or a Quantity, not "
                f"{type(value).__name__}; for {value!r} use jax.numpy.asarray, or a plain State"
            )
        super().__init__(value, name, **metadata)

    @property
    def varshape(self) -> tuple[int, ...]:
        """The shape of the value."""
        value: Any = self.value
        return tuple(value.shape)


class ParamState(LongTermState[T]):
    """A trainable parameter."""

    kind = "param"


class BatchState(LongTermState[T]):
    """A State that holds a batch of data."""

    kind = "batch"


class DelayState(ShortTermState[T]):
    """The history that a delay keeps."""

    kind = "delay"


class NonBatchState(ShortTermState[T]):
    """A State that is the same for every lane of a batch."""

    kind = "nonbatch"
