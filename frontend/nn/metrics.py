"""What is counted while a model is trained or tested.

Examples
--------
>>> import jax.numpy as jnp
>>> from brainir import nn
>>> metrics = nn.MultiMetric(accuracy=nn.AccuracyMetric(), loss=nn.AverageMetric())
>>> logits, labels = jnp.array([[0.0, 1.0], [1.0, 0.0]]), jnp.array([1, 1])
>>> metrics.update(logits=logits, labels=labels, values=jnp.array([3.0, 4.0]))
>>> {name: float(value) for name, value in metrics.compute().items()}
{'accuracy': 0.5, 'loss': 3.5}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import brainunit as u
import jax.numpy as jnp

from .. import environ
from ..state import LongTermState
from .module import Module

__all__ = ["AccuracyMetric", "AverageMetric", "Metric", "MetricState", "MultiMetric"]


class MetricState(LongTermState):
    """A State that holds what a metric has counted.

    Examples
    --------
    >>> from brainir import nn
    >>> spikes = nn.MetricState(0)
    >>> spikes.value += 3
    >>> spikes.value
    3
    """


class Metric(Module):
    """Something that is counted; a subclass defines ``reset``, ``update`` and ``compute``.

    Examples
    --------
    >>> from brainir import nn
    >>> isinstance(nn.AverageMetric(), nn.Metric)
    True
    """

    def reset(self) -> None:
        """Forget what was counted."""
        raise NotImplementedError(f"{type(self).__name__} does not define reset()")

    def compute(self) -> Any:
        """Return the present value of the metric."""
        raise NotImplementedError(f"{type(self).__name__} does not define compute()")


class AverageMetric(Metric):
    """The mean of all numbers that it has seen; NaN before the first.

    Parameters
    ----------
    argname : str
        The keyword under which ``update`` gets its numbers.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> loss = nn.AverageMetric("loss")
    >>> loss.update(loss=jnp.array([1.0, 2.0]))
    >>> loss.update(loss=6.0)
    >>> float(loss.compute())
    3.0
    """

    def __init__(self, argname: str = "values"):
        super().__init__()
        self.argname = argname
        self.total = MetricState(jnp.zeros((), environ.dftype()))
        self.count = MetricState(jnp.zeros((), environ.ditype()))

    def reset(self) -> None:
        """Forget all numbers."""
        self.total.value = jnp.zeros_like(self.total.value)
        self.count.value = jnp.zeros_like(self.count.value)

    def update(self, **values: Any) -> None:
        """Take in numbers, an array of any shape, under the keyword `argname`; ignore others.

        Raises
        ------
        TypeError
            If that keyword is not given, or holds a quantity with a dimension.
        """
        if self.argname not in values:
            raise TypeError(f"{type(self).__name__}.update needs the keyword {self.argname!r}")
        self._take(values[self.argname])

    def _take(self, given: Any) -> None:
        if isinstance(given, u.Quantity):
            if not given.dim.is_dimensionless:
                raise TypeError(f"a mean of numbers cannot take in a quantity in {given.unit}")
            given = given.to_decimal(u.UNITLESS)
        numbers = jnp.asarray(given)
        total, count = self.total.value, self.count.value
        self.total.value = total + jnp.sum(numbers.astype(total.dtype))
        self.count.value = count + jnp.asarray(numbers.size, count.dtype)

    def compute(self) -> Any:
        """Return the mean."""
        total = self.total.value
        return total / self.count.value.astype(total.dtype)


class AccuracyMetric(AverageMetric):
    """The share of examples whose largest logit is that of their label.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import nn
    >>> accuracy = nn.AccuracyMetric()
    >>> accuracy.update(logits=jnp.array([[0.0, 1.0], [1.0, 0.0]]), labels=jnp.array([1, 1]))
    >>> float(accuracy.compute())
    0.5
    """

    def update(self, *, logits: Any, labels: Any, **_: Any) -> None:
        """Take in `logits`, of shape ``(..., classes)``, and integer `labels`, of shape ``(...)``.

        Raises
        ------
        ValueError
            If the labels are not integers, or of another shape.
        """
        chosen, labels = jnp.argmax(u.get_mantissa(logits), axis=-1), jnp.asarray(labels)
        if not jnp.issubdtype(labels.dtype, jnp.integer) or labels.shape != chosen.shape:
            raise ValueError(
                f"labels must be integers of shape {chosen.shape}, not {labels.dtype} of shape "
                f"{labels.shape}"
            )
        self._take(chosen.astype(labels.dtype) == labels)


class MultiMetric(Metric):
    """Some metrics that are updated together.

    Parameters
    ----------
    **metrics : Metric
        The metrics by name; each is an attribute, too.

    Raises
    ------
    TypeError
        If one is not a metric.
    ValueError
        If a name is that of an attribute which all metrics have.

    Examples
    --------
    >>> from brainir import nn
    >>> metrics = nn.MultiMetric(loss=nn.AverageMetric())
    >>> metrics.update(values=2.0)
    >>> float(metrics.compute()["loss"]), metrics.loss.argname
    (2.0, 'values')
    """

    def __init__(self, **metrics: Metric):
        super().__init__()
        for name, metric in metrics.items():
            if not isinstance(metric, Metric):
                raise TypeError(f"{name} must be a Metric, not {metric!r}")
            if hasattr(type(self), name):
                raise ValueError(f"a metric cannot be called {name!r}; use another name")
            setattr(self, name, metric)
        self._names = tuple(metrics)

    if TYPE_CHECKING:  # the metrics are attributes

        def __getattr__(self, name: str) -> Any: ...

    def _metrics(self) -> dict[str, Metric]:
        return {name: getattr(self, name) for name in self._names}

    def reset(self) -> None:
        """Reset all metrics."""
        for metric in self._metrics().values():
            metric.reset()

    def update(self, **values: Any) -> None:
        """Give all metrics the same keywords; each takes those that it needs."""
        for metric in self._metrics().values():
            metric.update(**values)

    def compute(self) -> dict[str, Any]:
        """Return the values of all metrics by name."""
        return {name: metric.compute() for name, metric in self._metrics().items()}
