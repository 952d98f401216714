"""Initialisers that are made of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import brainunit as u
import jax.numpy as jnp
import numpy as np

from .. import environ
from ..random import DEFAULT
from ..random.parameters import PROBABILITY, check
from ..typing import ArrayLike
from .base import Composite, Initialization, made, to_size
from .profiles import DistanceProfile

__all__ = ["Compose", "Conditional", "DistanceModulated", "Mixture", "Scaled"]


@dataclass(frozen=True, eq=False, repr=False)
class Scaled(Composite):
    """What another initialiser makes, times a factor, which may have a unit.

    Examples
    --------
    >>> import brainunit as u
    >>> from brainir.init import Constant, Scaled
    >>> Scaled(Constant(2.0), 3.0 * u.nS)((2,))
    Quantity([6. 6.], "nS")
    """

    base_dist: Initialization
    scale_factor: ArrayLike

    def _make(self, size, options):
        return made(self.base_dist, size, options) * self.scale_factor


class Compose(Composite):
    """What an initialiser makes, mapped by one function after the other.

    Raises
    ------
    ValueError
        If there is none at all.
    TypeError
        If the first is no initialiser, or a later one no function.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir.init import Compose, Constant
    >>> Compose(Constant(4.0), jnp.sqrt, lambda x: x + 1)((2,)).tolist()
    [3.0, 3.0]
    """

    def __init__(self, *inits: Initialization | Callable[[Any], Any]):
        if not inits:
            raise ValueError("Compose needs an initialiser, got nothing")
        first, *functions = inits
        if not isinstance(first, Initialization):
            raise TypeError(f"the first part of Compose must be an initialiser, got {first!r}")
        for function in functions:
            if isinstance(function, Initialization) or not callable(function):
                raise TypeError(
                    f"the later parts of Compose must map values to values, got {function!r}"
                )
        self.inits = inits

    def _parts(self):
        return self.inits

    def _make(self, size, options):
        first, *functions = self.inits
        value = made(first, size, options)
        for function in functions:
            value = function(value)  # pyright: ignore[reportCallIssue]
        return value

    def __repr__(self) -> str:
        return f"Compose({', '.join(map(str, self.inits))})"


@dataclass(frozen=True, eq=False, repr=False)
class Conditional(Composite):
    """One initialiser where a condition on the index of the neuron holds, another one elsewhere.

    The condition gets an array of indices, which run along the last axis of the size unless
    ``neuron_indices=`` gives others in the call, and returns an array of bools of its shape.

    Examples
    --------
    >>> from brainir.init import Conditional, Constant
    >>> Conditional(lambda i: i < 2, Constant(1.0), Constant(-4.0))((3,)).tolist()
    [1.0, 1.0, -4.0]
    """

    condition_fn: Callable[[Any], Any]
    true_dist: Initialization
    false_dist: Initialization

    @property
    def uses(self) -> frozenset[str]:
        """What the parts use, and the indices of the neurons."""
        return super().uses | {"neuron_indices"}

    def _make(self, size, options):
        size = to_size(size)
        indices = options.get("neuron_indices")
        if indices is None:
            indices = np.arange(size[-1] if size else 1).reshape(size[-1:])
        holds = jnp.broadcast_to(jnp.asarray(self.condition_fn(indices), bool), size)
        yes, no = made(self.true_dist, size, options), made(self.false_dist, size, options)
        return u.math.where(holds, yes, no)


@dataclass(frozen=True, eq=False, repr=False)
class Mixture(Composite):
    """Each element from one of several initialisers, which is drawn with given probabilities.

    Parameters
    ----------
    distributions : sequence of initialisers
        What elements may come from.
    weights : sequence of float, optional
        Their probabilities, which add up to 1; by default all alike.

    Raises
    ------
    ValueError
        If there are none, or the weights are not as many, not probabilities, or do not add up to 1.

    Examples
    --------
    >>> from brainir.init import Constant, Mixture
    >>> made = Mixture([Constant(1.0), Constant(2.0)], [0.3, 0.7])((100,))
    >>> sorted(set(made.tolist()))
    [1.0, 2.0]
    """

    distributions: Sequence[Initialization]
    weights: Sequence[float] | None = None

    def __post_init__(self):
        if not self.distributions:
            raise ValueError("Mixture needs at least one initialiser")
        if self.weights is None:
            return
        if len(self.weights) != len(self.distributions):
            raise ValueError(
                f"Mixture has {len(self.distributions)} initialisers, and "
                f"{len(self.weights)} weights"
            )
        check(self.weights, "weights", PROBABILITY)
        if not np.isclose(sum(self.weights), 1.0):
            raise ValueError(f"the weights of a Mixture must add up to 1, got {sum(self.weights)}")

    def _parts(self):
        return tuple(self.distributions)

    def _make(self, size, options):
        rng = options.get("rng", DEFAULT)
        size, count = to_size(size), len(self.distributions)
        p = self.weights
        chosen = rng.choice(count, size, p=None if p is None else np.asarray(p, environ.dftype()))
        value = made(self.distributions[0], size, options)
        for index, distribution in enumerate(self.distributions[1:], 1):
            value = u.math.where(chosen == index, made(distribution, size, options), value)
        return value


@dataclass(frozen=True, eq=False, repr=False)
class DistanceModulated(Composite):
    """Weights times a factor that depends on the distance which a connection spans.

    The call takes either ``distances=``, which broadcast to the size, or ``pre_positions=`` of
    shape ``(n, d)`` and ``post_positions=`` of shape ``(m, d)`` for a size of ``(n, m)``. A factor
    of 0 makes a weight of 0.

    Raises
    ------
    ValueError
        On use, if neither is given.

    Examples
    --------
    >>> import brainunit as u
    >>> import jax.numpy as jnp
    >>> from brainir.init import Constant, DistanceModulated, LinearProfile
    >>> weight = DistanceModulated(Constant(2.0 * u.nS), LinearProfile(100.0 * u.um))
    >>> weight((2,), distances=jnp.asarray([0.0, 50.0]) * u.um)
    Quantity([2. 1.], "nS")
    """

    base_dist: Initialization
    distance_profile: DistanceProfile

    @property
    def uses(self) -> frozenset[str]:
        """What the weights use, and where the neurons are."""
        return super().uses | {"distances", "pre_positions", "post_positions"}

    def _make(self, size, options):
        distances: Any = options.get("distances")
        if distances is None:
            pre, post = options.get("pre_positions"), options.get("post_positions")
            if pre is None or post is None:
                raise ValueError(
                    "DistanceModulated needs distances=, or pre_positions= and post_positions="
                )
            apart = u.math.asarray(pre)[:, None] - u.math.asarray(post)[None]
            distances = u.math.sqrt(u.math.sum(apart**2, axis=-1))
        factor = self.distance_profile.weight_scaling(distances)
        return made(self.base_dist, size, options) * jnp.broadcast_to(factor, to_size(size))
